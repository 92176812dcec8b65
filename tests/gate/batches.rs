//! Batches: several deployments, one signature, and each approval decided and proven by itself.

mod atomic;
mod refusals;

use std::collections::BTreeSet;

use countersign::cli::demo::approver::Approver;
use serde_json::{Value, json};

use crate::support::gate::{Engine, Gate, on_both_engines};

on_both_engines!(
    one_signature_decides_on_all_and_proves_each,
    one_no_rejects_all,
    one_of_a_batch_is_taken_back_alone,
    a_batch_fills_before_it_is_offered,
    each_rule_counts_for_itself,
);

const SERVICES: [&str; 3] = ["web", "api", "worker"];

fn service(name: &str) -> String {
    format!("projects/demo/locations/europe-west1/services/{name}")
}

/// The demo with a third service, and with as many signatures as are asked for.
async fn gate_for(engine: Engine, count: u8) -> Gate {
    Gate::start_with(engine, |config| {
        let services = format!("services = [\"{}\", ", service("worker"));
        let edited = config.replacen("services = [", &services, 1);
        edited.replace("count = 1", &format!("count = {count}"))
    })
    .await
}

/// One of a batch, as a job of a matrix asks for it.
fn member(name: &str) -> Value {
    json!({"subject": {"service": service(name)}, "batch": "matrix", "batch_size": 3})
}

/// All three of a batch.
async fn asked_together(gate: &Gate) -> Vec<String> {
    let mut ids = Vec::new();
    for name in SERVICES {
        ids.push(gate.asked(member(name)).await);
    }
    ids
}

/// What the page of a batch does: asks for a statement on these approvals.
async fn statement(
    person: &mut Approver,
    ids: &[String],
    decision: Value,
) -> Result<Value, String> {
    let mut body = decision;
    body["approvals"] = json!(ids);
    person.browser.post(&format!("/approvals/{}/batch/statements", ids[0]), &body).await
}

/// Signs it and sends the signature.
async fn sign(person: &mut Approver, id: &str, statement: &Value) -> Result<Value, String> {
    let signed = person.signed(statement, &[])?;
    person.browser.post(&format!("/approvals/{id}/batch/decisions"), &signed).await
}

async fn approve_all(person: &mut Approver, ids: &[String]) -> Result<Value, String> {
    let statement = statement(person, ids, json!({"decision": "approve"})).await?;
    sign(person, &ids[0], &statement).await
}

async fn page(person: &mut Approver, id: &str, name: &str) -> String {
    person.browser.open(&format!("/approvals/{id}/batch"), name).await.unwrap()
}

async fn one_signature_decides_on_all_and_proves_each(engine: Engine) {
    let gate = gate_for(engine, 1).await;
    let mut alice = gate.approver("alice").await;
    let ids = asked_together(&gate).await;
    let prepared = statement(&mut alice, &ids, json!({"decision": "approve"})).await.unwrap();
    let said: Value = serde_json::from_str(prepared["statement"].as_str().unwrap()).unwrap();
    assert_eq!(said["predicateType"], "urn:countersign:predicate:batch-decision:v1");
    let listed = said["predicate"]["deployments"].as_array().unwrap();
    let listed: Vec<_> = listed.iter().map(|one| one["approval"].as_str().unwrap()).collect();
    assert_eq!(listed, ids, "each once, in the order in which they were asked for");
    assert_eq!(said["subject"].as_array().unwrap().len(), 6, "image and approval of each");
    let answer = sign(&mut alice, &ids[0], &prepared).await.unwrap();
    let answer: Vec<_> = answer.as_array().unwrap().iter().map(|one| &one["status"]).collect();
    assert_eq!(answer, ["approved"; 3]);
    let mut signed = BTreeSet::new();
    for (id, name) in ids.iter().zip(SERVICES) {
        let ended = gate.ended(id).await;
        assert_eq!(ended["status"], "succeeded", "{ended:#}");
        // Each is proven by a file of its own, which holds no evidence of the others.
        let proved = gate.proved(id).await;
        assert!(proved.is_approved());
        assert_eq!(proved.subject().approval.as_str(), id);
        let decisions = proved.decisions();
        assert_eq!(decisions.len(), 1, "{name}");
        signed.insert(decisions[0].statement_digest);
    }
    assert_eq!(signed.len(), 1, "one statement, three decisions");
    gate.finish().await;
}

async fn one_no_rejects_all(engine: Engine) {
    let gate = gate_for(engine, 1).await;
    let mut alice = gate.approver("alice").await;
    let ids = asked_together(&gate).await;
    let no = json!({"decision": "reject", "reason": "Not before the freeze ends"});
    let prepared = statement(&mut alice, &ids[1..], no).await.unwrap();
    sign(&mut alice, &ids[1], &prepared).await.unwrap();
    for id in &ids[1..] {
        let ended = gate.ended(id).await;
        assert_eq!(ended["status"], "rejected");
        assert_eq!(ended["decisions"][0]["reason"], "Not before the freeze ends");
        assert!(!gate.proved(id).await.is_approved());
    }
    assert_eq!(gate.approval(&ids[0]).await["status"], "pending", "it was not on the list");
    assert_eq!(gate.changes_of_cloud_run().await, 0);
    gate.finish().await;
}

async fn one_of_a_batch_is_taken_back_alone(engine: Engine) {
    let gate = gate_for(engine, 2).await;
    let (mut alice, mut bob) = (gate.approver("alice").await, gate.approver("bob").await);
    let ids = asked_together(&gate).await;
    approve_all(&mut alice, &ids).await.unwrap();
    alice.decide(&ids[1], json!({"decision": "withdraw"})).await.unwrap();
    approve_all(&mut bob, &ids).await.unwrap();
    for id in [&ids[0], &ids[2]] {
        assert_eq!(gate.ended(id).await["status"], "succeeded");
    }
    let waits = gate.approval(&ids[1]).await;
    assert_eq!((&waits["status"], &waits["rules"][0]["met"]), (&json!("pending"), &json!(1)));
    alice.approve(&ids[1]).await.unwrap();
    assert_eq!(gate.ended(&ids[1]).await["status"], "succeeded");
    assert_eq!(gate.proved(&ids[1]).await.decisions().len(), 4);
    gate.finish().await;
}

async fn a_batch_fills_before_it_is_offered(engine: Engine) {
    let gate = gate_for(engine, 1).await;
    let mut alice = gate.approver("alice").await;
    let alone = gate.asked(json!({})).await;
    let refused = alice.browser.open(&format!("/approvals/{alone}/batch"), "alice").await;
    assert!(refused.unwrap_err().contains("404"));
    let mut ids = vec![gate.asked(member("web")).await];
    let first = page(&mut alice, &ids[0], "alice").await;
    assert!(first.contains("1 of 3 have asked") && first.contains("on its own page"), "{first}");
    assert!(!first.contains("id=\"approve\""), "{first}");
    let state = format!("/approvals/{}/batch/status", ids[0]);
    let before = alice.browser.open(&state, "alice").await.unwrap();
    ids.push(gate.asked(member("api")).await);
    assert_ne!(alice.browser.open(&state, "alice").await.unwrap(), before);
    let second = page(&mut alice, &ids[0], "alice").await;
    assert!(second.contains("2 of 3 have asked"), "{second}");
    // Nobody has to wait, and nobody is led not to.
    assert!(second.contains("Do not wait: sign the 2 that have asked"), "{second}");
    ids.push(gate.asked(member("worker")).await);
    let third = page(&mut alice, &ids[2], "alice").await;
    assert!(!third.contains("have asked") && third.contains("Approve all 3"), "{third}");
    for id in &ids {
        let evidence = gate.get(&format!("/v1/approvals/{id}")).await.body;
        let code = evidence["short_code"].as_str().unwrap();
        assert!(third.contains(code), "{code} of {id}");
    }
    assert!(!third.contains(&alone));
    let own = alice.browser.open(&format!("/approvals/{}", ids[1]), "alice").await.unwrap();
    assert!(own.contains("3 of 3 deployments were asked for together"), "{own}");
    let inbox = alice.browser.open("/", "alice").await.unwrap();
    assert_eq!(inbox.matches("the 2 others of its batch").count(), 3, "{inbox}");
    // What has been decided is shown and not signed again.
    alice.decide(&ids[0], json!({"decision": "reject"})).await.unwrap();
    let after = page(&mut alice, &ids[1], "alice").await;
    assert!(after.contains("Approve all 2") && after.contains("Rejected"), "{after}");
    gate.finish().await;
}

/// Two environments with other rules and other people: whoever may sign in both signs once, and each
/// approval is proven by its own policy.
async fn each_rule_counts_for_itself(engine: Engine) {
    let gate = Gate::start_with(engine, |config| {
        let (before, rules) = config.split_once("[environment.production]").unwrap();
        let of_both = format!("services = [\"{}\", \"{}\"]", service("web"), service("api"));
        assert!(rules.contains(&of_both), "{rules}");
        let own = format!("services = [\"{}\"]", service("worker"));
        let staging = rules.replace(&of_both, &own).replace("count = 1", "count = 2");
        format!("{before}[environment.production]{rules}\n[environment.staging]{staging}")
    })
    .await;
    let (mut alice, mut bob) = (gate.approver("alice").await, gate.approver("bob").await);
    let mut staging = member("worker");
    staging["environment"] = json!("staging");
    let ids = [gate.asked(member("web")).await, gate.asked(staging).await];
    approve_all(&mut alice, &ids).await.unwrap();
    assert_eq!(gate.ended(&ids[0]).await["status"], "succeeded");
    assert_eq!(gate.approval(&ids[1]).await["status"], "pending");
    bob.approve(&ids[1]).await.unwrap();
    assert_eq!(gate.ended(&ids[1]).await["status"], "succeeded");
    let [one, other] = [gate.proved(&ids[0]).await, gate.proved(&ids[1]).await];
    assert_ne!(one.subject().policy_digest, other.subject().policy_digest);
    assert_eq!((one.decisions().len(), other.decisions().len()), (1, 2));
    gate.finish().await;
}
