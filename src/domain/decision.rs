//! One person's decision.

use data_encoding::BASE64URL_NOPAD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::canonical::{CanonicalError, to_canonical_json};
use crate::domain::digest::Digest;
use crate::domain::person::Person;
use crate::domain::time;

/// Yes, no, an earlier yes taken back, or a yes at once by the rules for emergencies. All are signed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The deployment may go out.
    Approve,
    /// It may not.
    Reject,
    /// The person's earlier yes counts no more.
    Withdraw,
    /// It may go out at once, whatever is frozen or closed: the person breaks the glass and answers for it.
    BreakGlass,
}

impl Verdict {
    /// The word in the signed bytes.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Reject => "reject",
            Self::Withdraw => "withdraw",
            Self::BreakGlass => "break_glass",
        }
    }

    /// What a person did who signed it.
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Approve => "signed yes",
            Self::Reject => "signed no",
            Self::Withdraw => "took the signature back",
            Self::BreakGlass => "broke the glass",
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
    /// The account at GitHub that the sign-in named, where the rules ask whose commits they sign for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub github_id: Option<u64>,
    /// What they said.
    pub verdict: Verdict,
    /// Why, in the person's words.
    pub reason: Option<String>,
    /// Since when the gate could not reach the directory then, if the person signed in with their key alone: the
    /// groups are those of an earlier sign-in.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "time::deserialize_some"
    )]
    pub directory_unreachable_since: Option<Timestamp>,
    /// When the gate recorded it.
    #[serde(deserialize_with = "time::deserialize")]
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

/// Each yes and no of these decisions, with what took it back later, if anything did.
pub fn with_withdrawals(decisions: &[Decision]) -> Vec<(&Decision, Option<&Decision>)> {
    let mut told: Vec<(&Decision, Option<&Decision>)> = Vec::new();
    for decision in decisions {
        match decision.verdict {
            Verdict::Approve | Verdict::Reject | Verdict::BreakGlass => {
                told.push((decision, None));
            }
            Verdict::Withdraw => {
                let theirs =
                    told.iter_mut().filter(|(earlier, _)| earlier.person == decision.person);
                theirs.for_each(|(_, taken_back)| *taken_back = taken_back.or(Some(decision)));
            }
        }
    }
    told
}

/// What counts of these decisions: each yes and no that its person did not take back. Who takes a yes
/// back may decide again, and still counts once.
pub fn standing(decisions: &[Decision]) -> Vec<&Decision> {
    let told = with_withdrawals(decisions).into_iter();
    told.filter(|(_, taken_back)| taken_back.is_none()).map(|(decision, _)| decision).collect()
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
    /// The directory's key that signed it, in the form that RFC 7638 hashes.
    pub issuer_key: String,
    /// When the gate recorded it.
    pub decided_at: Timestamp,
}

/// The assertion as evidence writes it, for its digest. Members are unpadded base64url.
#[derive(Serialize)]
struct AssertionText {
    authenticator_data: String,
    client_data_json: String,
    signature: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_handle: Option<String>,
}

impl SignedDecision {
    /// The digest of its assertion: [`assertion_digest`].
    pub fn assertion_digest(&self) -> Result<Digest, CanonicalError> {
        assertion_digest(
            &self.authenticator_data,
            &self.client_data_json,
            &self.signature,
            self.user_handle.as_deref(),
        )
    }
}

/// SHA-256 of the canonical JSON of an assertion. The ledger commits to it, because a second
/// signature over the same bytes can be made from the first one without the key.
pub fn assertion_digest(
    authenticator_data: &[u8],
    client_data_json: &[u8],
    signature: &[u8],
    user_handle: Option<&[u8]>,
) -> Result<Digest, CanonicalError> {
    let encode = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
    let text = AssertionText {
        authenticator_data: encode(authenticator_data),
        client_data_json: encode(client_data_json),
        signature: encode(signature),
        user_handle: user_handle.map(encode),
    };
    Ok(Digest::of(to_canonical_json(&text)?))
}
