//! The addresses of jobs and executions.

use axum::Extension;
use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::response::Json;
use axum::routing::{MethodRouter, get};
use serde_json::{Map, Value, json};

use super::super::CloudRun;
use super::super::control::OutsideEdit;
use super::super::faults::Injected;
use super::super::http::{Answer, Run, read_body, start, unknown};
use super::super::operation;
use super::super::permissions;
use super::super::query::Query;
use super::super::refusal::{Code, Refusal};
use super::super::schema;
use super::super::state::Kind;
use super::{Job, JobName, TOKENS, patch, render};

type JobPath = Path<(String, String, String)>;
type ExecutionPath = Path<(String, String, String, String)>;

/// The routes, under `/v2/projects/{project}/locations/{location}`.
pub fn routes() -> [(&'static str, MethodRouter<CloudRun>); 3] {
    [
        (
            "/jobs/{job}",
            get(get_job).patch(patch_job).delete(delete_job).post(custom_method).fallback(unknown),
        ),
        ("/jobs/{job}/executions", get(list_executions).fallback(unknown)),
        ("/jobs/{job}/executions/{execution}", get(get_execution).fallback(unknown)),
    ]
}

async fn get_job(State(run): Run, Path(path): JobPath, RawQuery(raw): RawQuery) -> Answer {
    let name = job_name(path)?;
    let query = Query::read(raw, "jobs.get")?;
    run.look(|state| {
        let job = found(&state.jobs, &name)?;
        Ok(Json(query.encode(schema::JOB, &render::job(job))))
    })
}

async fn patch_job(
    State(run): Run,
    Path(path): JobPath,
    RawQuery(raw): RawQuery,
    Extension(injected): Extension<Injected>,
    body: Bytes,
) -> Answer {
    let name = job_name(path)?;
    let query = Query::read(raw, "jobs.patch")?;
    let body = read_body(&body)?;
    if TOKENS.iter().any(|token| body[*token].as_str().is_some_and(|given| !given.is_empty())) {
        permissions::require_run(&run, name.as_str())?;
    }
    let mut circumstances = run.circumstances(&injected);
    // It is the execution that fails: a job that nothing runs of needs no attestation.
    let refusal = run.unattested(name.as_str(), &body["template"]["template"]);
    circumstances.revision_fails = circumstances.revision_fails.or(refusal);
    start(&run, &query, |state| patch(state, &name, &body, &circumstances))
}

/// Deletes a job at once, with its executions.
async fn delete_job(State(run): Run, Path(path): JobPath, RawQuery(raw): RawQuery) -> Answer {
    let name = job_name(path)?;
    let query = Query::read(raw, "jobs.delete")?;
    let now = run.circumstances(&Injected::default()).now;
    start(&run, &query, |state| {
        let removed = state.jobs.remove(name.as_str());
        let job = removed.ok_or_else(|| Refusal::not_found(name.as_str()))?;
        let rendered = render::job(&job);
        let operation = operation::begin(state, name.parent(), name.as_str(), now);
        operation::keep_resource(state, &operation, Kind::Job, rendered.clone());
        operation::end(state, &operation, &rendered, None);
        Ok(operation)
    })
}

/// A method whose name follows the job's after a colon.
async fn custom_method(State(run): Run, Path(path): JobPath, body: Bytes) -> Answer {
    match path.2.split_once(':') {
        Some((_, permissions::TEST)) => permissions::test(&run, &read_body(&body)?),
        _ => job_name(path).and_then(|name| {
            let message = format!("The sandbox has no method POST of {}.", name.as_str());
            Err(Refusal::new(Code::NotFound, message))
        }),
    }
}

async fn list_executions(State(run): Run, Path(path): JobPath, RawQuery(raw): RawQuery) -> Answer {
    let name = job_name(path)?;
    let query = Query::read(raw, "jobs.executions.list")?;
    run.look(|state| {
        let job = found(&state.jobs, &name)?;
        let mut executions: Vec<_> = job.executions.values().collect();
        executions.sort_by_key(|one| (std::cmp::Reverse(one.created), &one.id));
        let rendered = executions.into_iter().map(|one| {
            let rendered = render::execution(job, one);
            (one.id.clone(), query.encode(schema::EXECUTION, &rendered))
        });
        query.list("executions", rendered.collect())
    })
}

async fn get_execution(
    State(run): Run,
    Path((project, location, job, id)): ExecutionPath,
    RawQuery(raw): RawQuery,
) -> Answer {
    let name = job_name((project, location, job))?;
    let query = Query::read(raw, "jobs.executions.get")?;
    run.look(|state| {
        let missing = || Refusal::not_found(&name.execution(&id));
        let job = state.jobs.get(name.as_str()).ok_or_else(missing)?;
        let execution = job.executions.get(&id).ok_or_else(missing)?;
        Ok(Json(query.encode(schema::EXECUTION, &render::execution(job, execution))))
    })
}

/// Edits a job as somebody else would, and answers with it. What the change does not name stays.
pub fn edit_from_outside(
    run: &CloudRun,
    name: &JobName,
    edit: &OutsideEdit,
) -> Result<Value, Refusal> {
    let mut circumstances = run.circumstances(&Injected::default());
    let somebody = || "somebody.else@example.com".to_owned();
    circumstances.modifier = Some(edit.modifier.clone().unwrap_or_else(somebody));
    run.change(|state| {
        let mut body = found(&state.jobs, name)?.spec.clone();
        let harmless = json!({ "labels": { "edited-by-hand": state.serial.to_string() } });
        let change = edit.change.as_ref().unwrap_or(&harmless);
        body.extend(change.as_object().cloned().unwrap_or_else(Map::new));
        patch(state, name, &Value::Object(body), &circumstances)?;
        found(&state.jobs, name).map(render::job)
    })
}

fn found<'a>(
    jobs: &'a std::collections::BTreeMap<String, Job>,
    name: &JobName,
) -> Result<&'a Job, Refusal> {
    jobs.get(name.as_str()).ok_or_else(|| Refusal::not_found(name.as_str()))
}

/// The job that the path names. A custom method such as `:run` is none of ours.
fn job_name((project, location, id): (String, String, String)) -> Result<JobName, Refusal> {
    if let Some((_, method)) = id.split_once(':') {
        let message = format!("The sandbox has no method {method}.");
        return Err(Refusal::new(Code::Unimplemented, message));
    }
    let name = format!("projects/{project}/locations/{location}/jobs/{id}");
    JobName::parse(&name).ok_or_else(|| Refusal::not_found(&name))
}
