//! The directory and the gate together: whose word groups are, who left, and who may sign in at all.

use std::collections::BTreeMap;

use countersign::config::Config;
use countersign::domain::canonical::to_canonical_json;
use countersign::proof::evidence::{Trust, TrustedLogin};
use countersign::proof::verify::verify;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::bundles;
use crate::support::gate::{Engine, Gate, on_both_engines};

on_both_engines!(
    groups_that_nobody_signed_are_called_so,
    they_do_not_count_where_they_must_be_signed,
    who_left_signs_in_no_more_and_their_keys_end_at_once,
    an_account_of_another_domain_is_refused_and_told,
);

/// The gate asks Cloud Identity, and the groups have the names that Google gives them.
fn with_cloud_identity(config: String) -> String {
    let issuer = config.lines().find_map(|line| line.strip_prefix("issuer = \"")).unwrap();
    let sandbox = issuer.trim_end_matches("/identity\"").to_owned();
    let config = config
        .replace("[login]\n", "[login]\ngroups_from = \"cloud_identity\"\n")
        .replace("\"groups\"]", "\"https://www.googleapis.com/auth/cloud-identity.groups.readonly\"]")
        .replace("[[workload_issuer]]\nname = \"github\"", &format!("[login.cloud_identity]\nendpoint = \"{sandbox}\"\n\n[[workload_issuer]]\nname = \"github\""))
        .replace("group:release-managers", "group:release-managers@demo.example");
    assert!(config.contains("[login.cloud_identity]"), "{config}");
    config
}

/// Google's next ID token names no groups.
async fn without_groups(gate: &Gate) {
    let changes = json!({"groups": null});
    gate.sandbox(Method::POST, "/_sandbox/id-token", Some(changes)).await;
}

async fn groups_that_nobody_signed_are_called_so(engine: Engine) {
    let gate = Gate::start_with(engine, with_cloud_identity).await;
    let mut alice = gate.approver("alice").await;
    without_groups(&gate).await;
    alice.sign_in("alice").await.unwrap();
    let id = gate.asked(json!({})).await;
    let page = alice.browser.open(&format!("/approvals/{id}"), "alice").await.unwrap();
    let says = "are the gate&#39;s own word";
    assert!(page.contains(says) || page.contains("are the gate's own word"), "{page}");
    assert!(page.contains("release-managers@demo.example"), "{page}");
    alice.approve(&id).await.unwrap();
    assert_eq!(gate.ended(&id).await["status"], "succeeded");

    let verified = gate.proved(&id).await;
    let said = verified.checks().iter().find(|check| check.contains("the gate's own word"));
    assert!(said.is_some(), "{:#?}", verified.checks());
    let evidence = gate.get(&format!("/v1/approvals/{id}/evidence")).await.body;
    let sign_in = &evidence["decisions"][0]["sign_in"];
    let groups = json!(["engineering@demo.example", "release-managers@demo.example"]);
    assert_eq!(sign_in["gate_groups"], groups);

    // Whoever wants the directory's word does not take the gate's.
    let trust = Config::load(&gate.servers.files.config, &BTreeMap::new()).unwrap().trust();
    assert!(trust.login.gate_groups);
    let login = TrustedLogin { gate_groups: false, ..trust.login.clone() };
    let strict = Trust { login, ..trust.clone() };
    let judge = |evidence: &Value, trust: &Trust| {
        let text = to_canonical_json(evidence).unwrap();
        bundles::leave("gate-groups", &json!([bundles::case("gate groups", &text, trust)]));
        verify(text.as_bytes(), trust).err().map(|failure| failure.code().as_str())
    };
    assert_eq!(judge(&evidence, &trust), None);
    assert_eq!(judge(&evidence, &strict), Some("sign_in_invalid"));
    // What the gate said stands in what the person signed.
    let mut other = evidence.clone();
    other["decisions"][0]["sign_in"]["gate_groups"] = json!(["release-managers@demo.example"]);
    assert_eq!(judge(&other, &trust), Some("sign_in_mismatch"));
    other["decisions"][0]["sign_in"].as_object_mut().unwrap().remove("gate_groups");
    assert_eq!(judge(&other, &trust), Some("sign_in_mismatch"));
    gate.finish().await;
}

async fn they_do_not_count_where_they_must_be_signed(engine: Engine) {
    let gate = Gate::start_with(engine, |config| {
        with_cloud_identity(config).replace(
            "newer_request = \"queue\"",
            "newer_request = \"queue\"\ngroups_must_be_signed = true",
        )
    })
    .await;
    let mut alice = gate.approver("alice").await;
    without_groups(&gate).await;
    alice.sign_in("alice").await.unwrap();
    let id = gate.asked(json!({})).await;
    let refused = alice.approve(&id).await.unwrap_err();
    assert!(refused.contains("none of its rules names the person"), "{refused}");
    assert_eq!(gate.approval(&id).await["status"], "pending");
    gate.finish().await;
}

async fn who_left_signs_in_no_more_and_their_keys_end_at_once(engine: Engine) {
    let gate = Gate::start(engine).await;
    let (mut alice, mut bob) = (gate.approver("alice").await, gate.approver("bob").await);
    gate.sandbox(Method::DELETE, "/_sandbox/people/bob", None).await;
    let refused = gate.sign_in_alone("bob").await.unwrap_err();
    assert!(refused.contains("403"), "{refused}");
    // The session from before lasts a quarter of an hour at most; the key ends when somebody says so.
    let id = gate.asked(json!({})).await;
    let statement = bob.statement(&id, json!({"decision": "approve"})).await.unwrap();
    let key = statement["request_options"]["allowCredentials"][0]["id"].as_str().unwrap();
    alice.revoke(key, "left the company").await.unwrap();
    bob.sign(&id, &statement, &[]).await.unwrap_err();
    bob.approve(&id).await.unwrap_err();
    assert_eq!(gate.approval(&id).await["status"], "pending");
    gate.finish().await;
}

async fn an_account_of_another_domain_is_refused_and_told(engine: Engine) {
    let gate = Gate::start_with(engine, |config| {
        config.replace("[login]\n", "[login]\nhosted_domain = \"example.com\"\n")
    })
    .await;
    for hd in [json!(null), json!("example.org")] {
        gate.sandbox(Method::POST, "/_sandbox/id-token", Some(json!({"hd": hd}))).await;
        let refused = gate.sign_in_alone("alice").await.unwrap_err();
        assert!(refused.contains("403"), "{refused}");
    }
    let hd = json!({"hd": "example.com"});
    gate.sandbox(Method::POST, "/_sandbox/id-token", Some(hd)).await;
    gate.sign_in_alone("alice").await.unwrap();
    gate.finish().await;
}
