//! Approvers intervene: one signature stops a rollout, lets it go on, or says what becomes of one that
//! stands still or succeeded. Nothing of it goes by without that signature.

use countersign::cli::demo::approver::Approver;
use countersign::domain::intervention::INTERVENED;
use countersign::sandbox::authenticator::Fault;
use jiff::SignedDuration;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::gate::{Engine, Gate, SERVICE, on_both_engines};

on_both_engines!(
    a_rollout_is_stopped_and_restored,
    a_pause_waits_for_a_signature_of_its_own,
    who_looks_again_may_go_on,
    what_nobody_signed_is_restored_or_stays,
    the_way_back_after_a_success,
    after_a_restore_the_service_holds,
);

struct Scene {
    gate: Gate,
    alice: Approver,
}

impl Scene {
    async fn new(engine: Engine) -> Self {
        let window = "[environment.production.plan]\nrollback_window = \"10m\"\n";
        let gate = Gate::start_with(engine, |text| text + window).await;
        gate.ready_delay(0).await;
        let alice = gate.approver("alice").await;
        Self { gate, alice }
    }

    async fn approved(&mut self, steps: Value) -> String {
        let id = self.gate.asked(json!({"subject": {"steps": steps}})).await;
        self.gate.clear_journal().await;
        assert_eq!(self.alice.approve(&id).await.unwrap()["status"], "approved");
        id
    }

    async fn until_served(&self, id: &str, steps: u64) {
        self.gate
            .until("the step serves", async || {
                self.gate.approval(id).await["rollout"]["steps_done"] == steps
            })
            .await;
    }

    /// A rollout that was approved and whose first step serves and is watched for an hour.
    async fn watched(&mut self) -> String {
        let id = self.approved(json!([{"percent": 10, "bake": "1h"}, 100])).await;
        self.until_served(&id, 1).await;
        id
    }

    /// The same after somebody else gave everything to the revision from before.
    async fn disturbed(&mut self) -> String {
        let id = self.watched().await;
        let revision = self.gate.signed(&id).await.rollback().first().unwrap().0.clone();
        self.set_traffic(&[(&revision, 100)]).await;
        assert_eq!(self.gate.ended(&id).await["status"], "needs_attention");
        id
    }

    /// Somebody who is not the gate moves the traffic.
    async fn set_traffic(&self, shares: &[(&str, u64)]) {
        let target = |(revision, percent): &(&str, u64)| json!({"type": "TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION", "revision": revision, "percent": percent});
        let traffic: Vec<Value> = shares.iter().map(target).collect();
        let edit = json!({"service": SERVICE, "change": {"traffic": traffic}});
        self.gate.sandbox(Method::POST, "/_sandbox/outside-edit", Some(edit)).await;
    }

    async fn ended(&self, id: &str, status: &str, words: &str) {
        let ended = self.gate.ended(id).await;
        let sentence = ended["status_sentence"].as_str().unwrap();
        assert_eq!(ended["status"], status, "{sentence}");
        assert!(sentence.contains(words), "no \"{words}\" in: {sentence}");
        self.gate.proved(id).await;
    }
}

/// Asserts that an act is refused with this code.
async fn refused(approver: &mut Approver, id: &str, act: &str, code: &str) {
    let refusal = approver.intervene(id, &json!({ "act": act })).await.unwrap_err();
    assert!(refusal.contains(code), "no {code} in: {refusal}");
}

async fn a_rollout_is_stopped_and_restored(engine: Engine) {
    let mut scene = Scene::new(engine).await;
    let id = scene.watched().await;
    let signed = scene.gate.signed(&id).await;
    let mut dan = scene.gate.approver("dan").await;
    // Who may not sign does not even see it.
    refused(&mut dan, &id, "restore", "not_found").await;
    for act in ["go_on", "observe_again", "accept"] {
        refused(&mut scene.alice, &id, act, "intervention_not_possible").await;
    }
    // Somebody else than the one who approved, alone.
    let mut bob = scene.gate.approver("bob").await;
    let wish = json!({"act": "restore", "reason": "It is too slow"});
    let statement = bob.intervention(&id, &wish).await.unwrap();
    for fault in [Fault::WrongKey, Fault::FlipFlags(4), Fault::RelyingParty("evil.example")] {
        bob.sign_intervention(&id, &statement, &[fault]).await.unwrap_err();
    }
    // A statement of one kind is none of the other.
    bob.sign(&id, &statement, &[]).await.unwrap_err();
    assert_eq!(scene.gate.approval(&id).await["status"], "executing");
    bob.sign_intervention(&id, &statement, &[]).await.unwrap();
    bob.sign_intervention(&id, &statement, &[]).await.unwrap_err();
    scene.ended(&id, "rolled_back", "Bob Brandt stopped it, because “It is too slow”").await;
    let writes = [signed.rollback(), signed.step(0), signed.rollback()];
    scene.gate.assert_writes(&signed, &writes).await;
    let proved = scene.gate.proved(&id).await;
    let record = proved.records().iter().find(|record| record.kind == INTERVENED).unwrap();
    let sentence =
        "Bob Brandt signed that what served before serves again, because “It is too slow”.";
    assert_eq!(record.sentence(), sentence);
    assert!(proved.checks().iter().any(|check| check.starts_with("1 intervention")));
    refused(&mut bob, &id, "restore", "intervention_not_possible").await;
    scene.gate.finish().await;
}

async fn a_pause_waits_for_a_signature_of_its_own(engine: Engine) {
    let mut scene = Scene::new(engine).await;
    let steps =
        json!([{"percent": 10, "pause": true}, {"percent": 50, "pause": true, "bake": "1m"}, 100]);
    let id = scene.approved(steps).await;
    let signed = scene.gate.signed(&id).await;
    scene.until_served(&id, 1).await;
    let sentence = scene.gate.approval(&id).await["status_sentence"].to_string();
    assert!(sentence.contains("pauses there, as was signed"), "{sentence}");
    scene.gate.servers.clock.shift(SignedDuration::from_mins(3));
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    assert_eq!(scene.gate.effective_writes().await.len(), 2);
    // What is signed at one pause is good for no other.
    let go_on = json!({"act": "go_on"});
    let early = scene.alice.intervention(&id, &go_on).await.unwrap();
    scene.alice.intervene(&id, &go_on).await.unwrap();
    scene.until_served(&id, 2).await;
    refused(&mut scene.alice, &id, "go_on", "intervention_not_possible").await;
    scene.gate.servers.clock.shift(SignedDuration::from_mins(1));
    let stale = scene.alice.sign_intervention(&id, &early, &[]).await.unwrap_err();
    assert!(stale.contains("stale_page"), "{stale}");
    scene.alice.intervene(&id, &go_on).await.unwrap();
    scene.ended(&id, "succeeded", "").await;
    scene.gate.assert_writes(&signed, &signed.whole_plan()).await;
    scene.gate.finish().await;
}

async fn who_looks_again_may_go_on(engine: Engine) {
    let mut scene = Scene::new(engine).await;
    let id = scene.disturbed().await;
    let again = json!({"act": "observe_again"});
    scene.alice.intervene(&id, &again).await.unwrap();
    scene.ended(&id, "needs_attention", "changed it last").await;
    // Somebody puts it back as the last step left it.
    let step = scene.gate.signed(&id).await.step(0);
    let shares: Vec<(&str, u64)> =
        step.iter().map(|(revision, percent)| (revision.as_str(), *percent)).collect();
    scene.set_traffic(&shares).await;
    scene.alice.intervene(&id, &again).await.unwrap();
    scene.gate.servers.clock.shift(SignedDuration::from_mins(61));
    scene.ended(&id, "succeeded", "").await;
    scene.gate.finish().await;
}

async fn what_nobody_signed_is_restored_or_stays(engine: Engine) {
    let mut scene = Scene::new(engine).await;
    let id = scene.disturbed().await;
    let signed = scene.gate.signed(&id).await;
    scene.set_traffic(&[(signed.revision(), 100)]).await;
    refused(&mut scene.alice, &id, "go_on", "intervention_not_possible").await;
    scene.alice.intervene(&id, &json!({"act": "restore"})).await.unwrap();
    scene.ended(&id, "rolled_back", "Alice Adler signed that what served before").await;
    let serving = scene.gate.service().await["trafficStatuses"].clone();
    assert_eq!(serving.as_array().unwrap().len(), 1);
    assert_eq!(json!(serving[0]["revision"]), json!(signed.rollback().first().unwrap().0));
    let id = scene.disturbed().await;
    let writes = scene.gate.effective_writes().await;
    let accept = json!({"act": "accept", "reason": "It serves well"});
    scene.alice.intervene(&id, &accept).await.unwrap();
    scene.ended(&id, "failed", "Alice Adler signed that it stays as it is").await;
    assert_eq!(scene.gate.effective_writes().await, writes);
    refused(&mut scene.alice, &id, "restore", "intervention_not_possible").await;
    scene.gate.finish().await;
}

async fn the_way_back_after_a_success(engine: Engine) {
    let mut scene = Scene::new(engine).await;
    let id = scene.approved(json!([100])).await;
    let signed = scene.gate.signed(&id).await;
    scene.ended(&id, "succeeded", "").await;
    scene.gate.servers.clock.shift(SignedDuration::from_mins(9));
    scene.alice.intervene(&id, &json!({"act": "restore"})).await.unwrap();
    scene.ended(&id, "rolled_back", "signed the way back after it had succeeded").await;
    let mut writes = signed.whole_plan();
    writes.push(signed.rollback());
    scene.gate.assert_writes(&signed, &writes).await;
    // Not when its time is over, and not over what came after it.
    scene.alice.sign_in("alice").await.unwrap();
    let late = scene.approved(json!([100])).await;
    scene.ended(&late, "succeeded", "").await;
    let newer = scene.approved(json!([100])).await;
    scene.ended(&newer, "succeeded", "").await;
    scene.alice.intervene(&late, &json!({"act": "restore"})).await.unwrap();
    scene.ended(&late, "needs_attention", "").await;
    let writes = scene.gate.effective_writes().await.len();
    assert_eq!(writes, 2, "the newer revision and its step alone");
    scene.gate.servers.clock.shift(SignedDuration::from_mins(11));
    scene.alice.sign_in("alice").await.unwrap();
    refused(&mut scene.alice, &newer, "restore", "rollback_window_over").await;
    scene.gate.finish().await;
}

async fn after_a_restore_the_service_holds(engine: Engine) {
    let mut scene = Scene::new(engine).await;
    let id = scene.watched().await;
    // Two others were signed meanwhile and wait for their turn.
    let waiting = [scene.gate.asked(json!({})).await, scene.gate.asked(json!({})).await];
    for other in &waiting {
        scene.alice.approve(other).await.unwrap();
    }
    scene.alice.intervene(&id, &json!({"act": "restore"})).await.unwrap();
    scene.ended(&id, "rolled_back", "Alice Adler stopped it").await;
    for other in &waiting {
        scene.ended(other, "failed", "Nothing was changed").await;
    }
    assert_eq!(scene.gate.effective_writes().await.len(), 3);
    scene.gate.finish().await;
}
