//! Which tree heads the witnesses signed, from rows that are verified here. Rows of witnesses that the
//! configuration does not name are left aside: anybody can make keys.

use crate::domain::ledger::Frontier;
use crate::domain::log_key::checkpoint_text;
use crate::gate::evidence::current_log_name;
use crate::proof::cosignature::Witness;
use crate::proof::evidence::{Cosignature, Trust};
use crate::storage::{Storage, StorageError};

/// How many heads are looked at for one whose rows verify. More are only there if somebody planted rows.
const MOST_HEADS: u32 = 8;

/// What the witnesses of `trust` signed of this head, in the order of evidence.
///
/// # Errors
/// If it cannot be read.
pub async fn cosignatures(
    storage: &Storage,
    trust: &Trust,
    head: &Frontier,
) -> Result<Vec<Cosignature>, StorageError> {
    if trust.witnesses.is_empty() {
        return Ok(Vec::new());
    }
    let text =
        checkpoint_text(&current_log_name(storage, &trust.origin), head.size(), &head.root());
    let rows = storage.cosignatures_at(head.size()).await?.into_iter();
    let holds = |(key, cosignature): &(String, String)| {
        let witness = Witness::parse(key).filter(|_| trust.witnesses.contains(key));
        witness.is_some_and(|witness| witness.verify(&text, cosignature).is_some())
    };
    let mut found: Vec<Cosignature> = rows
        .filter(holds)
        .map(|(witness, cosignature)| Cosignature { witness, cosignature })
        .collect();
    found.sort_by(|one, other| one.witness.cmp(&other.witness));
    Ok(found)
}

/// The newest head from `least` entries to `head` that as many witnesses signed as are asked for, or where
/// there is none, the newest that any signed.
///
/// # Errors
/// If it cannot be read.
pub async fn newest_cosigned(
    storage: &Storage,
    trust: &Trust,
    least: u64,
    head: &Frontier,
) -> Result<Option<Frontier>, StorageError> {
    if trust.witnesses.is_empty() {
        return Ok(None);
    }
    for needed in [trust.witnesses_required.max(1), 1] {
        let sizes = storage.cosigned_sizes(least.max(1), head.size(), needed, MOST_HEADS).await?;
        for size in sizes {
            let tree = storage.tree_at(size).await?;
            if cosignatures(storage, trust, &tree).await?.len() >= usize::from(needed) {
                return Ok(Some(tree));
            }
        }
    }
    Ok(None)
}
