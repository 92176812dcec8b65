//! `GET /audit`: the ledger, for those who check it; and what it shows as files.

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use futures::stream;
use serde::Deserialize;

use crate::api::problem::Problem;
use crate::app::App;
use crate::domain::canonical::to_canonical_json;
use crate::domain::period::{InvalidPeriod, begin, end};
use crate::domain::{csv, ledger::Record};
use crate::gate::{GateError, trail};
use crate::proof::exported::ExportedEntry;
use crate::storage::{EntryFilter, LARGEST_ENTRY_PAGE, ListedEntry, Scope};
use crate::web::decisions::require_session;
use crate::web::page::{PageError, visit};
use crate::web::views::audit::{AuditPage, Head, Shown};

/// How many entries a page has. Each is verified while it is drawn.
const PAGE: u32 = 50;

/// What to show. Everything is a text, as forms send it; an empty one asks for nothing.
#[derive(Deserialize, Default, Clone)]
#[serde(deny_unknown_fields, default)]
pub struct AuditQuery {
    /// A person's subject, or a requester as the gate tells them apart.
    pub who: String,
    /// A kind of entry.
    pub kind: String,
    /// The first day (UTC), or a moment.
    pub from: String,
    /// The last day (UTC), or a moment.
    pub to: String,
    /// A service.
    pub service: String,
    /// An environment.
    pub environment: String,
    /// An approval.
    pub approval: String,
    /// Only entries with a smaller index: where the page before ended.
    pub before: String,
}

impl AuditQuery {
    fn filter(&self, scope: Scope) -> Result<EntryFilter, Problem> {
        let given = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        let moment = |text: &str, read: fn(&str) -> Result<_, InvalidPeriod>| {
            given(text).map(|text| read(&text)).transpose().map_err(|error| invalid(&error))
        };
        Ok(EntryFilter {
            scope,
            party: given(&self.who),
            kind: given(&self.kind),
            from: moment(&self.from, begin)?,
            until: moment(&self.to, end)?,
            service: given(&self.service),
            environment: given(&self.environment),
            approval: given(&self.approval),
        })
    }

    fn before(&self) -> Result<Option<u64>, Problem> {
        let text = self.before.trim();
        let index = (!text.is_empty()).then(|| text.parse()).transpose();
        index.map_err(|_| invalid(&format_args!("{text:?} is no index of an entry")))
    }
}

fn invalid(error: &dyn std::fmt::Display) -> Problem {
    Problem::new(
        StatusCode::BAD_REQUEST,
        "invalid_query",
        format!("The query is not one that this gate knows: {error}."),
    )
}

type GivenQuery = Result<Query<AuditQuery>, QueryRejection>;

/// Shows a page of the ledger, newest first.
pub async fn page(
    State(app): State<App>,
    query: GivenQuery,
    uri: Uri,
    headers: HeaderMap,
) -> Result<AuditPage, PageError> {
    let here = uri.path_and_query().map_or(uri.path(), |path| path.as_str());
    let visit = visit(&app, &headers, here).await?;
    let scope = app.scope_of(&visit.session.profile).ok_or_else(Problem::not_found)?;
    let Query(query) = query.map_err(|error| invalid(&error.body_text()))?;
    let filter = query.filter(scope)?;
    let storage = &app.storage;
    let mut listed =
        storage.list_entries(&filter, query.before()?, PAGE + 1).await.map_err(Problem::from)?;
    let has_more = listed.len() > PAGE as usize;
    listed.truncate(PAGE as usize);
    // Read after the entries, so that the tree holds them all.
    let tree = storage.head().await.map_err(Problem::from)?;
    let entries = trail::prove(storage, &tree, listed).await.map_err(Problem::from)?;
    let rows = storage.count_entries(&filter).await.map_err(Problem::from)?;
    let kinds = storage.entry_kinds().await.map_err(Problem::from)?;
    let head = Head { size: tree.size(), root: tree.root() };
    let shown = Shown { entries: &entries, head, rows, kinds, has_more };
    Ok(AuditPage::new(&query, &shown, visit.surroundings(&app)))
}

/// `GET /audit/entries.jsonl`: what the page shows, each entry with what it can be checked by.
pub async fn jsonl(
    State(app): State<App>,
    query: GivenQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let line: Line = |listed| {
        let entry = ExportedEntry::new(&listed.entry, &listed.previous_root);
        to_canonical_json(&entry).map(|text| text + "\n").map_err(GateError::from)
    };
    download(app, query, headers, ("application/jsonl", "entries.jsonl"), String::new(), line).await
}

const COLUMNS: [&str; 9] =
    ["index", "at", "kind", "who", "approval", "service", "environment", "sentence", "leaf"];

/// `GET /audit/entries.csv`: what the page shows, for a spreadsheet.
pub async fn csv(
    State(app): State<App>,
    query: GivenQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let line: Line = |listed| {
        let record = Record::parse(&listed.entry.record)?;
        let about = listed.about.as_ref();
        Ok(csv::line(&[
            listed.entry.index.to_string(),
            record.at.to_string(),
            record.kind.clone(),
            listed.party(&record).to_owned(),
            record.subject().unwrap_or_default().to_owned(),
            about.map_or_else(String::new, |about| about.service.clone()),
            about.map_or_else(String::new, |about| about.environment.clone()),
            record.sentence(),
            listed.entry.leaf().to_string(),
        ]))
    };
    let first = csv::line(&COLUMNS);
    download(app, query, headers, ("text/csv; charset=utf-8", "entries.csv"), first, line).await
}

/// What a download writes for one entry.
type Line = fn(&ListedEntry) -> Result<String, GateError>;

/// Sends all entries that the filter lets through, page by page, so that memory stays flat.
async fn download(
    app: App,
    query: GivenQuery,
    headers: HeaderMap,
    (media_type, name): (&'static str, &'static str),
    first: String,
    line: Line,
) -> Result<Response, Problem> {
    let session = require_session(&app, &headers).await?;
    let scope = app.scope_of(&session.profile).ok_or_else(Problem::not_found)?;
    let Query(query) = query.map_err(|error| invalid(&error.body_text()))?;
    let filter = query.filter(scope)?;
    let begin = Some((first, query.before()?));
    let pages = stream::try_unfold(begin, move |place| {
        let (app, filter) = (app.clone(), filter.clone());
        async move {
            let Some((mut text, before)) = place else { return Ok::<_, GateError>(None) };
            let listed = app.storage.list_entries(&filter, before, LARGEST_ENTRY_PAGE).await?;
            for entry in &listed {
                text.push_str(&line(entry)?);
            }
            let next = listed.last().map(|last| (String::new(), Some(last.entry.index)));
            Ok(Some((text, next)))
        }
    });
    let mut response = Body::from_stream(pages).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    if let Ok(name) = HeaderValue::try_from(format!("attachment; filename=\"{name}\"")) {
        headers.insert(header::CONTENT_DISPOSITION, name);
    }
    Ok(response)
}
