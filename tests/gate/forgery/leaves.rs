//! Every leaf of a signed deployment, changed in turn: in the database after it was signed, and in what
//! is signed and sent.

use std::collections::BTreeMap;

use aws_lc_rs::digest::{SHA256, digest};
use countersign::domain::canonical::to_canonical_json;
use countersign::domain::digest::Digest;
use countersign::proof::base64url;
use serde_json::{Value, json};

use super::attacker::quoted;
use super::{Scene, code_of};
use crate::evidence::damage::{leaves_of, other_leaf};
use crate::support::gate::{Engine, on_both_engines};

on_both_engines!(
    a_leaf_that_was_changed_in_the_database_rolls_out_nothing,
    a_signature_over_a_changed_leaf_counts_nothing,
);

/// The deployment with the leaf at this path changed.
fn changed(deployment: &Value, path: &str) -> Value {
    let mut deployment = deployment.clone();
    let leaf = deployment.pointer_mut(path).unwrap();
    *leaf = other_leaf(leaf);
    deployment
}

async fn a_leaf_that_was_changed_in_the_database_rolls_out_nothing(engine: Engine) {
    let mut scene = Scene::new(engine).await;
    let first = scene.deployment_of(&scene.donor.clone()).await;
    let paths = leaves_of(&first);
    assert!(paths.len() > 40, "only {} leaves", paths.len());
    let mut changes = Vec::new();
    for path in paths {
        let id = scene.approved().await;
        let deployment = scene.deployment_of(&id).await;
        let deployment = changed(&deployment, &path);
        let text = to_canonical_json(&deployment).unwrap();
        let member = |name: &str| quoted(deployment[name].as_str().unwrap());
        // Every column that repeats something is changed with it, as far as the database's own keys let.
        let expires = deployment["expires_at"].as_str().unwrap().parse::<jiff::Timestamp>();
        let expires =
            expires.map_or_else(|_| "expires_at".to_owned(), |at| at.as_microsecond().to_string());
        scene
            .attacker
            .run(&format!(
                "UPDATE approvals SET deployment = '{}', deployment_digest = '{}', environment = '{}', \
                 service = '{}', requester_key = '{}', expires_at = {expires} WHERE id = '{id}'",
                quoted(&text),
                Digest::of(&text),
                member("environment"),
                member("service"),
                quoted(deployment["requester"]["key"].as_str().unwrap()),
            ))
            .await;
        changes.push((path, id));
    }
    for (_, id) in &changes {
        scene.attacker.release(id).await;
    }
    let mut codes: BTreeMap<String, usize> = BTreeMap::new();
    for (path, id) in &changes {
        let code = scene.refused(id).await;
        let known = [
            "chain_broken",
            "audience_mismatch",
            "policy_mismatch",
            "malformed",
            "impossible_row",
            // What cannot be read, whoever wrote it, is carried out by nobody.
            "newer_version_needed",
        ];
        assert!(known.contains(&code.as_str()), "{path}: {code}");
        *codes.entry(code).or_default() += 1;
    }
    assert_eq!(scene.gate.changes_of_cloud_run().await, 0);
    assert!(codes["chain_broken"] > 30, "{codes:?}");
    scene.gate.servers.stop().await;
}

async fn a_signature_over_a_changed_leaf_counts_nothing(engine: Engine) {
    let mut scene = Scene::new(engine).await;
    let id = scene.gate.asked(json!({})).await;
    let statement = scene.alice.statement(&id, json!({"decision": "approve"})).await.unwrap();
    let said: Value = serde_json::from_str(statement["statement"].as_str().unwrap()).unwrap();
    for path in leaves_of(&said) {
        let text = to_canonical_json(&changed(&said, &path)).unwrap();
        let encoding = format!("DSSEv1 28 application/vnd.in-toto+json {} {text}", text.len());
        let mut other = statement.clone();
        let challenge = base64url::encode(digest(&SHA256, encoding.as_bytes()).as_ref());
        other["request_options"]["challenge"] = challenge.into();
        let refusal = scene.alice.sign(&id, &other, &[]).await;
        assert_eq!(code_of(refusal), "challenge_mismatch", "{path}");
    }
    // What is sent beside the signature.
    let sent = scene.alice.signed(&statement, &[]).unwrap();
    let post = format!("/approvals/{id}/decisions");
    for path in leaves_of(&sent) {
        // An authenticator is not known by how it is attached, and need not say whose it is.
        if path.ends_with("authenticatorAttachment") {
            continue;
        }
        let refusal = scene.alice.browser.post(&post, &changed(&sent, &path)).await;
        refusal.expect_err(&path);
    }
    assert_eq!(scene.gate.approval(&id).await["status"], "pending");
    // As it was signed it counts.
    let answer = scene.alice.browser.post(&post, &sent).await.unwrap();
    assert_eq!(answer["status"], "approved");
    assert_eq!(scene.gate.changes_of_cloud_run().await, 0);
    scene.gate.servers.stop().await;
}

impl Scene {
    async fn deployment_of(&mut self, id: &str) -> Value {
        let text = format!("SELECT deployment FROM approvals WHERE id = '{id}'");
        serde_json::from_str(&self.attacker.read(&text).await.unwrap()).unwrap()
    }
}
