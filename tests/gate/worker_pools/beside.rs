//! What is changed beside the gate, and what the gate may do: worker pools are looked at as services are.

use reqwest::Method;
use serde_json::{Value, json};

use super::{POOL, Scene, with_pools};
use crate::support::gate::{Engine, Gate, on_both_engines};
use crate::support::process::countersign;

on_both_engines!(a_change_beside_the_gate_is_found);

async fn entries(gate: &Gate, kind: &str) -> Vec<Value> {
    let storage = crate::support::database::reading(gate).await;
    let records = storage.signed_records(kind).await.unwrap();
    storage.close().await;
    records.into_iter().map(|(_, record)| record.data).collect()
}

/// What `countersign audit completeness` says of the time from a moment on, and its exit code.
fn completeness(gate: &Gate, from: &str) -> (i32, Value) {
    let output = countersign()
        .args(["audit", "completeness", "--json", "--to", "2100-01-01", "--from", from, "--config"])
        .arg(&gate.servers.files.config)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    (
        output.status.code().unwrap(),
        serde_json::from_str(&told).unwrap_or_else(|_| panic!("{output:?}")),
    )
}

async fn a_change_beside_the_gate_is_found(engine: Engine) {
    let Scene { gate, alice } = Scene::new(engine).await;
    // Nobody knows what was before the first look, so the worker pool is there before it.
    let watching = |text| with_pools(text) + "\n[drift]\nevery = \"1s\"\n";
    let mut scene = Scene { gate: gate.restart_with(watching).await, alice };
    let gate = &scene.gate;
    gate.ready_delay(0).await;
    gate.until("the first look", async || entries(gate, "service.observed").await.len() == 4).await;
    // What the gate does is explained.
    let begun = countersign::clock::Clock::system().now().to_string();
    let (id, signed) = scene.approved(json!([25, 100])).await;
    scene.ended(&id, "succeeded", "").await;
    let gate = &scene.gate;
    gate.until("the rollout's outcome is written down", async || {
        entries(gate, "service.observed").await.iter().any(|one| one["explained_by"] == id.as_str())
    })
    .await;
    assert_eq!(entries(gate, "drift.found").await, Vec::<Value>::new());
    let (code, told) = completeness(gate, &begun);
    let of_pool = |one: &&Value| one["service"] == POOL;
    let changes: Vec<&Value> = told["changes"].as_array().unwrap().iter().filter(of_pool).collect();
    let kinds: Vec<&Value> = changes.iter().map(|one| &one["kind"]).collect();
    assert_eq!((code, &kinds[..]), (0, &[&json!("revision"), &json!("instances")][..]), "{told:#}");
    assert!(changes.iter().all(|one| one["explained_by"] == id.as_str()), "{told:#}");
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
