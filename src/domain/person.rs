//! A person of the company's directory.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::policy::Policy;

/// Who somebody is: the directory (issuer) and the directory's own name for the person (subject).
///
/// Never an e-mail address or a login name: those are reassigned, subjects are not
/// (OpenID Connect Core 1.0, section 5.7).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Person {
    /// The OpenID provider's issuer URL.
    pub issuer: String,
    /// The provider's `sub` for the person.
    pub subject: String,
}

/// A person who signed in, with what the directory said of them at that moment.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Who it is.
    pub person: Person,
    /// The name to show.
    pub name: String,
    /// The e-mail address, if the directory says that it is verified.
    pub email: Option<String>,
    /// The groups that the sign-in named.
    pub groups: Vec<String>,
    /// The number of the person's account at GitHub, where the directory says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub github_id: Option<u64>,
    /// Whether the groups are the gate's own word: it read them at the directory, which did not sign them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub gate_groups: bool,
    /// Since when the gate cannot reach the directory, if the person signed in with their key alone: then the rest is
    /// what the directory said at their last sign-in. Such a person reads, and breaks the glass where its rules let them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory_unreachable_since: Option<Timestamp>,
}

impl Profile {
    /// The groups that count under these rules: none, where they must be signed and are not.
    pub fn groups_under(&self, policy: &Policy) -> &[String] {
        if self.gate_groups && policy.groups_must_be_signed { &[] } else { &self.groups }
    }
}
