//! Faults: what goes wrong between a client and the real service, on demand.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::CloudRun;
use super::control::{OutsideEdit, edit_from_outside, vanish_revision};
use super::refusal::Refusal;
use super::state::ServiceName;
use crate::sandbox::journal::Tampering;

/// A fault and the calls that it hits.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    #[serde(default, rename = "match")]
    pub matching: Matching,
    /// How many calls are hit, one after the other; 0 for every call from the nth on.
    #[serde(default = "once")]
    pub times: u64,
    pub fault: Fault,
}

/// Which calls a fault hits.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Matching {
    /// The HTTP method; any, if left out.
    pub method: Option<String>,
    /// What the path contains; any, if left out.
    pub path: Option<String>,
    /// The first call to be hit among those that match, counted from 1 since the rule was made.
    #[serde(default = "once")]
    pub nth: u64,
}

fn once() -> u64 {
    1
}

/// What goes wrong.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// The call is carried out late, or with `after` carried out at once and answered late.
    Delay {
        milliseconds: u64,
        #[serde(default)]
        after: bool,
    },
    /// The call is carried out when the faults are deleted.
    Hold {},
    /// The call is answered with an error and has no effect.
    Status { code: u16, message: Option<String> },
    /// The call is answered with GitHub's secondary limit and has no effect; `retry_after` in seconds.
    RateLimited { retry_after: u64 },
    /// The call is carried out and the connection ends without an answer.
    LostReply {},
    /// The call is carried out and answered with an error.
    StatusAfterEffect { code: u16, message: Option<String> },
    /// What the call starts never comes into effect, until another write or until the faults are
    /// deleted.
    StuckReconciling {},
    /// The revision that the call makes does not start, or the execution that it starts fails.
    RevisionFails { message: Option<String> },
    /// Somebody else edits the service or the job just before the call.
    OutsideEdit(OutsideEdit),
    /// A revision of the service disappears just before the call.
    VanishRevision { revision: String },
}

impl Fault {
    /// The fault's kind, as it is written in a rule and in the journal.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Delay { .. } => "delay",
            Self::Hold {} => "hold",
            Self::Status { .. } => "status",
            Self::RateLimited { .. } => "rate_limited",
            Self::LostReply {} => "lost_reply",
            Self::StatusAfterEffect { .. } => "status_after_effect",
            Self::StuckReconciling {} => "stuck_reconciling",
            Self::RevisionFails { .. } => "revision_fails",
            Self::OutsideEdit(_) => "outside_edit",
            Self::VanishRevision { .. } => "vanish_revision",
        }
    }

    /// Why this fault cannot be injected, if it cannot.
    pub fn problem(&self) -> Option<String> {
        match self {
            Self::Status { code, .. } | Self::StatusAfterEffect { code, .. }
                if !(400..=599).contains(code) =>
            {
                Some(format!("fault.code {code} is no HTTP error; use 400 to 599"))
            }
            _ => None,
        }
    }
}

/// A rule and what it has done so far.
#[derive(Clone, Debug, Serialize)]
pub struct Active {
    pub id: u64,
    #[serde(flatten)]
    pub rule: Rule,
    /// The calls that matched.
    pub seen: u64,
    /// The calls that were hit.
    pub hits: u64,
}

/// The rules in force.
#[derive(Debug, Default)]
pub struct Faults {
    active: Mutex<Vec<Active>>,
    cleared: watch::Sender<()>,
}

impl Faults {
    /// Adds a rule and answers with its number.
    pub fn add(&self, rule: Rule) -> u64 {
        let mut active = self.lock();
        let id = active.last().map_or(1, |last| last.id + 1);
        active.push(Active { id, rule, seen: 0, hits: 0 });
        id
    }

    /// Every rule, the used-up ones too.
    pub fn list(&self) -> Vec<Active> {
        self.lock().clone()
    }

    /// Removes every rule, and lets go of the calls that are held.
    pub fn clear(&self) {
        self.lock().clear();
        self.cleared.send_replace(());
    }

    /// Counts a call and answers with the faults that hit it.
    fn hit(&self, method: &str, path: &str) -> Vec<Fault> {
        let mut hits = Vec::new();
        for active in self.lock().iter_mut() {
            let matching = &active.rule.matching;
            let method_fits =
                matching.method.as_ref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(method));
            let path_fits = matching.path.as_ref().is_none_or(|wanted| path.contains(wanted));
            if !(method_fits && path_fits) {
                continue;
            }
            active.seen += 1;
            let times = active.rule.times;
            if active.seen >= matching.nth && (times == 0 || active.hits < times) {
                active.hits += 1;
                hits.push(active.rule.fault.clone());
            }
        }
        hits
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Active>> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the faults tell the handler of a call, as an extension of the request.
#[derive(Clone, Debug, Default)]
pub struct Injected {
    pub stuck: bool,
    pub revision_fails: Option<String>,
}

/// The layer that injects the faults into the calls that they match.
pub async fn inject(State(run): State<CloudRun>, mut request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    // From before the call is counted, so that a held one misses nothing.
    let cleared = run.shared.faults.cleared.subscribe();
    let faults = run.shared.faults.hit(request.method().as_str(), &path);
    if let Err(refusal) = before_call(&run, &path, &faults, cleared).await {
        return mark(refusal.into_response(), &faults);
    }
    let refused = faults.iter().find_map(|fault| match fault {
        Fault::Status { code, message } => Some(Refusal::injected(*code, message.as_deref())),
        _ => None,
    });
    if let Some(refusal) = refused {
        return mark(refusal.into_response(), &faults);
    }
    if let Some(Fault::RateLimited { retry_after }) =
        faults.iter().find(|fault| matches!(fault, Fault::RateLimited { .. }))
    {
        return mark(rate_limited(*retry_after), &faults);
    }
    request.extensions_mut().insert(for_handler(&faults));
    let mut response = next.run(request).await;
    for fault in &faults {
        match fault {
            Fault::Delay { milliseconds, after: true } => pause(*milliseconds).await,
            Fault::StatusAfterEffect { code, message } if response.status().is_success() => {
                response = Refusal::injected(*code, message.as_deref()).into_response();
            }
            _ => {}
        }
    }
    mark(response, &faults)
}

fn rate_limited(retry_after: u64) -> Response {
    let message =
        "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.";
    let body = axum::Json(serde_json::json!({ "message": message }));
    let seconds = [(http::header::RETRY_AFTER, retry_after.to_string())];
    (http::StatusCode::FORBIDDEN, seconds, body).into_response()
}

async fn before_call(
    run: &CloudRun,
    path: &str,
    faults: &[Fault],
    mut cleared: watch::Receiver<()>,
) -> Result<(), Refusal> {
    for fault in faults {
        match fault {
            Fault::Delay { milliseconds, after: false } => pause(*milliseconds).await,
            Fault::Hold {} => drop(cleared.changed().await),
            Fault::OutsideEdit(edit) => {
                let addressed = addressed(path);
                edit_from_outside(run, edit.service.as_deref().or(Some(&addressed)), edit)?;
            }
            Fault::VanishRevision { revision } => {
                vanish_revision(run, addressed_service(path).as_ref(), revision)?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn for_handler(faults: &[Fault]) -> Injected {
    let mut injected = Injected::default();
    for fault in faults {
        match fault {
            Fault::StuckReconciling {} => injected.stuck = true,
            Fault::RevisionFails { message } => {
                let usual = "The user-provided container failed to start and listen on the port \
                    defined provided by the PORT=8080 environment variable within the allocated timeout.";
                let message = message.clone().unwrap_or_else(|| usual.to_owned());
                injected.revision_fails = Some(message);
            }
            _ => {}
        }
    }
    injected
}

/// Tells the journal, and with a lost reply the connection, what happened to the answer.
fn mark(mut response: Response, faults: &[Fault]) -> Response {
    let lose_reply = faults.iter().any(|fault| matches!(fault, Fault::LostReply {}));
    let faults = faults.iter().map(|fault| fault.kind().to_owned()).collect();
    response.extensions_mut().insert(Tampering { faults, lose_reply });
    response
}

fn addressed_service(path: &str) -> Option<ServiceName> {
    ServiceName::parse(&addressed(path))
}

/// The resource name of the service or the job that a call is about.
fn addressed(path: &str) -> String {
    let parts: Vec<&str> = path.trim_start_matches("/v2/").split('/').take(6).collect();
    parts.join("/")
}

async fn pause(milliseconds: u64) {
    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
}
