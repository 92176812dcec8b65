//! Which entries about freezes count.

use super::LogFollower;
use crate::domain::freeze::FREEZE_LIFTED;
use crate::domain::ledger::{Frontier, Record, Revoked};
use crate::domain::role::Authority;
use crate::domain::rulebook::{RuleHistory, Rulebook};
use crate::gate::GateError;
use crate::gate::freezes::verify_lift;
use crate::storage::StorageError;

impl LogFollower {
    /// Whether an entry about freezes counts. One that lifts a freeze counts only if it was signed by somebody
    /// who may, as is verified here from bytes alone. `tree` is verified and holds it.
    pub(super) async fn is_believed(
        &self,
        index: u64,
        record: &Record,
        tree: &Frontier,
        (revoked, rules): (&Revoked, Option<&RuleHistory>),
    ) -> Result<bool, StorageError> {
        if record.kind != FREEZE_LIFTED {
            return Ok(true);
        }
        let storage = &self.storage;
        // Who may lift it, the rules in force say, and the configuration alone where none are bound.
        let authority = match rules.and_then(RuleHistory::current) {
            Some(in_force) => {
                let Rulebook { roles, environments, .. } = &*in_force.rules;
                Authority { roles: roles.clone(), policies: environments.clone() }
            }
            None => self.authority.clone(),
        };
        let (trust, authority) = (&self.trust_under(rules), &authority);
        match verify_lift(storage, trust, authority, (index, record), tree, revoked).await {
            Ok(Ok(())) => Ok(true),
            Ok(Err(finding)) => {
                tracing::error!(index, %finding, "ALARM: an entry that lifts a freeze does not hold; the freeze goes on");
                Ok(false)
            }
            Err(GateError::Storage(error)) => Err(error),
            Err(error) => {
                tracing::error!(index, %error, "an entry that lifts a freeze cannot be verified; the freeze goes on");
                Ok(false)
            }
        }
    }
}
