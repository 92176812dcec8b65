//! Drift: what changed of a service and no approval explains.
//!
//! What a service should look like follows from the ledger alone: from its newest sighting, and from the
//! rollouts since. The gate finds and tells; it never changes anything back.

mod explanation;

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::approval::{State, Status};
use crate::domain::digest::Digest;
use crate::domain::ids::ApprovalId;
use crate::domain::observation::{ObservedService, TrafficShare};
use crate::domain::plan::Plan;
use crate::domain::service::{ServiceKind, ServiceName};

pub use explanation::{
    DRIFT_EXPLANATION_TYPE, DriftExplanation, FrozenExplanation, RecordedExplanation,
};

/// The kind of the record of a service as it was first seen, or as an approval left it.
pub const SERVICE_OBSERVED: &str = "service.observed";
/// The kind of the record of a change that no approval explains.
pub const DRIFT_FOUND: &str = "drift.found";
/// The kind of the record that a person signed an explanation of one.
pub const DRIFT_EXPLAINED: &str = "drift.explained";
/// How many different people must have signed one explanation: one alone could cover their own tracks.
pub const EXPLAINERS: usize = 2;
/// The longest explanation, in characters.
pub const LONGEST_EXPLANATION: usize = 1_000;

/// What counts of a service's state. Every change of what is asked of a service counts its generation up, a
/// new template makes a new revision, and a service that was made anew has another uid.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceState {
    /// Cloud Run's own identifier.
    pub uid: String,
    /// Counts the changes.
    pub generation: i64,
    /// The shares that serve.
    pub serving: Vec<TrafficShare>,
    /// The newest revision that was ever asked for.
    pub latest_revision: String,
}

impl From<&ObservedService> for ServiceState {
    fn from(observed: &ObservedService) -> Self {
        Self {
            uid: observed.uid.clone(),
            generation: observed.generation,
            serving: observed.serving.clone(),
            latest_revision: observed.latest_created_revision.clone(),
        }
    }
}

/// What the ledger says of a service at one moment.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sighting {
    /// The service.
    pub service: ServiceName,
    /// The environment that covers it.
    pub environment: String,
    /// Its state; none if it does not exist.
    pub state: Option<ServiceState>,
    /// The approval that left it so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explained_by: Option<ApprovalId>,
    /// What no approval explains, a sentence each. Of a change alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unexplained: Vec<String>,
    /// Who changed it last, as Cloud Run or its audit log says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed_by: Option<String>,
}

/// A rollout of a service since its newest sighting.
#[derive(Clone, PartialEq, Debug)]
pub struct RolloutSeen {
    /// Its approval.
    pub approval: ApprovalId,
    /// What was signed.
    pub plan: Plan,
    /// Where it stands, by its newest entry.
    pub state: State,
}

/// What a look at a service comes to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Judgement {
    /// It is as it was.
    Unchanged,
    /// A rollout is under way, and it is within what was signed.
    UnderWay,
    /// A rollout left it so.
    Explained(ApprovalId),
    /// Something changed that no approval explains: a sentence each.
    Drift(Vec<String>),
}

impl RolloutSeen {
    fn is_under_way(&self) -> bool {
        matches!(self.state, State::Executing { .. })
    }

    /// The shares that it may have left behind, or may show on its way.
    fn shares(&self) -> Vec<&[TrafficShare]> {
        let last = self.plan.steps.last().map(|step| step.traffic.as_slice());
        match self.state.status() {
            Status::Succeeded => last.into_iter().collect(),
            Status::RolledBack => vec![&self.plan.rollback],
            _ => {
                let steps = self.plan.steps.iter().map(|step| step.traffic.as_slice());
                steps.chain([self.plan.rollback.as_slice()]).collect()
            }
        }
    }
}

/// Compares a service, or a worker pool, with what its newest sighting and the rollouts since explain. `rollouts`
/// are in the order of their newest entries.
pub fn judge(
    kind: ServiceKind,
    before: Option<&ServiceState>,
    now: Option<&ServiceState>,
    rollouts: &[RolloutSeen],
) -> Judgement {
    if before == now {
        return Judgement::Unchanged;
    }
    let facts = unexplained(kind, before, now, rollouts);
    if !facts.is_empty() {
        return Judgement::Drift(facts);
    }
    match rollouts.last() {
        _ if rollouts.iter().any(RolloutSeen::is_under_way) => Judgement::UnderWay,
        Some(last) => Judgement::Explained(last.approval.clone()),
        None => Judgement::Unchanged,
    }
}

fn unexplained(
    kind: ServiceKind,
    before: Option<&ServiceState>,
    now: Option<&ServiceState>,
    rollouts: &[RolloutSeen],
) -> Vec<String> {
    let of_whole = |what: &str| format!("The {} was {what}.", kind.noun());
    let Some(now) = now else { return vec![of_whole("deleted")] };
    let mut facts = Vec::new();
    let creates = rollouts.iter().any(|rollout| rollout.plan.rollback.is_empty());
    match before {
        None if !creates => facts.push(of_whole("created")),
        Some(before) if before.uid != now.uid => {
            facts.push(of_whole("deleted and made anew"));
        }
        None | Some(_) => {}
    }
    let made: BTreeSet<&str> =
        rollouts.iter().map(|rollout| rollout.plan.revision.as_str()).collect();
    let is_known = before.is_some_and(|before| before.latest_revision == now.latest_revision);
    if !is_known && !made.contains(now.latest_revision.as_str()) {
        facts.push(format!("The revision {} was created.", now.latest_revision));
    }
    if !allowed(before, rollouts).contains(&in_order(&now.serving)) {
        let was = before.map_or_else(|| "nothing".to_owned(), |before| in_words(&before.serving));
        let (shared_was, is) = (kind.shared_was(), in_words(&now.serving));
        let verb = kind.shared_is().rsplit(' ').next().unwrap_or_default();
        facts.push(format!("The {shared_was} {was} and {verb} {is}."));
    }
    let same = |before: &&ServiceState| before.generation != now.generation;
    if facts.is_empty()
        && rollouts.is_empty()
        && let Some(before) = before.filter(same)
    {
        let (from, to) = (before.generation, now.generation);
        facts.push(format!(
            "Something was changed and changed back, or neither revision nor {}: the generation was {from} and is {to}.",
            kind.shared()
        ));
    }
    facts
}

/// The shares that may serve now, each in the order of [`in_order`].
fn allowed(before: Option<&ServiceState>, rollouts: &[RolloutSeen]) -> BTreeSet<Vec<TrafficShare>> {
    let was = before.map(|before| in_order(&before.serving));
    // What ended well left one state; whatever ended otherwise, or goes on, may have left what was before.
    let settled = rollouts.iter().rposition(|rollout| {
        matches!(rollout.state.status(), Status::Succeeded | Status::RolledBack)
    });
    let left = rollouts[settled.unwrap_or(0)..].iter().flat_map(RolloutSeen::shares).map(in_order);
    left.chain(was.filter(|_| settled.is_none())).collect()
}

/// The same shares in one order: a plan names the new revision first, and Cloud Run has an order of its own.
fn in_order(shares: &[TrafficShare]) -> Vec<TrafficShare> {
    let mut shares = shares.to_vec();
    shares.sort();
    shares
}

fn in_words(shares: &[TrafficShare]) -> String {
    let shares = shares.iter().map(|share| format!("{} % to {}", share.percent, share.revision));
    let shares: Vec<String> = shares.collect();
    if shares.is_empty() { "nothing".to_owned() } else { shares.join(", ") }
}

/// A change that no approval explains, and who explained it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// The index of its entry.
    pub entry: u64,
    /// When it was found.
    pub at: Timestamp,
    /// The hash of its entry.
    pub entry_hash: Digest,
    /// What was found.
    pub found: Sighting,
    /// Who signed which explanation, in order.
    pub explanations: Vec<RecordedExplanation>,
}

impl Finding {
    /// The explanation that enough different people signed.
    pub fn settled(&self) -> Option<&str> {
        self.explanations.iter().map(|one| one.explanation.as_str()).find(|text| {
            let same = self.explanations.iter().filter(|one| one.explanation == *text);
            same.map(|one| &one.by).collect::<BTreeSet<_>>().len() >= EXPLAINERS
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::person::Person;
    use crate::domain::plan::{OnFailure, StepPlan};

    fn shares(all: &[(&str, u8)]) -> Vec<TrafficShare> {
        let share = |(revision, percent): &(&str, u8)| TrafficShare {
            revision: (*revision).to_owned(),
            percent: *percent,
        };
        let mut shares: Vec<TrafficShare> = all.iter().map(share).collect();
        shares.sort();
        shares
    }

    fn state(generation: i64, latest: &str, serving: &[(&str, u8)]) -> ServiceState {
        ServiceState {
            uid: "u".to_owned(),
            generation,
            serving: shares(serving),
            latest_revision: latest.to_owned(),
        }
    }

    fn rollout(state: State, new: &str, old: &str) -> RolloutSeen {
        let step =
            |percent, all: &[(&str, u8)]| StepPlan::of_percent(percent).with_traffic(shares(all));
        RolloutSeen {
            approval: "apr_aaaaaaaaaaaaaaaaaaaaaaaaaa".parse().unwrap(),
            plan: Plan {
                revision: new.to_owned(),
                steps: vec![step(10, &[(new, 10), (old, 90)]), step(100, &[(new, 100)])],
                rollback: shares(&[(old, 100)]),
                on_failure: OnFailure::Restore,
                rollback_window_seconds: 0,
            },
            state,
        }
    }

    fn failed() -> State {
        State::Failed { at: Timestamp::UNIX_EPOCH, reason: String::new(), execution: None }
    }

    fn rolled_back() -> State {
        State::RolledBack { at: Timestamp::UNIX_EPOCH, reason: String::new() }
    }

    fn executing() -> State {
        State::Executing {
            since: Timestamp::UNIX_EPOCH,
            progress: Default::default(),
            orders: Default::default(),
        }
    }

    fn found(now: &ServiceState, rollouts: &[RolloutSeen]) -> Vec<String> {
        let before = state(3, "a", &[("a", 100)]);
        match judge(ServiceKind::Service, Some(&before), Some(now), rollouts) {
            Judgement::Drift(facts) => facts,
            _ => Vec::new(),
        }
    }

    #[test]
    fn what_nobody_signed_is_found() {
        let cases = [
            (state(4, "a", &[("a", 100)]), "changed back"),
            (state(4, "x", &[("a", 100)]), "The revision x was created."),
            (state(4, "a", &[("a", 60), ("o", 40)]), "is 60 % to a, 40 % to o."),
            (state(4, "x", &[("x", 100)]), "The revision x was created."),
        ];
        for (now, says) in cases {
            let facts = found(&now, &[]);
            assert!(facts.iter().any(|fact| fact.contains(says)), "{facts:?}");
        }
        let before = state(3, "a", &[("a", 100)]);
        let kind = ServiceKind::WorkerPool;
        let gone = judge(kind, Some(&before), None, &[]);
        assert_eq!(gone, Judgement::Drift(vec!["The worker pool was deleted.".to_owned()]));
        let made = judge(ServiceKind::Service, None, Some(&before), &[]);
        assert!(matches!(made, Judgement::Drift(facts) if facts[0] == "The service was created."));
        let anew = ServiceState { uid: "v".to_owned(), ..before.clone() };
        assert_eq!(found(&anew, &[]), ["The service was deleted and made anew."]);
        assert_eq!(judge(kind, Some(&before), Some(&before), &[]), Judgement::Unchanged);
    }

    #[test]
    fn what_was_signed_is_not_found_and_nothing_else_is_excused_by_it() {
        let under_way = [rollout(executing(), "b", "a")];
        for now in [
            state(4, "b", &[("a", 100)]),
            state(5, "b", &[("a", 90), ("b", 10)]),
            state(6, "b", &[("b", 100)]),
        ] {
            assert_eq!(found(&now, &under_way), Vec::<String>::new(), "{now:?}");
        }
        assert!(!found(&state(5, "b", &[("a", 80), ("b", 20)]), &under_way).is_empty());
        assert!(!found(&state(5, "c", &[("a", 90), ("b", 10)]), &under_way).is_empty());
        // After it ended, what it passed through on its way is not what was signed to stay.
        let ended = [rollout(rolled_back(), "b", "a")];
        assert!(found(&state(7, "b", &[("a", 100)]), &ended).is_empty());
        assert!(!found(&state(7, "b", &[("b", 100)]), &ended).is_empty());
        let two = [rollout(rolled_back(), "b", "a"), rollout(executing(), "c", "b")];
        assert!(!found(&state(9, "c", &[("z", 100)]), &two).is_empty());
        let left_open = [rollout(failed(), "b", "a")];
        for serving in [&[("a", 100)][..], &[("a", 90), ("b", 10)], &[("b", 100)]] {
            assert!(found(&state(7, "b", serving), &left_open).is_empty(), "{serving:?}");
        }
    }

    #[test]
    fn two_people_settle_it_and_one_does_not() {
        let by = |subject: &str, text: &str| RecordedExplanation {
            entry: 7,
            environment: "production".to_owned(),
            service: "projects/p/locations/r/services/s".parse().unwrap(),
            explanation: text.to_owned(),
            by: Person { issuer: "i".to_owned(), subject: subject.to_owned() },
            by_name: String::new(),
            signed_with: String::new(),
            statement: String::new(),
            authenticator_data: String::new(),
            client_data_json: String::new(),
            signature: String::new(),
            sign_in_key: String::new(),
        };
        let settled = |explanations: &[RecordedExplanation]| {
            let found = Sighting {
                service: "projects/p/locations/r/services/s".parse().unwrap(),
                environment: "production".to_owned(),
                state: None,
                explained_by: None,
                unexplained: Vec::new(),
                changed_by: None,
            };
            let finding = Finding {
                entry: 7,
                at: Timestamp::UNIX_EPOCH,
                entry_hash: Digest::of(""),
                found,
                explanations: explanations.to_vec(),
            };
            finding.settled().map(str::to_owned)
        };
        assert_eq!(settled(&[]), None);
        assert_eq!(settled(&[by("alice", "x"), by("alice", "x")]), None);
        assert_eq!(settled(&[by("alice", "x"), by("bob", "y")]), None);
        let three = [by("alice", "x"), by("bob", "y"), by("bob", "x")];
        assert_eq!(settled(&three), Some("x".to_owned()));
    }
}
