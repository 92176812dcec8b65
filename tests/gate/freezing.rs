//! Freezes: a signature stops what is approved, another one lets it go on, and nothing else does either.

mod attacks;
mod refusals;

use countersign::cli::demo::approver::Approver;
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::agents::{Agent, credentials};
use crate::support::cloud_run::fault_at;
use crate::support::gate::{Engine, Gate, SERVICE, on_both_engines};

on_both_engines!(
    what_is_approved_waits_until_the_freeze_is_lifted,
    a_freeze_ends_at_its_end,
    a_rollout_that_runs_stands_still,
    the_way_back_is_never_stopped,
    one_agent_is_frozen_and_others_are_not,
    operators_freeze_everything,
    auditors_read_everything_and_sign_nothing,
);

/// Everything that is asked for in production.
pub fn production() -> Value {
    json!({"environment": "production", "requesters": {"kind": "everybody"}})
}

pub fn beginning(scope: &Value) -> Value {
    json!({"kind": "begin", "scope": scope, "reason": "The database is being moved"})
}

/// Prepares a change of freezes as the page does, signs it and sends it. Gives its id.
pub async fn change(approver: &mut Approver, change: Value) -> Result<String, String> {
    let body = json!({"change": change});
    let prepared = approver.browser.post("/environments/statements", &body).await?;
    let signed = approver.signed(&prepared, &[])?;
    let done = approver.browser.post("/environments/freezes", &signed).await?;
    assert_eq!(done["is_verified"], true, "{done}");
    let statement = prepared["statement"].as_str().unwrap();
    Ok(countersign::domain::digest::Digest::of(statement).to_string())
}

pub async fn freeze(approver: &mut Approver, scope: &Value) -> String {
    change(approver, beginning(scope)).await.unwrap()
}

pub fn lifting(freeze: &str, scope: &Value) -> Value {
    json!({"kind": "lift", "freeze": freeze, "scope": scope, "reason": "It is moved"})
}

pub async fn lift(approver: &mut Approver, freeze: &str, scope: &Value) {
    change(approver, lifting(freeze, scope)).await.unwrap();
}

/// Waits until the worker has looked at it and said why it does not go on.
pub async fn until_held(gate: &Gate, id: &str) {
    gate.until("the worker says that it is frozen", async || {
        gate.reason_to_wait(id).await.is_some_and(|why| why.starts_with("frozen: "))
    })
    .await;
}

async fn what_is_approved_waits_until_the_freeze_is_lifted(engine: Engine) {
    let gate = Gate::start(engine).await;
    gate.ready_delay(0).await;
    let mut alice = gate.approver("alice").await;
    let mut bob = gate.approver("bob").await;
    let scope = production();
    let id = freeze(&mut alice, &scope).await;
    // It is still asked and signed, and everybody is told.
    let approval = gate.asked(json!({"subject": {"steps": [100]}})).await;
    let pending = gate.approval(&approval).await;
    assert_eq!(pending["hold"]["code"], "frozen", "{pending:#}");
    bob.approve(&approval).await.unwrap();
    until_held(&gate, &approval).await;
    let held = gate.approval(&approval).await;
    assert_eq!(held["status"], "approved", "{held:#}");
    let sentence = held["status_sentence"].as_str().unwrap();
    for words in
        ["Alice Adler froze production", "The database is being moved", "signs that it is lifted"]
    {
        assert!(sentence.contains(words), "no {words:?} in: {sentence}");
    }
    assert_eq!(held["hold"]["ends_at"], Value::Null);
    assert_eq!(gate.changes_of_cloud_run().await, 0);
    for path in ["/", "/environments", &format!("/approvals/{approval}")] {
        let page = bob.browser.open(path, "bob").await.unwrap();
        assert!(page.contains("Frozen: production."), "{path}: {page}");
    }
    let page = bob.browser.open("/environments", "bob").await.unwrap();
    assert!(page.contains("The database is being moved") && page.contains(&id), "{page}");
    // Somebody else lifts it, and it begins by itself.
    lift(&mut bob, &id, &scope).await;
    assert_eq!(gate.ended(&approval).await["status"], "succeeded");
    let page = bob.browser.open("/audit", "bob").await.unwrap();
    assert!(page.contains("lifted the freeze of production"), "{page}");
    gate.finish().await;
}

async fn a_freeze_ends_at_its_end(engine: Engine) {
    let gate = Gate::start(engine).await;
    gate.ready_delay(0).await;
    let mut alice = gate.approver("alice").await;
    let mut wanted = beginning(&production());
    let until = gate.servers.clock.now() + SignedDuration::from_mins(10);
    wanted["until"] = json!(until);
    change(&mut alice, wanted).await.unwrap();
    let id = gate.asked(json!({"subject": {"steps": [100]}})).await;
    alice.approve(&id).await.unwrap();
    until_held(&gate, &id).await;
    assert_eq!(gate.approval(&id).await["hold"]["ends_at"], json!(until));
    gate.servers.clock.shift(SignedDuration::from_mins(11));
    assert_eq!(gate.ended(&id).await["status"], "succeeded");
    // What runs out while it is frozen has to be asked for again.
    alice.sign_in("alice").await.unwrap();
    freeze(&mut alice, &production()).await;
    let id = gate.asked(json!({})).await;
    alice.approve(&id).await.unwrap();
    until_held(&gate, &id).await;
    gate.servers.clock.shift(SignedDuration::from_mins(61));
    assert_eq!(gate.ended(&id).await["status"], "expired");
    gate.finish().await;
}

async fn a_rollout_that_runs_stands_still(engine: Engine) {
    let gate = Gate::start(engine).await;
    gate.ready_delay(0).await;
    let mut alice = gate.approver("alice").await;
    let id = gate.asked(json!({"subject": {"steps": [10, 100]}})).await;
    // Held at Cloud Run with the first step, until everything is frozen.
    let held = gate.hold("PATCH", 2).await;
    alice.approve(&id).await.unwrap();
    gate.until_hit(held).await;
    let freeze = freeze(&mut alice, &production()).await;
    gate.no_faults().await;
    until_held(&gate, &id).await;
    let standing = gate.approval(&id).await;
    assert_eq!(standing["status"], "executing");
    let sentence = standing["status_sentence"].as_str().unwrap();
    assert!(sentence.starts_with("The rollout stands still: "), "{sentence}");
    // The revision and the step that was under way, and nothing after it.
    assert_eq!(gate.changes_of_cloud_run().await, 2);
    lift(&mut alice, &freeze, &production()).await;
    assert_eq!(gate.ended(&id).await["status"], "succeeded");
    assert_eq!(gate.changes_of_cloud_run().await, 3);
    gate.finish().await;
}

async fn the_way_back_is_never_stopped(engine: Engine) {
    let gate = Gate::start(engine).await;
    gate.ready_delay(0).await;
    let mut alice = gate.approver("alice").await;
    let id = gate.asked(json!({"subject": {"steps": [10, 100]}})).await;
    // The first step is refused, but only after everything is frozen: what served before is restored.
    let held = gate.hold("PATCH", 2).await;
    let refused = json!({"kind": "status", "code": 400, "message": "Said Google."});
    gate.fault(fault_at("PATCH", SERVICE, 2, refused)).await;
    alice.approve(&id).await.unwrap();
    gate.until_hit(held).await;
    freeze(&mut alice, &production()).await;
    gate.no_faults().await;
    let ended = gate.ended(&id).await;
    assert_eq!(ended["status"], "rolled_back", "{ended:#}");
    let page = alice.browser.open("/environments", "alice").await.unwrap();
    assert!(page.contains("Frozen: production."), "{page}");
    gate.finish().await;
}

async fn one_agent_is_frozen_and_others_are_not(engine: Engine) {
    let gate = credentials::gate(engine).await;
    gate.ready_delay(0).await;
    let mut alice = gate.approver("alice").await;
    let mut bob = gate.approver("bob").await;
    let (_, bearer) = credentials::issue(&mut alice).await;
    let agent = Agent::with_token(&gate, bearer);
    let scope = json!({
        "environment": "production",
        "requesters": {"kind": "requester", "issuer": "agent-credential", "name": "Release assistant"},
    });
    let one = freeze(&mut alice, &scope).await;
    let first = agent.asked(json!({})).await;
    bob.approve(&first).await.unwrap();
    until_held(&gate, &first).await;
    // It keeps nobody else of the same service waiting.
    let second = gate.asked(json!({"subject": {"steps": [100]}})).await;
    bob.approve(&second).await.unwrap();
    assert_eq!(gate.ended(&second).await["status"], "succeeded");
    let told = agent.tool("get_approval", json!({"id": first})).await;
    assert_eq!(told["structuredContent"]["approval"]["hold"]["code"], "frozen", "{told:#}");
    // All agents, and then nobody is frozen any more.
    let agents = json!({"requesters": {"kind": "issuer", "issuer": "agent-credential"}});
    let all = freeze(&mut alice, &agents).await;
    lift(&mut bob, &one, &scope).await;
    let told = agent.tool("get_approval", json!({"id": first})).await;
    let told = &told["structuredContent"]["approval"];
    let sentence = told["status_sentence"].as_str().unwrap();
    assert!(sentence.contains("every agent with a credential in every environment"), "{sentence}");
    lift(&mut bob, &all, &agents).await;
    let over = agent.tool("wait_for_approval", json!({"id": first, "wait_seconds": 60})).await;
    // The pipeline's rollout came first, so the service is no longer what the agent saw.
    assert_eq!(over["structuredContent"]["approval"]["status"], "failed", "{over:#}");
    gate.finish().await;
}

async fn operators_freeze_everything(engine: Engine) {
    let gate = Gate::start_with(engine, |config| {
        config.replace(
            "[environment.production]",
            "[roles]\noperator = [\"person:u-dan\"]\n\n[environment.production]",
        )
    })
    .await;
    gate.ready_delay(0).await;
    let mut alice = gate.approver("alice").await;
    let mut dan = gate.approver("dan").await;
    let everything = json!({"requesters": {"kind": "everybody"}});
    let id = freeze(&mut dan, &everything).await;
    let approval = gate.asked(json!({"subject": {"steps": [100]}})).await;
    // An operator signs no deployment.
    let refused = dan.approve(&approval).await.unwrap_err();
    assert!(refused.contains("403") && refused.contains("not_an_approver"), "{refused}");
    alice.approve(&approval).await.unwrap();
    until_held(&gate, &approval).await;
    let page = dan.browser.open("/environments", "dan").await.unwrap();
    assert!(page.contains("every environment") && page.contains("Sign and lift"), "{page}");
    lift(&mut dan, &id, &everything).await;
    assert_eq!(gate.ended(&approval).await["status"], "succeeded");
    gate.finish().await;
}

async fn auditors_read_everything_and_sign_nothing(engine: Engine) {
    let gate = Gate::start_with(engine, |config| {
        let roles = "[roles]\noperator = [\"person:u-dan\"]\nauditor = [\"person:u-carol\"]\n\n[environment.production]";
        config.replace("[environment.production]", roles)
    })
    .await;
    // Carol is a release manager too, by her groups: whoever audits does not sign all the same.
    let mut carol = gate.approver("carol").await;
    let approval = gate.asked(json!({})).await;
    let routes = include_str!("../../src/server.rs").split('"');
    let paths: Vec<String> = routes
        // A sign-in with a key is nobody's act yet, and whoever lost a key says so, whatever their role.
        .filter(|route| {
            let of_their_own = ["/sign-in/", "/keys/losses/"];
            route.ends_with("/statements") && !of_their_own.iter().any(|one| route.starts_with(one))
        })
        .map(|route| {
            let route = route.replace("{id}", &approval).replace("{entry}", "0");
            route.replace("{credential}", "AAAA")
        })
        .collect();
    assert!(paths.len() >= 6, "{paths:?}");
    for path in paths {
        let refused = carol.browser.post(&path, &json!({})).await.unwrap_err();
        assert!(
            refused.contains("403") && refused.contains("auditor_signs_nothing"),
            "{path}: {refused}"
        );
    }
    let page = carol.browser.open(&format!("/approvals/{approval}"), "carol").await.unwrap();
    assert!(page.contains("Fixes the checkout on phones") && page.contains("auditors"), "{page}");
    let page = carol.browser.open("/environments", "carol").await.unwrap();
    assert!(page.contains("production") && !page.contains("Sign and freeze"), "{page}");
    // An operator revokes the key of somebody else.
    let mut dan = gate.approver("dan").await;
    let key = carol.authenticator.newest_credential().unwrap();
    let page = dan.revoke(&key, "left the company").await.unwrap();
    assert!(page.contains("left the company"), "{page}");
    gate.finish().await;
}
