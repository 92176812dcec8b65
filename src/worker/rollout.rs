//! One rollout, or one execution of a job: observe, ask the domain what to do next, announce it, do it, observe again.

mod before;
mod calls;
mod job_execution;
mod rules;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::domain::approval::State;
use crate::domain::deployment::Deployment;
use crate::domain::hold::{Hold, hold_of};
use crate::domain::intervention::Orders;
use crate::domain::rollout::{
    Action, Change, Outcome, Progress, World, after_exhaustion, next_action,
};
use crate::gate::GateError;
use crate::gate::authorise::{Authorised, NotAuthorised, authorise};
use crate::gate::rollout::{self, Begun, change, expire};
use crate::integrations::cloud_run::CloudRunError;
use crate::storage::{Job, StorageError, StoredApproval};
use crate::worker::{PAUSE_AFTER_ERROR, Step, Worker, checks};

/// How long a job is ours without a sign of life: short, because a rollout whose worker died stands
/// still for as long. A worker that sleeps through it loses the job, and what it still sends then
/// names an etag that is gone.
pub(super) const LEASE: SignedDuration = SignedDuration::from_secs(30);
/// Cloud Run is asked again this soon after a change, since most are in effect within seconds,
const SOON: Duration = Duration::from_millis(300);
/// and this soon when it takes longer.
const LATER: Duration = Duration::from_secs(2);
/// While a step is watched it is looked at this often: a failure is undone within half a minute of it.
const WATCHING: Duration = Duration::from_secs(5);
/// What "longer" means.
const LONG: SignedDuration = SignedDuration::from_secs(15);
/// How many times in a row Cloud Run may fail to answer. With pauses that double up to
/// [`LONGEST_PAUSE`] that is about a quarter of an hour, longer than most outages.
const MOST_ATTEMPTS: i64 = 35;
/// The pause after the first failure.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How one turn of a rollout ended.
enum Turn {
    /// Something changed: look again at once.
    Again,
    /// There is nothing to do for this long; after a failure, why.
    Later(Duration, Option<String>),
    /// Something holds it, which is no failure: why.
    Held(String),
    /// The rollout is over, or not ours any more.
    Over,
}

/// Moves a rollout as far as it goes now, and gives the job back.
pub(super) async fn carry_out(worker: &Worker, mut job: Job) -> Step {
    loop {
        match worker.storage.renew_job(&job, worker.clock.now(), LEASE).await {
            Ok(true) => {}
            Ok(false) => return Step::Worked,
            Err(error) => {
                wait_for_the_database(&job, &error).await;
                continue;
            }
        }
        let turn = match take_turn(worker, &job).await {
            Ok(turn) => turn,
            Err(error) => {
                tracing::error!(approval = %job.approval, %error, "the rollout cannot go on; it is tried again");
                Turn::Later(pause_after(job.attempts), Some(error.to_string()))
            }
        };
        match turn {
            // It got further: the failures before are not in a row with those to come.
            Turn::Again => job.attempts = 0,
            Turn::Over => return Step::Worked,
            Turn::Held(why) => {
                match worker.storage.put_off_job(&job, due(worker, LATER), &why).await {
                    Ok(_) => return Step::Later(LATER),
                    Err(error) => wait_for_the_database(&job, &error).await,
                }
            }
            Turn::Later(after, error) => {
                let due = due(worker, after);
                match worker.storage.reschedule_job(&job, due, error.as_deref()).await {
                    Ok(_) => return Step::Later(after),
                    Err(error) => wait_for_the_database(&job, &error).await,
                }
            }
        }
    }
}

fn due(worker: &Worker, after: Duration) -> Timestamp {
    let pause = SignedDuration::try_from(after).unwrap_or(SignedDuration::ZERO);
    worker.clock.now().saturating_add(pause).unwrap_or(Timestamp::MAX)
}

/// A job that cannot be given back stays ours: as soon as the database is there again it goes on, or
/// turns out to be somebody else's.
async fn wait_for_the_database(job: &Job, error: &StorageError) {
    tracing::error!(approval = %job.approval, %error, "the rollout waits for the database");
    tokio::time::sleep(PAUSE_AFTER_ERROR).await;
}

async fn take_turn(worker: &Worker, job: &Job) -> Result<Turn, GateError> {
    let stored = match worker.storage.approval(&job.approval).await {
        // Left to the version that can read it, which is asked soon.
        Err(error @ StorageError::Newer(_)) => {
            tracing::warn!(%error, "nothing is done; if no newer version runs, somebody else wrote this row");
            return Ok(Turn::Held(error.to_string()));
        }
        stored => stored?.ok_or(GateError::NotFound)?,
    };
    if stored.approval.subject.rule_change().is_some() {
        return match stored.approval.state {
            State::Approved { .. } => rules::take_effect(worker, job, &stored).await,
            _ => Ok(Turn::Over),
        };
    }
    if !stored.approval.subject.subject().is_carried_out() {
        // The gate writes no such job: whoever wrote this one gets nothing by it.
        tracing::error!(approval = %job.approval, "ALARM: there is a job for what the gate does not carry out; nothing is done");
        return Ok(Turn::Later(LONGEST_PAUSE, None));
    }
    match &stored.approval.state {
        State::Approved { .. } => begin(worker, job, &stored).await,
        State::Executing { progress, orders, .. } => {
            go_on(worker, job, &stored, (progress, orders)).await
        }
        State::Pending {}
        | State::Succeeded { .. }
        | State::Failed { .. }
        | State::RolledBack { .. }
        | State::NeedsAttention { .. }
        | State::Rejected { .. }
        | State::Expired { .. }
        | State::Cancelled { .. }
        | State::Superseded { .. }
        | State::Withdrawn { .. } => Ok(Turn::Over),
    }
}

async fn begin(worker: &Worker, job: &Job, stored: &StoredApproval) -> Result<Turn, GateError> {
    let now = worker.clock.now();
    // The row's word is good enough to wait. One whose time is over does not.
    if now < stored.approval.runs_out_at()
        && let Some(hold) = hold_of(&stored.approval, &worker.storage.freezes(), now)
    {
        return Ok(held(job, &hold));
    }
    if now < stored.approval.runs_out_at()
        && let Some(turn) = before::wait_for_the_one_before(worker, job, stored).await?
    {
        return Ok(turn);
    }
    // Since when it is approved is the row's word until it is verified.
    let finding = match stored.approval.subject.job_execution() {
        None => verified(worker, stored).await?.err(),
        Some(_) => job_execution::verified(worker, stored).await?.err(),
    };
    if let Some(finding) = finding {
        return refuse(worker, job, stored, &finding).await;
    }
    if now >= stored.approval.runs_out_at() {
        expire(&worker.storage, &job.approval, now).await?;
        return Ok(Turn::Over);
    }
    Ok(not_now(job, rollout::begin(&worker.storage, job, now).await?))
}

/// What to do about a rollout that does not begin or go on now; one that does goes on at once.
fn not_now(job: &Job, begun: Begun) -> Turn {
    match begun {
        Begun::Now => Turn::Again,
        Begun::Behind(other) => {
            tracing::debug!(approval = %job.approval, %other, "the rollout waits for another one of the same service");
            Turn::Later(LATER, None)
        }
        Begun::Held(hold) => held(job, &hold),
        Begun::Unread => Turn::Later(SOON, None),
        Begun::Lost => Turn::Over,
    }
}

/// Nothing begins and nothing goes on for now; the job says why.
fn held(job: &Job, hold: &Hold) -> Turn {
    let code = hold.code();
    tracing::debug!(approval = %job.approval, code, "the rollout is held");
    Turn::Held(format!("{code}: {}", hold.sentence()))
}

async fn go_on(
    worker: &Worker,
    job: &Job,
    stored: &StoredApproval,
    (progress, orders): (&Progress, &Orders),
) -> Result<Turn, GateError> {
    if let Some(asked) = stored.approval.subject.job_execution() {
        return job_execution::go_on(worker, job, stored, asked, progress).await;
    }
    let Some(deployment) = stored.approval.subject.deployment() else { return Ok(Turn::Over) };
    let mut world = match observe(worker, deployment).await {
        Ok(world) => world,
        Err(error) => return trouble(worker, job, stored, progress, &error).await,
    };
    let mut action = next_action(deployment, progress, orders, &world);
    if let Action::Check { step } = action {
        let asking = checks::ask(worker, deployment, step, world.service.as_ref());
        let found = calls::keeping_the_lease(worker, job, asking).await;
        // It says something only of what serves then and serves still.
        world = match observe(worker, deployment).await {
            Ok(after) => World { checks: Some(found), ..after },
            Err(error) => return trouble(worker, job, stored, progress, &error).await,
        };
        action = next_action(deployment, progress, orders, &world);
    }
    match action {
        Action::Make(call) => {
            calls::make(worker, job, stored, progress, call, world.service.as_ref()).await
        }
        Action::Check { .. } => Ok(Turn::Later(SOON, None)),
        Action::Wait => Ok(Turn::Later(look_again(progress, world.now), None)),
        Action::WaitForPeople => Ok(Turn::Later(WATCHING, None)),
        Action::WaitUntil(until) => {
            let left = until.duration_since(world.now).unsigned_abs();
            Ok(Turn::Later(left.min(WATCHING), None))
        }
        Action::Write(change) => write_down(worker, job, stored, change).await,
    }
}

/// The revision first, then the service: see [`World`].
async fn observe(worker: &Worker, deployment: &Deployment) -> Result<World, CloudRunError> {
    let revision = worker
        .outside
        .cloud_run
        .observe_revision(&deployment.service, &deployment.plan.revision)
        .await?;
    let service = worker.outside.cloud_run.observe_service(&deployment.service).await?;
    Ok(World { service, revision, checks: None, now: worker.clock.now() })
}

/// Writes an observation or the end into the ledger.
async fn write_down(
    worker: &Worker,
    job: &Job,
    stored: &StoredApproval,
    found: Change,
) -> Result<Turn, GateError> {
    let now = worker.clock.now();
    match found {
        Change::Record(progress) => {
            let written =
                change(&worker.storage, job, now, |approval| approval.advance(progress)).await?;
            Ok(if written.is_some() { Turn::Again } else { Turn::Over })
        }
        Change::End(outcome) => {
            tell(stored, &outcome);
            change(&worker.storage, job, now, |approval| approval.finish(outcome, now)).await?;
            Ok(Turn::Over)
        }
    }
}

fn tell(stored: &StoredApproval, outcome: &Outcome) {
    let approval = stored.approval.id();
    match outcome {
        Outcome::Succeeded(serving) => {
            tracing::info!(%approval, revision = serving.revision, "the service serves what was signed");
        }
        Outcome::RolledBack(reason) => {
            tracing::warn!(%approval, reason, "the rollout failed and was rolled back");
        }
        Outcome::Failed(reason) => tracing::warn!(%approval, reason, "the rollout failed"),
        Outcome::Ran(execution) => {
            tracing::info!(%approval, execution = execution.name, "the job ran as signed");
        }
        Outcome::Updated(updated) => {
            tracing::info!(%approval, generation = updated.generation, "the job has what was signed");
        }
        Outcome::RunFailed(reason, _) => tracing::warn!(%approval, reason, "the job failed"),
        Outcome::NeedsAttention(reason) => {
            tracing::error!(%approval, reason, "the rollout needs a person's attention");
        }
    }
}

/// Verifies the log and the evidence. The inner error is a finding; the outer one says that it could not be read.
async fn verified(
    worker: &Worker,
    stored: &StoredApproval,
) -> Result<Result<Authorised, NotAuthorised>, GateError> {
    worker.log.secure().await?;
    match authorise(&worker.storage, &worker.trust, stored).await {
        Err(NotAuthorised::Storage(error)) => Err(error.into()),
        verdict => Ok(verdict),
    }
}

/// The evidence does not hold: nothing is called, and a person has to look, unless it waits for witnesses. Without the lease it
/// means nothing: whoever has the job now may have written between two of our reads.
async fn refuse(
    worker: &Worker,
    job: &Job,
    judged: &StoredApproval,
    finding: &NotAuthorised,
) -> Result<Turn, GateError> {
    if let NotAuthorised::NotWitnessed(_) = finding {
        return Ok(Turn::Later(SOON, Some(finding.to_string())));
    }
    // Evidence that was read after somebody signed does not fit the row from before: it is judged anew.
    let now_there = worker.storage.approval(judged.approval.id()).await?;
    if now_there.is_some_and(|stored| stored.approval.version != judged.approval.version) {
        return Ok(Turn::Later(SOON, None));
    }
    let code = finding.code();
    let now = worker.clock.now();
    let reason = match finding {
        NotAuthorised::Revoked(_) | NotAuthorised::Unpinned(_) => format!("{finding} ({code})"),
        _ => format!("the evidence does not hold ({code}): {finding}"),
    };
    let outcome = Outcome::NeedsAttention(reason);
    let ended = change(&worker.storage, job, now, |approval| approval.finish(outcome, now)).await;
    if !matches!(ended, Ok(None)) {
        tracing::error!(approval = %job.approval, code, %finding, "ALARM: an approval does not hold; nothing is rolled out");
    }
    ended?;
    Ok(Turn::Over)
}

/// Cloud Run did not answer, or not now.
async fn trouble(
    worker: &Worker,
    job: &Job,
    stored: &StoredApproval,
    progress: &Progress,
    error: &CloudRunError,
) -> Result<Turn, GateError> {
    let why = error.to_string();
    let is_final = matches!(error, CloudRunError::Refused(_));
    if is_final || job.attempts >= MOST_ATTEMPTS {
        return write_down(worker, job, stored, after_exhaustion(progress, &why)).await;
    }
    tracing::warn!(approval = %job.approval, why, attempts = job.attempts, "Cloud Run did not do it; it is looked at again");
    Ok(Turn::Later(pause_after(job.attempts), Some(why)))
}

fn pause_after(attempts: i64) -> Duration {
    let doublings = u32::try_from(attempts.clamp(0, 10)).unwrap_or(10);
    FIRST_PAUSE.saturating_mul(1 << doublings).min(LONGEST_PAUSE)
}

fn look_again(progress: &Progress, now: Timestamp) -> Duration {
    let since = progress
        .intent
        .as_ref()
        .map_or(SignedDuration::ZERO, |intent| now.duration_since(intent.at));
    if since < LONG { SOON } else { LATER }
}
