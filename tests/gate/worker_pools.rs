//! Worker pools: signed and rolled out as services are, by shares of their instances.

mod beside;
mod faults;
mod refusals;

use countersign::cli::demo::approver::Approver;
use countersign::domain::approval::State;
use reqwest::Method;
use serde_json::{Value, json};

use crate::freezing::{freeze, lift, production, until_held};
use crate::support::cloud_run::{Shares, Signed};
use crate::support::gate::{Engine, Gate, SERVICE, on_both_engines};
use crate::support::job::Job;

on_both_engines!(
    a_rollout_moves_the_instances_step_by_step,
    a_worker_pool_that_does_not_exist_is_created,
    a_freeze_stops_the_next_step,
    one_signature_leads_back_within_the_window,
);

const PARENT: &str = "/v2/projects/demo/locations/europe-west1/workerPools";
/// A worker pool that runs.
pub const POOL: &str = "projects/demo/locations/europe-west1/workerPools/mail";
/// One that does not exist.
pub const NEW_POOL: &str = "projects/demo/locations/europe-west1/workerPools/thumbnails";

/// The demo's configuration with worker pools in production.
pub fn with_pools(config: String) -> String {
    let services = format!("services = [\"{SERVICE}\", ");
    assert!(config.contains(&services));
    config.replacen(&services, &format!("{services}\"{POOL}\", \"{NEW_POOL}\", "), 1)
}

/// Makes the worker pool that runs, as somebody with rights at Cloud Run would, before anything is asked for.
pub async fn seed(gate: &Gate) {
    let image = format!("europe-docker.pkg.dev/demo/app/web@sha256:{:064x}", 0xa11);
    let pool = json!({
        "template": {"containers": [{"image": image, "env": [{"name": "QUEUE", "value": "mail"}]}]},
        "scaling": {"manualInstanceCount": 3},
    });
    let path = format!("{PARENT}?workerPoolId=mail");
    let made = gate.sandbox(Method::POST, &path, Some(pool)).await;
    assert!(made["error"].is_null(), "{made:#}");
}

/// A gate that covers worker pools, and an approver.
pub struct Scene {
    pub gate: Gate,
    pub alice: Approver,
}

impl Scene {
    pub async fn new(engine: Engine) -> Self {
        Self::with(engine, "").await
    }

    /// With more configuration at the end.
    pub async fn with(engine: Engine, more: &str) -> Self {
        let gate = Gate::start_with(engine, |text| with_pools(text) + more).await;
        gate.ready_delay(0).await;
        seed(&gate).await;
        let alice = gate.approver("alice").await;
        Self { gate, alice }
    }

    pub async fn asked(&self, steps: Value) -> (String, Signed) {
        let id = self.gate.asked(json!({"subject": {"service": POOL, "steps": steps}})).await;
        let signed = self.gate.signed(&id).await;
        self.gate.clear_journal().await;
        (id, signed)
    }

    pub async fn approved(&mut self, steps: Value) -> (String, Signed) {
        let (id, signed) = self.asked(steps).await;
        assert_eq!(self.alice.approve(&id).await.unwrap()["status"], "approved");
        (id, signed)
    }

    /// Waits for the end, and asserts which it is and that its sentence says why.
    pub async fn ended(&self, id: &str, status: &str, words: &str) -> Value {
        let ended = self.gate.ended(id).await;
        let sentence = ended["status_sentence"].as_str().unwrap();
        assert_eq!(ended["status"], status, "{sentence}");
        assert!(sentence.contains(words), "no \"{words}\" in: {sentence}");
        self.gate.proved(id).await;
        ended
    }

    pub async fn until_served(&self, id: &str, steps: u64) {
        let serves = async || self.gate.approval(id).await["rollout"]["steps_done"] == steps;
        self.gate.until("the step serves", serves).await;
    }

    /// The worker pool as Cloud Run shows it.
    pub async fn pool(&self) -> Value {
        self.gate.sandbox(Method::GET, &format!("/v2/{POOL}"), None).await
    }
}

/// The instance splits that a worker pool is asked for.
pub fn splits(pool: &Value) -> Shares {
    let splits = pool["instanceSplits"].as_array().unwrap().iter();
    let split = |one: &Value| {
        // Google's client writes enums by number.
        let is_of_revision =
            one["type"] == "INSTANCE_SPLIT_ALLOCATION_TYPE_REVISION" || one["type"] == 2;
        assert!(is_of_revision, "{one}");
        (one["revision"].as_str().unwrap().to_owned(), one["percent"].as_u64().unwrap())
    };
    splits.map(split).collect()
}

async fn a_rollout_moves_the_instances_step_by_step(engine: Engine) {
    let mut scene = Scene::new(engine).await;
    let template = json!({"containers": [{"env": [{"name": "QUEUE", "value": "letters"}]}]});
    let subject = json!({"service": POOL, "steps": [25, 100], "template": template});
    let id = scene.gate.asked(json!({ "subject": subject })).await;
    let signed = scene.gate.signed(&id).await;
    let page = scene.alice.browser.open(&format!("/approvals/{id}"), "alice").await.unwrap();
    for shown in
        ["Deploy a new image of mail to production", "New revision, without instances", "letters"]
    {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    assert!(
        page.contains(&format!("<dt>Worker pool</dt><dd><span class=\"value\">{POOL}<")),
        "{page}"
    );
    scene.gate.clear_journal().await;
    scene.alice.approve(&id).await.unwrap();
    let ended =
        scene.ended(&id, "succeeded", "with 100 % of the instances, exactly as signed").await;
    assert_eq!(ended["subject"]["service"], POOL);
    // There is no address, and none is handed on.
    assert_eq!(ended["rollout"]["uri"], Value::Null);

    // At first nothing of it runs, then a quarter, then everything; and each write is on what was read before.
    let whole = signed.whole_plan();
    assert_eq!(whole.len(), 3);
    scene.gate.assert_writes(&signed, &whole).await;
    let patches = scene.gate.calls("PATCH", POOL).await;
    for (patch, shares) in patches.iter().zip(&whole) {
        let (sent, path) = (&patch["request"], patch["path"].as_str().unwrap());
        assert_eq!(splits(sent), *shares);
        assert!(sent.get("traffic").is_none() && sent.get("scaling").is_none(), "{sent:#}");
        assert!(!path.contains("scaling") && path.contains("instanceSplits"), "{path}");
        assert_eq!(sent["annotations"]["countersign.dev/approval"], id.as_str());
    }
    assert_eq!(patches[1]["request"]["annotations"]["countersign.dev/step"], "instances 25%");
    assert!(patches[1]["request"].get("template").is_none());
    let pool = scene.pool().await;
    assert_eq!(splits(&pool), *signed.whole_plan().last().unwrap());
    assert_eq!(pool["instanceSplitStatuses"], pool["instanceSplits"]);
    assert_eq!(pool["scaling"]["manualInstanceCount"], 3, "how many there are is not the gate's");
    assert_eq!(pool["template"]["revision"], signed.revision());

    let proved = scene.gate.proved(&id).await;
    let State::Succeeded { serving: Some(serving), .. } = proved.state() else {
        panic!("{:?}", proved.state())
    };
    assert_eq!((serving.revision.as_str(), serving.uri.as_str()), (signed.revision(), ""));
    let told = verified(&scene.gate, &id).await;
    assert!(told.contains(POOL) && told.contains("move the shares to step 2"), "{told}");
    let page = scene.alice.browser.open(&format!("/approvals/{id}"), "alice").await.unwrap();
    assert!(page.contains("<dt>Instances</dt>") && !page.contains("<dt>Address</dt>"), "{page}");
    let page = scene.alice.browser.open("/environments", "alice").await.unwrap();
    assert!(page.contains("worker pool, demo, europe-west1"), "{page}");
    scene.gate.finish().await;
}

/// What `countersign verify` says of evidence that holds.
async fn verified(gate: &Gate, id: &str) -> String {
    let token = gate.token(json!({})).await;
    let request = gate.http.get(gate.url(&format!("/v1/approvals/{id}/evidence")));
    let file = request.bearer_auth(token).send().await.unwrap().bytes().await.unwrap();
    let path = gate.servers.files.folder.join(format!("{id}.json"));
    std::fs::write(&path, file).unwrap();
    let trust = gate.servers.files.trust.to_str().unwrap();
    let ran = Job::bare(&["verify", "--trust", trust, path.to_str().unwrap()]).run().await;
    assert_eq!(ran.code, 0, "{ran:?}");
    ran.output
}

async fn a_worker_pool_that_does_not_exist_is_created(engine: Engine) {
    let mut scene = Scene::new(engine).await;
    let id = scene.gate.asked(json!({"subject": {"service": NEW_POOL}})).await;
    let page = scene.alice.browser.open(&format!("/approvals/{id}"), "alice").await.unwrap();
    for shown in ["Create thumbnails in production", "The worker pool does not exist yet"] {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    scene.gate.clear_journal().await;
    scene.alice.approve(&id).await.unwrap();
    scene.ended(&id, "succeeded", "100 % of the instances").await;
    let signed = scene.gate.signed(&id).await;
    scene.gate.assert_writes(&signed, &signed.whole_plan()).await;
    let posts = scene.gate.calls("POST", "/workerPools?").await;
    assert_eq!(posts.len(), 1);
    assert!(posts[0]["path"].as_str().unwrap().contains("workerPoolId=thumbnails"), "{posts:#?}");
    let template = &posts[0]["request"]["template"];
    assert_eq!(template["revision"], signed.revision());
    scene.gate.finish().await;
}

async fn a_freeze_stops_the_next_step(engine: Engine) {
    let mut scene = Scene::new(engine).await;
    let (id, signed) = scene.approved(json!([{"percent": 25, "pause": true}, 100])).await;
    scene.until_served(&id, 1).await;
    let frozen = freeze(&mut scene.alice, &production()).await;
    scene.alice.intervene(&id, &json!({"act": "go_on"})).await.unwrap();
    until_held(&scene.gate, &id).await;
    scene.gate.assert_writes(&signed, &signed.whole_plan()[..2]).await;
    assert_eq!(splits(&scene.pool().await), signed.step(0));
    lift(&mut scene.alice, &frozen, &production()).await;
    scene.ended(&id, "succeeded", "100 % of the instances").await;
    scene.gate.assert_writes(&signed, &signed.whole_plan()).await;
    scene.gate.finish().await;
}

async fn one_signature_leads_back_within_the_window(engine: Engine) {
    let window = "[environment.production.plan]\nrollback_window = \"10m\"\n";
    let mut scene = Scene::with(engine, window).await;
    let (id, signed) = scene.approved(json!([100])).await;
    scene.ended(&id, "succeeded", "instances").await;
    let wish = json!({"act": "restore", "reason": "Letters are sent twice"});
    scene.alice.intervene(&id, &wish).await.unwrap();
    let back = async || scene.gate.approval(&id).await["status"] == "rolled_back";
    scene.gate.until("it is rolled back", back).await;
    assert_eq!(splits(&scene.pool().await), signed.rollback());
    scene.gate.proved(&id).await;
    scene.gate.finish().await;
}
