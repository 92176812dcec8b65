//! Somebody else changes the service in the middle of a rollout.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Scene, Write};
use crate::support::cloud_run::{Shares, fault_at};
use crate::support::gate::{Engine, Gate, SERVICE, on_both_engines};

on_both_engines!(
    edits_from_outside_before_a_write,
    edits_from_outside_after_a_write,
    a_way_back_that_vanished,
    a_service_that_is_deleted,
);

fn edit(change: Value) -> Value {
    json!({"kind": "outside_edit", "modifier": "mallory@example.com", "change": change})
}

async fn edits_from_outside_before_a_write(engine: Engine) {
    let mut scene = Scene::new(engine).await;
    for (write, status, done) in [
        (Write::Revision, "failed", 0),
        (Write::Step(0), "needs_attention", 1),
        (Write::Step(1), "needs_attention", 2),
        (Write::Step(2), "needs_attention", 3),
    ] {
        let ended = scene.rollout(write, &[write.fault(edit(Value::Null))]).await;
        ended.assert(status, "mallory@example.com");
        let whole = ended.signed.whole_plan();
        scene.gate.assert_writes(&ended.signed, &whole[..done]).await;
    }
    // What restores goes on: the edit did not touch the traffic.
    let ended = scene.rollout(Write::Restore, &[Write::Restore.fault(edit(Value::Null))]).await;
    ended.assert("rolled_back", "refused to move the shares");
    scene.finish().await;
}

/// The nth look at the service, before which somebody edits it.
fn look(nth: u64, change: Value) -> Value {
    fault_at("GET", SERVICE, 2 * nth, edit(change))
}

async fn edits_from_outside_after_a_write(engine: Engine) {
    let mut scene = Scene::new(engine).await;
    let image = "europe-docker.pkg.dev/demo/app/web@sha256:";
    let template =
        json!({"template": {"containers": [{"image": format!("{image}{:064x}", 0xe1)}]}});
    // Looks: 2, 4, 6 and 8 see the revision and the three steps for the first time; 3, 5 and 7 decide
    // on the next step.
    for (nth, done) in [(1, 0), (2, 1), (3, 1), (4, 2), (5, 2), (6, 3), (7, 3), (8, 4), (9, 4)] {
        let ended = scene.rollout(Write::Revision, &[look(nth, template.clone())]).await;
        let status = if nth == 1 { "failed" } else { "needs_attention" };
        ended.assert(status, "mallory@example.com");
        let whole = ended.signed.whole_plan();
        assert_writes_alone(&scene.gate, &whole[..done]).await;
    }
    for (nth, done) in [(3, 1), (4, 2), (5, 2), (6, 3), (7, 3), (8, 4), (9, 4)] {
        let before = serving(&scene.gate).await;
        let back = json!({"traffic": [{"type": "TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION",
            "revision": before, "percent": 100}], "ingress": "INGRESS_TRAFFIC_ALL"});
        let mut rule = look(nth, back);
        rule["fault"]["updateMask"] = json!("traffic,ingress");
        let ended = scene.rollout(Write::Revision, &[rule]).await;
        if nth == 3 {
            // Nothing was changed by it: that is where the traffic was.
            ended.assert("succeeded", "");
            continue;
        }
        ended.assert("needs_attention", "mallory@example.com");
        let whole = ended.signed.whole_plan();
        assert_writes_alone(&scene.gate, &whole[..done]).await;
    }
    scene.finish().await;
}

/// The revision that gets everything now.
async fn serving(gate: &Gate) -> String {
    let traffic = &gate.service().await["trafficStatuses"];
    let first = traffic.as_array().unwrap().iter().max_by_key(|share| share["percent"].as_u64());
    first.unwrap()["revision"].as_str().unwrap().to_owned()
}

/// The writes that the gate made, whatever somebody else did.
async fn assert_writes_alone(gate: &Gate, expected: &[Shares]) {
    assert_eq!(gate.effective_writes().await, expected);
}

async fn a_way_back_that_vanished(engine: Engine) {
    let mut scene = Scene::new(engine).await;
    for (write, status, words) in [
        (Write::Revision, "failed", "it serves nothing now"),
        (Write::Step(0), "needs_attention", "does not exist"),
        (Write::Step(1), "needs_attention", "does not exist"),
        (Write::Restore, "needs_attention", "does not exist"),
    ] {
        // A good state to begin from.
        scene.rollout(Write::Revision, &[]).await.assert("succeeded", "");
        let before = serving(&scene.gate).await;
        let vanished = json!({"kind": "vanish_revision", "revision": before});
        let ended = scene.rollout(write, &[write.fault(vanished)]).await;
        ended.assert(status, words);
        if write == Write::Revision {
            // The sandbox's service names it still: put it right by hand.
            let latest = json!({"service": SERVICE, "change": {"traffic":
                [{"type": "TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST", "percent": 100}],
                "template": {"containers": [{"image": image_of_hand()}]}}});
            scene.gate.sandbox(Method::POST, "/_sandbox/outside-edit", Some(latest)).await;
        } else {
            let newest = ended.signed.revision().to_owned();
            let everything = json!({"service": SERVICE, "change": {"traffic":
                [{"type": "TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION", "revision": newest, "percent": 100}]}});
            scene.gate.sandbox(Method::POST, "/_sandbox/outside-edit", Some(everything)).await;
        }
    }
    scene.finish().await;
}

fn image_of_hand() -> String {
    format!("europe-docker.pkg.dev/demo/app/web@sha256:{:064x}", 0xa11)
}

async fn a_service_that_is_deleted(engine: Engine) {
    for (write, status, words) in [
        (Write::Revision, "failed", "not found"),
        (Write::Step(0), "needs_attention", "deleted"),
        (Write::Step(2), "needs_attention", "deleted"),
        (Write::Restore, "needs_attention", "not found"),
    ] {
        let mut scene = Scene::new(engine).await;
        let id = scene.gate.asked(json!({})).await;
        let signed = scene.gate.signed(&id).await;
        scene.gate.clear_journal().await;
        if write == Write::Restore {
            let refused = json!({"kind": "status", "code": 400, "message": "No."});
            scene.gate.fault(Write::Step(1).fault(refused)).await;
        }
        let held = scene.gate.fault(write.fault(json!({"kind": "hold"}))).await;
        scene.alice.approve(&id).await.unwrap();
        scene.gate.until_hit(held).await;
        scene.delete(SERVICE).await;
        scene.gate.no_faults().await;
        let ended = scene.ended(&id, signed).await;
        ended.assert(status, words);
        scene.finish().await;
    }
}
