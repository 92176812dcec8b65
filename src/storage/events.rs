//! Entries that are about no approval.

use sqlx::AnyConnection;

use crate::domain::ledger::{Entry, Record};
use crate::storage::column::{Row, big_int};
use crate::storage::error::Result;
use crate::storage::ledger::{EntryRow, entry_columns};
use crate::storage::writer::step;
use crate::storage::{Storage, Writer};

/// Every record of one kind, in the order of the ledger. For kinds of which there are few.
pub(super) async fn records_of_kind(
    connection: &mut AnyConnection,
    kind: &str,
) -> Result<Vec<Record>> {
    const SQL: &str =
        "SELECT entry_index, record FROM ledger_entries WHERE kind = $1 ORDER BY entry_index";
    let rows: Vec<(i64, String)> = sqlx::query_as(SQL).bind(kind).fetch_all(connection).await?;
    let records = rows.into_iter().map(|(index, text)| {
        let key = index.to_string();
        let row = Row { table: "ledger_entries", key: &key };
        Record::parse(&text).map_err(|error| row.impossible("record", error))
    });
    records.collect()
}

impl Writer {
    /// Whether an entry of this kind stands at this index or later.
    pub async fn has_kind_since(&mut self, kind: &str, index: u64) -> Result<bool> {
        let index = big_int(index)?;
        step!(self, async {
            const SQL: &str =
                "SELECT COUNT(*) FROM ledger_entries WHERE kind = $1 AND entry_index >= $2";
            let counted = sqlx::query_scalar(SQL).bind(kind.to_owned()).bind(index);
            let count: i64 = counted.fetch_one(&mut *self.transaction).await?;
            Ok(count > 0)
        })
    }
}

impl Storage {
    /// Every record of one kind that the log key signed in its place, in the order of the ledger, with the
    /// index of its entry. Others, which somebody planted, are left out. For kinds of which there are few.
    pub async fn signed_records(&self, kind: &str) -> Result<Vec<(u64, Record)>> {
        const SQL: &str = entry_columns!("WHERE kind = $1 ORDER BY entry_index");
        let rows: Vec<EntryRow> =
            sqlx::query_as(SQL).bind(kind).fetch_all(&mut *self.reader().await?).await?;
        let mut records = Vec::with_capacity(rows.len());
        for row in rows {
            let Ok(entry) = Entry::try_from(row) else { continue };
            if let Ok(record) = Record::parse(&entry.record)
                && record.kind == kind
                && self.is_signed(&entry).await?
            {
                records.push((entry.index, record));
            }
        }
        Ok(records)
    }
}
