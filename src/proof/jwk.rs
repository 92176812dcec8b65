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

/// Whether `text` is a key in [`canonical_key`] form, byte for byte: of a known type and curve, its
/// values in canonical base64url. Whether its numbers are a key shows when it verifies something.
pub fn is_canonical_key(text: &str) -> bool {
    let Ok(jwk) = from_canonical_json::<Value>(text) else { return false };
    let is_number = |name: &str| match jwk.get(name) {
        None => true,
        Some(value) => value.as_str().is_some_and(|text| base64url::decode(text).is_some()),
    };
    let curve = jwk.get("crv").and_then(Value::as_str);
    let is_known = match jwk.get("kty").and_then(Value::as_str) {
        Some("RSA") => true,
        Some("EC") => matches!(curve, Some("P-256" | "P-384")),
        Some("OKP") => curve == Some("Ed25519"),
        _ => false,
    };
    is_known
        && ["n", "e", "x", "y"].into_iter().all(is_number)
        && canonical_key(&jwk).as_deref() == Some(text)
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
