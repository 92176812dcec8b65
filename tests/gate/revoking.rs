//! A key is revoked: by its owner or another approver, at once, and no row brings it back.

use countersign::sandbox::authenticator::SoftwareAuthenticator;
use serde_json::json;

use crate::evidence::tamper;
use crate::support::gate::{Engine, Gate, on_both_engines, send};

on_both_engines!(
    a_revoked_key_signs_nothing,
    only_owners_and_approvers_revoke,
    a_revocation_stops_what_has_not_begun,
    no_row_brings_a_revoked_key_back,
    a_revocation_that_nobody_signed_stops_everything,
);

/// The id of the newest key of this authenticator.
fn id_of(authenticator: &SoftwareAuthenticator) -> String {
    authenticator.newest_credential().unwrap()
}

async fn a_revoked_key_signs_nothing(engine: Engine) {
    let gate = Gate::start(engine).await;
    let mut alice = gate.approver("alice").await;
    let id = gate.asked(json!({})).await;
    let key = id_of(&alice.authenticator);
    let statement = alice.statement(&id, json!({"decision": "approve"})).await.unwrap();
    let page = alice.revoke(&key, "").await.unwrap();
    assert!(page.contains("The key is revoked"), "{page}");
    assert!(page.contains("given up by its owner"), "{page}");
    // What was signed with it a moment later counts no more, and no statement names it.
    let refused = alice.sign(&id, &statement, &[]).await.unwrap_err();
    assert!(refused.contains("revoked and signs nothing"), "{refused}");
    let refused = alice.statement(&id, json!({"decision": "approve"})).await.unwrap_err();
    assert!(refused.contains("no key registered"), "{refused}");
    // A second click is no second entry, and another key of the same person is not touched.
    alice.revoke(&key, "again").await.unwrap();
    alice.register_key().await.unwrap();
    alice.approve(&id).await.unwrap();
    assert_eq!(gate.ended(&id).await["status"], "succeeded");
    gate.finish().await;
}

async fn only_owners_and_approvers_revoke(engine: Engine) {
    let gate = Gate::start(engine).await;
    let alice = gate.approver("alice").await;
    let mut bob = gate.approver("bob").await;
    let mut dan = gate.approver("dan").await;
    let key = id_of(&alice.authenticator);
    // Dan may sign nowhere: he sees nobody's keys, and revokes his own alone.
    assert!(dan.browser.open("/keys/all", "dan").await.unwrap_err().contains("404"));
    assert!(dan.revoke(&key, "mine now").await.unwrap_err().contains("404"));
    assert!(dan.revoke("AAAA", "none").await.unwrap_err().contains("404"));
    let own = id_of(&dan.authenticator);
    dan.revoke(&own, "").await.unwrap();
    // Nobody without a session, and nobody from another page.
    let path = gate.url(&format!("/keys/{key}/revocations"));
    let origin = &gate.servers.gate;
    let signed_out = gate.http.post(&path).form(&[("reason", "x")]).header("origin", origin);
    assert!(
        signed_out.send().await.unwrap().headers()["location"]
            .to_str()
            .unwrap()
            .contains("sign-in")
    );
    let foreign = gate.http.post(&path).form(&[("reason", "x")]);
    assert_eq!(
        foreign.header("origin", "https://evil.example").send().await.unwrap().status(),
        403
    );
    // Bob is an approver: he says why, and it is done at once.
    assert!(bob.revoke(&key, "  ").await.unwrap_err().contains("422"));
    assert!(bob.revoke(&key, &"x".repeat(1001)).await.unwrap_err().contains("422"));
    let page = bob.browser.open("/keys/all", "bob").await.unwrap();
    assert!(page.contains("Alice") && page.contains(&key), "{page}");
    let page = bob.revoke(&key, "left the company").await.unwrap();
    assert!(page.contains("left the company"), "{page}");
    gate.finish().await;
}

async fn a_revocation_stops_what_has_not_begun(engine: Engine) {
    let gate = Gate::start(engine).await;
    gate.ready_delay(0).await;
    let mut alice = gate.approver("alice").await;
    let mut bob = gate.approver("bob").await;
    let key = id_of(&alice.authenticator);
    // The worker waits for Cloud Run to tell what runs, before it calls anything.
    let id = gate.asked(json!({})).await;
    let held = gate.hold("GET", 1).await;
    alice.approve(&id).await.unwrap();
    gate.until_hit(held).await;
    bob.revoke(&key, "the laptop was stolen").await.unwrap();
    gate.no_faults().await;
    let ended = gate.ended(&id).await;
    assert_eq!(ended["status"], "needs_attention", "{ended:#}");
    let sentence = ended["status_sentence"].as_str().unwrap();
    for words in ["Bob", "u-alice", "the laptop was stolen", "credential_revoked", "ask again"] {
        assert!(sentence.contains(words), "no {words:?} in: {sentence}");
    }
    assert_eq!(gate.changes_of_cloud_run().await, 0);
    let page = bob.browser.open(&format!("/approvals/{id}"), "bob").await.unwrap();
    assert!(page.contains("the laptop was stolen"), "{page}");
    // Once the first call was announced, the rollout goes on.
    let id = gate.asked(json!({"subject": {"steps": [100]}})).await;
    let held = gate.hold("PATCH", 1).await;
    bob.approve(&id).await.unwrap();
    gate.until_hit(held).await;
    let key = id_of(&bob.authenticator);
    bob.revoke(&key, "").await.unwrap();
    gate.no_faults().await;
    assert_eq!(gate.ended(&id).await["status"], "succeeded");
    gate.finish().await;
}

async fn no_row_brings_a_revoked_key_back(engine: Engine) {
    let gate = Gate::start(engine).await;
    let mut alice = gate.approver("alice").await;
    let key = id_of(&alice.authenticator);
    alice.revoke(&key, "").await.unwrap();
    let id = gate.asked(json!({})).await;
    tamper(&gate, "UPDATE credentials SET status = 'active'").await;
    // As long as nobody has followed the log to the entry, the page believes the row; then the worker does not.
    match alice.approve(&id).await {
        Ok(_) => {
            let ended = gate.ended(&id).await;
            let sentence = ended["status_sentence"].as_str().unwrap();
            assert!(sentence.contains("credential_revoked"), "{ended:#}");
        }
        Err(refused) => assert!(refused.contains("no_credential"), "{refused}"),
    }
    assert_eq!(gate.changes_of_cloud_run().await, 0);
    gate.servers.stop().await;
}

async fn a_revocation_that_nobody_signed_stops_everything(engine: Engine) {
    let gate = Gate::start(engine).await;
    let mut alice = gate.approver("alice").await;
    let other = gate.approver("bob").await;
    let (key, others) = (id_of(&alice.authenticator), id_of(&other.authenticator));
    alice.revoke(&key, "").await.unwrap();
    // The entry is made to speak of another key.
    let swap = format!(
        "UPDATE ledger_entries SET record = replace(record, '{key}', '{others}') \
         WHERE kind = 'credential.revoked'"
    );
    let id = gate.asked(json!({})).await;
    tamper(&gate, "UPDATE credentials SET status = 'active'").await;
    tamper(&gate, &swap).await;
    // Either the follower of the log finds it first, or the worker does. If the entry was followed before
    // it was changed, the key signs nothing any more, and the patrol finds it within half a minute.
    let _ = alice.approve(&id).await;
    let mut found = String::new();
    for _ in 0..400 {
        let ready = send(gate.http.get(gate.url("/health/ready"))).await.body.to_string();
        let sentence = gate.approval(&id).await["status_sentence"].to_string();
        found = format!("{ready} {sentence}");
        if ready.contains("Nothing is decided") || sentence.contains("evidence_incomplete") {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let is_found = found.contains("Nothing is decided") || found.contains("evidence_incomplete");
    assert!(is_found, "{found}");
    assert_eq!(gate.changes_of_cloud_run().await, 0);
    gate.servers.stop().await;
}
