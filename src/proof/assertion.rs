//! The strict verifier of a person's signature: WebAuthn Level 3, section 7.2, with nothing optional.
//!
//! Our own because a decision's challenge is not random but commits to a statement, and because the
//! proof must be checked again offline, by anybody, from bytes. Beyond the specification it refuses
//! framed pages, leftover bytes, reserved bits and extensions, and knows no "preferred".

use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use super::authenticator_data::{AuthenticatorData, Flags, HEADER_LENGTH};
use super::base64url;
use super::client_data::{self, Ceremony, ClientDataRefusal};
use super::public_key::PublicKey;

/// An assertion as a browser sent it: `PublicKeyCredential.toJSON()`. Nothing in it is believed yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "CredentialJson", into = "CredentialJson")]
pub struct UnverifiedAssertion {
    /// base64url text; must be the text of the same bytes as `raw_id`.
    pub id: String,
    /// base64url text of the credential's id.
    pub raw_id: String,
    pub authenticator_data: Vec<u8>,
    pub client_data_json: Vec<u8>,
    pub signature: Vec<u8>,
    pub user_handle: Option<Vec<u8>>,
}

/// Members that browsers add and nobody signs (`authenticatorAttachment`, extension results) are
/// not read.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct CredentialJson {
    id: String,
    raw_id: String,
    r#type: String,
    response: ResponseJson,
    #[serde(default)]
    client_extension_results: serde_json::Map<String, serde_json::Value>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResponseJson {
    #[serde(with = "base64url")]
    authenticator_data: Vec<u8>,
    #[serde(rename = "clientDataJSON", with = "base64url")]
    client_data_json: Vec<u8>,
    #[serde(with = "base64url")]
    signature: Vec<u8>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user_handle: Option<String>,
}

impl TryFrom<CredentialJson> for UnverifiedAssertion {
    type Error = &'static str;

    fn try_from(json: CredentialJson) -> Result<Self, Self::Error> {
        if json.r#type != "public-key" {
            return Err("the credential's type is not \"public-key\"");
        }
        let user_handle = match json.response.user_handle {
            None => None,
            Some(text) => {
                Some(base64url::decode(&text).ok_or("userHandle is not canonical base64url")?)
            }
        };
        Ok(Self {
            id: json.id,
            raw_id: json.raw_id,
            authenticator_data: json.response.authenticator_data,
            client_data_json: json.response.client_data_json,
            signature: json.response.signature,
            user_handle,
        })
    }
}

impl From<UnverifiedAssertion> for CredentialJson {
    fn from(assertion: UnverifiedAssertion) -> Self {
        Self {
            id: assertion.id,
            raw_id: assertion.raw_id,
            r#type: "public-key".to_owned(),
            response: ResponseJson {
                authenticator_data: assertion.authenticator_data,
                client_data_json: assertion.client_data_json,
                signature: assertion.signature,
                user_handle: assertion.user_handle.as_deref().map(base64url::encode),
            },
            client_extension_results: serde_json::Map::new(),
        }
    }
}

/// What is on record about a registered credential.
#[derive(Clone, Debug)]
pub struct CredentialRecord {
    pub id: Vec<u8>,
    pub public_key: PublicKey,
    pub user_handle: Vec<u8>,
    /// The BE flag at registration; it never changes in a credential's life.
    pub backup_eligible: bool,
    /// The highest signature counter accepted so far.
    pub sign_count: u32,
}

/// What an assertion must match.
#[derive(Clone, Copy, Debug)]
pub struct Expectation<'a> {
    /// SHA-256 of the statement's pre-authentication encoding.
    pub challenge: [u8; 32],
    /// The gate's origin as a browser writes it: `https://gate.example`, no trailing slash.
    pub origin: &'a str,
    /// The relying party's id: the origin's host or a domain above it.
    pub rp_id: &'a str,
    /// The credentials that may sign: those of the signed-in person, no others.
    pub credentials: &'a [CredentialRecord],
    /// Refuses keys that may be copied to other devices (BE).
    pub device_bound: bool,
}

/// Why an assertion was refused. Each variant is one check.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AssertionRefusal {
    #[error("the credential's rawId is not canonical base64url")]
    RawIdMalformed,
    #[error("the credential's id and rawId differ")]
    IdMismatch,
    #[error("the credential is none of those that may sign here: use a key registered to you")]
    CredentialNotAllowed,
    #[error("the authenticator named another person than the credential's owner (userHandle)")]
    UserHandleMismatch,
    #[error(transparent)]
    ClientData(#[from] ClientDataRefusal),
    #[error("the authenticator data is {0} bytes long; at least {HEADER_LENGTH} are needed")]
    AuthenticatorDataTooShort(usize),
    #[error("the authenticator signed for another relying party than {0:?}")]
    RelyingPartyMismatch(String),
    #[error("a reserved flag of the authenticator data is set")]
    ReservedFlags,
    #[error("nobody touched the authenticator (user presence): try again and touch the key")]
    UserNotPresent,
    #[error("the authenticator did not verify its owner: use its PIN or biometry")]
    UserNotVerified,
    #[error("the authenticator says that the key is backed up although it cannot be")]
    BackedUpButNotEligible,
    #[error("the key's backup eligibility is not what it was at registration: register it again")]
    BackupEligibilityChanged,
    #[error("the key can be copied to other devices, and the policy asks for a device-bound one")]
    NotDeviceBound,
    #[error("the authenticator data of a signature carries a new credential (flag AT)")]
    AttestedCredentialPresent,
    #[error("the authenticator data carries extensions (flag ED) that nobody asked for")]
    ExtensionsPresent,
    #[error("{0} bytes are left over behind the authenticator data")]
    LeftoverBytes(usize),
    #[error("the signature is not this key's over these bytes")]
    SignatureInvalid,
    #[error(
        "the key's signature counter went from {stored} to {received}: it may have been copied; \
         suspend it and register another"
    )]
    SignCountRegressed { stored: u32, received: u32 },
}

impl AssertionRefusal {
    /// A stable name for machines.
    pub fn code(&self) -> &'static str {
        match self {
            Self::RawIdMalformed => "raw_id_malformed",
            Self::IdMismatch => "id_mismatch",
            Self::CredentialNotAllowed => "credential_not_allowed",
            Self::UserHandleMismatch => "user_handle_mismatch",
            Self::ClientData(refusal) => refusal.code(),
            Self::AuthenticatorDataTooShort(_) => "authenticator_data_too_short",
            Self::RelyingPartyMismatch(_) => "relying_party_mismatch",
            Self::ReservedFlags => "reserved_flags",
            Self::UserNotPresent => "user_not_present",
            Self::UserNotVerified => "user_not_verified",
            Self::BackedUpButNotEligible => "backed_up_but_not_eligible",
            Self::BackupEligibilityChanged => "backup_eligibility_changed",
            Self::NotDeviceBound => "not_device_bound",
            Self::AttestedCredentialPresent => "attested_credential_present",
            Self::ExtensionsPresent => "extensions_present",
            Self::LeftoverBytes(_) => "leftover_bytes",
            Self::SignatureInvalid => "signature_invalid",
            Self::SignCountRegressed { .. } => "sign_count_regressed",
        }
    }
}

/// Proof that an enrolled key, with its owner verified, signed the expected challenge.
/// Only [`verify`] and [`verify_from_record`] make one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedAssertion {
    credential_id: Vec<u8>,
    flags: Flags,
    new_sign_count: u32,
}

impl VerifiedAssertion {
    /// The id of the credential that signed.
    pub fn credential_id(&self) -> &[u8] {
        &self.credential_id
    }

    /// The flags of the authenticator data: UP and UV are always set.
    pub fn flags(&self) -> Flags {
        self.flags
    }

    /// The counter to store, by compare-and-set on the one the record held.
    pub fn new_sign_count(&self) -> u32 {
        self.new_sign_count
    }
}

/// Verifies an assertion at the moment of decision: every check, and the signature counter against
/// the record.
///
/// # Errors
/// The first check that fails.
pub fn verify(
    expectation: &Expectation<'_>,
    unverified: &UnverifiedAssertion,
) -> Result<VerifiedAssertion, AssertionRefusal> {
    let record = find_credential(expectation, unverified)?;
    let verified = examine(expectation, record, unverified)?;
    judge_sign_count(record.sign_count, verified.new_sign_count)?;
    Ok(verified)
}

/// Verifies an assertion later, from the evidence. Every check but the signature counter, whose
/// history is no part of the evidence: `sign_count` of the records is not looked at.
///
/// # Errors
/// The first check that fails.
pub fn verify_from_record(
    expectation: &Expectation<'_>,
    unverified: &UnverifiedAssertion,
) -> Result<VerifiedAssertion, AssertionRefusal> {
    examine(expectation, find_credential(expectation, unverified)?, unverified)
}

/// The counter rule (section 6.1.1): a key that does not count says 0 for ever, any other counts
/// strictly upwards.
///
/// # Errors
/// When the counter stood still or went back: two devices may hold the same key.
pub fn judge_sign_count(stored: u32, received: u32) -> Result<(), AssertionRefusal> {
    if (stored == 0 && received == 0) || received > stored {
        Ok(())
    } else {
        Err(AssertionRefusal::SignCountRegressed { stored, received })
    }
}

fn find_credential<'a>(
    expectation: &Expectation<'a>,
    unverified: &UnverifiedAssertion,
) -> Result<&'a CredentialRecord, AssertionRefusal> {
    let id = base64url::decode(&unverified.raw_id).ok_or(AssertionRefusal::RawIdMalformed)?;
    if unverified.id != unverified.raw_id {
        return Err(AssertionRefusal::IdMismatch);
    }
    let record = expectation.credentials.iter().find(|record| record.id == id);
    record.ok_or(AssertionRefusal::CredentialNotAllowed)
}

fn examine(
    expectation: &Expectation<'_>,
    record: &CredentialRecord,
    unverified: &UnverifiedAssertion,
) -> Result<VerifiedAssertion, AssertionRefusal> {
    if unverified.user_handle.as_ref().is_some_and(|handle| *handle != record.user_handle) {
        return Err(AssertionRefusal::UserHandleMismatch);
    }
    let Expectation { challenge, origin, .. } = expectation;
    let client_data = &unverified.client_data_json;
    client_data::check(client_data, Ceremony::Authentication, Some(challenge), origin)?;
    let data = check_authenticator_data(expectation, record, &unverified.authenticator_data)?;

    let mut message = Vec::with_capacity(HEADER_LENGTH + 32);
    message.extend_from_slice(&unverified.authenticator_data);
    message.extend_from_slice(digest(&SHA256, client_data).as_ref());
    if !record.public_key.verifies(&message, &unverified.signature) {
        return Err(AssertionRefusal::SignatureInvalid);
    }
    Ok(VerifiedAssertion {
        credential_id: record.id.clone(),
        flags: data.flags,
        new_sign_count: data.sign_count,
    })
}

fn check_authenticator_data<'a>(
    expectation: &Expectation<'_>,
    record: &CredentialRecord,
    bytes: &'a [u8],
) -> Result<AuthenticatorData<'a>, AssertionRefusal> {
    let data = AuthenticatorData::parse(bytes)
        .ok_or(AssertionRefusal::AuthenticatorDataTooShort(bytes.len()))?;
    let flags = data.flags;
    if data.rp_id_hash != digest(&SHA256, expectation.rp_id.as_bytes()).as_ref() {
        return Err(AssertionRefusal::RelyingPartyMismatch(expectation.rp_id.to_owned()));
    }
    let refusal = if flags.has_reserved_bits() {
        AssertionRefusal::ReservedFlags
    } else if !flags.user_present() {
        AssertionRefusal::UserNotPresent
    } else if !flags.user_verified() {
        AssertionRefusal::UserNotVerified
    } else if flags.backed_up() && !flags.backup_eligible() {
        AssertionRefusal::BackedUpButNotEligible
    } else if flags.backup_eligible() != record.backup_eligible {
        AssertionRefusal::BackupEligibilityChanged
    } else if flags.backup_eligible() && expectation.device_bound {
        AssertionRefusal::NotDeviceBound
    } else if flags.has_attested_credential() {
        AssertionRefusal::AttestedCredentialPresent
    } else if flags.has_extensions() {
        AssertionRefusal::ExtensionsPresent
    } else if !data.rest.is_empty() {
        AssertionRefusal::LeftoverBytes(data.rest.len())
    } else {
        return Ok(data);
    };
    Err(refusal)
}
