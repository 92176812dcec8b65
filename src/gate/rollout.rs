//! The worker writes down what a rollout does, under the lease of its job.

use jiff::Timestamp;

use crate::domain::approval::{Approval, Transition, TransitionRefusal};
use crate::domain::ids::ApprovalId;
use crate::gate::GateError;
use crate::storage::{Job, Storage};

/// Writes one change of an approval, if the lease of its job is still ours. `None`: it is not, and
/// nothing was written; somebody else does the work or it is done.
pub async fn change(
    storage: &Storage,
    job: &Job,
    now: Timestamp,
    transition: impl FnOnce(Approval) -> Result<Transition, TransitionRefusal>,
) -> Result<Option<Approval>, GateError> {
    let mut writer = storage.begin().await?;
    if !writer.hold_job(job).await? {
        return Ok(None);
    }
    let stored = writer.approval(&job.approval).await?.ok_or(GateError::NotFound)?;
    let approval = writer.apply(transition(stored.approval)?, now).await?;
    writer.commit().await?;
    Ok(Some(approval))
}

/// What became of the wish to begin a rollout.
pub enum Begun {
    /// It has begun.
    Now,
    /// Another rollout of the same service runs or comes first: this one waits for its end.
    Behind(ApprovalId),
    /// The lease of its job is not ours.
    Lost,
}

/// Begins a rollout, if no other one of the same service runs or comes first.
pub async fn begin(storage: &Storage, job: &Job, now: Timestamp) -> Result<Begun, GateError> {
    let mut writer = storage.begin().await?;
    if !writer.hold_job(job).await? {
        return Ok(Begun::Lost);
    }
    let stored = writer.approval(&job.approval).await?.ok_or(GateError::NotFound)?;
    if let Some(other) = writer.rollout_beside(&stored.approval).await? {
        return Ok(Begun::Behind(other));
    }
    writer.apply(stored.approval.begin(now)?, now).await?;
    writer.commit().await?;
    Ok(Begun::Now)
}

/// Ends an approval whose time is over and whose rollout has not begun. One that was decided or
/// begun in the meantime is left as it is.
pub async fn expire(storage: &Storage, id: &ApprovalId, now: Timestamp) -> Result<(), GateError> {
    let mut writer = storage.begin().await?;
    let stored = writer.approval(id).await?.ok_or(GateError::NotFound)?;
    let Ok(transition) = stored.approval.expire(now) else { return Ok(()) };
    writer.apply(transition, now).await?;
    writer.commit().await?;
    Ok(())
}
