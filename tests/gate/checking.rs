//! Checks between steps, over real HTTP: what passes goes on, and nothing else does.

use std::time::Duration;

use countersign::cli::demo::approver::Approver;
use jiff::SignedDuration;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::gate::{Engine, Gate, on_both_engines};

on_both_engines!(
    a_plan_goes_on_when_all_pass,
    nothing_but_a_pass_goes_on,
    what_cannot_be_read_is_asked_again,
    who_looks_again_has_checks_asked_again,
);

/// Where nothing listens: the port of TCP's own multiplexer, which nobody has.
const NOWHERE: &str = "http://localhost:1/";

fn configured(text: String) -> String {
    let sandbox = text.lines().find_map(|line| line.strip_prefix("endpoint = "));
    let sandbox = sandbox.unwrap().trim_matches('"').trim_end_matches('/').to_owned();
    text + &format!(
        r#"
[metrics.main]
kind = "prometheus"
url = "{sandbox}/prometheus"
[metrics.google]
kind = "cloud_monitoring"
project = "demo"
endpoint = "{sandbox}/monitoring"
[metrics.gone]
kind = "prometheus"
url = "{NOWHERE}"
[environment.production.plan]
tags = true
metrics = ["main", "google", "gone"]
"#
    )
}

struct Scene {
    gate: Gate,
    alice: Approver,
}

impl Scene {
    async fn new(engine: Engine) -> Self {
        let gate = Gate::start_with(engine, configured).await;
        gate.ready_delay(0).await;
        let alice = gate.approver("alice").await;
        Self { gate, alice }
    }

    async fn approved(&mut self, subject: Value) -> String {
        let id = self.gate.asked(json!({ "subject": subject })).await;
        self.gate.clear_journal().await;
        assert_eq!(self.alice.approve(&id).await.unwrap()["status"], "approved");
        id
    }

    /// What the tag `try` answers.
    async fn answers(&self, answer: Value) {
        let answers = Some(json!({ "try": answer }));
        self.gate.sandbox(Method::PUT, "/_sandbox/tag-answers", answers).await;
    }

    /// What queries give.
    async fn measures(&self, series: Value) {
        self.gate.sandbox(Method::PUT, "/_sandbox/metrics", Some(series)).await;
    }

    async fn stays(&self, id: &str, steps: u64) {
        tokio::time::sleep(Duration::from_millis(700)).await;
        let approval = self.gate.approval(id).await;
        assert_eq!(approval["rollout"]["steps_done"], steps, "{approval:#}");
        assert_eq!(approval["status"], "executing");
    }

    async fn until_asked(&self, part: &str, times: usize) {
        let asked = async || self.gate.calls("GET", part).await.len() >= times;
        self.gate.until("it is asked", asked).await;
    }
}

fn http() -> Value {
    json!({"kind": "http", "path": "/health", "attempts": 1, "timeout": "1s", "patience": "0s"})
}

fn prometheus() -> Value {
    json!({
        "kind": "prometheus", "name": "error rate", "source": "main",
        "query": "errors{revision=\"{revision}\"}", "comparator": "below", "threshold": 1, "unit": "%",
        "patience": "0s",
    })
}

fn monitoring() -> Value {
    json!({
        "kind": "cloud_monitoring", "name": "latency", "source": "google",
        "filter": "metric.type=\"latency\" AND resource.labels.service_name=\"{service}\"",
        "aligner": "ALIGN_MEAN", "reducer": "REDUCE_MAX", "period": "1m",
        "comparator": "at_most", "threshold": 0.5, "unit": "s", "samples": 2, "patience": "0s",
    })
}

fn with(mut value: Value, member: &str, other: Value) -> Value {
    value[member] = other;
    value
}

async fn a_plan_goes_on_when_all_pass(engine: Engine) {
    let mut scene = Scene::new(engine).await;
    scene
        .measures(json!([
            {"query": "errors", "values": ["0.3", "0.1"]},
            {"query": "latency", "values": ["0.25", "0.125"]},
        ]))
        .await;
    scene.answers(json!({"body": "all is ok"})).await;
    let steps = json!([
        {"percent": 0, "tag": "try", "checks": [with(http(), "contains", json!("ok"))]},
        {"percent": 50, "checks": [prometheus(), monitoring()]},
        {"percent": 100, "checks": [prometheus()]},
    ]);
    let id = scene.approved(json!({ "steps": steps })).await;
    let ended = scene.gate.ended(&id).await;
    assert_eq!(ended["status"], "succeeded", "{ended:#}");
    let found: Vec<(u64, &str)> = ended["rollout"]["checks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            assert_eq!(one["outcome"], "passed");
            (one["step"].as_u64().unwrap(), one["sentence"].as_str().unwrap())
        })
        .collect();
    assert_eq!(
        found,
        [
            (1, "HTTP 200 from /health with “ok”: passed"),
            (2, "error rate 0.3 % is below 1 %: passed"),
            (2, "latency 0.25 s is at most 0.5 s: passed"),
            (3, "error rate 0.3 % is below 1 %: passed"),
        ]
    );
    assert_eq!(ended["rollout"]["observed_digest"], ended["rollout"]["digest"]);
    let signed = scene.gate.signed(&id).await;
    scene.gate.assert_effects(&signed, &signed.whole_plan()).await;
    // Each was asked once, of whom and what was signed.
    let probes = scene.gate.calls("GET", "/tags/try---web-").await;
    assert_eq!(probes.len(), 1);
    assert!(probes[0]["path"].as_str().unwrap().ends_with("/health"), "{probes:?}");
    let queries = scene.gate.calls("GET", "/prometheus/api/v1/query").await;
    assert_eq!(queries.len(), 2);
    let query = queries[0]["path"].as_str().unwrap();
    assert!(query.contains(signed.revision()) && !query.contains("%7Brevision%7D"), "{query}");
    let queries = scene.gate.calls("GET", "/monitoring/v3/projects/demo/timeSeries").await;
    let query = queries[0]["path"].as_str().unwrap();
    assert!(query.contains("service_name%3D%22web%22"), "{query}");
    assert!(query.contains("aggregation.crossSeriesReducer=REDUCE_MAX"), "{query}");
    // The ledger and the evidence tell it.
    let proved = scene.gate.proved(&id).await;
    let sentences: Vec<String> = proved.records().iter().map(|one| one.sentence()).collect();
    let told = "The checks of step 2 were asked. error rate 0.3 % is below 1 %: passed; latency 0.25 s is at most 0.5 s: passed.";
    assert!(sentences.iter().any(|one| one == told), "{sentences:#?}");
    scene.gate.finish().await;
}

async fn nothing_but_a_pass_goes_on(engine: Engine) {
    let mut scene = Scene::new(engine).await;
    let good = json!([{"query": "", "values": ["0.1", "0.1"]}]);
    let series = |change: Value| json!([change]);
    let values = |values: Value| json!([{"values": values}]);
    let elsewhere =
        json!({"status": 302, "location": format!("{}/health/live", scene.gate.servers.gate)});
    for (check, answer, measured, words) in [
        (http(), json!({"status": 500}), good.clone(), "HTTP 500 from /health: failed"),
        (http(), json!({"status": 404}), good.clone(), "HTTP 404 from /health: failed"),
        (http(), elsewhere.clone(), good.clone(), "HTTP 302 from /health, which is not followed"),
        (http(), json!({"delay_milliseconds": 60_000}), good.clone(), "no answer within 1 seconds"),
        (http(), json!({"lost": true}), good.clone(), "GET /health (no answer"),
        (with(http(), "contains", json!("fine")), json!({}), good.clone(), "without “fine”"),
        (prometheus(), json!({}), values(json!(["0.1", "1"])), "error rate 1 % is not below 1 %"),
        (prometheus(), json!({}), values(json!([])), "there is no data"),
        (prometheus(), json!({}), values(json!(["NaN"])), "NaN is no number"),
        (prometheus(), json!({}), values(json!(["+Inf"])), "no number"),
        (prometheus(), json!({}), series(json!({"body": "<html>"})), "in another form"),
        (prometheus(), json!({}), series(json!({"values": ["0"], "status": 500})), "500"),
        (prometheus(), json!({}), series(with(elsewhere, "values", json!(["0"]))), "302"),
        (with(prometheus(), "source", json!("gone")), json!({}), good.clone(), "no answer"),
        (monitoring(), json!({}), values(json!(["0.25", "0.75"])), "latency 0.75 s is not at most"),
        (monitoring(), json!({}), values(json!(["0.25"])), "1 of 2 values are there"),
        (monitoring(), json!({}), values(json!([])), "there is no data"),
        (monitoring(), json!({}), values(json!(["NaN", "0.1"])), "NaN is no number"),
        (monitoring(), json!({}), series(json!({"body": "{]"})), "in another form"),
        (monitoring(), json!({}), series(json!({"status": 403, "body": "{}"})), "403"),
    ] {
        scene.answers(answer).await;
        scene.measures(measured).await;
        let steps = json!([{"percent": 10, "tag": "try", "checks": [check]}, 100]);
        let id = scene.approved(json!({ "steps": steps })).await;
        let ended = scene.gate.ended(&id).await;
        let sentence = ended["status_sentence"].as_str().unwrap();
        assert_eq!(ended["status"], "rolled_back", "{sentence}");
        assert!(sentence.contains("at 10 % not every check passed"), "{sentence}");
        assert!(sentence.contains(words), "no {words:?} in {sentence}");
        let signed = scene.gate.signed(&id).await;
        let writes = [signed.rollback(), signed.step(0), signed.rollback()];
        scene.gate.assert_writes(&signed, &writes).await;
        // What led to it stands in the evidence.
        let proved = scene.gate.proved(&id).await;
        let asked = proved.records().iter().map(|one| one.sentence());
        assert!(asked.filter(|one| one.starts_with("The checks of step 1")).count() == 1);
    }
    // Nobody went where the redirect leads.
    assert!(scene.gate.calls("GET", "/health/live").await.is_empty());
    scene.gate.finish().await;
}

async fn what_cannot_be_read_is_asked_again(engine: Engine) {
    let mut scene = Scene::new(engine).await;
    let steps = json!([
        {"percent": 10, "bake": "10m", "checks": [with(prometheus(), "patience", json!("5m"))]},
        100,
    ]);
    let id = scene.approved(json!({ "steps": steps.clone() })).await;
    scene
        .gate
        .until("the step serves", async || {
            scene.gate.approval(&id).await["rollout"]["steps_done"] == 1
        })
        .await;
    scene.stays(&id, 1).await;
    assert!(scene.gate.calls("GET", "/prometheus/").await.is_empty(), "it is asked too early");
    scene.gate.servers.clock.shift(SignedDuration::from_mins(10));
    scene.until_asked("/prometheus/", 2).await;
    scene.stays(&id, 1).await;
    let sentence = scene.gate.approval(&id).await["status_sentence"].to_string();
    assert!(sentence.contains("is checked now"), "{sentence}");
    scene.measures(json!([{"query": "errors", "values": ["0.5"]}])).await;
    assert_eq!(scene.gate.ended(&id).await["status"], "succeeded");
    // The time for it is signed, too.
    scene.measures(json!([])).await;
    scene.alice.sign_in("alice").await.unwrap();
    let id = scene.approved(json!({ "steps": steps })).await;
    let signed = scene.gate.signed(&id).await;
    scene
        .gate
        .until("the step serves", async || {
            scene.gate.approval(&id).await["rollout"]["steps_done"] == 1
        })
        .await;
    scene.gate.servers.clock.shift(SignedDuration::from_mins(10));
    scene.until_asked("/prometheus/", 1).await;
    scene.gate.servers.clock.shift(SignedDuration::from_mins(5));
    let ended = scene.gate.ended(&id).await;
    assert_eq!(ended["status"], "rolled_back", "{ended:#}");
    let writes = [signed.rollback(), signed.step(0), signed.rollback()];
    scene.gate.assert_writes(&signed, &writes).await;
    scene.gate.finish().await;
}

async fn who_looks_again_has_checks_asked_again(engine: Engine) {
    let mut scene = Scene::new(engine).await;
    scene.answers(json!({"status": 503})).await;
    let steps = json!([{"percent": 10, "tag": "try", "checks": [http()]}, 100]);
    let id = scene.approved(json!({"steps": steps, "on_failure": "hold"})).await;
    let ended = scene.gate.ended(&id).await;
    assert_eq!(ended["status"], "needs_attention", "{ended:#}");
    assert_eq!(ended["rollout"]["checks"][0]["outcome"], "failed");
    scene.answers(json!({})).await;
    scene.alice.intervene(&id, &json!({"act": "observe_again"})).await.unwrap();
    let ended = scene.gate.ended(&id).await;
    assert_eq!(ended["status"], "succeeded", "{ended:#}");
    assert_eq!(ended["rollout"]["checks"][0]["outcome"], "passed");
    scene.gate.proved(&id).await;
    scene.gate.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn checks_that_nobody_can_sign() {
    let gate = Gate::start_with(Engine::Sqlite, configured).await;
    let step = |check: Value| json!([{"percent": 10, "checks": [check]}, 100]);
    let refused = async |gate: &Gate, steps: Value, words: &str| {
        let answer = gate.ask(json!({"subject": {"steps": steps}})).await;
        answer.assert_problem(422, "invalid_steps");
        let detail = answer.body["detail"].as_str().unwrap();
        assert!(detail.contains(words), "no {words:?} in: {detail}");
    };
    for (steps, words) in [
        (step(http()), "http check and no tag"),
        (step(with(http(), "path", json!("//evil.example"))), "of a check is none"),
        (step(with(prometheus(), "source", json!("other"))), "checks may read main (Prometheus)"),
        (step(with(prometheus(), "source", json!("google"))), "of Prometheus"),
        (step(with(monitoring(), "aligner", json!("MEAN"))), "ALIGN_"),
    ] {
        refused(&gate, steps, words).await;
    }
    for check in [
        with(http(), "url", json!("https://evil.example")),
        with(prometheus(), "token", json!("secret")),
        with(prometheus(), "threshold", json!("1")),
        json!({"kind": "shell", "command": "true"}),
        json!({}),
    ] {
        let answer = gate.ask(json!({"subject": {"steps": step(check)}})).await;
        assert!(answer.status.is_client_error(), "{answer:?}");
    }
    // What an environment checks at every step is checked, whatever a request says.
    let rule = "checks = [{ kind = \"http\", path = \"/health\" }]\n";
    let own = "steps = [{ percent = 10, tag = \"try\" }, 100]";
    gate.finish().await;
    let edit = |text: String| configured(text.replace("steps = [10, 50, 100]", own)) + rule;
    let gate = Gate::start_with(Engine::Sqlite, edit).await;
    refused(&gate, json!([10, 100]), "no step has a tag").await;
    refused(&gate, json!([100]), "no step has a tag").await;
    let steps =
        json!([{"percent": 1, "tag": "try"}, {"percent": 10, "checks": [prometheus()]}, 100]);
    let id = gate.asked(json!({"subject": {"steps": steps}})).await;
    let plan = gate.approval(&id).await["subject"]["plan"].clone();
    let checks = |step: usize| plan[step]["checks"].as_array().unwrap().len();
    assert_eq!((checks(0), checks(1), checks(2)), (1, 1, 0), "{plan:#}");
    assert_eq!(plan[0]["checks"][0], "GET /health of the new revision answers 200 to 299");
    gate.finish().await;
}
