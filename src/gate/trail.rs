//! Reads the ledger for people who check it: entries, each with what its proof came to.

use crate::domain::ledger::Frontier;
use crate::domain::tree::verify_inclusion;
use crate::gate::GateError;
use crate::proof::exported::{EntryFlaw, ExportedEntry};
use crate::storage::{ListedEntry, Storage};

/// An entry, and whether it holds.
pub struct ProvedEntry {
    /// The entry.
    pub listed: ListedEntry,
    /// What does not hold, in a clause; none if everything does.
    pub flaw: Option<&'static str>,
}

/// Verifies each entry: its record against its leaf, its signature in its place, and its inclusion in
/// the tree of `head`.
///
/// # Errors
/// If the database cannot be read.
pub async fn prove(
    storage: &Storage,
    head: &Frontier,
    listed: Vec<ListedEntry>,
) -> Result<Vec<ProvedEntry>, GateError> {
    let mut proved = Vec::with_capacity(listed.len());
    for listed in listed {
        let flaw = flaw_of(storage, head, &listed).await?;
        proved.push(ProvedEntry { listed, flaw });
    }
    Ok(proved)
}

async fn flaw_of(
    storage: &Storage,
    head: &Frontier,
    listed: &ListedEntry,
) -> Result<Option<&'static str>, GateError> {
    let entry = &listed.entry;
    let exported = ExportedEntry::new(entry, &listed.previous_root);
    let leaf = match exported.check(&storage.log_public_key()) {
        Ok((hash, leaf)) if hash == entry.entry_hash => leaf,
        Ok(_) | Err(EntryFlaw::Leaf | EntryFlaw::Malformed) => {
            return Ok(Some("the record is not the one that was logged"));
        }
        Err(EntryFlaw::Signature) => {
            return Ok(Some("the log key did not sign it in this place"));
        }
    };
    // A node that is gone or impossible proves nothing, and is no failure of the reading.
    let Ok(path) = storage.inclusion(entry.index, head.size()).await else {
        return Ok(Some("its proof of inclusion cannot be read"));
    };
    let is_included = verify_inclusion(&leaf, entry.index, head.size(), &path, &head.root());
    Ok((!is_included).then_some("it is not in the tree whose head is shown"))
}
