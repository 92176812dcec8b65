//! Times in documents: RFC 3339 of the years 0001 to 9998, so that every language's calendar can hold
//! them. Used as `#[serde(deserialize_with = …)]` wherever a document that is hashed or signed has a time.

use jiff::Timestamp;
use serde::de::{Deserialize, Deserializer, Error};

/// 0001-01-01T00:00:00Z.
const FIRST: Timestamp = Timestamp::constant(-62_135_596_800, 0);
/// 9999-01-01T00:00:00Z.
const END: Timestamp = Timestamp::constant(253_370_764_800, 0);

/// Whether documents can hold this time.
pub fn is_writable(time: Timestamp) -> bool {
    FIRST <= time && time < END
}

/// Reads a time.
///
/// # Errors
/// When it is none, or of another year than 0001 to 9998.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    let time = Timestamp::deserialize(deserializer)?;
    if is_writable(time) {
        Ok(time)
    } else {
        Err(D::Error::custom("a time is not of the years 0001 to 9998"))
    }
}

/// Reads a time that may be left out, together with `#[serde(default)]`.
///
/// # Errors
/// As [`deserialize`].
pub fn deserialize_some<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Timestamp>, D::Error> {
    deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize)]
    struct Document {
        #[serde(deserialize_with = "deserialize")]
        at: Timestamp,
    }

    #[test]
    fn only_years_that_every_calendar_has_are_read() {
        let read = |text: &str| serde_json::from_str::<Document>(&format!(r#"{{"at":"{text}"}}"#));
        for time in ["0001-01-01T00:00:00Z", "9998-12-31T23:59:59.999999999Z"] {
            assert_eq!(read(time).unwrap().at.to_string(), time);
        }
        for time in ["0000-12-31T23:59:59Z", "-000001-01-01T00:00:00Z", "9999-01-01T00:00:00Z", "x"]
        {
            assert!(read(time).is_err(), "{time}");
        }
    }
}
