//! `[github.app]`: what an App needs, and what counts of what GitHub says.

use super::{Folder, GOOD};
use crate::support::github::private_key;

const APP: &str = r#"
[github.app]
id = 123456
private_key_file = "app.pem"
webhook_secret_file = "webhook"
[[github.app.installation]]
id = 42
repositories = [1001, 1002]
"#;

fn with(app: &str) -> Folder {
    let folder = Folder::new(&format!("{GOOD}\n{app}"));
    folder.write("app.pem", &private_key());
    folder.write("webhook", &"s3cret".repeat(6));
    folder
}

#[test]
fn an_app_is_what_it_says() {
    let config = with(APP).accepted();
    let app = config.github.as_ref().unwrap().app.as_ref().unwrap();
    assert_eq!((app.id, app.installations[0].id, app.shows.len()), (123_456, 42, 3));
    assert!(app.installations[0].repositories.contains(&1002));
    assert!(
        config
            .summary()
            .contains("repositories pinned: 2, shown there: deployments, checks, comments")
    );
    assert!(!format!("{config:?}").contains("s3cret") && !config.summary().contains("s3cret"));
    let some = with(&APP.replace("id = 123456", "id = 123456\nshows = [\"check\"]")).accepted();
    assert!(some.summary().contains("shown there: checks\n"));
    assert_ne!(config.digest().unwrap(), some.digest().unwrap());
    let none = with(&APP.replace("id = 123456", "id = 123456\nshows = []")).accepted();
    assert!(none.summary().contains("shown there: nothing"));
}

#[test]
fn an_app_that_cannot_be_meant_is_refused() {
    let refused = |part: &str, replacement: &str, key: &str, says: &str| {
        assert!(APP.contains(part), "{part}");
        with(&APP.replace(part, replacement)).assert_refused(key, says);
    };
    refused("id = 123456\n", "", "github.app.id", "App ID");
    let key = "github.app.private_key_file";
    refused("private_key_file = \"app.pem\"\n", "", key, "is missing");
    refused("app.pem", "webhook", key, "no RSA private key");
    let key = "github.app.webhook_secret_file";
    refused("webhook_secret_file = \"webhook\"\n", "", key, "is missing");
    let short = with(APP);
    short.write("webhook", "guessable");
    short.assert_refused(key, "openssl rand -hex 32");
    let key = "github.app.installation.repositories";
    refused("[1001, 1002]", "[]", key, "is empty for 42");
    let twice = "[1001]\n[[github.app.installation]]\nid = 43\nrepositories = [1001]";
    refused("[1001, 1002]", twice, key, "1001 is listed twice");
    let (_, installation) = APP.split_once("[[").unwrap();
    refused(&format!("[[{installation}"), "", "github.app.installation", "is missing");
    let unknown = with(&APP.replace("id = 123456", "id = 123456\nsecret = \"s3cret\"")).refused();
    assert!(unknown.concat().contains("secret"), "{unknown:?}");
}

const PRODUCTION: &str = "[environment.production]\n";
const RUNS: &str = r#"workflow_runs = [{ repository_id = "1001", branch = ["main", "release/*"], event = "push" }]
github_accounts = { 583231 = "u-alice" }
"#;

fn with_runs(runs: &str) -> Folder {
    let folder = with(APP);
    let text = format!("{GOOD}\n{APP}").replace(PRODUCTION, &format!("{PRODUCTION}{runs}"));
    folder.write("countersign.toml", &text);
    folder
}

#[test]
fn runs_that_people_sign_for_are_listed() {
    let config = with_runs(RUNS).accepted();
    let policy = &config.environments["production"];
    assert_eq!(policy.workflow_runs[0]["branch"], ["main", "release/*"]);
    assert_eq!(policy.github_accounts["583231"], "u-alice");
    let summary = config.summary();
    assert!(
        summary.contains("branch main or release/*, event push, repository_id 1001"),
        "{summary}"
    );
    assert_ne!(config.digest().unwrap(), with_runs("").accepted().digest().unwrap());
    // Nothing of it stands in the policy of an environment that lists none.
    let (text, _) = config.environments["staging"].canonical().unwrap();
    assert!(!text.contains("workflow_runs") && !text.contains("github_accounts"), "{text}");
}

#[test]
fn runs_that_cannot_be_meant_are_refused() {
    let refused = |part: &str, replacement: &str, says: &str| {
        assert!(RUNS.contains(part), "{part}");
        let key = match part.contains("u-alice") {
            true => "environment.production.github_accounts",
            false => "environment.production.workflow_runs",
        };
        with_runs(&RUNS.replace(part, replacement)).assert_refused(key, says);
    };
    refused("repository_id = \"1001\", ", "", "does not say repository_id");
    refused("branch = [\"main\", \"release/*\"], ", "", "does not say branch");
    refused(", event = \"push\"", "", "does not say event");
    refused("\"push\"", "\"pull_request\"", "nobody has looked at");
    refused("\"push\"", "\"pull_request_target\"", "nobody has looked at");
    refused("\"push\"", "[\"push\", \"workflow_run\"]", "nobody has looked at");
    refused("\"push\"", "\"*\"", "nobody has looked at");
    refused("\"push\"", "\"pull*\"", "nobody has looked at");
    refused("\"push\"", "[]", "lists no value for event");
    refused("[\"main\", \"release/*\"]", "\"*\"", "which anything matches");
    refused("[\"main\", \"release/*\"]", "\"*/main\"", "at the end alone");
    refused("\"1001\"", "\"10*\"", "whole numbers");
    refused("\"1001\"", "\"1003\"", "not listed in [[github.app.installation]]");
    refused("event = \"push\"", "event = \"push\", actor = \"erin\"", "names \"actor\"");
    refused("583231 = \"u-alice\"", "octocat = \"u-alice\"", "write GitHub's number");
    refused("583231 = \"u-alice\"", "583231 = \"\"", "write GitHub's number");
    refused("583231 = \"u-alice\"", "0583231 = \"u-alice\"", "write GitHub's number");
    // Without an App nobody hears of runs.
    let none = Folder::new(&GOOD.replace(PRODUCTION, &format!("{PRODUCTION}{RUNS}")));
    none.assert_refused("environment.production.workflow_runs", "nobody would hear of its runs");
    let issuer = Folder::with("name = \"github\"", "name = \"github-webhook\"");
    assert!(issuer.refused().concat().contains("stands for the gate itself"));
}

#[test]
fn separation_needs_what_it_asks() {
    let with = |login: &str, github: &str, separation: &str| {
        let text = GOOD
            .replace("[login]\n", &format!("[login]\n{login}\n"))
            .replace("[log]\n", &format!("{github}\n[log]\n"))
            .replace("steps = [10, 100]", &format!("steps = [10, 100]\n{separation}"));
        Folder::new(&text)
    };
    let (claim, github) = ("github_id_claim = \"github_id\"", "[github]");
    let commit = "9b2f6c1d0e3a4b5c6d7e8f9a0b1c2d3e4f5a6b7c";
    let based = format!("separation = {{ bases = {{ 1001 = \"{commit}\" }} }}");
    let config = with(claim, github, &based).accepted();
    let rules = config.environments["production"].separation.clone().unwrap();
    assert_eq!(rules.github_id_claim.as_deref(), Some("github_id"));
    assert_eq!(rules.bases["1001"], commit);
    assert!(config.environments["staging"].separation.is_none());
    let listed = "separation = {}\ngithub_accounts = { 4101 = \"u-alice\" }";
    with("", github, listed).accepted();

    let key = "environment.production.separation";
    with(claim, "", "separation = {}").assert_refused(key, "there is no [github] to ask");
    with("", github, "separation = {}").assert_refused(key, "so nobody could sign");
    for bases in ["web = \"main\"", "1001 = \"9b2f6c1\"", &format!("01 = \"{commit}\"")] {
        let separation = format!("separation = {{ bases = {{ {bases} }} }}");
        let key = "environment.production.separation.bases";
        with(claim, github, &separation).assert_refused(key, "GitHub's number of the repository");
    }
    let empty = with("github_id_claim = \"\"", github, listed);
    empty.assert_refused("login.github_id_claim", "leave it out");
    let runs = "separation = {}\nworkflow_runs = [{ repository_id = \"1001\", branch = \"main\", event = \"push\" }]";
    let said = with(claim, github, runs).refused().join(" ");
    assert!(said.contains("cannot hold for workflow_runs"), "{said}");
}
