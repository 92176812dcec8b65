//! A change of the rules that everybody signed comes into force.

use super::{SOON, Turn, refuse};
use crate::gate::GateError;
use crate::gate::authorise::{NotAuthorised, authorise_rule_change};
use crate::gate::rollout::expire;
use crate::gate::rule_changes::{Put, put_into_force};
use crate::storage::{Job, StoredApproval};
use crate::worker::Worker;

/// Verifies the log and the evidence, and writes the entry that puts the rules into force. Every gate on this
/// database takes them up as soon as it has verified that entry itself.
pub(super) async fn take_effect(
    worker: &Worker,
    job: &Job,
    stored: &StoredApproval,
) -> Result<Turn, GateError> {
    worker.log.secure().await?;
    let authorised = match authorise_rule_change(&worker.storage, &worker.trust, stored).await {
        Ok(authorised) => authorised,
        Err(NotAuthorised::Storage(error)) => return Err(error.into()),
        Err(finding) => return refuse(worker, job, stored, &finding).await,
    };
    let now = worker.clock.now();
    if now >= stored.approval.runs_out_at() {
        expire(&worker.storage, &job.approval, now).await?;
        return Ok(Turn::Over);
    }
    match put_into_force(&worker.storage, job, &authorised, now).await? {
        Put::Now => {
            tracing::warn!(approval = %job.approval, "the rules that were signed are in force");
            // Seen and kept outside at once: until then nothing is asked for under the new rules.
            worker.log.secure().await?;
            Ok(Turn::Over)
        }
        Put::Unread => Ok(Turn::Later(SOON, None)),
        Put::TooLate => {
            tracing::warn!(approval = %job.approval, "the rules that were signed come too late: others are in force");
            Ok(Turn::Over)
        }
        Put::Lost => Ok(Turn::Over),
    }
}
