//! The way between a gate and its PostgreSQL, in the hands of the test: it can be closed, and cut at the
//! very moment of a commit, before the server hears of it or after it is done.

use std::str::FromStr;
use std::sync::{Arc, Mutex};

use sqlx::ConnectOptions;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::support::process::free_port;

/// A query of the simple protocol as it stands on the wire: its letter, its length, its text
/// (PostgreSQL documentation, section 55.7).
const COMMIT: &[u8] = b"Q\x00\x00\x00\x0bCOMMIT\x00";

/// What happens to a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The server never hears of it.
    BeforeIt,
    /// The server did it, and its answer is lost.
    AfterIt,
}

/// What is cut next.
#[derive(Default)]
struct Plan {
    /// How many commits are let through before each one that is cut, and how.
    cut: Option<(u32, Cut)>,
    /// How many passed since the last cut.
    passed: u32,
    /// How many were cut.
    cuts: u32,
}

/// A way to a server that can be severed.
pub struct Severed {
    port: u16,
    server: String,
    plan: Arc<Mutex<Plan>>,
    open: Option<(JoinHandle<()>, watch::Sender<bool>)>,
}

impl Severed {
    /// An open way to the server of this URL.
    pub async fn to(url: &str) -> Self {
        let options = PgConnectOptions::from_str(url).unwrap();
        let server = format!("{}:{}", options.get_host(), options.get_port());
        let mut way = Self { port: free_port(), server, plan: Arc::default(), open: None };
        way.open().await;
        way
    }

    /// The URL of the same database on this way.
    pub fn url(&self, url: &str) -> String {
        let options = PgConnectOptions::from_str(url).unwrap();
        let options = options.host("127.0.0.1").port(self.port).ssl_mode(PgSslMode::Disable);
        options.to_url_lossy().to_string()
    }

    /// Lets connections through.
    pub async fn open(&mut self) {
        let listener = TcpListener::bind(("127.0.0.1", self.port)).await.unwrap();
        let (close, closed) = watch::channel(false);
        let (server, plan) = (self.server.clone(), Arc::clone(&self.plan));
        let accepting = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (gate, _) = listener.accept().await.unwrap();
                connections.spawn(carry(gate, server.clone(), Arc::clone(&plan), closed.clone()));
            }
        });
        self.open = Some((accepting, close));
    }

    /// Ends all connections and refuses new ones, as a server that is stopped.
    pub async fn close(&mut self) {
        let (accepting, close) = self.open.take().expect("it is open");
        let _ = close.send(true);
        accepting.abort();
        let _ = accepting.await;
    }

    /// From now on every commit after `passing` others is cut.
    pub fn cut(&self, passing: u32, cut: Cut) {
        *self.plan.lock().unwrap() = Plan { cut: Some((passing, cut)), passed: 0, cuts: 0 };
    }

    /// Cuts no more, and says how many commits were cut.
    pub fn heal(&self) -> u32 {
        std::mem::take(&mut *self.plan.lock().unwrap()).cuts
    }
}

impl Plan {
    /// Whether this commit is cut.
    fn next(&mut self) -> Option<Cut> {
        let (passing, cut) = self.cut?;
        if self.passed < passing {
            self.passed += 1;
            return None;
        }
        self.passed = 0;
        self.cuts += 1;
        Some(cut)
    }
}

async fn carry(
    gate: TcpStream,
    server: String,
    plan: Arc<Mutex<Plan>>,
    mut closed: watch::Receiver<bool>,
) {
    let Ok(server) = TcpStream::connect(server).await else { return };
    let (from_gate, to_gate) = gate.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        () = both(from_gate, to_gate, from_server, to_server, plan) => {}
        _ = closed.wait_for(|closed| *closed) => {}
    }
}

/// Carries both ways until one side ends, or a commit is cut.
async fn both(
    mut from_gate: OwnedReadHalf,
    mut to_gate: OwnedWriteHalf,
    mut from_server: OwnedReadHalf,
    mut to_server: OwnedWriteHalf,
    plan: Arc<Mutex<Plan>>,
) {
    let (mut asked, mut answered) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    // Whether what the server answers next is lost.
    let mut is_lost = false;
    loop {
        tokio::select! {
            Ok(read @ 1..) = from_gate.read(&mut asked) => {
                let asked = &asked[..read];
                // The client waits for the answer before it, so that a commit comes alone.
                let is_commit = asked.windows(COMMIT.len()).any(|bytes| bytes == COMMIT);
                let cut = is_commit.then(|| plan.lock().unwrap().next()).flatten();
                if cut == Some(Cut::BeforeIt) {
                    return;
                }
                is_lost = cut == Some(Cut::AfterIt);
                if to_server.write_all(asked).await.is_err() {
                    return;
                }
            }
            Ok(read @ 1..) = from_server.read(&mut answered) => {
                if is_lost || to_gate.write_all(&answered[..read]).await.is_err() {
                    return;
                }
            }
            else => return,
        }
    }
}
