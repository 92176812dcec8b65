//! Signing in with a key alone, while the directory cannot be reached: what the key signs.
//!
//! It is a statement like all others, so that the page's script recomputes its challenge and no signature over it can
//! be one over a decision. It names nobody: whose key it is, the key says.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::canonical::CanonicalError;
use crate::domain::digest::Digest;
use crate::domain::statement::{
    Frozen, STATEMENT_LIFETIME, STATEMENT_TYPE, Signable, Statement, Subject, SubjectDigest,
};
use crate::domain::time;

/// Names the form of the predicate.
pub const KEY_SIGN_IN_TYPE: &str = "urn:countersign:predicate:key-sign-in:v1";
/// What the ledger calls such a sign-in.
pub const SIGNED_IN_WITH_KEY: &str = "person.signed_in_with_key";

/// What is said: that somebody signs in at this gate now.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeySignIn {
    /// The origin of the gate that it is meant for.
    pub audience: String,
    /// 32 random bytes, base64url.
    pub nonce: String,
    /// When it was made.
    #[serde(deserialize_with = "time::deserialize")]
    pub issued_at: Timestamp,
    /// Until when it may be signed.
    #[serde(deserialize_with = "time::deserialize")]
    pub expires_at: Timestamp,
}

impl Signable for KeySignIn {
    /// None: the browser offers what it has for this gate.
    fn credentials(&self) -> &[String] {
        &[]
    }

    fn nonce(&self) -> &str {
        &self.nonce
    }

    fn expires_at(&self) -> Timestamp {
        self.expires_at
    }
}

/// A statement that a key signs to sign its owner in.
pub type FrozenKeySignIn = Frozen<KeySignIn>;

impl FrozenKeySignIn {
    /// The statement with this nonce for this gate that may be signed until then. It follows from these alone, so
    /// that nothing else that stands in a database gets signed.
    pub fn until(
        audience: &str,
        nonce: String,
        expires_at: Timestamp,
    ) -> Result<Self, CanonicalError> {
        let sha256 = Digest::of(audience);
        let subject = Subject { name: audience.to_owned(), digest: SubjectDigest { sha256 } };
        Self::freeze(Statement {
            statement_type: STATEMENT_TYPE.to_owned(),
            subject: vec![subject],
            predicate_type: KEY_SIGN_IN_TYPE.to_owned(),
            predicate: KeySignIn {
                audience: audience.to_owned(),
                nonce,
                issued_at: expires_at.saturating_sub(STATEMENT_LIFETIME).unwrap_or(expires_at),
                expires_at,
            },
        })
    }
}
