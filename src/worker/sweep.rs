//! What time alone causes: requests expire, refusals are written down, and rows become useless.

use std::time::Duration;

use jiff::SignedDuration;
use tokio::sync::watch;

use crate::gate::{GateError, exceptions, notices, rollout};
use crate::storage::REFUSAL_PAUSE;
use crate::worker::Worker;

/// How often it is looked for requests whose time is over.
const EXPIRY_INTERVAL: Duration = Duration::from_secs(1);
/// How many turns of [`EXPIRY_INTERVAL`] pass between two sweeps of useless rows.
const TURNS_BETWEEN_SWEEPS: u32 = 60;
/// How many requests are expired in one turn, so that a long outage is not made up for at once.
const EXPIRED_AT_ONCE: u32 = 100;
/// When receivers are told that a request expires soon: with a quarter of its time left, and at most an hour
/// before, which is time enough to find somebody.
const SOON: SignedDuration = SignedDuration::from_hours(1);

/// How many approved actions are looked at in one turn.
const LOOKED_AT_ONCE: u32 = 1_000;

impl Worker {
    pub(super) async fn sweep(self, mut shutdown: watch::Receiver<bool>) {
        let mut turn: u32 = 0;
        while !*shutdown.borrow() {
            if self.storage.log_fault().is_none()
                && let Err(error) = self.expire_due().await
            {
                tracing::error!(%error, "requests whose time is over cannot be expired; none of them can be signed");
            }
            if let Err(error) = self.storage.write_refusals(REFUSAL_PAUSE, self.clock.now()).await {
                tracing::error!(%error, "refusals cannot be written to the ledger; they stay counted until they can");
            }
            if turn.is_multiple_of(TURNS_BETWEEN_SWEEPS)
                && let Err(error) = self.storage.sweep(self.clock.now()).await
            {
                tracing::error!(%error, "useless rows cannot be deleted");
            }
            turn = turn.wrapping_add(1);
            tokio::select! {
                () = tokio::time::sleep(EXPIRY_INTERVAL) => {}
                _ = shutdown.changed() => {}
            }
        }
    }

    async fn expire_due(&self) -> Result<(), GateError> {
        let now = self.clock.now();
        for id in self.storage.due_for_expiry(now, EXPIRED_AT_ONCE).await? {
            rollout::expire(&self.storage, &id, now).await?;
        }
        // How long an approved rollout may wait its job watches; nobody does it for an action.
        for stored in self.storage.approved_actions(LOOKED_AT_ONCE).await? {
            if now >= stored.approval.runs_out_at() {
                rollout::expire(&self.storage, stored.approval.id(), now).await?;
            }
        }
        exceptions::tell_overdue(&self.storage, now).await?;
        for id in self.storage.due_for_expiry_notice(now, SOON, EXPIRED_AT_ONCE).await? {
            notices::expiring(&self.storage, &id, now).await?;
        }
        Ok(())
    }
}
