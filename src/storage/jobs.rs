//! The worker's jobs and their leases.
//!
//! A job stands in its table exactly while a rollout is approved or executing. A lease is
//! taken, kept and given back by compare-and-set on its epoch, so a worker that slept too long
//! finds out that it lost the job before it writes anything.

use jiff::{SignedDuration, Timestamp};
use sqlx::{AnyConnection, FromRow};

use crate::domain::approval::{Approval, Status};
use crate::domain::ids::ApprovalId;
use crate::domain::subject::Subject;
use crate::storage::column::{Row, big_int};
use crate::storage::error::{Result, StorageError};
use crate::storage::{Engine, Storage};

/// A job whose lease somebody holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Job {
    /// The approval to work on.
    pub approval: ApprovalId,
    /// Who holds the lease.
    pub owner: String,
    /// Counts the leases of this job: with another epoch the lease is somebody else's.
    pub epoch: i64,
    /// How many times in a row it was put back with an error.
    pub attempts: i64,
}

#[derive(FromRow)]
struct JobRow {
    approval_id: String,
    epoch: i64,
    attempts: i64,
}

impl Storage {
    /// Takes the lease of the job that is due longest and that nobody holds.
    pub async fn claim_job(
        &self,
        owner: &str,
        now: Timestamp,
        lease: SignedDuration,
    ) -> Result<Option<Job>> {
        const DUE: &str = "SELECT approval_id, epoch, attempts FROM jobs WHERE due_at <= $1 \
             AND (lease_until IS NULL OR lease_until <= $1) ORDER BY due_at, approval_id LIMIT 1";
        const CLAIM: &str = "UPDATE jobs SET owner = $1, lease_until = $2, epoch = epoch + 1 \
             WHERE approval_id = $3 AND epoch = $4 AND (lease_until IS NULL OR lease_until <= $5)";
        let mut connection = self.writer().await?;
        // Each turn that ends without the lease means that somebody else took that job, so the
        // number of turns is bounded by the number of workers.
        loop {
            let now = now.as_microsecond();
            let due: Option<JobRow> =
                sqlx::query_as(DUE).bind(now).fetch_optional(&mut *connection).await?;
            let Some(due) = due else { return Ok(None) };
            let touched = sqlx::query(CLAIM)
                .bind(owner)
                .bind(now.saturating_add(microseconds(lease)))
                .bind(&due.approval_id)
                .bind(due.epoch)
                .bind(now)
                .execute(&mut *connection)
                .await?
                .rows_affected();
            if touched == 1 {
                let row = Row { table: "jobs", key: &due.approval_id };
                let approval = row.parse("approval_id", &due.approval_id)?;
                let JobRow { epoch, attempts, .. } = due;
                return Ok(Some(Job {
                    approval,
                    owner: owner.to_owned(),
                    epoch: epoch + 1,
                    attempts,
                }));
            }
        }
    }

    /// Keeps the lease until `lease` after `now`. False: the job is lost or done.
    pub async fn renew_job(
        &self,
        job: &Job,
        now: Timestamp,
        lease: SignedDuration,
    ) -> Result<bool> {
        const SQL: &str = "UPDATE jobs SET lease_until = $1 \
                           WHERE approval_id = $2 AND owner = $3 AND epoch = $4";
        let until = now.as_microsecond().saturating_add(microseconds(lease));
        let touched = sqlx::query(SQL)
            .bind(until)
            .bind(job.approval.as_str())
            .bind(&job.owner)
            .bind(job.epoch)
            .execute(&mut *self.writer().await?)
            .await?
            .rows_affected();
        Ok(touched == 1)
    }

    /// Gives the lease back; the job is due again at `due`. With an error the job's attempts are one
    /// more, without one they begin at none again. False: the job is lost or done.
    pub async fn reschedule_job(
        &self,
        job: &Job,
        due: Timestamp,
        last_error: Option<&str>,
    ) -> Result<bool> {
        let attempts = if last_error.is_some() { job.attempts.saturating_add(1) } else { 0 };
        self.give_back(job, due, last_error, attempts).await
    }

    /// The same for a job that does not go on for a reason that is no failure: its attempts begin at none again.
    pub async fn put_off_job(&self, job: &Job, due: Timestamp, why: &str) -> Result<bool> {
        self.give_back(job, due, Some(why), 0).await
    }

    async fn give_back(
        &self,
        job: &Job,
        due: Timestamp,
        last_error: Option<&str>,
        attempts: i64,
    ) -> Result<bool> {
        const SQL: &str = "UPDATE jobs SET owner = NULL, lease_until = NULL, due_at = $1, \
             last_error = $2, attempts = $3 \
             WHERE approval_id = $4 AND owner = $5 AND epoch = $6";
        let touched = sqlx::query(SQL)
            .bind(due.as_microsecond())
            .bind(last_error.map(str::to_owned))
            .bind(attempts)
            .bind(job.approval.as_str())
            .bind(&job.owner)
            .bind(job.epoch)
            .execute(&mut *self.writer().await?)
            .await?
            .rows_affected();
        Ok(touched == 1)
    }

    /// Ends the leases of an earlier process, where it is certain that there is none any more: a
    /// SQLite file has one process, and it is ours. Other gates' leases run out by themselves.
    pub async fn release_jobs_of_the_dead(&self) -> Result<()> {
        const SQL: &str = "UPDATE jobs SET owner = NULL, lease_until = NULL";
        match self.engine() {
            Engine::Sqlite => {
                sqlx::query(SQL).execute(&mut *self.writer().await?).await?;
                Ok(())
            }
            Engine::Postgres => Ok(()),
        }
    }

    /// Gives back whatever leases this owner still has.
    pub async fn release_jobs_of(&self, owner: &str) -> Result<()> {
        const SQL: &str = "UPDATE jobs SET owner = NULL, lease_until = NULL WHERE owner = $1";
        sqlx::query(SQL).bind(owner).execute(&mut *self.writer().await?).await?;
        Ok(())
    }

    /// How many jobs there are, leased or not.
    pub async fn jobs_open(&self) -> Result<u64> {
        let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM jobs")
            .fetch_one(&mut *self.reader().await?)
            .await?;
        Row { table: "jobs", key: "count" }.number("count", count)
    }
}

/// Whether the lease is still ours; if so it stays ours until the transaction ends.
pub(super) async fn hold(connection: &mut AnyConnection, job: &Job) -> Result<bool> {
    const SQL: &str =
        "UPDATE jobs SET epoch = epoch WHERE approval_id = $1 AND owner = $2 AND epoch = $3";
    let touched = sqlx::query(SQL)
        .bind(job.approval.as_str())
        .bind(&job.owner)
        .bind(job.epoch)
        .execute(connection)
        .await?
        .rows_affected();
    Ok(touched == 1)
}

/// Whether an approval of this subject with this status has a job. Rollouts and executions are the gate's to do,
/// and changes of its rules.
pub(crate) fn needs_job(subject: &Subject, status: Status) -> bool {
    match status {
        Status::Approved => subject.is_carried_out() || subject.rule_change().is_some(),
        Status::Executing => subject.is_carried_out(),
        _ => false,
    }
}

/// How many leases a job may have before its epochs reach those of a later job of the same approval.
const LEASES: u64 = 1 << 32;

/// Makes a job stand there exactly if the approval asks for one. An approval whose signature was taken back
/// and signed again gets another job: its epochs begin above those of the first, so that a worker which
/// still holds that lease does not take the new job for its own.
pub(super) async fn settle(
    connection: &mut AnyConnection,
    approval: &Approval,
    now: Timestamp,
) -> Result<()> {
    const OPEN: &str = "INSERT INTO jobs (approval_id, due_at, epoch, attempts) \
                        VALUES ($1, $2, $3, 0) ON CONFLICT (approval_id) DO NOTHING";
    const CLOSE: &str = "DELETE FROM jobs WHERE approval_id = $1";
    let id = approval.id().as_str();
    let query = if needs_job(approval.subject.subject(), approval.status()) {
        let first_epoch = big_int(approval.version.saturating_mul(LEASES))?;
        sqlx::query(OPEN).bind(id).bind(now.as_microsecond()).bind(first_epoch)
    } else {
        sqlx::query(CLOSE).bind(id)
    };
    // One row if the job's standing changes, none if it stays as it is: the key allows no more.
    match query.execute(connection).await?.rows_affected() {
        0 | 1 => Ok(()),
        _ => Err(StorageError::Contradiction("an approval had more than one job")),
    }
}

fn microseconds(duration: SignedDuration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
