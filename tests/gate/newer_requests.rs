//! A newer request for the same service, too many requests, and rollouts that have to wait for another.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::gate::{Engine, Gate, on_both_engines};

on_both_engines!(
    a_newer_request_takes_the_place_of_the_older,
    what_is_signed_in_full_is_not_superseded,
    a_request_is_refused_while_an_older_one_waits,
    requests_queue_and_roll_out_one_after_the_other,
    no_more_wait_than_the_environment_allows,
    a_yes_that_waits_too_long_begins_nothing,
);

/// The demo's configuration with these lines in its environment.
fn with(lines: &'static str) -> impl FnOnce(String) -> String {
    move |config| config.replace("newer_request = \"queue\"\nmax_pending = 10000", lines)
}

/// A second service, which does not exist yet.
const OTHER_SERVICE: &str = "projects/demo/locations/europe-west1/services/api";

fn for_the_other_service() -> Value {
    json!({"subject": {"service": OTHER_SERVICE}})
}

async fn a_newer_request_takes_the_place_of_the_older(engine: Engine) {
    let gate = Gate::start_with(engine, with("")).await;
    let mut alice = gate.approver("alice").await;
    let elsewhere = gate.asked(for_the_other_service()).await;
    let older = gate.asked(json!({})).await;
    let statement = alice.statement(&older, json!({"decision": "approve"})).await.unwrap();
    let waiting = format!("/v1/approvals/{older}?wait=60&version=1");
    let token = gate.token(json!({})).await;
    let (woken, newer) = tokio::join!(gate.get_as(&waiting, &token), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        gate.asked(json!({})).await
    });
    // Whoever waits for the older one hears at once what took its place.
    assert_eq!(woken.body["status"], "superseded", "{woken:?}");
    assert_eq!(woken.body["superseded_by"], newer.as_str());
    assert!(woken.body["status_sentence"].as_str().unwrap().contains(&newer));
    // The page that was open signs nothing any more, and both pages lead to each other.
    let refused = alice.sign(&older, &statement, &[]).await.unwrap_err();
    assert!(refused.contains("already superseded"), "{refused}");
    let page = alice.browser.open(&format!("/approvals/{older}"), "alice").await.unwrap();
    assert!(page.contains(&format!("href=\"/approvals/{newer}\"")), "{page}");
    let page = alice.browser.open(&format!("/approvals/{newer}"), "alice").await.unwrap();
    assert!(page.contains(&format!("href=\"/approvals/{older}\"")), "{page}");
    // Another service's request goes on waiting, and the newer one is the one that is rolled out.
    assert_eq!(gate.approval(&elsewhere).await["status"], "pending");
    alice.approve(&newer).await.unwrap();
    assert_eq!(gate.ended(&newer).await["status"], "succeeded");
    // An auditor can tell from the older one's evidence what became of it.
    assert!(!gate.proved(&older).await.is_approved());
    let log = alice.browser.open(&format!("/audit?approval={older}"), "alice").await.unwrap();
    assert!(log.contains(&format!("The newer request {newer} took its place")), "{log}");
    gate.finish().await;
}

async fn what_is_signed_in_full_is_not_superseded(engine: Engine) {
    let gate = Gate::start_with(engine, with("")).await;
    let mut alice = gate.approver("alice").await;
    let first = gate.asked(json!({})).await;
    // Cloud Run is slow, so that the rollout of the first still runs when the second comes.
    gate.hold("PATCH", 1).await;
    alice.approve(&first).await.unwrap();
    let second = gate.asked(json!({})).await;
    gate.no_faults().await;
    assert_eq!(gate.ended(&first).await["status"], "succeeded");
    assert_eq!(gate.approval(&second).await["status"], "pending");
    gate.finish().await;
}

async fn a_request_is_refused_while_an_older_one_waits(engine: Engine) {
    let gate = Gate::start_with(engine, with("newer_request = \"refuse\"")).await;
    let older = gate.asked(json!({})).await;
    let token = gate.token(json!({})).await;
    let body = gate.request_body(json!({}));
    let refused = gate.ask_as(&token, "the-newer", &body).await;
    refused.assert_problem(409, "older_request_pending");
    assert!(refused.body["detail"].as_str().unwrap().contains("wait until it is decided"));
    assert_eq!(gate.approval(&older).await["status"], "pending");
    gate.asked(for_the_other_service()).await;
    // Nothing was kept of the refused one: its key and its token are as good as new.
    gate.post(&format!("/v1/approvals/{older}/cancel"), json!({})).await;
    assert_eq!(gate.ask_as(&token, "the-newer", &body).await.status, 201);
    gate.finish().await;
}

async fn requests_queue_and_roll_out_one_after_the_other(engine: Engine) {
    let gate = Gate::start(engine).await;
    let mut alice = gate.approver("alice").await;
    let first = gate.asked(json!({})).await;
    let second = gate.asked(json!({})).await;
    assert_eq!(gate.approval(&first).await["status"], "pending");
    gate.hold("PATCH", 1).await;
    alice.approve(&first).await.unwrap();
    alice.approve(&second).await.unwrap();
    // While the first rolls out, the second waits for its turn and calls nothing.
    let waits = gate.approval(&second).await;
    assert_eq!(waits["status"], "approved", "{waits}");
    gate.no_faults().await;
    assert_eq!(gate.ended(&first).await["status"], "succeeded");
    let before = gate.changes_of_cloud_run().await;
    // It was asked for when the service was another one, and so it changes nothing.
    let ended = gate.ended(&second).await;
    assert_eq!(ended["status"], "failed", "{ended}");
    assert!(ended["status_sentence"].as_str().unwrap().contains("not as it was"), "{ended}");
    assert_eq!(gate.changes_of_cloud_run().await, before);
    gate.finish().await;
}

async fn no_more_wait_than_the_environment_allows(engine: Engine) {
    let lines = "newer_request = \"queue\"\nmax_pending = 2";
    let gate = Gate::start_with(engine, with(lines)).await;
    let first = gate.asked(json!({})).await;
    gate.asked(json!({})).await;
    let refused = gate.ask(json!({})).await;
    refused.assert_problem(409, "too_many_pending");
    assert!(refused.body["detail"].as_str().unwrap().contains("max_pending"));
    gate.ask(for_the_other_service()).await.assert_problem(409, "too_many_pending");
    gate.post(&format!("/v1/approvals/{first}/cancel"), json!({})).await;
    gate.asked(for_the_other_service()).await;
    // Where a newer one takes the place of the older, a full house takes it in.
    let lines = "newer_request = \"supersede\"\nmax_pending = 2";
    gate.finish().await;
    let gate = Gate::start_with(engine, with(lines)).await;
    gate.asked(json!({})).await;
    gate.asked(for_the_other_service()).await;
    gate.asked(json!({})).await;
    let environments = gate.get("/v1/environments").await.body;
    let production = &environments["environments"][0];
    assert_eq!(production["max_pending"], 2, "{production}");
    assert_eq!(production["newer_request"], "supersede");
    gate.finish().await;
}

async fn a_yes_that_waits_too_long_begins_nothing(engine: Engine) {
    let lines = "newer_request = \"queue\"\nexecute_within = \"10s\"";
    let gate = Gate::start_with(engine, with(lines)).await;
    let mut alice = gate.approver("alice").await;
    let first = gate.asked(json!({})).await;
    let second = gate.asked(json!({})).await;
    gate.hold("PATCH", 1).await;
    alice.approve(&first).await.unwrap();
    alice.approve(&second).await.unwrap();
    let ended = gate.ended(&second).await;
    assert_eq!(ended["status"], "expired", "{ended}");
    gate.no_faults().await;
    assert_eq!(gate.ended(&first).await["status"], "succeeded");
    gate.finish().await;
}
