//! Revision templates: what is refused, and that what is signed is what is read back.

use countersign::domain::canonical::to_canonical_json;
use countersign::domain::platform_defaults::template_difference;
use countersign::integrations::cloud_run::TemplateError;

use super::*;

/// Every kind of member that a template has, as somebody would write it.
fn rich() -> Value {
    json!({
        "labels": { "team": "payments" },
        "annotations": { "acme.example/build": "42" },
        "timeout": "60.500s",
        "serviceAccount": "web@demo.iam.gserviceaccount.com",
        "maxInstanceRequestConcurrency": "10",
        "executionEnvironment": 2,
        "sessionAffinity": true,
        "scaling": { "minInstanceCount": 1, "maxInstanceCount": 7 },
        "vpcAccess": {
            "egress": "PRIVATE_RANGES_ONLY",
            "networkInterfaces": [{ "network": "default", "subnetwork": "a", "tags": ["web"] }],
        },
        "volumes": [
            { "name": "keys", "secret": { "secret": "keys", "defaultMode": 292,
                "items": [{ "path": "key", "version": "3", "mode": 256 }] } },
            { "name": "scratch", "emptyDir": { "medium": 1, "sizeLimit": "64Mi" } },
            { "name": "empty", "emptyDir": {} },
            { "name": "files", "gcs": { "bucket": "files", "readOnly": true } },
        ],
        "containers": [
            {
                "ports": [{ "name": "h2c", "containerPort": 9090 }],
                "command": ["/server"],
                "args": ["--verbose"],
                "env": [
                    { "name": "MODE", "value": "production" },
                    { "name": "EMPTY", "value": "" },
                    { "name": "KEY", "valueSource": { "secretKeyRef": { "secret": "key", "version": "7" } } },
                ],
                "resources": { "limits": { "cpu": "2", "memory": "1Gi" }, "cpuIdle": false, "startupCpuBoost": true },
                "volumeMounts": [{ "name": "keys", "mountPath": "/keys" }],
                "startupProbe": { "initialDelaySeconds": 0, "periodSeconds": 5, "failureThreshold": 3,
                    "httpGet": { "path": "/ready", "port": 9090, "httpHeaders": [{ "name": "A", "value": "b" }] } },
                "livenessProbe": { "grpc": { "port": 9090, "service": "health" } },
                "dependsOn": ["proxy"],
            },
            {
                "name": "proxy",
                "image": super::image('5'),
                "resources": { "limits": { "cpu": "1", "memory": "256Mi" } },
                "startupProbe": { "tcpSocket": { "port": 7070 }, "timeoutSeconds": 2, "periodSeconds": 4, "failureThreshold": 2 },
            },
        ],
    })
}

fn refusal(template: Value) -> TemplateError {
    check_template(ServiceKind::Service, &template).expect_err(&template.to_string())
}

#[test]
fn a_template_that_the_api_does_not_know_is_refused_by_path() {
    for (template, path, word) in [
        (json!({ "imge": 1 }), "template.imge", "not known"),
        (json!({ "service_account": "a" }), "template.service_account", "write serviceAccount"),
        (json!({ "containers": [{}, { "Env": [] }] }), "template.containers[1].Env", "write env"),
        (
            json!({ "containers": [{ "env": [{ "name": "A", "valueFrom": {} }] }] }),
            "template.containers[0].env[0].valueFrom",
            "not known",
        ),
        (
            json!({ "containers": [{ "buildInfo": {} }] }),
            "template.containers[0].buildInfo",
            "alone",
        ),
        (json!({ "timeout": 300 }), "template.timeout", "seconds"),
        (json!({ "timeout": "5m" }), "template.timeout", "\"5m\""),
        (json!({ "timeout": "-1s" }), "template.timeout", "seconds"),
        (json!({ "sessionAffinity": "true" }), "template.sessionAffinity", "true or false"),
        (
            json!({ "maxInstanceRequestConcurrency": 1.5 }),
            "template.maxInstanceRequestConcurrency",
            "32",
        ),
        (
            json!({ "maxInstanceRequestConcurrency": 3_000_000_000_u32 }),
            "template.maxInstanceRequestConcurrency",
            "32",
        ),
        (json!({ "containers": {} }), "template.containers", "a list"),
        (json!({ "containers": [null] }), "template.containers[0]", "an object"),
        (json!({ "containers": [{ "args": [1] }] }), "template.containers[0].args[0]", "a string"),
        (json!({ "scaling": [] }), "template.scaling", "an object"),
        (json!({ "labels": { "a": 1 } }), "template.labels[a]", "a string"),
        (json!({ "executionEnvironment": 9 }), "template.executionEnvironment", "GEN2"),
        (json!({ "executionEnvironment": "GEN2" }), "template.executionEnvironment", "GEN2"),
        (
            json!({ "annotations": { "run.googleapis.com/client-name": "x" } }),
            "template.annotations[run.googleapis.com/client-name]",
            "keeps for itself",
        ),
        (
            json!({ "containers": [{ "startupProbe": { "tcpSocket": {}, "httpGet": {} } }] }),
            "template.containers[0].startupProbe.tcpSocket",
            "excludes httpGet",
        ),
        (
            json!({ "volumes": [{ "name": "v", "emptyDir": {}, "gcs": { "bucket": "b" } }] }),
            "template",
            "multiple values",
        ),
        (json!(["containers"]), "template", "not an object"),
    ] {
        let refusal = refusal(template);
        assert_eq!(refusal.path, path, "{refusal}");
        assert!(refusal.to_string().contains(word), "{refusal}");
    }
}

#[test]
fn a_template_has_one_spelling() {
    let normal = check_template(ServiceKind::Service, &rich()).unwrap();
    assert_eq!(normal["executionEnvironment"], "EXECUTION_ENVIRONMENT_GEN2");
    assert_eq!(normal["volumes"][1]["emptyDir"]["medium"], "MEMORY");
    assert_eq!(normal["maxInstanceRequestConcurrency"], 10);
    assert_eq!(normal["timeout"], "60.5s");
    assert_eq!(normal["containers"][0]["env"][1], json!({ "name": "EMPTY", "value": "" }));
    assert_eq!(check_template(ServiceKind::Service, &normal).unwrap(), normal);
}

#[test]
fn a_default_in_a_change_takes_out_what_runs() {
    let change = json!({
        "sessionAffinity": false,
        "timeout": null,
        "labels": {},
        "annotations": { "a": null },
        "executionEnvironment": 0,
        "containers": [{ "args": [], "livenessProbe": { "tcpSocket": { "port": 1 } } }],
    });
    assert_eq!(
        check_template(ServiceKind::Service, &change).unwrap(),
        json!({
            "sessionAffinity": null,
            "timeout": null,
            "annotations": { "a": null },
            "executionEnvironment": null,
            "containers": [{ "args": null, "livenessProbe": { "grpc": null, "httpGet": null, "tcpSocket": { "port": 1 } } }],
        })
    );
}

#[tokio::test]
async fn the_demo_service_is_always_observed_in_the_same_bytes_and_freezes() {
    let sandbox = demo_sandbox().await;
    let mut seen = Vec::new();
    for _ in 0..5 {
        let observed = client_of(&sandbox).observe_service(&web()).await.unwrap().unwrap();
        seen.push(to_canonical_json(&observed.template).unwrap());
        let frozen = frozen(Some(&observed), None);
        check_template(ServiceKind::Service, &frozen.deployment().unwrap().proposed).unwrap();
        assert_eq!(FrozenSubject::thaw(frozen.text()).unwrap(), frozen);
    }
    seen.dedup();
    assert_eq!(seen.len(), 1, "{seen:#?}");
    insta::assert_snapshot!(seen[0], @r#"{"containers":[{"env":[{"name":"GREETING","value":"hello"}],"image":"europe-docker.pkg.dev/demo/app/web@sha256:0f0c5a5b1e3d0cf6a6f4bb0ed0a4f3bd7a64b8a4a5c2f3b1d3c1b2a4958677e1","ports":[{"containerPort":8080,"name":"http1"}],"resources":{"cpuIdle":true,"limits":{"cpu":"1","memory":"512Mi"}},"startupProbe":{"failureThreshold":1,"periodSeconds":240,"tcpSocket":{"port":8080},"timeoutSeconds":240}}],"maxInstanceRequestConcurrency":80,"scaling":{"maxInstanceCount":10},"serviceAccount":"web@demo.iam.gserviceaccount.com","timeout":"300s"}"#);
}

/// The sandbox as the demo starts it.
async fn demo_sandbox() -> String {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let router = countersign::sandbox::routes(countersign::sandbox::SandboxSettings {
        base_url: format!("http://{address}"),
        gate_origin: "http://localhost:8080".to_owned(),
        data_dir: None,
        clock: countersign::clock::Clock::system(),
        ready_delay: jiff::SignedDuration::ZERO,
    })
    .unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    address
}

#[tokio::test]
async fn what_was_signed_is_what_is_read_back() {
    for changes in [None, Some(rich())] {
        let sandbox = Sandbox::with_web().await;
        let cloud_run = client(&sandbox);
        let before = settled(&cloud_run).await;
        let deployment = frozen(Some(&before), changes.clone()).deployment().unwrap().clone();
        cloud_run.create_revision(&deployment, &before).await.unwrap();
        let after = settled(&cloud_run).await;
        assert_eq!(template_difference(&after.template, &deployment.proposed), None);
        let mut signed = deployment.proposed.clone();
        signed.as_object_mut().unwrap().remove("revision");
        assert_eq!(after.template, signed);
    }
}

#[tokio::test]
async fn a_new_service_reads_back_as_signed_but_for_the_platforms_defaults() {
    for changes in [None, Some(rich())] {
        let sandbox = Sandbox::empty(None).await;
        let cloud_run = client(&sandbox);
        let deployment = frozen(None, changes).deployment().unwrap().clone();
        cloud_run.create_service(&deployment).await.unwrap();
        let made = settled(&cloud_run).await;
        assert_eq!(template_difference(&made.template, &deployment.proposed), None);
    }
}

#[tokio::test]
async fn members_newer_than_the_gate_are_shown_and_not_built_on() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let service = json!({
        "name": WEB, "uid": "u", "etag": "\"e\"", "generation": "1", "observedGeneration": "1",
        "terminalCondition": { "type": "Ready", "state": 4 },
        "latestReadyRevision": format!("{WEB}/revisions/web-1"),
        "annotations": { "run.googleapis.com/operation-id": "x", "mine.example/a": "b" },
        "template": {
            "labels": { "run.googleapis.com/startupProbeType": "Default", "a": "b" },
            "teleport": { "enabled": true },
            "containers": [{ "image": image('1'), "buildInfo": { "functionTarget": "f" } }],
        },
        "trafficStatuses": [{ "type": 1, "percent": 100 }],
    });
    let router =
        axum::Router::new().fallback(move || std::future::ready(axum::Json(service.clone())));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let observed = client_of(&address).observe_service(&web()).await.unwrap().unwrap();
    assert_eq!(observed.readiness, Readiness::Ready);
    assert_eq!(observed.serving, [share("web-1", 100)]);
    assert_eq!(observed.wanted, observed.serving);
    assert_eq!(observed.annotations.keys().collect::<Vec<_>>(), ["mine.example/a"]);
    assert_eq!(
        observed.template,
        json!({
            "labels": { "a": "b" },
            "teleport": { "enabled": true },
            "containers": [{ "image": image('1') }],
        })
    );
    assert_eq!(refusal(observed.template).path, "template.teleport");
}

#[test]
fn the_revisions_of_worker_pools_have_less() {
    let pool = |template: Value| check_template(ServiceKind::WorkerPool, &template);
    let mut template = rich();
    for of_services in [
        "timeout",
        "maxInstanceRequestConcurrency",
        "executionEnvironment",
        "sessionAffinity",
        "scaling",
    ] {
        let error = pool(json!({ of_services: template[of_services] })).unwrap_err();
        assert_eq!(error.path, format!("template.{of_services}"));
        assert!(error.problem.starts_with("is a setting of services"), "{error}");
        template.as_object_mut().unwrap().remove(of_services);
    }
    let normal = pool(template.clone()).unwrap();
    assert_eq!(pool(normal.clone()).unwrap(), normal);
    assert_eq!(normal, check_template(ServiceKind::Service, &template).unwrap());
}
