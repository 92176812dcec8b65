//! A rollout that ended, made to look as if it had not begun.

use countersign::gate::evidence::gather;
use countersign::proof::verify::verify_evidence;
use countersign::storage::Storage;
use secrecy::ExposeSecret;
use serde_json::json;

use super::Scene;
use super::attacker::quoted;
use crate::support::gate::{Engine, on_both_engines};

on_both_engines!(a_rollout_that_ended_is_not_repeated);

async fn a_rollout_that_ended_is_not_repeated(engine: Engine) {
    let mut scene = Scene::new(engine).await;
    let id = scene.approved().await;
    let row = format!("FROM approvals WHERE id = '{id}'");
    let state = scene.attacker.read(&format!("SELECT state {row}")).await.unwrap();
    let decided = format!("SELECT MAX(entry_index) FROM ledger_entries WHERE approval_id = '{id}'");
    let decided = scene.attacker.number(&decided).await;
    scene.attacker.release(&id).await;
    assert_eq!(scene.gate.ended(&id).await["status"], "succeeded");
    let changes = scene.gate.changes_of_cloud_run().await;
    assert!(changes > 0);
    let later = format!("WHERE approval_id = '{id}' AND entry_index > {decided}");
    for (change, code) in [
        (format!("UPDATE ledger_entries SET approval_id = NULL {later}"), "evidence_outdated"),
        (format!("DELETE FROM ledger_entries WHERE entry_index = {}", decided + 1), "log_gap"),
    ] {
        scene.attacker.run(&change).await;
        // What the refusal before wrote goes as well.
        scene.attacker.run(&format!("UPDATE ledger_entries SET approval_id = NULL {later}")).await;
        scene
            .attacker
            .run(&format!(
                "UPDATE approvals SET status = 'approved', version = 2, state = '{}' WHERE id = '{id}'",
                quoted(&state)
            ))
            .await;
        scene.attacker.plant_job(&id).await;
        scene.gate.asked(json!({})).await;
        assert_eq!(scene.refused(&id).await, code);
    }
    assert_eq!(scene.gate.changes_of_cloud_run().await, changes, "it was rolled out again");
    // The evidence alone would be believed: it proves the moment before the rollout.
    scene.attacker.run(&format!("UPDATE ledger_entries SET approval_id = NULL {later}")).await;
    let files = &scene.gate.servers.files;
    let config = countersign::config::Config::load(&files.config, &Default::default()).unwrap();
    scene.gate.servers.stop().await;
    let database = config.database.expose_secret();
    let storage = Storage::open(database, config.log_key.clone()).await.unwrap();
    let stored = storage.approval(&id.parse().unwrap()).await.unwrap().unwrap();
    let trust = config.trust();
    let evidence = gather(&storage, &trust, &stored).await.unwrap();
    assert!(verify_evidence(&evidence, &trust).unwrap().is_approved());
    storage.close().await;
}
