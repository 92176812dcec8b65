//! What has to be so before the first change: the rollout that this one comes after has succeeded, and the image
//! is attested.

use crate::domain::approval::Status;
use crate::domain::attestation::{Attested, NoteName};
use crate::domain::image::ImageReference;
use crate::domain::rollout::{Change, Outcome, Progress};
use crate::gate::GateError;
use crate::gate::authorise::{NotAuthorised, prove};
use crate::integrations::binary_authorization::AttestationError;
use crate::storage::{Job, StoredApproval};
use crate::worker::Worker;

use super::calls::keeping_the_lease;
use super::{MOST_ATTEMPTS, Turn, pause_after, refuse, write_down};

/// What is to be done instead of beginning, where the rollout before has not succeeded.
///
/// The row's word is good enough to wait. That it succeeded is what its evidence says.
pub(super) async fn wait_for_the_one_before(
    worker: &Worker,
    job: &Job,
    stored: &StoredApproval,
) -> Result<Option<Turn>, GateError> {
    let Some(id) = stored.approval.subject.deployment().and_then(|one| one.after.as_ref()) else {
        return Ok(None);
    };
    let ended = async |how: &str| {
        let outcome = Outcome::Failed(format!(
            "it was to begin after {id} had succeeded, and that one {how}. Nothing was changed"
        ));
        write_down(worker, job, stored, Change::End(outcome)).await.map(Some)
    };
    let Some(before) = worker.storage.approval(id).await? else {
        return ended("is not known any more").await;
    };
    match before.approval.status() {
        Status::Pending | Status::Approved | Status::Executing | Status::NeedsAttention => {
            Ok(Some(Turn::Held(format!("after: it begins when {id} has succeeded"))))
        }
        Status::Succeeded => {
            worker.log.secure().await?;
            match prove(&worker.storage, &worker.trust, &before).await {
                Ok(proved) if proved.state().status() == Status::Succeeded => Ok(None),
                Ok(_) => {
                    Ok(Some(refuse(worker, job, &before, &NotAuthorised::Row("the state")).await?))
                }
                Err(NotAuthorised::Storage(error)) => Err(error.into()),
                Err(finding) => Ok(Some(refuse(worker, job, &before, &finding).await?)),
            }
        }
        other => ended(&format!("ended as {}", other.as_str().replace('_', " "))).await,
    }
}

/// Has the image attested before anything is changed, and writes that down. A crash in between leaves an
/// attestation of an image that was approved, which is found when the rollout goes on.
pub(super) async fn attest(
    worker: &Worker,
    job: &Job,
    stored: &StoredApproval,
    progress: &Progress,
    image: &ImageReference,
    note: &NoteName,
) -> Result<Turn, GateError> {
    let environment = &stored.approval.subject.environment;
    let attesting = worker.outside.attestors.attest(environment, note, image);
    match keeping_the_lease(worker, job, attesting).await {
        Ok(occurrence) => {
            tracing::info!(approval = %job.approval, occurrence, "the image is attested");
            let at = worker.clock.now();
            let attested = Some(Box::new(Attested { note: note.clone(), occurrence, at }));
            let progress = Progress { attested, ..progress.clone() };
            write_down(worker, job, stored, Change::Record(progress)).await
        }
        Err(AttestationError::NotNow(why)) if job.attempts < MOST_ATTEMPTS => {
            tracing::warn!(approval = %job.approval, why, "the image is not attested yet; it is tried again");
            Ok(Turn::Later(pause_after(job.attempts), Some(why)))
        }
        Err(error) => {
            let outcome = Outcome::Failed(format!("{error}. Nothing was changed"));
            write_down(worker, job, stored, Change::End(outcome)).await
        }
    }
}
