//! One-time links for the first key: only the hash of each is here.

use jiff::Timestamp;
use sqlx::{AnyConnection, FromRow};

use crate::domain::digest::Digest;
use crate::storage::Storage;
use crate::storage::column::Row;
use crate::storage::error::{Result, StorageError};

/// Where a one-time link stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FirstKeyLink {
    /// Until when it may be opened.
    pub expires_at: Timestamp,
    /// The session that opened it.
    pub session: Option<Digest>,
    /// The credential that was registered in that session, raw.
    pub credential: Option<Vec<u8>>,
}

#[derive(FromRow)]
struct LinkRow {
    expires_at: i64,
    session: Option<String>,
    credential_id: Option<Vec<u8>>,
}

impl Storage {
    /// Remembers a link by the hash of its token.
    pub async fn put_first_key_link(&self, token: &Digest, expires_at: Timestamp) -> Result<()> {
        const SQL: &str = "INSERT INTO first_key_links (token, expires_at) VALUES ($1, $2) \
                           ON CONFLICT DO NOTHING";
        let touched = sqlx::query(SQL)
            .bind(token.to_string())
            .bind(expires_at.as_microsecond())
            .execute(&mut *self.writer().await?)
            .await?
            .rows_affected();
        if touched == 1 { Ok(()) } else { Err(StorageError::Duplicate("this link")) }
    }

    /// The link whose token has this hash.
    pub async fn first_key_link(&self, token: &Digest) -> Result<Option<FirstKeyLink>> {
        const SQL: &str =
            "SELECT expires_at, session, credential_id FROM first_key_links WHERE token = $1";
        let key = token.to_string();
        let row: Option<LinkRow> =
            sqlx::query_as(SQL).bind(&key).fetch_optional(&mut *self.reader().await?).await?;
        let row = row.map(|columns| {
            let row = Row { table: "first_key_links", key: &key };
            let session = columns.session.as_deref();
            Ok(FirstKeyLink {
                expires_at: row.time("expires_at", columns.expires_at)?,
                session: session.map(|text| row.parse("session", text)).transpose()?,
                credential: columns.credential_id,
            })
        });
        row.transpose()
    }

    /// Opens a link in a session, once. False: it is unknown, over, or was opened before.
    pub async fn open_first_key_link(
        &self,
        token: &Digest,
        session: &Digest,
        now: Timestamp,
    ) -> Result<bool> {
        const SQL: &str = "UPDATE first_key_links SET session = $1 \
                           WHERE token = $2 AND session IS NULL AND expires_at > $3";
        let touched = sqlx::query(SQL)
            .bind(session.to_string())
            .bind(token.to_string())
            .bind(now.as_microsecond())
            .execute(&mut *self.writer().await?)
            .await?
            .rows_affected();
        Ok(touched == 1)
    }
}

/// Notes the key that was registered in the session that opened a link, if this is one; the first alone.
pub(super) async fn note_first_key(
    connection: &mut AnyConnection,
    session: &Digest,
    credential_id: &[u8],
) -> Result<bool> {
    const SQL: &str = "UPDATE first_key_links SET credential_id = $1 \
                       WHERE session = $2 AND credential_id IS NULL";
    let touched = sqlx::query(SQL)
        .bind(credential_id.to_vec())
        .bind(session.to_string())
        .execute(connection)
        .await?
        .rows_affected();
    Ok(touched >= 1)
}
