//! As much of Cloud Storage's JSON API as one object needs: read, conditional upload, delete
//! (<https://cloud.google.com/storage/docs/json_api/v1>). Every bucket exists, and everybody may use it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

/// Where generations begin. Google's are microseconds; ours only grow.
const FIRST_GENERATION: u64 = 1_700_000_000_000_000;

/// Objects by bucket and name.
#[derive(Clone, Default)]
struct Storage(Arc<Mutex<BTreeMap<(String, String), Object>>>);

#[derive(Clone)]
struct Object {
    generation: u64,
    bytes: Bytes,
}

/// The routes.
pub fn routes() -> Router {
    Router::new()
        .route("/storage/v1/b/{bucket}/o/{object}", get(read).delete(delete))
        .route("/upload/storage/v1/b/{bucket}/o", post(upload))
        .with_state(Storage::default())
}

impl Storage {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<(String, String), Object>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Deserialize)]
struct Reading {
    alt: Option<String>,
}

async fn read(
    State(storage): State<Storage>,
    Path((bucket, name)): Path<(String, String)>,
    Query(query): Query<Reading>,
) -> Response {
    let found = storage.lock().get(&(bucket.clone(), name.clone())).cloned();
    let Some(object) = found else {
        return refusal(404, &format!("No such object: {bucket}/{name}"));
    };
    if query.alt.as_deref() == Some("media") {
        let generation = [("x-goog-generation", object.generation.to_string())];
        return (generation, object.bytes).into_response();
    }
    Json(shown(&bucket, &name, &object)).into_response()
}

async fn delete(
    State(storage): State<Storage>,
    Path((bucket, name)): Path<(String, String)>,
) -> Response {
    match storage.lock().remove(&(bucket, name)) {
        Some(_) => StatusCode::NO_CONTENT.into_response(),
        None => refusal(404, "No such object"),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Upload {
    upload_type: String,
    name: String,
    if_generation_match: Option<u64>,
}

async fn upload(
    State(storage): State<Storage>,
    Path(bucket): Path<String>,
    Query(query): Query<Upload>,
    bytes: Bytes,
) -> Response {
    if query.upload_type != "media" {
        return refusal(400, "The sandbox knows uploadType=media alone.");
    }
    let mut objects = storage.lock();
    let newest = objects.values().map(|object| object.generation).max();
    let key = (bucket, query.name);
    let current = objects.get(&key).map_or(0, |object| object.generation);
    if query.if_generation_match.is_some_and(|wanted| wanted != current) {
        return refusal(412, "At least one of the pre-conditions you specified did not hold.");
    }
    let generation = newest.unwrap_or(FIRST_GENERATION) + 1;
    let object = Object { generation, bytes };
    let answer = Json(shown(&key.0, &key.1, &object));
    objects.insert(key, object);
    answer.into_response()
}

/// The resource, with numbers as the texts that Google writes them as.
fn shown(bucket: &str, name: &str, object: &Object) -> Value {
    json!({
        "kind": "storage#object",
        "bucket": bucket,
        "name": name,
        "generation": object.generation.to_string(),
        "size": object.bytes.len().to_string(),
    })
}

fn refusal(status: u16, message: &str) -> Response {
    let body = json!({"error": {"code": status, "message": message}});
    (StatusCode::from_u16(status).unwrap_or_default(), Json(body)).into_response()
}
