//! A step as requests and configurations write it: a bare percentage, or an object.

use jiff::SignedDuration;
use serde::Deserialize;

use super::{InvalidSteps, StepPlan};
use crate::domain::check::{AskedCheck, Check};

/// One step: its percentage, or an object that says more.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize, utoipa::ToSchema)]
#[serde(
    untagged,
    expecting = "a step is a percentage, or an object with percent and, where they are wanted, bake (\"10m\"), checks, tag and pause"
)]
pub enum AskedStep {
    /// The new revision's share alone.
    Percent(u8),
    /// The share and what else happens at this step.
    Whole(WholeStep),
}

/// A step that says more than its share.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WholeStep {
    /// The new revision's share, 0 to 100; 0 with a tag alone.
    #[schema(maximum = 100)]
    percent: u8,
    /// How long the step is watched before the rollout goes on: text such as `10m` or `1h`.
    #[schema(example = "10m")]
    bake: Option<String>,
    /// What is checked when that time is over, before the rollout goes on.
    #[serde(default)]
    checks: Vec<AskedCheck>,
    /// Gives the new revision an address of its own during this step.
    #[schema(example = "try")]
    tag: Option<String>,
    /// Whether the rollout then waits until an approver has signed that it goes on.
    #[serde(default)]
    pause: bool,
}

impl AskedStep {
    /// The step.
    ///
    /// # Errors
    /// If a part of it cannot be read.
    pub fn plan(self) -> Result<StepPlan, InvalidSteps> {
        let step = match self {
            Self::Percent(percent) => return Ok(StepPlan::of_percent(percent)),
            Self::Whole(step) => step,
        };
        let bake_seconds = step.bake.as_deref().map_or(Ok(0), whole_seconds)?;
        let checks = step.checks.into_iter().map(AskedCheck::check);
        let checks = checks.collect::<Result<Vec<Check>, _>>()?;
        let WholeStep { percent, tag, pause, .. } = step;
        Ok(StepPlan { percent, bake_seconds, checks, tag, pause })
    }
}

/// The whole seconds of a time that is not negative.
fn whole_seconds(text: &str) -> Result<u32, InvalidSteps> {
    let time = text.parse::<SignedDuration>().ok();
    time.filter(|time| time.subsec_nanos() == 0)
        .and_then(|time| u32::try_from(time.as_secs()).ok())
        .ok_or_else(|| {
            InvalidSteps(format!(
                "the bake {text:?} is no time in whole seconds: write \"10m\" or \"1h\", say"
            ))
        })
}
