//! `GET /.well-known/oauth-protected-resource`: whose tokens the gate takes (RFC 9728).

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use crate::app::App;

/// Where RFC 9728, section 3, puts it for a resource without a path.
pub const PATH: &str = "/.well-known/oauth-protected-resource";

/// What a client learns (RFC 9728, section 2).
#[derive(Serialize)]
pub struct Metadata {
    /// The gate; API and `/mcp` take the same tokens.
    resource: String,
    resource_name: &'static str,
    /// Whose tokens are taken.
    authorization_servers: Vec<String>,
    bearer_methods_supported: [&'static str; 1],
}

/// The address of the metadata.
pub fn url(app: &App) -> String {
    format!("{}{PATH}", app.relying_party.origin)
}

/// The metadata.
pub async fn metadata(State(app): State<App>) -> Json<Metadata> {
    Json(Metadata {
        resource: app.relying_party.origin.clone(),
        resource_name: "Countersign",
        authorization_servers: app.workloads.issuers().map(str::to_owned).collect(),
        bearer_methods_supported: ["header"],
    })
}
