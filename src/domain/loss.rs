//! The loss of a key: its owner says since when it may be in other hands.
//!
//! A report is no signed statement, since the key that could sign it may be the one that is lost. Its owner
//! signs in for it instead, with the OpenID nonce set to its digest, as for a new key: the directory's own
//! signature says who reports what.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::canonical::{CanonicalError, from_canonical_json, to_canonical_json};
use crate::domain::person::Person;
use crate::domain::time;

/// Names the form of a report.
pub const LOSS_SCHEMA: &str = "countersign/key-loss/v1";

/// What is reported. Its canonical JSON is what the directory vouches for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LossReport {
    /// [`LOSS_SCHEMA`].
    pub schema: String,
    /// The credential's id, base64url.
    pub credential: String,
    /// Its owner, who reports it.
    pub person: Person,
    /// Whatever it signed from then on counts for nothing that is not executed.
    #[serde(deserialize_with = "time::deserialize")]
    pub since: Timestamp,
    /// The origin of the gate that it is meant for.
    pub audience: String,
    /// 32 random bytes, base64url, so that no sign-in vouches for two reports.
    pub nonce: String,
}

/// What the entry of a revocation holds of the loss that it is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordedLoss {
    /// The report, as text.
    pub report: String,
    /// The ID token whose nonce is its digest.
    pub id_token: String,
    /// The directory's key that signed the token, in the form that RFC 7638 hashes.
    pub issuer_key: String,
}

impl LossReport {
    /// The canonical JSON.
    pub fn text(&self) -> Result<String, CanonicalError> {
        to_canonical_json(self)
    }

    /// Reads a report from its canonical text, and from no other text.
    pub fn read(text: &str) -> Option<Self> {
        from_canonical_json(text).ok().filter(|report: &Self| report.schema == LOSS_SCHEMA)
    }
}
