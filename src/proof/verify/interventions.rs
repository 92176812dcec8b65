//! Interventions: what approvers signed about a rollout, each in an entry of the approval's own chain.
//!
//! They are signed statements as decisions are, and what is asked of both gives the same codes.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::decisions::{check_assertion, is_recent};
use super::enrolment::Enrolled;
use super::failure::{Code, Failure};
use super::form::{Form, UnverifiedIntervention};
use super::sign_in::VerifiedSignIn;
use crate::domain::statement::STATEMENT_LIFETIME;
use crate::proof::evidence::Trust;

/// Each is about exactly this deployment and was signed once.
pub(super) fn check_statements(form: &Form<'_>) -> Result<(), Failure> {
    let decided = form.decisions.iter().map(|one| one.statement.predicate().nonce.as_str());
    let mut nonces: BTreeSet<&str> = decided.collect();
    for UnverifiedIntervention { signed, .. } in &form.interventions {
        let predicate = signed.statement.predicate();
        let is_about = signed.statement.is_about(&form.subject)
            && predicate.credentials.iter().any(|one| one == signed.credential_id);
        if !is_about || !nonces.insert(&predicate.nonce) {
            return Err(Code::StatementMismatch.because(
                "an intervention is not about exactly this deployment, or was used before",
            ));
        }
    }
    Ok(())
}

/// Each was signed within its few minutes, by the time of its entry.
pub(super) fn check_times(form: &Form<'_>) -> Result<(), Failure> {
    for one in &form.interventions {
        let predicate = one.signed.statement.predicate();
        let (begins, ends) = (predicate.issued_at, predicate.expires_at);
        let at = at(form, one);
        if at < begins || at >= ends || ends.duration_since(begins) > STATEMENT_LIFETIME {
            return Err(Code::StatementTime.because(format!(
                "the intervention of {} was signed outside the time that its statement allows",
                predicate.approver.subject
            )));
        }
    }
    Ok(())
}

/// Each rests on the sign-in whose digest it signed, of the same person, a short time before.
pub(super) fn check_sign_ins(form: &Form<'_>, sign_ins: &[VerifiedSignIn]) -> Result<(), Failure> {
    for (one, sign_in) in form.interventions.iter().zip(sign_ins) {
        let predicate = one.signed.statement.predicate();
        let holds = predicate.sign_in_digest == one.signed.sign_in.digest()
            && Some(&predicate.approver) == sign_in.person().as_ref()
            && is_recent(sign_in, at(form, one));
        if !holds {
            return Err(Code::SignInMismatch.because(format!(
                "the sign-in is not the one that {} signed with the intervention, or too old",
                predicate.approver.subject
            )));
        }
    }
    Ok(())
}

/// Each was signed with a key that was its person's before. Gives the place of each key, with the index of
/// the entry in which it signed.
pub(super) fn check_credentials(
    form: &Form<'_>,
    credentials: &[Enrolled],
) -> Result<Vec<(usize, u64)>, Failure> {
    let places = form.interventions.iter().map(|one| {
        let index = form.entries[one.place].index;
        let is_theirs = |key: &Enrolled| {
            key.id == one.signed.credential_id
                && key.person == one.signed.statement.predicate().approver
                && key.index < index
        };
        let place = credentials.iter().position(is_theirs).ok_or_else(|| {
            Code::CredentialNotEnrolled.because(format!(
                "the key {} was not enrolled for the person who intervened with it, or only later",
                one.signed.credential_id
            ))
        })?;
        Ok((place, index))
    });
    places.collect()
}

/// Each assertion verifies over its statement.
pub(super) fn check_assertions(
    form: &Form<'_>,
    credentials: &[Enrolled],
    used: &[(usize, u64)],
    trust: &Trust,
) -> Result<(), Failure> {
    for (one, (place, _)) in form.interventions.iter().zip(used) {
        check_assertion(&one.signed, &credentials[*place], trust).map_err(|refusal| {
            Code::AssertionInvalid.because(format!("an intervention does not hold: {refusal}"))
        })?;
    }
    Ok(())
}

/// Each is by somebody whom one of the rules names, who did not ask, and who does not further their own commits.
pub(super) fn check_people(
    form: &Form<'_>,
    sign_ins: &[VerifiedSignIn],
    trust: &Trust,
) -> Result<(), Failure> {
    for (one, sign_in) in form.interventions.iter().zip(sign_ins) {
        let person = &one.signed.statement.predicate().approver;
        let groups = sign_in.groups(&trust.login.groups_claim, form.policy.groups_must_be_signed);
        let may_sign = groups.is_some_and(|groups| form.policy.admits_approver(person, &groups));
        let (subject, github_id) =
            (form.subject.subject(), sign_in.github_id(form.policy.github_id_claim()));
        let is_own = one.signed.statement.predicate().act.goes_on()
            && form.policy.separates(subject, person, github_id).is_some();
        if !may_sign || is_own || form.policy.was_asked_by(subject, person) {
            return Err(Code::QuorumNotMet.because(format!(
                "{} intervened, whom no rule of {} lets sign",
                person.subject, form.policy.environment
            )));
        }
    }
    Ok(())
}

fn at(form: &Form<'_>, one: &UnverifiedIntervention<'_>) -> Timestamp {
    form.entries[one.place].record.at
}
