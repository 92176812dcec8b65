//! What the person who looks may sign about a rollout.

use crate::domain::approval::Approval;
use crate::domain::intervention::Act;

use super::{Moment, Surroundings};

/// An act that can be signed now.
pub struct ActView {
    /// Its name in the statement.
    pub name: &'static str,
    /// The words on its button.
    pub button: &'static str,
    /// What happens then.
    pub consequence: &'static str,
    /// Whether it takes something back or gives it up.
    pub is_grave: bool,
}

/// What can be signed about the rollout of an approval.
pub struct InterventionsView {
    /// The acts.
    pub acts: Vec<ActView>,
    /// How many steps serve: the statement names it.
    pub steps_done: usize,
    /// Until when the way back can be signed, after a success.
    pub until: Option<Moment>,
    /// Whether the person has a key.
    pub has_key: bool,
}

/// What this person may sign now; nothing, if there is nothing.
pub fn interventions(approval: &Approval, around: Surroundings<'_>) -> Option<InterventionsView> {
    let viewer = around.viewer.filter(|viewer| !viewer.is_auditor)?;
    let profile = &viewer.profile;
    let may = |act: &Act| approval.may_intervene(*act, profile, around.now).is_ok();
    let acts: Vec<ActView> =
        Act::ALL.into_iter().filter(may).map(|act| view(act, approval)).collect();
    let until = approval.returns_until().map(|until| Moment::new(until, around.now));
    let (steps_done, has_key) = (approval.steps_done(), !viewer.keys.is_empty());
    (!acts.is_empty()).then_some(InterventionsView { acts, steps_done, until, has_key })
}

fn view(act: Act, approval: &Approval) -> ActView {
    let job = approval.subject.job_execution();
    let (button, consequence, is_grave) = match act {
        Act::GoOn => (
            "Go on",
            "The rollout pauses here. With your signature it goes on to the next step.",
            false,
        ),
        Act::Restore => (
            "Stop and restore",
            "What served before serves again, as it was signed. Nobody else has to sign. To go forward after that, somebody has to ask again.",
            true,
        ),
        Act::ObserveAgain if job.is_some_and(|job| job.execution.is_none()) => (
            "Look again and go on",
            "The gate looks at the job again, and goes on from what it finds. A job that took the change is not changed again.",
            false,
        ),
        Act::ObserveAgain if job.is_some() => (
            "Look again and go on",
            "The gate looks at the job and its execution again, and goes on from what it finds. An execution that was started is never started again.",
            false,
        ),
        Act::ObserveAgain => (
            "Look again and go on",
            "The gate looks at Cloud Run again. If the shares are as the last step left them, the rollout goes on from there.",
            false,
        ),
        Act::Accept => {
            ("Leave it as it is", "It ends here, and the gate changes nothing more.", true)
        }
    };
    ActView { name: act.as_str(), button, consequence, is_grave }
}
