//! Endorsing the key of somebody else: the page, the statement, the signature.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use serde::{Deserialize, Serialize};

use crate::api::body::read_body;
use crate::api::problem::Problem;
use crate::app::App;
use crate::domain::digest::Digest;
use crate::gate::{CeremonyRefusal, GateError, endorse};
use crate::proof::base64url;
use crate::storage::Session;
use crate::web::decisions::{SignatureBody, StatementAnswer, answer, require_signer};
use crate::web::keys_page::{listing_of, persons};
use crate::web::page::{PageError, visit};
use crate::web::paths;
use crate::web::views::endorsement::{EndorsementPage, Enrolment};

/// Where to go after an endorsement.
#[derive(Serialize)]
pub struct EndorsedAnswer {
    #[serde(rename = "continue")]
    continue_to: &'static str,
}

/// Nothing is said with it: what is signed is the whole enrolment.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoBody {}

fn unknown() -> Problem {
    Problem::from(GateError::from(CeremonyRefusal::UnknownCredential))
}

/// Whoever neither signs anywhere nor is an operator may endorse nobody, and learns of no key.
fn require_approver(app: &App, session: &Session) -> Result<(), Problem> {
    if app.looks_after_keys(&session.profile) { Ok(()) } else { Err(unknown()) }
}

/// `GET /keys/{credential}/endorsement`: the facts to compare, and the button.
pub async fn page(
    State(app): State<App>,
    Path(credential): Path<String>,
    headers: HeaderMap,
) -> Result<EndorsementPage, PageError> {
    let visit = visit(&app, &headers, &paths::endorsement(&credential)).await?;
    require_approver(&app, &visit.session)?;
    let id = base64url::decode(&credential).ok_or_else(unknown)?;
    let key = app.storage.credential(&id).await.map_err(Problem::from)?.ok_or_else(unknown)?;
    let entry = app.storage.enrolment_of(&id).await.map_err(Problem::from)?.ok_or_else(unknown)?;
    let is_own = key.person == visit.session.profile.person;
    let mut person = persons(&key);
    person.keys.push(listing_of(&app, key, &visit.session.profile.person).await?);
    let digest = Digest::of(&entry.record);
    let enrolment = Enrolment { person, record: entry.record, digest, is_own };
    Ok(EndorsementPage::new(&enrolment, visit.surroundings(&app)))
}

/// `POST /keys/{credential}/statements`: a fresh statement that endorses the key.
pub async fn statement(
    State(app): State<App>,
    Path(credential): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<StatementAnswer>, Problem> {
    let session = require_signer(&app, &headers).await?;
    let (_, NoBody {}) = read_body(&headers, &body)?;
    require_approver(&app, &session)?;
    let id = base64url::decode(&credential).ok_or_else(unknown)?;
    let prepared = endorse::prepare(&app.storage, &app.trust, &session, &id, app.now()).await?;
    Ok(answer(&app, &prepared.0, &prepared.1))
}

/// `POST /keys/{credential}/endorsements`: the signed statement.
pub async fn endorsement(
    State(app): State<App>,
    Path(credential): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<EndorsedAnswer>, Problem> {
    let session = require_signer(&app, &headers).await?;
    let (_, signature): (_, SignatureBody) = read_body(&headers, &body)?;
    require_approver(&app, &session)?;
    let id = base64url::decode(&credential).ok_or_else(unknown)?;
    let SignatureBody { nonce, credential } = signature;
    let party = &app.relying_party;
    endorse::endorse(&app.storage, party, &session, &id, &nonce, &credential, app.now()).await?;
    Ok(Json(EndorsedAnswer { continue_to: paths::ANOTHERS_KEY_ENDORSED }))
}
