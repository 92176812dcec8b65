//! What the caller may do: everything, less what a test or a person at the demo takes away.
//!
//! As at Google, a call without its permission is refused before anything of the service is told, and
//! `testIamPermissions` answers with the permissions that are there.

use std::collections::{BTreeMap, BTreeSet};

use axum::extract::{Json, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::CloudRun;
use super::refusal::{Code, Refusal};
use crate::sandbox::google_accounts;

/// Asked for beside the permissions to create and to update.
const ACT_AS: &str = "iam.serviceAccounts.actAs";
/// Asked for beside `run.jobs.update` where a change also starts an execution.
const RUN_JOB: &str = "run.jobs.run";
/// The custom method that tells permissions.
pub const TEST: &str = "testIamPermissions";

/// Which permissions the caller lacks.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Denied {
    /// On every service, worker pool and job.
    pub denied: BTreeSet<String>,
    /// Services, by their resource names, where one account alone has any.
    #[serde(default)]
    pub callers: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    #[serde(default)]
    permissions: Vec<String>,
}

/// Answers `testIamPermissions`.
///
/// # Errors
/// `INVALID_ARGUMENT` for a body that is no list of permissions.
pub fn test(run: &CloudRun, body: &Value) -> Result<Json<Value>, Refusal> {
    let asked: Asked = serde_json::from_value(body.clone())
        .map_err(|error| Refusal::new(Code::InvalidArgument, error.to_string()))?;
    let denied = run.denied();
    let had: Vec<_> =
        asked.permissions.iter().filter(|one| !denied.denied.contains(*one)).collect();
    Ok(Json(if had.is_empty() { json!({}) } else { json!({ "permissions": had }) }))
}

/// Refuses a change of a job that also starts an execution, without the permission for that.
///
/// # Errors
/// `PERMISSION_DENIED`.
pub fn require_run(run: &CloudRun, job: &str) -> Result<(), Refusal> {
    if run.denied().denied.contains(RUN_JOB) { Err(denial(RUN_JOB, job)) } else { Ok(()) }
}

fn denial(permission: &str, resource: &str) -> Refusal {
    let message = format!(
        "Permission '{permission}' denied on resource '{resource}' (or resource may not exist)."
    );
    Refusal::new(Code::PermissionDenied, message)
}

/// The layer that refuses calls without their permission.
pub async fn require(State(run): State<CloudRun>, request: Request, next: Next) -> Response {
    let denied = run.denied();
    let path = request.uri().path();
    let caller = google_accounts::caller(request.headers());
    let is_stranger = denied.callers.iter().any(|(service, account)| {
        path.trim_start_matches("/v2/").starts_with(service.as_str())
            && caller.as_ref() != Some(account)
    });
    let lacking = needed(request.method(), path)
        .into_iter()
        .find(|one| is_stranger || denied.denied.contains(*one));
    let Some(permission) = lacking else { return next.run(request).await };
    denial(permission, path.trim_start_matches("/v2/")).into_response()
}

/// The permissions that a call of the API needs (the API's page of each method names them).
fn needed(method: &Method, path: &str) -> Vec<&'static str> {
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let under_location = match parts[..] {
        ["v2", "projects", _, "locations", _, ref rest @ ..] => rest,
        _ => return Vec::new(),
    };
    match (method.as_str(), under_location) {
        (_, ["services" | "workerPools", named]) if named.contains(':') => Vec::new(),
        ("GET", ["services"]) => vec!["run.services.list"],
        ("POST", ["services"]) => vec!["run.services.create", ACT_AS],
        ("GET", ["services", _]) => vec!["run.services.get"],
        ("PATCH", ["services", _]) => vec!["run.services.update", ACT_AS],
        ("DELETE", ["services", _]) => vec!["run.services.delete"],
        ("GET", ["workerPools"]) => vec!["run.workerpools.list"],
        ("POST", ["workerPools"]) => vec!["run.workerpools.create", ACT_AS],
        ("GET", ["workerPools", _]) => vec!["run.workerpools.get"],
        ("PATCH", ["workerPools", _]) => vec!["run.workerpools.update", ACT_AS],
        ("DELETE", ["workerPools", _]) => vec!["run.workerpools.delete"],
        ("GET", ["services" | "workerPools", _, "revisions"]) => vec!["run.revisions.list"],
        ("GET", ["services" | "workerPools", _, "revisions", _]) => vec!["run.revisions.get"],
        ("DELETE", ["services" | "workerPools", _, "revisions", _]) => {
            vec!["run.revisions.delete"]
        }
        (_, ["jobs", job]) if job.contains(':') => Vec::new(),
        ("DELETE", ["jobs", _]) => vec!["run.jobs.delete"],
        ("PATCH", ["jobs", _]) => vec!["run.jobs.update", ACT_AS],
        ("GET", ["jobs", _]) => vec!["run.jobs.get"],
        ("GET", ["jobs", _, "executions"]) => vec!["run.executions.list"],
        ("GET", ["jobs", _, "executions", _]) => vec!["run.executions.get"],
        _ => Vec::new(),
    }
}
