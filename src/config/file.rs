//! What the configuration file says, word for word. Nothing is judged here but form: unknown keys
//! and wrong types are refused by name.

use std::collections::BTreeMap;
use std::path::PathBuf;

use secrecy::SecretString;
use serde::Deserialize;

use crate::config::actions::{ActionSection, GrantSection};
use crate::config::attestors::{AttestorSection, BinaryAuthorizationSection};
use crate::config::break_glass::BreakGlassSection;
use crate::config::drift::DriftSection;
use crate::config::github::GitHubSection;
use crate::config::google_account::{AccountSection, Credentials};
use crate::config::login::LoginSection;
use crate::config::metrics::MetricsSection;
use crate::config::plans::PlanSection;
use crate::config::receivers::WebhookSection;
use crate::config::separation::SeparationSection;
use crate::config::windows::{CalendarSection, WindowSection};
use crate::config::witness::WitnessSection;
use crate::domain::plan::AskedStep;
use crate::domain::policy::{NewerRequest, Principal};
use crate::integrations::workload_oidc::{TokenAlgorithm, WorkloadKind, events_of_strangers};

/// The whole file. Keys that a variable can give are optional here and required by the check.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfigFile {
    /// The origin under which browsers reach the gate.
    pub public_origin: Option<String>,
    /// The address and port to listen on.
    pub listen: Option<String>,
    /// The database URL, if it holds no password.
    pub database: Option<String>,
    /// The file that holds the database URL.
    pub database_file: Option<PathBuf>,
    /// The database URL of the environment.
    #[serde(skip)]
    pub database_secret: Option<SecretString>,
    /// The file that holds the log key.
    pub log_key_file: Option<PathBuf>,
    /// The log key of the environment.
    #[serde(skip)]
    pub log_key: Option<SecretString>,
    /// How the log is kept.
    #[serde(default)]
    pub log: LogSection,
    /// A sentence for the top of every page.
    pub notice: Option<String>,
    /// The directory that people sign in at.
    #[serde(default)]
    pub login: LoginSection,
    /// The anchors that chains end at.
    #[serde(default)]
    pub trust: TrustSection,
    /// What a new key needs.
    #[serde(default)]
    pub enrolment: EnrolmentSection,
    /// The issuers whose workloads may ask.
    #[serde(default)]
    pub workload_issuer: Vec<WorkloadIssuerSection>,
    /// The witnesses of the log.
    #[serde(default)]
    pub witness: Vec<WitnessSection>,
    /// Whether services are watched.
    pub drift: Option<DriftSection>,
    /// Who is told what happened.
    #[serde(default)]
    pub webhook: Vec<WebhookSection>,
    /// Cloud Run.
    #[serde(default)]
    pub cloud_run: CloudRunSection,
    /// Where Google's APIs for attestations are.
    #[serde(default)]
    pub binary_authorization: BinaryAuthorizationSection,
    /// GitHub's API.
    pub github: Option<GitHubSection>,
    /// The proxies in front.
    #[serde(default)]
    pub proxy: ProxySection,
    /// Who may read the ledger.
    #[serde(default)]
    pub audit: AuditSection,
    /// The tools that agents and pipelines may ask for.
    #[serde(default)]
    pub action: Vec<ActionSection>,
    /// The key of grants.
    #[serde(default)]
    pub grant: GrantSection,
    /// The metrics that checks of rollouts read, by name.
    #[serde(default)]
    pub metrics: BTreeMap<String, MetricsSection>,
    /// Who has a role beside the rules.
    #[serde(default)]
    pub roles: RolesSection,
    /// The calendars that environments name.
    #[serde(default)]
    pub calendar: BTreeMap<String, CalendarSection>,
    /// The environments, by name.
    #[serde(default)]
    pub environment: BTreeMap<String, EnvironmentSection>,
}

/// `[log]`
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct LogSection {
    /// Where its newest head is kept outside the database.
    pub head: Option<String>,
    /// Where Cloud Storage is; at Google if absent.
    pub endpoint: Option<String>,
}

/// `[trust]`
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct TrustSection {
    /// Public keys of approvers' credentials (COSE, base64url), whose signatures new keys need.
    pub endorsers: Vec<String>,
    /// How many people with such keys must sign for a recovery of the log; one if absent.
    pub recovery_signatures: Option<i64>,
    /// The keys of the directory (RFC 7638 form).
    pub login_keys: Vec<String>,
    /// The keys of workload issuers (RFC 7638 form), by the issuer's name.
    pub workload_keys: BTreeMap<String, Vec<String>>,
    /// How many witnesses must have signed the log before a rollout begins.
    pub witnesses_required: i64,
    /// Files with the roots of makers of authenticators, as PEM.
    pub attestation_roots: Vec<PathBuf>,
    /// The file of FIDO's metadata of authenticators.
    pub metadata: Option<PathBuf>,
    /// The file with the root under which it is signed, as PEM.
    pub metadata_root: Option<PathBuf>,
}

/// `[enrolment]`
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct EnrolmentSection {
    /// How many other approvers must sign for a new key.
    pub endorsements: i64,
}

/// `[[workload_issuer]]`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkloadIssuerSection {
    /// What environments call it.
    pub name: String,
    /// Whose conventions its claims follow.
    #[serde(default)]
    pub kind: WorkloadKind,
    /// The exact `iss` of its tokens.
    pub issuer: String,
    /// The algorithm that its tokens are signed with.
    pub algorithm: TokenAlgorithm,
    /// The exact `aud` of its tokens; the public origin if absent.
    pub audience: Option<String>,
    /// Where its keys are; its discovery document says if absent.
    pub jwks_uri: Option<String>,
    /// The claim that tells requesters apart.
    pub requester_claim: Option<String>,
    /// The events that may never ask.
    #[serde(default = "events_of_strangers")]
    pub refused_events: Vec<String>,
}

/// `[cloud_run]`
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct CloudRunSection {
    /// Where it is; at Google if absent.
    pub endpoint: Option<String>,
    /// Whose rights are used.
    pub credentials: Option<Credentials>,
    /// The file that holds the credentials.
    pub credentials_file: Option<PathBuf>,
    /// The service account whose rights the credentials borrow.
    pub impersonate: Option<String>,
}

/// `[proxy]`
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct ProxySection {
    /// The addresses of the proxies.
    pub trusted: Vec<String>,
    /// The header that they write.
    pub header: Option<Header>,
}

/// `[audit]`
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct AuditSection {
    /// Groups and people who read everything and sign nothing.
    pub readers: Vec<Principal>,
}

/// `[roles]`
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct RolesSection {
    /// Groups and people who may freeze and lift everywhere, revoke the keys of others and endorse new ones.
    pub operator: Vec<Principal>,
    /// Groups and people who read everything and sign nothing.
    pub auditor: Vec<Principal>,
}

/// The values of `proxy.header`.
#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
pub enum Header {
    /// `X-Forwarded-For`.
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// `[environment.NAME]`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnvironmentSection {
    /// The services that it covers.
    #[serde(default)]
    pub services: Vec<String>,
    /// The jobs that it covers.
    #[serde(default)]
    pub jobs: Vec<String>,
    /// The image repositories that may be deployed.
    #[serde(default)]
    pub images: Vec<String>,
    /// How many requests one requester may make within an hour.
    pub requests_per_hour: Option<i64>,
    /// The declared tools that may be asked for.
    #[serde(default)]
    pub actions: Vec<String>,
    /// Who may ask.
    #[serde(default)]
    pub requesters: Vec<RequesterSection>,
    /// The runs of GitHub Actions that people may sign for.
    #[serde(default)]
    pub workflow_runs: Vec<BTreeMap<String, OneOrMany>>,
    /// Whose the accounts at GitHub are.
    #[serde(default)]
    pub github_accounts: BTreeMap<String, String>,
    /// Whether only those groups count that the directory signed.
    #[serde(default)]
    pub groups_must_be_signed: bool,
    /// Whether nobody signs for commits that they had a hand in.
    pub separation: Option<SeparationSection>,
    /// Who must sign.
    #[serde(default)]
    pub rules: Vec<RuleSection>,
    /// Whose rights are used at Cloud Run, if not those of `[cloud_run]`.
    pub cloud_run: Option<AccountSection>,
    /// Whether approved images are attested, and how.
    pub binary_authorization: Option<AttestorSection>,
    /// What the keys must be that sign.
    #[serde(default)]
    pub keys: KeysSection,
    /// The file that holds the address of an incoming webhook of Slack.
    pub slack_webhook_file: Option<PathBuf>,
    /// Whether it does nothing until anchors are pinned.
    #[serde(default)]
    pub require_pinned_trust: bool,
    /// How long a request stays open at most.
    pub expires_in: String,
    /// How long after the last needed signature its rollout may begin.
    #[serde(default = "an_hour")]
    pub execute_within: String,
    /// What becomes of a request that still waits when a newer one for the same service comes.
    #[serde(default)]
    pub newer_request: NewerRequest,
    /// How many requests may wait for people at once.
    #[serde(default = "a_thousand")]
    pub max_pending: i64,
    /// The steps of a request that names none.
    #[serde(default = "all_at_once")]
    pub steps: Vec<AskedStep>,
    /// What requests may say of their plans.
    #[serde(default)]
    pub plan: PlanSection,
    /// The windows of the week in which something approved may begin; always if empty.
    #[serde(default)]
    pub window: Vec<WindowSection>,
    /// Who may break the glass; nobody if absent.
    pub break_glass: Option<BreakGlassSection>,
    /// The calendars whose closed times hold here.
    #[serde(default)]
    pub calendars: Vec<String>,
}

/// `[environment.NAME.keys]`
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KeysSection {
    /// Whether copies of the private key may exist.
    pub kind: KeyKindOrAny,
    /// The models that may sign; every one if empty.
    pub allow: Vec<String>,
    /// The models that may not.
    pub deny: Vec<String>,
    /// Who must vouch for the authenticator.
    pub attestation: AttestationOrNone,
    /// How long after its enrolment a key signs nothing.
    pub cool_down: String,
    /// How many such keys whoever signs must have.
    pub minimum_keys: i64,
    /// How long the others go on signing after one was given up.
    pub replacement_grace: String,
}

/// The values of `keys.kind`.
#[derive(Deserialize, Default, Clone, Copy)]
#[serde(rename_all = "snake_case")]
pub enum KeyKindOrAny {
    /// Both kinds.
    #[default]
    Any,
    /// Keys that never leave their authenticator.
    DeviceBound,
    /// Keys whose copies can exist on other devices.
    Synced,
}

/// The values of `keys.attestation`.
#[derive(Deserialize, Default, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum AttestationOrNone {
    /// Nobody.
    #[default]
    None,
    /// A certificate, whoever made it.
    Any,
    /// A maker whose root is pinned.
    Trusted,
}

impl Default for KeysSection {
    fn default() -> Self {
        Self {
            kind: KeyKindOrAny::Any,
            allow: Vec::new(),
            deny: Vec::new(),
            attestation: AttestationOrNone::None,
            cool_down: "0s".to_owned(),
            // With one key, its loss stops a person, and what they register in a hurry is what an
            // attacker would register.
            minimum_keys: 2,
            replacement_grace: "7d".to_owned(),
        }
    }
}

/// A yes is one to the world of its moment.
fn an_hour() -> String {
    "1h".to_owned()
}

/// More than people work off in a day, so that only a pipeline that runs away meets it.
fn a_thousand() -> i64 {
    1_000
}

fn all_at_once() -> Vec<AskedStep> {
    vec![AskedStep::Percent(100)]
}

/// One entry of `requesters`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequesterSection {
    /// The name of a workload issuer.
    pub issuer: String,
    /// The claims that must all be there.
    #[serde(default)]
    pub claims: BTreeMap<String, OneOrMany>,
    /// The claim that names the person for whom they act, as the directory calls that person.
    pub acts_for: Option<String>,
}

/// A claim's acceptable values.
#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "a claim's value is a text or a list of texts; numbers are texts too: \"1001\""
)]
pub enum OneOrMany {
    /// Exactly this one.
    One(String),
    /// One of these.
    Many(Vec<String>),
}

impl OneOrMany {
    /// All of them.
    pub fn into_values(self) -> Vec<String> {
        match self {
            Self::One(value) => vec![value],
            Self::Many(values) => values,
        }
    }
}

/// One entry of `rules`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleSection {
    /// Groups and people.
    pub from: Vec<Principal>,
    /// How many of them.
    pub count: i64,
}
