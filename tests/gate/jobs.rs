//! The execution of a job: people sign it, and it is started exactly once, whatever happens on the way.

mod attesting;
mod faults;
mod holds;
mod refusals;
pub mod updating;

use countersign::cli::demo::approver::Approver;
use countersign::domain::approval::State;
use countersign::domain::rollout::{Answer, Call, recorded_calls};
use countersign::sandbox::DEMO_JOB;
use reqwest::Method;
use serde_json::{Value, json};

use crate::agents::Agent;
use crate::support::gate::{Engine, Gate, SERVICE, on_both_engines};
use crate::support::job::Job;

on_both_engines!(
    a_signed_job_runs_once,
    what_a_job_has_already_can_run_again,
    an_agent_asks_for_a_job,
    a_rollout_can_come_after_a_job,
    a_newer_request_takes_the_place_of_an_older_one,
);

/// A job that an environment covers and that does not exist.
const NO_JOB: &str = "projects/demo/locations/europe-west1/jobs/clean-up";

/// The demo's configuration with jobs in production.
pub fn with_jobs(config: String) -> String {
    let jobs = format!("\njobs = [\"{DEMO_JOB}\", \"{NO_JOB}\"]\nimages = ");
    assert!(config.contains("\nimages = "));
    config.replacen("\nimages = ", &jobs, 1)
}

async fn gate(engine: Engine) -> Gate {
    let gate = Gate::start_with(engine, with_jobs).await;
    gate.ready_delay(0).await;
    gate
}

/// The subject of a request for the job with an image of its own.
pub fn subject(gate: &Gate) -> Value {
    let digest = format!("{:064x}", gate.unique());
    let image = format!("europe-docker.pkg.dev/demo/app/web@sha256:{digest}");
    json!({"kind": "job_execution", "service": null, "job": DEMO_JOB, "image": image})
}

pub async fn asked(gate: &Gate) -> String {
    let id = gate.asked(json!({"subject": subject(gate)})).await;
    gate.clear_journal().await;
    id
}

async fn approved(gate: &Gate, alice: &mut Approver) -> String {
    let id = asked(gate).await;
    assert_eq!(alice.approve(&id).await.unwrap()["status"], "approved");
    id
}

/// The executions of the job, as Cloud Run has them.
pub async fn executions(gate: &Gate) -> Vec<Value> {
    let path = format!("/v2/{DEMO_JOB}/executions");
    let listed = gate.sandbox(Method::GET, &path, None).await;
    listed["executions"].as_array().cloned().unwrap_or_default()
}

/// The letters of the approval, which are the end of its execution's name.
fn token(id: &str) -> &str {
    &id["apr_".len()..][..12]
}

/// Asserts that there is one execution, that of the approval, and that what was sent was not blind: each PATCH
/// names the etag that was read last.
pub async fn assert_one_execution(gate: &Gate, id: &str) {
    let journal = gate.journal().await;
    let names: Vec<String> =
        executions(gate).await.iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect();
    assert_eq!(names, [format!("{DEMO_JOB}/executions/migrate-{}", token(id))]);
    for (place, patch) in journal.iter().enumerate().filter(|(_, call)| call["method"] == "PATCH") {
        let is_read = |call: &&Value| {
            let path = call["path"].as_str().unwrap();
            call["method"] == "GET" && call["status"] == 200 && !path.contains("/executions")
        };
        let read = journal[..place].iter().rfind(is_read).expect("a blind write");
        assert_eq!(patch["request"]["etag"], read["response"]["etag"], "{patch:#}");
        assert_eq!(patch["request"]["startExecutionToken"], token(id));
    }
}

async fn a_signed_job_runs_once(engine: Engine) {
    let gate = gate(engine).await;
    let mut alice = gate.approver("alice").await;
    let subject = subject(&gate);
    let image = subject["image"].clone();
    let template = json!({"taskCount": 3, "template": {"containers": [{"args": ["--all"]}]}});
    let mut changed = subject.clone();
    changed["template"] = template;
    let id = gate.asked(json!({"subject": changed})).await;
    let page = alice.browser.open(&format!("/approvals/{id}"), "alice").await.unwrap();
    for shown in ["Run migrate with a new image once in production", "--all", "Tasks", "migrate-"] {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    gate.clear_journal().await;
    alice.approve(&id).await.unwrap();
    let ended = gate.ended(&id).await;
    assert_eq!(ended["status"], "succeeded", "{ended:#}");
    let execution = format!("migrate-{}", token(&id));
    let seen = &ended["execution"];
    assert_eq!(ended["subject"]["execution"], execution.as_str());
    assert_eq!((&seen["execution"], &seen["tasks"]), (&json!(execution), &json!(3)), "{seen:#}");
    assert_eq!((&seen["succeeded"], &seen["failed"]), (&json!(3), &json!(0)));
    let sentence = ended["status_sentence"].as_str().unwrap();
    assert!(sentence.contains(&execution) && sentence.contains("3 of 3 tasks"), "{sentence}");

    // One call, which holds everything.
    let patches = gate.calls("PATCH", "/v2/").await;
    assert_eq!((patches.len(), gate.calls("POST", "/v2/").await.len()), (1, 0), "{patches:#?}");
    let sent = &patches[0]["request"];
    assert_eq!(sent["annotations"]["countersign.dev/approval"], id.as_str());
    let container = &sent["template"]["template"]["containers"][0];
    assert_eq!((&container["image"], &container["args"]), (&image, &json!(["--all"])));
    assert_eq!(container["command"], json!(["./migrate"]), "what nobody changed stays");
    assert_one_execution(&gate, &id).await;

    // The ledger proves the effect, to the gate and to anybody.
    let proved = gate.proved(&id).await;
    let State::Succeeded { execution: Some(proof), serving: None, .. } = proved.state() else {
        panic!("{:?}", proved.state())
    };
    assert!(image.as_str().unwrap().ends_with(&proof.image_digest.to_string()));
    assert_eq!((proof.name.as_str(), proof.tasks, proof.succeeded), (&*execution, 3, 3));
    let calls = recorded_calls(proved.records());
    assert!(
        matches!(calls[..], [ref one] if one.call == Call::RunJob {}
        && one.etag.is_some() && matches!(one.answer, Some(Answer::Accepted { .. }))),
        "{calls:?}"
    );
    let (told, _) = verified(&gate, &id).await;
    assert!(told.contains(&execution) && told.contains("3 of 3 tasks succeeded"), "{told}");
    let page = alice.browser.open(&format!("/approvals/{id}"), "alice").await.unwrap();
    for shown in ["It ran once, exactly as signed", "Update the job and start its execution"] {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    gate.finish().await;
}

/// What `countersign verify` says of the evidence, and its exit code.
async fn verified(gate: &Gate, id: &str) -> (String, i32) {
    let token = gate.token(json!({})).await;
    let request = gate.http.get(gate.url(&format!("/v1/approvals/{id}/evidence")));
    let file = request.bearer_auth(token).send().await.unwrap().bytes().await.unwrap();
    let path = gate.servers.files.folder.join(format!("{id}.json"));
    std::fs::write(&path, file).unwrap();
    let trust = gate.servers.files.trust.to_str().unwrap();
    let ran = Job::bare(&["verify", "--trust", trust, path.to_str().unwrap()]).run().await;
    assert_eq!(ran.code, 0, "{ran:?}");
    (ran.output, ran.code)
}

async fn what_a_job_has_already_can_run_again(engine: Engine) {
    let gate = gate(engine).await;
    let mut alice = gate.approver("alice").await;
    let subject = subject(&gate);
    for round in 1..=2 {
        let id = gate.asked(json!({"subject": subject})).await;
        let page = alice.browser.open(&format!("/approvals/{id}"), "alice").await.unwrap();
        assert_eq!(page.contains("Run migrate, unchanged, once in production"), round == 2);
        alice.approve(&id).await.unwrap();
        assert_eq!(gate.ended(&id).await["status"], "succeeded");
        assert_eq!(executions(&gate).await.len(), round);
    }
    gate.finish().await;
}

async fn an_agent_asks_for_a_job(engine: Engine) {
    let gate = gate(engine).await;
    let mut alice = gate.approver("alice").await;
    let agent = Agent::new(&gate).await;
    let listed = agent.tool("list_environments", json!({})).await;
    let production = &listed["structuredContent"]["environments"][0];
    assert_eq!(production["jobs"], json!([DEMO_JOB, NO_JOB]), "{production:#}");
    let image = subject(&gate)["image"].clone();
    let mut arguments =
        json!({"environment": "production", "job": DEMO_JOB, "image": image, "reason": "Migrates"});
    let asked = agent.tool("request_job_execution", arguments.clone()).await;
    let approval = &asked["structuredContent"]["approval"];
    assert_eq!(
        (&approval["subject"]["job"], &approval["subject"]["image"]),
        (&json!(DEMO_JOB), &image),
        "{asked:#}"
    );
    let id = approval["id"].as_str().unwrap();
    alice.approve(id).await.unwrap();
    let over = agent.tool("wait_for_approval", json!({"id": id, "wait_seconds": 60})).await;
    assert_eq!(over["structuredContent"]["approval"]["status"], "succeeded", "{over:#}");
    assert_eq!(executions(&gate).await.len(), 1);
    // A service is no job.
    arguments["job"] = json!(SERVICE);
    let refused = Agent::new(&gate).await.tool("request_job_execution", arguments).await;
    assert_eq!(refused["isError"], true, "{refused:#}");
    gate.finish().await;
}

async fn a_rollout_can_come_after_a_job(engine: Engine) {
    let gate = gate(engine).await;
    let mut alice = gate.approver("alice").await;
    for (fails, expected) in [(false, "succeeded"), (true, "failed")] {
        let job = gate.asked(json!({"subject": subject(&gate)})).await;
        let rollout = gate.asked(json!({"subject": {"steps": [100], "after": job}})).await;
        alice.approve(&rollout).await.unwrap();
        if fails {
            let failing = json!({"kind": "revision_fails", "message": "Exit code 1."});
            let fault = json!({"match": {"method": "PATCH", "path": "/jobs/"}, "fault": failing});
            gate.fault(fault).await;
        }
        gate.clear_journal().await;
        alice.approve(&job).await.unwrap();
        assert_eq!(gate.ended(&job).await["status"], expected);
        assert_eq!(gate.ended(&rollout).await["status"], expected);
        let touched = gate.calls("PATCH", "/services/").await.len();
        assert_eq!(touched == 0, fails, "{touched}");
    }
    gate.finish().await;
}

async fn a_newer_request_takes_the_place_of_an_older_one(engine: Engine) {
    let superseding = |config: String| {
        with_jobs(config).replacen("newer_request = \"queue\"", "newer_request = \"supersede\"", 1)
    };
    let gate = Gate::start_with(engine, superseding).await;
    let service = gate.asked(json!({})).await;
    let [older, newer] = [asked(&gate).await, asked(&gate).await];
    let status = async |id: &str| gate.approval(id).await;
    assert_eq!(status(&older).await["superseded_by"], newer.as_str());
    for waits in [&service, &newer] {
        assert_eq!(status(waits).await["status"], "pending");
    }
    gate.finish().await;
}
