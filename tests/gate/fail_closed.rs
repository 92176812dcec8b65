//! The ledger, the disk or the signing key cannot be written or read: nothing is decided and nothing is
//! rolled out, the reason is shown, and when the fault is gone the gate goes on by itself.
//!
//! The faults are real ones: files that may not grow, permissions, a PostgreSQL that is away or set
//! read-only, connections that end at the very moment of a commit.

mod commits;
mod object;
mod starts;

use std::path::PathBuf;
use std::time::Duration;

use countersign::cli::demo::approver::Approver;
use serde_json::{Value, json};

use crate::support::gate::{Answer, Engine, Gate, NEW_SERVICE, send};
use crate::support::postgres;
use crate::support::process::{GateProcess, free_port};
use crate::support::severed::Severed;

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk() {
    refuses_and_goes_on(Engine::Sqlite, Fault::FullDisk).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_that_is_away() {
    refuses_and_goes_on(Engine::Postgres, Fault::Away).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_that_is_read_only() {
    refuses_and_goes_on(Engine::Postgres, Fault::ReadOnly).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_cannot_be_kept_beside_sqlite() {
    refuses_and_goes_on(Engine::Sqlite, Fault::NoHead).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_cannot_be_kept_beside_postgres() {
    refuses_and_goes_on(Engine::Postgres, Fault::NoHead).await;
}

/// A file of this size holds the head of the log, and nothing more of what SQLite or the gate's own log
/// have written by then.
const SMALL: u64 = 4096;

/// What is the matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// No file may grow.
    FullDisk,
    /// The server refuses connections, and those that were there end.
    Away,
    /// The database takes no writes. Sessions that began so stay so.
    ReadOnly,
    /// The log's head cannot be written beside the old one.
    NoHead,
}

impl Fault {
    /// The stable code of what is refused, and words that say why.
    fn told_as(self) -> (&'static str, &'static str) {
        match self {
            // Linux tells a limit from a full disk (EFBIG, ENOSPC), and SQLite says so.
            Self::FullDisk => ("database_unavailable", "the database fails when it is"),
            Self::Away => ("database_unavailable", "the database cannot be reached"),
            Self::ReadOnly => ("database_unavailable", "the database can be read and not written"),
            Self::NoHead => ("log_head_unavailable", "cannot be kept outside the database"),
        }
    }

    async fn begin(self, scene: &mut Scene) {
        match self {
            Self::FullDisk => scene.process.limit_files(Some(SMALL)).await,
            Self::Away => scene.way.as_mut().unwrap().close().await,
            Self::ReadOnly => postgres::set_read_only(&scene.database(), true).await,
            Self::NoHead => std::fs::create_dir(scene.new_head()).unwrap(),
        }
    }

    async fn end(self, scene: &mut Scene) {
        match self {
            Self::FullDisk => scene.process.limit_files(None).await,
            Self::Away => scene.way.as_mut().unwrap().open().await,
            Self::ReadOnly => postgres::set_read_only(&scene.database(), false).await,
            Self::NoHead => std::fs::remove_dir(scene.new_head()).unwrap(),
        }
    }
}

/// A gate in a process of its own, a way to its PostgreSQL that can be severed, and an approver.
struct Scene {
    // Dropped first: it shows its log when a test fails.
    process: GateProcess,
    gate: Gate,
    alice: Approver,
    /// With PostgreSQL.
    way: Option<Severed>,
}

impl Scene {
    async fn new(engine: Engine) -> Self {
        let way = match engine {
            Engine::Sqlite => None,
            Engine::Postgres => Some(Severed::to(&postgres::server_url()).await),
        };
        let severable = |url: String| way.as_ref().map_or(url.clone(), |way| way.url(&url));
        let gate = Gate::around_database(engine, free_port(), severable).await;
        gate.ready_delay(0).await;
        let process = GateProcess::start(&gate).await;
        let alice = gate.approver("alice").await;
        Self { gate, process, alice, way }
    }

    /// The URL of the gate's database on a server.
    fn database(&self) -> String {
        let url = self.gate.servers.files.folder.join("database-url");
        std::fs::read_to_string(url).unwrap()
    }

    /// Where a new head is written before it takes the old one's name.
    fn new_head(&self) -> PathBuf {
        let port = self.gate.servers.gate.rsplit(':').next().unwrap();
        self.gate.servers.files.folder.join(format!("log-head-{port}.json.new"))
    }

    async fn readiness(&self) -> Answer {
        send(self.gate.http.get(self.gate.url("/health/ready"))).await
    }

    /// Waits until the gate says that it does nothing, and why.
    async fn stopped(&self, words: &str) {
        self.gate
            .until(words, async || {
                let ready = self.readiness().await;
                ready.status == 503 && ready.body["problems"].to_string().contains(words)
            })
            .await;
    }

    async fn going_on(&self) {
        // What refused everybody closes its connections when the gate begins: one of them may be ours.
        let is_ready = async || {
            let request = self.gate.http.get(self.gate.url("/health/ready"));
            request.send().await.is_ok_and(|answer| answer.status() == 200)
        };
        self.gate.until("the gate goes on", is_ready).await;
    }

    async fn asked(&self) -> String {
        self.gate.asked(json!({"subject": {"service": NEW_SERVICE, "steps": [100]}})).await
    }

    /// An approval and alice's signature under it, which was not sent.
    async fn signed(&mut self) -> (String, Value) {
        let id = self.asked().await;
        let signed = self.sign(&id).await;
        (id, signed)
    }

    async fn sign(&mut self, id: &str) -> Value {
        let statement = self.alice.statement(id, json!({"decision": "approve"})).await.unwrap();
        self.alice.signed(&statement, &[]).unwrap()
    }

    async fn send(&mut self, id: &str, signed: &Value) -> Result<Value, String> {
        self.alice.browser.post(&format!("/approvals/{id}/decisions"), signed).await
    }

    /// The same signature counts now, and what it signs is rolled out.
    async fn succeeds(&mut self, id: &str, signed: &Value) {
        let approval = self.gate.approval(id).await;
        assert_eq!(approval["status"], "pending", "{approval:#}");
        assert_eq!(approval["decisions"].as_array().unwrap().len(), 0);
        self.send(id, signed).await.unwrap();
        assert_eq!(self.gate.ended(id).await["status"], "succeeded");
    }

    async fn end(self) {
        self.process.end().await;
        self.gate.finish().await;
    }
}

/// A fault that begins in the middle of a rollout, with a signature on its way.
async fn refuses_and_goes_on(engine: Engine, fault: Fault) {
    let mut scene = Scene::new(engine).await;
    let (code, words) = fault.told_as();
    if matches!(fault, Fault::FullDisk | Fault::ReadOnly) {
        is_told_before_anybody_signs(&mut scene, fault).await;
    }
    let rolling = scene.gate.asked(json!({})).await;
    let plan = scene.gate.signed(&rolling).await;
    let pending = scene.asked().await;
    scene.gate.clear_journal().await;
    let held = scene.gate.hold("GET", 1).await;
    scene.alice.approve(&rolling).await.unwrap();
    scene.gate.until_hit(held).await;
    let signed = scene.sign(&pending).await;
    fault.begin(&mut scene).await;
    scene.gate.no_faults().await;

    if fault == Fault::NoHead {
        // It is noticed at the next look, before which a decision may still be recorded.
        scene.stopped(words).await;
    }
    let refused = scene.send(&pending, &signed).await.unwrap_err();
    assert!(refused.contains("503") && refused.contains(code), "{refused}");
    scene.stopped(words).await;
    let asked = scene.gate.ask(json!({})).await;
    asked.assert_problem(503, code);
    let detail = asked.body["detail"].as_str().unwrap();
    assert!(detail.contains(&words[1..]) && detail.contains("Nothing was changed"), "{detail}");
    let refused = scene.alice.statement(&pending, json!({"decision": "approve"})).await;
    assert!(refused.unwrap_err().contains("503"));
    let page = scene.gate.http.get(scene.gate.url("/signed-out")).send().await.unwrap();
    let page = page.text().await.unwrap();
    assert!(page.contains("Nothing is decided and nothing is rolled out"), "{page}");
    assert!(page.contains(words), "{page}");
    if fault != Fault::Away {
        let page = scene.alice.browser.open(&format!("/approvals/{pending}"), "alice").await;
        assert!(page.unwrap().contains(words));
    }
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(scene.gate.changes_of_cloud_run().await, 0);

    fault.end(&mut scene).await;
    scene.going_on().await;
    let ended = scene.gate.ended(&rolling).await;
    assert_eq!(ended["status"], "succeeded", "{ended:#}");
    scene.gate.assert_writes(&plan, &plan.whole_plan()).await;
    scene.succeeds(&pending, &signed).await;
    scene.end().await;
}

/// Nobody asks for anything, and whoever looks is told all the same, for as long as it lasts.
async fn is_told_before_anybody_signs(scene: &mut Scene, fault: Fault) {
    fault.begin(scene).await;
    scene.stopped(fault.told_as().1).await;
    for _ in 0..25 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(scene.readiness().await.status, 503);
    }
    fault.end(scene).await;
    scene.going_on().await;
}
