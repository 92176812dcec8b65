//! The gate as a process of its own: the real binary, which can be killed, frozen, asked to stop and
//! started again while the sandbox lives on in the test.

use std::fs::{File, OpenOptions};
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use countersign::cli::demo::pipeline::until_ready;
use countersign::randomness;
use tokio::process::{Child, Command};

use crate::support::gate::Gate;

/// Cloud Run ends a process ten seconds after it asked it to stop; two are left for the platform.
const STOP_TIME: Duration = Duration::from_secs(8);
/// How much of the log is shown when a test fails.
const SHOWN_LINES: usize = 40;

/// A process of the gate.
pub struct GateProcess {
    child: Child,
    config: PathBuf,
    log: PathBuf,
    /// Where this process listens, whatever its public origin is.
    pub address: String,
}

impl GateProcess {
    /// Starts the gate where browsers reach it.
    pub async fn start(gate: &Gate) -> Self {
        let config = gate.servers.files.config.clone();
        Self::ready(config, gate.servers.gate.clone()).await
    }

    /// Starts one more gate of the same origin on a port of its own, as behind a load balancer.
    pub async fn start_another(gate: &Gate) -> Self {
        let port = free_port();
        let text = std::fs::read_to_string(&gate.servers.files.config).unwrap();
        let lines = text.lines().map(|line| {
            let listens = line.starts_with("listen = ");
            if listens { format!("listen = \"127.0.0.1:{port}\"") } else { line.to_owned() }
        });
        let text = lines.collect::<Vec<_>>().join("\n");
        let config = gate.servers.files.write(&format!("instance-{port}.toml"), &text).unwrap();
        Self::ready(config, format!("http://localhost:{port}")).await
    }

    async fn ready(config: PathBuf, address: String) -> Self {
        let log = config.with_extension("log");
        let child = spawn(&config, &log);
        let process = Self { child, config, log, address };
        process.until_ready().await;
        process
    }

    async fn until_ready(&self) {
        let started = Instant::now();
        while let Err(why) = until_ready(&self.address).await {
            assert!(started.elapsed() < Duration::from_secs(30), "{why}");
        }
    }

    /// Ends the process at once, with no chance to do anything.
    pub async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }

    /// Starts it again on the same port, with the same configuration.
    pub async fn start_again(&mut self) {
        self.child = spawn(&self.config, &self.log);
        self.until_ready().await;
    }

    /// Starts it again and waits until it answers, whether it can do its work or not.
    pub async fn start_again_to_refuse(&mut self) {
        self.child = spawn(&self.config, &self.log);
        let started = Instant::now();
        while reqwest::get(format!("{}/health/live", self.address)).await.is_err() {
            assert!(started.elapsed() < Duration::from_secs(30), "the gate does not answer");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Asks it to stop and waits until it has; how it ended and how long that took.
    pub async fn stop(&mut self) -> (ExitStatus, Duration) {
        let started = Instant::now();
        self.signal("TERM").await;
        let ended = tokio::time::timeout(STOP_TIME, self.child.wait()).await;
        (ended.expect("the gate stops in time").unwrap(), started.elapsed())
    }

    /// Stops it and expects that it ends well.
    pub async fn end(mut self) {
        let (status, _) = self.stop().await;
        assert!(status.success(), "{status}");
    }

    /// Holds the process still, in the middle of whatever it does.
    pub async fn freeze(&self) {
        self.signal("STOP").await;
    }

    /// Lets a frozen process go on.
    pub async fn thaw(&self) {
        self.signal("CONT").await;
    }

    async fn signal(&self, signal: &str) {
        let process = self.child.id().expect("the process runs");
        // A shell has kill built in; there is no safe call for it in the standard library.
        let command = format!("kill -{signal} {process}");
        let sent = Command::new("sh").args(["-c", &command]).status().await.unwrap();
        assert!(sent.success(), "{command}: {sent}");
    }
}

impl Drop for GateProcess {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = std::fs::read_to_string(&self.log).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let shown = &lines[lines.len().saturating_sub(SHOWN_LINES)..];
            eprintln!("the log of {} ends with:\n{}", self.address, shown.join("\n"));
        }
    }
}

/// The binary under test, with nothing of the environment that is meant for a gate.
pub fn countersign() -> std::process::Command {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_countersign"));
    let ours = std::env::vars_os().map(|(name, _)| name).filter(|name| {
        let name = name.to_string_lossy();
        name == "PORT" || name.starts_with("COUNTERSIGN_")
    });
    for name in ours {
        command.env_remove(name);
    }
    command
}

fn spawn(config: &PathBuf, log: &PathBuf) -> Child {
    let log: File = OpenOptions::new().create(true).append(true).open(log).unwrap();
    Command::from(countersign())
        .args(["serve", "--config"])
        .arg(config)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

/// A port that nobody listens on, below those that the system hands out by itself: it stays free
/// until the gate takes it, and while a killed gate is started again.
pub fn free_port() -> u16 {
    loop {
        let port = 20_000 + u16::from_be_bytes(randomness::bytes()) % 12_000;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
