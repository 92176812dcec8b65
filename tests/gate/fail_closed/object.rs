//! The head of the log is kept in an object of Cloud Storage, which is busy, loses answers, refuses, or is
//! written by somebody else.

use serde_json::{Value, json};

use crate::support::cloud_run::fault_at;
use crate::support::gate::{Engine, Gate, on_both_engines, send};
use crate::support::object::keep_the_head_in_an_object;
use crate::support::process::{GateProcess, free_port};

on_both_engines!(what_passes_is_passed, what_stays_stops_the_gate);

const UPLOAD: &str = "/upload/storage/";
const READ: &str = "/storage/v1/";

async fn gate(engine: Engine) -> (GateProcess, Gate) {
    let gate = Gate::around(engine, free_port()).await;
    gate.ready_delay(0).await;
    keep_the_head_in_an_object(&gate);
    (GateProcess::start(&gate).await, gate)
}

fn times(mut rule: Value, times: u64) -> Value {
    rule["times"] = json!(times);
    rule
}

/// Each fault hits the first calls of a rollout, which goes through all the same, and makes each call once.
async fn what_passes_is_passed(engine: Engine) {
    let (process, gate) = gate(engine).await;
    let mut alice = gate.approver("alice").await;
    let busy = |code: u64| json!({"kind": "status", "code": code});
    let answered_badly = json!({"kind": "status_after_effect", "code": 503});
    for rule in [
        times(fault_at("POST", UPLOAD, 1, busy(503)), 2),
        times(fault_at("POST", UPLOAD, 1, busy(429)), 3),
        times(fault_at("POST", UPLOAD, 2, json!({"kind": "lost_reply"})), 2),
        times(fault_at("POST", UPLOAD, 1, answered_badly), 1),
        times(fault_at("POST", UPLOAD, 2, busy(412)), 3),
        times(fault_at("GET", READ, 1, busy(500)), 2),
        times(fault_at("GET", READ, 2, json!({"kind": "lost_reply"})), 2),
    ] {
        alice.sign_in("alice").await.unwrap();
        let id = gate.asked(json!({})).await;
        let plan = gate.signed(&id).await;
        gate.clear_journal().await;
        let fault = gate.fault(rule.clone()).await;
        alice.approve(&id).await.unwrap();
        let ended = gate.ended(&id).await;
        assert_eq!(ended["status"], "succeeded", "{rule}: {ended:#}");
        gate.assert_writes(&plan, &plan.whole_plan()).await;
        gate.until_hit(fault).await;
        gate.no_faults().await;
        // The last answers are given after the faults.
        let uploads = gate.uploads().await;
        assert!(uploads.iter().filter(|status| **status == 200).count() >= 4, "{uploads:?}");
    }
    gate.until("the head covers everything", async || {
        let head = gate.kept_object().await.unwrap();
        let checkpoint = gate.http.get(gate.url("/log/checkpoint")).send().await.unwrap();
        let checkpoint = serde_json::to_string(&checkpoint.text().await.unwrap()).unwrap();
        head.contains(&checkpoint)
    })
    .await;
    process.end().await;
    gate.finish().await;
}

async fn what_stays_stops_the_gate(engine: Engine) {
    let (process, gate) = gate(engine).await;
    let mut alice = gate.approver("alice").await;
    let forbidden = json!({"kind": "status", "code": 403, "message": "Said Google."});
    for (method, path) in [("POST", UPLOAD), ("GET", READ)] {
        alice.sign_in("alice").await.unwrap();
        let id = gate.asked(json!({"subject": {"steps": [100]}})).await;
        let statement = alice.statement(&id, json!({"decision": "approve"})).await.unwrap();
        let signed = alice.signed(&statement, &[]).unwrap();
        gate.clear_journal().await;
        gate.fault(times(fault_at(method, path, 1, forbidden.clone()), 0)).await;
        // Something new to be covered: a refusal is written by itself.
        gate.get_as("/v1/approvals", &gate.token(json!({"aud": "somebody-else"})).await).await;
        gate.until("the gate stops", async || {
            let ready = send(gate.http.get(gate.url("/health/ready"))).await;
            let told = ready.body["problems"].to_string();
            ready.status == 503 && told.contains("Said Google.") && told.contains("gs://")
        })
        .await;
        let path = format!("/approvals/{id}/decisions");
        let refused = alice.browser.post(&path, &signed).await.unwrap_err();
        assert!(refused.contains("log_head_unavailable"), "{refused}");
        assert_eq!(gate.changes_of_cloud_run().await, 0);
        gate.no_faults().await;
        gate.until("the gate goes on", async || {
            send(gate.http.get(gate.url("/health/ready"))).await.status == 200
        })
        .await;
        alice.browser.post(&path, &signed).await.unwrap();
        assert_eq!(gate.ended(&id).await["status"], "succeeded");
    }
    process.end().await;
    gate.finish().await;
}
