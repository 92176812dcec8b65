//! Whether the parts of a configuration can be meant, each by itself; and putting them together.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ipnet::IpNet;
use secrecy::SecretString;
use url::{Host, Url};

use crate::config::environments::Around;
use crate::config::error::Problem;
use crate::config::file::{ConfigFile, Header, ProxySection, WorkloadIssuerSection};
use crate::config::{
    Config, actions, attestors, database, drift, environments, github, google_account, log_head,
    login, loopback, metadata, metrics, receivers, roles, runs, secret, separation, trust, windows,
    witness,
};
use crate::domain::agent_credential::AGENT_ISSUER;
use crate::domain::log_key::LogKey;
use crate::domain::rule_change::RULES_ISSUER;
use crate::domain::workflow_run::RUN_ISSUER;
use crate::gate::decide::RelyingParty;
use crate::integrations::cloud_run::CloudRunSettings;
use crate::integrations::login_oidc::LoginSettings;
use crate::integrations::workload_oidc::{WorkloadIssuer, WorkloadKind};
use crate::web::proxy::{ForwardingHeader, TrustedProxies};

/// On loopback until told otherwise.
const DEFAULT_LISTEN: &str = "127.0.0.1:8080";
/// Where Cloud Run is, for the rule that everything or nothing is on this machine.
const GOOGLE: &str = "https://run.googleapis.com";
/// GitHub's issuer of Actions tokens, whose claims must be read by GitHub's conventions.
const GITHUB_ISSUER: &str = "https://token.actions.githubusercontent.com";
/// A notice is one sentence at the top of a phone's screen.
const LONGEST_NOTICE: usize = 300;

/// A check under way: what was found so far. A part that cannot be used is `None` and has left a
/// problem behind, so that the others are checked all the same.
#[derive(Default)]
pub(super) struct Check {
    /// The folder of the configuration, where relative paths begin.
    pub folder: PathBuf,
    /// The variable that gave a key, where one did.
    pub sources: BTreeMap<&'static str, &'static str>,
    /// What must be changed.
    pub problems: Vec<Problem>,
    /// Every address outside that the gate will trust or be found at, by key.
    pub endpoints: Vec<(String, Url)>,
    warnings: Vec<String>,
}

impl Check {
    /// A check of a configuration in this folder.
    pub fn of_folder(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), ..Self::default() }
    }

    /// Notes what must be changed.
    pub fn problem(&mut self, key: &str, text: impl Into<String>) {
        let key = match self.sources.get(key) {
            Some(variable) => format!("{key} (from {variable})"),
            None => key.to_owned(),
        };
        self.problems.push(Problem::new(key, text));
    }

    /// Notes what should be changed.
    pub fn warn(&mut self, sentence: String) {
        self.warnings.push(sentence);
    }

    /// Everything together.
    pub fn config(mut self, mut file: ConfigFile) -> Result<Config, Vec<Problem>> {
        let public_origin = self.public_origin(file.public_origin.as_deref());
        let listen = self.listen(file.listen.as_deref());
        let database = database::database(&mut self, &file);
        let log_key = self.log_key(file.log_key.as_ref(), file.log_key_file.as_deref());
        let account = google_account::own(&mut self, &mut file.cloud_run);
        let accounts = google_account::of_environments(&mut self, &file.environment);
        let account_of = |name: &str| accounts.get(name).unwrap_or(&account).clone();
        let attestors = attestors::settings(
            &mut self,
            &file.binary_authorization,
            &file.environment,
            account_of,
        );
        let log_head = log_head::place(&mut self, &file.log, &account);
        self.notice(file.notice.as_deref());
        let directory = file.login.issuer.clone().unwrap_or_default();
        let github_id_claim = file.login.github_id_claim.clone();
        let login = login::settings(&mut self, file.login, &account);
        let origin = public_origin.as_ref().map(origin_of).unwrap_or_default();
        let kinds = self.issuer_kinds(&file.workload_issuer);
        let workload_issuers: Vec<WorkloadIssuer> = file
            .workload_issuer
            .into_iter()
            .map(|section| self.workload_issuer(section, &origin, login.as_ref()))
            .collect();
        let endpoint = file.cloud_run.endpoint.as_deref();
        let endpoint = endpoint.and_then(|text| self.endpoint("cloud_run.endpoint", text));
        if endpoint.is_none() {
            self.endpoint("cloud_run.endpoint", GOOGLE);
        }
        let github = file.github.map(|section| github::settings(&mut self, section));
        let proxies = self.proxies(&file.proxy);
        let witnesses = witness::witnesses(&mut self, file.witness);
        let metadata_file = file.trust.metadata.clone();
        let pins =
            trust::pins(&mut self, file.trust, &file.enrolment, kinds.keys(), witnesses.len());
        let root = pins.metadata_root.as_deref();
        let metadata = metadata::read(&mut self, metadata_file.as_deref(), root);
        let reach = receivers::reach(public_origin.as_ref());
        let receivers = receivers::receivers(&mut self, file.webhook, &file.environment, reach);
        let drift = drift::settings(&mut self, file.drift, &origin);
        let declared = actions::actions(&mut self, file.action);
        let measured = metrics::kinds(&file.metrics);
        let metrics = metrics::sources(&mut self, file.metrics, &account);
        let calendars = windows::calendars(&mut self, file.calendar);
        let around = Around {
            calendars: &calendars,
            issuers: &kinds,
            directory: &directory,
            github_id_claim: github_id_claim.as_deref(),
            pins: &pins,
            declared: &declared,
            metrics: &measured,
        };
        let environments = environments::policies(&mut self, file.environment, around);
        separation::check(&mut self, github.as_ref(), &environments);
        let grant_keys = actions::grant_keys(&mut self, &file.grant, &environments);
        runs::check(&mut self, github.as_ref(), &environments);
        let roles = roles::roles(&mut self, file.roles, &environments);
        let anonymous = google_account::anonymous(&account, &accounts);
        loopback::check(&mut self, listen, &anonymous);
        let accounts_by_name = google_account::by_name(&accounts, &environments);
        let (
            Some(public_origin),
            Some(listen),
            Some(database),
            Some(log_key),
            Some(login),
            Some(attestors),
            true,
        ) = (public_origin, listen, database, log_key, login, attestors, self.problems.is_empty())
        else {
            return Err(self.problems);
        };
        let id = public_origin.host_str().unwrap_or_default().to_owned();
        Ok(Config {
            relying_party: RelyingParty { origin, id },
            public_origin,
            listen,
            database,
            log_key: Arc::new(log_key),
            log_head,
            notice: file.notice,
            login,
            workload_issuers,
            pins,
            metadata,
            witnesses,
            receivers,
            drift,
            reach,
            attestors,
            cloud_run: CloudRunSettings { endpoint, account, accounts_by_name },
            github,
            proxies,
            audit_readers: file.audit.readers,
            grant_keys,
            metrics,
            roles,
            environments,
            warnings: self.warnings,
        })
    }

    /// WebAuthn wants a name here, not an address, and compares the origin letter by letter.
    fn public_origin(&mut self, text: Option<&str>) -> Option<Url> {
        let key = "public_origin";
        let text = self.required(
            key,
            text,
            "write the origin under which browsers reach the gate, such as https://gate.example.com",
        )?;
        let url = self.endpoint(key, text)?;
        if !matches!(url.host(), Some(Host::Domain(_))) {
            self.problem(
                key,
                format!("{text:?} names an IP address, and security keys are bound to a domain name: use one (on this machine, localhost)"),
            );
        } else if origin_of(&url) != text {
            let origin = origin_of(&url);
            self.problem(
                key,
                format!("{text:?} is not an origin and nothing else: write {origin:?}"),
            );
        }
        Some(url)
    }

    fn listen(&mut self, text: Option<&str>) -> Option<SocketAddr> {
        let text = text.unwrap_or(DEFAULT_LISTEN);
        let listen = text.parse().ok();
        if listen.is_none() {
            self.problem(
                "listen",
                format!("{text:?} is no IP address with a port: write {DEFAULT_LISTEN:?}, say"),
            );
        }
        listen
    }

    fn log_key(&mut self, seed: Option<&SecretString>, path: Option<&Path>) -> Option<LogKey> {
        let key = "log_key_file";
        let seed = match (seed, path) {
            (Some(seed), _) => seed.clone(),
            (None, Some(path)) => secret::read(self, key, path)?,
            (None, None) => {
                self.problem(
                    key,
                    "is missing: make a key with `openssl rand -hex 32`, put it into a file that \
                     only the gate may read and name that here, or set COUNTERSIGN_LOG_KEY",
                );
                return None;
            }
        };
        secret::log_key(self, &seed)
    }

    fn notice(&mut self, notice: Option<&str>) {
        let Some(notice) = notice else { return };
        if notice.chars().count() > LONGEST_NOTICE || notice.chars().any(char::is_control) {
            self.problem(
                "notice",
                format!("is not one line of at most {LONGEST_NOTICE} characters: shorten it"),
            );
        }
    }

    /// The kinds of all issuers by name; two of one name or one URL would be told apart by nobody.
    pub(super) fn issuer_kinds(
        &mut self,
        sections: &[WorkloadIssuerSection],
    ) -> BTreeMap<String, WorkloadKind> {
        let mut kinds = BTreeMap::new();
        let mut urls = BTreeSet::new();
        for section in sections {
            let name = &section.name;
            if name.trim().is_empty() {
                self.problem("workload_issuer.name", "is empty: give every issuer a name");
            } else if [AGENT_ISSUER, RUN_ISSUER, RULES_ISSUER].contains(&name.as_str()) {
                self.problem(
                    &format!("workload_issuer.{name}"),
                    "has a name that stands for the gate itself, which vouches for agents, for what GitHub's webhooks say and for changes of the rules: choose another",
                );
            } else if kinds.insert(name.clone(), section.kind).is_some() {
                self.problem(
                    &format!("workload_issuer.{name}.name"),
                    "is the name of two issuers: rename one of them",
                );
            }
            if !urls.insert(&section.issuer) {
                let url = &section.issuer;
                self.problem(
                    &format!("workload_issuer.{name}.issuer"),
                    format!("{url} is configured twice: keep one of the two sections"),
                );
            }
        }
        kinds
    }

    pub(super) fn workload_issuer(
        &mut self,
        section: WorkloadIssuerSection,
        origin: &str,
        login: Option<&LoginSettings>,
    ) -> WorkloadIssuer {
        let name = section.name;
        let key = |key: &str| format!("workload_issuer.{name}.{key}");
        self.issuer_url(&key("issuer"), &section.issuer);
        if let Some(jwks_uri) = &section.jwks_uri {
            self.endpoint(&key("jwks_uri"), jwks_uri);
        }
        if section.issuer == GITHUB_ISSUER && section.kind != WorkloadKind::Github {
            self.problem(&key("kind"), "is not \"github\", and the issuer is GitHub's: write it");
        }
        let audience = section.audience.unwrap_or_else(|| origin.to_owned());
        if section.requester_claim.as_ref().is_some_and(String::is_empty) {
            self.problem(&key("requester_claim"), "is empty: leave it out, or name a claim");
        }
        let people = login.filter(|login| login.issuer == section.issuer);
        if people.is_some_and(|login| login.client_id == audience) {
            self.problem(
                &key("audience"),
                "is login.client_id at the same issuer, so people's sign-ins would pass for \
                 workloads: use another audience, such as the public origin",
            );
        }
        WorkloadIssuer {
            name,
            issuer: section.issuer,
            jwks_uri: section.jwks_uri,
            algorithm: section.algorithm,
            audience,
            requester_claim: section.requester_claim,
            kind: section.kind,
            refused_events: section.refused_events,
        }
    }

    fn proxies(&mut self, section: &ProxySection) -> TrustedProxies {
        match (section.trusted.is_empty(), section.header.is_some()) {
            (true, true) => self.problem(
                "proxy.trusted",
                "is missing, so proxy.header would be believed of nobody: name the addresses of \
                 the proxies, or remove [proxy]",
            ),
            (false, false) => self.problem(
                "proxy.header",
                "is missing: write the header that these proxies set, \"x-forwarded-for\" or \
                 \"forwarded\", or remove [proxy]",
            ),
            (true, false) | (false, true) => {}
        }
        let ranges = section.trusted.iter().filter_map(|text| self.proxy_range(text)).collect();
        let header = section.header.map(|header| match header {
            Header::XForwardedFor => ForwardingHeader::XForwardedFor,
            Header::Forwarded => ForwardingHeader::Forwarded,
        });
        TrustedProxies { ranges, header }
    }

    fn proxy_range(&mut self, text: &str) -> Option<IpNet> {
        let single = text.parse::<IpAddr>().map(IpNet::from);
        let Ok(range) = text.parse::<IpNet>().or(single) else {
            let form = "write addresses or ranges such as \"10.0.0.0/8\"";
            self.problem("proxy.trusted", format!("{text:?} is no range of addresses: {form}"));
            return None;
        };
        if range.prefix_len() == 0 {
            self.problem(
                "proxy.trusted",
                format!("{text:?} trusts the whole internet to say who it is: name your proxies"),
            );
        }
        Some(range)
    }

    pub(super) fn required<'a>(
        &mut self,
        key: &str,
        text: Option<&'a str>,
        remedy: &str,
    ) -> Option<&'a str> {
        let text = text.filter(|text| !text.trim().is_empty());
        if text.is_none() {
            self.problem(key, format!("is missing: {remedy}"));
        }
        text
    }

    /// OpenID Connect Discovery 1.0, section 3: an issuer has neither query nor fragment.
    pub(super) fn issuer_url(&mut self, key: &str, text: &str) {
        let url = self.endpoint(key, text);
        if url.is_some_and(|url| url.query().is_some()) {
            self.problem(key, "has a query, which no issuer has: write it as tokens name it");
        }
    }

    /// An address that the gate reads from or is found at.
    pub(super) fn endpoint(&mut self, key: &str, text: &str) -> Option<Url> {
        let url = match Url::parse(text) {
            Ok(url) if matches!(url.scheme(), "https" | "http") => url,
            Ok(_) | Err(_) => {
                self.problem(key, format!("{text:?} is no https address: write the whole URL"));
                return None;
            }
        };
        if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
            self.problem(key, "holds a user name, password or fragment: write the address alone");
            return None;
        }
        self.endpoints.push((key.to_owned(), url.clone()));
        Some(url)
    }
}

fn origin_of(url: &Url) -> String {
    url.origin().ascii_serialization()
}
