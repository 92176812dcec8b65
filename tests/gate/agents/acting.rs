//! Agents that act for somebody: whoever that is asked, and cannot sign.

use serde_json::{Value, json};

use super::{Agent, assert_refused};
use crate::support::gate::{Engine, Gate, on_both_engines};

on_both_engines!(
    for_whom_an_agent_acts_cannot_sign,
    an_agent_that_acts_for_nobody_known_may_not_ask,
    what_an_agent_writes_of_it_is_its_own_word,
);

/// What the demo's environment says of agents, up to where it ends.
const PLAIN: &str = r#"{ issuer = "agent", claims = { sub = "agent:release-bot" } }"#;

/// A gate whose rules say which claim names the person.
async fn gate(engine: Engine, acts_for: &str) -> Gate {
    let rule = format!(
        r#"{{ issuer = "agent", claims = {{ name = "Release bot" }}, acts_for = "{acts_for}" }}"#
    );
    Gate::start_with(engine, move |config| config.replace(PLAIN, &rule)).await
}

/// An agent whose token says this beside the usual.
async fn agent<'a>(gate: &'a Gate, claims: Value) -> Agent<'a> {
    let mut changes = json!({"issuer": "agent"});
    changes.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
    Agent::with_token(gate, gate.token(changes).await)
}

async fn for_whom_an_agent_acts_cannot_sign(engine: Engine) {
    let gate = gate(engine, "sub").await;
    let claims = json!({"sub": "u-alice", "act": {"sub": "agent:release-bot"}});
    let asking = agent(&gate, claims).await;
    let id = asking.asked(json!({})).await;
    let mut alice = gate.approver("alice").await;
    let mut bob = gate.approver("bob").await;
    let page = alice.browser.open(&format!("/approvals/{id}"), "alice").await.unwrap();
    assert!(page.contains("This was asked for on your behalf"), "{page}");
    assert!(page.contains("<dt>Acts for</dt><dd><span class=\"value\">u-alice"), "{page}");
    let refused = alice.approve(&id).await.unwrap_err();
    assert!(refused.contains("403") && refused.contains("own_request"), "{refused}");
    bob.approve(&id).await.unwrap();
    let over = asking.tool("wait_for_approval", json!({"id": id, "wait_seconds": 60})).await;
    assert_eq!(over["structuredContent"]["approval"]["status"], "succeeded", "{over:#}");
    // The way back is no decision of theirs either.
    let refused = alice.intervene(&id, &json!({"act": "restore"})).await.unwrap_err();
    assert!(refused.contains("own_request"), "{refused}");
    gate.finish().await;
}

async fn an_agent_that_acts_for_nobody_known_may_not_ask(engine: Engine) {
    let plain = Gate::start(engine).await;
    let acting = json!({"act": {"sub": "agent:release-bot"}});
    assert_refused(&agent(&plain, acting).await.request(json!({})).await, "requester_not_allowed");
    assert_eq!(plain.changes_of_cloud_run().await, 0);
    plain.finish().await;
    let gate = gate(engine, "on_behalf_of").await;
    for person in [json!(null), json!(7), json!(["u-alice"]), json!({"sub": "u-alice"})] {
        let asking = agent(&gate, json!({"on_behalf_of": person})).await;
        assert_refused(&asking.request(json!({})).await, "requester_not_allowed");
    }
    agent(&gate, json!({"on_behalf_of": "u-alice"})).await.asked(json!({})).await;
    gate.finish().await;
}

async fn what_an_agent_writes_of_it_is_its_own_word(engine: Engine) {
    let gate = Gate::start(engine).await;
    let asking = Agent::new(&gate).await;
    assert_refused(&asking.request(json!({"acts_for": "x".repeat(201)})).await, "invalid_text");
    let id = Agent::new(&gate).await.asked(json!({"acts_for": "u-alice"})).await;
    let mut alice = gate.approver("alice").await;
    let page = alice.browser.open(&format!("/approvals/{id}"), "alice").await.unwrap();
    let (facts, words) = page.split_once("In their words").unwrap();
    assert!(!facts.contains("u-alice") && !facts.contains("Acts for"), "{facts}");
    assert!(words.contains("self-declared") && words.contains("u-alice"), "{words}");
    // A name that somebody wrote bars nobody: else any agent could choose who may sign.
    alice.approve(&id).await.unwrap();
    asking.tool("wait_for_approval", json!({"id": id, "wait_seconds": 60})).await;
    gate.finish().await;
}
