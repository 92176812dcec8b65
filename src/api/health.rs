//! Whether the process lives, and whether it can do its work.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use jiff::SignedDuration;
use serde::Serialize;

use crate::app::App;
use crate::domain::log_fault::LogFault;
use crate::domain::policy::TrustLevel;

/// A clock that is further off than this makes tokens and statements end too early or too late.
const TOLERATED_SKEW: SignedDuration = SignedDuration::from_secs(30);

/// How the gate is.
#[derive(Serialize, Default, utoipa::ToSchema)]
pub struct Health {
    /// `ok`, or `failing` where something keeps it from working.
    status: &'static str,
    /// What is wrong, a sentence each.
    problems: Vec<String>,
    /// Whether the anchors that approvals rest on are pinned in the configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    trust: Option<TrustLevel>,
    /// The rules in force, and whether the configuration file says others, which wait for signatures.
    #[serde(skip_serializing_if = "Option::is_none")]
    rules: Option<RulesHealth>,
    /// How the witnesses of the log stand. One that is down keeps the gate from nothing but what waits for it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    witnesses: Vec<WitnessHealth>,
    /// The receivers of notices that were not told everything yet. They keep the gate from nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    receivers: Vec<ReceiverHealth>,
}

/// The rules in force. Others in the configuration file keep the gate from nothing.
#[derive(Serialize, utoipa::ToSchema)]
pub struct RulesHealth {
    /// SHA-256 of the canonical rulebook.
    digest: String,
    /// Whether those of the configuration file wait for signatures.
    changes_wait: bool,
}

fn rules(app: &App) -> Option<RulesHealth> {
    let digest = app.storage.rules().current()?.digest.to_string();
    Some(RulesHealth { digest, changes_wait: app.rules_wait })
}

/// How a witness of the log stands.
#[derive(Serialize, utoipa::ToSchema)]
pub struct WitnessHealth {
    name: String,
    /// How many entries the newest tree head has that it signed since this process started.
    signed: Option<u64>,
    /// When it signed, by its clock.
    signed_at: Option<String>,
    /// Why it did not sign the newest offer.
    fault: Option<String>,
    /// Whether that is a sign that the log lost entries, or is another one.
    alarm: bool,
}

/// A receiver of notices that was not told everything yet.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ReceiverHealth {
    name: String,
    /// How many notices are still to be sent.
    waiting: u64,
    /// When the oldest of them happened.
    oldest: Option<String>,
    /// How many were given up in the last 30 days.
    given_up: u64,
    /// Why the newest that did not get through did not.
    fault: Option<String>,
}

async fn receivers(app: &App) -> Vec<ReceiverHealth> {
    // What else is wrong with the database is said in its own place.
    let standings = app.storage.notice_standings().await.unwrap_or_default().into_iter();
    let told = standings.map(|standing| ReceiverHealth {
        name: standing.receiver,
        waiting: standing.waiting,
        oldest: standing.oldest.map(|at| at.to_string()),
        given_up: standing.given_up,
        fault: standing.last_error,
    });
    told.collect()
}

fn witnesses(app: &App) -> Vec<WitnessHealth> {
    let standings = app.witnesses.standings().into_iter();
    let told = standings.map(|(name, standing)| WitnessHealth {
        name,
        signed: standing.signed.map(|(size, _)| size),
        signed_at: standing.signed.map(|(_, at)| at.to_string()),
        fault: standing.fault,
        alarm: standing.is_alarm,
    });
    told.collect()
}

/// The process answers.
#[utoipa::path(
    get, path = "/health/live", tag = "health", operation_id = "readLiveness",
    responses((status = 200, description = "It lives", body = Health))
)]
pub async fn live() -> Json<Health> {
    Json(Health { status: "ok", ..Health::default() })
}

/// The answer of a gate that cannot do its work, and why.
pub fn not_ready(fault: &LogFault) -> (StatusCode, Json<Health>) {
    let problems = vec![nothing_is_done(fault)];
    let health = Health { status: "failing", problems, ..Health::default() };
    (StatusCode::SERVICE_UNAVAILABLE, Json(health))
}

fn nothing_is_done(fault: &LogFault) -> String {
    format!("Nothing is decided or rolled out: {fault}.")
}

/// The database can be written, the log is the one that was seen, and the clock is right.
#[utoipa::path(
    get, path = "/health/ready", tag = "health", operation_id = "readReadiness",
    responses(
        (status = 200, description = "It can do its work", body = Health),
        (status = 503, description = "Something keeps it from working", body = Health),
    )
)]
pub async fn ready(State(app): State<App>) -> (StatusCode, Json<Health>) {
    let mut problems = Vec::new();
    let checked = app.storage.check().await;
    match (app.storage.log_fault(), checked) {
        (Some(fault), _) => problems.push(nothing_is_done(&fault)),
        (None, Err(error)) => {
            tracing::error!(%error, "the database cannot be read and written");
            problems.push("The database cannot be read and written: nothing is decided or rolled out until it can.".to_owned());
        }
        (None, Ok(())) => {}
    }
    let of_issuers = app.workloads.last_clock_skew().map(|skew| (skew.issuer_name, skew.ahead));
    let of_cloud_run = app.cloud_run.clock_ahead().map(|ahead| ("Cloud Run".to_owned(), ahead));
    for (whose, ahead) in of_issuers.into_iter().chain(of_cloud_run) {
        if ahead.abs() > TOLERATED_SKEW {
            problems.push(format!(
                "This machine's clock differs by {} seconds from that of {whose}: set it right, or tokens and statements end at the wrong time.",
                ahead.as_secs(),
            ));
        }
    }
    let (status, word) = if problems.is_empty() {
        (StatusCode::OK, "ok")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "failing")
    };
    let trust = Some(app.trust.level());
    let (witnesses, receivers) = (witnesses(&app), receivers(&app).await);
    let rules = rules(&app);
    (status, Json(Health { status: word, problems, trust, rules, witnesses, receivers }))
}
