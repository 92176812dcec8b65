//! Breaking the glass: who may let something begin that the rules would hold or that too few people can sign, and
//! how soon somebody else has to look at it.

use std::num::NonZeroU32;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::quorum::Quorum;
use super::{Policy, Rule};
use crate::domain::person::Person;

/// Who may break the glass of an environment, and what it costs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BreakGlass {
    /// Who must sign: every rule must be met.
    pub rules: Vec<Rule>,
    /// How soon somebody else has to sign for it afterwards, in seconds.
    pub explain_within_seconds: u64,
    /// How old the last sign-in of somebody may be who breaks it with their key alone, because the directory cannot
    /// be reached. Absent: nobody does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outage_grace_seconds: Option<NonZeroU32>,
}

impl BreakGlass {
    /// Whether this person may sign for at least one of its rules.
    pub fn admits(&self, person: &Person, groups: &[String]) -> bool {
        Quorum(&self.rules).admits(person, groups)
    }

    /// Whether these people are enough.
    pub fn is_met(&self, signers: &[(Person, Vec<String>)]) -> bool {
        Quorum(&self.rules).is_met(signers)
    }

    /// Until when somebody else has to sign for what was broken at `at`.
    pub fn explain_before(&self, at: Timestamp) -> Timestamp {
        let seconds = i64::try_from(self.explain_within_seconds).unwrap_or(i64::MAX);
        at.checked_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX)
    }

    /// How old a last sign-in may be while the directory cannot be reached, if any counts then.
    pub fn outage_grace(&self) -> Option<SignedDuration> {
        self.outage_grace_seconds.map(|seconds| SignedDuration::from_secs(seconds.get().into()))
    }

    /// Whether somebody may break it at `at` whose last sign-in was then, because the directory cannot be reached.
    pub fn bridges(&self, signed_in: Timestamp, at: Timestamp) -> bool {
        self.outage_grace().is_some_and(|grace| at.duration_since(signed_in) <= grace)
    }

    /// Who must sign, in words.
    pub fn in_words(&self) -> String {
        let rules: Vec<String> = self.rules.iter().map(Rule::in_words).collect();
        rules.join(" and ")
    }
}

impl Policy {
    /// Whether this person may sign anything here: by the rules, or for breaking the glass.
    pub fn admits_signer(&self, person: &Person, groups: &[String]) -> bool {
        self.admits_approver(person, groups)
            || self.break_glass.as_ref().is_some_and(|glass| glass.admits(person, groups))
    }
}
