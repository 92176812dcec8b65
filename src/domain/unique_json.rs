//! JSON that says one thing: no object in it names a member twice.
//!
//! RFC 8259, section 4, leaves open which of two equal members counts. Two readers that differ are
//! how one text says two things: one to us, another to the next verifier.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Why a text is not read.
#[derive(Debug, thiserror::Error)]
pub enum NotUnique {
    /// It is no JSON.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// It names a member twice.
    #[error("the member {0:?} occurs twice in one object")]
    Repeated(String),
}

/// Reads a JSON text in which no object, at any depth, names a member twice.
///
/// # Errors
/// [`NotUnique`].
pub fn parse(text: &[u8]) -> Result<Value, NotUnique> {
    let UniqueValue { value, repeated } = serde_json::from_slice(text)?;
    match repeated {
        None => Ok(value),
        Some(name) => Err(NotUnique::Repeated(name)),
    }
}

/// A JSON value, and the first member name that occurs twice in one of its objects.
struct UniqueValue {
    value: Value,
    repeated: Option<String>,
}

impl UniqueValue {
    fn scalar<E>(value: impl Into<Value>) -> Result<Self, E> {
        Ok(Self { value: value.into(), repeated: None })
    }
}

impl<'de> Deserialize<'de> for UniqueValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UniqueVisitor)
    }
}

struct UniqueVisitor;

impl<'de> Visitor<'de> for UniqueVisitor {
    type Value = UniqueValue;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<UniqueValue, E> {
        UniqueValue::scalar(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<UniqueValue, E> {
        UniqueValue::scalar(value)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<UniqueValue, E> {
        UniqueValue::scalar(value)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<UniqueValue, E> {
        UniqueValue::scalar(value)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<UniqueValue, E> {
        UniqueValue::scalar(value)
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<UniqueValue, E> {
        UniqueValue::scalar(value)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<UniqueValue, A::Error> {
        let (mut elements, mut repeated) = (Vec::new(), None);
        while let Some(element) = access.next_element::<UniqueValue>()? {
            repeated = repeated.or(element.repeated);
            elements.push(element.value);
        }
        Ok(UniqueValue { value: Value::Array(elements), repeated })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<UniqueValue, A::Error> {
        let (mut members, mut repeated) = (Map::new(), None);
        while let Some((name, member)) = access.next_entry::<String, UniqueValue>()? {
            repeated = repeated.or(member.repeated);
            if members.insert(name.clone(), member.value).is_some() {
                repeated = repeated.or(Some(name));
            }
        }
        Ok(UniqueValue { value: Value::Object(members), repeated })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_members_are_found_at_any_depth() {
        assert_eq!(parse(br#"{"a":[{"b":1},{"b":2}]}"#).unwrap()["a"][1]["b"], 2);
        for text in [r#"{"a":1,"a":1}"#, r#"[{"x":{"a":1,"b":2,"a":3}}]"#, r#"{"a":1,"\u0061":2}"#]
        {
            let refusal = parse(text.as_bytes()).unwrap_err();
            assert!(matches!(&refusal, NotUnique::Repeated(name) if name == "a"), "{text}");
        }
        assert!(matches!(parse(b"{"), Err(NotUnique::Json(_))));
    }
}
