//! What an environment says of plans: the steps of a request that brings none, and the limits of those
//! that do.

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use super::{
    InvalidSteps, LONGEST_BAKE, OnFailure, StepPlan, check_reach, fits, in_words, is_false, is_zero,
};
use crate::domain::check::{Check, MetricsKind, MetricsSource};
use crate::domain::service::{ServiceKind, ServiceName};

/// An environment's rules about plans. What is as usual is absent from the bytes.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanRules {
    /// The steps of a request that names none, where they say more than percentages.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<StepPlan>,
    /// Whether every request has to take these steps.
    #[serde(default, skip_serializing_if = "is_false")]
    pub fixed: bool,
    /// How long each step before the last has to be watched at least, in seconds.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub shortest_bake_seconds: u32,
    /// How long a step may be watched, in seconds, if not [`LONGEST_BAKE`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub longest_bake_seconds: Option<u64>,
    /// Whether steps may give the new revision an address of its own.
    #[serde(default, skip_serializing_if = "is_false")]
    pub tags: bool,
    /// What is checked at every step, whatever a request says; over HTTP at those with a tag.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<Check>,
    /// The metrics that checks may read, as the gate's configuration calls them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<MetricsSource>,
    /// What happens when a step fails and the request says nothing of it.
    #[serde(default, skip_serializing_if = "OnFailure::is_restore")]
    pub on_failure: OnFailure,
    /// How long after a success one approver may sign the way back, in seconds.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub rollback_window_seconds: u32,
}

fn from_seconds(seconds: u64) -> SignedDuration {
    SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX))
}

impl PlanRules {
    /// Whether they are the usual ones.
    pub fn is_usual(&self) -> bool {
        *self == Self::default()
    }

    /// What they say, as clauses; without those that are as usual.
    pub fn in_words(&self) -> Vec<String> {
        let of_step = |step: &StepPlan| {
            let percent = step.percent;
            let details = step.details().into_iter();
            details.map(move |detail| format!("at {percent} % {detail}")).collect::<Vec<_>>()
        };
        let mut words: Vec<String> = self.steps.iter().flat_map(of_step).collect();
        let time = |seconds: u32| in_words(SignedDuration::from_secs(seconds.into()));
        if self.fixed {
            words.push("every rollout takes these steps".to_owned());
        }
        if self.shortest_bake_seconds > 0 {
            let least = time(self.shortest_bake_seconds);
            words.push(format!("each step before the last is watched for at least {least}"));
        }
        if let Some(longest) = self.longest_bake_seconds {
            let most = in_words(from_seconds(longest));
            words.push(format!("a step is watched for at most {most}"));
        }
        if self.tags {
            words.push("steps may give the new revision an address of its own".to_owned());
        }
        let checks = self.checks.iter().map(Check::in_words);
        words.extend(checks.map(|check| format!("at every step it is checked: {check}")));
        if !self.metrics.is_empty() {
            words.push(format!("checks may read {}", self.metrics_in_words()));
        }
        if self.on_failure == OnFailure::Hold {
            words.push("when a step fails, the shares stay where they are".to_owned());
        }
        if self.rollback_window_seconds > 0 {
            let window = time(self.rollback_window_seconds);
            words.push(format!("for {window} after a success one approver may sign the way back"));
        }
        words
    }

    /// The metrics that checks may read, as a list.
    pub fn metrics_in_words(&self) -> String {
        let names = self.metrics.iter();
        let names = names.map(|one| format!("{} ({})", one.name, one.kind.in_words()));
        let names = names.collect::<Vec<_>>().join(", ");
        if names.is_empty() { "no metrics".to_owned() } else { names }
    }

    /// How long a step may be watched.
    pub fn longest_bake(&self) -> SignedDuration {
        let seconds = self.longest_bake_seconds;
        seconds.map_or(LONGEST_BAKE, from_seconds)
    }

    /// The steps with what is checked at every one of them.
    #[must_use]
    pub fn with_checks(&self, mut steps: Vec<StepPlan>) -> Vec<StepPlan> {
        for step in &mut steps {
            let has_tag = step.tag.is_some();
            let own = std::mem::take(&mut step.checks);
            let here = self.checks.iter().filter(|check| has_tag || !check.needs_tag());
            step.checks.extend(here.cloned());
            step.checks.extend(own.into_iter().filter(|check| !self.checks.contains(check)));
        }
        steps
    }

    /// Checks steps for this service against these rules.
    ///
    /// # Errors
    /// What they do not allow.
    pub fn check(&self, steps: &[StepPlan], service: &ServiceName) -> Result<(), InvalidSteps> {
        let refuse = |why: String| Err(InvalidSteps(why));
        check_reach(steps, service)?;
        let probes = self.checks.iter().any(Check::needs_tag);
        if probes && service.kind() == ServiceKind::WorkerPool {
            return refuse(format!(
                "this environment asks every new revision over HTTP, and {service} is a worker pool, which answers no requests: give worker pools an environment of their own"
            ));
        }
        if probes && steps.iter().all(|step| step.tag.is_none()) {
            return refuse(
                "this environment asks every new revision over HTTP, and no step has a tag that gives it an address: add one to a step before the last"
                    .to_owned(),
            );
        }
        for step in steps {
            let (percent, bake) = (step.percent, step.bake_seconds);
            let baked = SignedDuration::from_secs(bake.into());
            if baked > self.longest_bake() {
                return refuse(format!(
                    "the step of {percent} % is watched for {}, and this environment allows {}",
                    in_words(baked),
                    in_words(self.longest_bake())
                ));
            }
            if percent < 100 && bake < self.shortest_bake_seconds {
                let least = SignedDuration::from_secs(self.shortest_bake_seconds.into());
                return refuse(format!(
                    "the step of {percent} % is watched for {}, and this environment asks for at least {}: write {{\"percent\": {percent}, \"bake\": …}}",
                    in_words(baked),
                    in_words(least)
                ));
            }
            let known = |(name, kind): &(&str, MetricsKind)| {
                self.metrics.iter().any(|one| one.name == *name && one.kind == *kind)
            };
            let mut sources = step.checks.iter().filter_map(Check::source);
            if let Some((source, kind)) = sources.find(|source| !known(source)) {
                return refuse(format!(
                    "the step of {percent} % has a check that reads {source:?} of {}, and checks may read {} here: name one of those, or have whoever runs the gate add it to plan.metrics",
                    kind.in_words(),
                    self.metrics_in_words()
                ));
            }
            let Some(tag) = &step.tag else { continue };
            if !self.tags {
                return refuse(format!(
                    "the step of {percent} % has a tag, and this environment allows none: whoever runs the gate may write plan.tags = true, or leave the tag out"
                ));
            }
            if !fits(tag, service) {
                return refuse(format!(
                    "the tag {tag} and the service's name are too long together: Cloud Run allows 46 characters"
                ));
            }
        }
        Ok(())
    }
}
