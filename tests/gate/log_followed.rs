//! The log that was seen is the log that is acted on: a database that lost entries, got other ones or
//! had one changed stops the gate, which goes on by itself once the right one is back.

use std::path::PathBuf;
use std::time::Duration;

use countersign::cli::demo::approver::Approver;
use countersign::clock::Clock;
use serde_json::{Value, json};

use crate::support::cloud_run::{FOR_EVER, fault_at};
use crate::support::database::{Backup, storage, tamper};
use crate::support::gate::{Answer, Engine, Gate, send};
use crate::support::object::keep_the_head_in_an_object;
use crate::support::process::{GateProcess, free_port};

/// Declares each test on both databases, with the head in a file and in an object of Cloud Storage.
macro_rules! wherever_the_head_is {
    ($tests:tt $($module:ident: $engine:ident, $place:ident;)*) => {
        $(mod $module {
            wherever_the_head_is!(@ $engine, $place, $tests);
        })*
    };
    (@ $engine:ident, $place:ident, [$($name:ident),* $(,)?]) => {
        $(#[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            let scene = super::Scene::new(super::Engine::$engine, super::Place::$place).await;
            super::$name(scene).await;
        })*
    };
}

wherever_the_head_is!(
    [
        a_restored_backup_stops_the_gate,
        another_log_of_the_same_length_stops_the_gate,
        what_was_planted_beside_the_gate_is_found,
        what_was_changed_long_ago_is_found,
        a_revocation_is_known_outside,
        a_key_revoked_before_the_rollout_rolls_nothing_out,
        a_head_of_another_log_stops_the_gate,
    ]
    on_sqlite: Sqlite, File;
    on_postgres: Postgres, File;
    in_an_object_and_on_sqlite: Sqlite, Object;
    in_an_object_and_on_postgres: Postgres, Object;
);

/// Where the head is kept.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    File,
    Object,
}

/// A gate in a process of its own, and an approver.
struct Scene {
    engine: Engine,
    place: Place,
    // Dropped first: it shows its log when a test fails.
    process: GateProcess,
    gate: Gate,
    alice: Approver,
}

impl Scene {
    async fn new(engine: Engine, place: Place) -> Self {
        let gate = Gate::around(engine, free_port()).await;
        gate.ready_delay(0).await;
        if place == Place::Object {
            keep_the_head_in_an_object(&gate);
        }
        let process = GateProcess::start(&gate).await;
        let alice = gate.approver("alice").await;
        Self { engine, place, process, gate, alice }
    }

    async fn tamper(&self, statements: &[&str]) {
        tamper(&self.gate, self.engine, statements).await;
    }

    /// Stops the gate, does something to its database, and starts it again.
    async fn meanwhile(&mut self, act: impl AsyncFnOnce(&Gate)) {
        self.process.stop().await;
        act(&self.gate).await;
        self.process.start_again().await;
    }

    async fn readiness(&self) -> Answer {
        send(self.gate.http.get(self.gate.url("/health/ready"))).await
    }

    /// Waits until the gate says that it does nothing, and why.
    async fn stopped(&self, words: &str) {
        for _ in 0..200 {
            let ready = self.readiness().await;
            if ready.status == 503 && ready.body["problems"].to_string().contains(words) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("it does not say {words:?} but {:#}", self.readiness().await.body);
    }

    /// Waits until the gate goes on.
    async fn going_on(&self) {
        self.gate.until("the gate goes on", async || self.readiness().await.status == 200).await;
    }

    /// Everything that is refused while the log cannot be relied on, and where the reason is shown.
    async fn assert_refuses(&mut self, pending: &str, code: &str) {
        self.gate.ask(json!({})).await.assert_problem(503, code);
        let refused = self.alice.statement(pending, json!({"decision": "approve"})).await;
        let refused = refused.unwrap_err();
        assert!(refused.contains("503") && refused.contains("Nothing was changed"), "{refused}");
        for page in ["/", "/keys", &format!("/approvals/{pending}"), "/signed-out"] {
            let shown = self.alice.browser.open(page, "alice").await.unwrap();
            assert!(shown.contains("Nothing is decided and nothing is rolled out"), "{page}");
        }
    }

    /// A rollout goes through: everything works.
    async fn assert_works(&mut self) {
        self.going_on().await;
        self.alice.sign_in("alice").await.unwrap();
        let id = self.gate.asked(json!({"subject": {"steps": [100]}})).await;
        self.alice.approve(&id).await.unwrap();
        assert_eq!(self.gate.ended(&id).await["status"], "succeeded");
    }

    async fn end(self) {
        self.process.end().await;
        self.gate.finish().await;
    }

    async fn head(&self) -> String {
        match self.place {
            Place::File => std::fs::read_to_string(self.head_file()).unwrap(),
            Place::Object => self.gate.kept_object().await.expect("the gate keeps the head there"),
        }
    }

    async fn put_head(&self, text: &str) {
        match self.place {
            Place::File => std::fs::write(self.head_file(), text).unwrap(),
            Place::Object => self.gate.put_object(text).await,
        }
    }

    async fn remove_head(&self) {
        match self.place {
            Place::File => std::fs::remove_file(self.head_file()).unwrap(),
            Place::Object => self.gate.delete_object().await,
        }
    }

    fn head_file(&self) -> PathBuf {
        let port = self.gate.servers.gate.rsplit(':').next().unwrap();
        self.gate.servers.files.folder.join(format!("log-head-{port}.json"))
    }
}

async fn a_restored_backup_stops_the_gate(mut scene: Scene) {
    let pending = scene.gate.asked(json!({})).await;
    // Approved, and stopped before anything was called: a backup of it is dangerous later.
    let approved = scene.gate.asked(json!({})).await;
    let held = json!({"kind": "delay", "milliseconds": FOR_EVER});
    let held = scene.gate.fault(fault_at("GET", "/services/", 1, held)).await;
    scene.alice.approve(&approved).await.unwrap();
    scene.gate.until_hit(held).await;
    scene.process.kill().await;
    scene.gate.no_faults().await;
    let yesterday = Backup::take(&scene.gate).await;
    scene.process.start_again().await;
    let cancelled = scene.gate.post(&format!("/v1/approvals/{pending}/cancel"), json!({})).await;
    assert_eq!(cancelled.status, 200, "{cancelled:?}");
    if scene.engine == Engine::Postgres {
        // The lease of the killed process is not waited for.
        scene.tamper(&["UPDATE jobs SET lease_until = 0"]).await;
    }
    assert_eq!(scene.gate.ended(&approved).await["status"], "succeeded");
    scene.process.stop().await;
    let today = Backup::take(&scene.gate).await;
    scene.gate.clear_journal().await;

    yesterday.restore().await;
    scene.process.start_again_to_refuse().await;
    scene.stopped("the database lost what came after").await;
    scene.assert_refuses(&pending, "log_shrunk").await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(scene.gate.changes_of_cloud_run().await, 0);
    assert_eq!(scene.gate.approval(&approved).await["status"], "executing");

    scene.meanwhile(async |_| today.restore().await).await;
    scene.assert_works().await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failover_that_lost_commits_stops_a_running_gate() {
    let mut scene = Scene::new(Engine::Postgres, Place::File).await;
    let pending = scene.gate.asked(json!({})).await;
    scene.process.stop().await;
    let behind = Backup::take(&scene.gate).await;
    scene.process.start_again().await;
    scene.gate.asked(json!({})).await;
    scene.process.stop().await;
    let ahead = Backup::take(&scene.gate).await;
    scene.process.start_again().await;
    // Even what nobody looked at in between is refused: the process remembers what it saw.
    scene.remove_head().await;
    behind.restore().await;
    scene.stopped("the database lost what came after").await;
    scene.assert_refuses(&pending, "log_shrunk").await;
    // This process wrote down that it began, which is not there: only another one can go on.
    scene.process.stop().await;
    ahead.restore().await;
    scene.process.start_again().await;
    scene.assert_works().await;
    scene.end().await;
}

async fn another_log_of_the_same_length_stops_the_gate(mut scene: Scene) {
    let pending = scene.gate.asked(json!({})).await;
    scene.process.stop().await;
    let before = Backup::take(&scene.gate).await;
    scene.process.start_again().await;
    scene.gate.asked(json!({})).await;
    scene.process.stop().await;
    let right = Backup::take(&scene.gate).await;
    before.restore().await;
    // The gate's own key writes on: each entry by itself is as good as any.
    let other = storage(&scene.gate).await;
    for number in 0..5 {
        let mut writer = other.begin().await.unwrap();
        writer.record("test", json!({"number": number}), Clock::system().now()).await.unwrap();
        writer.commit().await.unwrap();
    }
    other.close().await;
    drop(other);
    scene.process.start_again_to_refuse().await;
    scene.stopped("are not those that were seen before").await;
    scene.assert_refuses(&pending, "log_forked").await;
    scene.meanwhile(async |_| right.restore().await).await;
    scene.assert_works().await;
    scene.end().await;
}

/// Changes to what no entry was verified on top of yet, each with what takes it back.
async fn what_was_planted_beside_the_gate_is_found(mut scene: Scene) {
    let zeros = |length: &str| match scene.engine {
        Engine::Sqlite => format!("zeroblob({length})"),
        Engine::Postgres => format!("decode(repeat('00', {length}), 'hex')"),
    };
    scene.tamper(&["CREATE TABLE kept AS SELECT * FROM ledger_head"]).await;
    let back = "UPDATE ledger_head SET size = kept.size, subtrees = kept.subtrees FROM kept";
    let planted = "INSERT INTO ledger_entries (entry_index, kind, approval_id, record, salt, \
                   entry_hash, root, signature, at) SELECT entry_index + 1, kind, approval_id, \
                   record, salt, entry_hash, root, signature, at FROM ledger_entries \
                   ORDER BY entry_index DESC LIMIT 1";
    let taken_back = "DELETE FROM ledger_entries WHERE entry_index = \
                      (SELECT MAX(entry_index) FROM ledger_entries)";
    // A tree of one entry more has a head of a form of its own; all ones fit every size below 2^16.
    let longer =
        format!("UPDATE ledger_head SET size = {}, subtrees = {}", (1 << 16) - 1, zeros("16 * 32"));
    let other_root = format!("UPDATE ledger_head SET subtrees = {}", zeros("length(subtrees)"));
    let cases: Vec<(&str, Vec<&str>, Vec<&str>)> = vec![
        ("log_forked", vec![&other_root], vec![back]),
        (
            "log_shrunk",
            vec!["UPDATE ledger_head SET size = 0, subtrees = substr(subtrees, 1, 0)"],
            vec![back],
        ),
        ("log_entry_invalid", vec![&longer], vec![back]),
        ("log_entry_invalid", vec![planted, &longer], vec![taken_back, back]),
    ];
    for (code, change, undo) in cases {
        scene.going_on().await;
        let pending = scene.gate.asked(json!({})).await;
        scene.gate.until("the head is kept", async || scene.readiness().await.status == 200).await;
        scene.tamper(&["DELETE FROM kept", "INSERT INTO kept SELECT * FROM ledger_head"]).await;
        scene.tamper(&change).await;
        scene.stopped("Nothing is decided").await;
        scene.assert_refuses(&pending, code).await;
        scene.tamper(&undo).await;
    }
    assert_eq!(scene.gate.changes_of_cloud_run().await, 0);
    scene.assert_works().await;
    scene.end().await;
}

/// Changes to entries and nodes that were verified long ago. The patrol begins with the start.
async fn what_was_changed_long_ago_is_found(mut scene: Scene) {
    for _ in 0..3 {
        scene.gate.asked(json!({})).await;
    }
    let pending = scene.gate.asked(json!({})).await;
    let zeros = |length: u32| match scene.engine {
        Engine::Sqlite => format!("zeroblob({length})"),
        Engine::Postgres => format!("decode(repeat('00', {length}), 'hex')"),
    };
    let entry = |change: &str| format!("UPDATE ledger_entries SET {change} WHERE entry_index = 2");
    let cases = [
        entry("record = replace(record, '\"', ' \"')"),
        entry(&format!("salt = {}", zeros(32))),
        entry(&format!("signature = {}", zeros(64))),
        entry("root = replace(root, substr(root, 1, 1), '0')") + " OR entry_index = 3",
        entry("entry_hash = 'x' || substr(entry_hash, 2)"),
        "DELETE FROM ledger_entries WHERE entry_index = 2".to_owned(),
        format!("UPDATE ledger_nodes SET hash = {} WHERE level = 0 AND position = 2", zeros(32)),
        format!("UPDATE ledger_nodes SET hash = {} WHERE level = 1 AND position = 0", zeros(32)),
        "DELETE FROM ledger_nodes WHERE level = 0 AND position = 3".to_owned(),
    ];
    scene.process.stop().await;
    let right = Backup::take(&scene.gate).await;
    for case in &cases {
        scene.tamper(&[case]).await;
        scene.process.start_again_to_refuse().await;
        scene.stopped("Nothing is decided").await;
        scene.assert_refuses(&pending, "log_entry_invalid").await;
        scene.process.stop().await;
        right.restore().await;
    }
    scene.process.start_again().await;
    assert_eq!(scene.gate.changes_of_cloud_run().await, 0);
    scene.assert_works().await;
    scene.end().await;
}

/// Has the ledger say that a key is revoked, and the key's row not.
async fn revoke_in_the_ledger(gate: &Gate, credential: &str) {
    let storage = storage(gate).await;
    let mut writer = storage.begin().await.unwrap();
    let person = json!({"issuer": "https://directory.example.com", "subject": "somebody"});
    let data = json!({
        "credential": credential, "person": person, "by": person, "by_name": "Somebody", "reason": "lost",
    });
    writer.record("credential.revoked", data, Clock::system().now()).await.unwrap();
    writer.commit().await.unwrap();
    storage.close().await;
}

async fn a_revocation_is_known_outside(mut scene: Scene) {
    let id = scene.gate.asked(json!({})).await;
    let statement = scene.alice.statement(&id, json!({"decision": "approve"})).await.unwrap();
    let signed = scene.alice.signed(&statement, &[]).unwrap();
    let credential = signed["credential"]["id"].as_str().unwrap().to_owned();
    scene.meanwhile(async |gate| revoke_in_the_ledger(gate, &credential).await).await;
    for _ in 0..2 {
        let path = format!("/approvals/{id}/decisions");
        let refused = scene.alice.browser.post(&path, &signed).await.unwrap_err();
        assert!(refused.contains("403") && refused.contains("was revoked"), "{refused}");
        let refused = scene.alice.statement(&id, json!({"decision": "approve"})).await;
        assert!(refused.unwrap_err().contains("no key"));
        // Once more after a start that begins behind the entry: the head outside says it.
        scene.meanwhile(async |_| {}).await;
    }
    let head: Value = serde_json::from_str(&scene.head().await).unwrap();
    assert!(head["revoked"][&credential].is_u64(), "{head:#}");
    assert_eq!(scene.gate.approval(&id).await["status"], "pending");
    assert_eq!(scene.gate.changes_of_cloud_run().await, 0);
    // A new key is another one.
    scene.alice = scene.gate.approver("alice").await;
    scene.assert_works().await;
    scene.tamper(&["UPDATE credentials SET status = 'revoked' WHERE enrolment_entry < 5"]).await;
    scene.end().await;
}

async fn a_key_revoked_before_the_rollout_rolls_nothing_out(mut scene: Scene) {
    let id = scene.gate.asked(json!({})).await;
    let held = json!({"kind": "delay", "milliseconds": FOR_EVER});
    let held = scene.gate.fault(fault_at("GET", "/services/", 1, held)).await;
    let approved = scene.alice.approve(&id).await;
    approved.unwrap();
    scene.gate.until_hit(held).await;
    scene.process.kill().await;
    scene.gate.no_faults().await;
    let evidence = storage(&scene.gate).await;
    let stored = evidence.approval(&id.parse().unwrap()).await.unwrap().unwrap();
    evidence.close().await;
    drop(evidence);
    revoke_in_the_ledger(&scene.gate, &stored.approval.decisions[0].credential).await;
    scene.tamper(&["UPDATE jobs SET lease_until = 0 WHERE lease_until IS NOT NULL"]).await;
    scene.process.start_again().await;
    let ended = scene.gate.ended(&id).await;
    assert_eq!(ended["status"], "needs_attention", "{ended:#}");
    assert!(ended["status_sentence"].as_str().unwrap().contains("credential_revoked"), "{ended:#}");
    assert_eq!(scene.gate.changes_of_cloud_run().await, 0);
    scene.tamper(&["UPDATE credentials SET status = 'revoked'"]).await;
    scene.end().await;
}

async fn a_head_of_another_log_stops_the_gate(mut scene: Scene) {
    let pending = scene.gate.asked(json!({})).await;
    scene.process.stop().await;
    let right = scene.head().await;
    for wrong in ["", "{}", &right.replace("/log\\n", "/gol\\n"), &right[..right.len() - 1]] {
        scene.put_head(wrong).await;
        scene.process.start_again_to_refuse().await;
        scene.stopped("holds no head").await;
        scene.assert_refuses(&pending, "log_head_unavailable").await;
        scene.process.stop().await;
    }
    scene.put_head(&right).await;
    scene.process.start_again().await;
    scene.assert_works().await;
    scene.end().await;
}
