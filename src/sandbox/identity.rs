//! The identity side of the sandbox: two issuers of workload tokens and one OpenID provider.
//!
//! Everything hangs under one base URL:
//!
//! | path | what |
//! | --- | --- |
//! | `/github`, `/agent` | issuers of workload tokens: discovery and JWKS, RS256 and ES256 |
//! | `/tokens` | makes any workload token, good or wrong, from a JSON object of claims |
//! | `/github/runner-token` | what a runner's `ACTIONS_ID_TOKEN_REQUEST_URL` points at |
//! | `/identity` | OpenID provider with four people: authorization code flow, PKCE, groups |
//! | `/_sandbox/…` | levers for tests: key rotation, outage, altered ID tokens |

mod authorization;
mod cloud_identity;
mod codes;
mod levers;
mod people;
mod signing;
mod token_endpoint;
mod workload;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::clock::Clock;
use codes::Codes;
use signing::KeyRing;

pub use signing::KeyFileError;

/// What the sandbox's identity servers need to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the sandbox is reached, without a trailing slash: `http://localhost:8081`.
    pub base_url: String,
    /// The audience of workload tokens by default: the gate's origin.
    pub audience: String,
    /// The secret of the one registered client, `countersign`.
    pub client_secret: String,
    /// The one redirect URI registered for it, compared byte by byte.
    pub redirect_uri: String,
    /// Where signing keys are kept, so that tokens stay valid over a restart.
    /// `None` keeps them in memory only.
    pub data_dir: Option<PathBuf>,
    /// The clock that dates every token and every answer's `Date`.
    pub clock: Clock,
}

impl Settings {
    /// The settings of the demo: gate at `gate_origin`, sandbox at `base_url`, keys in memory.
    pub fn new(base_url: &str, gate_origin: &str, client_secret: &str, clock: Clock) -> Self {
        Self {
            base_url: base_url.trim_end_matches('/').to_owned(),
            audience: gate_origin.to_owned(),
            client_secret: client_secret.to_owned(),
            redirect_uri: format!("{gate_origin}/sign-in/callback"),
            data_dir: None,
            clock,
        }
    }
}

/// The id of the one client that is registered with the OpenID provider.
pub const CLIENT_ID: &str = "countersign";

/// The identity servers. Clones share keys, codes and levers.
#[derive(Clone)]
pub struct Identity {
    shared: Arc<Shared>,
}

struct Shared {
    settings: Settings,
    keys: Mutex<KeyRing>,
    codes: Mutex<Codes>,
    outage_until: Mutex<Option<Timestamp>>,
    id_token_changes: Mutex<Option<Map<String, Value>>>,
    userinfo_changes: Mutex<Option<Map<String, Value>>>,
    /// The login names of people who left.
    removed: Mutex<BTreeSet<String>>,
}

impl Identity {
    /// Opens the identity servers' state; keys that `data_dir` holds are used again.
    ///
    /// # Errors
    /// If the key file of an earlier run cannot be read.
    pub fn new(settings: Settings) -> Result<Self, KeyFileError> {
        let keys = KeyRing::open(settings.data_dir.as_deref())?;
        Ok(Self {
            shared: Arc::new(Shared {
                settings,
                keys: Mutex::new(keys),
                codes: Mutex::default(),
                outage_until: Mutex::default(),
                id_token_changes: Mutex::default(),
                userinfo_changes: Mutex::default(),
                removed: Mutex::default(),
            }),
        })
    }

    /// Every route of the identity servers.
    pub fn router(&self) -> Router {
        let can_fail = Router::new()
            .route("/github/.well-known/openid-configuration", get(workload::github_discovery))
            .route("/github/.well-known/jwks", get(workload::github_keys))
            .route("/github/runner-token", get(workload::runner_token))
            .route("/agent/.well-known/openid-configuration", get(workload::agent_discovery))
            .route("/agent/.well-known/jwks", get(workload::agent_keys))
            .route("/identity/.well-known/openid-configuration", get(authorization::discovery))
            .route("/identity/.well-known/jwks", get(authorization::keys))
            .route("/identity/token", post(token_endpoint::exchange))
            .route("/identity/userinfo", get(token_endpoint::userinfo))
            .route("/v1/groups/-/memberships:searchTransitiveGroups", get(cloud_identity::search))
            .layer(middleware::from_fn_with_state(self.clone(), refuse_during_outage));
        Router::new()
            .merge(can_fail)
            .route("/identity/authorize", get(authorization::authorize))
            .route("/tokens", post(workload::mint))
            .route("/_sandbox/rotate-keys", post(levers::rotate_keys))
            .route("/_sandbox/identity-outage", post(levers::outage))
            .route("/_sandbox/id-token", post(levers::change_next_id_token))
            .route("/_sandbox/userinfo", post(levers::change_next_userinfo))
            .route("/_sandbox/people/{login}", delete(levers::remove_person))
            .layer(middleware::from_fn_with_state(self.clone(), date_by_own_clock))
            .with_state(self.clone())
    }

    fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    fn now(&self) -> Timestamp {
        self.shared.settings.clock.now()
    }

    fn keys(&self) -> MutexGuard<'_, KeyRing> {
        hold(&self.shared.keys)
    }

    fn codes(&self) -> MutexGuard<'_, Codes> {
        hold(&self.shared.codes)
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.settings().base_url)
    }
}

/// Locks, also after a panic elsewhere: the sandbox's state has no invariant a panic could break.
fn hold<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Answers 503 while a test has declared an outage of the identity servers.
async fn refuse_during_outage(
    State(identity): State<Identity>,
    request: Request,
    next: Next,
) -> Response {
    let until = *hold(&identity.shared.outage_until);
    if until.is_some_and(|until| identity.now() < until) {
        return refusal(
            StatusCode::SERVICE_UNAVAILABLE,
            "temporarily_unavailable",
            "the sandbox plays an outage of its identity servers",
        );
    }
    next.run(request).await
}

/// Dates every answer by the sandbox's clock, so that a test can let two clocks disagree.
async fn date_by_own_clock(
    State(identity): State<Identity>,
    request: Request,
    next: Next,
) -> Response {
    let mut response = next.run(request).await;
    let date = identity.now().strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    if let Ok(date) = HeaderValue::from_str(&date) {
        response.headers_mut().insert(header::DATE, date);
    }
    response
}

/// An error in the shape of OAuth 2.0 (RFC 6749, section 5.2).
fn refusal(status: StatusCode, error: &str, description: &str) -> Response {
    let body = axum::Json(json!({ "error": error, "error_description": description }));
    (status, [(header::CACHE_CONTROL, "no-store")], body).into_response()
}
