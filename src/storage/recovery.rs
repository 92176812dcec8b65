//! Links to a recovery of the log, each for one person, and what a recovery ends.

use std::sync::Arc;

use jiff::Timestamp;
use sqlx::{AnyConnection, FromRow};

use crate::domain::digest::Digest;
use crate::domain::recovery::{Lineage, RecoverySignature};
use crate::storage::Storage;
use crate::storage::column::{Row, json_text};
use crate::storage::error::{Result, StorageError};
use crate::storage::ledger;
use crate::storage::writer::{Writer, step};

/// One person's link. What it holds is compared and verified by whoever goes by it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecoveryLink {
    /// SHA-256 of its token.
    pub token: Digest,
    /// The canonical statement.
    pub statement: String,
    /// Until when it may be opened and signed.
    pub expires_at: Timestamp,
    /// SHA-256 of the secret of the browser that opened it.
    pub browser: Option<Digest>,
    /// The signature that came through it.
    pub signature: Option<RecoverySignature>,
}

#[derive(FromRow)]
struct LinkRow {
    token: String,
    statement: String,
    expires_at: i64,
    browser: Option<String>,
    signature: Option<String>,
}

impl TryFrom<LinkRow> for RecoveryLink {
    type Error = StorageError;

    fn try_from(columns: LinkRow) -> Result<Self> {
        let row = Row { table: "recovery_links", key: &columns.token };
        let signature = columns.signature.as_deref();
        Ok(Self {
            token: row.parse("token", &columns.token)?,
            expires_at: row.time("expires_at", columns.expires_at)?,
            browser: columns
                .browser
                .as_deref()
                .map(|text| row.parse("browser", text))
                .transpose()?,
            signature: signature.map(|text| row.json("signature", text)).transpose()?,
            statement: columns.statement,
        })
    }
}

impl Storage {
    /// Remembers a link by the hash of its token.
    pub async fn put_recovery_link(
        &self,
        token: &Digest,
        statement: &str,
        expires_at: Timestamp,
    ) -> Result<()> {
        const SQL: &str = "INSERT INTO recovery_links (token, statement, expires_at) VALUES ($1, $2, $3) \
             ON CONFLICT DO NOTHING";
        let touched = sqlx::query(SQL)
            .bind(token.to_string())
            .bind(statement)
            .bind(expires_at.as_microsecond())
            .execute(&mut *self.writer().await?)
            .await?
            .rows_affected();
        if touched == 1 { Ok(()) } else { Err(StorageError::Duplicate("this link")) }
    }

    /// Opens a link in a browser, once. False: it is unknown, over, or was opened before.
    pub async fn open_recovery_link(
        &self,
        token: &Digest,
        browser: &Digest,
        now: Timestamp,
    ) -> Result<bool> {
        const SQL: &str = "UPDATE recovery_links SET browser = $1 \
                           WHERE token = $2 AND browser IS NULL AND expires_at > $3";
        let touched = sqlx::query(SQL)
            .bind(browser.to_string())
            .bind(token.to_string())
            .bind(now.as_microsecond())
            .execute(&mut *self.writer().await?)
            .await?
            .rows_affected();
        Ok(touched == 1)
    }

    /// The links to the recovery with this statement.
    pub async fn recovery_links(&self, statement: &str) -> Result<Vec<RecoveryLink>> {
        const SQL: &str = "SELECT token, statement, expires_at, browser, signature \
                           FROM recovery_links WHERE statement = $1 ORDER BY token";
        let rows: Vec<LinkRow> =
            sqlx::query_as(SQL).bind(statement).fetch_all(&mut *self.reader().await?).await?;
        rows.into_iter().map(RecoveryLink::try_from).collect()
    }

    /// The link that this browser opened, if it is still good.
    pub async fn recovery_link_of(
        &self,
        browser: &Digest,
        now: Timestamp,
    ) -> Result<Option<RecoveryLink>> {
        const SQL: &str = "SELECT token, statement, expires_at, browser, signature \
                           FROM recovery_links WHERE browser = $1 AND expires_at > $2";
        let row: Option<LinkRow> = sqlx::query_as(SQL)
            .bind(browser.to_string())
            .bind(now.as_microsecond())
            .fetch_optional(&mut *self.reader().await?)
            .await?;
        row.map(RecoveryLink::try_from).transpose()
    }

    /// Keeps the signature that came through a link, once. False: there is one already.
    pub async fn sign_recovery_link(
        &self,
        token: &Digest,
        signature: &RecoverySignature,
    ) -> Result<bool> {
        const SQL: &str = "UPDATE recovery_links SET signature = $1 \
                           WHERE token = $2 AND browser IS NOT NULL AND signature IS NULL";
        let touched = sqlx::query(SQL)
            .bind(json_text(signature)?)
            .bind(token.to_string())
            .execute(&mut *self.writer().await?)
            .await?
            .rows_affected();
        Ok(touched == 1)
    }
}

impl Storage {
    /// Begins the change with which a log goes on that is not the one that was seen: on top of exactly this
    /// head, whatever [`Storage::log_fault`] says. Only a recovery that people signed for begins so.
    ///
    /// # Errors
    /// [`StorageError::Conflict`] if the head is another one by now.
    pub async fn begin_recovery(&self, size: u64, root: &Digest) -> Result<Writer> {
        let mut transaction = self.begin_write().await?;
        let head = ledger::take_head(&mut transaction).await?;
        if (head.size(), head.root()) != (size, *root) {
            return Err(StorageError::Conflict);
        }
        let storage = Arc::clone(&self.inner);
        Ok(Writer { storage, transaction, before: size, head, changed: Vec::new(), failed: false })
    }
}

impl Writer {
    /// How often the log was recovered before, and when.
    pub fn lineage(&self) -> Lineage {
        self.storage.guard.lineage()
    }

    /// Ends whatever was open in a database that is older than those who look at it think: sessions,
    /// sign-ins, registrations, statements, links, and leases of jobs.
    pub async fn void_what_is_open(&mut self, now: Timestamp) -> Result<()> {
        step!(self, void_what_is_open(&mut self.transaction, now))
    }
}

/// Spent tokens stay spent, since forgetting one would let it be used again.
async fn void_what_is_open(connection: &mut AnyConnection, now: Timestamp) -> Result<()> {
    const SQL: [&str; 6] = [
        "DELETE FROM sessions",
        "DELETE FROM logins",
        "DELETE FROM ceremonies",
        "DELETE FROM statements",
        "DELETE FROM first_key_links",
        "DELETE FROM recovery_links",
    ];
    for sql in SQL {
        sqlx::query(sql).execute(&mut *connection).await?;
    }
    // Every rollout is looked at now, by whoever comes first: the leases are of another time.
    sqlx::query("UPDATE jobs SET owner = NULL, lease_until = NULL, due_at = $1")
        .bind(now.as_microsecond())
        .execute(connection)
        .await?;
    Ok(())
}
