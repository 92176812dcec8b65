//! Who asked: the workload's token, and whether the policy lets it.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::failure::{Code, Failure};
use super::form::Form;
use super::sign_in::{LEEWAY, check_signature, time};
use crate::domain::canonical::to_canonical_json;
use crate::domain::deployment::Requester;
use crate::domain::digest::Digest;
use crate::proof::evidence::{SignedToken, Trust, TrustedIssuer};
use crate::proof::jwk::thumbprint;
use crate::proof::token::unverified_claims;

fn mismatch(sentence: impl Into<String>) -> Failure {
    Code::RequesterMismatch.because(sentence)
}

pub(super) fn check(form: &Form<'_>, trust: &Trust) -> Result<(), Failure> {
    let issuer = check_token(form, trust)?;
    let signed = form.requester;
    check_signature("the requester", &signed.token, &signed.key, &issuer.issuer, &issuer.keys)?;
    check_policy(form)
}

/// The token is the one that was recorded, of a pinned issuer, and says what the deployment says.
fn check_token<'a>(form: &Form<'_>, trust: &'a Trust) -> Result<&'a TrustedIssuer, Failure> {
    let SignedToken { token, key } = form.requester;
    let said = json!({"token_digest": Digest::of(token), "token_key": thumbprint(key)});
    if form.entries.first().map(|entry| &entry.record.data) != Some(&said) {
        return Err(mismatch("the requester's token or its key is not the recorded one"));
    }
    let claims = unverified_claims(token)
        .map_err(|error| mismatch(format!("the requester's token cannot be read: {error}")))?;
    let requester = &form.deployment.requester;
    if !says(&claims, requester) {
        return Err(mismatch("the deployment does not say of the requester what the token says"));
    }
    let issuer = trust
        .workload_issuers
        .iter()
        .find(|issuer| issuer.name == requester.issuer && issuer.issuer == requester.issuer_url)
        .ok_or_else(|| {
            mismatch(format!("the issuer {} is not pinned under this name", requester.issuer))
        })?;
    if claims.get("aud").and_then(Value::as_str) != Some(&issuer.audience) {
        return Err(mismatch("the requester's token was made for another audience"));
    }
    if was_valid(&claims, form.deployment.requested_at) != Some(true) {
        return Err(mismatch("the requester's token was not valid when it was asked with"));
    }
    Ok(issuer)
}

/// Compared as canonical JSON, since a token may spell a number in more than one way.
fn says(claims: &Map<String, Value>, requester: &Requester) -> bool {
    let same = match (to_canonical_json(claims), to_canonical_json(&requester.claims)) {
        (Ok(token), Ok(deployment)) => token == deployment,
        _ => false,
    };
    same && claims.get("iss").and_then(Value::as_str) == Some(&requester.issuer_url)
        && claims.get("sub").and_then(Value::as_str) == Some(&requester.subject)
}

/// `None` if a time is missing or no time.
fn was_valid(claims: &Map<String, Value>, at: Timestamp) -> Option<bool> {
    let is_over = at.duration_since(time(claims, "exp")?) >= LEEWAY;
    for name in ["iat", "nbf"].into_iter().filter(|name| claims.contains_key(*name)) {
        if time(claims, name)?.duration_since(at) > LEEWAY {
            return Some(false);
        }
    }
    Some(!is_over)
}

fn check_policy(form: &Form<'_>) -> Result<(), Failure> {
    let Form { deployment, policy, .. } = form;
    let requester = &deployment.requester;
    let allowed = policy.admits_requester(&requester.issuer, &requester.claims)
        && policy.services.contains(&deployment.service)
        && policy.admits_image(&deployment.image);
    if allowed {
        return Ok(());
    }
    Err(Code::RequesterNotAllowed.because(format!(
        "the policy of {} does not let {} ask for {} with images of {}",
        policy.environment,
        requester.subject,
        deployment.service,
        deployment.image.repository()
    )))
}
