//! The long-lived parts of the running gate, made once at the start and shared by all requests.

use std::sync::Arc;

use jiff::Timestamp;

use crate::clock::Clock;
use crate::domain::freeze::FreezeScope;
use crate::domain::log_fault::LogFault;
use crate::domain::person::Profile;
use crate::domain::policy::Principal;
use crate::domain::role::Authority;
use crate::domain::rulebook::RULES_ENVIRONMENT;
use crate::gate::decide::RelyingParty;
use crate::gate::drift::ChangesSeen;
use crate::gate::watch::Watch;
use crate::integrations::audit_events::AuditEvents;
use crate::integrations::cloud_run::CloudRun;
use crate::integrations::github::GitHub;
use crate::integrations::github::app::GitHubApp;
use crate::integrations::log_head::LogHead;
use crate::integrations::login_oidc::LoginProvider;
use crate::integrations::outbound::OutboundHttp;
use crate::integrations::passkeys::Passkeys;
use crate::integrations::receiver::Receivers;
use crate::integrations::witness::Witnesses;
use crate::integrations::workload_oidc::{Verifier, WorkloadIssuer};
use crate::proof::checkpoint::TrustedLog;
use crate::proof::evidence::Trust;
use crate::proof::grant::GrantKeys;
use crate::proof::log_head::SeenHead;
use crate::storage::{Scope, Storage, StorageError, StoredApproval};
use crate::web::proxy::TrustedProxies;
use crate::worker::log::LogFollower;

/// The parts. Cloning clones one pointer.
#[derive(Clone)]
pub struct App(Arc<Parts>);

/// What [`App`] points to.
pub struct Parts {
    /// Where people and pipelines reach the gate; also the origin of all assertions.
    pub relying_party: RelyingParty,
    /// Who may read everything.
    pub audit_readers: Vec<Principal>,
    /// The rules by environment, and the roles beside them.
    pub authority: Authority,
    /// The database.
    pub storage: Storage,
    /// The time.
    pub clock: Clock,
    /// How identity providers are read.
    pub http: OutboundHttp,
    /// Who asks.
    pub workloads: Verifier,
    /// The gate itself as an issuer, where agents with its credentials may ask.
    pub agents: Option<WorkloadIssuer>,
    /// Who signs in.
    pub login: LoginProvider,
    /// What evidence is verified against, before anything is called: from the configuration alone.
    pub trust: Trust,
    /// Where the newest head of the log is kept outside the database.
    pub log_head: LogHead,
    /// Follows the log and keeps its newest head outside.
    pub log: Arc<LogFollower>,
    /// The keys of grants, where tools may be asked for.
    pub grant_keys: Option<GrantKeys>,
    /// How keys are registered.
    pub passkeys: Passkeys,
    /// Where it goes.
    pub cloud_run: CloudRun,
    /// What the commits say, if the configuration names a GitHub API.
    pub github: Option<GitHub>,
    /// The gate's App at GitHub, if it has one.
    pub github_app: Option<Arc<GitHubApp>>,
    /// Who waits.
    pub watch: Watch,
    /// Who else sees the log grow.
    pub witnesses: Arc<Witnesses>,
    /// Who is told what happened.
    pub receivers: Arc<Receivers>,
    /// Who tells of changes of services as they are made, if the configuration names anybody.
    pub audit_events: Option<AuditEvents>,
    /// Services that were just changed, as we were told.
    pub changes: Arc<ChangesSeen>,
    /// Whether services are looked at.
    pub watches_services: bool,
    /// What stands in front of us.
    pub proxies: TrustedProxies,
    /// Whether the configuration file says other rules than those in force.
    pub rules_wait: bool,
    /// A sentence that every page shows, in a demo.
    pub notice: Option<String>,
}

impl App {
    /// Shares the parts.
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// The current time.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The head that is kept outside the database now, if there is one.
    ///
    /// # Errors
    /// If it cannot be read, or is none of this log.
    pub async fn seen_head(&self) -> Result<Option<SeenHead>, StorageError> {
        let outside = |why: String| StorageError::from(LogFault::Outside(why));
        let log = TrustedLog::parse(&self.trust.log);
        let log = log.ok_or_else(|| outside("the log has no verifier key".to_owned()))?;
        let kept = self.log_head.read().await.map_err(|error| outside(error.to_string()))?;
        let seen = kept.map(|text| SeenHead::parse(&text, &log)).transpose();
        seen.map_err(|error| outside(error.to_string()))
    }

    /// The page of an approval.
    pub fn approval_url(&self, id: &crate::domain::ids::ApprovalId) -> String {
        format!("{}/approvals/{id}", self.relying_party.origin)
    }

    /// How much of the ledger this person may read; none for nothing at all.
    pub fn scope_of(&self, profile: &Profile) -> Option<Scope> {
        if self.reads_everything(profile) {
            return Some(Scope::Everything);
        }
        let environments = self.readable_environments(profile);
        (!environments.is_empty()).then_some(Scope::Environments(environments))
    }

    /// Auditors, and operators, who stop what they see.
    fn reads_everything(&self, profile: &Profile) -> bool {
        let Profile { person, groups, .. } = profile;
        self.authority.roles.is_auditor(person, groups)
            || self.authority.roles.is_operator(person, groups)
            || self.audit_readers.iter().any(|reader| reader.names(person, groups))
    }

    /// Whether this person may see this approval: they may sign it, have decided on it, or read all.
    pub fn may_see(&self, profile: &Profile, stored: &StoredApproval) -> bool {
        let Profile { person, groups, .. } = profile;
        stored.approval.policy.admits_signer(person, groups)
            || stored.approval.decisions.iter().any(|decision| decision.person == *person)
            || self.reads_everything(profile)
    }

    /// Whether this person may freeze this, and lift it.
    pub fn may_freeze(&self, profile: &Profile, scope: &FreezeScope) -> bool {
        self.authority.may_freeze(&profile.person, &profile.groups, scope)
    }

    /// Whether this person may revoke and endorse the keys of others: operators, and whoever may sign somewhere.
    pub fn looks_after_keys(&self, profile: &Profile) -> bool {
        let Profile { person, groups, .. } = profile;
        let roles = &self.authority.roles;
        !roles.is_auditor(person, groups)
            && (roles.is_operator(person, groups)
                || self.authority.policies.values().any(|one| one.admits_approver(person, groups)))
    }

    /// What approvals call the environments in which this person may sign. Whoever signs somewhere reads of
    /// changes of the rules as well.
    pub fn readable_environments(&self, profile: &Profile) -> Vec<String> {
        let mut environments = self.environments_of(profile);
        if !environments.is_empty() {
            environments.push(RULES_ENVIRONMENT.to_owned());
        }
        environments
    }

    /// The environments in which this person may sign, by the rules or to break the glass.
    pub fn environments_of(&self, profile: &Profile) -> Vec<String> {
        self.authority
            .policies
            .iter()
            .filter(|(_, policy)| {
                policy.admits_signer(&profile.person, profile.groups_under(policy))
            })
            .map(|(name, _)| name.clone())
            .collect()
    }
}

impl std::ops::Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}
