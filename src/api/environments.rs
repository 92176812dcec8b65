//! `GET /v1/environments`: what the caller may ask for, or sign.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;

use crate::api::bearer::{Reader, authenticate_reader};
use crate::api::problem::{Problem, ProblemBody};
use crate::api::views::{EnvironmentList, EnvironmentView, RulesInForceView};
use crate::app::App;
use crate::domain::hold::hold_by;
use crate::domain::policy::Policy;
use crate::gate::request::requester_of;
use crate::gate::rule_changes::waiting;

/// Lists the environments that the caller may use.
#[utoipa::path(
    get, path = "/v1/environments", tag = "environments", operation_id = "listEnvironments",
    responses(
        (status = 200, description = "The environments", body = EnvironmentList),
        (status = "4XX", description = "Refused", body = ProblemBody, content_type = "application/problem+json"),
    ),
    security(("workload" = []))
)]
pub async fn list(
    State(app): State<App>,
    headers: HeaderMap,
) -> Result<Json<EnvironmentList>, Problem> {
    let reader = authenticate_reader(&app, &headers).await?;
    Ok(Json(environments_of(&app, &reader).await?))
}

/// What this caller may ask for, or sign.
pub async fn environments_of(app: &App, reader: &Reader) -> Result<EnvironmentList, Problem> {
    let policies = policies_of(app, reader);
    let (freezes, now) = (app.storage.freezes(), app.now());
    let views = policies.map(|policy| {
        let environment = &policy.environment;
        let freeze = match reader {
            Reader::Workload(verified) => {
                freezes.holding(environment, &requester_of(verified), now)
            }
            Reader::Person(_) => freezes.holding_everybody(environment, now),
        };
        EnvironmentView::new(policy, hold_by(freeze, policy, now), now)
    });
    let environments: Vec<EnvironmentView> = views.collect();
    let rules = app.storage.rules();
    // Who may use nothing here learns nothing of its rules.
    let rules = match rules.current().filter(|_| !environments.is_empty()) {
        None => None,
        Some(in_force) => {
            let waiting = waiting(&app.storage).await?;
            Some(RulesInForceView::new(in_force, waiting.as_ref()))
        }
    };
    Ok(EnvironmentList { environments, rules })
}

/// The rules of the environments that this caller may use.
pub fn policies_of<'a>(app: &'a App, reader: &'a Reader) -> impl Iterator<Item = &'a Policy> {
    app.authority.policies.values().filter(move |policy| match reader {
        Reader::Workload(requester) => {
            policy.admits_requester(requester.issuer_name(), requester.claims())
        }
        Reader::Person(session) => {
            policy.admits_signer(&session.profile.person, &session.profile.groups)
        }
    })
}
