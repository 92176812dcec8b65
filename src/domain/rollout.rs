//! The rollout: how far it is, and what the world must look like next.

mod calls;
mod next_action;
mod trouble;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::attestation::Attested;
use crate::domain::check::CheckResult;
use crate::domain::digest::Digest;
use crate::domain::intervention::Orders;
use crate::domain::job::{Execution, Updated};
use crate::domain::observation::TrafficShare;
use crate::domain::plan::{Plan, Step};
use crate::domain::time;

pub use calls::{RecordedCall, recorded_calls, recorded_checks};
pub use next_action::{Action, Change, World, next_action};
pub(in crate::domain) use next_action::{RECONCILE_PATIENCE, first_call};
use trouble::after_failure;
pub use trouble::{after_exhaustion, after_refusal};

/// How far an executing rollout is. Every change of it is an entry of the ledger.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Progress {
    /// The attestation of the image for Binary Authorization, where the policy asks for one: made before the
    /// first change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attested: Option<Box<Attested>>,
    /// The new revision was seen to exist and to be able to serve.
    pub revision_ready: bool,
    /// How many steps of the plan were seen to serve.
    pub steps_done: usize,
    /// The service's generation when the last effect of ours was seen. Between two calls nobody
    /// else may have changed anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
    /// When the last of these steps was first seen to serve, while it is watched before the next.
    #[serde(
        default,
        deserialize_with = "time::deserialize_some",
        skip_serializing_if = "Option::is_none"
    )]
    pub served_at: Option<Timestamp>,
    /// What the checks of these steps found, step after step.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<CheckResult>,
    /// The execution of a job, once it was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution: Option<Box<Execution>>,
    /// Why the signed shares from before are being restored, if they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restoring: Option<String>,
    /// The call that was announced and whose effect is not recorded yet. A crash after the
    /// announcement leaves it here: recovery observes before it does anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intent: Option<Intent>,
}

/// A step that serves and is watched before the rollout goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Watched<'a> {
    /// Its number, from 1.
    pub number: usize,
    /// The step.
    pub step: &'a Step,
    /// Until when it is watched.
    pub until: Timestamp,
    /// What its checks found; empty before they were asked.
    pub results: &'a [CheckResult],
}

impl Watched<'_> {
    /// Whether every check of it passed.
    pub fn is_checked(&self) -> bool {
        self.results.len() == self.step.checks.len() && self.results.iter().all(CheckResult::passed)
    }

    /// Whether its time is over and nobody has signed yet that the rollout goes on, where somebody has to.
    pub fn waits_for_people(&self, orders: &Orders, now: Timestamp) -> bool {
        let number = u64::try_from(self.number).ok();
        let is_over = now >= self.until && self.is_checked();
        self.step.pause && is_over && orders.go_on_after != number
    }
}

impl Progress {
    /// The step of `plan` that is watched, if one is.
    pub fn watched<'a>(&'a self, plan: &'a Plan) -> Option<Watched<'a>> {
        let number = self.steps_done;
        let step = plan.steps.get(number.checked_sub(1)?)?;
        let until = self.served_at?.saturating_add(step.bake()).unwrap_or(Timestamp::MAX);
        let moves_on = self.restoring.is_some() || self.intent.is_some();
        let results = self.results_of(number);
        (!moves_on).then_some(Watched { number, step, until, results })
    }

    /// What the checks of the step with this number found. The results stand in the order of the steps.
    pub fn results_of(&self, number: usize) -> &[CheckResult] {
        let is_of =
            |result: &CheckResult| usize::try_from(result.step).is_ok_and(|it| it == number);
        let begin = self.checks.iter().position(is_of).unwrap_or(self.checks.len());
        let end = self.checks.iter().rposition(is_of).map_or(begin, |last| last + 1);
        &self.checks[begin..end]
    }

    /// Forgets what the checks of the newest step found, where it was not that all passed: they are asked
    /// again.
    pub fn check_again(&mut self) {
        let number = self.steps_done;
        if !self.results_of(number).iter().all(CheckResult::passed) {
            self.checks.retain(|result| usize::try_from(result.step).is_ok_and(|it| it != number));
        }
    }
}

/// A call to Cloud Run that was announced in the ledger before it is made.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Intent {
    /// Which call.
    pub call: Call,
    /// The etag that was read in this attempt and makes the change conditional; none for a creation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// When it was announced.
    #[serde(deserialize_with = "time::deserialize")]
    pub at: Timestamp,
    /// What came back. Recorded in an entry of its own right after the call: where there is none, a
    /// crash came between, and whether the call was made is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<Answer>,
}

/// What came back from a call to Cloud Run, and when. It says what Cloud Run said; what took effect
/// is what is observed after it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Answer {
    /// Cloud Run took the change.
    Accepted {
        #[serde(deserialize_with = "time::deserialize")]
        at: Timestamp,
    },
    /// It refused for good: the change did not take effect.
    Refused {
        #[serde(deserialize_with = "time::deserialize")]
        at: Timestamp,
        reason: String,
    },
    /// It could not do it then: the change did not take effect, as far as Cloud Run said.
    NotNow {
        #[serde(deserialize_with = "time::deserialize")]
        at: Timestamp,
        reason: String,
    },
    /// No clear answer came: the change may or may not have taken effect.
    Unknown {
        #[serde(deserialize_with = "time::deserialize")]
        at: Timestamp,
        reason: String,
    },
}

impl Answer {
    /// When it came, or was given up.
    pub fn at(&self) -> Timestamp {
        match self {
            Self::Accepted { at }
            | Self::Refused { at, .. }
            | Self::NotNow { at, .. }
            | Self::Unknown { at, .. } => *at,
        }
    }

    /// What it says, as a clause.
    pub fn in_words(&self) -> String {
        match self {
            Self::Accepted { .. } => "Cloud Run accepted it".to_owned(),
            Self::Refused { reason, .. } => format!("Cloud Run refused it: {reason}"),
            Self::NotNow { reason, .. } => format!("Cloud Run did not do it then: {reason}"),
            Self::Unknown { reason, .. } => format!("its outcome is not known: {reason}"),
        }
    }
}

/// The calls that change the world.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Call {
    /// Creates a service that did not exist, with its first revision serving everything.
    CreateService {},
    /// Creates the new revision and leaves the traffic where it is.
    CreateRevision {},
    /// Moves the traffic to the shares of the step with this index.
    MoveTraffic {
        /// Index into the plan's steps, from 0.
        step: usize,
    },
    /// Restores the shares that the plan signed as the way back.
    Restore {},
    /// Gives a job what was signed and starts its execution.
    RunJob {},
    /// Gives a job what was signed, and starts nothing.
    UpdateJob {},
}

impl Call {
    /// Whether it brings an image into Cloud Run that was not there before.
    pub fn brings_an_image(self) -> bool {
        match self {
            Self::CreateService {}
            | Self::CreateRevision {}
            | Self::RunJob {}
            | Self::UpdateJob {} => true,
            Self::MoveTraffic { .. } | Self::Restore {} => false,
        }
    }

    /// What it does, as an order.
    pub fn in_words(self) -> String {
        match self {
            Self::CreateService {} => "create it with its first revision".to_owned(),
            Self::CreateRevision {} => "create the revision".to_owned(),
            Self::MoveTraffic { step } => format!("move the shares to step {}", step + 1),
            Self::Restore {} => "restore the shares from before".to_owned(),
            Self::RunJob {} => "update the job and start its execution".to_owned(),
            Self::UpdateJob {} => "update the job".to_owned(),
        }
    }
}

/// What a service was last seen to serve.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Serving {
    /// The revision that this approval created.
    pub revision: String,
    /// The public address of the service; empty for a worker pool, which has none.
    pub uri: String,
    /// The digest of the image that this revision really runs, as Cloud Run shows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_digest: Option<Digest>,
    /// What the checks of the steps found, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<CheckResult>,
    /// The shares that were seen to serve.
    pub traffic: Vec<TrafficShare>,
    /// The generation of the service that was seen.
    pub generation: i64,
    /// When it was seen.
    #[serde(deserialize_with = "time::deserialize")]
    pub observed_at: Timestamp,
}

/// How a rollout ends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The service serves exactly what was signed.
    Succeeded(Serving),
    /// It failed, and the shares from before serve again (or were never touched by traffic).
    RolledBack(String),
    /// It failed before anything was changed, or could not be restored.
    Failed(String),
    /// The world is not as anybody signed; a person has to look.
    NeedsAttention(String),
    /// The execution of a job succeeded.
    Ran(Execution),
    /// A job has exactly what was signed, and nothing was to run.
    Updated(Updated),
    /// The execution of a job failed, and why.
    RunFailed(String, Execution),
}

/// The exact shares when the new revision has `percent`: the others keep their proportions.
///
/// What does not divide evenly goes to the largest remainders, ties to the earlier revision, so
/// that the same input always gives the same bytes and the shares always sum to 100.
pub fn shares_at(percent: u8, new_revision: &str, before: &[TrafficShare]) -> Vec<TrafficShare> {
    let left = 100 - u32::from(percent.min(100));
    let total: u32 = before.iter().map(|share| u32::from(share.percent)).sum();
    let new = TrafficShare { revision: new_revision.to_owned(), percent: percent.min(100) };
    let mut shares: Vec<TrafficShare> = (percent > 0).then_some(new).into_iter().collect();
    if left > 0 && total > 0 {
        let exact: Vec<u32> = before.iter().map(|share| u32::from(share.percent) * left).collect();
        let mut whole: Vec<u32> = exact.iter().map(|numerator| numerator / total).collect();
        let mut order: Vec<usize> = (0..before.len()).collect();
        order.sort_by_key(|&index| (std::cmp::Reverse(exact[index] % total), index));
        let missing = left - whole.iter().sum::<u32>();
        for &index in order.iter().take(missing as usize) {
            whole[index] += 1;
        }
        shares.extend(before.iter().zip(whole).filter(|(_, percent)| *percent > 0).map(
            |(share, percent)| TrafficShare {
                revision: share.revision.clone(),
                percent: u8::try_from(percent).unwrap_or(100),
            },
        ));
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(revision: &str, percent: u8) -> TrafficShare {
        TrafficShare { revision: revision.into(), percent }
    }

    #[test]
    fn shares_always_sum_to_100() {
        let before = [share("a", 33), share("b", 33), share("c", 34)];
        for percent in 1..=100 {
            let shares = shares_at(percent, "new", &before);
            assert_eq!(shares.iter().map(|share| u32::from(share.percent)).sum::<u32>(), 100);
            assert_eq!(shares[0], share("new", percent));
        }
        assert_eq!(shares_at(10, "new", &[share("a", 100)]), [share("new", 10), share("a", 90)]);
        assert_eq!(shares_at(0, "new", &before), before);
        assert_eq!(shares_at(100, "new", &before), [share("new", 100)]);
    }
}
