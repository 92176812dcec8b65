//! What receivers are told: read from the ledger, of entries that the log key signed, and of nothing else.

use jiff::Timestamp;

use crate::domain::approval::{Approval, Status};
use crate::domain::ids::ApprovalId;
use crate::domain::ledger::Record;
use crate::domain::notice::Notice;
use crate::gate::GateError;
use crate::storage::{DueNotice, Storage, StorageError};

/// The notice that a line of the outbox stands for. None: there is no such entry, or the log key did not
/// sign it, or it is one that nobody is told of.
///
/// # Errors
/// If it cannot be read.
pub async fn read(
    storage: &Storage,
    due: &DueNotice,
    origin: &str,
) -> Result<Option<Notice>, StorageError> {
    let Some(entry) = storage.entry(due.entry).await? else { return Ok(None) };
    if !storage.is_signed(&entry).await? {
        return Ok(None);
    }
    let Ok(record) = Record::parse(&entry.record) else { return Ok(None) };
    let approval = approval_of(storage, &record).await?;
    if record.approval.is_some() && approval.is_none() {
        return Ok(None);
    }
    let place = (entry.index, &entry.entry_hash);
    Ok(Notice::new(&due.receiver, place, &record, approval.as_ref(), origin))
}

/// The approval that a record is about, if what was asked for is what the record commits to.
async fn approval_of(storage: &Storage, record: &Record) -> Result<Option<Approval>, StorageError> {
    let Some(Ok(id)) = record.subject().map(str::parse::<ApprovalId>) else { return Ok(None) };
    let stored = storage.approval(&id).await?.map(|stored| stored.approval);
    Ok(stored.filter(|approval| match &record.approval {
        Some(logged) => *approval.subject.digest() == logged.deployment_digest,
        None => true,
    }))
}

/// Writes that a request expires soon, if it still waits for people.
///
/// # Errors
/// If it cannot be written.
pub async fn expiring(storage: &Storage, id: &ApprovalId, now: Timestamp) -> Result<(), GateError> {
    let mut writer = storage.begin().await?;
    let stored = writer.approval(id).await?.ok_or(GateError::NotFound)?;
    let expires_at = stored.approval.subject.expires_at;
    if stored.approval.status() == Status::Pending && now < expires_at {
        writer.record_expiring(id, expires_at, now).await?;
        writer.commit().await?;
    }
    Ok(())
}
