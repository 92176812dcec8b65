//! Client data: what the browser says it asked the authenticator to sign
//! (WebAuthn Level 3, section 5.8.1).

use serde_json::{Map, Value};

use super::base64url;
use crate::domain::unique_json::{self, NotUnique};

/// Browsers send about 150 bytes. Four KiB leave room for members yet to be invented, and none
/// for making the verifier work.
pub const MAXIMUM_LENGTH: usize = 4096;

/// The two ceremonies, as client data names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ceremony {
    /// `webauthn.create`: a key is registered.
    Registration,
    /// `webauthn.get`: a key signs.
    Authentication,
}

impl Ceremony {
    fn type_name(self) -> &'static str {
        match self {
            Self::Registration => "webauthn.create",
            Self::Authentication => "webauthn.get",
        }
    }
}

/// Why client data was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientDataRefusal {
    #[error("the client data is {0} bytes long; at most {MAXIMUM_LENGTH} are read")]
    TooLong(usize),
    #[error("the client data is not UTF-8")]
    NotUtf8,
    #[error("the client data is not one JSON object")]
    NotJson,
    #[error("the client data names {0:?} twice; which one the browser meant cannot be known")]
    DuplicateMember(String),
    #[error(
        "the client data is not of the type {expected:?}: the signature was made for another purpose"
    )]
    WrongType { expected: &'static str },
    #[error("the client data carries no challenge in canonical base64url")]
    ChallengeMalformed,
    #[error("the signed challenge is not the one that was issued: sign the statement shown now")]
    ChallengeMismatch,
    #[error("the signature was made on another origin than {expected:?}: open the page there")]
    OriginMismatch { expected: String },
    #[error("the page ran inside a page of another origin (topOrigin): open it in its own tab")]
    TopOriginPresent,
    #[error("the page ran inside a page of another origin (crossOrigin): open it in its own tab")]
    CrossOrigin,
    #[error("crossOrigin in the client data is neither true nor false")]
    CrossOriginMalformed,
}

impl ClientDataRefusal {
    /// A stable name for machines.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLong(_) => "client_data_too_long",
            Self::NotUtf8 => "client_data_not_utf8",
            Self::NotJson => "client_data_not_json",
            Self::DuplicateMember(_) => "client_data_duplicate_member",
            Self::WrongType { .. } => "client_data_wrong_type",
            Self::ChallengeMalformed => "challenge_malformed",
            Self::ChallengeMismatch => "challenge_mismatch",
            Self::OriginMismatch { .. } => "origin_mismatch",
            Self::TopOriginPresent => "top_origin_present",
            Self::CrossOrigin => "cross_origin",
            Self::CrossOriginMalformed => "cross_origin_malformed",
        }
    }
}

/// Checks client data against the ceremony and the origin it must come from, and gives the
/// challenge it carries. `origin` is compared byte by byte with what the browser wrote
/// (`https://gate.example`, no trailing slash).
///
/// # Errors
/// The first check that fails, in the order of the variants.
pub fn check(
    bytes: &[u8],
    ceremony: Ceremony,
    challenge: Option<&[u8]>,
    origin: &str,
) -> Result<Vec<u8>, ClientDataRefusal> {
    let members = read(bytes)?;
    let expected = ceremony.type_name();
    if members.get("type").and_then(Value::as_str) != Some(expected) {
        return Err(ClientDataRefusal::WrongType { expected });
    }
    let received = members
        .get("challenge")
        .and_then(Value::as_str)
        .and_then(base64url::decode)
        .ok_or(ClientDataRefusal::ChallengeMalformed)?;
    if challenge.is_some_and(|challenge| challenge != received) {
        return Err(ClientDataRefusal::ChallengeMismatch);
    }
    if members.get("origin").and_then(Value::as_str) != Some(origin) {
        return Err(ClientDataRefusal::OriginMismatch { expected: origin.to_owned() });
    }
    // A topOrigin comes only with crossOrigin true; it is looked at first because it says more.
    if members.contains_key("topOrigin") {
        return Err(ClientDataRefusal::TopOriginPresent);
    }
    match members.get("crossOrigin") {
        None | Some(Value::Bool(false)) => Ok(received),
        Some(Value::Bool(true)) => Err(ClientDataRefusal::CrossOrigin),
        Some(_) => Err(ClientDataRefusal::CrossOriginMalformed),
    }
}

/// The members of client data, each known to occur once.
fn read(bytes: &[u8]) -> Result<Map<String, Value>, ClientDataRefusal> {
    if bytes.len() > MAXIMUM_LENGTH {
        return Err(ClientDataRefusal::TooLong(bytes.len()));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| ClientDataRefusal::NotUtf8)?;
    match unique_json::parse(text.as_bytes()) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(_) | Err(NotUnique::Json(_)) => Err(ClientDataRefusal::NotJson),
        Err(NotUnique::Repeated(name)) => Err(ClientDataRefusal::DuplicateMember(name)),
    }
}
