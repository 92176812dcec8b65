//! The log is followed: every entry is verified once, and the newest head is kept outside the
//! database, so that whoever writes into the database can neither plant an entry nor take one back.
//!
//! From the head that was seen last, outside or by this process, each new entry must be one that the
//! log key signed in its place. So the cost of a look does not grow with the log. Beside that a patrol
//! walks through the whole log again and again, a little at a time, and finds what was changed in
//! entries and nodes that were verified long ago.
//!
//! A log that lost entries goes on after a recovery alone: [`LogFollower::switch`].

mod freezes;
mod patrol;
mod rules;

use std::time::Duration;

use tokio::sync::{Mutex, watch};
use tokio::time::timeout;

use crate::domain::hold::Freezes;
use crate::domain::ledger::{Frontier, Record, Revoked};
use crate::domain::log_fault::LogFault;
use crate::domain::recovery::{FrozenRecovery, LOG_RECOVERED, Lineage, NamedHead, successor};
use crate::domain::role::Authority;
use crate::domain::rulebook::RuleHistory;
use crate::integrations::log_head::LogHead;
use crate::proof::checkpoint::TrustedLog;
use crate::proof::evidence::Trust;
use crate::proof::log_head::SeenHead;
use crate::proof::recovery::{RecoveryRefusal, verify};
use crate::storage::{LogStretch, Seen, Storage, StorageError};

/// How often the log is looked at without a reason.
const INTERVAL: Duration = Duration::from_secs(1);
/// How many entries are verified before others get their turn: some 30 ms of a core.
const AT_ONCE: u64 = 500;
/// How often it is tried whether the database can be written, so that people are told before they sign.
const PROBE_INTERVAL: Duration = Duration::from_secs(10);
/// How often some old entries are looked at again,
const PATROL_INTERVAL: Duration = Duration::from_secs(30);
/// How often another gate may write the head between our reading and our writing it.
const MOST_TRIES: u32 = 20;
/// How long a start waits for the log. Until it is verified nothing is decided or rolled out.
const FIRST_LOOK: Duration = Duration::from_secs(5);

/// Follows the log of one gate. One per process.
pub struct LogFollower {
    storage: Storage,
    log: TrustedLog,
    trust: Trust,
    authority: Authority,
    place: LogHead,
    state: Mutex<Followed>,
}

/// What this process has verified.
#[derive(Default)]
struct Followed {
    /// None until there is something to begin from.
    tree: Option<Frontier>,
    revoked: Revoked,
    freezes: Freezes,
    lineage: Lineage,
    /// Which rules were in force since when; none until it was looked at.
    rules: Option<RuleHistory>,
    /// The recoveries below this index need no anchor: whoever signed a later one signed for the root
    /// above them.
    vouched: u64,
    /// The head outside that a verified recovery takes the place of.
    replaces: Option<SeenHead>,
    /// The head outside that was compared last.
    seen: Option<SeenHead>,
    patrol: Frontier,
    /// What the patrol found and has not found repaired yet.
    found: Option<LogFault>,
}

impl LogFollower {
    /// A follower of the log `log` that keeps its head in `place`, believes recoveries that the anchors of
    /// `trust` signed, and lets freezes be lifted by whom `authority` names. From now on nothing is written
    /// into the database until the log is verified.
    pub fn new(
        storage: Storage,
        log: TrustedLog,
        trust: Trust,
        authority: Authority,
        place: LogHead,
    ) -> Self {
        storage.stop(&LogFault::Unchecked);
        Self { storage, log, trust, authority, place, state: Mutex::default() }
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
            let tree = self.follow_or_switch(state, seen.as_ref()).await?;
            let name = successor(&self.log.name, state.lineage.recoveries);
            let head = SeenHead {
                size: tree.size(),
                root: tree.root(),
                checkpoint: self.storage.sign_checkpoint(&name, &tree),
                lineage: state.lineage,
                revoked: state.revoked.clone(),
                freezes: state.freezes.clone(),
                rules: state.rules.as_ref().map(RuleHistory::digests).unwrap_or_default(),
            };
            // The point of no return of a recovery. A crash before it leaves the head that was lost
            // outside and the signed entry in the database: whoever starts next finds both, verifies
            // them again and comes back here. After it the old head is gone, and the log is the new one.
            let is_kept = seen.as_ref() == Some(&head)
                || self
                    .place
                    .replace(kept.as_deref(), &head.text()?)
                    .await
                    .map_err(|error| outside(&error))?;
            if is_kept {
                // Under its new name it is shown and acted on from here, and not before.
                let rules = state.rules.get_or_insert_default();
                let told = Seen { revoked: &state.revoked, freezes: &state.freezes, rules };
                self.storage.know(&tree, told, state.lineage);
                state.seen = Some(head);
                return Ok(());
            }
        }
        Err(outside(&"other gates wrote it between our reading and writing, again and again")
            .into())
    }

    /// Follows the log; where it is not the one that was seen, only a recovery explains it.
    async fn follow_or_switch(
        &self,
        state: &mut Followed,
        seen: Option<&SeenHead>,
    ) -> Result<Frontier, StorageError> {
        let mut outcome = self.follow(state, seen).await;
        if let (Err(StorageError::Log(fault)), Some(seen)) = (&outcome, seen)
            && matches!(fault, LogFault::Shrunk { .. } | LogFault::Forked { .. })
            && self.switch(state, seen).await.map_err(of_the_log)?
        {
            outcome = self.follow(state, Some(seen)).await;
        }
        let tree = outcome?;
        let is_older = |seen: &SeenHead| match &state.replaces {
            Some(replaced) if replaced == seen => {
                state.lineage.recoveries <= seen.lineage.recoveries
            }
            _ => state.lineage.recoveries < seen.lineage.recoveries,
        };
        match seen {
            Some(seen) if is_older(seen) => Err(LogFault::Forked { size: seen.size }.into()),
            _ => Ok(tree),
        }
    }

    /// Looks for the recovery that takes the place of the head outside, or that another gate has kept
    /// there already, and begins at the first entry again if people with pinned keys signed it.
    async fn switch(&self, state: &mut Followed, seen: &SeenHead) -> Result<bool, StorageError> {
        let lost = seen.named(&self.log.name);
        let rules = self.judge_rules(&self.storage.head().await?, &seen.revoked, None).await?;
        let trust = self.trust_under(Some(&rules));
        let is_behind = state.tree.is_some() && state.lineage.recoveries < seen.lineage.recoveries;
        let records = self.storage.signed_records(LOG_RECOVERED).await?;
        for (kept, record) in records.into_iter().rev() {
            let said = record.data["statement"].as_str().and_then(said_names);
            let Some((outside, new_name)) = said else { continue };
            let replaces = outside == lost;
            if !(replaces || is_behind && new_name == lost.name) {
                continue;
            }
            // Which keys were revoked before it was signed.
            let known = |index: u64| replaces || index < kept;
            let revoked = seen.revoked.iter().filter(|(_, index)| known(**index));
            let revoked = revoked.map(|(credential, index)| (credential.clone(), *index)).collect();
            verify(&record, &trust, &revoked).map_err(not_recovered)?;
            // What was revoked in the lost part is revoked from here on at the latest.
            let revoked = state.revoked.iter().chain(&seen.revoked);
            let revoked = revoked
                .map(|(credential, index)| (credential.clone(), (*index).min(kept)))
                .collect();
            // Another gate verified all of it before it kept the head that is there now: this one begins
            // there, as after a start. Else every entry is verified again.
            let tree = replaces.then(Frontier::default);
            let replaces = replaces.then(|| seen.clone());
            // A freeze in the lost part goes on too. One that was lifted there is lifted again.
            let mut freezes = std::mem::take(&mut state.freezes);
            freezes.keep(&seen.freezes);
            *state =
                Followed { tree, revoked, freezes, vouched: kept, replaces, ..Followed::default() };
            return Ok(true);
        }
        Ok(false)
    }

    /// Verifies all entries that are there, from the head outside or from what was verified before.
    async fn follow(
        &self,
        state: &mut Followed,
        seen: Option<&SeenHead>,
    ) -> Result<Frontier, StorageError> {
        // Believed by nobody yet.
        let head = self.storage.head().await?;
        // The head that a recovery takes the place of is none of this tree.
        let seen = seen.filter(|seen| state.replaces.as_ref() != Some(*seen));
        if let Some(seen) = seen {
            self.compare(state, seen, &head).await?;
        }
        if state.rules.is_none() {
            let known = seen.map(|seen| &seen.rules);
            state.rules = Some(self.judge_rules(&head, &state.revoked, known).await?);
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
                let recovered = followed.recovered.iter();
                for (below, record) in recovered.filter(|(below, _)| below.size() >= state.vouched)
                {
                    let known = state.revoked.iter().chain(&followed.revoked);
                    let known = known.filter(|(_, index)| **index < below.size());
                    let trust = self.trust_under(state.rules.as_ref());
                    state.lineage = pass(&trust, below, record, known, state.lineage)?;
                }
                *tree = followed.tree;
                if followed.changes_rules {
                    let known = state.rules.as_ref().map(RuleHistory::digests);
                    let rules = self.judge_rules(&head, &state.revoked, known.as_ref()).await?;
                    state.rules = Some(rules);
                }
                for (credential, index) in followed.revoked {
                    state.revoked.entry(credential).or_insert(index);
                }
                for (index, record) in followed.freezes {
                    let rules = state.rules.as_ref();
                    if self.is_believed(index, &record, tree, (&state.revoked, rules)).await? {
                        state.freezes.pass(&record);
                    }
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
        if state.tree.is_some() && state.lineage.recoveries < seen.lineage.recoveries {
            return Err(LogFault::Forked { size }.into());
        }
        if head.size() < size {
            return Err(LogFault::Shrunk { seen: size, found: head.size() }.into());
        }
        if state.tree.is_none() {
            let tree = self.storage.tree_at(size).await?;
            if tree.root() != seen.root {
                return Err(LogFault::Forked { size }.into());
            }
            state.tree = Some(tree);
            state.lineage = seen.lineage;
            state.freezes = seen.freezes.clone();
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
}

/// Verifies the record of a recovery on top of `below`, of a log of this lineage in which these keys were
/// revoked before, and gives the lineage after it.
fn pass<'a>(
    trust: &Trust,
    below: &Frontier,
    record: &Record,
    revoked: impl Iterator<Item = (&'a String, &'a u64)>,
    lineage: Lineage,
) -> Result<Lineage, StorageError> {
    let revoked = revoked.map(|(credential, index)| (credential.clone(), *index)).collect();
    let verified = verify(record, trust, &revoked).map_err(not_recovered)?;
    verified.stands_on(below.size(), &below.root(), lineage).map_err(not_recovered)?;
    Ok(verified.lineage())
}

/// The head outside and the new name that a statement of a recovery names.
fn said_names(statement: &str) -> Option<(NamedHead, String)> {
    let statement = FrozenRecovery::thaw(statement).ok()?;
    let recovery = statement.predicate();
    Some((recovery.outside.clone(), recovery.new_name.clone()))
}

fn not_recovered(refusal: RecoveryRefusal) -> StorageError {
    LogFault::Recovery(refusal.to_string()).into()
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
