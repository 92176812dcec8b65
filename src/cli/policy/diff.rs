//! `countersign policy diff`: whose rights change.

use std::path::Path;
use std::process::ExitCode;

use serde_json::json;

use super::{DiffArguments, answer};
use crate::config::load_rules;
use crate::domain::policy::PolicyChange;
use crate::domain::rulebook::rulebook_changes;

/// Compares the rules of two configurations.
pub(super) fn run(arguments: &DiffArguments) -> Result<ExitCode, String> {
    let rules = |path: &Path| load_rules(path).map_err(|error| error.to_string());
    let changes = rulebook_changes(&rules(&arguments.old)?, &rules(&arguments.new)?);
    let text =
        if arguments.json { json!({ "changes": changes }).to_string() } else { in_words(&changes) };
    Ok(answer(changes.is_empty(), &text))
}

fn in_words(changes: &[PolicyChange]) -> String {
    if changes.is_empty() {
        return "The rules are the same.".to_owned();
    }
    let mut text = String::new();
    let mut environment = None;
    for change in changes {
        if environment != Some(&change.environment) {
            environment = Some(&change.environment);
            let place = if change.is_general() { "" } else { "environment " };
            text.push_str(&format!("{place}{}\n", change.environment));
        }
        text.push_str(&format!("  {:<10}{}\n", change.effect.as_str(), change.sentence));
    }
    text
}
