//! Which part of a configuration is rules, and a configuration under other rules than its own: those that are
//! in force, while what the file says waits for signatures.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use url::Url;

use crate::config::check::Check;
use crate::config::environments::{self, Around};
use crate::config::error::Problem;
use crate::config::file::ConfigFile;
use crate::config::login;
use crate::config::{Config, Pins, actions, metrics, roles, trust, windows, witness};
use crate::domain::anchors::{Anchors, TrustedIssuer, TrustedLogin};
use crate::domain::canonical::CanonicalError;
use crate::domain::policy::Principal;
use crate::domain::rulebook::{RULEBOOK_SCHEMA, Rulebook};
use crate::integrations::binary_authorization::BinaryAuthorizationSettings;
use crate::integrations::cloud_credentials::GoogleAccount;
use crate::integrations::cloud_identity::{CloudIdentity, CloudIdentitySettings};
use crate::integrations::cloud_monitoring::MonitoringSettings;
use crate::integrations::cloud_run::CloudRunSettings;
use crate::integrations::github::GitHubSettings;
use crate::integrations::github::app::{AppSettings, Installation};
use crate::integrations::login_oidc::{GroupsFrom, LoginSettings};
use crate::integrations::metrics::SourceSettings;
use crate::integrations::prometheus::PrometheusSettings;
use crate::integrations::witness::WitnessSettings;
use crate::integrations::workload_oidc::WorkloadIssuer;
use crate::proof::grant::GrantKeys;

/// What decides rights beside policies, roles and anchors: how tokens are read, who is believed outside, and
/// who gets the gate's credentials.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    audit_readers: Vec<Principal>,
    workload_issuers: Vec<WorkloadIssuer>,
    witnesses: Vec<Witness>,
    cloud_run: CloudRun,
    binary_authorization: BinaryAuthorization,
    github: Option<GitHub>,
    metrics: BTreeMap<String, Source>,
    /// The public keys that grants are signed with.
    grants: Value,
    /// What of a sign-in decides who somebody is, beside the anchors.
    #[serde(default, skip_serializing_if = "Login::is_usual")]
    login: Login,
}

/// What of `[login]` decides who somebody is, beside the anchors.
#[derive(Serialize, Deserialize, Default, PartialEq)]
#[serde(deny_unknown_fields)]
struct Login {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    github_id_claim: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hosted_domain: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    groups_from: Option<Groups>,
}

/// Where groups come from that the ID token does not list.
#[derive(Serialize, Deserialize, PartialEq)]
#[serde(tag = "at", rename_all = "snake_case", deny_unknown_fields)]
enum Groups {
    Userinfo {},
    CloudIdentity { endpoint: Url, ask_as_gate: bool },
}

impl Login {
    fn is_usual(&self) -> bool {
        *self == Self::default()
    }

    fn of(login: &LoginSettings) -> Self {
        let groups_from = match &login.groups_from {
            GroupsFrom::Claim => None,
            GroupsFrom::Userinfo => Some(Groups::Userinfo {}),
            GroupsFrom::CloudIdentity(identity) => Some(Groups::CloudIdentity {
                endpoint: identity.settings().endpoint.clone(),
                ask_as_gate: identity.settings().account.is_some(),
            }),
        };
        let LoginSettings { github_id_claim, hosted_domain, .. } = login.clone();
        Self { github_id_claim, hosted_domain, groups_from }
    }

    fn groups_from(&self, account: &GoogleAccount) -> GroupsFrom {
        match &self.groups_from {
            None => GroupsFrom::Claim,
            Some(Groups::Userinfo {}) => GroupsFrom::Userinfo,
            Some(Groups::CloudIdentity { endpoint, ask_as_gate }) => {
                let account = ask_as_gate.then(|| account.clone());
                let settings = CloudIdentitySettings { endpoint: endpoint.clone(), account };
                GroupsFrom::CloudIdentity(Box::new(CloudIdentity::new(settings)))
            }
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Witness {
    key: String,
    url: Url,
}

#[derive(Serialize, Deserialize)]
struct CloudRun {
    endpoint: Option<Url>,
}

#[derive(Serialize, Deserialize)]
struct BinaryAuthorization {
    analysis: Url,
    kms: Url,
}

#[derive(Serialize, Deserialize)]
struct GitHub {
    api: String,
    app: Option<App>,
}

#[derive(Serialize, Deserialize)]
struct App {
    id: u64,
    /// The repositories of each installation.
    installations: BTreeMap<u64, BTreeSet<u64>>,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Source {
    Prometheus { url: Url },
    CloudMonitoring { project: String, endpoint: Url },
}

/// The anchors that a configuration pins.
pub(super) fn anchors(config: &Config) -> Anchors {
    let LoginSettings { issuer, client_id, groups_claim, groups_from, .. } = &config.login;
    let login = TrustedLogin {
        issuer: issuer.clone(),
        client_id: client_id.clone(),
        groups_claim: groups_claim.clone(),
        gate_groups: !matches!(groups_from, GroupsFrom::Claim),
        keys: config.pins.login_keys.clone(),
    };
    anchors_of(&config.pins, login, &config.workload_issuers, &config.witnesses)
}

/// The same of its parts.
pub(super) fn anchors_of(
    pins: &Pins,
    login: TrustedLogin,
    workload_issuers: &[WorkloadIssuer],
    witnesses: &[WitnessSettings],
) -> Anchors {
    let Pins {
        endorsements,
        endorsers,
        recovery_signatures,
        login_keys: _,
        workload_keys,
        witnesses_required,
        attestation_roots,
        metadata_root,
    } = pins;
    let issuer = |issuer: &WorkloadIssuer| TrustedIssuer {
        name: issuer.name.clone(),
        issuer: issuer.issuer.clone(),
        audience: issuer.audience.clone(),
        keys: workload_keys.get(&issuer.name).cloned().unwrap_or_default(),
    };
    Anchors {
        endorsements: *endorsements,
        endorsers: endorsers.clone(),
        recovery_signatures: *recovery_signatures,
        login,
        workload_issuers: workload_issuers.iter().map(issuer).collect(),
        witnesses: witnesses.iter().map(|witness| witness.key.clone()).collect(),
        witnesses_required: *witnesses_required,
        attestation_roots: attestation_roots.clone(),
        metadata_root: metadata_root.clone(),
    }
}

/// The rules of a file alone, and what they rest on, as far as that needs no secret: of settings who reads and
/// how tokens are read.
///
/// # Errors
/// What in the file must be changed.
pub(super) fn of_file(mut check: Check, file: ConfigFile) -> Result<Rulebook, Vec<Problem>> {
    let kinds = check.issuer_kinds(&file.workload_issuer);
    let witnesses = witness::witnesses(&mut check, file.witness);
    let pins = trust::pins(&mut check, file.trust, &file.enrolment, kinds.keys(), witnesses.len());
    let origin = file.public_origin.unwrap_or_default();
    let issuers = file.workload_issuer.into_iter();
    let issuers: Vec<WorkloadIssuer> =
        issuers.map(|section| check.workload_issuer(section, &origin, None)).collect();
    let declared = actions::actions(&mut check, file.action);
    let directory = file.login.issuer.unwrap_or_default();
    let github_id_claim = file.login.github_id_claim;
    let measured = metrics::kinds(&file.metrics);
    let calendars = windows::calendars(&mut check, file.calendar);
    let around = Around {
        calendars: &calendars,
        issuers: &kinds,
        directory: &directory,
        github_id_claim: github_id_claim.as_deref(),
        pins: &pins,
        declared: &declared,
        metrics: &measured,
    };
    let environments = environments::policies(&mut check, file.environment, around);
    let roles = roles::roles(&mut check, file.roles, &environments);
    let login = TrustedLogin {
        issuer: directory,
        client_id: file.login.client_id.unwrap_or_default(),
        groups_claim: file.login.groups_claim,
        gate_groups: file.login.groups_from != login::Source::Claim,
        keys: pins.login_keys.clone(),
    };
    let anchors = anchors_of(&pins, login, &issuers, &witnesses);
    let settings = json!({"audit_readers": file.audit.readers, "workload_issuers": issuers});
    let settings = settings.as_object().cloned().unwrap_or_default();
    let schema = RULEBOOK_SCHEMA.to_owned();
    let rules = Rulebook { schema, environments, roles, anchors, settings };
    if check.problems.is_empty() { Ok(rules) } else { Err(check.problems) }
}

/// The rules of a configuration.
pub(super) fn of(config: &Config) -> Result<Rulebook, CanonicalError> {
    // Every field is named, so that a new one does not compile before it was thought of here. What gives no
    // right: where the gate is, its secrets, whom it tells what, what it watches without acting on it.
    let Config {
        public_origin: _,
        relying_party: _,
        listen: _,
        database: _,
        log_key: _,
        log_head: _,
        notice: _,
        login,
        workload_issuers,
        pins: _,
        // What it says takes rights away and waits for nobody. Under which root, the anchors say.
        metadata: _,
        witnesses,
        receivers: _,
        drift: _,
        reach: _,
        cloud_run,
        attestors,
        github,
        proxies: _,
        audit_readers,
        grant_keys,
        metrics,
        roles,
        environments,
        warnings: _,
    } = config;
    let witness = |one: &WitnessSettings| Witness { key: one.key.clone(), url: one.url.clone() };
    let settings = Settings {
        audit_readers: audit_readers.clone(),
        workload_issuers: workload_issuers.clone(),
        witnesses: witnesses.iter().map(witness).collect(),
        // Whose rights the gate has at Google is Google's to say: more of them are none to ask for less.
        cloud_run: CloudRun { endpoint: cloud_run.endpoint.clone() },
        binary_authorization: BinaryAuthorization {
            analysis: attestors.analysis.clone(),
            kms: attestors.kms.clone(),
        },
        github: github.as_ref().map(of_github),
        metrics: metrics.iter().map(|(name, source)| (name.clone(), of_source(source))).collect(),
        grants: grants(grant_keys.as_ref()),
        login: Login::of(login),
    };
    let settings = json!(settings).as_object().cloned().unwrap_or_default();
    Ok(Rulebook {
        schema: RULEBOOK_SCHEMA.to_owned(),
        environments: environments.clone(),
        roles: roles.clone(),
        anchors: anchors(config),
        settings,
    })
}

fn of_github(github: &GitHubSettings) -> GitHub {
    let installations = |app: &AppSettings| {
        let installations = app.installations.iter();
        installations.map(|one| (one.id, one.repositories.clone())).collect()
    };
    let app = github.app.as_ref();
    let app = app.map(|app| App { id: app.id, installations: installations(app) });
    GitHub { api: github.api.clone(), app }
}

fn of_source(source: &SourceSettings) -> Source {
    match source {
        SourceSettings::Prometheus(PrometheusSettings { url, token: _ }) => {
            Source::Prometheus { url: url.clone() }
        }
        SourceSettings::CloudMonitoring(MonitoringSettings { project, endpoint, .. }) => {
            Source::CloudMonitoring { project: project.clone(), endpoint: endpoint.clone() }
        }
    }
}

fn grants(keys: Option<&GrantKeys>) -> Value {
    keys.map(GrantKeys::key_set).unwrap_or_default()
}

/// The configuration with the rules of `rules` in the place of its own. Secrets are the file's: what they
/// belong to is not, so that one that was exchanged together with its owner opens nothing.
pub(super) fn under(mut config: Config, rules: &Rulebook) -> Result<Config, CanonicalError> {
    let settings = Value::Object(rules.settings.clone());
    let settings: Settings = serde_json::from_value(settings).map_err(CanonicalError::Malformed)?;
    let Anchors {
        endorsements,
        endorsers,
        recovery_signatures,
        login,
        workload_issuers,
        witnesses: _,
        witnesses_required,
        attestation_roots,
        metadata_root,
    } = rules.anchors.clone();
    config.environments.clone_from(&rules.environments);
    config.roles.clone_from(&rules.roles);
    config.pins = Pins {
        endorsements,
        endorsers,
        recovery_signatures,
        login_keys: login.keys,
        workload_keys: workload_issuers
            .into_iter()
            .filter(|issuer| !issuer.keys.is_empty())
            .map(|issuer| (issuer.name, issuer.keys))
            .collect(),
        witnesses_required,
        attestation_roots,
        metadata_root,
    };
    config.login = LoginSettings {
        issuer: login.issuer,
        client_id: login.client_id,
        groups_claim: login.groups_claim,
        github_id_claim: settings.login.github_id_claim.clone(),
        groups_from: settings.login.groups_from(&config.cloud_run.account),
        hosted_domain: settings.login.hosted_domain.clone(),
        ..config.login
    };
    config.audit_readers = settings.audit_readers;
    config.workload_issuers = settings.workload_issuers;
    let witnesses = settings.witnesses.into_iter();
    config.witnesses = witnesses.map(|Witness { key, url }| WitnessSettings { key, url }).collect();
    config.cloud_run =
        CloudRunSettings { endpoint: settings.cloud_run.endpoint, ..config.cloud_run };
    let BinaryAuthorization { analysis, kms } = settings.binary_authorization;
    config.attestors = BinaryAuthorizationSettings { analysis, kms, ..config.attestors };
    config.github = github_under(config.github, settings.github);
    config.metrics = metrics_under(&config.metrics, settings.metrics, &config.cloud_run.account);
    config.grant_keys = config.grant_keys.filter(|keys| grants(Some(keys)) == settings.grants);
    Ok(config)
}

fn github_under(file: Option<GitHubSettings>, rules: Option<GitHub>) -> Option<GitHubSettings> {
    let (file, rules) = (file?, rules?);
    let app = file.app.zip(rules.app).map(|(file, rules)| AppSettings {
        id: rules.id,
        installations: rules
            .installations
            .into_iter()
            .map(|(id, repositories)| Installation { id, repositories })
            .collect(),
        ..file
    });
    Some(GitHubSettings { api: rules.api, token: file.token, app })
}

fn metrics_under(
    file: &BTreeMap<String, SourceSettings>,
    rules: BTreeMap<String, Source>,
    account: &GoogleAccount,
) -> BTreeMap<String, SourceSettings> {
    let settings = |name: &str, source: Source| match source {
        Source::Prometheus { url } => {
            let token = match file.get(name) {
                // A token is for the server that it was meant for.
                Some(SourceSettings::Prometheus(own)) if own.url == url => own.token.clone(),
                _ => None,
            };
            SourceSettings::Prometheus(PrometheusSettings { url, token })
        }
        Source::CloudMonitoring { project, endpoint } => {
            SourceSettings::CloudMonitoring(MonitoringSettings {
                project,
                endpoint,
                account: account.clone(),
            })
        }
    };
    rules.into_iter().map(|(name, source)| (name.clone(), settings(&name, source))).collect()
}
