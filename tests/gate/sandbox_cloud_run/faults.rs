//! Every fault does what it says, to the call that it matches and to no other.

use serde_json::{Value, json};

use super::{Sandbox, WEB, short, target, template};

fn path() -> String {
    format!("/v2/{WEB}?updateMask=template")
}

fn body() -> Option<Value> {
    Some(json!({ "template": template('2') }))
}

#[tokio::test]
async fn an_error_has_no_effect_and_hits_the_chosen_calls_alone() {
    let sandbox = Sandbox::with_web().await;
    let rule = json!({ "match": { "method": "PATCH", "path": "services/web", "nth": 2 }, "times": 2,
        "fault": { "kind": "status", "code": 503, "message": "later" } });
    sandbox.call("POST", "/_sandbox/faults", Some(rule)).await;
    let mut statuses = Vec::new();
    for digit in '2'..='5' {
        let body = Some(json!({ "template": template(digit) }));
        let (status, answer) = sandbox.call("PATCH", &path(), body).await;
        statuses.push(status);
        if status == 503 {
            assert_eq!(answer["error"]["status"], "UNAVAILABLE");
            assert_eq!(answer["error"]["message"], "later");
        }
    }
    assert_eq!(statuses, [200, 503, 503, 200]);
    assert_eq!(sandbox.web().await["generation"], "3");
    let calls = sandbox.journal("PATCH").await;
    assert_eq!(calls[1]["faults"], json!(["status"]));
    assert_eq!((&calls[0]["status"], &calls[1]["status"]), (&json!(200), &json!(503)));
    assert_eq!(sandbox.get("/_sandbox/faults").await["faults"][0]["hits"], 2);
}

#[tokio::test]
async fn every_error_has_googles_name() {
    let sandbox = Sandbox::with_web().await;
    for (code, name) in [
        (400, "INVALID_ARGUMENT"),
        (401, "UNAUTHENTICATED"),
        (403, "PERMISSION_DENIED"),
        (409, "ABORTED"),
        (412, "FAILED_PRECONDITION"),
        (429, "RESOURCE_EXHAUSTED"),
        (500, "INTERNAL"),
        (504, "DEADLINE_EXCEEDED"),
    ] {
        sandbox.fault("PATCH", json!({ "kind": "status", "code": code })).await;
        let (status, answer) = sandbox.call("PATCH", &path(), body()).await;
        assert_eq!((status, answer["error"]["status"].as_str().unwrap()), (code, name));
    }
    assert_eq!(sandbox.web().await["generation"], "1");
}

#[tokio::test]
async fn a_lost_reply_has_its_effect() {
    let sandbox = Sandbox::with_web().await;
    sandbox.fault("PATCH", json!({ "kind": "lost_reply" })).await;
    let failure = sandbox.try_call("PATCH", &path(), body()).await.unwrap_err();
    assert!(failure.is_request() && failure.status().is_none(), "{failure:?}");
    assert_eq!(sandbox.web().await["generation"], "2");
    let calls = sandbox.journal("PATCH").await;
    assert_eq!((calls.len(), &calls[0]["faults"]), (1, &json!(["lost_reply"])));
    assert_eq!(calls[0]["status"], 200);
}

#[tokio::test]
async fn an_error_after_the_effect_has_its_effect() {
    let sandbox = Sandbox::with_web().await;
    sandbox.fault("PATCH", json!({ "kind": "status_after_effect", "code": 504 })).await;
    assert_eq!(sandbox.call("PATCH", &path(), body()).await.0, 504);
    assert_eq!(sandbox.web().await["generation"], "2");
}

#[tokio::test]
async fn a_delayed_call_is_carried_out_even_when_the_caller_hangs_up() {
    let sandbox = Sandbox::with_web().await;
    sandbox.fault("PATCH", json!({ "kind": "delay", "milliseconds": 300 })).await;
    let (path, body) = (path(), body());
    let impatient = sandbox.call("PATCH", &path, body);
    let short = std::time::Duration::from_millis(100);
    assert!(tokio::time::timeout(short, impatient).await.is_err());
    while sandbox.journal("PATCH").await[0]["status"].is_null() {
        tokio::time::sleep(short).await;
    }
    assert_eq!(sandbox.web().await["generation"], "2");
    sandbox.fault("GET", json!({ "kind": "delay", "milliseconds": 1, "after": true })).await;
    sandbox.web().await;
    assert_eq!(sandbox.journal("GET").await[1]["faults"], json!(["delay"]));
}

#[tokio::test]
async fn a_stuck_service_goes_on_when_the_faults_are_deleted() {
    let sandbox = Sandbox::with_web().await;
    sandbox.run.set_ready_delay(jiff::SignedDuration::ZERO);
    sandbox.fault("PATCH", json!({ "kind": "stuck_reconciling" })).await;
    let operation = sandbox.patch("template", body().unwrap()).await;
    let waited = format!("/v2/{}:wait", operation["name"].as_str().unwrap());
    let (_, waited) = sandbox.call("POST", &waited, Some(json!({ "timeout": "0.1s" }))).await;
    assert_eq!(waited["done"], Value::Null);
    assert_eq!(sandbox.web().await["reconciling"], true);
    sandbox.call("DELETE", "/_sandbox/faults", None).await;
    sandbox.done(&operation).await;
    assert_eq!(sandbox.get("/_sandbox/faults").await, json!({ "faults": [] }));
}

#[tokio::test]
async fn a_failed_revision_leaves_the_traffic_where_it_was() {
    let sandbox = Sandbox::with_web().await;
    let first = short(&sandbox.web().await["latestReadyRevision"]);
    sandbox
        .done(&sandbox.patch("traffic", json!({ "traffic": [target(&first, 100)] })).await)
        .await;
    sandbox.fault("PATCH", json!({ "kind": "revision_fails", "message": "It crashed." })).await;
    let mut named = template('2');
    named["revision"] = json!("web-two");
    let operation = sandbox.patch("template", json!({ "template": named })).await;
    let failed = sandbox.done(&operation).await;
    assert_eq!((&failed["error"]["code"], &failed["response"]), (&json!(9), &Value::Null));
    let service = sandbox.web().await;
    assert_eq!(service["terminalCondition"]["state"], "CONDITION_FAILED");
    assert!(service["terminalCondition"]["message"].as_str().unwrap().contains("It crashed."));
    assert_eq!(service["observedGeneration"], service["generation"]);
    assert_eq!(short(&service["latestReadyRevision"]), first);
    assert_eq!(short(&service["latestCreatedRevision"]), "web-two");
    // Traffic to the revision that failed is accepted and does not move.
    let operation = sandbox.patch("traffic", json!({ "traffic": [target("web-two", 100)] })).await;
    assert!(sandbox.done(&operation).await["error"].is_object());
    assert_eq!(sandbox.web().await["trafficStatuses"], json!([target(&first, 100)]));
}

#[tokio::test]
async fn an_edit_from_outside_makes_the_etag_stale() {
    let sandbox = Sandbox::with_web().await;
    let before = sandbox.web().await;
    sandbox.fault("PATCH", json!({ "kind": "outside_edit", "modifier": "eve@example.com" })).await;
    let mut stale = body().unwrap();
    stale["etag"] = before["etag"].clone();
    assert_eq!(sandbox.call("PATCH", &path(), Some(stale)).await.0, 409);
    let after = sandbox.web().await;
    assert_eq!(after["lastModifier"], "eve@example.com");
    assert_eq!((&before["generation"], &after["generation"]), (&json!("1"), &json!("2")));
    assert_eq!(after["template"], before["template"]);
    let change = json!({ "ingress": "INGRESS_TRAFFIC_NONE", "labels": { "a": "b" } });
    let edit = json!({ "kind": "outside_edit", "updateMask": "ingress", "change": change });
    sandbox.fault("GET", edit).await;
    let edited = sandbox.web().await;
    assert_eq!(edited["ingress"], "INGRESS_TRAFFIC_NONE");
    assert_eq!(edited["labels"], Value::Null);
    let edit = json!({ "service": WEB, "change": { "template": template('7') } });
    let (status, edited) = sandbox.call("POST", "/_sandbox/outside-edit", Some(edit)).await;
    assert_eq!((status, &edited["lastModifier"]), (200, &json!("somebody.else@example.com")));
    assert_eq!(edited["template"]["containers"][0]["image"], super::image('7'));
}

#[tokio::test]
async fn a_vanished_revision_cannot_get_traffic() {
    let sandbox = Sandbox::with_web().await;
    let first = short(&sandbox.web().await["latestReadyRevision"]);
    sandbox.done(&sandbox.patch("template", body().unwrap()).await).await;
    sandbox.fault("PATCH", json!({ "kind": "vanish_revision", "revision": first })).await;
    let traffic = Some(json!({ "traffic": [target(&first, 100)] }));
    let (status, answer) =
        sandbox.call("PATCH", &format!("/v2/{WEB}?updateMask=traffic"), traffic).await;
    assert_eq!(status, 400);
    assert!(answer["error"]["message"].as_str().unwrap().contains("does not exist"));
    assert_eq!(sandbox.call("GET", &format!("/v2/{WEB}/revisions/{first}"), None).await.0, 404);
}

#[tokio::test]
async fn controls_that_make_no_sense_are_refused() {
    let sandbox = Sandbox::with_web().await;
    for rule in [
        json!({ "fault": { "kind": "surprise" } }),
        json!({ "fault": { "kind": "status", "code": 503 }, "tims": 1 }),
        json!({ "fault": { "kind": "status", "code": 503, "mesage": "" } }),
        json!({ "fault": { "kind": "outside_edit", "changes": {} } }),
        json!({ "match": { "verb": "PATCH" }, "fault": { "kind": "lost_reply" } }),
        json!({ "fault": { "kind": "status", "code": 200 } }),
    ] {
        let url = format!("http://{}/_sandbox/faults", sandbox.address);
        let answer = sandbox.client.post(url).json(&rule).send().await.unwrap();
        assert!(answer.status().is_client_error(), "{rule}");
    }
    sandbox.web().await;
    assert_eq!(sandbox.journal("GET").await.len(), 1);
    sandbox.call("DELETE", "/_sandbox/journal", None).await;
    assert!(sandbox.journal("GET").await.is_empty());
}
