//! `[environment.NAME.break_glass]`: who may break the glass.

use std::num::NonZeroU32;

use jiff::SignedDuration;
use serde::Deserialize;

use crate::config::environments::seconds_of;
use crate::config::file::RuleSection;
use crate::domain::policy::{BreakGlass, Rule};

/// Nobody explains anything in less.
const SHORTEST: SignedDuration = SignedDuration::from_mins(5);
/// What is looked at later, nobody remembers.
const LONGEST: SignedDuration = SignedDuration::from_hours(7 * 24);
/// Whoever left the company yesterday breaks no glass today.
const LONGEST_OUTAGE_GRACE: SignedDuration = SignedDuration::from_hours(24);

/// `[environment.NAME.break_glass]`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BreakGlassSection {
    /// Who must sign.
    pub rules: Vec<RuleSection>,
    /// How soon somebody else has to sign for it.
    pub explain_within: String,
    /// How old the last sign-in may be of whoever breaks it while the directory cannot be reached.
    #[serde(default = "no_outage_grace")]
    pub outage_grace: String,
}

fn no_outage_grace() -> String {
    "0s".to_owned()
}

/// Who may break the glass. `rules` are those of the section, checked. What must be changed goes to `problem`, with its
/// key.
pub(super) fn break_glass(
    problem: &mut dyn FnMut(&str, String),
    rules: Vec<Rule>,
    (explain_within, outage_grace): (&str, &str),
) -> BreakGlass {
    if rules.is_empty() {
        problem(
            "break_glass.rules",
            "is empty, so nobody could break the glass: list at least one rule, or remove break_glass".to_owned(),
        );
    }
    let seconds = seconds_of(explain_within, SHORTEST, LONGEST);
    if seconds.is_none() {
        problem(
            "break_glass.explain_within",
            format!(
                "{explain_within:?} is no time between 5 minutes and 7 days: write \"24h\", say"
            ),
        );
    }
    let grace = seconds_of(outage_grace, SignedDuration::ZERO, LONGEST_OUTAGE_GRACE);
    if grace.is_none() {
        problem(
            "break_glass.outage_grace",
            format!(
                "{outage_grace:?} is no time of at most 24 hours: write \"4h\", say, or \"0s\" so that nobody breaks the glass while the directory cannot be reached"
            ),
        );
    }
    let grace = grace.and_then(|seconds| u32::try_from(seconds).ok());
    BreakGlass {
        rules,
        explain_within_seconds: seconds.unwrap_or_default(),
        outage_grace_seconds: grace.and_then(NonZeroU32::new),
    }
}
