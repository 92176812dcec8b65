//! Killed around the one call that starts a job, or updates it: it runs once, or is written once.

use std::time::Duration;

use serde_json::{Value, json};

use super::end_leases;
use crate::jobs::updating::{asked_update, assert_one_update, job};
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
    before_the_update,
    the_update_is_lost,
    the_update_is_not_answered,
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

async fn before_the_update(engine: Engine) {
    is_written_once_after(engine, fault_at("GET", "/jobs/", 1, held(FOR_EVER)), "1").await;
}

async fn the_update_is_lost(engine: Engine) {
    is_written_once_after(engine, fault_at("PATCH", "/jobs/", 1, held(FOR_EVER)), "1").await;
}

async fn the_update_is_not_answered(engine: Engine) {
    let unanswered = json!({"kind": "delay", "milliseconds": 4000, "after": true});
    is_written_once_after(engine, fault_at("PATCH", "/jobs/", 1, unanswered), "2").await;
}

/// Kills the gate while a call is held, when there are so many executions.
async fn runs_once_after(engine: Engine, fault: Value, started: usize) {
    let crash = Crash::prepare(engine).await;
    let id = asked(&crash.gate).await;
    let is_there = async |gate: &Gate| executions(gate).await.len() == started;
    let crash = crash.around(&id, fault, is_there).await;
    assert_one_execution(&crash.gate, &id).await;
    crash.finish().await;
}

/// Kills the gate while a call is held, when the job has this generation.
async fn is_written_once_after(engine: Engine, fault: Value, generation: &str) {
    let crash = Crash::prepare(engine).await;
    let id = asked_update(&crash.gate).await;
    let is_there = async |gate: &Gate| job(gate).await["generation"] == generation;
    let crash = crash.around(&id, fault, is_there).await;
    assert_one_update(&crash.gate, &id).await;
    crash.finish().await;
}

/// A gate in a process of its own, which is killed.
struct Crash {
    engine: Engine,
    gate: Gate,
    process: GateProcess,
}

impl Crash {
    async fn prepare(engine: Engine) -> Self {
        let gate = Gate::around(engine, free_port()).await;
        gate.servers.files.edit_config(with_jobs).unwrap();
        let process = GateProcess::start(&gate).await;
        gate.ready_delay(0).await;
        Self { engine, gate, process }
    }

    /// Approves, kills the gate when the fault has hit and the world is as far as that, and starts it again.
    async fn around(
        mut self,
        id: &str,
        fault: Value,
        is_there: impl AsyncFn(&Gate) -> bool,
    ) -> Self {
        let gate = &self.gate;
        let mut alice = gate.approver("alice").await;
        let held = gate.fault(fault).await;
        assert_eq!(alice.approve(id).await.unwrap()["status"], "approved");
        gate.until_hit(held).await;
        gate.until("it is as far as that", async || is_there(gate).await).await;
        self.process.kill().await;
        end_leases(gate, self.engine).await;
        self.process.start_again().await;
        let ended = gate.ended(id).await;
        assert_eq!(ended["status"], "succeeded", "{ended:#}");
        tokio::time::sleep(Duration::from_secs(4)).await;
        self
    }

    async fn finish(self) {
        self.process.end().await;
        self.gate.finish().await;
    }
}
