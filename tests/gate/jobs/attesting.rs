//! Binary Authorization: the image of a job is attested before the one call, and once.

use countersign::sandbox::DEMO_JOB;
use serde_json::{Value, json};

use super::updating::{asked_update, assert_one_update};
use super::{approved, asked, assert_one_execution, executions, with_jobs};
use crate::attesting::{NOTE, ask_for_in, made, with_cloud_kms};
use crate::support::cloud_run::fault_at;
use crate::support::gate::{Engine, Gate, on_both_engines};

on_both_engines!(
    an_image_is_attested_before_it_runs,
    an_image_is_attested_before_a_job_gets_it,
    without_an_attestation_nothing_runs,
    cloud_run_refuses_what_nobody_attested,
);

async fn gate_that_attests(engine: Engine) -> Gate {
    let gate = Gate::start_with(engine, |config| with_cloud_kms(with_jobs(config))).await;
    gate.ready_delay(0).await;
    ask_for_in(&gate, DEMO_JOB, NOTE, json!({})).await;
    gate
}

/// Asserts that there is one attestation, made before the one write.
async fn assert_attested_first(gate: &Gate, id: &str) {
    let made = made(gate).await;
    assert_eq!(made.len(), 1, "{made:#?}");
    assert_eq!(made[0]["request"]["noteName"], NOTE);
    let patches = gate.calls("PATCH", "/v2/").await;
    let sequence = |call: &Value| call["sequence"].as_u64().unwrap();
    assert!(patches.len() == 1 && sequence(&patches[0]) > sequence(&made[0]), "{patches:#?}");
    let proved = gate.proved(id).await;
    let told = proved.records().iter().position(|record| {
        serde_json::to_string(record).unwrap().contains("projects/security/occurrences/")
    });
    let called = proved.records().iter().position(|record| record.kind == "rollout.call_announced");
    assert!(told.unwrap() < called.unwrap());
}

async fn an_image_is_attested_before_it_runs(engine: Engine) {
    let gate = gate_that_attests(engine).await;
    let mut alice = gate.approver("alice").await;
    let id = asked(&gate).await;
    let page = alice.browser.open(&format!("/approvals/{id}"), "alice").await.unwrap();
    assert!(page.contains("Before that the gate attests the image") && page.contains(NOTE));
    alice.approve(&id).await.unwrap();
    let ended = gate.ended(&id).await;
    assert_eq!(ended["status"], "succeeded", "{ended:#}");
    assert_attested_first(&gate, &id).await;
    assert_one_execution(&gate, &id).await;
    gate.finish().await;
}

async fn an_image_is_attested_before_a_job_gets_it(engine: Engine) {
    let gate = gate_that_attests(engine).await;
    let mut alice = gate.approver("alice").await;
    let id = asked_update(&gate).await;
    alice.approve(&id).await.unwrap();
    assert_eq!(gate.ended(&id).await["status"], "succeeded");
    assert_attested_first(&gate, &id).await;
    assert_one_update(&gate, &id).await;
    gate.finish().await;
}

async fn without_an_attestation_nothing_runs(engine: Engine) {
    let gate = gate_that_attests(engine).await;
    let mut alice = gate.approver("alice").await;
    let refused = json!({"kind": "status", "code": 403});
    gate.fault(fault_at("POST", ":asymmetricSign", 1, refused)).await;
    let id = approved(&gate, &mut alice).await;
    let ended = gate.ended(&id).await;
    let sentence = ended["status_sentence"].as_str().unwrap();
    assert_eq!(ended["status"], "failed", "{sentence}");
    assert!(sentence.contains("no attestation was made"), "{sentence}");
    assert!(sentence.contains("Nothing was changed"), "{sentence}");
    assert_eq!(gate.changes_of_cloud_run().await, 0);
    assert!(executions(&gate).await.is_empty());
    gate.finish().await;
}

async fn cloud_run_refuses_what_nobody_attested(engine: Engine) {
    // This gate attests nothing, and the project asks for attestations.
    let gate = super::gate(engine).await;
    ask_for_in(&gate, DEMO_JOB, NOTE, json!({})).await;
    let mut alice = gate.approver("alice").await;
    let id = approved(&gate, &mut alice).await;
    let ended = gate.ended(&id).await;
    let sentence = ended["status_sentence"].as_str().unwrap();
    assert_eq!(ended["status"], "failed", "{sentence}");
    assert!(sentence.contains("is not authorized by policy"), "{sentence}");
    assert_one_execution(&gate, &id).await;
    gate.finish().await;
}
