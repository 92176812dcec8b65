//! The last sign-in of each person, for a time in which the directory cannot be reached.

use jiff::Timestamp;
use sqlx::AnyConnection;

use crate::domain::ledger::{Entry, Record};
use crate::domain::person::Person;
use crate::storage::error::Result;
use crate::storage::ledger::{EntryRow, entry_columns};
use crate::storage::writer::step;
use crate::storage::{Session, Storage, Writer};

/// What the ledger calls a sign-in at the directory.
const SIGNED_IN: &str = "person.signed_in";
/// How many entries are read at once.
const PAGE: i64 = 200;

/// A sign-in as it is kept. Nothing in it is believed before it was verified.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeptSignIn {
    /// The text of the sign-in, by whose digest the ledger names it.
    pub text: String,
    /// The directory's key that signed it, as JWK JSON.
    pub issuer_key: String,
}

impl Writer {
    /// Keeps the sign-in of a session as the last one of its person.
    pub async fn keep_sign_in(&mut self, session: &Session, until: Timestamp) -> Result<()> {
        step!(self, keep(&mut self.transaction, session, until))
    }
}

async fn keep(connection: &mut AnyConnection, session: &Session, until: Timestamp) -> Result<()> {
    const SQL: &str = "INSERT INTO last_sign_ins (issuer, subject, sign_in, issuer_key, kept_until) \
         VALUES ($1, $2, $3, $4, $5) ON CONFLICT (issuer, subject) DO UPDATE SET \
         sign_in = excluded.sign_in, issuer_key = excluded.issuer_key, \
         kept_until = excluded.kept_until";
    let Person { issuer, subject } = &session.profile.person;
    sqlx::query(SQL)
        .bind(issuer)
        .bind(subject)
        .bind(&session.id_token)
        .bind(&session.issuer_key)
        .bind(until.as_microsecond())
        .execute(connection)
        .await?;
    Ok(())
}

impl Storage {
    /// The last sign-in that is kept of a person.
    pub async fn last_sign_in(&self, person: &Person) -> Result<Option<KeptSignIn>> {
        const SQL: &str =
            "SELECT sign_in, issuer_key FROM last_sign_ins WHERE issuer = $1 AND subject = $2";
        let row: Option<(String, String)> = sqlx::query_as(SQL)
            .bind(&person.issuer)
            .bind(&person.subject)
            .fetch_optional(&mut *self.reader().await?)
            .await?;
        Ok(row.map(|(text, issuer_key)| KeptSignIn { text, issuer_key }))
    }

    /// What the log key signed of the newest sign-in of a person at the directory, of those since then.
    pub async fn newest_sign_in(
        &self,
        person: &Person,
        since: Timestamp,
    ) -> Result<Option<Record>> {
        const SQL: &str = entry_columns!(
            "WHERE kind = $1 AND entry_index < $2 ORDER BY entry_index DESC LIMIT $3"
        );
        let mut before = i64::MAX;
        loop {
            let rows: Vec<EntryRow> = sqlx::query_as(SQL)
                .bind(SIGNED_IN)
                .bind(before)
                .bind(PAGE)
                .fetch_all(&mut *self.reader().await?)
                .await?;
            if rows.is_empty() {
                return Ok(None);
            }
            for row in rows {
                let entry = Entry::try_from(row)?;
                before = i64::try_from(entry.index).unwrap_or_default();
                let Ok(record) = Record::parse(&entry.record) else { continue };
                if record.at < since {
                    return Ok(None);
                }
                let is_theirs = record.data["person"] == serde_json::json!(person);
                if is_theirs && record.kind == SIGNED_IN && self.is_signed(&entry).await? {
                    return Ok(Some(record));
                }
            }
        }
    }
}
