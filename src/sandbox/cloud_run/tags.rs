//! What revisions answer at the addresses that tags give them. Nothing runs here, so that the sandbox answers
//! for them: 200 and `ok`, unless it is told what else.
//!
//! A name of its own for each tag would need a name server, so that the host's first part stands in the path:
//! `/tags/TAG---SERVICE-HASH-REGION/…`.

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Json, Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use http::{StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::CloudRun;

/// What a tag's address answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TagAnswer {
    status: u16,
    body: String,
    /// Where a redirect leads.
    location: Option<String>,
    delay_milliseconds: u64,
    /// Whether the connection ends without an answer.
    lost: bool,
}

impl Default for TagAnswer {
    fn default() -> Self {
        Self {
            status: 200,
            body: "ok".to_owned(),
            location: None,
            delay_milliseconds: 0,
            lost: false,
        }
    }
}

/// The answers by tag, where they are not the usual one.
pub type TagAnswers = BTreeMap<String, TagAnswer>;

/// The addresses of tags.
pub fn router(run: &CloudRun) -> Router {
    Router::new()
        .route("/tags/{host}", get(answer_root))
        .route("/tags/{host}/{*path}", get(answer))
        .with_state(run.clone())
}

/// `PUT /_sandbox/tag-answers`: exactly these answers from now on, by tag.
pub fn controls(run: &CloudRun) -> Router {
    Router::new().route("/_sandbox/tag-answers", put(set)).with_state(run.clone())
}

async fn set(State(run): State<CloudRun>, Json(answers): Json<TagAnswers>) -> Json<Value> {
    *run.shared.tag_answers.lock().unwrap_or_else(PoisonError::into_inner) = answers;
    Json(json!({}))
}

async fn answer_root(State(run): State<CloudRun>, Path(host): Path<String>) -> Response {
    answer_at(&run, &host).await
}

async fn answer(State(run): State<CloudRun>, Path((host, _)): Path<(String, String)>) -> Response {
    answer_at(&run, &host).await
}

async fn answer_at(run: &CloudRun, host: &str) -> Response {
    // An address is there for as long as its tag is in effect.
    let address = run.shared.tag_base.get().map(|base| format!("{base}/tags/{host}"));
    let is_there = run.look(|state| {
        let mut statuses = state.services.values().flat_map(|service| &service.traffic_statuses);
        Ok(statuses.any(|status| status["uri"].as_str() == address.as_deref()))
    });
    let tag = host.split("---").next().unwrap_or_default();
    if !is_there.unwrap_or_default() {
        return (StatusCode::NOT_FOUND, "The requested URL was not found on this server.")
            .into_response();
    }
    let answers = run.shared.tag_answers.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let told = answers.get(tag).cloned().unwrap_or_default();
    tokio::time::sleep(Duration::from_millis(told.delay_milliseconds)).await;
    let mut response = Response::new(Body::from(told.body));
    *response.status_mut() = StatusCode::from_u16(told.status).unwrap_or_default();
    if let Some(location) = told.location.and_then(|location| location.parse().ok()) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    if told.lost {
        let faults = vec!["lost_reply".to_owned()];
        response
            .extensions_mut()
            .insert(crate::sandbox::journal::Tampering { faults, lose_reply: true });
    }
    response
}
