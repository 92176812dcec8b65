//! The outbox: what receivers are still to be told.
//!
//! Rows are written with the entry that they are about. Like jobs they are worked off under leases, and a
//! receiver is told one thing at a time, so that one which is slow holds up nobody else.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use sqlx::{AnyConnection, FromRow};

use crate::domain::ids::ApprovalId;
use crate::domain::ledger::Record;
use crate::domain::notice::{EXPIRING, Event, Subscription, UNDELIVERED};
use crate::storage::column::{Row, big_int};
use crate::storage::error::{Result, StorageError};
use crate::storage::writer::step;
use crate::storage::{Engine, Storage, Writer};

/// How long it is shown that a receiver was not told. The ledger tells it for good.
const SHOWN_FOR: SignedDuration = SignedDuration::from_hours(30 * 24);

/// One line of the outbox whose lease somebody holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DueNotice {
    /// The entry to tell of.
    pub entry: u64,
    /// The receiver.
    pub receiver: String,
    /// How many times it was tried.
    pub attempts: u32,
    owner: String,
    epoch: i64,
}

/// How a receiver's part of the outbox stands.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct NoticeStanding {
    /// The receiver.
    pub receiver: String,
    /// How many notices are still to be sent.
    pub waiting: u64,
    /// When the oldest of them happened.
    pub oldest: Option<Timestamp>,
    /// How many were given up in the last 30 days.
    pub given_up: u64,
    /// Why the newest that did not get through did not.
    pub last_error: Option<String>,
}

#[derive(FromRow)]
struct DueRow {
    entry_index: i64,
    receiver: String,
    epoch: i64,
    attempts: i64,
}

#[derive(FromRow)]
struct StandingRow {
    receiver: String,
    waiting: i64,
    oldest: Option<i64>,
    given_up: i64,
    last_error: Option<String>,
}

/// Writes the outbox's rows for an entry that was just appended.
pub(super) async fn announce(
    connection: &mut AnyConnection,
    subscriptions: &[Subscription],
    entry: u64,
    record: &Record,
) -> Result<()> {
    const ABOUT: &str = "SELECT a.environment, n.receiver FROM approvals a \
        LEFT JOIN approval_notices n ON n.approval_id = a.id WHERE a.id = $1";
    const TELL: &str = "INSERT INTO notices (entry_index, receiver, due_at, epoch, attempts) \
                        VALUES ($1, $2, $3, 0, 0)";
    if subscriptions.is_empty() {
        return Ok(());
    }
    let Some(event) = Event::of(record) else { return Ok(()) };
    let about: Option<(String, Option<String>)> = match record.subject() {
        Some(id) => sqlx::query_as(ABOUT).bind(id).fetch_optional(&mut *connection).await?,
        None => None,
    };
    let (environment, named) = about.map_or((None, None), |(name, named)| (Some(name), named));
    let environment = environment.as_deref().or_else(|| record.data["environment"].as_str());
    let subscribed = subscriptions.iter().filter(|one| one.wants(event, environment));
    let receivers: BTreeSet<&str> =
        subscribed.map(|one| one.receiver.as_str()).chain(named.as_deref()).collect();
    for receiver in receivers {
        sqlx::query(TELL)
            .bind(big_int(entry)?)
            .bind(receiver)
            .bind(record.at.as_microsecond())
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// Keeps the receiver that a requester named.
pub(super) async fn name_receiver(
    connection: &mut AnyConnection,
    id: &ApprovalId,
    receiver: &str,
) -> Result<()> {
    const SQL: &str =
        "INSERT INTO approval_notices (approval_id, receiver, expiring) VALUES ($1, $2, 0)";
    sqlx::query(SQL).bind(id.as_str()).bind(receiver).execute(connection).await?;
    Ok(())
}

impl Writer {
    /// Writes that a request expires soon, once.
    pub async fn record_expiring(
        &mut self,
        id: &ApprovalId,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<()> {
        const SQL: &str = "INSERT INTO approval_notices (approval_id, expiring) VALUES ($1, 1) \
            ON CONFLICT (approval_id) DO UPDATE SET expiring = 1 WHERE approval_notices.expiring = 0";
        let told = sqlx::query(SQL).bind(id.as_str());
        let told = step!(self, async {
            Ok::<_, StorageError>(told.execute(&mut *self.transaction).await?.rows_affected())
        })?;
        if told == 0 {
            return Ok(());
        }
        let data = json!({ "approval": id, "expires_at": expires_at });
        self.record(EXPIRING, data, now).await
    }

    /// Writes that a notice is tried no more. False: its lease is not ours, and nothing was written.
    pub async fn give_up_notice(
        &mut self,
        due: &DueNotice,
        why: &str,
        now: Timestamp,
    ) -> Result<bool> {
        const SQL: &str = "UPDATE notices SET given_up_at = $1, owner = NULL, lease_until = NULL, \
            last_error = $2, attempts = attempts + 1 \
            WHERE entry_index = $3 AND receiver = $4 AND owner = $5 AND epoch = $6";
        let given_up = sqlx::query(SQL)
            .bind(now.as_microsecond())
            .bind(why)
            .bind(big_int(due.entry)?)
            .bind(&due.receiver)
            .bind(&due.owner)
            .bind(due.epoch);
        let given_up = step!(self, async {
            Ok::<_, StorageError>(given_up.execute(&mut *self.transaction).await?.rows_affected())
        })?;
        if given_up == 0 {
            return Ok(false);
        }
        let attempts = due.attempts.saturating_add(1);
        let data = json!({ "entry": due.entry, "receiver": due.receiver, "attempts": attempts, "reason": why });
        self.record(UNDELIVERED, data, now).await?;
        Ok(true)
    }
}

impl Storage {
    /// Says who wants to be told of what this process writes. Once, before anything is written.
    pub fn subscribe(&self, subscriptions: Vec<Subscription>) {
        // A second list would be a second configuration of one process, which there is not.
        let _ = self.inner.subscriptions.set(subscriptions);
    }

    pub(super) fn subscriptions(&self) -> &[Subscription] {
        self.inner.subscriptions()
    }

    /// Takes the lease of the notice that is due longest, of a receiver that is not being told something.
    pub async fn claim_notice(
        &self,
        owner: &str,
        now: Timestamp,
        lease: SignedDuration,
    ) -> Result<Option<DueNotice>> {
        const DUE: &str = "SELECT n.entry_index, n.receiver, n.epoch, n.attempts FROM notices n \
            WHERE n.due_at <= $1 AND n.given_up_at IS NULL AND NOT EXISTS (\
            SELECT 1 FROM notices o WHERE o.receiver = n.receiver AND o.lease_until > $1) \
            ORDER BY n.due_at, n.entry_index, n.receiver LIMIT 1";
        const CLAIM: &str = "UPDATE notices SET owner = $1, lease_until = $2, epoch = epoch + 1 \
            WHERE entry_index = $3 AND receiver = $4 AND epoch = $5";
        // Each turn that ends without the lease means that somebody else took that notice.
        loop {
            let due: Option<DueRow> = sqlx::query_as(DUE)
                .bind(now.as_microsecond())
                .fetch_optional(&mut *self.reader().await?)
                .await?;
            let Some(due) = due else { return Ok(None) };
            let until = now.saturating_add(lease).unwrap_or(Timestamp::MAX);
            let touched = sqlx::query(CLAIM)
                .bind(owner)
                .bind(until.as_microsecond())
                .bind(due.entry_index)
                .bind(&due.receiver)
                .bind(due.epoch)
                .execute(&mut *self.writer().await?)
                .await?
                .rows_affected();
            if touched == 1 {
                let row = Row { table: "notices", key: &due.receiver };
                return Ok(Some(DueNotice {
                    entry: row.number("entry_index", due.entry_index)?,
                    attempts: row.number("attempts", due.attempts)?,
                    receiver: due.receiver,
                    owner: owner.to_owned(),
                    epoch: due.epoch + 1,
                }));
            }
        }
    }

    /// Takes a notice that was sent out of the outbox. False: its lease was lost, and somebody else sends
    /// it again.
    pub async fn notice_sent(&self, due: &DueNotice) -> Result<bool> {
        const SQL: &str = "DELETE FROM notices \
            WHERE entry_index = $1 AND receiver = $2 AND owner = $3 AND epoch = $4";
        let touched = sqlx::query(SQL)
            .bind(big_int(due.entry)?)
            .bind(&due.receiver)
            .bind(&due.owner)
            .bind(due.epoch)
            .execute(&mut *self.writer().await?)
            .await?
            .rows_affected();
        Ok(touched == 1)
    }

    /// Puts a notice back, to be tried again at `at`. False: its lease was lost.
    pub async fn retry_notice(&self, due: &DueNotice, at: Timestamp, why: &str) -> Result<bool> {
        const SQL: &str = "UPDATE notices SET owner = NULL, lease_until = NULL, due_at = $1, \
            last_error = $2, attempts = attempts + 1 \
            WHERE entry_index = $3 AND receiver = $4 AND owner = $5 AND epoch = $6";
        let touched = sqlx::query(SQL)
            .bind(at.as_microsecond())
            .bind(why)
            .bind(big_int(due.entry)?)
            .bind(&due.receiver)
            .bind(&due.owner)
            .bind(due.epoch)
            .execute(&mut *self.writer().await?)
            .await?
            .rows_affected();
        Ok(touched == 1)
    }

    /// Gives back the leases of this owner, and those of an earlier process where it is certain that there
    /// is none any more: a SQLite file has one process, and it is ours.
    pub async fn release_notices(&self, owner: &str) -> Result<()> {
        const SQL: &str = "UPDATE notices SET owner = NULL, lease_until = NULL \
                           WHERE owner = $1 OR (owner IS NOT NULL AND $2 = 1)";
        sqlx::query(SQL)
            .bind(owner)
            .bind(i64::from(self.engine() == Engine::Sqlite))
            .execute(&mut *self.writer().await?)
            .await?;
        Ok(())
    }

    /// How the outbox stands, by receiver. Who has nothing in it is not listed.
    pub async fn notice_standings(&self) -> Result<Vec<NoticeStanding>> {
        const SQL: &str = "SELECT n.receiver, \
            SUM(CASE WHEN n.given_up_at IS NULL THEN 1 ELSE 0 END) AS waiting, \
            MIN(CASE WHEN n.given_up_at IS NULL THEN e.at END) AS oldest, \
            SUM(CASE WHEN n.given_up_at IS NULL THEN 0 ELSE 1 END) AS given_up, \
            (SELECT l.last_error FROM notices l WHERE l.receiver = n.receiver \
             AND l.last_error IS NOT NULL ORDER BY l.entry_index DESC LIMIT 1) AS last_error \
            FROM notices n JOIN ledger_entries e ON e.entry_index = n.entry_index \
            GROUP BY n.receiver ORDER BY n.receiver";
        let rows: Vec<StandingRow> =
            sqlx::query_as(SQL).fetch_all(&mut *self.reader().await?).await?;
        let standings = rows.into_iter().map(|columns| {
            let row = Row { table: "notices", key: &columns.receiver };
            Ok(NoticeStanding {
                waiting: row.number("waiting", columns.waiting)?,
                oldest: columns.oldest.map(|at| row.time("at", at)).transpose()?,
                given_up: row.number("given_up", columns.given_up)?,
                receiver: columns.receiver.clone(),
                last_error: columns.last_error,
            })
        });
        standings.collect()
    }

    /// Requests that wait for people, have a quarter of their time left and not more than `soon`, and of
    /// which nobody was told so yet.
    pub async fn due_for_expiry_notice(
        &self,
        now: Timestamp,
        soon: SignedDuration,
        limit: u32,
    ) -> Result<Vec<ApprovalId>> {
        const SQL: &str = "SELECT a.id FROM approvals a WHERE a.status = 'pending' \
            AND a.expires_at > $1 AND a.expires_at <= $2 \
            AND a.expires_at - $1 <= (a.expires_at - a.created_at) / 4 \
            AND NOT EXISTS (SELECT 1 FROM approval_notices n \
            WHERE n.approval_id = a.id AND n.expiring = 1) \
            ORDER BY a.expires_at, a.first_entry LIMIT $3";
        if self.subscriptions().is_empty() {
            return Ok(Vec::new());
        }
        let until = now.saturating_add(soon).unwrap_or(Timestamp::MAX);
        let ids: Vec<String> = sqlx::query_scalar(SQL)
            .bind(now.as_microsecond())
            .bind(until.as_microsecond())
            .bind(i64::from(limit))
            .fetch_all(&mut *self.reader().await?)
            .await?;
        ids.iter().map(|id| Row { table: "approvals", key: id }.parse("id", id)).collect()
    }

    /// Deletes what was given up long ago.
    pub(super) async fn sweep_notices(&self, now: Timestamp) -> Result<()> {
        const SQL: &str = "DELETE FROM notices WHERE given_up_at <= $1";
        let before = now.saturating_sub(SHOWN_FOR).unwrap_or(Timestamp::MIN);
        sqlx::query(SQL).bind(before.as_microsecond()).execute(&mut *self.writer().await?).await?;
        Ok(())
    }
}
