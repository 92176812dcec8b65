//! What an ID token must say beyond what the library checks, and the sign-in it then is.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};

use super::groups::SignedGroups;
use super::{LEEWAY, LoginSettings, SignInRefusal};
use crate::domain::separation::github_id;
use crate::proof::jwk::canonical_key;
use crate::proof::token::{CompactToken, numeric_date};

/// A person's sign-in, verified. Only [`super::LoginProvider::finish`] makes one.
#[derive(Clone, Debug)]
pub struct VerifiedSignIn {
    issuer: String,
    subject: String,
    name: Option<String>,
    email: Option<String>,
    groups: Vec<String>,
    gate_groups: bool,
    github_id: Option<u64>,
    auth_time: Option<Timestamp>,
    issued_at: Timestamp,
    id_token: String,
    key: String,
}

impl VerifiedSignIn {
    /// The directory, as in `iss`. With the subject it is the person's identity.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The person within the directory; never a name or an address.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The name to show, if the directory gave one.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The address, only if the directory says that it verified it.
    pub fn email(&self) -> Option<&str> {
        self.email.as_deref()
    }

    /// The groups.
    pub fn groups(&self) -> &[String] {
        &self.groups
    }

    /// Whether the groups are the gate's own word, which read them where the directory signs nothing.
    pub fn has_gate_groups(&self) -> bool {
        self.gate_groups
    }

    pub(super) fn with_signed_groups(self, groups: Vec<String>) -> Self {
        Self { groups, ..self }
    }

    pub(super) fn with_gate_groups(self, groups: Vec<String>) -> Self {
        Self { groups, gate_groups: true, ..self }
    }

    /// The number of the person's account at GitHub, if the directory signed one.
    pub fn github_id(&self) -> Option<u64> {
        self.github_id
    }

    /// When the person showed their credentials, if the directory says so.
    pub fn auth_time(&self) -> Option<Timestamp> {
        self.auth_time
    }

    /// When the ID token was issued.
    pub fn issued_at(&self) -> Timestamp {
        self.issued_at
    }

    /// The ID token as it was sent, for the evidence.
    pub fn id_token(&self) -> &str {
        &self.id_token
    }

    /// The JSON Web Key that verified it, in the form that RFC 7638 hashes.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Whether the person authenticated at most `max_age` seconds before the token was issued.
    ///
    /// Some directories leave `auth_time` out although `max_age` was sent. Then the issue of the
    /// token, in a flow that the gate itself began, is all there is, and it passes.
    ///
    /// # Errors
    /// [`SignInRefusal::TooOld`] if the directory used an older authentication.
    pub fn require_fresh(&self, max_age: u64) -> Result<(), SignInRefusal> {
        let Some(auth_time) = self.auth_time else { return Ok(()) };
        let allowed = SignedDuration::from_secs(i64::try_from(max_age).unwrap_or(i64::MAX));
        if self.issued_at.duration_since(auth_time) > allowed.saturating_add(LEEWAY) {
            return Err(SignInRefusal::TooOld);
        }
        Ok(())
    }
}

/// Checks an ID token whose signature, issuer, audience, nonce and expiry the library verified.
pub(super) fn check(
    settings: &LoginSettings,
    raw: String,
    jwk: Value,
    now: Timestamp,
) -> Result<(VerifiedSignIn, SignedGroups), SignInRefusal> {
    let claims = {
        let token = CompactToken::parse(&raw)
            .map_err(|unreadable| SignInRefusal::MalformedToken(unreadable.to_string()))?;
        if token.unverified_header.contains_key("crit") {
            return Err(SignInRefusal::MalformedToken("it has critical extensions".to_owned()));
        }
        token.unverified_claims
    };
    // Whoever the token was issued to must be this gate (OpenID Connect Core 1.0, 3.1.3.7, 5).
    match claims.get("azp") {
        None => {}
        Some(Value::String(party)) if *party == settings.client_id => {}
        Some(_) => return Err(SignInRefusal::WrongAudience),
    }
    let key = canonical_key(&jwk)
        .ok_or_else(|| SignInRefusal::MalformedToken("its key is of an unknown kind".to_owned()))?;
    let issued_at = time(&claims, "iat")?.ok_or_else(|| missing("iat"))?;
    let auth_time = time(&claims, "auth_time")?;
    let not_before = time(&claims, "nbf")?;
    for moment in [Some(issued_at), auth_time, not_before].into_iter().flatten() {
        if moment.duration_since(now) > LEEWAY {
            return Err(SignInRefusal::FromTheFuture);
        }
    }
    let text = |name: &str| claims.get(name).and_then(Value::as_str).map(str::to_owned);
    let present = |value: &String| !value.is_empty();
    let verified = claims.get("email_verified") == Some(&Value::Bool(true));
    let hosted = claims.get("hd").and_then(Value::as_str);
    if let Some(domain) = settings.hosted_domain.as_deref().filter(|one| hosted != Some(*one)) {
        return Err(SignInRefusal::OtherDomain(domain.to_owned()));
    }
    let signed_groups = SignedGroups::of(&settings.groups_claim, &claims)?;
    let sign_in = VerifiedSignIn {
        issuer: text("iss").ok_or_else(|| missing("iss"))?,
        subject: text("sub").filter(present).ok_or_else(|| missing("sub"))?,
        name: text("name").filter(present),
        email: text("email").filter(|_| verified),
        groups: Vec::new(),
        gate_groups: false,
        github_id: settings.github_id_claim.as_ref().and_then(|name| github_id(claims.get(name)?)),
        auth_time,
        issued_at,
        id_token: raw,
        key,
    };
    Ok((sign_in, signed_groups))
}

fn time(claims: &Map<String, Value>, name: &str) -> Result<Option<Timestamp>, SignInRefusal> {
    numeric_date(claims, name)
        .map_err(|_| SignInRefusal::MalformedToken(format!("its {name} is not a time")))
}

fn missing(claim: &str) -> SignInRefusal {
    SignInRefusal::MalformedToken(format!("it has no {claim}"))
}
