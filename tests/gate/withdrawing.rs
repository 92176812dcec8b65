//! A signature is taken back: by whoever made it, signed as well, until the rollout begins.

use std::time::Duration;

use countersign::sandbox::authenticator::Fault;
use serde_json::{Value, json};

use crate::evidence::tamper;
use crate::support::gate::{Engine, Gate, on_both_engines, send};

on_both_engines!(
    only_what_somebody_signed_can_be_taken_back,
    nothing_but_a_signature_takes_one_back,
    who_took_a_yes_back_counts_once_after_all,
    what_is_approved_waits_again,
    a_redundant_signature_changes_nothing,
    what_has_begun_goes_on,
    a_newer_request_takes_the_place_of_what_waits_again,
    no_row_undoes_a_withdrawal,
    no_lost_entry_undoes_a_withdrawal,
);

/// The demo where two have to sign.
async fn two_sign(engine: Engine) -> Gate {
    Gate::start_with(engine, |config| {
        let edited = config.replace("count = 1", "count = 2");
        assert_ne!(edited, config);
        edited
    })
    .await
}

fn back() -> Value {
    json!({"decision": "withdraw"})
}

/// The rollout of another approval runs until the faults end, so that what is approved now does not begin.
async fn busy(gate: &Gate) -> String {
    let id = gate.asked(json!({"subject": {"steps": [100]}})).await;
    let held = gate.hold("PATCH", 1).await;
    let mut bob = gate.approver("bob").await;
    bob.approve(&id).await.unwrap();
    gate.until_hit(held).await;
    id
}

async fn only_what_somebody_signed_can_be_taken_back(engine: Engine) {
    let gate = two_sign(engine).await;
    let mut alice = gate.approver("alice").await;
    let mut bob = gate.approver("bob").await;
    let mut dan = gate.approver("dan").await;
    let id = gate.asked(json!({})).await;
    let nothing = |refused: String| {
        assert!(refused.contains("409") && refused.contains("nothing_to_withdraw"), "{refused}");
    };
    nothing(alice.statement(&id, back()).await.unwrap_err());
    alice.approve(&id).await.unwrap();
    // Somebody else's, and that of a person to whom the approval does not exist.
    nothing(bob.statement(&id, back()).await.unwrap_err());
    assert!(dan.statement(&id, back()).await.unwrap_err().contains("404"));
    alice.decide(&id, back()).await.unwrap();
    nothing(alice.statement(&id, back()).await.unwrap_err());
    // A no is the end, and stays it.
    bob.decide(&id, json!({"decision": "reject", "reason": "no"})).await.unwrap();
    let refused = bob.statement(&id, back()).await.unwrap_err();
    assert!(refused.contains("409") && refused.contains("already rejected"), "{refused}");
    assert_eq!(gate.approval(&id).await["status"], "rejected");
    gate.finish().await;
}

async fn nothing_but_a_signature_takes_one_back(engine: Engine) {
    let gate = two_sign(engine).await;
    let mut alice = gate.approver("alice").await;
    let mut bob = gate.approver("bob").await;
    let id = gate.asked(json!({})).await;
    alice.approve(&id).await.unwrap();
    let statement = alice.statement(&id, back()).await.unwrap();
    let text: Value = serde_json::from_str(statement["statement"].as_str().unwrap()).unwrap();
    assert_eq!(text["predicateType"], "urn:countersign:predicate:withdrawal:v1");
    for fault in [Fault::FlipFlags(0x04), Fault::WrongKey] {
        let refused = alice.sign(&id, &statement, std::slice::from_ref(&fault)).await.unwrap_err();
        assert!(refused.contains("422"), "{fault:?}: {refused}");
    }
    // Her own signature in the session of somebody else.
    let stolen = alice.signed(&statement, &[]).unwrap();
    let path = format!("/approvals/{id}/decisions");
    assert!(bob.browser.post(&path, &stolen).await.unwrap_err().contains("409"));
    // What she took back is not what the page shows, once she signed another yes.
    alice.decide(&id, back()).await.unwrap();
    alice.approve(&id).await.unwrap();
    let refused = alice.sign(&id, &statement, &[]).await.unwrap_err();
    assert!(refused.contains("409") && refused.contains("stale_page"), "{refused}");
    assert_eq!(gate.approval(&id).await["rules"][0]["met"], 1);
    gate.finish().await;
}

async fn who_took_a_yes_back_counts_once_after_all(engine: Engine) {
    let gate = two_sign(engine).await;
    let mut alice = gate.approver("alice").await;
    let mut bob = gate.approver("bob").await;
    let id = gate.asked(json!({})).await;
    alice.approve(&id).await.unwrap();
    let words = json!({"decision": "withdraw", "reason": "The migration is missing."});
    let answer = alice.decide(&id, words).await.unwrap();
    assert_eq!(answer["status"], "pending", "{answer}");
    // Bob alone is one of two, and so are Bob and Alice's first yes.
    assert_eq!(bob.approve(&id).await.unwrap()["status"], "pending");
    let shown = gate.approval(&id).await;
    assert_eq!(shown["rules"][0]["met"], 1, "{shown:#}");
    let decisions = shown["decisions"].as_array().unwrap();
    let seen: Vec<_> = decisions
        .iter()
        .map(|one| (one["approver"]["subject"].as_str().unwrap(), one["withdrawn_at"].is_string()))
        .collect();
    assert_eq!(seen, [("u-alice", true), ("u-bob", false)], "{shown:#}");
    let page = bob.browser.open(&format!("/approvals/{id}"), "bob").await.unwrap();
    for words in ["took it back", "The migration is missing.", "1 of 2"] {
        assert!(page.contains(words), "no {words:?} in {page}");
    }
    alice.approve(&id).await.unwrap();
    let ended = gate.ended(&id).await;
    assert_eq!(ended["status"], "succeeded", "{ended:#}");
    assert_eq!(ended["decisions"].as_array().unwrap().len(), 3);
    // Everything stands in the evidence, in the log and in the sentences of both.
    let proved = gate.proved(&id).await;
    assert_eq!((proved.is_approved(), proved.decisions().len()), (true, 4));
    let log = bob.browser.open(&format!("/audit?approval={id}"), "bob").await.unwrap();
    assert!(log.contains("Alice Adler took the signature back, because"), "{log}");
    gate.finish().await;
}

async fn what_is_approved_waits_again(engine: Engine) {
    let gate = Gate::start(engine).await;
    let mut alice = gate.approver("alice").await;
    let id = gate.asked(json!({})).await;
    let other = busy(&gate).await;
    assert_eq!(alice.approve(&id).await.unwrap()["status"], "approved");
    let page = alice.browser.open(&format!("/approvals/{id}"), "alice").await.unwrap();
    assert!(page.contains("id=\"withdraw\""), "{page}");
    let answer = alice.decide(&id, back()).await.unwrap();
    assert_eq!(answer["status"], "pending", "{answer}");
    gate.no_faults().await;
    assert_eq!(gate.ended(&other).await["status"], "succeeded");
    let before = gate.changes_of_cloud_run().await;
    // The service is free now, and nothing begins, however long one waits for the worker.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let proved = gate.proved(&id).await;
    assert_eq!((proved.is_approved(), proved.version()), (false, 3));
    assert_eq!(gate.approval(&id).await["status"], "pending");
    assert_eq!(gate.changes_of_cloud_run().await, before);
    gate.post(&format!("/v1/approvals/{id}/cancel"), json!({})).await;
    gate.finish().await;
}

/// Three signed where two would do for the rules.
async fn a_redundant_signature_changes_nothing(engine: Engine) {
    let before = "\"group:release-managers\"], count = 1 }]";
    let rules = "\"group:release-managers\", \"person:u-dan\"], count = 1 }, \
                 { from = [\"person:u-bob\"], count = 1 }]";
    let gate = Gate::start_with(engine, |config| config.replace(before, rules)).await;
    let mut alice = gate.approver("alice").await;
    let mut bob = gate.approver("bob").await;
    let mut dan = gate.approver("dan").await;
    // Both can stand for the first rule, and nobody but Bob for the second.
    let first = gate.asked(json!({"subject": {"steps": [100]}})).await;
    let held = gate.hold("PATCH", 1).await;
    alice.approve(&first).await.unwrap();
    bob.approve(&first).await.unwrap();
    gate.until_hit(held).await;
    let id = gate.asked(json!({})).await;
    alice.approve(&id).await.unwrap();
    dan.approve(&id).await.unwrap();
    assert_eq!(bob.approve(&id).await.unwrap()["status"], "approved");
    assert_eq!(alice.decide(&id, back()).await.unwrap()["status"], "approved");
    assert!(gate.proved(&id).await.is_approved());
    assert_eq!(dan.decide(&id, back()).await.unwrap()["status"], "pending");
    gate.no_faults().await;
    gate.ended(&first).await;
    gate.post(&format!("/v1/approvals/{id}/cancel"), json!({})).await;
    gate.finish().await;
}

async fn what_has_begun_goes_on(engine: Engine) {
    let gate = Gate::start(engine).await;
    let mut alice = gate.approver("alice").await;
    let id = gate.asked(json!({"subject": {"steps": [100]}})).await;
    let held = gate.hold("PATCH", 1).await;
    alice.approve(&id).await.unwrap();
    gate.until_hit(held).await;
    let refused = alice.decide(&id, back()).await.unwrap_err();
    assert!(refused.contains("409") && refused.contains("already executing"), "{refused}");
    let page = alice.browser.open(&format!("/approvals/{id}"), "alice").await.unwrap();
    assert!(!page.contains("id=\"withdraw\""), "{page}");
    gate.no_faults().await;
    assert_eq!(gate.ended(&id).await["status"], "succeeded");
    let refused = alice.decide(&id, back()).await.unwrap_err();
    assert!(refused.contains("already succeeded"), "{refused}");
    gate.finish().await;
}

async fn a_newer_request_takes_the_place_of_what_waits_again(engine: Engine) {
    let gate = Gate::start_with(engine, |config| {
        config.replace("newer_request = \"queue\"\nmax_pending = 10000", "")
    })
    .await;
    let mut alice = gate.approver("alice").await;
    let other = busy(&gate).await;
    let older = gate.asked(json!({})).await;
    alice.approve(&older).await.unwrap();
    // What is signed in full is not superseded by what comes later, until it waits again.
    let newer = gate.asked(json!({})).await;
    assert_eq!(gate.approval(&older).await["status"], "approved");
    let answer = alice.decide(&older, back()).await.unwrap();
    assert_eq!(answer["status"], "superseded", "{answer}");
    assert_eq!(gate.approval(&older).await["superseded_by"], newer.as_str());
    assert_eq!(gate.approval(&newer).await["status"], "pending");
    assert!(!gate.proved(&older).await.is_approved());
    gate.no_faults().await;
    gate.ended(&other).await;
    gate.post(&format!("/v1/approvals/{newer}/cancel"), json!({})).await;
    gate.finish().await;
}

/// The row of the approval before the withdrawal, kept by whoever has the database.
async fn keep_and_withdraw(gate: &Gate) -> String {
    let mut alice = gate.approver("alice").await;
    let id = gate.asked(json!({})).await;
    let other = busy(gate).await;
    alice.approve(&id).await.unwrap();
    tamper(gate, &format!("CREATE TABLE kept AS SELECT * FROM approvals WHERE id = '{id}'")).await;
    alice.decide(&id, back()).await.unwrap();
    gate.no_faults().await;
    assert_eq!(gate.ended(&other).await["status"], "succeeded");
    id
}

/// Puts the row of before back, with a job, and waits until the gate has found out.
async fn put_back(gate: &Gate, id: &str) {
    let before = gate.changes_of_cloud_run().await;
    let columns = ["status", "version", "state", "decisions"];
    let columns = columns.map(|name| format!("{name} = (SELECT {name} FROM kept)")).join(", ");
    tamper(gate, &format!("UPDATE approvals SET {columns} WHERE id = '{id}'")).await;
    let job =
        format!("INSERT INTO jobs (approval_id, due_at, epoch, attempts) VALUES ('{id}', 0, 0, 0)");
    tamper(gate, &job).await;
    let mut found = String::new();
    for _ in 0..400 {
        let ready = send(gate.http.get(gate.url("/health/ready"))).await.body.to_string();
        let state = gate.approval(id).await["status_sentence"].to_string();
        found = format!("{ready} {state}");
        if ["Nothing is decided", "Somebody who looks after"].iter().any(|one| found.contains(one))
        {
            assert_eq!(gate.changes_of_cloud_run().await, before, "{found}");
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("nobody found it: {found}");
}

async fn no_row_undoes_a_withdrawal(engine: Engine) {
    let gate = Gate::start(engine).await;
    let id = keep_and_withdraw(&gate).await;
    put_back(&gate, &id).await;
    gate.servers.stop().await;
}

async fn no_lost_entry_undoes_a_withdrawal(engine: Engine) {
    let gate = Gate::start(engine).await;
    let id = keep_and_withdraw(&gate).await;
    tamper(&gate, "DELETE FROM ledger_entries WHERE kind = 'approval.withdrawn'").await;
    let newest = format!(
        "DELETE FROM decisions WHERE approval_id = '{id}' \
         AND position = (SELECT MAX(position) FROM decisions WHERE approval_id = '{id}')"
    );
    tamper(&gate, &newest).await;
    put_back(&gate, &id).await;
    gate.servers.stop().await;
}
