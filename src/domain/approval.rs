//! The approval: one thing asked for, from `pending` to its end.
//!
//! Transitions consume the approval, take the time as an argument and return a [`Transition`],
//! the only thing that storage writes. What is not written here cannot happen.

mod break_glass;
mod interventions;
mod refusal;
mod separate;
mod state;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::decision::{Decision, Verdict, standing};
use crate::domain::ids::ApprovalId;
use crate::domain::intervention::Orders;
use crate::domain::person::Person;
use crate::domain::policy::{Policy, RuleProgress, Sufficient};
use crate::domain::rollout::{Intent, Outcome, Progress};
use crate::domain::subject::FrozenSubject;

pub use refusal::TransitionRefusal;
pub use state::{State, Status};

/// One approval as it is now.
#[derive(Clone, PartialEq, Debug)]
pub struct Approval {
    /// What was asked for.
    pub subject: FrozenSubject,
    /// The rules that were in force then; its digest is in the subject.
    pub policy: Policy,
    /// Counts the changes of this approval, from 1.
    pub version: u64,
    /// The decisions so far, in order.
    pub decisions: Vec<Decision>,
    /// Where it stands.
    pub state: State,
}

/// A change of one approval: the new aggregate, what the ledger says of it, and the work it starts.
#[derive(Clone, PartialEq, Debug)]
#[must_use = "a transition that is not written did not happen"]
pub struct Transition {
    /// The approval after the change; its version is one more than before.
    pub approval: Approval,
    /// What happened.
    pub event: Event,
    /// Whether the worker has something to do from now on.
    pub starts_rollout: bool,
    /// What else its entry says.
    pub data: Value,
}

/// What happened to an approval, as the ledger names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Event {
    #[serde(rename = "approval.requested")]
    Requested,
    #[serde(rename = "approval.decided")]
    Decided,
    #[serde(rename = "approval.withdrawn")]
    Withdrawn,
    #[serde(rename = "approval.cancelled")]
    Cancelled,
    #[serde(rename = "approval.expired")]
    Expired,
    #[serde(rename = "approval.superseded")]
    Superseded,
    #[serde(rename = "rollout.begun")]
    Begun,
    #[serde(rename = "rollout.call_announced")]
    CallAnnounced,
    #[serde(rename = "rollout.call_answered")]
    CallAnswered,
    #[serde(rename = "rollout.observed")]
    Observed,
    #[serde(rename = "rollout.intervened")]
    Intervened,
    #[serde(rename = "rollout.ended")]
    Ended,
    #[serde(rename = "grant.consumed")]
    Consumed,
    #[serde(rename = "run.let_on")]
    LetOn,
    #[serde(rename = "rules.in_force")]
    RulesInForce,
}

impl Approval {
    /// A new approval, asked for just now.
    pub fn request(subject: FrozenSubject, policy: Policy) -> Transition {
        let approval =
            Self { subject, policy, version: 1, decisions: Vec::new(), state: State::Pending {} };
        Transition { approval, event: Event::Requested, starts_rollout: false, data: Value::Null }
    }

    /// Its identifier.
    pub fn id(&self) -> &ApprovalId {
        &self.subject.approval
    }

    /// The name of its state.
    pub fn status(&self) -> Status {
        self.state.status()
    }

    /// What this person said that still stands.
    pub fn standing_of(&self, person: &Person) -> Option<&Decision> {
        standing(&self.decisions).into_iter().find(|decision| decision.person == *person)
    }

    /// The people whose yes counts so far, with the groups of the sign-in they signed under.
    pub fn signers(&self) -> Vec<(Person, Vec<String>)> {
        standing(&self.decisions)
            .into_iter()
            .filter(|decision| decision.verdict == Verdict::Approve)
            .map(|decision| (decision.person.clone(), decision.groups.clone()))
            .collect()
    }

    /// By which rules what people signed so far suffices, if it does.
    pub fn suffices(&self) -> Option<Sufficient> {
        self.policy.suffices(&standing(&self.decisions))
    }

    /// Whether enough people broke the glass: nothing holds it any more.
    pub fn is_glass_broken(&self) -> bool {
        self.suffices() == Some(Sufficient::ByBreakGlass)
    }

    /// How far each rule of the policy is met.
    pub fn progress(&self) -> Vec<RuleProgress> {
        self.policy.progress(&self.signers())
    }

    /// Whether this person could decide now, and why not.
    pub fn may_decide(
        &self,
        person: &Person,
        name: &str,
        groups: &[String],
        github_id: Option<u64>,
        now: Timestamp,
    ) -> Result<(), TransitionRefusal> {
        if self.status() != Status::Pending {
            return Err(TransitionRefusal::Closed(self.status()));
        }
        if now >= self.subject.expires_at {
            return Err(TransitionRefusal::Expired(self.subject.expires_at));
        }
        if self.standing_of(person).is_some() {
            return Err(TransitionRefusal::AlreadyDecided(name.to_owned()));
        }
        if self.policy.was_asked_by(self.subject.subject(), person) {
            return Err(TransitionRefusal::OwnRequest(name.to_owned()));
        }
        if !self.policy.admits_approver(person, groups) {
            return Err(TransitionRefusal::NotAnApprover(name.to_owned()));
        }
        self.must_be_separate(person, name, github_id)
    }

    /// The yes of this person, if they could take it back now, and why not. Whoever signed may, whatever
    /// groups they are in by now.
    pub fn may_withdraw(
        &self,
        person: &Person,
        name: &str,
        now: Timestamp,
    ) -> Result<&Decision, TransitionRefusal> {
        self.must_not_have_begun()?;
        if now >= self.runs_out_at() {
            return Err(TransitionRefusal::Expired(self.runs_out_at()));
        }
        self.standing_of(person)
            .ok_or_else(|| TransitionRefusal::NothingToWithdraw(name.to_owned()))
    }

    /// A person's verified decision. One no of somebody who may sign ends it; a yes counts, and
    /// when all rules are met, or those for breaking the glass, the rollout starts. Who takes a yes back may decide again.
    pub fn decide(
        self,
        decision: Decision,
        now: Timestamp,
    ) -> Result<Transition, TransitionRefusal> {
        match decision.verdict {
            Verdict::Approve | Verdict::Reject | Verdict::BreakGlass => self.count(decision, now),
            Verdict::Withdraw => self.withdraw(decision, now),
        }
    }

    /// Until the rollout begins. What is approved waits for people again, if the rules are no longer met.
    fn withdraw(
        mut self,
        withdrawal: Decision,
        now: Timestamp,
    ) -> Result<Transition, TransitionRefusal> {
        self.may_withdraw(&withdrawal.person, &withdrawal.name, now)?;
        self.decisions.push(withdrawal);
        let is_met = self.suffices().is_some();
        if !is_met {
            self.state = State::Pending {};
        }
        Ok(self.next(Event::Withdrawn, is_met))
    }

    fn count(
        mut self,
        decision: Decision,
        now: Timestamp,
    ) -> Result<Transition, TransitionRefusal> {
        let Decision { person, name, groups, github_id, verdict, .. } = &decision;
        let verdict = *verdict;
        match verdict {
            Verdict::BreakGlass => self.may_break_glass(person, name, groups, *github_id, now)?,
            Verdict::Approve | Verdict::Reject | Verdict::Withdraw => {
                self.may_decide(person, name, groups, *github_id, now)?;
            }
        }
        if verdict == Verdict::Reject {
            self.state = State::Rejected {
                at: now,
                by: decision.person.clone(),
                name: decision.name.clone(),
                reason: decision.reason.clone(),
            };
        }
        self.decisions.push(decision);
        let approved = match verdict {
            Verdict::Approve => self.suffices().is_some(),
            Verdict::BreakGlass => self.is_glass_broken(),
            Verdict::Reject | Verdict::Withdraw => false,
        };
        if approved {
            self.state = State::Approved { at: now };
        }
        Ok(self.next(Event::Decided, approved))
    }

    /// The requester takes it back.
    pub fn cancel(mut self, now: Timestamp) -> Result<Transition, TransitionRefusal> {
        self.must_not_have_begun()?;
        self.state = State::Cancelled { at: now };
        Ok(self.next(Event::Cancelled, false))
    }

    /// A newer request for the same service takes its place. What people have signed in full stands.
    pub fn supersede(
        mut self,
        by: ApprovalId,
        now: Timestamp,
    ) -> Result<Transition, TransitionRefusal> {
        if self.status() != Status::Pending {
            return Err(TransitionRefusal::Closed(self.status()));
        }
        self.state = State::Superseded { at: now, by };
        Ok(self.next(Event::Superseded, false))
    }

    /// When its time is over unless something happens before: the request's, and once it is approved
    /// the time within which the rollout has to begin.
    pub fn runs_out_at(&self) -> Timestamp {
        let expires_at = self.subject.expires_at;
        match &self.state {
            State::Approved { at } => self.policy.must_begin_before(*at).min(expires_at),
            _ => expires_at,
        }
    }

    /// Its time is over. Refused before that time.
    pub fn expire(mut self, now: Timestamp) -> Result<Transition, TransitionRefusal> {
        self.must_not_have_begun()?;
        if now < self.runs_out_at() {
            return Err(TransitionRefusal::Expired(self.runs_out_at()));
        }
        self.state = State::Expired { at: now };
        Ok(self.next(Event::Expired, false))
    }

    /// The worker begins the rollout.
    pub fn begin(mut self, now: Timestamp) -> Result<Transition, TransitionRefusal> {
        let State::Approved { .. } = self.state else {
            return Err(TransitionRefusal::Closed(self.status()));
        };
        if now >= self.runs_out_at() {
            return Err(TransitionRefusal::Expired(self.runs_out_at()));
        }
        self.state = State::Executing {
            since: now,
            progress: Progress::default(),
            orders: Orders::default(),
        };
        Ok(self.next(Event::Begun, true))
    }

    /// The grant of an action is used up. What it allows is somebody else's to do.
    pub fn consume(mut self, now: Timestamp) -> Result<Transition, TransitionRefusal> {
        let (State::Approved { .. }, Some(_)) = (&self.state, self.subject.action()) else {
            return Err(TransitionRefusal::Closed(self.status()));
        };
        if now >= self.runs_out_at() {
            return Err(TransitionRefusal::Expired(self.runs_out_at()));
        }
        self.state = State::succeeded(now);
        Ok(self.next(Event::Consumed, false))
    }

    /// The run is about to be let on: from here on nobody takes a signature back, and what was signed is used.
    pub fn let_on(mut self, now: Timestamp) -> Result<Transition, TransitionRefusal> {
        let (State::Approved { .. }, Some(_)) = (&self.state, self.subject.workflow_run()) else {
            return Err(TransitionRefusal::Closed(self.status()));
        };
        if now >= self.runs_out_at() {
            return Err(TransitionRefusal::Expired(self.runs_out_at()));
        }
        self.state = State::succeeded(now);
        Ok(self.next(Event::LetOn, false))
    }

    /// The rules that were signed come into force. What else the entry says stands in `data`.
    pub fn put_into_force(
        mut self,
        data: Value,
        now: Timestamp,
    ) -> Result<Transition, TransitionRefusal> {
        let (State::Approved { .. }, Some(_)) = (&self.state, self.subject.rule_change()) else {
            return Err(TransitionRefusal::Closed(self.status()));
        };
        if now >= self.runs_out_at() {
            return Err(TransitionRefusal::Expired(self.runs_out_at()));
        }
        self.state = State::succeeded(now);
        Ok(Transition { data, ..self.next(Event::RulesInForce, false) })
    }

    /// The rollout got further: a call is announced or answered, or an observation recorded.
    pub fn advance(mut self, new_progress: Progress) -> Result<Transition, TransitionRefusal> {
        let status = self.status();
        let State::Executing { progress, orders, .. } = &mut self.state else {
            return Err(TransitionRefusal::Closed(status));
        };
        let event = match &new_progress.intent {
            intent if *intent == progress.intent => Event::Observed,
            Some(Intent { answer: None, .. }) => Event::CallAnnounced,
            Some(Intent { answer: Some(_), .. }) => Event::CallAnswered,
            None => Event::Observed,
        };
        // What people signed stays, whatever the worker knew of it; looking again is done once.
        orders.observe_again &= event != Event::Observed;
        *progress = new_progress;
        Ok(self.next(event, true))
    }

    /// The rollout ended.
    pub fn finish(
        mut self,
        outcome: Outcome,
        now: Timestamp,
    ) -> Result<Transition, TransitionRefusal> {
        let progress = match &self.state {
            State::Executing { progress, .. } => progress.clone(),
            // Evidence that does not hold is found before anything is begun.
            State::Approved { .. } => Progress::default(),
            _ => return Err(TransitionRefusal::Closed(self.status())),
        };
        self.state = match outcome {
            Outcome::Succeeded(serving) => {
                State::Succeeded { at: now, serving: Some(serving), execution: None, updated: None }
            }
            Outcome::Ran(execution) => {
                let execution = Some(execution);
                State::Succeeded { at: now, serving: None, execution, updated: None }
            }
            Outcome::Updated(updated) => {
                let updated = Some(updated);
                State::Succeeded { at: now, serving: None, execution: None, updated }
            }
            Outcome::Failed(reason) => State::Failed { at: now, reason, execution: None },
            Outcome::RunFailed(reason, execution) => {
                State::Failed { at: now, reason, execution: Some(execution) }
            }
            Outcome::RolledBack(reason) => State::RolledBack { at: now, reason },
            Outcome::NeedsAttention(reason) => State::NeedsAttention { at: now, reason, progress },
        };
        Ok(self.next(Event::Ended, false))
    }

    fn must_not_have_begun(&self) -> Result<(), TransitionRefusal> {
        match self.status() {
            Status::Pending | Status::Approved => Ok(()),
            other => Err(TransitionRefusal::Closed(other)),
        }
    }

    fn next(mut self, event: Event, starts_rollout: bool) -> Transition {
        self.version += 1;
        Transition { approval: self, event, starts_rollout, data: Value::Null }
    }
}
