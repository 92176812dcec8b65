//! Reading a signed token (compact JWS, RFC 7515) strictly, before anything in it is believed.
//!
//! Libraries accept what they need and skip the rest. Here what is not exactly one object with
//! unambiguous members is refused, so that the gate, an auditor and the issuer read the same.

use data_encoding::BASE64URL_NOPAD;
use serde_json::{Map, Value};

use crate::domain::unique_json::{self, NotUnique};

/// GitHub's tokens are under 2 KiB and the largest directory tokens about 8 KiB. Whatever is
/// larger costs the gate more to refuse late than early.
pub(crate) const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// A token whose form is right and whose content is not yet believed.
pub(crate) struct CompactToken<'a> {
    pub(crate) unverified_header: Map<String, Value>,
    pub(crate) unverified_claims: Map<String, Value>,
    /// What the signature is over: the first two parts with their dot.
    pub(crate) signing_input: &'a str,
    /// The third part as it was sent, checked to be base64url.
    pub(crate) signature: &'a str,
}

/// Why a token cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error("it is larger than {MAX_TOKEN_BYTES} bytes")]
    TooLarge,
    #[error("it is empty")]
    Empty,
    #[error("it is not three base64url parts with dots between")]
    NotThreeParts,
    #[error("its {0} is not unpadded base64url")]
    NotBase64(&'static str),
    #[error("its {0} is not one JSON object")]
    NotJson(&'static str),
    #[error("its {0} names a member twice")]
    Duplicate(&'static str),
}

impl<'a> CompactToken<'a> {
    pub(crate) fn parse(token: &'a str) -> Result<Self, Unreadable> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(Unreadable::TooLarge);
        }
        if token.is_empty() {
            return Err(Unreadable::Empty);
        }
        let mut parts = token.split('.');
        let (Some(header), Some(claims), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Unreadable::NotThreeParts);
        };
        // The crate's decoder refuses stray trailing bits, so one token has one spelling.
        if BASE64URL_NOPAD.decode(signature.as_bytes()).is_err() {
            return Err(Unreadable::NotBase64("signature"));
        }
        let signing_input = &token[..header.len() + 1 + claims.len()];
        Ok(Self {
            unverified_header: object("header", header)?,
            unverified_claims: object("payload", claims)?,
            signing_input,
            signature,
        })
    }
}

fn object(part: &'static str, encoded: &str) -> Result<Map<String, Value>, Unreadable> {
    let bytes =
        BASE64URL_NOPAD.decode(encoded.as_bytes()).map_err(|_| Unreadable::NotBase64(part))?;
    match unique_json::parse(&bytes) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(_) | Err(NotUnique::Json(_)) => Err(Unreadable::NotJson(part)),
        Err(NotUnique::Repeated(_)) => Err(Unreadable::Duplicate(part)),
    }
}
