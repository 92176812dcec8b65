//! Patience: the same call again while nobody knows its answer, and long polls until an approval ends.

use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::{Approval, Client, Failure};
use crate::domain::ids::ApprovalId;
use crate::randomness;

/// Tokens live for five minutes and proxies give up after one: a poll of 50 seconds is safe under both.
const POLL: Duration = Duration::from_secs(50);
/// A gate that is shutting down answers its waiters at once. Without a pause a fleet of jobs would turn
/// that into a storm.
const SHORTEST_ROUND: Duration = Duration::from_secs(1);
/// A gate that is away for longer when nothing has worked yet is not restarting but broken, or not there.
const FIRST_OUTAGE: Duration = Duration::from_secs(10 * 60);
/// How long an outage is waited out once the gate has answered: whoever sleeps through it loses the
/// request if this is short, and holds a runner if it is long.
const LATER_OUTAGE: Duration = Duration::from_secs(60 * 60);
/// The decision stands without our copy of its evidence, so patience is short.
const EVIDENCE_OUTAGE: Duration = Duration::from_secs(60);
/// A gate that has just started may not have the issuer's keys yet.
const TOLERATED_401: u64 = 3;

const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What is worth telling while a call is repeated.
#[derive(Debug)]
pub enum News<'a> {
    /// The approval is as it was never told before.
    Changed(&'a Approval),
    /// No answer came, and the same is asked again.
    AskingAgain(&'a Failure),
    /// An answer came after all.
    AnswersAgain,
}

/// How a wait ended.
#[derive(Debug)]
pub enum Waited {
    /// Nothing more happens by itself.
    Ended(Approval),
    /// The time that was given passed before; the request stays.
    StillOpen(Approval),
}

/// How long the same call is made again.
#[derive(Clone, Copy)]
struct Patience {
    /// When the whole wait ends.
    deadline: Option<Instant>,
    /// Whether the gate has answered before.
    has_worked: bool,
}

impl Client {
    /// Asks until the gate says yes or no, or until `deadline`.
    ///
    /// # Errors
    /// [`Failure`]: the refusal, or the last of the answers that did not come.
    pub async fn ask_patiently(
        &self,
        body: &Value,
        key: &str,
        deadline: Option<Instant>,
        tell: &impl Fn(News<'_>),
    ) -> Result<Approval, Failure> {
        let patience = Patience { deadline, has_worked: false };
        until_answered(patience, tell, async |_| self.ask(body, key).await).await
    }

    /// The evidence file, asked for as long as a short outage lasts.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn evidence_patiently(&self, id: &ApprovalId) -> Result<Vec<u8>, Failure> {
        let deadline = Some(Instant::now() + EVIDENCE_OUTAGE);
        let patience = Patience { deadline, has_worked: true };
        until_answered(patience, &|_| {}, async |_| self.evidence(id).await).await
    }

    /// Follows an approval until it ends, or until `deadline`.
    ///
    /// # Errors
    /// [`Failure`]; the request stays whatever went wrong here.
    pub async fn wait(
        &self,
        id: &ApprovalId,
        deadline: Option<Instant>,
        tell: &impl Fn(News<'_>),
    ) -> Result<Waited, Failure> {
        let mut patience = Patience { deadline, has_worked: false };
        let mut known: Option<Approval> = None;
        loop {
            let begun = Instant::now();
            let left = deadline.map(|deadline| deadline.saturating_duration_since(begun));
            if let (Some(known), Some(Duration::ZERO)) = (&known, left) {
                return Ok(Waited::StillOpen(known.clone()));
            }
            let version = known.as_ref().map_or(0, |approval| approval.version);
            let poll = POLL.min(left.unwrap_or(POLL)).max(SHORTEST_ROUND);
            let next = self.poll(id, version, poll, patience, tell).await?;
            patience.has_worked = true;
            if next.version != version {
                tell(News::Changed(&next));
            }
            if next.has_ended() {
                return Ok(Waited::Ended(next));
            }
            if next.version == version {
                sleep(SHORTEST_ROUND.saturating_sub(begun.elapsed())).await;
            }
            known = Some(next);
        }
    }

    async fn poll(
        &self,
        id: &ApprovalId,
        version: u64,
        poll: Duration,
        patience: Patience,
        tell: &impl Fn(News<'_>),
    ) -> Result<Approval, Failure> {
        let mut refused = 0;
        loop {
            // After an outage the state is to be known at once, and not after another long poll.
            let call = async |failures| {
                let poll = if failures == 0 { poll } else { Duration::ZERO };
                self.read(id, version, poll).await
            };
            match until_answered(patience, tell, call).await {
                Err(failure @ Failure::Refused { status: 401, .. }) => {
                    refused += 1;
                    if refused == TOLERATED_401 {
                        return Err(failure);
                    }
                    tell(News::AskingAgain(&failure));
                    sleep(SHORTEST_ROUND).await;
                }
                answer => return answer,
            }
        }
    }
}

/// Makes a call, which is told how often it failed before, until it is answered. Gives the last failure
/// when patience ends.
async fn until_answered<T>(
    patience: Patience,
    tell: &impl Fn(News<'_>),
    call: impl AsyncFn(u32) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let outage = if patience.has_worked { LATER_OUTAGE } else { FIRST_OUTAGE };
    let outage_ends = Instant::now() + outage;
    let ends = patience.deadline.map_or(outage_ends, |deadline| deadline.min(outage_ends));
    let mut failures = 0;
    loop {
        let failure = match call(failures).await {
            Ok(answer) => {
                if failures > 0 {
                    tell(News::AnswersAgain);
                }
                return Ok(answer);
            }
            Err(failure) => failure,
        };
        let asked_pause = match &failure {
            Failure::NoAnswer { retry_after, .. } => retry_after.unwrap_or_default(),
            Failure::Refused { .. } | Failure::NoToken { .. } => Duration::ZERO,
        };
        let pause = pause_after(failures).max(asked_pause);
        if !failure.is_passing(patience.has_worked) || Instant::now() + pause > ends {
            return Err(failure);
        }
        tell(News::AskingAgain(&failure));
        sleep(pause).await;
        failures += 1;
    }
}

/// Doubles from half a second to thirty; the random half keeps many waiting jobs apart after an outage.
fn pause_after(failures: u32) -> Duration {
    let ceiling = FIRST_PAUSE.saturating_mul(1 << failures.min(10)).min(LONGEST_PAUSE);
    let half = ceiling / 2;
    half + half.mul_f64(f64::from(u16::from_be_bytes(randomness::bytes())) / 65_536.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_half_a_minute_and_differ() {
        for failures in 0..100 {
            let pause = pause_after(failures);
            assert!(pause >= FIRST_PAUSE / 2 && pause <= LONGEST_PAUSE, "{failures}: {pause:?}");
        }
        assert!(pause_after(0) <= FIRST_PAUSE);
        assert!(pause_after(50) >= LONGEST_PAUSE / 2);
        assert_ne!(pause_after(50), pause_after(50));
    }
}
