//! What the API refuses, the sandbox refuses, and nothing is changed by it.

use serde_json::{Value, json};

use super::{PARENT, Sandbox, WEB, short, target, template};

/// Sends a patch and expects a refusal that changes nothing.
async fn refused(sandbox: &Sandbox, query: &str, body: Value, expected: (u16, &str)) {
    let before = sandbox.web().await;
    let path = format!("/v2/{WEB}{query}");
    let (status, answer) = sandbox.call("PATCH", &path, Some(body.clone())).await;
    let error = &answer["error"];
    assert_eq!((status, error["status"].as_str().unwrap()), expected, "{query} {body}: {answer}");
    assert_eq!(error["code"], status);
    assert!(!error["message"].as_str().unwrap().is_empty() && error["details"].is_array());
    assert_eq!(sandbox.web().await, before);
}

const INVALID: (u16, &str) = (400, "INVALID_ARGUMENT");

#[tokio::test]
async fn the_cloud_run_sandbox_refuses_what_is_not_in_the_description() {
    let sandbox = Sandbox::with_web().await;
    for body in [
        json!({ "template": template('1'), "surprise": 1 }),
        json!({ "template": { "containers": [{ "image": "i", "envv": [] }] } }),
        json!({ "template": { "containers": [{ "image": 7 }] } }),
        json!({ "template": { "containers": { "image": "i" } } }),
        json!({ "template": template('1'), "ingress": "INGRESS_TRAFFIC_SIDEWAYS" }),
        json!({ "template": template('1'), "ingress": 99 }),
        json!({ "template": template('1'), "invokerIamDisabled": "yes" }),
        json!({ "template": { "timeout": 300, "containers": [{ "image": "i" }] } }),
        json!({ "template": { "timeout": "5m", "containers": [{ "image": "i" }] } }),
        json!({ "template": { "maxInstanceRequestConcurrency": 1.5, "containers": [{ "image": "i" }] } }),
        json!({ "template": template('1'), "labels": { "team": 1 } }),
        json!({ "template": template('1'), "name": "projects/demo/locations/europe-west1/services/b" }),
        json!([]),
    ] {
        refused(&sandbox, "", body, INVALID).await;
    }
}

#[tokio::test]
async fn the_cloud_run_sandbox_refuses_services_that_make_no_sense() {
    let sandbox = Sandbox::with_web().await;
    let first = short(&sandbox.web().await["latestReadyRevision"]);
    let latest = "TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST";
    for (field, value) in [
        ("traffic", json!([target(&first, 99)])),
        ("traffic", json!([target(&first, 100), target(&first, 1)])),
        ("traffic", json!([target(&first, 101), target(&first, 0)])),
        ("traffic", json!([target("web-missing", 100)])),
        ("traffic", json!([{ "percent": 100, "revision": first }])),
        ("traffic", json!([{ "percent": 100, "type": "TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION" }])),
        ("traffic", json!([{ "percent": 100, "type": latest, "revision": first }])),
        ("traffic", json!([{ "percent": 100, "type": latest, "tag": "UPPER" }])),
        ("template", json!({})),
        ("template", json!({ "containers": [] })),
        ("template", json!({ "containers": [{ "name": "a" }] })),
        ("template", json!({ "revision": "other-1", "containers": [{ "image": "i" }] })),
        ("template", json!({ "revision": "web-", "containers": [{ "image": "i" }] })),
        ("template", json!({ "revision": "web-Upper", "containers": [{ "image": "i" }] })),
        ("template", json!({ "containers": [{ "image": "i", "env": [{ "value": "x" }] }] })),
        ("template.annotations", json!(null)),
        ("annotations", json!({ "run.googleapis.com/operation-id": "x" })),
        ("annotations", json!({ "serving.knative.dev/creator": "x" })),
        ("labels", json!({ "cloud.googleapis.com/location": "x" })),
        ("labels", json!({ "autoscaling.knative.dev/maxScale": "x" })),
    ] {
        let body = if field == "template.annotations" {
            json!({ "template": { "annotations": { "autoscaling.knative.dev/maxScale": "1" } } })
        } else {
            json!({ field: value })
        };
        refused(&sandbox, &format!("?updateMask={field}"), body, INVALID).await;
    }
}

#[tokio::test]
async fn the_cloud_run_sandbox_refuses_masks_and_parameters_that_it_does_not_know() {
    let sandbox = Sandbox::with_web().await;
    for query in [
        "?updateMask=surprise",
        "?updateMask=template.surprise",
        "?updateMask=template.containers.image",
        "?updateMask=ingress.more",
        "?validateOnly=maybe",
        "?allow=1",
    ] {
        refused(&sandbox, query, json!({ "template": template('2') }), INVALID).await;
    }
}

#[tokio::test]
async fn the_cloud_run_sandbox_refuses_conflicts() {
    let sandbox = Sandbox::with_web().await;
    let old = sandbox.web().await["etag"].clone();
    let named = json!({ "revision": "web-two", "containers": [{ "image": super::image('2') }] });
    sandbox.done(&sandbox.patch("template", json!({ "template": named, "etag": old })).await).await;
    let stale = json!({ "template": template('3'), "etag": old });
    refused(&sandbox, "", stale, (409, "ABORTED")).await;
    let mut other = named.clone();
    other["containers"][0]["image"] = json!(super::image('3'));
    let taken = (409, "ALREADY_EXISTS");
    refused(&sandbox, "?updateMask=template", json!({ "template": other }), taken).await;
    // A nested mask keeps the name of the revision, which the new content cannot have.
    refused(&sandbox, "?updateMask=template.containers", json!({ "template": other }), taken).await;
    // The same name with the same content is no change.
    let before = sandbox.web().await;
    sandbox.done(&sandbox.patch("template", json!({ "template": named })).await).await;
    assert_eq!(sandbox.web().await["generation"], before["generation"]);
}

#[tokio::test]
async fn the_cloud_run_sandbox_refuses_names_that_are_missing_taken_or_wrong() {
    let sandbox = Sandbox::with_web().await;
    let revision = short(&sandbox.web().await["latestReadyRevision"]);
    let body = || Some(json!({ "template": template('1') }));
    let services = format!("/v2/{PARENT}/services");
    for (method, path, body, expected) in [
        ("GET", format!("{services}/absent"), None, 404),
        ("GET", format!("{services}/absent/revisions"), None, 404),
        ("GET", format!("/v2/{WEB}/revisions/web-absent"), None, 404),
        ("GET", format!("/v2/{PARENT}/operations/absent"), None, 404),
        ("PATCH", format!("{services}/absent"), body(), 404),
        ("DELETE", format!("{services}/absent"), None, 404),
        ("DELETE", format!("/v2/{WEB}?etag=stale"), None, 409),
        ("DELETE", format!("/v2/{WEB}/revisions/{revision}"), None, 400),
        ("POST", format!("{services}?serviceId=web"), body(), 409),
        ("POST", format!("{services}?serviceId=Web"), body(), 400),
        ("POST", services.clone(), body(), 400),
        ("GET", format!("{services}?pageSize=-1"), None, 400),
        ("GET", format!("{services}?pageToken=x"), None, 400),
        ("GET", format!("/v2/{WEB}:getIamPolicy"), None, 501),
        ("GET", "/v2/projects/demo/locations/x/jobs".to_owned(), None, 404),
    ] {
        let (status, answer) = sandbox.call(method, &path, body).await;
        assert_eq!(status, expected, "{method} {path}: {answer}");
        assert_eq!(answer["error"]["code"], status);
    }
}
