//! Revocations: a key is given up by one person, at once and for good.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::AnyConnection;

use crate::domain::ledger::{CREDENTIAL_REVOKED, Entry, Record};
use crate::domain::loss::RecordedLoss;
use crate::domain::person::Person;
use crate::storage::Storage;
use crate::storage::column::Row;
use crate::storage::error::Result;
use crate::storage::ledger::{EntryRow, entry_columns};

/// What a revocation's entry says.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revocation {
    /// The credential's id, base64url.
    pub credential: String,
    /// Whose key it was.
    pub person: Person,
    /// Who revoked it.
    pub by: Person,
    /// That person's name, as the directory said.
    pub by_name: String,
    /// Why, in that person's words.
    pub reason: String,
    /// The owner's report since when it is lost, where it is: then what it signed before still counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<RecordedLoss>,
}

/// A revocation with its place in the ledger.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecordedRevocation {
    /// The index of its entry.
    pub index: u64,
    /// When it was written.
    pub at: Timestamp,
    /// What it says.
    pub revocation: Revocation,
}

impl Storage {
    /// Every revocation, in order, read from the ledger's entries and not from the keys' rows: each
    /// is one that the log key signed.
    ///
    /// # Errors
    /// [`crate::storage::StorageError::ImpossibleRow`] if an entry is none that the gate wrote.
    pub async fn revocations(&self) -> Result<Vec<RecordedRevocation>> {
        // The literal lets both databases use the index of these entries alone.
        const SQL: &str = entry_columns!("WHERE kind = 'credential.revoked' ORDER BY entry_index");
        let rows: Vec<EntryRow> = sqlx::query_as(SQL).fetch_all(&mut *self.reader().await?).await?;
        let mut revocations = Vec::with_capacity(rows.len());
        for row in rows {
            let entry = Entry::try_from(row)?;
            let key = entry.index.to_string();
            let row = Row { table: "ledger_entries", key: &key };
            row.must(self.is_signed(&entry).await?, "signature", "the log key did not sign it")?;
            let record =
                Record::parse(&entry.record).map_err(|error| row.impossible("record", error))?;
            row.must(record.kind == CREDENTIAL_REVOKED, "kind", "its record is of another kind")?;
            let revocation = serde_json::from_value(record.data)
                .map_err(|error| row.impossible("record", error))?;
            revocations.push(RecordedRevocation { index: entry.index, at: record.at, revocation });
        }
        Ok(revocations)
    }
}

/// Takes a key out of use for good. False: it was revoked before, or is not there.
pub(super) async fn revoke(connection: &mut AnyConnection, credential_id: &[u8]) -> Result<bool> {
    const SQL: &str =
        "UPDATE credentials SET status = 'revoked' WHERE id = $1 AND status <> 'revoked'";
    let touched =
        sqlx::query(SQL).bind(credential_id.to_vec()).execute(connection).await?.rows_affected();
    Ok(touched == 1)
}
