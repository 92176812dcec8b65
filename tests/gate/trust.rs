//! What is pinned, who is told that nothing is, and what happens only when something is.

use std::collections::BTreeMap;

use countersign::config::Config;
use countersign::gate::authorise::{NotAuthorised, authorise};
use countersign::storage::Storage;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::support::gate::{Engine, Gate, on_both_engines, send};

on_both_engines!(
    what_is_pinned_is_said_everywhere,
    what_is_not_pinned_is_said_everywhere,
    an_environment_that_asks_for_pins_does_nothing_without,
    a_key_that_is_not_pinned_rolls_out_nothing,
);

/// The demo's configuration without its pins.
fn unpinned(config: String) -> String {
    let pins = |line: &&str| !line.starts_with("login_keys") && !line.starts_with("workload_keys");
    config.lines().filter(pins).map(|line| format!("{line}\n")).collect()
}

fn requiring(config: &str) -> String {
    config.replace("expires_in = \"8h\"", "expires_in = \"8h\"\nrequire_pinned_trust = true")
}

async fn says(gate: &Gate) -> (Value, Value, Value) {
    let ready = send(gate.http.get(gate.url("/health/ready"))).await.body;
    let environments = gate.get("/v1/environments").await.body;
    let id = gate.asked(json!({})).await;
    let evidence = gate.get(&format!("/v1/approvals/{id}/evidence")).await.body;
    let policy: Value = serde_json::from_str(evidence["policy"].as_str().unwrap()).unwrap();
    gate.post(&format!("/v1/approvals/{id}/cancel"), json!({})).await;
    (ready["trust"].clone(), environments["environments"][0].clone(), policy["enrolment"].clone())
}

async fn what_is_pinned_is_said_everywhere(engine: Engine) {
    let gate = Gate::start_with(engine, |config| requiring(&config)).await;
    let (ready, environment, enrolment) = says(&gate).await;
    assert_eq!(ready, "pinned");
    assert_eq!(environment["trust"], "pinned");
    assert_eq!(environment["requires_pinned_trust"], true);
    let expected = json!({"endorsements": 0, "trust": "pinned", "requires_pinned_trust": true});
    assert_eq!(enrolment, expected);
    let mut alice = gate.approver("alice").await;
    for page in ["/", "/keys", "/keys/all"] {
        assert!(!alice.browser.open(page, "alice").await.unwrap().contains("Unpinned"), "{page}");
    }
    gate.finish().await;
}

async fn what_is_not_pinned_is_said_everywhere(engine: Engine) {
    let gate = Gate::start_with(engine, unpinned).await;
    let (ready, environment, enrolment) = says(&gate).await;
    assert_eq!(ready, "unpinned");
    assert_eq!(environment["trust"], "unpinned");
    let expected = json!({"endorsements": 0, "trust": "unpinned", "requires_pinned_trust": false});
    assert_eq!(enrolment, expected);
    let mut alice = gate.approver("alice").await;
    let id = gate.asked(json!({})).await;
    for page in ["/", "/keys", "/keys/all", "/signed-out", &format!("/approvals/{id}")] {
        assert!(alice.browser.open(page, "alice").await.unwrap().contains("Unpinned"), "{page}");
    }
    // What does not ask for pins goes on without.
    alice.approve(&id).await.unwrap();
    assert_eq!(gate.ended(&id).await["status"], "succeeded");
    gate.finish().await;
}

async fn an_environment_that_asks_for_pins_does_nothing_without(engine: Engine) {
    let gate = Gate::start_with(engine, |config| requiring(&unpinned(config))).await;
    gate.ask(json!({})).await.assert_problem(409, "trust_unpinned");
    assert_eq!(gate.changes_of_cloud_run().await, 0);
    gate.finish().await;
    // And what was approved while something was pinned is not rolled out when it no longer is.
    let gate = Gate::start_with(engine, |config| requiring(&config)).await;
    let mut alice = gate.approver("alice").await;
    let id = gate.asked(json!({})).await;
    alice.approve(&id).await.unwrap();
    assert_eq!(gate.ended(&id).await["status"], "succeeded");
    let config = Config::load(&gate.servers.files.config, &BTreeMap::new()).unwrap();
    gate.servers.stop().await;
    let database = config.database.expose_secret();
    let storage = Storage::open(database, config.log_key.clone()).await.unwrap();
    let stored = storage.approval(&id.parse().unwrap()).await.unwrap().unwrap();
    let mut trust = config.trust();
    authorise(&storage, &trust, &stored).await.unwrap();
    trust.login.keys.clear();
    let refused = authorise(&storage, &trust, &stored).await.unwrap_err();
    assert!(matches!(refused, NotAuthorised::Unpinned(_)), "{refused}");
    assert_eq!(refused.code(), "trust_unpinned");
    storage.close().await;
}

async fn a_key_that_is_not_pinned_rolls_out_nothing(engine: Engine) {
    // Well formed, and nobody's.
    let other = r#"login_keys = ['{"crv":"P-256","kty":"EC","x":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","y":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}']"#;
    let gate = Gate::start_with(engine, |config| {
        unpinned(config).replace("[trust]\n", &format!("[trust]\n{other}\n"))
    })
    .await;
    let mut alice = gate.approver("alice").await;
    let id = gate.asked(json!({})).await;
    alice.approve(&id).await.unwrap();
    let ended = gate.ended(&id).await;
    assert!(
        ended["status_sentence"].as_str().unwrap().contains("issuer_key_not_pinned"),
        "{ended:#}"
    );
    assert_eq!(gate.changes_of_cloud_run().await, 0);
    // Its evidence does not hold, and must not.
    gate.servers.stop().await;
}
