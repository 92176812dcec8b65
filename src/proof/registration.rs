//! Reads the response of a registration from its bytes, so that anybody can derive a credential's
//! public key from the record of its enrolment (WebAuthn Level 3, sections 6.5 and 7.1).
//!
//! The attestation statement is read, not judged: [`super::attestation`] does that, where somebody asks for it.

use aws_lc_rs::digest::{SHA256, digest};
use serde::Deserialize;

use super::attestation::Statement;
use super::authenticator_data::{AuthenticatorData, Flags};
use super::base64url;
use super::cbor::{self, Value};
use super::client_data::{self, Ceremony, ClientDataRefusal};
use super::public_key::{PublicKey, PublicKeyRefusal};
use crate::domain::digest::Digest;
use crate::domain::unique_json::{self, NotUnique};

/// The longest credential id that WebAuthn allows, in bytes (section 4, "Credential ID").
const MAXIMUM_CREDENTIAL_ID_LENGTH: usize = 1023;

/// Why a registration response was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegistrationRefusal {
    #[error("the registration response is not the JSON of a new public-key credential")]
    NotJson,
    #[error(
        "the registration response names {0:?} twice; which one the browser meant cannot be known"
    )]
    DuplicateMember(String),
    #[error("the credential's id, rawId and attested id differ")]
    IdMismatch,
    #[error(transparent)]
    ClientData(#[from] ClientDataRefusal),
    #[error("the attestation object is malformed: {0}")]
    Malformed(String),
    #[error(
        "the attestation object has a statement although its format is none: register the key again without attestation"
    )]
    StatementOfNone,
    #[error("the authenticator made the key for another relying party than {0:?}")]
    RelyingPartyMismatch(String),
    #[error("a reserved flag of the authenticator data is set")]
    ReservedFlags,
    #[error("nobody touched the authenticator (user presence)")]
    UserNotPresent,
    #[error("the authenticator did not verify its owner: use its PIN or biometry")]
    UserNotVerified,
    #[error("the authenticator says that the key is backed up although it cannot be")]
    BackedUpButNotEligible,
    #[error("the authenticator data carries no new credential (flag AT)")]
    NoCredential,
    #[error("the credential's id is empty or longer than {MAXIMUM_CREDENTIAL_ID_LENGTH} bytes")]
    CredentialIdLength,
    #[error(transparent)]
    PublicKey(#[from] PublicKeyRefusal),
    #[error("{0} bytes are left over behind the authenticator data")]
    LeftoverBytes(usize),
}

impl RegistrationRefusal {
    /// A stable name for machines.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotJson => "registration_not_json",
            Self::DuplicateMember(_) => "registration_duplicate_member",
            Self::IdMismatch => "id_mismatch",
            Self::ClientData(refusal) => refusal.code(),
            Self::Malformed(_) => "attestation_object_malformed",
            Self::StatementOfNone => "attestation_statement_of_none",
            Self::RelyingPartyMismatch(_) => "relying_party_mismatch",
            Self::ReservedFlags => "reserved_flags",
            Self::UserNotPresent => "user_not_present",
            Self::UserNotVerified => "user_not_verified",
            Self::BackedUpButNotEligible => "backed_up_but_not_eligible",
            Self::NoCredential => "no_attested_credential",
            Self::CredentialIdLength => "credential_id_length",
            Self::PublicKey(refusal) => refusal.code(),
            Self::LeftoverBytes(_) => "leftover_bytes",
        }
    }
}

/// What the authenticator data of a registration says.
#[derive(Clone, Debug)]
pub struct AttestedCredential {
    /// The attestation statement's format by its registered name: `none`, `packed`, ...
    pub format: String,
    /// What stands in it.
    pub statement: Statement,
    /// What it is about, and what the authenticator signed of it.
    pub authenticator_data: Vec<u8>,
    pub rp_id_hash: [u8; 32],
    pub flags: Flags,
    pub sign_count: u32,
    /// The authenticator's model; all zero when it does not say.
    pub aaguid: [u8; 16],
    pub credential_id: Vec<u8>,
    pub public_key: PublicKey,
}

/// A registration response that holds together.
#[derive(Clone, Debug)]
pub struct Registration {
    /// The challenge that the browser was given.
    pub challenge: Vec<u8>,
    /// SHA-256 of the client data, which an attestation is signed over as well.
    pub client_data_hash: [u8; 32],
    pub credential: AttestedCredential,
    /// Hints on how to reach the authenticator (`usb`, `internal`, ...); unsigned.
    pub transports: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RegistrationJson {
    id: String,
    raw_id: String,
    r#type: String,
    response: ResponseJson,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResponseJson {
    #[serde(rename = "clientDataJSON", with = "base64url")]
    client_data_json: Vec<u8>,
    #[serde(with = "base64url")]
    attestation_object: Vec<u8>,
    #[serde(default)]
    transports: Vec<String>,
}

/// Reads a registration response (`PublicKeyCredential.toJSON()`, as received) and checks
/// everything in it but the challenge and the attestation statement. User verification is required.
///
/// # Errors
/// The first check that fails.
pub fn read(
    response: &[u8],
    origin: &str,
    rp_id: &str,
) -> Result<Registration, RegistrationRefusal> {
    let json = unique_json::parse(response).map_err(|error| match error {
        NotUnique::Json(_) => RegistrationRefusal::NotJson,
        NotUnique::Repeated(name) => RegistrationRefusal::DuplicateMember(name),
    })?;
    let json: RegistrationJson =
        serde_json::from_value(json).map_err(|_| RegistrationRefusal::NotJson)?;
    if json.r#type != "public-key" {
        return Err(RegistrationRefusal::NotJson);
    }
    let client_data = &json.response.client_data_json;
    let challenge = client_data::check(client_data, Ceremony::Registration, None, origin)?;
    let credential = read_attestation_object(&json.response.attestation_object)?;
    if json.id != json.raw_id || json.id != base64url::encode(&credential.credential_id) {
        return Err(RegistrationRefusal::IdMismatch);
    }
    if credential.rp_id_hash != digest(&SHA256, rp_id.as_bytes()).as_ref() {
        return Err(RegistrationRefusal::RelyingPartyMismatch(rp_id.to_owned()));
    }
    let flags = credential.flags;
    if !flags.user_present() {
        return Err(RegistrationRefusal::UserNotPresent);
    }
    if !flags.user_verified() {
        return Err(RegistrationRefusal::UserNotVerified);
    }
    if flags.backed_up() && !flags.backup_eligible() {
        return Err(RegistrationRefusal::BackedUpButNotEligible);
    }
    let client_data_hash = *Digest::of(client_data).as_bytes();
    let transports = json.response.transports;
    Ok(Registration { challenge, client_data_hash, credential, transports })
}

/// Reads an attestation object: a CBOR map of exactly `fmt`, `attStmt` and `authData`, in the canonical
/// form of CTAP2. For the format `none` the statement is empty (WebAuthn Level 3, section 8.7).
///
/// # Errors
/// When it is malformed, carries no credential, or a key that is not supported.
pub fn read_attestation_object(bytes: &[u8]) -> Result<AttestedCredential, RegistrationRefusal> {
    let malformed = |why: &str| RegistrationRefusal::Malformed(why.to_owned());
    let mut rest = bytes;
    let value = cbor::read(&mut rest).map_err(|why| malformed(&why.to_string()))?;
    if !rest.is_empty() {
        return Err(malformed("bytes follow it"));
    }
    let Value::Map(members) = value else { return Err(malformed("it is not a map")) };
    // In this order, which is the canonical one.
    let [
        (Value::Text("fmt"), Value::Text(format)),
        (Value::Text("attStmt"), Value::Map(statement)),
        (Value::Text("authData"), Value::Bytes(data)),
    ] = members.as_slice()
    else {
        return Err(malformed("it has other members than fmt, attStmt and authData"));
    };
    if *format == "none" && !statement.is_empty() {
        return Err(RegistrationRefusal::StatementOfNone);
    }
    read_credential(format, Statement::read(format, statement), data)
}

/// Attested credential data (section 6.5.2) follows the header: AAGUID (16), the id's length (2),
/// the id, the COSE key; then extensions when the flag ED says so, and nothing more.
fn read_credential(
    format: &str,
    statement: Statement,
    bytes: &[u8],
) -> Result<AttestedCredential, RegistrationRefusal> {
    let malformed = |why: &str| RegistrationRefusal::Malformed(why.to_owned());
    let short = || malformed("its authenticator data ends early");
    let data = AuthenticatorData::parse(bytes).ok_or_else(short)?;
    if data.flags.has_reserved_bits() {
        return Err(RegistrationRefusal::ReservedFlags);
    }
    if !data.flags.has_attested_credential() {
        return Err(RegistrationRefusal::NoCredential);
    }
    let (aaguid, rest) = data.rest.split_first_chunk::<16>().ok_or_else(short)?;
    let (length, rest) = rest.split_first_chunk::<2>().ok_or_else(short)?;
    let length = usize::from(u16::from_be_bytes(*length));
    if length == 0 || length > MAXIMUM_CREDENTIAL_ID_LENGTH {
        return Err(RegistrationRefusal::CredentialIdLength);
    }
    let (credential_id, mut rest) = rest.split_at_checked(length).ok_or_else(short)?;
    let (_, public_key) = PublicKey::read(&mut rest)?;
    if data.flags.has_extensions() {
        let extensions = cbor::read(&mut rest).map_err(|why| malformed(&why.to_string()))?;
        if !matches!(extensions, Value::Map(_)) {
            return Err(malformed("its extensions are not a map"));
        }
    }
    if !rest.is_empty() {
        return Err(RegistrationRefusal::LeftoverBytes(rest.len()));
    }
    Ok(AttestedCredential {
        format: format.to_owned(),
        statement,
        authenticator_data: bytes.to_vec(),
        rp_id_hash: data.rp_id_hash,
        flags: data.flags,
        sign_count: data.sign_count,
        aaguid: *aaguid,
        credential_id: credential_id.to_vec(),
        public_key,
    })
}
