//! Reading a signed token (compact JWS, RFC 7515) strictly, before anything in it is believed, and
//! verifying it with a key that is known.
//!
//! Libraries accept what they need and skip the rest. Here what is not exactly one object with
//! unambiguous members is refused, so that the gate, an auditor and the issuer read the same.

use aws_lc_rs::rsa::PublicKeyComponents;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaParameters, UnparsedPublicKey,
    VerificationAlgorithm,
};
use data_encoding::BASE64URL_NOPAD;
use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::domain::unique_json::{self, NotUnique};

/// GitHub's tokens are under 2 KiB and the largest directory tokens about 8 KiB. Whatever is
/// larger costs the gate more to refuse late than early.
pub const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// A token whose form is right and whose content is not yet believed.
pub struct CompactToken<'a> {
    /// The first part.
    pub unverified_header: Map<String, Value>,
    /// The second part.
    pub unverified_claims: Map<String, Value>,
    /// What the signature is over: the first two parts with their dot.
    pub signing_input: &'a str,
    /// The third part as it was sent, checked to be base64url.
    pub signature: &'a str,
}

/// Why a token cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum Unreadable {
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
    /// Reads a token, and no other spelling of the same token.
    ///
    /// # Errors
    /// When it is not exactly one header, one set of claims and a signature.
    pub fn parse(token: &'a str) -> Result<Self, Unreadable> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(Unreadable::TooLarge);
        }
        let [header, claims, signature] = parts(token)?;
        // The crate's decoder refuses stray trailing bits, so one token has one spelling.
        if BASE64URL_NOPAD.decode(signature.as_bytes()).is_err() {
            return Err(Unreadable::NotBase64("signature"));
        }
        Ok(Self {
            unverified_header: object("header", header)?,
            unverified_claims: object("payload", claims)?,
            signing_input: &token[..header.len() + 1 + claims.len()],
            signature,
        })
    }
}

/// The claims of a token, whoever signed it.
///
/// # Errors
/// When they are not one JSON object, as [`CompactToken`] reads it.
pub fn unverified_claims(token: &str) -> Result<Map<String, Value>, Unreadable> {
    let [_, claims, _] = parts(token)?;
    object("payload", claims)
}

/// The header of a token, whoever signed it.
///
/// # Errors
/// When it is not one JSON object, as [`CompactToken`] reads it.
pub fn unverified_header(token: &str) -> Result<Map<String, Value>, Unreadable> {
    let [header, _, _] = parts(token)?;
    object("header", header)
}

/// A claim that is no time as tokens write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not a whole number of seconds since 1970")]
pub struct NotATime;

/// The time in a claim, if there is one: whole seconds since 1970 of at most eleven digits, without sign,
/// fraction or exponent. RFC 7519, section 2, allows more spellings than any issuer uses, and two readers
/// that round them differently would disagree about when a token was valid.
///
/// # Errors
/// When the claim is anything else.
pub fn numeric_date(
    claims: &Map<String, Value>,
    name: &str,
) -> Result<Option<Timestamp>, NotATime> {
    /// The year 5138: within what every reader can hold.
    const END: u64 = 100_000_000_000;
    let Some(value) = claims.get(name) else { return Ok(None) };
    let seconds = value.as_u64().filter(|seconds| *seconds < END).ok_or(NotATime)?;
    let seconds = i64::try_from(seconds).map_err(|_| NotATime)?;
    Timestamp::from_second(seconds).map(Some).map_err(|_| NotATime)
}

/// The one audience of a token, if it has exactly one: a text, or a list of one text, which RFC 7519,
/// section 4.1.3, makes the general form of the same (Kubernetes writes no other). A list of more is a token
/// that another party holds too and could use here, so it has no one audience.
pub fn sole_audience(claims: &Map<String, Value>) -> Option<&str> {
    match claims.get("aud")? {
        Value::Array(audiences) => match audiences.as_slice() {
            [one] => one.as_str(),
            _ => None,
        },
        one => one.as_str(),
    }
}

/// The three parts of a token.
fn parts(token: &str) -> Result<[&str; 3], Unreadable> {
    if token.is_empty() {
        return Err(Unreadable::Empty);
    }
    let mut parts = token.split('.');
    let (Some(header), Some(claims), Some(signature), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Unreadable::NotThreeParts);
    };
    Ok([header, claims, signature])
}

/// Whether `key` (RFC 7638 form) signed `token`, by the algorithm that its header names and that the
/// key is made for. The claims are not looked at.
pub fn is_signed_by(token: &str, key: &str) -> bool {
    let Ok([header, claims, signature]) = parts(token) else { return false };
    let Ok(header_members) = object("header", header) else { return false };
    // Rules that we do not know cannot be kept (RFC 7515, section 4.1.11). A key that the header
    // brings or points to (`jwk`, `jku`, `x5u`) says nothing: it is never looked at.
    if header_members.contains_key("crit") {
        return false;
    }
    let Some(algorithm) = header_members.get("alg").and_then(Value::as_str) else { return false };
    let Ok(Value::Object(key)) = serde_json::from_str(key) else { return false };
    let input = &token.as_bytes()[..header.len() + 1 + claims.len()];
    let Ok(signature) = BASE64URL_NOPAD.decode(signature.as_bytes()) else { return false };
    verifies(&key, algorithm, input, &signature).unwrap_or(false)
}

/// `None` if the algorithm is none of ours, or not one of the key's.
fn verifies(
    key: &Map<String, Value>,
    algorithm: &str,
    input: &[u8],
    signature: &[u8],
) -> Option<bool> {
    let text = |name: &str| key.get(name).and_then(Value::as_str);
    let bytes = |name: &str| BASE64URL_NOPAD.decode(text(name)?.as_bytes()).ok();
    let by = |algorithm: &'static dyn VerificationAlgorithm, key: Vec<u8>| {
        Some(UnparsedPublicKey::new(algorithm, key).verify(input, signature).is_ok())
    };
    let point = |length: usize| {
        let (x, y) = (bytes("x")?, bytes("y")?);
        (x.len() == length && y.len() == length).then(|| [&[0x04], &x[..], &y[..]].concat())
    };
    match (algorithm, text("kty")?, text("crv")) {
        ("ES256", "EC", Some("P-256")) => by(&ECDSA_P256_SHA256_FIXED, point(32)?),
        ("ES384", "EC", Some("P-384")) => by(&ECDSA_P384_SHA384_FIXED, point(48)?),
        ("EdDSA", "OKP", Some("Ed25519")) => by(&ED25519, bytes("x")?),
        (algorithm, "RSA", None) => {
            let (n, e) = (bytes("n")?, bytes("e")?);
            let components = PublicKeyComponents { n, e };
            Some(components.verify(rsa_parameters(algorithm)?, input, signature).is_ok())
        }
        _ => None,
    }
}

/// RSA with 2048 to 8192 bits.
fn rsa_parameters(algorithm: &str) -> Option<&'static RsaParameters> {
    match algorithm {
        "RS256" => Some(&RSA_PKCS1_2048_8192_SHA256),
        "RS384" => Some(&RSA_PKCS1_2048_8192_SHA384),
        "RS512" => Some(&RSA_PKCS1_2048_8192_SHA512),
        "PS256" => Some(&RSA_PSS_2048_8192_SHA256),
        "PS384" => Some(&RSA_PSS_2048_8192_SHA384),
        "PS512" => Some(&RSA_PSS_2048_8192_SHA512),
        _ => None,
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

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8037, appendix A.4.
    const KEY: &str =
        r#"{"crv":"Ed25519","kty":"OKP","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    const TOKEN: &str = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";

    #[test]
    fn the_example_of_rfc_8037_verifies_and_nothing_near_it() {
        assert!(is_signed_by(TOKEN, KEY));
        for at in 0..TOKEN.len() {
            let mut other = TOKEN.as_bytes().to_vec();
            other[at] = if other[at] == b'A' { b'B' } else { b'A' };
            let other = String::from_utf8(other).unwrap();
            assert!(!is_signed_by(&other, KEY), "{other}");
        }
        for header in [
            r#"{"alg":"none"}"#,
            r#"{"alg":"EdDSA","crit":[]}"#,
            r#"{"alg":"ES256"}"#,
            r#"{"alg":"EdDSA","alg":"EdDSA"}"#,
        ] {
            let (_, rest) = TOKEN.split_once('.').unwrap();
            let header = BASE64URL_NOPAD.encode(header.as_bytes());
            assert!(!is_signed_by(&format!("{header}.{rest}"), KEY), "{header}");
        }
    }
    #[test]
    fn times_are_whole_seconds_of_at_most_eleven_digits() {
        let read = |text: &str| {
            let claims = unique_json::parse(format!(r#"{{"exp":{text}}}"#).as_bytes()).unwrap();
            numeric_date(claims.as_object().unwrap(), "exp")
        };
        assert_eq!(read("0"), Ok(Some(Timestamp::UNIX_EPOCH)));
        assert_eq!(read("99999999999").unwrap().unwrap().as_second(), 99_999_999_999);
        assert_eq!(numeric_date(&Map::new(), "exp"), Ok(None));
        for text in [
            "1.0",
            "1.5",
            "1e3",
            "1E3",
            "-0",
            "-1",
            "100000000000",
            "1e300",
            "\"1\"",
            "null",
            "true",
            "[1]",
            "{}",
        ] {
            assert_eq!(read(text), Err(NotATime), "{text}");
        }
    }
}
