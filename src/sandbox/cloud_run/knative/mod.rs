//! The older face of the same cloud: services and revisions as Knative resources (Cloud Run Admin API v1).
//!
//! The `gcloud` command line speaks it. So a client that nobody here wrote reads what a rollout over v2 did,
//! and edits as a person at a terminal would. There is one state: this folder only translates.
//!
//! `show` writes resources in the older form, `read` understands them, this file is the addresses.
//! Services are made and deleted over v2 alone.

mod read;
mod show;

use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, header};
use axum::response::Json;
use axum::routing::{any, get};
use axum::{Extension, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::change::{self, Patch};
use super::family::Family;
use super::faults::Injected;
use super::http::read_body;
use super::refusal::{Code, Refusal};
use super::state::{Service, State as SandboxState};
use super::{CloudRun, template};

type Answer = Result<Json<Value>, Refusal>;
type Run = State<CloudRun>;

/// The routes of the older face.
pub fn routes() -> Router<CloudRun> {
    const NAMESPACE: &str = "/apis/serving.knative.dev/v1/namespaces/{project}";
    let service = get(get_service).put(replace_service).fallback(unknown);
    Router::new()
        .route("/v1/projects/{project}/locations/{location}/services", get(list_services))
        .route("/v1/projects/{project}/services/run.googleapis.com", get(is_enabled))
        .route(&format!("{NAMESPACE}/services"), get(list_services_here).fallback(unknown))
        .route(&format!("{NAMESPACE}/services/{{service}}"), service)
        .route(&format!("{NAMESPACE}/revisions"), get(list_revisions).fallback(unknown))
        .route(&format!("{NAMESPACE}/revisions/{{revision}}"), get(get_revision).fallback(unknown))
        .route("/apis/{*rest}", any(unknown))
}

async fn unknown(request: axum::extract::Request) -> Refusal {
    let (method, path) = (request.method(), request.uri().path());
    let message = format!(
        "The sandbox has no method {method} {path}: over v1 it shows services and revisions and replaces services."
    );
    Refusal::new(Code::Unimplemented, message)
}

/// The API is switched on: `gcloud run deploy` asks.
async fn is_enabled(Path(project): Path<String>) -> Json<Value> {
    let number = template::project_number(&project);
    Json(json!({
        "name": format!("projects/{number}/services/run.googleapis.com"),
        "parent": format!("projects/{number}"),
        "state": "ENABLED",
    }))
}

async fn list_services(
    State(run): Run,
    Path((project, location)): Path<(String, String)>,
) -> Answer {
    let wanted = (location != "-").then_some(location);
    services_of(&run, &project, wanted.as_deref())
}

async fn list_services_here(
    State(run): Run,
    Path(project): Path<String>,
    headers: HeaderMap,
) -> Answer {
    services_of(&run, &project, region(&headers).as_deref())
}

fn services_of(run: &CloudRun, project: &str, region: Option<&str>) -> Answer {
    run.look(|state| {
        let services = in_region(state, project, region);
        Ok(list("Service", services.map(show::service).collect()))
    })
}

async fn get_service(
    State(run): Run,
    Path((project, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Answer {
    run.look(|state| {
        find(state, &project, region(&headers).as_deref(), &id)
            .map(|service| Json(show::service(service)))
    })
}

/// Replaces a service: what this face shows is taken from the body, what it does not show stays.
async fn replace_service(
    State(run): Run,
    Path((project, id)): Path<(String, String)>,
    headers: HeaderMap,
    Extension(injected): Extension<Injected>,
    body: Bytes,
) -> Answer {
    let body = read_body(&body)?;
    let mut circumstances = run.circumstances(&injected);
    circumstances.modifier = Some("somebody.at.a.terminal@example.com".to_owned());
    run.change(|state| {
        let service = find(state, &project, region(&headers).as_deref(), &id)?;
        let name = service.name.clone();
        let wanted = read::service(service, &body)?;
        change::patch(state, &name, &wanted, Patch::default(), &circumstances)?;
        find(state, &project, Some(&name.location), &id).map(|service| Json(show::service(service)))
    })
}

/// Which revisions to list.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Selection {
    /// `serving.knative.dev/service = NAME`, the one selector that is understood.
    label_selector: Option<String>,
}

async fn list_revisions(
    State(run): Run,
    Path(project): Path<String>,
    Query(selection): Query<Selection>,
    headers: HeaderMap,
) -> Answer {
    let wanted = selection.label_selector.as_deref().map(selected_service).transpose()?;
    run.look(|state| {
        let mut revisions: Vec<_> = in_region(state, &project, region(&headers).as_deref())
            .filter(|service| wanted.as_ref().is_none_or(|wanted| *wanted == service.name.id))
            .flat_map(|service| service.revisions.values().map(move |found| (service, found)))
            .collect();
        revisions.sort_by_key(|(_, revision)| (std::cmp::Reverse(revision.created), &revision.id));
        let shown = revisions.into_iter().map(|(service, found)| show::revision(service, found));
        Ok(list("Revision", shown.collect()))
    })
}

async fn get_revision(
    State(run): Run,
    Path((project, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Answer {
    run.look(|state| {
        in_region(state, &project, region(&headers).as_deref())
            .find_map(|service| Some((service, service.revisions.get(&id)?)))
            .map(|(service, revision)| Json(show::revision(service, revision)))
            .ok_or_else(|| Refusal::not_found(&id))
    })
}

fn selected_service(selector: &str) -> Result<String, Refusal> {
    let service = selector.split_once('=').and_then(|(label, service)| {
        (label.trim() == show::SERVICE_LABEL).then(|| service.trim_matches([' ', '=']).to_owned())
    });
    service.ok_or_else(|| {
        let problem = format!(
            "'{selector}' is none that the sandbox knows: {} = NAME is",
            show::SERVICE_LABEL
        );
        Refusal::field("labelSelector", problem)
    })
}

fn list(kind: &str, items: Vec<Value>) -> Json<Value> {
    Json(json!({
        "apiVersion": show::API_VERSION,
        "kind": format!("{kind}List"),
        "metadata": {},
        "items": items,
    }))
}

fn in_region<'a>(
    state: &'a SandboxState,
    project: &str,
    region: Option<&str>,
) -> impl Iterator<Item = &'a Service> {
    state.services.values().filter(move |service| {
        let name = &service.name;
        let named = name.project == project
            || template::project_number(&name.project).to_string() == project;
        let is_service = name.family == Family::Service;
        is_service && named && region.is_none_or(|region| name.location == region)
    })
}

fn find<'a>(
    state: &'a SandboxState,
    project: &str,
    region: Option<&str>,
    id: &str,
) -> Result<&'a Service, Refusal> {
    let mut found = in_region(state, project, region).filter(|service| service.name.id == id);
    let service = found.next().ok_or_else(|| Refusal::not_found(id))?;
    match found.next() {
        None => Ok(service),
        Some(_) => {
            let message = format!("There is a '{id}' in several regions; name one in the host.");
            Err(Refusal::new(Code::FailedPrecondition, message))
        }
    }
}

/// The region is a part of the host in this API: `europe-west1-run.googleapis.com`. In front of another host
/// `gcloud` writes it too. None: every region.
fn region(headers: &HeaderMap) -> Option<String> {
    let host = headers.get(header::HOST)?.to_str().ok()?;
    let mut parts = host.split('-');
    let (continent, place) = (parts.next()?, parts.next()?);
    let is_region = place.ends_with(|last: char| last.is_ascii_digit())
        && continent.bytes().all(|byte| byte.is_ascii_lowercase())
        && parts.next().is_some();
    is_region.then(|| format!("{continent}-{place}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_region_is_read_from_the_host() {
        let of = |host: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().unwrap());
            region(&headers)
        };
        assert_eq!(of("europe-west1-run.googleapis.com").as_deref(), Some("europe-west1"));
        assert_eq!(of("us-central1-127.0.0.1:8081").as_deref(), Some("us-central1"));
        assert_eq!(of("localhost:8081"), None);
        assert_eq!(of("127.0.0.1:8081"), None);
    }
}
