//! A change of the rules: what people sign when a configuration says other rules than those in force.
//!
//! Nobody asks by a token. The gate found it in its configuration file, and says so: whoever wrote it there
//! is not known, and need not be, since what counts is who signs it.

use std::ops::Deref;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::domain::canonical::CanonicalError;
use crate::domain::digest::Digest;
use crate::domain::policy::Policy;
use crate::domain::rulebook::Rulebook;
use crate::domain::subject::{Facts, Requester};

/// What stands in the place of a token issuer's name. No token issuer can be called so.
pub const RULES_ISSUER: &str = "configuration";

/// Everything that a decision signs about one change: both rulebooks, whole.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct RuleChange {
    /// Who asks, why, where and until when.
    #[serde(flatten)]
    pub facts: Facts,
    /// The rules in force when it was asked for.
    pub before: Rulebook,
    /// The rules that take their place.
    pub after: Rulebook,
}

impl RuleChange {
    /// Who asks: the gate's own configuration.
    pub fn requester(origin: &str) -> Requester {
        Requester {
            issuer: RULES_ISSUER.to_owned(),
            issuer_url: origin.to_owned(),
            subject: RULES_ISSUER.to_owned(),
            key: Self::requester_key(),
            claims: Map::new(),
        }
    }

    /// Who counts as the same requester: whatever the configuration said before.
    pub fn requester_key() -> String {
        format!("{RULES_ISSUER}:rules")
    }

    /// What the ledger's first entry about it holds.
    ///
    /// # Errors
    /// If a rulebook has no canonical form.
    pub fn recorded(&self) -> Result<Value, CanonicalError> {
        Ok(json!({"rules_before": self.before.digest()?, "rules_after": self.after.digest()?}))
    }

    /// The digests of both rulebooks.
    ///
    /// # Errors
    /// If one has no canonical form.
    pub fn digests(&self) -> Result<(Digest, Digest), CanonicalError> {
        Ok((self.before.digest()?, self.after.digest()?))
    }

    /// Whether `policy` is what the rules in force ask for, and what is said of who asks is what the gate
    /// says of itself.
    pub fn is_ruled_by(&self, policy: &Policy) -> bool {
        self.before.quorum(&self.after) == policy.without_suspensions()
            && self.facts.requester == Self::requester(&self.facts.audience)
    }
}

impl Deref for RuleChange {
    type Target = Facts;

    fn deref(&self) -> &Facts {
        &self.facts
    }
}
