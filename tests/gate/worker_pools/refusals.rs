//! What a worker pool cannot have is refused when it is asked for, or when the configuration is read.

use serde_json::{Value, json};

use super::{POOL, Scene, with_pools};
use crate::support::gate::{Engine, SERVICE, on_both_engines};

on_both_engines!(what_a_worker_pool_cannot_have_is_refused, what_no_configuration_may_ask_of_one);

async fn what_a_worker_pool_cannot_have_is_refused(engine: Engine) {
    let plan = "[environment.production.plan]\ntags = true\n";
    let scene = Scene::with(engine, plan).await;
    let gate = &scene.gate;
    gate.clear_journal().await;
    let refused = async |subject: Value, code: &str, words: &str| {
        let mut whole = json!({"service": POOL});
        for (name, value) in subject.as_object().unwrap() {
            whole[name] = value.clone();
        }
        let answer = gate.ask(json!({ "subject": whole })).await;
        answer.assert_problem(422, code);
        assert!(answer.body.to_string().contains(words), "no {words:?} in {:#}", answer.body);
    };
    let http = json!({"kind": "http", "path": "/health"});
    let tagged = json!({"percent": 25, "tag": "try"});
    let checked = json!({"percent": 25, "checks": [http]});
    for (first, words) in [
        (tagged, "a worker pool has no addresses"),
        (checked, "a worker pool answers no requests"),
        (json!(0), "created without instances anyway"),
    ] {
        refused(json!({"steps": [first, 100]}), "invalid_steps", words).await;
    }
    for template in [
        json!({"timeout": "60s"}),
        json!({"maxInstanceRequestConcurrency": 10}),
        json!({"scaling": {"minInstanceCount": 1}}),
        json!({"sessionAffinity": true}),
        json!({"executionEnvironment": "EXECUTION_ENVIRONMENT_GEN2"}),
        json!({"healthCheckDisabled": true}),
    ] {
        refused(json!({ "template": template }), "invalid_template", "is a setting of services")
            .await;
    }
    for template in [json!({"manualInstanceCount": 9}), json!({"containers": [{"imge": "x"}]})] {
        refused(json!({ "template": template }), "invalid_template", "is not known").await;
    }
    let shortened = POOL.replace("workerPools", "workerpools");
    refused(json!({"service": shortened}), "invalid_service", "worker pool").await;
    let other = POOL.replace("mail", "other");
    refused(json!({"service": other}), "service_not_covered", "other").await;
    assert_eq!(gate.changes_of_cloud_run().await, 0);
    // What revisions of both have is taken, and so is a step with a tag for a service beside it.
    let probe =
        json!({"containers": [{"livenessProbe": {"httpGet": {"path": "/alive", "port": 8080}}}]});
    gate.asked(json!({"subject": {"service": POOL, "template": probe}})).await;
    let steps = json!([{"percent": 0, "tag": "try"}, 100]);
    gate.asked(json!({"subject": {"service": SERVICE, "steps": steps}})).await;
    scene.gate.finish().await;
}

async fn what_no_configuration_may_ask_of_one(engine: Engine) {
    let scene = Scene::new(engine).await;
    let file = &scene.gate.servers.files.config;
    let good = std::fs::read_to_string(file).unwrap();
    assert!(good.contains("steps = [10, 50, 100]"));
    let tagged =
        good.replacen("steps = [10, 50, 100]", "steps = [{ percent = 10, tag = \"try\" }, 100]", 1);
    let plan = "[environment.production.plan]\ntags = true\n";
    let probes = "checks = [{ kind = \"http\", path = \"/health\" }]\n";
    let listed = good.lines().find(|line| line.starts_with("services = ")).unwrap();
    let alone = good.replacen(listed, &format!("services = [\"{POOL}\"]"), 1);
    for (text, words) in [
        (format!("{tagged}{plan}"), "a worker pool has no addresses"),
        (format!("{alone}{plan}{probes}"), "give worker pools an environment of their own"),
    ] {
        std::fs::write(file, text).unwrap();
        let error = countersign::config::Config::load(file, &Default::default()).unwrap_err();
        assert!(error.to_string().contains(words), "no {words:?} in {error}");
    }
    std::fs::write(file, good).unwrap();
    scene.gate.finish().await;
}

#[test]
fn the_configuration_with_worker_pools_is_the_demos() {
    let text = with_pools(format!("services = [\"{SERVICE}\", \"x\"]"));
    assert!(text.contains(POOL));
}
