//! The gate as a process of its own: the real binary, which can be killed, frozen, asked to stop and
//! started again while the sandbox lives on in the test.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
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

/// The gate that these tests were built with.
const OURS: &str = env!("CARGO_BIN_EXE_countersign");

/// A process of the gate.
pub struct GateProcess {
    child: Child,
    binary: PathBuf,
    config: PathBuf,
    log: PathBuf,
    /// Where this process listens, whatever its public origin is.
    pub address: String,
}

impl GateProcess {
    /// Starts the gate where browsers reach it.
    pub async fn start(gate: &Gate) -> Self {
        let config = gate.servers.files.config.clone();
        Self::ready(OURS.into(), config, gate.servers.gate.clone()).await
    }

    /// Starts one more gate of the same origin on a port of its own, as behind a load balancer.
    pub async fn start_another(gate: &Gate) -> Self {
        Self::start_of(OURS.into(), gate).await
    }

    /// The same of another build, if the environment names one: two versions side by side.
    pub async fn start_beside(gate: &Gate) -> Self {
        let other = std::env::var_os("COUNTERSIGN_TEST_BESIDE");
        Self::start_of(other.map_or(OURS.into(), PathBuf::from), gate).await
    }

    async fn start_of(binary: PathBuf, gate: &Gate) -> Self {
        let port = free_port();
        let text = std::fs::read_to_string(&gate.servers.files.config).unwrap();
        let lines = text.lines().map(|line| {
            let listens = line.starts_with("listen = ");
            if listens { format!("listen = \"127.0.0.1:{port}\"") } else { line.to_owned() }
        });
        let text = lines.collect::<Vec<_>>().join("\n");
        let config = gate.servers.files.write(&format!("instance-{port}.toml"), &text).unwrap();
        Self::ready(binary, config, format!("http://localhost:{port}")).await
    }

    async fn ready(binary: PathBuf, config: PathBuf, address: String) -> Self {
        let log = config.with_extension("log");
        let child = spawn(&binary, &config, &log);
        let process = Self { child, binary, config, log, address };
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
        self.child = spawn(&self.binary, &self.config, &self.log);
        self.until_ready().await;
    }

    /// Starts it again and waits until it answers, whether it can do its work or not.
    pub async fn start_again_to_refuse(&mut self) {
        self.child = spawn(&self.binary, &self.config, &self.log);
        until_live(&self.address).await;
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

    /// Waits until it has ended by itself, with its log.
    pub async fn ended(&mut self) -> (ExitStatus, String) {
        let ended = tokio::time::timeout(STOP_TIME, self.child.wait()).await;
        let status = ended.expect("the gate ends").unwrap();
        (status, self.log())
    }

    /// What it has logged, in all its lives.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Starts it again, whatever becomes of it.
    pub fn start_again_somehow(&mut self) {
        self.child = spawn(&self.binary, &self.config, &self.log);
    }

    /// Lets no file of the process grow beyond so many bytes, which to the process is a full disk; none
    /// lets them grow again.
    pub async fn limit_files(&self, bytes: Option<u64>) {
        let process = self.child.id().expect("the process runs");
        let limit = bytes.map_or("unlimited".to_owned(), |bytes| bytes.to_string());
        let command = format!("prlimit --pid {process} --fsize={limit}:unlimited");
        let set = Command::new("sh").args(["-c", &command]).status().await.unwrap();
        assert!(set.success(), "{command}: {set}");
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
    without_our_variables(std::process::Command::new(env!("CARGO_BIN_EXE_countersign")))
}

fn without_our_variables(mut command: std::process::Command) -> std::process::Command {
    let ours = std::env::vars_os().map(|(name, _)| name).filter(|name| {
        let name = name.to_string_lossy();
        name == "PORT" || name.starts_with("COUNTERSIGN_")
    });
    for name in ours {
        command.env_remove(name);
    }
    command
}

fn spawn(binary: &Path, config: &Path, log: &Path) -> Child {
    let log: File = OpenOptions::new().create(true).append(true).open(log).unwrap();
    // The shell gives the process what no safe call of the standard library does: a write beyond a
    // limit is an error and no signal (limit_files), and nobody may read or write a file whose permissions
    // do not say so, not even root.
    const START: &str = r#"trap '' XFSZ
        if [ "$(id -u)" -eq 0 ]; then
            all=-dac_override,-dac_read_search
            exec setpriv --bounding-set="$all" --inh-caps="$all" -- "$0" "$@"
        fi
        exec "$0" "$@""#;
    let mut command = std::process::Command::new("sh");
    command.args(["-c", START]).arg(binary);
    Command::from(without_our_variables(command))
        .args(["serve", "--config"])
        .arg(config)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

/// Waits until a gate answers, whether it can do its work or not.
pub async fn until_live(address: &str) {
    let started = Instant::now();
    while reqwest::get(format!("{address}/health/live")).await.is_err() {
        assert!(started.elapsed() < Duration::from_secs(30), "the gate does not answer");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
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
