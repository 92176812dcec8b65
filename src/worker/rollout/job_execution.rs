//! One execution of a job, or one change of it: made by one call, and looked at until it ends.

use jiff::Timestamp;

use crate::domain::job::{JobExecution, JobWorld, next_job_action};
use crate::domain::observation::ObservedJob;
use crate::domain::plan::OnFailure;
use crate::domain::rollout::{Action, Call, Progress, after_refusal};
use crate::gate::GateError;
use crate::gate::authorise::{AuthorisedJob, NotAuthorised, authorise_job};
use crate::integrations::cloud_run::CloudRunError;
use crate::storage::{Job, StoredApproval};
use crate::worker::Worker;

use super::calls::{Made, announced};
use super::{LONG, SOON, Turn, WATCHING, before, look_again, refuse, trouble, write_down};

/// Looks, asks the domain what to do next, and does it.
pub(super) async fn go_on(
    worker: &Worker,
    job: &Job,
    stored: &StoredApproval,
    asked: &JobExecution,
    progress: &Progress,
) -> Result<Turn, GateError> {
    let world = match observe(worker, asked).await {
        Ok(world) => world,
        Err(error) => return trouble(worker, job, stored, progress, &error).await,
    };
    match next_job_action(asked, progress, &world) {
        Action::Make(call) => make(worker, job, stored, progress, (call, world.job.as_ref())).await,
        Action::Write(change) => write_down(worker, job, stored, change).await,
        Action::Wait => Ok(Turn::Later(pause(progress, world.now), None)),
        // A job has no steps that are watched or checked.
        Action::WaitUntil(_) | Action::Check { .. } | Action::WaitForPeople => {
            Ok(Turn::Later(WATCHING, None))
        }
    }
}

/// An execution may run for days: it is looked at often only while it could be a short one.
fn pause(progress: &Progress, now: Timestamp) -> std::time::Duration {
    match &progress.execution {
        None => look_again(progress, now),
        Some(seen) if now.duration_since(seen.observed_at) < LONG => SOON,
        Some(_) => WATCHING,
    }
}

/// The execution first, then the job: see [`JobWorld`].
async fn observe(worker: &Worker, asked: &JobExecution) -> Result<JobWorld, CloudRunError> {
    let cloud_run = &worker.outside.cloud_run;
    let execution = match &asked.execution {
        Some(name) => cloud_run.observe_execution(&asked.job, name).await?,
        None => None,
    };
    let job = cloud_run.observe_job(&asked.job).await?;
    Ok(JobWorld { job, execution, now: worker.clock.now() })
}

/// Verifies, announces, calls. What is sent is read from the verified execution.
async fn make(
    worker: &Worker,
    job: &Job,
    stored: &StoredApproval,
    progress: &Progress,
    (call, observed): (Call, Option<&ObservedJob>),
) -> Result<Turn, GateError> {
    let authorised = match verified(worker, stored).await? {
        Ok(authorised) => authorised,
        Err(finding) => return refuse(worker, job, stored, &finding).await,
    };
    if let (Some(note), None) = (authorised.attestor(), &progress.attested) {
        let image = &authorised.execution().image;
        return before::attest(worker, job, stored, progress, image, note).await;
    }
    let calling = async {
        match (call, observed) {
            (Call::RunJob {} | Call::UpdateJob {}, Some(observed)) => {
                worker.outside.cloud_run.update_job(authorised.execution(), observed).await
            }
            _ => Err(CloudRunError::Refused("there is no job to change".to_owned())),
        }
    };
    let etag = observed.map(|job| job.etag.clone());
    match announced(worker, job, progress, (call, etag), calling).await? {
        Made::Not(turn) => Ok(turn),
        Made::Called(Ok(()), _) => Ok(Turn::Again),
        Made::Called(Err(CloudRunError::Refused(why)), _) => {
            // Nothing was changed, so there is nothing to restore or to hold.
            let change = after_refusal(OnFailure::Hold, progress, call, &why);
            write_down(worker, job, stored, change).await
        }
        Made::Called(Err(error), answered) => trouble(worker, job, stored, &answered, &error).await,
    }
}

/// Verifies the log and the evidence, as for a rollout.
pub(super) async fn verified(
    worker: &Worker,
    stored: &StoredApproval,
) -> Result<Result<AuthorisedJob, NotAuthorised>, GateError> {
    worker.log.secure().await?;
    match authorise_job(&worker.storage, &worker.trust, stored).await {
        Err(NotAuthorised::Storage(error)) => Err(error.into()),
        verdict => Ok(verdict),
    }
}
