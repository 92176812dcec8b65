//! GitHub sees what happens: each state once, whatever goes wrong on the way.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::cloud_run::{FOR_EVER, fault_at};
use crate::support::database::tamper;
use crate::support::gate::{Engine, Gate, on_both_engines};
use crate::support::github::{APP, PULL, REPOSITORY, with_app};
use crate::support::process::{GateProcess, free_port};

on_both_engines!(
    every_state_is_shown_once,
    a_refusal_by_a_person_is_shown,
    lost_answers_make_nothing_twice,
    a_limit_is_waited_for,
    what_the_app_may_not_show_stops_nothing_else,
    a_killed_gate_makes_nothing_twice,
    rows_alone_show_nothing,
    other_repositories_are_not_shown,
    a_pull_request_has_one_comment,
);

/// The commit of the sandbox's usual job.
async fn sha_of(gate: &Gate, id: &str) -> String {
    let approval = gate.approval(id).await;
    approval["requester"]["sha"].as_str().unwrap_or_else(|| panic!("{approval:#}")).to_owned()
}

/// Waits until GitHub shows the check run of the only approval with this conclusion.
async fn until_concluded(gate: &Gate, conclusion: &str) {
    gate.until("GitHub shows the end", async || {
        let runs = gate.at_github("check_runs").await;
        runs.iter().any(|run| run["conclusion"] == conclusion)
    })
    .await;
}

async fn until_shown(gate: &Gate, kind: &str) {
    gate.until("GitHub is shown it", async || !gate.at_github(kind).await.is_empty()).await;
}

/// No call of the gate was one that GitHub does not describe, and no answer one that GitHub would not give.
async fn assert_all_as_described(gate: &Gate) {
    let journal = gate.sandbox(Method::GET, "/_sandbox/journal?path=/github-api", None).await;
    for call in journal["calls"].as_array().unwrap() {
        let injected = !call["faults"].as_array().unwrap().is_empty();
        let fine = call["status"].as_u64().is_none_or(|status| status < 400);
        assert!(fine || injected, "{call:#}");
    }
}

async fn every_state_is_shown_once(engine: Engine) {
    let gate = Gate::start_with_app(engine).await;
    let mut alice = gate.approver("alice").await;
    gate.pull_request("any other commit").await;
    let id = gate.asked(json!({"reason": "See @octocat and `code` <b>now</b>"})).await;
    until_shown(&gate, "check_runs").await;
    let deployments = gate.at_github("deployments").await;
    assert_eq!(deployments.len(), 1);
    assert_eq!(deployments[0]["payload"]["countersign"], id.as_str());
    assert_eq!(deployments[0]["environment"], "production");
    assert_eq!(gate.states_at_github().await, ["pending"]);
    let waiting = &gate.at_github("check_runs").await[0];
    assert_eq!((&waiting["status"], &waiting["external_id"]), (&json!("queued"), &json!(id)));
    let summary = waiting["output"]["summary"].as_str().unwrap();
    assert!(
        summary.contains("| Reason, in their words | `` See @octocat and `code` <b>now</b> `` |"),
        "{summary}"
    );
    assert!(summary.contains("Still needed"), "{summary}");

    alice.approve(&id).await.unwrap();
    let ended = gate.ended(&id).await;
    assert_eq!(ended["status"], "succeeded");
    until_concluded(&gate, "success").await;
    let states = gate.states_at_github().await;
    let order = ["pending", "queued", "in_progress", "success"];
    let places: Vec<usize> =
        states.iter().map(|state| order.iter().position(|one| one == state).unwrap()).collect();
    assert!(places.windows(2).all(|pair| pair[0] < pair[1]), "{states:?}");
    assert_eq!(states.last().unwrap(), "success");
    let last = gate.at_github("statuses").await.pop().unwrap();
    assert_eq!(last["log_url"], gate.url(&format!("/approvals/{id}")));
    assert!(last["environment_url"].as_str().unwrap().starts_with("https://"), "{last}");
    let runs = gate.at_github("check_runs").await;
    assert_eq!(runs.len(), 1);
    assert_eq!(runs[0]["app"]["id"], APP);
    let summary = runs[0]["output"]["summary"].as_str().unwrap();
    assert!(summary.contains("| Approved by | `Alice"), "{summary}");
    assert!(summary.contains(&format!("/approvals/{id}/evidence")), "{summary}");
    assert_eq!(gate.at_github("comments").await.len(), 0);
    assert_all_as_described(&gate).await;
    gate.finish().await;
}

async fn a_refusal_by_a_person_is_shown(engine: Engine) {
    let gate = Gate::start_with_app(engine).await;
    let mut alice = gate.approver("alice").await;
    let id = gate.asked(json!({})).await;
    alice.decide(&id, json!({"decision": "reject", "reason": "not today"})).await.unwrap();
    until_concluded(&gate, "failure").await;
    assert_eq!(gate.states_at_github().await.last().unwrap(), "failure");
    let last = gate.at_github("statuses").await.pop().unwrap();
    assert!(last["description"].as_str().unwrap().starts_with("Rejected by Alice"), "{last}");
    assert_all_as_described(&gate).await;
    gate.finish().await;
}

/// Every write is carried out and its answer lost, or answered with an error all the same.
async fn lost_answers_make_nothing_twice(engine: Engine) {
    let gate = Gate::start_with_app(engine).await;
    let mut alice = gate.approver("alice").await;
    let first = gate.asked(json!({})).await;
    let sha = sha_of(&gate, &first).await;
    gate.pull_request(&sha).await;
    let lost = json!({"kind": "lost_reply"});
    let error = json!({"kind": "status_after_effect", "code": 502});
    for (path, fault) in [
        ("/deployments", &lost),
        ("/statuses", &error),
        ("/check-runs", &lost),
        ("/comments", &error),
    ] {
        gate.fault(fault_at("POST", path, 1, fault.clone())).await;
    }
    gate.fault(fault_at("PATCH", "/check-runs", 1, lost)).await;
    gate.fault(fault_at("PATCH", "/comments", 1, error)).await;
    alice.decide(&first, json!({"decision": "reject"})).await.unwrap();
    let second = gate.asked(json!({})).await;
    gate.until("both are shown", async || {
        let comments = gate.at_github("comments").await;
        let text = comments.first().map(|one| one["body"].to_string()).unwrap_or_default();
        gate.at_github("check_runs").await.len() == 2
            && text.contains("rejected")
            && text.contains(&second)
    })
    .await;
    let deployments = gate.at_github("deployments").await;
    let of =
        |id: &str| deployments.iter().filter(|one| one["payload"]["countersign"] == id).count();
    assert_eq!((of(&first), of(&second)), (1, 1), "{deployments:#?}");
    let states = gate.states_at_github().await;
    let failures = states.iter().filter(|state| *state == "failure").count();
    let pending = states.iter().filter(|state| *state == "pending").count();
    assert_eq!(failures, 1, "{states:?}");
    assert!((1..=2).contains(&pending), "{states:?}");
    assert_eq!(gate.at_github("comments").await.len(), 1);
    assert_all_as_described(&gate).await;
    gate.finish().await;
}

async fn a_limit_is_waited_for(engine: Engine) {
    let gate = Gate::start_with_app(engine).await;
    let limited = json!({"kind": "rate_limited", "retry_after": 2});
    let hit = gate.fault(fault_at("POST", "/check-runs", 1, limited)).await;
    gate.asked(json!({})).await;
    gate.until_hit(hit).await;
    let before = gate.calls("POST", "/github-api/repositories").await.len();
    until_shown(&gate, "check_runs").await;
    let journal = gate.calls("POST", "/github-api/repositories").await;
    let times: Vec<jiff::Timestamp> =
        journal.iter().map(|call| call["time"].as_str().unwrap().parse().unwrap()).collect();
    let pause = times[before].duration_since(times[before - 1]);
    assert!(pause >= jiff::SignedDuration::from_secs(2), "{pause}");
    assert_eq!(gate.at_github("deployments").await.len(), 1);
    assert_eq!(gate.states_at_github().await, ["pending"]);
    gate.finish().await;
}

async fn what_the_app_may_not_show_stops_nothing_else(engine: Engine) {
    let gate = Gate::start_with_app(engine).await;
    let forbidden =
        json!({"kind": "status", "code": 403, "message": "Resource not accessible by integration"});
    let rule = json!({"match": {"method": "POST", "path": "/deployments"}, "times": 0, "fault": forbidden});
    gate.fault(rule).await;
    gate.asked(json!({})).await;
    until_shown(&gate, "check_runs").await;
    assert!(gate.at_github("deployments").await.is_empty());
    gate.finish().await;
}

async fn a_killed_gate_makes_nothing_twice(engine: Engine) {
    let gate = Gate::around(engine, free_port()).await;
    gate.servers.files.edit_config(with_app).unwrap();
    gate.register_app(&[REPOSITORY]).await;
    let mut process = GateProcess::start(&gate).await;
    for (kind, path) in [
        ("deployments", "/deployments"),
        ("statuses", "/statuses"),
        ("check_runs", "/check-runs"),
        ("comments", "/comments"),
    ] {
        let before = gate.at_github(kind).await.len();
        let unanswered = json!({"kind": "delay", "milliseconds": FOR_EVER, "after": true});
        let held = gate.fault(fault_at("POST", path, 1, unanswered)).await;
        let id = gate.asked(json!({})).await;
        let sha = sha_of(&gate, &id).await;
        if kind == "comments" {
            gate.pull_request(&sha).await;
            gate.asked(json!({})).await;
        }
        gate.until_hit(held).await;
        gate.until("it took effect", async || gate.at_github(kind).await.len() > before).await;
        process.kill().await;
        if engine == Engine::Postgres {
            let end = "UPDATE github_speaker SET owner = NULL, lease_until = NULL";
            tamper(&gate, engine, &[end]).await;
        }
        process.start_again().await;
        gate.until("the check is there", async || {
            let runs = gate.at_github("check_runs").await;
            runs.iter().filter(|run| run["external_id"] == id.as_str()).count() == 1
        })
        .await;
    }
    gate.until("all are shown", async || {
        let comments = gate.at_github("comments").await;
        let runs = gate.at_github("check_runs").await;
        runs.len() == 5
            && comments.len() == 1
            && comments[0]["body"].to_string().matches("### ").count() >= 1
    })
    .await;
    let ids = async |kind: &str, member: fn(&Value) -> Value| {
        let mut found: Vec<String> =
            gate.at_github(kind).await.iter().map(|one| member(one).to_string()).collect();
        let all = found.len();
        found.sort();
        found.dedup();
        assert_eq!(found.len(), all, "{kind}: {found:?}");
        all
    };
    assert_eq!(ids("deployments", |one| one["payload"]["countersign"].clone()).await, 5);
    assert_eq!(ids("check_runs", |one| one["external_id"].clone()).await, 5);
    assert_eq!(ids("statuses", |one| one["log_url"].clone()).await, 5);
    process.end().await;
    gate.finish().await;
}

/// Whoever has the database alone makes nothing green at GitHub.
async fn rows_alone_show_nothing(engine: Engine) {
    let gate = Gate::start_with_app(engine).await;
    let id = gate.asked(json!({})).await;
    until_shown(&gate, "check_runs").await;
    let state = r#"{"at":"2026-03-02T09:00:00Z","serving":{"generation":1,"observed_at":"2026-03-02T09:00:00Z","revision":"web-x","traffic":[],"uri":"https://web.example"},"status":"succeeded"}"#;
    let row = format!(
        "UPDATE approvals SET status = 'succeeded', version = 2, state = '{state}' WHERE id = '{id}'"
    );
    let again = "UPDATE github_reports SET wanted = 2, due_at = 0";
    tamper(&gate, engine, &[&row, again]).await;
    let other = gate.asked(json!({})).await;
    gate.until("the next one is shown", async || {
        let runs = gate.at_github("check_runs").await;
        runs.iter().any(|run| run["external_id"] == other.as_str())
    })
    .await;
    let runs = gate.at_github("check_runs").await;
    assert!(runs.iter().all(|run| run["conclusion"].is_null()), "{runs:#?}");
    assert!(gate.states_at_github().await.iter().all(|state| state == "pending"));
    gate.servers.stop().await;
}

async fn other_repositories_are_not_shown(engine: Engine) {
    let gate = Gate::start_with(engine, |config| {
        with_app(config).replace("repositories = [1001]", "repositories = [1002]")
    })
    .await;
    gate.register_app(&[REPOSITORY, 1002]).await;
    let mut alice = gate.approver("alice").await;
    let id = gate.asked(json!({})).await;
    alice.approve(&id).await.unwrap();
    gate.ended(&id).await;
    for kind in ["deployments", "check_runs", "comments"] {
        assert!(gate.at_github(kind).await.is_empty(), "{kind}");
    }
    gate.finish().await;
}

async fn a_pull_request_has_one_comment(engine: Engine) {
    let gate = Gate::start_with_app(engine).await;
    let mut alice = gate.approver("alice").await;
    let first = gate.asked(json!({})).await;
    let sha = sha_of(&gate, &first).await;
    until_shown(&gate, "check_runs").await;
    gate.pull_request(&sha).await;
    let stranger = format!("<!-- countersign of {} -->", gate.servers.gate);
    let stranger = json!({"repository": REPOSITORY, "number": PULL, "body": stranger});
    gate.sandbox(Method::POST, "/_sandbox/github/comments", Some(stranger)).await;
    let second = gate.asked(json!({})).await;
    let third = gate.asked(json!({})).await;
    alice.decide(&second, json!({"decision": "reject"})).await.unwrap();
    let is_told = async || {
        let comments = gate.at_github("comments").await;
        let text = comments.get(1).map(|one| one["body"].to_string()).unwrap_or_default();
        text.contains("rejected") && text.contains(&third) && text.contains(&second)
    };
    gate.until("the comment tells of both", is_told).await;
    let comments = gate.at_github("comments").await;
    assert_eq!(comments.len(), 2, "{comments:#?}");
    assert_eq!(comments[1]["performed_via_github_app"]["id"], APP);
    // Somebody deletes it: with the next change there is one again.
    gate.sandbox(Method::DELETE, "/_sandbox/github/comments", None).await;
    alice.decide(&third, json!({"decision": "reject"})).await.unwrap();
    until_shown(&gate, "comments").await;
    assert_all_but_missing(&gate).await;
    gate.finish().await;
}

/// The comment that somebody deleted was asked for once more, and that is all.
async fn assert_all_but_missing(gate: &Gate) {
    let journal = gate.sandbox(Method::GET, "/_sandbox/journal?path=/github-api", None).await;
    let failed = journal["calls"].as_array().unwrap().iter();
    let failed: Vec<&Value> = failed.filter(|call| call["status"].as_u64() > Some(399)).collect();
    assert!(failed.len() == 1 && failed[0]["status"] == 404, "{failed:#?}");
}
