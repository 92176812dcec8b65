//! What a rollout writes down when Cloud Run says no, or nothing.

use crate::domain::plan::OnFailure;
use crate::domain::rollout::{Call, Change, Outcome, Progress};

/// What follows when Cloud Run refuses a call for good. It did not take effect, but an earlier
/// attempt whose outcome is unknown still may: `progress` is what was recorded before this attempt.
pub fn after_refusal(on_failure: OnFailure, progress: &Progress, call: Call, why: &str) -> Change {
    match call {
        Call::CreateService {} | Call::CreateRevision {} | Call::RunJob {} | Call::UpdateJob {}
            if progress.intent.is_some() =>
        {
            Change::End(Outcome::NeedsAttention(format!(
                "Cloud Run refused the change: {why}; and whether an earlier attempt of it will \
                 still arrive is not known"
            )))
        }
        Call::CreateService {} | Call::CreateRevision {} | Call::RunJob {} | Call::UpdateJob {} => {
            Change::End(Outcome::Failed(format!("Cloud Run refused the change: {why}")))
        }
        Call::MoveTraffic { .. } => {
            let why = format!("Cloud Run refused to move the shares: {why}");
            after_failure(on_failure, progress, why)
        }
        Call::Restore {} => Change::End(Outcome::NeedsAttention(format!(
            "{}; and Cloud Run refused to restore what served before: {why}",
            progress.restoring.as_deref().unwrap_or("a step failed")
        ))),
    }
}

/// What follows when Cloud Run could not be read or changed for so long that waiting is no plan.
pub fn after_exhaustion(progress: &Progress, why: &str) -> Change {
    let began = progress.intent.is_some() || progress.generation.is_some();
    if !began {
        return Change::End(Outcome::Failed(format!(
            "Cloud Run could not be reached, and nothing was changed: {why}"
        )));
    }
    Change::End(Outcome::NeedsAttention(format!(
        "Cloud Run could not be reached in the middle of the rollout: {why}"
    )))
}

/// What follows when a step failed: what served before is to serve again from now on, or people decide.
pub(super) fn after_failure(on_failure: OnFailure, progress: &Progress, why: String) -> Change {
    match on_failure {
        // An announced call stays on record: whether it still arrives may not be known.
        OnFailure::Restore => {
            Change::Record(Progress { restoring: Some(why), served_at: None, ..progress.clone() })
        }
        OnFailure::Hold => Change::End(Outcome::NeedsAttention(format!(
            "a step failed, and the signed plan says to leave the shares where they are: {why}"
        ))),
    }
}
