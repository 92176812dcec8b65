//! Tokens that the gate makes itself, for agents that came with a credential of the gate.
//!
//! They are evidence of who asked, as an issuer's tokens are, and live for one request: nobody else ever
//! holds one before it is spent, and none is taken from outside.

use jiff::Timestamp;

use super::{Refusal, VerifiedRequester, WorkloadIssuer, check_algorithm, check_header, claims};
use super::{requester, signature_fits};
use crate::proof::token::CompactToken;

/// Verifies a token that the gate made just now with this key (RFC 7638 form), by the rules for all tokens.
///
/// # Errors
/// A [`Refusal`], which here says that the gate made it wrongly.
pub fn verify_own(
    issuer: &WorkloadIssuer,
    key: &str,
    token: &str,
    now: Timestamp,
) -> Result<VerifiedRequester, Refusal> {
    let parsed = CompactToken::parse(token)?;
    check_header(&parsed.unverified_header)?;
    check_algorithm(issuer, &parsed.unverified_header)?;
    let jwk = serde_json::from_str(key).unwrap_or_default();
    if !signature_fits(&parsed, &jwk, issuer.algorithm) {
        return Err(Refusal::BadSignature { issuer: issuer.name.clone() });
    }
    let checked = claims::check(issuer, &parsed.unverified_claims, now)?;
    Ok(requester(issuer, parsed, token, checked, key.to_owned()))
}
