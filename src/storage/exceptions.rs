//! Exceptions are entries of the ledger. Entries that the log key did not sign in their places are left out.

use std::sync::{Arc, Mutex, PoisonError};

use serde::de::DeserializeOwned;

use crate::domain::exception::{
    BrokenGlass, EXCEPTION_CLOSED, EXCEPTION_OPENED, EXCEPTION_OVERDUE, Exception,
    OverdueException, RecordedReview,
};
use crate::domain::ledger::Record;
use crate::storage::Storage;
use crate::storage::column::Row;
use crate::storage::error::Result;

/// What was read last, with the newest entry of these kinds: entries never change.
#[derive(Default)]
pub(super) struct Remembered(Mutex<Option<(i64, Arc<[Exception]>)>>);

impl Storage {
    /// Every exception, in order.
    pub async fn exceptions(&self) -> Result<Arc<[Exception]>> {
        const NEWEST: &str = "SELECT MAX(entry_index) FROM ledger_entries \
            WHERE kind IN ('exception.opened', 'exception.overdue', 'exception.closed')";
        let newest: Option<i64> =
            sqlx::query_scalar(NEWEST).fetch_one(&mut *self.reader().await?).await?;
        let Some(newest) = newest else { return Ok(Vec::new().into()) };
        let remembered = || self.inner.exceptions.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, known)) = remembered().as_ref().filter(|(index, _)| *index == newest) {
            return Ok(Arc::clone(known));
        }
        let read = self.read_exceptions().await?;
        *remembered() = Some((newest, Arc::clone(&read)));
        Ok(read)
    }

    async fn read_exceptions(&self) -> Result<Arc<[Exception]>> {
        let mut exceptions: Vec<Exception> = Vec::new();
        for (entry, record) in self.signed_records(EXCEPTION_OPENED).await? {
            let (at, glass): (_, BrokenGlass) = (record.at, read(entry, record)?);
            let new = Exception { entry, at, glass, review: None, is_told_overdue: false };
            exceptions.push(new);
        }
        for (index, record) in self.signed_records(EXCEPTION_CLOSED).await? {
            let at = record.at;
            let review: RecordedReview = read(index, record)?;
            let about = exceptions.iter_mut().find(|one| one.entry == review.entry);
            if let Some(about) = about.filter(|one| one.review.is_none()) {
                about.review = Some((at, review));
            }
        }
        for (index, record) in self.signed_records(EXCEPTION_OVERDUE).await? {
            let overdue: OverdueException = read(index, record)?;
            let about = exceptions.iter_mut().find(|one| one.entry == overdue.entry);
            about.into_iter().for_each(|one| one.is_told_overdue = true);
        }
        Ok(exceptions.into())
    }
}

fn read<T: DeserializeOwned>(index: u64, record: Record) -> Result<T> {
    let key = index.to_string();
    let row = Row { table: "ledger_entries", key: &key };
    serde_json::from_value(record.data).map_err(|error| row.impossible("record", error))
}
