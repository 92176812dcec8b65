//! Cloud Monitoring: `projects.timeSeries.list` of its API v3
//! (<https://cloud.google.com/monitoring/api/ref_v3/rest/v3/projects.timeSeries/list>).
//!
//! Google's own client would bring a gRPC stack along for this one call.

use http::{Request, Response, header};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use crate::domain::check::MonitoringCheck;
use crate::integrations::cloud_credentials::{CloudCredentials, GoogleAccount};
use crate::integrations::outbound::OutboundHttp;

/// Where Google's Cloud Monitoring is.
pub const GOOGLE_MONITORING: &str = "https://monitoring.googleapis.com/";

/// Read time series, and nothing else.
const SCOPE: &str = "https://www.googleapis.com/auth/monitoring.read";

/// Cloud Monitoring, as configured.
#[derive(Clone, Debug)]
pub struct MonitoringSettings {
    /// The project whose time series are read.
    pub project: String,
    /// Where it is: [`GOOGLE_MONITORING`], or a sandbox.
    pub endpoint: Url,
    /// Whose rights are used: the same as at Cloud Run.
    pub account: GoogleAccount,
}

/// Cloud Monitoring of one project.
#[derive(Clone, Debug)]
pub struct CloudMonitoring {
    settings: MonitoringSettings,
    http: OutboundHttp,
    credentials: CloudCredentials,
}

/// The part of an answer that is read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    /// Absent where there is none.
    #[serde(default)]
    time_series: Vec<TimeSeries>,
    #[serde(default)]
    next_page_token: String,
    #[serde(default)]
    execution_errors: Vec<Value>,
}

#[derive(Deserialize)]
struct TimeSeries {
    #[serde(default)]
    points: Vec<Point>,
}

#[derive(Deserialize)]
struct Point {
    value: TypedValue,
}

/// One member of `TypedValue`. A distribution, a text or a truth value is no number.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
enum TypedValue {
    /// Google writes values that JSON has no number for as texts.
    DoubleValue(Value),
    /// A number of 64 bits, as a text.
    Int64Value(String),
}

impl CloudMonitoring {
    /// Touches neither the network nor the credentials: they are looked for at the first call.
    pub fn new(settings: MonitoringSettings, http: OutboundHttp) -> Self {
        let credentials = CloudCredentials::new(settings.account.clone(), SCOPE);
        Self { settings, http, credentials }
    }

    /// The values of the newest periods.
    ///
    /// # Errors
    /// Why there are none, for people.
    pub async fn time_series(
        &self,
        check: &MonitoringCheck,
        now: Timestamp,
    ) -> Result<Vec<f64>, String> {
        let url = self.address(check, now);
        let request = Request::get(url.as_str()).header(header::ACCEPT, "application/json");
        let mut request = request.body(Vec::new()).map_err(|error| error.to_string())?;
        let credentials = self.credentials.headers().await.map_err(|error| {
            format!("there are no Google credentials to reach Cloud Monitoring with: {error}")
        })?;
        request.headers_mut().extend(credentials);
        values(&self.http.send(request).await.map_err(|error| error.to_string())?)
    }

    fn address(&self, check: &MonitoringCheck, now: Timestamp) -> Url {
        let MonitoringCheck { filter, aligner, reducer, period_seconds, samples, .. } = check;
        let window = i64::from(*period_seconds).saturating_mul(i64::from(*samples));
        let begin = now.saturating_sub(SignedDuration::from_secs(window)).unwrap_or(Timestamp::MIN);
        let mut url = self.settings.endpoint.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            let path = ["v3", "projects", &self.settings.project, "timeSeries"];
            segments.pop_if_empty().extend(path);
        }
        // Seconds are all that an alignment knows.
        let second =
            |at: Timestamp| Timestamp::from_second(at.as_second()).unwrap_or(at).to_string();
        let mut query = url.query_pairs_mut();
        query
            .append_pair("filter", filter)
            .append_pair("interval.startTime", &second(begin))
            .append_pair("interval.endTime", &second(now))
            .append_pair("aggregation.alignmentPeriod", &format!("{period_seconds}s"))
            .append_pair("aggregation.perSeriesAligner", aligner);
        if let Some(reducer) = reducer {
            query.append_pair("aggregation.crossSeriesReducer", reducer);
        }
        drop(query);
        url
    }
}

fn values(answer: &Response<Vec<u8>>) -> Result<Vec<f64>, String> {
    let status = answer.status();
    if !status.is_success() {
        let body = serde_json::from_slice::<Value>(answer.body()).unwrap_or_default();
        let message = body["error"]["message"].as_str().unwrap_or("no reason");
        return Err(format!("Cloud Monitoring answered {status}: {message}"));
    }
    let read = serde_json::from_slice::<Answer>(answer.body());
    let read =
        read.map_err(|error| format!("Cloud Monitoring answered in another form: {error}"))?;
    // Part of the answer may be the part that passes.
    if !read.execution_errors.is_empty() {
        return Err("Cloud Monitoring could not read all of it".to_owned());
    }
    if !read.next_page_token.is_empty() {
        return Err(
            "the filter gives more time series than one page: narrow it, or reduce them".to_owned()
        );
    }
    let points = read.time_series.iter().flat_map(|series| &series.points);
    points.map(|point| number(&point.value)).collect()
}

fn number(value: &TypedValue) -> Result<f64, String> {
    let number = match value {
        TypedValue::DoubleValue(Value::Number(number)) => number.as_f64(),
        TypedValue::DoubleValue(Value::String(text)) => match text.as_str() {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            _ => None,
        },
        TypedValue::DoubleValue(_) => None,
        TypedValue::Int64Value(text) => text.parse::<i64>().ok().and(text.parse().ok()),
    };
    number.ok_or_else(|| "Cloud Monitoring answered something else than a number".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(status: u16, body: &str) -> Result<Vec<f64>, String> {
        values(&Response::builder().status(status).body(body.as_bytes().to_vec()).unwrap())
    }

    #[test]
    fn only_numbers_are_values() {
        let series = |values: &[&str]| {
            let points =
                values.iter().map(|value| format!(r#"{{"interval":{{}},"value":{value}}}"#));
            let points = points.collect::<Vec<_>>().join(",");
            format!(r#"{{"timeSeries":[{{"metric":{{}},"points":[{points}]}}],"unit":"1"}}"#)
        };
        assert_eq!(read(200, "{}"), Ok(vec![]));
        assert_eq!(read(200, &series(&[])), Ok(vec![]));
        let both = series(&[r#"{"doubleValue":0.25}"#, r#"{"int64Value":"7"}"#]);
        assert_eq!(read(200, &both), Ok(vec![0.25, 7.0]));
        assert!(read(200, &series(&[r#"{"doubleValue":"NaN"}"#])).unwrap()[0].is_nan());
        for (status, bad) in [
            (200, "not json".to_owned()),
            (200, series(&[r#"{"boolValue":true}"#])),
            (200, series(&[r#"{"distributionValue":{"count":"1"}}"#])),
            (200, series(&[r#"{"int64Value":"1e3"}"#])),
            (200, series(&[r#"{"doubleValue":"0.1"}"#])),
            (200, series(&["{}"])),
            (200, r#"{"nextPageToken":"more"}"#.to_owned()),
            (200, r#"{"executionErrors":[{"code":13}]}"#.to_owned()),
            (
                403,
                r#"{"error":{"message":"Permission monitoring.timeSeries.list denied"}}"#
                    .to_owned(),
            ),
            (503, series(&[r#"{"doubleValue":0}"#])),
        ] {
            assert!(read(status, &bad).is_err(), "{status} {bad}");
        }
    }
}
