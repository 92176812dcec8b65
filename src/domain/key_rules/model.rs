//! Models of authenticators.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The model of an authenticator, which all of one make and version share (WebAuthn: AAGUID).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Aaguid(pub [u8; 16]);

/// The text is no AAGUID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no AAGUID: write 32 digits of hexadecimal in the form 01234567-89ab-cdef-0123-456789abcdef"
)]
pub struct InvalidAaguid(String);

impl fmt::Display for Aaguid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, byte) in self.0.iter().enumerate() {
            let hyphen = if matches!(place, 4 | 6 | 8 | 10) { "-" } else { "" };
            write!(formatter, "{hyphen}{byte:02x}")?;
        }
        Ok(())
    }
}

impl FromStr for Aaguid {
    type Err = InvalidAaguid;

    fn from_str(text: &str) -> Result<Self, InvalidAaguid> {
        let invalid = || InvalidAaguid(text.to_owned());
        let bytes = data_encoding::HEXLOWER.decode(text.replace('-', "").as_bytes());
        let bytes = bytes.ok().and_then(|bytes| bytes.try_into().ok()).ok_or_else(invalid)?;
        let aaguid = Self(bytes);
        // One spelling alone, so that rules have one digest.
        if aaguid.to_string() == text { Ok(aaguid) } else { Err(invalid()) }
    }
}

impl TryFrom<String> for Aaguid {
    type Error = InvalidAaguid;

    fn try_from(text: String) -> Result<Self, InvalidAaguid> {
        text.parse()
    }
}

impl From<Aaguid> for String {
    fn from(aaguid: Aaguid) -> Self {
        aaguid.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_has_one_spelling() {
        let text = "cb69481e-8ff7-4039-93ec-0a2729a154a8";
        assert_eq!(text.parse::<Aaguid>().unwrap().to_string(), text);
        for bad in [
            "",
            "cb69481e8ff7403993ec0a2729a154a8",
            "CB69481E-8FF7-4039-93EC-0A2729A154A8",
            "cb69481e-8ff7-4039-93ec-0a2729a154",
        ] {
            assert!(bad.parse::<Aaguid>().is_err(), "{bad}");
        }
    }
}
