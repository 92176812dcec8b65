//! A client that nobody here wrote runs the whole story while a person signs.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use countersign::proof::evidence::Trust;
use countersign::proof::verify::verify;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use super::{Agent, image};
use crate::support::gate::{Engine, Gate, on_both_engines};

on_both_engines!(
    the_official_sdk_runs_the_whole_story_at_2025_11_25,
    the_official_sdk_runs_the_whole_story_at_2026_07_28,
    the_page_is_opened_where_the_client_offers_it,
);

/// How long one line of the client may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The client, line by line.
struct Sdk {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    evidence: tempfile::TempPath,
}

impl Sdk {
    async fn start(gate: &Gate, mode: &str, more: &[&str]) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let python = root.join("tests/.cache/python/bin/python");
        assert!(python.exists(), "the MCP SDK is not there: run tests/run, which installs it");
        let evidence = tempfile::NamedTempFile::new().unwrap().into_temp_path();
        let token = gate.token(json!({"issuer": "agent"})).await;
        let mut child = Command::new(python)
            .arg(root.join("tests/clients/mcp_python.py"))
            .args([&gate.servers.gate, &token, mode, &image(gate.unique())])
            .arg(&evidence)
            .args(more)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines, evidence }
    }

    /// The next thing that the client tells, which must be this.
    async fn next(&mut self, what: &str) -> Value {
        let told = self.told().await;
        assert_eq!(told["what"], what, "{told}");
        told
    }

    async fn told(&mut self) -> Value {
        let line = tokio::time::timeout(PATIENCE, self.lines.next_line()).await.unwrap().unwrap();
        serde_json::from_str(&line.expect("the client ended early")).unwrap()
    }

    async fn end(mut self) {
        assert!(self.child.wait().await.unwrap().success());
    }
}

async fn run_story(engine: Engine, mode: &str, revision: &str) {
    let gate = Gate::start(engine).await;
    let mut alice = gate.approver("alice").await;
    let mut sdk = Sdk::start(&gate, mode, &[]).await;
    let connected = sdk.next("connected").await;
    assert_eq!(
        (&connected["revision"], &connected["server"]),
        (&json!(revision), &json!("countersign"))
    );
    let refused = sdk.next("refused").await;
    assert_eq!(refused["code"], "image_not_by_digest");
    let asked = sdk.next("asked").await;
    let id = asked["id"].as_str().unwrap();
    assert_eq!(asked["url"], gate.url(&format!("/approvals/{id}")));
    // The client waits; it hears what for, and then each step of the rollout.
    let first = sdk.next("progress").await;
    assert!(first["message"].as_str().unwrap().starts_with("Waiting for 1 signature"), "{first}");
    assert_eq!(alice.read_page(id).await.unwrap(), asked["code"].as_str().unwrap());
    alice.approve(id).await.unwrap();
    let mut heard = vec![first];
    let over = loop {
        let told = sdk.told().await;
        if told["what"] == "over" {
            break told;
        }
        assert_eq!(told["what"], "progress", "{told}");
        heard.push(told);
    };
    assert_eq!(over["status"], "succeeded");
    assert!(heard.len() > 2, "{heard:?}");
    assert!(heard.windows(2).all(|two| two[0]["message"] != two[1]["message"]), "{heard:?}");
    let proof = sdk.next("proof").await;
    assert_eq!((&proof["holds"], &proof["is_approved"]), (&json!(true), &json!(true)), "{proof}");
    assert_eq!(proof["sha256"], proof["read"], "nothing happened in between");
    let policy = sdk.next("policy").await;
    assert_eq!(policy["digest"], gate_policy(&gate).await);
    // The offline verifier knows nothing but the file and the anchors.
    let trust = Trust::read(&std::fs::read(&gate.servers.files.trust).unwrap()).unwrap();
    let verified = verify(&std::fs::read(&sdk.evidence).unwrap(), &trust).unwrap();
    assert!(verified.is_approved());
    assert_eq!(verified.subject().approval.to_string(), id);
    assert_eq!(verified.subject().requester.issuer, "agent");
    sdk.end().await;
    gate.finish().await;
}

async fn gate_policy(gate: &Gate) -> Value {
    gate.get("/v1/environments").await.body["environments"][0]["policy_digest"].clone()
}

async fn the_official_sdk_runs_the_whole_story_at_2025_11_25(engine: Engine) {
    run_story(engine, "legacy", "2025-11-25").await;
}

async fn the_official_sdk_runs_the_whole_story_at_2026_07_28(engine: Engine) {
    run_story(engine, "auto", "2026-07-28").await;
}

async fn the_page_is_opened_where_the_client_offers_it(engine: Engine) {
    let gate = Gate::start(engine).await;
    let mut alice = gate.approver("alice").await;
    let mut sdk = Sdk::start(&gate, "auto", &["shows-pages"]).await;
    sdk.next("connected").await;
    sdk.next("refused").await;
    let page = sdk.next("page").await;
    let asked = sdk.next("asked").await;
    let id = asked["id"].as_str().unwrap();
    assert_eq!(page["url"], asked["url"]);
    assert!(page["message"].as_str().unwrap().contains(asked["code"].as_str().unwrap()), "{page}");
    // The client said "accept", which decides nothing.
    let reader = Agent::new(&gate).await;
    let read = reader.tool("get_approval", json!({"id": id})).await;
    assert_eq!(read["structuredContent"]["approval"]["status"], "pending");
    alice.decide(id, json!({"decision": "reject", "reason": "Not today"})).await.unwrap();
    let over = loop {
        let told = sdk.told().await;
        if told["what"] == "over" {
            break told;
        }
    };
    assert_eq!(over["status"], "rejected");
    let proof = sdk.next("proof").await;
    assert_eq!((&proof["holds"], &proof["is_approved"]), (&json!(true), &json!(false)), "{proof}");
    sdk.next("policy").await;
    sdk.end().await;
    gate.finish().await;
}
