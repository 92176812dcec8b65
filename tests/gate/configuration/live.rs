//! `countersign config check --live`, against the sandbox: what is missing is said, and nothing is changed.

use std::process::Output;

use serde_json::json;

use super::{Folder, GOOD};
use crate::sandbox_cloud_run::{Sandbox, WEB};

/// A gate whose whole world is this machine, with this sandbox as its Cloud Run.
fn folder(sandbox: &Sandbox, services: &str) -> Folder {
    let text = GOOD
        .replace("https://gate.example.com", "http://localhost:8080")
        .replace("https://login.example.com", "http://localhost:8081/identity")
        .replace("https://token.actions.githubusercontent.com", "http://localhost:8081/github")
        .replace("https://agents.example.com", "http://localhost:8081/agent")
        .replace("\"projects/p/locations/r/services/web\"", services)
        .replace(
            "\n[log]\n",
            &format!(
                "\n[cloud_run]\nendpoint = \"http://{}\"\ncredentials = \"anonymous\"\n\n[log]\n",
                sandbox.address
            ),
        );
    let text = text.replace("projects/p/locations/r/services/staging", WEB);
    Folder::new(&text)
}

async fn check(folder: &Folder) -> (Output, String, String) {
    check_at(folder, "metadata.invalid").await
}

/// As [`check`], on a machine whose metadata server is there.
async fn check_at(folder: &Folder, metadata_server: &str) -> (Output, String, String) {
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_countersign"))
        .env_clear()
        .env("GCE_METADATA_HOST", metadata_server)
        .args(["config", "check", "--live", "--config"])
        .arg(folder.path("countersign.toml"))
        .output()
        .await
        .unwrap();
    let said = String::from_utf8(output.stdout.clone()).unwrap();
    let complained = String::from_utf8(output.stderr.clone()).unwrap();
    (output, said, complained)
}

async fn deny(sandbox: &Sandbox, permissions: &[&str]) {
    let denied = json!({ "denied": permissions });
    assert_eq!(sandbox.call("PUT", "/_sandbox/permissions", Some(denied)).await.0, 200);
}

const NEW: &str = "\"projects/demo/locations/europe-west1/services/new\"";

#[tokio::test(flavor = "multi_thread")]
async fn a_gate_that_may_do_its_work_is_told_so() {
    let sandbox = Sandbox::with_web().await;
    let before = sandbox.web().await;
    let (output, said, complained) = check(&folder(&sandbox, NEW)).await;
    assert_eq!(output.status.code(), Some(0), "{said}{complained}");
    for sentence in [
        "is read: web-00001-",
        "the gate has run.services.get, run.services.update, run.revisions.get, run.revisions.list",
        "a change would be accepted (tried with validateOnly)",
        "services/new\n      does not exist yet: the first approval creates it, for which the gate needs run.services.create",
    ] {
        assert!(said.contains(sentence), "{sentence:?} is not said:\n{said}");
    }
    assert_eq!(sandbox.web().await, before);
    let patches = sandbox.journal("PATCH").await;
    assert_eq!(patches.len(), 1);
    assert!(patches[0]["path"].as_str().unwrap().contains("validateOnly=true"), "{patches:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_said_in_a_sentence() {
    let sandbox = Sandbox::with_web().await;
    let folder = folder(&sandbox, NEW);
    for (denied, sentences) in [
        (
            "run.services.get",
            &[
                "! Cloud Run refuses to read",
                "Grant the gate's service account run.services.get on",
            ][..],
        ),
        (
            "run.services.update",
            &[
                "! the gate's account lacks run.services.update: grant it roles/run.developer",
                "! Cloud Run refuses to accept a change of",
            ][..],
        ),
        (
            "run.revisions.get",
            &[
                "! the gate's account lacks run.revisions.get",
                "! Cloud Run refuses to read revision",
            ][..],
        ),
        ("run.revisions.list", &["! the gate's account lacks run.revisions.list"][..]),
        (
            "iam.serviceAccounts.actAs",
            &["and iam.serviceAccounts.actAs on the service account that it runs as"][..],
        ),
    ] {
        deny(&sandbox, &[denied]).await;
        let (output, said, complained) = check(&folder).await;
        assert_eq!(output.status.code(), Some(1), "{denied}: {said}");
        for sentence in sentences {
            assert!(said.contains(sentence), "{denied}: {sentence:?} is not said:\n{said}");
        }
        assert!(complained.contains("Cloud Run would not let the gate roll out"), "{complained}");
    }
    deny(&sandbox, &[]).await;
    assert_eq!(check(&folder).await.0.status.code(), Some(0));
    assert_eq!(sandbox.web().await["generation"], "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn worker_pools_have_permissions_of_their_own() {
    const MAIL: &str = "projects/demo/locations/europe-west1/workerPools/mail";
    let sandbox = Sandbox::with_web().await;
    let template = json!({"containers": [{"image": format!("r/mail@sha256:{}", "1".repeat(64))}]});
    sandbox.run.seed_service(MAIL, &template).unwrap();
    let new = MAIL.replace("mail", "thumbnails");
    let folder = folder(&sandbox, &format!("\"{MAIL}\", \"{new}\""));
    let (output, said, complained) = check(&folder).await;
    assert_eq!(output.status.code(), Some(0), "{said}{complained}");
    for sentence in [
        "the gate has run.workerpools.get, run.workerpools.update, run.revisions.get, run.revisions.list",
        "for which the gate needs run.workerpools.create",
    ] {
        assert!(said.contains(sentence), "{sentence:?} is not said:\n{said}");
    }
    let tried = sandbox.journal("PATCH").await;
    let tried: Vec<&str> = tried.iter().map(|call| call["path"].as_str().unwrap()).collect();
    assert!(tried.iter().any(|path| path.contains(MAIL)), "{tried:?}");
    assert!(tried.iter().all(|path| path.contains("validateOnly=true")), "{tried:?}");
    for (denied, sentence) in [
        ("run.workerpools.get", "Grant the gate's service account run.workerpools.get on"),
        (
            "run.workerpools.update",
            "! the gate's account lacks run.workerpools.update: grant it roles/run.developer on this worker pool",
        ),
        ("run.workerpools.update", "Grant the gate's service account run.workerpools.update on"),
        ("run.revisions.get", "! Cloud Run refuses to read revision"),
    ] {
        deny(&sandbox, &[denied]).await;
        let (output, said, _) = check(&folder).await;
        assert_eq!(output.status.code(), Some(1), "{denied}: {said}");
        assert!(said.contains(sentence), "{denied}: {sentence:?} is not said:\n{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cloud_run_that_does_not_answer_is_a_problem() {
    let sandbox = Sandbox::with_web().await;
    let unreachable = folder(&sandbox, NEW);
    drop(sandbox);
    let (output, said, complained) = check(&unreachable).await;
    assert_eq!(output.status.code(), Some(1), "{said}{complained}");
    assert_eq!(said.matches("! Cloud Run does not read").count(), 2, "{said}{complained}");
}

/// The account of the machine that the gate runs on, at the sandbox's metadata server.
const MACHINE: &str = "machine@demo.iam.gserviceaccount.com";
const DEPLOYER: &str = "deployer@demo.iam.gserviceaccount.com";
const POOL: &str =
    "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/a/providers/b";
const STAGING: &str = "projects/demo/locations/europe-west1/services/staging";

/// A gate that calls Cloud Run as its machine, and for production through workload identity federation, with
/// the rights of a service account that it borrows.
fn folder_with_accounts(sandbox: &Sandbox) -> Folder {
    let at = format!("http://{}", sandbox.address);
    let text = GOOD
        .replace("https://gate.example.com", "http://localhost:8080")
        .replace("https://login.example.com", "http://localhost:8081/identity")
        .replace("https://token.actions.githubusercontent.com", "http://localhost:8081/github")
        .replace("https://agents.example.com", "http://localhost:8081/agent")
        .replace("projects/p/locations/r/services/web", WEB)
        .replace("projects/p/locations/r/services/staging", STAGING);
    let folder = Folder::new(&format!(
        "{text}\n[cloud_run]\nendpoint = {at:?}\n\n[environment.production.cloud_run]\ncredentials_file = \"google.json\"\n"
    ));
    let account = json!({
        "type": "external_account",
        "audience": POOL,
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": format!("{at}/google/sts/v1/token"),
        "credential_source": {"file": folder.path("subject-token")},
        "service_account_impersonation_url":
            format!("{at}/google/iam/v1/projects/-/serviceAccounts/{DEPLOYER}:generateAccessToken"),
    });
    folder.write("google.json", &account.to_string());
    folder.write("subject-token", "of-the-cluster");
    folder
}

#[tokio::test(flavor = "multi_thread")]
async fn every_environment_is_reached_with_its_own_rights() {
    let sandbox = Sandbox::with_web().await;
    sandbox.run.seed_service(STAGING, &crate::sandbox_cloud_run::template('1')).unwrap();
    let callers = json!({"denied": [], "callers": {(WEB): DEPLOYER, (STAGING): MACHINE}});
    assert_eq!(sandbox.call("PUT", "/_sandbox/permissions", Some(callers)).await.0, 200);
    let folder = folder_with_accounts(&sandbox);
    let (output, said, complained) = check_at(&folder, &sandbox.address).await;
    assert_eq!(output.status.code(), Some(0), "{said}{complained}");

    let (_, journal) = sandbox.call("GET", "/_sandbox/journal", None).await;
    let calls = journal["calls"].as_array().unwrap();
    let of = |path: &str| -> Vec<&str> {
        let called = calls.iter().filter(|call| call["path"].as_str().unwrap().contains(path));
        called.map(|call| call["account"].as_str().unwrap_or("nobody")).collect()
    };
    let (web, staging) = (of(WEB), of(STAGING));
    assert!(web.len() >= 4 && web.iter().all(|account| *account == DEPLOYER), "{web:?}");
    assert!(staging.len() >= 4 && staging.iter().all(|account| *account == MACHINE), "{staging:?}");
    // The federated identity is good for nothing but to borrow the account's rights.
    let federated = format!("{POOL}/subject/of-the-cluster");
    assert_eq!(of(":generateAccessToken"), [federated]);

    let swapped = json!({"denied": [], "callers": {(WEB): MACHINE, (STAGING): DEPLOYER}});
    assert_eq!(sandbox.call("PUT", "/_sandbox/permissions", Some(swapped)).await.0, 200);
    let (output, said, _) = check_at(&folder, &sandbox.address).await;
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert_eq!(said.matches("! Cloud Run refuses to read").count(), 2, "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_without_credentials_is_told() {
    let sandbox = Sandbox::with_web().await;
    let folder = folder_with_accounts(&sandbox);
    std::fs::remove_file(folder.path("subject-token")).unwrap();
    let (output, said, complained) = check_at(&folder, &sandbox.address).await;
    assert_eq!(output.status.code(), Some(1), "{said}{complained}");
    assert!(
        said.contains("! Cloud Run refuses to read") || said.contains("! Cloud Run does not read"),
        "{said}"
    );
    assert!(
        sandbox
            .journal("GET")
            .await
            .iter()
            .all(|call| !call["path"].as_str().unwrap().contains(WEB))
    );
}

const JOB: &str = "projects/demo/locations/europe-west1/jobs/migrate";
const NO_JOB: &str = "projects/demo/locations/europe-west1/jobs/clean-up";

/// The same gate, with jobs in production.
fn folder_with_jobs(sandbox: &Sandbox, jobs: &[&str]) -> Folder {
    let template = json!({"template": {"containers": [{
        "image": format!("registry.example.com/app/web@sha256:{}", "1".repeat(64)),
    }]}});
    sandbox.run.seed_job(JOB, &template).unwrap();
    let folder = folder(sandbox, NEW);
    let text = std::fs::read_to_string(folder.path("countersign.toml")).unwrap();
    let with_jobs = text.replacen("\nimages = ", &format!("\njobs = {jobs:?}\nimages = "), 1);
    folder.write("countersign.toml", &with_jobs);
    folder
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gate_that_may_change_and_run_its_jobs_is_told_so() {
    let sandbox = Sandbox::with_web().await;
    let folder = folder_with_jobs(&sandbox, &[JOB]);
    let before = sandbox.call("GET", &format!("/v2/{JOB}"), None).await;
    let (output, said, complained) = check(&folder).await;
    assert_eq!(output.status.code(), Some(0), "{said}{complained}");
    let of_job = said.rsplit(JOB).next().unwrap();
    for sentence in [
        "is read: it has not run yet",
        "the gate has run.jobs.get, run.jobs.update, run.jobs.run, run.executions.get",
        "a change would be accepted (tried with validateOnly)",
    ] {
        assert!(of_job.contains(sentence), "{sentence:?} is not said:\n{said}");
    }
    let mut patches = sandbox.journal("PATCH").await;
    patches.retain(|call| call["path"].as_str().unwrap().contains(JOB));
    assert_eq!(patches.len(), 1);
    assert!(patches[0]["path"].as_str().unwrap().contains("validateOnly=true"), "{patches:?}");
    assert!(patches[0]["request"]["startExecutionToken"].is_null(), "nothing could run");
    assert_eq!(sandbox.call("GET", &format!("/v2/{JOB}"), None).await, before);

    // Once it has run, one of its executions is read as well.
    let mut body = before.1.clone();
    body["startExecutionToken"] = json!("once");
    assert_eq!(sandbox.call("PATCH", &format!("/v2/{JOB}"), Some(body)).await.0, 200);
    let (_, said, _) = check(&folder).await;
    assert!(said.contains("is read: its last execution is migrate-once"), "{said}");
    assert!(sandbox.journal("GET").await.iter().any(|call| {
        call["path"].as_str().unwrap().contains("/jobs/migrate/executions/migrate-once")
    }));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_job_lacks_is_said_in_a_sentence() {
    let sandbox = Sandbox::with_web().await;
    let folder = folder_with_jobs(&sandbox, &[JOB]);
    for (denied, sentences) in [
        (
            "run.jobs.get",
            &["! Cloud Run refuses to read", "Grant the gate's service account run.jobs.get on"][..],
        ),
        (
            "run.jobs.update",
            &[
                "! the gate's account lacks run.jobs.update: grant it roles/run.developer on this job",
                "! Cloud Run refuses to accept a change of",
                "Grant the gate's service account run.jobs.update on",
                "(roles/run.developer has it), and iam.serviceAccounts.actAs on",
            ][..],
        ),
        ("run.jobs.run", &["! the gate's account lacks run.jobs.run: grant it"][..]),
        ("run.executions.get", &["! the gate's account lacks run.executions.get: grant it"][..]),
    ] {
        deny(&sandbox, &[denied]).await;
        let (output, said, complained) = check(&folder).await;
        assert_eq!(output.status.code(), Some(1), "{denied}: {said}");
        for sentence in sentences {
            assert!(said.contains(sentence), "{denied}: {sentence:?} is not said:\n{said}");
        }
        assert!(complained.contains("Cloud Run would not let the gate"), "{complained}");
    }
    deny(&sandbox, &[]).await;
    assert_eq!(check(&folder).await.0.status.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_does_not_exist_is_a_problem() {
    let sandbox = Sandbox::with_web().await;
    let folder = folder_with_jobs(&sandbox, &[JOB, NO_JOB]);
    let (output, said, _) = check(&folder).await;
    assert_eq!(output.status.code(), Some(1), "{said}");
    let sentence = "jobs/clean-up\n    ! does not exist, and the gate creates no jobs";
    assert!(said.contains(sentence), "{said}");
}
