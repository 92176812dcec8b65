//! The newest head of the log that was seen, as it is kept outside the database: whoever can write
//! anything into the database still cannot make the log shorter or another one, undo a revocation or lift a freeze.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::canonical::{CanonicalError, from_canonical_json, to_canonical_json};
use crate::domain::digest::Digest;
use crate::domain::hold::Freezes;
use crate::domain::ledger::Revoked;
use crate::domain::recovery::{Lineage, NamedHead, lineage, successor};
use crate::domain::time;
use crate::proof::checkpoint::TrustedLog;

/// Names the form of the file's bytes.
pub const LOG_HEAD_SCHEMA: &str = "countersign/log-head/v1";

/// The file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    schema: String,
    /// The signed tree head. Its name says how often the log was recovered,
    checkpoint: String,
    /// and this when it was for the last time, if ever.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "time::deserialize_some"
    )]
    recovered_at: Option<Timestamp>,
    revoked: Revoked,
    /// What was frozen then; absent where nothing was.
    #[serde(default, skip_serializing_if = "Freezes::is_empty")]
    freezes: Freezes,
    /// The entries that put rules into force, each with the digest of its rulebook; absent where none did.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    rules: BTreeMap<u64, Digest>,
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
    /// How often the log was recovered before, and when.
    pub lineage: Lineage,
    /// The credentials that were revoked.
    pub revoked: Revoked,
    /// What was frozen, and not lifted up to it.
    pub freezes: Freezes,
    /// The entries that put rules into force, each with the digest of its rulebook.
    pub rules: BTreeMap<u64, Digest>,
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
        // A recovered log is the same log under its next name.
        let name = file.checkpoint.split('\n').next().unwrap_or_default();
        let (first, recoveries) = lineage(name);
        let named = TrustedLog { name: successor(first, recoveries), key: log.key };
        let head = named.verify(&file.checkpoint).ok_or_else(other)?;
        let lineage = Lineage { recoveries, recovered_at: file.recovered_at };
        if file.schema != LOG_HEAD_SCHEMA
            || first != log.name
            || lineage.recovered_at.is_some() != (recoveries > 0)
        {
            return Err(other());
        }
        Ok(Self {
            size: head.size(),
            root: *head.root(),
            checkpoint: file.checkpoint,
            lineage,
            revoked: file.revoked,
            freezes: file.freezes,
            rules: file.rules,
        })
    }

    /// Size and root under the name that the log had then; `first` is the one that it began with.
    pub fn named(&self, first: &str) -> NamedHead {
        let name = successor(first, self.lineage.recoveries);
        NamedHead { name, size: self.size, root: self.root }
    }

    /// The file.
    pub fn text(&self) -> Result<String, CanonicalError> {
        to_canonical_json(&File {
            schema: LOG_HEAD_SCHEMA.to_owned(),
            checkpoint: self.checkpoint.clone(),
            recovered_at: self.lineage.recovered_at,
            revoked: self.revoked.clone(),
            freezes: self.freezes.clone(),
            rules: self.rules.clone(),
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
        let lineage = Lineage::default();
        let head = SeenHead {
            size: 42,
            root,
            checkpoint: key.sign_checkpoint("gate.example/log", 42, &root),
            lineage,
            revoked: [("AAAA".to_owned(), 7)].into(),
            freezes: Freezes::default(),
            rules: BTreeMap::new(),
        };
        let text = head.text().unwrap();
        assert_eq!(SeenHead::parse(&text, &log), Ok(head.clone()));
        let recovered = SeenHead {
            checkpoint: key.sign_checkpoint("gate.example/log/recovered-2", 42, &root),
            lineage: Lineage { recoveries: 2, recovered_at: Some(Timestamp::UNIX_EPOCH) },
            ..head.clone()
        };
        let recovered_text = recovered.text().unwrap();
        assert_eq!(SeenHead::parse(&recovered_text, &log), Ok(recovered.clone()));
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
            recovered_text.replace("recovered-2", "recovered-1"),
            SeenHead { lineage, ..recovered.clone() }.text().unwrap(),
            SeenHead { lineage: recovered.lineage, ..head.clone() }.text().unwrap(),
            SeenHead {
                checkpoint: key.sign_checkpoint("other.example/log/recovered-2", 42, &root),
                ..recovered
            }
            .text()
            .unwrap(),
        ] {
            assert!(SeenHead::parse(&bad, &log).is_err(), "{bad}");
        }
    }
}
