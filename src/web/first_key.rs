//! `GET /keys/first`: the one-time link of the first key. Its token stands behind the `#`, which browsers
//! keep to themselves, so that no log of ours or of a proxy holds it.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use serde::{Deserialize, Serialize};

use crate::api::body::read_body;
use crate::api::problem::Problem;
use crate::app::App;
use crate::gate::first_key;
use crate::web::decisions::require_vouched;
use crate::web::page::{PageError, outside, visit};
use crate::web::paths;
use crate::web::views::keys::FirstKeyPage;

/// What the page's script sends.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkBody {
    token: String,
}

/// Where to go on.
#[derive(Serialize)]
pub struct LinkAnswer {
    #[serde(rename = "continue")]
    continue_to: &'static str,
}

/// Shows what the link is for, to whoever opens it.
pub async fn page(State(app): State<App>, headers: HeaderMap) -> Result<FirstKeyPage, PageError> {
    match visit(&app, &headers, paths::FIRST_KEY).await {
        Ok(visit) => Ok(FirstKeyPage::new(visit.surroundings(&app))),
        Err(PageError::SignIn(_)) => Ok(FirstKeyPage::new(outside(&app))),
        Err(problem) => Err(problem),
    }
}

/// `POST /keys/first`: opens the link in this session.
pub async fn open(
    State(app): State<App>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<LinkAnswer>, Problem> {
    let session = require_vouched(&app, &headers).await?;
    let (_, LinkBody { token }) = read_body(&headers, &body)?;
    first_key::open_link(&app.storage, &session, &token, app.now()).await?;
    Ok(Json(LinkAnswer { continue_to: paths::KEYS }))
}
