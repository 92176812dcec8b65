//! Whether a rollout or a change of a job would be let through, asked without changing anything: for `countersign config check --live`.

use super::error::{Attempt, CloudRunError, Request};
use super::observed::annotations;
use super::template::is_reserved;
use super::{CloudRun, STEP_ANNOTATION, call_once, found, service, worker_pool};
use crate::domain::job::JobName;
use crate::domain::service::{ServiceKind, ServiceName};

impl CloudRun {
    /// Which of these permissions on the service the gate's credentials lack, in the order given
    /// (`testIamPermissions`, which anybody may ask).
    ///
    /// # Errors
    /// If Cloud Run does not answer, or not with a list.
    pub async fn missing_permissions(
        &self,
        name: &ServiceName,
        wanted: &[&'static str],
    ) -> Result<Vec<&'static str>, CloudRunError> {
        let attempt = Attempt { request: Request::TestPermissions, resource: name.as_str() };
        let clients = self.clients(&attempt).await?;
        let (resource, permissions) = (name.as_str(), wanted.iter().copied());
        let answer = match name.kind() {
            ServiceKind::Service => {
                let call = clients.services.test_iam_permissions().set_resource(resource);
                call_once(&attempt, call.set_permissions(permissions).send()).await?
            }
            ServiceKind::WorkerPool => {
                let call = clients.worker_pools.test_iam_permissions().set_resource(resource);
                call_once(&attempt, call.set_permissions(permissions).send()).await?
            }
        };
        let answer = answer.map_err(|error| attempt.failed(&error))?;
        Ok(missing(wanted, &answer.permissions))
    }

    /// The same for a job (`jobs.testIamPermissions`).
    ///
    /// # Errors
    /// If Cloud Run does not answer, or not with a list.
    pub async fn missing_job_permissions(
        &self,
        name: &JobName,
        wanted: &[&'static str],
    ) -> Result<Vec<&'static str>, CloudRunError> {
        let attempt = Attempt { request: Request::TestJobPermissions, resource: name.as_str() };
        let clients = self.clients(&attempt).await?;
        let call = clients
            .jobs
            .test_iam_permissions()
            .set_resource(name.as_str())
            .set_permissions(wanted.iter().copied())
            .send();
        let answer = call_once(&attempt, call).await?.map_err(|error| attempt.failed(&error))?;
        Ok(missing(wanted, &answer.permissions))
    }

    /// Has Cloud Run judge a change of a job, with `validateOnly` and without a token, so that nothing could run.
    /// False: the job does not exist.
    ///
    /// # Errors
    /// What Cloud Run says against it.
    pub async fn try_job_change(&self, name: &JobName) -> Result<bool, CloudRunError> {
        let attempt = Attempt { request: Request::TryJobChange, resource: name.as_str() };
        let clients = self.clients(&attempt).await?;
        let reading = clients.jobs.get_job().set_name(name.as_str()).send();
        let Some(mut job) = found(call_once(&attempt, reading).await?, &attempt)? else {
            return Ok(false);
        };
        job.labels.retain(|key, _| !is_reserved(key));
        job.annotations = annotations(&job.annotations).into_iter().collect();
        job.annotations.insert(STEP_ANNOTATION.to_owned(), "trial".to_owned());
        let call = clients.jobs.update_job().set_job(job).set_validate_only(true);
        call_once(&attempt, call.send()).await?.map_err(|error| attempt.failed(&error))?;
        Ok(true)
    }

    /// Has Cloud Run judge a change as a rollout makes it, the template and an annotation, with
    /// `validateOnly`: rights, service account, image and template are looked at, and nothing is changed.
    /// False: the service does not exist.
    ///
    /// # Errors
    /// What Cloud Run says against it.
    pub async fn try_change(&self, name: &ServiceName) -> Result<bool, CloudRunError> {
        let attempt = Attempt { request: Request::TryChange, resource: name.as_str() };
        let clients = self.clients(&attempt).await?;
        match name.kind() {
            ServiceKind::Service => service::try_change(clients, &attempt).await,
            ServiceKind::WorkerPool => worker_pool::try_change(clients, &attempt).await,
        }
    }
}

/// Those of the wanted permissions that are not among the granted ones.
fn missing(wanted: &[&'static str], granted: &[String]) -> Vec<&'static str> {
    let has = |wanted: &str| granted.iter().any(|permission| permission == wanted);
    wanted.iter().copied().filter(|wanted| !has(wanted)).collect()
}
