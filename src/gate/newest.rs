//! Whether the evidence of an approval ends where the approval ends.
//!
//! Evidence proves a moment, and no single file can show that there is no later one: with the entry
//! that cancelled it deleted, a cancelled approval would look approved. So the log is read on from the
//! approval's last entry to its head, and nothing in between may be missing or about the approval.

use crate::domain::digest::Digest;
use crate::domain::ids::ApprovalId;
use crate::domain::ledger::{Entry, Record, entry_hash};
use crate::domain::log_key::LogPublicKey;
use crate::gate::authorise::NotAuthorised;
use crate::proof::checkpoint::Checkpoint;
use crate::storage::Storage;

/// How many entries are read at once.
const PAGE: u32 = 500;

/// Reads on from entry `last`, the approval's own, to the head that `checkpoint` names.
///
/// # Errors
/// [`NotAuthorised::LogGap`] where an entry is missing or not as the log key signed it,
/// [`NotAuthorised::Outdated`] where one is about the approval.
pub(super) async fn refuse_later_entries(
    storage: &Storage,
    key: &LogPublicKey,
    id: &ApprovalId,
    last: u64,
    checkpoint: &Checkpoint,
) -> Result<(), NotAuthorised> {
    let mut index = last;
    let mut root = None;
    while index < checkpoint.size() {
        let page = storage.entries(index, PAGE).await.map_err(NotAuthorised::from)?;
        if page.is_empty() {
            return Err(NotAuthorised::LogGap(index));
        }
        for entry in page {
            if index == checkpoint.size() {
                break;
            }
            if entry.index != index {
                return Err(NotAuthorised::LogGap(index));
            }
            // The first is the approval's own, which the evidence holds.
            if let Some(before) = root {
                follow(&entry, &before, key, id)?;
            }
            root = Some(entry.root);
            index += 1;
        }
    }
    if root == Some(*checkpoint.root()) { Ok(()) } else { Err(NotAuthorised::LogGap(last)) }
}

/// The entry is the one that the log key signed on top of `before`, and about something else.
fn follow(
    entry: &Entry,
    before: &Digest,
    key: &LogPublicKey,
    id: &ApprovalId,
) -> Result<(), NotAuthorised> {
    let is_whole = entry_hash(&entry.salt, &entry.record) == entry.entry_hash
        && key.verify_entry(entry.index, before, &entry.leaf(), &entry.signature);
    let record = Record::parse(&entry.record);
    match record {
        Ok(record) if is_whole => match record.approval {
            Some(approval) if approval.id == *id => Err(NotAuthorised::Outdated(entry.index)),
            _ => Ok(()),
        },
        _ => Err(NotAuthorised::LogGap(entry.index)),
    }
}
