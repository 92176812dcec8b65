//! The log is followed: every entry is verified once, and the newest head is kept outside the
//! database, so that whoever writes into the database can neither plant an entry nor take one back.
//!
//! From the head that was seen last, outside or by this process, each new entry must be one that the
//! log key signed in its place. So the cost of a look does not grow with the log. Beside that a patrol
//! walks through the whole log again and again, a little at a time, and finds what was changed in
//! entries and nodes that were verified long ago.

use std::time::Duration;

use tokio::sync::{Mutex, watch};
use tokio::time::timeout;

use crate::domain::ledger::{Frontier, Revoked};
use crate::domain::log_fault::LogFault;
use crate::integrations::log_head::LogHead;
use crate::proof::checkpoint::TrustedLog;
use crate::proof::log_head::SeenHead;
use crate::storage::{LogStretch, Storage, StorageError};

/// How often the log is looked at without a reason.
const INTERVAL: Duration = Duration::from_secs(1);
/// How many entries are verified before others get their turn: some 30 ms of a core.
const AT_ONCE: u64 = 500;
/// How often it is tried whether the database can be written, so that people are told before they sign.
const PROBE_INTERVAL: Duration = Duration::from_secs(10);
/// How often some old entries are looked at again,
const PATROL_INTERVAL: Duration = Duration::from_secs(30);
/// and how many of them: a fraction of a percent of a core, and a million entries in eight hours.
const PATROL_AT_ONCE: u64 = 1_000;
/// How often another gate may write the head between our reading and our writing it.
const MOST_TRIES: u32 = 20;
/// How long a start waits for the log. Until it is verified nothing is decided or rolled out.
const FIRST_LOOK: Duration = Duration::from_secs(5);

/// Follows the log of one gate. One per process.
pub struct LogFollower {
    storage: Storage,
    log: TrustedLog,
    place: LogHead,
    state: Mutex<Followed>,
}

/// What this process has verified.
#[derive(Default)]
struct Followed {
    /// None until there is something to begin from.
    tree: Option<Frontier>,
    revoked: Revoked,
    /// The head outside that was compared last.
    seen: Option<SeenHead>,
    patrol: Frontier,
    /// What the patrol found and has not found repaired yet.
    found: Option<LogFault>,
}

impl LogFollower {
    /// A follower of the log `log` that keeps its head in `place`. From now on nothing is written into
    /// the database until the log is verified.
    pub fn new(storage: Storage, log: TrustedLog, place: LogHead) -> Self {
        storage.stop(&LogFault::Unchecked);
        Self { storage, log, place, state: Mutex::default() }
    }

    /// Looks for the first time, and waits a while for it.
    pub async fn begin(&self) {
        let first = async {
            self.look().await;
            self.patrol(&mut *self.state.lock().await).await;
        };
        if timeout(FIRST_LOOK, first).await.is_err() {
            tracing::warn!("the log is long: nothing is decided until it is verified");
        }
    }

    /// Follows until `shutdown` turns true.
    pub async fn run(&self, mut shutdown: watch::Receiver<bool>) {
        let following = async {
            loop {
                tokio::time::sleep(INTERVAL).await;
                self.look().await;
            }
        };
        let probing = async {
            loop {
                tokio::time::sleep(PROBE_INTERVAL).await;
                // What it finds is told and stops the gate.
                let _ = self.storage.check().await;
            }
        };
        let patrolling = async {
            loop {
                tokio::time::sleep(PATROL_INTERVAL).await;
                self.patrol(&mut *self.state.lock().await).await;
            }
        };
        tokio::select! {
            () = following => {}
            () = probing => {}
            () = patrolling => {}
            _ = shutdown.wait_for(|stop| *stop) => {}
        }
        // What was written last is covered too.
        self.look().await;
    }

    async fn look(&self) {
        match self.secure().await {
            // Told when it was found.
            Ok(()) | Err(StorageError::Log(_)) => {}
            Err(error) => tracing::error!(%error, "the log cannot be followed"),
        }
    }

    /// Verifies every entry up to now, and sees to it that the head that covers them is kept outside.
    ///
    /// # Errors
    /// [`StorageError::Log`] if the log cannot be relied on; the gate has stopped then. Another error
    /// says that it could not be told.
    pub async fn secure(&self) -> Result<(), StorageError> {
        let mut state = self.state.lock().await;
        if state.found.is_some() {
            // It may have been repaired: that is not left to the next patrol.
            self.patrol(&mut state).await;
        }
        let outcome = match &state.found {
            Some(found) => Err(found.clone().into()),
            None => self.follow_and_keep(&mut state).await,
        };
        match outcome.map_err(of_the_log) {
            Ok(()) => {
                // That it can be read does not say that it can be written.
                if let Some(LogFault::Unavailable(_)) = self.storage.log_fault() {
                    self.storage.probe().await?;
                }
                self.storage.go_on();
                Ok(())
            }
            Err(StorageError::Log(fault)) => {
                self.storage.stop(&fault);
                Err(fault.into())
            }
            Err(other) => {
                if let Some(outage) = other.outage() {
                    self.storage.stop(&LogFault::Unavailable(outage));
                }
                Err(other)
            }
        }
    }

    async fn follow_and_keep(&self, state: &mut Followed) -> Result<(), StorageError> {
        let outside = |why: &dyn std::fmt::Display| LogFault::Outside(why.to_string());
        for _ in 0..MOST_TRIES {
            // Read before the database, which is never behind what was kept outside before.
            let kept = self.place.read().await.map_err(|error| outside(&error))?;
            let seen = kept.as_deref().map(|text| SeenHead::parse(text, &self.log)).transpose();
            let seen = seen.map_err(|error| outside(&error))?;
            let tree = self.follow(state, seen.as_ref()).await?;
            let head = SeenHead {
                size: tree.size(),
                root: tree.root(),
                checkpoint: self.storage.sign_checkpoint(&self.log.name, &tree),
                revoked: state.revoked.clone(),
            };
            let is_kept = seen.as_ref() == Some(&head)
                || self
                    .place
                    .replace(kept.as_deref(), &head.text()?)
                    .await
                    .map_err(|error| outside(&error))?;
            if is_kept {
                state.seen = Some(head);
                return Ok(());
            }
        }
        Err(outside(&"other gates wrote it between our reading and writing, again and again")
            .into())
    }

    /// Verifies all entries that are there, from the head outside or from what was verified before.
    async fn follow(
        &self,
        state: &mut Followed,
        seen: Option<&SeenHead>,
    ) -> Result<Frontier, StorageError> {
        // Believed by nobody yet.
        let head = self.storage.head().await?;
        if let Some(seen) = seen {
            self.compare(state, seen, &head).await?;
        }
        let tree = state.tree.get_or_insert_default();
        if head.size() < tree.size() {
            let (seen, found) = (tree.size(), head.size());
            return Err(LogFault::Shrunk { seen, found }.into());
        }
        // The head outside is passed on the way, so that it is compared with verified entries.
        let on_the_way = seen.map_or(0, |seen| seen.size);
        for end in [on_the_way, head.size()] {
            while tree.size() < end {
                let count = (end - tree.size()).min(AT_ONCE);
                let followed = self.go_along(tree, count).await?;
                *tree = followed.tree;
                for (credential, index) in followed.revoked {
                    state.revoked.entry(credential).or_insert(index);
                }
            }
            let is_another = |seen: &SeenHead| seen.size == tree.size() && seen.root != tree.root();
            if seen.is_some_and(is_another) {
                return Err(LogFault::Forked { size: tree.size() }.into());
            }
        }
        if *tree != head {
            return Err(LogFault::Forked { size: tree.size() }.into());
        }
        self.storage.know(tree, &state.revoked);
        Ok(tree.clone())
    }

    /// Verifies so many entries on top of a tree. Where the database has another tree below them, that
    /// is what is said, and not that the first of them does not fit.
    async fn go_along(&self, tree: &Frontier, count: u64) -> Result<LogStretch, StorageError> {
        let followed = self.storage.follow(tree, u32::try_from(count).unwrap_or(1)).await;
        if let Err(StorageError::Log(_)) = followed {
            let size = tree.size();
            if self.storage.tree_at(size).await.map_err(of_the_log)?.root() != tree.root() {
                return Err(LogFault::Forked { size }.into());
            }
        }
        followed
    }

    /// Compares the head outside with the database's, and begins from it where this process has
    /// nothing of its own to begin from.
    async fn compare(
        &self,
        state: &mut Followed,
        seen: &SeenHead,
        head: &Frontier,
    ) -> Result<(), StorageError> {
        let size = seen.size;
        if head.size() < size {
            return Err(LogFault::Shrunk { seen: size, found: head.size() }.into());
        }
        if state.tree.is_none() {
            let tree = self.storage.tree_at(size).await?;
            if tree.root() != seen.root {
                return Err(LogFault::Forked { size }.into());
            }
            *state = Followed { tree: Some(tree), ..Followed::default() };
        } else if state.seen.as_ref() != Some(seen)
            && state.tree.as_ref().is_some_and(|tree| size < tree.size())
            && self.storage.tree_at(size).await?.root() != seen.root
        {
            return Err(LogFault::Forked { size }.into());
        }
        for (credential, index) in &seen.revoked {
            state.revoked.entry(credential.clone()).or_insert(*index);
        }
        Ok(())
    }

    /// Looks again at some entries that were verified before, and at the nodes above them.
    async fn patrol(&self, state: &mut Followed) {
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

/// A row that the gate never writes is a fault of the log, and no outage of the database.
fn of_the_log(error: StorageError) -> StorageError {
    match error {
        StorageError::ImpossibleRow { .. } | StorageError::Missing { .. } => {
            LogFault::Damaged(error.to_string()).into()
        }
        other => other,
    }
}
