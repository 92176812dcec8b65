//! The only write path for state: one transaction that owns the ledger's head.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;
use sqlx::{Any, Transaction};

use crate::domain::approval::{Approval, Transition};
use crate::domain::decision::SignedDecision;
use crate::domain::digest::Digest;
use crate::domain::ids::ApprovalId;
use crate::domain::ledger::{CREDENTIAL_REVOKED, Frontier, Record};
use crate::domain::person::Person;
use crate::randomness;
use crate::storage::approvals::{self, NewApproval, StoredApproval};
use crate::storage::ceremonies::{self, Ceremony};
use crate::storage::endorsements;
use crate::storage::error::{Result, StorageError};
use crate::storage::guard::Role;
use crate::storage::jobs::{self, Job};
use crate::storage::people::{self, Credential, Session};
use crate::storage::revocations::{self, Revocation};
use crate::storage::tokens::{self, SpentToken};
use crate::storage::{
    Inner, Storage, engine, events, first_keys, github, github_rules, ledger, notices, outage,
};

/// One change of the gate's state: everything in it happens, or nothing.
///
/// Writers are serial, because each begins by taking the one row of the ledger's head. Dropped
/// without [`Writer::commit`] it leaves nothing. After an error it can only be dropped: `commit`
/// refuses, so that half a change is never written because somebody overlooked a failed step.
#[must_use = "a writer that is dropped writes nothing"]
pub struct Writer {
    pub(super) storage: Arc<Inner>,
    pub(super) transaction: Transaction<'static, Any>,
    /// The tree as it was when the writer began.
    pub(super) before: u64,
    pub(super) head: Frontier,
    pub(super) changed: Vec<Approval>,
    pub(super) failed: bool,
}

/// What a change wrote.
#[derive(Debug)]
pub struct Commit {
    /// The number of entries before it.
    pub before: u64,
    /// The number of entries after it.
    pub after: u64,
    /// The approvals that it changed, as they are now.
    pub approvals: Vec<Approval>,
}

impl Storage {
    /// Begins a change; waits for the changes that are under way.
    ///
    /// # Errors
    /// [`StorageError::Log`] if the log cannot be relied on: nothing is written on top of it.
    pub async fn begin(&self) -> Result<Writer> {
        self.begin_as(Role::Any).await
    }

    /// Begins the first change of a process, before which there can be no other
    /// ([`Storage::await_start`]).
    ///
    /// # Errors
    /// As [`Storage::begin`].
    pub async fn begin_start(&self) -> Result<Writer> {
        self.begin_as(Role::Start).await
    }

    async fn begin_as(&self, role: Role) -> Result<Writer> {
        let mut transaction = self.begin_write().await?;
        let head = self.inner.noticed(ledger::take_head(&mut transaction).await)?;
        self.inner.guard.admit(&head, role)?;
        let storage = Arc::clone(&self.inner);
        let before = head.size();
        Ok(Writer { storage, transaction, before, head, changed: Vec::new(), failed: false })
    }
}

/// Runs one step of a writer and remembers whether it failed.
macro_rules! step {
    ($writer:ident, $step:expr) => {{
        // Until the step is done it counts as failed: it may also be dropped half-way.
        let failed = std::mem::replace(&mut $writer.failed, true);
        let result = $step.await;
        $writer.failed = failed || result.is_err();
        result
    }};
}
pub(super) use step;

impl Writer {
    /// The approval of this name, as it is inside this change.
    pub async fn approval(&mut self, id: &ApprovalId) -> Result<Option<StoredApproval>> {
        step!(self, approvals::approval(&mut self.transaction, id))
    }

    /// The approval that this requester asked for under this key.
    pub async fn approval_by_idempotency_key(
        &mut self,
        requester_key: &str,
        key: &str,
    ) -> Result<Option<StoredApproval>> {
        step!(
            self,
            approvals::approval_by_idempotency_key(&mut self.transaction, requester_key, key)
        )
    }

    /// When this requester asked in an environment, of its requests since a time the `nth` newest (from 1).
    pub async fn nth_newest_asked(
        &mut self,
        requester_key: &str,
        environment: &str,
        since: Timestamp,
        nth: u64,
    ) -> Result<Option<Timestamp>> {
        let connection = &mut self.transaction;
        step!(self, approvals::nth_newest_asked(connection, requester_key, environment, since, nth))
    }

    /// How many approvals of an environment wait for people.
    pub async fn count_pending(&mut self, environment: &str) -> Result<u64> {
        step!(self, approvals::count_pending(&mut self.transaction, environment))
    }

    /// The approvals of an environment that wait for people to decide on this service or job, the oldest first.
    pub async fn pending_for(
        &mut self,
        environment: &str,
        target: &str,
    ) -> Result<Vec<StoredApproval>> {
        step!(self, approvals::pending_for(&mut self.transaction, environment, target))
    }

    /// The newest approval of the same environment and service that was asked for later and has not ended.
    pub async fn newer_open(&mut self, approval: &Approval) -> Result<Option<ApprovalId>> {
        step!(self, approvals::newer_open(&mut self.transaction, approval))
    }

    /// Other approvals whose rollout of the same service runs or comes first: of two that may begin, the
    /// one that was asked for first does.
    pub async fn rollouts_beside(
        &mut self,
        approval: &Approval,
        now: Timestamp,
    ) -> Result<Vec<ApprovalId>> {
        step!(self, approvals::rollouts_beside(&mut self.transaction, approval, now))
    }

    /// Writes a new approval: its row, its policy and its first entry.
    ///
    /// # Errors
    /// [`StorageError::Duplicate`] if the requester used the idempotency key before.
    pub async fn create(
        &mut self,
        transition: Transition,
        asked: &NewApproval,
        now: Timestamp,
    ) -> Result<StoredApproval> {
        step!(self, self.create_whole(transition, asked, now))
    }

    /// Writes a change of an approval: its row, its next entry, and the job that it has from now
    /// on or no longer.
    ///
    /// # Errors
    /// [`StorageError::Conflict`] unless the stored version is the one before.
    pub async fn apply(&mut self, transition: Transition, now: Timestamp) -> Result<Approval> {
        step!(self, self.apply_whole(transition, now))
    }

    /// Every record of one kind, in order, as they are inside this change. For kinds of which there
    /// are few.
    pub async fn records_of_kind(&mut self, kind: &str) -> Result<Vec<Record>> {
        step!(self, events::records_of_kind(&mut self.transaction, kind))
    }

    /// Writes an entry about something that is no approval.
    pub async fn record(&mut self, kind: &str, data: Value, now: Timestamp) -> Result<()> {
        let record = Record::of_event(kind, data, now);
        step!(self, self.append(&record))
    }

    /// Keeps what proves a decision. The next entry of this change must be the one about it.
    ///
    /// # Errors
    /// [`StorageError::Duplicate`] if a decision with this entry is kept already.
    pub async fn insert_decision(
        &mut self,
        approval: &ApprovalId,
        person: &Person,
        decision: &SignedDecision,
    ) -> Result<()> {
        let position = self.head.size();
        let connection = &mut self.transaction;
        step!(self, approvals::insert_decision(connection, approval, person, decision, position))
    }

    /// Uses a statement's nonce. False: it is unknown or was used before.
    pub async fn use_statement(&mut self, nonce: &str, now: Timestamp) -> Result<bool> {
        step!(self, ceremonies::use_statement(&mut self.transaction, nonce, now))
    }

    /// Remembers that a token created something under a key. `token_id` must be unique among all
    /// issuers.
    pub async fn spend_token(
        &mut self,
        token_id: &str,
        requester_key: &str,
        idempotency_key: &str,
        expires_at: Timestamp,
    ) -> Result<SpentToken> {
        let connection = &mut self.transaction;
        step!(
            self,
            tokens::spend_token(connection, token_id, requester_key, idempotency_key, expires_at)
        )
    }

    /// Moves the signature counter of an active credential from what was read to what was signed.
    /// False: it no longer stands at `from`, or the credential is not active.
    pub async fn advance_sign_count(
        &mut self,
        credential_id: &[u8],
        from: u32,
        to: u32,
        now: Timestamp,
    ) -> Result<bool> {
        let connection = &mut self.transaction;
        step!(self, people::advance_sign_count(connection, credential_id, from, to, now))
    }

    /// Takes a credential out of use and writes an entry that says so.
    pub async fn suspend_credential(
        &mut self,
        credential_id: &[u8],
        why: &str,
        now: Timestamp,
    ) -> Result<()> {
        step!(self, people::suspend_credential(&mut self.transaction, credential_id, why))?;
        let credential = data_encoding::BASE64URL_NOPAD.encode(credential_id);
        let data = serde_json::json!({ "credential": credential, "reason": why });
        self.record("credential.suspended", data, now).await
    }

    /// Takes a credential out of use for good and writes an entry that says so. False: it was
    /// revoked before, and nothing is written.
    pub async fn revoke_credential(
        &mut self,
        credential_id: &[u8],
        revocation: &Revocation,
        now: Timestamp,
    ) -> Result<bool> {
        if !step!(self, revocations::revoke(&mut self.transaction, credential_id))? {
            return Ok(false);
        }
        self.record(CREDENTIAL_REVOKED, serde_json::json!(revocation), now).await?;
        Ok(true)
    }

    /// Writes a new credential. The next entry of this change must be the one about its enrolment.
    ///
    /// # Errors
    /// [`StorageError::Duplicate`] if a credential with this id exists, whoever owns it.
    pub async fn insert_credential(&mut self, credential: &Credential) -> Result<()> {
        let enrolment_entry = self.head.size();
        let connection = &mut self.transaction;
        step!(self, people::insert_credential(connection, credential, enrolment_entry))
    }

    /// Keeps what proves an endorsement. The next entry of this change must be the one about it.
    ///
    /// # Errors
    /// [`StorageError::Duplicate`] if the person endorsed this credential before.
    pub async fn insert_endorsement(
        &mut self,
        credential_id: &[u8],
        endorser: &Person,
        signed: &SignedDecision,
    ) -> Result<()> {
        let entry = self.head.size();
        let connection = &mut self.transaction;
        step!(
            self,
            endorsements::insert_endorsement(connection, credential_id, endorser, signed, entry)
        )
    }

    /// Notes that a key was registered in the session that opened the link of the first key, if it was.
    pub async fn note_first_key(&mut self, session: &Digest, credential: &[u8]) -> Result<bool> {
        step!(self, first_keys::note_first_key(&mut self.transaction, session, credential))
    }

    /// Writes a new session.
    pub async fn insert_session(&mut self, session: &Session) -> Result<()> {
        step!(self, people::insert_session(&mut self.transaction, session))
    }

    /// Takes a registration: it is there once, and only until it expires.
    pub async fn take_ceremony(&mut self, id: &str, now: Timestamp) -> Result<Option<Ceremony>> {
        step!(self, ceremonies::take_ceremony(&mut self.transaction, id, now))
    }

    /// Whether a job's lease is still ours; if so, it stays ours until this change is over.
    pub async fn hold_job(&mut self, job: &Job) -> Result<bool> {
        step!(self, jobs::hold(&mut self.transaction, job))
    }

    /// Writes the change for good and wakes up everybody who waits for changes.
    ///
    /// # Errors
    /// [`StorageError::Unfinished`] if a step failed. After [`StorageError::Commit`] it is not
    /// known whether the change was written: whoever needs to know reads again.
    pub async fn commit(mut self) -> Result<()> {
        if self.failed {
            return Err(StorageError::Unfinished);
        }
        let storage = Arc::clone(&self.storage);
        if self.head.size() != self.before {
            let put = ledger::put_head(&mut self.transaction, self.before, &self.head).await;
            storage.noticed(put)?;
        }
        let notified = engine::notify(storage.engine, &mut self.transaction, &storage.name).await;
        storage.noticed(notified)?;
        // The point of no return. Without an answer the change is there whole or not at all.
        let committed = self.transaction.commit().await;
        storage.noticed(committed.map_err(|error| outage::of_commit(storage.engine, error)))?;
        let (before, after) = (self.before, self.head.size());
        // That nobody listens is no error.
        let _ = storage.commits.send(Arc::new(Commit { before, after, approvals: self.changed }));
        storage.guard.wrote(self.head.size());
        storage.wakeups.send_modify(|count| *count += 1);
        Ok(())
    }

    async fn create_whole(
        &mut self,
        transition: Transition,
        asked: &NewApproval,
        now: Timestamp,
    ) -> Result<StoredApproval> {
        let approval = &transition.approval;
        if approval.version != 1 {
            return Err(StorageError::Contradiction("a new approval does not have version 1"));
        }
        if asked.requester_key != approval.subject.requester.key {
            return Err(StorageError::Contradiction("the request is of another requester"));
        }
        let first_entry = self.head.size();
        approvals::insert_policy(&mut self.transaction, approval).await?;
        approvals::insert_approval(&mut self.transaction, approval, asked, first_entry, now)
            .await?;
        if let Some(receiver) = &asked.notify {
            notices::name_receiver(&mut self.transaction, approval.id(), receiver).await?;
        }
        let data = asked.asked_with.recorded();
        let record = Record::of_transition(&transition, None, data, now);
        self.append(&record).await?;
        let approval = transition.approval;
        jobs::settle(&mut self.transaction, &approval, now).await?;
        Ok(StoredApproval {
            approval,
            requester_key: asked.requester_key.clone(),
            idempotency_key: asked.idempotency_key.clone(),
            request_digest: asked.request_digest,
            created_at: now,
        })
    }

    async fn apply_whole(&mut self, transition: Transition, now: Timestamp) -> Result<Approval> {
        let approval = &transition.approval;
        approvals::update_approval(&mut self.transaction, approval).await?;
        let previous = ledger::newest_entry_hash(&mut self.transaction, approval.id()).await?;
        if previous.is_none() {
            let row = format!("of {}", approval.id());
            return Err(StorageError::Missing { table: "ledger_entries", row });
        }
        let record = Record::of_transition(&transition, previous, transition.data.clone(), now);
        self.append(&record).await?;
        let approval = transition.approval;
        jobs::settle(&mut self.transaction, &approval, now).await?;
        github::want(&mut self.transaction, &approval, now).await?;
        github_rules::look_again(&mut self.transaction, &approval, now).await?;
        self.changed.push(approval.clone());
        Ok(approval)
    }

    async fn append(&mut self, record: &Record) -> Result<()> {
        let (entry, completed) =
            self.head.write(record, randomness::bytes(), &self.storage.log_key)?;
        ledger::insert_entry(&mut self.transaction, &entry, record).await?;
        ledger::insert_nodes(&mut self.transaction, &completed).await?;
        let subscriptions = self.storage.subscriptions();
        notices::announce(&mut self.transaction, subscriptions, entry.index, record).await
    }
}
