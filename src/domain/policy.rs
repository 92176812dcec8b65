//! The rules of one environment, frozen by digest into every approval that they rule.

mod asking;
mod break_glass;
mod changes;
mod delegation;
mod findings;
mod principal;
mod quorum;
mod replay;

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::domain::action::ActionType;
use crate::domain::attestation::NoteName;
use crate::domain::canonical::{CanonicalError, to_canonical_json};
use crate::domain::digest::Digest;
use crate::domain::image::ImageReference;
use crate::domain::job::JobName;
use crate::domain::key_rules::{Aaguid, KeyRules};
use crate::domain::person::Person;
use crate::domain::plan::{PlanRules, StepPlan};
use crate::domain::separation::SeparationRules;
use crate::domain::service::ServiceName;
use crate::domain::window::Windows;
use crate::domain::workflow_run::RunMatch;

use quorum::Quorum;

pub use break_glass::BreakGlass;
pub use changes::{Effect, PolicyChange, policy_changes};
pub use delegation::ActsFor;
pub use findings::{KeyOwner, PolicyFinding};
pub use principal::Principal;
pub use quorum::Sufficient;
pub use replay::{Ending, Replayed, replay};

/// Names the form of a policy's bytes.
pub const POLICY_SCHEMA: &str = "countersign/policy/v1";

/// The rules of one environment. Its canonical JSON is what an approval's `policy_digest` names.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// [`POLICY_SCHEMA`].
    pub schema: String,
    /// The environment's name.
    pub environment: String,
    /// The services that it covers.
    pub services: Vec<ServiceName>,
    /// The jobs that it covers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub jobs: Vec<JobName>,
    /// The image repositories that may be deployed, without tag or digest.
    pub images: Vec<String>,
    /// Who may ask.
    pub requesters: Vec<RequesterMatch>,
    /// Who must sign: every rule must be met.
    pub rules: Vec<Rule>,
    /// How long a request stays open at most, in seconds.
    pub expires_in_seconds: u64,
    /// How long after the last needed signature the rollout may begin, in seconds.
    pub execute_within_seconds: u64,
    /// What becomes of a request that still waits when a newer one for the same service comes.
    pub newer_request: NewerRequest,
    /// How many requests may wait for people at once.
    pub max_pending: u64,
    /// The percentages of the steps of a request that names none.
    pub default_steps: Vec<u8>,
    /// What else there is to say of plans.
    #[serde(default, skip_serializing_if = "PlanRules::is_usual")]
    pub plan: PlanRules,
    /// What makes a key count.
    pub enrolment: EnrolmentRules,
    /// What the keys must be that sign, where anything is asked of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<KeyRules>,
    /// The tools that may be asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub actions: Vec<ActionType>,
    /// How many requests one requester may make within an hour; any number if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_hour: Option<u64>,
    /// The runs of GitHub Actions that people may sign for where the run posted no deployment.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub workflow_runs: Vec<RunMatch>,
    /// Whose the accounts at GitHub are: the account's number, and the directory's subject of the person.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub github_accounts: BTreeMap<String, String>,
    /// Whether nobody signs for commits that they had a hand in, and how it is known whose they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub separation: Option<SeparationRules>,
    /// Whether only those groups count that the directory signed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub groups_must_be_signed: bool,
    /// When something approved may begin.
    #[serde(default, skip_serializing_if = "Windows::is_empty")]
    pub windows: Windows,
    /// Who may break the glass, where anybody may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub break_glass: Option<BreakGlass>,
    /// For which attestor of Binary Authorization an approved image is attested before the first change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attestor: Option<NoteName>,
}

/// What becomes of a request that still waits for people when a newer one for the same service comes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum NewerRequest {
    /// The older one ends as `superseded`: people decide on the newest alone.
    #[default]
    Supersede,
    /// Both wait. Who signs both has both rolled out, one after the other, if the second still finds
    /// the service as it was when it was asked for.
    Queue,
    /// The newer one is refused while an older one waits.
    Refuse,
}

/// What makes a key count: frozen with the rules, so that every approval says what it rested on.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnrolmentRules {
    /// How many other approvers have to sign for a new key. With 0 it rests on the directory's word alone.
    pub endorsements: u8,
    /// Whether the gate's own configuration pinned anchors.
    pub trust: TrustLevel,
    /// Whether nothing may be asked for or rolled out while it does not.
    pub requires_pinned_trust: bool,
}

/// Whether chains end at anchors that the configuration pins, or at the gate's word.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TrustLevel {
    /// Something is pinned: keys of the directory, or of endorsers whose signatures new keys need.
    Pinned,
    /// Nothing is.
    #[default]
    Unpinned,
}

impl TrustLevel {
    /// What these anchors come to. Endorsers count where new keys need them.
    pub fn of(endorsements: u8, endorsers: &[String], login_keys: &[String]) -> Self {
        let has_endorsers = endorsements > 0 && !endorsers.is_empty();
        if has_endorsers || !login_keys.is_empty() { Self::Pinned } else { Self::Unpinned }
    }

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pinned => "pinned",
            Self::Unpinned => "unpinned",
        }
    }
}

/// Which workloads may ask.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequesterMatch {
    /// The configured name of a token issuer.
    pub issuer: String,
    /// Claims that must all be there, each with one of the listed values. A value that ends
    /// in `*` matches what begins like it.
    #[serde(default)]
    pub claims: BTreeMap<String, Vec<String>>,
    /// Who stands behind them, where somebody does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acts_for: Option<ActsFor>,
}

/// One rule: so many different people out of these.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Groups and people; anyone who is in at least one of them may sign for this rule.
    pub from: Vec<Principal>,
    /// How many must sign, 1 to 16.
    pub count: u8,
    /// Where rules of several environments must be met, which of them this is one of: a person counts once
    /// within each. No configuration says it; a change of the rules is signed so ([`crate::domain::rulebook`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
}

impl Rule {
    /// Whether this person may sign for this rule.
    pub fn admits(&self, person: &Person, groups: &[String]) -> bool {
        self.from.iter().any(|principal| principal.names(person, groups))
    }

    /// The rule in words: `2 of release-managers or dan`, with the environment that it is one of, if any.
    pub fn in_words(&self) -> String {
        let names: Vec<String> = self.from.iter().map(ToString::to_string).collect();
        format!("{} of {}{}", self.count, names.join(" or "), self.place())
    }

    /// The environment that it is one of, if rules of several must be met: ` for production`.
    pub fn place(&self) -> String {
        self.environment.as_ref().map(|name| format!(" for {name}")).unwrap_or_default()
    }
}

impl RequesterMatch {
    /// Who they are: `github with ref refs/heads/main, repository_id 1001`.
    pub fn in_words(&self) -> String {
        let claims: Vec<String> = self
            .claims
            .iter()
            .map(|(name, values)| format!("{name} {}", values.join(" or ")))
            .collect();
        let words = format!("{} with {}", self.issuer, claims.join(", "));
        match &self.acts_for {
            Some(acts_for) => format!("{words}, for the person whom {} names", acts_for.claim),
            None => words,
        }
    }

    /// Whether a verified token of the issuer called `issuer` with these claims may ask.
    pub fn admits(&self, issuer: &str, claims: &Map<String, Value>) -> bool {
        self.issuer == issuer
            && self.knows_who_is_behind(claims)
            && self.claims.iter().all(|(name, allowed)| {
                let value = claims.get(name).and_then(Value::as_str);
                value.is_some_and(|value| {
                    allowed.iter().any(|pattern| matches_pattern(pattern, value))
                })
            })
    }
}

fn matches_pattern(pattern: &str, value: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => value.starts_with(prefix),
        None => value == pattern,
    }
}

/// How far one rule is met.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RuleProgress {
    /// How many signatures count for it.
    pub met: usize,
    /// How many it needs.
    pub needed: usize,
}

impl Policy {
    /// The same rules, where the keys of these models sign nothing because of what is known against them.
    pub fn suspending(&self, models: impl IntoIterator<Item = Aaguid>) -> Self {
        let mut keys = self.keys.clone().unwrap_or_default();
        keys.suspended = models.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
        Self { keys: (!keys.is_nothing()).then_some(keys), ..self.clone() }
    }

    /// The rules alone, without what was known against models of keys: what rulebooks hold. Suspending takes
    /// rights away and waits for nobody, so it is no change of the rules.
    pub fn without_suspensions(&self) -> Self {
        self.suspending([])
    }

    /// The canonical text and its digest.
    pub fn canonical(&self) -> Result<(String, Digest), CanonicalError> {
        let text = to_canonical_json(self)?;
        let digest = Digest::of(&text);
        Ok((text, digest))
    }

    /// Whether this workload may ask for anything in this environment.
    pub fn admits_requester(&self, issuer: &str, claims: &Map<String, Value>) -> bool {
        self.requesters.iter().any(|requester| requester.admits(issuer, claims))
    }

    /// Whether an image of this repository may be deployed.
    pub fn admits_image(&self, image: &ImageReference) -> bool {
        self.images.iter().any(|repository| repository == image.repository())
    }

    /// The tool of this name.
    pub fn action(&self, tool: &str) -> Option<&ActionType> {
        self.actions.iter().find(|action| action.tool == tool)
    }

    /// Until when a rollout may begin whose last needed signature came at `approved_at`.
    pub fn must_begin_before(&self, approved_at: Timestamp) -> Timestamp {
        let seconds = i64::try_from(self.execute_within_seconds).unwrap_or(i64::MAX);
        approved_at.checked_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX)
    }

    /// The steps of a request that names none.
    pub fn steps(&self) -> Vec<StepPlan> {
        if self.plan.steps.is_empty() {
            self.default_steps.iter().map(|percent| StepPlan::of_percent(*percent)).collect()
        } else {
            self.plan.steps.clone()
        }
    }

    /// Whether this person may sign for at least one rule.
    pub fn admits_approver(&self, person: &Person, groups: &[String]) -> bool {
        Quorum(&self.rules).admits(person, groups)
    }

    /// How far each rule is met by these people, each of whom counts once and for one rule only.
    pub fn progress(&self, signers: &[(Person, Vec<String>)]) -> Vec<RuleProgress> {
        Quorum(&self.rules).progress(signers)
    }

    /// Whether all rules are met. A policy without rules is never met: no rules is not a yes.
    pub fn is_met(&self, signers: &[(Person, Vec<String>)]) -> bool {
        Quorum(&self.rules).is_met(signers)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn signer(subject: &str, groups: &[&str]) -> (Person, Vec<String>) {
        let person = Person { issuer: "https://id".into(), subject: subject.into() };
        (person, groups.iter().map(|group| (*group).to_owned()).collect())
    }

    fn policy(rules: &[(&[&str], u8)]) -> Policy {
        let rules = rules
            .iter()
            .map(|(from, count)| Rule {
                from: from.iter().map(|name| name.parse().unwrap()).collect(),
                count: *count,
                environment: None,
            })
            .collect();
        Policy {
            schema: POLICY_SCHEMA.into(),
            environment: "production".into(),
            services: vec![],
            jobs: vec![],
            images: vec![],
            requesters: vec![],
            rules,
            expires_in_seconds: 60,
            execute_within_seconds: 60,
            newer_request: NewerRequest::default(),
            max_pending: 10,
            default_steps: vec![100],
            plan: PlanRules::default(),
            enrolment: EnrolmentRules::default(),
            keys: None,
            actions: vec![],
            requests_per_hour: None,
            workflow_runs: vec![],
            github_accounts: BTreeMap::new(),
            separation: None,
            groups_must_be_signed: false,
            windows: Windows::default(),
            break_glass: None,
            attestor: None,
        }
    }

    #[test]
    fn no_rules_is_never_met() {
        assert!(!policy(&[]).is_met(&[signer("alice", &["ops"])]));
    }

    #[test]
    fn a_person_counts_once_and_for_one_rule() {
        let both = policy(&[(&["group:ops"], 1), (&["group:security"], 1)]);
        let alice = signer("alice", &["ops", "security"]);
        assert!(!both.is_met(&[alice.clone(), alice.clone()]));
        assert!(both.is_met(&[alice.clone(), signer("bob", &["ops"])]));
        assert!(both.is_met(&[alice.clone(), signer("carol", &["security"])]));
        assert!(!both.is_met(&[signer("bob", &["ops"]), signer("eve", &["ops"])]));
        let two = policy(&[(&["group:ops", "person:alice"], 2)]);
        assert!(!two.is_met(std::slice::from_ref(&alice)));
        assert_eq!(two.progress(&[alice])[0], RuleProgress { met: 1, needed: 2 });
    }

    #[test]
    fn requesters_match_by_every_claim() {
        let requester = RequesterMatch {
            issuer: "github".into(),
            claims: BTreeMap::from([
                ("repository_id".into(), vec!["1001".into()]),
                ("ref".into(), vec!["refs/heads/main".into(), "refs/tags/v*".into()]),
            ]),
            acts_for: None,
        };
        let claims = |id: Value, reference: &str| {
            json!({"repository_id": id, "ref": reference}).as_object().unwrap().clone()
        };
        assert!(requester.admits("github", &claims(json!("1001"), "refs/heads/main")));
        assert!(requester.admits("github", &claims(json!("1001"), "refs/tags/v1")));
        assert!(!requester.admits("agent", &claims(json!("1001"), "refs/heads/main")));
        assert!(!requester.admits("github", &claims(json!("1002"), "refs/heads/main")));
        assert!(!requester.admits("github", &claims(json!(1001), "refs/heads/main")));
        assert!(!requester.admits("github", &claims(json!("1001"), "refs/heads/mainly")));
        assert!(!requester.admits("github", &json!({"ref": "x"}).as_object().unwrap().clone()));
    }
}
