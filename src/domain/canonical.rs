//! Canonical JSON (RFC 8785): the one byte sequence that a value is hashed and signed as.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// A value that has no canonical form, or a text that is not in canonical form.
#[derive(Debug, thiserror::Error)]
pub enum CanonicalError {
    /// The value holds something that JSON cannot say, a NaN for example.
    #[error("the value has no canonical JSON form: {0}")]
    Unrepresentable(serde_json::Error),
    /// The text is not JSON of the expected shape.
    #[error("the text is not of the expected shape: {0}")]
    Malformed(serde_json::Error),
    /// The text says the right thing in other bytes than the canonical ones.
    #[error("the text is JSON but not in canonical form (RFC 8785)")]
    NotCanonical,
}

/// The canonical JSON text of `value` (RFC 8785: sorted members, no white space).
pub fn to_canonical_json<T: Serialize>(value: &T) -> Result<String, CanonicalError> {
    serde_json_canonicalizer::to_string(value).map_err(CanonicalError::Unrepresentable)
}

/// Reads a value back from its canonical text, and refuses any other text for the same value.
///
/// Because the text is compared with what the parsed value serialises to, unknown members,
/// repeated members, other orders and other spellings of numbers are all refused.
pub fn from_canonical_json<T: Serialize + DeserializeOwned>(
    text: &str,
) -> Result<T, CanonicalError> {
    let value: T = serde_json::from_str(text).map_err(CanonicalError::Malformed)?;
    if to_canonical_json(&value)? == text { Ok(value) } else { Err(CanonicalError::NotCanonical) }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn members_are_sorted_and_white_space_is_gone() {
        let text = to_canonical_json(&json!({"b": 1, "a": {"d": "é", "c": [1, 2.5]}})).unwrap();
        assert_eq!(text, r#"{"a":{"c":[1,2.5],"d":"é"},"b":1}"#);
        assert!(from_canonical_json::<Value>(&text).is_ok());
    }

    #[test]
    fn other_bytes_for_the_same_value_are_refused() {
        for text in
            [r#"{"b":1,"a":2}"#, r#"{"a": 1}"#, r#"{"a":1,"a":1}"#, r#"{"a":1.0}"#, "{\"a\":1}\n"]
        {
            assert!(from_canonical_json::<Value>(text).is_err(), "{text}");
        }
    }
}
