//! One person's decision.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::digest::Digest;
use crate::domain::person::Person;

/// Yes or no. Both are signed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The deployment may go out.
    Approve,
    /// It may not.
    Reject,
}

impl Verdict {
    /// The word in the signed bytes.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Reject => "reject",
        }
    }
}

/// A decision that was verified and recorded, as the approval remembers it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// Who decided.
    pub person: Person,
    /// The name that the directory gave then.
    pub name: String,
    /// The groups that the sign-in named then.
    pub groups: Vec<String>,
    /// Yes or no.
    pub verdict: Verdict,
    /// Why, in the person's words.
    pub reason: Option<String>,
    /// When the gate recorded it.
    pub decided_at: Timestamp,
    /// SHA-256 of the canonical statement.
    pub statement_digest: Digest,
    /// The credential that signed, base64url.
    pub credential: String,
    /// SHA-256 of the assertion: [`SignedDecision::assertion_digest`].
    pub assertion_digest: Digest,
    /// The RFC 7638 thumbprint of the directory's key that signed the sign-in.
    pub sign_in_key: String,
}

/// Everything that proves one decision, byte for byte as it was received.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SignedDecision {
    /// The canonical statement.
    pub statement: String,
    /// The credential that signed, raw.
    pub credential_id: Vec<u8>,
    /// WebAuthn authenticator data.
    pub authenticator_data: Vec<u8>,
    /// WebAuthn client data.
    pub client_data_json: Vec<u8>,
    /// The signature over authenticator data and the hash of the client data.
    pub signature: Vec<u8>,
    /// The user handle, if the authenticator gave one.
    pub user_handle: Option<Vec<u8>>,
    /// The ID token of the sign-in that gave the groups.
    pub id_token: String,
    /// When the gate recorded it.
    pub decided_at: Timestamp,
}
