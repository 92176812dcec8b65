//! Rollouts as the worker does them: a revision without traffic, traffic in steps, read back.

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::{PARENT, Sandbox, WEB, short, target, template};

#[tokio::test]
async fn a_change_is_reconciled_after_the_ready_delay() {
    let sandbox = Sandbox::with_web().await;
    let before = sandbox.web().await;
    assert_eq!(before["terminalCondition"]["state"], "CONDITION_SUCCEEDED");
    let latest = json!([{ "type": "TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST", "percent": 100 }]);
    assert_eq!((&before["traffic"], &before["trafficStatuses"]), (&latest, &latest));
    sandbox.run.set_ready_delay(SignedDuration::from_hours(1));
    let operation = sandbox.patch("template", json!({ "template": template('2') })).await;
    assert_eq!(operation["done"], Value::Null);
    let during = sandbox.web().await;
    assert_eq!(during["reconciling"], true);
    assert_eq!((&during["generation"], &during["observedGeneration"]), (&json!("2"), &json!("1")));
    assert_eq!(during["terminalCondition"]["state"], "CONDITION_RECONCILING");
    assert_eq!(during["latestReadyRevision"], before["latestReadyRevision"]);
    assert_ne!(during["latestCreatedRevision"], before["latestCreatedRevision"]);
    assert_ne!(during["etag"], before["etag"]);
    sandbox.clock.shift(SignedDuration::from_hours(1));
    let done = sandbox.done(&operation).await;
    let after = sandbox.web().await;
    assert_eq!(done["response"]["etag"], after["etag"]);
    assert_eq!((&after["reconciling"], &after["observedGeneration"]), (&Value::Null, &json!("2")));
    assert_eq!(after["latestReadyRevision"], after["latestCreatedRevision"]);
    assert_ne!(after["etag"], during["etag"]);
    assert_eq!(after["uid"], before["uid"]);
}

#[tokio::test]
async fn traffic_moves_in_steps_and_the_template_stays() {
    let sandbox = Sandbox::with_web().await;
    let first = short(&sandbox.web().await["latestReadyRevision"]);
    let mut named = template('2');
    named["revision"] = json!("web-two");
    let body = json!({ "template": named, "traffic": [target(&first, 100)],
        "annotations": { "countersign.example/approval": "a" } });
    let mask = "template,traffic,annotations";
    let done = sandbox.done(&sandbox.patch(mask, body).await).await;
    assert_eq!(done["response"]["trafficStatuses"], json!([target(&first, 100)]));
    for (old, new) in [(90, 10), (50, 50)] {
        let traffic = json!([target(&first, old), target("web-two", new)]);
        let operation = sandbox.patch("traffic", json!({ "traffic": traffic })).await;
        assert_eq!(sandbox.done(&operation).await["response"]["trafficStatuses"], traffic);
    }
    let everything = json!([target("web-two", 100)]);
    let operation = sandbox.patch("traffic", json!({ "traffic": everything })).await;
    let service = sandbox.done(&operation).await["response"].clone();
    assert_eq!(service["trafficStatuses"], everything);
    assert_eq!(service["template"]["revision"], "web-two");
    assert_eq!(service["annotations"], json!({ "countersign.example/approval": "a" }));
    assert_eq!(sandbox.journal("PATCH").await.len(), 4);
}

#[tokio::test]
async fn a_patch_without_a_mask_replaces_and_one_with_a_mask_keeps() {
    let sandbox = Sandbox::with_web().await;
    let notes = json!({ "a.example/one": "1", "a.example/two": "2" });
    sandbox.done(&sandbox.patch("annotations", json!({ "annotations": notes })).await).await;
    let body = json!({ "annotations": { "a.example/two": "3" } });
    sandbox.done(&sandbox.patch("annotations.a.example/two", body).await).await;
    let service = sandbox.web().await;
    assert_eq!(service["annotations"], json!({ "a.example/one": "1", "a.example/two": "3" }));
    let concurrency = json!({ "template": { "maxInstanceRequestConcurrency": "7" } });
    let mask = "template.max_instance_request_concurrency";
    sandbox.done(&sandbox.patch(mask, concurrency).await).await;
    let service = sandbox.web().await;
    assert_eq!(service["template"]["maxInstanceRequestConcurrency"], 7);
    assert_eq!(service["template"]["containers"][0]["image"], super::image('1'));
    let body = Some(json!({ "template": template('1') }));
    let (_, operation) = sandbox.call("PATCH", &format!("/v2/{WEB}"), body).await;
    let service = sandbox.done(&operation).await["response"].clone();
    assert_eq!(service["annotations"], Value::Null);
    assert_eq!(service["template"]["maxInstanceRequestConcurrency"], 80);
}

#[tokio::test]
async fn validate_only_and_allow_missing() {
    let sandbox = Sandbox::with_web().await;
    let before = sandbox.web().await;
    let body = || Some(json!({ "template": template('2') }));
    let (status, tried) =
        sandbox.call("PATCH", &format!("/v2/{WEB}?validateOnly=true"), body()).await;
    assert_eq!((status, &tried["done"], &tried["name"]), (200, &json!(true), &Value::Null));
    assert_eq!(tried["response"]["template"]["containers"][0]["image"], super::image('2'));
    assert_eq!(sandbox.web().await, before);
    let path = format!("/v2/{PARENT}/services/new?allowMissing=true");
    let (_, operation) = sandbox.call("PATCH", &path, body()).await;
    sandbox.done(&operation).await;
    let first = sandbox.get(&format!("/v2/{PARENT}/services?pageSize=1")).await;
    let token = first["nextPageToken"].as_str().unwrap();
    let second = sandbox.get(&format!("/v2/{PARENT}/services?pageSize=1&pageToken={token}")).await;
    assert_eq!(short(&first["services"][0]["name"]), "new");
    assert_eq!(short(&second["services"][0]["name"]), "web");
    assert_eq!(second["nextPageToken"], Value::Null);
}

#[tokio::test]
async fn the_state_survives_a_restart_of_the_sandbox() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cloud-run.json");
    let before = Sandbox::empty(Some(file.clone())).await;
    before.run.seed_service(WEB, &template('1')).unwrap();
    let operation = before.patch("template", json!({ "template": template('2') })).await;
    drop(before);
    let after = Sandbox::empty(Some(file.clone())).await;
    after.run.seed_service(WEB, &template('9')).unwrap();
    let done = after.done(&operation).await;
    assert_eq!(done["response"]["template"]["containers"][0]["image"], super::image('2'));
    std::fs::write(&file, "{").unwrap();
    let journal = countersign::sandbox::journal::Journal::new(Default::default());
    let damaged =
        countersign::sandbox::cloud_run::CloudRun::new(Default::default(), journal, Some(file));
    assert!(damaged.unwrap_err().to_string().contains("move it away"));
}

#[tokio::test]
async fn any_host_and_an_absolute_target_are_accepted() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let sandbox = Sandbox::with_web().await;
    let mut stream = tokio::net::TcpStream::connect(&sandbox.address).await.unwrap();
    let request = format!(
        "GET http://europe-west1-run.example/v2/{WEB} HTTP/1.1\r\nHost: other.example\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let call = &sandbox.journal("GET").await[0];
    assert_eq!(call["host"], "europe-west1-run.example");
    assert_eq!(call["path"], format!("/v2/{WEB}"));
}

#[tokio::test]
async fn a_later_change_takes_over_the_operation_of_an_earlier_one() {
    let sandbox = Sandbox::with_web().await;
    sandbox.run.set_ready_delay(SignedDuration::from_hours(1));
    let earlier = sandbox.patch("template", json!({ "template": template('2') })).await;
    let later = sandbox.patch("template", json!({ "template": template('3') })).await;
    sandbox.clock.shift(SignedDuration::from_hours(1));
    let (earlier, later) = (sandbox.done(&earlier).await, sandbox.done(&later).await);
    assert_eq!(earlier["response"], later["response"]);
    assert_eq!(later["response"]["observedGeneration"], "3");
    let revisions = sandbox.get(&format!("/v2/{WEB}/revisions")).await;
    assert_eq!(revisions["revisions"].as_array().unwrap().len(), 3);
    assert!(revisions["revisions"].as_array().unwrap().iter().all(|r| r["reconciling"].is_null()));
}

#[tokio::test]
async fn an_old_revision_and_a_service_can_be_deleted() {
    let sandbox = Sandbox::with_web().await;
    let first = sandbox.web().await["latestReadyRevision"].as_str().unwrap().to_owned();
    sandbox.done(&sandbox.patch("template", json!({ "template": template('2') })).await).await;
    let (status, operation) = sandbox.call("DELETE", &format!("/v2/{first}"), None).await;
    assert_eq!((status, &operation["response"]["name"]), (200, &json!(first)));
    assert_eq!(sandbox.call("GET", &format!("/v2/{first}"), None).await.0, 404);
    let (status, operation) = sandbox.call("DELETE", &format!("/v2/{WEB}"), None).await;
    assert_eq!(status, 200);
    assert!(sandbox.done(&operation).await["response"]["deleteTime"].is_string());
    assert_eq!(sandbox.call("GET", &format!("/v2/{WEB}"), None).await.0, 404);
}
