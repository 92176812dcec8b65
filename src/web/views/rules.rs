//! A change of the rules on its page, and which rules are in force.

use crate::domain::ids::ApprovalId;
use crate::domain::policy::PolicyChange;
use crate::domain::rule_change::RuleChange;
use crate::domain::rulebook::{InForce, Rulebook, rulebook_changes};
use crate::web::paths;

use super::{Inert, Moment, Surroundings};

/// What a change of the rules changes, computed from the signed bytes alone.
pub struct RuleChangeView {
    /// By environment.
    pub changes: Vec<ChangedEnvironment>,
    /// Whether somebody may do more than before, or less is needed.
    pub is_wider: bool,
    /// The digest of the rules before.
    pub before: Inert,
    /// The digest of the rules after.
    pub after: Inert,
}

/// What changes in one environment.
pub struct ChangedEnvironment {
    /// Which one, or every one.
    pub name: Inert,
    /// The word for each change's effect, its tone, and what it is.
    pub changes: Vec<(&'static str, &'static str, Inert)>,
}

impl RuleChangeView {
    pub(super) fn new(change: &RuleChange) -> Self {
        let told = rulebook_changes(&change.before, &change.after);
        let is_wider = told.iter().any(|one| one.effect.as_str() == "wider");
        let mut changes: Vec<ChangedEnvironment> = Vec::new();
        for PolicyChange { environment, effect, sentence } in told {
            let tone = match effect.as_str() {
                "wider" => "bad",
                "narrower" => "good",
                _ => "waiting",
            };
            let line = (effect.as_str(), tone, Inert::new(&sentence));
            match changes.iter_mut().find(|one| one.name == Inert::new(&environment)) {
                Some(known) => known.changes.push(line),
                None => changes.push(ChangedEnvironment {
                    name: Inert::new(&environment),
                    changes: vec![line],
                }),
            }
        }
        let digest = |rules: &Rulebook| rules.digest().map(|digest| digest.to_string());
        Self {
            changes,
            is_wider,
            before: Inert::new(&digest(&change.before).unwrap_or_default()),
            after: Inert::new(&digest(&change.after).unwrap_or_default()),
        }
    }
}

/// What happens, in one line.
pub(super) fn headline(change: &RuleChange) -> String {
    let names: Vec<String> = {
        let told = rulebook_changes(&change.before, &change.after);
        let mut names: Vec<String> = told.into_iter().map(|one| one.environment).collect();
        names.dedup();
        names
    };
    format!("Change of the rules of {}", names.join(", "))
}

/// The rules in force, as the page of the environments says it.
pub struct RulesView {
    /// The digest.
    pub digest: Inert,
    /// Since when.
    pub since: Moment,
    /// The entry that says so.
    pub entry: String,
    /// Who signed.
    pub by: Option<Inert>,
    /// The approval of the change that brought them.
    pub href: Option<String>,
    /// The approval of a change that waits.
    pub waiting: Option<String>,
}

impl RulesView {
    /// The view of what is in force, and of a change that waits for signatures.
    pub fn new(in_force: &InForce, waiting: Option<&ApprovalId>, around: Surroundings<'_>) -> Self {
        Self {
            digest: Inert::new(&in_force.digest.to_string()),
            since: Moment::new(in_force.at, around.now),
            entry: paths::entry(in_force.entry),
            by: (!in_force.by.is_empty()).then(|| Inert::new(&in_force.by.join(" and "))),
            href: in_force.approval.as_ref().map(paths::approval),
            waiting: waiting.map(paths::approval),
        }
    }
}
