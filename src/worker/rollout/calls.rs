//! The calls to Cloud Run: verified, announced, kept outside, made, and what came back recorded.

use std::time::Duration;

use jiff::Timestamp;

use crate::domain::observation::ObservedService;
use crate::domain::rollout::{Answer, Call, Intent, Progress, after_refusal};
use crate::gate::GateError;
use crate::gate::authorise::Authorised;
use crate::gate::rollout::{self, Begun, change};
use crate::integrations::cloud_run::CloudRunError;
use crate::storage::{Job, StoredApproval};
use crate::worker::Worker;

use super::{LEASE, Turn, before, not_now, refuse, trouble, verified, write_down};

/// How often the lease is kept while a call takes its time: three tries before it runs out.
const KEEP_LEASE: Duration = Duration::from_secs(9);

/// Verifies, announces, calls.
pub(super) async fn make(
    worker: &Worker,
    job: &Job,
    stored: &StoredApproval,
    progress: &Progress,
    call: Call,
    observed: Option<&ObservedService>,
) -> Result<Turn, GateError> {
    let authorised = match verified(worker, stored).await? {
        Ok(authorised) => authorised,
        Err(finding) => return refuse(worker, job, stored, &finding).await,
    };
    if let (Some(note), true, None) =
        (authorised.attestor(), call.brings_an_image(), &progress.attested)
    {
        let image = &authorised.deployment().image;
        return before::attest(worker, job, stored, progress, image, note).await;
    }
    let etag = observed.map(|service| service.etag.clone());
    let calling = call_cloud_run(worker, &authorised, call, observed);
    let made = announced(worker, job, progress, (call, etag), calling).await?;
    let (came_back, answered) = match made {
        Made::Called(came_back, answered) => (came_back, answered),
        Made::Not(turn) => return Ok(turn),
    };
    match came_back {
        Ok(()) => Ok(Turn::Again),
        Err(CloudRunError::Refused(why)) => {
            let on_failure = authorised.deployment().plan.on_failure;
            write_down(worker, job, stored, after_refusal(on_failure, progress, call, &why)).await
        }
        Err(error) => trouble(worker, job, stored, &answered, &error).await,
    }
}

/// What became of a call.
pub(super) enum Made {
    /// It was made: what came back, and the progress that was recorded with that.
    Called(Result<(), CloudRunError>, Box<Progress>),
    /// It was not made, or what came back could not be recorded any more.
    Not(Turn),
}

/// Announces a call and makes it. Until the announcement is kept, `calling` is not begun.
pub(super) async fn announced(
    worker: &Worker,
    job: &Job,
    progress: &Progress,
    (call, etag): (Call, Option<String>),
    calling: impl Future<Output = Result<(), CloudRunError>>,
) -> Result<Made, GateError> {
    let now = worker.clock.now();
    let intent = Intent { call, etag, at: now, answer: None };
    let announced = Progress { intent: Some(intent.clone()), ..progress.clone() };
    match rollout::announce(&worker.storage, job, now, call, announced).await? {
        Begun::Now => {}
        other => return Ok(Made::Not(not_now(job, other))),
    }
    // The announcement is outside the database too before the call is made: no backup undoes it.
    worker.log.secure().await?;
    tracing::info!(approval = %job.approval, ?call, "calling Cloud Run");
    // The point of no return. A crash before the call, in it or after it leaves the announcement,
    // and whoever goes on observes first. The call itself can take effect only once: it names an
    // etag, a revision or a service that no second call finds again.
    let came_back = keeping_the_lease(worker, job, calling).await;
    // The record of what came back. A crash before it leaves a call without an answer, which says
    // exactly what is known then.
    let now = worker.clock.now();
    let answered = Progress {
        intent: Some(Intent { answer: Some(answer(&came_back, now)), ..intent }),
        ..progress.clone()
    };
    let written =
        change(&worker.storage, job, now, |approval| approval.advance(answered.clone())).await?;
    Ok(match written {
        Some(_) => Made::Called(came_back, Box::new(answered)),
        None => Made::Not(Turn::Over),
    })
}

fn answer(came_back: &Result<(), CloudRunError>, at: Timestamp) -> Answer {
    match came_back {
        Ok(()) => Answer::Accepted { at },
        Err(CloudRunError::Refused(why)) => Answer::Refused { at, reason: why.clone() },
        Err(CloudRunError::NotNow(why)) => Answer::NotNow { at, reason: why.clone() },
        Err(CloudRunError::Unknown(why)) => Answer::Unknown { at, reason: why.clone() },
    }
}

/// Waits for a call and keeps the lease meanwhile. A lease that is lost does not stop the call: what
/// was sent cannot be taken back, and whoever has the job now observes first.
pub(super) async fn keeping_the_lease<T>(
    worker: &Worker,
    job: &Job,
    call: impl Future<Output = T>,
) -> T {
    let mut call = std::pin::pin!(call);
    loop {
        tokio::select! {
            done = &mut call => return done,
            () = tokio::time::sleep(KEEP_LEASE) => {
                if let Err(error) = worker.storage.renew_job(job, worker.clock.now(), LEASE).await {
                    tracing::warn!(%error, "the lease of a rollout could not be kept");
                }
            }
        }
    }
}

/// The only place that changes Cloud Run: what it does is read from the verified deployment.
async fn call_cloud_run(
    worker: &Worker,
    authorised: &Authorised,
    call: Call,
    observed: Option<&ObservedService>,
) -> Result<(), CloudRunError> {
    let deployment = authorised.deployment();
    let cloud_run = &worker.outside.cloud_run;
    let plan = &deployment.plan;
    match (call, observed) {
        (Call::CreateService {}, None) => cloud_run.create_service(deployment).await,
        (Call::CreateRevision {}, Some(service)) => {
            cloud_run.create_revision(deployment, service).await
        }
        (Call::MoveTraffic { step }, Some(service)) => match plan.steps.get(step) {
            Some(step) => {
                let tag = step.tag.as_deref();
                cloud_run.move_traffic(deployment, service, &step.traffic, tag).await
            }
            None => Err(CloudRunError::Refused(format!("the signed plan has no step {step}"))),
        },
        (Call::Restore {}, Some(service)) => {
            cloud_run.move_traffic(deployment, service, &plan.rollback, None).await
        }
        (Call::CreateService {}, Some(_)) => {
            Err(CloudRunError::Refused("it exists already".to_owned()))
        }
        (Call::RunJob {} | Call::UpdateJob {}, Some(_)) => {
            Err(CloudRunError::Refused("a rollout changes no job".to_owned()))
        }
        (_, None) => Err(CloudRunError::Refused("it does not exist".to_owned())),
    }
}
