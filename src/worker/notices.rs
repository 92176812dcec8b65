//! Sends what stands in the outbox. A receiver that is down holds up neither the gate nor other receivers:
//! it is tried again later and less often, and after a day it is written down that it was not told.
//!
//! A notice goes out at least once. A crash after it was sent and before that was written sends it again,
//! under the same id, by which receivers know it.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::clock::Clock;
use crate::domain::notice::Notice;
use crate::gate::{GateError, notices};
use crate::integrations::receiver::{DeliveryError, Receivers};
use crate::randomness;
use crate::storage::{DueNotice, Storage};

/// How many receivers are told something at the same time.
const AT_ONCE: usize = 8;
/// Longer than an attempt takes at most, so that a lease runs out only where a gate died.
const LEASE: SignedDuration = SignedDuration::from_secs(20);
/// How often the outbox is looked at when nothing wakes us.
const LONGEST_SILENCE: Duration = Duration::from_secs(1);
/// How long is waited after the first failure; twice as long after each further one, up to the longest.
const FIRST_PAUSE: SignedDuration = SignedDuration::from_secs(2);
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_hours(1);
/// How long after an event its receivers are tried. Older news is no news, and the ledger has it.
const PATIENCE: SignedDuration = SignedDuration::from_hours(24);

/// Sends notices. One per process.
#[derive(Clone)]
pub struct Courier {
    storage: Storage,
    clock: Clock,
    receivers: Arc<Receivers>,
    /// The gate's origin, where links lead.
    origin: String,
    /// Names this courier in leases.
    name: String,
}

impl Courier {
    /// Sends what is in this outbox to these receivers.
    pub fn new(storage: Storage, clock: Clock, receivers: Arc<Receivers>, origin: String) -> Self {
        Self { storage, clock, receivers, origin, name: randomness::token::<12>() }
    }

    /// Sends until `shutdown` turns true. What is cut off then is sent again after the next start.
    pub async fn run(self, mut shutdown: watch::Receiver<bool>) {
        self.release().await;
        let mut wakeups = self.storage.wakeups();
        let mut sending = JoinSet::new();
        while !*shutdown.borrow() {
            // Marked as seen before looking, so that a commit during the look wakes us again.
            wakeups.borrow_and_update();
            while sending.len() < AT_ONCE {
                match self.storage.claim_notice(&self.name, self.clock.now(), LEASE).await {
                    Ok(Some(due)) => {
                        let courier = self.clone();
                        sending.spawn(async move { courier.deliver(&due).await });
                    }
                    Ok(None) => break,
                    Err(error) => {
                        tracing::error!(%error, "the outbox cannot be read; notices wait until it can");
                        break;
                    }
                }
            }
            tokio::select! {
                Some(_) = sending.join_next(), if !sending.is_empty() => {}
                () = tokio::time::sleep(LONGEST_SILENCE) => {}
                _ = wakeups.changed(), if sending.len() < AT_ONCE => {}
                _ = shutdown.changed() => {}
            }
        }
        sending.shutdown().await;
        self.release().await;
    }

    async fn release(&self) {
        if let Err(error) = self.storage.release_notices(&self.name).await {
            tracing::warn!(%error, "leases of notices that were not given back run out by themselves");
        }
    }

    async fn deliver(&self, due: &DueNotice) {
        if let Err(error) = self.try_once(due).await {
            let (entry, receiver) = (due.entry, &due.receiver);
            tracing::error!(%error, entry, receiver, "what became of a notice cannot be written; it is sent again");
        }
    }

    async fn try_once(&self, due: &DueNotice) -> Result<(), GateError> {
        let Some(notice) = notices::read(&self.storage, due, &self.origin).await? else {
            tracing::error!(
                entry = due.entry,
                receiver = due.receiver,
                "the outbox names an entry that the log key did not sign: nobody is told of it"
            );
            self.storage.notice_sent(due).await?;
            return Ok(());
        };
        let told = self.receivers.tell(&due.receiver, &notice, self.clock.now()).await;
        let now = self.clock.now();
        match told {
            Ok(()) => {
                // A crash before this line sends it again, under the same id.
                self.storage.notice_sent(due).await?;
                tracing::info!(
                    entry = due.entry,
                    receiver = due.receiver,
                    event = notice.event.name(),
                    "a receiver was told"
                );
                Ok(())
            }
            Err(error) => self.put_back(due, &notice, &error, now).await,
        }
    }

    async fn put_back(
        &self,
        due: &DueNotice,
        notice: &Notice,
        error: &DeliveryError,
        now: Timestamp,
    ) -> Result<(), GateError> {
        let (entry, receiver) = (due.entry, &due.receiver);
        let pause = pause_after(due.attempts, random_share());
        let pause = pause.max(error.retry_after().unwrap_or_default());
        let next = now.saturating_add(pause).unwrap_or(Timestamp::MAX);
        let last = notice.at.saturating_add(PATIENCE).unwrap_or(Timestamp::MAX);
        if error.is_final() || next > last {
            tracing::error!(%error, entry, receiver, event = notice.event.name(), "a receiver was not told, and is not tried any more");
            let mut writer = self.storage.begin().await?;
            if writer.give_up_notice(due, &error.to_string(), now).await? {
                writer.commit().await?;
            }
        } else {
            tracing::warn!(%error, entry, receiver, attempts = due.attempts + 1, "a receiver was not told; it is tried again");
            self.storage.retry_notice(due, next, &error.to_string()).await?;
        }
        Ok(())
    }
}

/// How long is waited after `attempts` earlier failures and one more: between half of the pause and all of
/// it, so that receivers which come back are not met by everything at once. `share` is 0 to 255.
fn pause_after(attempts: u32, share: u8) -> SignedDuration {
    let doubled = FIRST_PAUSE.checked_mul(1 << attempts.min(16)).unwrap_or(LONGEST_PAUSE);
    let half = doubled.min(LONGEST_PAUSE) / 2;
    half + half * i32::from(share) / 255
}

fn random_share() -> u8 {
    let [share] = randomness::bytes();
    share
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_spread() {
        let bounds =
            |attempts| (pause_after(attempts, 0).as_secs(), pause_after(attempts, 255).as_secs());
        assert_eq!(bounds(0), (1, 2));
        assert_eq!(bounds(1), (2, 4));
        assert_eq!(bounds(5), (32, 64));
        assert_eq!(bounds(11), (1800, 3600));
        assert_eq!(bounds(u32::MAX), (1800, 3600));
    }
}
