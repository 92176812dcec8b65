//! Jobs and executions as the API answers them, in normal form.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::super::change::etag;
use super::super::schema::rfc3339;
use super::{Execution, Job};

/// The job.
pub fn job(job: &Job) -> Value {
    let mut fields = job.spec.clone();
    let state = if job.pending.is_some() { "CONDITION_RECONCILING" } else { "CONDITION_SUCCEEDED" };
    let condition = condition("Ready", state, job.updated);
    put(
        &mut fields,
        json!({
            "name": job.name.as_str(),
            "uid": job.uid,
            "etag": etag(&job.uid, job.version),
            "generation": job.generation.to_string(),
            "observedGeneration": job.observed_generation.to_string(),
            "createTime": rfc3339(job.created),
            "updateTime": rfc3339(job.updated),
            "creator": job.creator,
            "lastModifier": job.last_modifier,
            "conditions": [condition],
            "terminalCondition": condition,
        }),
    );
    if !job.executions.is_empty() {
        fields.insert("executionCount".to_owned(), json!(job.executions.len()));
    }
    if job.pending.is_some() {
        fields.insert("reconciling".to_owned(), json!(true));
    }
    if let Some(latest) = job.latest.as_ref().and_then(|id| job.executions.get(id)) {
        let status = match (latest.ended, &latest.fails) {
            (None, _) => "EXECUTION_RUNNING",
            (Some(_), None) => "EXECUTION_SUCCEEDED",
            (Some(_), Some(_)) => "EXECUTION_FAILED",
        };
        let mut reference = json!({
            "name": latest.id,
            "createTime": rfc3339(latest.created),
            "completionStatus": status,
        });
        if let Some(ended) = latest.ended {
            reference["completionTime"] = json!(rfc3339(ended));
        }
        fields.insert("latestCreatedExecution".to_owned(), reference);
    }
    Value::Object(fields)
}

/// An execution of the job.
pub fn execution(job: &Job, execution: &Execution) -> Value {
    let mut fields = execution.template.clone();
    let tasks = fields.get("taskCount").and_then(Value::as_i64).unwrap_or(1);
    fields.entry("parallelism").or_insert(json!(tasks));
    for of_template_alone in ["client", "clientVersion", "delayExecution"] {
        fields.remove(of_template_alone);
    }
    let (state, counted) = match (execution.ended, &execution.fails) {
        (None, _) => ("CONDITION_RECONCILING", "runningCount"),
        (Some(_), None) => ("CONDITION_SUCCEEDED", "succeededCount"),
        (Some(_), Some(_)) => ("CONDITION_FAILED", "failedCount"),
    };
    let mut completed = condition("Completed", state, execution.ended.unwrap_or(execution.created));
    if let (Some(_), Some(message)) = (execution.ended, &execution.fails) {
        completed["message"] = json!(message);
    }
    put(
        &mut fields,
        json!({
            "name": job.name.execution(&execution.id),
            "uid": execution.uid,
            "etag": etag(&execution.uid, execution.version),
            "generation": "1",
            "observedGeneration": "1",
            "createTime": rfc3339(execution.created),
            "startTime": rfc3339(execution.created),
            "updateTime": rfc3339(execution.ended.unwrap_or(execution.created)),
            "creator": execution.creator,
            "job": job.name.id(),
            "launchStage": job.spec.get("launchStage"),
            "conditions": [completed],
            (counted): tasks,
            "logUri": format!("https://console.cloud.google.com/logs/viewer?project={}", job.name.project()),
        }),
    );
    match execution.ended {
        Some(ended) => fields.insert("completionTime".to_owned(), json!(rfc3339(ended))),
        None => fields.insert("reconciling".to_owned(), json!(true)),
    };
    Value::Object(fields)
}

fn condition(kind: &str, state: &str, since: Timestamp) -> Value {
    json!({ "type": kind, "state": state, "lastTransitionTime": rfc3339(since) })
}

fn put(fields: &mut Map<String, Value>, more: Value) {
    fields.extend(more.as_object().cloned().unwrap_or_default());
}
