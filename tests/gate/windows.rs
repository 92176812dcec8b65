//! Windows and calendars: outside of them nothing begins and no step is made; the way back is never held.

use countersign::cli::demo::approver::Approver;
use countersign::clock::Clock;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::support::gate::{Engine, Gate, on_both_engines};

on_both_engines!(
    what_is_approved_begins_when_the_window_opens,
    what_runs_out_before_it_opens_has_to_be_asked_for_again,
    a_rollout_stands_still_when_the_window_closes,
    a_calendar_closes_a_window,
);

/// What a clock in Greenwich shows so many minutes from `now`.
fn clock(now: Timestamp, minutes: i64) -> String {
    let then = now + SignedDuration::from_mins(minutes);
    TimeZone::UTC.to_datetime(then).strftime("%H:%M").to_string()
}

/// A window of every day that opens and closes so many minutes from now.
pub fn window(from: i64, to: i64) -> String {
    let now = Clock::system().now();
    format!(
        "\n[[environment.production.window]]\n\
         days = [\"mon\", \"tue\", \"wed\", \"thu\", \"fri\", \"sat\", \"sun\"]\n\
         from = \"{}\"\nto = \"{}\"\ntime_zone = \"Etc/UTC\"\n",
        clock(now, from),
        clock(now, to)
    )
}

async fn gate(engine: Engine, from: i64, to: i64) -> Gate {
    let gate = Gate::start_with(engine, |config| config + &window(from, to)).await;
    gate.ready_delay(0).await;
    gate
}

/// Waits until the worker has looked at it and said why it does not go on.
pub async fn until_closed(gate: &Gate, id: &str) {
    gate.until("the worker says that it is closed", async || {
        gate.reason_to_wait(id).await.is_some_and(|why| why.starts_with("closed: "))
    })
    .await;
}

async fn what_is_approved_begins_when_the_window_opens(engine: Engine) {
    let gate = gate(engine, 30, 120).await;
    let mut alice = gate.approver("alice").await;
    let id = gate.asked(json!({"subject": {"steps": [100]}})).await;
    let pending = gate.approval(&id).await;
    assert_eq!(pending["hold"]["code"], "closed", "{pending:#}");
    alice.approve(&id).await.unwrap();
    until_closed(&gate, &id).await;
    let held = gate.approval(&id).await;
    assert_eq!(held["status"], "approved", "{held:#}");
    let sentence = held["status_sentence"].as_str().unwrap();
    for words in ["production is outside its windows. It opens ", "(Etc/UTC)", "is held"] {
        assert!(sentence.contains(words), "no {words:?} in: {sentence}");
    }
    let opens: Timestamp = held["hold"]["ends_at"].as_str().unwrap().parse().unwrap();
    assert!(opens > gate.servers.clock.now(), "{opens}");
    let environments = gate.get("/v1/environments").await.body;
    let listed = &environments["environments"][0];
    assert_eq!(listed["hold"], held["hold"], "{listed:#}");
    assert!(listed["windows"][0].as_str().unwrap().starts_with("open every day, "), "{listed:#}");
    assert_eq!(gate.changes_of_cloud_run().await, 0);
    for path in ["/", "/environments", &format!("/approvals/{id}")] {
        let page = alice.browser.open(path, "alice").await.unwrap();
        assert!(page.contains("outside its windows. It opens"), "{path}: {page}");
    }
    gate.servers.clock.shift(SignedDuration::from_mins(31));
    assert_eq!(gate.ended(&id).await["status"], "succeeded");
    assert!(gate.proved(&id).await.is_approved());
    gate.finish().await;
}

async fn what_runs_out_before_it_opens_has_to_be_asked_for_again(engine: Engine) {
    let gate = gate(engine, 180, 240).await;
    let mut alice = gate.approver("alice").await;
    let id = gate.asked(json!({})).await;
    alice.approve(&id).await.unwrap();
    until_closed(&gate, &id).await;
    gate.servers.clock.shift(SignedDuration::from_mins(61));
    assert_eq!(gate.ended(&id).await["status"], "expired");
    assert_eq!(gate.changes_of_cloud_run().await, 0);
    gate.finish().await;
}

/// A rollout whose first step serves, and whose next one comes when the window is closed.
async fn standing(gate: &Gate, alice: &mut Approver) -> String {
    let steps = json!([{"percent": 10, "bake": "10m"}, 100]);
    let id = gate.asked(json!({"subject": {"steps": steps}})).await;
    alice.approve(&id).await.unwrap();
    gate.until("the first step serves", async || {
        gate.approval(&id).await["rollout"]["steps_done"] == 1
    })
    .await;
    gate.servers.clock.shift(SignedDuration::from_mins(11));
    until_closed(gate, &id).await;
    id
}

async fn a_rollout_stands_still_when_the_window_closes(engine: Engine) {
    let gate = gate(engine, -30, 9).await;
    let mut alice = gate.approver("alice").await;
    let id = standing(&gate, &mut alice).await;
    let held = gate.approval(&id).await;
    assert_eq!(held["status"], "executing");
    let sentence = held["status_sentence"].as_str().unwrap();
    assert!(sentence.starts_with("The rollout stands still: production is outside"), "{sentence}");
    let changes = gate.changes_of_cloud_run().await;
    // The way back is not held.
    alice.sign_in("alice").await.unwrap();
    alice.intervene(&id, &json!({"act": "restore", "reason": "Not over the night"})).await.unwrap();
    assert_eq!(gate.ended(&id).await["status"], "rolled_back");
    assert_eq!(gate.changes_of_cloud_run().await, changes + 1);
    assert!(gate.proved(&id).await.is_approved());
    gate.finish().await;
}

async fn a_calendar_closes_a_window(engine: Engine) {
    let day = |days: i64| {
        let then = Clock::system().now() + SignedDuration::from_hours(24 * days);
        TimeZone::UTC.to_datetime(then).strftime("%Y-%m-%d").to_string()
    };
    let (from, to) = (day(-1), day(1));
    let gate = Gate::start_with(engine, |config| {
        let named = "[environment.production]\ncalendars = [\"moves\"]\n";
        let closed = format!(
            "\n[calendar.moves]\ntime_zone = \"Etc/UTC\"\n\n[[calendar.moves.closed]]\n\
             from = \"{from}\"\nto = \"{to}\"\nreason = \"The data centre moves\"\n"
        );
        config.replace("[environment.production]\n", named) + &window(-60, 60) + &closed
    })
    .await;
    let mut alice = gate.approver("alice").await;
    let id = gate.asked(json!({})).await;
    alice.approve(&id).await.unwrap();
    until_closed(&gate, &id).await;
    let held = gate.approval(&id).await;
    let sentence = held["status_sentence"].as_str().unwrap();
    let words = "closed by its calendar moves, “The data centre moves”. It opens ";
    assert!(sentence.contains(words), "{sentence}");
    let listed = gate.get("/v1/environments").await.body;
    let windows = listed["environments"][0]["windows"].to_string();
    assert!(windows.contains("closed by moves, "), "{windows}");
    gate.post(&format!("/v1/approvals/{id}/cancel"), json!({})).await;
    assert_eq!(gate.changes_of_cloud_run().await, 0);
    gate.finish().await;
}
