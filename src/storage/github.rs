//! What GitHub is shown of approvals: a row says which version it is to be shown, and which it was.
//!
//! Such a row is no queue of messages. Whoever speaks to GitHub shows it the newest version and skips those
//! between, so that a limit or an outage there makes nothing pile up. One gate speaks at a time, under a lease
//! that is taken, kept and given back by compare-and-set.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use sqlx::{AnyConnection, FromRow};

use crate::domain::approval::Approval;
use crate::domain::digest::Digest;
use crate::domain::ids::ApprovalId;
use crate::storage::column::{Row, big_int, json_text};
use crate::storage::error::{Result, StorageError};
use crate::storage::writer::step;
use crate::storage::{Engine, Storage, Writer};

const REPORTS: &str = "github_reports";
const COMMENTS: &str = "github_comments";

/// A commit of a repository at GitHub.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CommitAtGitHub {
    /// GitHub's number of the repository.
    pub repository: u64,
    /// The commit.
    pub sha: String,
    /// GitHub's number of the run that asked, where the token names one.
    pub run: Option<u64>,
}

/// What there is at GitHub of an approval, as the gate remembers it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Made {
    /// GitHub's number of the deployment.
    pub deployment: Option<u64>,
    /// The digest of the status that it got last.
    pub status: Option<Digest>,
    /// GitHub's number of the check run.
    pub check_run: Option<u64>,
    /// The digest of what the check run says.
    pub check: Option<Digest>,
    /// What a call began to make whose outcome is not recorded: it may be there.
    pub unsure: BTreeSet<Making>,
}

/// What a call can make that another one would make once more.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Making {
    /// A deployment.
    Deployment,
    /// A status of a deployment.
    Status,
    /// A check run.
    CheckRun,
}

/// An approval of which GitHub has not been shown the newest version.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// The approval.
    pub approval: ApprovalId,
    /// The commit that it is shown at.
    pub commit: CommitAtGitHub,
    /// The pull request that the commit came with; 0 if there is none, none before it was looked for.
    pub pull: Option<u64>,
    /// The version that GitHub is to be shown.
    pub wanted: u64,
    /// What there is at GitHub.
    pub made: Made,
    /// How many times in a row it could not be shown.
    pub attempts: u64,
}

/// The one comment of a pull request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Comment {
    /// GitHub's number of it; none while it is not known whether there is one.
    pub id: Option<u64>,
    /// The digest of its text.
    pub text: Digest,
}

/// The right to speak to GitHub, for as long as the lease lasts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Speaker {
    owner: String,
    epoch: i64,
}

#[derive(FromRow)]
struct ReportRow {
    approval_id: String,
    repository_id: i64,
    commit_sha: String,
    run_id: Option<i64>,
    pull: Option<i64>,
    wanted: i64,
    made: String,
    attempts: i64,
}

impl ReportRow {
    fn report(self) -> Result<Report> {
        let row = Row { table: REPORTS, key: &self.approval_id };
        Ok(Report {
            approval: row.parse("approval_id", &self.approval_id)?,
            commit: CommitAtGitHub {
                repository: row.number("repository_id", self.repository_id)?,
                sha: self.commit_sha,
                run: self.run_id.map(|run| row.number("run_id", run)).transpose()?,
            },
            pull: self.pull.map(|pull| row.number("pull", pull)).transpose()?,
            wanted: row.number("wanted", self.wanted)?,
            made: row.json("made", &self.made)?,
            attempts: row.number("attempts", self.attempts)?,
        })
    }
}

impl Writer {
    /// Has GitHub shown a new approval, from this change on, at this commit.
    pub async fn show_at_github(
        &mut self,
        approval: &Approval,
        commit: &CommitAtGitHub,
        now: Timestamp,
    ) -> Result<()> {
        step!(self, insert(&mut self.transaction, approval, commit, now))
    }
}

async fn insert(
    connection: &mut AnyConnection,
    approval: &Approval,
    commit: &CommitAtGitHub,
    now: Timestamp,
) -> Result<()> {
    const SQL: &str = "INSERT INTO github_reports (approval_id, repository_id, commit_sha, run_id, \
         wanted, shown, made, due_at, attempts) VALUES ($1, $2, $3, $4, $5, 0, $6, $7, 0)";
    sqlx::query(SQL)
        .bind(approval.id().as_str())
        .bind(big_int(commit.repository)?)
        .bind(&commit.sha)
        .bind(commit.run.map(big_int).transpose()?)
        .bind(big_int(approval.version)?)
        .bind(json_text(&Made::default())?)
        .bind(now.as_microsecond())
        .execute(connection)
        .await?;
    Ok(())
}

/// Has GitHub shown this version, if it is shown the approval at all.
pub(super) async fn want(
    connection: &mut AnyConnection,
    approval: &Approval,
    now: Timestamp,
) -> Result<()> {
    const SQL: &str = "UPDATE github_reports SET wanted = $1, due_at = $2, attempts = 0 \
                       WHERE approval_id = $3";
    sqlx::query(SQL)
        .bind(big_int(approval.version)?)
        .bind(now.as_microsecond())
        .bind(approval.id().as_str())
        .execute(connection)
        .await?;
    Ok(())
}

impl Storage {
    /// Takes the right to speak to GitHub, unless somebody has it or GitHub asked to be left alone.
    pub async fn become_speaker(
        &self,
        owner: &str,
        now: Timestamp,
        lease: SignedDuration,
    ) -> Result<Option<Speaker>> {
        const SQL: &str = "UPDATE github_speaker SET owner = $1, lease_until = $2, epoch = epoch + 1 \
             WHERE id = 1 AND (lease_until IS NULL OR lease_until <= $3) \
             AND (paused_until IS NULL OR paused_until <= $3) RETURNING epoch";
        let until = now.saturating_add(lease).unwrap_or(Timestamp::MAX);
        let epoch: Option<i64> = sqlx::query_scalar(SQL)
            .bind(owner)
            .bind(until.as_microsecond())
            .bind(now.as_microsecond())
            .fetch_optional(&mut *self.writer().await?)
            .await?;
        Ok(epoch.map(|epoch| Speaker { owner: owner.to_owned(), epoch }))
    }

    /// Keeps the right. False: it is lost, and nothing more may be said.
    pub async fn remain_speaker(
        &self,
        speaker: &Speaker,
        now: Timestamp,
        lease: SignedDuration,
    ) -> Result<bool> {
        const SQL: &str = "UPDATE github_speaker SET lease_until = $1 \
                           WHERE id = 1 AND owner = $2 AND epoch = $3";
        let until = now.saturating_add(lease).unwrap_or(Timestamp::MAX);
        let touched = sqlx::query(SQL)
            .bind(until.as_microsecond())
            .bind(&speaker.owner)
            .bind(speaker.epoch)
            .execute(&mut *self.writer().await?)
            .await?;
        Ok(touched.rows_affected() == 1)
    }

    /// Gives the right back; nobody speaks to GitHub before `paused_until`, if there is one.
    pub async fn stop_speaking(
        &self,
        speaker: &Speaker,
        paused_until: Option<Timestamp>,
    ) -> Result<()> {
        const SQL: &str = "UPDATE github_speaker SET owner = NULL, lease_until = NULL, \
                           paused_until = $1 WHERE id = 1 AND owner = $2 AND epoch = $3";
        sqlx::query(SQL)
            .bind(paused_until.map(Timestamp::as_microsecond))
            .bind(&speaker.owner)
            .bind(speaker.epoch)
            .execute(&mut *self.writer().await?)
            .await?;
        Ok(())
    }

    /// Gives back whatever right this owner still has, or any, where it is certain that whoever had it is gone:
    /// a SQLite file has one process, and it is ours.
    pub async fn release_speaker(&self, owner: &str) -> Result<()> {
        const SQL: &str = "UPDATE github_speaker SET owner = NULL, lease_until = NULL \
                           WHERE id = 1 AND (owner = $1 OR 1 = $2)";
        let is_alone = i64::from(self.engine() == Engine::Sqlite);
        sqlx::query(SQL).bind(owner).bind(is_alone).execute(&mut *self.writer().await?).await?;
        Ok(())
    }

    /// The report that is due longest, if one is.
    pub async fn due_report(&self, now: Timestamp) -> Result<Option<Report>> {
        const SQL: &str = "SELECT approval_id, repository_id, commit_sha, run_id, pull, wanted, made, attempts \
             FROM github_reports WHERE shown < wanted AND due_at <= $1 \
             ORDER BY due_at, approval_id LIMIT 1";
        let row: Option<ReportRow> = sqlx::query_as(SQL)
            .bind(now.as_microsecond())
            .fetch_optional(&mut *self.reader().await?)
            .await?;
        row.map(ReportRow::report).transpose()
    }

    /// How many reports GitHub has not been shown.
    pub async fn reports_open(&self) -> Result<u64> {
        const SQL: &str = "SELECT COUNT(*) FROM github_reports WHERE shown < wanted";
        let count: i64 = sqlx::query_scalar(SQL).fetch_one(&mut *self.reader().await?).await?;
        Row { table: REPORTS, key: "count" }.number("count", count)
    }

    /// The approvals that are shown at one pull request, the newest first, at most `most`.
    pub async fn shown_at(&self, repository: u64, pull: u64, most: u32) -> Result<Vec<ApprovalId>> {
        const SQL: &str = "SELECT r.approval_id FROM github_reports r \
             JOIN approvals a ON a.id = r.approval_id WHERE r.repository_id = $1 AND r.pull = $2 \
             ORDER BY a.first_entry DESC LIMIT $3";
        let ids: Vec<String> = sqlx::query_scalar(SQL)
            .bind(big_int(repository)?)
            .bind(big_int(pull)?)
            .bind(i64::from(most))
            .fetch_all(&mut *self.reader().await?)
            .await?;
        ids.iter().map(|id| Row { table: REPORTS, key: id }.parse("approval_id", id)).collect()
    }

    /// Remembers what there is at GitHub.
    pub async fn note_made(&self, report: &Report) -> Result<()> {
        const SQL: &str = "UPDATE github_reports SET made = $1, pull = $2 WHERE approval_id = $3";
        sqlx::query(SQL)
            .bind(json_text(&report.made)?)
            .bind(report.pull.map(big_int).transpose()?)
            .bind(report.approval.as_str())
            .execute(&mut *self.writer().await?)
            .await?;
        Ok(())
    }

    /// GitHub was shown this version; `problem` says what of it could not be shown for good.
    pub async fn note_shown(
        &self,
        report: &Report,
        version: u64,
        problem: Option<&str>,
    ) -> Result<()> {
        const SQL: &str = "UPDATE github_reports SET shown = $1, attempts = 0, last_error = $2 \
                           WHERE approval_id = $3 AND shown < $1 AND wanted >= $1";
        sqlx::query(SQL)
            .bind(big_int(version)?)
            .bind(problem.map(str::to_owned))
            .bind(report.approval.as_str())
            .execute(&mut *self.writer().await?)
            .await?;
        Ok(())
    }

    /// It could not be shown, and is tried again at `due`.
    pub async fn postpone_report(&self, report: &Report, due: Timestamp, why: &str) -> Result<()> {
        const SQL: &str = "UPDATE github_reports SET due_at = $1, attempts = attempts + 1, \
                           last_error = $2 WHERE approval_id = $3";
        sqlx::query(SQL)
            .bind(due.as_microsecond())
            .bind(why)
            .bind(report.approval.as_str())
            .execute(&mut *self.writer().await?)
            .await?;
        Ok(())
    }

    /// The comment of a pull request, as the gate remembers it.
    pub async fn comment(&self, repository: u64, pull: u64) -> Result<Option<Comment>> {
        const SQL: &str = "SELECT comment_id, text_digest FROM github_comments \
                           WHERE repository_id = $1 AND pull = $2";
        let row: Option<(Option<i64>, String)> = sqlx::query_as(SQL)
            .bind(big_int(repository)?)
            .bind(big_int(pull)?)
            .fetch_optional(&mut *self.reader().await?)
            .await?;
        let key = pull.to_string();
        let row_of = Row { table: COMMENTS, key: &key };
        row.map(|(id, text)| {
            let id = id.map(|id| row_of.number("comment_id", id)).transpose()?;
            Ok(Comment { id, text: row_of.parse("text_digest", &text)? })
        })
        .transpose()
    }

    /// Remembers the comment of a pull request.
    pub async fn note_comment(&self, repository: u64, pull: u64, comment: &Comment) -> Result<()> {
        const SQL: &str = "INSERT INTO github_comments (repository_id, pull, comment_id, text_digest) \
             VALUES ($1, $2, $3, $4) ON CONFLICT (repository_id, pull) \
             DO UPDATE SET comment_id = excluded.comment_id, text_digest = excluded.text_digest";
        let touched = sqlx::query(SQL)
            .bind(big_int(repository)?)
            .bind(big_int(pull)?)
            .bind(comment.id.map(big_int).transpose()?)
            .bind(comment.text.to_string())
            .execute(&mut *self.writer().await?)
            .await?;
        match touched.rows_affected() {
            1 => Ok(()),
            _ => Err(StorageError::Contradiction("a comment has more than one row")),
        }
    }
}
