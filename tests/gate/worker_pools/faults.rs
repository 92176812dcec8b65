//! What goes wrong at each write to a worker pool, in pairs: failed and did not happen, failed but happened.

use reqwest::Method;
use serde_json::{Value, json};

use super::{NEW_POOL, POOL, Scene, splits};
use crate::faults::passing_faults;
use crate::support::cloud_run::fault_at;
use crate::support::gate::{Engine, on_both_engines};

on_both_engines!(
    faults_at_the_revision,
    faults_at_the_first_step,
    faults_at_the_last_step,
    faults_at_a_new_worker_pool,
    a_revision_that_does_not_start_gets_no_instances,
    a_refused_step_is_restored_to_what_was_signed,
    somebody_else_in_between_stops_it,
);

/// A rollout of three writes, each with what it must survive at the one with this number: nothing is done twice.
async fn faults_at(engine: Engine, nth: u64) {
    let mut scene = Scene::new(engine).await;
    for fault in passing_faults() {
        let (id, signed) = scene.asked(json!([25, 100])).await;
        let rule = scene.gate.fault(fault_at("PATCH", POOL, nth, fault.clone())).await;
        scene.alice.approve(&id).await.unwrap();
        scene.ended(&id, "succeeded", "").await;
        scene.gate.until_hit(rule).await;
        scene.gate.no_faults().await;
        scene.gate.assert_writes(&signed, &signed.whole_plan()).await;
    }
    scene.gate.finish().await;
}

async fn faults_at_the_revision(engine: Engine) {
    faults_at(engine, 1).await;
}

async fn faults_at_the_first_step(engine: Engine) {
    faults_at(engine, 2).await;
}

async fn faults_at_the_last_step(engine: Engine) {
    faults_at(engine, 3).await;
}

async fn faults_at_a_new_worker_pool(engine: Engine) {
    let mut scene = Scene::new(engine).await;
    for fault in passing_faults() {
        let id = scene.gate.asked(json!({"subject": {"service": NEW_POOL}})).await;
        let signed = scene.gate.signed(&id).await;
        scene.gate.clear_journal().await;
        let rule = scene.gate.fault(fault_at("POST", "/workerPools", 1, fault.clone())).await;
        scene.alice.approve(&id).await.unwrap();
        scene.ended(&id, "succeeded", "").await;
        scene.gate.until_hit(rule).await;
        scene.gate.no_faults().await;
        scene.gate.assert_writes(&signed, &signed.whole_plan()).await;
        scene.gate.sandbox(Method::DELETE, &format!("/v2/{NEW_POOL}"), None).await;
    }
    scene.gate.finish().await;
}

async fn a_revision_that_does_not_start_gets_no_instances(engine: Engine) {
    let mut scene = Scene::new(engine).await;
    let (id, signed) = scene.asked(json!([25, 100])).await;
    let failing = json!({"kind": "revision_fails", "message": "The container exited with 7."});
    scene.gate.fault(fault_at("PATCH", POOL, 1, failing)).await;
    scene.alice.approve(&id).await.unwrap();
    let ended = scene.ended(&id, "rolled_back", "no instances were moved").await;
    assert!(ended.to_string().contains("exited with 7"), "{ended:#}");
    scene.gate.assert_writes(&signed, &signed.whole_plan()[..1]).await;
    assert_eq!(splits(&scene.pool().await), signed.rollback());
    scene.gate.finish().await;
}

async fn a_refused_step_is_restored_to_what_was_signed(engine: Engine) {
    let mut scene = Scene::new(engine).await;
    let (id, signed) = scene.asked(json!([25, 100])).await;
    let refused = json!({"kind": "status", "code": 403, "message": "No."});
    scene.gate.fault(fault_at("PATCH", POOL, 3, refused)).await;
    scene.alice.approve(&id).await.unwrap();
    let ended = scene.ended(&id, "rolled_back", "refuses to move the instances of").await;
    let sentence = ended["status_sentence"].as_str().unwrap();
    assert!(sentence.contains("run.workerpools.update"), "{sentence}");
    let mut writes = signed.whole_plan()[..2].to_vec();
    writes.push(signed.rollback());
    scene.gate.assert_writes(&signed, &writes).await;
    assert_eq!(splits(&scene.pool().await), signed.rollback());
    scene.gate.finish().await;
}

async fn somebody_else_in_between_stops_it(engine: Engine) {
    let mut scene = Scene::new(engine).await;
    let edit = |change: Value| json!({"kind": "outside_edit", "modifier": "mallory@example.com", "change": change});
    for (nth, change, status) in [
        (1, Value::Null, "failed"),
        (2, Value::Null, "needs_attention"),
        (3, json!({"scaling": {"manualInstanceCount": 40}}), "needs_attention"),
    ] {
        let (id, signed) = scene.asked(json!([25, 100])).await;
        scene.gate.fault(fault_at("PATCH", POOL, nth, edit(change))).await;
        scene.alice.approve(&id).await.unwrap();
        scene.ended(&id, status, "mallory@example.com").await;
        scene.gate.no_faults().await;
        let done = usize::try_from(nth).unwrap() - 1;
        scene.gate.assert_writes(&signed, &signed.whole_plan()[..done]).await;
    }
    // Somebody else's splits are neither believed nor undone.
    let (id, signed) = scene.approved(json!([{"percent": 25, "bake": "1h"}, 100])).await;
    scene.until_served(&id, 1).await;
    let to_new = json!([{"type": "INSTANCE_SPLIT_ALLOCATION_TYPE_REVISION", "revision": signed.revision(), "percent": 100}]);
    let edit = json!({"service": POOL, "modifier": "mallory@example.com", "change": {"instanceSplits": to_new}});
    scene.gate.sandbox(Method::POST, "/_sandbox/outside-edit", Some(edit)).await;
    let ended = scene.ended(&id, "needs_attention", "its instances are mail-").await;
    assert!(ended.to_string().contains("mallory@example.com"), "{ended:#}");
    assert_eq!(scene.gate.effective_writes().await, signed.whole_plan()[..2]);
    scene.gate.finish().await;
}
