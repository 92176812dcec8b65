//! Where it stands: whether the last state is one that the decisions lead to.

use super::failure::{Code, Failure};
use super::form::Form;
use super::ledger::Chain;
use super::was_approved;
use crate::domain::approval::State;
use crate::domain::decision::{Decision, Verdict, standing};
use crate::domain::hold::goes_forward;
use crate::domain::ledger::{ApprovalRecord, Record};
use crate::domain::policy::Sufficient;

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
    if approved.all(|told| suffices(form, &told.decisions).is_some()) {
        return Ok(());
    }
    Err(Code::QuorumNotMet
        .because(format!("the signatures do not meet the rules of {}", form.policy.environment)))
}

/// What began or went forward while the frozen rules had everything closed, by the times of the entries and the time
/// zones that are built in. Nothing does, unless people broke the glass.
pub(super) fn outside_windows(form: &Form<'_>) -> Option<String> {
    let is_held = |record: &Record| {
        let glass = record.approval.as_ref().is_some_and(|told| is_glass_broken(form, told));
        goes_forward(record) && !glass
    };
    let mut held = form.entries.iter().filter(|entry| is_held(&entry.record));
    held.find_map(|entry| {
        let at = entry.record.at;
        let closure = form.policy.windows.closure(at)?;
        let why = closure.sentence(&form.policy.environment, at);
        Some(format!("entry {} goes forward at {at}, when nothing may: {why}", entry.index))
    })
}

/// By which rules what people had signed and not taken back suffices, if it does.
fn suffices(form: &Form<'_>, decisions: &[Decision]) -> Option<Sufficient> {
    // Whoever is behind the requester asked through it, and whoever started a run asked by that.
    let (policy, subject) = (&form.policy, form.subject.subject());
    let mut counted = standing(decisions);
    counted.retain(|one| {
        !policy.was_asked_by(subject, &one.person)
            && policy.separates(subject, &one.person, one.github_id).is_none()
    });
    policy.suffices(&counted)
}

/// Whether enough people broke the glass.
pub(super) fn is_glass_broken(form: &Form<'_>, told: &ApprovalRecord) -> bool {
    suffices(form, &told.decisions) == Some(Sufficient::ByBreakGlass)
}
