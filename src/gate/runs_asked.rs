//! What the ledger says of runs of GitHub Actions: which approvals each of them asked for, and which webhooks came.
//!
//! Rows alone would let whoever can delete one hide that a run was refused. So the entries are read, each
//! verified by the log key's signature in its place and none left out, and each entry of a request leads to
//! bytes of the digest that it names. Bytes that are gone are noticed.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::domain::digest::Digest;
use crate::domain::ids::ApprovalId;
use crate::domain::ledger::{Entry, Frontier, Record, entry_hash};
use crate::domain::log_key::LogPublicKey;
use crate::domain::subject::{FrozenSubject, Subject};
use crate::domain::workflow_run::{RUN_WAITS, RunWaits};
use crate::gate::authorise::NotAuthorised;
use crate::storage::{Storage, StorageError};

/// How many entries are read at once.
const PAGE: u32 = 500;
/// The kind of the entry with which every approval begins.
const REQUESTED: &str = "approval.requested";

/// Verified entries from one on to the newest, each of them read once while the process lives.
pub struct RunsAsked {
    key: LogPublicKey,
    /// How often the log was recovered when they were read: afterwards other entries may stand there.
    recoveries: u32,
    /// The first entry that was read, and the one after the last.
    read: Option<(u64, u64)>,
    /// When the first that was read was written.
    reaches_back_to: Timestamp,
    /// By repository and run: the approvals in the order in which they were asked for.
    asked: BTreeMap<(u64, u64), BTreeMap<u64, ApprovalId>>,
    /// By their names.
    waits: BTreeMap<String, RunWaits>,
    /// Requests whose bytes were not to be had when they were looked for last.
    missing: BTreeMap<u64, Request>,
}

struct Request {
    id: ApprovalId,
    digest: Digest,
    at: Timestamp,
}

impl RunsAsked {
    /// Nothing was read yet. `key` is the pinned key of the log.
    pub fn new(key: LogPublicKey) -> Self {
        Self {
            key,
            recoveries: 0,
            read: None,
            reaches_back_to: Timestamp::MAX,
            asked: BTreeMap::new(),
            waits: BTreeMap::new(),
            missing: BTreeMap::new(),
        }
    }

    /// Reads what is new, and as far back as `since`.
    ///
    /// # Errors
    /// [`NotAuthorised::LogGap`] where an entry is missing or not the one that the log key signed.
    pub async fn read(&mut self, storage: &Storage, since: Timestamp) -> Result<(), NotAuthorised> {
        let recoveries = storage.lineage().recoveries;
        if recoveries != self.recoveries {
            *self = Self { recoveries, ..Self::new(self.key) };
        }
        // Read before the head, which only grows.
        let known = storage.known_tree().map_or(0, |tree| tree.size());
        let size = storage.head().await?.size();
        let (mut from, mut next) = self.read.unwrap_or((size, size));
        if size < next.max(known) {
            return Err(NotAuthorised::LogGap(size));
        }
        while next < size {
            let count = (size - next).min(PAGE.into());
            self.take(storage, next, count).await?;
            next += count;
            self.read = Some((from, next));
        }
        while from > 0 && self.reaches_back_to >= since {
            let count = from.min(PAGE.into());
            self.take(storage, from - count, count).await?;
            from -= count;
            self.read = Some((from, next));
        }
        self.look_for_missing(storage).await
    }

    /// The approvals that were asked for by a run, in the order they were.
    pub fn of_run(&self, repository: u64, run: u64) -> Vec<ApprovalId> {
        let found = self.asked.get(&(repository, run));
        found.map(|asked| asked.values().cloned().collect()).unwrap_or_default()
    }

    /// What a webhook said when it came, if one of this name was verified.
    pub fn webhook(&self, delivery: &str) -> Option<&RunWaits> {
        self.waits.get(delivery)
    }

    /// A request since then of which only the ledger knows: it may be one of any run.
    pub fn missing_since(&self, since: Timestamp) -> Option<&ApprovalId> {
        self.missing.values().find(|request| request.at >= since).map(|request| &request.id)
    }

    async fn take(
        &mut self,
        storage: &Storage,
        first: u64,
        count: u64,
    ) -> Result<(), NotAuthorised> {
        let mut before = match first.checked_sub(1) {
            None => Frontier::default().root(),
            Some(index) => storage.entry(index).await?.ok_or(NotAuthorised::LogGap(index))?.root,
        };
        let mut index = first;
        let limit = u32::try_from(count).unwrap_or(PAGE);
        for entry in storage.entries(first, limit).await? {
            if entry.index != index {
                return Err(NotAuthorised::LogGap(index));
            }
            let record = self.verified(&entry, &before)?;
            if index == first {
                self.reaches_back_to = self.reaches_back_to.min(record.at);
            }
            self.note(index, record);
            before = entry.root;
            index += 1;
        }
        if index == first + count { Ok(()) } else { Err(NotAuthorised::LogGap(index)) }
    }

    fn verified(&self, entry: &Entry, before: &Digest) -> Result<Record, NotAuthorised> {
        let is_whole = entry_hash(&entry.salt, &entry.record) == entry.entry_hash
            && self.key.verify_entry(entry.index, before, &entry.leaf(), &entry.signature);
        match Record::parse(&entry.record) {
            Ok(record) if is_whole => Ok(record),
            _ => Err(NotAuthorised::LogGap(entry.index)),
        }
    }

    fn note(&mut self, index: u64, record: Record) {
        match (record.kind.as_str(), record.approval) {
            (REQUESTED, Some(approval)) => {
                let request =
                    Request { id: approval.id, digest: approval.deployment_digest, at: record.at };
                self.missing.insert(index, request);
            }
            (RUN_WAITS, None) => {
                if let Ok(waits) = serde_json::from_value::<RunWaits>(record.data) {
                    self.waits.insert(waits.delivery.id.clone(), waits);
                }
            }
            _ => {}
        }
    }

    /// Reads the bytes of requests, which only count if they are those that the ledger names by digest.
    async fn look_for_missing(&mut self, storage: &Storage) -> Result<(), NotAuthorised> {
        for (index, request) in std::mem::take(&mut self.missing) {
            let subject = match storage.approval(&request.id).await {
                Ok(stored) => stored.map(|stored| stored.approval.subject),
                Err(StorageError::ImpossibleRow { .. } | StorageError::Newer(_)) => None,
                Err(error) => {
                    // What is left unread of it is read again from the entries.
                    *self = Self { recoveries: self.recoveries, ..Self::new(self.key) };
                    return Err(error.into());
                }
            };
            match subject.filter(|subject| *subject.digest() == request.digest) {
                Some(subject) => {
                    if let Some(run) = run_of(&subject) {
                        self.asked.entry(run).or_default().insert(index, request.id);
                    }
                }
                None => {
                    self.missing.insert(index, request);
                }
            }
        }
        Ok(())
    }
}

/// The repository and the run that signed bytes name.
fn run_of(subject: &FrozenSubject) -> Option<(u64, u64)> {
    match subject.subject() {
        Subject::Deployment(_) | Subject::JobExecution(_) => {
            let number = |claim| subject.requester.claim(claim)?.parse::<u64>().ok();
            Some((number("repository_id")?, number("run_id")?))
        }
        Subject::WorkflowRun(run) => Some((run.repository.id, run.run)),
        Subject::Action(_) | Subject::RuleChange(_) => None,
    }
}
