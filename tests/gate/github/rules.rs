//! Runs that wait at an environment: answered once, upon what was signed, and on nobody else's word.

use std::time::Duration;

use countersign::config::Config;
use countersign::storage::Storage;
use countersign::storage::audit::verify_ledger;
use reqwest::Method;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::support::cloud_run::{FOR_EVER, fault_at};
use crate::support::database::tamper;
use crate::support::gate::{Engine, Gate, on_both_engines};
use crate::support::github::{REPOSITORY, SECRET, signature_of, with_app};
use crate::support::process::{GateProcess, free_port};

on_both_engines!(
    a_signed_deployment_lets_its_run_on,
    a_rejected_one_does_not,
    a_run_that_asked_for_nothing_is_rejected,
    another_attempt_asks_again,
    several_deployments_are_needed_together,
    a_lost_answer_is_read_back,
    a_killed_gate_answers_once,
    rows_alone_let_nothing_on,
    a_run_that_waits_no_more_is_left_alone,
);

/// The run of the sandbox's usual job.
pub(super) const RUN: u64 = 700_100;

/// The payload that GitHub's schema of the event describes.
pub(super) fn payload(changes: Value) -> Value {
    let mut payload: Value =
        serde_json::from_str(include_str!("../../data/github-deployment-protection-rule.json"))
            .unwrap();
    for (name, value) in changes.as_object().unwrap() {
        payload[name] = value.clone();
    }
    payload
}

/// Another payload each time: GitHub's differ in their times and numbers.
pub(super) fn fresh(gate: &Gate) -> Value {
    let mut fresh = payload(json!({}));
    fresh["deployment"]["id"] = gate.unique().into();
    fresh
}

/// Has the run wait at an environment, and says so as GitHub does.
pub(super) async fn wait_at(gate: &Gate, environment: &str, attempt: u64) {
    let run = json!({
        "repository": REPOSITORY,
        "id": RUN,
        "waiting": [environment],
        "members": {"run_attempt": attempt},
    });
    gate.sandbox(Method::POST, "/_sandbox/github/runs", Some(run)).await;
    let mut body = fresh(gate);
    body["environment"] = environment.into();
    let answer = deliver(gate, &body).await;
    assert_eq!(answer, 202);
}

/// A delivery under a name of its own, well signed.
pub(super) async fn deliver(gate: &Gate, body: &Value) -> u16 {
    let text = body.to_string();
    let id = format!("0b989ba4-242f-11e5-81e1-{:012}", gate.unique());
    let signature = signature_of(SECRET, text.as_bytes());
    let event = "deployment_protection_rule";
    gate.webhook(&signature, &id, event, text.as_bytes()).await.status.as_u16()
}

/// What the App answered the run.
pub(super) async fn answers(gate: &Gate) -> Vec<Value> {
    let all = gate.sandbox(Method::GET, "/_sandbox/github", None).await;
    let runs = all["runs"].as_array().unwrap();
    runs.iter().flat_map(|run| run["answers"].as_array().unwrap().clone()).collect()
}

pub(super) async fn until_answered(gate: &Gate, state: &str) -> Value {
    gate.until("the run is answered", async || !answers(gate).await.is_empty()).await;
    let answers = answers(gate).await;
    assert_eq!(answers.len(), 1, "{answers:#?}");
    assert_eq!(answers[0]["state"], state, "{answers:#?}");
    answers[0].clone()
}

/// No rule is open, and the answers stand in the ledger as often as this.
pub(super) async fn finish(gate: Gate, announced: usize, answered: usize) {
    gate.until("every run was dealt with", async || open(&gate).await == 0).await;
    let entries = entries(&gate).await;
    let count = |kind: &str| entries.iter().filter(|entry| entry.as_str() == kind).count();
    assert_eq!(
        (count("github.answer_announced"), count("github.run_answered")),
        (announced, answered),
        "{entries:?}"
    );
    gate.finish().await;
}

async fn beside(gate: &Gate) -> Storage {
    let config =
        Config::load(&gate.servers.files.config, &std::collections::BTreeMap::new()).unwrap();
    Storage::open_beside(config.database.expose_secret(), config.log_key.clone()).await.unwrap()
}

pub(super) async fn open(gate: &Gate) -> u64 {
    let storage = beside(gate).await;
    let open = storage.rules_open().await.unwrap();
    storage.close().await;
    open
}

/// The kinds of all entries of the ledger, in order.
async fn entries(gate: &Gate) -> Vec<String> {
    let storage = beside(gate).await;
    let mut kinds = Vec::new();
    loop {
        let page = storage.entries(kinds.len() as u64, 500).await.unwrap();
        if page.is_empty() {
            break;
        }
        for entry in page {
            let record: Value = serde_json::from_str(&entry.record).unwrap();
            kinds.push(record["kind"].as_str().unwrap().to_owned());
        }
    }
    let report = verify_ledger(&storage).await.unwrap();
    assert!(report.findings.is_empty(), "{:#?}", report.findings);
    storage.close().await;
    kinds
}

async fn a_signed_deployment_lets_its_run_on(engine: Engine) {
    let gate = Gate::start_with_app(engine).await;
    let mut alice = gate.approver("alice").await;
    let asked = gate.ask(json!({})).await;
    let (id, code) = (asked.id(), asked.body["short_code"].as_str().unwrap().to_owned());
    wait_at(&gate, "production", 1).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(answers(&gate).await.is_empty());
    alice.approve(&id).await.unwrap();
    let answer = until_answered(&gate, "approved").await;
    let comment = answer["comment"].as_str().unwrap();
    assert!(comment.contains(&code) && comment.contains("approved by Alice"), "{comment}");
    assert!(comment.contains(&gate.url(&format!("/approvals/{id}"))), "{comment}");
    assert_eq!(answer["environment_name"], "production");
    gate.ended(&id).await;
    finish(gate, 1, 1).await;
}

async fn a_rejected_one_does_not(engine: Engine) {
    let gate = Gate::start_with_app(engine).await;
    let mut alice = gate.approver("alice").await;
    let id = gate.asked(json!({})).await;
    alice.decide(&id, json!({"decision": "reject", "reason": "not today"})).await.unwrap();
    // Decided before the run came to its environment.
    wait_at(&gate, "production", 1).await;
    let answer = until_answered(&gate, "rejected").await;
    assert!(answer["comment"].as_str().unwrap().contains("rejected by Alice"), "{answer}");
    finish(gate, 1, 1).await;
}

async fn a_run_that_asked_for_nothing_is_rejected(engine: Engine) {
    let gate = Gate::start_with_app(engine).await;
    let mut alice = gate.approver("alice").await;
    // Of another run, of another environment of this run.
    let token = gate.token(json!({"run_id": "700101"})).await;
    let other = gate.ask_as(&token, "other", &gate.request_body(json!({}))).await.id();
    alice.approve(&other).await.unwrap();
    wait_at(&gate, "production", 1).await;
    let answer = until_answered(&gate, "rejected").await;
    assert!(answer["comment"].as_str().unwrap().contains("asked for no deployment"), "{answer}");
    gate.ended(&other).await;
    finish(gate, 1, 1).await;
}

async fn another_attempt_asks_again(engine: Engine) {
    let gate = Gate::start_with_app(engine).await;
    let mut alice = gate.approver("alice").await;
    let id = gate.asked(json!({})).await;
    alice.approve(&id).await.unwrap();
    gate.ended(&id).await;
    wait_at(&gate, "production", 2).await;
    let answer = until_answered(&gate, "rejected").await;
    let comment = answer["comment"].as_str().unwrap();
    assert!(comment.contains("Attempt 2") && comment.contains("re-run"), "{comment}");
    finish(gate, 1, 1).await;
}

async fn several_deployments_are_needed_together(engine: Engine) {
    let gate = Gate::start_with_app(engine).await;
    let mut alice = gate.approver("alice").await;
    let first = gate.asked(json!({})).await;
    let second = gate
        .asked(json!({"subject": {"service": crate::support::gate::NEW_SERVICE, "steps": [100]}}))
        .await;
    wait_at(&gate, "production", 1).await;
    alice.approve(&first).await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(answers(&gate).await.is_empty());
    alice.approve(&second).await.unwrap();
    let answer = until_answered(&gate, "approved").await;
    let comment = answer["comment"].as_str().unwrap();
    assert!(comment.contains(&first) && comment.contains(&second), "{comment}");
    gate.ended(&first).await;
    gate.ended(&second).await;
    finish(gate, 1, 1).await;
}

async fn a_lost_answer_is_read_back(engine: Engine) {
    let gate = Gate::start_with_app(engine).await;
    let mut alice = gate.approver("alice").await;
    let id = gate.asked(json!({})).await;
    let lost = json!({"kind": "lost_reply"});
    gate.fault(fault_at("POST", "/deployment_protection_rule", 1, lost)).await;
    wait_at(&gate, "production", 1).await;
    alice.approve(&id).await.unwrap();
    until_answered(&gate, "approved").await;
    gate.ended(&id).await;
    gate.until("it was read back", async || open(&gate).await == 0).await;
    assert_eq!(gate.calls("POST", "/deployment_protection_rule").await.len(), 1);
    // And one that was not carried out is given again.
    let again = gate.token(json!({"run_attempt": "2"})).await;
    let second = gate.ask_as(&again, "second", &gate.request_body(json!({}))).await.id();
    let failed = json!({"kind": "status", "code": 502});
    gate.fault(fault_at("POST", "/deployment_protection_rule", 1, failed)).await;
    wait_at(&gate, "production", 2).await;
    alice.approve(&second).await.unwrap();
    gate.until("it is answered", async || answers(&gate).await.len() == 2).await;
    gate.ended(&second).await;
    finish(gate, 2, 2).await;
}

async fn a_killed_gate_answers_once(engine: Engine) {
    let gate = Gate::around(engine, free_port()).await;
    gate.servers.files.edit_config(with_app).unwrap();
    gate.register_app(&[REPOSITORY]).await;
    let mut process = GateProcess::start(&gate).await;
    let mut alice = gate.approver("alice").await;
    let held = |after: bool| json!({"kind": "delay", "milliseconds": FOR_EVER, "after": after});
    for (attempt, after) in [(1_u64, true), (2, false)] {
        let token = gate.token(json!({"run_attempt": attempt.to_string()})).await;
        let key = format!("attempt {attempt}");
        let id = gate.ask_as(&token, &key, &gate.request_body(json!({}))).await.id();
        let rule = fault_at("POST", "/deployment_protection_rule", 1, held(after));
        let hit = gate.fault(rule).await;
        wait_at(&gate, "production", attempt).await;
        alice.approve(&id).await.unwrap();
        gate.until_hit(hit).await;
        if after {
            gate.until("it took effect", async || answers(&gate).await.len() == 1).await;
        }
        gate.ended(&id).await;
        process.kill().await;
        if engine == Engine::Postgres {
            let end = "UPDATE github_speaker SET owner = NULL, lease_until = NULL";
            tamper(&gate, engine, &[end]).await;
        }
        process.start_again().await;
        gate.until("it is answered", async || answers(&gate).await.len() as u64 == attempt).await;
        gate.until("it is written down", async || open(&gate).await == 0).await;
    }
    process.end().await;
    finish(gate, 2, 2).await;
}

/// Whoever has the database alone lets no run on.
async fn rows_alone_let_nothing_on(engine: Engine) {
    let gate = Gate::start_with_app(engine).await;
    let id = gate.asked(json!({})).await;
    let run = json!({"repository": REPOSITORY, "id": RUN, "waiting": ["production"]});
    gate.sandbox(Method::POST, "/_sandbox/github/runs", Some(run)).await;
    let planted = format!(
        "INSERT INTO github_rules (delivery, body_digest, repository_id, run_id, environment, \
         attempt, announced, received_at, due_at, attempts) \
         VALUES ('planted', '{}', {REPOSITORY}, {RUN}, 'production', 1, 'approved', 0, 0, 0)",
        "0".repeat(64)
    );
    let approved = r#"{"at":"2026-03-02T09:00:00Z","status":"approved"}"#;
    let row = format!(
        "UPDATE approvals SET status = 'approved', version = 2, state = '{approved}' WHERE id = '{id}'"
    );
    tamper(&gate, engine, &[&row, &planted]).await;
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert!(answers(&gate).await.iter().all(|answer| answer["state"] == "rejected"));
    gate.servers.stop().await;
}

async fn a_run_that_waits_no_more_is_left_alone(engine: Engine) {
    let gate = Gate::start_with_app(engine).await;
    let run = json!({"repository": REPOSITORY, "id": RUN, "waiting": ["staging"]});
    gate.sandbox(Method::POST, "/_sandbox/github/runs", Some(run)).await;
    assert_eq!(deliver(&gate, &fresh(&gate)).await, 202);
    // And one of a run that is not there.
    let mut elsewhere = fresh(&gate);
    let callback =
        "https://api.github.com/repos/demo/web/actions/runs/1/deployment_protection_rule";
    elsewhere["deployment_callback_url"] = callback.into();
    assert_eq!(deliver(&gate, &elsewhere).await, 202);
    gate.until("both are dealt with", async || open(&gate).await == 0).await;
    assert!(answers(&gate).await.is_empty());
    finish(gate, 0, 2).await;
}
