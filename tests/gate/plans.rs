//! The signed plan: what may be asked for, and that exactly it happens, each step for as long as was
//! signed.

use jiff::SignedDuration;
use reqwest::Method;
use serde_json::{Value, json};

use countersign::cli::demo::approver::Approver;

use crate::support::gate::{Engine, Gate, SERVICE, on_both_engines};

on_both_engines!(a_plan_is_carried_out_as_signed, a_step_that_falls_ill_is_undone, a_plan_may_hold);

/// Lets steps have tags.
fn tags(text: String) -> String {
    text + "[environment.production.plan]\ntags = true\n"
}

struct Scene {
    gate: Gate,
    alice: Approver,
}

impl Scene {
    async fn new(engine: Engine) -> Self {
        let gate = Gate::start_with(engine, tags).await;
        gate.ready_delay(0).await;
        let alice = gate.approver("alice").await;
        Self { gate, alice }
    }

    /// Asks for a rollout with this plan, approves it and gives its id.
    async fn approved(&mut self, subject: Value) -> String {
        let id = self.gate.asked(json!({ "subject": subject })).await;
        self.gate.clear_journal().await;
        assert_eq!(self.alice.approve(&id).await.unwrap()["status"], "approved");
        id
    }

    /// Waits until this many steps serve.
    async fn until_served(&self, id: &str, steps: u64) {
        self.gate
            .until("the step serves", async || {
                self.gate.approval(id).await["rollout"]["steps_done"] == steps
            })
            .await;
    }

    fn later(&self, minutes: i64) {
        self.gate.servers.clock.shift(SignedDuration::from_mins(minutes));
    }

    /// The targets with a tag.
    async fn tagged(&self) -> Vec<Value> {
        let service = self.gate.service().await;
        let targets = service["traffic"].as_array().unwrap().iter();
        targets.filter(|target| target["tag"].is_string()).cloned().collect()
    }

    /// Shortly after now nothing has changed.
    async fn stays(&self, id: &str, steps: u64) {
        let writes = self.gate.effective_writes().await;
        tokio::time::sleep(std::time::Duration::from_millis(700)).await;
        assert_eq!(self.gate.effective_writes().await, writes);
        let approval = self.gate.approval(id).await;
        assert_eq!(approval["rollout"]["steps_done"], steps, "{approval:#}");
        assert_eq!(approval["status"], "executing");
    }
}

async fn a_plan_is_carried_out_as_signed(engine: Engine) {
    let mut scene = Scene::new(engine).await;
    let steps = json!([
        {"percent": 0, "tag": "try", "bake": "10m"},
        {"percent": 50, "bake": "5m"},
        {"percent": 100, "bake": "2m"},
    ]);
    let id = scene.approved(json!({ "steps": steps })).await;
    let signed = scene.gate.signed(&id).await;
    scene.until_served(&id, 1).await;
    let approval = scene.gate.approval(&id).await;
    let sentence = approval["status_sentence"].as_str().unwrap();
    assert!(sentence.contains("serves 0 % of the traffic (step 1 of 3)"), "{sentence}");
    assert!(sentence.contains("9 minutes from now"), "{sentence}");
    assert!(approval["rollout"]["watched_until"].is_string());
    // Without traffic, with an address of its own.
    let [target] = &scene.tagged().await[..] else { panic!() };
    assert_eq!((&target["tag"], &target["revision"]), (&json!("try"), &json!(signed.revision())));
    assert!(target["percent"].is_null(), "{target}");
    // What is recorded is all that is needed to go on.
    let Scene { gate, alice } = scene;
    let gate = gate.restart_with(tags).await;
    let mut scene = Scene { gate, alice };
    scene.gate.ready_delay(0).await;
    scene.stays(&id, 1).await;
    scene.later(9);
    scene.stays(&id, 1).await;
    scene.later(1);
    scene.until_served(&id, 2).await;
    // The address is gone with its step.
    assert_eq!(scene.tagged().await, Vec::<Value>::new());
    scene.later(4);
    scene.stays(&id, 2).await;
    scene.later(1);
    scene.until_served(&id, 3).await;
    scene.stays(&id, 3).await;
    scene.later(2);
    assert_eq!(scene.gate.ended(&id).await["status"], "succeeded");
    scene.gate.assert_effects(&signed, &signed.whole_plan()[2..]).await;
    scene.gate.proved(&id).await;
    scene.alice.sign_in("alice").await.unwrap();
    // A plan that uses nothing of it is in the same bytes as ever.
    let plain = scene.approved(json!({ "steps": [100] })).await;
    let evidence = scene.gate.get(&format!("/v1/approvals/{plain}/evidence")).await.body;
    let text = evidence["deployment"].as_str().unwrap();
    for member in ["bake", "tag", "on_failure"] {
        assert!(!text.contains(member), "{member}: {text}");
    }
    assert_eq!(scene.gate.ended(&plain).await["status"], "succeeded");
    scene.gate.finish().await;
}

/// The new revision falls ill while it is watched.
async fn falls_ill(scene: &Scene, id: &str) -> Value {
    let signed = scene.gate.signed(id).await;
    let illness =
        json!({"service": SERVICE, "revision": signed.revision(), "message": "It fell ill."});
    scene.gate.sandbox(Method::POST, "/_sandbox/revision-health", Some(illness)).await;
    scene.gate.ended(id).await
}

async fn a_step_that_falls_ill_is_undone(engine: Engine) {
    let mut scene = Scene::new(engine).await;
    for steps in [
        json!([{"percent": 0, "tag": "try", "bake": "10m"}, 100]),
        json!([{"percent": 10, "tag": "try", "bake": "10m"}, 100]),
    ] {
        let id = scene.approved(json!({ "steps": steps })).await;
        let signed = scene.gate.signed(&id).await;
        scene.until_served(&id, 1).await;
        let ended = falls_ill(&scene, &id).await;
        assert_eq!(ended["status"], "rolled_back", "{ended:#}");
        assert!(ended["status_sentence"].as_str().unwrap().contains("It fell ill"));
        assert_eq!(scene.tagged().await, Vec::<Value>::new());
        let writes = [signed.rollback(), signed.step(0), signed.rollback()];
        scene.gate.assert_writes(&signed, &writes).await;
        scene.gate.proved(&id).await;
    }
    scene.gate.finish().await;
}

async fn a_plan_may_hold(engine: Engine) {
    let mut scene = Scene::new(engine).await;
    let steps = json!([{"percent": 10, "bake": "10m"}, 100]);
    let id = scene.approved(json!({"steps": steps, "on_failure": "hold"})).await;
    let signed = scene.gate.signed(&id).await;
    scene.until_served(&id, 1).await;
    let ended = falls_ill(&scene, &id).await;
    assert_eq!(ended["status"], "needs_attention", "{ended:#}");
    assert!(ended["status_sentence"].as_str().unwrap().contains("leave the shares where they are"));
    scene.gate.assert_writes(&signed, &[signed.rollback(), signed.step(0)]).await;
    scene.gate.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn plans_that_nobody_can_sign() {
    let gate = Gate::start(Engine::Sqlite).await;
    let refused = async |gate: &Gate, subject: Value, code: &str, words: &str| {
        let answer = gate.ask(json!({ "subject": subject })).await;
        answer.assert_problem(422, code);
        let detail = answer.body["detail"].as_str().unwrap();
        assert!(detail.contains(words), "no \"{words}\" in: {detail}");
    };
    for (steps, words) in [
        (json!([{"percent": 0, "bake": "1m"}, 100]), "needs a tag"),
        (json!([{"percent": 10, "tag": "try"}, 100]), "allows none"),
        (json!([50, {"percent": 100, "tag": "try"}]), "last step has a tag"),
        (json!([{"percent": 10, "tag": "Try"}, 100]), "lower-case"),
        (json!([{"percent": 10, "bake": "25h"}, 100]), "allows 1 day"),
        (json!([{"percent": 10, "bake": "-1m"}, 100]), "no time"),
        (json!([{"percent": 10, "bake": "soon"}, 100]), "no time"),
        (json!([{"percent": 10, "bake": "1ms"}, 100]), "no time"),
        (json!([{"percent": 50}]), "rise to 100"),
    ] {
        refused(&gate, json!({ "steps": steps }), "invalid_steps", words).await;
    }
    for subject in [
        json!({"steps": [{"percent": 10, "beak": "1m"}, 100]}),
        json!({"steps": [{"bake": "1m"}, 100]}),
        json!({"steps": [[10, "1m"], 100]}),
        json!({"on_failure": "shrug"}),
    ] {
        let answer = gate.ask(json!({ "subject": subject })).await;
        assert!(answer.status.is_client_error(), "{answer:?}");
    }
    let limits = "[environment.production.plan]\nshortest_bake = \"5m\"\nlongest_bake = \"10m\"\ntags = true\n";
    let steps = "steps = [{ percent = 10, bake = \"5m\" }, 100]";
    gate.finish().await;
    let edit = |text: String| text.replace("steps = [10, 50, 100]", steps) + limits;
    let gate = Gate::start_with(Engine::Sqlite, edit).await;
    for (steps, words) in [
        (json!([10, 100]), "at least 5 minutes"),
        (json!([{"percent": 10, "bake": "11m"}, 100]), "allows 10 minutes"),
        (json!([{"percent": 10, "bake": "5m", "tag": "a".repeat(45)}, 100]), "too long"),
    ] {
        refused(&gate, json!({ "steps": steps }), "invalid_steps", words).await;
    }
    // A tag that is another revision's.
    let revision = gate.service().await["latestReadyRevision"].as_str().unwrap().to_owned();
    let revision = revision.rsplit('/').next().unwrap();
    let target = json!({"type": "TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION", "revision": revision});
    let (mut all, mut tagged) = (target.clone(), target);
    (all["percent"], tagged["tag"]) = (json!(100), json!("try"));
    let edit = json!({"service": SERVICE, "change": {"traffic": [all, tagged]}});
    gate.sandbox(Method::POST, "/_sandbox/outside-edit", Some(edit)).await;
    gate.until("the edit is in effect", async || gate.service().await["reconciling"] != true).await;
    let steps = json!([{"percent": 10, "bake": "5m", "tag": "try"}, 100]);
    refused(&gate, json!({ "steps": steps }), "invalid_steps", "another revision").await;
    let fixed = format!("{limits}fixed = true\non_failure = \"hold\"\n");
    let own = "steps = [{ percent = 10, bake = \"5m\" }, 100]";
    gate.finish().await;
    let edit = |text: String| text.replace("steps = [10, 50, 100]", own) + &fixed;
    let gate = Gate::start_with(Engine::Sqlite, edit).await;
    let steps = json!([{"percent": 10, "bake": "10m"}, 100]);
    refused(&gate, json!({ "steps": steps }), "plan_fixed", "sets the plan").await;
    refused(&gate, json!({"on_failure": "restore"}), "plan_fixed", "sets the plan").await;
    let id = gate.asked(json!({"subject": {"steps": null}})).await;
    let subject = gate.approval(&id).await["subject"].clone();
    assert_eq!(subject["on_failure"], "hold");
    assert_eq!(
        subject["plan"][0],
        json!({"percent": 10, "bake_seconds": 300, "checks": [], "tag": null, "pause": false})
    );
    gate.finish().await;
}
