//! Killed around the one call that starts a job: it runs once.

use std::time::Duration;

use serde_json::{Value, json};

use super::end_leases;
use crate::jobs::{asked, assert_one_execution, executions, with_jobs};
use crate::support::cloud_run::{FOR_EVER, fault_at};
use crate::support::gate::{Engine, Gate, on_both_engines};
use crate::support::process::{GateProcess, free_port};

on_both_engines!(
    before_the_call,
    the_call_is_lost,
    the_call_arrives_late,
    the_call_is_not_answered,
    the_execution_is_not_recorded,
);

async fn before_the_call(engine: Engine) {
    runs_once_after(engine, fault_at("GET", "/jobs/", 2, held(FOR_EVER)), 0).await;
}

async fn the_call_is_lost(engine: Engine) {
    runs_once_after(engine, fault_at("PATCH", "/jobs/", 1, held(FOR_EVER)), 0).await;
}

async fn the_call_arrives_late(engine: Engine) {
    runs_once_after(engine, fault_at("PATCH", "/jobs/", 1, held(4000)), 0).await;
}

async fn the_call_is_not_answered(engine: Engine) {
    let unanswered = json!({"kind": "delay", "milliseconds": 4000, "after": true});
    runs_once_after(engine, fault_at("PATCH", "/jobs/", 1, unanswered), 1).await;
}

async fn the_execution_is_not_recorded(engine: Engine) {
    runs_once_after(engine, fault_at("GET", "/jobs/", 3, held(FOR_EVER)), 1).await;
}

fn held(milliseconds: u64) -> Value {
    json!({"kind": "delay", "milliseconds": milliseconds})
}

/// Kills the gate while a call is held, when there are so many executions.
async fn runs_once_after(engine: Engine, fault: Value, started: usize) {
    let gate = Gate::around(engine, free_port()).await;
    gate.servers.files.edit_config(with_jobs).unwrap();
    let mut process = GateProcess::start(&gate).await;
    gate.ready_delay(0).await;
    let mut alice = gate.approver("alice").await;
    let id = asked(&gate).await;
    let held = gate.fault(fault).await;
    assert_eq!(alice.approve(&id).await.unwrap()["status"], "approved");
    gate.until_hit(held).await;
    gate.until("it is as far as that", async || executions(&gate).await.len() == started).await;
    process.kill().await;
    end_leases(&gate, engine).await;
    process.start_again().await;
    let ended = gate.ended(&id).await;
    assert_eq!(ended["status"], "succeeded", "{ended:#}");
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_one_execution(&gate, &id).await;
    process.end().await;
    gate.finish().await;
}
