//! The walk through what was verified long ago, a little at a time.

use super::{Followed, LogFollower, of_the_log};
use crate::domain::ledger::Frontier;
use crate::domain::log_fault::LogFault;
use crate::storage::StorageError;

/// How many entries are looked at again at once: a fraction of a percent of a core, and a million entries in
/// eight hours.
const PATROL_AT_ONCE: u64 = 1_000;

impl LogFollower {
    /// Looks again at some entries that were verified before, and at the nodes above them.
    pub(super) async fn patrol(&self, state: &mut Followed) {
        let Some(tree) = state.tree.clone() else { return };
        if state.patrol.size() >= tree.size() {
            state.patrol = Frontier::default();
        }
        let count = (tree.size() - state.patrol.size()).min(PATROL_AT_ONCE);
        match self.look_again(&state.patrol, count, &tree).await.map_err(of_the_log) {
            Ok(reached) => {
                state.patrol = reached;
                state.found = None;
            }
            // It stays where it is, and goes on when the place was repaired.
            Err(StorageError::Log(fault)) => {
                self.storage.stop(&fault);
                state.found = Some(fault);
            }
            Err(error) => tracing::error!(%error, "the log cannot be read again"),
        }
    }

    async fn look_again(
        &self,
        from: &Frontier,
        count: u64,
        tree: &Frontier,
    ) -> Result<Frontier, StorageError> {
        let followed = self.storage.follow(from, u32::try_from(count).unwrap_or(1)).await?;
        self.storage.compare_nodes(&followed).await?;
        if followed.tree.size() == tree.size() && followed.tree != *tree {
            return Err(LogFault::Forked { size: tree.size() }.into());
        }
        Ok(followed.tree)
    }
}
