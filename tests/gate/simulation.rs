//! Ten thousand rollouts of the pure core, each from one seed: a Cloud Run in which calls are refused,
//! lost or late, changes fail or hang, checks find anything, strangers edit, clocks jump, the worker dies at any
//! moment, and approvers intervene. What must never happen is looked for after every step.
//!
//! `COUNTERSIGN_SEED=N` plays one seed again and tells its story.

mod chance;
mod checks;
mod people;

use chance::Chance;
use countersign::domain::approval::{Approval, State, Status, Transition};
use countersign::domain::check::CheckResult;
use countersign::domain::deployment::Deployment;
use countersign::domain::intervention::Act;
use countersign::domain::observation::{
    ObservedRevision, ObservedService, Readiness, TrafficShare, TrafficTag,
};
use countersign::domain::plan::OnFailure;
use countersign::domain::rollout::{
    Action, Answer, Call, Change, Intent, Progress, World, after_refusal, next_action,
};
use countersign::domain::subject::FrozenSubject;
use countersign::domain::template::APPROVAL_ANNOTATION;
use jiff::{SignedDuration, Timestamp};

use crate::sample_approval::{REVISION, deployment, now, policy, running, share};

const SEEDS: u64 = 10_000;
/// More turns than any rollout here takes, retries and pauses among them.
const MOST_TURNS: usize = 2_000;
const BEFORE: &str = "checkout-00041-zed";

/// A call under way that may still arrive.
struct Late {
    call: Call,
    etag: String,
}

struct Simulation {
    chance: Chance,
    approval: Approval,
    /// What Cloud Run is.
    service: ObservedService,
    revision: Option<ObservedRevision>,
    late: Vec<Late>,
    now: Timestamp,
    /// Whether a stranger moved the traffic.
    stolen: bool,
    /// The calls of ours that took effect, with the etag of each.
    effects: Vec<(Call, String)>,
    story: Vec<String>,
}

impl Simulation {
    fn new(seed: u64) -> Self {
        let mut chance = Chance(seed);
        let mut deployment = deployment();
        let plan = &mut deployment.plan;
        for step in &mut plan.steps {
            step.bake_seconds = [0, 0, 60, 600][chance.below(4) as usize];
            let is_last = step.percent == 100;
            step.pause = !is_last && chance.once_in(4);
            step.tag = (!is_last && chance.once_in(4)).then(|| "try".to_owned());
            step.checks = checks::of_step(&mut chance);
        }
        if chance.once_in(5) {
            plan.on_failure = OnFailure::Hold;
        }
        plan.rollback_window_seconds = [0, 300][chance.below(2) as usize];
        let before = vec![share(BEFORE, 100)];
        let service = ObservedService {
            uid: "c0ffee".into(),
            generation: 41,
            etag: "e0".into(),
            readiness: Readiness::Ready,
            serving: before.clone(),
            wanted: before,
            template: running(),
            latest_created_revision: BEFORE.into(),
            annotations: Default::default(),
            tags: vec![],
            tag_addresses: Default::default(),
            uri: "https://checkout.a.run.app".into(),
            last_modifier: "mallory@example.com".into(),
        };
        let approval = Approval {
            subject: FrozenSubject::freeze(deployment).unwrap(),
            policy: policy(),
            version: 1,
            decisions: vec![],
            state: State::Approved { at: now() },
        };
        let approval = approval.begin(now()).unwrap().approval;
        Self {
            chance,
            approval,
            service,
            revision: None,
            late: vec![],
            now: now(),
            stolen: false,
            effects: vec![],
            story: vec![],
        }
    }

    fn deployment(&self) -> &Deployment {
        self.approval.subject.deployment().unwrap()
    }

    fn tell(&mut self, what: impl Into<String>) {
        let what = what.into();
        self.story.push(format!("{} {what}", self.now));
    }

    fn apply(&mut self, transition: Transition) {
        let before = self.approval.version;
        self.approval = transition.approval;
        assert_eq!(self.approval.version, before + 1);
    }

    fn change_etag(&mut self) {
        self.service.etag = format!("e{}", self.chance.next());
    }

    /// Cloud Run takes a call, if the etag is the one of now.
    fn arrive(&mut self, call: Call, etag: &str) -> bool {
        if self.service.etag != etag {
            return false;
        }
        self.check_arrival(call);
        self.tell(format!("{call:?} takes effect"));
        self.effects.push((call, etag.to_owned()));
        self.change_etag();
        self.service.generation += 1;
        self.service.readiness = Readiness::Reconciling;
        self.service.last_modifier = "the gate".into();
        let plan = self.deployment().plan.clone();
        let mark = (APPROVAL_ANNOTATION.to_owned(), self.approval.id().to_string());
        self.service.annotations.extend([mark.clone()]);
        let tags = |step: Option<&str>| {
            let tag = |tag: &str| TrafficTag { tag: tag.into(), revision: REVISION.into() };
            step.map(tag).into_iter().collect::<Vec<_>>()
        };
        match call {
            Call::CreateRevision {} => {
                self.service.template = self.deployment().proposed.clone();
                self.service.latest_created_revision = REVISION.into();
                self.revision = Some(ObservedRevision {
                    name: REVISION.into(),
                    image: self.deployment().image.to_string(),
                    readiness: Readiness::Reconciling,
                    annotations: [mark].into(),
                });
            }
            Call::MoveTraffic { step } => {
                let step = &plan.steps[step];
                self.service.wanted = step.traffic.clone();
                self.service.tags = tags(step.tag.as_deref());
            }
            Call::Restore {} => {
                self.service.wanted = plan.rollback.clone();
                self.service.tags = vec![];
            }
            Call::CreateService {} => panic!("the service exists"),
            Call::RunJob {} | Call::UpdateJob {} => panic!("this is no job"),
        }
        true
    }

    /// What must hold when a call of ours takes effect.
    fn check_arrival(&self, call: Call) {
        let status = self.approval.status();
        assert!(
            matches!(status, Status::Executing | Status::NeedsAttention),
            "{call:?} takes effect after the end ({status:?})"
        );
        if let Call::MoveTraffic { step } = call {
            let revision = self.revision.as_ref().expect("the revision is there");
            let progress = self.progress();
            assert!(progress.revision_ready, "traffic moves before the revision was seen ready");
            assert!(progress.steps_done >= step, "step {step} comes before its turn");
            assert_eq!(revision.image, self.deployment().image.to_string());
            self.check_passed(step, &progress.checks);
            if step > 0 && self.deployment().plan.steps[step - 1].pause {
                let signed = self.story.iter().any(|line| line.ends_with("signs GoOn"));
                assert!(signed, "a pause ended without a signature");
            }
        }
    }

    fn progress(&self) -> Progress {
        match &self.approval.state {
            State::Executing { progress, .. } | State::NeedsAttention { progress, .. } => {
                progress.clone()
            }
            _ => Progress::default(),
        }
    }

    /// Cloud Run puts into effect what was asked for, or fails at it.
    fn reconcile(&mut self) {
        let fails = self.chance.once_in(12);
        if let Some(revision) = &mut self.revision
            && revision.readiness == Readiness::Reconciling
        {
            revision.readiness =
                if fails { Readiness::Failed("no port".into()) } else { Readiness::Ready };
        }
        if self.service.readiness == Readiness::Reconciling {
            let is_back = self.service.wanted == self.deployment().plan.rollback;
            let revision = self.revision.as_ref().map(|revision| &revision.readiness);
            let is_ill = matches!(revision, Some(Readiness::Failed(_)));
            let failed = is_ill || (fails && !is_back);
            if !failed || is_back {
                self.service.serving = self.service.wanted.clone();
            }
            let why = || Readiness::Failed("it did not come up".into());
            self.service.readiness = if failed { why() } else { Readiness::Ready };
            self.change_etag();
        }
    }

    fn world(&self, checks: Option<Vec<CheckResult>>) -> World {
        let (service, revision) = (Some(self.service.clone()), self.revision.clone());
        World { service, revision, checks, now: self.now }
    }

    /// One turn of the worker; it may die anywhere in it.
    fn worker(&mut self) {
        let State::Executing { progress, orders, .. } = self.approval.state.clone() else { return };
        if self.chance.once_in(15) {
            return self.tell("Cloud Run cannot be read");
        }
        let world = self.world(None);
        let deployment = self.deployment().clone();
        let mut action = next_action(&deployment, &progress, &orders, &world);
        if let Action::Check { step } = action {
            let Some(found) = self.asked(step) else { return };
            let world = self.world(Some(found));
            action = next_action(&deployment, &progress, &orders, &world);
            assert!(!matches!(action, Action::Check { .. }), "the same is asked again and again");
        }
        match action {
            Action::Wait | Action::WaitForPeople | Action::Check { .. } => {}
            Action::WaitUntil(until) => assert!(until > self.now),
            Action::Write(change) => self.write(change),
            Action::Make(call) => self.call(call, &progress),
        }
    }

    fn write(&mut self, change: Change) {
        let approval = self.approval.clone();
        let transition = match change {
            Change::Record(progress) => {
                assert_ne!(progress, self.progress(), "the same is recorded again and again");
                approval.advance(progress).unwrap()
            }
            Change::End(outcome) => {
                self.tell(format!("ends: {outcome:?}"));
                approval.finish(outcome, self.now).unwrap()
            }
        };
        self.apply(transition);
        self.check_end();
    }

    fn call(&mut self, call: Call, progress: &Progress) {
        let etag = self.service.etag.clone();
        let intent = Intent { call, etag: Some(etag.clone()), at: self.now, answer: None };
        let announced = Progress { intent: Some(intent.clone()), ..progress.clone() };
        let transition = self.approval.clone().advance(announced).unwrap();
        self.apply(transition);
        self.tell(format!("calls {call:?}"));
        // Somebody may be quicker.
        if self.chance.once_in(40) {
            self.stranger();
        }
        if self.chance.once_in(10) {
            self.person();
        }
        let at = self.now;
        let why = || "Said Google".to_owned();
        let outcome = self.chance.below(10);
        let answer = match outcome {
            0 => Answer::Refused { at, reason: why() },
            1 => Answer::NotNow { at, reason: why() },
            2 => {
                self.late.push(Late { call, etag });
                Answer::Unknown { at, reason: why() }
            }
            3 => {
                self.arrive(call, &etag);
                Answer::Unknown { at, reason: why() }
            }
            // The worker dies before the call, with it under way, or after it.
            4 => return,
            5 => return self.late.push(Late { call, etag }),
            6 => {
                self.arrive(call, &etag);
                return;
            }
            _ if self.arrive(call, &etag) => Answer::Accepted { at },
            _ => Answer::NotNow { at, reason: "another etag".into() },
        };
        let is_refused = matches!(answer, Answer::Refused { .. });
        let intent = Intent { answer: Some(answer), ..intent };
        let answered = Progress { intent: Some(intent), ..progress.clone() };
        // Without its lease, or after somebody ended it, the worker writes nothing.
        let Ok(transition) = self.approval.clone().advance(answered) else { return };
        self.apply(transition);
        if is_refused {
            let on_failure = self.deployment().plan.on_failure;
            self.write(after_refusal(on_failure, progress, call, "Said Google"));
        }
    }

    /// What must hold when it is over.
    fn check_end(&self) {
        let plan = &self.deployment().plan;
        match &self.approval.state {
            State::Succeeded { serving: Some(serving), .. } => {
                assert_eq!(serving.traffic, self.service.serving);
                assert_eq!(serving.image_digest, Some(*self.deployment().image.digest()));
                self.check_passed(plan.steps.len(), &serving.checks);
                assert_eq!(serving.traffic, plan.steps.last().unwrap().traffic);
                assert!(self.service.tags.is_empty(), "a tag outlives its rollout");
            }
            State::RolledBack { .. } => {
                assert_eq!(self.service.serving, plan.rollback);
                assert!(self.service.tags.is_empty(), "a tag outlives its rollout");
            }
            _ => {}
        }
    }

    /// What must hold at every moment.
    fn check(&self) {
        if self.stolen {
            return;
        }
        let plan = &self.deployment().plan;
        let signed = |shares: &Vec<TrafficShare>| {
            *shares == plan.rollback || plan.steps.iter().any(|step| step.traffic == *shares)
        };
        assert!(signed(&self.service.serving), "nobody signed {:?}", self.service.serving);
        let mut etags: Vec<&String> = self.effects.iter().map(|(_, etag)| etag).collect();
        etags.sort();
        etags.dedup();
        assert_eq!(etags.len(), self.effects.len(), "two calls took effect on one etag");
        let made = self.effects.iter().filter(|(call, _)| *call == Call::CreateRevision {});
        assert!(made.count() <= 1, "the revision was made twice");
    }

    fn turn(&mut self) {
        match self.chance.below(20) {
            0..=9 => self.worker(),
            10..=13 => self.reconcile(),
            14 if !self.late.is_empty() => {
                let place = self.chance.below(self.late.len() as u64) as usize;
                let Late { call, etag } = self.late.swap_remove(place);
                if !self.arrive(call, &etag) {
                    self.tell(format!("{call:?} arrives late and is refused"));
                }
            }
            15 if self.chance.once_in(30) => self.stranger(),
            16 if self.chance.once_in(6) => self.person(),
            17 if self.chance.once_in(10) => {
                // A clock that is set, by at most an hour and seldom back.
                let minutes = self.chance.below(60) as i64 - 10;
                self.now += SignedDuration::from_mins(minutes);
            }
            _ => self.now += SignedDuration::from_secs(20),
        }
        self.check();
    }

    fn is_at_rest(&self) -> bool {
        match self.approval.status() {
            // Nothing is under way any more, and nobody does anything.
            Status::Executing | Status::Approved => false,
            _ => self.late.is_empty(),
        }
    }

    fn play(&mut self) {
        for _ in 0..MOST_TURNS {
            if self.is_at_rest() {
                return;
            }
            self.turn();
        }
        // A rollout that waits for a person goes on for one who comes.
        for _ in 0..MOST_TURNS {
            if self.is_at_rest() {
                return;
            }
            if self.approval.possible_acts(self.now).contains(&Act::GoOn) {
                self.person();
            }
            self.turn();
        }
        panic!("it comes to no end: {:?}", self.approval.state);
    }
}

/// Plays one seed and gives the status in the end. A failure tells the story, with the seed that plays it
/// again.
fn play(seed: u64) -> (Status, String) {
    let mut simulation = Simulation::new(seed);
    let played = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| simulation.play()));
    let story = simulation.story.join("\n");
    assert!(played.is_ok(), "{story}\n\nCOUNTERSIGN_SEED={seed} plays this again");
    (simulation.approval.status(), story)
}

#[test]
fn ten_thousand_seeds() {
    let seed = std::env::var_os("COUNTERSIGN_SEED").and_then(|text| text.into_string().ok());
    if let Some(seed) = seed.and_then(|text| text.parse().ok()) {
        let (status, story) = play(seed);
        panic!("{story}\n\nit ends as {status:?}, and nothing is wrong with it");
    }
    let mut ends = std::collections::BTreeMap::<Status, u64>::new();
    for seed in 0..SEEDS {
        *ends.entry(play(seed).0).or_default() += 1;
    }
    // All of it happens, so that nothing holds for want of an opportunity.
    for status in [Status::Succeeded, Status::RolledBack, Status::Failed, Status::NeedsAttention] {
        assert!(ends.get(&status).is_some_and(|count| *count > SEEDS / 100), "{ends:?}");
    }
}
