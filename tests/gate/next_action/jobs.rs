//! What is done next about a job that is only updated, or that was made anew.

use countersign::domain::job::{
    JobExecution, JobPreconditions, JobWorld, Updated, next_job_action,
};
use countersign::domain::observation::{ObservedJob, Readiness};
use countersign::domain::rollout::{Action, Call, Change, Intent, Outcome, Progress};
use countersign::domain::template::APPROVAL_ANNOTATION;
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::sample_approval::{deployment, minutes_ago, now};

/// An update: what was signed, what is recorded, what Cloud Run shows.
struct Scene {
    asked: JobExecution,
    progress: Progress,
    world: JobWorld,
}

fn template(image: &str, mark: Option<&str>) -> Value {
    let mut template = json!({"template": {"containers": [{"image": image}]}});
    if let Some(mark) = mark {
        template["annotations"] = json!({(APPROVAL_ANNOTATION): mark});
    }
    template
}

impl Scene {
    /// Approved, nothing done, the job as it was.
    fn new(execution: Option<&str>) -> Self {
        let deployment = deployment();
        let running = template("registry/app@sha256:0", None);
        let mark = deployment.approval.to_string();
        let asked = JobExecution {
            job: "projects/acme-prod/locations/europe-west1/jobs/migrate".parse().unwrap(),
            proposed: template(&deployment.image.to_string(), Some(&mark)),
            image: deployment.image,
            facts: deployment.facts,
            execution: execution.map(str::to_owned),
            preconditions: JobPreconditions {
                uid: "c0ffee".into(),
                generation: 4,
                running: running.clone(),
            },
            commit: None,
            shipped: None,
        };
        let job = ObservedJob {
            uid: "c0ffee".into(),
            generation: 4,
            etag: "\"e4\"".into(),
            readiness: Readiness::Ready,
            template: running,
            annotations: Default::default(),
            last_modifier: "mallory@example.com".into(),
            whole: json!({}),
        };
        let world = JobWorld { job: Some(job), execution: None, now: now() };
        Self { asked, progress: Progress::default(), world }
    }

    /// The call was announced so many minutes ago, and nobody knows what came of it.
    fn announced(mut self, minutes: i64) -> Self {
        let at = minutes_ago(minutes);
        self.progress.intent =
            Some(Intent { call: Call::UpdateJob {}, etag: None, at, answer: None });
        self
    }

    /// It took effect.
    fn landed(mut self) -> Self {
        let (proposed, mark) = (self.asked.proposed.clone(), self.asked.approval.to_string());
        let job = self.job();
        job.generation = 5;
        job.template = proposed;
        job.annotations.insert(APPROVAL_ANNOTATION.to_owned(), mark);
        self
    }

    fn job(&mut self) -> &mut ObservedJob {
        self.world.job.as_mut().unwrap()
    }

    fn with(mut self, change: impl FnOnce(&mut ObservedJob)) -> Self {
        change(self.job());
        self
    }

    fn next(&self) -> Action {
        next_job_action(&self.asked, &self.progress, &self.world)
    }

    fn ends(&self) -> Outcome {
        match self.next() {
            Action::Write(Change::End(outcome)) => outcome,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn an_update_is_called_for_and_seen() {
    assert_eq!(Scene::new(None).next(), Action::Make(Call::UpdateJob {}));
    assert_eq!(Scene::new(Some("migrate-a")).next(), Action::Make(Call::RunJob {}));
    // The answer was lost and nothing arrived: it is called for again, under the etag that is there.
    assert_eq!(Scene::new(None).announced(1).next(), Action::Make(Call::UpdateJob {}));
    let scene = Scene::new(None).announced(1).landed();
    let seen = Updated {
        image_digest: *scene.asked.image.digest(),
        generation: 5,
        observed_at: scene.world.now,
    };
    assert_eq!(scene.ends(), Outcome::Updated(seen));
}

#[test]
fn a_job_is_waited_for_and_not_for_ever() {
    let reconciling = |job: &mut ObservedJob| job.readiness = Readiness::Reconciling;
    assert_eq!(Scene::new(None).announced(1).landed().with(reconciling).next(), Action::Wait);
    let overdue = Scene::new(None).announced(60).landed().with(reconciling).ends();
    let Outcome::NeedsAttention(why) = overdue else { panic!("{overdue:?}") };
    assert!(why.contains("did not become ready"), "{why}");
    let failed = |job: &mut ObservedJob| job.readiness = Readiness::Failed("no such image".into());
    let failed = Scene::new(None).announced(1).landed().with(failed).ends();
    let Outcome::Failed(why) = failed else { panic!("{failed:?}") };
    assert!(why.contains("is not ready: no such image"), "{why}");
}

#[test]
fn what_nobody_signed_on_top_of_it_is_told() {
    let edited = |job: &mut ObservedJob| job.template["taskCount"] = json!(2);
    let ended = Scene::new(None).announced(1).landed().with(edited).ends();
    let Outcome::NeedsAttention(why) = ended else { panic!("{ended:?}") };
    for words in ["not the signed one at taskCount", "changed last by mallory@example.com"] {
        assert!(why.contains(words), "{words}: {why}");
    }
    // A mark alone, before anything was called, is another's change.
    let ended = Scene::new(None).landed().ends();
    let Outcome::Failed(why) = ended else { panic!("{ended:?}") };
    assert!(why.contains("by mallory@example.com") && why.contains("Nothing was changed"), "{why}");
}

#[test]
fn a_job_that_is_another_one_is_not_touched() {
    for execution in [None, Some("migrate-a")] {
        let anew = |job: &mut ObservedJob| job.uid = "deadbeef".into();
        let ended = Scene::new(execution).with(anew).ends();
        let Outcome::Failed(why) = ended else { panic!("{ended:?}") };
        let words = "it was deleted and made anew, by mallory@example.com. Nothing was changed";
        assert!(why.contains(words), "{why}");
        let ended = Scene::new(execution).announced(1).with(anew).ends();
        assert!(matches!(ended, Outcome::NeedsAttention(_)), "{ended:?}");
    }
}

#[test]
fn what_expired_before_the_call_is_not_called_for() {
    let mut scene = Scene::new(None);
    scene.world.now = scene.asked.expires_at + SignedDuration::from_secs(1);
    assert!(matches!(scene.ends(), Outcome::Failed(_)));
    let scene = Scene { progress: scene.announced(1).progress, ..Scene::new(None) };
    let later = scene.asked.expires_at + SignedDuration::from_secs(1);
    let scene = Scene { world: JobWorld { now: later, ..scene.world }, ..scene };
    assert!(matches!(scene.ends(), Outcome::NeedsAttention(_)));
}
