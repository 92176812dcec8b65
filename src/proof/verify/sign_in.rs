//! Sign-ins: what the directory signed of a person.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};

use super::failure::{Code, Failure};
use super::form::Form;
use super::ledger::Chain;
use crate::domain::person::Person;
use crate::proof::evidence::{SignIn, Trust, TrustedLogin};
use crate::proof::jwk::thumbprint;
use crate::proof::token::{CompactToken, is_signed_by};

/// Clocks of well-run machines differ by less than a second; half a minute covers the others.
pub(super) const LEEWAY: SignedDuration = SignedDuration::from_secs(30);

/// What an ID token says, with the directory's signature verified.
pub(super) struct VerifiedSignIn {
    pub person: Person,
    claims: Map<String, Value>,
}

impl VerifiedSignIn {
    /// When it was issued, if it says so.
    pub(super) fn issued_at(&self) -> Option<Timestamp> {
        time(&self.claims, "iat")
    }

    /// The groups that it names; none where the claim is absent. `None` if it is no list of texts.
    pub(super) fn groups(&self, claim: &str) -> Option<Vec<String>> {
        match self.claims.get(claim) {
            None => Some(Vec::new()),
            Some(Value::Array(groups)) => {
                groups.iter().map(|group| group.as_str().map(str::to_owned)).collect()
            }
            Some(_) => None,
        }
    }
}

/// Verifies the sign-ins of the credentials, then those of the decisions, and gives the latter.
pub(super) fn check(
    form: &Form<'_>,
    chain: &Chain,
    trust: &Trust,
) -> Result<Vec<VerifiedSignIn>, Failure> {
    for credential in &form.credentials {
        // Its key's thumbprint was compared with the record of the enrolment.
        verify(credential.sign_in, None, &trust.login)?;
    }
    let recorded = chain.decisions().iter().map(|decision| Some(decision.sign_in_key.as_str()));
    form.decisions
        .iter()
        .zip(recorded.chain(std::iter::repeat(None)))
        .map(|(decision, key)| verify(decision.sign_in, key, &trust.login))
        .collect()
}

fn invalid(sentence: &str) -> Failure {
    Code::SignInInvalid.because(sentence)
}

fn verify(
    sign_in: &SignIn,
    recorded_key: Option<&str>,
    login: &TrustedLogin,
) -> Result<VerifiedSignIn, Failure> {
    if recorded_key.is_some_and(|recorded| recorded != thumbprint(&sign_in.key)) {
        return Err(invalid("the directory's key is not the one that was recorded"));
    }
    check_signature("a person", &sign_in.id_token, &sign_in.key, &login.issuer, &login.keys)?;
    let claims = claims_of(&sign_in.id_token)
        .ok_or_else(|| invalid("the claims of an ID token cannot be read"))?;
    if claims.get("iss").and_then(Value::as_str) != Some(&login.issuer) {
        return Err(invalid("an ID token is of another issuer than the pinned directory"));
    }
    if !is_for(&claims, &login.client_id) {
        return Err(invalid("an ID token was issued to somebody else than this gate"));
    }
    let person = person_of(&claims).ok_or_else(|| invalid("an ID token names nobody"))?;
    Ok(VerifiedSignIn { person, claims })
}

/// `aud` is the client, or a list with nothing else in it; whoever it was issued to is the client
/// (OpenID Connect Core 1.0, section 3.1.3.7).
fn is_for(claims: &Map<String, Value>, client: &str) -> bool {
    let is_client = |value: &Value| value.as_str() == Some(client);
    let audience = match claims.get("aud") {
        Some(Value::Array(audiences)) => !audiences.is_empty() && audiences.iter().all(is_client),
        Some(audience) => is_client(audience),
        None => false,
    };
    audience && claims.get("azp").is_none_or(is_client)
}

/// The claims of a token, whoever signed it.
pub(super) fn claims_of(token: &str) -> Option<Map<String, Value>> {
    CompactToken::parse(token).ok().map(|token| token.unverified_claims)
}

/// The person whom claims name.
pub(super) fn person_of(claims: &Map<String, Value>) -> Option<Person> {
    let text = |name: &str| claims.get(name).and_then(Value::as_str).map(str::to_owned);
    let subject = text("sub").filter(|subject| !subject.is_empty())?;
    Some(Person { issuer: text("iss")?, subject })
}

/// A time in seconds since 1970 (RFC 7519, section 2), possibly with a fraction, which is cut off.
pub(super) fn time(claims: &Map<String, Value>, name: &str) -> Option<Timestamp> {
    /// Far beyond any date, and far within what both number types hold exactly.
    const LIMIT: f64 = 1e12;
    let value = claims.get(name)?;
    #[expect(clippy::cast_possible_truncation, reason = "bounded by the comparison before")]
    let whole = |seconds: f64| (seconds.abs() < LIMIT).then(|| seconds.floor() as i64);
    Timestamp::from_second(value.as_i64().or_else(|| whole(value.as_f64()?))?).ok()
}

/// The key is pinned, where keys are, and signed the token.
pub(super) fn check_signature(
    of: &str,
    token: &str,
    key: &str,
    issuer: &str,
    pinned: &[String],
) -> Result<(), Failure> {
    if !pinned.is_empty() && !pinned.iter().any(|known| known == key) {
        return Err(Code::IssuerKeyNotPinned.because(format!(
            "the key that signed the token of {of} is none of the pinned keys of {issuer}"
        )));
    }
    if is_signed_by(token, key) {
        Ok(())
    } else {
        Err(Code::TokenSignatureInvalid
            .because(format!("the signature of the token of {of} by {issuer} does not hold")))
    }
}
