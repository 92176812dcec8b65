//! What the client sends: one call for each method, the exact mask, etag and traffic.

use serde_json::{Value, json};

use super::*;

const PATCH: &str = "$alt=json;enum-encoding=int";

/// The only call of this method in the journal.
async fn only_call(sandbox: &Sandbox, method: &str) -> Value {
    let calls = sandbox.journal(method).await;
    assert_eq!(calls.len(), 1, "{calls:#?}");
    calls[0].clone()
}

fn parameters(call: &Value) -> Vec<(String, String)> {
    let url = format!("http://host{}", call["path"].as_str().unwrap());
    let url: url::Url = url.parse().unwrap();
    let pairs = url.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned()));
    pairs.filter(|(name, value)| format!("{name}={value}") != PATCH).collect()
}

fn parameter(call: &Value, name: &str) -> String {
    let found = parameters(call).into_iter().find(|(known, _)| known == name);
    found.map_or_else(String::new, |(_, value)| value)
}

/// A target as the client writes it, enums by number: 2 names a revision, 1 is the latest.
fn sent(revision: &str, percent: u32) -> Value {
    json!({ "type": 2, "revision": revision, "percent": percent })
}

fn sent_tag(tag: &str, revision: &str) -> Value {
    json!({ "type": 2, "revision": revision, "tag": tag })
}

fn members(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[tokio::test]
async fn a_revision_is_created_and_the_traffic_stays() {
    let sandbox = Sandbox::with_web().await;
    let cloud_run = client(&sandbox);
    let notes = json!({ "annotations": { "team.example/owner": "web" } });
    sandbox.done(&sandbox.patch("annotations", notes).await).await;
    sandbox.call("DELETE", "/_sandbox/journal", None).await;
    let (before, deployment) = asked(&cloud_run).await;
    cloud_run.create_revision(&deployment, &before).await.unwrap();
    let call = only_call(&sandbox, "PATCH").await;
    assert!(call["path"].as_str().unwrap().starts_with(&format!("/v2/{WEB}?")), "{call:#}");
    assert_eq!(parameter(&call, "updateMask"), "template,traffic,annotations");
    assert_eq!(parameter(&call, "allowMissing"), "false");
    assert_eq!(parameter(&call, "validateOnly"), "false");
    let body = &call["request"];
    assert_eq!(members(body), ["annotations", "etag", "name", "template", "traffic"]);
    assert_eq!(body["etag"], json!(before.etag));
    assert_eq!(body["traffic"], json!([sent(&before.serving[0].revision, 100)]));
    assert_eq!(body["template"]["revision"], json!(deployment.plan.revision));
    let approval = deployment.approval.as_str();
    assert_eq!(
        body["annotations"],
        json!({ "team.example/owner": "web", "countersign.dev/approval": approval, "countersign.dev/step": "revision" })
    );
    let after = settled(&cloud_run).await;
    assert_eq!((after.serving, after.wanted), (before.serving.clone(), before.serving));
    assert_eq!(after.latest_created_revision, deployment.plan.revision);
    assert_eq!(after.annotations["countersign.dev/step"], "revision");
    let revision = cloud_run.observe_revision(&web(), &deployment.plan.revision).await.unwrap();
    let revision = revision.unwrap();
    assert_eq!(revision.annotations["countersign.dev/approval"], approval);
    assert_eq!(revision.image, image('2'));
}

#[tokio::test]
async fn the_traffic_moves_without_an_echo_of_the_template() {
    let sandbox = Sandbox::with_web().await;
    let cloud_run = client(&sandbox);
    let (before, deployment) = asked(&cloud_run).await;
    cloud_run.create_revision(&deployment, &before).await.unwrap();
    let created = settled(&cloud_run).await;
    sandbox.call("DELETE", "/_sandbox/journal", None).await;
    let step = &deployment.plan.steps[0];
    cloud_run.move_traffic(&deployment, &created, &step.traffic, None).await.unwrap();
    let call = only_call(&sandbox, "PATCH").await;
    assert_eq!(parameter(&call, "updateMask"), "traffic,annotations");
    assert_eq!(parameter(&call, "allowMissing"), "false");
    let body = &call["request"];
    assert_eq!(members(body), ["annotations", "etag", "name", "traffic"]);
    assert_eq!(body["etag"], json!(created.etag));
    let old = &before.serving[0].revision;
    assert_eq!(body["traffic"], json!([sent(&deployment.plan.revision, 10), sent(old, 90)]));
    assert_eq!(body["annotations"]["countersign.dev/step"], "traffic 10%");
    let moved = settled(&cloud_run).await;
    let mut expected = step.traffic.clone();
    expected.sort();
    assert_eq!((&moved.serving, &moved.wanted), (&expected, &expected));
    assert_eq!(moved.template, created.template);
    cloud_run.move_traffic(&deployment, &moved, &deployment.plan.rollback, None).await.unwrap();
    let restored = settled(&cloud_run).await;
    assert_eq!(restored.serving, before.serving);
    assert_eq!(restored.annotations["countersign.dev/step"], "traffic 0%");
}

#[tokio::test]
async fn tags_survive_and_none_follows_to_the_new_revision() {
    let sandbox = Sandbox::with_web().await;
    let cloud_run = client(&sandbox);
    let first = short(&sandbox.web().await["latestReadyRevision"]);
    let latest = "TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST";
    let traffic = json!([
        { "type": latest, "percent": 100, "tag": "newest" },
        { "type": "TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION", "revision": first, "tag": "stable" },
    ]);
    sandbox.done(&sandbox.patch("traffic", json!({ "traffic": traffic })).await).await;
    sandbox.call("DELETE", "/_sandbox/journal", None).await;
    let (before, deployment) = asked(&cloud_run).await;
    cloud_run.create_revision(&deployment, &before).await.unwrap();
    let tags = [sent_tag("newest", &first), sent_tag("stable", &first)];
    let created = only_call(&sandbox, "PATCH").await["request"]["traffic"].clone();
    assert_eq!(created, json!([sent(&first, 100), tags[0], tags[1]]));
    let created = settled(&cloud_run).await;
    assert_eq!(created.tags, before.tags);
    let everything = &deployment.plan.steps[1].traffic;
    cloud_run.move_traffic(&deployment, &created, everything, None).await.unwrap();
    let moved = settled(&cloud_run).await;
    assert_eq!((&moved.serving, &moved.tags), (everything, &before.tags));
}

#[tokio::test]
async fn a_service_is_created_with_its_first_revision() {
    let sandbox = Sandbox::empty(None).await;
    let cloud_run = client(&sandbox);
    assert_eq!(cloud_run.observe_service(&web()).await.unwrap(), None);
    let deployment = frozen(None, None).deployment().unwrap().clone();
    cloud_run.create_service(&deployment).await.unwrap();
    let call = only_call(&sandbox, "POST").await;
    assert_eq!(parameter(&call, "serviceId"), "web");
    assert_eq!(parameter(&call, "validateOnly"), "false");
    let body = &call["request"];
    assert_eq!(members(body), ["annotations", "template", "traffic"]);
    assert_eq!(body["traffic"], json!([sent(&deployment.plan.revision, 100)]));
    assert_eq!(body["annotations"]["countersign.dev/step"], "service");
    let made = settled(&cloud_run).await;
    assert_eq!(made.readiness, Readiness::Ready);
    assert_eq!(made.serving, [share(&deployment.plan.revision, 100)]);
    assert_eq!(made.annotations["countersign.dev/approval"], deployment.approval.as_str());
    // It exists by now: whoever looks again sees that it is ours.
    let again = cloud_run.create_service(&deployment).await.unwrap_err();
    assert_eq!(again.code(), "cloud_run_not_now", "{again}");
}

#[tokio::test]
async fn what_would_be_dangerous_to_send_is_not_sent() {
    let sandbox = Sandbox::with_web().await;
    let cloud_run = client(&sandbox);
    let (observed, deployment) = asked(&cloud_run).await;
    for traffic in [vec![], vec![share("web-x", 99)], vec![share("", 100)]] {
        let refused =
            cloud_run.move_traffic(&deployment, &observed, &traffic, None).await.unwrap_err();
        assert_eq!(refused.code(), "cloud_run_refused", "{refused}");
    }
    let idle = ObservedService { serving: Vec::new(), ..observed.clone() };
    assert!(cloud_run.create_revision(&deployment, &idle).await.is_err());
    let unconditional = ObservedService { etag: String::new(), ..observed };
    assert!(cloud_run.create_revision(&deployment, &unconditional).await.is_err());
    assert!(sandbox.journal("PATCH").await.is_empty());
}
