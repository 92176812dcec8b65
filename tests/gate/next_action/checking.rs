//! Checks between steps: only what passes goes on, whatever else comes back.

use countersign::domain::check::{Check, CheckOutcome, CheckResult, HttpCheck};
use countersign::domain::plan::OnFailure;
use countersign::domain::rollout::{Action, Call};
use jiff::SignedDuration;

use super::Scene;
use crate::sample_approval::now;

/// A check that is asked again for this many minutes.
fn check(patience: u32) -> Check {
    Check::Http(HttpCheck {
        path: "/health".into(),
        lowest_status: 200,
        highest_status: 299,
        contains: None,
        attempts: 1,
        timeout_seconds: 1,
        patience_seconds: patience * 60,
    })
}

fn result(outcome: CheckOutcome) -> CheckResult {
    CheckResult { step: 1, outcome, found: "HTTP 299 from /health".into(), at: now() }
}

use CheckOutcome::{Failed, Passed, Unreadable};

/// The first step serves, is watched for ten minutes and then checked.
fn watched(checks: &[Check]) -> Scene {
    let mut scene = Scene::revision_ready();
    scene.deployment.plan.steps[0].bake_seconds = 600;
    scene.deployment.plan.steps[0].checks = checks.to_vec();
    let after = scene.step(0);
    scene.traffic(&after, &after);
    scene = scene.announced(Call::MoveTraffic { step: 0 });
    scene.progress = scene.records();
    scene
}

impl Scene {
    fn found(mut self, outcomes: &[CheckOutcome]) -> Self {
        self.world.checks = Some(outcomes.iter().copied().map(result).collect());
        self
    }

    /// What was found is recorded, and the world looked at anew.
    fn recorded(mut self, outcomes: &[CheckOutcome]) -> Self {
        self = self.found(outcomes);
        self.progress = self.records();
        self.world.checks = None;
        let recorded: Vec<CheckOutcome> =
            self.progress.results_of(1).iter().map(|result| result.outcome).collect();
        assert_eq!(recorded, outcomes);
        self
    }
}

#[test]
fn checks_are_asked_when_the_time_is_over_and_not_before() {
    let scene = watched(&[check(5)]);
    assert!(matches!(scene.next(), Action::WaitUntil(_)));
    // An answer that came too early is none.
    assert!(matches!(scene.found(&[Passed]).next(), Action::WaitUntil(_)));
    let scene = watched(&[check(5)]).later(10);
    assert_eq!(scene.next(), Action::Check { step: 0 });
    // Too few answers are none either.
    let scene = watched(&[check(5), check(5)]).later(10).found(&[Passed]);
    assert_eq!(scene.next(), Action::Check { step: 0 });
    // Without any time they are asked at once.
    let mut scene = Scene::revision_ready();
    scene.deployment.plan.steps[0].checks = vec![check(5)];
    let after = scene.step(0);
    scene.traffic(&after, &after);
    scene = scene.announced(Call::MoveTraffic { step: 0 });
    scene.progress = scene.records();
    assert_eq!(scene.next(), Action::Check { step: 0 });
}

#[test]
fn only_when_all_passed_it_goes_on() {
    let scene = watched(&[check(5), check(5)]).later(10).recorded(&[Passed, Passed]);
    assert_eq!(scene.next(), Action::Make(Call::MoveTraffic { step: 1 }));
    for outcomes in [[Passed, Failed], [Failed, Unreadable], [Failed, Failed]] {
        let mut scene = watched(&[check(5), check(5)]).later(10).recorded(&outcomes);
        let restoring = scene.records().restoring.unwrap();
        assert!(restoring.starts_with("at 10 % not every check passed"), "{restoring}");
        assert!(restoring.contains("HTTP 299 from /health: failed"), "{restoring}");
        assert!(!restoring.contains(": passed"), "{restoring}");
        scene.deployment.plan.on_failure = OnFailure::Hold;
        scene.needs_attention("not every check passed");
    }
}

#[test]
fn what_cannot_be_read_is_asked_again_for_as_long_as_was_signed() {
    let outcomes = [Passed, Unreadable];
    let scene = watched(&[check(1), check(5)]).later(14).found(&outcomes);
    let until = now() + SignedDuration::from_mins(15);
    assert_eq!(scene.next(), Action::WaitUntil(until));
    let scene = watched(&[check(1), check(5)]).later(15).recorded(&outcomes);
    assert!(scene.records().restoring.unwrap().contains("could not be read"));
    // The shortest patience of those that were not read counts.
    let scene = watched(&[check(1), check(5)]).later(11).recorded(&[Unreadable, Unreadable]);
    assert!(scene.records().restoring.is_some());
    // Without patience it is over at once.
    let scene = watched(&[check(0)]).later(10).recorded(&[Unreadable]);
    assert!(scene.records().restoring.is_some());
}

#[test]
fn what_is_wrong_meanwhile_comes_first() {
    let mut scene = watched(&[check(5)]).later(10).found(&[Passed]);
    scene.service().generation += 1;
    scene.needs_attention("mallory@example.com");
}

#[test]
fn a_pause_begins_after_the_checks() {
    let mut scene = watched(&[check(5)]).later(10);
    scene.deployment.plan.steps[0].pause = true;
    // A signature that came before the answers takes the place of none.
    scene.orders.go_on_after = Some(1);
    assert_eq!(scene.next(), Action::Check { step: 0 });
    scene.orders.go_on_after = None;
    let mut scene = scene.recorded(&[Passed]);
    assert_eq!(scene.next(), Action::WaitForPeople);
    scene.orders.go_on_after = Some(1);
    assert_eq!(scene.next(), Action::Make(Call::MoveTraffic { step: 1 }));
}

#[test]
fn results_stay_with_their_steps() {
    let mut scene = watched(&[check(5)]).later(10).recorded(&[Passed]);
    let last = scene.deployment.plan.steps.len() - 1;
    scene.deployment.plan.steps[last].checks = vec![check(5)];
    for step in 1..=last {
        let after = scene.step(step);
        scene.traffic(&after, &after);
        scene = scene.announced(Call::MoveTraffic { step });
        scene.service().generation += 1;
        scene.progress = scene.records();
    }
    assert_eq!((scene.progress.results_of(1).len(), scene.progress.checks.len()), (1, 1));
    assert_eq!(scene.next(), Action::Check { step: last });
    let number = u32::try_from(last + 1).unwrap();
    scene.world.checks = Some(vec![CheckResult { step: number, ..result(Failed) }]);
    scene.progress = scene.records();
    assert_eq!(scene.progress.results_of(last + 1).len(), 1);
    // Looking again forgets the newest answers alone, and only where not all passed.
    let mut again = scene.progress.clone();
    again.check_again();
    assert_eq!(again.checks.len(), 1);
    again.steps_done = 1;
    again.check_again();
    assert_eq!(again.checks.len(), 1);
    scene.world.checks = None;
    assert!(scene.records().restoring.is_some());
}

#[test]
fn a_new_service_that_fails_a_check_has_nothing_to_go_back_to() {
    let mut scene = Scene::of_new_service();
    scene.deployment.plan.steps[0].checks = vec![check(0)];
    scene = scene.announced(Call::CreateService {});
    scene.world.service = Scene::new().landed().world.service;
    let mut scene = scene.landed();
    let after = scene.step(0);
    scene.traffic(&after, &after);
    scene.progress = scene.records();
    let scene = scene.recorded(&[Failed]);
    scene.fails("there is nothing to go back to");
}

#[test]
fn the_last_observation_holds_the_image_that_runs() {
    let mut scene = Scene::revision_ready();
    scene.progress.steps_done = scene.deployment.plan.steps.len();
    let last = scene.step(scene.progress.steps_done - 1);
    scene.traffic(&last, &last);
    let digest = *scene.deployment.image.digest();
    match scene.next() {
        Action::Write(countersign::domain::rollout::Change::End(
            countersign::domain::rollout::Outcome::Succeeded(serving),
        )) => assert_eq!(serving.image_digest, Some(digest)),
        other => panic!("{other:?}"),
    }
    scene.revision().image = "registry.example.com/app/web:latest".into();
    scene.needs_attention("exists that this approval did not make");
}
