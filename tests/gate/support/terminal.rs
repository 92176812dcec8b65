//! A command of the gate on a terminal of its own.

use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};

use crate::support::gate::Gate;

/// The command, and what it prints.
pub struct Terminal {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Terminal {
    /// Runs a command of the binary under test with the configuration of a gate.
    pub fn run(gate: &Gate, command: &str) -> Self {
        let program = env!("CARGO_BIN_EXE_countersign");
        let config = gate.servers.files.config.display();
        let mut child = Command::new("script")
            .args(["-qefc", &format!("exec {program} {command} --config {config}"), "/dev/null"])
            // What the environment says is meant for another gate.
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// Ctrl-C.
    pub fn interrupt(&mut self) {
        self.child.stdin.as_mut().unwrap().write_all(b"\x03").unwrap();
    }

    /// The next line that contains a text.
    pub fn line_with(&mut self, text: &str) -> String {
        let mut seen = Vec::new();
        for line in self.lines.by_ref() {
            let line = line.unwrap();
            if line.contains(text) {
                return line.trim().to_owned();
            }
            seen.push(line);
        }
        panic!("no line with {text:?}: {seen:#?}");
    }

    /// Waits until it has ended.
    pub fn ended(mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }
}
