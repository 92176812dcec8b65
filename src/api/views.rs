//! An approval as the API shows it.

mod environment;
mod rollout;
mod subject;

use jiff::Timestamp;
use serde::Serialize;

use crate::api::grants::{GrantView, grant_of};
use crate::app::App;
use crate::domain::approval::{Approval, State, Status};
use crate::domain::decision::{Verdict, with_withdrawals};
use crate::domain::hold::{Freezes, Hold, hold_now};
use crate::domain::policy::Policy;
use crate::domain::sentence::status_sentence;
use crate::domain::subject::Requester;

pub use environment::{EnvironmentList, EnvironmentView, RulesInForceView};
pub use rollout::{CheckView, ExecutionView, RolloutView, Share, UpdatedView};
use rollout::{execution_of, rollout_of, updated_of};
pub use subject::{RuleChangeView, StepView, SubjectView};

/// One approval.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ApprovalView {
    /// `apr_…`.
    pub id: String,
    /// Where it stands.
    pub status: Status,
    /// Counts its changes; give it back as `version` to wait for the next one.
    pub version: u64,
    /// The newer request that took its place, if one did.
    pub superseded_by: Option<String>,
    /// What the status means and who has to do what next.
    pub status_sentence: String,
    /// The page on which people decide.
    pub url: String,
    /// The environment whose rules apply.
    pub environment: String,
    /// What is asked for.
    pub subject: SubjectView,
    /// SHA-256 of what is asked for as canonical JSON, hexadecimal: what every signature covers.
    pub subject_digest: String,
    /// The same of a deployment; absent of anything else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deployment_digest: Option<String>,
    /// The digest's first characters, to compare with the page.
    pub short_code: String,
    /// SHA-256 of the canonical policy, hexadecimal.
    pub policy_digest: String,
    /// Who asked.
    pub requester: RequesterView,
    /// Why.
    pub reason: String,
    /// A headline.
    pub title: Option<String>,
    /// What an action does, in the requester's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// What should come of it, in the requester's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effect: Option<String>,
    /// How to take it back, in the requester's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undo: Option<String>,
    /// When it was asked.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// Until when it may be decided and begun.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
    /// The rules and how far they are met.
    pub rules: Vec<RuleView>,
    /// Who decided.
    pub decisions: Vec<DecisionView>,
    /// How the rollout goes or went; absent until it begins.
    pub rollout: Option<RolloutView>,
    /// The execution of a job; absent until it was seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub execution: Option<ExecutionView>,
    /// The job after a change that runs nothing; absent until it was seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updated: Option<UpdatedView>,
    /// What keeps the rollout from beginning or going on; absent while nothing does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold: Option<HoldView>,
    /// The grant of an approved action, for its requester alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grant: Option<GrantView>,
    /// Why there is no grant although the action is approved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grant_refused: Option<String>,
}

/// Why nothing begins, although it may be signed.
#[derive(Serialize, utoipa::ToSchema)]
pub struct HoldView {
    /// `frozen`.
    pub code: &'static str,
    /// Why, and what ends it.
    pub sentence: String,
    /// When it ends by itself, as far as is known.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ends_at: Option<Timestamp>,
}

impl From<&Hold> for HoldView {
    fn from(hold: &Hold) -> Self {
        Self { code: hold.code(), sentence: hold.sentence(), ends_at: hold.ends_at() }
    }
}

/// Who asked.
#[derive(Serialize, utoipa::ToSchema)]
pub struct RequesterView {
    /// The configured name of the token issuer.
    pub issuer: String,
    /// The token's `sub`.
    pub subject: String,
    /// The repository, if the token names one.
    pub repository: Option<String>,
    /// The repository's number, if the token names one.
    pub repository_id: Option<String>,
    /// The git ref, if the token names one.
    #[serde(rename = "ref")]
    pub reference: Option<String>,
    /// The commit, if the token names one.
    pub sha: Option<String>,
    /// The workflow run, if the token names one.
    pub run_id: Option<String>,
    /// Who started the run, if the token names them.
    pub actor: Option<String>,
}

/// One rule.
#[derive(Serialize, utoipa::ToSchema)]
pub struct RuleView {
    /// The groups and people who may sign for it.
    pub from: Vec<String>,
    /// How many must.
    pub count: u8,
    /// How many did.
    pub met: usize,
}

/// One decision.
#[derive(Serialize, utoipa::ToSchema)]
pub struct DecisionView {
    /// Who decided.
    pub approver: ApproverView,
    /// `approve` or `reject`.
    #[schema(value_type = String)]
    pub decision: Verdict,
    /// Why.
    pub reason: Option<String>,
    /// Since when the gate could not reach the directory, if they signed in with a key alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub directory_unreachable_since: Option<Timestamp>,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub decided_at: Timestamp,
    /// When the person took it back, if they did: it counts no more.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub withdrawn_at: Option<Timestamp>,
}

/// A person.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ApproverView {
    /// The directory.
    pub issuer: String,
    /// The directory's name for the person.
    pub subject: String,
    /// The name to show.
    pub name: String,
}

/// A page of approvals.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ApprovalList {
    /// Newest first.
    pub items: Vec<ApprovalView>,
    /// How many more belong on this page that were asked for through a newer version of the gate than the one
    /// that answers: try again, and that one may answer. Absent where there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub newer: Option<u32>,
    /// Give it back as `cursor` for the next page; null at the end.
    pub next_cursor: Option<String>,
}

impl ApprovalView {
    /// The view of an approval as it is while these freezes are in force.
    pub fn new(approval: &Approval, url: String, freezes: &Freezes, now: Timestamp) -> Self {
        let asked = &approval.subject;
        let action = asked.action();
        Self {
            id: asked.approval.to_string(),
            status: approval.status(),
            version: approval.version,
            superseded_by: match &approval.state {
                State::Superseded { by, .. } => Some(by.to_string()),
                _ => None,
            },
            status_sentence: status_sentence(approval, freezes, now),
            url,
            environment: asked.environment.clone(),
            subject: SubjectView::new(asked.subject()),
            subject_digest: asked.digest().to_string(),
            deployment_digest: asked.deployment().map(|_| asked.digest().to_string()),
            short_code: asked.short_code(),
            policy_digest: asked.policy_digest.to_string(),
            requester: RequesterView::new(&asked.requester),
            reason: asked.reason.clone(),
            title: asked.title.clone(),
            summary: action.and_then(|action| action.summary.clone()),
            effect: action.and_then(|action| action.effect.clone()),
            undo: action.and_then(|action| action.undo.clone()),
            created_at: asked.requested_at,
            expires_at: asked.expires_at,
            rules: rules_of(&approval.policy, Some(approval)),
            decisions: decisions_of(approval),
            rollout: rollout_of(approval),
            execution: execution_of(approval),
            updated: updated_of(approval),
            grant: None,
            grant_refused: None,
            hold: hold_now(approval, freezes, now).as_ref().map(HoldView::from),
        }
    }

    /// The same with the grant that it has for its requester.
    pub async fn for_requester(app: &App, approval: &Approval) -> Self {
        let url = app.approval_url(approval.id());
        let mut view = Self::new(approval, url, &app.storage.freezes(), app.now());
        match grant_of(app, approval).await {
            Some(Ok(grant)) => view.grant = Some(grant),
            Some(Err(problem)) => {
                view.grant_refused = Some(format!("{}: {}", problem.code, problem.detail));
            }
            None => {}
        }
        view
    }

    /// The view of an approval as it was when it was asked for: the answer to a repeated request
    /// is the same as the first one's, whatever happened since.
    pub fn as_created(approval: &Approval, url: String) -> Self {
        let mut first = approval.clone();
        first.version = 1;
        first.state = State::Pending {};
        first.decisions.clear();
        let requested_at = first.subject.requested_at;
        Self::new(&first, url, Freezes::NONE, requested_at)
    }
}

impl RequesterView {
    fn new(requester: &Requester) -> Self {
        let claim = |name| requester.claim(name).map(str::to_owned);
        Self {
            issuer: requester.issuer.clone(),
            subject: requester.subject.clone(),
            repository: claim("repository"),
            repository_id: claim("repository_id"),
            reference: claim("ref"),
            sha: claim("sha"),
            run_id: claim("run_id"),
            actor: claim("actor"),
        }
    }
}

fn rules_of(policy: &Policy, approval: Option<&Approval>) -> Vec<RuleView> {
    let signers = approval.map(Approval::signers).unwrap_or_default();
    let progress = policy.progress(&signers);
    let views = policy.rules.iter().zip(progress).map(|(rule, progress)| RuleView {
        from: rule.from.iter().cloned().map(String::from).collect(),
        count: rule.count,
        met: progress.met,
    });
    views.collect()
}

/// Each yes and no, with the time at which its person took it back, if they did.
fn decisions_of(approval: &Approval) -> Vec<DecisionView> {
    let told = with_withdrawals(&approval.decisions);
    let views = told.into_iter().map(|(decision, withdrawal)| DecisionView {
        approver: ApproverView {
            issuer: decision.person.issuer.clone(),
            subject: decision.person.subject.clone(),
            name: decision.name.clone(),
        },
        decision: decision.verdict,
        reason: decision.reason.clone(),
        directory_unreachable_since: decision.directory_unreachable_since,
        decided_at: decision.decided_at,
        withdrawn_at: withdrawal.map(|withdrawal| withdrawal.decided_at),
    });
    views.collect()
}
