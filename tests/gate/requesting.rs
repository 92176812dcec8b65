//! `countersign request` and `countersign wait`, as jobs of pipelines run them.

mod outages;
mod refusals;
mod tokens;

use countersign::cli::request::outcome::{Outcome, exit_codes};
use countersign::domain::approval::Status;
use jiff::SignedDuration;
use reqwest::Method;
use serde_json::json;

use crate::support::cloud_run::fault_at;
use crate::support::gate::{Engine, Gate, on_both_engines};
use crate::support::job::{Job, image};

on_both_engines!(
    a_job_asks_waits_and_gets_the_evidence,
    each_end_has_its_exit_code,
    a_job_that_runs_again_goes_on,
    an_interrupted_job_leaves_the_request,
);

async fn a_job_asks_waits_and_gets_the_evidence(engine: Engine) {
    let gate = Gate::start(engine).await;
    let evidence = gate.servers.files.folder.join("job.evidence.json");
    let path = evidence.to_str().unwrap();
    let mut alice = gate.approver("alice").await;
    let mut job = Job::asking(&gate, &["--wait", "--evidence", path]).start();
    let id = job.asked().await;
    let approval = gate.approval(&id).await;
    let log = job.until_says("Waiting").await.to_owned();
    for told in [&approval["url"], &approval["short_code"]] {
        assert!(log.contains(told.as_str().unwrap()), "{log}");
    }
    alice.approve(&id).await.unwrap();
    let ran = job.ended().await;
    let json = ran.assert(0, "done");
    assert_eq!(json["approval"]["status"], "succeeded");
    assert_eq!(json["approval"]["rollout"]["traffic"][0]["percent"], 100);
    assert_eq!(json["evidence"], path);
    assert_eq!(ran.output.lines().count(), 1, "{ran:?}");
    assert!(!ran.log.contains('\r'), "a log has plain lines: {ran:?}");
    let trust = gate.servers.files.trust.to_str().unwrap();
    let verified = Job::bare(&["verify", "--trust", trust, path]).run().await;
    assert_eq!(verified.code, 0, "{verified:?}");
    gate.finish().await;
}

async fn each_end_has_its_exit_code(engine: Engine) {
    let gate = Gate::start(engine).await;
    let mut alice = gate.approver("alice").await;
    let plain = Job::asking(&gate, &[]).run().await;
    plain.assert(0, "done");
    let first = plain.id();
    gate.post(&format!("/v1/approvals/{first}/cancel"), json!({})).await;
    Job::of(&gate, &["wait", &first, "--json"]).run().await.assert(5, "cancelled");

    let rejected = Job::asking(&gate, &[]).run().await.id();
    alice.decide(&rejected, json!({"decision": "reject", "reason": "Not today"})).await.unwrap();
    Job::of(&gate, &["wait", &rejected, "--json"]).run().await.assert(2, "rejected");

    let failed = Job::asking(&gate, &[]).run().await.id();
    gate.fault(fault_at("PATCH", "/services/", 1, json!({"kind": "status", "code": 403}))).await;
    alice.approve(&failed).await.unwrap();
    Job::of(&gate, &["wait", &failed, "--json"]).run().await.assert(4, "rollout_failed");
    gate.no_faults().await;

    let open = Job::asking(&gate, &["--wait", "--timeout", "1s"]).run().await;
    open.assert(7, "still_open");
    assert!(open.log.contains(&format!("countersign wait {}", open.id())), "{open:?}");
    let mut waiting = Job::of(&gate, &["wait", &open.id(), "--json"]).start();
    waiting.until_says("Waiting").await;
    gate.servers.clock.shift(SignedDuration::from_hours(9));
    waiting.ended().await.assert(3, "expired");
    gate.finish().await;
}

async fn a_job_that_runs_again_goes_on(engine: Engine) {
    let gate = Gate::start(engine).await;
    let image = image(gate.unique());
    let words = ["request", "--json", "--environment", "production", "--service"];
    let words = [&words[..], &[crate::support::gate::SERVICE, "--image", &image]].concat();
    let job = |rest: &[&'static str]| Job::of(&gate, &[&words[..], rest].concat());
    let first = job(&["--reason", "The same"]).run().await;
    first.assert(0, "done");
    let again = job(&["--reason", "The same"]).set("GITHUB_RUN_ATTEMPT", "2").run().await;
    assert_eq!(again.id(), first.id());
    let other = job(&["--reason", "Another text"]).run().await;
    other.assert_error(8, "refused", "idempotency_key_reused");
    let another_run = job(&["--reason", "The same"]).set("GITHUB_RUN_ID", "700101").run().await;
    assert_ne!(another_run.id(), first.id());
    let named = ["--reason", "The same", "--idempotency-key", "mine"];
    let (one, two) = (job(&named).run().await, job(&named).run().await);
    assert_eq!(one.id(), two.id());
    assert_ne!(one.id(), first.id());
    // A machine without a platform: each call is one of its own, and says how to find it again.
    let alone = || job(&["--reason", "The same"]).unset("GITHUB_RUN_ID");
    let (one, two) = (alone().run().await, alone().run().await);
    assert_ne!(one.id(), two.id());
    let key = one.log.split("Idempotency key ").nth(1).unwrap().split(' ').next().unwrap();
    let words = [&words[..], &["--reason", "The same", "--idempotency-key", key]].concat();
    assert_eq!(Job::of(&gate, &words).run().await.id(), one.id());
    let listed = gate.get("/v1/approvals?limit=200").await.body;
    assert_eq!(listed["items"].as_array().unwrap().len(), 5);
    gate.finish().await;
}

async fn an_interrupted_job_leaves_the_request(engine: Engine) {
    let gate = Gate::start(engine).await;
    for signal in ["INT", "TERM"] {
        let mut job = Job::asking(&gate, &["--wait"]).start();
        let id = job.asked().await;
        job.until_says("Waiting").await;
        job.signal(signal).await;
        let ran = job.ended().await;
        ran.assert_error(7, "still_open", "interrupted");
        assert!(ran.log.contains(&format!("countersign wait {id}")), "{ran:?}");
        assert_eq!(gate.approval(&id).await["status"], "pending");

        let mut job = Job::asking(&gate, &["--wait", "--cancel-on-interrupt"]).start();
        let id = job.asked().await;
        job.until_says("Waiting").await;
        job.signal(signal).await;
        let json = job.ended().await.assert(5, "cancelled");
        assert_eq!(json["approval"]["status"], "cancelled");
        assert_eq!(gate.approval(&id).await["status"], "cancelled");
    }
    gate.finish().await;
}

#[test]
fn scripts_rely_on_these_numbers() {
    let codes = Outcome::ALL.map(|outcome| (outcome.row().0, outcome.row().1));
    let pinned = [
        (0, "done"),
        (1, "broken"),
        (2, "rejected"),
        (3, "expired"),
        (4, "rollout_failed"),
        (5, "cancelled"),
        (6, "needs_attention"),
        (7, "still_open"),
        (8, "refused"),
        (9, "no_answer"),
        (10, "no_token"),
        (64, "usage"),
    ];
    assert_eq!(codes, pinned);
    let ends = [
        ("succeeded", 0),
        ("failed", 4),
        ("rolled_back", 4),
        ("needs_attention", 6),
        ("rejected", 2),
        ("expired", 3),
        ("cancelled", 5),
        ("superseded", 5),
        ("withdrawn", 5),
    ];
    for status in Status::ALL {
        let code = Outcome::of_status(status).map(|outcome| outcome.row().0);
        let pinned = ends.iter().find(|(end, _)| *end == status.as_str()).map(|(_, code)| *code);
        assert_eq!(code, pinned, "{status:?}");
    }
}

#[tokio::test]
async fn help_shows_the_exit_codes() {
    for command in ["request", "wait"] {
        let ran = Job::bare(&[command, "--help"]).run().await;
        assert_eq!(ran.code, 0, "{ran:?}");
        for line in exit_codes().lines() {
            let number = line.split_whitespace().next().unwrap_or_default();
            assert!(ran.output.contains(number), "{line} in {}", ran.output);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_comes_from_a_file_or_standard_input() {
    let gate = Gate::start(Engine::Sqlite).await;
    let body = gate.request_body(json!({"title": "From a file", "subject": {"steps": [50, 100]}}));
    let path = gate.servers.files.write("request.json", body.to_string()).unwrap();
    let path = path.to_str().unwrap();
    let words = ["request", "--json", "--file", path, "--reason", "From a flag"];
    let json = Job::of(&gate, &words).run().await.assert(0, "done");
    assert_eq!(json["approval"]["title"], "From a file");
    assert_eq!(json["approval"]["reason"], "From a flag");
    assert_eq!(json["approval"]["subject"]["steps"], json!([50, 100]));
    let id = json["approval"]["id"].as_str().unwrap().to_owned();
    gate.post(&format!("/v1/approvals/{id}/cancel"), json!({})).await;

    let flags = [
        "--template",
        r#"{"containers": [{"env": [{"name": "GREETING", "value": "hello"}]}]}"#,
        "--steps",
        "20,100",
        "--title",
        "By flags",
        "--body",
        "More",
        "--link",
        "Change 7=https://example.com/7",
        "--expires-in",
        "1h",
    ];
    let json = Job::asking(&gate, &flags).run().await.assert(0, "done");
    assert_eq!(json["approval"]["subject"]["steps"], json!([20, 100]));
    let id = json["approval"]["id"].as_str().unwrap();
    let evidence = gate.get(&format!("/v1/approvals/{id}/evidence")).await.body;
    let deployment = evidence["deployment"].as_str().unwrap();
    assert!(deployment.contains("https://example.com/7") && deployment.contains("Change 7"));
    // Without --json a shell gets the id and nothing else.
    let words = ["wait", id, "--timeout", "1s"];
    let ran = Job::of(&gate, &words).run().await;
    assert_eq!((ran.code, ran.output.trim_end()), (7, id));
    let calls = gate.sandbox(Method::GET, "/_sandbox/journal", None).await;
    assert!(calls["calls"].is_array());
    gate.finish().await;
}
