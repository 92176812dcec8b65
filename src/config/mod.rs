//! One checked configuration, and the only reader of configuration files and of the environment.
//!
//! [`file`] is what the file says, [`overrides`] what the environment puts in its place; what
//! neither can mean is refused by the checks, all of it at once, so that whoever holds a
//! [`Config`] never has to ask again. Nothing here talks to the network or opens the database.

mod actions;
pub mod attestors;
mod break_glass;
mod check;
mod database;
mod drift;
mod effective;
mod environments;
pub mod error;
pub mod file;
mod github;
pub mod google_account;
mod key_rules;
mod log_head;
mod login;
mod loopback;
mod metadata;
mod metrics;
pub mod overrides;
mod plans;
mod receivers;
mod requesters;
mod roles;
mod rulebook;
mod runs;
mod secret;
mod separation;
mod summary;
mod trust;
mod windows;
mod witness;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use secrecy::SecretString;
use url::Url;

use crate::domain::agent_credential::AGENT_ISSUER;
use crate::domain::canonical::CanonicalError;
use crate::domain::digest::Digest;
use crate::domain::key_rules::Aaguid;
use crate::domain::log_key::LogKey;
use crate::domain::policy::{Policy, Principal};
use crate::domain::role::{Authority, Roles};
use crate::domain::rulebook::Rulebook;
use crate::gate::decide::RelyingParty;
use crate::gate::evidence::log_name;
use crate::integrations::binary_authorization::BinaryAuthorizationSettings;
use crate::integrations::cloud_run::CloudRunSettings;
use crate::integrations::github::GitHubSettings;
use crate::integrations::log_head::LogHeadPlace;
use crate::integrations::login_oidc::LoginSettings;
use crate::integrations::metrics::SourceSettings;
use crate::integrations::public_address::Reach;
use crate::integrations::receiver::ReceiverSettings;
use crate::integrations::witness::WitnessSettings;
use crate::integrations::workload_oidc::{TokenAlgorithm, WorkloadIssuer, WorkloadKind};
use crate::proof::evidence::{TRUST_SCHEMA, Trust, TrustedIssuer, TrustedLogin};
use crate::proof::grant::GrantKeys;
use crate::proof::jwk::ed25519_key;
use crate::proof::metadata::Metadata;
use crate::web::proxy::TrustedProxies;

pub use drift::DriftSettings;
pub use error::ConfigError;
pub use trust::Pins;

/// Everything that the gate is told from outside, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// The origin under which browsers reach the gate, with nothing behind the host and port.
    pub public_origin: Url,
    /// The same origin, as WebAuthn wants it.
    pub relying_party: RelyingParty,
    /// The address and port to listen on.
    pub listen: SocketAddr,
    /// The database URL; may hold a password.
    pub database: SecretString,
    /// The private key of the log.
    pub log_key: Arc<LogKey>,
    /// Where the newest head of the log is kept outside the database.
    pub log_head: LogHeadPlace,
    /// A sentence for the top of every page.
    pub notice: Option<String>,
    /// The directory that people sign in at.
    pub login: LoginSettings,
    /// The issuers whose workloads may ask.
    pub workload_issuers: Vec<WorkloadIssuer>,
    /// The anchors that chains end at, and how long chains must be.
    pub pins: Pins,
    /// What FIDO says of models of authenticators, where the gate is to know it.
    pub metadata: Option<Arc<Metadata>>,
    /// The witnesses of the log.
    pub witnesses: Vec<WitnessSettings>,
    /// Who is told what happened.
    pub receivers: Vec<ReceiverSettings>,
    /// How services are watched, if they are.
    pub drift: Option<DriftSettings>,
    /// How far notices to them go.
    pub reach: Reach,
    /// Cloud Run.
    pub cloud_run: CloudRunSettings,
    /// How approved images are attested.
    pub attestors: BinaryAuthorizationSettings,
    /// GitHub's API, if commits are looked up there.
    pub github: Option<GitHubSettings>,
    /// The proxies in front.
    pub proxies: TrustedProxies,
    /// Who may read everything, beside those who may sign.
    pub audit_readers: Vec<Principal>,
    /// The keys of grants, where an environment lets tools be asked for.
    pub grant_keys: Option<GrantKeys>,
    /// Who is asked for the metrics that checks of rollouts read.
    pub metrics: BTreeMap<String, SourceSettings>,
    /// Who has a role beside the rules.
    pub roles: Roles,
    /// The rules of each environment, by its name.
    pub environments: BTreeMap<String, Policy>,
    /// What is allowed and should be changed all the same, in sentences.
    pub warnings: Vec<String>,
}

/// The rules that a configuration file holds, as far as they need none of the secrets beside it, so that
/// whoever reviews a change of the rules needs none of them either.
///
/// # Errors
/// As [`Config::load`], for what the rules rest on alone.
pub fn load_rules(path: &Path) -> Result<Rulebook, ConfigError> {
    let (file, check) = read(path)?;
    rulebook::of_file(check, file)
        .map_err(|problems| ConfigError::Problems { file: path.to_owned(), problems })
}

/// A file in the form of a configuration, and the check that it has before it.
fn read(path: &Path) -> Result<(file::ConfigFile, check::Check), ConfigError> {
    let unreadable = |cause| ConfigError::Unreadable { file: path.to_owned(), cause };
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    let file = toml::from_str(&text).map_err(|error| ConfigError::form(path, &text, error))?;
    let absolute = std::path::absolute(path).map_err(unreadable)?;
    let check = check::Check::of_folder(absolute.parent().unwrap_or(Path::new("/")));
    Ok((file, check))
}

impl Config {
    /// Reads the file, then what this process's environment puts in its place.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn load_from_process(path: &Path) -> Result<Self, ConfigError> {
        Self::load(path, &overrides::of_process())
    }

    /// Reads the file, then what `variables` put in its place ([`overrides::OVERRIDES`]).
    ///
    /// # Errors
    /// If the file cannot be read, is not in the form of a configuration, or says what cannot be
    /// meant. Everything of the last kind is reported at once.
    pub fn load(path: &Path, variables: &BTreeMap<String, String>) -> Result<Self, ConfigError> {
        let (mut file, mut check) = read(path)?;
        check.sources = overrides::apply(&mut file, variables, &mut check.problems);
        check
            .config(file)
            .map_err(|problems| ConfigError::Problems { file: path.to_owned(), problems })
    }

    /// The database URL as it may be printed: without password.
    pub fn database_shown(&self) -> String {
        database::shown(&self.database)
    }

    /// What the evidence of this gate is verified against: by the worker before each call, and by
    /// whoever gets it as trust.json.
    pub fn trust(&self) -> Trust {
        let own = self.agent_issuer().map(|issuer| TrustedIssuer {
            name: issuer.name,
            issuer: issuer.issuer,
            audience: issuer.audience,
            keys: vec![ed25519_key(&self.log_key.public().0)],
        });
        let RelyingParty { origin, id } = &self.relying_party;
        let bare = Trust {
            schema: TRUST_SCHEMA.to_owned(),
            note: None,
            origin: origin.clone(),
            rp_id: id.clone(),
            log: self.log_key.public().verifier_key(&log_name(origin)),
            endorsements: 0,
            endorsers: Vec::new(),
            recovery_signatures: 1,
            login: TrustedLogin {
                issuer: String::new(),
                client_id: String::new(),
                groups_claim: String::new(),
                gate_groups: false,
                keys: Vec::new(),
            },
            workload_issuers: own.into_iter().collect(),
            witnesses: Vec::new(),
            witnesses_required: 0,
            attestation_roots: Vec::new(),
            metadata: self.metadata.clone(),
        };
        bare.under(&rulebook::anchors(self))
    }

    /// Everything here that decides who may do what.
    ///
    /// # Errors
    /// If something in it has no canonical form, which nothing that was checked lacks.
    pub fn rulebook(&self) -> Result<Rulebook, CanonicalError> {
        rulebook::of(self)
    }

    /// The same configuration under other rules: those in force, while its own wait for signatures.
    ///
    /// # Errors
    /// If `rules` were written by a version whose settings this one cannot read.
    pub fn under(self, rules: &Rulebook) -> Result<Self, CanonicalError> {
        rulebook::under(self, rules)
    }

    /// Who may freeze what, and who signs nothing: rules and roles together, the rules with what is known
    /// against models of keys, as they are frozen into whatever is asked for.
    pub fn authority(&self) -> Authority {
        let suspended: Vec<Aaguid> =
            self.metadata.iter().flat_map(|known| known.suspended()).collect();
        let environments = self.environments.iter();
        let policies = environments
            .map(|(name, policy)| (name.clone(), policy.suspending(suspended.iter().copied())));
        Authority { roles: self.roles.clone(), policies: policies.collect() }
    }

    /// The gate itself as the issuer of what agents with its credentials ask with, where an environment
    /// lets them.
    pub fn agent_issuer(&self) -> Option<WorkloadIssuer> {
        let lets_them =
            |policy: &Policy| policy.requesters.iter().any(|one| one.issuer == AGENT_ISSUER);
        let origin = &self.relying_party.origin;
        self.environments.values().any(lets_them).then(|| WorkloadIssuer {
            name: AGENT_ISSUER.to_owned(),
            issuer: format!("{origin}/agents"),
            jwks_uri: None,
            algorithm: TokenAlgorithm::EdDSA,
            audience: origin.clone(),
            requester_claim: None,
            kind: WorkloadKind::Generic,
            refused_events: Vec::new(),
        })
    }

    /// SHA-256 of what the configuration comes to, in canonical JSON and without secrets.
    ///
    /// # Errors
    /// If something in it has no canonical form, which nothing that was checked lacks.
    pub fn digest(&self) -> Result<Digest, CanonicalError> {
        effective::digest(self)
    }

    /// What the configuration comes to, for the person who wrote it. Without secrets.
    pub fn summary(&self) -> String {
        summary::of(self)
    }
}
