//! What keeps a job from being started, and what does not: freezes, windows, whose commits it ships, signatures that
//! are taken back, and the glass.

use countersign::sandbox::DEMO_JOB;
use jiff::SignedDuration;
use reqwest::Method;
use serde_json::json;

use super::updating::asked_update;
use super::{approved, asked, assert_one_execution, executions, gate, subject, with_jobs};
use crate::break_glass::{BOB, breaking, exceptions, glass, review};
use crate::freezing::{freeze, lift, production, until_held};
use crate::separation::World;
use crate::support::gate::{Engine, Gate, on_both_engines};
use crate::windows::{until_closed, window};

on_both_engines!(
    a_freeze_holds_it_until_it_is_lifted,
    a_freeze_comes_before_the_call,
    it_starts_when_the_window_opens,
    the_glass_starts_it_through_a_freeze,
    whose_commits_it_ships_cannot_sign,
    what_is_taken_back_while_it_waits_never_starts,
    it_waits_for_the_one_before,
    it_is_in_no_batch,
    a_job_that_was_deleted_is_told,
);

async fn a_freeze_holds_it_until_it_is_lifted(engine: Engine) {
    let gate = gate(engine).await;
    let mut alice = gate.approver("alice").await;
    let mut bob = gate.approver("bob").await;
    let scope = production();
    let frozen = freeze(&mut alice, &scope).await;
    let run = asked(&gate).await;
    bob.approve(&run).await.unwrap();
    until_held(&gate, &run).await;
    let held = gate.approval(&run).await;
    assert_eq!((&held["status"], &held["hold"]["code"]), (&json!("approved"), &json!("frozen")));
    let sentence = held["status_sentence"].as_str().unwrap();
    assert!(sentence.contains("the job is held: Alice Adler froze production"), "{sentence}");
    assert!(gate.calls("PATCH", "/v2/").await.is_empty());
    lift(&mut bob, &frozen, &scope).await;
    assert_eq!(gate.ended(&run).await["status"], "succeeded");
    assert_one_execution(&gate, &run).await;

    // The same of an update.
    let frozen = freeze(&mut alice, &scope).await;
    let update = asked_update(&gate).await;
    bob.approve(&update).await.unwrap();
    until_held(&gate, &update).await;
    let held = gate.approval(&update).await;
    let sentence = held["status_sentence"].as_str().unwrap();
    assert!(sentence.contains("the update of the job is held"), "{sentence}");
    assert!(gate.calls("PATCH", "/v2/").await.is_empty());
    lift(&mut bob, &frozen, &scope).await;
    assert_eq!(gate.ended(&update).await["status"], "succeeded");
    assert_eq!(executions(&gate).await.len(), 1, "that of the run before");
    gate.finish().await;
}

/// It has begun, and the freeze comes before its one call is announced.
async fn a_freeze_comes_before_the_call(engine: Engine) {
    let gate = gate(engine).await;
    let mut alice = gate.approver("alice").await;
    let mut bob = gate.approver("bob").await;
    let id = asked(&gate).await;
    let fault = json!({"match": {"method": "GET", "path": "/jobs/"}, "fault": {"kind": "hold"}});
    let looking = gate.fault(fault).await;
    bob.approve(&id).await.unwrap();
    gate.until_hit(looking).await;
    let frozen = freeze(&mut alice, &production()).await;
    gate.no_faults().await;
    until_held(&gate, &id).await;
    let held = gate.approval(&id).await;
    assert_eq!(held["status"], "executing", "{held:#}");
    let sentence = held["status_sentence"].as_str().unwrap();
    assert!(sentence.starts_with("The job stands still: Alice Adler froze"), "{sentence}");
    assert!(gate.calls("PATCH", "/v2/").await.is_empty());
    lift(&mut bob, &frozen, &production()).await;
    assert_eq!(gate.ended(&id).await["status"], "succeeded");
    assert_one_execution(&gate, &id).await;
    gate.finish().await;
}

async fn it_starts_when_the_window_opens(engine: Engine) {
    let gate = Gate::start_with(engine, |config| with_jobs(config) + &window(30, 120)).await;
    gate.ready_delay(0).await;
    let mut alice = gate.approver("alice").await;
    let id = approved(&gate, &mut alice).await;
    until_closed(&gate, &id).await;
    let held = gate.approval(&id).await;
    assert_eq!((&held["status"], &held["hold"]["code"]), (&json!("approved"), &json!("closed")));
    let page = alice.browser.open(&format!("/approvals/{id}"), "alice").await.unwrap();
    assert!(page.contains("outside its windows. It opens"), "{page}");
    assert!(gate.calls("PATCH", "/v2/").await.is_empty());
    gate.servers.clock.shift(SignedDuration::from_mins(31));
    assert_eq!(gate.ended(&id).await["status"], "succeeded");
    assert_one_execution(&gate, &id).await;
    assert!(gate.proved(&id).await.is_approved());
    gate.finish().await;
}

async fn the_glass_starts_it_through_a_freeze(engine: Engine) {
    let gate = Gate::start_with(engine, |config| glass(BOB)(with_jobs(config))).await;
    gate.ready_delay(0).await;
    let mut alice = gate.approver("alice").await;
    let mut bob = gate.approver("bob").await;
    freeze(&mut alice, &production()).await;
    let id = asked(&gate).await;
    bob.decide(&id, breaking("The orders have to be counted")).await.unwrap();
    let ended = gate.ended(&id).await;
    assert_eq!(ended["status"], "succeeded", "{ended:#}");
    assert_one_execution(&gate, &id).await;
    let proved = gate.proved(&id).await;
    assert!(proved.is_approved() && proved.is_by_break_glass());
    let open = exceptions(&gate).await.remove(0);
    assert_eq!((&open["status"], &open["approval"]), (&json!("open"), &json!(id)));
    let page = alice.browser.open("/", "alice").await.unwrap();
    assert!(page.contains("Bob Brandt broke the glass for migrate in production."), "{page}");
    review(&mut alice, open["entry"].as_u64().unwrap(), "They were counted").await.unwrap();
    assert_eq!(exceptions(&gate).await.remove(0)["status"], "closed");
    gate.finish().await;
}

async fn whose_commits_it_ships_cannot_sign(engine: Engine) {
    let gate = World::start_with(engine, with_jobs).await;
    gate.ready_delay(0).await;
    let mut alice = gate.approver("alice").await;
    let mut bob = gate.approver("bob").await;
    let mut carol = gate.approver("carol").await;
    let id = World::new(&gate).asking(subject(&gate)).with("author", "alice").ask().await;
    gate.clear_journal().await;
    let refused = alice.statement(&id, json!({"decision": "approve"})).await.unwrap_err();
    assert!(refused.contains("had a hand in"), "{refused}");
    bob.approve(&id).await.unwrap();
    assert_eq!(gate.approval(&id).await["status"], "pending");
    carol.approve(&id).await.unwrap();
    assert_eq!(gate.ended(&id).await["status"], "succeeded");
    assert_one_execution(&gate, &id).await;
    gate.proved(&id).await;
    gate.finish().await;
}

async fn what_is_taken_back_while_it_waits_never_starts(engine: Engine) {
    let gate = gate(engine).await;
    let mut alice = gate.approver("alice").await;
    let mut bob = gate.approver("bob").await;
    let scope = production();
    let frozen = freeze(&mut alice, &scope).await;
    // One is stopped by whoever signed it, the other by whoever asked for it.
    let [withdrawn, cancelled] = [asked(&gate).await, asked_update(&gate).await];
    for id in [&withdrawn, &cancelled] {
        bob.approve(id).await.unwrap();
        until_held(&gate, id).await;
    }
    let after = bob.decide(&withdrawn, json!({"decision": "withdraw"})).await.unwrap();
    assert_eq!(after["status"], "pending", "{after:#}");
    let after = gate.post(&format!("/v1/approvals/{cancelled}/cancel"), json!({})).await;
    assert_eq!(after.body["status"], "cancelled", "{after:?}");
    lift(&mut bob, &frozen, &scope).await;
    // What comes next finds the job as it was.
    let id = approved(&gate, &mut alice).await;
    assert_eq!(gate.ended(&id).await["status"], "succeeded");
    assert_one_execution(&gate, &id).await;
    assert_eq!(gate.approval(&withdrawn).await["status"], "pending");
    assert_eq!(gate.approval(&cancelled).await["status"], "cancelled");
    gate.finish().await;
}

/// Two of one job do not overlap: the second begins when the first has ended, and finds another job than it was
/// asked for.
async fn it_waits_for_the_one_before(engine: Engine) {
    let gate = gate(engine).await;
    let mut alice = gate.approver("alice").await;
    let [first, second] = [asked(&gate).await, asked_update(&gate).await];
    let fault = json!({"match": {"method": "PATCH", "path": "/jobs/"}, "fault": {"kind": "hold"}});
    let held = gate.fault(fault).await;
    alice.approve(&first).await.unwrap();
    gate.until_hit(held).await;
    alice.approve(&second).await.unwrap();
    assert_eq!(gate.approval(&second).await["status"], "approved");
    gate.no_faults().await;
    assert_eq!(gate.ended(&first).await["status"], "succeeded");
    let ended = gate.ended(&second).await;
    assert_eq!(ended["status"], "failed", "{ended:#}");
    let sentence = ended["status_sentence"].as_str().unwrap();
    assert!(sentence.contains("it was changed after this was asked for"), "{sentence}");
    assert_eq!(gate.calls("PATCH", "/v2/").await.len(), 1);
    // Asked for anew it goes through.
    let id = asked_update(&gate).await;
    alice.approve(&id).await.unwrap();
    assert_eq!(gate.ended(&id).await["status"], "succeeded");
    gate.finish().await;
}

async fn it_is_in_no_batch(engine: Engine) {
    let gate = gate(engine).await;
    let answer = gate.ask(json!({"subject": subject(&gate), "batch": "release 4.2"})).await;
    assert_eq!(answer.status, 422, "{answer:?}");
    let detail = answer.body["detail"].as_str().unwrap();
    assert!(
        detail.contains("for deployments of services alone: leave it out for a job"),
        "{detail}"
    );
    gate.finish().await;
}

async fn a_job_that_was_deleted_is_told(engine: Engine) {
    let gate = gate(engine).await;
    let mut alice = gate.approver("alice").await;
    let [run, update] = [asked(&gate).await, asked_update(&gate).await];
    let gone = gate.sandbox(Method::DELETE, &format!("/v2/{DEMO_JOB}"), None).await;
    assert_eq!(gone["done"], true, "{gone:#}");
    for id in [&run, &update] {
        alice.approve(id).await.unwrap();
        let ended = gate.ended(id).await;
        assert_eq!(ended["status"], "failed", "{ended:#}");
        let sentence = ended["status_sentence"].as_str().unwrap();
        let words = "migrate is not as it was: it was deleted. Nothing was changed";
        assert!(sentence.contains(words), "{sentence}");
    }
    assert!(gate.calls("PATCH", "/v2/").await.is_empty());
    gate.ask(json!({"subject": subject(&gate)})).await.assert_problem(422, "job_missing");
    gate.finish().await;
}
