//! A recovery: the log goes on under a new name after the database lost entries, because people whose
//! keys are pinned signed for exactly that.
//!
//! The entries that are left stay what they are, each signed by the log key in its place. On top of them
//! stands one [`LOG_RECOVERED`] entry that names the newest head that was kept outside the database,
//! what the database still had, and the name under which the log goes on. Whoever pinned the old name
//! sees another one from then on, and pins it after reading that entry.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::domain::canonical::CanonicalError;
use crate::domain::digest::Digest;
use crate::domain::person::Person;
use crate::domain::statement::{Frozen, STATEMENT_TYPE, Statement, Subject, SubjectDigest};
use crate::domain::time;

/// Names the form of the predicate.
pub const RECOVERY_TYPE: &str = "urn:countersign:predicate:recovery:v1";
/// The kind of the record with which a log goes on under a new name.
pub const LOG_RECOVERED: &str = "log.recovered";
/// How long a recovery may be signed and carried out: long enough for the people of a quorum to find
/// their keys and read what was lost, short enough that what they read is still so.
pub const RECOVERY_LIFETIME: SignedDuration = SignedDuration::from_mins(15);

/// What stands between the name that a log began with and how often it was recovered.
const SUFFIX: &str = "/recovered-";

/// How often a log was recovered, and when for the last time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Lineage {
    /// How often.
    pub recoveries: u32,
    /// When; none if never.
    pub recovered_at: Option<Timestamp>,
}

/// The name of a log after so many recoveries: `gate.example/log`, `gate.example/log/recovered-1`, ...
pub fn successor(first: &str, recoveries: u32) -> String {
    match recoveries {
        0 => first.to_owned(),
        count => format!("{first}{SUFFIX}{count}"),
    }
}

/// The name that a log began with, and how often it was recovered since.
pub fn lineage(name: &str) -> (&str, u32) {
    let parsed = name.rsplit_once(SUFFIX).and_then(|(first, count)| {
        let recoveries: u32 = count.parse().ok()?;
        (recoveries > 0 && recoveries.to_string() == count).then_some((first, recoveries))
    });
    parsed.unwrap_or((name, 0))
}

/// A tree head under the name of its log.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamedHead {
    /// The name on the first line of its checkpoint.
    pub name: String,
    /// How many entries it has.
    pub size: u64,
    /// Its root.
    pub root: Digest,
}

/// A tree without a name.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// How many entries it has.
    pub size: u64,
    /// Its root.
    pub root: Digest,
}

/// A pinned key, and whose it is as the log's own entry of its enrolment says.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signer {
    /// Whose key it is.
    pub person: Person,
    /// The credential's id, base64url.
    pub credential: String,
    /// The public key as it is pinned: COSE in base64url.
    pub public_key: String,
    /// Whether it may be backed up.
    pub backup_eligible: bool,
}

/// What is signed. All who sign, sign the same bytes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recovery {
    /// The newest head that was kept outside the database.
    pub outside: NamedHead,
    /// What the database has, all of which stays.
    pub database: Kept,
    /// The name under which the log goes on.
    pub new_name: String,
    /// The keys (base64url ids) whose revocation is known outside and is lost in the database.
    pub revoked: Vec<String>,
    /// Who may sign.
    pub signers: Vec<Signer>,
    /// The origin of the gate that it is meant for.
    pub audience: String,
    /// 32 random bytes, base64url.
    pub nonce: String,
    /// When it was made.
    #[serde(deserialize_with = "time::deserialize")]
    pub issued_at: Timestamp,
    /// Until when it may be signed and carried out.
    #[serde(deserialize_with = "time::deserialize")]
    pub expires_at: Timestamp,
}

impl Recovery {
    /// How many entries the database lost, where it is shorter; none where it is another log.
    pub fn lost(&self) -> Option<u64> {
        self.outside.size.checked_sub(self.database.size).filter(|lost| *lost > 0)
    }
}

/// A statement of a recovery.
pub type FrozenRecovery = Frozen<Recovery>;

impl FrozenRecovery {
    /// Makes the statement.
    pub fn of(recovery: Recovery) -> Result<Self, CanonicalError> {
        Self::freeze(Statement {
            statement_type: STATEMENT_TYPE.to_owned(),
            subject: subjects_of(&recovery),
            predicate_type: RECOVERY_TYPE.to_owned(),
            predicate: recovery,
        })
    }

    /// Whether it is a statement of this form, about the heads that its predicate names.
    pub fn is_well_formed(&self) -> bool {
        let statement = self.statement();
        statement.statement_type == STATEMENT_TYPE
            && statement.predicate_type == RECOVERY_TYPE
            && statement.subject == subjects_of(self.predicate())
    }
}

/// The head that was lost, and what is left under the new name.
fn subjects_of(recovery: &Recovery) -> Vec<Subject> {
    let subject =
        |name: &String, sha256| Subject { name: name.clone(), digest: SubjectDigest { sha256 } };
    vec![
        subject(&recovery.outside.name, recovery.outside.root),
        subject(&recovery.new_name, recovery.database.root),
    ]
}

/// What the ledger says of a recovery.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordedRecovery {
    /// The canonical statement, as text.
    pub statement: String,
    /// Who signed it, each once.
    pub signatures: Vec<RecoverySignature>,
}

/// One assertion over the statement. Binary members are unpadded base64url.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecoverySignature {
    /// The credential that signed.
    pub credential: String,
    /// WebAuthn authenticator data.
    pub authenticator_data: String,
    /// WebAuthn client data.
    pub client_data_json: String,
    /// The signature over authenticator data and the hash of the client data.
    pub signature: String,
    /// The user handle, if the authenticator gave one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_handle: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_successors_have_one_spelling() {
        for recoveries in [0, 1, 2, 10, u32::MAX] {
            let name = successor("gate.example/log", recoveries);
            assert_eq!(lineage(&name), ("gate.example/log", recoveries));
        }
        for name in ["", "x", "x/recovered-", "x/recovered-0", "x/recovered-01", "x/recovered-+1"] {
            assert_eq!(lineage(name), (name, 0));
        }
    }
}
