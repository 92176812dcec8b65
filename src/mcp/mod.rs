//! The gate for AI agents: an MCP server at `/mcp`.
//!
//! An agent asks, waits and reads, with the same tokens and through the same functions as a pipeline
//! that uses the API. Nothing here approves, and nothing that is answered here could be made into an
//! approval: no statement that waits for a signature, no session, no challenge. What a requester
//! wrote stands apart from the facts in each answer, under a name that says so.
//!
//! Streamable HTTP without sessions, so that any instance answers any request. Source: the Model
//! Context Protocol, revisions 2025-11-25 and 2026-07-28.

mod answers;
mod calls;
mod entrance;
mod handing_over;
mod protected_resource;
mod resources;
mod schemas;
mod server;
mod tools;
mod waiting;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::{StreamableHttpServerConfig, StreamableHttpService};

use crate::app::App;
use server::AgentServer;

/// Where agents reach the gate, below its origin.
pub const PATH: &str = "/mcp";

/// How often a silent answer shows that it is alive: half of what proxies usually allow.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The routes. They bring their own form of refusals, so nothing may rewrite their answers.
pub fn routes(app: &App) -> Router<App> {
    let origin = &app.relying_party.origin;
    let host = origin.split_once("://").map_or(origin.as_str(), |(_, host)| host);
    // Programs send no Origin. A request that has one comes from a page in a browser, and a foreign
    // Host from a page whose name was pointed at us (DNS rebinding).
    let config = StreamableHttpServerConfig::default()
        .with_legacy_session_mode(false)
        .with_json_response(true)
        .with_sse_keep_alive(Some(KEEP_ALIVE))
        .with_allowed_hosts([host])
        .enforce_origin_validation();
    let served = app.clone();
    let service = StreamableHttpService::new(
        move || Ok(AgentServer::new(served.clone())),
        Arc::new(NeverSessionManager::default()),
        config,
    );
    Router::new()
        .route_service(PATH, service)
        .layer(from_fn_with_state(app.clone(), entrance::admit))
        .route(protected_resource::PATH, get(protected_resource::metadata))
}
