//! Where it stands: whether the last state is one that the decisions lead to.

use super::failure::{Code, Failure};
use super::form::Form;
use super::ledger::Chain;
use super::was_approved;
use crate::domain::approval::State;
use crate::domain::decision::{Decision, Verdict, standing};
use crate::domain::person::Person;

pub(super) fn check_state(chain: &Chain<'_>) -> Result<(), Failure> {
    let decisions = &chain.last.decisions;
    let is_no = |decision: &Decision| decision.verdict == Verdict::Reject;
    let agrees = match (decisions.iter().position(is_no), &chain.last.state) {
        (None, State::Rejected { .. }) => false,
        (None, _) => true,
        (Some(at), State::Rejected { by, name, reason, .. }) => {
            let decision = &decisions[at];
            at + 1 == decisions.len()
                && decision.person == *by
                && decision.name == *name
                && decision.reason == *reason
        }
        (Some(_), _) => false,
    };
    if agrees {
        return Ok(());
    }
    Err(Code::StateMismatch.because(format!(
        "the recorded state ({}) is not one that the signed decisions lead to",
        chain.last.state.status().as_str()
    )))
}

/// Wherever an entry says that it was approved, what people had signed until then and not taken back met
/// the rules. Groups and accounts are those of the sign-ins: they were compared with what is recorded.
pub(super) fn check_quorum(form: &Form<'_>) -> Result<(), Failure> {
    let told = form.entries.iter().filter_map(|entry| entry.record.approval.as_ref());
    let mut approved = told.filter(|told| was_approved(told.state.status()));
    if approved.all(|told| is_met(form, &told.decisions)) {
        return Ok(());
    }
    Err(Code::QuorumNotMet
        .because(format!("the signatures do not meet the rules of {}", form.policy.environment)))
}

fn is_met(form: &Form<'_>, decisions: &[Decision]) -> bool {
    // Whoever is behind the requester asked through it, and whoever started a run asked by that.
    let subject = form.subject.subject();
    let counts = |decision: &Decision| {
        !form.policy.was_asked_by(subject, &decision.person)
            && form.policy.separates(subject, &decision.person, decision.github_id).is_none()
    };
    let signers: Vec<(Person, Vec<String>)> = standing(decisions)
        .into_iter()
        .filter(|decision| decision.verdict == Verdict::Approve && counts(decision))
        .map(|decision| (decision.person.clone(), decision.groups.clone()))
        .collect();
    form.policy.is_met(&signers)
}
