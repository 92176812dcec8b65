//! A job that is only updated: it gets exactly what was signed, by one write, and nothing runs.

use countersign::domain::approval::State;
use countersign::domain::rollout::{Answer, Call, recorded_calls};
use countersign::sandbox::DEMO_JOB;
use reqwest::Method;
use serde_json::{Value, json};

use super::{executions, gate, subject, verified, with_jobs};
use crate::agents::Agent;
use crate::notices::scene::{calls_of, with};
use crate::support::cloud_run::fault_at;
use crate::support::gate::{Engine, Gate, on_both_engines};
use crate::support::job::{Job, image};

on_both_engines!(
    a_signed_update_runs_nothing,
    whatever_goes_wrong_it_is_written_once,
    what_came_after_it_is_told,
    a_refused_update_changed_nothing,
    what_runs_unchanged_changes_nothing_but_marks,
    a_pipeline_tells_an_update_from_a_run,
    an_agent_asks_for_an_update,
    a_rollout_can_come_after_an_update,
    receivers_are_told_that_nothing_runs,
);

/// The subject of a request for an update of the job to an image of its own.
fn update(gate: &Gate) -> Value {
    let mut subject = subject(gate);
    subject["run"] = json!(false);
    subject
}

pub async fn asked_update(gate: &Gate) -> String {
    let id = gate.asked(json!({"subject": update(gate)})).await;
    gate.clear_journal().await;
    id
}

pub async fn job(gate: &Gate) -> Value {
    gate.sandbox(Method::GET, &format!("/v2/{DEMO_JOB}"), None).await
}

/// Asserts that the job was written once, never blindly and without a token, and that nothing ran.
pub async fn assert_one_update(gate: &Gate, id: &str) {
    let journal = gate.journal().await;
    let mut written = 0;
    for (place, patch) in journal.iter().enumerate().filter(|(_, call)| call["method"] == "PATCH") {
        let is_read = |call: &&Value| call["method"] == "GET" && call["status"] == 200;
        let read = journal[..place].iter().rfind(is_read).expect("a blind write");
        assert_eq!(patch["request"]["etag"], read["response"]["etag"], "{patch:#}");
        assert!(patch["request"]["startExecutionToken"].is_null(), "{patch:#}");
        assert_eq!(patch["request"]["annotations"]["countersign.dev/approval"], id);
        let faults = patch["faults"].as_array().unwrap();
        let after = faults.iter().any(|one| one == "status_after_effect");
        written += usize::from(patch["status"] == 200 || after);
    }
    assert_eq!(written, 1, "{journal:#?}");
    assert!(executions(gate).await.is_empty());
    let job = job(gate).await;
    assert_eq!(job["annotations"]["countersign.dev/approval"], id, "{job:#}");
}

async fn a_signed_update_runs_nothing(engine: Engine) {
    let gate = gate(engine).await;
    let mut alice = gate.approver("alice").await;
    let mut wanted = update(&gate);
    wanted["template"] = json!({"taskCount": 3});
    let id = gate.asked(json!({"subject": wanted})).await;
    let pending = gate.approval(&id).await;
    assert_eq!(pending["subject"]["run"], false, "{pending:#}");
    assert!(pending["subject"]["execution"].is_null());
    let page = alice.browser.open(&format!("/approvals/{id}"), "alice").await.unwrap();
    for shown in [
        "Update migrate with a new image in production, and run nothing",
        "The gate updates the job, and runs nothing.",
        "the job is updated right after it, by itself. Nothing runs.",
        "Update digest",
        "none: nothing runs",
    ] {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    assert!(!page.contains("How it runs"), "{page}");
    gate.clear_journal().await;
    alice.approve(&id).await.unwrap();
    let ended = gate.ended(&id).await;
    assert_eq!(ended["status"], "succeeded", "{ended:#}");
    let sentence = ended["status_sentence"].as_str().unwrap();
    assert!(sentence.contains("exactly what was signed, and nothing ran"), "{sentence}");
    assert!(ended["execution"].is_null(), "{ended:#}");
    assert_one_update(&gate, &id).await;

    // What is in the ledger is what Cloud Run showed, and what people signed says that nothing runs.
    let proved = gate.proved(&id).await;
    let State::Succeeded { updated: Some(seen), execution: None, serving: None, .. } =
        proved.state()
    else {
        panic!("{:?}", proved.state())
    };
    let shown = job(&gate).await;
    assert_eq!(shown["template"]["taskCount"], 3);
    let container = &shown["template"]["template"]["containers"][0];
    assert!(container["image"].as_str().unwrap().ends_with(&seen.image_digest.to_string()));
    assert_eq!(shown["generation"], seen.generation.to_string());
    assert_eq!(ended["updated"]["generation"], seen.generation);
    let calls = recorded_calls(proved.records());
    assert!(
        matches!(calls[..], [ref one] if one.call == Call::UpdateJob {}
        && one.etag.is_some() && matches!(one.answer, Some(Answer::Accepted { .. }))),
        "{calls:?}"
    );
    let (told, _) = verified(&gate, &id).await;
    for words in ["only updated, and nothing runs", "the job has what was signed", "nothing ran"] {
        assert!(told.contains(words), "{words}: {told}");
    }
    let page = alice.browser.open(&format!("/approvals/{id}"), "alice").await.unwrap();
    assert!(page.contains("and nothing ran") && page.contains("Update the job"), "{page}");
    gate.finish().await;
}

/// Failed and did not happen, failed but happened: it is looked at before it is written again.
async fn whatever_goes_wrong_it_is_written_once(engine: Engine) {
    for fault in [
        json!({"kind": "status", "code": 503}),
        json!({"kind": "status_after_effect", "code": 503}),
        json!({"kind": "status_after_effect", "code": 500}),
        json!({"kind": "status", "code": 409}),
        json!({"kind": "status", "code": 429}),
        json!({"kind": "lost_reply"}),
    ] {
        let gate = gate(engine).await;
        let mut alice = gate.approver("alice").await;
        let hit = gate.fault(fault_at("PATCH", "/jobs/", 1, fault.clone())).await;
        let id = asked_update(&gate).await;
        alice.approve(&id).await.unwrap();
        let ended = gate.ended(&id).await;
        assert_eq!(ended["status"], "succeeded", "{fault}: {ended:#}");
        gate.until_hit(hit).await;
        assert_one_update(&gate, &id).await;
        gate.finish().await;
    }
}

/// Somebody else changes the job between our write and our look: that is not what was signed, and who it was is said.
async fn what_came_after_it_is_told(engine: Engine) {
    let gate = gate(engine).await;
    let mut alice = gate.approver("alice").await;
    let id = asked_update(&gate).await;
    // The write is made and its answer is held; the next look finds another one's change on top.
    let edit = json!({"kind": "outside_edit", "modifier": "eve@example.com", "change": {
        "template": {"taskCount": 5, "template": {"containers": [{"image": image(7)}]}},
    }});
    let edited = gate.fault(fault_at("GET", "/jobs/", 2, edit)).await;
    alice.approve(&id).await.unwrap();
    let ended = gate.ended(&id).await;
    gate.until_hit(edited).await;
    assert_eq!(ended["status"], "needs_attention", "{ended:#}");
    let sentence = ended["status_sentence"].as_str().unwrap();
    for words in ["is not the signed one at", "changed last by eve@example.com"] {
        assert!(sentence.contains(words), "{words}: {sentence}");
    }
    assert_eq!(gate.calls("PATCH", "/v2/").await.len(), 1, "it is not written again");
    let page = alice.browser.open(&format!("/approvals/{id}"), "alice").await.unwrap();
    assert!(page.contains("A job that took the change is not changed again."), "{page}");
    alice.intervene(&id, &json!({"act": "observe_again"})).await.unwrap();
    assert_eq!(gate.ended(&id).await["status"], "needs_attention");
    assert_eq!(gate.calls("PATCH", "/v2/").await.len(), 1);
    alice.intervene(&id, &json!({"act": "accept"})).await.unwrap();
    gate.proved(&id).await;
    gate.finish().await;
}

async fn a_refused_update_changed_nothing(engine: Engine) {
    let gate = gate(engine).await;
    let mut alice = gate.approver("alice").await;
    // Nothing runs, so the right to run is not needed; that to update is.
    for (denied, status) in [("run.jobs.run", "succeeded"), ("run.jobs.update", "failed")] {
        let denied = json!({ "denied": [denied] });
        gate.sandbox(Method::PUT, "/_sandbox/permissions", Some(denied)).await;
        let id = asked_update(&gate).await;
        alice.approve(&id).await.unwrap();
        let ended = gate.ended(&id).await;
        assert_eq!(ended["status"], status, "{ended:#}");
        if status == "failed" {
            let sentence = ended["status_sentence"].as_str().unwrap();
            let words = "The update of the job failed: Cloud Run refused the change";
            assert!(sentence.starts_with(words), "{sentence}");
            assert!(sentence.contains("account run.jobs.update on"), "{sentence}");
        }
    }
    gate.finish().await;
}

/// An image that the job has already: what is sent differs from what was read by marks and the token alone.
async fn what_runs_unchanged_changes_nothing_but_marks(engine: Engine) {
    let gate = gate(engine).await;
    let mut alice = gate.approver("alice").await;
    let before = job(&gate).await;
    let has = before["template"]["template"]["containers"][0]["image"].clone();
    let subject = json!({"kind": "job_execution", "service": null, "job": DEMO_JOB, "image": has, "run": true});
    let id = gate.asked(json!({"subject": subject})).await;
    let page = alice.browser.open(&format!("/approvals/{id}"), "alice").await.unwrap();
    assert!(page.contains("Run migrate, unchanged, once in production"), "{page}");
    gate.clear_journal().await;
    alice.approve(&id).await.unwrap();
    assert_eq!(gate.ended(&id).await["status"], "succeeded");
    let patches = gate.calls("PATCH", "/v2/").await;
    assert_eq!(patches.len(), 1);
    let mut after = job(&gate).await;
    for path in ["/annotations", "/template/annotations"] {
        let marks = after.pointer_mut(path).unwrap().as_object_mut().unwrap();
        assert_eq!(marks["countersign.dev/approval"], id.as_str());
        marks.retain(|name, _| !name.starts_with("countersign.dev/"));
    }
    for member in ["annotations", "template", "labels", "launchStage", "binaryAuthorization"] {
        let plain = |value: &Value| match value.as_object() {
            Some(members) => {
                let mut members = members.clone();
                members.retain(|_, value| *value != json!({}));
                Value::Object(members)
            }
            None => value.clone(),
        };
        let (before, after) = (plain(&before[member]), plain(&after[member]));
        let nothing = |value: &Value| value.is_null() || *value == json!({});
        assert!(before == after || nothing(&before) && nothing(&after), "{before:#} {after:#}");
    }
    assert_eq!(executions(&gate).await.len(), 1);
    gate.finish().await;
}

/// The command line: an update and a run of the same image by the same job are two requests.
async fn a_pipeline_tells_an_update_from_a_run(engine: Engine) {
    let gate = gate(engine).await;
    let mut alice = gate.approver("alice").await;
    let image = image(gate.unique());
    let words = ["--environment", "production", "--job", DEMO_JOB, "--image", &image];
    let asking = |more: &[&str]| {
        let mut all = vec!["request", "--json", "--reason", "Migrates"];
        all.extend(words);
        all.extend(more);
        Job::of(&gate, &all)
    };
    let run = asking(&[]).run().await.id();
    let update = asking(&["--no-run"]).run().await;
    assert_eq!(update.json()["approval"]["subject"]["run"], false, "{update:?}");
    let update = update.id();
    assert_ne!(run, update);
    assert_eq!(asking(&["--no-run"]).run().await.id(), update, "asked once");
    for id in [&update, &run] {
        alice.approve(id).await.unwrap();
    }
    let mut statuses = Vec::new();
    for id in [&update, &run] {
        statuses.push(gate.ended(id).await["status"].clone());
    }
    // Both were asked for against the job as it was: the one that came first changed it.
    assert!(statuses.contains(&json!("succeeded")) && statuses.contains(&json!("failed")));
    // A service has nothing that could be left out.
    let of_service = ["request", "--json", "--environment", "production", "--no-run"];
    let mut all = of_service.to_vec();
    all.extend(["--service", crate::support::gate::SERVICE, "--image", &image, "--reason", "x"]);
    let refused = Job::of(&gate, &all).run().await;
    assert_eq!(refused.code, 64, "{refused:?}");
    gate.finish().await;
}

async fn an_agent_asks_for_an_update(engine: Engine) {
    let gate = gate(engine).await;
    let mut alice = gate.approver("alice").await;
    let agent = Agent::new(&gate).await;
    let arguments = json!({
        "environment": "production", "job": DEMO_JOB, "image": subject(&gate)["image"],
        "reason": "The nightly run is to have it", "run": false,
    });
    let asked = agent.tool("request_job_execution", arguments).await;
    let approval = &asked["structuredContent"]["approval"];
    assert_eq!(approval["subject"]["run"], false, "{asked:#}");
    let id = approval["id"].as_str().unwrap();
    alice.approve(id).await.unwrap();
    let over = agent.tool("wait_for_approval", json!({"id": id, "wait_seconds": 60})).await;
    assert_eq!(over["structuredContent"]["approval"]["status"], "succeeded", "{over:#}");
    assert!(executions(&gate).await.is_empty());
    gate.finish().await;
}

async fn a_rollout_can_come_after_an_update(engine: Engine) {
    let gate = gate(engine).await;
    let mut alice = gate.approver("alice").await;
    let job = asked_update(&gate).await;
    let rollout = gate.asked(json!({"subject": {"steps": [100], "after": job}})).await;
    alice.approve(&rollout).await.unwrap();
    gate.until("it waits for the update", async || {
        gate.reason_to_wait(&rollout).await.is_some_and(|why| why.starts_with("after: "))
    })
    .await;
    assert!(gate.calls("PATCH", "/v2/").await.is_empty());
    alice.approve(&job).await.unwrap();
    assert_eq!(gate.ended(&rollout).await["status"], "succeeded");
    assert_eq!(gate.approval(&job).await["status"], "succeeded");
    gate.finish().await;
}

async fn receivers_are_told_that_nothing_runs(engine: Engine) {
    let hook = "[[webhook]]\nname = \"all\"\nurl = \"SANDBOX/receiver/all\"\nsecret_file = \"webhook-secret\"\nevents = [\"approval.requested\", \"rollout.succeeded\"]\n";
    let gate = Gate::start_with(engine, |config| with(hook, true)(with_jobs(config))).await;
    gate.ready_delay(0).await;
    let mut alice = gate.approver("alice").await;
    let id = asked_update(&gate).await;
    alice.approve(&id).await.unwrap();
    assert_eq!(gate.ended(&id).await["status"], "succeeded");
    let told = calls_of(&gate, "all", 2).await;
    let of_job = "The update without a run of the job migrate (demo, europe-west1)";
    for (one, ends) in told.iter().zip(["waits for signatures.", "was made, as signed."]) {
        let data = &one.payload["data"];
        assert_eq!(data["summary"], format!("{of_job} {ends}"), "{data:#}");
        assert_eq!(data["approval"]["execution"], Value::Null);
        assert_eq!(data["approval"]["job"], DEMO_JOB);
    }
    gate.finish().await;
}
