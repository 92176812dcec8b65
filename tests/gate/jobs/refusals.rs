//! What is refused, and what stops before harm.

use countersign::config::Config;
use countersign::sandbox::DEMO_JOB;
use reqwest::Method;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use sqlx::{AnyConnection, Connection};

use super::{NO_JOB, asked, executions, gate, subject, token};
use crate::support::cloud_run::fault_at;
use crate::support::gate::{Engine, Gate, on_both_engines};

on_both_engines!(
    what_cannot_run_is_refused,
    somebody_elses_change_stops_it_before_harm,
    an_execution_of_that_name_before_us_is_not_believed,
    a_changed_row_starts_nothing,
    nobody_starts_it_without_signatures,
);

async fn what_cannot_run_is_refused(engine: Engine) {
    let gate = gate(engine).await;
    gate.clear_journal().await;
    let refused = |change: Value, status: u16, code: &'static str| {
        let mut subject = subject(&gate);
        for (name, value) in change.as_object().unwrap() {
            subject[name] = value.clone();
        }
        let gate = &gate;
        async move {
            gate.ask(json!({"subject": subject})).await.assert_problem(status, code);
        }
    };
    let other = "projects/demo/locations/europe-west1/jobs/other";
    refused(json!({"job": other}), 422, "job_not_covered").await;
    refused(json!({"job": NO_JOB}), 422, "job_missing").await;
    refused(json!({"job": format!("{DEMO_JOB}:run")}), 422, "invalid_job").await;
    refused(json!({"job": crate::support::gate::SERVICE}), 422, "invalid_job").await;
    let tag = "europe-docker.pkg.dev/demo/app/web:latest";
    refused(json!({"image": tag}), 422, "image_not_by_digest").await;
    let foreign = format!("docker.io/library/web@sha256:{}", "1".repeat(64));
    refused(json!({"image": foreign}), 422, "image_not_allowed").await;
    let container = |container: Value| json!({"template": {"containers": [container]}});
    for (template, code) in [
        (container(json!({"image": foreign})), "image_not_allowed"),
        (
            container(json!({"env": [{"name": "PASSWORD", "value": "hunter2hunter2"}]})),
            "plain_credential",
        ),
        (json!({"containers": []}), "invalid_template"),
        (json!({"annotations": {"countersign.dev/approval": "apr_x"}}), "invalid_template"),
        (json!({"taskCount": "many"}), "invalid_template"),
    ] {
        refused(json!({"template": template}), 422, code).await;
    }
    // A service cannot be passed off as a job, nor a job as a service.
    let as_service = json!({"subject": {"service": DEMO_JOB}});
    gate.ask(as_service).await.assert_problem(422, "invalid_service");
    assert_eq!(gate.changes_of_cloud_run().await, 0);
    gate.finish().await;
}

/// Somebody else changes the job.
async fn edited(gate: &Gate) {
    let edit = json!({"service": DEMO_JOB, "modifier": "eve@example.com"});
    let shown = gate.sandbox(Method::POST, "/_sandbox/outside-edit", Some(edit)).await;
    assert_eq!(shown["lastModifier"], "eve@example.com", "{shown:#}");
}

async fn somebody_elses_change_stops_it_before_harm(engine: Engine) {
    let gate = gate(engine).await;
    let mut alice = gate.approver("alice").await;
    // Between asking and acting: nothing is called at all.
    let id = asked(&gate).await;
    edited(&gate).await;
    alice.approve(&id).await.unwrap();
    let ended = gate.ended(&id).await;
    assert_eq!(ended["status"], "failed", "{ended:#}");
    let sentence = ended["status_sentence"].as_str().unwrap();
    assert!(sentence.contains("eve@example.com") && sentence.contains("Nothing was changed"));
    assert!(gate.calls("PATCH", "/v2/").await.is_empty());

    // Between looking and calling: the call names an etag that is gone, and nothing is tried again.
    let id = asked(&gate).await;
    let edit = json!({"kind": "outside_edit", "modifier": "eve@example.com"});
    gate.fault(fault_at("PATCH", "/jobs/", 1, edit)).await;
    alice.approve(&id).await.unwrap();
    let ended = gate.ended(&id).await;
    assert_eq!(ended["status"], "needs_attention", "{ended:#}");
    assert_eq!(gate.calls("PATCH", "/v2/").await.len(), 1);
    assert!(executions(&gate).await.is_empty());

    // Looking again finds the same; leaving it ends it. There is no way back to be signed.
    let restore = alice.intervene(&id, &json!({"act": "restore"})).await;
    assert!(restore.is_err(), "{restore:?}");
    alice.intervene(&id, &json!({"act": "observe_again"})).await.unwrap();
    assert_eq!(gate.ended(&id).await["status"], "needs_attention");
    let accepted = alice.intervene(&id, &json!({"act": "accept"})).await.unwrap();
    assert_eq!(accepted["status"], "failed");
    assert_eq!(gate.calls("PATCH", "/v2/").await.len(), 1);
    gate.finish().await;
}

/// Whoever may run the job starts an execution of our name with our mark, before anybody has signed.
async fn an_execution_of_that_name_before_us_is_not_believed(engine: Engine) {
    let gate = gate(engine).await;
    let mut alice = gate.approver("alice").await;
    let id = asked(&gate).await;
    let evidence = gate.get(&format!("/v1/approvals/{id}/evidence")).await.body;
    let signed: Value = serde_json::from_str(evidence["deployment"].as_str().unwrap()).unwrap();
    let job = json!({
        "template": signed["proposed"],
        "annotations": {"countersign.dev/approval": id},
        "startExecutionToken": token(&id),
    });
    let started = gate.sandbox(Method::PATCH, &format!("/v2/{DEMO_JOB}"), Some(job)).await;
    assert!(started["name"].is_string(), "{started:#}");
    gate.clear_journal().await;
    alice.approve(&id).await.unwrap();
    let ended = gate.ended(&id).await;
    assert_eq!(ended["status"], "needs_attention", "{ended:#}");
    assert!(gate.calls("PATCH", "/v2/").await.is_empty());
    alice.intervene(&id, &json!({"act": "accept"})).await.unwrap();
    gate.finish().await;
}

/// Whoever writes the database has another image run: the row contradicts its digest, or what was signed.
async fn a_changed_row_starts_nothing(engine: Engine) {
    let gate = gate(engine).await;
    let mut alice = gate.approver("alice").await;
    // Held until the rows are changed, so that the worker reads them so.
    let id = asked(&gate).await;
    let held = json!({"kind": "status", "code": 503});
    let mut rule = fault_at("GET", "/jobs/", 1, held);
    rule["times"] = json!(0);
    gate.fault(rule).await;
    alice.approve(&id).await.unwrap();
    sqlx::any::install_default_drivers();
    let config = Config::load(&gate.servers.files.config, &Default::default()).unwrap();
    let mut connection = AnyConnection::connect(config.database.expose_secret()).await.unwrap();
    let sql = "UPDATE approvals SET deployment = replace(deployment, 'sha256:0', 'sha256:1') WHERE id = $1";
    let touched = sqlx::query(sql).bind(id.clone()).execute(&mut connection).await.unwrap();
    assert_eq!(touched.rows_affected(), 1);
    gate.no_faults().await;
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    assert!(gate.calls("PATCH", "/v2/").await.is_empty());
    assert!(executions(&gate).await.is_empty());
    // Put right again, it goes on: what was changed was never more than a row.
    let sql = "UPDATE approvals SET deployment = replace(deployment, 'sha256:1', 'sha256:0') WHERE id = $1";
    sqlx::query(sql).bind(id.clone()).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    assert_eq!(gate.ended(&id).await["status"], "succeeded");
    gate.finish().await;
}

/// A row that says approved is not enough: the signatures are counted from bytes.
async fn nobody_starts_it_without_signatures(engine: Engine) {
    let gate = gate(engine).await;
    let mut alice = gate.approver("alice").await;
    let id = asked(&gate).await;
    let rejected = json!({"decision": "reject", "reason": "Not on a Friday"});
    assert_eq!(alice.decide(&id, rejected).await.unwrap()["status"], "rejected");
    let other = asked(&gate).await;
    let cancelled = gate.post(&format!("/v1/approvals/{other}/cancel"), json!({})).await;
    assert_eq!(cancelled.body["status"], "cancelled");
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    assert!(gate.journal().await.iter().all(|call| call["method"] == "GET"));
    assert!(executions(&gate).await.is_empty());
    gate.finish().await;
}
