//! From what a workload asks for to the canonical execution of a job.

use serde_json::Value;

use crate::domain::image::ImageReference;
use crate::domain::job::{JobExecution, JobName, JobPreconditions, execution_name};
use crate::domain::observation::{ObservedJob, Readiness};
use crate::domain::policy::Policy;
use crate::domain::request::{
    FreezeError, Occasion, RequestRefusal, check_images, check_shipped, credentials_that_run,
};
use crate::domain::subject::{FrozenSubject, Requester};
use crate::domain::template::propose_execution;
use crate::domain::words::{Words, check_asking, check_trust};

/// An execution of a job as a workload asks for it.
#[derive(Clone, PartialEq, Debug)]
pub struct JobRequest {
    /// The job to run, or to update.
    pub job: JobName,
    /// The image to run it with; that which it has already leaves it as it is.
    pub image: ImageReference,
    /// Changes of the execution template, in the API's JSON.
    pub template: Option<Value>,
    /// Whether it runs once, or is only updated.
    pub run: bool,
    /// Why, and until when.
    pub words: Words,
}

impl JobRequest {
    /// Checks everything that can be checked without looking at the job.
    pub fn check(&self, policy: &Policy, requester: &Requester) -> Result<(), RequestRefusal> {
        check_asking(policy, requester)?;
        self.check_contents(policy)
    }

    /// Checks what is asked for, whoever asks.
    pub fn check_contents(&self, policy: &Policy) -> Result<(), RequestRefusal> {
        if !policy.jobs.contains(&self.job) {
            return Err(RequestRefusal::JobNotCovered {
                environment: policy.environment.clone(),
                job: self.job.to_string(),
            });
        }
        check_trust(policy)?;
        check_images(policy, self.template.as_ref(), &self.image)?;
        self.words.check()?;
        self.words.lifetime(policy).map(|_| ())
    }

    /// Freezes the request against the job as it was just seen, `None` if it does not exist.
    pub fn freeze(
        &self,
        policy: &Policy,
        observed: Option<&ObservedJob>,
        requester: Requester,
        occasion: Occasion<'_>,
    ) -> Result<FrozenSubject, FreezeError> {
        self.check(policy, &requester)?;
        check_shipped(policy, &requester, occasion.shipped.as_ref())?;
        let lifetime = self.words.lifetime(policy)?;
        let facts = self.words.facts(policy, requester, &occasion, lifetime)?;
        let preconditions = self.preconditions(observed)?;
        let id = &facts.approval;
        let changes = self.template.as_ref();
        let proposed =
            propose_execution(&preconditions.running, changes, &self.image, id.as_str())?;
        let execution = self.run.then(|| execution_name(&self.job, id));
        Ok(FrozenSubject::freeze(JobExecution {
            facts,
            job: self.job.clone(),
            image: self.image.clone(),
            proposed,
            execution,
            preconditions,
            commit: occasion.commit,
            shipped: occasion.shipped,
        })?)
    }

    fn preconditions(
        &self,
        observed: Option<&ObservedJob>,
    ) -> Result<JobPreconditions, RequestRefusal> {
        let job = self.job.to_string();
        let Some(observed) = observed else { return Err(RequestRefusal::JobMissing(job)) };
        if observed.readiness == Readiness::Reconciling {
            let why = "Cloud Run is still working on an earlier change".to_owned();
            return Err(RequestRefusal::ServiceBusy { service: job, why });
        }
        credentials_that_run(&observed.template, "job")?;
        Ok(JobPreconditions {
            uid: observed.uid.clone(),
            generation: observed.generation,
            running: observed.template.clone(),
        })
    }
}
