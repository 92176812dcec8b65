//! Entries that are about no approval.

use sqlx::AnyConnection;

use crate::domain::ledger::Record;
use crate::storage::column::Row;
use crate::storage::error::Result;

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
