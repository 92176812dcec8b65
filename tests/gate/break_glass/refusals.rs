//! Who breaks no glass, and what breaks none.

use serde_json::json;

use super::{BOB, breaking, exceptions, glass, review};
use crate::agents::{Agent, credentials};
use crate::evidence::tamper;
use crate::support::gate::{Engine, Gate, on_both_engines};

on_both_engines!(
    where_the_rules_name_nobody_nobody_may,
    who_may_not_and_what_is_not_said,
    whoever_asked_breaks_no_glass,
    a_row_breaks_no_glass,
    nobody_else_is_somebody_else,
);

async fn where_the_rules_name_nobody_nobody_may(engine: Engine) {
    let gate = Gate::start(engine).await;
    let mut bob = gate.approver("bob").await;
    let id = gate.asked(json!({})).await;
    let refused = bob.decide(&id, breaking("The checkout is down")).await.unwrap_err();
    assert!(refused.contains("403") && refused.contains("no_break_glass"), "{refused}");
    let page = bob.browser.open(&format!("/approvals/{id}"), "bob").await.unwrap();
    assert!(!page.contains("Break the glass"), "{page}");
    assert!(exceptions(&gate).await.is_empty());
    gate.finish().await;
}

async fn who_may_not_and_what_is_not_said(engine: Engine) {
    let gate = Gate::start_with(engine, glass(BOB)).await;
    let mut alice = gate.approver("alice").await;
    let mut bob = gate.approver("bob").await;
    let id = gate.asked(json!({})).await;
    let refused = alice.decide(&id, breaking("The checkout is down")).await.unwrap_err();
    assert!(refused.contains("403") && refused.contains("may_not_break_glass"), "{refused}");
    for silent in [json!({"decision": "break_glass"}), breaking(""), breaking(" \n ")] {
        let refused = bob.decide(&id, silent).await.unwrap_err();
        assert!(refused.contains("422") && refused.contains("reason_missing"), "{refused}");
    }
    let refused = bob.decide(&id, breaking(&"x".repeat(1001))).await.unwrap_err();
    assert!(refused.contains("invalid_text"), "{refused}");
    // A stranger learns nothing of it.
    let mut dan = gate.approver("dan").await;
    let refused = dan.decide(&id, breaking("The checkout is down")).await.unwrap_err();
    assert!(refused.contains("404"), "{refused}");
    // One gesture for many is for yes and no.
    let batch = json!({"decision": "break_glass", "reason": "All", "approvals": [id]});
    let path = format!("/approvals/{id}/batch/statements");
    bob.browser.post(&path, &batch).await.unwrap_err();
    // What was signed once is used up.
    let statement = bob.statement(&id, breaking("The checkout is down")).await.unwrap();
    let other = gate.asked(json!({})).await;
    let refused = bob.sign(&other, &statement, &[]).await.unwrap_err();
    assert!(refused.contains("stale_page"), "{refused}");
    bob.sign(&id, &statement, &[]).await.unwrap();
    let refused = bob.sign(&id, &statement, &[]).await.unwrap_err();
    assert!(refused.contains("409"), "{refused}");
    assert_eq!(gate.ended(&id).await["status"], "succeeded");
    let refused = bob.decide(&id, breaking("Again")).await.unwrap_err();
    assert!(refused.contains("approval_closed"), "{refused}");
    assert_eq!(exceptions(&gate).await.len(), 1);
    gate.post(&format!("/v1/approvals/{other}/cancel"), json!({})).await;
    gate.finish().await;
}

async fn whoever_asked_breaks_no_glass(engine: Engine) {
    let gate = credentials::gate_with(engine, glass(BOB)).await;
    let mut bob = gate.approver("bob").await;
    let (_, bearer) = credentials::issue(&mut bob).await;
    let agent = Agent::with_token(&gate, bearer);
    let id = agent.asked(json!({})).await;
    let refused = bob.decide(&id, breaking("My agent needs it")).await.unwrap_err();
    assert!(refused.contains("403") && refused.contains("own_request"), "{refused}");
    assert_eq!(gate.changes_of_cloud_run().await, 0);
    gate.finish().await;
}

/// Somebody has the database and a pending approval that one of two has signed.
async fn a_row_breaks_no_glass(engine: Engine) {
    let gate = Gate::start_with(engine, glass(BOB)).await;
    let mut alice = gate.approver("alice").await;
    let mut bob = gate.approver("bob").await;
    let id = gate.asked(json!({})).await;
    alice.approve(&id).await.unwrap();
    // The verdict of a signed yes becomes another, and the name another person's.
    tamper(
        &gate,
        &format!(
            "UPDATE approvals SET decisions = replace(replace(decisions, '\"approve\"', '\"break_glass\"'), 'u-alice', 'u-bob') WHERE id = '{id}'"
        ),
    )
    .await;
    let statement = bob.statement(&id, json!({"decision": "approve"})).await;
    if let Ok(statement) = statement {
        let _ = bob.sign(&id, &statement, &[]).await;
    }
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    assert_eq!(gate.changes_of_cloud_run().await, 0);
    assert!(exceptions(&gate).await.is_empty());
    gate.servers.stop().await;
}

async fn nobody_else_is_somebody_else(engine: Engine) {
    let gate = Gate::start_with(engine, glass(BOB)).await;
    gate.ready_delay(0).await;
    let mut alice = gate.approver("alice").await;
    let mut bob = gate.approver("bob").await;
    let mut carol = gate.approver("carol").await;
    let id = gate.asked(json!({"subject": {"steps": [100]}})).await;
    bob.decide(&id, breaking("The checkout is down")).await.unwrap();
    gate.ended(&id).await;
    let entry = exceptions(&gate).await[0]["entry"].as_u64().unwrap();
    let refused = review(&mut bob, entry, "I know it was in order").await.unwrap_err();
    assert!(refused.contains("403") && refused.contains("own_exception"), "{refused}");
    let refused = review(&mut alice, entry, "  ").await.unwrap_err();
    assert!(refused.contains("422") && refused.contains("reason_missing"), "{refused}");
    let refused = review(&mut alice, entry + 1, "Another").await.unwrap_err();
    assert!(refused.contains("404"), "{refused}");
    // The statement of one person is signed by no other, and in no other place.
    let statements = format!("/exceptions/{entry}/statements");
    let words = json!({"explanation": "In order"});
    let prepared = alice.browser.post(&statements, &words).await.unwrap();
    let late = carol.browser.post(&statements, &words).await.unwrap();
    let late = carol.signed(&late, &[]).unwrap();
    let mut stolen = late.clone();
    stolen["nonce"] = prepared["nonce"].clone();
    let reviews = format!("/exceptions/{entry}/reviews");
    let refused = carol.browser.post(&reviews, &stolen).await.unwrap_err();
    assert!(refused.contains("stale_page"), "{refused}");
    let other = gate.asked(json!({})).await;
    let refused = alice.sign(&other, &prepared, &[]).await.unwrap_err();
    assert!(refused.contains("stale_page"), "{refused}");
    // Two sign at once: one of them closes it.
    let signed = alice.signed(&prepared, &[]).unwrap();
    alice.browser.post(&reviews, &signed).await.unwrap();
    let refused = carol.browser.post(&reviews, &late).await.unwrap_err();
    assert!(refused.contains("409") && refused.contains("exception_closed"), "{refused}");
    gate.post(&format!("/v1/approvals/{other}/cancel"), json!({})).await;
    gate.finish().await;
}
