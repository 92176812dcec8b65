//! The worker writes down what a rollout does, under the lease of its job.

use jiff::Timestamp;

use crate::domain::approval::{Approval, Status, Transition, TransitionRefusal};
use crate::domain::hold::{Freezes, Hold, hold_of};
use crate::domain::ids::ApprovalId;
use crate::domain::rollout::{Call, Progress};
use crate::gate::GateError;
use crate::storage::{Job, Storage, Writer};

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

/// What became of the wish to begin a rollout, or to take its next step.
pub enum Begun {
    /// It has begun, or the step is announced.
    Now,
    /// Another rollout of the same service runs or comes first: this one waits for its end.
    Behind(ApprovalId),
    /// It is held by a freeze.
    Held(Hold),
    /// Somebody froze something just now, which has not been verified yet: look again.
    Unread,
    /// The lease of its job is not ours.
    Lost,
}

/// Begins a rollout, if nothing holds it, and no other one of the same service runs or comes first.
///
/// What is frozen is what [`crate::worker::log`] verified, and nothing that rows say.
pub async fn begin(storage: &Storage, job: &Job, now: Timestamp) -> Result<Begun, GateError> {
    let mut writer = storage.begin().await?;
    if !writer.hold_job(job).await? {
        return Ok(Begun::Lost);
    }
    let stored = writer.approval(&job.approval).await?.ok_or(GateError::NotFound)?;
    let Some(freezes) = freezes_within(storage, &mut writer).await? else {
        return Ok(Begun::Unread);
    };
    if let Some(hold) = hold_of(&stored.approval, &freezes, now) {
        return Ok(Begun::Held(hold));
    }
    for other in writer.rollouts_beside(&stored.approval, now).await? {
        let beside = writer.approval(&other).await?.ok_or(GateError::NotFound)?.approval;
        // What is held itself keeps nobody waiting.
        let runs = beside.status() == Status::Executing;
        if runs || hold_of(&beside, &freezes, now).is_none() {
            return Ok(Begun::Behind(other));
        }
    }
    writer.apply(stored.approval.begin(now)?, now).await?;
    writer.commit().await?;
    Ok(Begun::Now)
}

/// Announces a call to Cloud Run, if nothing stops the rollout. The way back is never stopped.
pub async fn announce(
    storage: &Storage,
    job: &Job,
    now: Timestamp,
    call: Call,
    announced: Progress,
) -> Result<Begun, GateError> {
    let mut writer = storage.begin().await?;
    if !writer.hold_job(job).await? {
        return Ok(Begun::Lost);
    }
    let stored = writer.approval(&job.approval).await?.ok_or(GateError::NotFound)?;
    if call != (Call::Restore {}) {
        let Some(freezes) = freezes_within(storage, &mut writer).await? else {
            return Ok(Begun::Unread);
        };
        if let Some(hold) = hold_of(&stored.approval, &freezes, now) {
            return Ok(Begun::Held(hold));
        }
    }
    writer.apply(stored.approval.advance(announced)?, now).await?;
    writer.commit().await?;
    Ok(Begun::Now)
}

/// What is frozen, as was verified. A change owns the ledger's head, so no freeze can come between this look and
/// what it writes. None: one came that is not verified yet.
pub(super) async fn freezes_within(
    storage: &Storage,
    writer: &mut Writer,
) -> Result<Option<Freezes>, GateError> {
    let verified = storage.known_tree().map_or(0, |tree| tree.size());
    Ok(if writer.has_freeze_since(verified).await? { None } else { Some(storage.freezes()) })
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
