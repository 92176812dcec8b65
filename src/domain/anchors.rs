//! Where chains of trust end, as a configuration pins it. What stands beside it in the trust anchors of a
//! verifier (the gate's origin, its log key) names the gate and is no rule.

use serde::{Deserialize, Serialize};

use crate::domain::policy::TrustLevel;

/// Everything that `[trust]`, `[enrolment]`, `[login]`, `[[workload_issuer]]` and `[[witness]]` pin.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Anchors {
    /// How many other approvers must sign for a new key.
    pub endorsements: u8,
    /// The keys that need nobody's signature: COSE public keys of credentials, base64url.
    pub endorsers: Vec<String>,
    /// How many people with such keys must sign for a recovery of the log.
    pub recovery_signatures: u8,
    /// The directory.
    pub login: TrustedLogin,
    /// Who may vouch for workloads.
    pub workload_issuers: Vec<TrustedIssuer>,
    /// The witnesses of the log: verifier keys.
    pub witnesses: Vec<String>,
    /// How many of them must have signed the log before a rollout begins.
    pub witnesses_required: u8,
    /// The makers of authenticators: their roots, as DER in base64url.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attestation_roots: Vec<String>,
    /// The root under which FIDO signs what is known against models of authenticators, as DER in base64url, where
    /// it is asked. What it says is no rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata_root: Option<String>,
}

/// The directory that says who people are.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustedLogin {
    /// The exact `iss`.
    pub issuer: String,
    /// The exact `aud`.
    pub client_id: String,
    /// The claim that names groups.
    pub groups_claim: String,
    /// Whether groups count that the gate read at the directory and that no ID token holds.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub gate_groups: bool,
    /// Its keys (RFC 7638 form), or none to pin the issuer alone.
    pub keys: Vec<String>,
}

/// An issuer of workload tokens.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustedIssuer {
    /// What policies call it.
    pub name: String,
    /// The exact `iss`.
    pub issuer: String,
    /// The exact `aud`.
    pub audience: String,
    /// Its keys (RFC 7638 form), or none to pin the issuer alone.
    pub keys: Vec<String>,
}

impl Anchors {
    /// Whether rules that rest on them bind whoever edits the configuration: something is pinned that stands
    /// for people, and somebody can sign. Where new keys need endorsements and no endorser is pinned yet,
    /// nobody can, and so nobody could ever sign a change.
    pub fn bind(&self) -> bool {
        let level = TrustLevel::of(self.endorsements, &self.endorsers, &self.login.keys);
        let can_sign = self.endorsements == 0 || !self.endorsers.is_empty();
        level == TrustLevel::Pinned && can_sign
    }
}
