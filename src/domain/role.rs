//! Roles beside those that the rules of an environment give: who may freeze, revoke and endorse, and who reads
//! everything and signs nothing. None of them meets a rule, and none is a way around one.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use crate::domain::freeze::FreezeScope;
use crate::domain::person::Person;
use crate::domain::policy::{BreakGlass, Policy, Principal};

/// Who has which role.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Roles {
    /// Who may freeze and lift everywhere, revoke the keys of others and endorse new ones.
    pub operators: Vec<Principal>,
    /// Who reads everything and signs nothing.
    pub auditors: Vec<Principal>,
}

/// Roles and rules together, from the configuration alone: who may freeze what.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Authority {
    /// The roles.
    pub roles: Roles,
    /// The rules of each environment.
    pub policies: BTreeMap<String, Policy>,
}

impl Roles {
    /// Whether this person is an operator.
    pub fn is_operator(&self, person: &Person, groups: &[String]) -> bool {
        self.operators.iter().any(|operator| operator.names(person, groups))
    }

    /// Whether this person reads everything and signs nothing.
    pub fn is_auditor(&self, person: &Person, groups: &[String]) -> bool {
        self.auditors.iter().any(|auditor| auditor.names(person, groups))
    }
}

impl Authority {
    /// For how long a last sign-in counts anywhere while the directory cannot be reached, if anywhere.
    pub fn longest_outage_grace(&self) -> Option<SignedDuration> {
        let glasses = self.policies.values().filter_map(|policy| policy.break_glass.as_ref());
        glasses.filter_map(BreakGlass::outage_grace).max()
    }

    /// Whether this person may freeze this and lift it again: operators everything, approvers what lies in
    /// environments in which they may sign.
    pub fn may_freeze(&self, person: &Person, groups: &[String], scope: &FreezeScope) -> bool {
        if self.roles.is_auditor(person, groups) {
            return false;
        }
        if self.roles.is_operator(person, groups) {
            return true;
        }
        let admits = |policy: &Policy| policy.admits_approver(person, groups);
        match &scope.environment {
            Some(environment) => self.policies.get(environment).is_some_and(admits),
            None => !self.policies.is_empty() && self.policies.values().all(admits),
        }
    }
}
