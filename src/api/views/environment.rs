//! What a caller may ask for, or sign.

use jiff::Timestamp;
use serde::Serialize;

use crate::domain::action::ActionType;
use crate::domain::hold::Hold;
use crate::domain::ids::ApprovalId;
use crate::domain::key_rules::KeyRules;
use crate::domain::policy::{NewerRequest, Policy, TrustLevel};
use crate::domain::rulebook::InForce;

use super::{HoldView, RuleView, rules_of};

/// The environments that the caller may use.
#[derive(Serialize, utoipa::ToSchema)]
pub struct EnvironmentList {
    /// By name.
    pub environments: Vec<EnvironmentView>,
    /// The rules in force, where they change only with signatures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rules: Option<RulesInForceView>,
}

/// The rules in force, and a change of them that waits.
#[derive(Serialize, utoipa::ToSchema)]
pub struct RulesInForceView {
    /// SHA-256 of the canonical rulebook, hexadecimal.
    pub digest: String,
    /// Since when.
    pub since: String,
    /// The ledger's entry that says so.
    pub entry: u64,
    /// The names of those who signed; none of the first rulebook, which binds since trust was pinned.
    pub signed_by: Vec<String>,
    /// The approval that they signed.
    pub approval: Option<String>,
    /// The approval of a change that waits for signatures: the configuration file says other rules.
    pub waiting: Option<String>,
}

impl RulesInForceView {
    /// The view of what is in force.
    pub fn new(in_force: &InForce, waiting: Option<&ApprovalId>) -> Self {
        Self {
            digest: in_force.digest.to_string(),
            since: in_force.at.to_string(),
            entry: in_force.entry,
            signed_by: in_force.by.clone(),
            approval: in_force.approval.as_ref().map(ToString::to_string),
            waiting: waiting.map(ToString::to_string),
        }
    }
}

/// One environment.
#[derive(Serialize, utoipa::ToSchema)]
pub struct EnvironmentView {
    /// Its name.
    pub name: String,
    /// Why nothing that you ask for here begins now, if something holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold: Option<HoldView>,
    /// The services it covers.
    pub services: Vec<String>,
    /// The jobs it covers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub jobs: Vec<String>,
    /// The image repositories it allows.
    pub images: Vec<String>,
    /// Who must sign.
    pub rules: Vec<RuleView>,
    /// When something approved may begin, in words: at any time if empty.
    pub windows: Vec<String>,
    /// How long a request may stay open at most, in seconds.
    pub expires_in: u64,
    /// How long after the last needed signature the rollout may begin, in seconds.
    pub execute_within: u64,
    /// What becomes of a request that still waits when a newer one for the same service comes.
    pub newer_request: NewerRequest,
    /// How many requests may wait for people at once.
    pub max_pending: u64,
    /// The tools that may be asked for.
    pub actions: Vec<ActionType>,
    /// The steps of a request that names none.
    pub steps: Vec<u8>,
    /// What the environment says of plans beside that, in words.
    pub plan: Vec<String>,
    /// Whether the anchors that approvals rest on are pinned in the gate's configuration.
    pub trust: TrustLevel,
    /// Whether nothing may be asked for while they are not.
    pub requires_pinned_trust: bool,
    /// How many other approvers must sign for a new key before it can sign here.
    pub endorsements: u8,
    /// What the keys must be that sign here, where anything is asked of them.
    pub keys: Option<KeyRules>,
    /// SHA-256 of the canonical policy, hexadecimal.
    pub policy_digest: String,
}

impl EnvironmentView {
    /// The view of an environment's rules, and of what holds whatever the reader asks for there.
    pub fn new(policy: &Policy, hold: Option<Hold>, now: Timestamp) -> Self {
        Self {
            name: policy.environment.clone(),
            hold: hold.as_ref().map(HoldView::from),
            services: policy.services.iter().map(ToString::to_string).collect(),
            jobs: policy.jobs.iter().map(ToString::to_string).collect(),
            images: policy.images.clone(),
            rules: rules_of(policy, None),
            windows: policy.windows.in_words(now),
            expires_in: policy.expires_in_seconds,
            execute_within: policy.execute_within_seconds,
            newer_request: policy.newer_request,
            max_pending: policy.max_pending,
            actions: policy.actions.clone(),
            steps: policy.default_steps.clone(),
            plan: policy.plan.in_words(),
            trust: policy.enrolment.trust,
            requires_pinned_trust: policy.enrolment.requires_pinned_trust,
            endorsements: policy.enrolment.endorsements,
            keys: policy.keys.clone(),
            policy_digest: policy
                .canonical()
                .map(|(_, digest)| digest.to_string())
                .unwrap_or_default(),
        }
    }
}
