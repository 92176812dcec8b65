//! An endorsement: an approver signs for the new key of somebody else.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::canonical::CanonicalError;
use crate::domain::digest::Digest;
use crate::domain::person::Person;
use crate::domain::statement::{
    Decider, Frozen, STATEMENT_LIFETIME, STATEMENT_TYPE, Signable, Statement, Subject,
    SubjectDigest,
};

/// Names the form of the predicate.
pub const ENDORSEMENT_TYPE: &str = "urn:countersign:predicate:endorsement:v1";
/// What the ledger calls an endorsement.
pub const ENDORSED: &str = "credential.endorsed";

/// What an endorsement says beside its subject, the enrolment of the key.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Endorsement {
    /// Who endorses.
    pub endorser: Person,
    /// The credentials that may sign it, base64url.
    pub credentials: Vec<String>,
    /// SHA-256 of the ID token of the endorser's sign-in.
    pub sign_in_digest: Digest,
    /// The origin of the gate that it is meant for.
    pub audience: String,
    /// 32 random bytes, base64url.
    pub nonce: String,
    /// When it was made.
    pub issued_at: Timestamp,
    /// Until when it may be signed.
    pub expires_at: Timestamp,
}

impl Signable for Endorsement {
    fn credentials(&self) -> &[String] {
        &self.credentials
    }

    fn nonce(&self) -> &str {
        &self.nonce
    }

    fn expires_at(&self) -> Timestamp {
        self.expires_at
    }
}

/// A statement of an endorsement.
pub type FrozenEndorsement = Frozen<Endorsement>;

impl FrozenEndorsement {
    /// Makes the statement that `endorser` may sign from `now` on. `record` is the text of the
    /// ledger's record of the enrolment of `credential`.
    pub fn of_enrolment(
        credential: &str,
        record: &str,
        endorser: Decider,
        audience: &str,
        nonce: String,
        now: Timestamp,
    ) -> Result<Self, CanonicalError> {
        Self::freeze(Statement {
            statement_type: STATEMENT_TYPE.to_owned(),
            subject: subject_of(credential, record),
            predicate_type: ENDORSEMENT_TYPE.to_owned(),
            predicate: Endorsement {
                endorser: endorser.approver,
                credentials: endorser.credentials,
                sign_in_digest: endorser.sign_in_digest,
                audience: audience.to_owned(),
                nonce,
                issued_at: now,
                expires_at: now.saturating_add(STATEMENT_LIFETIME).unwrap_or(now),
            },
        })
    }

    /// Whether it is an endorsement of exactly this enrolment.
    pub fn is_about(&self, credential: &str, record: &str) -> bool {
        let statement = self.statement();
        statement.statement_type == STATEMENT_TYPE
            && statement.predicate_type == ENDORSEMENT_TYPE
            && statement.subject == subject_of(credential, record)
    }
}

/// The credential, by the digest of the record of its enrolment.
fn subject_of(credential: &str, record: &str) -> Vec<Subject> {
    let digest = SubjectDigest { sha256: Digest::of(record) };
    vec![Subject { name: credential.to_owned(), digest }]
}

/// What the ledger says of an endorsement.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordedEndorsement {
    /// The endorsed credential's id, base64url.
    pub credential: String,
    /// Who endorsed it.
    pub endorser: Person,
    /// The credential that signed, base64url.
    pub signed_with: String,
    /// SHA-256 of the canonical statement.
    pub statement_digest: Digest,
    /// SHA-256 of the assertion, as of a decision's.
    pub assertion_digest: Digest,
    /// The RFC 7638 thumbprint of the directory's key that signed the endorser's sign-in.
    pub sign_in_key: String,
}
