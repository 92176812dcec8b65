//! Answers runs that wait at an environment.
//!
//! A run goes on when the deployments that this very attempt of it asked for, in the environment of the same
//! name, were approved and their rollouts began: their signed bytes name the run, so that what people signed is what the run waits for.
//! Where it asked for none, and the environment lets people sign for runs, they are asked about the run itself.
//! Which approvals there are of a run, the ledger's verified entries say ([`crate::gate::runs_asked`]) and no row.
//! The webhook says only that there is something to look at. What waits is read at GitHub, and what was signed
//! from verified evidence, right before the answer.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::asking::AskedPeople;
use super::{Unsaid, Voice, after};
use crate::domain::approval::{Approval, State};
use crate::domain::decision::Verdict;
use crate::domain::ids::ApprovalId;
use crate::domain::subject::Subject;
use crate::domain::workflow_run::RunWaits;
use crate::gate::authorise::{NotAuthorised, authorise, authorise_job, authorise_run};
use crate::gate::rule::{self, Announced};
use crate::integrations::github::app::AppError;
use crate::integrations::github::runs::Run;
use crate::storage::{RuleAnswer, Speaker, WaitingRule};

/// A run whose approvals nobody has decided is looked at this often, and at once when one of them changes.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// One that was held back at the last moment is looked at again after this.
const LOOK_SOON: Duration = Duration::from_secs(5);
/// So far GitHub's clock may be ahead of the gate's, and more.
const CLOCKS_DIFFER: SignedDuration = SignedDuration::from_hours(1);

/// How often a row is read that a rollout changes at the same moment.
const MOST_READS: u32 = 5;

/// What a run is to be answered.
struct Ruling {
    answer: RuleAnswer,
    comment: String,
    approvals: Vec<ApprovalId>,
    /// Those of them that the answer itself uses up.
    signed: Vec<Approval>,
}

impl Voice {
    /// Answers a run as far as that is possible now.
    pub(super) async fn answer(
        &self,
        speaker: &Speaker,
        waiting: &mut WaitingRule,
    ) -> Result<(), Unsaid> {
        let Some(run) = self.waiting_run(waiting).await? else {
            return self.conclude(waiting).await;
        };
        let attempt = run.run_attempt;
        if waiting.attempt.is_some_and(|known| known != attempt) {
            // The run was started anew, and waits under a webhook of its own.
            return self.end(waiting, RuleAnswer::Gone, &[]).await;
        }
        if waiting.attempt.is_none() {
            self.storage.note_attempt(waiting, attempt).await?;
            waiting.attempt = Some(attempt);
        }
        let Some(verdict) = self.verdict(waiting, &run).await? else {
            return self.look_again(waiting, LOOK_AGAIN).await;
        };
        let Ruling { answer, comment, approvals, signed } = verdict;
        self.keep(speaker).await?;
        if waiting.announced != Some(answer) {
            let now = self.clock.now();
            let announced =
                rule::announce(&self.storage, waiting, answer, &approvals, signed, now).await?;
            match announced {
                Announced::Now => waiting.announced = Some(answer),
                Announced::Before => return Ok(()),
                Announced::LookAgain => return self.look_again(waiting, LOOK_SOON).await,
            }
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

    async fn look_again(&self, waiting: &WaitingRule, pause: Duration) -> Result<(), Unsaid> {
        let due = after(self.clock.now(), pause);
        Ok(self.storage.postpone_rule(waiting, due, None).await?)
    }

    /// The run as it is at GitHub now, if it waits there.
    async fn waiting_run(&self, waiting: &WaitingRule) -> Result<Option<Run>, Unsaid> {
        let WaitingRule { repository, run, environment, .. } = waiting;
        let found = match self.github.run(*repository, *run).await {
            Ok(found) => found,
            Err(AppError::Refused { status: 404, .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let is_it = found.id == *run && found.repository.id == *repository;
        let waits = is_it && self.github.is_waiting(*repository, *run, environment).await?;
        Ok(waits.then_some(found))
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
    async fn verdict(&self, waiting: &WaitingRule, run: &Run) -> Result<Option<Ruling>, Unsaid> {
        let (recorded, waits) = match self.recorded(waiting, run).await {
            Ok(found) => found,
            Err(Unsaid::Unproved(why)) => return Ok(Some(reject(&[], &why))),
            Err(error) => return Err(error),
        };
        let mut asked = Vec::new();
        for id in recorded {
            match self.proved(&id).await {
                Ok(approval) if self.is_of(&approval, waiting, run.run_attempt) => {
                    asked.push(approval);
                }
                Ok(_) => {}
                // What is not proved lets nothing through.
                Err(Unsaid::Unproved(why)) => return Ok(Some(reject(&[], &why))),
                Err(error) => return Err(error),
            }
        }
        if asked.is_empty() {
            return Ok(match self.ask_people(waiting, run, waits).await? {
                AskedPeople::Yes => None,
                AskedPeople::No(why) => Some(reject(&[], &why)),
            });
        }
        if let Some(refused) = asked.iter().find(|approval| is_refused(&approval.state)) {
            return Ok(Some(reject(&asked, &in_words(refused, &self.terms.origin))));
        }
        // Whatever keeps a rollout from beginning (a freeze, another one before it) keeps the run as well.
        let is_signed = |approval: &Approval| {
            approval.subject.workflow_run().is_some()
                && matches!(approval.state, State::Approved { .. })
        };
        let waits = |approval: &Approval| {
            matches!(approval.state, State::Pending {} | State::Approved { .. })
                && !is_signed(approval)
        };
        if asked.iter().any(waits) {
            return Ok(None);
        }
        for approval in &asked {
            if let Some(why) = self.not_authorised(approval.id()).await? {
                return Ok(Some(reject(&asked, &why)));
            }
        }
        let sentences: Vec<String> =
            asked.iter().map(|approval| in_words(approval, &self.terms.origin)).collect();
        Ok(Some(Ruling {
            answer: RuleAnswer::Approved,
            comment: sentences.join("\n"),
            approvals: ids(&asked),
            signed: asked.into_iter().filter(is_signed).collect(),
        }))
    }

    /// What verified entries say: the approvals that were asked for by the run, and the webhook that came.
    async fn recorded(
        &self,
        waiting: &WaitingRule,
        run: &Run,
    ) -> Result<(Vec<ApprovalId>, Option<RunWaits>), Unsaid> {
        let unreadable = || Unsaid::Unproved("the pinned log key cannot be read".to_owned());
        let mut runs = self.runs.as_ref().ok_or_else(unreadable)?.lock().await;
        // An attempt asks for nothing before it begins.
        let since = run.run_started_at.and_then(|at| at.checked_sub(CLOCKS_DIFFER).ok());
        let since = since.unwrap_or(Timestamp::MIN);
        runs.read(&self.storage, since).await?;
        if let Some(id) = runs.missing_since(since) {
            return Err(Unsaid::Unproved(format!(
                "What was asked for with {id} is not in the database as the ledger recorded it."
            )));
        }
        let found = runs.of_run(waiting.repository, waiting.run);
        Ok((found, runs.webhook(&waiting.delivery).cloned()))
    }

    /// Whether an approval is what this attempt of the run asked for, by its signed bytes.
    fn is_of(&self, approval: &Approval, waiting: &WaitingRule, attempt: u64) -> bool {
        let subject = &approval.subject;
        let requester = &subject.requester;
        let says = |claim: &str, number: u64| requester.claim(claim) == Some(&number.to_string());
        let is_it = match subject.subject() {
            Subject::Deployment(_) | Subject::JobExecution(_) => {
                self.terms.issuers.contains(&requester.issuer)
                    && says("repository_id", waiting.repository)
                    && says("run_id", waiting.run)
                    && says("run_attempt", attempt)
            }
            Subject::WorkflowRun(run) => {
                run.host == self.github.host
                    && (run.repository.id, run.run) == (waiting.repository, waiting.run)
                    && run.attempt == attempt
            }
            Subject::Action(_) | Subject::RuleChange(_) => false,
        };
        is_it && subject.environment == waiting.environment
    }

    /// Why nothing may be done upon an approval, as the worker asks before it calls Cloud Run. A rollout that runs
    /// changes the row meanwhile, so a row that differs is read again before it counts.
    async fn not_authorised(&self, id: &ApprovalId) -> Result<Option<String>, Unsaid> {
        let mut differs = String::new();
        for _ in 0..MOST_READS {
            let stored = self.storage.approval(id).await?;
            let stored = stored.ok_or_else(|| Unsaid::Unproved("its row is gone".to_owned()))?;
            let finding = match stored.approval.subject.subject() {
                Subject::WorkflowRun(_) => {
                    authorise_run(&self.storage, &self.trust, &stored).await.err()
                }
                Subject::JobExecution(_) => {
                    authorise_job(&self.storage, &self.trust, &stored).await.err()
                }
                Subject::Deployment(_) | Subject::Action(_) | Subject::RuleChange(_) => {
                    authorise(&self.storage, &self.trust, &stored).await.err()
                }
            };
            match finding.map_or(Ok(()), Err) {
                Ok(()) => return Ok(None),
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
    Ruling {
        answer: RuleAnswer::Rejected,
        comment: why.to_owned(),
        approvals: ids(asked),
        signed: Vec::new(),
    }
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
    for (verdict, words) in [
        (Verdict::Approve, "approved by"),
        (Verdict::BreakGlass, "let on by breaking the glass by"),
        (Verdict::Reject, "rejected by"),
    ] {
        let names = names(verdict);
        if !names.is_empty() {
            text += &format!(", {words} {names}");
        }
    }
    format!("{text}. {origin}/approvals/{}", approval.id())
}
