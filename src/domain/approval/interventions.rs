//! What an approver may sign about a rollout, and what it leads to.

use jiff::{SignedDuration, Timestamp};

use super::{Approval, Event, State, Transition, TransitionRefusal};
use crate::domain::intervention::{Act, Orders};
use crate::domain::person::Profile;
use crate::domain::plan::Plan;
use crate::domain::rollout::Progress;

impl Approval {
    fn plan(&self) -> Option<&Plan> {
        self.subject.deployment().map(|deployment| &deployment.plan)
    }

    /// How many steps serve, as far as is recorded.
    pub fn steps_done(&self) -> usize {
        match &self.state {
            State::Executing { progress, .. } | State::NeedsAttention { progress, .. } => {
                progress.steps_done
            }
            State::Succeeded { .. } => self.plan().map_or(0, |plan| plan.steps.len()),
            _ => 0,
        }
    }

    /// Until when one person may sign the way back after a success. None: not after this one.
    pub fn returns_until(&self) -> Option<Timestamp> {
        let State::Succeeded { at, .. } = &self.state else { return None };
        let plan = self.plan()?;
        if plan.rollback_window_seconds == 0 || plan.rollback.is_empty() {
            return None;
        }
        let window = SignedDuration::from_secs(plan.rollback_window_seconds.into());
        Some(at.saturating_add(window).unwrap_or(Timestamp::MAX))
    }

    /// The acts that are possible now, whoever signs them.
    pub fn possible_acts(&self, now: Timestamp) -> Vec<Act> {
        Act::ALL.into_iter().filter(|act| self.is_possible(*act, now).is_ok()).collect()
    }

    /// Whether this person could sign this act now, and why not.
    pub fn may_intervene(
        &self,
        act: Act,
        by: &Profile,
        now: Timestamp,
    ) -> Result<(), TransitionRefusal> {
        let Profile { person, name, github_id, .. } = by;
        if self.policy.was_asked_by(self.subject.subject(), person) {
            return Err(TransitionRefusal::OwnRequest(name.clone()));
        }
        if !self.policy.admits_approver(person, by.groups_under(&self.policy)) {
            return Err(TransitionRefusal::NotAnApprover(name.clone()));
        }
        if act.goes_on() {
            self.must_be_separate(person, name, *github_id)?;
        }
        self.is_possible(act, now)
    }

    fn is_possible(&self, act: Act, now: Timestamp) -> Result<(), TransitionRefusal> {
        let impossible = || Err(TransitionRefusal::NotPossible(act, self.status()));
        if self.subject.job_execution().is_some() {
            // What ran has run: there is no way back from it.
            return match (act, &self.state) {
                (Act::ObserveAgain | Act::Accept, State::NeedsAttention { .. }) => Ok(()),
                _ => impossible(),
            };
        }
        let Some(plan) = self.plan() else { return impossible() };
        let can_go_back = !plan.rollback.is_empty();
        match (act, &self.state) {
            (Act::GoOn, State::Executing { progress, orders, .. }) => {
                let watched = progress.watched(plan);
                let is_open = orders.restore.is_none()
                    && watched.is_some_and(|watched| watched.waits_for_people(orders, now));
                if is_open { Ok(()) } else { impossible() }
            }
            (Act::Restore, State::Executing { progress, orders, .. }) => {
                let is_done = progress.restoring.is_some() || orders.restore.is_some();
                if can_go_back && !is_done { Ok(()) } else { impossible() }
            }
            (Act::Restore, State::NeedsAttention { .. }) if can_go_back => Ok(()),
            (Act::ObserveAgain | Act::Accept, State::NeedsAttention { .. }) => Ok(()),
            (Act::Restore, State::Succeeded { .. }) => match self.returns_until() {
                Some(until) if now < until => Ok(()),
                Some(until) => Err(TransitionRefusal::WindowOver(until)),
                None => impossible(),
            },
            _ => impossible(),
        }
    }

    /// A person's verified intervention.
    pub fn intervene(
        mut self,
        act: Act,
        by: &Profile,
        reason: Option<&str>,
        now: Timestamp,
    ) -> Result<Transition, TransitionRefusal> {
        self.may_intervene(act, by, now)?;
        let name = &by.name;
        let because = reason.map(|reason| format!(", because “{}”", reason.trim()));
        let because = because.unwrap_or_default();
        let done = self.steps_done();
        let steps = u64::try_from(done).unwrap_or(u64::MAX);
        let was = self.status();
        self.state = match (act, self.state) {
            (Act::GoOn, State::Executing { since, progress, orders }) => State::Executing {
                since,
                progress,
                orders: Orders { go_on_after: Some(steps), ..orders },
            },
            (Act::Restore, State::Executing { since, progress, orders }) => State::Executing {
                since,
                progress,
                orders: Orders { restore: Some(format!("{name} stopped it{because}")), ..orders },
            },
            (Act::Restore, State::NeedsAttention { progress, reason, .. }) => State::Executing {
                since: now,
                progress: Progress { restoring: None, ..progress },
                orders: Orders {
                    restore: Some(format!(
                        "{reason}; {name} signed that what served before serves again{because}"
                    )),
                    overrides: true,
                    ..Orders::default()
                },
            },
            (Act::Restore, State::Succeeded { serving: Some(serving), .. }) => State::Executing {
                since: now,
                progress: Progress {
                    revision_ready: true,
                    steps_done: done,
                    generation: Some(serving.generation),
                    ..Progress::default()
                },
                orders: Orders {
                    restore: Some(format!(
                        "{name} signed the way back after it had succeeded{because}"
                    )),
                    ..Orders::default()
                },
            },
            (Act::ObserveAgain, State::NeedsAttention { mut progress, .. }) => {
                progress.check_again();
                let orders = Orders { observe_again: true, ..Orders::default() };
                State::Executing { since: now, progress, orders }
            }
            (Act::Accept, State::NeedsAttention { reason, .. }) => State::Failed {
                at: now,
                reason: format!("{reason}; {name} signed that it stays as it is{because}"),
                execution: None,
            },
            // Ruled out above.
            _ => return Err(TransitionRefusal::NotPossible(act, was)),
        };
        Ok(self.next(Event::Intervened, true))
    }
}
