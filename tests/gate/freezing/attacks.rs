//! Whoever has the database, or even the log key too, lifts no freeze.

use countersign::cli::demo::approver::Approver;
use countersign::clock::Clock;
use serde_json::{Value, json};

use super::{freeze, lift, production, until_held};
use crate::support::database::{storage, tamper};
use crate::support::gate::{Engine, Gate, on_both_engines, send};
use crate::support::process::{GateProcess, free_port};

on_both_engines!(
    rows_lift_no_freeze,
    an_entry_that_nobody_signed_lifts_no_freeze,
    a_freeze_is_known_outside,
);

/// A gate in a process of its own, with what is approved there and frozen.
struct Scene {
    engine: Engine,
    // Dropped first: it shows its log when a test fails.
    process: GateProcess,
    gate: Gate,
    alice: Approver,
    approval: String,
    freeze: String,
}

impl Scene {
    async fn new(engine: Engine) -> Self {
        let gate = Gate::around(engine, free_port()).await;
        gate.ready_delay(0).await;
        let process = GateProcess::start(&gate).await;
        let mut alice = gate.approver("alice").await;
        let freeze = freeze(&mut alice, &production()).await;
        let approval = gate.asked(json!({"subject": {"steps": [100]}})).await;
        alice.approve(&approval).await.unwrap();
        until_held(&gate, &approval).await;
        Self { engine, process, gate, alice, approval, freeze }
    }

    /// Nothing begins although the worker looks again, which it does at each start.
    async fn assert_frozen(&mut self) {
        self.process.stop().await;
        tamper(&self.gate, self.engine, &["UPDATE jobs SET last_error = NULL"]).await;
        self.process.start_again().await;
        until_held(&self.gate, &self.approval).await;
        assert_eq!(self.gate.changes_of_cloud_run().await, 0);
        assert_eq!(self.gate.approval(&self.approval).await["hold"]["code"], "frozen");
    }

    async fn end(mut self) {
        self.alice.sign_in("alice").await.unwrap();
        lift(&mut self.alice, &self.freeze, &production()).await;
        assert_eq!(self.gate.ended(&self.approval).await["status"], "succeeded");
        self.process.end().await;
        self.gate.finish().await;
    }

    /// The record that began the freeze.
    async fn begun(&self) -> Value {
        let storage = storage(&self.gate).await;
        let records = storage.signed_records("freeze.begun").await.unwrap();
        storage.close().await;
        records[0].1.data.clone()
    }

    /// Has the gate's own log key write an entry, as whoever stole it can.
    async fn write(&self, kind: &str, data: Value) {
        let storage = storage(&self.gate).await;
        let mut writer = storage.begin().await.unwrap();
        writer.record(kind, data, Clock::system().now()).await.unwrap();
        writer.commit().await.unwrap();
        storage.close().await;
    }
}

async fn rows_lift_no_freeze(engine: Engine) {
    let mut scene = Scene::new(engine).await;
    let kept = "CREATE TABLE kept AS SELECT * FROM ledger_entries WHERE kind = 'freeze.begun'";
    tamper(&scene.gate, engine, &[kept]).await;
    let restored = [
        "DELETE FROM ledger_entries WHERE entry_index IN (SELECT entry_index FROM kept)",
        "INSERT INTO ledger_entries SELECT * FROM kept",
    ];
    // Found by the patrol, which begins with the start.
    for change in [
        "DELETE FROM ledger_entries WHERE kind = 'freeze.begun'",
        "UPDATE ledger_entries SET record = replace(record, 'production', 'elsewhere') WHERE kind = 'freeze.begun'",
    ] {
        scene.process.stop().await;
        tamper(&scene.gate, engine, &[change, "UPDATE jobs SET due_at = 0"]).await;
        scene.process.start_again_to_refuse().await;
        scene
            .gate
            .until("the gate has stopped", async || {
                let ready = send(scene.gate.http.get(scene.gate.url("/health/ready"))).await;
                ready.status == 503 && ready.body.to_string().contains("entry")
            })
            .await;
        assert_eq!(scene.gate.changes_of_cloud_run().await, 0, "{change}");
        scene.process.stop().await;
        // The first finds no row where it was deleted.
        let skipped = usize::from(change.starts_with("DELETE"));
        tamper(&scene.gate, engine, &restored[skipped..]).await;
        scene.process.start_again().await;
    }
    // The column is a help for lists: nobody goes by it.
    let kind = "UPDATE ledger_entries SET kind = 'freeze.lifted' WHERE kind = 'freeze.begun'";
    tamper(&scene.gate, engine, &[kind]).await;
    scene.assert_frozen().await;
    tamper(&scene.gate, engine, &restored).await;
    // The sign-in that the freeze rests on is not needed to stay frozen.
    tamper(&scene.gate, engine, &["DELETE FROM freeze_sign_ins"]).await;
    scene.assert_frozen().await;
    scene.end().await;
}

async fn an_entry_that_nobody_signed_lifts_no_freeze(engine: Engine) {
    let mut scene = Scene::new(engine).await;
    // A genuine lift of another freeze, by a person who may.
    let mut bob = scene.gate.approver("bob").await;
    let other =
        json!({"environment": "production", "requesters": {"kind": "issuer", "issuer": "agent"}});
    let another = freeze(&mut bob, &other).await;
    lift(&mut bob, &another, &other).await;
    scene.process.stop().await;
    let begun = scene.begun().await;
    let lifted = {
        let storage = storage(&scene.gate).await;
        let records = storage.signed_records("freeze.lifted").await.unwrap();
        storage.close().await;
        records[0].1.data.clone()
    };
    let of_ours = |data: &Value| {
        let mut forged = data.clone();
        let statement = data["statement"].as_str().unwrap();
        let mut statement: Value = serde_json::from_str(statement).unwrap();
        statement["predicateType"] = json!("urn:countersign:predicate:freeze-lift:v1");
        statement["subject"] = json!([{"digest": {"sha256": scene.freeze}, "name": "freeze"}]);
        statement["predicate"]["change"] = super::lifting(&scene.freeze, &production());
        forged["statement"] =
            json!(countersign::domain::canonical::to_canonical_json(&statement).unwrap());
        forged
    };
    for data in [
        json!({}),
        json!({"freeze": scene.freeze, "by": begun["by"], "by_name": "Alice"}),
        // The signature of the freeze itself, over other words; and one of another lift.
        begun.clone(),
        of_ours(&begun),
        of_ours(&lifted),
        // A lift that was genuine once, again.
        lifted.clone(),
    ] {
        scene.write("freeze.lifted", data).await;
    }
    scene.process.start_again().await;
    scene.assert_frozen().await;
    assert!(scene.process.log().contains("an entry that lifts a freeze does not hold"));
    // A genuine one without the sign-in that it rests on lifts nothing either: it is signed again.
    scene.alice.sign_in("alice").await.unwrap();
    // An entry that nobody can read freezes everything, and a person lifts that too.
    scene.process.stop().await;
    scene.write("freeze.begun", json!({"statement": "of a later version"})).await;
    scene.process.start_again().await;
    let page = scene.alice.browser.open("/environments", "alice").await.unwrap();
    assert!(page.contains("cannot read"), "{page}");
    let id = page.split("data-freeze=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
    let everything = json!({"requesters": {"kind": "everybody"}});
    lift(&mut scene.alice, id, &everything).await;
    scene.end().await;
}

async fn a_freeze_is_known_outside(engine: Engine) {
    let mut scene = Scene::new(engine).await;
    // Each start begins behind the entry: the head outside says it.
    scene.assert_frozen().await;
    let folder = &scene.gate.servers.files.folder;
    let port = scene.gate.servers.gate.rsplit(':').next().unwrap();
    let head = std::fs::read_to_string(folder.join(format!("log-head-{port}.json"))).unwrap();
    let head: Value = serde_json::from_str(&head).unwrap();
    let known = &head["freezes"][&scene.freeze];
    assert_eq!(known["scope"], production(), "{head:#}");
    assert_eq!(known["by"]["subject"], "u-alice");
    scene.end().await;
}
