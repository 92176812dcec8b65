//! Workload tokens: who asks. OpenID Connect tokens of CI jobs and agents, verified strictly.
//!
//! The signature is the library's work. What a token must say is checked here, because the
//! library's defaults let tokens without issuer or audience pass, match any member of a list of
//! audiences, skip `nbf`, allow a minute of leeway and read the system's clock.
//!
//! Sources: RFC 7515, RFC 7519, RFC 8725 (best current practices), and GitHub's reference of
//! its OIDC token.

mod claims;
mod issuer_keys;
mod own;
mod refusal;

use aws_lc_rs::digest;
use data_encoding::HEXLOWER;
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::integrations::outbound::OutboundHttp;
use crate::proof::jwk::canonical_key;
use crate::proof::token::CompactToken;
use claims::Checked;
use issuer_keys::{IssuerKeys, NoKey};

pub use own::verify_own;
pub use refusal::{Refusal, Refused, Signed};

/// An issuer whose workloads may ask, as the configuration names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkloadIssuer {
    /// What environments call this issuer in their rules.
    pub name: String,
    /// The exact value of `iss`, byte by byte.
    pub issuer: String,
    /// Where its keys are. Without it, the issuer's discovery document says.
    #[serde(default)]
    pub jwks_uri: Option<String>,
    /// The one algorithm that its tokens are signed with.
    pub algorithm: TokenAlgorithm,
    /// The exact value of `aud`: a name of this gate that no other party answers to.
    pub audience: String,
    /// The claim that tells requesters apart and is never given to another one later.
    /// Without it, `repository_id` for GitHub and `sub` for others.
    #[serde(default)]
    pub requester_claim: Option<String>,
    /// Whose conventions the claims follow.
    #[serde(default)]
    pub kind: WorkloadKind,
    /// Values of `event_name` that may never ask, because people outside can cause them.
    #[serde(default = "events_of_strangers")]
    pub refused_events: Vec<String>,
}

/// Whose conventions a token's claims follow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkloadKind {
    /// GitHub Actions: the token says which event started the run.
    Github,
    /// Any other issuer.
    #[default]
    Generic,
}

/// The signature algorithms that an issuer can be pinned to (RFC 7518, RFC 8037).
/// None of them is symmetric, so that no published key can ever be a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are those of RFC 7518, section 3.1")]
pub enum TokenAlgorithm {
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    EdDSA,
}

/// `pull_request` runs what a fork wrote; `pull_request_target` and `workflow_run` run with the
/// repository's rights on input from outside.
pub fn events_of_strangers() -> Vec<String> {
    ["pull_request", "pull_request_target", "workflow_run"].map(str::to_owned).to_vec()
}

impl WorkloadIssuer {
    /// The claim that tells this issuer's requesters apart.
    pub fn requester_claim(&self) -> &str {
        match (&self.requester_claim, self.kind) {
            (Some(claim), _) => claim,
            (None, WorkloadKind::Github) => "repository_id",
            (None, WorkloadKind::Generic) => "sub",
        }
    }
}

impl TokenAlgorithm {
    fn name(self) -> &'static str {
        match self {
            Self::RS256 => "RS256",
            Self::RS384 => "RS384",
            Self::RS512 => "RS512",
            Self::PS256 => "PS256",
            Self::PS384 => "PS384",
            Self::PS512 => "PS512",
            Self::ES256 => "ES256",
            Self::ES384 => "ES384",
            Self::EdDSA => "EdDSA",
        }
    }

    fn library(self) -> Algorithm {
        match self {
            Self::RS256 => Algorithm::RS256,
            Self::RS384 => Algorithm::RS384,
            Self::RS512 => Algorithm::RS512,
            Self::PS256 => Algorithm::PS256,
            Self::PS384 => Algorithm::PS384,
            Self::PS512 => Algorithm::PS512,
            Self::ES256 => Algorithm::ES256,
            Self::ES384 => Algorithm::ES384,
            Self::EdDSA => Algorithm::EdDSA,
        }
    }

    /// `kty` and `crv` of the keys that fit.
    fn key_type(self) -> (&'static str, Option<&'static str>) {
        match self {
            Self::RS256 | Self::RS384 | Self::RS512 | Self::PS256 | Self::PS384 | Self::PS512 => {
                ("RSA", None)
            }
            Self::ES256 => ("EC", Some("P-256")),
            Self::ES384 => ("EC", Some("P-384")),
            Self::EdDSA => ("OKP", Some("Ed25519")),
        }
    }
}

/// A requester whose token was verified. Only [`Verifier::verify`] makes one.
#[derive(Clone, Debug)]
pub struct VerifiedRequester {
    issuer_name: String,
    issuer: String,
    subject: String,
    requester_key: String,
    claims: Map<String, Value>,
    token_id: String,
    issued_at: Timestamp,
    expires_at: Timestamp,
    verified_at: Timestamp,
    key: String,
    token: String,
}

impl VerifiedRequester {
    /// The issuer's name in the configuration.
    pub fn issuer_name(&self) -> &str {
        &self.issuer_name
    }

    /// The issuer's URL, as in `iss`.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The token's `sub`. For display: names in it can be recycled.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// Who asks, over all issuers: `ISSUER#CLAIM=VALUE`. The scope of idempotency keys, and what
    /// must be equal to read or cancel. An issuer URL has no fragment, so the form is unambiguous.
    pub fn requester_key(&self) -> &str {
        &self.requester_key
    }

    /// Every claim of the token, the gate's own ones included.
    pub fn claims(&self) -> &Map<String, Value> {
        &self.claims
    }

    /// One claim, if the token has it.
    pub fn claim(&self, name: &str) -> Option<&Value> {
        self.claims.get(name)
    }

    /// What makes this token this token, against replay: `jti:` and the SHA-256 of issuer and
    /// `jti`, or without a `jti` `sha256:` and that of the signing input. Never of the signature,
    /// which an attacker can respell (an ECDSA signature has two valid forms).
    pub fn token_id(&self) -> &str {
        &self.token_id
    }

    /// When the token was issued (`iat`).
    pub fn issued_at(&self) -> Timestamp {
        self.issued_at
    }

    /// When the token ends (`exp`), without any leeway.
    pub fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    /// When it was verified. What is asked with it was asked then, so that whoever checks the evidence
    /// later compares the token with the same moment.
    pub fn verified_at(&self) -> Timestamp {
        self.verified_at
    }

    /// The JSON Web Key that verified the token, in the form that RFC 7638 hashes.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The whole token as it was sent, for the evidence. It is spent: nobody can ask with it again.
    pub fn token(&self) -> &str {
        &self.token
    }
}

/// How far an issuer's clock was ahead of ours (negative: behind) when it last answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClockSkew {
    /// The issuer's name in the configuration.
    pub issuer_name: String,
    /// From the `Date` header, which is precise to a second.
    pub ahead: SignedDuration,
}

/// Verifies workload tokens against the configured issuers.
pub struct Verifier {
    http: OutboundHttp,
    issuers: Vec<(WorkloadIssuer, IssuerKeys)>,
}

impl Verifier {
    /// A verifier for these issuers. Nothing is fetched yet.
    pub fn new(issuers: Vec<WorkloadIssuer>, http: OutboundHttp) -> Self {
        let issuers = issuers
            .into_iter()
            .map(|issuer| {
                let keys = IssuerKeys::new(
                    &issuer.issuer,
                    issuer.jwks_uri.clone(),
                    issuer.algorithm.key_type(),
                    issuer.algorithm.name(),
                );
                (issuer, keys)
            })
            .collect();
        Self { http, issuers }
    }

    /// Whether the issuer of this name is GitHub Actions.
    pub fn is_github(&self, name: &str) -> bool {
        self.issuers.iter().any(|(one, _)| one.name == name && one.kind == WorkloadKind::Github)
    }

    /// Verifies the token of an `Authorization: Bearer` header.
    ///
    /// # Errors
    /// A [`Refusal`] that says what is wrong with the token, and what is known of its sender.
    pub async fn verify(&self, bearer: &str, now: Timestamp) -> Result<VerifiedRequester, Refused> {
        let token = CompactToken::parse(bearer).map_err(Refusal::from)?;
        check_header(&token.unverified_header)?;
        let (issuer, keys) = self.issuer_of(&token.unverified_claims)?;
        let refused =
            |signed| move |refusal| Refused { refusal, issuer: Some(issuer.name.clone()), signed };
        let jwk = self.signer(issuer, keys, &token, now).await.map_err(refused(None))?;
        let claims = &token.unverified_claims;
        let checked =
            claims::check(issuer, claims, now).map_err(refused(signed(issuer, claims)))?;
        let key = serde_json::to_value(&jwk).ok().as_ref().and_then(canonical_key);
        let unknown_key = || refused(None)(Refusal::UnknownKey { issuer: issuer.name.clone() });
        let key = key.ok_or_else(unknown_key)?;
        Ok(requester(issuer, token, bearer, checked, key))
    }

    /// The key that signed the token.
    async fn signer(
        &self,
        issuer: &WorkloadIssuer,
        keys: &IssuerKeys,
        token: &CompactToken<'_>,
        now: Timestamp,
    ) -> Result<Value, Refusal> {
        check_algorithm(issuer, &token.unverified_header)?;
        let key_id = token
            .unverified_header
            .get("kid")
            .and_then(Value::as_str)
            .filter(|key_id| !key_id.is_empty())
            .ok_or(Refusal::MissingKeyId)?;
        let jwk = keys.key(&self.http, key_id, now).await.map_err(|no_key| match no_key {
            NoKey::Unknown => Refusal::UnknownKey { issuer: issuer.name.clone() },
            NoKey::Unavailable => Refusal::KeysUnavailable { issuer: issuer.name.clone() },
        })?;
        if signature_fits(token, &jwk, issuer.algorithm) {
            Ok(jwk)
        } else {
            Err(Refusal::BadSignature { issuer: issuer.name.clone() })
        }
    }

    /// Reads every issuer's keys now: at the start, and for `/health/ready`.
    /// What cannot be read is logged, and read when a token needs it.
    pub async fn refresh(&self, now: Timestamp) {
        let refreshes = self.issuers.iter().map(|(_, keys)| keys.refresh(&self.http, now));
        futures::future::join_all(refreshes).await;
    }

    /// The issuers whose tokens are taken, as `iss` names them.
    pub fn issuers(&self) -> impl Iterator<Item = &str> {
        self.issuers.iter().map(|(issuer, _)| issuer.issuer.as_str())
    }

    /// The issuers whose keys were never read, by their names in the configuration.
    pub fn issuers_without_keys(&self) -> Vec<&str> {
        let without = self.issuers.iter().filter(|(_, keys)| !keys.ever_read());
        without.map(|(issuer, _)| issuer.name.as_str()).collect()
    }

    /// The largest difference between our clock and an issuer's, as last seen in an answer.
    /// `None` until an issuer answered.
    pub fn last_clock_skew(&self) -> Option<ClockSkew> {
        self.issuers
            .iter()
            .filter_map(|(issuer, keys)| {
                Some(ClockSkew { issuer_name: issuer.name.clone(), ahead: keys.clock_ahead()? })
            })
            .max_by_key(|skew| skew.ahead.abs())
    }

    fn issuer_of(
        &self,
        unverified_claims: &Map<String, Value>,
    ) -> Result<&(WorkloadIssuer, IssuerKeys), Refusal> {
        let unverified_issuer =
            unverified_claims.get("iss").and_then(Value::as_str).ok_or(Refusal::MissingIssuer)?;
        self.issuers
            .iter()
            .find(|(issuer, _)| issuer.issuer == unverified_issuer)
            .ok_or_else(|| Refusal::UnknownIssuer { issuer: inert(unverified_issuer) })
    }
}

/// What a header may not say, whoever signed it (RFC 7515, section 4.1; RFC 8725, section 3).
fn check_header(header: &Map<String, Value>) -> Result<(), Refusal> {
    if header.contains_key("crit") {
        return Err(Refusal::CriticalHeader);
    }
    for name in ["jwk", "jku", "x5u"] {
        if header.contains_key(name) {
            return Err(Refusal::EmbeddedKey(name));
        }
    }
    if header.contains_key("cty") {
        return Err(Refusal::WrongType("cty"));
    }
    match header.get("typ") {
        None => Ok(()),
        Some(Value::String(kind)) if kind.eq_ignore_ascii_case("JWT") => Ok(()),
        Some(_) => Err(Refusal::WrongType("typ")),
    }
}

fn check_algorithm(issuer: &WorkloadIssuer, header: &Map<String, Value>) -> Result<(), Refusal> {
    let found = header.get("alg").and_then(Value::as_str).unwrap_or_default();
    if found.eq_ignore_ascii_case("none") {
        return Err(Refusal::Unsigned);
    }
    let expected = issuer.algorithm.name();
    if found != expected {
        let found = if found.is_empty() { "nothing".to_owned() } else { inert(found) };
        return Err(Refusal::WrongAlgorithm { issuer: issuer.name.clone(), found, expected });
    }
    Ok(())
}

/// Whether the signature fits. A key that the library cannot read verifies nothing.
fn signature_fits(token: &CompactToken<'_>, jwk: &Value, algorithm: TokenAlgorithm) -> bool {
    let Ok(jwk) = serde_json::from_value::<Jwk>(jwk.clone()) else { return false };
    let Ok(key) = DecodingKey::from_jwk(&jwk) else { return false };
    let input = token.signing_input.as_bytes();
    jsonwebtoken::crypto::verify(token.signature, input, &key, algorithm.library()).unwrap_or(false)
}

fn requester(
    issuer: &WorkloadIssuer,
    token: CompactToken<'_>,
    bearer: &str,
    checked: Checked,
    key: String,
) -> VerifiedRequester {
    let token_id = match &checked.token_id {
        Some(id) => format!("jti:{}", sha256(&format!("{}\0{id}", issuer.issuer))),
        None => format!("sha256:{}", sha256(token.signing_input)),
    };
    let claim = issuer.requester_claim();
    VerifiedRequester {
        issuer_name: issuer.name.clone(),
        issuer: issuer.issuer.clone(),
        requester_key: format!("{}#{claim}={}", issuer.issuer, checked.requester),
        subject: checked.subject,
        claims: token.unverified_claims,
        token_id,
        issued_at: checked.issued_at,
        expires_at: checked.expires_at,
        verified_at: checked.verified_at,
        key,
        token: bearer.to_owned(),
    }
}

/// What the issuer signed of a holder whose token is refused, as far as it says it in texts.
fn signed(issuer: &WorkloadIssuer, claims: &Map<String, Value>) -> Option<Signed> {
    let text = |name: &str| claims.get(name).and_then(Value::as_str).map(inert);
    let requester = text(issuer.requester_claim()).unwrap_or_default();
    Some(Signed { subject: text("sub")?, requester })
}

fn sha256(text: &str) -> String {
    HEXLOWER.encode(digest::digest(&digest::SHA256, text.as_bytes()).as_ref())
}

/// Others' text made fit to be shown: printable ASCII alone, and short.
fn inert(text: &str) -> String {
    const SHOWN: usize = 120;
    let shown = |character: char| {
        if character.is_ascii_graphic() { character } else { '?' }
    };
    text.chars().take(SHOWN).map(shown).collect()
}
