//! `GET /v1/exceptions`: where the glass was broken, and who signed for it since.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use jiff::Timestamp;
use serde::Serialize;

use crate::api::bearer::{Reader, authenticate_reader};
use crate::api::environments::policies_of;
use crate::api::problem::{Problem, ProblemBody};
use crate::api::views::ApproverView;
use crate::app::App;
use crate::domain::exception::{Exception, ExceptionStatus};
use crate::domain::person::Person;
use crate::storage::Scope;

/// The exceptions that the caller may read of.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ExceptionList {
    /// Newest first.
    pub exceptions: Vec<ExceptionView>,
}

/// One exception.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ExceptionView {
    /// The index of the ledger's entry about it.
    pub entry: u64,
    /// Whether somebody else has to sign for it.
    pub status: ExceptionStatus,
    /// The approval for which the glass was broken.
    pub approval: String,
    /// Its page.
    pub url: String,
    /// Its environment.
    pub environment: String,
    /// Who broke the glass.
    pub by: ApproverView,
    /// Why, in their words.
    pub reason: String,
    /// Since when the directory could not be reached, if somebody signed in with a key alone for it.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub directory_unreachable_since: Option<Timestamp>,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub opened_at: Timestamp,
    /// Until when somebody else has to sign for it.
    #[schema(value_type = String, format = DateTime)]
    pub explain_before: Timestamp,
    /// Who did.
    pub closed_by: Option<ApproverView>,
    /// What they said.
    pub explanation: Option<String>,
    /// When.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub closed_at: Option<Timestamp>,
}

fn person_of(person: &Person, name: &str) -> ApproverView {
    let Person { issuer, subject } = person.clone();
    ApproverView { issuer, subject, name: name.to_owned() }
}

impl ExceptionView {
    fn new(app: &App, exception: &Exception, now: Timestamp) -> Self {
        let glass = &exception.glass;
        let review = exception.review.as_ref();
        Self {
            entry: exception.entry,
            status: exception.status(now),
            approval: glass.approval.to_string(),
            url: app.approval_url(&glass.approval),
            environment: glass.environment.clone(),
            by: person_of(&glass.by, &glass.by_name),
            reason: glass.reason.clone(),
            directory_unreachable_since: glass.directory_unreachable_since,
            opened_at: exception.at,
            explain_before: glass.explain_before,
            closed_by: review.map(|(_, review)| person_of(&review.by, &review.by_name)),
            explanation: review.map(|(_, review)| review.explanation.clone()),
            closed_at: review.map(|(at, _)| *at),
        }
    }
}

/// Lists the exceptions of the environments that the caller may use or read.
#[utoipa::path(
    get, path = "/v1/exceptions", tag = "environments", operation_id = "listExceptions",
    responses(
        (status = 200, description = "The exceptions", body = ExceptionList),
        (status = "4XX", description = "Refused", body = ProblemBody, content_type = "application/problem+json"),
    ),
    security(("workload" = []))
)]
pub async fn list(
    State(app): State<App>,
    headers: HeaderMap,
) -> Result<Json<ExceptionList>, Problem> {
    let reader = authenticate_reader(&app, &headers).await?;
    let scope = match &reader {
        Reader::Person(session) => app.scope_of(&session.profile),
        Reader::Workload(_) => {
            let own = policies_of(&app, &reader).map(|policy| policy.environment.clone());
            Some(Scope::Environments(own.collect()))
        }
    };
    let now = app.now();
    let exceptions = app.storage.exceptions().await?;
    let readable = exceptions.iter().rev().filter(|one| match &scope {
        Some(Scope::Everything) => true,
        Some(Scope::Environments(own)) => own.contains(&one.glass.environment),
        None => false,
    });
    let exceptions = readable.map(|one| ExceptionView::new(&app, one, now)).collect();
    Ok(Json(ExceptionList { exceptions }))
}
