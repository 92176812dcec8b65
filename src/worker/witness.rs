//! Offers the log's newest head to the witnesses, and keeps what they sign.
//!
//! A witness that is down holds nothing up: it is asked again later and less often. What a rollout needs of
//! them, if anything, [`crate::gate::authorise`] says. A witness that saw a longer log than ours, or another
//! one, raises an alarm and stops nothing: it is a stranger's word.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::domain::ledger::Frontier;
use crate::domain::log_key::checkpoint_text;
use crate::gate::evidence::current_log_name;
use crate::integrations::witness::{
    Answer, Offer, Standing, WitnessError, WitnessSettings, Witnesses,
};
use crate::storage::{Storage, StorageError};
use crate::worker::log::LogFollower;

/// How often it is looked whether the log has grown: a look at this process's memory.
const LOOK: Duration = Duration::from_millis(250);
/// A round is followed by this pause, so that a busy gate asks its witnesses every two seconds and not for
/// each entry.
const PAUSE: Duration = Duration::from_secs(2);
/// A witness that failed again and again is left out of at most this many rounds: two minutes.
const MOST_ROUNDS_OUT: u32 = 60;
/// How often a witness may name another size than the one that it was just offered a proof from.
const MOST_TRIES: u32 = 4;

/// Offers the heads of one gate's log. One per process.
pub struct Offering {
    storage: Storage,
    clock: Clock,
    log: Arc<LogFollower>,
    witnesses: Arc<Witnesses>,
    /// The gate's origin, from which the log has its name.
    origin: String,
}

/// What is remembered of one witness between rounds.
#[derive(Clone, Default)]
struct Memory {
    /// The size of the head that it signed last, as far as is known: it says so if that is wrong.
    old: u64,
    /// The size of the newest head that it signed for us.
    signed: u64,
    failures: u32,
    rounds_out: u32,
}

/// Why a witness did not sign.
#[derive(Debug, thiserror::Error)]
enum Unsigned {
    #[error(
        "it has signed a log of {seen} entries, and this one has {ours}: entries were lost, or another log has this name"
    )]
    Ahead { seen: u64, ours: u64 },
    #[error("it has signed another log of {0} entries under this name")]
    Forked(u64),
    #[error("it names another size each time")]
    Unsettled,
    #[error(transparent)]
    Witness(#[from] WitnessError),
    #[error("the log cannot be read: {0}")]
    Storage(#[from] StorageError),
}

impl Unsigned {
    /// Whether it is a sign that entries were taken back or changed.
    fn is_alarm(&self) -> bool {
        match self {
            Self::Ahead { .. } | Self::Forked(_) | Self::Witness(WitnessError::Inconsistent(_)) => {
                true
            }
            Self::Unsettled | Self::Witness(_) | Self::Storage(_) => false,
        }
    }
}

impl Offering {
    /// Offers the heads of the log of the gate at `origin` that `log` verifies.
    pub fn new(
        storage: Storage,
        clock: Clock,
        log: Arc<LogFollower>,
        witnesses: Arc<Witnesses>,
        origin: String,
    ) -> Self {
        Self { storage, clock, log, witnesses, origin }
    }

    /// Offers until `shutdown` turns true. What is cut off then is offered again after the next start.
    pub async fn run(self, mut shutdown: watch::Receiver<bool>) {
        if self.witnesses.settings().is_empty() {
            return;
        }
        let offering = async {
            let mut memories = vec![Memory::default(); self.witnesses.settings().len()];
            let mut name = current_log_name(&self.storage, &self.origin);
            loop {
                let current = current_log_name(&self.storage, &self.origin);
                if current != name {
                    // After a recovery it is another log, of which nobody has signed anything.
                    memories.fill(Memory::default());
                    name = current;
                }
                let pause = if self.round(&mut memories, &name).await { PAUSE } else { LOOK };
                tokio::time::sleep(pause).await;
            }
        };
        tokio::select! {
            () = offering => {}
            _ = shutdown.wait_for(|stop| *stop) => {}
        }
    }

    /// Offers the newest verified head to every witness that has not signed it: all the same one, so that
    /// they can be counted together. False: there was nothing to offer.
    async fn round(&self, memories: &mut [Memory], name: &str) -> bool {
        let Some(head) = self.head() else { return false };
        let settings = self.witnesses.settings().iter();
        let due: Vec<_> = (0..)
            .zip(settings.zip(memories))
            .filter(|(_, (_, memory))| memory.signed < head.size())
            .collect();
        let is_round = !due.is_empty();
        join_all(due.into_iter().map(|(place, (settings, memory))| {
            self.ask(place, settings, memory, (name, head.clone()))
        }))
        .await;
        is_round
    }

    /// Only what was verified is offered: a witness that signed a forged head would sign no true one again.
    fn head(&self) -> Option<Frontier> {
        let is_sound = self.storage.log_fault().is_none();
        self.storage.known_tree().filter(|tree| is_sound && tree.size() > 0)
    }

    async fn ask(
        &self,
        place: usize,
        settings: &WitnessSettings,
        memory: &mut Memory,
        head: (&str, Frontier),
    ) {
        if memory.rounds_out > 0 {
            memory.rounds_out -= 1;
            return;
        }
        let witness = settings.name();
        match self.offer(settings, memory, head).await {
            Ok(signed) => {
                memory.failures = 0;
                let mut before = Standing::default();
                let standing = Standing { signed: Some(signed), ..Standing::default() };
                self.witnesses.note(place, |kept| before = std::mem::replace(kept, standing));
                if before.fault.is_some() {
                    tracing::info!(witness, "the witness signs the log again");
                }
            }
            Err(unsigned) => {
                memory.rounds_out = (1 << memory.failures.min(10)).min(MOST_ROUNDS_OUT);
                memory.failures = memory.failures.saturating_add(1);
                let (fault, is_alarm) = (unsigned.to_string(), unsigned.is_alarm());
                if is_alarm {
                    tracing::error!(
                        witness,
                        fault,
                        "ALARM: a witness says that the log is not the one that it saw before"
                    );
                } else {
                    tracing::warn!(
                        witness,
                        fault,
                        "a witness did not sign the log; it is asked again"
                    );
                }
                self.witnesses.note(place, |standing| {
                    // What was found stays an alarm until the witness signs: that it is down does not end it.
                    if is_alarm || !standing.is_alarm {
                        standing.fault = Some(fault);
                        standing.is_alarm = is_alarm;
                    }
                });
            }
        }
    }

    /// Offers a head of the log of this name, and keeps the cosignature. Gives its size, and the time
    /// of the signature.
    async fn offer(
        &self,
        settings: &WitnessSettings,
        memory: &mut Memory,
        (name, mut head): (&str, Frontier),
    ) -> Result<(u64, jiff::Timestamp), Unsigned> {
        for _ in 0..MOST_TRIES {
            let proof = self.storage.consistency(memory.old, head.size()).await?;
            let offer = Offer {
                old: memory.old,
                proof: &proof,
                text: &checkpoint_text(name, head.size(), &head.root()),
                checkpoint: &self.storage.sign_checkpoint(name, &head),
            };
            match self.witnesses.offer(settings, &offer, self.clock.now()).await? {
                Answer::Cosigned(cosignature, at) => {
                    let size = head.size();
                    // The witness remembers this head. A crash before the row is written loses the signature
                    // and nothing else: the next offer says 0 and is told the size.
                    self.storage.keep_cosignature(size, &settings.key, &cosignature).await?;
                    (memory.old, memory.signed) = (size, size);
                    return Ok((size, at));
                }
                Answer::Conflict(seen) if seen == memory.old => {
                    return Err(Unsigned::Forked(seen));
                }
                Answer::Conflict(seen) => {
                    if seen > head.size() {
                        // Another gate on the same database may have offered what we have not read yet.
                        self.log.secure().await?;
                        head = self.head().unwrap_or(head);
                    }
                    if seen > head.size() {
                        return Err(Unsigned::Ahead { seen, ours: head.size() });
                    }
                    memory.old = seen;
                }
            }
        }
        Err(Unsigned::Unsettled)
    }
}
