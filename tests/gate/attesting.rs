//! Binary Authorization as a backstop: an approved image is attested before the first change, and Cloud Run
//! itself refuses what is not.

use countersign::cli::demo::approver::Approver;
use countersign::integrations::binary_authorization::AttestorKey;
use countersign::sandbox::DEMO_SERVICE;
use data_encoding::BASE64;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::cloud_run::fault_at;
use crate::support::gate::{Engine, Gate, on_both_engines};

on_both_engines!(
    an_approved_image_is_attested_once_and_first,
    a_key_in_a_file_serves_as_well,
    an_attestation_outlives_lost_answers,
    without_an_attestation_nothing_changes,
    cloud_run_refuses_what_nobody_attested,
    what_was_signed_says_which_attestor,
);

pub const NOTE: &str = "projects/security/notes/production";
const KMS_KEY: &str =
    "projects/security/locations/europe/keyRings/gate/cryptoKeys/attestor/cryptoKeyVersions/1";
/// Made for this test with `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256`.
const PRIVATE_KEY: &str = include_str!("../data/attestor-key.pem");
/// The same with `openssl pkey -pubout -outform DER | base64`.
const PUBLIC_KEY: &str = include_str!("../data/attestor-key.pub");

fn sandbox_of(text: &str) -> String {
    let sandbox = text.lines().find_map(|line| line.strip_prefix("endpoint = "));
    sandbox.unwrap().trim_matches('"').trim_end_matches('/').to_owned()
}

fn attested_by(text: String, key: &str) -> String {
    let sandbox = sandbox_of(&text);
    text + &format!(
        r#"
[binary_authorization]
analysis_endpoint = "{sandbox}/google/analysis"
kms_endpoint = "{sandbox}/google/kms"
[environment.production.binary_authorization]
note = "{NOTE}"
{key}
"#
    )
}

pub fn with_cloud_kms(text: String) -> String {
    attested_by(text, &format!("kms_key = \"{KMS_KEY}\""))
}

/// Has Cloud Run ask for attestations of this note in the demo's service.
async fn ask_for(gate: &Gate, note: &str, keys: Value) {
    ask_for_in(gate, DEMO_SERVICE, note, keys).await;
}

/// The same in another service, or a job.
pub async fn ask_for_in(gate: &Gate, resource: &str, note: &str, keys: Value) {
    let policy = json!({"services": {(resource): note}, "keys": keys});
    gate.sandbox(Method::PUT, "/_sandbox/binary-authorization", Some(policy)).await;
}

async fn approved(gate: &Gate, alice: &mut Approver) -> String {
    let image = format!("europe-docker.pkg.dev/demo/app/web@sha256:{}", "5".repeat(64));
    let id = gate.asked(json!({"subject": {"image": image}})).await;
    gate.clear_journal().await;
    assert_eq!(alice.approve(&id).await.unwrap()["status"], "approved");
    id
}

/// The attestations that were asked for.
pub async fn made(gate: &Gate) -> Vec<Value> {
    gate.calls("POST", "/google/analysis/v1/projects/security/occurrences").await
}

async fn an_approved_image_is_attested_once_and_first(engine: Engine) {
    let gate = Gate::start_with(engine, with_cloud_kms).await;
    gate.ready_delay(0).await;
    ask_for(&gate, NOTE, json!({})).await;
    let mut alice = gate.approver("alice").await;
    let id = approved(&gate, &mut alice).await;
    let ended = gate.ended(&id).await;
    assert_eq!(ended["status"], "succeeded", "{ended:#}");

    let made_first = made(&gate).await;
    assert_eq!(made_first.len(), 1, "{made_first:#?}");
    let occurrence = &made_first[0]["request"];
    assert_eq!(occurrence["noteName"], NOTE);
    let signature = &occurrence["attestation"]["signatures"][0];
    assert_eq!(signature["publicKeyId"], format!("//cloudkms.googleapis.com/v1/{KMS_KEY}"));
    let patches = gate.calls("PATCH", "/v2/").await;
    let sequence = |call: &Value| call["sequence"].as_u64().unwrap();
    assert!(patches.iter().all(|patch| sequence(patch) > sequence(&made_first[0])));
    assert_eq!(gate.calls("POST", ":asymmetricSign").await.len(), 1);
    // The ledger and the evidence tell it, before the first call.
    let proved = gate.proved(&id).await;
    let told = proved.records().iter().position(|record| {
        serde_json::to_string(record).unwrap().contains("projects/security/occurrences/")
    });
    let called = proved.records().iter().position(|record| record.kind == "rollout.call_announced");
    assert!(told.unwrap() < called.unwrap());

    // The same image again: what is there is not made again.
    let id = approved(&gate, &mut alice).await;
    assert_eq!(gate.ended(&id).await["status"], "succeeded");
    assert!(made(&gate).await.is_empty());
    gate.finish().await;
}

async fn a_key_in_a_file_serves_as_well(engine: Engine) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("attestor.pem");
    std::fs::write(&file, PRIVATE_KEY).unwrap();
    let key = format!("key_file = {:?}", file.display().to_string());
    let gate = Gate::start_with(engine, |text| attested_by(text, &key)).await;
    gate.ready_delay(0).await;
    let id_of_key = AttestorKey::from_pem(PRIVATE_KEY).unwrap().id();
    let public = PUBLIC_KEY.trim();
    assert!(BASE64.decode(public.as_bytes()).is_ok());
    ask_for(&gate, NOTE, json!({(id_of_key): public})).await;
    let mut alice = gate.approver("alice").await;
    let id = approved(&gate, &mut alice).await;
    let ended = gate.ended(&id).await;
    assert_eq!(ended["status"], "succeeded", "{ended:#}");
    assert_eq!(made(&gate).await.len(), 1);
    assert!(gate.calls("POST", ":asymmetricSign").await.is_empty());
    gate.finish().await;
}

/// Failed and did not happen; failed but happened.
async fn an_attestation_outlives_lost_answers(engine: Engine) {
    let gate = Gate::start_with(engine, with_cloud_kms).await;
    gate.ready_delay(0).await;
    let mut alice = gate.approver("alice").await;
    for (method, path, fault, times) in [
        ("GET", "/notes/production/occurrences", json!({"kind": "status", "code": 503}), 1),
        ("POST", ":asymmetricSign", json!({"kind": "status", "code": 429}), 1),
        ("POST", "/occurrences", json!({"kind": "status", "code": 503}), 2),
        ("POST", "/occurrences", json!({"kind": "lost_reply"}), 1),
        ("POST", "/occurrences", json!({"kind": "status_after_effect", "code": 500}), 1),
    ] {
        // Another image each time, since an attestation stays.
        let digest = format!("{:064x}", gate.unique());
        let image = format!("europe-docker.pkg.dev/demo/app/web@sha256:{digest}");
        ask_for(&gate, NOTE, json!({})).await;
        let id = gate.asked(json!({"subject": {"image": image}})).await;
        gate.clear_journal().await;
        gate.fault(fault_at(method, path, 1, fault.clone())).await;
        alice.approve(&id).await.unwrap();
        let ended = gate.ended(&id).await;
        assert_eq!(ended["status"], "succeeded", "{fault}: {ended:#}");
        assert_eq!(made(&gate).await.len(), times, "{fault}");
        gate.no_faults().await;
        alice.sign_in("alice").await.unwrap();
    }
    gate.finish().await;
}

async fn without_an_attestation_nothing_changes(engine: Engine) {
    let gate = Gate::start_with(engine, with_cloud_kms).await;
    gate.ready_delay(0).await;
    let mut alice = gate.approver("alice").await;
    for (method, path) in [
        ("GET", "/notes/production/occurrences"),
        ("POST", ":asymmetricSign"),
        ("POST", "/google/analysis/v1/projects/security/occurrences"),
    ] {
        let id = gate.asked(json!({})).await;
        gate.clear_journal().await;
        gate.fault(fault_at(method, path, 1, json!({"kind": "status", "code": 403}))).await;
        alice.approve(&id).await.unwrap();
        let ended = gate.ended(&id).await;
        let sentence = ended["status_sentence"].as_str().unwrap();
        assert_eq!(ended["status"], "failed", "{path}: {sentence}");
        assert!(
            sentence.contains("no attestation was made, so nothing was rolled out"),
            "{sentence}"
        );
        assert_eq!(gate.changes_of_cloud_run().await, 0, "{path}");
        gate.no_faults().await;
    }
    gate.finish().await;
}

async fn cloud_run_refuses_what_nobody_attested(engine: Engine) {
    // This gate attests nothing, and the project asks for attestations.
    let gate = Gate::start(engine).await;
    gate.ready_delay(0).await;
    ask_for(&gate, NOTE, json!({})).await;
    let mut alice = gate.approver("alice").await;
    let id = approved(&gate, &mut alice).await;
    let ended = gate.ended(&id).await;
    let sentence = ended["status_sentence"].as_str().unwrap();
    assert_eq!(ended["status"], "rolled_back", "{sentence}");
    assert!(sentence.contains("is not authorized by policy"), "{sentence}");
    let signed = gate.signed(&id).await;
    assert!(gate.effective_writes().await.iter().all(|shares| *shares == signed.rollback()));
    gate.finish().await;
}

async fn what_was_signed_says_which_attestor(engine: Engine) {
    let gate = Gate::start_with(engine, with_cloud_kms).await;
    gate.ready_delay(0).await;
    let mut alice = gate.approver("alice").await;
    let id = gate.asked(json!({})).await;
    let page = alice.browser.open(&format!("/approvals/{id}"), "alice").await.unwrap();
    assert!(page.contains("attests the image for Binary Authorization"), "{page}");
    assert!(page.contains(NOTE), "{page}");
    // A configuration that forgets it does not make it unnecessary.
    let gate = gate.restart_with(|text| text).await;
    gate.clear_journal().await;
    alice.sign_in("alice").await.unwrap();
    alice.approve(&id).await.unwrap();
    let ended = gate.ended(&id).await;
    let sentence = ended["status_sentence"].as_str().unwrap();
    assert_eq!(ended["status"], "failed", "{sentence}");
    assert!(sentence.contains("has no such attestor"), "{sentence}");
    assert_eq!(gate.changes_of_cloud_run().await, 0);
    gate.finish().await;
}
