//! A person decides: by a signature over the whole deployment, once, and by nothing else.

use countersign::sandbox::authenticator::Fault;
use jiff::SignedDuration;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::gate::{Engine, Gate, on_both_engines, send};

on_both_engines!(
    an_approval_rolls_out_exactly_what_was_signed,
    a_rejection_ends_it,
    nothing_but_a_signature_decides,
    altered_assertions_are_refused,
    statements_end_after_five_minutes,
    a_statement_is_good_once,
    another_persons_key_is_refused,
    a_closed_approval_stays_closed,
    two_people_at_the_same_instant,
    requests_expire,
    a_service_that_changed_is_left_alone,
    a_copied_key_is_suspended,
    a_second_click_costs_nothing,
);

async fn an_approval_rolls_out_exactly_what_was_signed(engine: Engine) {
    let gate = Gate::start(engine).await;
    let mut alice = gate.approver("alice").await;
    let template = json!({"containers": [{"env": [{"name": "GREETING", "value": "hi"}]}]});
    let id = gate.asked(json!({"subject": {"steps": [10, 50, 100], "template": template}})).await;
    let decided = alice.approve(&id).await.unwrap();
    assert_eq!(decided["status"], "approved");
    let ended = gate.ended(&id).await;
    assert_eq!(ended["status"], "succeeded", "{ended:#}");
    let evidence = gate.get(&format!("/v1/approvals/{id}/evidence")).await.body;
    let deployment: Value = serde_json::from_str(evidence["deployment"].as_str().unwrap()).unwrap();
    let revision = deployment["plan"]["revision"].as_str().unwrap();
    assert_eq!(ended["rollout"]["revision"], revision);
    assert_eq!(ended["rollout"]["traffic"], json!([{"revision": revision, "percent": 100}]));
    assert_eq!(ended["decisions"][0]["approver"]["subject"], "u-alice");
    // What was sent is the signed template, byte for byte, and one change for each signed step.
    let patches = gate.calls("PATCH", "/services/web").await;
    assert_eq!(patches.len(), 4, "the revision and three steps");
    let service = gate.service().await;
    assert_eq!(
        service["template"]["containers"][0]["env"],
        json!([{"name": "GREETING", "value": "hi"}])
    );
    assert_eq!(service["template"]["containers"][0]["image"], deployment["image"]);
    assert_eq!(service["trafficStatuses"][0]["percent"], 100);
    assert_eq!(evidence["decisions"].as_array().unwrap().len(), 1);
    assert_eq!(evidence["credentials"].as_array().unwrap().len(), 1);
    gate.finish().await;
}

async fn a_rejection_ends_it(engine: Engine) {
    let gate = Gate::start(engine).await;
    let mut alice = gate.approver("alice").await;
    let id = gate.asked(json!({})).await;
    let decided =
        alice.decide(&id, json!({"decision": "reject", "reason": "Not today"})).await.unwrap();
    assert_eq!(decided["status"], "rejected");
    let ended = gate.ended(&id).await;
    assert_eq!(ended["decisions"][0]["reason"], "Not today");
    assert!(ended["status_sentence"].as_str().unwrap().contains("Alice"), "{ended:#}");
    assert_eq!(gate.changes_of_cloud_run().await, 0);
    gate.finish().await;
}

async fn nothing_but_a_signature_decides(engine: Engine) {
    let gate = Gate::start(engine).await;
    let id = gate.asked(json!({})).await;
    let decision = json!({"decision": "approve"});
    for path in ["statements", "decisions"] {
        let url = gate.url(&format!("/approvals/{id}/{path}"));
        let origin = &gate.servers.gate;
        // No session, with the requester's token, without an origin, and from elsewhere.
        let by_token =
            gate.http.post(&url).bearer_auth(gate.token(json!({})).await).json(&decision);
        send(by_token.header("origin", origin)).await.assert_problem(401, "signed_out");
        send(gate.http.post(&url).json(&decision)).await.assert_problem(403, "cross_origin");
        let foreign = gate.http.post(&url).header("origin", "https://evil.example");
        send(foreign.json(&decision)).await.assert_problem(403, "cross_origin");
    }
    for (method, path) in [
        (Method::POST, format!("/v1/approvals/{id}/approve")),
        (Method::POST, format!("/v1/approvals/{id}/decisions")),
        (Method::PUT, format!("/v1/approvals/{id}")),
        (Method::PATCH, format!("/v1/approvals/{id}")),
    ] {
        let request = gate.http.request(method, gate.url(&path));
        let answer = send(request.bearer_auth(gate.token(json!({})).await).json(&decision)).await;
        assert!(answer.status.is_client_error(), "{path} {answer:?}");
    }
    // Dan may sign in but may sign nothing here: the approval does not exist for him.
    let mut dan = gate.approver("dan").await;
    let refused = dan.approve(&id).await.unwrap_err();
    assert!(refused.contains("404"), "{refused}");
    assert_eq!(gate.approval(&id).await["status"], "pending");
    gate.finish().await;
}

async fn altered_assertions_are_refused(engine: Engine) {
    let gate = Gate::start(engine).await;
    let mut alice = gate.approver("alice").await;
    let id = gate.asked(json!({})).await;
    let member = Fault::ClientDataMember;
    let faults = [
        (Fault::FlipFlags(0x04), "PIN or biometry"),
        (Fault::FlipFlags(0x01), "touch"),
        (Fault::FlipFlags(0x20), "reserved"),
        (member("crossOrigin", json!(true)), ""),
        (member("topOrigin", json!("https://evil.example")), ""),
        (member("origin", json!("https://evil.example")), ""),
        (member("type", json!("webauthn.create")), ""),
        (member("challenge", json!("AAAA")), ""),
        (Fault::RelyingParty("evil.example"), "relying party"),
        (Fault::ExtraBytes(vec![0]), "left over"),
        (Fault::WrongKey, "signature"),
        (Fault::UserHandle(Some(vec![1; 32])), "another person"),
    ];
    for (fault, words) in faults {
        let refused = alice.approve_with(&id, std::slice::from_ref(&fault)).await.unwrap_err();
        assert!(refused.contains("422") && refused.contains(words), "{fault:?}: {refused}");
    }
    let another = gate.asked(json!({})).await;
    // A signature for one approval, sent to another.
    let statement = alice.statement(&id, json!({"decision": "approve"})).await.unwrap();
    let refused = alice.sign(&another, &statement, &[]).await.unwrap_err();
    assert!(refused.contains("409"), "{refused}");
    for id in [&id, &another] {
        assert_eq!(gate.approval(id).await["status"], "pending");
    }
    assert_eq!(gate.changes_of_cloud_run().await, 0);
    // Nothing was lost: the same person can still sign.
    alice.approve(&id).await.unwrap();
    assert_eq!(gate.ended(&id).await["status"], "succeeded");
    gate.finish().await;
}

async fn statements_end_after_five_minutes(engine: Engine) {
    let gate = Gate::start(engine).await;
    let mut alice = gate.approver("alice").await;
    let id = gate.asked(json!({})).await;
    let statement = alice.statement(&id, json!({"decision": "approve"})).await.unwrap();
    gate.servers.clock.shift(SignedDuration::from_secs(301));
    let refused = alice.sign(&id, &statement, &[]).await.unwrap_err();
    assert!(refused.contains("five minutes"), "{refused}");
    // And sessions after fifteen.
    gate.servers.clock.shift(SignedDuration::from_mins(11));
    let refused = alice.approve(&id).await.unwrap_err();
    assert!(refused.contains("401"), "{refused}");
    assert_eq!(gate.approval(&id).await["status"], "pending");
    gate.finish().await;
}

async fn a_statement_is_good_once(engine: Engine) {
    let gate = Gate::start(engine).await;
    let mut alice = gate.approver("alice").await;
    let id = gate.asked(json!({})).await;
    let statement = alice.statement(&id, json!({"decision": "approve"})).await.unwrap();
    let decision = alice.signed(&statement, &[]).unwrap();
    let path = format!("/approvals/{id}/decisions");
    alice.browser.post(&path, &decision).await.unwrap();
    let again = alice.browser.post(&path, &decision).await.unwrap_err();
    assert!(again.contains("409") && again.contains("already"), "{again}");
    assert_eq!(gate.ended(&id).await["decisions"].as_array().unwrap().len(), 1);
    gate.finish().await;
}

async fn another_persons_key_is_refused(engine: Engine) {
    let gate = Gate::start(engine).await;
    let mut alice = gate.approver("alice").await;
    let mut bob = gate.approver("bob").await;
    let id = gate.asked(json!({})).await;
    // Bob's session with Alice's key, and Alice's whole signature in Bob's session.
    let statement = bob.statement(&id, json!({"decision": "approve"})).await.unwrap();
    std::mem::swap(&mut alice.authenticator, &mut bob.authenticator);
    assert!(bob.sign(&id, &statement, &[]).await.is_err());
    std::mem::swap(&mut alice.authenticator, &mut bob.authenticator);
    let statement = alice.statement(&id, json!({"decision": "approve"})).await.unwrap();
    let stolen = alice.signed(&statement, &[]).unwrap();
    let path = format!("/approvals/{id}/decisions");
    let refused = bob.browser.post(&path, &stolen).await.unwrap_err();
    assert!(refused.contains("409"), "{refused}");
    assert_eq!(gate.approval(&id).await["status"], "pending");
    gate.finish().await;
}

async fn a_closed_approval_stays_closed(engine: Engine) {
    let gate = Gate::start(engine).await;
    let mut alice = gate.approver("alice").await;
    let id = gate.asked(json!({})).await;
    let statement = alice.statement(&id, json!({"decision": "approve"})).await.unwrap();
    gate.post(&format!("/v1/approvals/{id}/cancel"), json!({})).await;
    let refused = alice.sign(&id, &statement, &[]).await.unwrap_err();
    assert!(refused.contains("409") && refused.contains("cancelled"), "{refused}");
    let refused = alice.approve(&id).await.unwrap_err();
    assert!(refused.contains("409"), "{refused}");
    assert_eq!(gate.changes_of_cloud_run().await, 0);
    gate.finish().await;
}

async fn two_people_at_the_same_instant(engine: Engine) {
    let gate = Gate::start(engine).await;
    let mut alice = gate.approver("alice").await;
    let mut bob = gate.approver("bob").await;
    let id = gate.asked(json!({})).await;
    let yes = alice.statement(&id, json!({"decision": "approve"})).await.unwrap();
    let no = bob.statement(&id, json!({"decision": "reject"})).await.unwrap();
    let (first, second) = tokio::join!(alice.sign(&id, &yes, &[]), bob.sign(&id, &no, &[]));
    assert!(first.is_ok() != second.is_ok(), "exactly one counts: {first:?} {second:?}");
    let ended = gate.ended(&id).await;
    assert_eq!(ended["decisions"].as_array().unwrap().len(), 1);
    let expected = if first.is_ok() { "succeeded" } else { "rejected" };
    assert_eq!(ended["status"], expected);
    gate.finish().await;
}

async fn requests_expire(engine: Engine) {
    let gate = Gate::start(engine).await;
    let mut alice = gate.approver("alice").await;
    let id = gate.asked(json!({"expires_in": "2m"})).await;
    gate.servers.clock.shift(SignedDuration::from_secs(121));
    let refused = alice.approve(&id).await.unwrap_err();
    assert!(refused.contains("409"), "{refused}");
    let ended = gate.ended(&id).await;
    assert_eq!(ended["status"], "expired");
    assert_eq!(gate.changes_of_cloud_run().await, 0);
    gate.finish().await;
}

async fn a_service_that_changed_is_left_alone(engine: Engine) {
    let gate = Gate::start(engine).await;
    let mut alice = gate.approver("alice").await;
    let id = gate.asked(json!({})).await;
    let edit = json!({"service": crate::support::gate::SERVICE, "modifier": "mallory@example.com"});
    gate.sandbox(Method::POST, "/_sandbox/outside-edit", Some(edit)).await;
    alice.approve(&id).await.unwrap();
    let ended = gate.ended(&id).await;
    assert_eq!(ended["status"], "failed", "{ended:#}");
    let sentence = ended["status_sentence"].as_str().unwrap();
    assert!(sentence.contains("mallory@example.com"), "{sentence}");
    assert_eq!(gate.changes_of_cloud_run().await, 0);
    gate.finish().await;
}

async fn a_copied_key_is_suspended(engine: Engine) {
    let gate = Gate::start(engine).await;
    let mut alice = gate.approver("alice").await;
    for _ in 0..2 {
        let id = gate.asked(json!({})).await;
        alice.decide(&id, json!({"decision": "reject"})).await.unwrap();
    }
    let id = gate.asked(json!({})).await;
    let refused = alice.approve_with(&id, &[Fault::SignCount(1)]).await.unwrap_err();
    assert!(refused.contains("suspended"), "{refused}");
    let refused = alice.approve(&id).await.unwrap_err();
    assert!(refused.contains("no key"), "{refused}");
    assert_eq!(gate.approval(&id).await["status"], "pending");
    gate.finish().await;
}

/// The same decision, sent several times at once: one counts, and the others are no copied key.
async fn a_second_click_costs_nothing(engine: Engine) {
    let gate = Gate::start(engine).await;
    let mut alice = gate.approver("alice").await;
    for _ in 0..4 {
        let id = gate.asked(json!({})).await;
        let statement = alice.statement(&id, json!({"decision": "reject"})).await.unwrap();
        let decision = alice.signed(&statement, &[]).unwrap();
        let path = format!("/approvals/{id}/decisions");
        let mut tabs = vec![alice.browser.clone(); 8];
        let clicks = tabs.iter_mut().map(|tab| tab.post(&path, &decision));
        let answers = futures::future::join_all(clicks).await;
        let (counted, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
        assert_eq!(counted.len(), 1);
        for refusal in refused.into_iter().map(Result::unwrap_err) {
            assert!(refusal.contains("already signed"), "{refusal}");
        }
    }
    gate.finish().await;
}
