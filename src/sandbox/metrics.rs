//! A Prometheus server and Cloud Monitoring, as much of each as a check of a rollout asks for. Both know the
//! values that they were told, by a part of the query; what they were told nothing of has none.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{Json, Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use http::{HeaderMap, StatusCode, header};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::clock::Clock;

/// What a query gives.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Series {
    /// A part of the query or filter.
    query: String,
    /// The newest value of each series; several of one series at Cloud Monitoring, the newest first. Texts,
    /// since `NaN` is one.
    values: Vec<String>,
    /// Another status than 200.
    status: Option<u16>,
    /// Another body than the right one.
    body: Option<String>,
    /// Where a redirect leads.
    location: Option<String>,
    delay_milliseconds: u64,
}

/// The metrics. Clones are the same.
#[derive(Clone)]
pub struct Metrics {
    clock: Clock,
    series: Arc<Mutex<Vec<Series>>>,
}

impl Metrics {
    /// None yet.
    pub fn new(clock: Clock) -> Self {
        Self { clock, series: Arc::default() }
    }

    /// `/prometheus/api/v1/query` and `/monitoring/v3/projects/{project}/timeSeries`.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/prometheus/api/v1/query", get(query))
            .route("/monitoring/v3/projects/{project}/timeSeries", get(time_series))
            .with_state(self.clone())
    }

    /// `PUT /_sandbox/metrics`: exactly these from now on.
    pub fn levers(&self) -> Router {
        Router::new().route("/_sandbox/metrics", put(set)).with_state(self.clone())
    }

    fn of(&self, query: &str) -> Series {
        let series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        series.iter().find(|one| query.contains(&one.query)).cloned().unwrap_or_default()
    }
}

async fn set(State(metrics): State<Metrics>, Json(series): Json<Vec<Series>>) -> Json<Value> {
    *metrics.series.lock().unwrap_or_else(PoisonError::into_inner) = series;
    Json(json!({}))
}

#[derive(Deserialize)]
struct Instant {
    query: String,
}

async fn query(State(metrics): State<Metrics>, Query(asked): Query<Instant>) -> Response {
    let told = metrics.of(&asked.query);
    #[expect(clippy::cast_precision_loss, reason = "Prometheus writes seconds as floats, too")]
    let now = metrics.clock.now().as_millisecond() as f64 / 1000.0;
    let sample = |(index, value): (usize, &String)| json!({"metric": {"instance": index.to_string()}, "value": [now, value]});
    let result: Vec<Value> = told.values.iter().enumerate().map(sample).collect();
    let body = json!({"status": "success", "data": {"resultType": "vector", "result": result}});
    respond(told, body).await
}

/// The query of `projects.timeSeries.list`, as Google spells it.
#[derive(Deserialize)]
struct Listing {
    filter: String,
    #[serde(rename = "interval.startTime")]
    start: Timestamp,
    #[serde(rename = "interval.endTime")]
    end: Timestamp,
    #[serde(rename = "aggregation.alignmentPeriod")]
    period: String,
    #[serde(rename = "aggregation.perSeriesAligner")]
    aligner: String,
    #[serde(rename = "aggregation.crossSeriesReducer")]
    reducer: Option<String>,
}

async fn time_series(
    State(metrics): State<Metrics>,
    Path(project): Path<String>,
    Query(asked): Query<Listing>,
) -> Response {
    let Listing { filter, start, end, period, aligner, reducer } = asked;
    let seconds = period.strip_suffix('s').and_then(|text| text.parse::<i64>().ok());
    let Some(seconds) = seconds.filter(|seconds| *seconds >= 60) else {
        return refusal("The alignment period must be at least 60 seconds.");
    };
    let is_reducer = reducer.is_none_or(|reducer| reducer.starts_with("REDUCE_"));
    if start >= end || !aligner.starts_with("ALIGN_") || !is_reducer || project.is_empty() {
        return refusal("The interval, the aligner or the reducer is invalid.");
    }
    let told = metrics.of(&filter);
    let periods = end.duration_since(start).as_secs() / seconds;
    let newest = told.values.iter().take(usize::try_from(periods).unwrap_or_default());
    let point = |value: &String| {
        let value = value.parse::<i64>().map_or_else(
            |_| json!({"doubleValue": value.parse::<f64>().ok().filter(|one| one.is_finite()).map_or_else(|| json!(value), |one| json!(one))}),
            |whole| json!({"int64Value": whole.to_string()}),
        );
        json!({"interval": {"startTime": start, "endTime": end}, "value": value})
    };
    let points: Vec<Value> = newest.map(point).collect();
    let body = match points.is_empty() {
        true => json!({"unit": "1"}),
        false => {
            json!({"timeSeries": [{"metric": {"type": "custom"}, "points": points}], "unit": "1"})
        }
    };
    respond(told, body).await
}

fn refusal(message: &str) -> Response {
    let error = json!({"error": {"code": 400, "message": message, "status": "INVALID_ARGUMENT"}});
    (StatusCode::BAD_REQUEST, Json(error)).into_response()
}

async fn respond(told: Series, body: Value) -> Response {
    tokio::time::sleep(Duration::from_millis(told.delay_milliseconds)).await;
    let status = StatusCode::from_u16(told.status.unwrap_or(200)).unwrap_or_default();
    let mut headers = HeaderMap::new();
    if let Some(location) = told.location.and_then(|location| location.parse().ok()) {
        headers.insert(header::LOCATION, location);
    }
    let body = told.body.unwrap_or_else(|| body.to_string());
    (status, headers, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}
