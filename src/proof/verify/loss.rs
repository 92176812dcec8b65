//! The report of a loss, which the directory vouches for as for a new key, or another key of the owner.

use serde_json::Value;

use jiff::Timestamp;

use super::act::{ActEvidence, verify_act};
use super::decisions::is_recent;
use super::failure::{Code, Failure};
use super::judge::Strict;
use super::sign_in::{LEEWAY, verify};
use crate::domain::digest::Digest;
use crate::domain::ledger::Revoked;
use crate::domain::loss::{FrozenLoss, LossReport, LossStatement, VouchedLoss};
use crate::domain::person::Person;
use crate::proof::base64url;
use crate::proof::evidence::{SignIn, Trust};

/// Since when this key of this person is lost, as an entry of the time `at` says: the report is about exactly
/// that, and the directory signed its digest in a sign-in that the person made for it just before.
///
/// # Errors
/// What does not hold. Then nobody knows since when, and everything that the key signed is in doubt.
pub fn verify_loss(
    loss: &VouchedLoss,
    (credential, person): (&str, &Person),
    at: Timestamp,
    trust: &Trust,
) -> Result<Timestamp, Failure> {
    let invalid = |why: &str| invalid(credential, why);
    let report = LossReport::read(&loss.report)
        .ok_or_else(|| invalid("it is no report in canonical JSON"))?;
    check_about(&report, (credential, person), at, trust)?;
    let (id_token, key) = (loss.id_token.clone(), loss.issuer_key.clone());
    let sign_in = SignIn { id_token, key, gate_groups: None };
    let vouched = verify(&sign_in, None, &trust.login, &Strict)?;
    let nonce = base64url::encode(Digest::of(&loss.report).as_bytes());
    if vouched.claim("nonce").and_then(Value::as_str) != Some(&nonce) {
        return Err(invalid("the ID token's nonce is not its digest"));
    }
    let is_fresh = match (vouched.issued_at(), vouched.authenticated_at()) {
        (Some(issued), Some(shown)) => issued.duration_since(shown) <= LEEWAY,
        // Some directories say nothing of it, though they are asked to let nobody in without their credentials.
        (_, None) => true,
        (None, _) => false,
    };
    if vouched.person().as_ref() != Some(person) || !is_recent(&vouched, at) || !is_fresh {
        return Err(invalid("the sign-in is of somebody else, or not one that was made for it"));
    }
    Ok(report.since)
}

/// Since when this key of this person is lost, as another key of theirs signed. `revoked` are the keys that are known
/// to be given up: none of them, if it was before, and not the lost one itself.
///
/// # Errors
/// What does not hold, as for [`verify_loss`].
pub fn verify_signed_loss(
    evidence: &ActEvidence,
    (credential, person): (&str, &Person),
    trust: &Trust,
    revoked: &Revoked,
) -> Result<Timestamp, Failure> {
    let invalid = |why: &str| invalid(credential, why);
    let signer = verify_act::<LossStatement>(evidence, trust, revoked)?;
    let statement = FrozenLoss::thaw(&evidence.signed.statement)
        .ok()
        .filter(FrozenLoss::is_report)
        .ok_or_else(|| invalid("the statement is none of a report"))?;
    let report = &statement.predicate().report;
    check_about(report, (credential, person), evidence.at, trust)?;
    if signer.person() != person || evidence.signed.credential_id == credential {
        return Err(invalid("it was signed by somebody else, or with the very key that is lost"));
    }
    Ok(report.since)
}

fn check_about(
    report: &LossReport,
    (credential, person): (&str, &Person),
    at: Timestamp,
    trust: &Trust,
) -> Result<(), Failure> {
    let is_about = report.credential == credential
        && report.person == *person
        && report.audience == trust.origin
        && report.since <= at;
    if is_about {
        Ok(())
    } else {
        Err(invalid(credential, "it is about another key, person, gate or time"))
    }
}

fn invalid(credential: &str, why: &str) -> Failure {
    Code::EnrolmentInvalid
        .because(format!("the report that the key {credential} is lost does not hold: {why}"))
}
