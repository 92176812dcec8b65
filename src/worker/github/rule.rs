//! Answers runs that wait at an environment.
//!
//! A run goes on when the deployments that this very attempt of it asked for, in the environment of the same
//! name, were approved and their rollouts began: their signed bytes name the run, so that what people signed is what the run waits for.
//! The webhook says only that there is something to look at. What waits is read at GitHub, and what was signed
//! from verified evidence, right before the answer.

use std::time::Duration;

use super::{Unsaid, Voice, after};
use crate::domain::approval::{Approval, State};
use crate::domain::decision::Verdict;
use crate::domain::ids::ApprovalId;
use crate::gate::authorise::{NotAuthorised, authorise};
use crate::gate::rule;
use crate::integrations::github::app::AppError;
use crate::storage::{RuleAnswer, Speaker, WaitingRule};

/// A run whose approvals nobody has decided is looked at this often, and at once when one of them changes.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// How often a row is read that a rollout changes at the same moment.
const MOST_READS: u32 = 5;

/// What a run is to be answered.
struct Ruling {
    answer: RuleAnswer,
    comment: String,
    approvals: Vec<ApprovalId>,
}

impl Voice {
    /// Answers a run as far as that is possible now.
    pub(super) async fn answer(
        &self,
        speaker: &Speaker,
        waiting: &mut WaitingRule,
    ) -> Result<(), Unsaid> {
        let Some(attempt) = self.waiting_attempt(waiting).await? else {
            return self.conclude(waiting).await;
        };
        if waiting.attempt.is_some_and(|known| known != attempt) {
            // The run was started anew, and waits under a webhook of its own.
            return self.end(waiting, RuleAnswer::Gone, &[]).await;
        }
        if waiting.attempt.is_none() {
            self.storage.note_attempt(waiting, attempt).await?;
            waiting.attempt = Some(attempt);
        }
        let Some(verdict) = self.verdict(waiting, attempt).await? else {
            let due = after(self.clock.now(), LOOK_AGAIN);
            self.storage.postpone_rule(waiting, due, None).await?;
            return Ok(());
        };
        let Ruling { answer, comment, approvals } = verdict;
        self.keep(speaker).await?;
        if waiting.announced != Some(answer) {
            let now = self.clock.now();
            if !rule::announce(&self.storage, waiting, answer, &approvals, now).await? {
                return Ok(());
            }
            waiting.announced = Some(answer);
        }
        // The announcement is outside the database too before the answer is given: no backup undoes it.
        self.log.secure().await?;
        let WaitingRule { repository, run, environment, .. } = &*waiting;
        tracing::info!(run, environment, answer = answer.as_str(), "answering a run");
        // The point of no return. A crash around it leaves the announcement, and whoever goes on asks GitHub
        // first whether the run still waits.
        let approved = answer == RuleAnswer::Approved;
        self.github.answer_rule(*repository, *run, environment, approved, &comment).await?;
        self.end(waiting, answer, &approvals).await
    }

    /// The attempt that waits at GitHub now, if one does.
    async fn waiting_attempt(&self, waiting: &WaitingRule) -> Result<Option<u64>, Unsaid> {
        let WaitingRule { repository, run, environment, .. } = waiting;
        let found = match self.github.run(*repository, *run).await {
            Ok(found) => found,
            Err(AppError::Refused { status: 404, .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let is_it = found.id == *run && found.repository.id == *repository;
        let waits = is_it && self.github.is_waiting(*repository, *run, environment).await?;
        Ok(waits.then_some(found.run_attempt))
    }

    /// A run that waits no more was answered if that was announced, since nobody else answers in the gate's name.
    async fn conclude(&self, waiting: &WaitingRule) -> Result<(), Unsaid> {
        self.end(waiting, waiting.announced.unwrap_or(RuleAnswer::Gone), &[]).await
    }

    async fn end(
        &self,
        waiting: &WaitingRule,
        answer: RuleAnswer,
        approvals: &[ApprovalId],
    ) -> Result<(), Unsaid> {
        let now = self.clock.now();
        rule::answered(&self.storage, waiting, answer, approvals, now).await?;
        Ok(())
    }

    /// What the run is to be answered; none while people decide.
    async fn verdict(&self, waiting: &WaitingRule, attempt: u64) -> Result<Option<Ruling>, Unsaid> {
        let mut asked = Vec::new();
        for id in self.storage.approvals_of_run(waiting.repository, waiting.run).await? {
            match self.proved(&id).await {
                Ok(approval) if is_of(&approval, waiting, attempt) => asked.push(approval),
                Ok(_) => {}
                // What is not proved lets nothing through.
                Err(Unsaid::Unproved(why)) => return Ok(Some(reject(&[], &why))),
                Err(error) => return Err(error),
            }
        }
        if asked.is_empty() {
            let why = format!(
                "Attempt {attempt} of this run asked for no deployment to {}. Ask with mode: rule in a job that this one needs; after a re-run, run all jobs again.",
                waiting.environment
            );
            return Ok(Some(reject(&[], &why)));
        }
        if let Some(refused) = asked.iter().find(|approval| is_refused(&approval.state)) {
            return Ok(Some(reject(&asked, &in_words(refused, &self.origin))));
        }
        // Whatever keeps a rollout from beginning (a freeze, another one before it) keeps the run as well.
        let waits = |state: &State| matches!(state, State::Pending {} | State::Approved { .. });
        if asked.iter().any(|approval| waits(&approval.state)) {
            return Ok(None);
        }
        for approval in &asked {
            if let Some(why) = self.not_authorised(approval.id()).await? {
                return Ok(Some(reject(&asked, &why)));
            }
        }
        let sentences: Vec<String> =
            asked.iter().map(|approval| in_words(approval, &self.origin)).collect();
        Ok(Some(Ruling {
            answer: RuleAnswer::Approved,
            comment: sentences.join("\n"),
            approvals: ids(&asked),
        }))
    }

    /// Why nothing may be done upon an approval, as the worker asks before it calls Cloud Run. A rollout that runs
    /// changes the row meanwhile, so a row that differs is read again before it counts.
    async fn not_authorised(&self, id: &ApprovalId) -> Result<Option<String>, Unsaid> {
        let mut differs = String::new();
        for _ in 0..MOST_READS {
            let stored = self.storage.approval(id).await?;
            let stored = stored.ok_or_else(|| Unsaid::Unproved("its row is gone".to_owned()))?;
            match authorise(&self.storage, &self.trust, &stored).await {
                Ok(_) => return Ok(None),
                Err(NotAuthorised::Storage(error)) => return Err(error.into()),
                Err(finding @ (NotAuthorised::Row(_) | NotAuthorised::Outdated(_))) => {
                    differs = finding.to_string();
                }
                Err(finding @ NotAuthorised::NotWitnessed(_)) => {
                    return Err(Unsaid::Unproved(finding.to_string()));
                }
                Err(finding) => {
                    tracing::error!(approval = %id, code = finding.code(), %finding, "a run is not let on");
                    let why = format!("The evidence of {id} does not hold: {}.", finding.code());
                    return Ok(Some(why));
                }
            }
        }
        Err(Unsaid::Unproved(differs))
    }
}

/// Whether an approval is what this attempt of the run asked for, by its signed bytes.
fn is_of(approval: &Approval, waiting: &WaitingRule, attempt: u64) -> bool {
    let requester = &approval.subject.requester;
    let says = |claim: &str, number: u64| requester.claim(claim) == Some(&number.to_string());
    approval.subject.deployment().is_some()
        && approval.subject.environment == waiting.environment
        && says("repository_id", waiting.repository)
        && says("run_id", waiting.run)
        && says("run_attempt", attempt)
}

fn is_refused(state: &State) -> bool {
    match state {
        State::Pending {}
        | State::Approved { .. }
        | State::Executing { .. }
        | State::Succeeded { .. } => false,
        State::Failed { .. }
        | State::RolledBack { .. }
        | State::NeedsAttention { .. }
        | State::Rejected { .. }
        | State::Expired { .. }
        | State::Cancelled { .. }
        | State::Superseded { .. }
        | State::Withdrawn { .. } => true,
    }
}

fn reject(asked: &[Approval], why: &str) -> Ruling {
    Ruling { answer: RuleAnswer::Rejected, comment: why.to_owned(), approvals: ids(asked) }
}

fn ids(asked: &[Approval]) -> Vec<ApprovalId> {
    asked.iter().map(|approval| approval.id().clone()).collect()
}

/// The code that people compared, who decided how, and where to read it.
fn in_words(approval: &Approval, origin: &str) -> String {
    let names = |verdict: Verdict| {
        let decisions = approval.decisions.iter().filter(|one| one.verdict == verdict);
        decisions.map(|one| one.name.as_str()).collect::<Vec<_>>().join(", ")
    };
    let status = approval.status().as_str().replace('_', " ");
    let mut text = format!("Code {}: {status}", approval.subject.short_code());
    for (verdict, words) in [(Verdict::Approve, "approved by"), (Verdict::Reject, "rejected by")] {
        let names = names(verdict);
        if !names.is_empty() {
            text += &format!(", {words} {names}");
        }
    }
    format!("{text}. {origin}/approvals/{}", approval.id())
}
