//! Receivers of notices, as many as somebody asks for: each name under `/receiver/` is one. It keeps what it
//! was sent, word for word, and does what it is told.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use http::{HeaderMap, StatusCode, header};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::clock::Clock;
use crate::sandbox::journal::Tampering;

/// Messages kept by a receiver; later ones are not.
const KEPT: usize = 10_000;

/// What a receiver does with what it is sent. It keeps it, whatever it answers.
#[derive(Deserialize, Clone, Copy, Default)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Behaviour {
    /// Takes it.
    #[default]
    Takes,
    /// Answers with this status.
    Answers(u16),
    /// Answers 429 and asks to be left alone for so many seconds.
    Busy(u32),
    /// Takes it after so many milliseconds.
    Slow(u64),
    /// Takes it, and hangs up before it has said so.
    HangsUp,
    /// Leads to another of the sandbox's receivers.
    Redirects,
}

/// One message, as it arrived.
#[derive(Serialize, Clone)]
struct Message {
    at: Timestamp,
    headers: BTreeMap<String, String>,
    body: String,
    /// What was answered; none for a receiver that hung up.
    status: Option<u16>,
}

#[derive(Default)]
struct Receiver {
    behaviour: Behaviour,
    /// How many more messages are met by the behaviour; all if absent.
    times: Option<u32>,
    messages: Vec<Message>,
}

/// What can be told to a receiver.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Lever {
    behaviour: Behaviour,
    times: Option<u32>,
}

/// The receivers.
#[derive(Clone)]
pub struct Receivers {
    clock: Clock,
    receivers: Arc<Mutex<BTreeMap<String, Receiver>>>,
}

impl Receivers {
    /// Receivers that go by this clock.
    pub fn new(clock: Clock) -> Self {
        Self { clock, receivers: Arc::default() }
    }

    /// `POST /receiver/{name}`, and what it was sent and the lever at `/_sandbox/receiver/{name}`.
    pub fn router(self) -> Router {
        Router::new()
            .route("/receiver/{name}", post(take))
            .route("/_sandbox/receiver/{name}", get(read).put(pull))
            .with_state(self)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Receiver>> {
        self.receivers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn read(State(receivers): State<Receivers>, Path(name): Path<String>) -> Json<Vec<Message>> {
    let mut all = receivers.lock();
    Json(all.entry(name).or_default().messages.clone())
}

async fn pull(
    State(receivers): State<Receivers>,
    Path(name): Path<String>,
    Json(lever): Json<Lever>,
) -> StatusCode {
    let mut all = receivers.lock();
    let receiver = all.entry(name).or_default();
    (receiver.behaviour, receiver.times) = (lever.behaviour, lever.times);
    StatusCode::NO_CONTENT
}

async fn take(
    State(receivers): State<Receivers>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let behaviour = {
        let mut all = receivers.lock();
        let receiver = all.entry(name.clone()).or_default();
        let behaviour = match receiver.times {
            Some(0) => Behaviour::Takes,
            _ => receiver.behaviour,
        };
        receiver.times = receiver.times.map(|times| times.saturating_sub(1));
        behaviour
    };
    if let Behaviour::Slow(milliseconds) = behaviour {
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
    }
    let status = match behaviour {
        Behaviour::Answers(status) => {
            StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY)
        }
        Behaviour::Busy(_) => StatusCode::TOO_MANY_REQUESTS,
        Behaviour::Redirects => StatusCode::TEMPORARY_REDIRECT,
        Behaviour::Takes | Behaviour::Slow(_) | Behaviour::HangsUp => StatusCode::OK,
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let headers = headers.iter().map(|(name, value)| (name.to_string(), text(value.as_bytes())));
    let hangs_up = matches!(behaviour, Behaviour::HangsUp);
    let message = Message {
        at: receivers.clock.now(),
        headers: headers.collect(),
        body: text(&body),
        status: (!hangs_up).then_some(status.as_u16()),
    };
    let mut all = receivers.lock();
    let messages = &mut all.entry(name).or_default().messages;
    if messages.len() < KEPT {
        messages.push(message);
    }
    let mut response = status.into_response();
    match behaviour {
        Behaviour::Busy(seconds) => {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        Behaviour::Redirects => {
            let elsewhere = header::HeaderValue::from_static("/receiver/elsewhere");
            response.headers_mut().insert(header::LOCATION, elsewhere);
        }
        Behaviour::HangsUp => {
            response
                .extensions_mut()
                .insert(Tampering { lose_reply: true, ..Tampering::default() });
        }
        Behaviour::Takes | Behaviour::Answers(_) | Behaviour::Slow(_) => {}
    }
    response
}
