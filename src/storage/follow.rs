//! Going along the log entry by entry, so that each is verified once.

use crate::domain::digest::Digest;
use crate::domain::freeze::{FREEZE_BEGUN, FREEZE_LIFTED};
use crate::domain::ledger::{CREDENTIAL_REVOKED, Frontier, Record, Revoked};
use crate::domain::log_fault::LogFault;
use crate::domain::recovery::LOG_RECOVERED;
use crate::domain::rulebook::RULES_IN_FORCE;
use crate::domain::tree::Node;
use crate::storage::Storage;
use crate::storage::error::Result;

/// What was seen between two trees of the same log.
pub struct LogStretch {
    /// The tree after the last entry that was looked at.
    pub tree: Frontier,
    /// The credentials that were revoked on the way.
    pub revoked: Revoked,
    /// The recoveries on the way: each with the tree below it.
    pub recovered: Vec<(Frontier, Record)>,
    /// The freezes that were begun and lifted on the way, each with the index of its entry.
    pub freezes: Vec<(u64, Record)>,
    /// Whether an entry on the way may put rules into force.
    pub changes_rules: bool,
    /// The subtrees that were completed on the way.
    completed: Vec<(Node, Digest)>,
}

impl Storage {
    /// Verifies the entries on top of `tree`: `count` of them.
    ///
    /// # Errors
    /// [`LogFault::Entry`] or [`LogFault::Damaged`] at the first that is missing or not what the log key signed there.
    pub async fn follow(&self, tree: &Frontier, count: u32) -> Result<LogStretch> {
        let entries = self.entries(tree.size(), count).await?;
        let key = self.log_public_key();
        let (mut tree, mut revoked) = (tree.clone(), Revoked::new());
        let (end, mut completed) = (tree.size() + u64::from(count), Vec::new());
        let (mut recovered, mut freezes, mut changes_rules) = (Vec::new(), Vec::new(), false);
        for entry in entries {
            let below = entry.record.contains(LOG_RECOVERED).then(|| tree.clone());
            completed.extend(tree.follow(&entry, &key).map_err(LogFault::from)?);
            // Most records are long and of other kinds.
            if let Some(below) = below
                && let Ok(record) = Record::parse(&entry.record)
                && record.kind == LOG_RECOVERED
            {
                recovered.push((below, record));
            }
            changes_rules |= entry.record.contains(RULES_IN_FORCE);
            let is_freeze = [FREEZE_BEGUN, FREEZE_LIFTED];
            if is_freeze.iter().any(|kind| entry.record.contains(kind))
                && let Ok(record) = Record::parse(&entry.record)
                && is_freeze.contains(&&*record.kind)
            {
                freezes.push((entry.index, record));
            }
            if entry.record.contains(CREDENTIAL_REVOKED)
                && let Ok(record) = Record::parse(&entry.record)
                && let Some(credential) = record.revokes()
            {
                revoked.entry(credential.to_owned()).or_insert(entry.index);
            }
        }
        if tree.size() < end {
            let what = format!("entry {} is missing, and its head counts it", tree.size());
            return Err(LogFault::Damaged(what).into());
        }
        Ok(LogStretch { tree, revoked, recovered, freezes, changes_rules, completed })
    }

    /// Compares the stored nodes, from which proofs are read, with those of verified entries.
    ///
    /// # Errors
    /// [`LogFault::Damaged`] names the first that differs.
    pub async fn compare_nodes(&self, followed: &LogStretch) -> Result<()> {
        let mut rest: Vec<(Node, Digest)> = followed.completed.clone();
        rest.sort_by_key(|(node, _)| *node);
        for level in rest.chunk_by(|(one, _), (other, _)| one.level == other.level) {
            let Some((first, _)) = level.first() else { continue };
            let stored = self.nodes(*first, level.len() as u64).await?;
            for ((node, hash), stored) in level.iter().zip(stored) {
                if *hash != stored {
                    let Node { level, position } = node;
                    let what = format!(
                        "node {level}/{position} of the tree is not that of the entries below it"
                    );
                    return Err(LogFault::Damaged(what).into());
                }
            }
        }
        Ok(())
    }
}
