//! Who may sign: groups of the directory, and people of it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::domain::person::Person;

/// A group of the directory or one person of it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Principal {
    /// Everybody whose sign-in names this group.
    Group(String),
    /// The person with this subject in the configured directory.
    Person(String),
}

/// The text names neither a group nor a person.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is neither group:NAME nor person:SUBJECT (the directory's `sub` of the person)")]
pub struct InvalidPrincipal(String);

impl FromStr for Principal {
    type Err = InvalidPrincipal;

    fn from_str(text: &str) -> Result<Self, InvalidPrincipal> {
        match text.split_once(':') {
            Some(("group", name)) if !name.is_empty() => Ok(Self::Group(name.to_owned())),
            Some(("person", subject)) if !subject.is_empty() => {
                Ok(Self::Person(subject.to_owned()))
            }
            _ => Err(InvalidPrincipal(text.to_owned())),
        }
    }
}

impl TryFrom<String> for Principal {
    type Error = InvalidPrincipal;

    fn try_from(text: String) -> Result<Self, InvalidPrincipal> {
        text.parse()
    }
}

impl From<Principal> for String {
    fn from(principal: Principal) -> Self {
        match principal {
            Principal::Group(name) => format!("group:{name}"),
            Principal::Person(subject) => format!("person:{subject}"),
        }
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Group(name) => write!(formatter, "{name}"),
            Self::Person(subject) => write!(formatter, "{subject}"),
        }
    }
}

impl Principal {
    /// A group by its name; a person as one, since a directory's name for them says nothing.
    pub fn in_words(&self) -> String {
        match self {
            Self::Group(name) => name.clone(),
            Self::Person(subject) => format!("the person {subject}"),
        }
    }

    /// Whether it names this person.
    pub fn names(&self, person: &Person, groups: &[String]) -> bool {
        match self {
            Self::Group(name) => groups.contains(name),
            Self::Person(subject) => *subject == person.subject,
        }
    }
}
