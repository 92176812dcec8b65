//! Restarts of the gate, lost answers and ends of the job, around a command that runs once at most.

use reqwest::StatusCode;
use serde_json::json;

use super::{Work, with_commands};
use crate::support::balancer::Balancer;
use crate::support::gate::{Engine, Gate, send};
use crate::support::job::Job;
use crate::support::process::{GateProcess, free_port};

/// Nobody listens there.
const DEAD: &str = "http://localhost:1";

/// A gate in a process of its own, behind a balancer.
async fn behind_balancer() -> (Gate, GateProcess, Balancer) {
    let port = free_port();
    let gate = Gate::around(Engine::Sqlite, port).await;
    let config = std::fs::read_to_string(&gate.servers.files.config).unwrap();
    std::fs::write(&gate.servers.files.config, with_commands(config)).unwrap();
    let process = GateProcess::start_another(&gate).await;
    let balancer = Balancer::start(port, &process.address).await;
    let words = ["config", "trust", "--config", gate.servers.files.config.to_str().unwrap()];
    let trust = Job::bare(&words).run().await;
    std::fs::write(&gate.servers.files.trust, trust.output).unwrap();
    (gate, process, balancer)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_outlives_a_restart_of_the_gate() {
    let (gate, mut process, balancer) = behind_balancer().await;
    let mut alice = gate.approver("alice").await;
    let work = Work::new("");
    let mut job = work.job(&gate, &[], &[]).start();
    let id = job.asked().await;
    job.until_says("Waiting").await;
    process.kill().await;
    balancer.choose(DEAD).await;
    job.until_says("asking again").await;
    process.start_again().await;
    balancer.choose(&process.address).await;
    job.until_says("answers again").await;
    alice.approve(&id).await.unwrap();
    let ran = job.ended().await;
    assert_eq!((ran.code, work.runs()), (0, 1), "{ran:#?}");
    process.end().await;
    gate.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_whose_use_was_not_answered_is_ours_if_the_ledger_says_so() {
    let (gate, process, balancer) = behind_balancer().await;
    let mut alice = gate.approver("alice").await;
    let work = Work::new("");
    let mut job = work.job(&gate, &[], &[]).start();
    let id = job.asked().await;
    job.until_says("Waiting").await;
    balancer.lose_answer_to("POST /v1/grants/consume");
    alice.approve(&id).await.unwrap();
    let ran = job.ended().await;
    assert_eq!((ran.code, work.runs()), (0, 1), "{ran:#?}");
    assert!(ran.log.contains("looking") && !balancer.has_answer_to_lose(), "{ran:#?}");
    process.end().await;
    gate.finish().await;
}

/// What a process leaves that ended between using the approval up and running the command.
#[tokio::test(flavor = "multi_thread")]
async fn a_command_whose_job_ended_before_it_ran_is_not_run_later() {
    let gate = super::gate(Engine::Sqlite).await;
    let mut alice = gate.approver("alice").await;
    let work = Work::new("");
    let asked = work.job(&gate, &["--timeout", "1s"], &[]).run().await;
    work.assert_not_run(&asked, "still_open", Some("timeout"));
    let id = work.report()["approval"]["id"].as_str().unwrap().to_owned();
    alice.approve(&id).await.unwrap();
    let approval = gate.approval(&id).await;
    let body = json!({
        "grant": approval["grant"]["token"], "audience": approval["grant"]["audience"],
        "arguments": approval["subject"]["arguments"],
    });
    let used = send(gate.http.post(gate.url("/v1/grants/consume")).json(&body)).await;
    assert_eq!(used.status, StatusCode::OK, "{used:?}");
    let again = work.job(&gate, &[], &[]).run().await;
    work.assert_not_run(&again, "used", Some("used"));
    assert!(again.log.contains("ask anew with another --idempotency-key"), "{again:?}");
    assert_eq!(work.runs(), 0);
    // Asked anew, it runs.
    let mut anew = work.job(&gate, &["--idempotency-key", "anew"], &[]).start();
    let id = anew.asked().await;
    alice.approve(&id).await.unwrap();
    assert_eq!((anew.ended().await.code, work.runs()), (0, 1));
    gate.finish().await;
}
