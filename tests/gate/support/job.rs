//! A job of a pipeline: the real binary, run as `countersign request` or `countersign wait` in an
//! environment that the test chose.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::support::gate::{Gate, SERVICE};

/// Longer than anything that a job waits for in a test.
const PATIENCE: Duration = Duration::from_secs(90);

/// A job, before it starts. Without `--json` in its words it gets that too.
pub struct Job {
    command: Command,
}

/// How a job ended.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub output: String,
    pub log: String,
}

impl Ran {
    /// The JSON object on standard output.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.output).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Asserts how it ended, by exit code and word.
    pub fn assert(&self, code: i32, outcome: &str) -> Value {
        let json = self.json();
        assert_eq!((self.code, json["outcome"].as_str()), (code, Some(outcome)), "{self:#?}");
        assert_eq!(json["exit_code"], code);
        json
    }

    /// The same, and that the error has this stable code.
    pub fn assert_error(&self, code: i32, outcome: &str, error: &str) -> Value {
        let json = self.assert(code, outcome);
        assert_eq!(json["error"]["code"], error, "{self:#?}");
        let sentence = json["error"]["sentence"].as_str().unwrap();
        assert!(sentence.len() > 20, "{sentence}");
        json
    }

    pub fn id(&self) -> String {
        self.json()["approval"]["id"].as_str().unwrap_or_else(|| panic!("{self:?}")).to_owned()
    }
}

impl Job {
    /// A job on a machine that knows no platform.
    pub fn bare(words: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
        command.args(words).env_clear().stdin(Stdio::null()).kill_on_drop(true);
        Self {
            command: {
                command.env("PATH", std::env::var_os("PATH").unwrap());
                command
            },
        }
    }

    /// A job of GitHub Actions that asks this gate.
    pub fn of(gate: &Gate, words: &[&str]) -> Self {
        Self::bare(words)
            .set("COUNTERSIGN_GATE", &gate.servers.gate)
            .set("GITHUB_ACTIONS", "true")
            .set("GITHUB_RUN_ID", "700100")
            .set("GITHUB_JOB", "deploy")
            .set(
                "ACTIONS_ID_TOKEN_REQUEST_URL",
                &format!("{}/github/runner-token?api-version=2.0", gate.servers.sandbox),
            )
            .set("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "the-jobs-own")
    }

    /// The same, asking for the next sample deployment.
    pub fn asking(gate: &Gate, words: &[&str]) -> Self {
        let image = image(gate.unique());
        let mut all = vec!["request", "--json", "--environment", "production"];
        all.extend(["--service", SERVICE, "--image", &image]);
        all.extend(["--reason", "Fixes the checkout on phones"]);
        all.extend(words);
        Self::of(gate, &all)
    }

    /// The same, running a command that production has to approve, in this folder.
    pub fn executing(gate: &Gate, folder: &Path, options: &[&str], command: &[&str]) -> Self {
        let trust = gate.servers.files.trust.to_str().unwrap();
        let report = folder.join("report.json");
        let mut words = vec!["exec"];
        words.extend(options);
        let usual = [
            ("--environment", "production"),
            ("--trust", trust),
            ("--report", report.to_str().unwrap()),
        ];
        for (option, value) in usual.iter().filter(|(option, _)| !options.contains(option)) {
            words.extend([option, value]);
        }
        words.push("--");
        words.extend(command);
        let mut job = Self::of(gate, &words);
        job.command.current_dir(folder);
        job
    }

    /// A script of the shell in this folder, in the environment of the same job.
    pub fn shell(self, script: &str, folder: &Path) -> Self {
        let mut command = Command::new("sh");
        command.args(["-ec", script]).env_clear().stdin(Stdio::null()).kill_on_drop(true);
        for (name, value) in self.command.as_std().get_envs() {
            command.envs(value.map(|value| (name, value)));
        }
        command.current_dir(folder);
        Self { command }
    }

    /// What the job reads.
    pub fn reads(mut self, file: std::fs::File) -> Self {
        self.command.stdin(file);
        self
    }

    /// Sets a variable.
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// Takes a variable away.
    pub fn unset(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    /// Runs it to its end.
    pub async fn run(mut self) -> Ran {
        let output = tokio::time::timeout(PATIENCE, self.command.output());
        let output = output.await.expect("the job ends").unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Ran {
            code: output.status.code().unwrap_or_else(|| panic!("{output:?}")),
            output: text(output.stdout),
            log: text(output.stderr),
        }
    }

    /// Starts it and gives its log, line by line.
    pub fn start(mut self) -> Started {
        let mut child = self.command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        Started { child, log, read: String::new() }
    }
}

/// A job at work.
pub struct Started {
    child: Child,
    log: BufReader<tokio::process::ChildStderr>,
    read: String,
}

impl Started {
    /// Reads the log until a line holds this, and gives everything read so far.
    pub async fn until_says(&mut self, part: &str) -> &str {
        let reading = async {
            while !self.read.contains(part) {
                let count = self.log.read_line(&mut self.read).await.unwrap();
                assert!(count > 0, "the job ended without saying {part:?}: {}", self.read);
            }
        };
        tokio::time::timeout(PATIENCE, reading).await.expect("the job says it");
        &self.read
    }

    /// The approval that it says it asked for.
    pub async fn asked(&mut self) -> String {
        let log = self.until_says("It expires at").await;
        let id = log.split("Asked as ").nth(1).and_then(|rest| rest.split('.').next());
        id.unwrap_or_else(|| panic!("{log}")).to_owned()
    }

    /// Sends a signal.
    pub async fn signal(&self, signal: &str) {
        let process = self.child.id().expect("the job runs");
        // A shell has kill built in; there is no safe call for it in the standard library.
        let command = format!("kill -{signal} {process}");
        let sent = Command::new("sh").args(["-c", &command]).status().await.unwrap();
        assert!(sent.success(), "{command}: {sent}");
    }

    /// Waits for its end.
    pub async fn ended(self) -> Ran {
        let Self { child, mut log, mut read } = self;
        let reading = async {
            while log.read_line(&mut read).await.unwrap() > 0 {}
            child.wait_with_output().await.unwrap()
        };
        let output = tokio::time::timeout(PATIENCE, reading).await.expect("the job ends");
        Ran {
            code: output.status.code().unwrap_or_else(|| panic!("{output:?}")),
            output: String::from_utf8(output.stdout).unwrap(),
            log: read,
        }
    }
}

/// An image of the demo's repository, a different one for each number.
pub fn image(number: u64) -> String {
    format!("europe-docker.pkg.dev/demo/app/web@sha256:{number:064x}")
}
