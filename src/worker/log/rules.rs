//! Which entries put rules into force.

use std::collections::BTreeMap;

use super::LogFollower;
use crate::domain::digest::Digest;
use crate::domain::ledger::{Frontier, Revoked};
use crate::domain::log_fault::LogFault;
use crate::domain::rulebook::RuleHistory;
use crate::gate::rules_in_force::on_record;
use crate::proof::evidence::Trust;
use crate::storage::StorageError;

impl LogFollower {
    /// Every rulebook that was in force, each verified from bytes against the one before. `known` are those
    /// that this process or the head outside knows: they are there still.
    pub(super) async fn judge_rules(
        &self,
        head: &Frontier,
        revoked: &Revoked,
        known: Option<&BTreeMap<u64, Digest>>,
    ) -> Result<RuleHistory, StorageError> {
        let (history, findings) = on_record(&self.storage, &self.trust, head, revoked).await?;
        for (index, finding) in findings {
            tracing::error!(index, %finding, "ALARM: an entry that puts rules into force does not hold; the rules before it stay in force");
        }
        let found = history.digests();
        let is_missing = |(index, digest): &(&u64, &Digest)| found.get(index) != Some(digest);
        match known.into_iter().flatten().find(is_missing) {
            None => Ok(history),
            Some((index, _)) => Err(LogFault::Damaged(format!(
                "entry {index}, which put rules into force, is gone or can no longer be proved"
            ))
            .into()),
        }
    }

    /// The anchors that count under these rules; those of the configuration where none are bound.
    pub(super) fn trust_under(&self, rules: Option<&RuleHistory>) -> Trust {
        let in_force = rules.and_then(RuleHistory::current);
        in_force.map_or_else(|| self.trust.clone(), |one| self.trust.under(&one.rules.anchors))
    }
}
