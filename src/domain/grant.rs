//! Grants: the gate's signed word that one act was approved, for whoever does it or lets it be done.
//!
//! A grant is a token (RFC 7519) that lives five minutes at most and counts once. Its key is the
//! configuration's and no other key of the gate: whoever believes grants has to believe nothing else.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::domain::digest::Digest;
use crate::domain::ids::ApprovalId;

/// How long a grant lives: long enough to use it, short enough that one that leaked is worth little.
pub const GRANT_LIFETIME: SignedDuration = SignedDuration::from_mins(5);
/// The `typ` of a grant, so that no other token of any key is ever one (RFC 8725, section 3.11).
pub const GRANT_TYPE: &str = "countersign-grant+jwt";
/// How grants are signed (RFC 8037).
pub const GRANT_ALGORITHM: &str = "EdDSA";

/// What a grant says.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantClaims {
    /// The gate's origin.
    pub iss: String,
    /// Who takes it: the declared audience of the tool.
    pub aud: String,
    /// Who may use it: the requester.
    pub sub: String,
    /// Names this grant.
    pub jti: String,
    /// Seconds since 1970.
    pub iat: i64,
    /// Not before; the same.
    pub nbf: i64,
    /// Until when; at most five minutes later, and not after the approval runs out.
    pub exp: i64,
    /// The approval.
    pub approval: ApprovalId,
    /// The environment whose rules were met.
    pub environment: String,
    /// The tool.
    pub tool: String,
    /// SHA-256 of the canonical action, hexadecimal: what people signed.
    pub action_digest: Digest,
    /// SHA-256 of the arguments as canonical JSON (RFC 8785), hexadecimal: what the tool must be called with.
    pub arguments_digest: Digest,
}

impl GrantClaims {
    /// The times of a grant that is made now for an approval that runs out then.
    pub fn times(now: Timestamp, runs_out: Timestamp) -> (i64, i64) {
        let longest = now.saturating_add(GRANT_LIFETIME).unwrap_or(now);
        (now.as_second(), longest.min(runs_out).as_second())
    }
}

/// The private key of grants (Ed25519, RFC 8032).
pub struct GrantKey(Ed25519KeyPair);

/// The seed is not 32 bytes.
#[derive(Debug, thiserror::Error)]
#[error("the key of grants is not a 32-byte Ed25519 seed")]
pub struct InvalidGrantKey;

impl GrantKey {
    /// The key of a 32-byte seed.
    pub fn from_seed(seed: &[u8]) -> Result<Self, InvalidGrantKey> {
        Ed25519KeyPair::from_seed_unchecked(seed).map(Self).map_err(|_| InvalidGrantKey)
    }

    /// The public key.
    pub fn public(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(self.0.public_key().as_ref());
        bytes
    }

    /// Signs the input of a token (RFC 7515).
    pub fn sign(&self, signing_input: &str) -> Vec<u8> {
        self.0.sign(signing_input.as_bytes()).as_ref().to_vec()
    }
}

impl std::fmt::Debug for GrantKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("GrantKey(secret)")
    }
}
