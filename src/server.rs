//! Every route of the service on one screen, what every request passes through, and the socket in front of it.

mod front;

use std::net::SocketAddr;

use axum::Router;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, Uri};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tokio::sync::watch;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer};

use crate::api::health;
use crate::api::problem::Problem;
use crate::app::App;
use crate::domain::log_fault::LogFault;
use crate::web::same_origin::require_same_origin;
use crate::web::{
    agents, approvals, assets, batches, decisions, endorsements, environments, first_key, inbox,
    interventions, key_sign_in, keys, recovery, security_headers, sign_in,
};
use crate::{api, mcp, web};

pub use front::Front;

/// The largest body: a deployment request with a long text and a large template fits many times.
const LARGEST_BODY: usize = 64 * 1024;
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The routes.
pub fn routes(app: App) -> Router {
    let (api, description) = api::routes().split_for_parts();
    let description = axum::Json(description);
    let pages = Router::new()
        .route("/", get(inbox::page))
        .route("/agents", get(agents::page))
        .route("/agents/statements", post(agents::statement))
        .route("/agents/credentials", post(agents::credential))
        .route("/agents/{index}/revocations", post(agents::revocation))
        .route("/approvals/{id}", get(approvals::page))
        .route("/approvals/{id}/status", get(decisions::status))
        .route("/approvals/{id}/statements", post(decisions::statement))
        .route("/approvals/{id}/decisions", post(decisions::decision))
        .route("/approvals/{id}/batch", get(batches::page))
        .route("/approvals/{id}/batch/status", get(batches::status))
        .route("/approvals/{id}/batch/statements", post(batches::statement))
        .route("/approvals/{id}/batch/decisions", post(batches::decision))
        .route("/approvals/{id}/interventions/statements", post(interventions::statement))
        .route("/approvals/{id}/interventions", post(interventions::intervention))
        .route("/approvals/{id}/evidence", get(api::evidence::evidence))
        .route("/audit", get(web::audit::page))
        .route("/audit/entries.jsonl", get(web::audit::jsonl))
        .route("/audit/entries.csv", get(web::audit::csv))
        .route("/drift", get(web::drift::page))
        .route("/drift/{entry}/statements", post(web::drift::statement))
        .route("/drift/{entry}/explanations", post(web::drift::explanation))
        .route("/exceptions", get(web::exceptions::page))
        .route("/exceptions/{entry}/statements", post(web::exceptions::statement))
        .route("/exceptions/{entry}/reviews", post(web::exceptions::review))
        .route("/environments", get(environments::page))
        .route("/environments/statements", post(environments::statement))
        .route("/environments/freezes", post(environments::signature))
        .route("/keys", get(web::keys_page::page))
        .route("/keys/all", get(web::keys_page::all))
        .route("/keys/first", get(first_key::page).post(first_key::open))
        .route("/keys/{credential}/revocations", post(keys::revocation))
        .route("/keys/{credential}/losses", post(keys::loss))
        .route("/keys/losses/{ceremony}", get(web::keys_page::loss))
        .route("/keys/losses/{ceremony}/statements", post(keys::loss_statement))
        .route("/keys/losses/{ceremony}/signatures", post(keys::loss_signature))
        .route("/keys/{credential}/endorsement", get(endorsements::page))
        .route("/keys/{credential}/statements", post(endorsements::statement))
        .route("/keys/{credential}/endorsements", post(endorsements::endorsement))
        .route("/keys/ceremonies", post(keys::begin))
        .route("/keys/ceremonies/{id}", post(keys::receive))
        .route("/keys/ceremonies/{id}/signatures", post(keys::signature))
        .route("/notices", get(web::notices::page))
        .route("/recovery", get(recovery::page).post(recovery::open))
        .route("/recovery/signatures", post(recovery::signature))
        .route("/sign-in", get(sign_in::begin))
        .route(sign_in::CALLBACK_PATH, get(sign_in::callback))
        .route("/sign-in/key", get(key_sign_in::page))
        .route("/sign-in/key/statements", post(key_sign_in::statement))
        .route("/sign-in/key/sessions", post(key_sign_in::session))
        .route("/sign-out", post(sign_in::sign_out))
        .route("/signed-out", get(web::page::signed_out))
        .layer(from_fn_with_state(app.clone(), require_same_origin));
    let assets = Router::new().route(assets::ROUTE, get(assets::serve));
    let headers = security_headers::security_headers(&app.relying_party.origin);
    Router::new()
        .merge(pages)
        .merge(assets)
        .merge(api)
        .route("/log/tile/{*path}", get(api::log::tile))
        .route("/openapi.json", get(move || async move { description }))
        .fallback(web::page::nothing_here)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(from_fn(problem_of_plain_refusals))
        .merge(mcp::routes(&app))
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(headers, security_headers::add_security_headers))
        .layer(from_fn_with_state(app.clone(), log_request))
        .layer(PropagateRequestIdLayer::new(REQUEST_ID))
        .layer(SetRequestIdLayer::new(REQUEST_ID, MakeRequestUuid))
        .with_state(app)
}

async fn method_not_allowed() -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "This address does not know this method. The description of the API is at /openapi.json.",
    )
}

fn panicked(panic: Box<dyn std::any::Any + Send + 'static>) -> Response {
    let words = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let words = words.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
    tracing::error!(panic = words, "a request handler panicked");
    let detail = "Something in the gate went wrong. Nothing was decided by this request; the log names the cause under the request's id.";
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", detail).into_response()
}

/// What the framework refuses by itself (a body that is too large, say) becomes a problem like all others.
async fn problem_of_plain_refusals(request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    match response.status() {
        StatusCode::PAYLOAD_TOO_LARGE if !is_problem(&response) => {
            Problem::body_too_large().into_response()
        }
        StatusCode::BAD_REQUEST if !is_problem(&response) && !is_page(&response) => Problem::new(
            StatusCode::BAD_REQUEST,
            "malformed_request",
            "The request is not one that this gate understands. The description of the API is at /openapi.json.",
        )
        .into_response(),
        _ => response,
    }
}

fn content_type(response: &Response) -> &[u8] {
    response.headers().get("content-type").map(|value| value.as_bytes()).unwrap_or_default()
}

fn is_problem(response: &Response) -> bool {
    content_type(response).starts_with(b"application/problem+json")
}

fn is_page(response: &Response) -> bool {
    content_type(response).starts_with(b"text/html")
}

/// One line for every request, with where it came from as far as that can be believed.
async fn log_request(State(app): State<App>, request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
    let client = peer.map(|peer| app.proxies.client_address(peer, request.headers()));
    let client = client.map(|address| address.to_string()).unwrap_or_default();
    let id = request
        .headers()
        .get(&REQUEST_ID)
        .and_then(|id| id.to_str().ok())
        .unwrap_or_default()
        .to_owned();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let response = next.run(request).await;
    let status = response.status().as_u16();
    tracing::info!(target: "countersign::requests", request_id = id, client, %method, path, status, "answered");
    response
}

/// The routes of a gate that has no database to serve anything from yet: everything is refused with this reason.
pub fn routes_that_refuse(origin: &str, reason: watch::Receiver<LogFault>) -> Router {
    let current = reason.clone();
    let ready = move || async move { health::not_ready(&current.borrow()) };
    let refuse = move |uri: Uri, headers: HeaderMap| async move {
        let problem: Problem = reason.borrow().clone().into();
        web::page::refuse(problem, &uri, &headers)
    };
    let headers = security_headers::security_headers(origin);
    Router::new()
        .route("/health/live", get(health::live))
        .route("/health/ready", get(ready))
        .merge(Router::new().route(assets::ROUTE, get(assets::serve)))
        .fallback(refuse)
        .layer(from_fn_with_state(headers, security_headers::add_security_headers))
        .layer(PropagateRequestIdLayer::new(REQUEST_ID))
        .layer(SetRequestIdLayer::new(REQUEST_ID, MakeRequestUuid))
}
