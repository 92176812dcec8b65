//! Identifiers that the gate chooses.

use std::fmt;
use std::str::FromStr;

use data_encoding::{BASE32_NOPAD, Encoding, Specification};
use serde::{Deserialize, Serialize};

use crate::domain::digest::Digest;

const APPROVAL_PREFIX: &str = "apr_";

/// Names one approval: `apr_` and 26 lower-case base32 characters (128 random bits), so that
/// an identifier tells nothing and cannot be guessed.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ApprovalId(String);

/// The text does not name an approval.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("an approval is named apr_ and 26 characters of a-z and 2-7")]
pub struct InvalidApprovalId;

impl ApprovalId {
    /// Names an approval by 16 random bytes.
    pub fn from_random(bytes: [u8; 16]) -> Self {
        Self(format!("{APPROVAL_PREFIX}{}", BASE32_NOPAD.encode(&bytes).to_lowercase()))
    }

    /// The text form.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ApprovalId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl FromStr for ApprovalId {
    type Err = InvalidApprovalId;

    fn from_str(text: &str) -> Result<Self, InvalidApprovalId> {
        let letters = text.strip_prefix(APPROVAL_PREFIX).ok_or(InvalidApprovalId)?;
        let known = |byte: u8| matches!(byte, b'a'..=b'z' | b'2'..=b'7');
        if letters.len() == 26 && letters.bytes().all(known) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidApprovalId)
        }
    }
}

impl TryFrom<String> for ApprovalId {
    type Error = InvalidApprovalId;

    fn try_from(text: String) -> Result<Self, InvalidApprovalId> {
        text.parse()
    }
}

impl From<ApprovalId> for String {
    fn from(id: ApprovalId) -> Self {
        id.0
    }
}

/// A few characters of a deployment's digest for two people, or a log and a page, to compare.
///
/// Eight characters of Crockford's base32 (no I, L, O, U), 40 bits, written `XXXX-XXXX`. An aid
/// for the eye and never a check: whatever decides compares whole digests.
pub fn short_code(digest: &Digest) -> String {
    let letters = crockford().encode(&digest.as_bytes()[..5]);
    format!("{}-{}", &letters[..4], &letters[4..8])
}

fn crockford() -> Encoding {
    let mut specification = Specification::new();
    specification.symbols.push_str("0123456789ABCDEFGHJKMNPQRSTVWXYZ");
    #[expect(clippy::expect_used, reason = "the alphabet is a constant of 32 different letters")]
    specification.encoding().expect("a constant alphabet")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn approval_ids_read_back() {
        let id = ApprovalId::from_random([7; 16]);
        assert_eq!(id.to_string().parse::<ApprovalId>().unwrap(), id);
        for bad in ["", "apr_", "apr_A", "apr_1aaaaaaaaaaaaaaaaaaaaaaaaa", "x"] {
            assert_eq!(bad.parse::<ApprovalId>(), Err(InvalidApprovalId));
        }
    }

    #[test]
    fn short_codes_are_easy_to_compare() {
        assert_eq!(short_code(&Digest::of("abc")), "Q9W1-DFWF");
    }
}
