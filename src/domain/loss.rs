//! The loss of a key: its owner says since when it may be in other hands.
//!
//! The key that could sign a report may be the one that is lost. So its owner either signs in for it, with the OpenID
//! nonce set to its digest, as for a new key: the directory's own signature says who reports what. Or another key of
//! theirs signs a statement that holds it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::canonical::{CanonicalError, from_canonical_json, to_canonical_json};
use crate::domain::decision::SignedDecision;
use crate::domain::digest::Digest;
use crate::domain::person::Person;
use crate::domain::statement::{
    Act, Decider, Frozen, STATEMENT_LIFETIME, STATEMENT_TYPE, Signable, Statement, Subject,
    SubjectDigest,
};
use crate::domain::time;

/// Names the form of a report.
pub const LOSS_SCHEMA: &str = "countersign/key-loss/v1";

/// Names the form of the predicate with which another key of the owner signs a report.
pub const KEY_LOSS_TYPE: &str = "urn:countersign:predicate:key-loss:v1";

/// What is reported. Its canonical JSON is what the directory vouches for, or what the statement's subject names.
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
#[serde(untagged)]
pub enum RecordedLoss {
    /// The directory vouched for the report.
    Vouched(VouchedLoss),
    /// Another key of the owner signed it.
    Signed(SignedLoss),
}

impl RecordedLoss {
    /// What it says was reported. Nothing of it is verified.
    pub fn unverified_report(&self) -> Option<LossReport> {
        match self {
            Self::Vouched(loss) => LossReport::read(&loss.report),
            Self::Signed(loss) => {
                FrozenLoss::thaw(&loss.statement).ok().map(|said| said.predicate().report.clone())
            }
        }
    }
}

/// A report that the directory vouched for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VouchedLoss {
    /// The report, as text.
    pub report: String,
    /// The ID token whose nonce is its digest.
    pub id_token: String,
    /// The directory's key that signed the token, in the form that RFC 7638 hashes.
    pub issuer_key: String,
}

/// A report that another key of the owner signed: everything that proves it but how that key became theirs. Binary
/// members are unpadded base64url.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedLoss {
    /// The signed statement.
    pub statement: String,
    /// The credential that signed.
    pub signed_with: String,
    /// WebAuthn authenticator data.
    pub authenticator_data: String,
    /// WebAuthn client data.
    pub client_data_json: String,
    /// The signature over authenticator data and the hash of the client data.
    pub signature: String,
    /// The user handle, if the authenticator gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_handle: Option<String>,
    /// The text that is kept of the sign-in of the owner's session.
    pub sign_in: String,
    /// The directory's key that signed it, in the form that RFC 7638 hashes.
    pub issuer_key: String,
}

impl SignedLoss {
    /// What is recorded of what was signed.
    pub fn of(signed: &SignedDecision) -> Self {
        let encode = |bytes: &[u8]| data_encoding::BASE64URL_NOPAD.encode(bytes);
        Self {
            statement: signed.statement.clone(),
            signed_with: encode(&signed.credential_id),
            authenticator_data: encode(&signed.authenticator_data),
            client_data_json: encode(&signed.client_data_json),
            signature: encode(&signed.signature),
            user_handle: signed.user_handle.as_deref().map(encode),
            sign_in: signed.id_token.clone(),
            issuer_key: signed.issuer_key.clone(),
        }
    }
}

/// What another key of the owner signs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LossStatement {
    /// What is reported: the lost key, and since when.
    pub report: LossReport,
    /// Who says it.
    pub signer: Person,
    /// The credentials that may sign it, base64url.
    pub credentials: Vec<String>,
    /// SHA-256 of the ID token of the signer's sign-in.
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

impl Signable for LossStatement {
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

impl Act for LossStatement {
    fn signer(&self) -> &Person {
        &self.signer
    }

    fn sign_in_digest(&self) -> &Digest {
        &self.sign_in_digest
    }

    fn audience(&self) -> &str {
        &self.audience
    }

    fn lifetime(&self) -> (Timestamp, Timestamp) {
        (self.issued_at, self.expires_at)
    }
}

/// A statement that reports a loss.
pub type FrozenLoss = Frozen<LossStatement>;

impl FrozenLoss {
    /// Makes the statement that `owner` may sign about this report from `now` on.
    pub fn of_report(
        report: LossReport,
        owner: Decider,
        nonce: String,
        now: Timestamp,
    ) -> Result<Self, CanonicalError> {
        Self::freeze(Statement {
            statement_type: STATEMENT_TYPE.to_owned(),
            subject: subject_of(&report)?,
            predicate_type: KEY_LOSS_TYPE.to_owned(),
            predicate: LossStatement {
                audience: report.audience.clone(),
                report,
                signer: owner.approver,
                credentials: owner.credentials,
                sign_in_digest: owner.sign_in_digest,
                nonce,
                issued_at: now,
                expires_at: now.saturating_add(STATEMENT_LIFETIME).unwrap_or(now),
            },
        })
    }

    /// Whether it has the form of a report: types and subject are those of such a statement.
    pub fn is_report(&self) -> bool {
        let statement = self.statement();
        statement.statement_type == STATEMENT_TYPE
            && statement.predicate_type == KEY_LOSS_TYPE
            && subject_of(&statement.predicate.report).is_ok_and(|one| one == statement.subject)
    }
}

fn subject_of(report: &LossReport) -> Result<Vec<Subject>, CanonicalError> {
    let sha256 = Digest::of(report.text()?);
    Ok(vec![Subject { name: report.credential.clone(), digest: SubjectDigest { sha256 } }])
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
