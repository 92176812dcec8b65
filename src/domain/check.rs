//! Checks between the steps of a rollout: what is asked, of whom, and what answer lets it go on.
//!
//! They are part of the signed plan. Asking is the worker's; whether an answer passes is decided here, so
//! that everybody who has the plan and the answer comes to the same result.

mod asked;
mod judged;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::domain::time;

pub use asked::AskedCheck;
pub use judged::{Answered, Reading};

/// The most checks of one step, those of its environment among them.
pub const MOST_CHECKS: usize = 8;
/// What stands for the new revision's name in a query, until it has one.
const REVISION: &str = "{revision}";
/// What stands for the service's name.
const SERVICE: &str = "{service}";

/// One check of a step.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Check {
    /// The new revision answers at the address that its tag gives it.
    Http(HttpCheck),
    /// What a Prometheus server answers to an instant query.
    Prometheus(PrometheusCheck),
    /// Time series of Cloud Monitoring.
    CloudMonitoring(MonitoringCheck),
}

/// A GET of the new revision's own address.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpCheck {
    /// The path, from the first slash on.
    pub path: String,
    /// The lowest status that passes,
    pub lowest_status: u32,
    /// and the highest.
    pub highest_status: u32,
    /// What the body has to contain, if anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contains: Option<String>,
    /// How often it is asked before an answer that does not pass counts.
    pub attempts: u32,
    /// How long each answer may take, in seconds.
    pub timeout_seconds: u32,
    /// How long it is asked again while no answer comes, in seconds.
    pub patience_seconds: u32,
}

/// An instant query of a Prometheus server (<https://prometheus.io/docs/prometheus/latest/querying/api/>).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrometheusCheck {
    /// What is measured, in words.
    pub name: String,
    /// The server, as the gate's configuration calls it.
    pub source: String,
    /// The query, in PromQL.
    pub query: String,
    /// What every value of the answer has to keep to.
    pub limit: Limit,
    /// How many values there have to be at least.
    pub samples: u32,
    /// As [`HttpCheck::patience_seconds`], for answers without values too.
    pub patience_seconds: u32,
}

/// Time series of Cloud Monitoring (<https://cloud.google.com/monitoring/api/ref_v3/rest/v3/projects.timeSeries/list>).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MonitoringCheck {
    /// What is measured, in words.
    pub name: String,
    /// The project, as the gate's configuration calls it.
    pub source: String,
    /// Which time series.
    pub filter: String,
    /// How each of them is aligned, `ALIGN_RATE` for example.
    pub aligner: String,
    /// How they are put together, `REDUCE_SUM` for example.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reducer: Option<String>,
    /// The length of a period of the alignment, in seconds.
    pub period_seconds: u32,
    /// As [`PrometheusCheck::limit`].
    pub limit: Limit,
    /// How many values there have to be at least; as many of the newest periods are looked at.
    pub samples: u32,
    /// As [`PrometheusCheck::patience_seconds`].
    pub patience_seconds: u32,
}

/// What a value has to keep to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// On which side of the threshold it is.
    pub comparator: Comparator,
    /// The threshold, in decimal digits: a text, so that it is signed as it was written.
    pub threshold: String,
    /// The unit, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
}

/// A side of a threshold.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Comparator {
    /// Less than it.
    Below,
    /// It or less.
    AtMost,
    /// It or more.
    AtLeast,
    /// More than it.
    Above,
}

/// Metrics that checks may read.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricsSource {
    /// As the gate's configuration calls them.
    pub name: String,
    /// Who keeps them.
    pub kind: MetricsKind,
}

/// Who keeps metrics.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MetricsKind {
    /// A Prometheus server, or what answers like one.
    Prometheus,
    /// Cloud Monitoring.
    CloudMonitoring,
}

/// What a check found, as the ledger keeps it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckResult {
    /// The number of the step, from 1.
    pub step: u32,
    /// Whether it passed.
    pub outcome: CheckOutcome,
    /// What was found, in words.
    pub found: String,
    /// When.
    #[serde(deserialize_with = "time::deserialize")]
    pub at: Timestamp,
}

/// Whether a check passed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CheckOutcome {
    /// The answer is as it has to be.
    Passed,
    /// It is another one.
    Failed,
    /// There was none that says either, for as long as was signed: the rollout does not go on.
    Unreadable,
}

impl MetricsKind {
    /// Whose they are.
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Prometheus => "Prometheus",
            Self::CloudMonitoring => "Cloud Monitoring",
        }
    }
}

impl CheckResult {
    /// What was found and what it means, as a clause.
    pub fn in_words(&self) -> String {
        let outcome = match self.outcome {
            CheckOutcome::Passed => "passed",
            CheckOutcome::Failed => "failed",
            CheckOutcome::Unreadable => "could not be read",
        };
        format!("{}: {outcome}", self.found)
    }

    /// Whether it passed.
    pub fn passed(&self) -> bool {
        self.outcome == CheckOutcome::Passed
    }
}

/// What several checks found, as clauses of one sentence.
pub fn results_in_words<'a>(results: impl IntoIterator<Item = &'a CheckResult>) -> String {
    results.into_iter().map(CheckResult::in_words).collect::<Vec<_>>().join("; ")
}

impl Comparator {
    /// As it stands before a threshold.
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Below => "below",
            Self::AtMost => "at most",
            Self::AtLeast => "at least",
            Self::Above => "above",
        }
    }
}

impl Limit {
    /// The comparator with the threshold and its unit.
    fn in_words(&self) -> String {
        format!("{} {}", self.comparator.in_words(), self.with_unit(&self.threshold))
    }

    fn with_unit(&self, value: &str) -> String {
        self.unit.as_ref().map_or_else(|| value.to_owned(), |unit| format!("{value} {unit}"))
    }
}

impl Check {
    /// Whether it needs the address that a tag gives the new revision.
    pub fn needs_tag(&self) -> bool {
        matches!(self, Self::Http(_))
    }

    /// The metrics that it reads, as the gate's configuration calls them, and whose they have to be.
    pub fn source(&self) -> Option<(&str, MetricsKind)> {
        match self {
            Self::Http(_) => None,
            Self::Prometheus(check) => Some((&check.source, MetricsKind::Prometheus)),
            Self::CloudMonitoring(check) => Some((&check.source, MetricsKind::CloudMonitoring)),
        }
    }

    /// How long it is asked again while nothing can be read.
    pub fn patience(&self) -> SignedDuration {
        let seconds = match self {
            Self::Http(check) => check.patience_seconds,
            Self::Prometheus(check) => check.patience_seconds,
            Self::CloudMonitoring(check) => check.patience_seconds,
        };
        SignedDuration::from_secs(seconds.into())
    }

    /// The same for this revision of this service: its queries name them.
    #[must_use]
    pub fn for_revision(self, revision: &str, service: &str) -> Self {
        let named = |text: &str| text.replace(REVISION, revision).replace(SERVICE, service);
        match self {
            Self::Http(check) => Self::Http(check),
            Self::Prometheus(check) => {
                Self::Prometheus(PrometheusCheck { query: named(&check.query), ..check })
            }
            Self::CloudMonitoring(check) => {
                Self::CloudMonitoring(MonitoringCheck { filter: named(&check.filter), ..check })
            }
        }
    }

    /// What has to be so, as a clause.
    pub fn in_words(&self) -> String {
        match self {
            Self::Http(check) => {
                let HttpCheck { path, lowest_status: low, highest_status: high, .. } = check;
                let status = if low == high { low.to_string() } else { format!("{low} to {high}") };
                let contains = check.contains.as_ref();
                let contains = contains.map(|text| format!(" with “{text}” in it"));
                let contains = contains.unwrap_or_default();
                format!("GET {path} of the new revision answers {status}{contains}")
            }
            Self::Prometheus(check) => {
                let PrometheusCheck { name, source, query, limit, .. } = check;
                format!("{name} is {} ({source}: {query})", limit.in_words())
            }
            Self::CloudMonitoring(check) => {
                let MonitoringCheck { name, source, filter, aligner, limit, .. } = check;
                let reducer = check.reducer.as_ref().map(|one| format!(", {one}"));
                let period = check.period_seconds;
                format!(
                    "{name} is {} ({source}: {filter}, {aligner}{} over {period} seconds)",
                    limit.in_words(),
                    reducer.unwrap_or_default()
                )
            }
        }
    }
}
