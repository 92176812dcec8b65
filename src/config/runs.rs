//! `workflow_runs` and `github_accounts` of an environment: for which runs of GitHub Actions people sign, and
//! which people started them.

use std::collections::BTreeMap;

use crate::config::check::Check;
use crate::config::file::OneOrMany;
use crate::config::requesters::fault_of_pattern;
use crate::domain::policy::Policy;
use crate::domain::workflow_run::{RUN_FACTS, RunMatch};
use crate::integrations::github::GitHubSettings;
use crate::integrations::workload_oidc::WorkloadKind;

/// What has to be said of each: whose run it is, of which branch, and what may have started it.
const NEEDED: [&str; 3] = ["repository_id", "branch", "event"];
/// Events that anybody can cause who may open a pull request, or that carry another run's code.
const REFUSED_EVENTS: [&str; 3] = ["pull_request", "pull_request_target", "workflow_run"];

/// The runs of a section. What must be changed goes to `problem`, with its key.
pub(super) fn listed(
    problem: &mut dyn FnMut(&str, String),
    sections: Vec<BTreeMap<String, OneOrMany>>,
) -> Vec<RunMatch> {
    let mut runs = Vec::new();
    for (index, section) in sections.into_iter().enumerate() {
        let number = index + 1;
        let mut complain =
            |text: String| problem("workflow_runs", format!("number {number} {text}"));
        let run: RunMatch =
            section.into_iter().map(|(name, values)| (name, values.into_values())).collect();
        for needed in NEEDED.iter().filter(|name| !run.contains_key(**name)) {
            complain(format!("does not say {needed}: name {}", NEEDED.join(", ")));
        }
        for (name, values) in &run {
            if !RUN_FACTS.contains(&name.as_str()) {
                complain(format!("names {name:?}: of a run are known {}", RUN_FACTS.join(", ")));
            }
            if values.is_empty() {
                complain(format!("lists no value for {name}: list one, or leave it out"));
            }
            for value in values {
                let fault = match REFUSED_EVENTS
                    .iter()
                    .find(|event| name == "event" && event.starts_with(value.trim_end_matches('*')))
                {
                    Some(_) => Some(
                        "which people can cause whose code nobody has looked at: list push or workflow_dispatch, say",
                    ),
                    None => fault_of_pattern(WorkloadKind::Github, name, value),
                };
                if let Some(fault) = fault {
                    complain(format!("has {value:?} for {name}, {fault}"));
                }
            }
        }
        runs.push(run);
    }
    runs
}

/// The accounts of a section.
pub(super) fn accounts(
    problem: &mut dyn FnMut(&str, String),
    section: BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    for (account, person) in &section {
        let is_number = account.parse::<u64>().is_ok_and(|number| number.to_string() == *account);
        if !is_number || person.is_empty() {
            problem(
                "github_accounts",
                format!(
                    "has {account:?} = {person:?}: write GitHub's number of the account (`gh api users/NAME --jq .id`) and the person's sub in the directory"
                ),
            );
        }
    }
    section
}

/// Where nobody can be told of runs, nobody signs for them.
pub(super) fn check(
    check: &mut Check,
    github: Option<&GitHubSettings>,
    environments: &BTreeMap<String, Policy>,
) {
    let app = github.and_then(|github| github.app.as_ref());
    let pinned = |repository: &str| {
        app.is_some_and(|app| {
            let all = app.installations.iter().flat_map(|one| &one.repositories);
            all.into_iter().any(|known| known.to_string() == repository)
        })
    };
    for (name, policy) in environments {
        let named = policy.workflow_runs.iter().filter_map(|run| run.get("repository_id"));
        // What is no number is complained of where it is read.
        let numbers = named.flatten().filter(|repository| repository.parse::<u64>().is_ok());
        for repository in numbers.filter(|repository| !pinned(repository)) {
            check.problem(
                &format!("environment.{name}.workflow_runs"),
                format!("names the repository {repository}, which is not listed in [[github.app.installation]], so nobody would hear of its runs: add it there"),
            );
        }
    }
}
