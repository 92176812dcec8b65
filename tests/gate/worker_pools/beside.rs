//! What is changed beside the gate, and what the gate may do: worker pools are looked at as services are.

use reqwest::Method;
use serde_json::{Value, json};

use super::{POOL, Scene};
use crate::support::gate::{Engine, Gate, on_both_engines};

on_both_engines!(a_change_beside_the_gate_is_found);

async fn entries(gate: &Gate, kind: &str) -> Vec<Value> {
    let storage = crate::support::database::reading(gate).await;
    let records = storage.signed_records(kind).await.unwrap();
    storage.close().await;
    records.into_iter().map(|(_, record)| record.data).collect()
}

async fn a_change_beside_the_gate_is_found(engine: Engine) {
    let mut scene = Scene::with(engine, "\n[drift]\nevery = \"1s\"\n").await;
    let gate = &scene.gate;
    let is_looked_at = |one: &Value| one["service"] == POOL && one["state"].is_object();
    gate.until("the first look", async || {
        entries(gate, "service.observed").await.iter().any(is_looked_at)
    })
    .await;
    // What the gate does is explained.
    let (id, signed) = scene.approved(json!([25, 100])).await;
    scene.ended(&id, "succeeded", "").await;
    let gate = &scene.gate;
    gate.until("the rollout's outcome is written down", async || {
        entries(gate, "service.observed").await.iter().any(|one| one["explained_by"] == id.as_str())
    })
    .await;
    assert_eq!(entries(gate, "drift.found").await, Vec::<Value>::new());
    let back: Vec<Value> = signed
        .rollback()
        .iter()
        .map(|(revision, percent)| {
            json!({"type": "INSTANCE_SPLIT_ALLOCATION_TYPE_REVISION", "revision": revision, "percent": percent})
        })
        .collect();
    let edit = json!({"service": POOL, "modifier": "mallory@example.com", "change": {"instanceSplits": back}});
    gate.sandbox(Method::POST, "/_sandbox/outside-edit", Some(edit)).await;
    gate.until("it is found", async || !entries(gate, "drift.found").await.is_empty()).await;
    let found = entries(gate, "drift.found").await.remove(0);
    assert_eq!(
        (&found["service"], &found["changed_by"]),
        (&json!(POOL), &json!("mallory@example.com"))
    );
    let fact = found["unexplained"][0].as_str().unwrap();
    assert!(fact.starts_with("The instances were 100 % to mail-"), "{fact}");
    let page = scene.alice.browser.open("/drift", "alice").await.unwrap();
    assert!(page.contains("worker pool, demo, europe-west1"), "{page}");
    scene.gate.finish().await;
}
