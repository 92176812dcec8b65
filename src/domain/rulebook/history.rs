//! Which rulebooks were in force since when, as verified entries of the log say.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use crate::domain::digest::Digest;
use crate::domain::ids::ApprovalId;
use crate::domain::rulebook::Rulebook;

/// A rulebook and how it came into force.
#[derive(Clone, PartialEq, Debug)]
pub struct InForce {
    /// The entry that says so.
    pub entry: u64,
    /// Since when.
    pub at: Timestamp,
    /// Its digest.
    pub digest: Digest,
    /// What it says.
    pub rules: Arc<Rulebook>,
    /// The approval that people signed for it; none for the first, which nobody could sign.
    pub approval: Option<ApprovalId>,
    /// The names of those who signed, as their directory says them.
    pub by: Vec<String>,
}

/// Every rulebook that was in force, the first one first.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct RuleHistory(Vec<InForce>);

impl RuleHistory {
    /// The one that is in force now, if rules are bound here.
    pub fn current(&self) -> Option<&InForce> {
        self.0.last()
    }

    /// The one under which something was asked for in the entry at this index. What was asked for before
    /// rules were bound is held to the first.
    pub fn at(&self, entry: u64) -> Option<&InForce> {
        self.0.iter().rev().find(|one| one.entry < entry).or_else(|| self.0.first())
    }

    /// Whether these rules were in force before others.
    pub fn was_in_force(&self, rules: &Rulebook) -> bool {
        self.0.iter().any(|one| *one.rules == *rules)
    }

    /// Takes in the next, which was verified against the one before.
    pub fn push(&mut self, next: InForce) {
        self.0.push(next);
    }

    /// Their entries and digests, to be kept outside the database.
    pub fn digests(&self) -> BTreeMap<u64, Digest> {
        self.0.iter().map(|one| (one.entry, one.digest)).collect()
    }
}
