//! `POST /v1/github/webhooks`: GitHub tells the gate's App what happens.

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::problem::{Problem, ProblemBody, sentence};
use crate::app::App;
use crate::domain::workflow_run::{Delivery, RunWaits};
use crate::gate::{refusals, rule};
use crate::integrations::github::delivery::{DeliveryRefusal, Event, UnverifiedDelivery};

/// GitHub sends what a rule is about in some tens of kilobytes, more with many pull requests; its own limit of
/// 25 MB is for events that the gate does not ask for.
const LARGEST_DELIVERY: usize = 1024 * 1024;

/// The route, with a limit of its own.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(receive)).layer(DefaultBodyLimit::max(LARGEST_DELIVERY))
}

/// Take a webhook of the gate's GitHub App. Nothing is decided here: what it says is looked up at GitHub.
#[utoipa::path(
    post, path = "/v1/github/webhooks", tag = "github", operation_id = "receiveGitHubWebhook",
    request_body(content = String, description = "The payload, byte for byte as GitHub signed it", content_type = "application/json"),
    params(
        ("X-Hub-Signature-256" = String, Header, description = "`sha256=` and the HMAC of the body with the webhook's secret"),
        ("X-GitHub-Delivery" = String, Header, description = "Names the delivery; a repetition changes nothing"),
        ("X-GitHub-Event" = String, Header, description = "`deployment_protection_rule`; every other event is taken and forgotten"),
    ),
    responses(
        (status = 202, description = "Kept, and looked into next"),
        (status = 200, description = "Known already, or of no concern here"),
        (status = "4XX", description = "Not believed; nothing was kept", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
async fn receive(
    State(app): State<App>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let Some(github) = &app.github_app else {
        return Err(Problem::new(
            StatusCode::NOT_FOUND,
            "no_github_app",
            "This gate is no GitHub App: add [github.app] to its configuration.",
        ));
    };
    // A header that comes twice says nothing that can be relied on.
    let header = |name: &str| {
        let mut values = headers.get_all(name).iter();
        let value = values.next().filter(|_| values.next().is_none());
        value.and_then(|value| value.to_str().ok()).unwrap_or_default()
    };
    let unverified = UnverifiedDelivery {
        signature: header("x-hub-signature-256"),
        id: header("x-github-delivery"),
        event: header("x-github-event"),
        body: &body,
    };
    let now = app.now();
    let verified = github.verify(unverified).map_err(|refusal| {
        tracing::warn!(code = refusal.code(), %refusal, "a webhook was refused");
        app.storage.note_stranger(refusals::WEBHOOK, refusal.code(), now);
        let status = match refusal {
            DeliveryRefusal::Signature => StatusCode::UNAUTHORIZED,
            DeliveryRefusal::Headers | DeliveryRefusal::Payload(_) => StatusCode::BAD_REQUEST,
            DeliveryRefusal::NotPinned => StatusCode::FORBIDDEN,
        };
        Problem::new(status, refusal.code(), sentence(&refusal))
    })?;
    let requested = match verified.event() {
        Event::RuleRequested(rule) => rule,
        Event::Other(event) => {
            tracing::debug!(event, "a webhook that concerns the gate not at all");
            return Ok(StatusCode::OK.into_response());
        }
    };
    let waits = RunWaits {
        delivery: Delivery {
            id: verified.id().to_owned(),
            body_digest: *verified.digest(),
            signature_digest: *verified.signature_digest(),
        },
        repository: requested.repository,
        run: requested.run,
        environment: requested.environment.clone(),
    };
    // Kept before it is answered: what GitHub was told is taken is not lost with this process.
    let is_new = rule::keep(&app.storage, &waits, now).await?;
    tracing::info!(
        delivery = waits.delivery.id,
        run = waits.run,
        is_new,
        "a run waits at an environment"
    );
    let status = if is_new { StatusCode::ACCEPTED } else { StatusCode::OK };
    Ok(status.into_response())
}
