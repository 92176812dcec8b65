//! Lost answers, cut connections, restarts of the gate and tokens that expire, while a job waits.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;
use tokio::time::sleep;

use crate::support::balancer::Balancer;
use crate::support::gate::{Engine, Gate, SERVICE};
use crate::support::job::{Job, image};
use crate::support::process::{GateProcess, free_port};

/// Nobody listens there.
const DEAD: &str = "http://localhost:1";

#[tokio::test]
async fn a_gate_that_never_answers_is_given_up() {
    let started = Instant::now();
    let image = image(1);
    let words = ["request", "--json", "--gate", DEAD, "--environment", "production", "--service"];
    let words = [&words[..], &[SERVICE, "--image", &image, "--reason", "r"]].concat();
    let words = [&words[..], &["--wait", "--timeout", "2s"]].concat();
    let job = |words: &[&str]| Job::bare(words).set("COUNTERSIGN_TOKEN", "a.b.c");
    job(&words).run().await.assert_error(9, "no_answer", "no_answer");
    let id = format!("apr_{}", "a".repeat(26));
    let ran = job(&["wait", &id, "--json", "--gate", DEAD, "--timeout", "2s"]).run().await;
    ran.assert_error(9, "no_answer", "no_answer");
    assert!(ran.log.contains(&format!("countersign wait {id}")), "{ran:?}");
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_outlives_cut_connections_and_restarts() {
    let port = free_port();
    let gate = Gate::around(Engine::Sqlite, port).await;
    let mut process = GateProcess::start_another(&gate).await;
    let balancer = Balancer::start(port, &process.address).await;
    let mut alice = gate.approver("alice").await;
    let mut job = Job::asking(&gate, &["--wait"]).start();
    let id = job.asked().await;
    job.until_says("Waiting").await;
    // The network goes away in the middle of a poll, and comes back.
    balancer.choose(DEAD).await;
    job.until_says("asking again").await;
    balancer.choose(&process.address).await;
    job.until_says("answers again").await;
    // The gate is killed, and another process goes on with its database.
    process.kill().await;
    process.start_again().await;
    balancer.choose(&process.address).await;
    alice.approve(&id).await.unwrap();
    job.ended().await.assert(0, "done");
    process.end().await;
    gate.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_asked_once_although_its_answer_was_lost() {
    let port = free_port();
    let gate = Gate::around(Engine::Sqlite, port).await;
    let process = GateProcess::start_another(&gate).await;
    let balancer = Balancer::start(port, DEAD).await;
    let mut job = Job::asking(&gate, &[]).start();
    job.until_says("asking again").await;
    balancer.choose(&process.address).await;
    job.ended().await.assert(0, "done");
    // Cloud Run is slow to be read, and the connection is cut while the gate is at it.
    let slow =
        json!({"match": {"method": "GET"}, "fault": {"kind": "delay", "milliseconds": 3000}});
    let slow = gate.fault(slow).await;
    let mut job = Job::asking(&gate, &[]).start();
    gate.until_hit(slow).await;
    balancer.choose(DEAD).await;
    job.until_says("asking again").await;
    gate.no_faults().await;
    balancer.choose(&process.address).await;
    job.ended().await.assert(0, "done");
    let listed = gate.get("/v1/approvals").await.body;
    assert_eq!(listed["items"].as_array().unwrap().len(), 2, "{listed:#}");
    process.end().await;
    gate.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_file_is_read_again_and_a_variable_cannot_be() {
    let gate = Gate::start(Engine::Sqlite).await;
    let short = async |seconds: i64| {
        // Half a minute of leeway is the gate's.
        let now = gate.servers.clock.now().as_second();
        gate.token(json!({"iat": now - 100, "nbf": now - 100, "exp": now + seconds})).await
    };
    let path = gate.servers.files.write("projected", short(-25).await).unwrap();
    let image = image(gate.unique());
    let words = ["request", "--json", "--gate", &gate.servers.gate, "--environment", "production"];
    let words = [&words[..], &["--service", SERVICE, "--image", &image, "--reason", "r"]].concat();
    let with = |rest: &[&str]| Job::bare(&[&words[..], &["--idempotency-key", "k"], rest].concat());
    let asked = with(&["--token-file", path.to_str().unwrap()]).run().await;
    asked.assert(0, "done");
    let id = asked.id();
    let wait = |rest: &[&str]| {
        let base = ["wait", &id, "--json", "--gate", &gate.servers.gate];
        Job::bare(&[&base[..], rest].concat())
    };
    sleep(Duration::from_secs(6)).await;
    let expired = std::fs::read_to_string(&path).unwrap();
    let ran = wait(&[]).set("COUNTERSIGN_TOKEN", &expired).run().await;
    ran.assert_error(8, "refused", "token_expired");
    assert!(ran.log.contains(&format!("countersign wait {id}")), "{ran:?}");
    // The platform renews the file while the job waits.
    let mut job = wait(&["--token-file", path.to_str().unwrap(), "--timeout", "20s"]).start();
    job.until_says("asking again").await;
    gate.servers.files.write("projected", gate.token(json!({})).await).unwrap();
    job.until_says("Waiting").await;
    gate.post(&format!("/v1/approvals/{id}/cancel"), json!({})).await;
    job.ended().await.assert(5, "cancelled");
    gate.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_gave_tokens_may_fail_for_a_while() {
    let gate = Gate::start(Engine::Sqlite).await;
    let id = gate.asked(json!({})).await;
    let token = gate.servers.files.write("token", gate.token(json!({})).await).unwrap();
    let token = token.to_str().unwrap();
    let command = format!("cat {token}");
    let words = ["wait", &id, "--json", "--gate", &gate.servers.gate, "--token-command", &command];
    let mut job = Job::bare(&words).start();
    job.until_says("Waiting").await;
    std::fs::remove_file(token).unwrap();
    // A change ends the poll, and the next one needs a token.
    let mut alice = gate.approver("alice").await;
    gate.sandbox(Method::POST, "/_sandbox/ready-delay", Some(json!({"milliseconds": 3000}))).await;
    alice.approve(&id).await.unwrap();
    job.until_says("asking again").await;
    gate.servers.files.write("token", gate.token(json!({})).await).unwrap();
    job.ended().await.assert(0, "done");
    gate.finish().await;
}
