//! What an append to the ledger costs when it has a thousand entries and when it has a million.
//!
//! `cargo bench --bench append` fills two SQLite databases by the gate's own writer, many entries to a
//! commit, and measures commits of one entry each; with COUNTERSIGN_BENCH_POSTGRES=postgres://… on that
//! server too. `-- --entries 100000` takes another number than a million, `-- --json` prints one line.
//! Both ledgers take turns in short rounds, so that a machine that grows busy slows both alike; the median
//! append of each counts.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement prints or stops")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use countersign::clock::Clock;
use countersign::domain::digest::Digest;
use countersign::domain::log_key::LogKey;
use countersign::randomness;
use countersign::storage::Storage;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

/// How many entries a small ledger has.
const FEW: u64 = 1_000;
/// How many a large one has, if nobody says.
const MANY: u64 = 1_000_000;
/// How many entries share a commit while a ledger is filled.
const AT_ONCE: u64 = 2_000;
const ROUNDS: usize = 20;
/// How many appends of each ledger are measured in a round.
const IN_A_ROUND: usize = 50;
/// Names the server, as a superuser.
const POSTGRES: &str = "COUNTERSIGN_BENCH_POSTGRES";

#[tokio::main]
#[expect(clippy::disallowed_methods, reason = "whoever measures names the server")]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let after = arguments.iter().skip_while(|argument| *argument != "--entries").nth(1);
    let many = after.map_or(MANY, |number| number.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let urls =
        ["few", "many"].map(|name| format!("sqlite://{}/{name}.db", folder.path().display()));
    let mut report = json!({"benchmark": "append", "sqlite": measure(&urls, many).await});
    if let Ok(server) = std::env::var(POSTGRES) {
        let databases = [Database::new(&server).await, Database::new(&server).await];
        let urls = [0, 1].map(|number: usize| databases[number].url.clone());
        report["postgres"] = measure(&urls, many).await;
        for database in databases {
            database.drop(&server).await;
        }
    }
    if arguments.iter().any(|argument| argument == "--json") {
        println!("{report}");
    } else {
        println!("{report:#}");
    }
}

/// The medians of appends to a ledger of few entries and to one of many.
async fn measure(urls: &[String; 2], many: u64) -> Value {
    let few = filled(&urls[0], FEW).await;
    let started = Instant::now();
    let large = filled(&urls[1], many).await;
    let filling = started.elapsed();
    let (mut of_few, mut of_many) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        for (storage, times) in [(&few, &mut of_few), (&large, &mut of_many)] {
            for number in 0..IN_A_ROUND {
                times.push(append(storage, number as u64).await);
            }
        }
    }
    few.close().await;
    large.close().await;
    let (of_few, of_many) = (median(of_few), median(of_many));
    json!({
        "few": FEW,
        "many": many,
        "few_us": microseconds(of_few),
        "many_us": microseconds(of_many),
        "ratio": of_many.as_secs_f64() / of_few.as_secs_f64(),
        "filled_s": filling.as_secs_f64(),
    })
}

/// A ledger with so many entries, each written by the writer that writes all of the gate's.
async fn filled(url: &str, entries: u64) -> Storage {
    let key = Arc::new(LogKey::from_seed(&randomness::bytes::<32>()).unwrap());
    let storage = Storage::open(url, key).await.unwrap();
    let mut written = 0;
    while written < entries {
        let mut writer = storage.begin().await.unwrap();
        let end = entries.min(written + AT_ONCE);
        for number in written..end {
            writer.record(KIND, sign_in(number), Clock::system().now()).await.unwrap();
        }
        writer.commit().await.unwrap();
        written = end;
    }
    storage
}

/// What there are most of: one of a thousand people signs in.
const KIND: &str = "person.signed_in";

fn sign_in(number: u64) -> Value {
    let subject = format!("u-{}", number % 1000);
    let digest = Digest::of(&subject);
    json!({
        "person": {"issuer": "https://directory.example.com", "subject": subject},
        "name": "Alice Example",
        "groups": ["release-managers", "everybody"],
        "auth_time": null,
        "sign_in_digest": digest,
        "sign_in_key": digest,
    })
}

/// One entry, committed for good.
async fn append(storage: &Storage, number: u64) -> Duration {
    let started = Instant::now();
    let mut writer = storage.begin().await.unwrap();
    writer.record(KIND, sign_in(number), Clock::system().now()).await.unwrap();
    writer.commit().await.unwrap();
    started.elapsed()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn microseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// A database of the server, for this run alone.
struct Database {
    name: String,
    url: String,
}

impl Database {
    async fn new(server: &str) -> Self {
        let name = format!("countersign_bench_{:032x}", u128::from_be_bytes(randomness::bytes()));
        execute(server, &format!("CREATE DATABASE {name}")).await;
        let (before, _) = server.rsplit_once('/').unwrap();
        Self { url: format!("{before}/{name}"), name }
    }

    async fn drop(self, server: &str) {
        execute(server, &format!("DROP DATABASE {} WITH (FORCE)", self.name)).await;
    }
}

async fn execute(server: &str, sql: &str) {
    let mut connection = PgConnection::connect(server).await.unwrap();
    connection.execute(AssertSqlSafe(sql.to_owned())).await.unwrap();
}
