//! Killed while people and pipelines call the gate, and at moments that nothing outside can name.

use std::time::Duration;

use countersign::randomness;
use serde_json::json;

use super::{end_leases, gate_and_process};
use crate::support::cloud_run::{FOR_EVER, fault_at};
use crate::support::gate::{Engine, on_both_engines, send};

on_both_engines!(
    an_approval_is_asked_for_once,
    a_decision_counts_or_can_be_given_again,
    a_registration_and_a_session_survive,
    killed_again_and_again,
);

/// Moments of a request, in milliseconds after it was sent: before it arrived, in its middle, after
/// its commit.
const MOMENTS: [u64; 6] = [0, 3, 8, 15, 30, 60];

async fn an_approval_is_asked_for_once(engine: Engine) {
    let (gate, mut process) = gate_and_process(engine).await;
    let mut ids = Vec::new();
    for (number, after) in MOMENTS.into_iter().enumerate() {
        let (key, body) = (format!("the-key-{number}"), gate.request_body(json!({})));
        let token = gate.token(json!({})).await;
        let asking = gate.http.post(gate.url("/v1/approvals")).bearer_auth(&token);
        let asking = asking.header("Idempotency-Key", &key).json(&body).send();
        let asking = tokio::spawn(asking);
        tokio::time::sleep(Duration::from_millis(after)).await;
        process.kill().await;
        let _unread = asking.await.unwrap();
        process.start_again().await;
        // The same token and the same key, then a fresh token: a retry works and asks for nothing new.
        let first = gate.ask_as(&token, &key, &body).await;
        assert!(first.status.is_success(), "{first:?}");
        let second = gate.ask_as(&gate.token(json!({})).await, &key, &body).await;
        assert_eq!((second.status.as_u16(), second.id()), (200, first.id()));
        ids.push(first.id());
    }
    // Killed while the gate reads the running service for it.
    let held = json!({"kind": "delay", "milliseconds": FOR_EVER});
    let held = gate.fault(fault_at("GET", "/services/web", 1, held)).await;
    let body = gate.request_body(json!({}));
    let token = gate.token(json!({})).await;
    let asking = gate.http.post(gate.url("/v1/approvals")).bearer_auth(&token).json(&body);
    let asking = tokio::spawn(asking.header("Idempotency-Key", "held").send());
    gate.until_hit(held).await;
    process.kill().await;
    assert!(asking.await.unwrap().is_err(), "nobody answers");
    process.start_again().await;
    let asked = gate.ask_as(&token, "held", &body).await;
    assert_eq!(asked.status.as_u16(), 201, "nothing was stored: {asked:?}");
    ids.push(asked.id());
    let listed = gate.get("/v1/approvals").await.body;
    let mut listed: Vec<&str> = listed["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["id"].as_str().unwrap())
        .collect();
    listed.sort_unstable();
    ids.sort();
    assert_eq!(listed, ids);
    process.end().await;
    gate.finish().await;
}

async fn a_decision_counts_or_can_be_given_again(engine: Engine) {
    let (gate, mut process) = gate_and_process(engine).await;
    gate.ready_delay(0).await;
    let mut alice = gate.approver("alice").await;
    for after in MOMENTS {
        let id = gate.asked(json!({"subject": {"steps": [100]}})).await;
        let signed = gate.signed(&id).await;
        gate.clear_journal().await;
        let statement = alice.statement(&id, json!({"decision": "approve"})).await.unwrap();
        let decision = alice.signed(&statement, &[]).unwrap();
        let path = format!("/approvals/{id}/decisions");
        {
            let posting = alice.browser.post(&path, &decision);
            let _unread = tokio::time::timeout(Duration::from_millis(after), posting).await;
        }
        process.kill().await;
        end_leases(&gate, engine).await;
        process.start_again().await;
        let status = gate.approval(&id).await["status"].as_str().unwrap().to_owned();
        // The same signature once more: it counts now, or it counted before.
        let again = alice.browser.post(&path, &decision).await;
        assert_eq!(again.is_ok(), status == "pending", "{status}, then {again:?}");
        let ended = gate.ended(&id).await;
        assert_eq!(ended["status"], "succeeded", "killed after {after} ms: {ended:#}");
        assert_eq!(ended["decisions"].as_array().unwrap().len(), 1);
        gate.assert_writes(&signed, &signed.whole_plan()).await;
    }
    process.end().await;
    gate.finish().await;
}

/// Moments that nothing outside can name: in a transaction, between two.
async fn killed_again_and_again(engine: Engine) {
    let (gate, mut process) = gate_and_process(engine).await;
    gate.ready_delay(0).await;
    let mut alice = gate.approver("alice").await;
    for _ in 0..3 {
        let id = gate.asked(json!({})).await;
        let signed = gate.signed(&id).await;
        gate.clear_journal().await;
        alice.approve(&id).await.unwrap();
        let mut killed_after = Vec::new();
        for byte in randomness::bytes::<5>() {
            killed_after.push(byte);
            tokio::time::sleep(Duration::from_millis(u64::from(byte))).await;
            process.kill().await;
            end_leases(&gate, engine).await;
            process.start_again().await;
        }
        eprintln!("{id}: killed after {killed_after:?} ms");
        assert_eq!(gate.ended(&id).await["status"], "succeeded");
        gate.assert_effects(&signed, &signed.whole_plan()).await;
    }
    process.end().await;
    gate.finish().await;
}

async fn a_registration_and_a_session_survive(engine: Engine) {
    let (gate, mut process) = gate_and_process(engine).await;
    let mut alice = countersign::cli::demo::approver::Approver::new(&gate.servers.gate).unwrap();
    alice.sign_in("alice").await.unwrap();
    let begun = alice.browser.post("/keys/ceremonies", &json!({"name": "Key"})).await.unwrap();
    let key = alice.authenticator.create(&begun["creation_options"], &gate.servers.gate).unwrap();
    process.kill().await;
    process.start_again().await;
    let ceremony = format!("/keys/ceremonies/{}", begun["id"].as_str().unwrap());
    let received = alice.browser.post(&ceremony, &key).await.unwrap();
    process.kill().await;
    process.start_again().await;
    alice.browser.open(received["continue"].as_str().unwrap(), "alice").await.unwrap();
    let id = gate.asked(json!({})).await;
    let rejected = json!({"decision": "reject", "reason": "Not today"});
    assert_eq!(alice.decide(&id, rejected).await.unwrap()["status"], "rejected");
    // Cancelled, killed at once: it stays cancelled.
    let id = gate.asked(json!({})).await;
    let cancelled = gate.post(&format!("/v1/approvals/{id}/cancel"), json!({})).await;
    assert_eq!(cancelled.body["status"], "cancelled", "{cancelled:?}");
    process.kill().await;
    process.start_again().await;
    assert_eq!(gate.approval(&id).await["status"], "cancelled");
    let health = send(gate.http.get(gate.url("/health/ready"))).await;
    assert_eq!(health.status.as_u16(), 200);
    process.end().await;
    gate.finish().await;
}
