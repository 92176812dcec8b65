//! Sign-ins: what the directory signed of a person.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};

use super::failure::{Code, Failure};
use super::form::{Form, UnverifiedCredential, endorsements};
use super::judge::Judge;
use super::ledger::Chain;
use crate::domain::person::Person;
use crate::proof::evidence::{SignIn, Trust, TrustedLogin};
use crate::proof::jwk::thumbprint;
use crate::proof::token::{is_signed_by, numeric_date, unverified_claims};

/// Clocks of well-run machines differ by less than a second; half a minute covers the others.
pub(super) const LEEWAY: SignedDuration = SignedDuration::from_secs(30);

/// What an ID token says, with the directory's signature verified.
pub(super) struct VerifiedSignIn {
    claims: Map<String, Value>,
}

impl VerifiedSignIn {
    /// Whom it names.
    pub(super) fn person(&self) -> Option<Person> {
        person_of(&self.claims)
    }

    /// One of its claims.
    pub(super) fn claim(&self, name: &str) -> Option<&Value> {
        self.claims.get(name)
    }

    /// When its person showed their credentials, if it says so.
    pub(super) fn authenticated_at(&self) -> Option<Timestamp> {
        numeric_date(&self.claims, "auth_time").ok().flatten()
    }

    /// When it was issued, if it says so.
    pub(super) fn issued_at(&self) -> Option<Timestamp> {
        numeric_date(&self.claims, "iat").ok().flatten()
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

/// The verified sign-ins that signatures rest on.
pub(super) struct SignIns {
    /// Of the endorsements, in the order of the file.
    pub endorsements: Vec<VerifiedSignIn>,
    /// Of the interventions.
    pub interventions: Vec<VerifiedSignIn>,
    /// Of the decisions.
    pub decisions: Vec<VerifiedSignIn>,
}

/// Verifies the sign-ins of the credentials, then those of their endorsements, those of the
/// interventions and those of the decisions.
pub(super) fn check(
    form: &Form<'_>,
    chain: &Chain<'_>,
    trust: &Trust,
    judge: &impl Judge,
) -> Result<SignIns, Failure> {
    let endorsements = check_of_keys(&form.credentials, trust, judge)?;
    let interventions =
        form.interventions.iter().map(|one| verify(one.signed.sign_in, None, &trust.login, judge));
    let interventions = interventions.collect::<Result<_, _>>()?;
    let recorded = chain.last.decisions.iter().map(|decision| Some(decision.sign_in_key.as_str()));
    let decisions = form
        .decisions
        .iter()
        .zip(recorded.chain(std::iter::repeat(None)))
        .map(|(decision, key)| verify(decision.sign_in, key, &trust.login, judge));
    Ok(SignIns { endorsements, interventions, decisions: decisions.collect::<Result<_, _>>()? })
}

/// Verifies the sign-ins of keys, and gives those of their endorsements.
pub(super) fn check_of_keys(
    keys: &[UnverifiedCredential<'_>],
    trust: &Trust,
    judge: &impl Judge,
) -> Result<Vec<VerifiedSignIn>, Failure> {
    for credential in keys {
        // Its key's thumbprint was compared with the record of the enrolment.
        verify(credential.sign_in, None, &trust.login, judge)?;
    }
    // Its key's thumbprint is compared with the record of the endorsement.
    endorsements(keys).map(|one| verify(one.signed.sign_in, None, &trust.login, judge)).collect()
}

fn invalid(sentence: impl Into<String>) -> Failure {
    Code::SignInInvalid.because(sentence)
}

/// Verifies one.
pub(super) fn verify(
    sign_in: &SignIn,
    recorded_key: Option<&str>,
    login: &TrustedLogin,
    judge: &impl Judge,
) -> Result<VerifiedSignIn, Failure> {
    let SignIn { id_token, key } = sign_in;
    let claims = unverified_claims(id_token)
        .map_err(|error| invalid(format!("an ID token cannot be read: {error}")))?;
    let issuer = claims.get("iss").and_then(Value::as_str);
    judge.require(issuer == Some(&login.issuer), || {
        invalid("an ID token is of another issuer than the pinned directory")
    })?;
    judge.require(is_for(&claims, &login.client_id), || {
        invalid("an ID token was issued to somebody else than this gate")
    })?;
    judge.pass(check_key("a person", key, &login.issuer, &login.keys))?;
    judge.pass(check_signature("a person", id_token, key, &login.issuer))?;
    judge.require(recorded_key.is_none_or(|recorded| recorded == thumbprint(key)), || {
        invalid("the directory's key is not the one that was recorded")
    })?;
    Ok(VerifiedSignIn { claims })
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

/// The person whom claims name.
pub(super) fn person_of(claims: &Map<String, Value>) -> Option<Person> {
    let text = |name: &str| claims.get(name).and_then(Value::as_str).map(str::to_owned);
    Some(Person { issuer: text("iss")?, subject: text("sub")? })
}

/// The key is pinned, where keys are.
pub(super) fn check_key(
    of: &str,
    key: &str,
    issuer: &str,
    pinned: &[String],
) -> Result<(), Failure> {
    if pinned.is_empty() || pinned.iter().any(|known| known == key) {
        return Ok(());
    }
    Err(Code::IssuerKeyNotPinned.because(format!(
        "the key that signed the token of {of} is none of the pinned keys of {issuer}"
    )))
}

/// The key signed the token.
pub(super) fn check_signature(
    of: &str,
    token: &str,
    key: &str,
    issuer: &str,
) -> Result<(), Failure> {
    if is_signed_by(token, key) {
        return Ok(());
    }
    Err(Code::TokenSignatureInvalid
        .because(format!("the signature of the token of {of} by {issuer} does not hold")))
}
