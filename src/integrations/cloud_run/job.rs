//! Jobs and their executions.

use google_cloud_run_v2::model::{Execution, ExecutionTemplate, Job};
use jiff::Timestamp;

use super::error::{Attempt, CloudRunError, Request};
use super::observed::{annotations, readiness, short_name};
use super::template::{is_reserved, observed_execution_template, to_model};
use super::{CloudRun, STEP_ANNOTATION, call_once, found};
use crate::domain::job::{JobExecution, JobName};
use crate::domain::observation::{ObservedExecution, ObservedJob, Readiness};
use crate::domain::template::APPROVAL_ANNOTATION;

impl CloudRun {
    /// Reads a job; `None` if it does not exist.
    ///
    /// # Errors
    /// As [`CloudRun::observe_service`].
    pub async fn observe_job(&self, name: &JobName) -> Result<Option<ObservedJob>, CloudRunError> {
        let attempt = Attempt { request: Request::ReadJob, resource: name.as_str() };
        let clients = self.clients(&attempt).await?;
        let call = clients.jobs.get_job().set_name(name.as_str()).send();
        let Some(found) = found(call_once(&attempt, call).await?, &attempt)? else {
            return Ok(None);
        };
        observed_job(&found).map(Some).map_err(|problem| attempt.unknown(&problem))
    }

    /// Reads an execution by its short name; `None` if it, or its job, does not exist.
    ///
    /// # Errors
    /// As [`CloudRun::observe_service`].
    pub async fn observe_execution(
        &self,
        name: &JobName,
        execution: &str,
    ) -> Result<Option<ObservedExecution>, CloudRunError> {
        let request = Request::ReadExecution(execution);
        let attempt = Attempt { request, resource: name.as_str() };
        let clients = self.clients(&attempt).await?;
        let full_name = format!("{name}/executions/{execution}");
        let call = clients.executions.get_execution().set_name(full_name).send();
        let Some(found) = found(call_once(&attempt, call).await?, &attempt)? else {
            return Ok(None);
        };
        observed_execution(&found).map(Some).map_err(|problem| attempt.unknown(&problem))
    }

    /// Gives the job the signed template and starts the signed execution, if one was signed, in one conditional
    /// PATCH. There is no mask for jobs: whatever else stands in the job is sent as it was observed.
    ///
    /// # Errors
    /// [`CloudRunError::NotNow`] if the job changed since it was observed, or if the execution exists.
    pub async fn update_job(
        &self,
        execution: &JobExecution,
        observed: &ObservedJob,
    ) -> Result<(), CloudRunError> {
        let (request, step) = match execution.token() {
            Some(_) => (Request::RunJob, "execution"),
            None => (Request::UpdateJob, "update"),
        };
        let attempt = Attempt { request, resource: execution.job.as_str() };
        if observed.etag.is_empty() {
            return Err(attempt.refused("the change would be unconditional: no etag was observed"));
        }
        let template: ExecutionTemplate =
            to_model(&execution.proposed).map_err(|error| attempt.refused(&error.to_string()))?;
        let mut job: Job = serde_json::from_value(observed.whole.clone())
            .map_err(|error| attempt.refused(&error.to_string()))?;
        job.labels.retain(|key, _| !is_reserved(key));
        job.annotations = observed.annotations.clone().into_iter().collect();
        let approval = execution.approval.to_string();
        job.annotations.insert(APPROVAL_ANNOTATION.to_owned(), approval);
        job.annotations.insert(STEP_ANNOTATION.to_owned(), step.to_owned());
        let mut job =
            job.set_name(execution.job.as_str()).set_etag(&observed.etag).set_template(template);
        if let Some(token) = execution.token() {
            job = job.set_start_execution_token(token);
        }
        let clients = self.clients(&attempt).await?;
        let call = clients.jobs.update_job().set_job(job).send();
        call_once(&attempt, call).await?.map_err(|error| attempt.failed(&error))?;
        Ok(())
    }
}

/// The job, or why the answer cannot be relied on.
fn observed_job(job: &Job) -> Result<ObservedJob, String> {
    if job.uid.is_empty() || job.etag.is_empty() || job.generation == 0 {
        return Err("the answer has no uid, etag or generation".to_owned());
    }
    let template = job.template.as_ref().ok_or("the answer has no template")?;
    let is_settled = !job.reconciling && job.observed_generation == job.generation;
    Ok(ObservedJob {
        uid: job.uid.clone(),
        generation: job.generation,
        etag: job.etag.clone(),
        readiness: match is_settled {
            true => readiness(job.terminal_condition.as_ref(), &job.conditions),
            false => Readiness::Reconciling,
        },
        template: observed_execution_template(template).map_err(|error| error.to_string())?,
        annotations: annotations(&job.annotations),
        last_modifier: job.last_modifier.clone(),
        whole: serde_json::to_value(job).map_err(|error| error.to_string())?,
    })
}

/// The execution, or why the answer cannot be relied on.
fn observed_execution(execution: &Execution) -> Result<ObservedExecution, String> {
    let task = execution.template.as_ref().ok_or("the answer has no template")?;
    // That whose image a request names: see the domain's template.
    let main = task.containers.iter().position(|container| !container.ports.is_empty());
    let image = task.containers.get(main.unwrap_or(0)).map(|container| container.image.clone());
    let shown = ExecutionTemplate::new()
        .set_template(task.clone())
        .set_task_count(execution.task_count)
        .set_parallelism(execution.parallelism);
    let count = |name: &str, count: i32| {
        u32::try_from(count).map_err(|_| format!("the answer counts {count} {name}"))
    };
    let completed = execution.conditions.iter().find(|condition| condition.r#type == "Completed");
    Ok(ObservedExecution {
        name: short_name(&execution.name).to_owned(),
        image: image.unwrap_or_default(),
        // Only an end has a time, whatever the conditions say on the way there.
        readiness: match execution.completion_time {
            Some(_) => readiness(completed, &execution.conditions),
            None => Readiness::Reconciling,
        },
        template: observed_execution_template(&shown).map_err(|error| error.to_string())?,
        annotations: annotations(&execution.annotations),
        tasks: count("tasks", execution.task_count)?,
        succeeded: count("succeeded tasks", execution.succeeded_count)?,
        failed: count("failed tasks", execution.failed_count)?,
        cancelled: count("cancelled tasks", execution.cancelled_count)?,
        started_at: moment(execution.start_time.as_ref()),
        completed_at: moment(execution.completion_time.as_ref()),
    })
}

fn moment(at: Option<&google_cloud_wkt::Timestamp>) -> Option<Timestamp> {
    at.and_then(|at| Timestamp::new(at.seconds(), at.nanos()).ok())
}
