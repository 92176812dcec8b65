//! The gate under test, in this process, and everybody around it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use countersign::cli::demo::approver::Approver;
use countersign::cli::demo::pipeline::until_ready;
use countersign::cli::demo::{Placement, Servers};
use countersign::clock::Clock;
use countersign::config::Config;
use countersign::proof::verify::{Verified, verify};
use countersign::sandbox::authenticator::SoftwareAuthenticator;
use reqwest::{Method, StatusCode};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use sqlx::{AnyConnection, Connection};
use tempfile::TempDir;

pub const SERVICE: &str = "projects/demo/locations/europe-west1/services/web";
pub const NEW_SERVICE: &str = "projects/demo/locations/europe-west1/services/api";

use crate::support::bundles::leave_all;

/// The two databases; every test of the gate runs on both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    Sqlite,
    Postgres,
}

/// Declares each named `async fn(Engine)` of the file as a test on SQLite and on PostgreSQL.
macro_rules! on_both_engines {
    ($($name:ident),* $(,)?) => {
        mod on_sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name(crate::support::gate::Engine::Sqlite).await;
            })*
        }
        mod on_postgres {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name(crate::support::gate::Engine::Postgres).await;
            })*
        }
    };
}
pub(crate) use on_both_engines;

/// An answer of the gate.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: reqwest::header::HeaderMap,
    pub body: Value,
}

impl Answer {
    /// The stable code of a problem.
    pub fn code(&self) -> &str {
        let kind = self.body["type"].as_str().unwrap_or_default();
        kind.strip_prefix("urn:countersign:problem:")
            .unwrap_or_else(|| panic!("no problem: {self:?}"))
    }

    /// Asserts that it is a problem with this status and code, in the right form.
    pub fn assert_problem(&self, status: u16, code: &str) {
        assert_eq!((self.status.as_u16(), self.code()), (status, code), "{:#}", self.body);
        assert_eq!(self.headers["content-type"], "application/problem+json");
        assert_eq!(self.body["status"], status);
        assert!(self.body["detail"].as_str().unwrap().len() > 20, "{:#}", self.body);
        assert!(self.headers.contains_key("x-request-id"));
    }

    pub fn id(&self) -> String {
        self.body["id"].as_str().unwrap_or_else(|| panic!("no id: {self:?}")).to_owned()
    }
}

/// The gate, its sandbox, and a pipeline to ask with.
pub struct Gate {
    pub servers: Servers,
    pub http: reqwest::Client,
    counter: AtomicU64,
    placement: Placement,
    /// The authenticators of everybody so far.
    people: Mutex<BTreeMap<String, Vec<SoftwareAuthenticator>>>,
    _folder: TempDir,
}

impl Gate {
    /// A gate in this process.
    pub async fn start(engine: Engine) -> Self {
        Self::start_with(engine, |config| config).await
    }

    /// The same with another configuration: `edit` gets the text of the demo's.
    pub async fn start_with(engine: Engine, edit: impl FnOnce(String) -> String) -> Self {
        let (folder, placement) = placement(engine).await;
        let servers = Servers::start_with(placement.clone(), edit).await.unwrap();
        let gate = Self::of(servers, placement, folder);
        until_ready(&gate.servers.gate).await.unwrap();
        gate
    }

    /// Everything around a gate that is to listen on this port: it runs in processes of its own,
    /// which the test starts.
    pub async fn around(engine: Engine, port: u16) -> Self {
        Self::around_database(engine, port, |url| url).await
    }

    /// The same with another way to its PostgreSQL: `way` gets the URL of the database.
    pub async fn around_database(
        engine: Engine,
        port: u16,
        way: impl FnOnce(String) -> String,
    ) -> Self {
        let (folder, mut placement) = placement(engine).await;
        placement.database = placement.database.map(way);
        let origin = format!("http://localhost:{port}");
        let servers = Servers::around(origin, placement.clone()).await.unwrap();
        Self::of(servers, placement, folder)
    }

    /// The same gate, stopped and started again with another configuration.
    pub async fn restart_with(self, edit: impl FnOnce(String) -> String) -> Self {
        let gate = self.restart(edit, async |_: &Self| ()).await;
        until_ready(&gate.servers.gate).await.unwrap();
        gate
    }

    /// The same, and `at_rest` is done to what the stopped gate left, its new configuration included. It may
    /// not become ready again.
    pub async fn restart(
        self,
        edit: impl FnOnce(String) -> String,
        at_rest: impl AsyncFnOnce(&Self),
    ) -> Self {
        let Self { servers, placement, counter, people, _folder: folder, .. } = self;
        let port = |origin: &str| origin.rsplit(':').next().unwrap().parse().unwrap();
        let (port, sandbox_port) = (port(&servers.gate), port(&servers.sandbox));
        let origin = servers.gate.clone();
        servers.stop().await;
        let placement = Placement { port, sandbox_port, ..placement };
        let around = Servers::around(origin, placement.clone()).await.unwrap();
        around.files.edit_config(edit).unwrap();
        // The same pipeline goes on, so its numbers do.
        let stopped = Self { counter, people, ..Self::of(around, placement, folder) };
        at_rest(&stopped).await;
        let Self { servers, placement, counter, people, _folder: folder, .. } = stopped;
        let text = std::fs::read_to_string(&servers.files.config).unwrap();
        servers.stop().await;
        let servers = Servers::start_with(placement.clone(), |_| text).await.unwrap();
        Self { counter, people, ..Self::of(servers, placement, folder) }
    }

    fn of(servers: Servers, placement: Placement, folder: TempDir) -> Self {
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(Duration::from_secs(120))
            .build()
            .unwrap();
        let (counter, people) = (AtomicU64::new(1), Mutex::default());
        Self { servers, http, counter, placement, people, _folder: folder }
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.servers.gate)
    }

    /// A different number each time.
    pub fn unique(&self) -> u64 {
        self.counter.fetch_add(1, Ordering::Relaxed)
    }

    /// A fresh workload token; `claims` replace the defaults.
    pub async fn token(&self, claims: Value) -> String {
        let answer = self.sandbox(Method::POST, "/tokens", Some(claims)).await;
        answer["token"].as_str().unwrap().to_owned()
    }

    /// Calls the sandbox.
    pub async fn sandbox(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let mut request = self.http.request(method, format!("{}{path}", self.servers.sandbox));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.unwrap();
        let text = answer.text().await.unwrap();
        serde_json::from_str(&text).unwrap_or(Value::String(text))
    }

    /// A request that the gate accepts; `changes` are merged in (null removes).
    pub fn request_body(&self, changes: Value) -> Value {
        let digest = format!("{:064x}", self.unique());
        let mut body = json!({
            "environment": "production",
            "subject": {
                "kind": "deployment",
                "service": SERVICE,
                "image": format!("europe-docker.pkg.dev/demo/app/web@sha256:{digest}"),
            },
            "reason": "Fixes the checkout on phones",
        });
        merge(&mut body, changes);
        body
    }

    /// Asks with a fresh token and a fresh key.
    pub async fn ask(&self, changes: Value) -> Answer {
        let key = format!("key-{}", self.unique());
        let body = self.request_body(changes);
        self.ask_as(&self.token(json!({})).await, &key, &body).await
    }

    /// Asks with this token, key and body.
    pub async fn ask_as(&self, token: &str, key: &str, body: &Value) -> Answer {
        let request = self.http.post(self.url("/v1/approvals")).bearer_auth(token);
        send(request.header("Idempotency-Key", key).json(body)).await
    }

    /// Asks and expects that it is stored.
    pub async fn asked(&self, changes: Value) -> String {
        let answer = self.ask(changes).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
        answer.id()
    }

    /// Reads a path of the API with a fresh token of the usual requester.
    pub async fn get(&self, path: &str) -> Answer {
        self.get_as(path, &self.token(json!({})).await).await
    }

    pub async fn get_as(&self, path: &str, token: &str) -> Answer {
        send(self.http.get(self.url(path)).bearer_auth(token)).await
    }

    /// Posts to a path of the API with a fresh token of the usual requester.
    pub async fn post(&self, path: &str, body: Value) -> Answer {
        let token = self.token(json!({})).await;
        send(self.http.post(self.url(path)).bearer_auth(token).json(&body)).await
    }

    pub async fn approval(&self, id: &str) -> Value {
        self.get(&format!("/v1/approvals/{id}")).await.body
    }

    /// Why the worker does not go on with an approval, as its job says.
    pub async fn reason_to_wait(&self, id: &str) -> Option<String> {
        sqlx::any::install_default_drivers();
        let config = Config::load(&self.servers.files.config, &BTreeMap::new()).unwrap();
        let mut connection = AnyConnection::connect(config.database.expose_secret()).await.unwrap();
        let sql = "SELECT last_error FROM jobs WHERE approval_id = $1";
        let found = sqlx::query_scalar(sql).bind(id.to_owned());
        let found: Option<Option<String>> = found.fetch_optional(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        found.flatten()
    }

    /// The evidence of an approval, verified.
    pub async fn proved(&self, id: &str) -> Verified {
        let token = self.token(json!({})).await;
        let request = self.http.get(self.url(&format!("/v1/approvals/{id}/evidence")));
        let file = request.bearer_auth(token).send().await.unwrap().bytes().await.unwrap();
        let config = Config::load(&self.servers.files.config, &BTreeMap::new()).unwrap();
        verify(&file, &config.trust()).unwrap_or_else(|failure| panic!("{failure}"))
    }

    /// Waits until the approval has ended.
    pub async fn ended(&self, id: &str) -> Value {
        let mut version = 0;
        for _ in 0..200 {
            let approval =
                self.get(&format!("/v1/approvals/{id}?wait=20&version={version}")).await.body;
            if !["pending", "approved", "executing"].contains(&approval["status"].as_str().unwrap())
            {
                return approval;
            }
            version = approval["version"].as_u64().unwrap();
        }
        panic!("{id} does not end");
    }

    /// A person of the directory, signed in, with a key.
    pub async fn approver(&self, name: &str) -> Approver {
        let mut approver = Approver::new(&self.servers.gate).unwrap();
        approver.sign_in(name).await.unwrap();
        let mut fresh = SoftwareAuthenticator::new();
        // Whoever came before signs for it with a key that they have.
        let earlier = self.people.lock().unwrap().get(name).cloned().unwrap_or_default();
        let mut registered = Err(String::new());
        for authenticator in earlier.into_iter().rev().chain([SoftwareAuthenticator::new()]) {
            approver.authenticator = authenticator;
            registered = approver.register_key_on(&mut fresh).await;
            if registered.is_ok() {
                break;
            }
        }
        registered.unwrap();
        approver.authenticator = fresh.clone();
        self.people.lock().unwrap().entry(name.to_owned()).or_default().push(fresh);
        approver
    }

    /// Whether a person of the directory can sign in.
    pub async fn sign_in_alone(&self, name: &str) -> Result<(), String> {
        Approver::new(&self.servers.gate)?.sign_in(name).await
    }

    /// Every call of this method to Cloud Run whose path contains `part`.
    pub async fn calls(&self, method: &str, part: &str) -> Vec<Value> {
        let journal = self.sandbox(Method::GET, "/_sandbox/journal", None).await;
        let calls = journal["calls"].as_array().unwrap().clone();
        calls
            .into_iter()
            .filter(|call| {
                call["method"] == method && call["path"].as_str().unwrap().contains(part)
            })
            .collect()
    }

    /// How many calls changed Cloud Run.
    pub async fn changes_of_cloud_run(&self) -> usize {
        let patches = self.calls("PATCH", "/v2/").await.len();
        patches
            + self.calls("POST", "/services?").await.len()
            + self.calls("POST", "/workerPools?").await.len()
            + self.calls("DELETE", "/v2/").await.len()
    }

    /// The service as Cloud Run shows it.
    pub async fn service(&self) -> Value {
        self.sandbox(Method::GET, &format!("/v2/{SERVICE}"), None).await
    }

    /// Stops the gate and checks what must hold after every test: the ledger verifies and explains
    /// every state, no work is left behind, and the evidence of every approval verifies.
    pub async fn finish(self) {
        use countersign::storage::{Storage, audit::verify_ledger};
        let config = Config::load(&self.servers.files.config, &BTreeMap::new()).unwrap();
        keep_keys(&self.servers.files.folder);
        self.servers.stop().await;
        let database = config.database.expose_secret();
        let storage = Storage::open(database, config.log_key.clone()).await.unwrap();
        let report = verify_ledger(&storage).await.unwrap();
        assert!(report.findings.is_empty(), "{:#?}", report.findings);
        assert_eq!(storage.jobs_open().await.unwrap(), 0, "work was left behind");
        leave_all(&storage, &config.trust()).await;
        storage.close().await;
    }
}

async fn placement(engine: Engine) -> (TempDir, Placement) {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let folder = tempfile::tempdir().unwrap();
    lend_keys(folder.path());
    let database = match engine {
        Engine::Sqlite => None,
        Engine::Postgres => Some(crate::support::postgres::fresh_database().await),
    };
    let data_dir = Some(folder.path().to_owned());
    (folder, Placement { data_dir, database, clock: Clock::system(), ..Placement::default() })
}

/// Where the sandbox keeps the keys of its issuers.
const ISSUER_KEYS: &str = "identity-keys.json";

fn kept_keys() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(ISSUER_KEYS)
}

/// Gives the sandbox the issuers' keys of an earlier test: a new RSA key takes a busy machine seconds,
/// and the gate does not wait that long for a key set.
fn lend_keys(folder: &Path) {
    if kept_keys().exists() {
        std::fs::copy(kept_keys(), folder.join(ISSUER_KEYS)).unwrap();
    }
}

/// Keeps the keys that a test made for the tests after it, once pipelines and people have theirs.
fn keep_keys(folder: &Path) {
    let keys = std::fs::read_to_string(folder.join(ISSUER_KEYS)).unwrap_or_default();
    let is_complete = ["github", "identity"].iter().all(|issuer| keys.contains(issuer));
    if is_complete && !kept_keys().exists() {
        // Renamed into its place, so that nobody reads half of it.
        let beside = tempfile::NamedTempFile::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        std::fs::write(beside.path(), keys).unwrap();
        beside.persist(kept_keys()).unwrap();
    }
}

/// Sends and reads whatever comes back.
pub async fn send(request: reqwest::RequestBuilder) -> Answer {
    let answer = request.send().await.unwrap();
    let (status, headers) = (answer.status(), answer.headers().clone());
    let text = answer.text().await.unwrap();
    let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
    Answer { status, headers, body }
}

/// RFC 7396.
fn merge(target: &mut Value, change: Value) {
    match (target, change) {
        (Value::Object(target), Value::Object(change)) => {
            for (name, value) in change {
                if value.is_null() {
                    target.remove(&name);
                } else {
                    merge(target.entry(name).or_insert(Value::Null), value);
                }
            }
        }
        (target, change) => *target = change,
    }
}
