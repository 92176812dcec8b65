//! `[metrics.NAME]`: who is asked for the metrics that checks of rollouts read.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use url::Url;

use crate::config::check::Check;
use crate::config::secret;
use crate::domain::check::MetricsKind;
use crate::integrations::cloud_credentials::GoogleAccount;
use crate::integrations::cloud_monitoring::{GOOGLE_MONITORING, MonitoringSettings};
use crate::integrations::metrics::SourceSettings;
use crate::integrations::prometheus::PrometheusSettings;

/// The longest name.
const LONGEST_NAME: usize = 63;

/// `[metrics.NAME]`
#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum MetricsSection {
    /// A Prometheus server, or what answers like one.
    Prometheus(PrometheusSection),
    /// Cloud Monitoring, with the credentials of `[cloud_run]`.
    CloudMonitoring(MonitoringSection),
}

/// A Prometheus server.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrometheusSection {
    /// What stands before `/api/v1/query`.
    pub url: String,
    /// The file that holds a bearer token, if it asks for one.
    pub token_file: Option<PathBuf>,
}

/// Cloud Monitoring.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MonitoringSection {
    /// The project whose time series are read.
    pub project: String,
    /// Where Cloud Monitoring is; at Google if absent.
    pub endpoint: Option<String>,
}

/// Who keeps the metrics of each name.
pub(super) fn kinds(sections: &BTreeMap<String, MetricsSection>) -> BTreeMap<String, MetricsKind> {
    let kind = |section: &MetricsSection| match section {
        MetricsSection::Prometheus(_) => MetricsKind::Prometheus,
        MetricsSection::CloudMonitoring(_) => MetricsKind::CloudMonitoring,
    };
    sections.iter().map(|(name, section)| (name.clone(), kind(section))).collect()
}

/// Who is asked. What cannot be used has left a problem behind.
pub(super) fn sources(
    check: &mut Check,
    sections: BTreeMap<String, MetricsSection>,
    account: &GoogleAccount,
) -> BTreeMap<String, SourceSettings> {
    let mut sources = BTreeMap::new();
    for (name, section) in sections {
        let key = format!("metrics.{name}");
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if name.is_empty() || name.len() > LONGEST_NAME || !name.bytes().all(plain) {
            check.problem(
                &key,
                format!("the name is not 1 to {LONGEST_NAME} letters, digits, hyphens and underscores: rename it"),
            );
        }
        let settings = match section {
            MetricsSection::Prometheus(section) => prometheus(check, &key, section),
            MetricsSection::CloudMonitoring(section) => monitoring(check, &key, section, account),
        };
        sources.extend(settings.map(|settings| (name, settings)));
    }
    sources
}

fn prometheus(check: &mut Check, key: &str, section: PrometheusSection) -> Option<SourceSettings> {
    let url = address(check, &format!("{key}.url"), &section.url);
    let token = match section.token_file {
        Some(path) => Some(secret::read(check, &format!("{key}.token_file"), &path)?),
        None => None,
    };
    Some(SourceSettings::Prometheus(PrometheusSettings { url: url?, token }))
}

fn monitoring(
    check: &mut Check,
    key: &str,
    section: MonitoringSection,
    account: &GoogleAccount,
) -> Option<SourceSettings> {
    let project = section.project;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-.:".contains(&byte);
    if project.is_empty() || project.len() > LONGEST_NAME || !project.bytes().all(is_plain) {
        check
            .problem(&format!("{key}.project"), format!("{project:?} is no project: write its id"));
    }
    let endpoint = section.endpoint.as_deref().unwrap_or(GOOGLE_MONITORING);
    let endpoint = address(check, &format!("{key}.endpoint"), endpoint)?;
    let account = account.clone();
    Some(SourceSettings::CloudMonitoring(MonitoringSettings { project, endpoint, account }))
}

/// Paths are added to it.
fn address(check: &mut Check, key: &str, text: &str) -> Option<Url> {
    let url = check.endpoint(key, text)?;
    if url.query().is_some() {
        check.problem(key, "holds a query: write what stands before it");
        return None;
    }
    Some(url)
}
