//! The newest head of the log that was seen, as it is kept outside the database: whoever can write
//! anything into the database still cannot make the log shorter or another one, nor undo a revocation.

use serde::{Deserialize, Serialize};

use crate::domain::canonical::{CanonicalError, from_canonical_json, to_canonical_json};
use crate::domain::digest::Digest;
use crate::domain::ledger::Revoked;
use crate::proof::checkpoint::TrustedLog;

/// Names the form of the file's bytes.
pub const LOG_HEAD_SCHEMA: &str = "countersign/log-head/v1";

/// The file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    schema: String,
    /// The signed tree head.
    checkpoint: String,
    revoked: Revoked,
}

/// A head that the log's key signed, and the revocations up to it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SeenHead {
    /// How many entries it had.
    pub size: u64,
    /// Its root then.
    pub root: Digest,
    /// The signed tree head that says so.
    pub checkpoint: String,
    /// The credentials that were revoked.
    pub revoked: Revoked,
}

/// The text is no head of this log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "it holds no head that the key of the log {0} signed: restore it, or name a place of this gate's own"
)]
pub struct OtherLogHead(String);

impl SeenHead {
    /// Reads the file.
    ///
    /// # Errors
    /// If it is in another form, or the log's key did not sign its head.
    pub fn parse(text: &str, log: &TrustedLog) -> Result<Self, OtherLogHead> {
        let other = || OtherLogHead(log.name.clone());
        let file: File = from_canonical_json(text).map_err(|_| other())?;
        let head = log.verify(&file.checkpoint).ok_or_else(other)?;
        if file.schema != LOG_HEAD_SCHEMA {
            return Err(other());
        }
        Ok(Self {
            size: head.size(),
            root: *head.root(),
            checkpoint: file.checkpoint,
            revoked: file.revoked,
        })
    }

    /// The file.
    pub fn text(&self) -> Result<String, CanonicalError> {
        to_canonical_json(&File {
            schema: LOG_HEAD_SCHEMA.to_owned(),
            checkpoint: self.checkpoint.clone(),
            revoked: self.revoked.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::log_key::LogKey;

    #[test]
    fn only_a_head_of_the_same_log_is_read() {
        let key = LogKey::from_seed(&[3; 32]).unwrap();
        let log = TrustedLog::parse(&key.public().verifier_key("gate.example/log")).unwrap();
        let root = Digest::of("root");
        let head = SeenHead {
            size: 42,
            root,
            checkpoint: key.sign_checkpoint("gate.example/log", 42, &root),
            revoked: [("AAAA".to_owned(), 7)].into(),
        };
        let text = head.text().unwrap();
        assert_eq!(SeenHead::parse(&text, &log), Ok(head.clone()));
        let other = SeenHead {
            checkpoint: key.sign_checkpoint("other.example/log", 42, &root),
            ..head.clone()
        };
        for bad in [
            String::new(),
            format!("{text}\n"),
            text.replace("log-head/v1", "log-head/v2"),
            text.replace("42", "43"),
            text.replace("\"AAAA\":7", "\"AAAA\":-7"),
            other.text().unwrap(),
        ] {
            assert!(SeenHead::parse(&bad, &log).is_err(), "{bad}");
        }
    }
}
