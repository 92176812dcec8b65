//! A person of the company's directory.

use serde::{Deserialize, Serialize};

use crate::domain::digest::Digest;

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

impl Person {
    /// The WebAuthn user handle of this person: stable, and without personal data in it
    /// (WebAuthn Level 3, section 14.6.1).
    pub fn user_handle(&self) -> Digest {
        Digest::of_parts(&[
            b"countersign user handle\0",
            self.issuer.as_bytes(),
            b"\0",
            self.subject.as_bytes(),
        ])
    }
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
}
