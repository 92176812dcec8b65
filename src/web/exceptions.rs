//! Exceptions: the page, the second person's statement, the signature.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use serde::{Deserialize, Serialize};

use crate::api::body::read_body;
use crate::api::problem::Problem;
use crate::app::App;
use crate::domain::exception::Exception;
use crate::gate::exceptions;
use crate::storage::{Scope, Session};
use crate::web::decisions::{SignatureBody, StatementAnswer, answer, require_signer};
use crate::web::page::{PageError, visit};
use crate::web::paths;
use crate::web::views::exceptions::ExceptionsPage;

/// What the second person says.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReviewBody {
    explanation: String,
}

/// What was closed.
#[derive(Serialize)]
pub struct ReviewedAnswer {
    entry: u64,
}

/// `GET /exceptions`: those of the environments that this person may read, the newest first.
pub async fn page(State(app): State<App>, headers: HeaderMap) -> Result<ExceptionsPage, PageError> {
    let visit = visit(&app, &headers, paths::EXCEPTIONS).await?;
    let profile = &visit.session.profile;
    let scope = app.scope_of(profile).ok_or_else(Problem::not_found)?;
    let mut shown = Vec::new();
    for exception in visit.exceptions.iter().rev().filter(|one| covers(&scope, one)) {
        let id = &exception.glass.approval;
        let stored = app.storage.approval(id).await.map_err(Problem::from)?;
        let refused = stored.map(|stored| {
            exception.refuse_review(&stored.approval, &profile.person, &profile.groups)
        });
        let is_alone = profile.directory_unreachable_since.is_some();
        let may_sign =
            !visit.viewer.is_auditor && !is_alone && refused.is_some_and(|refused| refused.is_ok());
        shown.push((exception, may_sign));
    }
    Ok(ExceptionsPage::new(&shown, visit.surroundings(&app)))
}

fn covers(scope: &Scope, exception: &Exception) -> bool {
    match scope {
        Scope::Everything => true,
        Scope::Environments(own) => own.contains(&exception.glass.environment),
    }
}

/// Whoever may not read of it does not learn that there is one.
async fn require_readable(app: &App, session: &Session, entry: u64) -> Result<(), Problem> {
    let scope = app.scope_of(&session.profile).ok_or_else(Problem::not_found)?;
    let exceptions = app.storage.exceptions().await?;
    let found = exceptions.iter().any(|one| one.entry == entry && covers(&scope, one));
    if found { Ok(()) } else { Err(Problem::not_found()) }
}

/// `POST /exceptions/{entry}/statements`: a fresh statement that closes an exception.
pub async fn statement(
    State(app): State<App>,
    Path(entry): Path<u64>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<StatementAnswer>, Problem> {
    let session = require_signer(&app, &headers).await?;
    let (_, ReviewBody { explanation }) = read_body(&headers, &body)?;
    require_readable(&app, &session, entry).await?;
    let (storage, trust, now) = (&app.storage, &app.trust, app.now());
    let (statement, keys) =
        exceptions::prepare(storage, trust, &session, entry, &explanation, now).await?;
    Ok(answer(&app, &statement, &keys))
}

/// `POST /exceptions/{entry}/reviews`: the signed statement.
pub async fn review(
    State(app): State<App>,
    Path(entry): Path<u64>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<ReviewedAnswer>, Problem> {
    let session = require_signer(&app, &headers).await?;
    let (_, SignatureBody { nonce, credential }) = read_body(&headers, &body)?;
    require_readable(&app, &session, entry).await?;
    let (storage, party) = (&app.storage, &app.relying_party);
    exceptions::review(storage, party, &session, entry, &nonce, &credential, app.now()).await?;
    Ok(Json(ReviewedAnswer { entry }))
}
