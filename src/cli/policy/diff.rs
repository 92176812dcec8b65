//! `countersign policy diff`: whose rights change.

use std::process::ExitCode;

use serde_json::json;

use super::{DiffArguments, answer, rules_of};
use crate::domain::policy::{PolicyChange, policy_changes};

/// Compares the rules of two configurations.
pub(super) fn run(arguments: &DiffArguments) -> Result<ExitCode, String> {
    let changes = policy_changes(&rules_of(&arguments.old)?, &rules_of(&arguments.new)?);
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
            text.push_str(&format!("environment {}\n", change.environment));
        }
        text.push_str(&format!("  {:<10}{}\n", change.effect.as_str(), change.sentence));
    }
    text
}
