//! What this process knows of the log beside the database. With it a log that lost entries, or is
//! another one, is noticed before anything is written on top of it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::domain::digest::Digest;
use crate::domain::hold::Freezes;
use crate::domain::ledger::{Frontier, Revoked};
use crate::domain::log_fault::LogFault;
use crate::domain::recovery::Lineage;
use crate::domain::rulebook::RuleHistory;
use crate::storage::Storage;
use crate::storage::error::{Result, StorageError};

/// One process's knowledge.
#[derive(Default)]
pub(super) struct Guard {
    standing: Mutex<Standing>,
    /// How many entries were verified, for those who wait for one.
    verified: watch::Sender<u64>,
}

#[derive(Default)]
struct Standing {
    /// The newest tree whose entries were all verified.
    known: Option<Frontier>,
    /// How many entries there were after our own last commit.
    written: u64,
    /// Why nothing may be written or done.
    stopped: Option<LogFault>,
    /// Whether this process has yet to write down that it began.
    awaits_start: bool,
    revoked: Revoked,
    freezes: Freezes,
    lineage: Lineage,
    rules: RuleHistory,
    /// The rules that this process runs with, in one that decides or does anything.
    runs_with: Option<Digest>,
}

/// What verified entries say beside the tree.
#[derive(Clone, Copy)]
pub struct Seen<'a> {
    /// The keys that are out of use.
    pub revoked: &'a Revoked,
    /// What is frozen.
    pub freezes: &'a Freezes,
    /// Which rules were in force since when.
    pub rules: &'a RuleHistory,
}

/// What a change is to the process that makes it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// The entry about its start.
    Start,
    /// Anything.
    Any,
}

impl Guard {
    fn lock(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a head of the database can be written on.
    pub(super) fn admit(&self, head: &Frontier, role: Role) -> Result<()> {
        let mut standing = self.lock();
        let fault = standing.stopped.clone().or_else(|| standing.compare(head));
        match fault {
            None if standing.runs_with_others() => Err(StorageError::Log(LogFault::OtherRules)),
            None if standing.awaits_start && role != Role::Start => {
                Err(StorageError::Log(LogFault::Unchecked))
            }
            None => Ok(()),
            Some(fault) => {
                standing.stop(&fault);
                Err(StorageError::Log(fault))
            }
        }
    }

    pub(super) fn lineage(&self) -> Lineage {
        self.lock().lineage
    }

    /// Lets nothing be written any more, until [`Storage::go_on`].
    pub(super) fn stop(&self, fault: &LogFault) {
        self.lock().stop(fault);
    }

    /// Remembers what we wrote ourselves.
    pub(super) fn wrote(&self, size: u64) {
        let mut standing = self.lock();
        standing.written = standing.written.max(size);
    }
}

impl Standing {
    /// Whether other rules are in force than this process runs with.
    fn runs_with_others(&self) -> bool {
        let current = self.rules.current().map(|rules| rules.digest);
        matches!((current, self.runs_with), (Some(current), Some(own)) if current != own)
    }

    fn compare(&self, head: &Frontier) -> Option<LogFault> {
        let size = head.size();
        let Some(known) = &self.known else {
            let is_shorter = size < self.written;
            return is_shorter.then_some(LogFault::Shrunk { seen: self.written, found: size });
        };
        let seen = known.size().max(self.written);
        if size < seen {
            Some(LogFault::Shrunk { seen, found: size })
        } else {
            (size == known.size() && head != known).then_some(LogFault::Forked { size })
        }
    }

    fn stop(&mut self, fault: &LogFault) {
        if self.stopped.as_ref() != Some(fault) && *fault != LogFault::Unchecked {
            let code = fault.code();
            tracing::error!(code, %fault, "ALARM: nothing is decided and nothing is rolled out");
        }
        self.stopped = Some(fault.clone());
    }
}

impl Storage {
    /// Lets nothing be written any more, until [`Storage::go_on`].
    pub fn stop(&self, fault: &LogFault) {
        self.inner.guard.stop(fault);
    }

    /// Lets nothing be written before [`Storage::begin_start`] and [`Storage::started`].
    pub fn await_start(&self) {
        self.inner.guard.lock().awaits_start = true;
    }

    /// This process has written down that it began.
    pub fn started(&self) {
        self.inner.guard.lock().awaits_start = false;
    }

    /// Nothing is wrong with the log (any more).
    pub fn go_on(&self) {
        if let Some(fault) = self.inner.guard.lock().stopped.take() {
            let code = fault.code();
            tracing::info!(code, "nothing is wrong with the log; the gate goes on");
        }
    }

    /// Why nothing is decided and nothing is rolled out now.
    pub fn log_fault(&self) -> Option<LogFault> {
        let standing = self.inner.guard.lock();
        let others = standing.runs_with_others().then_some(LogFault::OtherRules);
        let unstarted = standing.awaits_start.then_some(LogFault::Unchecked);
        standing.stopped.clone().or(others).or(unstarted)
    }

    /// Refuses if [`Storage::log_fault`] has something to say.
    ///
    /// # Errors
    /// [`StorageError::Log`] says what.
    pub fn refuse_if_stopped(&self) -> Result<()> {
        self.log_fault().map_or(Ok(()), |fault| Err(StorageError::Log(fault)))
    }

    /// Takes note of the newest tree whose entries were all verified, of what it revokes, freezes and puts into
    /// force, and of how often the log was recovered.
    pub fn know(&self, tree: &Frontier, seen: Seen<'_>, lineage: Lineage) {
        let Seen { revoked, freezes, rules } = seen;
        let mut standing = self.inner.guard.lock();
        if standing.lineage != lineage {
            // What we wrote into the log before is what was lost.
            standing.written = tree.size();
        }
        standing.known = Some(tree.clone());
        standing.revoked.clone_from(revoked);
        standing.freezes.clone_from(freezes);
        standing.rules.clone_from(rules);
        standing.lineage = lineage;
        drop(standing);
        self.inner.guard.verified.send_replace(tree.size());
    }

    /// Takes note of how often the log was recovered, in a process that does not follow it.
    pub fn learn_lineage(&self, lineage: Lineage) {
        self.inner.guard.lock().lineage = lineage;
    }

    /// How often the log was recovered, and when, as is verified.
    pub fn lineage(&self) -> Lineage {
        self.inner.guard.lineage()
    }

    /// The newest tree whose entries were all verified, if there is one yet.
    pub fn known_tree(&self) -> Option<Frontier> {
        self.inner.guard.lock().known.clone()
    }

    /// What is frozen, as is verified, whatever the database says now.
    pub fn freezes(&self) -> Freezes {
        self.inner.guard.lock().freezes.clone()
    }

    /// Lets nothing be written or done as soon as other rules are in force than those of this digest.
    pub fn run_with(&self, rules: Digest) {
        self.inner.guard.lock().runs_with = Some(rules);
    }

    /// Which rulebooks were in force since when, as is verified, whatever the database says now.
    pub fn rules(&self) -> RuleHistory {
        self.inner.guard.lock().rules.clone()
    }

    /// Waits until other rules are in force than this process runs with.
    pub async fn await_other_rules(&self) {
        let mut verified = self.inner.guard.verified.subscribe();
        while !self.inner.guard.lock().runs_with_others() {
            if verified.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Waits until the entry at this index was verified. False: it was not within `patience`.
    pub async fn await_verified(&self, index: u64, patience: Duration) -> bool {
        let mut verified = self.inner.guard.verified.subscribe();
        let seen = verified.wait_for(|size| *size > index);
        tokio::time::timeout(patience, seen).await.is_ok_and(|seen| seen.is_ok())
    }

    /// The index of the entry that revoked a credential (base64url id), whatever the database says now.
    pub fn revoked_at(&self, credential: &str) -> Option<u64> {
        self.inner.guard.lock().revoked.get(credential).copied()
    }
}
