//! What differs between two rulebooks: whose rights, and what else.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::Rulebook;
use crate::domain::policy::{Effect, PolicyChange, Principal, policy_changes};

/// What a difference belongs to that belongs to no environment.
const EVERYWHERE: &str = "every environment";

/// Every difference between two rulebooks: those of environments as [`policy_changes`] tells them, then those
/// of roles, anchors and settings. Two that differ have at least one.
pub fn rulebook_changes(old: &Rulebook, new: &Rulebook) -> Vec<PolicyChange> {
    let mut found = policy_changes(&old.environments, &new.environments);
    for (name, before) in &old.environments {
        let is_told = found.iter().any(|change| change.environment == *name);
        let differs = new.environments.get(name).is_some_and(|after| after != before);
        if differs && !is_told {
            let sentence = "its rules have another text: compare the signed bytes";
            found.push(change(name, Effect::Different, sentence.to_owned()));
        }
    }
    for (role, who, before, after) in [
        (
            "an operator",
            "who freezes, revokes and endorses",
            &old.roles.operators,
            &new.roles.operators,
        ),
        (
            "an auditor",
            "who reads everything and signs nothing",
            &old.roles.auditors,
            &new.roles.auditors,
        ),
    ] {
        of_role(&mut found, (role, who), before, after);
    }
    for (name, before, after) in [
        ("anchors", json!(old.anchors), json!(new.anchors)),
        ("settings", Value::Object(old.settings.clone()), Value::Object(new.settings.clone())),
    ] {
        compare(&mut found, name, &before, &after);
    }
    if found.is_empty() && old != new {
        let sentence = "the rules have another text: compare the signed bytes".to_owned();
        found.push(change(EVERYWHERE, Effect::Different, sentence));
    }
    found
}

impl PolicyChange {
    /// Whether it belongs to no single environment.
    pub fn is_general(&self) -> bool {
        self.environment == EVERYWHERE
    }
}

fn change(environment: &str, effect: Effect, sentence: String) -> PolicyChange {
    PolicyChange { environment: environment.to_owned(), effect, sentence }
}

fn of_role(
    found: &mut Vec<PolicyChange>,
    (role, who): (&str, &str),
    old: &[Principal],
    new: &[Principal],
) {
    for added in new.iter().filter(|one| !old.contains(one)) {
        let sentence = format!("{} is {role} now, {who}", added.in_words());
        found.push(change(EVERYWHERE, Effect::Wider, sentence));
    }
    for removed in old.iter().filter(|one| !new.contains(one)) {
        let sentence = format!("{} is no longer {role}, {who}", removed.in_words());
        found.push(change(EVERYWHERE, Effect::Narrower, sentence));
    }
}

/// Values that differ, by their place. Members of lists are told one by one.
fn compare(found: &mut Vec<PolicyChange>, place: &str, before: &Value, after: &Value) {
    match (before, after) {
        (before, after) if before == after => {}
        (Value::Object(before), Value::Object(after)) => {
            let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
            for name in names {
                let value =
                    |object: &Map<String, Value>| object.get(name).cloned().unwrap_or_default();
                compare(found, &format!("{place}.{name}"), &value(before), &value(after));
            }
        }
        (Value::Array(before), Value::Array(after)) => {
            let gone = before.iter().filter(|one| !after.contains(one));
            let new = after.iter().filter(|one| !before.contains(one));
            let told = found.len();
            for value in new {
                tell(found, format!("{place} lists {value} now"));
            }
            for value in gone {
                tell(found, format!("{place} no longer lists {value}"));
            }
            if found.len() == told {
                tell(found, format!("{place} lists the same in another order or number"));
            }
        }
        (before, after) => tell(found, format!("{place} is {after} now; before, {before}")),
    }
}

fn tell(found: &mut Vec<PolicyChange>, sentence: String) {
    found.push(change(EVERYWHERE, Effect::Different, sentence));
}
