//! What is done next about the execution of a job, or the change of one, from what is recorded and what Cloud Run shows.
//!
//! The one function behind the first attempt, the retry and the recovery after a crash, as
//! [`crate::domain::rollout::next_action`] is of a rollout.

use jiff::Timestamp;

use crate::domain::image::ImageReference;
use crate::domain::job::{Execution, JobExecution, Updated};
use crate::domain::observation::{ObservedExecution, ObservedJob, Readiness};
use crate::domain::platform_defaults::{execution_difference, job_difference};
use crate::domain::rollout::{
    Action, Call, Change, Outcome, Progress, RECONCILE_PATIENCE, first_call,
};
use crate::domain::template::APPROVAL_ANNOTATION;

/// What Cloud Run shows at one moment. The execution is read before the job, so that the job is never older
/// than an execution that is there.
#[derive(Clone, Debug)]
pub struct JobWorld {
    /// The job, if there is one.
    pub job: Option<ObservedJob>,
    /// The execution of the signed name, if there is one; none where nothing is to run.
    pub execution: Option<ObservedExecution>,
    /// When it was looked at.
    pub now: Timestamp,
}

/// What to do next. Pure: the same records and the same world give the same answer.
pub fn next_job_action(asked: &JobExecution, progress: &Progress, world: &JobWorld) -> Action {
    let run = Run { asked, progress, world };
    match (&asked.execution, &world.execution, &world.job) {
        (Some(name), Some(execution), job) => run.of_execution(name, execution, job.as_ref()),
        (Some(name), None, _) if progress.execution.is_some() => needs_attention(&format!(
            "the execution {name} ran and is gone, so that how it ended is not known"
        )),
        (_, _, Some(job)) => run.of_job(job),
        (_, _, None) => run.surprised("it was deleted"),
    }
}

/// Everything that the decision rests on.
struct Run<'a> {
    asked: &'a JobExecution,
    progress: &'a Progress,
    world: &'a JobWorld,
}

impl Run<'_> {
    /// The execution of our name is there.
    fn of_execution(
        &self,
        name: &str,
        execution: &ObservedExecution,
        job: Option<&ObservedJob>,
    ) -> Action {
        let signed = &self.asked.image;
        let marked = execution.annotations.get(APPROVAL_ANNOTATION).map(String::as_str);
        let image = execution.image.parse::<ImageReference>().ok().filter(|image| image == signed);
        let (true, Some(image)) = (marked == Some(self.asked.approval.as_str()), image) else {
            let problem = format!("an execution {name} exists that this approval did not start");
            return needs_attention(&problem);
        };
        // Whoever may run the job could have started one with our name and our mark before us.
        if self.progress.intent.is_none() && self.progress.execution.is_none() {
            let problem =
                format!("an execution {name} exists already, and the gate has not started it");
            return needs_attention(&problem);
        }
        if let Some(path) = execution_difference(&execution.template, &self.asked.proposed) {
            let problem = format!("the execution {name} is not the signed one at {path}");
            return needs_attention(&problem);
        }
        let seen = Execution {
            name: execution.name.clone(),
            image_digest: *image.digest(),
            tasks: execution.tasks,
            succeeded: execution.succeeded,
            failed: execution.failed,
            cancelled: execution.cancelled,
            started_at: execution.started_at,
            completed_at: execution.completed_at,
            observed_at: self.world.now,
        };
        match &execution.readiness {
            Readiness::Ready => end(Outcome::Ran(seen)),
            Readiness::Failed(why) => {
                let (words, why) = (seen.in_words(), why.trim_end_matches('.'));
                let reason = format!(
                    "the execution {name} failed ({words}): {why}. The job keeps what was signed"
                );
                end(Outcome::RunFailed(reason, seen))
            }
            Readiness::Reconciling if self.progress.execution.is_some() => Action::Wait,
            Readiness::Reconciling => Action::Write(Change::Record(Progress {
                execution: Some(Box::new(seen)),
                generation: job.map(|job| job.generation),
                intent: None,
                ..self.progress.clone()
            })),
        }
    }

    /// The job is there and no execution of ours is, so nothing was changed yet, or the change is just arriving.
    fn of_job(&self, job: &ObservedJob) -> Action {
        let before = &self.asked.preconditions;
        let by = &job.last_modifier;
        if job.uid != before.uid {
            return self.surprised(&format!("it was deleted and made anew, by {by}"));
        }
        let marked = job.annotations.get(APPROVAL_ANNOTATION).map(String::as_str);
        if self.progress.intent.is_some() && marked == Some(self.asked.approval.as_str()) {
            return match &self.asked.execution {
                Some(name) => self.without_execution(name, job),
                None => self.of_update(job),
            };
        }
        if job.generation != before.generation {
            return self.surprised(&format!(
                "it was changed after this was asked for, by {by} (generation {} instead of {})",
                job.generation, before.generation
            ));
        }
        let expires_at = self.asked.expires_at;
        match job.readiness {
            Readiness::Reconciling if self.world.now < expires_at => Action::Wait,
            _ => first_call(self.call(), self.progress, expires_at, self.world.now),
        }
    }

    fn call(&self) -> Call {
        if self.asked.execution.is_some() { Call::RunJob {} } else { Call::UpdateJob {} }
    }

    /// Whether what was called for should have been seen by now.
    fn is_overdue(&self) -> bool {
        let intent = self.progress.intent.as_ref();
        intent.is_some_and(|intent| self.world.now.duration_since(intent.at) > RECONCILE_PATIENCE)
    }

    /// The job took our change, and nothing is to run.
    fn of_update(&self, job: &ObservedJob) -> Action {
        let (name, by) = (self.asked.job.job(), &job.last_modifier);
        if let Some(path) = job_difference(&job.template, &self.asked.proposed) {
            return needs_attention(&format!(
                "{name} took the change, and is not the signed one at {path}; it was changed last by {by}"
            ));
        }
        match &job.readiness {
            Readiness::Ready => end(Outcome::Updated(Updated {
                image_digest: *self.asked.image.digest(),
                generation: job.generation,
                observed_at: self.world.now,
            })),
            Readiness::Failed(why) => end(Outcome::Failed(format!(
                "the job took what was signed and is not ready: {why}"
            ))),
            Readiness::Reconciling if self.is_overdue() => {
                needs_attention(&format!("{name} took the change, but did not become ready"))
            }
            Readiness::Reconciling => Action::Wait,
        }
    }

    /// The job took our change, and the execution is not there.
    fn without_execution(&self, name: &str, job: &ObservedJob) -> Action {
        match &job.readiness {
            Readiness::Failed(why) => end(Outcome::Failed(format!(
                "the job took what was signed and did not start: {why}"
            ))),
            _ if self.is_overdue() => needs_attention(&format!(
                "{} took the change, but the execution {name} never appeared",
                self.asked.job.job()
            )),
            Readiness::Reconciling | Readiness::Ready => Action::Wait,
        }
    }

    /// The job is not as it was. Before the first call that is a failure that harmed nobody; after it a
    /// person has to look.
    fn surprised(&self, what: &str) -> Action {
        let job = self.asked.job.job();
        if self.progress.intent.is_none() {
            return end(Outcome::Failed(format!(
                "{job} is not as it was: {what}. Nothing was changed"
            )));
        }
        needs_attention(&format!(
            "{job} is not as it was: {what}; and whether it took the change before is not known"
        ))
    }
}

fn needs_attention(why: &str) -> Action {
    end(Outcome::NeedsAttention(why.to_owned()))
}

fn end(outcome: Outcome) -> Action {
    Action::Write(Change::End(outcome))
}
