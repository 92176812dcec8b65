//! JSON Web Keys in the one form that is hashed (RFC 7638), so that a key has one name and one text.

use serde_json::Value;

use crate::domain::canonical::{from_canonical_json, to_canonical_json};
use crate::domain::digest::Digest;
use crate::proof::base64url;

/// The key's required members alone, in canonical order; `None` if it is no RSA, elliptic-curve or
/// Ed25519 public key.
pub fn canonical_key(jwk: &Value) -> Option<String> {
    let members: &[&str] = match jwk.get("kty")?.as_str()? {
        "RSA" => &["e", "kty", "n"],
        "EC" => &["crv", "kty", "x", "y"],
        "OKP" => &["crv", "kty", "x"],
        _ => return None,
    };
    let mut canonical = serde_json::Map::new();
    for name in members {
        canonical.insert((*name).to_owned(), jwk.get(*name)?.as_str()?.into());
    }
    to_canonical_json(&canonical).ok()
}

/// An Ed25519 public key in [`canonical_key`] form (RFC 8037).
pub fn ed25519_key(public: &[u8; 32]) -> String {
    format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, base64url::encode(public))
}

/// Whether `text` is a key in [`canonical_key`] form, byte for byte: of a known type and curve, its
/// numbers in canonical base64url and of the one length that they may have. Whether they are a key
/// shows when it verifies something.
pub fn is_canonical_key(text: &str) -> bool {
    let Ok(jwk) = from_canonical_json::<Value>(text) else { return false };
    let text_of = |name: &str| jwk.get(name).and_then(Value::as_str);
    let number = |name: &str| text_of(name).and_then(base64url::decode);
    let is_long = |name: &str, length| number(name).is_some_and(|bytes| bytes.len() == length);
    // RFC 7518, section 2 (Base64urlUInt): no zero in front.
    let is_unsigned =
        |name: &str| number(name).is_some_and(|bytes| !matches!(bytes[..], [] | [0, ..]));
    let is_known = match (text_of("kty"), text_of("crv")) {
        (Some("RSA"), None) => is_unsigned("n") && is_unsigned("e"),
        (Some("EC"), Some("P-256")) => is_long("x", 32) && is_long("y", 32),
        (Some("EC"), Some("P-384")) => is_long("x", 48) && is_long("y", 48),
        (Some("OKP"), Some("Ed25519")) => is_long("x", 32),
        _ => false,
    };
    is_known && canonical_key(&jwk).as_deref() == Some(text)
}

/// base64url of the SHA-256 of a key in [`canonical_key`] form.
pub fn thumbprint(canonical_key: &str) -> String {
    base64url::encode(Digest::of(canonical_key).as_bytes())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_thumbprint_is_that_of_rfc_7638() {
        // The example of RFC 7638, section 3.1.
        let key = json!({
            "kty": "RSA",
            "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
            "e": "AQAB", "alg": "RS256", "kid": "2011-04-29",
        });
        let canonical = canonical_key(&key).unwrap();
        assert_eq!(thumbprint(&canonical), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
        assert_eq!(canonical_key(&json!({"kty": "oct", "k": "AA"})), None);
        assert!(is_canonical_key(&canonical));
        assert!(!is_canonical_key(&canonical.replace("\"kty\"", " \"kty\"")));
        assert!(!is_canonical_key(&key.to_string()));
        assert!(!is_canonical_key(&canonical.replace("AQAB", "AQAB=")));
    }
}
