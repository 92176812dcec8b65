//! Runs of GitHub Actions that wait at an environment for the gate's answer: kept before GitHub is told that
//! its webhook was taken, and until they are answered.

use jiff::Timestamp;
use sqlx::{AnyConnection, FromRow};

use crate::domain::approval::Approval;
use crate::domain::workflow_run::RunWaits;
use crate::storage::column::{Row, big_int};
use crate::storage::error::{Result, StorageError};
use crate::storage::writer::step;
use crate::storage::{Storage, Writer};

const TABLE: &str = "github_rules";

/// A run that waits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WaitingRule {
    /// GitHub's name of the delivery that said so.
    pub delivery: String,
    /// GitHub's number of the repository.
    pub repository: u64,
    /// GitHub's number of the run.
    pub run: u64,
    /// The environment that it waits at.
    pub environment: String,
    /// The attempt that waits, once GitHub was asked.
    pub attempt: Option<u64>,
    /// The answer that was announced, and may have been given.
    pub announced: Option<RuleAnswer>,
    /// How many times in a row it could not be looked into.
    pub attempts: u64,
}

/// What became of a run that waited.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RuleAnswer {
    /// It goes on.
    Approved,
    /// It does not.
    Rejected,
    /// It waits no more, and the gate did not answer it.
    Gone,
}

impl RuleAnswer {
    /// Its name, which for an answer is GitHub's.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Approved => "approved",
            Self::Rejected => "rejected",
            Self::Gone => "gone",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Approved, Self::Rejected, Self::Gone].into_iter().find(|one| one.as_str() == text)
    }
}

#[derive(FromRow)]
struct RuleRow {
    delivery: String,
    repository_id: i64,
    run_id: i64,
    environment: String,
    attempt: Option<i64>,
    announced: Option<String>,
    attempts: i64,
}

impl RuleRow {
    fn rule(self) -> Result<WaitingRule> {
        let row = Row { table: TABLE, key: &self.delivery };
        let announced = self.announced.as_deref().map(|text| {
            RuleAnswer::parse(text).ok_or_else(|| row.impossible("announced", "it is no answer"))
        });
        Ok(WaitingRule {
            repository: row.number("repository_id", self.repository_id)?,
            run: row.number("run_id", self.run_id)?,
            attempt: self.attempt.map(|attempt| row.number("attempt", attempt)).transpose()?,
            announced: announced.transpose()?,
            attempts: row.number("attempts", self.attempts)?,
            environment: self.environment,
            delivery: self.delivery.clone(),
        })
    }
}

/// Has runs looked at again that wait for this approval. Rows are good enough for that: a run that none of them
/// names is looked at a little later.
pub(super) async fn look_again(
    connection: &mut AnyConnection,
    approval: &Approval,
    now: Timestamp,
) -> Result<()> {
    const SQL: &str = "UPDATE github_rules SET due_at = $1 WHERE answer IS NULL AND EXISTS \
         (SELECT 1 FROM github_reports r WHERE r.approval_id = $2 \
          AND r.repository_id = github_rules.repository_id AND r.run_id = github_rules.run_id)";
    sqlx::query(SQL)
        .bind(now.as_microsecond())
        .bind(approval.id().as_str())
        .execute(connection)
        .await?;
    Ok(())
}

impl Writer {
    /// Keeps what a webhook said. False: it came before.
    pub async fn keep_rule(&mut self, rule: &RunWaits, now: Timestamp) -> Result<bool> {
        step!(self, insert(&mut self.transaction, rule, now))
    }

    /// Notes that an answer is about to be given. False: the run was answered before.
    pub async fn announce_answer(
        &mut self,
        rule: &WaitingRule,
        answer: RuleAnswer,
    ) -> Result<bool> {
        const SQL: &str =
            "UPDATE github_rules SET announced = $1 WHERE delivery = $2 AND answer IS NULL";
        step!(self, set_answer(&mut self.transaction, SQL, rule, answer))
    }

    /// Notes that a run is answered, or waits no more. False: it was answered before.
    pub async fn end_rule(&mut self, rule: &WaitingRule, answer: RuleAnswer) -> Result<bool> {
        const SQL: &str =
            "UPDATE github_rules SET answer = $1 WHERE delivery = $2 AND answer IS NULL";
        step!(self, set_answer(&mut self.transaction, SQL, rule, answer))
    }
}

async fn insert(connection: &mut AnyConnection, rule: &RunWaits, now: Timestamp) -> Result<bool> {
    // The name of a delivery is not signed, so a body counts once under whatever name it comes.
    const SQL: &str = "INSERT INTO github_rules (delivery, body_digest, repository_id, run_id, \
         environment, received_at, due_at, attempts) VALUES ($1, $2, $3, $4, $5, $6, $6, 0) \
         ON CONFLICT DO NOTHING";
    let touched = sqlx::query(SQL)
        .bind(&rule.delivery.id)
        .bind(rule.delivery.body_digest.to_string())
        .bind(big_int(rule.repository)?)
        .bind(big_int(rule.run)?)
        .bind(&rule.environment)
        .bind(now.as_microsecond())
        .execute(connection)
        .await?;
    Ok(touched.rows_affected() == 1)
}

async fn set_answer(
    connection: &mut AnyConnection,
    sql: &'static str,
    rule: &WaitingRule,
    answer: RuleAnswer,
) -> Result<bool> {
    let touched =
        sqlx::query(sql).bind(answer.as_str()).bind(&rule.delivery).execute(connection).await?;
    match touched.rows_affected() {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(StorageError::Contradiction("a delivery has more than one row")),
    }
}

impl Storage {
    /// The waiting run that is due longest, if one is.
    pub async fn due_rule(&self, now: Timestamp) -> Result<Option<WaitingRule>> {
        const SQL: &str = "SELECT delivery, repository_id, run_id, environment, attempt, announced, \
             attempts FROM github_rules WHERE answer IS NULL AND due_at <= $1 \
             ORDER BY due_at, delivery LIMIT 1";
        let row: Option<RuleRow> = sqlx::query_as(SQL)
            .bind(now.as_microsecond())
            .fetch_optional(&mut *self.reader().await?)
            .await?;
        row.map(RuleRow::rule).transpose()
    }

    /// How many runs wait for an answer.
    pub async fn rules_open(&self) -> Result<u64> {
        const SQL: &str = "SELECT COUNT(*) FROM github_rules WHERE answer IS NULL";
        let count: i64 = sqlx::query_scalar(SQL).fetch_one(&mut *self.reader().await?).await?;
        Row { table: TABLE, key: "count" }.number("count", count)
    }

    /// Notes which attempt of its run waits.
    pub async fn note_attempt(&self, rule: &WaitingRule, attempt: u64) -> Result<()> {
        const SQL: &str = "UPDATE github_rules SET attempt = $1 WHERE delivery = $2";
        sqlx::query(SQL)
            .bind(big_int(attempt)?)
            .bind(&rule.delivery)
            .execute(&mut *self.writer().await?)
            .await?;
        Ok(())
    }

    /// Has it looked at again at `due`, or as soon as an approval of its run changes. `why` says what went wrong.
    pub async fn postpone_rule(
        &self,
        rule: &WaitingRule,
        due: Timestamp,
        why: Option<&str>,
    ) -> Result<()> {
        const SQL: &str = "UPDATE github_rules SET due_at = $1, attempts = $2, last_error = $3 \
                           WHERE delivery = $4 AND answer IS NULL";
        let attempts = if why.is_some() { rule.attempts.saturating_add(1) } else { 0 };
        sqlx::query(SQL)
            .bind(due.as_microsecond())
            .bind(big_int(attempts)?)
            .bind(why.map(str::to_owned))
            .bind(&rule.delivery)
            .execute(&mut *self.writer().await?)
            .await?;
        Ok(())
    }
}
