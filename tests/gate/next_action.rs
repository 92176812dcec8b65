//! What a rollout does next: one function for the first attempt, the retry and the recovery.

mod checking;
mod jobs;
mod watching;

use countersign::domain::deployment::{Deployment, Preconditions};
use countersign::domain::intervention::Orders;
use countersign::domain::observation::{
    ObservedRevision, ObservedService, Readiness, TrafficShare,
};
use countersign::domain::plan::OnFailure;
use countersign::domain::rollout::{
    Action, Call, Change, Intent, Outcome, Progress, World, after_exhaustion, after_refusal,
    next_action,
};
use countersign::domain::template::APPROVAL_ANNOTATION;
use jiff::SignedDuration;

use crate::sample_approval::{REVISION, deployment, now, running, share};

const BEFORE: &str = "checkout-00041-zed";

/// A rollout: what was signed, what is recorded, what Cloud Run shows.
struct Scene {
    deployment: Deployment,
    progress: Progress,
    orders: Orders,
    world: World,
}

impl Scene {
    /// Approved, nothing done, the service as it was.
    fn new() -> Self {
        let service = ObservedService {
            uid: "c0ffee".into(),
            generation: 41,
            etag: "\"e41\"".into(),
            readiness: Readiness::Ready,
            serving: vec![share(BEFORE, 100)],
            wanted: vec![share(BEFORE, 100)],
            template: running(),
            latest_created_revision: BEFORE.into(),
            annotations: Default::default(),
            tags: vec![],
            tag_addresses: Default::default(),
            uri: "https://checkout.a.run.app".into(),
            last_modifier: "mallory@example.com".into(),
        };
        let world = World { service: Some(service), revision: None, checks: None, now: now() };
        Self {
            deployment: deployment(),
            progress: Progress::default(),
            orders: Orders::default(),
            world,
        }
    }

    /// The revision is there and recorded, no traffic moved.
    fn revision_ready() -> Self {
        let mut scene = Self::new().announced(Call::CreateRevision {}).landed();
        scene.progress =
            Progress { revision_ready: true, generation: Some(42), ..Progress::default() };
        scene
    }

    /// A service that does not exist yet.
    fn of_new_service() -> Self {
        let mut scene = Self::new();
        scene.deployment.preconditions = Preconditions::Absent {};
        scene.deployment.plan.rollback.clear();
        scene.deployment.plan.steps.drain(..2);
        scene.world.service = None;
        scene
    }

    fn announced(mut self, call: Call) -> Self {
        self.progress.intent = Some(Intent { call, etag: None, at: now(), answer: None });
        self
    }

    /// Our creation took effect.
    fn landed(mut self) -> Self {
        let approval = self.deployment.approval.to_string();
        let mark = (APPROVAL_ANNOTATION.to_owned(), approval);
        let proposed = self.deployment.proposed.clone();
        self.world.revision = Some(ObservedRevision {
            name: REVISION.into(),
            image: self.deployment.image.to_string(),
            readiness: Readiness::Ready,
            annotations: [mark.clone()].into(),
        });
        let service = self.service();
        service.generation = 42;
        service.latest_created_revision = REVISION.into();
        service.template = proposed;
        service.annotations = [mark].into();
        self
    }

    fn service(&mut self) -> &mut ObservedService {
        self.world.service.as_mut().unwrap()
    }

    fn revision(&mut self) -> &mut ObservedRevision {
        self.world.revision.as_mut().unwrap()
    }

    fn traffic(&mut self, wanted: &[TrafficShare], serving: &[TrafficShare]) {
        self.service().wanted = wanted.to_vec();
        self.service().serving = serving.to_vec();
    }

    fn step(&self, index: usize) -> Vec<TrafficShare> {
        self.deployment.plan.steps[index].traffic.clone()
    }

    fn later(mut self, minutes: i64) -> Self {
        self.world.now = now() + SignedDuration::from_mins(minutes);
        self
    }

    fn next(&self) -> Action {
        next_action(&self.deployment, &self.progress, &self.orders, &self.world)
    }

    fn records(&self) -> Progress {
        match self.next() {
            Action::Write(Change::Record(progress)) => progress,
            other => panic!("{other:?}"),
        }
    }

    fn fails(&self, words: &str) {
        match self.next() {
            Action::Write(Change::End(Outcome::Failed(reason))) => {
                assert!(reason.contains(words), "{reason}")
            }
            other => panic!("{other:?}"),
        }
    }

    fn needs_attention(&self, words: &str) {
        match self.next() {
            Action::Write(Change::End(Outcome::NeedsAttention(reason))) => {
                assert!(reason.contains(words), "{reason}");
            }
            other => panic!("{other:?}"),
        }
    }

    fn rolled_back(&self, words: &str) {
        match self.next() {
            Action::Write(Change::End(Outcome::RolledBack(reason))) => {
                assert!(reason.contains(words), "{reason}")
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn the_whole_way() {
    let mut scene = Scene::new();
    assert_eq!(scene.next(), Action::Make(Call::CreateRevision {}));
    scene = scene.announced(Call::CreateRevision {}).landed();
    scene.revision().readiness = Readiness::Reconciling;
    assert_eq!(scene.next(), Action::Wait);
    scene.revision().readiness = Readiness::Ready;
    scene.progress = scene.records();
    assert!(scene.progress.revision_ready && scene.progress.intent.is_none());
    for step in 0..3 {
        assert_eq!(scene.next(), Action::Make(Call::MoveTraffic { step }));
        scene = scene.announced(Call::MoveTraffic { step });
        // Not arrived yet: the same call again, with the etag that is read then.
        assert_eq!(scene.next(), Action::Make(Call::MoveTraffic { step }));
        let (before, after) = (scene.world.service.clone().unwrap().serving, scene.step(step));
        scene.traffic(&after, &before);
        scene.service().generation += 1;
        scene.service().readiness = Readiness::Reconciling;
        assert_eq!(scene.next(), Action::Wait);
        scene.traffic(&after, &after);
        scene.service().readiness = Readiness::Ready;
        scene.progress = scene.records();
        assert_eq!(scene.progress.steps_done, step + 1);
    }
    let Action::Write(Change::End(Outcome::Succeeded(serving))) = scene.next() else { panic!() };
    assert_eq!(serving.traffic, vec![share(REVISION, 100)]);
    assert_eq!(serving.generation, 45);
}

#[test]
fn a_new_service_is_created_and_serves() {
    let mut scene = Scene::of_new_service();
    assert_eq!(scene.next(), Action::Make(Call::CreateService {}));
    scene = scene.announced(Call::CreateService {});
    assert_eq!(scene.next(), Action::Make(Call::CreateService {}));
    scene.world.service = Scene::new().world.service;
    scene = scene.landed();
    let all = vec![share(REVISION, 100)];
    scene.traffic(&all, &[]);
    scene.service().readiness = Readiness::Reconciling;
    scene.revision().readiness = Readiness::Reconciling;
    assert_eq!(scene.next(), Action::Wait);
    scene.service().readiness = Readiness::Ready;
    scene.revision().readiness = Readiness::Ready;
    scene.traffic(&all, &all);
    scene.progress = scene.records();
    assert_eq!(scene.progress.steps_done, 1);
    assert!(matches!(scene.next(), Action::Write(Change::End(Outcome::Succeeded(_)))));
    scene.world.service = None;
    scene.needs_attention("deleted");
}

#[test]
fn a_new_service_that_does_not_come_up_has_nothing_to_go_back_to() {
    let mut scene = Scene::of_new_service().announced(Call::CreateService {});
    scene.world.service = Scene::new().world.service;
    scene = scene.landed();
    scene.revision().readiness = Readiness::Failed("no port".into());
    scene.fails("no port");
}

#[test]
fn preconditions_hold_before_the_first_change() {
    let mut scene = Scene::new();
    scene.service().generation = 43;
    scene.fails("mallory@example.com");
    // Announced and refused because of the etag: still nothing of ours took effect.
    scene.progress.intent =
        Some(Intent { call: Call::CreateRevision {}, etag: None, at: now(), answer: None });
    scene.fails("Nothing was changed");
    let mut scene = Scene::new();
    scene.traffic(&[share(BEFORE, 100)], &[share("other", 100)]);
    scene.fails("it serves other 100 % now");
    let mut scene = Scene::new();
    scene.service().uid = "another".into();
    scene.fails("made anew");
    let mut scene = Scene::new();
    scene.world.service = None;
    scene.fails("deleted");
    let mut scene = Scene::of_new_service();
    scene.world.service = Scene::new().world.service;
    scene.fails("created it since");
    let scene = Scene::new().later(200);
    scene.fails("expired");
    let scene = Scene::new().announced(Call::CreateRevision {}).later(200);
    scene.needs_attention("not known");
}

#[test]
fn an_expired_approval_finishes_what_it_began() {
    let scene = Scene::revision_ready().later(200);
    assert_eq!(scene.next(), Action::Make(Call::MoveTraffic { step: 0 }));
}

#[test]
fn a_revision_of_somebody_else_is_not_touched() {
    let mut scene = Scene::new().announced(Call::CreateRevision {}).landed();
    scene.revision().annotations.clear();
    scene.needs_attention("did not make");
    let mut scene = Scene::new().announced(Call::CreateRevision {}).landed();
    scene.revision().image = "europe-docker.pkg.dev/acme/evil@sha256:00".into();
    scene.needs_attention("did not make");
    // Our name, our mark, our image, and something in the environment that nobody signed.
    let mut scene = Scene::new().announced(Call::CreateRevision {}).landed();
    scene.service().template["containers"][0]["env"][0]["value"] = "debug".into();
    scene.needs_attention("not the signed one");
}

#[test]
fn edits_from_outside_stop_the_rollout() {
    let mut scene = Scene::revision_ready();
    scene.service().generation = 43;
    scene.needs_attention("mallory@example.com");
    let mut scene = Scene::revision_ready();
    scene.traffic(&[share("evil", 100)], &[share("evil", 100)]);
    scene.needs_attention("evil 100 %");
    let mut scene = Scene::revision_ready();
    scene.service().latest_created_revision = "evil".into();
    scene.needs_attention("evil");
    let mut scene = Scene::revision_ready();
    scene.world.revision = None;
    scene.needs_attention("gone");
    // Also while the gate restores: what nobody signed is not overwritten.
    let mut scene = Scene::revision_ready();
    scene.progress.restoring = Some("it failed".into());
    scene.traffic(&[share("evil", 100)], &[share("evil", 100)]);
    scene.needs_attention("evil 100 %");
}

#[test]
fn a_revision_that_does_not_start_moves_no_traffic() {
    let mut scene = Scene::new().announced(Call::CreateRevision {}).landed();
    scene.revision().readiness = Readiness::Failed("no port".into());
    scene.rolled_back("no traffic was moved");
    scene.revision().readiness = Readiness::Reconciling;
    assert_eq!(scene.next(), Action::Wait);
    scene.later(9).rolled_back("in time");
}

#[test]
fn a_step_that_fails_is_undone() {
    let mut scene = Scene::revision_ready().announced(Call::MoveTraffic { step: 0 });
    let (before, after) = (vec![share(BEFORE, 100)], scene.step(0));
    scene.traffic(&after, &before);
    scene.service().generation = 43;
    scene.service().readiness = Readiness::Failed("it crashed".into());
    scene.progress = scene.records();
    assert_eq!(scene.progress.restoring.as_deref(), Some("it crashed"));
    assert_eq!(scene.next(), Action::Make(Call::Restore {}));
    scene = scene.announced(Call::Restore {});
    scene.traffic(&before, &after);
    assert_eq!(scene.next(), Action::Wait);
    // A newest revision that failed keeps the service failed; what serves is what counts.
    scene.traffic(&before, &before);
    scene.rolled_back("it crashed");
    scene.traffic(&before, &after);
    scene.later(9).needs_attention("does not serve again");
}

#[test]
fn a_step_that_hangs_is_undone() {
    let mut scene = Scene::revision_ready().announced(Call::MoveTraffic { step: 0 });
    let after = scene.step(0);
    scene.traffic(&after, &[share(BEFORE, 100)]);
    scene.service().readiness = Readiness::Reconciling;
    let scene = scene.later(9);
    assert!(scene.records().restoring.unwrap().contains("in time"));
}

#[test]
fn the_end_says_what_is_not_as_signed() {
    let everything = [share(REVISION, 100)];
    let at_the_end = || {
        let mut scene = Scene::revision_ready();
        scene.progress.steps_done = 3;
        scene.traffic(&everything, &everything);
        scene
    };
    assert!(matches!(at_the_end().next(), Action::Write(Change::End(Outcome::Succeeded(_)))));
    let mut scene = at_the_end();
    scene.service().readiness = Readiness::Reconciling;
    scene.needs_attention("not ready any more");
    let mut scene = at_the_end();
    scene.traffic(&everything, &[share(BEFORE, 100)]);
    scene.needs_attention("it serves checkout-00041-zed 100 %");
    let mut scene = at_the_end();
    scene.traffic(&[share("evil", 100)], &everything);
    scene.needs_attention("evil 100 %");
}

#[test]
fn a_refusal_says_nothing_of_an_earlier_attempt() {
    for call in [Call::CreateService {}, Call::CreateRevision {}] {
        let announced = Scene::new().announced(call).progress;
        let Change::End(Outcome::NeedsAttention(reason)) =
            after_refusal(OnFailure::Restore, &announced, call, "no right")
        else {
            panic!("{call:?}")
        };
        assert!(reason.contains("no right") && reason.contains("earlier attempt"), "{reason}");
    }
}

#[test]
fn a_service_that_is_never_ready_gets_no_traffic() {
    let mut scene = Scene::new().announced(Call::CreateRevision {}).landed();
    scene.service().readiness = Readiness::Reconciling;
    assert_eq!(scene.next(), Action::Wait);
    scene.later(9).rolled_back("the service is not ready in time");
    let mut scene = Scene::new().announced(Call::CreateRevision {}).landed();
    scene.service().readiness = Readiness::Failed("no route".into());
    scene.rolled_back("no route");
}

#[test]
fn refusals_of_cloud_run_are_final() {
    let progress = Scene::revision_ready().progress;
    let refused = |call| after_refusal(OnFailure::Restore, &progress, call, "no right");
    assert!(matches!(
        refused(Call::CreateRevision {}),
        Change::End(Outcome::Failed(reason)) if reason.contains("no right")
    ));
    assert!(matches!(
        refused(Call::MoveTraffic { step: 1 }),
        Change::Record(Progress { restoring: Some(_), intent: None, .. })
    ));
    assert!(matches!(refused(Call::Restore {}), Change::End(Outcome::NeedsAttention(_))));
    assert!(matches!(
        after_exhaustion(&Progress::default(), "down"),
        Change::End(Outcome::Failed(_))
    ));
    assert!(matches!(after_exhaustion(&progress, "down"), Change::End(Outcome::NeedsAttention(_))));
}
