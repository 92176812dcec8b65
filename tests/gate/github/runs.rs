//! Runs that posted no deployment, where the environment lets people sign for runs: they are asked once for each
//! attempt, on the word of a verified webhook, and what they sign lets the run on and nothing else.

use std::time::Duration;

use countersign::gate::authorise::{NotAuthorised, authorise, authorise_run};
use reqwest::Method;
use serde_json::{Value, json};

use super::rules::{RUN, answers, deliver, finish, fresh, open, until_answered, wait_at};
use crate::freezing::{freeze, lift, production};
use crate::support::cloud_run::fault_at;
use crate::support::database::{reading, tamper};
use crate::support::gate::{Engine, Gate, NEW_SERVICE, on_both_engines};
use crate::support::github::{REPOSITORY, with_app};

on_both_engines!(
    people_are_asked_about_a_run_that_posted_nothing,
    a_run_that_people_refuse_is_rejected,
    a_run_that_is_started_again_asks_again,
    nobody_is_asked_about_other_runs,
    rows_alone_ask_nobody,
    who_started_a_run_cannot_sign_it,
    an_answer_that_was_lost_is_given_again,
    a_freeze_keeps_a_run,
    a_run_that_is_cancelled_asks_for_nothing_more,
    a_deleted_row_hides_no_refusal,
);

/// The configuration in which people sign for runs of main that were pushed.
fn with_runs(config: String) -> String {
    let runs = r#"workflow_runs = [{ repository_id = "1001", branch = "main", event = "push", workflow = ".github/workflows/deploy.yml" }]"#;
    let config = with_app(config);
    let edited = config.replace("actions = [\"restart", &format!("{runs}\nactions = [\"restart"));
    assert_ne!(edited, config);
    edited
}

async fn start(engine: Engine) -> Gate {
    let gate = Gate::start_with(engine, with_runs).await;
    gate.register_app(&[REPOSITORY]).await;
    gate
}

/// The approvals that GitHub is shown, in the order they were made.
async fn shown(gate: &Gate) -> Vec<String> {
    let runs = gate.at_github("check_runs").await;
    runs.iter().map(|run| run["external_id"].as_str().unwrap().to_owned()).collect()
}

/// The newest approval, as soon as there are so many.
async fn asked(gate: &Gate, count: usize) -> String {
    gate.until("people are asked", async || shown(gate).await.len() == count).await;
    shown(gate).await.pop().unwrap()
}

async fn state_of(gate: &Gate, id: &str) -> String {
    let storage = reading(gate).await;
    let stored = storage.approval(&id.parse().unwrap()).await.unwrap().unwrap();
    storage.close().await;
    stored.approval.status().as_str().to_owned()
}

async fn people_are_asked_about_a_run_that_posted_nothing(engine: Engine) {
    let gate = start(engine).await;
    let mut alice = gate.approver("alice").await;
    wait_at(&gate, "production", 1).await;
    let id = asked(&gate, 1).await;
    assert!(answers(&gate).await.is_empty());
    alice.approve(&id).await.unwrap();
    let comment = until_answered(&gate, "approved").await["comment"].to_string();
    assert!(comment.contains("approved by Alice") && comment.contains(&id), "{comment}");
    assert_eq!(state_of(&gate, &id).await, "succeeded");
    assert_eq!(gate.changes_of_cloud_run().await, 0);
    // GitHub made a deployment of its own for the environment, and gets no second one.
    assert!(gate.at_github("deployments").await.is_empty());
    is_no_rollout(&gate, &id).await;
    finish(gate, 1, 1).await;
}

/// What was signed is proved, and makes no rollout.
async fn is_no_rollout(gate: &Gate, id: &str) {
    let config = crate::support::database::config(gate);
    let storage = reading(gate).await;
    let stored = storage.approval(&id.parse().unwrap()).await.unwrap().unwrap();
    let refused = authorise(&storage, &config.trust(), &stored).await.unwrap_err();
    assert!(matches!(refused, NotAuthorised::OtherKind("workflow_run")), "{refused}");
    let run = authorise_run(&storage, &config.trust(), &stored).await.unwrap();
    assert_eq!((run.run().run, run.run().repository.id), (RUN, REPOSITORY));
    storage.close().await;
}

async fn a_run_that_people_refuse_is_rejected(engine: Engine) {
    let gate = start(engine).await;
    let mut alice = gate.approver("alice").await;
    wait_at(&gate, "production", 1).await;
    let id = asked(&gate, 1).await;
    alice.decide(&id, json!({"decision": "reject", "reason": "not today"})).await.unwrap();
    let answer = until_answered(&gate, "rejected").await;
    assert!(answer["comment"].as_str().unwrap().contains("rejected by Alice"), "{answer}");
    // Another webhook of the same attempt asks nobody again.
    wait_at(&gate, "production", 1).await;
    gate.until("it is answered as well", async || answers(&gate).await.len() == 2).await;
    assert_eq!(shown(&gate).await.len(), 1);
    finish(gate, 2, 2).await;
}

async fn a_run_that_is_started_again_asks_again(engine: Engine) {
    let gate = start(engine).await;
    let mut alice = gate.approver("alice").await;
    wait_at(&gate, "production", 1).await;
    let first = asked(&gate, 1).await;
    alice.approve(&first).await.unwrap();
    until_answered(&gate, "approved").await;
    wait_at(&gate, "production", 2).await;
    let second = asked(&gate, 2).await;
    assert_ne!(first, second);
    assert_eq!(answers(&gate).await.len(), 1);
    alice.approve(&second).await.unwrap();
    gate.until("it is answered", async || answers(&gate).await.len() == 2).await;
    finish(gate, 2, 2).await;
}

async fn nobody_is_asked_about_other_runs(engine: Engine) {
    let gate = start(engine).await;
    let others = [
        json!({"head_branch": "feature"}),
        json!({"head_branch": null}),
        json!({"event": "pull_request"}),
        json!({"event": "workflow_dispatch"}),
        json!({"path": ".github/workflows/other.yml"}),
        json!({"path": ".github/workflows/other.yml@refs/heads/main"}),
    ];
    for (place, members) in others.iter().enumerate() {
        let run = json!({
            "repository": REPOSITORY, "id": RUN, "waiting": ["production"], "members": members,
        });
        gate.sandbox(Method::POST, "/_sandbox/github/runs", Some(run)).await;
        assert_eq!(deliver(&gate, &fresh(&gate)).await, 202);
        let is_answered = async || answers(&gate).await.len() == place + 1;
        gate.until("it is answered", is_answered).await;
        let answer = answers(&gate).await.pop().unwrap();
        assert_eq!(answer["state"], "rejected", "{members}");
        assert!(answer["comment"].to_string().contains("nobody signs for runs"), "{answer}");
    }
    assert!(shown(&gate).await.is_empty());
    finish(gate, others.len(), others.len()).await;
}

/// Whoever has the database alone has nobody asked in GitHub's name.
async fn rows_alone_ask_nobody(engine: Engine) {
    let gate = start(engine).await;
    let run = json!({"repository": REPOSITORY, "id": RUN, "waiting": ["production"]});
    gate.sandbox(Method::POST, "/_sandbox/github/runs", Some(run)).await;
    let planted = format!(
        "INSERT INTO github_rules (delivery, body_digest, repository_id, run_id, environment, \
         received_at, due_at, attempts) \
         VALUES ('planted', '{}', {REPOSITORY}, {RUN}, 'production', 0, 0, 0)",
        "0".repeat(64)
    );
    tamper(&gate, engine, &[&planted]).await;
    let answer = until_answered(&gate, "rejected").await;
    assert!(answer["comment"].to_string().contains("holds no webhook"), "{answer}");
    assert!(shown(&gate).await.is_empty());
    finish(gate, 1, 1).await;
}

async fn who_started_a_run_cannot_sign_it(engine: Engine) {
    let gate = Gate::start_with(engine, |config| {
        let accounts = "github_accounts = { 9002 = \"u-alice\" }\nactions = [\"restart";
        with_runs(config).replace("actions = [\"restart", accounts)
    })
    .await;
    gate.register_app(&[REPOSITORY]).await;
    let mut alice = gate.approver("alice").await;
    let run = json!({
        "repository": REPOSITORY, "id": RUN, "waiting": ["production"],
        "members": {"triggering_actor": {"id": 9002, "login": "alice-at-github"}, "run_attempt": 2},
    });
    gate.sandbox(Method::POST, "/_sandbox/github/runs", Some(run)).await;
    assert_eq!(deliver(&gate, &fresh(&gate)).await, 202);
    let id = asked(&gate, 1).await;
    let refused = alice.approve(&id).await.unwrap_err();
    assert!(
        refused.contains("own_request") || refused.contains("counts as its requester"),
        "{refused}"
    );
    assert!(answers(&gate).await.is_empty());
    gate.finish().await;
}

/// By then the approval is used up, and lets on the run that it was used for.
async fn an_answer_that_was_lost_is_given_again(engine: Engine) {
    let gate = start(engine).await;
    let mut alice = gate.approver("alice").await;
    let failed = json!({"kind": "status", "code": 502});
    gate.fault(fault_at("POST", "/deployment_protection_rule", 1, failed)).await;
    wait_at(&gate, "production", 1).await;
    let id = asked(&gate, 1).await;
    alice.approve(&id).await.unwrap();
    until_answered(&gate, "approved").await;
    assert_eq!(gate.calls("POST", "/deployment_protection_rule").await.len(), 2);
    assert_eq!(state_of(&gate, &id).await, "succeeded");
    finish(gate, 1, 1).await;
}

async fn a_freeze_keeps_a_run(engine: Engine) {
    let gate = start(engine).await;
    let mut alice = gate.approver("alice").await;
    let frozen = freeze(&mut alice, &production()).await;
    wait_at(&gate, "production", 1).await;
    let id = asked(&gate, 1).await;
    alice.approve(&id).await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(answers(&gate).await.is_empty());
    assert_eq!(state_of(&gate, &id).await, "approved");
    lift(&mut alice, &frozen, &production()).await;
    until_answered(&gate, "approved").await;
    finish(gate, 1, 1).await;
}

async fn a_run_that_is_cancelled_asks_for_nothing_more(engine: Engine) {
    let gate = start(engine).await;
    wait_at(&gate, "production", 1).await;
    let id = asked(&gate, 1).await;
    let run = json!({"repository": REPOSITORY, "id": RUN, "waiting": []});
    gate.sandbox(Method::POST, "/_sandbox/github/runs", Some(run)).await;
    tamper(&gate, engine, &["UPDATE github_rules SET due_at = 0"]).await;
    gate.until("it is over", async || state_of(&gate, &id).await == "cancelled").await;
    assert!(answers(&gate).await.is_empty());
    finish(gate, 0, 1).await;
}

/// Whoever can delete rows hides from the gate neither what was refused nor that something was asked for.
async fn a_deleted_row_hides_no_refusal(engine: Engine) {
    let gate = Gate::start_with_app(engine).await;
    let mut alice = gate.approver("alice").await;
    let refused = gate.asked(json!({})).await;
    let other = json!({"subject": {"service": NEW_SERVICE, "steps": [100]}});
    let good = gate.asked(other).await;
    alice.decide(&refused, json!({"decision": "reject", "reason": "no"})).await.unwrap();
    alice.approve(&good).await.unwrap();
    gate.ended(&good).await;
    let gone =
        |table: &str, column: &str| format!("DELETE FROM {table} WHERE {column} = '{refused}'");
    tamper(&gate, engine, &[&gone("github_reports", "approval_id")]).await;
    wait_at(&gate, "production", 1).await;
    let answer = until_answered(&gate, "rejected").await;
    assert!(answer["comment"].to_string().contains("rejected by Alice"), "{answer}");
    // And with everything of it gone but the entries, which the log key signed.
    tamper(&gate, engine, &[&gone("decisions", "approval_id"), &gone("approvals", "id")]).await;
    wait_at(&gate, "production", 1).await;
    gate.until("it is answered", async || answers(&gate).await.len() == 2).await;
    let all: Vec<Value> = answers(&gate).await;
    assert!(all.iter().all(|answer| answer["state"] == "rejected"), "{all:#?}");
    gate.until("all is dealt with", async || open(&gate).await == 0).await;
    gate.servers.stop().await;
}
