//! Canonical base64url: no padding, no white space, no leftover bits (RFC 4648, sections 3.5 and 5).
//!
//! Every value has exactly one text, so that comparing texts is comparing bytes.

use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Deserializer, Serializer, de::Error};

/// The text of `bytes`.
pub fn encode(bytes: &[u8]) -> String {
    BASE64URL_NOPAD.encode(bytes)
}

/// The bytes of `text`, or nothing when `text` is not the canonical text of any bytes.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    BASE64URL_NOPAD.decode(text.as_bytes()).ok()
}

/// For `#[serde(with = "base64url")]`: writes bytes as canonical text.
///
/// # Errors
/// Whatever the serializer reports.
pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&encode(bytes))
}

/// For `#[serde(with = "base64url")]`: reads canonical text.
///
/// # Errors
/// When the value is not a text, or not canonical base64url.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(deserializer)?;
    decode(&text).ok_or_else(|| {
        D::Error::custom("a value is not canonical base64url (no padding, no leftover bits)")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_canonical_text_is_read() {
        assert_eq!(decode("_-8"), Some(vec![0xff, 0xef]));
        for wrong in ["_-8=", "/+8", "_-9", "_-8 ", "_", "_-8\n"] {
            assert_eq!(decode(wrong), None, "{wrong:?}");
        }
    }
}
