//! Two versions of the gate on one database, as during every update: the next one changes the tables while
//! this one still works, and writes what this one does not know.
//!
//! The next version is played by what it leaves: its migration, its entries, its requests. Two real builds run
//! side by side where `COUNTERSIGN_TEST_BESIDE` names another one.

use std::path::Path;

use countersign::clock::Clock;
use countersign::domain::canonical::to_canonical_json;
use countersign::domain::digest::Digest;
use serde_json::{Value, json};
use sqlx::migrate::Migrator;
use sqlx::{AnyConnection, Connection};

use crate::instances::Fleet;
use crate::support::database::{self, tamper};
use crate::support::gate::{Engine, Gate, on_both_engines};
use crate::support::process::{GateProcess, free_port};

on_both_engines!(
    a_gate_begins_on_the_tables_of_the_next_version,
    a_gate_that_is_too_old_refuses_to_begin,
    what_only_the_next_version_can_read_is_left_to_it,
);

/// What the migration of a next version may do.
const NEXT: &str = "
CREATE TABLE next_things (id INTEGER NOT NULL PRIMARY KEY);
ALTER TABLE approvals ADD COLUMN next_note TEXT;
ALTER TABLE decisions ADD COLUMN next_note TEXT;
ALTER TABLE ledger_entries ADD COLUMN next_note TEXT;
ALTER TABLE credentials ADD COLUMN next_note TEXT;
ALTER TABLE sessions ADD COLUMN next_count INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN next_count INTEGER NOT NULL DEFAULT 0;
CREATE INDEX next_approvals ON approvals (next_note);
";

/// Changes the tables as the next version does at its start.
async fn migrate_to_the_next(gate: &Gate, engine: Engine) {
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(match engine {
        Engine::Sqlite => "sqlite",
        Engine::Postgres => "postgres",
    });
    let folder = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(ours).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), folder.path().join(file.file_name())).unwrap();
    }
    std::fs::write(folder.path().join("9001_next.sql"), NEXT).unwrap();
    let migrations = Migrator::new(folder.path()).await.unwrap();
    let mut connection = connect(gate).await;
    migrations.run(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

async fn connect(gate: &Gate) -> AnyConnection {
    sqlx::any::install_default_drivers();
    AnyConnection::connect(&database::url(gate)).await.unwrap()
}

async fn rolls_out(gate: &Gate) -> bool {
    let mut alice = gate.approver("alice").await;
    let id = gate.asked(json!({})).await;
    alice.approve(&id).await.unwrap();
    gate.ended(&id).await["status"] == "succeeded"
}

async fn a_gate_begins_on_the_tables_of_the_next_version(engine: Engine) {
    let gate = Gate::start(engine).await;
    let mut alice = gate.approver("alice").await;
    let waiting = gate.asked(json!({})).await;
    // The next version was started, wrote an entry of its own, and was taken back.
    let gate = gate
        .restart(
            |config| config,
            async |gate| {
                migrate_to_the_next(gate, engine).await;
                let storage = database::storage(gate).await;
                let mut writer = storage.begin().await.unwrap();
                let now = Clock::system().now();
                writer.record("next.happened", json!({"what": "new"}), now).await.unwrap();
                writer.commit().await.unwrap();
                storage.close().await;
            },
        )
        .await;
    gate.until("the gate is ready", async || {
        let ready = gate.http.get(gate.url("/health/ready")).send().await;
        ready.is_ok_and(|answer| answer.status().is_success())
    })
    .await;
    alice.approve(&waiting).await.unwrap();
    assert_eq!(gate.ended(&waiting).await["status"], "succeeded");
    assert!(rolls_out(&gate).await);
    gate.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_version_migrates_while_this_one_works() {
    let mut fleet = Fleet::of(2).await;
    let mut alice = fleet.gate.approver("alice").await;
    let (waiting, held) = (fleet.gate.asked(json!({})).await, fleet.gate.hold("PATCH", 2).await);
    alice.approve(&waiting).await.unwrap();
    fleet.gate.until_hit(held).await;
    migrate_to_the_next(&fleet.gate, Engine::Postgres).await;
    fleet.gate.no_faults().await;
    assert_eq!(fleet.gate.ended(&waiting).await["status"], "succeeded");
    // Both go on as they are, and begin again as instances do.
    for index in [1, 0] {
        assert!(rolls_out(&fleet.gate).await);
        fleet.instances[index].stop().await;
        fleet.instances[index].start_again().await;
    }
    assert!(rolls_out(&fleet.gate).await);
    fleet.finish().await;
}

async fn a_gate_that_is_too_old_refuses_to_begin(engine: Engine) {
    let gate = Gate::around(engine, free_port()).await;
    let mut process = GateProcess::start(&gate).await;
    process.stop().await;
    tamper(&gate, engine, &["UPDATE oldest_version SET migration = 9001"]).await;
    process.start_again_somehow();
    let (status, log) = process.ended().await;
    assert!(!status.success(), "{status}");
    assert!(log.contains("they need 9001") && log.contains("start the newer version"), "{log}");
    tamper(&gate, engine, &["UPDATE oldest_version SET migration = 15"]).await;
    process.start_again().await;
    process.end().await;
    gate.finish().await;
}

/// What is stored of an approval: its text and digest.
async fn stored(gate: &Gate, id: &str) -> (String, String) {
    let mut connection = connect(gate).await;
    let sql = "SELECT deployment, deployment_digest FROM approvals WHERE id = $1";
    let row = sqlx::query_as(sql).bind(id).fetch_one(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    row
}

async fn store(gate: &Gate, id: &str, (text, digest): &(String, String)) {
    let mut connection = connect(gate).await;
    let sql = "UPDATE approvals SET deployment = $1, deployment_digest = $2 WHERE id = $3";
    let row = sqlx::query(sql).bind(text).bind(digest).bind(id);
    assert_eq!(row.execute(&mut connection).await.unwrap().rows_affected(), 1);
    connection.close().await.unwrap();
}

async fn why_the_job_waits(gate: &Gate, id: &str) -> Option<String> {
    let mut connection = connect(gate).await;
    let sql = "SELECT last_error FROM jobs WHERE approval_id = $1";
    let why = sqlx::query_scalar(sql).bind(id).fetch_one(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    why
}

async fn what_only_the_next_version_can_read_is_left_to_it(engine: Engine) {
    let gate = Gate::start(engine).await;
    let mut alice = gate.approver("alice").await;
    let other = gate.asked(json!({})).await;
    alice.approve(&other).await.unwrap();
    gate.ended(&other).await;
    let id = gate.asked(json!({})).await;
    let held = gate.hold("PATCH", 2).await;
    alice.approve(&id).await.unwrap();
    gate.until_hit(held).await;
    let ours = stored(&gate, &id).await;
    let mut newer: Value = serde_json::from_str(&ours.0).unwrap();
    newer["of_the_next_version"] = json!(true);
    let newer = to_canonical_json(&newer).unwrap();
    let digest = Digest::of(&newer).to_string();
    store(&gate, &id, &(newer, digest)).await;
    gate.clear_journal().await;
    gate.no_faults().await;
    gate.until("the job is left to the next version", async || {
        why_the_job_waits(&gate, &id).await.is_some_and(|why| why.contains("newer version"))
    })
    .await;
    let writes = gate.calls("PATCH", "/services/").await;
    assert!(writes.is_empty(), "it did what it cannot read: {writes:?}");

    let answer = gate.get(&format!("/v1/approvals/{id}")).await;
    answer.assert_problem(503, "newer_version_needed");
    assert!(answer.headers.contains_key("retry-after"), "{answer:?}");
    let list = gate.get("/v1/approvals").await.body;
    assert_eq!((&list["newer"], list["items"].as_array().unwrap().len()), (&json!(1), 1), "{list}");
    let inbox = alice.browser.open("/", "alice").await.unwrap();
    assert!(inbox.contains("One approval is not shown here"), "{inbox}");

    // The next version goes on with it, as this one would if it could read it.
    store(&gate, &id, &ours).await;
    assert_eq!(gate.ended(&id).await["status"], "succeeded");
    assert!(gate.get("/v1/approvals").await.body["newer"].is_null());
    gate.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gate_rolls_itself_out() {
    let mut fleet = Fleet::of(2).await;
    // The new revision runs nothing yet: the old one is asked, signed at, and begins.
    fleet.instances[1].stop().await;
    fleet.gate.ready_delay(0).await;
    let mut alice = fleet.gate.approver("alice").await;
    let id = fleet.gate.asked(json!({})).await;
    let signed = fleet.gate.signed(&id).await;
    fleet.gate.clear_journal().await;
    let held = fleet.gate.hold("PATCH", 2).await;
    alice.approve(&id).await.unwrap();
    fleet.gate.until_hit(held).await;
    // In the middle of that the new revision begins to serve, and the old one is asked to end.
    fleet.instances[1].start_again().await;
    fleet.choose(1).await;
    let (status, _) = fleet.instances[0].stop().await;
    assert!(status.success(), "{status}");
    let ended = fleet.gate.ended(&id).await;
    assert_eq!(ended["status"], "succeeded", "{ended:#}");
    fleet.gate.assert_writes(&signed, &signed.whole_plan()).await;
    fleet.gate.proved(&id).await;
    fleet.instances[0].start_again().await;
    fleet.finish().await;
}
