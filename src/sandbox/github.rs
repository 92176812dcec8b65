//! As much of GitHub's API as the gate reads: one commit.

use axum::extract::Path;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

/// `GET /github-api/repositories/{id}/commits/{sha}`.
pub fn routes() -> Router {
    Router::new().route("/github-api/repositories/{id}/commits/{sha}", get(commit))
}

async fn commit(Path((id, sha)): Path<(String, String)>) -> Json<Value> {
    Json(json!({
        "sha": sha,
        "html_url": format!("https://github.com/demo/web/commit/{sha}"),
        "url": format!("/repositories/{id}/commits/{sha}"),
        "commit": {
            "message": "Send the checkout's address form once\n\nIt was sent twice on slow phones.",
            "author": {"name": "Erin Example", "email": "erin@example.com", "date": "2026-03-02T09:30:00Z"},
        },
    }))
}
