//! The page of one approval, drawn from its canonical bytes.

use askama::Template;
use askama_web::WebTemplate;

use crate::domain::approval::{Approval, State, Status};
use crate::domain::check::CheckResult;
use crate::domain::decision::Decision;
use crate::domain::hold::hold_now;
use crate::domain::ids::ApprovalId;
use crate::domain::rollout::RecordedCall;
use crate::domain::sentence::status_sentence;
use crate::domain::subject::Subject;
use crate::gate::CeremonyRefusal;
use crate::storage::Batch;
use crate::web::paths;

use super::action::{self, ActionView, EarlierView};
use super::batch::Arrival;
use super::decisions::{
    DecisionView, GlassView, RuleView, Turn, decisions, glass, rules as rules_of, turn,
};
use super::interventions::{InterventionsView, interventions};
use super::job::{self, JobView};
use super::requester::{RequesterView, Words};
use super::rollout::{self, RolloutView};
use super::rules::{self, RuleChangeView};
use super::run::{self, RunView};
use super::traffic::show_results;
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
    rollout: Option<RolloutView>,
    job: Option<JobView>,
    action: Option<ActionView>,
    run: Option<RunView>,
    change: Option<RuleChangeView>,
    kind: &'static str,
    earlier: Option<EarlierView>,
    batch: Option<BatchView>,
    requester: RequesterView,
    words: Words,
    requested: Moment,
    expires: Moment,
    is_open: bool,
    next_words: [&'static str; 2],
    rules: Vec<RuleView>,
    decisions: Vec<DecisionView>,
    turn: Turn,
    glass: Option<GlassView>,
    offered: Option<InterventionsView>,
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

/// What was asked for together with it.
struct BatchView {
    label: Inert,
    arrival: Arrival,
    href: String,
}

/// An older approval whose place this one took.
struct Predecessor {
    id: String,
    href: String,
}

impl StatusView {
    /// Of an approval: a job does not roll out.
    pub(crate) fn of(approval: &Approval) -> Self {
        let view = Self::new(approval.status());
        match (approval.subject.job_execution(), approval.status()) {
            (Some(asked), Status::Executing) => {
                let words = if asked.execution.is_some() { "Running" } else { "Updating" };
                Self { words, ..view }
            }
            _ => view,
        }
    }

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
        let asked = &approval.subject;
        let headline = headline_of(approval);
        let rollout = asked.deployment().map(|it| RolloutView::new(approval, it, recorded, around));
        let status = StatusView::of(approval);
        let here = paths::approval(approval.id());
        let is_held = hold_now(approval, around.freezes, around.now).is_some();
        Self {
            frame: Frame::new(&format!("{}: {headline}", status.words), &here, around),
            id: approval.id().to_string(),
            version: approval.version,
            status,
            sentence: Inert::new(&status_sentence(approval, around.freezes, around.now)),
            successor: match &approval.state {
                State::Superseded { by, .. } => Some(paths::approval(by)),
                _ => None,
            },
            predecessors: superseded
                .iter()
                .map(|id| Predecessor { id: id.to_string(), href: paths::approval(id) })
                .collect(),
            headline: Inert::new(&headline),
            environment: Inert::new(&asked.environment),
            rollout,
            job: asked.job_execution().map(|it| JobView::new(approval, it, recorded, around)),
            earlier: None,
            run: asked.workflow_run().map(|run| RunView::new(run, &approval.policy)),
            change: asked.rule_change().map(RuleChangeView::new),
            kind: kind_of(asked.subject()),
            batch: None,
            action: asked.action().map(|action| ActionView::new(action, &approval.policy)),
            requester: RequesterView::new(asked.subject(), &approval.policy),
            words: Words::new(asked.subject()),
            requested: Moment::new(asked.requested_at, around.now),
            expires: Moment::new(asked.expires_at, around.now),
            is_open: matches!(approval.status(), Status::Pending | Status::Approved),
            next_words: next_words(asked.subject(), is_held),
            rules: rules_of(approval),
            decisions: decisions(approval, around),
            turn: turn(approval, around),
            glass: glass(approval, around),
            offered: interventions(approval, around),
            digest: asked.digest().to_string(),
            shown_digest: Inert::new(&asked.digest().to_string()),
            short_code: asked.short_code(),
            policy_digest: Inert::new(&asked.policy_digest.to_string()),
            canonical: Inert::new(asked.text()),
            evidence: paths::evidence(approval.id()),
        }
    }
}

impl ApprovalPage {
    /// The same with what the checks of its steps found.
    #[must_use]
    pub fn with_checks(
        mut self,
        approval: &Approval,
        found: &[CheckResult],
        around: Surroundings<'_>,
    ) -> Self {
        if let (Some(rollout), Some(asked)) = (&mut self.rollout, approval.subject.deployment()) {
            show_results(&mut rollout.steps, asked.plan.steps.len(), found, around);
        }
        self
    }

    /// The same where a signature counts no more, since its key was given up: nobody signs on top of it.
    pub fn with_void(mut self, void: Option<&Decision>) -> Self {
        let Some(void) = void else { return self };
        let digest = void.statement_digest.to_string();
        for decision in &mut self.decisions {
            decision.is_void = decision.statement_digest == digest;
        }
        if matches!(self.turn, Turn::Sign { .. } | Turn::NeedsKey | Turn::OtherKey { .. }) {
            let why = CeremonyRefusal::SignatureVoid(void.name.clone()).to_string();
            self.turn =
                Turn::MayNot { why: Inert::new(&format!("Nobody can sign this now: {why}.")) };
        }
        self
    }

    /// The same with the batch that it is in.
    pub fn with_batch(self, batch: Option<&Batch>) -> Self {
        let href = format!("/approvals/{}/batch", self.id);
        let batch = batch.map(|batch| BatchView {
            label: Inert::new(&batch.label),
            arrival: Arrival::of(batch),
            href,
        });
        Self { batch, ..self }
    }

    /// The same with what its requester asked before: how many times, and the last of them.
    pub fn with_earlier(
        self,
        approval: &Approval,
        earlier: Option<(u64, &Approval)>,
        around: Surroundings<'_>,
    ) -> Self {
        let view =
            earlier.and_then(|(count, last)| EarlierView::new(approval, count, last, around));
        Self { earlier: view, ..self }
    }
}

/// What happens where, in one line.
pub(crate) fn headline_of(approval: &Approval) -> String {
    match approval.subject.subject() {
        Subject::Deployment(deployment) => rollout::headline(deployment),
        Subject::JobExecution(execution) => job::headline(execution),
        Subject::Action(action) => action::headline(action, &approval.policy),
        Subject::WorkflowRun(run) => run::headline(run),
        Subject::RuleChange(change) => rules::headline(change),
    }
}

/// What its digest is one of.
fn kind_of(subject: &Subject) -> &'static str {
    match subject {
        Subject::Deployment(_) => "Deployment",
        Subject::JobExecution(asked) if asked.execution.is_none() => "Update",
        Subject::JobExecution(_) => "Execution",
        Subject::Action(_) => "Action",
        Subject::WorkflowRun(_) => "Run",
        Subject::RuleChange(_) => "Change",
    }
}

/// What an approval that is complete leads to, and what it does not as long as others have to sign.
fn next_words(subject: &Subject, is_held: bool) -> [&'static str; 2] {
    match subject {
        Subject::Deployment(deployment) => [
            match &deployment.after {
                _ if is_held => {
                    "Your approval is the last that is needed: the rollout begins by itself as soon as nothing holds it any more."
                }
                Some(_) => {
                    "Your approval is the last that is needed: the rollout begins by itself when the one before it has succeeded."
                }
                None => {
                    "Your approval is the last that is needed: the rollout begins right after it, by itself."
                }
            },
            "Nothing rolls out yet if you approve: others have to sign as well.",
        ],
        Subject::JobExecution(asked) => job::next_words(asked, is_held),
        Subject::Action(_) => [
            "Your approval is the last that is needed: the requester may do it once, right after it.",
            "Nothing may be done yet if you approve: others have to sign as well.",
        ],
        Subject::WorkflowRun(_) => [
            "Your approval is the last that is needed: the run goes on right after it, by itself.",
            "The run does not go on yet if you approve: others have to sign as well.",
        ],
        Subject::RuleChange(_) => [
            "Your approval is the last that is needed: the new rules come into force right after it.",
            "The old rules stay if you approve: others have to sign as well.",
        ],
    }
}
