//! The plan: how the traffic moves, how long each step is watched, and the way back.
//!
//! A person signs all of it. What a plan does not use is absent from its bytes.

mod asked;
mod rules;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use crate::domain::check::{Check, MOST_CHECKS};
use crate::domain::observation::TrafficShare;
use crate::domain::service::{ServiceKind, ServiceName};

pub use asked::AskedStep;
pub use rules::PlanRules;

/// The most steps of a rollout.
pub const MOST_STEPS: usize = 20;
/// The longest time that a step may be watched, where the environment says nothing else.
pub const LONGEST_BAKE: SignedDuration = SignedDuration::from_hours(24);
/// A tag and the name of its service are one label of a host name, with three hyphens between them;
/// Cloud Run allows both together 46 characters.
const LONGEST_TAG_AND_SERVICE: usize = 46;

/// How the traffic moves.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The short name of the revision that is created, chosen beforehand.
    pub revision: String,
    /// The steps in order; the last gives the new revision everything.
    pub steps: Vec<Step>,
    /// The shares that are restored when a step fails; empty for a service that does not exist yet.
    pub rollback: Vec<TrafficShare>,
    /// What the gate does when a step fails.
    #[serde(default, skip_serializing_if = "OnFailure::is_restore")]
    pub on_failure: OnFailure,
    /// How long after a success one approver may sign the way back, in seconds.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub rollback_window_seconds: u32,
}

/// One step of the traffic.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// The new revision's share, 0 to 100.
    pub percent: u8,
    /// The exact shares of all revisions at this step.
    pub traffic: Vec<TrafficShare>,
    /// How long the step is watched before the rollout goes on, in seconds.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub bake_seconds: u32,
    /// What is checked when that time is over, before the rollout goes on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<Check>,
    /// The tag that gives the new revision an address of its own during this step, and no longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// Whether the rollout then waits until an approver has signed that it goes on.
    #[serde(default, skip_serializing_if = "is_false")]
    pub pause: bool,
}

/// One step as it is asked for or configured: everything but the shares, which follow from what serves.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepPlan {
    /// The new revision's share, 0 to 100.
    pub percent: u8,
    /// As [`Step::bake_seconds`].
    #[serde(default, skip_serializing_if = "is_zero")]
    pub bake_seconds: u32,
    /// As [`Step::checks`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<Check>,
    /// As [`Step::tag`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// As [`Step::pause`].
    #[serde(default, skip_serializing_if = "is_false")]
    pub pause: bool,
}

/// What the gate does when a step fails.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// It restores the shares from before.
    #[default]
    Restore,
    /// It leaves the traffic where it is, and people decide.
    Hold,
}

impl OnFailure {
    fn is_restore(&self) -> bool {
        *self == Self::Restore
    }

    /// What happens when a step fails, as a sentence.
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Restore => "If a step fails, the gate restores the shares from before.",
            Self::Hold => {
                "If a step fails, the gate leaves the shares where they are, and people decide."
            }
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands the member over like this")]
fn is_zero(seconds: &u32) -> bool {
    *seconds == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands the member over like this")]
fn is_false(flag: &bool) -> bool {
    !*flag
}

/// The steps of a rollout are none that can be carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidSteps(pub String);

impl StepPlan {
    /// A step of this share and nothing else.
    pub fn of_percent(percent: u8) -> Self {
        Self { percent, bake_seconds: 0, checks: Vec::new(), tag: None, pause: false }
    }

    /// The same for this revision of this service: its checks name them.
    #[must_use]
    pub fn for_revision(mut self, revision: &str, service: &str) -> Self {
        let checks = std::mem::take(&mut self.checks).into_iter();
        self.checks = checks.map(|check| check.for_revision(revision, service)).collect();
        self
    }

    /// The step with the shares that it comes to.
    pub fn with_traffic(&self, traffic: Vec<TrafficShare>) -> Step {
        let Self { percent, bake_seconds, checks, tag, pause } = self.clone();
        Step { percent, traffic, bake_seconds, checks, tag, pause }
    }

    /// What happens at it beside the shares, as clauses.
    pub fn details(&self) -> Vec<String> {
        self.with_traffic(Vec::new()).details()
    }
}

impl Step {
    /// How long it is watched.
    pub fn bake(&self) -> SignedDuration {
        SignedDuration::from_secs(self.bake_seconds.into())
    }

    /// Whether the rollout does something between this step and the next.
    pub fn has_wait(&self) -> bool {
        self.bake_seconds > 0 || self.pause || !self.checks.is_empty()
    }

    /// What happens at it beside the shares, as clauses.
    pub fn details(&self) -> Vec<String> {
        let mut details = Vec::new();
        if let Some(tag) = &self.tag {
            details.push(format!(
                "the new revision has an address of its own with the tag {tag} until the next step"
            ));
        }
        if self.bake_seconds > 0 {
            details.push(format!("watched for {}", in_words(self.bake())));
        }
        details.extend(self.checks.iter().map(|check| format!("checked: {}", check.in_words())));
        if self.pause {
            let pause =
                "the rollout waits here until one of those who may sign signs that it goes on";
            details.push(pause.to_owned());
        }
        details
    }
}

/// A time as people say it: `10 minutes`, `1 hour 30 minutes`.
pub fn in_words(time: SignedDuration) -> String {
    let seconds = time.as_secs().max(0);
    let parts = [
        (seconds / 86_400, "day"),
        (seconds % 86_400 / 3600, "hour"),
        (seconds % 3600 / 60, "minute"),
        (seconds % 60, "second"),
    ];
    let words: Vec<String> = parts
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .take(2)
        .map(|(count, unit)| format!("{count} {unit}{}", if count == 1 { "" } else { "s" }))
        .collect();
    if words.is_empty() { "no time".to_owned() } else { words.join(" ") }
}

/// Whether these are the steps of a rollout: percents that rise and end at 100, beginning with 0 only
/// where a tag makes a difference.
///
/// # Errors
/// What is wrong with them.
pub fn check_steps(steps: &[StepPlan]) -> Result<(), InvalidSteps> {
    let percents: Vec<u8> = steps.iter().map(|step| step.percent).collect();
    let rises = percents.windows(2).all(|pair| pair[0] < pair[1]);
    if !rises || percents.last() != Some(&100) || percents.len() > MOST_STEPS {
        return Err(InvalidSteps(format!(
            "steps must be whole percents that rise to 100, such as [10, 50, 100], at most \
             {MOST_STEPS} of them; these do not: {percents:?}"
        )));
    }
    for step in steps {
        let percent = step.percent;
        if percent == 0 && step.tag.is_none() {
            return Err(InvalidSteps(
                "a step of 0 % needs a tag, since without an address of its own nobody can try the new revision: {\"percent\": 0, \"tag\": \"try\"}; without one, steps are percents of at least 1 that rise to 100"
                    .to_owned(),
            ));
        }
        if percent == 100 && step.pause {
            return Err(InvalidSteps(
                "the last step has a pause, and nothing comes after it: give it to an earlier one"
                    .to_owned(),
            ));
        }
        if percent == 100 && step.tag.is_some() {
            return Err(InvalidSteps(
                "the last step has a tag, and a tag lasts until the next step: give it to an earlier one"
                    .to_owned(),
            ));
        }
        if step.checks.len() > MOST_CHECKS {
            return Err(InvalidSteps(format!(
                "the step of {percent} % has more than {MOST_CHECKS} checks: keep fewer"
            )));
        }
        if step.tag.is_none() && step.checks.iter().any(Check::needs_tag) {
            return Err(InvalidSteps(format!(
                "the step of {percent} % has an http check and no tag, and without an address of its own the new revision cannot be asked: add a tag to a step before the last, or leave the check out"
            )));
        }
        if let Some(tag) = step.tag.as_ref().filter(|tag| !is_tag(tag)) {
            return Err(InvalidSteps(format!(
                "the tag {tag:?} is none: write lower-case letters, digits and hyphens, beginning with a letter and not ending with a hyphen"
            )));
        }
    }
    Ok(())
}

/// Whether steps ask for no more than what they are for can have: a worker pool has no address, so that nothing can
/// be tried at one.
///
/// # Errors
/// What is wrong with them.
pub fn check_reach(steps: &[StepPlan], service: &ServiceName) -> Result<(), InvalidSteps> {
    if service.kind() == ServiceKind::Service {
        return Ok(());
    }
    let refuse = |percent: u8, why: &str| {
        Err(InvalidSteps(format!("the step of {percent} % {why} ({service} is a worker pool)")))
    };
    for step in steps {
        if step.tag.is_some() {
            return refuse(
                step.percent,
                "has a tag, and a worker pool has no addresses that a tag could give: leave the tag out",
            );
        }
        if step.checks.iter().any(Check::needs_tag) {
            return refuse(
                step.percent,
                "has an http check, and a worker pool answers no requests: let a check read metrics instead",
            );
        }
        if step.percent == 0 {
            return refuse(
                step.percent,
                "is left out for a worker pool: its new revision is created without instances anyway, before the first step",
            );
        }
    }
    Ok(())
}

/// Whether the tag fits beside the service's name in a host name.
pub(super) fn fits(tag: &str, service: &ServiceName) -> bool {
    tag.len() + service.service().len() <= LONGEST_TAG_AND_SERVICE
}

fn is_tag(tag: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    tag.starts_with(|letter: char| letter.is_ascii_lowercase())
        && !tag.ends_with('-')
        && tag.len() <= LONGEST_TAG_AND_SERVICE
        && tag.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(percents: &[u8]) -> Vec<StepPlan> {
        percents.iter().map(|percent| StepPlan::of_percent(*percent)).collect()
    }

    #[test]
    fn steps_rise_to_100() {
        for steps in [&[100][..], &[1, 100], &[5, 25, 50, 100]] {
            assert_eq!(check_steps(&plain(steps)), Ok(()));
        }
        for steps in
            [&[][..], &[0, 100], &[50], &[50, 50, 100], &[100, 50], &[10, 100, 101], &[100, 100]]
        {
            assert!(check_steps(&plain(steps)).is_err(), "{steps:?}");
        }
    }

    #[test]
    fn a_worker_pool_has_nothing_that_needs_an_address() {
        let pool = "projects/p/locations/r/workerPools/mail".parse().unwrap();
        let service = "projects/p/locations/r/services/web".parse().unwrap();
        let mut tagged = plain(&[25, 100]);
        tagged[0].tag = Some("try".into());
        for (steps, word) in [(tagged, "tag"), (plain(&[0, 100]), "without instances")] {
            let refused = check_reach(&steps, &pool).unwrap_err();
            assert!(refused.0.contains(word) && refused.0.contains("mail"), "{refused}");
            assert_eq!(check_reach(&steps, &service), Ok(()));
        }
        assert_eq!(check_reach(&plain(&[25, 100]), &pool), Ok(()));
    }

    #[test]
    fn tags_are_labels_and_end_before_the_last_step() {
        let tagged = |place: usize, tag: &str| {
            let mut steps = plain(&[0, 50, 100]);
            steps[0].tag = Some("try".into());
            steps[place].tag = Some(tag.into());
            check_steps(&steps)
        };
        assert_eq!(tagged(0, "try-it-2"), Ok(()));
        assert_eq!(tagged(1, "try"), Ok(()));
        assert!(tagged(2, "try").is_err());
        for tag in ["", "-a", "a-", "A", "a_b", "1a", &"a".repeat(47)] {
            assert!(tagged(0, tag).is_err(), "{tag:?}");
        }
    }

    #[test]
    fn times_are_said_as_people_say_them() {
        for (seconds, words) in [
            (0, "no time"),
            (1, "1 second"),
            (90, "1 minute 30 seconds"),
            (600, "10 minutes"),
            (90_000, "1 day 1 hour"),
        ] {
            assert_eq!(in_words(SignedDuration::from_secs(seconds)), words);
        }
    }
}
