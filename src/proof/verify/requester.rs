//! Who asked: the workload's token, or of a run and a change of the rules the gate's own word; and whether the
//! policy lets it.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::failure::{Code, Failure};
use super::form::Form;
use super::judge::Judge;
use super::sign_in::{LEEWAY, check_key, check_signature};
use crate::domain::canonical::to_canonical_json;
use crate::domain::digest::Digest;
use crate::domain::rule_change::RuleChange;
use crate::domain::subject::{Requester, Subject};
use crate::domain::workflow_run::WorkflowRun;
use crate::proof::evidence::{Asker, SignedToken, Trust, TrustedIssuer};
use crate::proof::jwk::thumbprint;
use crate::proof::token::{NotATime, numeric_date, sole_audience, unverified_claims};

fn mismatch(sentence: impl Into<String>) -> Failure {
    Code::RequesterMismatch.because(sentence)
}

pub(super) fn check(form: &Form<'_>, trust: &Trust, judge: &impl Judge) -> Result<(), Failure> {
    match (form.requester, form.subject.subject()) {
        (
            Asker::Token(token),
            Subject::Deployment(_) | Subject::JobExecution(_) | Subject::Action(_),
        ) => {
            let issuer = check_token(form, token, trust, judge)?;
            let SignedToken { token, key } = token;
            judge.pass(check_key("the requester", key, &issuer.issuer, &issuer.keys))?;
            judge.pass(check_signature("the requester", token, key, &issuer.issuer))?;
        }
        (Asker::Said(_), Subject::WorkflowRun(run)) => check_run(form, run, judge)?,
        (Asker::Said(_), Subject::RuleChange(change)) => check_rules(form, change, judge)?,
        // Nothing but a run and a change of the rules is asked for without a token, whatever the file says.
        (
            Asker::Said(_),
            Subject::Deployment(_) | Subject::JobExecution(_) | Subject::Action(_),
        ) => {
            return Err(mismatch("the file holds no token of a requester"));
        }
        (Asker::Token(_), Subject::WorkflowRun(_) | Subject::RuleChange(_)) => {
            return Err(mismatch("it is asked for by no token, and the file holds one"));
        }
    }
    judge.pass(check_policy(form))
}

/// The webhook is the one that was recorded when the approval began, and what the run says of its requester
/// follows from its own facts. That GitHub sent it is the gate's word.
fn check_run(form: &Form<'_>, run: &WorkflowRun, judge: &impl Judge) -> Result<(), Failure> {
    let recorded = form.entries.first().map(|entry| &entry.record.data);
    judge.require(recorded == Some(&run.recorded()), || {
        mismatch("the webhook that the run names is not the recorded one")
    })?;
    judge.require(run.is_consistent(), || {
        mismatch("the run names a requester that does not follow from its repository")
    })
}

/// The two rulebooks are those that were recorded when the approval began, and nobody is said to have asked.
fn check_rules(form: &Form<'_>, change: &RuleChange, judge: &impl Judge) -> Result<(), Failure> {
    let recorded = form.entries.first().map(|entry| &entry.record.data);
    let said = change.recorded().ok();
    judge.require(said.is_some() && recorded == said.as_ref(), || {
        mismatch("the rules that the change names are not the recorded ones")
    })?;
    judge.require(change.facts.requester == RuleChange::requester(&change.facts.audience), || {
        mismatch("the change names a requester, and nobody asks for one")
    })
}

/// The token is the one that was recorded, of a pinned issuer, and says what the deployment says.
fn check_token<'a>(
    form: &Form<'_>,
    SignedToken { token, key }: &SignedToken,
    trust: &'a Trust,
    judge: &impl Judge,
) -> Result<&'a TrustedIssuer, Failure> {
    let said = json!({"token_digest": Digest::of(token), "token_key": thumbprint(key)});
    let recorded = form.entries.first().map(|entry| &entry.record.data);
    judge.require(recorded == Some(&said), || {
        mismatch("the requester's token or its key is not the recorded one")
    })?;
    let claims = unverified_claims(token)
        .map_err(|error| mismatch(format!("the requester's token cannot be read: {error}")))?;
    let requester = &form.subject.requester;
    judge.require(says(&claims, requester), || {
        mismatch("the deployment does not say of the requester what the token says")
    })?;
    let issuer = trust
        .workload_issuers
        .iter()
        .find(|issuer| issuer.name == requester.issuer && issuer.issuer == requester.issuer_url)
        .ok_or_else(|| {
            mismatch(format!("the issuer {} is not pinned under this name", requester.issuer))
        })?;
    judge.require(sole_audience(&claims) == Some(&issuer.audience), || {
        mismatch("the requester's token was made for another audience")
    })?;
    judge.require(was_valid(&claims, form.subject.requested_at) == Ok(true), || {
        mismatch("the requester's token was not valid when it was asked with")
    })?;
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

fn was_valid(claims: &Map<String, Value>, at: Timestamp) -> Result<bool, NotATime> {
    for name in ["iat", "nbf"] {
        if numeric_date(claims, name)?.is_some_and(|begins| begins.duration_since(at) > LEEWAY) {
            return Ok(false);
        }
    }
    let ends = numeric_date(claims, "exp")?.ok_or(NotATime)?;
    Ok(at.duration_since(ends) < LEEWAY)
}

fn check_policy(form: &Form<'_>) -> Result<(), Failure> {
    let Form { subject, policy, .. } = form;
    let requester = &subject.requester;
    if policy.admits(subject.subject()) && policy.covers(subject.subject()) {
        return Ok(());
    }
    let asked = match subject.subject() {
        Subject::Deployment(deployment) => {
            format!("{} with images of {}", deployment.service, deployment.image.repository())
        }
        Subject::JobExecution(execution) => {
            format!("{} with images of {}", execution.job, execution.image.repository())
        }
        Subject::Action(action) => format!("the tool {}", action.tool),
        Subject::WorkflowRun(run) => format!("the run {}", run.run),
        Subject::RuleChange(_) => "a change that the rules before it rule otherwise".to_owned(),
    };
    Err(Code::RequesterNotAllowed.because(format!(
        "the policy of {} does not let {} ask for {asked}",
        policy.environment, requester.subject
    )))
}
