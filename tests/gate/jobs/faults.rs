//! The call that starts a job, failed in pairs: failed and did not happen, failed but happened.

use serde_json::{Value, json};

use super::{approved, assert_one_execution, executions, gate};
use crate::support::cloud_run::fault_at;
use crate::support::gate::{Engine, on_both_engines};

on_both_engines!(
    whatever_goes_wrong_it_runs_once,
    a_refused_job_did_not_run,
    an_execution_that_fails_is_told_as_it_is,
    a_long_one_is_waited_for,
);

async fn whatever_goes_wrong_it_runs_once(engine: Engine) {
    for fault in [
        json!({"kind": "status", "code": 503}),
        json!({"kind": "status_after_effect", "code": 503}),
        json!({"kind": "status", "code": 500}),
        json!({"kind": "status_after_effect", "code": 500}),
        json!({"kind": "status", "code": 409}),
        json!({"kind": "status", "code": 429}),
        json!({"kind": "lost_reply"}),
        json!({"kind": "delay", "milliseconds": 1500}),
        json!({"kind": "delay", "milliseconds": 1500, "after": true}),
    ] {
        let gate = gate(engine).await;
        let mut alice = gate.approver("alice").await;
        let id = gate.fault(fault_at("PATCH", "/jobs/", 1, fault.clone())).await;
        let approval = approved(&gate, &mut alice).await;
        let ended = gate.ended(&approval).await;
        assert_eq!(ended["status"], "succeeded", "{fault}: {ended:#}");
        gate.until_hit(id).await;
        assert_one_execution(&gate, &approval).await;
        let effects = gate.calls("PATCH", "/jobs/").await;
        let took_effect = |call: &&Value| {
            let faults = call["faults"].as_array().unwrap();
            call["status"] == 200 || faults.iter().any(|one| one == "status_after_effect")
        };
        assert_eq!(effects.iter().filter(took_effect).count(), 1, "{fault}: {effects:#?}");
        gate.finish().await;
    }
}

async fn a_refused_job_did_not_run(engine: Engine) {
    let gate = gate(engine).await;
    let mut alice = gate.approver("alice").await;
    let refused = json!({"kind": "status", "code": 403, "message": "No."});
    gate.fault(fault_at("PATCH", "/jobs/", 1, refused)).await;
    let id = approved(&gate, &mut alice).await;
    let ended = gate.ended(&id).await;
    assert_eq!(ended["status"], "failed", "{ended:#}");
    let sentence = ended["status_sentence"].as_str().unwrap();
    assert!(sentence.contains("run.jobs.run"), "{sentence}");
    assert!(ended["execution"].is_null() && executions(&gate).await.is_empty());
    gate.finish().await;
}

async fn an_execution_that_fails_is_told_as_it_is(engine: Engine) {
    let gate = gate(engine).await;
    let mut alice = gate.approver("alice").await;
    let failing = json!({"kind": "revision_fails", "message": "The container exited with 7."});
    gate.fault(fault_at("PATCH", "/jobs/", 1, failing)).await;
    let id = approved(&gate, &mut alice).await;
    let ended = gate.ended(&id).await;
    assert_eq!(ended["status"], "failed", "{ended:#}");
    assert_eq!(ended["execution"]["failed"], 1);
    let sentence = ended["status_sentence"].as_str().unwrap();
    for said in ["exited with 7", "0 of 1 task succeeded, 1 failed", "keeps what was signed"] {
        assert!(sentence.contains(said), "{said}: {sentence}");
    }
    // Nothing is restored, and nothing is run again.
    assert_one_execution(&gate, &id).await;
    assert_eq!(gate.calls("PATCH", "/v2/").await.len(), 1);
    gate.proved(&id).await;
    gate.finish().await;
}

/// A long execution is looked at until it ends, and an outage meanwhile starts nothing again.
async fn a_long_one_is_waited_for(engine: Engine) {
    let gate = gate(engine).await;
    let mut alice = gate.approver("alice").await;
    gate.fault(fault_at("PATCH", "/jobs/", 1, json!({"kind": "stuck_reconciling"}))).await;
    let id = approved(&gate, &mut alice).await;
    gate.until("the execution is seen", async || {
        gate.approval(&id).await["execution"]["execution"].is_string()
    })
    .await;
    let running = gate.approval(&id).await;
    assert_eq!(
        (&running["status"], &running["execution"]["succeeded"]),
        (&json!("executing"), &json!(0))
    );
    let mut outage = fault_at("GET", "/jobs/", 1, json!({"kind": "status", "code": 503}));
    outage["times"] = json!(3);
    let outage = gate.fault(outage).await;
    gate.until_hit(outage).await;
    // What was stuck goes on.
    gate.no_faults().await;
    assert_eq!(gate.ended(&id).await["status"], "succeeded");
    assert_one_execution(&gate, &id).await;
    gate.finish().await;
}
