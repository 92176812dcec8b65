//! Webhooks that are not GitHub's, that come again or out of order: none of them changes anything.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use super::rules::{RUN, answers, deliver, finish, fresh, open, payload, until_answered, wait_at};
use crate::support::gate::{Engine, Gate, on_both_engines};
use crate::support::github::{INSTALLATION, REPOSITORY, SECRET, signature_of};

on_both_engines!(
    forged_webhooks_change_nothing,
    replayed_and_reordered_webhooks_change_nothing,
    published_examples_change_nothing,
);

/// A hundred webhooks that are not GitHub's.
async fn forged_webhooks_change_nothing(engine: Engine) {
    let gate = Gate::start_with_app(engine).await;
    let mut alice = gate.approver("alice").await;
    let id = gate.asked(json!({})).await;
    alice.approve(&id).await.unwrap();
    gate.ended(&id).await;
    let run = json!({"repository": REPOSITORY, "id": RUN, "waiting": ["production"]});
    gate.sandbox(Method::POST, "/_sandbox/github/runs", Some(run)).await;
    let rule = "deployment_protection_rule";
    let good = fresh(&gate).to_string();
    let signature = signature_of(SECRET, good.as_bytes());
    let mut sent = 0;
    let mut refused =
        async |signature: &str, id: &str, event: &str, body: &[u8], status: u16, code: &str| {
            sent += 1;
            gate.webhook(signature, id, event, body).await.assert_problem(status, code);
        };
    let invalid = "webhook_signature_invalid";
    // Truncated, lengthened, changed by one bit: the signature is one over other bytes.
    for cut in 0..30 {
        let body = &good.as_bytes()[..cut * good.len() / 30];
        refused(&signature, "one", rule, body, 401, invalid).await;
    }
    for place in 0..30 {
        let mut body = good.clone().into_bytes();
        let place = place * body.len() / 30;
        body[place] ^= 1;
        refused(&signature, "one", rule, &body, 401, invalid).await;
    }
    for end in [" ", "\n", "{}", "\0"] {
        refused(&signature, "one", rule, format!("{good}{end}").as_bytes(), 401, invalid).await;
    }
    // Signatures of others, and what is none.
    for secret in ["", "another secret", &SECRET[1..], &SECRET.to_uppercase()] {
        refused(&signature_of(secret, good.as_bytes()), "one", rule, good.as_bytes(), 401, invalid)
            .await;
    }
    let hex = signature.strip_prefix("sha256=").unwrap();
    for none in [
        "",
        "sha256=",
        hex,
        &format!("sha1={hex}"),
        &format!("sha256={}", &hex[..62]),
        &format!("sha256={hex}00"),
        "sha256=zz",
        &format!("sha256= {hex}"),
    ] {
        refused(none, "one", rule, good.as_bytes(), 401, invalid).await;
    }
    // Signed, and of nothing that is pinned.
    let unpinned = "webhook_repository_not_pinned";
    for changes in [
        json!({"repository": {"id": 1002}}),
        json!({"installation": {"id": INSTALLATION + 1}}),
        json!({"repository": {"id": 0}}),
        json!({"repository": {"id": 1002}, "installation": {"id": 1}}),
    ] {
        let body = payload(changes).to_string();
        refused(
            &signature_of(SECRET, body.as_bytes()),
            "two",
            rule,
            body.as_bytes(),
            403,
            unpinned,
        )
        .await;
    }
    // Signed, and not what GitHub sends.
    let malformed = "webhook_payload_invalid";
    for changes in [
        json!({"repository": null}),
        json!({"installation": null}),
        json!({"deployment": null}),
        json!({"environment": ""}),
        json!({"environment": "a\u{0}b"}),
        json!({"environment": "x".repeat(256)}),
        json!({"environment": 7}),
        json!({"deployment_callback_url": "https://api.github.com/repos/demo/web/actions/runs/"}),
        json!({"deployment_callback_url": "https://api.github.com/repos/demo/web/actions/runs/-1/deployment_protection_rule"}),
        json!({"deployment_callback_url": "https://api.github.com/repos/demo/web/actions/runs/1e3/deployment_protection_rule"}),
        json!({"deployment_callback_url": "https://api.github.com/repos/demo/web/actions/runs/99999999999999999999999/deployment_protection_rule"}),
        json!({"deployment_callback_url": "https://evil.example/"}),
    ] {
        let body = payload(changes).to_string();
        refused(
            &signature_of(SECRET, body.as_bytes()),
            "three",
            rule,
            body.as_bytes(),
            400,
            malformed,
        )
        .await;
    }
    for body in ["", "[]", "null", "{", "\u{feff}{}"] {
        refused(
            &signature_of(SECRET, body.as_bytes()),
            "four",
            rule,
            body.as_bytes(),
            400,
            malformed,
        )
        .await;
    }
    for (id, event) in [
        ("", rule),
        ("one", ""),
        ("a b", rule),
        ("../one", rule),
        ("one", "a b"),
        (&"x".repeat(65)[..], rule),
    ] {
        refused(&signature, id, event, good.as_bytes(), 400, "webhook_headers_invalid").await;
    }
    assert!(sent >= 100, "{sent}");
    let large = vec![b' '; 1024 * 1024 + 1];
    gate.webhook(&signature, "one", rule, &large).await.assert_problem(413, "body_too_large");
    // Signed and of no concern: events that the gate does not know, and another action.
    let ping = r#"{"zen": "Keep it logically awesome."}"#;
    let pinged =
        gate.webhook(&signature_of(SECRET, ping.as_bytes()), "p", "ping", ping.as_bytes()).await;
    assert_eq!(pinged.status, 200);
    assert_eq!(deliver(&gate, &payload(json!({"action": "completed"}))).await, 200);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(answers(&gate).await.is_empty());
    assert_eq!(open(&gate).await, 0);
    finish(gate, 0, 0).await;
}

async fn replayed_and_reordered_webhooks_change_nothing(engine: Engine) {
    let gate = Gate::start_with_app(engine).await;
    let mut alice = gate.approver("alice").await;
    let id = gate.asked(json!({})).await;
    // The webhook of the second attempt comes before that of the first.
    wait_at(&gate, "production", 1).await;
    let first = fresh(&gate).to_string();
    let signature = signature_of(SECRET, first.as_bytes());
    alice.approve(&id).await.unwrap();
    until_answered(&gate, "approved").await;
    gate.ended(&id).await;
    let mut sent = 0;
    for number in 0..100 {
        // Under its own name again, under other names, and now and then as a new one of a run that was answered.
        let name = format!("replayed-{}", number / 2);
        gate.webhook(&signature, &name, "deployment_protection_rule", first.as_bytes()).await;
        sent += 1;
        if number % 5 == 0 {
            assert!([200, 202].contains(&deliver(&gate, &fresh(&gate)).await));
            sent += 1;
        }
    }
    assert!(sent >= 100, "{sent}");
    gate.until("every run was dealt with", async || open(&gate).await == 0).await;
    assert_eq!(answers(&gate).await.len(), 1);
    assert_eq!(gate.calls("POST", "/deployment_protection_rule").await.len(), 1);
    gate.finish().await;
}

/// GitHub's own examples of its other events (npm, `@octokit/webhooks-examples` 7.6.1), one of each, well signed: under
/// their own names they are of no concern, and under that of the one event that counts they are not believed.
async fn published_examples_change_nothing(engine: Engine) {
    let gate = Gate::start_with_app(engine).await;
    let text = include_str!("../../data/github-webhooks-examples.json");
    let examples: Vec<Value> = serde_json::from_str(text).unwrap();
    assert!(examples.len() >= 50, "{}", examples.len());
    for (number, example) in examples.iter().enumerate() {
        let event = example["event"].as_str().unwrap();
        let mut payload = example["payload"].clone();
        for pinned in [false, true] {
            if pinned {
                payload["repository"]["id"] = REPOSITORY.into();
                payload["installation"]["id"] = INSTALLATION.into();
            }
            let body = payload.to_string();
            let signature = signature_of(SECRET, body.as_bytes());
            let id = format!("example-{number}-{pinned}");
            let taken = gate.webhook(&signature, &id, event, body.as_bytes()).await;
            assert_eq!(taken.status, 200, "{event}: {taken:?}");
            let rule = "deployment_protection_rule";
            let refused = gate.webhook(&signature, &id, rule, body.as_bytes()).await;
            assert!([400, 403].contains(&refused.status.as_u16()), "{event}: {refused:?}");
        }
    }
    assert_eq!(open(&gate).await, 0);
    assert!(gate.calls("GET", "/github-api/").await.is_empty());
    finish(gate, 0, 0).await;
}
