//! Steps that are watched, and steps without traffic.

use countersign::domain::observation::{Readiness, TrafficTag};
use countersign::domain::plan::{OnFailure, StepPlan};
use countersign::domain::rollout::{Action, Answer, Call};
use jiff::SignedDuration;

use super::{BEFORE, Scene};
use crate::sample_approval::{REVISION, now, share};

/// The first step serves and is watched for ten minutes.
fn watched() -> Scene {
    let mut scene = Scene::revision_ready();
    scene.deployment.plan.steps[0].bake_seconds = 600;
    let after = scene.step(0);
    scene.traffic(&after, &after);
    scene = scene.announced(Call::MoveTraffic { step: 0 });
    scene.progress = scene.records();
    scene
}

#[test]
fn a_step_is_watched_for_as_long_as_was_signed() {
    let mut scene = watched();
    let until = now() + SignedDuration::from_mins(10);
    assert_eq!((scene.progress.steps_done, scene.progress.served_at), (1, Some(now())));
    assert_eq!(scene.next(), Action::WaitUntil(until));
    scene.service().readiness = Readiness::Reconciling;
    assert_eq!(scene.next(), Action::Wait);
    scene.service().readiness = Readiness::Ready;
    let scene = scene.later(10);
    assert_eq!(scene.next(), Action::Make(Call::MoveTraffic { step: 1 }));
    // A clock that went back only waits longer.
    let scene = watched().later(-5);
    assert_eq!(scene.next(), Action::WaitUntil(until));
}

#[test]
fn nothing_may_change_while_a_step_is_watched() {
    let mut scene = watched();
    scene.service().generation += 1;
    scene.needs_attention("mallory@example.com");
    let mut scene = watched();
    let (wanted, evil) = (scene.step(0), vec![share("evil", 100)]);
    scene.traffic(&wanted, &evil);
    scene.needs_attention("evil 100 %");
    let mut scene = watched();
    scene.service().tags = vec![tag("try")];
    scene.needs_attention("with the tag try");
    for is_revision in [true, false] {
        let mut scene = watched();
        let failed = Readiness::Failed("it fell ill".into());
        if is_revision {
            scene.revision().readiness = failed;
        } else {
            scene.service().readiness = failed;
        }
        assert_eq!(scene.records().restoring.as_deref(), Some("it fell ill"));
        scene.deployment.plan.on_failure = OnFailure::Hold;
        scene.needs_attention("it fell ill");
    }
}

fn tag(tag: &str) -> TrafficTag {
    TrafficTag { tag: tag.into(), revision: REVISION.into() }
}

#[test]
fn a_step_without_traffic_is_one_by_its_tag() {
    let mut scene = Scene::revision_ready();
    let before = vec![share(BEFORE, 100)];
    let step = StepPlan { tag: Some("try".into()), ..StepPlan::of_percent(0) };
    scene.deployment.plan.steps[0] = step.with_traffic(before.clone());
    assert_eq!(scene.next(), Action::Make(Call::MoveTraffic { step: 0 }));
    scene = scene.announced(Call::MoveTraffic { step: 0 });
    // The shares are those from before in any case: the tag says whether the call arrived.
    assert_eq!(scene.next(), Action::Make(Call::MoveTraffic { step: 0 }));
    scene.service().tags = vec![tag("try")];
    scene.service().generation += 1;
    scene.progress = scene.records();
    assert_eq!(scene.progress.steps_done, 1);
    assert_eq!(scene.next(), Action::Make(Call::MoveTraffic { step: 1 }));
    // Undone is only what has no address either.
    scene.progress.restoring = Some("it failed".into());
    assert_eq!(scene.next(), Action::Make(Call::Restore {}));
    scene.service().tags.clear();
    scene.rolled_back("it failed");
}

/// An approver signed that what served before serves again.
fn stopped(mut scene: Scene) -> Scene {
    scene.orders.restore = Some("Alice stopped it".into());
    scene.progress = scene.records();
    assert_eq!(scene.progress.restoring.as_deref(), Some("Alice stopped it"));
    scene
}

#[test]
fn who_is_stopped_goes_back() {
    assert_eq!(stopped(watched()).next(), Action::Make(Call::Restore {}));
    // Before anything was changed there is nothing to do.
    stopped(Scene::new()).rolled_back("Alice stopped it");
    // What was sent and may still arrive is cut off by a change of ours, which moves the etag on.
    for (scene, call) in [
        (Scene::new(), Call::CreateRevision {}),
        (Scene::revision_ready(), Call::MoveTraffic { step: 0 }),
    ] {
        let mut scene = scene.announced(call);
        let etag = scene.service().etag.clone();
        scene.progress.intent.as_mut().unwrap().etag = Some(etag);
        let mut scene = stopped(scene);
        assert_eq!(scene.next(), Action::Make(Call::Restore {}), "{call:?}");
        let at = now();
        let intent = scene.progress.intent.as_mut().unwrap();
        intent.answer = Some(Answer::Unknown { at, reason: "no answer".into() });
        assert_eq!(scene.next(), Action::Make(Call::Restore {}), "{call:?}");
        let intent = scene.progress.intent.as_mut().unwrap();
        // Of an attempt before this one it says nothing.
        intent.answer = Some(Answer::Refused { at, reason: "no".into() });
        assert_eq!(scene.next(), Action::Make(Call::Restore {}), "{call:?}");
        scene.progress.intent.as_mut().unwrap().answer = Some(Answer::Accepted { at });
        scene.rolled_back("Alice stopped it");
        scene.progress.intent.as_mut().unwrap().answer = None;
        scene.service().etag = "\"e42\"".into();
        scene.rolled_back("Alice stopped it");
    }
}

#[test]
fn a_pause_ends_with_a_signature_for_this_step_alone() {
    let mut scene = watched();
    scene.deployment.plan.steps[0].pause = true;
    assert!(matches!(scene.next(), Action::WaitUntil(_)));
    scene = scene.later(10);
    assert_eq!(scene.next(), Action::WaitForPeople);
    scene.orders.go_on_after = Some(2);
    assert_eq!(scene.next(), Action::WaitForPeople);
    scene.orders.go_on_after = Some(1);
    assert_eq!(scene.next(), Action::Make(Call::MoveTraffic { step: 1 }));
}

#[test]
fn who_looks_again_takes_what_is_as_it_was_left() {
    let mut scene = watched();
    scene.service().generation += 3;
    scene.needs_attention("mallory@example.com");
    scene.orders.observe_again = true;
    scene.progress = scene.records();
    scene.orders.observe_again = false;
    assert!(matches!(scene.next(), Action::WaitUntil(_)));
    let mut scene = watched();
    scene.orders.observe_again = true;
    scene.traffic(&[share("evil", 100)], &[share("evil", 100)]);
    scene.needs_attention("evil 100 %");
}

#[test]
fn only_who_has_seen_it_overrides_what_nobody_signed() {
    let mut scene = stopped(watched());
    scene.traffic(&[share("evil", 100)], &[share("evil", 100)]);
    scene.needs_attention("evil 100 %");
    scene.orders.overrides = true;
    assert_eq!(scene.next(), Action::Make(Call::Restore {}));
    scene.revision().annotations.clear();
    assert_eq!(scene.next(), Action::Make(Call::Restore {}));
}
