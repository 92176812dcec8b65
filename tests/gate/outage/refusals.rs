//! Who is not signed in with a key alone, and what such a session does not do.

use countersign::sandbox::authenticator::{Fault, SoftwareAuthenticator};
use jiff::SignedDuration;
use reqwest::Method;
use serde_json::json;

use super::{begun, bridged, come_back, go_down, sign_in_with, with_key_of};
use crate::break_glass::{BOB, breaking, glass};
use crate::entrances::{Places, as_page, pages, with_session};
use crate::support::database::reading;
use crate::support::gate::{Engine, Gate, on_both_engines};

on_both_engines!(
    where_the_directory_is_there_it_signs_people_in,
    where_no_rules_let_it_nobody_is,
    a_last_sign_in_counts_for_so_long,
    a_key_that_was_given_up_signs_nobody_in,
    an_assertion_that_does_not_hold_signs_nobody_in,
    such_a_session_does_nothing_but_break_the_glass,
);

fn assert_refused<T: std::fmt::Debug>(outcome: Result<T, String>, status: u16, code: &str) {
    let refused = outcome.unwrap_err();
    assert!(refused.contains(&status.to_string()) && refused.contains(code), "{code}: {refused}");
}

async fn where_the_directory_is_there_it_signs_people_in(engine: Engine) {
    let gate = Gate::start_with(engine, bridged("4h")).await;
    let bob = gate.approver("bob").await;
    let mut alone = with_key_of(&gate, &bob);
    assert_refused(begun(&mut alone).await, 409, "directory_reachable");
    // The page leads to the directory, and back to where somebody wanted to go.
    let page = alone.browser.open("/sign-in/key?return_to=/keys", "bob").await.unwrap();
    assert!(page.contains("Bob Brandt") && !page.contains("key alone"), "{page}");
    // What was begun in an outage is of no use after it, and neither is a session of it.
    let mut alone = with_key_of(&gate, &bob);
    let id = gate.asked(json!({})).await;
    go_down(&gate).await;
    let statement = begun(&mut alone).await.unwrap();
    let signed = alone.signed(&statement, &[]).unwrap();
    let mut other = with_key_of(&gate, &bob);
    sign_in_with(&mut other, &[]).await.unwrap();
    let prepared = other.statement(&id, breaking("The checkout is down")).await.unwrap();
    come_back(&gate).await;
    let late = alone.browser.post("/sign-in/key/sessions", &signed).await;
    assert_refused(late, 409, "directory_reachable");
    assert_refused(other.sign(&id, &prepared, &[]).await, 409, "directory_reachable");
    let again = other.decide(&id, breaking("The checkout is down")).await;
    assert_refused(again, 409, "directory_reachable");
    assert_eq!(gate.approval(&id).await["status"], "pending");
    gate.finish().await;
}

async fn where_no_rules_let_it_nobody_is(engine: Engine) {
    let gate = Gate::start_with(engine, glass(BOB)).await;
    let bob = gate.approver("bob").await;
    go_down(&gate).await;
    let mut alone = with_key_of(&gate, &bob);
    assert_refused(begun(&mut alone).await, 403, "key_sign_in_off");
    let refused = alone.browser.open("/sign-in/key", "bob").await.unwrap_err();
    assert!(refused.contains("403"), "{refused}");
    // Nothing of a sign-in is kept for that.
    let storage = reading(&gate).await;
    let keys = storage.credentials().await.unwrap();
    assert!(!keys.is_empty());
    for key in keys {
        assert_eq!(storage.last_sign_in(&key.person).await.unwrap(), None);
    }
    storage.close().await;
    gate.finish().await;
}

async fn a_last_sign_in_counts_for_so_long(engine: Engine) {
    let gate = Gate::start_with(engine, bridged("1h")).await;
    let bob = gate.approver("bob").await;
    let id = gate.asked(json!({})).await;
    go_down(&gate).await;
    gate.servers.clock.shift(SignedDuration::from_mins(58));
    let mut alone = with_key_of(&gate, &bob);
    sign_in_with(&mut alone, &[]).await.unwrap();
    let prepared = alone.statement(&id, breaking("The checkout is down")).await.unwrap();
    // The session ends with it, whatever was prepared.
    gate.servers.clock.shift(SignedDuration::from_mins(3));
    assert_refused(alone.sign(&id, &prepared, &[]).await, 401, "signed_out");
    assert_refused(sign_in_with(&mut alone, &[]).await, 403, "no_last_sign_in");
    // Whoever left the company signed in too long ago, whatever keys they have.
    come_back(&gate).await;
    let carol = gate.approver("carol").await;
    gate.sandbox(Method::DELETE, "/_sandbox/people/carol", None).await;
    gate.servers.clock.shift(SignedDuration::from_mins(61));
    go_down(&gate).await;
    let mut gone = with_key_of(&gate, &carol);
    assert_refused(sign_in_with(&mut gone, &[]).await, 403, "no_last_sign_in");
    assert_eq!(gate.approval(&id).await["status"], "pending");
    gate.finish().await;
}

async fn a_key_that_was_given_up_signs_nobody_in(engine: Engine) {
    let gate = Gate::start_with(engine, bridged("4h")).await;
    let mut bob = gate.approver("bob").await;
    let mut carol = gate.approver("carol").await;
    let (revoked, lost) = (with_key_of(&gate, &bob), with_key_of(&gate, &carol));
    let key = bob.authenticator.newest_credential().unwrap();
    bob.revoke(&key, "The bag is gone").await.unwrap();
    let key = carol.authenticator.newest_credential().unwrap();
    carol.report_loss(&key, "2026-01-01T00:00").await.unwrap();
    go_down(&gate).await;
    for mut person in [revoked, lost] {
        assert_refused(sign_in_with(&mut person, &[]).await, 403, "key_signs_nobody_in");
    }
    // A key that nobody registered here.
    let mut stranger = with_key_of(&gate, &bob);
    let statement = begun(&mut stranger).await.unwrap();
    let mut signed = stranger.signed(&statement, &[]).unwrap();
    for name in ["id", "rawId"] {
        signed["credential"][name] = json!("AAAA");
    }
    let refused = stranger.browser.post("/sign-in/key/sessions", &signed).await;
    assert_refused(refused, 403, "key_signs_nobody_in");
    gate.finish().await;
}

async fn an_assertion_that_does_not_hold_signs_nobody_in(engine: Engine) {
    let gate = Gate::start_with(engine, bridged("4h")).await;
    let bob = gate.approver("bob").await;
    go_down(&gate).await;
    let mut alone = with_key_of(&gate, &bob);
    for (fault, status, code) in [
        (Fault::UserHandle(None), 403, "key_not_discoverable"),
        (Fault::UserHandle(Some(vec![7; 32])), 422, "user_handle"),
        (Fault::FlipFlags(0x04), 422, "user_not_verified"),
        (Fault::WrongKey, 422, "signature"),
        (Fault::ClientDataMember("origin", json!("https://evil.example")), 422, "origin"),
    ] {
        assert_refused(sign_in_with(&mut alone, &[fault]).await, status, code);
    }
    // A statement is used up, whatever came of it, and works in its own browser alone.
    let statement = begun(&mut alone).await.unwrap();
    let signed = alone.signed(&statement, &[]).unwrap();
    let mut other = with_key_of(&gate, &bob);
    begun(&mut other).await.unwrap();
    let stolen = other.browser.post("/sign-in/key/sessions", &signed).await;
    assert_refused(stolen, 403, "stale_sign_in");
    let statement = begun(&mut alone).await.unwrap();
    let signed = alone.signed(&statement, &[]).unwrap();
    alone.browser.post("/sign-in/key/sessions", &signed).await.unwrap();
    let replayed = alone.browser.post("/sign-in/key/sessions", &signed).await;
    assert_refused(replayed, 403, "stale_sign_in");
    // Nor does it come back as a sign-in of the directory.
    let statement = begun(&mut alone).await.unwrap();
    let nonce = statement["nonce"].as_str().unwrap();
    let path = format!("/sign-in/callback?code=x&state={nonce}");
    let refused = alone.browser.open(&path, "bob").await.unwrap_err();
    assert!(refused.contains("400"), "{refused}");
    let late = begun(&mut alone).await.unwrap();
    let signed = alone.signed(&late, &[]).unwrap();
    gate.servers.clock.shift(SignedDuration::from_mins(6));
    let refused = alone.browser.post("/sign-in/key/sessions", &signed).await;
    assert_refused(refused, 403, "stale_sign_in");
    gate.finish().await;
}

/// Every route to which something can be posted, but for those of the two sign-ins.
async fn such_a_session_does_nothing_but_break_the_glass(engine: Engine) {
    let rules = "{ from = [\"person:u-alice\"], count = 1 }";
    let config = |config: String| {
        let config =
            config.replace("[audit]\n", "[roles]\noperator = [\"person:u-alice\"]\n\n[audit]\n");
        glass(rules)(config) + "outage_grace = \"4h\"\n"
    };
    let gate = Gate::start_with(engine, config).await;
    let alice = gate.approver("alice").await;
    let id = gate.asked(json!({})).await;
    go_down(&gate).await;
    let mut alone = with_key_of(&gate, &alice);
    sign_in_with(&mut alone, &[]).await.unwrap();
    let key = alice.authenticator.newest_credential().unwrap();
    let places = Places { id: id.clone(), key };
    // Links that work once carry their own right; a session is not asked for.
    let other_rights = ["/sign-out", "/recovery", "/recovery/signatures"];
    let mut walked = 0;
    for route in pages().iter().filter(|route| route.posts) {
        let path = &route.path;
        if path.starts_with("/sign-in/key") || other_rights.contains(&path.as_str()) {
            continue;
        }
        // Its decisions are tried below.
        if ["/approvals/{id}/statements", "/approvals/{id}/decisions"].contains(&path.as_str()) {
            continue;
        }
        let request = with_session(&gate, Method::POST, &places.fill(path), Some(&alone));
        let request = as_page(&gate, request);
        let request = match path.rsplit('/').next() {
            Some("revocations") => request.form(&[("reason", "because")]),
            Some("losses") => request.form(&[("since", "2026-01-01T00:00")]),
            _ => request.json(&json!({})),
        };
        let answer = request.send().await.unwrap();
        let (status, text) = (answer.status().as_u16(), answer.text().await.unwrap());
        assert_eq!(status, 403, "{path}: {text}");
        assert!(
            text.contains("everything else takes a sign-in at the directory"),
            "{path}: {text}"
        );
        walked += 1;
    }
    assert!(walked >= 20, "{walked}");
    for decision in [json!({"decision": "approve"}), json!({"decision": "reject", "reason": "No"})]
    {
        assert_refused(alone.decide(&id, decision).await, 403, "signed_in_with_key");
    }
    // A session of the directory signs nothing that says otherwise, and no statement goes from one to the other.
    let prepared = alone.statement(&id, breaking("The checkout is down")).await.unwrap();
    let mut alice = alice;
    assert_refused(alice.sign(&id, &prepared, &[]).await, 409, "stale_page");
    let mut fresh = SoftwareAuthenticator::new();
    assert_refused(alone.register_key_on(&mut fresh).await, 403, "signed_in_with_key");
    alone.sign(&id, &prepared, &[]).await.unwrap();
    let withdrawn = alone.decide(&id, json!({"decision": "withdraw"})).await;
    assert!(withdrawn.is_err(), "{withdrawn:?}");
    gate.ended(&id).await;
    gate.finish().await;
}
