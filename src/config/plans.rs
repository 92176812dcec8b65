//! `steps` and `plan` of an environment: what happens where a request says nothing, and what one may say.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use serde::Deserialize;

use crate::config::environments::{LONGEST_EXPIRY, seconds_of};
use crate::domain::check::{AskedCheck, Check, MetricsKind, MetricsSource};
use crate::domain::plan::{
    AskedStep, LONGEST_BAKE, OnFailure, PlanRules, StepPlan, check_steps, in_words,
};
use crate::domain::service::ServiceName;

/// `[environment.NAME.plan]`
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct PlanSection {
    /// Whether every rollout takes the steps of the environment.
    pub fixed: bool,
    /// How long each step before the last is watched at least.
    pub shortest_bake: Option<String>,
    /// How long a step may be watched.
    pub longest_bake: Option<String>,
    /// Whether steps may give the new revision an address of its own.
    pub tags: bool,
    /// What is checked at every step.
    pub checks: Vec<AskedCheck>,
    /// The metrics that checks may read.
    pub metrics: Vec<String>,
    /// What happens when a step fails.
    pub on_failure: OnFailure,
    /// How long after a success one approver may sign the way back.
    pub rollback_window: Option<String>,
}

/// The check of one environment's plans.
pub(super) struct Plans<'a> {
    /// Takes what must be changed, with the key within the environment.
    pub problem: &'a mut dyn FnMut(&str, String),
    /// The metrics that the configuration names.
    pub metrics: &'a BTreeMap<String, MetricsKind>,
}

impl Plans<'_> {
    pub fn steps(&mut self, asked: Vec<AskedStep>) -> Vec<StepPlan> {
        let steps = asked.into_iter().map(AskedStep::plan).collect::<Result<Vec<_>, _>>();
        match steps.and_then(|steps| check_steps(&steps).map(|()| steps)) {
            Ok(steps) => steps,
            Err(error) => {
                (self.problem)("steps", error.to_string());
                Vec::new()
            }
        }
    }

    /// The limits of plans, which the environment's own steps keep to.
    pub fn rules(
        &mut self,
        section: PlanSection,
        steps: &[StepPlan],
        services: &[ServiceName],
    ) -> PlanRules {
        let is_more = steps.iter().any(|step| *step != StepPlan::of_percent(step.percent));
        let rules = PlanRules {
            steps: if is_more { steps.to_vec() } else { Vec::new() },
            fixed: section.fixed,
            shortest_bake_seconds: self
                .span("shortest_bake", section.shortest_bake.as_deref(), LONGEST_BAKE)
                .unwrap_or(0),
            longest_bake_seconds: self
                .span("longest_bake", section.longest_bake.as_deref(), LONGEST_BAKE)
                .map(u64::from),
            tags: section.tags,
            checks: self.checks(section.checks),
            metrics: section.metrics.into_iter().filter_map(|name| self.source(name)).collect(),
            on_failure: section.on_failure,
            rollback_window_seconds: self
                .span("rollback_window", section.rollback_window.as_deref(), LONGEST_EXPIRY)
                .unwrap_or(0),
        };
        let shortest = SignedDuration::from_secs(rules.shortest_bake_seconds.into());
        if shortest > rules.longest_bake() {
            let remedy = "is longer than the longest bake: correct one of them";
            (self.problem)("plan.shortest_bake", remedy.to_owned());
        }
        // With what is checked at every step they have to be steps still.
        let whole = rules.with_checks(steps.to_vec());
        let is_one = steps.is_empty() || check_steps(&whole).is_ok();
        for service in services {
            if let Err(error) = rules.check(&whole, service) {
                let problem =
                    format!("are none that the environment's own plan section allows: {error}");
                (self.problem)("steps", problem);
                return rules;
            }
        }
        if !is_one {
            let remedy = "has so many checks that a step has more than it may: keep fewer";
            (self.problem)("plan.checks", remedy.to_owned());
        }
        rules
    }

    fn checks(&mut self, asked: Vec<AskedCheck>) -> Vec<Check> {
        let checks = asked.into_iter().map(AskedCheck::check).collect::<Result<Vec<_>, _>>();
        checks.unwrap_or_else(|error| {
            (self.problem)("plan.checks", error.to_string());
            Vec::new()
        })
    }

    fn source(&mut self, name: String) -> Option<MetricsSource> {
        let kind = self.metrics.get(&name).copied();
        if kind.is_none() {
            let problem = format!(
                "names {name:?}, and there is no [metrics.{name}]: add it, or correct the name"
            );
            (self.problem)("plan.metrics", problem);
        }
        kind.map(|kind| MetricsSource { name, kind })
    }

    fn span(&mut self, key: &str, text: Option<&str>, longest: SignedDuration) -> Option<u32> {
        let text = text?;
        let seconds = seconds_of(text, SignedDuration::ZERO, longest);
        if seconds.is_none() {
            let longest = in_words(longest);
            let problem =
                format!("{text:?} is no time of at most {longest}: write \"10m\" or \"1h\", say");
            (self.problem)(&format!("plan.{key}"), problem);
        }
        seconds.and_then(|seconds| u32::try_from(seconds).ok())
    }
}
