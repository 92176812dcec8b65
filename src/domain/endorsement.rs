//! An endorsement: an approver signs for the new key of somebody else; or a person with a key that they have
//! for another one of theirs.

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
/// Names the form of the predicate with which a person signs that a new key is theirs too.
pub const OWN_KEY_TYPE: &str = "urn:countersign:predicate:own-key:v1";
/// What the ledger calls an endorsement.
pub const ENDORSED: &str = "credential.endorsed";
/// What the ledger calls a person's signature for a key of their own.
pub const OWN_KEY_SIGNED: &str = "credential.vouched";

/// What an endorsement says beside its subject: the enrolment of the key, or of one's own the registration.
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
        Self::of(ENDORSEMENT_TYPE, (credential, record), endorser, audience, nonce, now)
    }

    /// Makes the statement with which `owner` may sign from `now` on that the key `credential` is theirs too.
    /// `registration` is the browser's answer when it was made.
    pub fn of_own_key(
        credential: &str,
        registration: &str,
        owner: Decider,
        audience: &str,
        nonce: String,
        now: Timestamp,
    ) -> Result<Self, CanonicalError> {
        Self::of(OWN_KEY_TYPE, (credential, registration), owner, audience, nonce, now)
    }

    fn of(
        predicate_type: &str,
        (credential, text): (&str, &str),
        endorser: Decider,
        audience: &str,
        nonce: String,
        now: Timestamp,
    ) -> Result<Self, CanonicalError> {
        Self::freeze(Statement {
            statement_type: STATEMENT_TYPE.to_owned(),
            subject: subject_of(credential, text),
            predicate_type: predicate_type.to_owned(),
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
        self.is(ENDORSEMENT_TYPE, credential, record)
    }

    /// Whether it says of exactly this registration that the key is its signer's too.
    pub fn is_about_own(&self, credential: &str, registration: &str) -> bool {
        self.is(OWN_KEY_TYPE, credential, registration)
    }

    fn is(&self, predicate_type: &str, credential: &str, text: &str) -> bool {
        let statement = self.statement();
        statement.statement_type == STATEMENT_TYPE
            && statement.predicate_type == predicate_type
            && statement.subject == subject_of(credential, text)
    }
}

/// The credential, by the digest of what the statement is about.
fn subject_of(credential: &str, text: &str) -> Vec<Subject> {
    let digest = SubjectDigest { sha256: Digest::of(text) };
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
