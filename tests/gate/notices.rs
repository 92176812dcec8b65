//! Notices: each receiver is told each event, once, signed, over every failure; and nobody is told anything
//! at an address where nothing should be sent.

mod failures;
pub mod scene;

use std::collections::BTreeSet;

use countersign::domain::digest::Digest;
use countersign::domain::ledger::Record;
use countersign::domain::notice::{Event, Notice, Subscription};
use countersign::integrations::public_address::Reach;
use countersign::integrations::receiver::{Form, ReceiverSettings, Receivers};
use jiff::{SignedDuration, Timestamp};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::database::tamper;
use crate::support::gate::{Engine, Gate, on_both_engines};
use scene::{Told, calls_of, tell, told};

on_both_engines!(
    everything_is_told_once_and_signed,
    a_requester_names_one_of_the_webhooks,
    a_request_that_expires_soon_is_told_once,
    what_the_log_does_not_hold_is_told_to_nobody,
);

/// The webhooks that hear everything, and a channel of Slack.
const ALL: &str = "[[webhook]]\nname = \"all\"\nurl = \"SANDBOX/receiver/all\"\nsecret_file = \"webhook-secret\"\n";

fn kinds(told: &[Told]) -> Vec<String> {
    told.iter().map(|one| one.payload["type"].as_str().unwrap().to_owned()).collect()
}

async fn everything_is_told_once_and_signed(engine: Engine) {
    let gate = told(engine, ALL, true).await;
    let mut alice = gate.approver("alice").await;
    let changes = json!({"subject": {"steps": [100]}, "title": "<!channel> look", "reason": "*Approve* <https://evil.example|here>"});
    let id = gate.asked(changes).await;
    alice.approve(&id).await.unwrap();
    assert_eq!(gate.ended(&id).await["status"], "succeeded");
    let heard = calls_of(&gate, "all", 5).await;
    let expected = [
        "policy.changed",
        "key.added",
        "approval.requested",
        "approval.decided",
        "rollout.succeeded",
    ];
    assert_eq!(kinds(&heard), expected);
    let ids: BTreeSet<&str> = heard.iter().map(|one| one.id.as_str()).collect();
    assert_eq!(ids.len(), heard.len(), "an id each");
    for one in &heard {
        let data = &one.payload["data"];
        assert_eq!(data["schema"], "countersign/notice/v1");
        assert!(data["url"].as_str().unwrap().starts_with(&gate.servers.gate), "{data:#}");
        // Nothing that a requester wrote, and nothing that opens anything.
        let text = one.payload.to_string();
        for word in ["evil", "channel", "eyJ", "csa_", "Approve"] {
            assert!(!text.contains(word), "{word} in {text}");
        }
    }
    let decided = &heard[3].payload["data"];
    assert_eq!(decided["approval"]["id"], id.as_str());
    assert_eq!(decided["approval"]["status"], "approved");
    assert_eq!(decided["decision"]["verdict"], "approve");
    assert_eq!(decided["environment"], "production");
    assert_eq!(decided["url"], gate.url(&format!("/approvals/{id}")));
    // Slack: the same events in words, with a link and nothing to press.
    let slack = calls_of(&gate, "slack", 5).await;
    for message in &slack {
        assert!(message.header("webhook-signature").is_none());
        assert_eq!(message.payload["unfurl_links"], false);
        let text = message.payload["text"].as_str().unwrap();
        assert!(text.contains("|Open it>") && !text.contains("evil"), "{text}");
    }
    let asked = slack[2].payload["text"].as_str().unwrap();
    let link = gate.url(&format!("/approvals/{id}"));
    assert_eq!(
        asked,
        format!(
            "*production* The deployment of web (demo, europe-west1) waits for signatures. <{link}|Open it>"
        )
    );
    let page = alice.browser.open("/notices", "alice").await.unwrap();
    assert!(page.contains("Told everything") && !page.contains("/receiver/slack"), "{page}");
    gate.finish().await;
}

async fn a_requester_names_one_of_the_webhooks(engine: Engine) {
    let named = ALL.to_owned()
        + &ALL.replace("\"all\"", "\"own\"").replace("receiver/all", "receiver/own")
        + "events = []\n";
    let gate = told(engine, &named, true).await;
    for unknown in ["nobody", "slack:production", "", "own ", "https://example.com/hook"] {
        let refused = gate.ask(json!({"notify": unknown})).await;
        refused.assert_problem(422, "unknown_receiver");
    }
    gate.ask(json!({"notify": 7})).await.assert_problem(400, "malformed_request");
    let other = gate.asked(json!({})).await;
    let id = gate.asked(json!({"notify": "own"})).await;
    gate.post(&format!("/v1/approvals/{id}/cancel"), json!({})).await;
    let heard = calls_of(&gate, "own", 2).await;
    assert_eq!(kinds(&heard), ["approval.requested", "approval.cancelled"]);
    assert!(heard.iter().all(|one| one.payload["data"]["approval"]["id"] == id.as_str()));
    // Who hears everything hears it once, named or not.
    let again = gate.asked(json!({"notify": "all"})).await;
    let heard = calls_of(&gate, "all", 5).await;
    let about = |id: &str| heard.iter().filter(|one| one.payload.to_string().contains(id)).count();
    assert_eq!((about(&other), about(&id), about(&again)), (1, 2, 1));
    gate.finish().await;
}

async fn a_request_that_expires_soon_is_told_once(engine: Engine) {
    let gate = told(engine, ALL, false).await;
    let id = gate.asked(json!({"expires_in": "8h"})).await;
    calls_of(&gate, "all", 2).await;
    gate.servers.clock.shift(SignedDuration::from_mins(7 * 60 + 5));
    let heard = calls_of(&gate, "all", 3).await;
    assert_eq!(kinds(&heard)[2], "approval.expiring");
    let data = &heard[2].payload["data"];
    assert_eq!(data["approval"]["id"], id.as_str());
    assert!(data["summary"].as_str().unwrap().contains("still waits for signatures"), "{data:#}");
    // Not again a second later; then it is over, and that is told.
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    gate.servers.clock.shift(SignedDuration::from_mins(60));
    let heard = calls_of(&gate, "all", 4).await;
    assert_eq!(kinds(&heard)[3], "approval.expired");
    gate.finish().await;
}

async fn what_the_log_does_not_hold_is_told_to_nobody(engine: Engine) {
    let gate = told(engine, ALL, false).await;
    gate.asked(json!({})).await;
    calls_of(&gate, "all", 2).await;
    // An entry that nobody is told of, and one that is not there.
    let planted = ["0", "999999"].map(|entry| {
        format!("INSERT INTO notices (entry_index, receiver, due_at, epoch, attempts) VALUES ({entry}, 'all', 0, 0, 0)")
    });
    tamper(&gate, engine, &planted.each_ref().map(String::as_str)).await;
    let id = gate.asked(json!({})).await;
    let heard = calls_of(&gate, "all", 3).await;
    assert!(heard[2].payload.to_string().contains(&id), "{:#}", heard[2].payload);
    gate.finish().await;
}

fn notice() -> Notice {
    let record =
        Record::of_event("policy.changed", json!({"environment": "x"}), Timestamp::UNIX_EPOCH);
    let place = (0, &Digest::of("entry"));
    Notice::new("r", place, &record, None, "https://gate.example.com").unwrap()
}

fn receiver(url: &str) -> ReceiverSettings {
    let subscription = Subscription {
        receiver: "r".to_owned(),
        events: Event::parse("policy.changed").into_iter().collect(),
        environment: None,
        general: true,
    };
    ReceiverSettings { subscription, url: url.to_owned().into(), form: Form::Slack }
}

#[tokio::test]
async fn nothing_is_sent_to_an_address_that_is_not_public() {
    let gate = Gate::start(Engine::Sqlite).await;
    let port = gate.servers.sandbox.rsplit(':').next().unwrap().to_owned();
    for host in
        ["localhost", "127.0.0.1", "[::1]", "0.0.0.0", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1"]
    {
        let url = format!("http://{host}:{port}/receiver/private");
        let receivers = Receivers::new(vec![receiver(&url)], Reach::Public).unwrap();
        let refused = receivers.tell("r", &notice(), Timestamp::UNIX_EPOCH).await.unwrap_err();
        assert!(refused.to_string().contains("no public address"), "{host}: {refused}");
    }
    let heard: Value = gate.sandbox(Method::GET, "/_sandbox/receiver/private", None).await;
    assert_eq!(heard, json!([]));
    // The same receiver is told where the gate itself is on this machine.
    let url = format!("http://localhost:{port}/receiver/private");
    let receivers = Receivers::new(vec![receiver(&url)], Reach::WithLoopback).unwrap();
    receivers.tell("r", &notice(), Timestamp::UNIX_EPOCH).await.unwrap();
    tell(&gate, "private", json!({"behaviour": "redirects"})).await;
    let refused = receivers.tell("r", &notice(), Timestamp::UNIX_EPOCH).await.unwrap_err();
    assert!(refused.to_string().contains("307"), "{refused}");
    let elsewhere: Value = gate.sandbox(Method::GET, "/_sandbox/receiver/elsewhere", None).await;
    assert_eq!(elsewhere, json!([]), "a redirect is not followed");
    gate.finish().await;
}
