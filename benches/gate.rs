//! What the gate costs: ready, remember, ask, wait and release; beside the limits of the machine.
//!
//! `cargo bench --bench gate` measures on SQLite; with COUNTERSIGN_BENCH_POSTGRES=postgres://… on that
//! database too. `-- --json` prints one JSON line. The gate runs as a process of its own; the client,
//! the sandbox and the authenticator run here.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark prints, and stops at the first surprise"
)]

use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use countersign::cli::demo::approver::Approver;
use countersign::cli::demo::files::DemoFiles;
use countersign::cli::demo::pins::of_sandbox;
use countersign::clock::Clock;
use countersign::domain::log_key::LogKey;
use countersign::sandbox::{DEMO_REPOSITORY, DEMO_SERVICE, SandboxSettings, routes};
use countersign::storage::Storage;
use jiff::SignedDuration;
use serde_json::{Value, json};
use sqlx::{Connection, Executor, PgConnection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Names the server that the benchmark may make databases on. The gate refuses variables of its own
/// prefix that it does not know, so it must not see this one.
const POSTGRES: &str = "COUNTERSIGN_BENCH_POSTGRES";
const STARTS: usize = 15;
const APPENDS: usize = 400;
const CREATIONS: usize = 400;
const RELEASES_OF_ONE: usize = 25;

#[tokio::main]
async fn main() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let folder = tempfile::tempdir().unwrap();
    let mut report = serde_json::Map::new();
    report.insert("fdatasync_us".to_owned(), json!(fdatasync(folder.path())));
    let sqlite = |name| format!("sqlite://{}", folder.path().join(name).display());
    let figures = measure(&sqlite("append.db"), &sqlite("gate.db")).await;
    report.insert("sqlite".to_owned(), figures);
    // A benchmark is no part of the program, whose configuration alone reads the environment.
    #[expect(
        clippy::disallowed_methods,
        reason = "the database of a benchmark is named by whoever runs it"
    )]
    if let Ok(server) = std::env::var(POSTGRES) {
        let (appended, served) = (new_database(&server).await, new_database(&server).await);
        report.insert("postgres".to_owned(), measure(&appended, &served).await);
    }
    if std::env::args().any(|argument| argument == "--json") {
        println!("{}", Value::Object(report));
    } else {
        println!("{:#}", Value::Object(report));
    }
}

/// The limit that every durable commit has: the median of writing 4 KiB and waiting for the disk.
fn fdatasync(folder: &std::path::Path) -> f64 {
    let mut file = std::fs::File::create(folder.join("sync")).unwrap();
    median((0..200).map(|_| {
        let started = Instant::now();
        file.write_all(&[0; 4096]).unwrap();
        file.sync_data().unwrap();
        started.elapsed()
    })) * 1000.0
}

/// The median, in milliseconds.
fn median(samples: impl IntoIterator<Item = Duration>) -> f64 {
    let mut samples: Vec<Duration> = samples.into_iter().collect();
    samples.sort();
    samples[samples.len() / 2].as_secs_f64() * 1000.0
}

/// An empty database of this run's own on the server named; it stays there, for whoever wants to look.
async fn new_database(server: &str) -> String {
    let name = format!("bench_{}", countersign::randomness::token::<8>().to_lowercase());
    let name = name.replace('-', "_");
    let mut connection = PgConnection::connect(server).await.unwrap();
    let statement = format!("CREATE DATABASE {name}");
    connection.execute(sqlx::AssertSqlSafe(statement)).await.unwrap();
    let mut url = url::Url::parse(server).unwrap();
    url.set_path(&name);
    url.into()
}

/// Two databases, for a log belongs to one key: the bare ledger's, and the gate's.
async fn measure(appended: &str, served: &str) -> Value {
    let appends_per_second = append(appended).await;
    let world = World::start(served).await;
    let mut ready = Vec::new();
    for _ in 0..STARTS {
        let started = Instant::now();
        let gate = world.spawn_gate();
        world.until_ready().await;
        ready.push(started.elapsed());
        gate.stop().await;
    }
    let gate = world.spawn_gate();
    world.until_ready().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let idle = gate.resident_mebibytes();
    let creations_one = world.create(1).await;
    let creations_many = world.create(16).await;
    let mut approver = Approver::new(&world.gate).unwrap();
    approver.sign_in("alice").await.unwrap();
    approver.register_key().await.unwrap();
    let mut of_one = Vec::new();
    for _ in 0..RELEASES_OF_ONE {
        of_one.push(world.release(&mut approver, 1).await.last);
    }
    let hundred = world.release(&mut approver, 100).await;
    let thousands = world.release(&mut approver, 5_000).await;
    let report = json!({
        "start_to_ready_ms": median(ready),
        "idle_mebibytes": idle,
        "ledger_appends_per_second": appends_per_second,
        "creations_per_second_1_client": creations_one,
        "creations_per_second_16_clients": creations_many,
        "release_1_waiter_median_ms": median(of_one),
        "release_100_waiters_median_ms": hundred.median,
        "release_100_waiters_last_ms": hundred.last.as_secs_f64() * 1000.0,
        "release_5000_waiters_median_ms": thousands.median,
        "release_5000_waiters_last_ms": thousands.last.as_secs_f64() * 1000.0,
        "mebibytes_with_5000_waiters": thousands.resident,
    });
    gate.stop().await;
    report
}

async fn append(database: &str) -> f64 {
    let key = Arc::new(LogKey::from_seed(&[7; 32]).unwrap());
    let storage = Storage::open(database, key).await.unwrap();
    let now = Clock::system().now();
    let started = Instant::now();
    for index in 0..APPENDS {
        let mut writer = storage.begin().await.unwrap();
        writer.record("benchmark", json!({ "index": index }), now).await.unwrap();
        writer.commit().await.unwrap();
    }
    let rate = APPENDS as f64 / started.elapsed().as_secs_f64();
    storage.close().await;
    rate
}

/// Everything around the gate.
struct World {
    gate: String,
    sandbox: String,
    files: DemoFiles,
    http: reqwest::Client,
}

struct GateProcess(Child);

struct Release {
    median: f64,
    last: Duration,
    resident: f64,
}

impl World {
    async fn start(database: &str) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let sandbox = format!("http://localhost:{}", listener.local_addr().unwrap().port());
        let free = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let gate = format!("http://localhost:{}", free.local_addr().unwrap().port());
        drop(free);
        let files = DemoFiles::create(None).unwrap();
        let settings = SandboxSettings {
            base_url: sandbox.clone(),
            gate_origin: gate.clone(),
            data_dir: None,
            clock: Clock::system(),
            ready_delay: SignedDuration::from_millis(5),
        };
        tokio::spawn(axum::serve(listener, routes(settings).unwrap()).into_future());
        let pins = of_sandbox(&sandbox).await.unwrap();
        files.write_config(Some(database), &gate, &sandbox, &pins).unwrap();
        Self { gate, sandbox, files, http: reqwest::Client::new() }
    }

    fn spawn_gate(&self) -> GateProcess {
        let child = Command::new(env!("CARGO_BIN_EXE_countersign"))
            .args(["serve", "--config"])
            .arg(&self.files.config)
            .env_remove(POSTGRES)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        GateProcess(child.unwrap())
    }

    async fn until_ready(&self) {
        loop {
            let answer = self.http.get(format!("{}/health/ready", self.gate)).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    async fn token(&self) -> String {
        let answer = self
            .http
            .post(format!("{}/tokens", self.sandbox))
            .json(&json!({}))
            .send()
            .await
            .unwrap();
        let answer: Value = answer.json().await.unwrap();
        answer["token"].as_str().unwrap().to_owned()
    }

    async fn ask(&self, token: &str, key: &str) -> Value {
        let digest = countersign::domain::digest::Digest::of(key);
        let body = json!({
            "environment": "production",
            "subject": {"kind": "deployment", "service": DEMO_SERVICE, "image": format!("{DEMO_REPOSITORY}@sha256:{digest}"), "steps": [100]},
            "reason": "A benchmark",
        });
        let request = self.http.post(format!("{}/v1/approvals", self.gate)).bearer_auth(token);
        let answer = request.header("Idempotency-Key", key).json(&body).send().await.unwrap();
        assert_eq!(answer.status(), 201, "{}", answer.text().await.unwrap());
        answer.json().await.unwrap()
    }

    /// Creations per second by so many clients at once; tokens are minted beforehand.
    async fn create(&self, clients: usize) -> f64 {
        let mut tokens = Vec::new();
        for _ in 0..CREATIONS {
            tokens.push(self.token().await);
        }
        let share = CREATIONS / clients;
        let started = Instant::now();
        let work = tokens.chunks(share).enumerate().map(|(client, tokens)| async move {
            for (index, token) in tokens.iter().enumerate() {
                self.ask(token, &format!("create-{clients}-{client}-{index}")).await;
            }
        });
        futures::future::join_all(work).await;
        CREATIONS as f64 / started.elapsed().as_secs_f64()
    }

    /// From the posted decision to the first byte of each waiter's answer.
    async fn release(&self, approver: &mut Approver, waiters: usize) -> Release {
        let token = self.token().await;
        let key = countersign::randomness::token::<12>();
        let approval = self.ask(&token, &key).await;
        let id = approval["id"].as_str().unwrap().to_owned();
        let authority = self.gate.trim_start_matches("http://").to_owned();
        let request = format!(
            "GET /v1/approvals/{id}?wait=200&version=1 HTTP/1.1\r\nHost: {authority}\r\nAuthorization: Bearer {token}\r\n\r\n"
        );
        let port: u16 = authority.rsplit(':').next().unwrap().parse().unwrap();
        let mut tasks = Vec::with_capacity(waiters);
        for _ in 0..waiters {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            tasks.push(tokio::spawn(async move {
                let mut buffer = [0; 1024];
                let read = stream.read(&mut buffer).await.unwrap();
                let answered = Instant::now();
                assert!(buffer[..read].starts_with(b"HTTP/1.1 200"));
                // Kept open: what it costs to close a connection is no part of the release.
                (answered, stream)
            }));
        }
        // All requests have been read and registered when the gate has had time to be quiet.
        tokio::time::sleep(Duration::from_millis(200 + waiters as u64)).await;
        let resident = resident_mebibytes_of_port_owner();
        let statement = approver.statement(&id, json!({"decision": "reject"})).await.unwrap();
        let decision = approver.signed(&statement, &[]).unwrap();
        let posted = Instant::now();
        approver.browser.post(&format!("/approvals/{id}/decisions"), &decision).await.unwrap();
        let mut times = Vec::with_capacity(waiters);
        let mut streams = Vec::with_capacity(waiters);
        for task in tasks {
            let (answered, stream) = task.await.unwrap();
            times.push(answered.duration_since(posted));
            streams.push(stream);
        }
        let last = times.iter().max().copied().unwrap();
        Release { median: median(times), last, resident }
    }
}

/// The memory of the one gate process that runs: the child of this benchmark.
fn resident_mebibytes_of_port_owner() -> f64 {
    let own = std::process::id().to_string();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        let fields: Vec<&str> =
            stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        if fields.get(1) == Some(&own.as_str()) {
            return resident_mebibytes(&entry.file_name().to_string_lossy());
        }
    }
    f64::NAN
}

fn resident_mebibytes(process: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line =
        status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default().to_owned();
    let kibibytes: f64 =
        line.split_whitespace().nth(1).and_then(|text| text.parse().ok()).unwrap_or(f64::NAN);
    kibibytes / 1024.0
}

impl GateProcess {
    fn resident_mebibytes(&self) -> f64 {
        resident_mebibytes(&self.0.id().to_string())
    }

    async fn stop(mut self) {
        let process = self.0.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &process]).status();
        let _ = tokio::task::spawn_blocking(move || self.0.wait()).await;
    }
}
