//! `GET /v1/approvals/{id}/events`: what happens to an approval, while it happens.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::api::approvals::{find_readable, invalid_query};
use crate::api::bearer::authenticate_reader;
use crate::api::problem::{Problem, ProblemBody};
use crate::api::views::ApprovalView;
use crate::app::App;
use crate::domain::approval::Approval;
use crate::domain::hold::Freezes;
use crate::domain::ledger::Record;
use crate::gate::GateError;

/// How long one stream lasts: tokens and proxies live minutes. Whoever wants more comes again with the
/// id of the last event, and misses nothing.
const LONGEST_STREAM: Duration = Duration::from_secs(240);
/// How often a silent stream says that it is alive: sooner than proxies give up.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// What nginx, and whatever is built of it, listens to.
const BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Where to begin.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EventsQuery {
    /// The version that the caller knows; `Last-Event-ID` says the same and goes first.
    version: Option<u64>,
}

/// One change of an approval.
#[derive(Serialize, utoipa::ToSchema)]
pub struct EventView {
    /// What happened, as the ledger names it: `approval.decided`, `rollout.observed`, ...
    #[schema(example = "rollout.observed")]
    kind: String,
    /// When the gate recorded it.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// What happened, in plain words.
    sentence: String,
    /// The approval as it was then.
    approval: ApprovalView,
}

/// Streams every change of an approval from its first on, as server-sent events.
///
/// The id of an event is the approval's version and its type `change`; the data is one JSON object. The
/// stream ends after the change that ends the approval, and after four minutes.
#[utoipa::path(
    get, path = "/v1/approvals/{id}/events", tag = "approvals", operation_id = "streamEvents",
    params(
        ("id" = String, Path),
        EventsQuery,
        ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event that was received"),
    ),
    responses(
        (status = 200, description = "The changes, one event each", body = EventView, content_type = "text/event-stream"),
        (status = "4XX", description = "Refused", body = ProblemBody, content_type = "application/problem+json"),
    ),
    security(("workload" = []))
)]
pub async fn events(
    State(app): State<App>,
    Path(id): Path<String>,
    query: Result<Query<EventsQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Query(query) = query.map_err(|error| invalid_query(&error))?;
    let reader = authenticate_reader(&app, &headers).await?;
    let stored = find_readable(&app, &reader, &id).await?;
    let known = known_version(&headers)?.or(query.version).unwrap_or_default();
    let is_over = stored.approval.status().is_final() && known >= stored.approval.version;
    let story = Story {
        app,
        approval: stored.approval,
        known,
        told: VecDeque::new(),
        is_over,
        until: Instant::now() + LONGEST_STREAM,
    };
    let stream = futures::stream::unfold(story, |mut story| async move {
        let event = story.next().await?;
        Some((Ok::<_, Infallible>(event), story))
    });
    let stream = Sse::new(stream).keep_alive(KeepAlive::new().interval(KEEP_ALIVE));
    // Nobody between us keeps it, or holds it back until there is more.
    let headers = [(header::CACHE_CONTROL, "no-store"), (BUFFERING, "no")];
    Ok((headers, stream).into_response())
}

fn known_version(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let Some(id) = headers.get("last-event-id") else { return Ok(None) };
    let version = id.to_str().ok().and_then(|text| text.trim().parse().ok());
    version.map(Some).ok_or_else(|| {
        Problem::new(
            StatusCode::BAD_REQUEST,
            "invalid_event_id",
            "The Last-Event-ID is not the id of an event of this stream. Send that of the last event that you received, or none.",
        )
    })
}

/// A stream under way.
struct Story {
    app: App,
    /// What does not change of the approval; the rest is what its entries say.
    approval: Approval,
    /// The newest version that was read.
    known: u64,
    /// What was read and not told yet.
    told: VecDeque<Event>,
    /// Whether nothing more happens after what was read.
    is_over: bool,
    until: Instant,
}

impl Story {
    /// The next change, as soon as there is one. `None`: the stream is over. What cannot be read ends it,
    /// too: the caller comes again, and then hears why.
    async fn next(&mut self) -> Option<Event> {
        if self.told.is_empty() && !self.is_over {
            let read = self.read().await;
            read.inspect_err(|error| {
                tracing::warn!(approval = %self.approval.id(), %error, "a stream of events ends early");
            })
            .ok()?;
        }
        self.told.pop_front()
    }

    async fn read(&mut self) -> Result<(), GateError> {
        let id = self.approval.id().clone();
        let patience = self.until.saturating_duration_since(Instant::now());
        let newest = self.app.watch.wait(&id, self.known, patience).await?;
        if newest.approval.version <= self.known {
            // The time is up, the gate stops, or the caller has the end already.
            return Ok(());
        }
        for record in self.app.storage.records_of(&id).await? {
            if let Some((version, event)) = self.event_of(record) {
                self.known = version;
                self.told.push_back(event);
            }
        }
        let is_newest = self.known >= newest.approval.version;
        self.is_over = is_newest && newest.approval.status().is_final();
        Ok(())
    }

    /// The event of a record that was not told yet.
    fn event_of(&self, record: Record) -> Option<(u64, Event)> {
        let (kind, sentence) = (record.kind.clone(), record.sentence());
        let change = record.approval?;
        if change.version <= self.known {
            return None;
        }
        let approval = Approval {
            version: change.version,
            decisions: change.decisions,
            state: change.state,
            ..self.approval.clone()
        };
        let url = self.app.approval_url(approval.id());
        let approval = ApprovalView::new(&approval, url, Freezes::NONE, record.at);
        let view = EventView { kind, at: record.at, sentence, approval };
        let event = Event::default().id(change.version.to_string()).event("change");
        // A view has a JSON form: it is the one that reading an approval gives.
        Some((change.version, event.json_data(view).ok()?))
    }
}
