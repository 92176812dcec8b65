//! What freezes nothing and lifts nothing.

use countersign::sandbox::authenticator::Fault;
use jiff::SignedDuration;
use serde_json::json;

use super::{beginning, change, freeze, lift, lifting, production};
use crate::support::gate::{Engine, Gate, on_both_engines, send};

on_both_engines!(nothing_but_a_signature_freezes_or_lifts, each_change_is_signed_once);

const STATEMENTS: &str = "/environments/statements";
const FREEZES: &str = "/environments/freezes";

async fn nothing_but_a_signature_freezes_or_lifts(engine: Engine) {
    let gate = Gate::start(engine).await;
    let mut alice = gate.approver("alice").await;
    let mut dan = gate.approver("dan").await;
    let everybody = json!({"kind": "everybody"});
    let past = gate.servers.clock.now() - SignedDuration::from_mins(1);
    let scope = |environment: &str| json!({"environment": environment, "requesters": everybody});
    let named = |issuer: &str, name: &str| json!({"requesters": {"kind": "requester", "issuer": issuer, "name": name}});
    let with = |name: &str, value| {
        let mut change = beginning(&production());
        change[name] = value;
        change
    };
    for (body, code) in [
        (beginning(&scope("nowhere")), "invalid_freeze"),
        (beginning(&named("nobody", "x")), "invalid_freeze"),
        (beginning(&named("github", "")), "invalid_freeze"),
        (beginning(&named("github", "a\u{202e}\nb")), "invalid_freeze"),
        (
            beginning(&json!({"requesters": {"kind": "issuer", "issuer": "nobody"}})),
            "invalid_freeze",
        ),
        (with("reason", json!(" ")), "invalid_freeze"),
        (with("reason", json!("x".repeat(1001))), "invalid_freeze"),
        (with("until", json!(past)), "invalid_freeze"),
        (with("until", json!("tomorrow")), "malformed_request"),
        (with("force", json!(true)), "malformed_request"),
        (json!({"kind": "begin"}), "malformed_request"),
        (lifting(&"0".repeat(64), &production()), "not_frozen"),
        (lifting("all", &production()), "malformed_request"),
    ] {
        let refused = alice.browser.post(STATEMENTS, &json!({"change": body})).await.unwrap_err();
        assert!(refused.contains(code), "{body}: {refused}");
    }
    // Dan has no role and signs nowhere; erin reads everything and signs nothing.
    let mut erin = gate.approver("erin").await;
    let id = freeze(&mut alice, &production()).await;
    for (who, name) in [(&mut dan, "dan"), (&mut erin, "erin")] {
        for wanted in [beginning(&production()), lifting(&id, &production())] {
            let refused = change(who, wanted).await.unwrap_err();
            assert!(
                refused.contains("403") && refused.contains("may_not_freeze"),
                "{name}: {refused}"
            );
        }
    }
    // The scope of a lift is the one of the freeze.
    let other = json!({"requesters": everybody});
    let refused = change(&mut alice, lifting(&id, &other)).await.unwrap_err();
    assert!(refused.contains("not_frozen"), "{refused}");
    // No token of a workload is a session.
    let token = gate.token(json!({})).await;
    for path in [STATEMENTS, FREEZES] {
        let request = gate.http.post(gate.url(path)).bearer_auth(&token);
        let request = request.header("Origin", &gate.servers.gate);
        let body = json!({"change": lifting(&id, &production())});
        send(request.json(&body)).await.assert_problem(401, "signed_out");
        let foreign = gate.http.post(gate.url(path)).header("Origin", "https://evil.example");
        let answer = send(foreign.json(&body)).await;
        assert_eq!(answer.status.as_u16(), 403, "{path}");
    }
    for fault in [
        Fault::WrongKey,
        Fault::FlipFlags(0x04),
        Fault::ClientDataMember("challenge", json!("AAAA")),
        Fault::ClientDataMember("origin", json!("https://evil.example")),
    ] {
        let body = json!({"change": lifting(&id, &production())});
        let prepared = alice.browser.post(STATEMENTS, &body).await.unwrap();
        let forged = alice.signed(&prepared, std::slice::from_ref(&fault)).unwrap();
        let refused = alice.browser.post(FREEZES, &forged).await.unwrap_err();
        assert!(refused.contains("422"), "{fault:?}: {refused}");
    }
    let approval = gate.asked(json!({})).await;
    assert_eq!(gate.approval(&approval).await["hold"]["code"], "frozen");
    gate.finish().await;
}

async fn each_change_is_signed_once(engine: Engine) {
    let gate = Gate::start(engine).await;
    let mut alice = gate.approver("alice").await;
    let mut bob = gate.approver("bob").await;
    let approval = gate.asked(json!({})).await;
    // A signature for a decision lifts nothing, and one for a freeze decides nothing.
    let id = freeze(&mut alice, &production()).await;
    let decision = alice.statement(&approval, json!({"decision": "approve"})).await.unwrap();
    let decision = alice.signed(&decision, &[]).unwrap();
    let refused = alice.browser.post(FREEZES, &decision).await.unwrap_err();
    assert!(refused.contains("stale_page"), "{refused}");
    let body = json!({"change": lifting(&id, &production())});
    let prepared = alice.browser.post(STATEMENTS, &body).await.unwrap();
    let signed = alice.signed(&prepared, &[]).unwrap();
    let decisions = format!("/approvals/{approval}/decisions");
    let refused = alice.browser.post(&decisions, &signed).await.unwrap_err();
    assert!(refused.contains("stale_page"), "{refused}");
    // Bob lifts it first: what alice signed to lift it means nothing any more.
    lift(&mut bob, &id, &production()).await;
    let refused = alice.browser.post(FREEZES, &signed).await.unwrap_err();
    assert!(refused.contains("not_frozen"), "{refused}");
    // What was signed once is used up, so a lift cannot be played again on a later freeze.
    let again = freeze(&mut alice, &production()).await;
    assert_ne!(id, again);
    let body = json!({"change": lifting(&again, &production())});
    let prepared = bob.browser.post(STATEMENTS, &body).await.unwrap();
    let signed = bob.signed(&prepared, &[]).unwrap();
    bob.browser.post(FREEZES, &signed).await.unwrap();
    let refused = bob.browser.post(FREEZES, &signed).await.unwrap_err();
    assert!(refused.contains("statement_used"), "{refused}");
    // Five minutes later a statement signs nothing.
    let body = json!({"change": beginning(&production())});
    let prepared = bob.browser.post(STATEMENTS, &body).await.unwrap();
    gate.servers.clock.shift(SignedDuration::from_mins(6));
    let signed = bob.signed(&prepared, &[]).unwrap();
    let refused = bob.browser.post(FREEZES, &signed).await.unwrap_err();
    assert!(refused.contains("statement_expired"), "{refused}");
    gate.finish().await;
}
