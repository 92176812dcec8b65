//! The page of one approval, drawn from its canonical deployment.

use askama::Template;
use askama_web::WebTemplate;
use url::Url;

use crate::domain::approval::{Approval, State, Status};
use crate::domain::deployment::Preconditions;
use crate::domain::ids::ApprovalId;
use crate::domain::rollout::RecordedCall;
use crate::domain::sentence::status_sentence;
use crate::web::paths;

use super::calls::{CallView, calls};
use super::decisions::{DecisionView, RuleView, Turn, decisions, rules, turn};
use super::difference::{Difference, difference};
use super::interventions::{InterventionsView, interventions};
use super::requester::{RequesterView, Words};
use super::traffic::{ShareView, StepView, shares, steps};
use super::{Frame, Inert, Moment, Surroundings};

/// `GET /approvals/{id}`.
#[derive(Template, WebTemplate)]
#[template(path = "approval.html")]
pub struct ApprovalPage {
    frame: Frame,
    id: String,
    version: u64,
    status: StatusView,
    sentence: Inert,
    successor: Option<String>,
    predecessors: Vec<Predecessor>,
    headline: Inert,
    environment: Inert,
    project: String,
    region: String,
    service: String,
    image: Inert,
    revision: Inert,
    is_new_service: bool,
    difference: Difference,
    steps: Vec<StepView>,
    on_failure: &'static str,
    calls: Vec<CallView>,
    requester: RequesterView,
    words: Words,
    requested: Moment,
    expires: Moment,
    is_open: bool,
    is_rolling: bool,
    before_words: &'static str,
    rules: Vec<RuleView>,
    decisions: Vec<DecisionView>,
    turn: Turn,
    offered: Option<InterventionsView>,
    result: Option<ResultView>,
    digest: String,
    shown_digest: Inert,
    short_code: String,
    policy_digest: Inert,
    canonical: Inert,
    evidence: String,
}

/// A status in words and in the style sheet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StatusView {
    /// The snake_case name.
    pub name: &'static str,
    /// In words.
    pub words: &'static str,
    /// How it feels: `waiting`, `moving`, `good`, `bad` or `over`.
    pub tone: &'static str,
    /// Whether nothing more happens by itself.
    pub is_final: bool,
}

/// An older approval whose place this one took.
struct Predecessor {
    id: String,
    href: String,
}

/// What serves after a rollout that succeeded.
struct ResultView {
    revision: Inert,
    uri: Inert,
    href: Option<String>,
    traffic: Vec<ShareView>,
    observed: Moment,
}

impl StatusView {
    pub(crate) fn new(status: Status) -> Self {
        let (words, tone) = match status {
            Status::Pending => ("Waiting for signatures", "waiting"),
            Status::Approved => ("Approved", "moving"),
            Status::Executing => ("Rolling out", "moving"),
            Status::Succeeded => ("Succeeded", "good"),
            Status::Failed => ("Failed", "bad"),
            Status::RolledBack => ("Rolled back", "bad"),
            Status::NeedsAttention => ("Needs attention", "bad"),
            Status::Rejected => ("Rejected", "bad"),
            Status::Expired => ("Expired", "over"),
            Status::Cancelled => ("Cancelled", "over"),
            Status::Superseded => ("Superseded", "over"),
            Status::Withdrawn => ("Withdrawn", "over"),
        };
        Self { name: status.as_str(), words, tone, is_final: status.is_final() }
    }
}

impl ApprovalPage {
    /// Draws `approval` for the person and the time of `around`, with the calls that its rollout made and
    /// the older approvals whose place it took.
    pub fn new(
        approval: &Approval,
        recorded: &[RecordedCall],
        superseded: &[ApprovalId],
        around: Surroundings<'_>,
    ) -> Self {
        let frozen = &approval.deployment;
        let deployment = frozen.deployment();
        let difference = difference(running(approval), &deployment.proposed);
        let headline = headline(approval, &difference);
        let status = StatusView::new(approval.status());
        let here = paths::approval(approval.id());
        Self {
            frame: Frame::new(&format!("{}: {headline}", status.words), &here, around),
            id: approval.id().to_string(),
            version: approval.version,
            status,
            sentence: Inert::new(&status_sentence(approval, around.now)),
            successor: match &approval.state {
                State::Superseded { by, .. } => Some(paths::approval(by)),
                _ => None,
            },
            predecessors: superseded
                .iter()
                .map(|id| Predecessor { id: id.to_string(), href: paths::approval(id) })
                .collect(),
            headline: Inert::new(&headline),
            environment: Inert::new(&deployment.environment),
            project: deployment.service.project().to_owned(),
            region: deployment.service.location().to_owned(),
            service: deployment.service.service().to_owned(),
            image: Inert::new(&deployment.image.to_string()),
            revision: Inert::new(&deployment.plan.revision),
            is_new_service: running(approval).is_none(),
            difference,
            steps: steps(approval, around),
            on_failure: deployment.plan.on_failure.in_words(),
            calls: calls(recorded, approval.status(), around),
            requester: RequesterView::new(&deployment.requester),
            words: Words::new(deployment),
            requested: Moment::new(deployment.requested_at, around.now),
            expires: Moment::new(deployment.expires_at, around.now),
            is_open: matches!(approval.status(), Status::Pending | Status::Approved),
            // While something moves, how far it is comes first.
            is_rolling: matches!(approval.status(), Status::Executing | Status::NeedsAttention),
            before_words: if approval.status() == Status::Pending {
                "running now"
            } else {
                "running before"
            },
            rules: rules(approval),
            decisions: decisions(approval, around),
            turn: turn(approval, around),
            offered: interventions(approval, around),
            result: result(approval, around),
            digest: frozen.digest().to_string(),
            shown_digest: Inert::new(&frozen.digest().to_string()),
            short_code: frozen.short_code(),
            policy_digest: Inert::new(&deployment.policy_digest.to_string()),
            canonical: Inert::new(frozen.text()),
            evidence: paths::evidence(approval.id()),
        }
    }
}

fn running(approval: &Approval) -> Option<&serde_json::Value> {
    match &approval.deployment.preconditions {
        Preconditions::Absent {} => None,
        Preconditions::Present { running, .. } => Some(running),
    }
}

/// What happens where, in one line.
pub(crate) fn headline_of(approval: &Approval) -> String {
    headline(approval, &difference(running(approval), &approval.deployment.proposed))
}

fn headline(approval: &Approval, difference: &Difference) -> String {
    let service = approval.deployment.service.service();
    let environment = &approval.deployment.environment;
    let changes = &difference.changes;
    if running(approval).is_none() {
        format!("Create {service} in {environment}")
    } else if changes.iter().any(|change| change.label.words == "Container image") {
        format!("Deploy a new image of {service} to {environment}")
    } else if changes.is_empty() {
        format!("Deploy {service} again, unchanged, to {environment}")
    } else {
        format!("Change the settings of {service} in {environment}")
    }
}

fn result(approval: &Approval, around: Surroundings<'_>) -> Option<ResultView> {
    let State::Succeeded { serving, .. } = &approval.state else { return None };
    let followed = Url::parse(&serving.uri)
        .ok()
        .filter(|url| matches!(url.scheme(), "https" | "http"))
        .map(String::from);
    Some(ResultView {
        revision: Inert::new(&serving.revision),
        uri: Inert::new(&serving.uri),
        href: followed,
        traffic: shares(&serving.traffic, &serving.revision),
        observed: Moment::new(serving.observed_at, around.now),
    })
}
