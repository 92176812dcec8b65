//! Speaks to GitHub: shows it what becomes of approvals, and answers runs that wait for them.
//!
//! Nothing is handed over in memory: rows that commit together with the ledger's entries say what GitHub has
//! not been shown yet, and any instance can go on where another stopped. One speaks at a time, since GitHub
//! asks Apps to make their calls one after the other.

mod asking;
mod report;
mod rule;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Mutex, watch};

use crate::clock::Clock;
use crate::domain::policy::Policy;
use crate::gate::GateError;
use crate::gate::authorise::NotAuthorised;
use crate::gate::runs_asked::RunsAsked;
use crate::integrations::github::app::{AppError, GitHubApp};
use crate::proof::checkpoint::TrustedLog;
use crate::proof::evidence::Trust;
use crate::randomness;
use crate::storage::{Report, Speaker, Storage, StorageError, WaitingRule};
use crate::worker::log::LogFollower;

/// Longer than any single call to GitHub, after each of which it is kept.
const LEASE: SignedDuration = SignedDuration::from_secs(30);
/// How often the database is asked for something to say at least: a lost wake-up costs no more.
const LONGEST_SILENCE: Duration = Duration::from_secs(1);
/// How long a failing database is left alone.
const PAUSE_AFTER_ERROR: Duration = Duration::from_secs(1);
/// The pause after the first failure; it doubles with each one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// How often one version is tried: for about an hour. The next version is tried anew.
const MOST_ATTEMPTS: u64 = 20;
/// How long it is left alone after that, unless something changes.
const HOPELESS: Duration = Duration::from_secs(24 * 3600);

/// The gate's voice at GitHub. One per process.
pub struct Voice {
    storage: Storage,
    clock: Clock,
    trust: Trust,
    log: Arc<LogFollower>,
    github: Arc<GitHubApp>,
    terms: Terms,
    /// What the ledger says of runs. None if the pinned log key cannot be read: then no run is let on.
    runs: Option<Mutex<RunsAsked>>,
    /// Names this process in leases.
    name: String,
}

/// What answers rest on beside evidence.
pub struct Terms {
    /// The gate's origin, which links begin with.
    pub origin: String,
    /// The rules of each environment, for runs that people are asked about.
    pub policies: BTreeMap<String, Policy>,
    /// The names of the token issuers that are GitHub's: nobody else's tokens name its runs.
    pub issuers: BTreeSet<String>,
}

/// Why something could not be said.
#[derive(Debug, thiserror::Error)]
enum Unsaid {
    #[error(transparent)]
    GitHub(#[from] AppError),
    #[error("the database failed: {0}")]
    Storage(#[from] StorageError),
    #[error("it is not proved: {0}")]
    Unproved(String),
    #[error("another instance speaks to GitHub now")]
    Lost,
}

impl From<GateError> for Unsaid {
    fn from(error: GateError) -> Self {
        match error {
            GateError::Storage(error) => Self::Storage(error),
            other => Self::Unproved(other.to_string()),
        }
    }
}

impl From<NotAuthorised> for Unsaid {
    fn from(finding: NotAuthorised) -> Self {
        match finding {
            NotAuthorised::Storage(error) => Self::Storage(error),
            finding => Self::Unproved(finding.to_string()),
        }
    }
}

/// Whether there is more to say.
enum Spoken {
    GoOn,
    /// Not before this time.
    Paused(Timestamp),
    /// Somebody else speaks.
    Lost,
}

/// What an error means: a sentence of why it has to be tried again, or that nobody speaks for now.
fn sort(error: Unsaid, now: Timestamp) -> Result<Result<String, Spoken>, StorageError> {
    match error {
        Unsaid::Lost => Ok(Err(Spoken::Lost)),
        Unsaid::Storage(error) => Err(error),
        Unsaid::GitHub(AppError::NotNow { limited_for: Some(pause), .. }) => {
            Ok(Err(Spoken::Paused(after(now, pause))))
        }
        other => Ok(Ok(other.to_string())),
    }
}

impl Voice {
    /// A voice for the gate at the origin of `terms`. `trust` is what it believes without asking the database: GitHub is
    /// shown nothing that its evidence does not prove, and `log` says before each answer whether the database is
    /// still the one that was seen.
    pub fn new(
        storage: Storage,
        clock: Clock,
        trust: Trust,
        log: Arc<LogFollower>,
        github: Arc<GitHubApp>,
        terms: Terms,
    ) -> Self {
        let runs = TrustedLog::parse(&trust.log).map(|log| Mutex::new(RunsAsked::new(log.key)));
        let name = randomness::token::<12>();
        Self { storage, clock, trust, log, github, terms, runs, name }
    }

    /// Speaks until `shutdown` turns true. What is cut off then is looked for by whoever goes on.
    pub async fn run(self, mut shutdown: watch::Receiver<bool>) {
        self.release().await;
        let speaking = async {
            let mut wakeups = self.storage.wakeups();
            loop {
                wakeups.borrow_and_update();
                let pause = match self.speak().await {
                    Ok(()) => LONGEST_SILENCE,
                    Err(error) => {
                        tracing::error!(%error, "what GitHub is to be shown cannot be read; it is tried again");
                        PAUSE_AFTER_ERROR
                    }
                };
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    _ = wakeups.changed() => {}
                }
            }
        };
        tokio::select! {
            () = speaking => {}
            _ = shutdown.wait_for(|stop| *stop) => {}
        }
        self.release().await;
    }

    async fn release(&self) {
        if let Err(error) = self.storage.release_speaker(&self.name).await {
            tracing::warn!(%error, "the right to speak to GitHub runs out by itself");
        }
    }

    /// Says everything that is due, one after the other.
    async fn speak(&self) -> Result<(), StorageError> {
        if self.storage.log_fault().is_some() {
            return Ok(());
        }
        let now = self.clock.now();
        let is_silent = self.storage.due_report(now).await?.is_none()
            && self.storage.due_rule(now).await?.is_none();
        if is_silent {
            return Ok(());
        }
        let speaker = self.storage.become_speaker(&self.name, now, LEASE).await?;
        let Some(speaker) = speaker else { return Ok(()) };
        let said = self.say(&speaker).await;
        let pause = said.as_ref().ok().copied().flatten();
        self.storage.stop_speaking(&speaker, pause).await?;
        said.map(|_| ())
    }

    /// The same with the right to: answers first, since runs wait for them. Gives the time before which GitHub
    /// asked for silence.
    async fn say(&self, speaker: &Speaker) -> Result<Option<Timestamp>, StorageError> {
        loop {
            let now = self.clock.now();
            let paused = if let Some(rule) = self.storage.due_rule(now).await? {
                self.answer_one(speaker, rule).await?
            } else if let Some(report) = self.storage.due_report(now).await? {
                self.show_one(speaker, report).await?
            } else {
                return Ok(None);
            };
            match paused {
                Spoken::GoOn => {}
                Spoken::Paused(until) => return Ok(Some(until)),
                Spoken::Lost => return Ok(None),
            }
        }
    }

    async fn answer_one(
        &self,
        speaker: &Speaker,
        mut rule: WaitingRule,
    ) -> Result<Spoken, StorageError> {
        let error = match self.answer(speaker, &mut rule).await {
            Ok(()) => return Ok(Spoken::GoOn),
            Err(error) => error,
        };
        tracing::warn!(run = rule.run, environment = rule.environment, %error, "a run could not be answered; it is tried again");
        let now = self.clock.now();
        match sort(error, now)? {
            Err(spoken) => Ok(spoken),
            Ok(why) => {
                let due = after(now, pause_after(rule.attempts));
                self.storage.postpone_rule(&rule, due, Some(&why)).await?;
                Ok(Spoken::GoOn)
            }
        }
    }

    async fn show_one(
        &self,
        speaker: &Speaker,
        mut report: Report,
    ) -> Result<Spoken, StorageError> {
        let error = match self.show(speaker, &mut report).await {
            Ok((version, problem)) => {
                self.storage.note_shown(&report, version, problem.as_deref()).await?;
                return Ok(Spoken::GoOn);
            }
            Err(error) => error,
        };
        tracing::warn!(approval = %report.approval, %error, "GitHub could not be shown an approval; it is tried again");
        let now = self.clock.now();
        match sort(error, now)? {
            Err(spoken) => Ok(spoken),
            Ok(why) => {
                let is_hopeless = report.attempts >= MOST_ATTEMPTS;
                let pause = if is_hopeless { HOPELESS } else { pause_after(report.attempts) };
                self.storage.postpone_report(&report, after(now, pause), &why).await?;
                Ok(Spoken::GoOn)
            }
        }
    }

    /// Keeps the right to speak before each call.
    async fn keep(&self, speaker: &Speaker) -> Result<(), Unsaid> {
        match self.storage.remain_speaker(speaker, self.clock.now(), LEASE).await? {
            true => Ok(()),
            false => Err(Unsaid::Lost),
        }
    }
}

fn after(now: Timestamp, pause: Duration) -> Timestamp {
    let pause = SignedDuration::try_from(pause).unwrap_or(SignedDuration::ZERO);
    now.saturating_add(pause).unwrap_or(Timestamp::MAX)
}

fn pause_after(attempts: u64) -> Duration {
    let doubled = 2_u32.saturating_pow(u32::try_from(attempts).unwrap_or(u32::MAX));
    FIRST_PAUSE.saturating_mul(doubled).min(LONGEST_PAUSE)
}
