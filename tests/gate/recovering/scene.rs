//! A gate with pinned keys whose database loses what came after a backup.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use countersign::cli::demo::approver::Approver;
use countersign::cli::demo::browser::Browser;
use countersign::clock::Clock;
use countersign::config::Config;
use countersign::domain::recovery::FrozenRecovery;
use countersign::gate::GateError;
use countersign::gate::recover::{make_links, prepare};
use countersign::proof::base64url;
use countersign::proof::checkpoint::TrustedLog;
use countersign::proof::evidence::Trust;
use countersign::proof::log_head::SeenHead;
use countersign::sandbox::authenticator::Fault;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::cloud_run::{FOR_EVER, fault_at};
use crate::support::database::{Backup, storage, tamper};
use crate::support::gate::{Answer, Engine, Gate, send};
use crate::support::process::{GateProcess, free_port};

/// A gate in a process of its own, and two people whose keys are pinned.
pub struct Scene {
    pub engine: Engine,
    pub gate: Gate,
    pub process: GateProcess,
    pub alice: Approver,
    /// Alice with another key, pinned as well, where two people must sign.
    pub spare: Option<Approver>,
    pub bob: Approver,
}

impl Scene {
    /// So many people must sign for a recovery.
    pub async fn new(engine: Engine, signatures: u8) -> Self {
        let gate = Gate::around(engine, free_port()).await;
        gate.ready_delay(0).await;
        let mut process = GateProcess::start(&gate).await;
        let mut alice = gate.approver("alice").await;
        let spare = if signatures > 1 { Some(gate.approver("alice").await) } else { None };
        let bob = gate.approver("bob").await;
        process.stop().await;
        let memory = storage(&gate).await;
        let keys = memory.credentials().await.unwrap();
        let keys = keys.iter().map(|key| format!("\"{}\"", base64url::encode(&key.public_key)));
        let keys = keys.collect::<Vec<_>>().join(", ");
        memory.close().await;
        drop(memory);
        let pins = format!("[trust]\nendorsers = [{keys}]\nrecovery_signatures = {signatures}\n");
        gate.servers.files.edit_config(|text| text.replace("[trust]\n", &pins)).unwrap();
        process.start_again().await;
        gate.sign_rules(&mut [&mut alice]).await;
        Self { engine, gate, process, alice, spare, bob }
    }

    pub fn config(&self) -> Config {
        Config::load(&self.gate.servers.files.config, &BTreeMap::new()).unwrap()
    }

    pub fn trust(&self) -> Trust {
        self.config().trust()
    }

    pub async fn tamper(&self, statements: &[&str]) {
        tamper(&self.gate, self.engine, statements).await;
    }

    /// Stops the gate, copies its database, and starts it again.
    pub async fn backup(&mut self) -> Backup {
        self.process.stop().await;
        let backup = Backup::take(&self.gate).await;
        self.process.start_again().await;
        backup
    }

    /// Approves a request and kills the gate after it began the rollout and before it called anybody:
    /// the request, and the database then.
    pub async fn backup_of_a_rollout(&mut self) -> (String, Backup) {
        let id = self.gate.asked(json!({})).await;
        let held = json!({"kind": "delay", "milliseconds": FOR_EVER});
        let held = self.gate.fault(fault_at("GET", "/services/", 1, held)).await;
        self.alice.approve(&id).await.unwrap();
        self.gate.until_hit(held).await;
        self.process.kill().await;
        self.gate.no_faults().await;
        let backup = Backup::take(&self.gate).await;
        self.process.start_again().await;
        if self.engine == Engine::Postgres {
            // The lease of the killed process is not waited for.
            self.tamper(&["UPDATE jobs SET lease_until = 0"]).await;
        }
        (id, backup)
    }

    /// Puts the backup in the place of the database, and starts the gate, which stops at once.
    pub async fn restore(&mut self, backup: &Backup) {
        self.process.stop().await;
        backup.restore().await;
        self.process.start_again_to_refuse().await;
        self.stopped("the database lost what came after").await;
    }

    pub async fn readiness(&self) -> Answer {
        send(self.gate.http.get(self.gate.url("/health/ready"))).await
    }

    /// Waits until the gate says that it does nothing, and why.
    pub async fn stopped(&self, words: &str) {
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
    pub async fn going_on(&self) {
        self.gate.until("the gate goes on", async || self.readiness().await.status == 200).await;
    }

    /// Nothing is acted on, now and a little later.
    pub async fn still_stopped(&self) {
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        assert_eq!(self.readiness().await.status, 503);
        assert_eq!(self.gate.changes_of_cloud_run().await, 0);
        self.gate.ask(json!({})).await.assert_problem(503, "log_shrunk");
    }

    pub fn head_file(&self) -> PathBuf {
        let folder = std::fs::read_dir(&self.gate.servers.files.folder).unwrap();
        let mut paths = folder.map(|entry| entry.unwrap().path());
        let is_head = |path: &PathBuf| {
            let name = path.file_name().unwrap().to_str().unwrap();
            name.starts_with("log-head-") && name.ends_with(".json")
        };
        paths.find(is_head).expect("the gate keeps the head in a file")
    }

    /// The head that is kept outside the database.
    pub fn seen(&self) -> SeenHead {
        let text = std::fs::read_to_string(self.head_file()).unwrap();
        SeenHead::parse(&text, &TrustedLog::parse(&self.trust().log).unwrap()).unwrap()
    }

    /// What `countersign recover` does before it waits, with the gate stopped meanwhile: the statement and
    /// the links.
    pub async fn prepared(&mut self) -> Result<(FrozenRecovery, Vec<String>), GateError> {
        self.process.stop().await;
        let memory = storage(&self.gate).await;
        let (trust, seen) = (self.trust(), self.seen());
        let now = Clock::system().now();
        let prepared = match prepare(&memory, &trust, &seen, now).await {
            Ok(statement) => {
                let links = make_links(&memory, &trust, &statement).await.unwrap();
                Ok((statement, links))
            }
            Err(error) => Err(error),
        };
        memory.close().await;
        drop(memory);
        self.process.start_again_to_refuse().await;
        prepared
    }

    /// A browser that opened none.
    pub fn opened_nothing(&self) -> Link {
        let browser = Browser::new(&self.gate.servers.gate).unwrap();
        Link { origin: self.gate.servers.gate.clone(), browser }
    }

    /// A browser that opened a link.
    pub async fn opened(&self, token: &str) -> Link {
        let mut link = self.opened_nothing();
        link.browser.post("/recovery", &json!({"token": token})).await.unwrap();
        link
    }

    /// One pinned person signs, and the gate goes on.
    pub async fn recover(&mut self) -> FrozenRecovery {
        let (statement, links) = self.prepared().await.unwrap();
        let mut link = self.opened(&links[0]).await;
        assert_eq!(link.sign(&mut self.alice).await.unwrap()["continue"], "/recovery?done=1");
        self.going_on().await;
        statement
    }

    /// A rollout goes through: everything works.
    pub async fn assert_works(&mut self) {
        // Tokens tell whole seconds, and one of the second of a recovery is of before it.
        tokio::time::sleep(Duration::from_secs(1)).await;
        self.alice.sign_in("alice").await.unwrap();
        let id = self.gate.asked(json!({"subject": {"steps": [100]}})).await;
        self.alice.approve(&id).await.unwrap();
        assert_eq!(self.gate.ended(&id).await["status"], "succeeded");
    }

    /// A witness of the sandbox watches the log that `trust` names, too.
    pub async fn watched(&self, trust: &Trust) {
        let lever = json!({"log": trust.log});
        self.gate.sandbox(Method::PUT, "/_sandbox/witness/w", Some(lever)).await;
    }

    /// The checkpoint that the gate shows.
    pub async fn checkpoint(&self) -> String {
        let answer = send(self.gate.http.get(self.gate.url("/log/checkpoint"))).await;
        answer.body.as_str().unwrap().to_owned()
    }

    pub async fn end(self) {
        self.process.end().await;
        self.gate.finish().await;
    }
}

/// A browser at the page of a recovery.
pub struct Link {
    origin: String,
    pub browser: Browser,
}

impl Link {
    pub async fn page(&mut self) -> String {
        self.browser.open("/recovery", "nobody").await.unwrap()
    }

    /// What the page asks the browser's dialog for.
    pub async fn options(&mut self) -> Value {
        let page = self.page().await;
        let (_, rest) = page.split_once("data-options=\"").expect("the page shows what is signed");
        let options = rest.split('"').next().unwrap().replace("&#34;", "\"");
        serde_json::from_str(&options).unwrap()
    }

    /// Signs what the page shows.
    pub async fn sign(&mut self, person: &mut Approver) -> Result<Value, String> {
        self.sign_with(person, &[]).await
    }

    pub async fn sign_with(
        &mut self,
        person: &mut Approver,
        faults: &[Fault],
    ) -> Result<Value, String> {
        let options = self.options().await;
        let signed = person.authenticator.assert_with(&options, &self.origin, faults).unwrap();
        self.send(&signed).await
    }

    pub async fn send(&mut self, signed: &Value) -> Result<Value, String> {
        self.browser.post("/recovery/signatures", &json!({"credential": signed})).await
    }
}
