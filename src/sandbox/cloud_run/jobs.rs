//! Jobs and their executions: what is true of the published API is true here, and no container runs.
//!
//! A patch replaces the whole job, since the API has no mask for jobs. With a token it starts an execution
//! under the name that the token gives, and no second one under the same name.

mod http;
mod render;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::change::{Circumstances, etag};
use super::refusal::{Code, Refusal};
use super::state::{Kind, State};
use super::{operation, schema, template};

pub use http::{edit_from_outside, routes};

/// The name of a job and the token of an execution have fewer characters together.
const NAME_AND_TOKEN: usize = 63;

/// The members with which a change of a job also starts an execution.
const TOKENS: [&str; 2] = ["startExecutionToken", "runExecutionToken"];

/// A job: what was asked for (`spec`) and what is so.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    pub name: JobName,
    pub uid: String,
    /// The fields that callers write, in normal form, with defaults filled in, without tokens.
    pub spec: Map<String, Value>,
    pub generation: i64,
    pub observed_generation: i64,
    pub created: Timestamp,
    pub updated: Timestamp,
    pub creator: String,
    pub last_modifier: String,
    /// The serial of the last change.
    pub version: u64,
    pub executions: BTreeMap<String, Execution>,
    pub latest: Option<String>,
    pub pending: Option<Pending>,
}

/// A change that was accepted and is not yet in effect.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Pending {
    /// When it takes effect; never, for one that is stuck.
    pub due: Option<Timestamp>,
    /// The operations that end with it.
    pub operations: Vec<String>,
}

/// An execution: an execution template that runs under a name.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Execution {
    pub id: String,
    pub uid: String,
    pub template: Map<String, Value>,
    pub creator: String,
    pub version: u64,
    pub created: Timestamp,
    /// When it ends; never, for one that is stuck.
    pub due: Option<Timestamp>,
    pub ended: Option<Timestamp>,
    /// The message with which it fails.
    pub fails: Option<String>,
}

/// `projects/P/locations/R/jobs/J`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobName {
    full: String,
    project_end: usize,
    id_begins: usize,
}

impl JobName {
    /// Reads the resource name; none for anything else.
    pub fn parse(name: &str) -> Option<Self> {
        let parts: Vec<&str> = name.split('/').collect();
        let ["projects", project, "locations", _, "jobs", id] = parts[..] else { return None };
        let project_end = "projects/".len() + project.len();
        Some(Self { full: name.to_owned(), project_end, id_begins: name.len() - id.len() })
    }

    pub fn as_str(&self) -> &str {
        &self.full
    }

    /// `projects/P/locations/R`.
    pub fn parent(&self) -> &str {
        &self.full[..self.id_begins - "/jobs/".len()]
    }

    pub fn project(&self) -> &str {
        &self.full["projects/".len()..self.project_end]
    }

    pub fn id(&self) -> &str {
        &self.full[self.id_begins..]
    }

    pub fn execution(&self, id: &str) -> String {
        format!("{}/executions/{id}", self.full)
    }
}

/// A job with this execution template that never ran; one that exists already is left as it is.
///
/// # Errors
/// `INVALID_ARGUMENT` for a template that cannot be accepted.
pub fn seed(
    state: &mut State,
    name: &JobName,
    template: &Value,
    circumstances: &Circumstances,
) -> Result<(), Refusal> {
    if state.jobs.contains_key(name.as_str()) {
        return Ok(());
    }
    let mut spec = spec_of(&json!({ "template": template }))?;
    complete(&mut spec, name.project())?;
    let version = state.next();
    let creator = modifier(name, circumstances);
    let job = Job {
        name: name.clone(),
        uid: operation::unique(&format!("{}#{version}", name.full)),
        spec,
        generation: 1,
        observed_generation: 1,
        created: circumstances.now,
        updated: circumstances.now,
        last_modifier: creator.clone(),
        creator,
        version,
        executions: BTreeMap::new(),
        latest: None,
        pending: None,
    };
    state.jobs.insert(name.full.clone(), job);
    Ok(())
}

/// Replaces a job, starts an execution if the body has a token, and answers with the name of the operation.
///
/// # Errors
/// `NOT_FOUND`, `ABORTED` for another etag than the current one, `ALREADY_EXISTS` for a token that was used,
/// `INVALID_ARGUMENT`.
pub fn patch(
    state: &mut State,
    name: &JobName,
    body: &Value,
    circumstances: &Circumstances,
) -> Result<String, Refusal> {
    let job = state.jobs.get(name.as_str()).cloned();
    let mut job = job.ok_or_else(|| Refusal::not_found(name.as_str()))?;
    if body["name"].as_str().is_some_and(|given| !given.is_empty() && given != name.full) {
        return Err(Refusal::field("job.name", "must be the name in the address."));
    }
    let current = etag(&job.uid, job.version);
    if let Some(given) =
        body["etag"].as_str().filter(|given| !given.is_empty() && *given != current)
    {
        let message = format!(
            "Conflict for resource '{}': version '{given}' was specified but current version is '{current}'.",
            name.id()
        );
        return Err(Refusal::new(Code::Aborted, message));
    }
    let mut spec = spec_of(body)?;
    let token = TOKENS.map(|token| spec.remove(token));
    let token = token.into_iter().flatten().find_map(|token| token.as_str().map(str::to_owned));
    complete(&mut spec, name.project())?;
    let version = state.next();
    if let Some(token) = token {
        start(&mut job, &spec, &token, version, circumstances)?;
    }
    job.spec = spec;
    job.generation += 1;
    job.version = version;
    job.updated = circumstances.now;
    job.last_modifier = modifier(name, circumstances);
    let operation = operation::begin(state, name.parent(), name.as_str(), circumstances.now);
    let mut operations = job.pending.take().map_or_else(Vec::new, |pending| pending.operations);
    operations.push(operation.clone());
    let due = circumstances.delay.map(|delay| circumstances.now + delay);
    job.pending = Some(Pending { due, operations });
    operation::keep_resource(state, &operation, Kind::Job, render::job(&job));
    state.jobs.insert(name.full.clone(), job);
    Ok(operation)
}

/// Starts the execution that a token names. Like the job's change it takes its time.
fn start(
    job: &mut Job,
    spec: &Map<String, Value>,
    token: &str,
    version: u64,
    circumstances: &Circumstances,
) -> Result<(), Refusal> {
    let id = format!("{}-{token}", job.name.id());
    if job.name.id().len() + token.len() >= NAME_AND_TOKEN || !template::is_label(&id) {
        let problem = "must be a suffix that gives a name of an execution.";
        return Err(Refusal::field("job.start_execution_token", problem));
    }
    if job.executions.contains_key(&id) {
        let message = format!("Execution '{id}' already exists.");
        return Err(Refusal::new(Code::AlreadyExists, message));
    }
    let execution = Execution {
        uid: operation::unique(&format!("{}#{version}", job.name.execution(&id))),
        id: id.clone(),
        template: spec.get("template").and_then(Value::as_object).cloned().unwrap_or_default(),
        creator: modifier(&job.name, circumstances),
        version,
        created: circumstances.now,
        due: circumstances.delay.map(|delay| circumstances.now + delay * 2),
        ended: None,
        fails: circumstances.revision_fails.clone(),
    };
    job.executions.insert(id.clone(), execution);
    job.latest = Some(id);
    Ok(())
}

/// Puts every change into effect that is due, ends the executions whose time has come, and answers whether
/// there was any.
pub fn settle(state: &mut State, now: Timestamp) -> bool {
    let is_due = |due: Option<Timestamp>| due.is_some_and(|due| due <= now);
    let changes = |job: &Job| {
        job.pending.as_ref().is_some_and(|pending| is_due(pending.due))
            || job.executions.values().any(|one| one.ended.is_none() && is_due(one.due))
    };
    let due: Vec<String> =
        state.jobs.iter().filter(|(_, job)| changes(job)).map(|(name, _)| name.clone()).collect();
    for name in &due {
        let version = state.next();
        let Some(mut job) = state.jobs.remove(name) else { continue };
        job.version = version;
        for one in job.executions.values_mut().filter(|one| one.ended.is_none() && is_due(one.due))
        {
            one.ended = one.due;
            one.version = version;
        }
        if let Some(pending) = job.pending.take_if(|pending| is_due(pending.due)) {
            job.observed_generation = job.generation;
            let rendered = render::job(&job);
            for operation in &pending.operations {
                operation::end(state, operation, &rendered, None);
            }
        }
        state.jobs.insert(name.clone(), job);
    }
    !due.is_empty()
}

/// Lets what is stuck go on.
pub fn unstick(state: &mut State, now: Timestamp) {
    for job in state.jobs.values_mut() {
        if let Some(pending) = &mut job.pending {
            pending.due.get_or_insert(now);
        }
        for execution in job.executions.values_mut() {
            execution.due.get_or_insert(now);
        }
    }
}

fn spec_of(body: &Value) -> Result<Map<String, Value>, Refusal> {
    let mut spec = schema::normalise(schema::JOB, body, "job")?;
    spec.remove("name");
    spec.remove("etag");
    Ok(spec)
}

/// Checks a job's spec and fills in what Cloud Run does where the caller leaves out.
fn complete(spec: &mut Map<String, Value>, project: &str) -> Result<(), Refusal> {
    template::refuse_reserved(spec, "job")?;
    spec.entry("launchStage").or_insert(json!("GA"));
    let Some(outer) = spec.get_mut("template").and_then(Value::as_object_mut) else {
        return Err(Refusal::field("job.template", "a job needs a template."));
    };
    template::refuse_reserved(outer, "job.template")?;
    outer.entry("taskCount").or_insert(json!(1));
    let Some(task) = outer.get_mut("template").and_then(Value::as_object_mut) else {
        return Err(Refusal::field("job.template.template", "an execution needs a template."));
    };
    let path = "job.template.template.containers";
    template::complete_containers(task, path, false)?;
    task.entry("timeout").or_insert(json!("600s"));
    task.entry("maxRetries").or_insert(json!(3));
    task.entry("executionEnvironment").or_insert(json!("EXECUTION_ENVIRONMENT_GEN2"));
    task.entry("serviceAccount").or_insert(json!(template::default_account(project)));
    Ok(())
}

fn modifier(name: &JobName, circumstances: &Circumstances) -> String {
    let deployer = || format!("deployer@{}.iam.gserviceaccount.com", name.project());
    circumstances.modifier.clone().unwrap_or_else(deployer)
}
