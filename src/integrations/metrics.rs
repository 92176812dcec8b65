//! Who is asked for the metrics that checks of rollouts read, by name.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::domain::check::{Check, MetricsKind, Reading};
use crate::integrations::cloud_monitoring::{CloudMonitoring, MonitoringSettings};
use crate::integrations::outbound::OutboundHttp;
use crate::integrations::prometheus::{Prometheus, PrometheusSettings};

/// Who keeps metrics, as configured.
#[derive(Clone, Debug)]
pub enum SourceSettings {
    /// A Prometheus server.
    Prometheus(PrometheusSettings),
    /// Cloud Monitoring.
    CloudMonitoring(MonitoringSettings),
}

impl SourceSettings {
    /// Who that is.
    pub fn kind(&self) -> MetricsKind {
        match self {
            Self::Prometheus(_) => MetricsKind::Prometheus,
            Self::CloudMonitoring(_) => MetricsKind::CloudMonitoring,
        }
    }

    /// Where it is, without secrets.
    pub fn in_words(&self) -> String {
        match self {
            Self::Prometheus(settings) => {
                let token = if settings.token.is_some() { "with" } else { "without" };
                format!("Prometheus at {}, {token} a token", settings.url)
            }
            Self::CloudMonitoring(settings) => {
                format!("Cloud Monitoring of {} at {}", settings.project, settings.endpoint)
            }
        }
    }
}

enum Source {
    Prometheus(Prometheus),
    CloudMonitoring(CloudMonitoring),
}

/// Everybody who is asked.
pub struct Metrics(BTreeMap<String, Source>);

impl Metrics {
    /// Touches neither the network nor credentials: they are looked for when they are first needed.
    pub fn new(settings: &BTreeMap<String, SourceSettings>, http: &OutboundHttp) -> Self {
        let source = |settings: &SourceSettings| match settings {
            SourceSettings::Prometheus(settings) => {
                Source::Prometheus(Prometheus::new(settings.clone(), http.clone()))
            }
            SourceSettings::CloudMonitoring(settings) => {
                Source::CloudMonitoring(CloudMonitoring::new(settings.clone(), http.clone()))
            }
        };
        Self(settings.iter().map(|(name, one)| (name.clone(), source(one))).collect())
    }

    /// What this check reads. None for one that reads no metrics.
    pub async fn read(&self, check: &Check, now: Timestamp) -> Option<Reading> {
        let (name, _) = check.source()?;
        let values = match (self.0.get(name), check) {
            (Some(Source::Prometheus(server)), Check::Prometheus(check)) => {
                server.query(&check.query).await
            }
            (Some(Source::CloudMonitoring(api)), Check::CloudMonitoring(check)) => {
                api.time_series(check, now).await
            }
            (Some(_), _) => Err(format!("the gate's [metrics.{name}] is of another kind")),
            (None, _) => Err(format!("the gate's configuration names no metrics {name}")),
        };
        Some(values.map_or_else(Reading::Nothing, Reading::Values))
    }
}
