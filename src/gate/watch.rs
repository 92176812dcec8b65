//! Waiting for an approval to change, thousands at a time.
//!
//! A waiter holds a subscription and no thread, no connection to the database and no timer of its
//! own beside its deadline. One task per process asks the ledger what came since it last looked,
//! whenever a commit wakes it and at least once a second, and hands each changed approval to all who
//! wait for it at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::domain::approval::Approval;
use crate::domain::ids::ApprovalId;
use crate::gate::GateError;
use crate::storage::{Commit, Storage, StorageError};

/// How often the ledger is asked at least: a lost wake-up of another instance costs no more.
const LONGEST_SILENCE: Duration = Duration::from_secs(1);
/// How many changes are read at once.
const CHANGES_AT_ONCE: u32 = 500;

/// An approval as it was at one moment, with its JSON made once for all who waited.
pub struct Snapshot {
    /// The approval.
    pub approval: Approval,
    body: OnceLock<bytes::Bytes>,
}

impl Snapshot {
    fn new(approval: Approval) -> Arc<Self> {
        Arc::new(Self { approval, body: OnceLock::new() })
    }

    /// The body that `make` gives, made by whoever asks first.
    pub fn body(&self, make: impl FnOnce(&Approval) -> bytes::Bytes) -> bytes::Bytes {
        self.body.get_or_init(|| make(&self.approval)).clone()
    }
}

type Channel = watch::Sender<Option<Arc<Snapshot>>>;

/// Wakes those who wait.
pub struct Watch {
    storage: Storage,
    channels: Mutex<HashMap<ApprovalId, Channel>>,
    shutdown: watch::Receiver<bool>,
}

impl Watch {
    /// A hub over this storage. `shutdown` turning true answers everybody at once.
    pub fn new(storage: Storage, shutdown: watch::Receiver<bool>) -> Self {
        Self { storage, channels: Mutex::default(), shutdown }
    }

    /// The approval as soon as its version is newer than `version`, or as it is after `patience`.
    /// All who wait for one approval hold the same copy of it.
    pub async fn wait(
        &self,
        id: &ApprovalId,
        version: u64,
        patience: Duration,
    ) -> Result<Arc<Snapshot>, GateError> {
        let deadline = Instant::now() + patience;
        // Subscribed before reading, so that no change can fall in between.
        let mut receiver = self.subscribe(id);
        let approval = self.storage.approval(id).await?.ok_or(GateError::NotFound)?.approval;
        let mut latest = self.publish(&approval).unwrap_or_else(|| Snapshot::new(approval));
        let mut shutdown = self.shutdown.clone();
        while latest.approval.version <= version && !*shutdown.borrow() {
            tokio::select! {
                changed = receiver.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    if let Some(snapshot) = receiver.borrow_and_update().clone() {
                        latest = snapshot;
                    }
                }
                _ = shutdown.changed() => break,
                () = tokio::time::sleep_until(deadline) => break,
            }
        }
        Ok(latest)
    }

    fn subscribe(&self, id: &ApprovalId) -> watch::Receiver<Option<Arc<Snapshot>>> {
        let mut channels = self.lock();
        channels.entry(id.clone()).or_insert_with(|| watch::channel(None).0).subscribe()
    }

    /// Hands an approval to all who wait for it, unless they have it or a newer one; gives the one
    /// that they have now, if anybody waits.
    fn publish(&self, approval: &Approval) -> Option<Arc<Snapshot>> {
        let channels = self.lock();
        let channel = channels.get(approval.id())?;
        channel.send_if_modified(|current| {
            let is_news =
                current.as_ref().is_none_or(|known| known.approval.version < approval.version);
            if is_news {
                *current = Some(Snapshot::new(approval.clone()));
            }
            is_news
        });
        channel.borrow().clone()
    }

    /// Follows the ledger until the shutdown. Runs once per process.
    pub async fn run(&self) {
        let mut commits = self.storage.commits();
        let mut wakeups = self.storage.wakeups();
        let mut shutdown = self.shutdown.clone();
        let mut next: Option<u64> = None;
        while !*shutdown.borrow() {
            // Marked as seen before looking, so that a commit during the look wakes us again.
            wakeups.borrow_and_update();
            match self.follow(next).await {
                Ok(follow) => next = Some(follow),
                Err(error) => {
                    tracing::error!(%error, "the ledger cannot be followed; waiters see changes late");
                }
            }
            tokio::select! {
                // First, since it needs no reading; what it does not tell, the look after it does.
                biased;
                Ok(commit) = commits.recv() => self.publish_own(&commit, &mut next),
                _ = wakeups.changed() => {}
                () = tokio::time::sleep(LONGEST_SILENCE) => self.forget_unwatched(),
                _ = shutdown.changed() => {}
            }
        }
    }

    /// Tells everybody about a commit of this process. If it continues where we stand, the ledger
    /// need not be asked about it.
    fn publish_own(&self, commit: &Commit, next: &mut Option<u64>) {
        for approval in &commit.approvals {
            self.publish(approval);
        }
        if *next == Some(commit.before) {
            *next = Some(commit.after);
        }
    }

    /// Tells everybody about what came from entry `next` on, and gives the entry after the last.
    async fn follow(&self, next: Option<u64>) -> Result<u64, StorageError> {
        let Some(mut next) = next else {
            let size = self.storage.head().await?.size();
            // Whoever subscribed before the first look may have missed what came just before it.
            let watched: Vec<ApprovalId> = self.lock().keys().cloned().collect();
            for id in watched {
                self.announce(&id).await?;
            }
            return Ok(size);
        };
        loop {
            let changes = self.storage.changes_since(next, CHANGES_AT_ONCE).await?;
            let Some((last, _)) = changes.last() else { return Ok(next) };
            let after = last + 1;
            let mut changed: Vec<ApprovalId> =
                changes.into_iter().filter_map(|(_, id)| id).collect();
            changed.sort();
            changed.dedup();
            for id in changed {
                self.announce(&id).await?;
            }
            next = after;
        }
    }

    async fn announce(&self, id: &ApprovalId) -> Result<(), StorageError> {
        if self.lock().contains_key(id)
            && let Some(stored) = self.storage.approval(id).await?
        {
            self.publish(&stored.approval);
        }
        Ok(())
    }

    /// Forgets the approvals that nobody waits for any more.
    fn forget_unwatched(&self) {
        self.lock().retain(|_, channel| channel.receiver_count() > 0);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ApprovalId, Channel>> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
