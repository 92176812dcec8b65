//! `[environment.NAME.separation]`: nobody signs for commits that they had a hand in.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::config::check::Check;
use crate::domain::policy::Policy;
use crate::domain::separation::SeparationRules;
use crate::integrations::github::GitHubSettings;

/// `[environment.NAME.separation]`
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct SeparationSection {
    /// The commits that count as served where no approval says which one does, by GitHub's number of the repository.
    pub bases: BTreeMap<String, String>,
}

/// The rules of a section. What must be changed goes to `problem`, with its key.
pub(super) fn rules(
    problem: &mut dyn FnMut(&str, String),
    section: Option<SeparationSection>,
    github_id_claim: Option<&str>,
) -> Option<SeparationRules> {
    let bases = section?.bases;
    for (repository, commit) in &bases {
        let is_number = repository.parse::<u64>().is_ok_and(|id| id.to_string() == *repository);
        let is_hexadecimal = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let is_commit = [40, 64].contains(&commit.len()) && commit.bytes().all(is_hexadecimal);
        if !is_number || !is_commit {
            problem(
                "separation.bases",
                format!(
                    "has {repository:?} = {commit:?}: write GitHub's number of the repository (`gh api repos/OWNER/NAME --jq .id`) and a whole commit of it in lower case"
                ),
            );
        }
    }
    Some(SeparationRules { github_id_claim: github_id_claim.map(str::to_owned), bases })
}

/// Where nobody could say whose commits these are, nobody could ask; where nobody could say whose the accounts
/// are, nobody could sign.
pub(super) fn check(
    check: &mut Check,
    github: Option<&GitHubSettings>,
    environments: &BTreeMap<String, Policy>,
) {
    for (name, policy) in environments {
        let Some(rules) = &policy.separation else { continue };
        let key = format!("environment.{name}.separation");
        if github.is_none() {
            check.problem(&key, "asks whose the commits are, and there is no [github] to ask: add it with a token that reads contents, pull requests and Actions");
        }
        if rules.github_id_claim.is_none() && policy.github_accounts.is_empty() {
            check.problem(&key, "asks whose the accounts at GitHub are, and nothing says it, so nobody could sign: name the claim of the directory in login.github_id_claim, or list github_accounts");
        }
        if !policy.workflow_runs.is_empty() {
            check.problem(&key, "cannot hold for workflow_runs, since nobody tells what a run ships that the gate does not roll out: put them into an environment of their own");
        }
    }
}
