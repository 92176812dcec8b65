//! Agent credentials, which are entries of the ledger and nothing else: no row can make one.

use jiff::Timestamp;

use crate::domain::agent_credential::{
    AGENT_CREDENTIAL_ISSUED, IssuedAgentCredential, revocation_name,
};
use crate::domain::ledger::{Entry, Record};
use crate::storage::column::{Row, big_int};
use crate::storage::error::Result;
use crate::storage::ledger::{EntryRow, entry_columns};
use crate::storage::{Storage, Writer};

/// A credential with its place in the ledger, which is its name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeptAgentCredential {
    /// The index of its entry.
    pub index: u64,
    /// When it was issued.
    pub at: Timestamp,
    /// What it says.
    pub issued: IssuedAgentCredential,
}

impl Storage {
    /// The credential of this entry. None where the entry is none, or not of the log key.
    pub async fn agent_credential(&self, index: u64) -> Result<Option<KeptAgentCredential>> {
        // An index that no database can hold is that of no entry.
        if big_int(index).is_err() {
            return Ok(None);
        }
        match self.entry(index).await? {
            Some(entry) => self.read_agent_credential(&entry).await,
            None => Ok(None),
        }
    }

    /// Every credential that was issued, in order.
    pub async fn agent_credentials(&self) -> Result<Vec<KeptAgentCredential>> {
        const SQL: &str = entry_columns!("WHERE kind = $1 ORDER BY entry_index");
        let rows: Vec<EntryRow> = sqlx::query_as(SQL)
            .bind(AGENT_CREDENTIAL_ISSUED)
            .fetch_all(&mut *self.reader().await?)
            .await?;
        let mut credentials = Vec::with_capacity(rows.len());
        for row in rows {
            credentials.extend(self.read_agent_credential(&Entry::try_from(row)?).await?);
        }
        Ok(credentials)
    }

    async fn read_agent_credential(&self, entry: &Entry) -> Result<Option<KeptAgentCredential>> {
        let key = entry.index.to_string();
        let row = Row { table: "ledger_entries", key: &key };
        let record =
            Record::parse(&entry.record).map_err(|error| row.impossible("record", error))?;
        if record.kind != AGENT_CREDENTIAL_ISSUED || !self.is_signed(entry).await? {
            return Ok(None);
        }
        let issued =
            serde_json::from_value(record.data).map_err(|error| row.impossible("record", error))?;
        Ok(Some(KeptAgentCredential { index: entry.index, at: record.at, issued }))
    }

    /// Whether a credential was revoked: by what was seen of the log, or by an entry that came since.
    pub async fn is_agent_credential_revoked(&self, index: u64) -> Result<bool> {
        const SQL: &str = "SELECT COUNT(*) FROM ledger_entries \
             WHERE kind = 'credential.revoked' AND record LIKE $1";
        let name = revocation_name(index);
        if self.revoked_at(&name).is_some() {
            return Ok(true);
        }
        let count: i64 = sqlx::query_scalar(SQL)
            .bind(format!("%\"credential\":\"{name}\"%"))
            .fetch_one(&mut *self.reader().await?)
            .await?;
        Ok(count > 0)
    }
}

impl Writer {
    /// The index that the next entry of this change gets.
    pub fn next_entry(&self) -> u64 {
        self.head.size()
    }
}
