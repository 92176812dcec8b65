//! A check as requests and configurations write it, with what is usual left out.

use jiff::SignedDuration;
use serde::Deserialize;
use serde_json::Number;

use super::{Check, Comparator, HttpCheck, Limit, MonitoringCheck, PrometheusCheck};
use crate::domain::plan::InvalidSteps;
use crate::domain::text::is_deceptive;

/// The longest path, name or text to look for, in bytes.
const LONGEST_TEXT: usize = 200;
/// The longest query, in bytes: it is signed, and shown to people.
const LONGEST_QUERY: usize = 2_000;
/// More attempts than this are a matter of patience.
const MOST_ATTEMPTS: u32 = 5;
const USUAL_ATTEMPTS: u32 = 3;
/// Whoever takes longer to answer is not well.
const LONGEST_TIMEOUT: SignedDuration = SignedDuration::from_secs(10);
const USUAL_TIMEOUT: SignedDuration = SignedDuration::from_secs(5);
/// What cannot be read for so long is not going to be.
const LONGEST_PATIENCE: SignedDuration = SignedDuration::from_mins(15);
/// Cloud Monitoring shows a value up to four minutes after its time
/// (<https://cloud.google.com/monitoring/api/metrics_gcp>).
const USUAL_PATIENCE: SignedDuration = SignedDuration::from_mins(5);
/// Cloud Monitoring aligns over a minute at least.
const SHORTEST_PERIOD: SignedDuration = SignedDuration::from_mins(1);
const LONGEST_PERIOD: SignedDuration = SignedDuration::from_hours(24);
/// More values than this one answer does not hold.
const MOST_SAMPLES: u32 = 100;

/// One check.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize, utoipa::ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum AskedCheck {
    /// The new revision answers at the address that the step's tag gives it.
    Http(AskedHttpCheck),
    /// What a Prometheus server answers to an instant query.
    Prometheus(AskedPrometheusCheck),
    /// Time series of Cloud Monitoring.
    CloudMonitoring(AskedMonitoringCheck),
}

/// A GET of the new revision's own address; its step needs a tag.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AskedHttpCheck {
    /// The path, without a query.
    #[schema(example = "/health")]
    path: String,
    /// The status that passes, or a range of them; `200-299` if absent.
    #[schema(example = "200-299")]
    status: Option<String>,
    /// What the body has to contain.
    contains: Option<String>,
    /// How often it is asked before an answer that does not pass counts; 3 if absent.
    #[schema(maximum = 5)]
    attempts: Option<u32>,
    /// How long each answer may take; `5s` if absent.
    #[schema(example = "5s")]
    timeout: Option<String>,
    /// How long it is asked again while no answer comes; `5m` if absent.
    #[schema(example = "5m")]
    patience: Option<String>,
}

/// An instant query of a Prometheus server.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AskedPrometheusCheck {
    /// What is measured, in words.
    #[schema(example = "error rate")]
    name: String,
    /// The server, as the gate's configuration calls it.
    source: String,
    /// The query, in PromQL; `{revision}` and `{service}` stand for the new revision and its service.
    query: String,
    /// On which side of the threshold every value has to be.
    comparator: Comparator,
    /// The threshold.
    #[schema(value_type = f64)]
    threshold: Number,
    /// Its unit, for people.
    #[schema(example = "%")]
    unit: Option<String>,
    /// How many values there have to be at least; 1 if absent.
    samples: Option<u32>,
    /// How long it is asked again while nothing can be read; `5m` if absent.
    patience: Option<String>,
}

/// Time series of Cloud Monitoring.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AskedMonitoringCheck {
    /// What is measured, in words.
    name: String,
    /// The project, as the gate's configuration calls it.
    source: String,
    /// Which time series; `{revision}` and `{service}` stand for the new revision and its service.
    filter: String,
    /// How each of them is aligned.
    #[schema(example = "ALIGN_RATE")]
    aligner: String,
    /// How they are put together.
    #[schema(example = "REDUCE_SUM")]
    reducer: Option<String>,
    /// The length of a period of the alignment; `5m` if absent.
    period: Option<String>,
    /// On which side of the threshold every value has to be.
    comparator: Comparator,
    /// The threshold.
    #[schema(value_type = f64)]
    threshold: Number,
    /// Its unit, for people.
    unit: Option<String>,
    /// How many of the newest periods are looked at, each of which has to have a value; 1 if absent.
    samples: Option<u32>,
    /// How long it is asked again while nothing can be read; `5m` if absent.
    patience: Option<String>,
}

impl AskedCheck {
    /// The check, with what was left out as it usually is.
    ///
    /// # Errors
    /// If a part of it cannot be meant.
    pub fn check(self) -> Result<Check, InvalidSteps> {
        Ok(match self {
            Self::Http(asked) => Check::Http(asked.check()?),
            Self::Prometheus(asked) => Check::Prometheus(PrometheusCheck {
                limit: limit(asked.comparator, &asked.threshold, asked.unit)?,
                query: text("query", asked.query, LONGEST_QUERY)?,
                name: text("name", asked.name, LONGEST_TEXT)?,
                source: text("source", asked.source, LONGEST_TEXT)?,
                samples: within("samples", asked.samples, 1, MOST_SAMPLES)?,
                patience_seconds: patience(asked.patience.as_deref())?,
            }),
            Self::CloudMonitoring(asked) => Check::CloudMonitoring(MonitoringCheck {
                limit: limit(asked.comparator, &asked.threshold, asked.unit)?,
                filter: text("filter", asked.filter, LONGEST_QUERY)?,
                aligner: constant("aligner", "ALIGN_", asked.aligner)?,
                reducer: asked
                    .reducer
                    .map(|reducer| constant("reducer", "REDUCE_", reducer))
                    .transpose()?,
                period_seconds: seconds(
                    "period",
                    asked.period.as_deref(),
                    USUAL_PATIENCE,
                    (SHORTEST_PERIOD, LONGEST_PERIOD),
                )?,
                name: text("name", asked.name, LONGEST_TEXT)?,
                source: text("source", asked.source, LONGEST_TEXT)?,
                samples: within("samples", asked.samples, 1, MOST_SAMPLES)?,
                patience_seconds: patience(asked.patience.as_deref())?,
            }),
        })
    }
}

impl AskedHttpCheck {
    fn check(self) -> Result<HttpCheck, InvalidSteps> {
        let is_path = |byte: u8| byte.is_ascii_graphic() && !b"?#\\%".contains(&byte);
        let path = self.path;
        let is_plain = path.len() <= LONGEST_TEXT && path.bytes().all(is_path);
        if !path.starts_with('/') || path.starts_with("//") || !is_plain {
            return refuse(format!(
                "the path {path:?} of a check is none: write one such as /health, without a query"
            ));
        }
        let status = self.status.as_deref().unwrap_or("200-299");
        let (low, high) = status.split_once('-').unwrap_or((status, status));
        let number = |text: &str| {
            let digits = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse::<u32>().ok().filter(|status| digits && (100..=599).contains(status))
        };
        let (Some(lowest_status), Some(highest_status)) = (number(low), number(high)) else {
            return refuse(format!(
                "the status {status:?} of a check is none: write \"200\" or \"200-299\", say"
            ));
        };
        if lowest_status > highest_status {
            return refuse(format!("the range {status:?} of a check holds no status: turn it"));
        }
        let contains = self.contains.map(|it| text("contains", it, LONGEST_TEXT)).transpose()?;
        Ok(HttpCheck {
            path,
            lowest_status,
            highest_status,
            contains,
            attempts: within("attempts", self.attempts, USUAL_ATTEMPTS, MOST_ATTEMPTS)?,
            timeout_seconds: seconds(
                "timeout",
                self.timeout.as_deref(),
                USUAL_TIMEOUT,
                (SignedDuration::from_secs(1), LONGEST_TIMEOUT),
            )?,
            patience_seconds: patience(self.patience.as_deref())?,
        })
    }
}

fn refuse<T>(why: String) -> Result<T, InvalidSteps> {
    Err(InvalidSteps(why))
}

/// A text that people read and sign.
fn text(member: &str, text: String, longest: usize) -> Result<String, InvalidSteps> {
    let is_clear = !text.chars().any(|letter| letter.is_control() || is_deceptive(letter));
    if text.trim().is_empty() || text.len() > longest || !is_clear {
        return refuse(format!(
            "the {member} of a check has to be 1 to {longest} bytes on one line: {text:?} is not"
        ));
    }
    Ok(text)
}

fn constant(member: &str, prefix: &str, text: String) -> Result<String, InvalidSteps> {
    let is_plain = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    if text.len() > LONGEST_TEXT || !text.starts_with(prefix) || !text.bytes().all(is_plain) {
        return refuse(format!(
            "the {member} {text:?} of a check is none: Cloud Monitoring's begin with {prefix}"
        ));
    }
    Ok(text)
}

fn limit(
    comparator: Comparator,
    threshold: &Number,
    unit: Option<String>,
) -> Result<Limit, InvalidSteps> {
    let unit = unit.map(|unit| text("unit", unit, 20)).transpose()?;
    Ok(Limit { comparator, threshold: threshold.to_string(), unit })
}

fn within(member: &str, asked: Option<u32>, usual: u32, most: u32) -> Result<u32, InvalidSteps> {
    match asked.unwrap_or(usual) {
        count if (1..=most).contains(&count) => Ok(count),
        count => refuse(format!("the {member} of a check are 1 to {most}, and not {count}")),
    }
}

fn patience(asked: Option<&str>) -> Result<u32, InvalidSteps> {
    seconds("patience", asked, USUAL_PATIENCE, (SignedDuration::ZERO, LONGEST_PATIENCE))
}

fn seconds(
    member: &str,
    asked: Option<&str>,
    usual: SignedDuration,
    (shortest, longest): (SignedDuration, SignedDuration),
) -> Result<u32, InvalidSteps> {
    let time = asked.map_or(Some(usual), |text| text.parse().ok());
    time.filter(|time| time.subsec_nanos() == 0 && (shortest..=longest).contains(time))
        .and_then(|time| u32::try_from(time.as_secs()).ok())
        .ok_or_else(|| {
            InvalidSteps(format!(
                "the {member} {asked:?} of a check is no time of {shortest:#} to {longest:#} in whole seconds: write \"5s\" or \"5m\", say"
            ))
        })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(value: Value) -> Result<Check, String> {
        let asked: AskedCheck = serde_json::from_value(value).map_err(|error| error.to_string())?;
        asked.check().map_err(|error| error.to_string())
    }

    fn with(mut value: Value, member: &str, other: Value) -> Value {
        value[member] = other;
        value
    }

    #[test]
    fn what_is_usual_can_be_left_out() {
        let check = read(json!({"kind": "http", "path": "/health"})).unwrap();
        let expected = json!({
            "kind": "http", "path": "/health", "lowest_status": 200, "highest_status": 299,
            "attempts": 3, "timeout_seconds": 5, "patience_seconds": 300,
        });
        assert_eq!(serde_json::to_value(check).unwrap(), expected);
        let check = read(json!({
            "kind": "cloud_monitoring", "name": "errors", "source": "main", "filter": "metric.type=\"x\"",
            "aligner": "ALIGN_RATE", "comparator": "at_most", "threshold": 0.5,
        }));
        let expected = json!({
            "kind": "cloud_monitoring", "name": "errors", "source": "main",
            "filter": "metric.type=\"x\"", "aligner": "ALIGN_RATE", "period_seconds": 300,
            "limit": {"comparator": "at_most", "threshold": "0.5"},
            "samples": 1, "patience_seconds": 300,
        });
        assert_eq!(serde_json::to_value(check.unwrap()).unwrap(), expected);
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let http = json!({"kind": "http", "path": "/health"});
        let metric = json!({
            "kind": "prometheus", "name": "errors", "source": "main", "query": "up",
            "comparator": "below", "threshold": 1,
        });
        let monitoring = json!({
            "kind": "cloud_monitoring", "name": "errors", "source": "main", "filter": "x",
            "aligner": "ALIGN_MEAN", "comparator": "below", "threshold": 1,
        });
        for good in [&http, &metric, &monitoring] {
            assert!(read(good.clone()).is_ok(), "{good}");
        }
        for (base, member, bad) in [
            (&http, "path", json!("health")),
            (&http, "path", json!("//evil.example/health")),
            (&http, "path", json!("/health?x=1")),
            (&http, "path", json!("/a b")),
            (&http, "path", json!("/\\evil.example")),
            (&http, "path", json!(format!("/{}", "a".repeat(200)))),
            (&http, "status", json!("20")),
            (&http, "status", json!("299-200")),
            (&http, "status", json!("200-1000")),
            (&http, "status", json!("+20")),
            (&http, "contains", json!("")),
            (&http, "contains", json!("a\nb")),
            (&http, "contains", json!("a\u{202e}b")),
            (&http, "attempts", json!(0)),
            (&http, "attempts", json!(6)),
            (&http, "timeout", json!("11s")),
            (&http, "timeout", json!("0s")),
            (&http, "timeout", json!("1500ms")),
            (&http, "patience", json!("16m")),
            (&http, "patience", json!("-1s")),
            (&http, "url", json!("https://evil.example")),
            (&metric, "name", json!("")),
            (&metric, "query", json!("x".repeat(2_001))),
            (&metric, "comparator", json!("about")),
            (&metric, "threshold", json!("1")),
            (&metric, "samples", json!(0)),
            (&metric, "token", json!("secret")),
            (&monitoring, "aligner", json!("mean")),
            (&monitoring, "aligner", json!("ALIGN_MEAN&x=1")),
            (&monitoring, "reducer", json!("ALIGN_MEAN")),
            (&monitoring, "period", json!("30s")),
            (&monitoring, "kind", json!("other")),
        ] {
            let asked = with(base.clone(), member, bad);
            assert!(read(asked.clone()).is_err(), "{asked}");
        }
    }
}
