//! `[drift]`: whether and how often services are looked at, and who tells of changes as they are made.

use std::time::Duration;

use jiff::SignedDuration;
use serde::Deserialize;

use crate::config::check::Check;
use crate::config::environments::seconds_of;
use crate::integrations::audit_events::AuditEventSettings;
use crate::integrations::workload_oidc::{TokenAlgorithm, WorkloadIssuer, WorkloadKind};

/// `[drift]`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DriftSection {
    /// How often each service is looked at.
    #[serde(default = "a_minute")]
    pub every: String,
    /// Who tells of changes as they are made.
    pub push: Option<DriftPushSection>,
}

fn a_minute() -> String {
    "1m".to_owned()
}

/// `[drift.push]`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DriftPushSection {
    /// The e-mail address of the service account that the push subscription authenticates as.
    pub service_account: String,
    /// The audience of its tokens; the address that it posts to if absent.
    pub audience: Option<String>,
    /// Who issues them; Google if absent.
    pub issuer: Option<String>,
}

/// Less would use up Cloud Run's quota of reads, which rollouts need.
const SHORTEST: SignedDuration = SignedDuration::from_secs(1);
/// Whoever has to act hears of a change within five minutes.
const LONGEST: SignedDuration = SignedDuration::from_mins(4);
/// Who signs the tokens of push subscriptions.
const GOOGLE: &str = "https://accounts.google.com";

/// How services are watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DriftSettings {
    /// How often each is looked at.
    pub every: Duration,
    /// Who posts entries of the audit log.
    pub push: Option<AuditEventSettings>,
}

/// The settings of a file. `origin` is the gate's, the audience of tokens where none is named.
pub(super) fn settings(
    check: &mut Check,
    section: Option<DriftSection>,
    origin: &str,
) -> Option<DriftSettings> {
    let section = section?;
    let seconds = seconds_of(&section.every, SHORTEST, LONGEST);
    if seconds.is_none() {
        let every = &section.every;
        check.problem(
            "drift.every",
            format!("{every:?} is no time between 1 second and 4 minutes: write \"1m\", say"),
        );
    }
    let push = section.push.map(|section| push(check, section, origin));
    Some(DriftSettings { every: Duration::from_secs(seconds.unwrap_or(60)), push })
}

fn push(check: &mut Check, section: DriftPushSection, origin: &str) -> AuditEventSettings {
    if !section.service_account.contains('@') {
        check.problem(
            "drift.push.service_account",
            "is no e-mail address: write that of the service account that the push subscription authenticates as",
        );
    }
    let issuer = section.issuer.unwrap_or_else(|| GOOGLE.to_owned());
    check.endpoint("drift.push.issuer", &issuer);
    AuditEventSettings {
        issuer: WorkloadIssuer {
            name: "drift.push".to_owned(),
            issuer,
            jwks_uri: None,
            algorithm: TokenAlgorithm::RS256,
            audience: section.audience.unwrap_or_else(|| format!("{origin}/v1/drift/changes")),
            requester_claim: None,
            kind: WorkloadKind::Generic,
            refused_events: Vec::new(),
        },
        service_account: section.service_account,
    }
}
