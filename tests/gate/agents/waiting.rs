//! Waiting agents: at any instance, with signs of life, and not longer than the gate lives.

use std::time::{Duration, Instant};

use futures::future::join_all;
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::Agent;
use crate::instances::Fleet;
use crate::support::gate::{Engine, Gate, on_both_engines};
use crate::support::process::{GateProcess, free_port};

on_both_engines!(a_shutdown_answers_waiting_agents, a_wait_ends_when_its_time_is_over);

#[tokio::test(flavor = "multi_thread")]
async fn any_instance_answers_any_request_of_an_agent() {
    let fleet = Fleet::of(3).await;
    let mut alice = fleet.gate.approver("alice").await;
    let agent = Agent::new(&fleet.gate).await;
    let agents: Vec<Agent<'_>> =
        fleet.instances.iter().map(|instance| agent.at(&instance.address)).collect();
    let hello = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}});
    let greeted = agents[0].call("initialize", hello).await;
    assert_eq!(greeted.body["result"]["protocolVersion"], "2025-11-25", "{greeted:?}");
    assert!(!greeted.headers.contains_key("mcp-session-id"), "{greeted:?}");
    let id = agents[1].asked(json!({})).await;
    let wait = json!({"id": id, "wait_seconds": 30});
    let waiting = async {
        let waits = agents.iter().map(|agent| agent.tool("wait_for_approval", wait.clone()));
        (join_all(waits).await, Instant::now())
    };
    let deciding = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let no = json!({"decision": "reject", "reason": "Not today"});
        alice.decide(&id, no).await.unwrap();
        Instant::now()
    };
    let ((answers, released), decided) = tokio::join!(waiting, deciding);
    for answer in answers {
        assert_eq!(answer["structuredContent"]["approval"]["status"], "rejected", "{answer:#}");
    }
    assert!(released - decided < Duration::from_secs(2), "{:?}", released - decided);
    for agent in &agents {
        let proof = agent.tool("get_evidence", json!({"id": id})).await;
        assert_eq!(proof["structuredContent"]["holds"], true, "{proof:#}");
    }
    fleet.finish().await;
}

async fn a_shutdown_answers_waiting_agents(engine: Engine) {
    let gate = Gate::around(engine, free_port()).await;
    let mut process = GateProcess::start(&gate).await;
    let agent = Agent::new(&gate).await;
    let id = agent.asked(json!({})).await;
    let wait = json!({"id": id, "wait_seconds": 60});
    let waiting = join_all((0..10).map(|_| agent.tool("wait_for_approval", wait.clone())));
    let stopping = async {
        tokio::time::sleep(Duration::from_millis(1500)).await;
        process.stop().await
    };
    let (answers, (status, took)) = tokio::join!(waiting, stopping);
    for answer in answers {
        assert_eq!(answer["structuredContent"]["is_over"], false, "{answer:#}");
    }
    assert_eq!(status.code(), Some(0));
    assert!(took < Duration::from_secs(2), "nobody is kept waiting: {took:?}");
    gate.finish().await;
}

async fn a_wait_ends_when_its_time_is_over(engine: Engine) {
    let gate = Gate::start(engine).await;
    let agent = Agent::new(&gate).await;
    let id = agent.asked(json!({})).await;
    let began = Instant::now();
    let answer = agent.tool("wait_for_approval", json!({"id": id, "wait_seconds": 2})).await;
    assert_eq!(answer["structuredContent"]["is_over"], false, "{answer:#}");
    assert!((2..10).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    // Once it is over there is nothing to wait for.
    agent.tool("cancel_approval", json!({"id": id})).await;
    let began = Instant::now();
    let answer = agent.tool("wait_for_approval", json!({"id": id})).await;
    assert_eq!(answer["structuredContent"]["approval"]["status"], "cancelled", "{answer:#}");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    gate.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_wait_shows_signs_of_life() {
    let gate = Gate::start(Engine::Sqlite).await;
    let agent = Agent::new(&gate).await;
    let id = agent.asked(json!({})).await;
    let params = json!({
        "name": "wait_for_approval", "arguments": {"id": id, "wait_seconds": 12},
        "_meta": {"progressToken": "w1"},
    });
    let message = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
    let answer = agent.post(message.to_string()).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
    let text = answer.text().await.unwrap();
    let told: Vec<Value> = text
        .lines()
        .filter_map(|line| serde_json::from_str(line.strip_prefix("data: ")?).ok())
        .collect();
    let (last, before) = told.split_last().unwrap();
    assert_eq!(last["result"]["structuredContent"]["is_over"], false, "{text}");
    assert_eq!(before.len(), 2, "at once, and after ten seconds: {text}");
    for (number, told) in (1..).zip(before) {
        assert_eq!(told["method"], "notifications/progress", "{told}");
        assert_eq!(told["params"]["progressToken"], "w1");
        assert_eq!(told["params"]["progress"].as_f64(), Some(f64::from(number)));
    }
    gate.finish().await;
}
