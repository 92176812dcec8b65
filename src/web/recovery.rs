//! `GET /recovery`: the page on which people with pinned keys read what the log lost and sign for going
//! on. It needs no session, which nobody can begin while the log stands still: a link that works once does.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use crate::api::body::read_body;
use crate::api::problem::Problem;
use crate::app::App;
use crate::domain::approval::Status;
use crate::domain::ledger::Record;
use crate::gate::recover::{self, Standing};
use crate::gate::{CeremonyRefusal, GateError};
use crate::proof::assertion::UnverifiedAssertion;
use crate::proof::base64url;
use crate::proof::log_head::SeenHead;
use crate::storage::ApprovalFilter;
use crate::web::decisions::request_options;
use crate::web::page::{PageError, alarm, outside};
use crate::web::paths;
use crate::web::session::{RECOVERY_COOKIE, cookie, recovery_cookie};
use crate::web::views::Surroundings;
use crate::web::views::recovery::{Lost, RecoveryPage};

/// What the page's script sends to open a link.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkBody {
    token: String,
}

/// What it sends when a key has signed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignatureBody {
    credential: UnverifiedAssertion,
}

/// What the address may say.
#[derive(Deserialize)]
pub struct PageQuery {
    /// Whether the recovery was just carried out.
    #[serde(default)]
    done: u8,
}

/// Where to go on.
#[derive(Serialize)]
pub struct NextAnswer {
    #[serde(rename = "continue")]
    continue_to: &'static str,
}

/// What was lost and what is left, for the browser that opened a link; for others, how to open one.
pub async fn page(
    State(app): State<App>,
    Query(PageQuery { done }): Query<PageQuery>,
    headers: HeaderMap,
) -> Result<RecoveryPage, PageError> {
    let alarm = alarm(&app);
    let around = Surroundings { alarm: alarm.as_deref(), ..outside(&app) };
    if done == 1 {
        return Ok(RecoveryPage::done(around));
    }
    let Some(secret) = cookie(&headers, RECOVERY_COOKIE) else {
        return Ok(RecoveryPage::without_link(around));
    };
    let seen = seen_head(&app).await?;
    match recover::standing(&app.storage, &app.trust, &seen, secret, app.now()).await {
        Ok(standing) => {
            let lost = lost(&app, &standing).await.map_err(Problem::from)?;
            Ok(RecoveryPage::new(&standing.statement, &lost, around))
        }
        Err(GateError::Ceremony(CeremonyRefusal::LinkOver)) => {
            Ok(RecoveryPage::without_link(around))
        }
        Err(error) => Err(Problem::from(error).into()),
    }
}

/// What stands beside the statement: the gate's word for what is not signed.
async fn lost(app: &App, standing: &Standing) -> Result<Lost, GateError> {
    let recovery = standing.statement.predicate();
    let last = match recovery.database.size.checked_sub(1) {
        Some(last) => app.storage.entry(last).await?,
        None => None,
    };
    let last = last.and_then(|entry| Record::parse(&entry.record).ok());
    let filter = ApprovalFilter {
        statuses: vec![Status::Approved, Status::Executing],
        limit: u32::MAX,
        ..ApprovalFilter::default()
    };
    let open = app.storage.approvals(&filter).await?.approvals;
    let mut keys = Vec::new();
    for signer in &recovery.signers {
        let id = base64url::decode(&signer.credential).unwrap_or_default();
        keys.extend(app.storage.credential(&id).await?);
    }
    let options = request_options(app, &standing.statement.challenge(), &keys);
    Ok(Lost {
        last_entry_at: last.map(|record| record.at),
        open: open.iter().map(|stored| stored.approval.clone()).collect(),
        signed: standing.signed.clone(),
        needed: standing.needed,
        request_options: options.to_string(),
    })
}

async fn seen_head(app: &App) -> Result<SeenHead, Problem> {
    let seen = app.seen_head().await?;
    // Nothing outside says that anything is missing.
    Ok(seen.ok_or(GateError::from(CeremonyRefusal::NothingToRecover))?)
}

/// `POST /recovery`: opens a link in this browser.
pub async fn open(
    State(app): State<App>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let (_, LinkBody { token }) = read_body(&headers, &body)?;
    let secret = recover::open(&app.storage, &token, app.now()).await?;
    let cookie: HeaderValue = recovery_cookie(&secret);
    let answer = Json(NextAnswer { continue_to: paths::RECOVERY });
    Ok(([(header::SET_COOKIE, cookie)], answer).into_response())
}

/// `POST /recovery/signatures`: one person's signature.
pub async fn signature(
    State(app): State<App>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<NextAnswer>, Problem> {
    let link_over = || Problem::from(GateError::from(CeremonyRefusal::LinkOver));
    let secret = cookie(&headers, RECOVERY_COOKIE).ok_or_else(link_over)?;
    let (_, SignatureBody { credential }) = read_body(&headers, &body)?;
    let seen = seen_head(&app).await?;
    let (storage, trust) = (&app.storage, &app.trust);
    let done = recover::sign(storage, trust, &seen, secret, &credential, app.now()).await?;
    Ok(Json(NextAnswer { continue_to: if done { paths::RECOVERED } else { paths::RECOVERY } }))
}
