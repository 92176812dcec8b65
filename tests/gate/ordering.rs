//! Rollouts in an order: each begins when the one before has succeeded, and the first failure stops the rest.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::cloud_run::fault_at;
use crate::support::database::tamper;
use crate::support::gate::{Engine, Gate, NEW_SERVICE, SERVICE, on_both_engines};

on_both_engines!(
    services_roll_out_in_the_order_given,
    the_first_failure_stops_the_rest,
    what_cannot_come_before_is_refused,
    a_row_that_says_it_succeeded_is_not_enough,
);

/// Asks for the second service, after this approval.
async fn asked_after(gate: &Gate, before: &str) -> String {
    gate.asked(json!({"subject": {"service": NEW_SERVICE, "steps": [100], "after": before}})).await
}

async fn services_roll_out_in_the_order_given(engine: Engine) {
    let gate = Gate::start(engine).await;
    gate.ready_delay(0).await;
    let mut alice = gate.approver("alice").await;
    let first = gate.asked(json!({})).await;
    let second = asked_after(&gate, &first).await;
    let shown = gate.approval(&second).await;
    assert_eq!(shown["subject"]["after"], first.as_str(), "{shown:#}");
    let page = alice.browser.open(&format!("/approvals/{second}"), "alice").await.unwrap();
    assert!(page.contains("It begins when") && page.contains(&first), "{page}");
    gate.clear_journal().await;
    // The second is signed first, and still waits for the first.
    alice.approve(&second).await.unwrap();
    gate.until("it waits", async || {
        gate.reason_to_wait(&second).await.is_some_and(|why| why.contains(&first))
    })
    .await;
    let sentence = gate.approval(&second).await["status_sentence"].to_string();
    assert!(sentence.contains(&format!("by itself when {first} has succeeded")), "{sentence}");
    assert_eq!(gate.changes_of_cloud_run().await, 0);
    alice.approve(&first).await.unwrap();
    for id in [&first, &second] {
        let ended = gate.ended(id).await;
        assert_eq!(ended["status"], "succeeded", "{ended:#}");
    }
    let sequence = |call: &Value| call["sequence"].as_u64().unwrap();
    let patches = gate.calls("PATCH", SERVICE).await;
    let created = gate.calls("POST", "/services?").await;
    assert!(sequence(patches.last().unwrap()) < sequence(&created[0]), "{created:#?}");
    gate.finish().await;
}

async fn the_first_failure_stops_the_rest(engine: Engine) {
    let gate = Gate::start(engine).await;
    gate.ready_delay(0).await;
    let mut alice = gate.approver("alice").await;
    let first = gate.asked(json!({})).await;
    let second = asked_after(&gate, &first).await;
    let third = gate.asked(json!({"subject": {"after": second}})).await;
    gate.post(&format!("/v1/approvals/{first}/cancel"), json!({})).await;
    alice.approve(&second).await.unwrap();
    alice.approve(&third).await.unwrap();
    for (id, before, how) in [(&second, &first, "cancelled"), (&third, &second, "failed")] {
        let ended = gate.ended(id).await;
        let sentence = ended["status_sentence"].as_str().unwrap();
        assert_eq!(ended["status"], "failed", "{sentence}");
        let said =
            format!("it was to begin after {before} had succeeded, and that one ended as {how}");
        assert!(sentence.contains(&said), "{sentence}");
    }
    assert_eq!(gate.changes_of_cloud_run().await, 0);

    // One whose rollout fails.
    let first = gate.asked(json!({})).await;
    let second = asked_after(&gate, &first).await;
    gate.fault(fault_at("PATCH", "", 1, json!({"kind": "revision_fails"}))).await;
    alice.approve(&second).await.unwrap();
    alice.approve(&first).await.unwrap();
    assert_eq!(gate.ended(&first).await["status"], "rolled_back");
    let ended = gate.ended(&second).await;
    assert_eq!(ended["status"], "failed");
    assert!(ended["status_sentence"].as_str().unwrap().contains("ended as rolled back"));
    assert!(gate.calls("POST", "/services?").await.is_empty());
    gate.finish().await;
}

async fn what_cannot_come_before_is_refused(engine: Engine) {
    let gate = Gate::start(engine).await;
    let mine = gate.asked(json!({})).await;
    gate.post(&format!("/v1/approvals/{mine}/cancel"), json!({})).await;
    let others = {
        let token = gate.token(json!({"repository_id": "1002", "repository": "demo/other"})).await;
        let asked = gate.ask_as(&token, "another", &gate.request_body(json!({}))).await;
        if asked.status.is_success() {
            asked.id()
        } else {
            "apr_aaaaaaaaaaaaaaaaaaaaaaaaaa".to_owned()
        }
    };
    for (before, says) in [
        ("web", ""),
        ("apr_aaaaaaaaaaaaaaaaaaaaaaaaaa", "you asked for no deployment and no job of this name"),
        (others.as_str(), "you asked for no deployment and no job of this name"),
        (mine.as_str(), "it has ended as cancelled"),
    ] {
        let answer = gate.ask(json!({"subject": {"after": before}})).await;
        answer.assert_problem(422, "invalid_after");
        assert!(answer.body["detail"].as_str().unwrap().contains(says), "{answer:?}");
    }
    gate.finish().await;
}

/// Whoever writes into the database has nothing begin by it.
async fn a_row_that_says_it_succeeded_is_not_enough(engine: Engine) {
    let gate = Gate::start(engine).await;
    gate.ready_delay(0).await;
    let mut alice = gate.approver("alice").await;
    let first = gate.asked(json!({})).await;
    let second = asked_after(&gate, &first).await;
    alice.approve(&second).await.unwrap();
    gate.until("it waits", async || gate.reason_to_wait(&second).await.is_some()).await;
    gate.sandbox(Method::DELETE, "/_sandbox/journal", None).await;
    let done = format!(
        "UPDATE approvals SET status = 'succeeded', version = 2, state = '{{\"status\":\"succeeded\",\"at\":\"2026-01-01T00:00:00Z\"}}' WHERE id = '{first}'"
    );
    tamper(&gate, engine, &[&done]).await;
    let ended = gate.ended(&second).await;
    assert_eq!(ended["status"], "needs_attention", "{ended:#}");
    assert_eq!(gate.changes_of_cloud_run().await, 0);
}
