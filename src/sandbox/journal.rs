//! The journal: every call that the sandbox answers, so that a test can count what was really done.
//!
//! A layer around any router writes it. A call is written when it arrives and completed when it is
//! answered, so a call that is still being worked on shows with no status. The sandbox's own
//! controls under `/_sandbox/` are left out, or reading the journal would change it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Query, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use http::{HeaderMap, StatusCode, Uri, header};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::clock::Clock;
use crate::sandbox::google_accounts;

/// The calls kept; older ones are forgotten, so that a long demo does not fill the memory.
const KEPT_CALLS: usize = 20_000;

/// The longest body that is kept, in bytes; of a longer one the journal keeps the length alone.
const KEPT_BODY: usize = 64 * 1024;

/// The longest body that the sandbox reads, in bytes.
const LONGEST_BODY: usize = 8 * 1024 * 1024;

/// The controls of the sandbox, which the journal leaves out.
const CONTROLS: &str = "/_sandbox/";

/// One call and its answer.
#[derive(Clone, Debug, Serialize)]
pub struct Call {
    /// Counts up from 1 in the order of arrival; clearing the journal does not reset it.
    pub sequence: u64,
    pub time: Timestamp,
    pub method: String,
    /// Path and query as they were sent, without scheme and host.
    pub path: String,
    /// The host that the caller addressed, from the request's target or its `Host` header.
    pub host: String,
    /// The account at Google whose access token came with the call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    pub request: Value,
    /// The HTTP status that was made; none while the call is being worked on. With `lost_reply`
    /// among the faults the caller never saw it.
    pub status: Option<u16>,
    pub response: Value,
    /// The injected faults that hit this call, by kind.
    pub faults: Vec<String>,
}

/// What an inner layer tells the journal about an answer, as an extension of the response.
#[derive(Clone, Debug, Default)]
pub struct Tampering {
    /// The injected faults that hit the call, by kind.
    pub faults: Vec<String>,
    /// The connection ends without an answer.
    pub lose_reply: bool,
}

#[derive(Debug, Default)]
struct Calls {
    last_sequence: u64,
    kept: VecDeque<Call>,
}

/// The journal. Clones write into the same one.
#[derive(Clone, Debug)]
pub struct Journal {
    clock: Clock,
    calls: Arc<Mutex<Calls>>,
}

impl Journal {
    /// An empty journal that takes its times from `clock`.
    pub fn new(clock: Clock) -> Self {
        Self { clock, calls: Arc::default() }
    }

    /// The same router with every call written into this journal.
    ///
    /// A call is carried out even when its caller hangs up, as a real service would, and the
    /// journal shows it.
    pub fn watch(&self, router: Router) -> Router {
        router.layer(middleware::from_fn_with_state(self.clone(), record))
    }

    /// `GET /_sandbox/journal` (`?method=PATCH&path=PREFIX`) and `DELETE /_sandbox/journal`.
    pub fn router(&self) -> Router {
        Router::new().route("/_sandbox/journal", get(read).delete(clear)).with_state(self.clone())
    }

    /// Every call kept, in the order of arrival.
    pub fn calls(&self) -> Vec<Call> {
        self.lock().kept.iter().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn arrived(&self, method: &str, uri: &Uri, headers: &HeaderMap, body: &[u8]) -> u64 {
        let mut calls = self.lock();
        calls.last_sequence += 1;
        let sequence = calls.last_sequence;
        let path = uri.path_and_query().map_or_else(String::new, ToString::to_string);
        calls.kept.push_back(Call {
            sequence,
            time: self.clock.now(),
            method: method.to_owned(),
            path,
            host: addressed_host(uri, headers),
            account: google_accounts::caller(headers),
            request: kept_body(body),
            status: None,
            response: Value::Null,
            faults: Vec::new(),
        });
        if calls.kept.len() > KEPT_CALLS {
            calls.kept.pop_front();
        }
        sequence
    }

    fn answered(&self, sequence: u64, status: StatusCode, body: &[u8], faults: Vec<String>) {
        let mut calls = self.lock();
        if let Some(call) = calls.kept.iter_mut().rev().find(|call| call.sequence == sequence) {
            call.status = Some(status.as_u16());
            call.response = kept_body(body);
            call.faults = faults;
        }
    }
}

/// Which calls to show.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Filter {
    method: Option<String>,
    path: Option<String>,
}

async fn read(State(journal): State<Journal>, Query(filter): Query<Filter>) -> Json<Value> {
    let mut calls = journal.calls();
    calls.retain(|call| {
        filter.method.as_ref().is_none_or(|method| call.method.eq_ignore_ascii_case(method))
            && filter.path.as_ref().is_none_or(|path| call.path.starts_with(path))
    });
    Json(json!({ "calls": calls }))
}

async fn clear(State(journal): State<Journal>) -> Json<Value> {
    journal.lock().kept.clear();
    Json(json!({}))
}

async fn record(State(journal): State<Journal>, request: Request, next: Next) -> Response {
    if request.uri().path().starts_with(CONTROLS) {
        return next.run(request).await;
    }
    // In a task of its own, because a call whose caller hung up is dropped otherwise.
    match tokio::spawn(record_call(journal, request, next)).await {
        Ok(response) => response,
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn record_call(journal: Journal, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, LONGEST_BODY).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let sequence = journal.arrived(parts.method.as_str(), &parts.uri, &parts.headers, &body);
    let response = next.run(Request::from_parts(parts, Body::from(body))).await;
    let (mut parts, body) = response.into_parts();
    let body = axum::body::to_bytes(body, LONGEST_BODY).await.unwrap_or_default();
    let tampering = parts.extensions.remove::<Tampering>().unwrap_or_default();
    journal.answered(sequence, parts.status, &body, tampering.faults);
    if tampering.lose_reply {
        parts.headers.remove(header::CONTENT_LENGTH);
        return Response::from_parts(parts, broken_body());
    }
    Response::from_parts(parts, Body::from(body))
}

/// A body that fails before its first byte: the server then closes the connection, and because the
/// head of the answer is still in its buffer, the caller sees no answer at all.
fn broken_body() -> Body {
    let failure = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
    Body::from_stream(futures::stream::once(async { Err::<Bytes, _>(failure) }))
}

fn addressed_host(uri: &Uri, headers: &HeaderMap) -> String {
    let header = || headers.get(header::HOST).and_then(|host| host.to_str().ok());
    uri.authority().map(|authority| authority.as_str()).or_else(header).unwrap_or("").to_owned()
}

fn kept_body(body: &[u8]) -> Value {
    if body.is_empty() {
        return Value::Null;
    }
    if body.len() > KEPT_BODY {
        return Value::String(format!("a body of {} bytes, too long for the journal", body.len()));
    }
    serde_json::from_slice(body)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(body).into_owned()))
}
