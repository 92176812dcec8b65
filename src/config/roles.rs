//! Who has a role beside the rules.

use std::collections::BTreeMap;

use crate::config::check::Check;
use crate::config::file::RolesSection;
use crate::domain::policy::{Policy, Principal};
use crate::domain::role::Roles;

/// The roles. Whoever signs nothing is named nowhere where somebody signs.
pub(super) fn roles(
    check: &mut Check,
    section: RolesSection,
    policies: &BTreeMap<String, Policy>,
) -> Roles {
    let RolesSection { operator: operators, auditor: auditors } = section;
    for auditor in &auditors {
        let who = auditor.in_words();
        if operators.contains(auditor) {
            check.problem(
                "roles.auditor",
                format!("names {who}, whom roles.operator names too, and an auditor signs nothing: take one of them out"),
            );
        }
        let signs = |policy: &&Policy| policy.rules.iter().any(|rule| rule.from.contains(auditor));
        if let Some(policy) = policies.values().find(signs) {
            let environment = &policy.environment;
            check.problem(
                "roles.auditor",
                format!("names {who}, whom a rule of environment.{environment} names too, and an auditor signs nothing: take one of them out"),
            );
        }
    }
    for (key, principals) in [("roles.operator", &operators), ("roles.auditor", &auditors)] {
        let mut seen: Vec<&Principal> = Vec::new();
        for principal in principals {
            if seen.contains(&principal) {
                check.warn(format!("{key} names {} twice.", principal.in_words()));
            }
            seen.push(principal);
        }
    }
    Roles { operators, auditors }
}
