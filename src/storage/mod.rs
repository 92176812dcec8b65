//! Storage: the only SQL, written once for SQLite and PostgreSQL.
//!
//! State changes have one way in, [`Writer`]: a transaction that owns the ledger's head, so that
//! no row of an approval changes without its entry. Rows that are no state (sign-ins and
//! registrations under way, statements given out, leases) are written beside it. What is read is
//! checked while it is read: an impossible row is an error that names it, never a value.

mod agent_credentials;
mod approvals;
pub mod audit;
mod batches;
mod ceremonies;
mod column;
mod cosignatures;
mod drift;
mod endorsements;
mod engine;
mod entries;
mod error;
mod events;
mod exceptions;
mod first_keys;
mod follow;
mod freezes;
mod github;
mod github_rules;
mod guard;
mod jobs;
mod last_sign_ins;
mod ledger;
mod listing;
mod notices;
mod outage;
mod people;
mod recovery;
mod refusals;
mod revocations;
mod sweep;
mod tokens;
mod writer;

use std::fs::File;
use std::sync::{Arc, OnceLock};

use sqlx::pool::PoolConnection;
use sqlx::{Any, AnyPool, Transaction};
use tokio::sync::{broadcast, watch};
use tokio::task::AbortHandle;

use crate::domain::ledger::Frontier;
use crate::domain::log_key::{LogKey, LogPublicKey};
use crate::domain::notice::Subscription;

pub use agent_credentials::KeptAgentCredential;
pub use approvals::{AskedWith, NewApproval, StoredApproval};
pub use batches::Batch;
pub use ceremonies::{Ceremony, IssuedStatement, Login};
pub use drift::KeptSighting;
pub use endorsements::KeptEndorsement;
pub use engine::Engine;
pub use entries::{About, EntryFilter, LARGEST_ENTRY_PAGE, ListedEntry, Scope};
pub use error::{Result, StorageError};
pub use first_keys::FirstKeyLink;
pub use follow::LogStretch;
pub use github::{Comment, CommitAtGitHub, Made, Making, Report, Speaker};
pub use github_rules::{RuleAnswer, WaitingRule};
pub use guard::Seen;
pub use jobs::Job;
pub use last_sign_ins::KeptSignIn;
pub use listing::{ApprovalFilter, LARGEST_PAGE, Page};
pub use notices::{DueNotice, NoticeStanding};
pub use people::{Credential, CredentialStatus, Session};
pub use recovery::RecoveryLink;
pub use refusals::{REFUSAL_PAUSE, Refusal};
pub use revocations::{RecordedRevocation, Revocation};
pub use tokens::SpentToken;
pub use writer::{Commit, Writer};

/// How many commits of this process are kept for those who follow them. Who falls behind more than
/// that reads the ledger.
const COMMITS_KEPT: usize = 64;

/// The gate's memory. Clones are the same storage.
#[derive(Clone)]
pub struct Storage {
    inner: Arc<Inner>,
}

struct Inner {
    engine: Engine,
    writers: AnyPool,
    readers: AnyPool,
    log_key: Arc<LogKey>,
    refusals: refusals::Refusals,
    subscriptions: OnceLock<Vec<Subscription>>,
    /// A random name, by which a gate knows its own notifications.
    name: String,
    wakeups: watch::Sender<u64>,
    commits: broadcast::Sender<Arc<Commit>>,
    guard: guard::Guard,
    exceptions: exceptions::Remembered,
    probed: outage::Probed,
    listener: Option<AbortHandle>,
    /// Keeps other processes away from a SQLite file.
    _lock: Option<File>,
}

impl Inner {
    /// Who wants to be told of what; nobody where that was not said.
    fn subscriptions(&self) -> &[Subscription] {
        self.subscriptions.get().map(Vec::as_slice).unwrap_or_default()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(listener) = &self.listener {
            listener.abort();
        }
    }
}

impl Storage {
    /// Opens the database of `url` and brings its tables up to date: `sqlite:///absolute/path.db`
    /// is a file, made if it is not there, for this process alone; `postgres://...` a server.
    ///
    /// # Errors
    /// [`StorageError::InUse`] if another process has the file.
    pub async fn open(url: &str, log_key: Arc<LogKey>) -> Result<Self> {
        let opened = engine::open(url).await?;
        let name = crate::randomness::token::<16>();
        let listener = match opened.engine {
            Engine::Sqlite => None,
            Engine::Postgres => {
                let wakeups = watch::Sender::new(0);
                let listener = engine::listener(url).await?;
                let task = engine::listen(listener, name.clone(), wakeups.clone());
                Some((wakeups, tokio::spawn(task).abort_handle()))
            }
        };
        Ok(Self::of(opened, log_key, name, listener))
    }

    /// Opens the database of `url` beside a gate that uses it: to read, without a lock, and with the
    /// tables as they are.
    ///
    /// # Errors
    /// If there is no such database.
    pub async fn open_beside(url: &str, log_key: Arc<LogKey>) -> Result<Self> {
        let opened = engine::open_beside(url).await?;
        Ok(Self::of(opened, log_key, crate::randomness::token::<16>(), None))
    }

    fn of(
        opened: engine::Opened,
        log_key: Arc<LogKey>,
        name: String,
        listener: Option<(watch::Sender<u64>, AbortHandle)>,
    ) -> Self {
        let engine::Opened { engine, writers, readers, lock } = opened;
        let (wakeups, listener) = match listener {
            Some((wakeups, listener)) => (wakeups, Some(listener)),
            None => (watch::Sender::new(0), None),
        };
        let inner = Inner {
            engine,
            writers,
            readers,
            log_key,
            refusals: refusals::Refusals::default(),
            subscriptions: OnceLock::new(),
            name,
            wakeups,
            commits: broadcast::Sender::new(COMMITS_KEPT),
            guard: guard::Guard::default(),
            exceptions: exceptions::Remembered::default(),
            probed: outage::Probed::default(),
            listener,
            _lock: lock,
        };
        Self { inner: Arc::new(inner) }
    }

    /// The database's kind.
    pub fn engine(&self) -> Engine {
        self.inner.engine
    }

    /// Closes every connection, after what is under way. Nothing can be read or written then.
    pub async fn close(&self) {
        if let Some(listener) = &self.inner.listener {
            listener.abort();
        }
        self.inner.readers.close().await;
        self.inner.writers.close().await;
    }

    /// The public key that the entries of the ledger are signed with.
    pub fn log_public_key(&self) -> LogPublicKey {
        self.inner.log_key.public()
    }

    /// The signed tree head of this tree, under the log's name.
    pub fn sign_checkpoint(&self, name: &str, head: &Frontier) -> String {
        self.inner.log_key.sign_checkpoint(name, head.size(), &head.root())
    }

    /// The log key's signature over the payload of a DSSE envelope.
    pub fn sign_envelope(&self, payload_type: &str, payload: &[u8]) -> Vec<u8> {
        self.inner.log_key.sign_envelope(payload_type, payload)
    }

    /// Signs a token of the gate's own with the log key.
    pub fn sign_token(&self, signing_input: &str) -> Vec<u8> {
        self.inner.log_key.sign_token(signing_input)
    }

    /// A number that grows after every change, ours or another gate's. A hint to look and never
    /// the truth: readers also poll, at least once a second.
    pub fn wakeups(&self) -> watch::Receiver<u64> {
        self.inner.wakeups.subscribe()
    }

    /// What this process itself commits, from now on: the same news as by [`Storage::wakeups`], without
    /// a look at the database.
    pub fn commits(&self) -> broadcast::Receiver<Arc<Commit>> {
        self.inner.commits.subscribe()
    }

    async fn reader(&self) -> Result<PoolConnection<Any>> {
        Ok(self.inner.readers.acquire().await?)
    }

    /// A connection for single statements that take no head.
    async fn writer(&self) -> Result<PoolConnection<Any>> {
        Ok(self.inner.writers.acquire().await?)
    }

    /// A transaction that reads one moment of the database and writes nothing.
    async fn begin_snapshot(&self) -> Result<Transaction<'static, Any>> {
        Ok(self.inner.readers.begin_with(self.inner.engine.begin_snapshot()).await?)
    }

    async fn begin_write(&self) -> Result<Transaction<'static, Any>> {
        Ok(self.inner.writers.begin_with(self.inner.engine.begin_write()).await?)
    }
}
