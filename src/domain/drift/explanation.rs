//! A person explains, with a signature, what changed without an approval.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Sighting;
use crate::domain::canonical::CanonicalError;
use crate::domain::decision::SignedDecision;
use crate::domain::digest::Digest;
use crate::domain::person::Person;
use crate::domain::service::ServiceName;
use crate::domain::statement::{
    Decider, Frozen, STATEMENT_LIFETIME, STATEMENT_TYPE, Signable, Statement, Subject,
    SubjectDigest,
};
use crate::domain::time;

/// Names the form of the predicate.
pub const DRIFT_EXPLANATION_TYPE: &str = "urn:countersign:predicate:drift-explanation:v1";

/// What a person signs who explains a change.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DriftExplanation {
    /// The ledger's entry about the change.
    pub entry: u64,
    /// What it says.
    pub found: Sighting,
    /// What happened, in the person's words.
    pub explanation: String,
    /// Who explains.
    pub person: Person,
    /// The credentials that may sign it, base64url.
    pub credentials: Vec<String>,
    /// SHA-256 of the ID token of the person's sign-in.
    pub sign_in_digest: Digest,
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

impl Signable for DriftExplanation {
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

/// A statement that explains a change.
pub type FrozenExplanation = Frozen<DriftExplanation>;

impl FrozenExplanation {
    /// Makes the statement that `person` may sign from `now` on, about the entry with this index and hash.
    pub fn of_finding(
        (entry, entry_hash): (u64, Digest),
        found: Sighting,
        explanation: String,
        person: Decider,
        (audience, nonce): (&str, String),
        now: Timestamp,
    ) -> Result<Self, CanonicalError> {
        Self::freeze(Statement {
            statement_type: STATEMENT_TYPE.to_owned(),
            subject: vec![Subject {
                name: found.service.to_string(),
                digest: SubjectDigest { sha256: entry_hash },
            }],
            predicate_type: DRIFT_EXPLANATION_TYPE.to_owned(),
            predicate: DriftExplanation {
                entry,
                found,
                explanation,
                person: person.approver,
                credentials: person.credentials,
                sign_in_digest: person.sign_in_digest,
                audience: audience.to_owned(),
                nonce,
                issued_at: now,
                expires_at: now.saturating_add(STATEMENT_LIFETIME).unwrap_or(now),
            },
        })
    }
}

/// What the ledger says of an explanation: everything that proves it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordedExplanation {
    /// The ledger's entry about the change.
    pub entry: u64,
    /// Where it was found.
    pub environment: String,
    /// As above.
    pub service: ServiceName,
    /// What happened.
    pub explanation: String,
    /// Who signed.
    pub by: Person,
    /// That person's name, as the directory said.
    pub by_name: String,
    /// The credential that signed, base64url.
    pub signed_with: String,
    /// The signed statement.
    pub statement: String,
    /// The assertion over it, base64url.
    pub authenticator_data: String,
    /// As above.
    pub client_data_json: String,
    /// As above.
    pub signature: String,
    /// The RFC 7638 thumbprint of the directory's key that signed the person's sign-in.
    pub sign_in_key: String,
}

impl RecordedExplanation {
    /// What is recorded of what was signed. `sign_in_key` as in the member.
    pub fn new(
        explanation: &DriftExplanation,
        by_name: &str,
        signed: &SignedDecision,
        sign_in_key: String,
    ) -> Self {
        let encode = |bytes: &[u8]| data_encoding::BASE64URL_NOPAD.encode(bytes);
        Self {
            entry: explanation.entry,
            environment: explanation.found.environment.clone(),
            service: explanation.found.service.clone(),
            explanation: explanation.explanation.clone(),
            by: explanation.person.clone(),
            by_name: by_name.to_owned(),
            signed_with: encode(&signed.credential_id),
            statement: signed.statement.clone(),
            authenticator_data: encode(&signed.authenticator_data),
            client_data_json: encode(&signed.client_data_json),
            signature: encode(&signed.signature),
            sign_in_key,
        }
    }
}
