//! The older face of the sandbox: what `gcloud` asks, by hand, and `gcloud` itself where it is installed.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{Value, json};

use super::{Sandbox, WEB, image, target, template};

const SERVICE: &str = "/apis/serving.knative.dev/v1/namespaces/demo/services/web";

/// A sandbox in which a rollout over v2 gave `web-two` a share of the traffic.
async fn rolled_out() -> (Sandbox, String) {
    let sandbox = Sandbox::with_web().await;
    let first = super::short(&sandbox.web().await["latestReadyRevision"]);
    let mut named = template('2');
    named["revision"] = json!("web-two");
    named["containers"][0]["env"] = json!([
        { "name": "GREETING", "value": "hello" },
        { "name": "KEY", "valueSource": { "secretKeyRef": { "secret": "key", "version": "3" } } },
    ]);
    named["vpcAccess"] = json!({ "egress": "PRIVATE_RANGES_ONLY" });
    let traffic = json!([target(&first, 90), target("web-two", 10)]);
    let body = json!({
        "template": named, "traffic": traffic,
        "annotations": { "countersign.example/approval": "a" },
    });
    sandbox.done(&sandbox.patch("template,traffic,annotations", body).await).await;
    (sandbox, first)
}

async fn settled(sandbox: &Sandbox) -> Value {
    loop {
        let service = sandbox.web().await;
        if service["reconciling"].is_null() {
            return service;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_rollout_is_seen_in_the_older_form() {
    let (sandbox, first) = rolled_out().await;
    let service = sandbox.get(SERVICE).await;
    assert_eq!(service["kind"], "Service");
    let metadata = &service["metadata"];
    assert_eq!(metadata["annotations"]["countersign.example/approval"], "a");
    assert_eq!(metadata["labels"]["cloud.googleapis.com/location"], "europe-west1");
    let traffic = json!([
        { "revisionName": first, "percent": 90 },
        { "revisionName": "web-two", "percent": 10 },
    ]);
    assert_eq!(service["spec"]["traffic"], traffic);
    assert_eq!(service["status"]["traffic"], traffic);
    assert_eq!(service["status"]["conditions"][0], {
        let since = &service["status"]["conditions"][0]["lastTransitionTime"];
        json!({ "type": "Ready", "status": "True", "lastTransitionTime": since })
    });
    let container = &service["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["image"], image('2'));
    let secret = json!({ "secretKeyRef": { "name": "key", "key": "3" } });
    assert_eq!(container["env"][1], json!({ "name": "KEY", "valueFrom": secret }));

    let selector = "labelSelector=serving.knative.dev%2Fservice+%3D+web";
    let path = format!("/apis/serving.knative.dev/v1/namespaces/demo/revisions?{selector}");
    let revisions = sandbox.get(&path).await;
    let names: Vec<_> =
        revisions["items"].as_array().unwrap().iter().map(|one| &one["metadata"]["name"]).collect();
    assert_eq!(names, ["web-two", &*first]);
    assert_eq!(revisions["items"][0]["status"]["imageDigest"], image('2'));
    let everywhere = sandbox.get("/v1/projects/demo/locations/-/services").await;
    assert_eq!(everywhere["items"][0]["metadata"]["name"], "web");
}

#[tokio::test]
async fn what_is_put_back_as_it_was_changes_nothing() {
    let (sandbox, _) = rolled_out().await;
    let before = sandbox.web().await;
    let shown = sandbox.get(SERVICE).await;
    let (status, body) = sandbox.call("PUT", SERVICE, Some(shown)).await;
    assert_eq!(status, 200, "{body}");
    let after = settled(&sandbox).await;
    for field in ["template", "traffic", "trafficStatuses", "annotations", "generation"] {
        assert_eq!(after[field], before[field], "{field}");
    }
}

#[tokio::test]
async fn traffic_and_template_are_changed_in_the_older_form() {
    let (sandbox, first) = rolled_out().await;
    let mut service = sandbox.get(SERVICE).await;
    service["spec"]["traffic"] = json!([
        { "revisionName": first, "percent": 100 },
        { "revisionName": "web-two", "tag": "try" },
    ]);
    let (status, body) = sandbox.call("PUT", SERVICE, Some(service.clone())).await;
    assert_eq!(status, 200, "{body}");
    let changed = settled(&sandbox).await;
    assert_eq!(changed["traffic"][0], target(&first, 100));
    assert_eq!(changed["trafficStatuses"][1]["tag"], "try");
    assert_eq!(changed["template"]["vpcAccess"]["egress"], "PRIVATE_RANGES_ONLY");
    assert_eq!(changed["lastModifier"], "somebody.at.a.terminal@example.com");

    // The version that it was read with is no longer the current one.
    let (status, body) = sandbox.call("PUT", SERVICE, Some(service)).await;
    assert_eq!((status, &body["error"]["status"]), (409, &json!("ABORTED")), "{body}");

    let mut service = sandbox.get(SERVICE).await;
    service["spec"]["template"]["metadata"].as_object_mut().unwrap().remove("name");
    service["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image('3'));
    let (status, body) = sandbox.call("PUT", SERVICE, Some(service)).await;
    assert_eq!(status, 200, "{body}");
    let changed = settled(&sandbox).await;
    assert_eq!(changed["template"]["containers"][0]["image"], image('3'));
    assert_eq!(changed["trafficStatuses"][0], target(&first, 100));
    assert!(changed["latestReadyRevision"].as_str().unwrap().contains("/web-0"), "{changed}");
}

#[tokio::test]
async fn what_is_no_service_of_the_older_form_is_refused() {
    let (sandbox, _) = rolled_out().await;
    let before = sandbox.web().await;
    let shown = sandbox.get(SERVICE).await;
    let changed = |pointer: &str, value: Value| {
        let mut body = shown.clone();
        *body.pointer_mut(pointer).unwrap() = value;
        body
    };
    let scale = "/spec/template/metadata/annotations/autoscaling.knative.dev~1maxScale";
    for (body, status) in [
        (json!({}), "INVALID_ARGUMENT"),
        (changed("/metadata/name", json!("other")), "INVALID_ARGUMENT"),
        (changed("/spec/traffic/0/percent", json!(80)), "INVALID_ARGUMENT"),
        (changed("/spec/traffic/0/revisionName", json!("none")), "INVALID_ARGUMENT"),
        (changed("/spec/template/spec/containers", json!([])), "INVALID_ARGUMENT"),
        (changed(scale, json!("many")), "INVALID_ARGUMENT"),
    ] {
        let (_, answer) = sandbox.call("PUT", SERVICE, Some(body)).await;
        assert_eq!(answer["error"]["status"], status, "{answer}");
    }
    for (method, path, status) in [
        ("GET", SERVICE.replace("web", "none"), "NOT_FOUND"),
        ("PUT", SERVICE.replace("web", "none"), "NOT_FOUND"),
        ("DELETE", SERVICE.to_owned(), "UNIMPLEMENTED"),
        ("POST", SERVICE.replace("/web", ""), "UNIMPLEMENTED"),
        ("GET", SERVICE.replace("services/web", "routes"), "UNIMPLEMENTED"),
        ("GET", SERVICE.replace("services/web", "revisions?labelSelector=a"), "INVALID_ARGUMENT"),
    ] {
        let (_, answer) = sandbox.call(method, &path, Some(shown.clone())).await;
        assert_eq!(answer["error"]["status"], status, "{method} {path}: {answer}");
    }
    assert_eq!(sandbox.web().await, before);
}

/// The `gcloud` command line, if it is installed; `tests/run` says when it is not.
fn gcloud() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join("gcloud")).find(|file| file.is_file())
}

/// Runs `gcloud run` against the sandbox, with nobody signed in and nothing remembered.
async fn gcloud_run(program: &Path, sandbox: &Sandbox, arguments: &[&str]) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let (host, port) = sandbox.address.split_once(':').unwrap();
    let endpoint = format!("http://{}/", sandbox.address);
    let output = tokio::process::Command::new(program)
        .arg("run")
        .args(arguments)
        .args(["--format", "json"])
        .stdin(Stdio::null())
        .envs([
            ("CLOUDSDK_CONFIG", folder.path().to_str().unwrap()),
            ("CLOUDSDK_API_ENDPOINT_OVERRIDES_RUN", &endpoint),
            ("CLOUDSDK_API_ENDPOINT_OVERRIDES_SERVICEUSAGE", &endpoint),
            ("CLOUDSDK_AUTH_DISABLE_CREDENTIALS", "true"),
            ("CLOUDSDK_PROXY_TYPE", "http"),
            ("CLOUDSDK_PROXY_ADDRESS", host),
            ("CLOUDSDK_PROXY_PORT", port),
            ("CLOUDSDK_CORE_PROJECT", "demo"),
            ("CLOUDSDK_RUN_REGION", "europe-west1"),
            ("CLOUDSDK_CORE_DISABLE_PROMPTS", "1"),
            ("CLOUDSDK_CORE_CHECK_GCE_METADATA", "false"),
            ("CLOUDSDK_CORE_DISABLE_USAGE_REPORTING", "true"),
        ])
        .output()
        .await
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "gcloud run {arguments:?}: {errors}");
    serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)
}

#[tokio::test(flavor = "multi_thread")]
async fn gcloud_reads_and_changes_what_a_rollout_did() {
    let Some(program) = gcloud() else { return };
    let (sandbox, first) = rolled_out().await;
    let services = gcloud_run(&program, &sandbox, &["services", "list"]).await;
    assert_eq!(services[0]["metadata"]["name"], "web");
    let web = gcloud_run(&program, &sandbox, &["services", "describe", "web"]).await;
    let shares = json!([
        { "revisionName": first, "percent": 90 },
        { "revisionName": "web-two", "percent": 10 },
    ]);
    assert_eq!(web["status"]["traffic"], shares);
    let revisions =
        gcloud_run(&program, &sandbox, &["revisions", "list", "--service", "web"]).await;
    assert_eq!(revisions.as_array().unwrap().len(), 2);

    let share = ["services", "update-traffic", "web", "--to-revisions", "web-two=40"];
    gcloud_run(&program, &sandbox, &share).await;
    let after = settled(&sandbox).await;
    let mut shares = after["trafficStatuses"].as_array().unwrap().clone();
    shares.sort_by_key(|status| status["percent"].as_i64());
    assert_eq!(shares, [target("web-two", 40), target(&first, 60)]);

    let update = ["services", "update", "web", "--update-env-vars", "GREETING=changed"];
    gcloud_run(&program, &sandbox, &update).await;
    let after = settled(&sandbox).await;
    let environment = &after["template"]["containers"][0]["env"];
    assert_eq!(environment[0], json!({ "name": "GREETING", "value": "changed" }));
    assert_eq!(environment[1]["valueSource"]["secretKeyRef"]["secret"], "key");
    assert_eq!(after["template"]["vpcAccess"]["egress"], "PRIVATE_RANGES_ONLY");
    let revisions = sandbox.get(&format!("/v2/{WEB}/revisions")).await;
    assert_eq!(revisions["revisions"].as_array().unwrap().len(), 3);
}
