//! How the client fails: the class that the worker decides by, a sentence, and never a second call.

use serde_json::{Value, json};

use super::*;

const UNKNOWN: &str = "cloud_run_outcome_unknown";
const NOT_NOW: &str = "cloud_run_not_now";
const REFUSED: &str = "cloud_run_refused";

fn status(code: u16) -> Value {
    json!({ "kind": "status", "code": code, "message": "said Google." })
}

/// One write of each kind under this fault: its class, and that it was sent once.
async fn assert_writes(fault: Value, expected: &str) {
    for moves_traffic in [false, true] {
        let sandbox = Sandbox::with_web().await;
        let cloud_run = client(&sandbox);
        let (observed, deployment) = asked(&cloud_run).await;
        sandbox.fault("PATCH", fault.clone()).await;
        let failed = if moves_traffic {
            let traffic = &deployment.plan.rollback;
            cloud_run.move_traffic(&deployment, &observed, traffic, None).await
        } else {
            cloud_run.create_revision(&deployment, &observed).await
        };
        let failed = failed.unwrap_err();
        assert_eq!(failed.code(), expected, "{fault}: {failed}");
        assert!(failed.to_string().contains(WEB), "{failed}");
        assert_eq!(sandbox.journal("PATCH").await.len(), 1, "{fault}");
    }
}

#[tokio::test]
async fn a_write_whose_outcome_nobody_knows_is_unknown() {
    for fault in [
        json!({ "kind": "lost_reply" }),
        json!({ "kind": "status_after_effect", "code": 500 }),
        json!({ "kind": "status_after_effect", "code": 504 }),
        status(500),
        status(502),
        status(504),
        status(499),
        status(408),
    ] {
        assert_writes(fault, UNKNOWN).await;
    }
}

#[tokio::test]
async fn a_write_that_may_work_later_is_not_now() {
    for code in [409, 412, 429, 503] {
        assert_writes(status(code), NOT_NOW).await;
    }
}

#[tokio::test]
async fn a_write_that_never_works_is_refused() {
    for code in [400, 401, 403, 404, 501] {
        assert_writes(status(code), REFUSED).await;
    }
}

#[tokio::test]
async fn a_service_that_changed_since_it_was_observed_is_not_written_to() {
    assert_writes(json!({ "kind": "outside_edit" }), NOT_NOW).await;
}

#[tokio::test]
async fn a_revision_name_that_is_taken_is_looked_at_again() {
    let sandbox = Sandbox::with_web().await;
    let cloud_run = client(&sandbox);
    let (_, deployment) = asked(&cloud_run).await;
    let mut other = template('9');
    other["revision"] = json!(deployment.plan.revision);
    sandbox.done(&sandbox.patch("template", json!({ "template": other })).await).await;
    let observed = settled(&cloud_run).await;
    let taken = cloud_run.create_revision(&deployment, &observed).await.unwrap_err();
    assert_eq!(taken.code(), NOT_NOW);
    assert!(taken.to_string().contains("different configuration"), "{taken}");
}

#[tokio::test]
async fn a_creation_fails_like_any_write_and_is_sent_once() {
    for (fault, expected) in [
        (json!({ "kind": "lost_reply" }), UNKNOWN),
        (status(500), UNKNOWN),
        (status(503), NOT_NOW),
        (status(403), REFUSED),
    ] {
        let sandbox = Sandbox::empty(None).await;
        let cloud_run = client(&sandbox);
        let rule = json!({ "match": { "method": "POST", "path": "/services" }, "fault": fault });
        sandbox.call("POST", "/_sandbox/faults", Some(rule)).await;
        let failed =
            cloud_run.create_service(frozen(None, None).deployment().unwrap()).await.unwrap_err();
        assert_eq!(failed.code(), expected, "{failed}");
        assert_eq!(sandbox.journal("POST").await.len(), 1);
    }
}

#[tokio::test]
async fn reads_fail_in_the_same_classes_and_are_sent_once() {
    for (fault, expected) in [
        (json!({ "kind": "lost_reply" }), UNKNOWN),
        (status(500), UNKNOWN),
        (status(429), NOT_NOW),
        (status(503), NOT_NOW),
        (status(400), REFUSED),
    ] {
        let sandbox = Sandbox::with_web().await;
        let cloud_run = client(&sandbox);
        sandbox.fault("GET", fault.clone()).await;
        let failed = cloud_run.observe_service(&web()).await.unwrap_err();
        assert_eq!(failed.code(), expected, "{failed}");
        sandbox.fault("GET", fault).await;
        let failed = cloud_run.observe_revision(&web(), "web-1").await.unwrap_err();
        assert_eq!(failed.code(), expected, "{failed}");
        assert_eq!(sandbox.journal("GET").await.len(), 2);
    }
}

#[tokio::test]
async fn nobody_there_is_not_now() {
    let sandbox = Sandbox::with_web().await;
    let (observed, deployment) = asked(&client(&sandbox)).await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let cloud_run = client_of(&address);
    let failed = cloud_run.create_revision(&deployment, &observed).await.unwrap_err();
    assert_eq!(failed.code(), NOT_NOW, "{failed}");
    assert!(failed.to_string().to_lowercase().contains("refused"), "{failed}");
    assert_eq!(cloud_run.observe_service(&web()).await.unwrap_err().code(), NOT_NOW);
}

/// Answers every connection with the same bytes.
async fn answering(answer: &'static str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    address
}

#[tokio::test]
async fn an_answer_of_somebody_else_proves_nothing() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let page = "HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\nConnection: close\r\n\r\n<h1>?</h1";
    let failed = client_of(&answering(page).await).observe_service(&web()).await.unwrap_err();
    assert_eq!(failed.code(), REFUSED, "{failed}");
    let nonsense = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}";
    let failed = client_of(&answering(nonsense).await).observe_service(&web()).await.unwrap_err();
    assert_eq!(failed.code(), UNKNOWN, "{failed}");
    let broken = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\n{\"name\":1";
    let failed = client_of(&answering(broken).await).observe_service(&web()).await.unwrap_err();
    assert_eq!(failed.code(), UNKNOWN, "{failed}");
}

#[tokio::test]
async fn the_sentences_say_what_to_do() {
    let sandbox = Sandbox::with_web().await;
    let cloud_run = client(&sandbox);
    let (observed, deployment) = asked(&cloud_run).await;
    sandbox.fault("GET", status(403)).await;
    let read = cloud_run.observe_service(&web()).await.unwrap_err().to_string();
    sandbox.fault("PATCH", status(403)).await;
    let written = cloud_run.create_revision(&deployment, &observed).await.unwrap_err().to_string();
    sandbox.fault("PATCH", json!({ "kind": "lost_reply" })).await;
    let lost = cloud_run.move_traffic(&deployment, &observed, &observed.serving, None).await;
    let lost = lost.unwrap_err().to_string();
    insta::assert_snapshot!([read, written, lost].join("\n"), @"
    Cloud Run refuses to read projects/demo/locations/europe-west1/services/web: said Google (403 PERMISSION_DENIED). Grant the gate's service account run.services.get on projects/demo/locations/europe-west1/services/web (roles/run.viewer has it)
    Cloud Run refuses to create revision web-a4dqobyha4dq of projects/demo/locations/europe-west1/services/web: said Google (403 PERMISSION_DENIED). Grant the gate's service account run.services.update on projects/demo/locations/europe-west1/services/web (roles/run.developer has it), and iam.serviceAccounts.actAs on the service account that it runs as
    Cloud Run gave no clear answer when asked to move the traffic of projects/demo/locations/europe-west1/services/web: client error (SendRequest): connection closed before message completed (it may or may not have taken effect; what is there must be read before anything else is done)
    ");
}
