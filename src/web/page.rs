//! What every page needs: who looks at it, and what to show when something does not work.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Redirect, Response};

use crate::api::problem::Problem;
use crate::app::App;
use crate::domain::exception::Exception;
use crate::domain::hold::Freezes;
use crate::domain::policy::TrustLevel;
use crate::gate::GateError;
use crate::gate::endorse::signing_keys;
use crate::proof::sign_in::issued_at;
use crate::storage::Session;
use crate::web::paths;
use crate::web::session::find_session;
use crate::web::views::problem::{Action, ProblemPage, SignedOutPage};
use crate::web::views::{Surroundings, Viewer};

/// A visit by somebody who is signed in.
pub struct Visit {
    /// Their session.
    pub session: Session,
    /// Who looks.
    pub viewer: Viewer,
    /// Why nothing is decided and nothing rolled out now.
    pub alarm: Option<String>,
    /// What is frozen, as is verified.
    pub freezes: Freezes,
    /// Where the glass was broken.
    pub exceptions: Arc<[Exception]>,
}

impl Visit {
    /// What the page is drawn in.
    pub fn surroundings<'a>(&'a self, app: &'a App) -> Surroundings<'a> {
        let (viewer, alarm) = (Some(&self.viewer), self.alarm.as_deref());
        let (freezes, exceptions) = (&self.freezes, &*self.exceptions);
        Surroundings { viewer, alarm, freezes, exceptions, ..outside(app) }
    }
}

/// What a page is drawn in for somebody who is not signed in.
pub fn outside(app: &App) -> Surroundings<'_> {
    let (notice, trust) = (app.notice.as_deref(), app.trust.level());
    let freezes = Freezes::NONE;
    let exceptions = &[];
    Surroundings { viewer: None, notice, alarm: None, trust, freezes, exceptions, now: app.now() }
}

/// Finds out who visits; a person who is not signed in is sent to sign in and comes back to `here`.
pub async fn visit(app: &App, headers: &HeaderMap, here: &str) -> Result<Visit, PageError> {
    let Some(session) = find_session(app, headers).await? else {
        return Err(PageError::SignIn(paths::sign_in(here)));
    };
    let (trust, person) = (&app.trust, &session.profile.person);
    let keys = match signing_keys(&app.storage, trust, trust.endorsements, person).await {
        Err(GateError::Ceremony(_)) => Vec::new(),
        other => other.map_err(Problem::from)?,
    };
    let viewer = Viewer {
        profile: session.profile.clone(),
        keys: keys.into_iter().map(|credential| credential.name).collect(),
        keys_refused: None,
        keys_until: None,
        signed_in_at: issued_at(&session.id_token),
        session_ends_at: session.expires_at,
        reads_ledger: app.scope_of(&session.profile).is_some(),
        is_auditor: app.authority.roles.is_auditor(person, &session.profile.groups),
    };
    let exceptions = app.storage.exceptions().await.map_err(Problem::from)?;
    let (alarm, freezes) = (alarm(app), app.storage.freezes());
    Ok(Visit { session, viewer, alarm, freezes, exceptions })
}

/// Why nothing is decided and nothing rolled out now, or what a witness of the log found, in words for the
/// top of a page.
pub fn alarm(app: &App) -> Option<String> {
    if let Some(fault) = app.storage.log_fault() {
        return Some(format!("Nothing is decided and nothing is rolled out: {fault}."));
    }
    let mut standings = app.witnesses.standings().into_iter();
    let (name, standing) = standings.find(|(_, standing)| standing.is_alarm)?;
    let fault = standing.fault.unwrap_or_default();
    Some(format!(
        "The witness {name} does not sign the log: {fault}. Find out what happened to the database before you approve anything."
    ))
}

/// Why a page is not shown.
pub enum PageError {
    /// The person has to sign in first.
    SignIn(String),
    /// Something does not work.
    Problem(Problem),
}

impl From<Problem> for PageError {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        match self {
            Self::SignIn(path) => Redirect::to(&path).into_response(),
            Self::Problem(problem) => problem_page(&problem),
        }
    }
}

/// A problem as people read it.
fn problem_page(problem: &Problem) -> Response {
    // It shows nothing that could be trusted or not.
    let now = jiff::Timestamp::UNIX_EPOCH;
    let trust = TrustLevel::Pinned;
    let freezes = Freezes::NONE;
    let exceptions = &[];
    let around =
        Surroundings { viewer: None, notice: None, alarm: None, trust, freezes, exceptions, now };
    let title = match problem.status {
        StatusCode::NOT_FOUND => "Nothing to see here",
        StatusCode::FORBIDDEN => "Not allowed",
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE => "Not available just now",
        _ => "That did not work",
    };
    let action = match problem.code {
        "stale_sign_in" | "sign_in_refused" => {
            Some(Action { label: "Sign in", href: paths::sign_in(paths::INBOX) })
        }
        "unknown_enrolment" | "other_person" | "already_registered" | "unknown_credential"
        | "own_key_missing" | "invalid_time" => {
            Some(Action { label: "Your keys", href: paths::KEYS.to_owned() })
        }
        _ => None,
    };
    let status = problem.status.as_u16();
    let page = ProblemPage::new(status, title, &problem.detail, action, None, paths::INBOX, around);
    (problem.status, page).into_response()
}

/// What this is, for somebody who is not signed in.
pub fn signed_out_page(app: &App, just_left: bool) -> SignedOutPage {
    let alarm = alarm(app);
    let around = Surroundings { alarm: alarm.as_deref(), ..outside(app) };
    SignedOutPage::new(paths::INBOX, just_left, around)
}

/// `GET /signed-out`.
pub async fn signed_out(State(app): State<App>) -> SignedOutPage {
    signed_out_page(&app, true)
}

/// Any address that the gate does not know: a page for browsers, a problem for programs.
pub async fn nothing_here(uri: Uri, headers: HeaderMap) -> Response {
    let detail = "There is nothing at this address. The inbox is at /, the description of the API at /openapi.json.";
    refuse(Problem::new(StatusCode::NOT_FOUND, "not_found", detail), &uri, &headers)
}

/// A problem as whoever asked for this address reads it: a page for browsers, JSON for programs.
pub fn refuse(problem: Problem, uri: &Uri, headers: &HeaderMap) -> Response {
    let wants_page = headers
        .get("accept")
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("text/html"));
    let is_api = uri.path().starts_with("/v1/");
    if wants_page && !is_api { problem_page(&problem) } else { problem.into_response() }
}
