//! The API over HTTP: its addresses and what they do.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::response::Json;
use axum::routing::{any, get};
use axum::{Extension, Router, middleware};
use serde_json::{Value, json};

use super::change::{self, Patch};
use super::family::Family;
use super::faults::{self, Injected};
use super::operation;
use super::query::Query;
use super::refusal::{Code, Refusal};
use super::state::{Kind, ServiceName, State as SandboxState};
use super::{CloudRun, jobs, knative, permissions, render, schema};

/// How often a wait looks whether its operation is done.
const WAIT_STEP: Duration = Duration::from_millis(20);

/// The longest wait for an operation.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

pub(super) type Answer = Result<Json<Value>, Refusal>;
pub(super) type Run = State<CloudRun>;

const PARENT: &str = "/v2/projects/{project}/locations/{location}";

/// The routes of the API, with the faults around them.
pub fn router(run: &CloudRun) -> Router {
    let under_parent = |path: &str| format!("{PARENT}{path}");
    let operation = get(get_operation).post(wait_operation).fallback(unknown);
    let mut router = Router::new();
    for (path, methods) in jobs::routes() {
        router = router.route(&under_parent(path), methods);
    }
    for family in Family::ALL {
        router = router.merge(routes_of(family));
    }
    router
        .route(&under_parent("/operations"), get(list_operations).fallback(unknown))
        .route(&under_parent("/operations/{operation}"), operation)
        .route("/v2/{*rest}", any(unknown))
        .merge(knative::routes())
        .layer(middleware::from_fn_with_state(run.clone(), permissions::require))
        .layer(middleware::from_fn_with_state(run.clone(), faults::inject))
        .with_state(run.clone())
}

/// The routes of services, or of worker pools.
fn routes_of(family: Family) -> Router<CloudRun> {
    let services = get(list_services).post(create_service).fallback(unknown);
    let service = get(get_service)
        .patch(patch_service)
        .delete(delete_service)
        .post(custom_method)
        .fallback(unknown);
    let revisions = get(list_revisions).fallback(unknown);
    let revision = get(get_revision).delete(delete_revision).fallback(unknown);
    let base = format!("{PARENT}/{}", family.collection());
    Router::new()
        .route(&base, services)
        .route(&format!("{base}/{{service}}"), service)
        .route(&format!("{base}/{{service}}/revisions"), revisions)
        .route(&format!("{base}/{{service}}/revisions/{{revision}}"), revision)
        .layer(Extension(family))
}

pub(super) async fn unknown(request: axum::extract::Request) -> Refusal {
    let (method, path) = (request.method(), request.uri().path());
    let message = format!("The sandbox has no method {method} {path}.");
    Refusal::new(if path.contains(':') { Code::Unimplemented } else { Code::NotFound }, message)
}

async fn list_services(
    State(run): Run,
    Extension(family): Extension<Family>,
    Path((project, location)): Path<(String, String)>,
    RawQuery(raw): RawQuery,
) -> Answer {
    let query = read_query(raw, family, "list")?;
    let parent = format!("projects/{project}/locations/{location}");
    run.look(|state| {
        let is_listed = |name: &ServiceName| name.family == family && name.parent() == parent;
        let services = state.services.iter().filter(|(_, found)| is_listed(&found.name));
        let rendered = services.map(|(name, found)| {
            (name.clone(), query.encode(family.schema(), &render::service(found)))
        });
        query.list(family.collection(), rendered.collect())
    })
}

async fn create_service(
    State(run): Run,
    Extension(family): Extension<Family>,
    Path((project, location)): Path<(String, String)>,
    RawQuery(raw): RawQuery,
    Extension(injected): Extension<Injected>,
    body: Bytes,
) -> Answer {
    let query = read_query(raw, family, "create")?;
    let body = read_body(&body)?;
    let id = query.text(family.id_parameter()).unwrap_or_default().to_owned();
    let name = ServiceName { family, project, location, id };
    let circumstances = run.circumstances_of(&injected, &name, &body);
    start(&run, &query, |state| change::create(state, &name, &body, &circumstances))
}

async fn get_service(
    State(run): Run,
    Extension(family): Extension<Family>,
    Path(path): ServicePath,
    RawQuery(raw): RawQuery,
) -> Answer {
    let name = service_name(family, path)?;
    let query = read_query(raw, family, "get")?;
    run.look(|state| {
        let service = state.services.get(&name.to_string());
        let service = service.ok_or_else(|| Refusal::not_found(&name.to_string()))?;
        Ok(Json(query.encode(family.schema(), &render::service(service))))
    })
}

async fn patch_service(
    State(run): Run,
    Extension(family): Extension<Family>,
    Path(path): ServicePath,
    RawQuery(raw): RawQuery,
    Extension(injected): Extension<Injected>,
    body: Bytes,
) -> Answer {
    let name = service_name(family, path)?;
    let query = read_query(raw, family, "patch")?;
    let body = read_body(&body)?;
    let patch = Patch {
        mask: query.text("updateMask"),
        allow_missing: query.flag("allowMissing")?,
        force_new_revision: query.flag("forceNewRevision")?,
    };
    let circumstances = run.circumstances_of(&injected, &name, &body);
    start(&run, &query, |state| change::patch(state, &name, &body, patch, &circumstances))
}

async fn delete_service(
    State(run): Run,
    Extension(family): Extension<Family>,
    Path(path): ServicePath,
    RawQuery(raw): RawQuery,
    Extension(injected): Extension<Injected>,
) -> Answer {
    let name = service_name(family, path)?;
    let query = read_query(raw, family, "delete")?;
    let circumstances = run.circumstances(&injected);
    start(&run, &query, |state| change::delete(state, &name, query.text("etag"), &circumstances))
}

/// A method whose name follows the service's after a colon.
async fn custom_method(
    State(run): Run,
    Extension(family): Extension<Family>,
    Path((project, location, service)): ServicePath,
    body: Bytes,
) -> Answer {
    match service.split_once(':') {
        Some((_, permissions::TEST)) => permissions::test(&run, &read_body(&body)?),
        _ => service_name(family, (project, location, service)).and_then(|name| {
            let message = format!("The sandbox has no method POST of {name}.");
            Err(Refusal::new(Code::NotFound, message))
        }),
    }
}

type ServicePath = Path<(String, String, String)>;
type RevisionPath = Path<(String, String, String, String)>;

async fn list_revisions(
    State(run): Run,
    Extension(family): Extension<Family>,
    Path(path): ServicePath,
    RawQuery(raw): RawQuery,
) -> Answer {
    let name = service_name(family, path)?;
    let query = read_query(raw, family, "revisions.list")?;
    run.look(|state| {
        let service = state.services.get(&name.to_string());
        let service = service.ok_or_else(|| Refusal::not_found(&name.to_string()))?;
        let mut revisions: Vec<_> = service.revisions.values().collect();
        revisions.sort_by_key(|revision| (std::cmp::Reverse(revision.created), &revision.id));
        let rendered = revisions.into_iter().map(|revision| {
            let rendered = render::revision(service, revision);
            (revision.id.clone(), query.encode(schema::REVISION, &rendered))
        });
        query.list("revisions", rendered.collect())
    })
}

async fn get_revision(
    State(run): Run,
    Extension(family): Extension<Family>,
    Path((project, location, service, revision)): RevisionPath,
    RawQuery(raw): RawQuery,
) -> Answer {
    let name = service_name(family, (project, location, service))?;
    let query = read_query(raw, family, "revisions.get")?;
    run.look(|state| {
        let missing = || Refusal::not_found(&name.revision(&revision));
        let service = state.services.get(&name.to_string()).ok_or_else(missing)?;
        let revision = service.revisions.get(&revision).ok_or_else(missing)?;
        Ok(Json(query.encode(schema::REVISION, &render::revision(service, revision))))
    })
}

/// Deletes a revision at once; the newest one and those with traffic stay.
async fn delete_revision(
    State(run): Run,
    Extension(family): Extension<Family>,
    Path((project, location, service, id)): RevisionPath,
    RawQuery(raw): RawQuery,
) -> Answer {
    let name = service_name(family, (project, location, service))?;
    let query = read_query(raw, family, "revisions.delete")?;
    let now = run.circumstances(&Injected::default()).now;
    start(&run, &query, |state| {
        let missing = || Refusal::not_found(&name.revision(&id));
        let service = state.services.get_mut(&name.to_string()).ok_or_else(missing)?;
        let revision = service.revisions.get(&id).ok_or_else(missing)?;
        let current = change::etag(&revision.uid, revision.version);
        if query.text("etag").is_some_and(|given| given != current) {
            let message = format!("Conflict for resource '{id}': its etag is {current}.");
            return Err(Refusal::new(Code::Aborted, message));
        }
        let targets = super::traffic::targets(family, &mut service.spec);
        let served = targets.iter().chain(&service.traffic_statuses).any(|t| t["revision"] == *id);
        let newest = [&service.latest_created, &service.latest_ready];
        if served || newest.contains(&&Some(id.clone())) {
            let message = format!("Revision '{id}' is the newest or has traffic; it stays.");
            return Err(Refusal::new(Code::FailedPrecondition, message));
        }
        let rendered = render::revision(service, revision);
        service.revisions.remove(&id);
        let operation = operation::begin(state, &name.parent(), &name.to_string(), now);
        operation::keep_resource(state, &operation, Kind::Revision, rendered.clone());
        operation::end(state, &operation, &rendered, None);
        Ok(operation)
    })
}

async fn list_operations(
    State(run): Run,
    Path((project, location)): Path<(String, String)>,
    RawQuery(raw): RawQuery,
) -> Answer {
    let query = Query::read(raw, "operations.list")?;
    let parent = format!("projects/{project}/locations/{location}/operations/");
    run.look(|state| {
        let found = state.operations.iter().filter(|(name, _)| name.starts_with(&parent));
        let mut found: Vec<_> = found.collect();
        found.sort_by_key(|(name, operation)| (std::cmp::Reverse(operation.created), *name));
        let rendered = found.into_iter().map(|(name, operation)| {
            (name.clone(), operation::render(name, operation, query.integer_enums))
        });
        query.list("operations", rendered.collect())
    })
}

async fn get_operation(
    State(run): Run,
    Path((project, location, id)): ServicePath,
    RawQuery(raw): RawQuery,
) -> Answer {
    let query = Query::read(raw, "operations.get")?;
    let name = format!("projects/{project}/locations/{location}/operations/{id}");
    look_at_operation(&run, &query, &name).map(|(operation, _)| Json(operation))
}

/// `POST …/operations/ID:wait` answers when the operation is done or the time is over.
async fn wait_operation(
    State(run): Run,
    Path((project, location, id)): ServicePath,
    RawQuery(raw): RawQuery,
    body: Bytes,
) -> Answer {
    let query = Query::read(raw, "operations.wait")?;
    let Some(id) = id.strip_suffix(":wait") else {
        return Err(Refusal::new(Code::NotFound, "Only :wait can be posted to an operation."));
    };
    let body = if body.is_empty() { json!({}) } else { read_body(&body)? };
    let body = schema::normalise("GoogleLongrunningWaitOperationRequest", &body, "request")?;
    let timeout = body.get("timeout").and_then(Value::as_str).and_then(|text| {
        text.trim_end_matches('s').parse().ok().and_then(|s| Duration::try_from_secs_f64(s).ok())
    });
    let timeout = timeout.unwrap_or(LONGEST_WAIT).min(LONGEST_WAIT);
    let name = format!("projects/{project}/locations/{location}/operations/{id}");
    let started = tokio::time::Instant::now();
    loop {
        let (operation, running) = look_at_operation(&run, &query, &name)?;
        if !running || started.elapsed() >= timeout {
            return Ok(Json(operation));
        }
        tokio::time::sleep(WAIT_STEP).await;
    }
}

fn look_at_operation(run: &CloudRun, query: &Query, name: &str) -> Result<(Value, bool), Refusal> {
    run.look(|state| {
        let found = state.operations.get(name).ok_or_else(|| Refusal::not_found(name))?;
        let rendered = operation::render(name, found, query.integer_enums);
        Ok((rendered, operation::is_running(found)))
    })
}

/// Makes a change and answers with its operation; with `validateOnly` nothing is kept.
pub(super) fn start(
    run: &CloudRun,
    query: &Query,
    change: impl FnOnce(&mut SandboxState) -> Result<String, Refusal>,
) -> Answer {
    let rendered = |state: &SandboxState, name: &str, validated: bool| {
        let missing = || Refusal::not_found(name);
        let operation = state.operations.get(name).ok_or_else(missing)?;
        Ok(Json(match validated {
            true => operation::render_validated(operation, query.integer_enums),
            false => operation::render(name, operation, query.integer_enums),
        }))
    };
    if query.flag("validateOnly")? {
        return run.look(|state| {
            let mut tried = state.clone();
            let name = change(&mut tried)?;
            rendered(&tried, &name, true)
        });
    }
    run.change(|state| {
        let name = change(state)?;
        rendered(state, &name, false)
    })
}

pub(super) fn read_body(body: &[u8]) -> Result<Value, Refusal> {
    serde_json::from_slice(body).map_err(|error| {
        let message = format!("Invalid JSON payload received. {error}");
        Refusal::new(Code::InvalidArgument, message)
    })
}

fn read_query(raw: Option<String>, family: Family, method: &str) -> Result<Query, Refusal> {
    Query::read(raw, &format!("{}.{method}", family.collection()))
}

/// The service or the worker pool that the path names. A custom method such as `:getIamPolicy` is none of ours.
fn service_name(
    family: Family,
    (project, location, id): (String, String, String),
) -> Result<ServiceName, Refusal> {
    match id.split_once(':') {
        None => Ok(ServiceName { family, project, location, id }),
        Some((_, method)) => {
            let message = format!("The sandbox has no method {method}.");
            Err(Refusal::new(Code::Unimplemented, message))
        }
    }
}
