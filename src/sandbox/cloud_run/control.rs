//! The sandbox's own controls under `/_sandbox/`: faults, permissions, edits from outside, the ready delay.

use std::sync::PoisonError;

use axum::Router;
use axum::extract::{Json, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use http::StatusCode;
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::change::{self, Patch};
use super::faults::{Injected, Rule};
use super::jobs::{self, JobName};
use super::permissions::Denied;
use super::refusal::{Code, Refusal};
use super::state::{Health, ServiceName, State as SandboxState};
use super::{CloudRun, render};

/// An edit by somebody who is not the gate.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutsideEdit {
    /// The resource name of the service, the worker pool or the job; within a fault, the one that the call addresses.
    pub service: Option<String>,
    /// Who edits; somebody unknown, if left out.
    pub modifier: Option<String>,
    /// Which fields to write; those that `change` holds, if left out.
    #[serde(rename = "updateMask")]
    pub update_mask: Option<String>,
    /// The fields to write; an annotation of no consequence, if left out.
    pub change: Option<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadyDelay {
    milliseconds: u32,
}

/// A revision that falls ill while it serves, or recovers.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RevisionHealth {
    /// The service's resource name.
    service: String,
    /// The revision's short name.
    revision: String,
    /// What Cloud Run says is wrong with it; nothing, if it is well again.
    message: Option<String>,
}

/// The routes of the controls.
pub fn router(run: &CloudRun) -> Router {
    Router::new()
        .route("/_sandbox/faults", get(list_faults).post(add_fault).delete(clear_faults))
        .route("/_sandbox/permissions", put(permissions))
        .route("/_sandbox/outside-edit", post(outside_edit))
        .route("/_sandbox/ready-delay", post(ready_delay))
        .route("/_sandbox/revision-health", post(revision_health))
        .with_state(run.clone())
}

async fn list_faults(State(run): State<CloudRun>) -> Json<Value> {
    Json(json!({ "faults": run.shared.faults.list() }))
}

async fn add_fault(State(run): State<CloudRun>, Json(rule): Json<Rule>) -> Response {
    if let Some(problem) = rule.fault.problem() {
        return Refusal::new(Code::InvalidArgument, problem).into_response();
    }
    let id = run.shared.faults.add(rule);
    (StatusCode::CREATED, Json(json!({ "id": id }))).into_response()
}

/// Removes the faults and lets what is stuck go on.
async fn clear_faults(State(run): State<CloudRun>) -> Result<Json<Value>, Refusal> {
    run.shared.faults.clear();
    let now = run.clock.now();
    run.change(|state| {
        for service in state.services.values_mut() {
            if let Some(pending) = &mut service.pending {
                pending.due.get_or_insert(now);
            }
        }
        jobs::unstick(state, now);
        Ok(())
    })?;
    Ok(Json(json!({})))
}

/// Takes exactly these permissions away from the caller.
async fn permissions(State(run): State<CloudRun>, Json(denied): Json<Denied>) -> Json<Denied> {
    run.shared.denied.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&denied);
    Json(denied)
}

async fn outside_edit(
    State(run): State<CloudRun>,
    Json(edit): Json<OutsideEdit>,
) -> Result<Json<Value>, Refusal> {
    edit_from_outside(&run, edit.service.as_deref(), &edit).map(Json)
}

async fn ready_delay(State(run): State<CloudRun>, Json(delay): Json<ReadyDelay>) -> Json<Value> {
    run.set_ready_delay(SignedDuration::from_millis(i64::from(delay.milliseconds)));
    Json(json!({}))
}

async fn revision_health(
    State(run): State<CloudRun>,
    Json(health): Json<RevisionHealth>,
) -> Result<Json<Value>, Refusal> {
    let name = ServiceName::parse(&health.service);
    let name = required(name.as_ref())?;
    run.change(|state| {
        let version = state.next();
        let service = state.services.get_mut(&name.to_string());
        let service = service.ok_or_else(|| Refusal::not_found(&name.to_string()))?;
        let id = &health.revision;
        let revision = service.revisions.get_mut(id);
        let revision = revision.ok_or_else(|| Refusal::not_found(&name.revision(id)))?;
        let shown = health.message.clone().map_or(Health::Ready, Health::Failed);
        revision.health = shown.clone();
        if service.latest_created.as_ref() == Some(id) {
            service.configuration = shown;
        }
        service.version = version;
        Ok(Json(json!({})))
    })
}

/// Edits a service, a worker pool or a job as somebody else would, in effect after the usual delay, and answers with it.
pub fn edit_from_outside(
    run: &CloudRun,
    resource: Option<&str>,
    edit: &OutsideEdit,
) -> Result<Value, Refusal> {
    if let Some(job) = resource.and_then(JobName::parse) {
        return jobs::edit_from_outside(run, &job, edit);
    }
    let service = resource.and_then(ServiceName::parse);
    let name = required(service.as_ref())?;
    let mut circumstances = run.circumstances(&Injected::default());
    let modifier = edit.modifier.clone();
    circumstances.modifier = modifier.or_else(|| Some("somebody.else@example.com".to_owned()));
    run.change(|state| {
        let (mask, body) = match &edit.change {
            Some(body) => (edit.update_mask.clone().or_else(|| fields_of(body)), body.clone()),
            None => (Some("annotations".to_owned()), harmless_change(state, name)),
        };
        let patch = Patch { mask: mask.as_deref(), ..Patch::default() };
        change::patch(state, name, &body, patch, &circumstances)?;
        state
            .services
            .get(&name.to_string())
            .map(render::service)
            .ok_or_else(|| Refusal::not_found(&name.to_string()))
    })
}

/// Takes a revision away, and with it whatever traffic it had.
pub fn vanish_revision(
    run: &CloudRun,
    service: Option<&ServiceName>,
    id: &str,
) -> Result<(), Refusal> {
    let name = required(service)?;
    run.change(|state| {
        let version = state.next();
        let service = state.services.get_mut(&name.to_string());
        let service = service.ok_or_else(|| Refusal::not_found(&name.to_string()))?;
        if service.revisions.remove(id).is_none() {
            return Err(Refusal::not_found(&name.revision(id)));
        }
        service.traffic_statuses.retain(|status| status["revision"] != id);
        service.version = version;
        Ok(())
    })
}

fn required(service: Option<&ServiceName>) -> Result<&ServiceName, Refusal> {
    service.ok_or_else(|| {
        let problem =
            "must be given, as projects/P/locations/R/services/S or projects/P/locations/R/workerPools/W.";
        Refusal::field("service", problem)
    })
}

fn fields_of(body: &Value) -> Option<String> {
    let fields: Vec<&str> = body.as_object()?.keys().map(String::as_str).collect();
    Some(fields.join(","))
}

fn harmless_change(state: &SandboxState, name: &ServiceName) -> Value {
    let service = state.services.get(&name.to_string());
    let annotations = service.and_then(|service| service.spec.get("annotations"));
    let mut annotations = annotations.cloned().unwrap_or_else(|| json!({}));
    annotations["example.com/edited-by-hand"] = json!(state.serial.to_string());
    json!({ "annotations": annotations })
}
