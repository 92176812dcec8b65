//! Receivers that fail, gates that die, and two gates on one database.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::SignedDuration;
use serde_json::json;

use super::scene::{Told, calls_of, heard, standing, tell, told, with};
use crate::instances::Fleet;
use crate::support::gate::{Engine, Gate, on_both_engines};
use crate::support::process::{GateProcess, free_port};

on_both_engines!(
    a_receiver_that_fails_is_told_again_and_holds_nobody_up,
    who_is_gone_or_silent_for_a_day_is_given_up_for_all_to_see,
    a_crash_in_the_middle_sends_it_again_under_the_same_id,
);

/// Webhooks of these names that hear of requests alone.
fn webhooks(names: &[&str]) -> String {
    let section = |name: &&str| {
        format!(
            "[[webhook]]\nname = \"{name}\"\nurl = \"SANDBOX/receiver/{name}\"\n\
             secret_file = \"webhook-secret\"\nevents = [\"approval.requested\"]\n"
        )
    };
    names.iter().map(section).collect()
}

fn ids(told: &[Told]) -> BTreeSet<&str> {
    told.iter().map(|one| one.id.as_str()).collect()
}

async fn a_receiver_that_fails_is_told_again_and_holds_nobody_up(engine: Engine) {
    let names = ["good", "failing", "severed", "busy", "slow"];
    let gate = told(engine, &webhooks(&names), false).await;
    tell(&gate, "failing", json!({"behaviour": {"answers": 500}, "times": 2})).await;
    tell(&gate, "severed", json!({"behaviour": "hangs_up", "times": 1})).await;
    tell(&gate, "busy", json!({"behaviour": {"busy": 3}, "times": 1})).await;
    // Longer than the gate waits: it does not know that this one took it.
    tell(&gate, "slow", json!({"behaviour": {"slow": 12_000}, "times": 1})).await;
    gate.asked(json!({})).await;
    let good = calls_of(&gate, "good", 1).await;
    assert!(heard(&gate, "slow").await.is_empty());
    let failing = calls_of(&gate, "failing", 3).await;
    assert_eq!(failing.iter().map(|one| one.status.clone()).collect::<Vec<_>>(), [500, 500, 200]);
    assert_eq!(ids(&failing).len(), 1, "the same id each time");
    assert_eq!(failing[0].payload, failing[2].payload);
    assert_ne!(good[0].id, failing[0].id, "and another one for each receiver");
    let severed = calls_of(&gate, "severed", 2).await;
    assert_eq!((ids(&severed).len(), severed[0].status.is_null()), (1, true));
    let busy = calls_of(&gate, "busy", 2).await;
    let seconds = |one: &Told| one.header("webhook-timestamp").unwrap().parse::<i64>().unwrap();
    assert!(seconds(&busy[1]) - seconds(&busy[0]) >= 3, "it asked to be left alone");
    let slow = calls_of(&gate, "slow", 2).await;
    assert_eq!(ids(&slow).len(), 1);
    for name in names {
        assert!(standing(&gate, name).await.is_null(), "{name} was told everything");
    }
    gate.finish().await;
}

async fn who_is_gone_or_silent_for_a_day_is_given_up_for_all_to_see(engine: Engine) {
    let gate = told(engine, &webhooks(&["gone", "silent"]), false).await;
    tell(&gate, "gone", json!({"behaviour": {"answers": 410}})).await;
    tell(&gate, "silent", json!({"behaviour": {"answers": 503}})).await;
    gate.asked(json!({})).await;
    calls_of(&gate, "gone", 1).await;
    let found = standing(&gate, "gone").await;
    assert_eq!((&found["given_up"], &found["waiting"]), (&json!(1), &json!(0)), "{found:#}");
    let found = standing(&gate, "silent").await;
    assert_eq!((&found["given_up"], &found["waiting"]), (&json!(0), &json!(1)), "{found:#}");
    assert!(found["fault"].as_str().unwrap().contains("503"), "{found:#}");
    gate.servers.clock.shift(SignedDuration::from_hours(25));
    for _ in 0..100 {
        if standing(&gate, "silent").await["given_up"] == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let found = standing(&gate, "silent").await;
    assert_eq!((&found["given_up"], &found["waiting"]), (&json!(1), &json!(0)), "{found:#}");
    let attempts = heard(&gate, "silent").await.len();
    // The ledger says so, and so does the page.
    let alice = gate.approver("alice").await;
    let mut alice = alice;
    let page = alice.browser.open("/audit?kind=notice.undelivered", "alice").await.unwrap();
    assert!(page.contains("gone could not be told of entry"), "{page}");
    assert!(page.contains("silent could not be told of entry"), "{page}");
    let page = alice.browser.open("/notices", "alice").await.unwrap();
    assert_eq!(page.matches("Was not told everything").count(), 2, "{page}");
    assert_eq!(heard(&gate, "silent").await.len(), attempts, "it is tried no more");
    gate.finish().await;
}

/// The receiver is in the middle of it when the gate dies: whether it took it, nobody can know.
async fn a_crash_in_the_middle_sends_it_again_under_the_same_id(engine: Engine) {
    let gate = Gate::around(engine, free_port()).await;
    gate.servers.files.edit_config(with(&webhooks(&["r"]), false)).unwrap();
    let mut process = GateProcess::start(&gate).await;
    tell(&gate, "r", json!({"behaviour": {"slow": 1500}, "times": 1})).await;
    gate.asked(json!({})).await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    process.kill().await;
    calls_of(&gate, "r", 1).await;
    process.start_again().await;
    // On PostgreSQL another gate might still be at it, until its lease runs out.
    let told = calls_of(&gate, "r", 2).await;
    assert_eq!(ids(&told).len(), 1, "the receiver knows it by its id");
    assert_eq!(told[0].payload, told[1].payload);
    process.end().await;
    gate.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_gates_on_one_database_tell_it_once() {
    let fleet = Fleet::configured(2, with(&webhooks(&["a", "b"]), false)).await;
    for _ in 0..10 {
        fleet.gate.asked(json!({})).await;
    }
    for name in ["a", "b"] {
        let told = calls_of(&fleet.gate, name, 10).await;
        assert_eq!(ids(&told).len(), 10);
    }
    fleet.finish().await;
}
