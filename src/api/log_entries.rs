//! `GET /log/entries/{index}`: one entry of the ledger in clear, for those who may read it.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::HeaderMap;

use crate::api::bearer::{Reader, authenticate_reader};
use crate::api::problem::{Problem, ProblemBody};
use crate::app::App;
use crate::proof::exported::ExportedEntry;
use crate::storage::{ListedEntry, Scope};

/// One entry: its record, and what its place in the public log can be checked by. People who may sign and
/// auditors read it by their session, a requester what is about its own approvals by token; to everybody
/// else it is not there.
#[utoipa::path(
    get, path = "/log/entries/{index}", tag = "log",
    params(("index" = u64, Path, description = "The entry's place, from 0")),
    responses(
        (status = 200, description = "The entry", body = ExportedEntry),
        (status = "4XX", description = "Refused", body = ProblemBody, content_type = "application/problem+json"),
    ),
    security(("workload" = []))
)]
pub async fn entry(
    State(app): State<App>,
    Path(index): Path<String>,
    headers: HeaderMap,
) -> Result<Json<ExportedEntry>, Problem> {
    let reader = authenticate_reader(&app, &headers).await?;
    // One spelling, and none beyond what the ledger can count to.
    let index: u64 = index
        .parse()
        .ok()
        .filter(|parsed: &u64| parsed.to_string() == index && *parsed < u64::MAX >> 1)
        .ok_or_else(Problem::not_found)?;
    let listed = app.storage.list_entry(index).await?.ok_or_else(Problem::not_found)?;
    if !may_read(&app, &reader, &listed) {
        return Err(Problem::not_found());
    }
    Ok(Json(ExportedEntry::new(&listed.entry, &listed.previous_root)))
}

fn may_read(app: &App, reader: &Reader, listed: &ListedEntry) -> bool {
    match reader {
        Reader::Workload(requester) => {
            listed.about.as_ref().is_some_and(|about| about.requester == requester.requester_key())
        }
        Reader::Person(session) => match app.scope_of(&session.profile) {
            None => false,
            Some(Scope::Everything) => true,
            Some(Scope::Environments(own)) => {
                listed.about.as_ref().is_none_or(|about| own.contains(&about.environment))
            }
        },
    }
}
