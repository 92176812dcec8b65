//! The worker: acts on what was committed. Rollouts, expiry, and rows that time has made useless.
//!
//! A job stands in the database exactly while there is something to do, so nothing is handed over
//! in memory and any instance can go on where another stopped.

mod checks;
pub mod drift;
pub mod github;
pub mod log;
pub mod notices;
mod rollout;
mod sweep;
pub mod witness;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::clock::Clock;
use crate::integrations::binary_authorization::BinaryAuthorization;
use crate::integrations::cloud_run::CloudRun;
use crate::integrations::metrics::Metrics;
use crate::integrations::probe::Probe;
use crate::proof::evidence::Trust;
use crate::randomness;
use crate::storage::{Storage, StorageError};
use log::LogFollower;

/// How many rollouts one instance moves at the same time. Each mostly waits for Cloud Run.
const AT_ONCE: usize = 4;
/// How often the database is asked for work at least: a lost wake-up costs no more.
const LONGEST_SILENCE: Duration = Duration::from_secs(1);
/// How long a failing database is left alone.
const PAUSE_AFTER_ERROR: Duration = Duration::from_secs(1);
/// How long a step that is under way may go on after a shutdown was asked for. What is cut off
/// then is found by its announcement: the next start observes first.
const LAST_STEP: Duration = Duration::from_secs(5);

/// Carries out what was approved.
#[derive(Clone)]
pub struct Worker {
    storage: Storage,
    outside: Arc<Outside>,
    clock: Clock,
    trust: Trust,
    log: Arc<LogFollower>,
    /// Names this worker in leases.
    name: String,
}

/// What the worker changes, and what it asks on the way.
pub struct Outside {
    /// Where rollouts go.
    pub cloud_run: CloudRun,
    /// Asks new revisions.
    pub probe: Probe,
    /// Reads metrics.
    pub metrics: Metrics,
    /// Attests images.
    pub attestors: BinaryAuthorization,
}

/// What one step of the worker came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// There was nothing to do.
    Idle,
    /// Something was done; there may be more.
    Worked,
    /// There is something to do after this time.
    Later(Duration),
}

impl Worker {
    /// A worker on this storage. `trust` is what it believes without asking the database, and `log`
    /// says before each call whether the database is still the one that was seen.
    pub fn new(
        storage: Storage,
        outside: Outside,
        clock: Clock,
        trust: Trust,
        log: Arc<LogFollower>,
    ) -> Self {
        let outside = Arc::new(outside);
        Self { storage, outside, clock, trust, log, name: randomness::token::<12>() }
    }

    /// Works until `shutdown` turns true.
    pub async fn run(self, shutdown: watch::Receiver<bool>) {
        if let Err(error) = self.storage.release_jobs_of_the_dead().await {
            tracing::error!(%error, "leases of an earlier process stay until they run out");
        }
        let mut loops = JoinSet::new();
        for _ in 0..AT_ONCE {
            loops.spawn(self.clone().work(shutdown.clone()));
        }
        loops.spawn(self.clone().sweep(shutdown.clone()));
        while let Some(ended) = loops.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a loop of the worker ended badly; its jobs go on when their leases run out");
            }
        }
        // What was cut off goes on elsewhere at once, and not when its lease runs out.
        if let Err(error) = self.storage.release_jobs_of(&self.name).await {
            tracing::warn!(%error, "leases that were not given back run out by themselves");
        }
    }

    async fn work(self, mut shutdown: watch::Receiver<bool>) {
        let mut wakeups = self.storage.wakeups();
        while !*shutdown.borrow() {
            // Marked as seen before looking, so that a commit during the look wakes us again.
            wakeups.borrow_and_update();
            let step = tokio::select! {
                step = self.step_once() => step,
                () = stopped_for_a_while(&mut shutdown) => return,
            };
            let pause = match step {
                Ok(Step::Worked) => continue,
                Ok(Step::Idle) => LONGEST_SILENCE,
                Ok(Step::Later(after)) => after.min(LONGEST_SILENCE),
                Err(error) => {
                    tracing::error!(%error, "the worker cannot read or write its jobs; nothing is rolled out until it can");
                    PAUSE_AFTER_ERROR
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = wakeups.changed() => {}
                _ = shutdown.changed() => {}
            }
        }
    }

    /// Takes one job that is due and moves it as far as it goes now.
    ///
    /// # Errors
    /// If the list of jobs cannot be read or written.
    pub async fn step_once(&self) -> Result<Step, StorageError> {
        if self.storage.log_fault().is_some() {
            return Ok(Step::Later(LONGEST_SILENCE));
        }
        let now = self.clock.now();
        let Some(job) = self.storage.claim_job(&self.name, now, rollout::LEASE).await? else {
            return Ok(Step::Idle);
        };
        Ok(rollout::carry_out(self, job).await)
    }
}

/// Ends some time after `shutdown` turned true.
async fn stopped_for_a_while(shutdown: &mut watch::Receiver<bool>) {
    // An error means that nobody can ask for a shutdown any more, which is one.
    let _ = shutdown.wait_for(|stop| *stop).await;
    tokio::time::sleep(LAST_STEP).await;
}
