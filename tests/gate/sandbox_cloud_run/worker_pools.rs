//! Worker pools of the sandbox, against Google's description: kept as services are, with splits of instances.

use serde_json::{Value, json};

use super::contract::{check, check_operation};
use super::{PARENT, Sandbox, WEB, short, template};

const MAIL: &str = "projects/demo/locations/europe-west1/workerPools/mail";

fn split(revision: &str, percent: u32) -> Value {
    json!({ "type": "INSTANCE_SPLIT_ALLOCATION_TYPE_REVISION", "revision": revision, "percent": percent })
}

async fn with_mail() -> Sandbox {
    let sandbox = Sandbox::with_web().await;
    let body = json!({ "template": template('1'), "scaling": { "manualInstanceCount": 0 } });
    let path = format!("/v2/{PARENT}/workerPools?workerPoolId=mail");
    let (status, made) = sandbox.call("POST", &path, Some(body)).await;
    assert_eq!(status, 200, "{made}");
    check_operation(&made);
    check("GoogleCloudRunV2WorkerPool", &sandbox.get(&format!("/v2/{MAIL}")).await);
    check_operation(&sandbox.done(&made).await);
    sandbox
}

async fn patch(sandbox: &Sandbox, query: &str, body: Value) -> (u16, Value) {
    sandbox.call("PATCH", &format!("/v2/{MAIL}?{query}"), Some(body)).await
}

#[tokio::test]
async fn a_worker_pool_lives_and_ends_as_the_description_says() {
    let sandbox = with_mail().await;
    let pool = sandbox.get(&format!("/v2/{MAIL}")).await;
    check("GoogleCloudRunV2WorkerPool", &pool);
    let first = short(&pool["latestReadyRevision"]);
    let latest = json!([{ "type": "INSTANCE_SPLIT_ALLOCATION_TYPE_LATEST", "percent": 100 }]);
    assert_eq!((&pool["instanceSplits"], &pool["instanceSplitStatuses"]), (&latest, &latest));
    // What a container that answers requests has is not filled in, and none is a number.
    let template = pool["template"].as_object().unwrap();
    assert!(
        !["timeout", "scaling", "maxInstanceRequestConcurrency"]
            .iter()
            .any(|name| template.contains_key(*name))
    );
    assert!(template["containers"][0].get("ports").is_none() && pool.get("uri").is_none());
    assert_eq!(pool["scaling"]["manualInstanceCount"], 0);

    // A new revision, without instances at first.
    let mut second = super::template('2');
    second["revision"] = json!("mail-two");
    let body =
        json!({ "etag": pool["etag"], "template": second, "instanceSplits": [split(&first, 100)] });
    let mask = "updateMask=template,instance_splits";
    let (status, tried) = patch(&sandbox, &format!("{mask}&validateOnly=true"), body.clone()).await;
    assert_eq!((status, &tried["done"]), (200, &json!(true)), "{tried}");
    check_operation(&tried);
    assert_eq!(sandbox.get(&format!("/v2/{MAIL}")).await, pool);
    let (status, operation) = patch(&sandbox, mask, body.clone()).await;
    assert_eq!(status, 200, "{operation}");
    assert_eq!(sandbox.get(&format!("/v2/{MAIL}")).await["reconciling"], true);
    sandbox.done(&operation).await;
    let (status, stale) = patch(&sandbox, mask, body).await;
    assert_eq!((status, &stale["error"]["status"]), (409, &json!("ABORTED")), "{stale}");
    let splits = json!([split(&first, 75), split("mail-two", 25)]);
    let (_, operation) =
        patch(&sandbox, "updateMask=instanceSplits", json!({ "instanceSplits": splits })).await;
    check_operation(&sandbox.done(&operation).await);
    let pool = sandbox.get(&format!("/v2/{MAIL}?$alt=json;enum-encoding=int")).await;
    check("GoogleCloudRunV2WorkerPool", &pool);
    assert_eq!(
        pool["instanceSplitStatuses"][1],
        json!({ "type": 2, "revision": "mail-two", "percent": 25 })
    );
    let revisions = sandbox.get(&format!("/v2/{MAIL}/revisions")).await;
    check("GoogleCloudRunV2ListRevisionsResponse", &revisions);
    assert_eq!(revisions["revisions"].as_array().unwrap().len(), 2);
    let pools = sandbox.get(&format!("/v2/{PARENT}/workerPools")).await;
    check("GoogleCloudRunV2ListWorkerPoolsResponse", &pools);
    assert_eq!(pools["workerPools"].as_array().unwrap().len(), 1);
    // Services and worker pools are not taken for each other.
    let services = sandbox.get(&format!("/v2/{PARENT}/services")).await;
    assert_eq!(services["services"].as_array().unwrap().len(), 1);
    assert_eq!(services["services"][0]["name"], WEB);
    let (status, ended) = sandbox.call("DELETE", &format!("/v2/{MAIL}"), None).await;
    assert_eq!(status, 200, "{ended}");
    sandbox.done(&ended).await;
    assert_eq!(sandbox.call("GET", &format!("/v2/{MAIL}"), None).await.0, 404);
}

#[tokio::test]
async fn what_a_worker_pool_cannot_have_is_refused() {
    let sandbox = with_mail().await;
    let first = short(&sandbox.get(&format!("/v2/{MAIL}")).await["latestReadyRevision"]);
    let with = |name: &str, value: Value| {
        let mut template = template('3');
        template[name] = value;
        json!({ "template": template })
    };
    let traffic = json!({ "traffic": [super::target(&first, 100)] });
    let tagged = json!({ "type": "INSTANCE_SPLIT_ALLOCATION_TYPE_REVISION", "revision": first, "percent": 100, "tag": "try" });
    for (mask, body) in [
        ("template", with("timeout", json!("60s"))),
        ("template", with("sessionAffinity", json!(true))),
        ("template", with("revision", json!("web-two"))),
        ("traffic", traffic),
        ("instanceSplits", json!({ "instanceSplits": [tagged] })),
        ("instanceSplits", json!({ "instanceSplits": [split(&first, 99)] })),
        ("instanceSplits", json!({ "instanceSplits": [split("mail-gone", 100)] })),
        ("instanceSplits", json!({ "instanceSplits": [super::target(&first, 100)] })),
        ("surprise", json!({})),
    ] {
        let (status, answer) = patch(&sandbox, &format!("updateMask={mask}"), body.clone()).await;
        assert_eq!(
            (status, &answer["error"]["status"]),
            (400, &json!("INVALID_ARGUMENT")),
            "{body}: {answer}"
        );
    }
    assert_eq!(sandbox.get(&format!("/v2/{MAIL}")).await["generation"], "1");
}
