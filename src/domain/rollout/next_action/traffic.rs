//! The traffic: step by step forward, watched in between, and back.

use super::{Action, Rollout, end, in_words, record, same_shares};
use crate::domain::check::{CheckOutcome, results_in_words};
use crate::domain::image::ImageReference;
use crate::domain::observation::{ObservedService, Readiness, TrafficShare, TrafficTag};
use crate::domain::plan::{OnFailure, Step};
use crate::domain::rollout::{Answer, Call, Outcome, Progress, Serving, Watched, after_failure};
use crate::domain::service::ServiceKind;

impl Rollout<'_> {
    /// Moves the traffic step by step.
    pub(super) fn traffic(&self, service: &ObservedService) -> Action {
        let plan = &self.deployment.plan;
        let step = self.progress.steps_done;
        let announced = matches!(
            self.progress.intent.as_ref().map(|intent| intent.call),
            Some(Call::MoveTraffic { .. })
        );
        let next = plan.steps.get(step);
        if announced && next.is_some_and(|next| self.asks_for(service, next)) {
            return self.step_in_effect(service, step);
        }
        if !self.is_as_left(service) {
            return self.traffic_surprise(service);
        }
        if self.orders.observe_again && self.progress.generation != Some(service.generation) {
            let generation = Some(service.generation);
            return record(Progress { generation, ..self.progress.clone() });
        }
        if let Some(watched) = self.progress.watched(plan)
            && let Some(action) = self.watch(service, watched)
        {
            return action;
        }
        if next.is_none() {
            return self.finish(service);
        }
        if self.progress.generation != Some(service.generation) {
            return self.changed_meanwhile(service);
        }
        match &service.readiness {
            Readiness::Failed(why) => self.fail(why.clone()),
            Readiness::Reconciling => Action::Wait,
            Readiness::Ready => Action::Make(Call::MoveTraffic { step }),
        }
    }

    /// A step is watched: nothing may change, and what serves must stay well. `None`: it is over.
    fn watch(&self, service: &ObservedService, watched: Watched<'_>) -> Option<Action> {
        if self.progress.generation != Some(service.generation) {
            return Some(self.changed_meanwhile(service));
        }
        let until = watched.until;
        match &service.readiness {
            Readiness::Failed(why) => Some(self.fail(why.clone())),
            Readiness::Reconciling => Some(Action::Wait),
            Readiness::Ready if !same_shares(&service.serving, &watched.step.traffic) => {
                Some(self.surprised(format!("it serves {}", in_words(&service.serving))))
            }
            Readiness::Ready if self.world.now < until => Some(Action::WaitUntil(until)),
            Readiness::Ready if !watched.is_checked() => Some(self.check(watched)),
            Readiness::Ready => watched
                .waits_for_people(self.orders, self.world.now)
                .then_some(Action::WaitForPeople),
        }
    }

    /// The step was watched for as long as was signed: do its checks pass? What they found is recorded
    /// first, and what follows from it then, so that no crash asks again after an answer.
    fn check(&self, watched: Watched<'_>) -> Action {
        let percent = watched.step.percent;
        if !watched.results.is_empty() {
            let failed = watched.results.iter().filter(|result| !result.passed());
            let found = results_in_words(failed);
            return self.fail(format!("at {percent} % not every check passed: {found}"));
        }
        let checks = &watched.step.checks;
        let asked = self.world.checks.as_ref().filter(|results| results.len() == checks.len());
        let Some(results) = asked else {
            return Action::Check { step: watched.number - 1 };
        };
        // Nothing that was read says no, and the time to read the rest is not over: ask again.
        let has_failed = results.iter().any(|result| result.outcome == CheckOutcome::Failed);
        let unread = results.iter().zip(checks).filter(|(result, _)| !result.passed());
        let patience = unread.map(|(_, check)| check.patience()).min();
        let until = patience.and_then(|patience| watched.until.checked_add(patience).ok());
        if let Some(until) = until.filter(|until| !has_failed && self.world.now < *until) {
            return Action::WaitUntil(until);
        }
        let checks = self.progress.checks.iter().chain(results).cloned().collect();
        record(Progress { checks, ..self.progress.clone() })
    }

    fn changed_meanwhile(&self, service: &ObservedService) -> Action {
        let by = &service.last_modifier;
        self.surprised(format!("{by} changed it in the middle of the rollout"))
    }

    /// The shares of a step are asked for: are they in effect?
    pub(super) fn step_in_effect(&self, service: &ObservedService, place: usize) -> Action {
        let step = &self.deployment.plan.steps[place];
        let percent = step.percent;
        match &service.readiness {
            Readiness::Failed(why) => self.undo(service, why),
            Readiness::Ready if same_shares(&service.serving, &step.traffic) => record(Progress {
                attested: self.progress.attested.clone(),
                revision_ready: true,
                steps_done: place + 1,
                generation: Some(service.generation),
                served_at: step.has_wait().then_some(self.world.now),
                checks: self.progress.checks.clone(),
                execution: None,
                restoring: None,
                intent: None,
            }),
            Readiness::Ready | Readiness::Reconciling if self.is_overdue() => {
                self.undo(service, &format!("{percent} % did not take effect in time"))
            }
            Readiness::Ready | Readiness::Reconciling => Action::Wait,
        }
    }

    /// Every step was seen to serve: is it still so?
    fn finish(&self, service: &ObservedService) -> Action {
        let plan = &self.deployment.plan;
        if !same_shares(&service.serving, self.expected()) {
            return self.surprised(format!("it serves {}", in_words(&service.serving)));
        }
        if service.readiness != Readiness::Ready {
            let by = &service.last_modifier;
            return self.surprised(format!("it is not ready any more; {by} changed it last"));
        }
        let image = self.world.revision.as_ref().map(|revision| revision.image.as_str());
        let running = image.and_then(|image| image.parse::<ImageReference>().ok());
        let digest = running.map(|image| *image.digest());
        if digest.as_ref() != Some(self.deployment.image.digest()) {
            let image = image.unwrap_or("nothing that can be read");
            return self.surprised(format!("{} runs {image}", plan.revision));
        }
        end(Outcome::Succeeded(Serving {
            revision: plan.revision.clone(),
            uri: service.uri.clone(),
            image_digest: digest,
            checks: self.progress.checks.clone(),
            traffic: service.serving.clone(),
            generation: service.generation,
            observed_at: self.world.now,
        }))
    }

    /// Something failed. Where the traffic never moved there is nothing to restore.
    pub(super) fn undo(&self, service: &ObservedService, why: &str) -> Action {
        let plan = &self.deployment.plan;
        if plan.rollback.is_empty() {
            return end(Outcome::Failed(format!(
                "the new {} does not come up, and there is nothing to go back to: {why}",
                self.kind().noun()
            )));
        }
        let untouched = self.is_back(service) && same_shares(&service.serving, &plan.rollback);
        if untouched {
            return end(Outcome::RolledBack(format!(
                "the revision {} did not come up, and no {} moved: {why}",
                plan.revision,
                self.kind().shared_was()
            )));
        }
        self.fail(why.to_owned())
    }

    /// What the plan says of a failure after the traffic moved.
    pub(super) fn fail(&self, why: String) -> Action {
        let plan = &self.deployment.plan;
        if plan.rollback.is_empty() && plan.on_failure == OnFailure::Restore {
            return end(Outcome::Failed(format!(
                "{why}; and there is nothing to go back to, since the {} is new",
                self.kind().noun()
            )));
        }
        Action::Write(after_failure(self.deployment.plan.on_failure, self.progress, why))
    }

    /// The shares from before are to serve again. A newest revision that failed keeps the whole
    /// service from being called ready, so only the shares count here.
    pub(super) fn restoring(&self, service: &ObservedService, reason: &str) -> Action {
        let plan = &self.deployment.plan;
        let back = self.is_back(service);
        if back && same_shares(&service.serving, &plan.rollback) && !self.may_still_arrive(service)
        {
            return end(Outcome::RolledBack(reason.to_owned()));
        }
        let announced = matches!(
            self.progress.intent.as_ref().map(|intent| intent.call),
            Some(Call::Restore {})
        );
        if announced && back {
            return if self.is_overdue() {
                end(Outcome::NeedsAttention(format!(
                    "{reason}; and what served before does not serve again"
                )))
            } else {
                Action::Wait
            };
        }
        let is_signed = plan.steps.iter().any(|step| same_shares(&service.wanted, &step.traffic));
        if !is_signed && !back && !self.orders.overrides {
            return self.traffic_surprise(service);
        }
        Action::Make(Call::Restore {})
    }

    /// Whether a call may still take effect: none was accepted, and the etag that it names is that of now.
    /// That the last one was refused says nothing of one before it. A change of ours moves the etag on, and
    /// nothing that was sent before arrives any more.
    fn may_still_arrive(&self, service: &ObservedService) -> bool {
        let intent = self.progress.intent.as_ref();
        intent.is_some_and(|intent| {
            let is_accepted = matches!(intent.answer, Some(Answer::Accepted { .. }));
            !is_accepted && intent.etag.as_ref() == Some(&service.etag)
        })
    }

    /// Whether exactly this step is asked for, with its tag and no other.
    fn asks_for(&self, service: &ObservedService, step: &Step) -> bool {
        same_shares(&service.wanted, &step.traffic)
            && self.own_tags(service).eq(step.tag.as_deref())
    }

    /// Whether what served before is asked for, without an address for the new revision.
    fn is_back(&self, service: &ObservedService) -> bool {
        same_shares(&service.wanted, &self.deployment.plan.rollback)
            && self.own_tags(service).next().is_none()
    }

    /// Whether what our last recorded effect left is asked for.
    pub(super) fn is_as_left(&self, service: &ObservedService) -> bool {
        match self.last_step() {
            Some(step) => self.asks_for(service, step),
            None => self.is_back(service),
        }
    }

    /// The tags that lead to the new revision.
    fn own_tags<'a>(&'a self, service: &'a ObservedService) -> impl Iterator<Item = &'a str> {
        let own = |tag: &&TrafficTag| tag.revision == self.deployment.plan.revision;
        service.tags.iter().filter(own).map(|tag| tag.tag.as_str())
    }

    pub(super) fn kind(&self) -> ServiceKind {
        self.deployment.service.kind()
    }

    fn last_step(&self) -> Option<&Step> {
        self.progress
            .steps_done
            .checked_sub(1)
            .and_then(|last| self.deployment.plan.steps.get(last))
    }

    pub(super) fn traffic_surprise(&self, service: &ObservedService) -> Action {
        let mut asked = in_words(&service.wanted);
        let tags: Vec<&str> = self.own_tags(service).collect();
        if !tags.is_empty() {
            asked.push_str(&format!(" with the tag {}", tags.join(", ")));
        }
        self.surprised(format!(
            "its {} {asked} and not {} as signed; {} changed it last",
            self.kind().shared_is(),
            in_words(self.expected()),
            service.last_modifier
        ))
    }

    /// The shares that our last recorded effect left.
    fn expected(&self) -> &[TrafficShare] {
        self.last_step().map_or(&self.deployment.plan.rollback, |step| &step.traffic)
    }
}
