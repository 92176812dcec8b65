//! A workload asks: what is stored, what is repeated, what is refused.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::gate::{Engine, Gate, NEW_SERVICE, SERVICE, on_both_engines, send};

on_both_engines!(
    a_request_is_frozen_and_stored,
    the_same_key_gives_the_same_answer,
    a_token_is_good_for_one_key,
    bad_requests_are_refused,
    bad_tokens_are_refused,
    a_service_that_does_not_exist_yet_can_be_asked_for,
    approvals_are_listed_page_by_page,
    strangers_see_nothing,
    cancelling_is_for_the_requester,
    what_no_database_can_hold_names_nothing,
);

async fn a_request_is_frozen_and_stored(engine: Engine) {
    let gate = Gate::start(engine).await;
    let answer = gate.ask(json!({"title": "web 2", "subject": {"steps": [25, 100]}})).await;
    assert_eq!(answer.status, StatusCode::CREATED);
    let body = &answer.body;
    let id = answer.id();
    assert_eq!(answer.headers["location"], format!("/v1/approvals/{id}"));
    assert_eq!(body["status"], "pending");
    assert_eq!(body["version"], 1);
    assert_eq!(body["url"], gate.url(&format!("/approvals/{id}")));
    assert_eq!(body["deployment_digest"].as_str().unwrap().len(), 64);
    assert_eq!(body["short_code"].as_str().unwrap().len(), 9);
    assert_eq!(body["requester"]["repository"], "demo/web");
    assert_eq!(body["subject"]["steps"], json!([25, 100]));
    assert_eq!(body["rules"][0], json!({"from": ["group:release-managers"], "count": 1, "met": 0}));
    assert!(body["expires_at"].as_str().unwrap() > body["created_at"].as_str().unwrap());
    assert_eq!(gate.approval(&id).await, *body);
    let evidence = gate.get(&format!("/v1/approvals/{id}/evidence")).await.body;
    let deployment: Value = serde_json::from_str(evidence["deployment"].as_str().unwrap()).unwrap();
    assert_eq!(deployment["commit"]["headline"], "Send the checkout's address form once");
    assert_eq!(deployment["plan"]["steps"][0]["traffic"].as_array().unwrap().len(), 2);
    assert_eq!(deployment["preconditions"]["service"], "present");
    assert_eq!(deployment["requester"]["claims"]["event_name"], "push");
    assert_eq!(gate.changes_of_cloud_run().await, 0);
    gate.finish().await;
}

async fn the_same_key_gives_the_same_answer(engine: Engine) {
    let gate = Gate::start(engine).await;
    let body = gate.request_body(json!({}));
    let token = gate.token(json!({})).await;
    let first = gate.ask_as(&token, "retry", &body).await;
    assert_eq!(first.status, StatusCode::CREATED);
    // The same token after a lost answer, a fresh token, and thirty at once.
    let again = gate.ask_as(&token, "retry", &body).await;
    assert_eq!((again.status, &again.body), (StatusCode::OK, &first.body));
    let fresh = gate.ask_as(&gate.token(json!({})).await, "retry", &body).await;
    assert_eq!((fresh.status, &fresh.body), (StatusCode::OK, &first.body));
    let burst =
        (0..30).map(|_| async { gate.ask_as(&gate.token(json!({})).await, "burst", &body).await });
    let burst = futures::future::join_all(burst).await;
    assert_eq!(burst.iter().filter(|answer| answer.status == StatusCode::CREATED).count(), 1);
    assert!(burst.iter().all(|answer| answer.id() == burst[0].id()));
    let other = gate.request_body(json!({"reason": "Something else"}));
    gate.ask_as(&gate.token(json!({})).await, "retry", &other)
        .await
        .assert_problem(422, "idempotency_key_reused");
    // Keys are scoped per requester: another one's key of the same name is another key.
    let agent = gate.token(json!({"issuer": "agent"})).await;
    let theirs = gate.ask_as(&agent, "retry", &body).await;
    assert_eq!(theirs.status, StatusCode::CREATED);
    assert_ne!(theirs.id(), first.id());
    gate.finish().await;
}

async fn a_token_is_good_for_one_key(engine: Engine) {
    let gate = Gate::start(engine).await;
    let token = gate.token(json!({})).await;
    let body = gate.request_body(json!({}));
    let first = gate.ask_as(&token, "first", &body).await;
    gate.ask_as(&token, "second", &body).await.assert_problem(401, "token_reused");
    // Reading spends nothing.
    for _ in 0..3 {
        let read = gate.get_as(&format!("/v1/approvals/{}", first.id()), &token).await;
        assert_eq!(read.status, StatusCode::OK);
    }
    gate.finish().await;
}

async fn bad_requests_are_refused(engine: Engine) {
    let gate = Gate::start(engine).await;
    let image = "europe-docker.pkg.dev/demo/app/web";
    let digest = "a".repeat(64);
    let env = |name: &str, value: &str| json!({"subject": {"template": {"containers": [{"env": [{"name": name, "value": value}]}]}}});
    let cases = [
        (json!({"subject": {"image": format!("{image}:latest")}}), 422, "image_not_by_digest"),
        (json!({"subject": {"image": image}}), 422, "image_not_by_digest"),
        (
            json!({"subject": {"image": format!("docker.io/evil/web@sha256:{digest}")}}),
            422,
            "image_not_allowed",
        ),
        (
            json!({"subject": {"template": {"containers": [{}, {
                "name": "beside", "image": format!("docker.io/evil/web@sha256:{digest}"),
            }]}}}),
            422,
            "image_not_allowed",
        ),
        (json!({"environment": "staging"}), 422, "unknown_environment"),
        (
            json!({"subject": {"service": "projects/demo/locations/europe-west1/services/other"}}),
            422,
            "service_not_covered",
        ),
        (json!({"subject": {"service": "web"}}), 422, "invalid_service"),
        (json!({"subject": {"steps": [50]}}), 422, "invalid_steps"),
        (json!({"subject": {"steps": []}}), 422, "invalid_steps"),
        (json!({"subject": {"steps": [50, 20, 100]}}), 422, "invalid_steps"),
        (json!({"subject": {"steps": [0, 100]}}), 422, "invalid_steps"),
        (json!({"subject": {"steps": [50, 300]}}), 400, "malformed_request"),
        (json!({"subject": {"kind": "job"}}), 400, "malformed_request"),
        (json!({"subject": {"surprise": 1}}), 400, "malformed_request"),
        (json!({"surprise": true}), 400, "malformed_request"),
        (json!({"reason": null}), 400, "malformed_request"),
        (json!({"reason": " "}), 422, "invalid_text"),
        (json!({"reason": "x".repeat(2000)}), 422, "invalid_text"),
        (json!({"title": "x".repeat(300)}), 422, "invalid_text"),
        (json!({"body": "x".repeat(20_000)}), 422, "invalid_text"),
        (json!({"links": [{"title": "x", "url": "javascript:alert(1)"}]}), 422, "invalid_text"),
        (json!({"links": [{"title": "x", "url": "http://plain.example"}]}), 422, "invalid_text"),
        (
            json!({"links": [{"title": "x", "url": "https://bank.example@evil.example"}]}),
            422,
            "invalid_text",
        ),
        (json!({"links": [{"title": "x", "url": " https://space.example"}]}), 422, "invalid_text"),
        (
            json!({"links": [{"title": "x", "url": "https://turned.example/\u{202e}gnp"}]}),
            422,
            "invalid_text",
        ),
        (json!({"links": [["x", "https://list.example"]]}), 400, "malformed_request"),
        (json!({"reason": "\u{200b}\u{2060} "}), 422, "invalid_text"),
        (json!({"expires_in": "9 days"}), 422, "invalid_expiry"),
        (json!({"expires_in": "soon"}), 422, "invalid_expiry"),
        (json!({"expires_in": -5}), 422, "invalid_expiry"),
        (json!({"subject": {"template": []}}), 422, "invalid_template"),
        (json!({"subject": {"template": {"surprise": 1}}}), 422, "invalid_template"),
        (json!({"subject": {"template": {"revision": "web-mine"}}}), 422, "invalid_template"),
        (
            json!({"subject": {"template": {"containers": [{"image": "other:latest"}]}}}),
            422,
            "invalid_template",
        ),
        (
            json!({"subject": {"template": {"containers": [{"args": ["--db-password", "correct-horse"]}]}}}),
            422,
            "plain_credential",
        ),
        (env("DB_PASSWORD", "correct-horse"), 422, "plain_credential"),
        (env("DATABASE_URL", "postgres://app:secret@db/app"), 422, "plain_credential"),
    ];
    for (changes, status, code) in cases {
        let answer = gate.ask(changes.clone()).await;
        assert_eq!(
            (answer.status.as_u16(), answer.code()),
            (status, code),
            "{changes} {:#}",
            answer.body
        );
        answer.assert_problem(status, code);
    }
    let secret = gate.ask(env("DB_PASSWORD", "correct-horse")).await;
    assert!(secret.body["detail"].as_str().unwrap().contains("Secret Manager"));
    assert!(!secret.body.to_string().contains("correct-horse"));
    refuse_unreadable(&gate).await;
    assert_eq!(gate.get("/v1/approvals").await.body["items"], json!([]));
    gate.finish().await;
}

async fn refuse_unreadable(gate: &Gate) {
    let post = |token: String, key: Option<&'static str>, body: String| {
        let request = gate.http.post(gate.url("/v1/approvals")).bearer_auth(token).body(body);
        match key {
            Some(key) => request.header("Idempotency-Key", key),
            None => request,
        }
    };
    let token = || gate.token(json!({}));
    let good = gate.request_body(json!({})).to_string();
    send(post(token().await, None, good.clone()))
        .await
        .assert_problem(400, "invalid_idempotency_key");
    send(post(token().await, Some(" "), good.clone()))
        .await
        .assert_problem(400, "invalid_idempotency_key");
    send(post(token().await, Some("k1"), "{".into()))
        .await
        .assert_problem(400, "malformed_request");
    send(post(token().await, Some("k2"), "[]".into()))
        .await
        .assert_problem(400, "malformed_request");
    let twice = good.replacen('{', "{\"reason\": \"another\",", 1);
    send(post(token().await, Some("k3"), twice)).await.assert_problem(400, "malformed_request");
    let twice = good.replacen(
        "\"kind\"",
        "\"template\": {\"timeout\": \"5s\", \"timeout\": \"9s\"}, \"kind\"",
        1,
    );
    send(post(token().await, Some("k3"), twice)).await.assert_problem(400, "malformed_request");
    for other in ["text/plain", "application/x-www-form-urlencoded", "nonsense"] {
        let request = post(token().await, Some("k5"), good.clone()).header("content-type", other);
        send(request).await.assert_problem(415, "unsupported_media_type");
    }
    let large = format!("{{\"body\": \"{}\"}}", "x".repeat(70 * 1024));
    send(post(token().await, Some("k4"), large)).await.assert_problem(413, "body_too_large");
    gate.get("/v1/approvals?status=finished").await.assert_problem(400, "unknown_status");
    gate.get("/v1/approvals?surprise=1").await.assert_problem(400, "invalid_query");
    gate.get("/v1/approvals?cursor=xyz").await.assert_problem(400, "invalid_cursor");
    gate.get("/v1/nothing").await.assert_problem(404, "not_found");
    gate.get("/assets/any/nothing.js").await.assert_problem(404, "not_found");
    let put = gate.http.put(gate.url("/v1/approvals"));
    send(put).await.assert_problem(405, "method_not_allowed");
}

async fn bad_tokens_are_refused(engine: Engine) {
    let gate = Gate::start(engine).await;
    let now = gate.servers.clock.now().as_second();
    let cases = [
        (json!({"exp": now - 60}), 401, "token_expired"),
        (json!({"nbf": now + 120}), 401, "token_not_yet_valid"),
        (json!({"aud": null}), 401, "missing_audience"),
        (json!({"aud": [gate.servers.gate, "https://else.example"]}), 401, "audience_is_list"),
        (json!({"aud": "https://else.example"}), 401, "wrong_audience"),
        (json!({"iss": "https://else.example"}), 401, "unknown_issuer"),
        (json!({"header": {"kid": "unknown"}}), 401, "unknown_key"),
        (json!({"header": {"alg": "none"}}), 401, "unsigned_token"),
        (json!({"header": {"alg": "HS256"}}), 401, "wrong_algorithm"),
        (json!({"signature": "broken"}), 401, "bad_signature"),
        (json!({"event_name": "pull_request_target"}), 403, "refused_event"),
        (json!({"repository_id": "9999"}), 403, "requester_not_allowed"),
        (json!({"ref": "refs/heads/feature"}), 403, "requester_not_allowed"),
        (json!({"issuer": "agent", "sub": "agent:other"}), 403, "requester_not_allowed"),
        (json!({"repository_id": "1001\u{0}"}), 401, "missing_requester_claim"),
    ];
    for (claims, status, code) in cases {
        let token = gate.token(claims.clone()).await;
        let answer = gate.ask_as(&token, "key", &gate.request_body(json!({}))).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (status, code), "{claims}");
    }
    let bare = gate.http.get(gate.url("/v1/environments"));
    send(bare).await.assert_problem(401, "missing_token");
    let basic = gate.http.get(gate.url("/v1/environments")).header("authorization", "Basic eDp5");
    send(basic).await.assert_problem(401, "missing_token");
    assert_eq!(gate.get("/v1/approvals").await.body["items"], json!([]));
    gate.finish().await;
}

async fn a_service_that_does_not_exist_yet_can_be_asked_for(engine: Engine) {
    let gate = Gate::start(engine).await;
    gate.ask(json!({"subject": {"service": NEW_SERVICE, "steps": [10, 100]}}))
        .await
        .assert_problem(422, "invalid_steps");
    let id = gate.asked(json!({"subject": {"service": NEW_SERVICE}})).await;
    let mut alice = gate.approver("alice").await;
    alice.approve(&id).await.unwrap();
    let ended = gate.ended(&id).await;
    assert_eq!(ended["status"], "succeeded", "{ended:#}");
    assert_eq!(gate.calls("POST", "/services?").await.len(), 1);
    assert_eq!(gate.calls("PATCH", "/v2/").await.len(), 0);
    gate.finish().await;
}

async fn approvals_are_listed_page_by_page(engine: Engine) {
    let gate = Gate::start(engine).await;
    let mut asked = Vec::new();
    for _ in 0..5 {
        asked.push(gate.asked(json!({})).await);
    }
    asked.reverse();
    let mut listed = Vec::new();
    let mut path = "/v1/approvals?limit=2&status=pending&environment=production".to_owned();
    loop {
        let page = gate.get(&path).await.body;
        listed.extend(
            page["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|item| item["id"].as_str().unwrap().to_owned()),
        );
        match page["next_cursor"].as_str() {
            Some(cursor) => {
                path = format!(
                    "/v1/approvals?limit=2&status=pending&environment=production&cursor={cursor}"
                )
            }
            None => break,
        }
    }
    assert_eq!(listed, asked);
    assert_eq!(gate.get("/v1/approvals?status=rejected").await.body["items"], json!([]));
    assert_eq!(gate.get("/v1/approvals?environment=staging").await.body["items"], json!([]));
    let environments = gate.get("/v1/environments").await.body;
    assert_eq!(environments["environments"][0]["name"], "production");
    assert_eq!(environments["environments"][0]["services"], json!([SERVICE, NEW_SERVICE]));
    let stranger = gate.token(json!({"repository_id": "77"})).await;
    let theirs = gate.get_as("/v1/environments", &stranger).await.body;
    assert_eq!(theirs, json!({"environments": []}));
    gate.finish().await;
}

async fn strangers_see_nothing(engine: Engine) {
    let gate = Gate::start(engine).await;
    let id = gate.asked(json!({})).await;
    for claims in [json!({"repository_id": "77"}), json!({"issuer": "agent"})] {
        for path in [format!("/v1/approvals/{id}"), format!("/v1/approvals/{id}/evidence")] {
            let theirs = gate.get_as(&path, &gate.token(claims.clone()).await).await;
            let absent = path.replace(&id, "apr_aaaaaaaaaaaaaaaaaaaaaaaaaa");
            let absent = gate.get_as(&absent, &gate.token(claims.clone()).await).await;
            theirs.assert_problem(404, "not_found");
            assert_eq!(theirs.body, absent.body, "absent and forbidden look alike");
        }
        let listed = gate.get_as("/v1/approvals", &gate.token(claims).await).await;
        assert_eq!(listed.body["items"], json!([]));
    }
    gate.get("/v1/approvals/nonsense").await.assert_problem(404, "not_found");
    gate.finish().await;
}

async fn cancelling_is_for_the_requester(engine: Engine) {
    let gate = Gate::start(engine).await;
    let id = gate.asked(json!({})).await;
    let path = format!("/v1/approvals/{id}/cancel");
    let stranger = gate.token(json!({"repository_id": "77"})).await;
    let request = gate.http.post(gate.url(&path)).bearer_auth(stranger).json(&json!({}));
    send(request).await.assert_problem(404, "not_found");
    for body in [json!({"surprise": 1}), json!([]), json!(null)] {
        gate.post(&path, body).await.assert_problem(400, "malformed_request");
    }
    let cancelled = gate.post(&path, json!({})).await;
    assert_eq!(
        (cancelled.status, &cancelled.body["status"]),
        (StatusCode::OK, &json!("cancelled"))
    );
    gate.post(&path, json!({})).await.assert_problem(409, "approval_closed");
    assert_eq!(gate.changes_of_cloud_run().await, 0);
    gate.finish().await;
}

/// PostgreSQL refuses U+0000 in a text. That is the caller's doing and no outage of ours.
async fn what_no_database_can_hold_names_nothing(engine: Engine) {
    let gate = Gate::start(engine).await;
    let listed = gate.get("/v1/approvals?environment=%00").await;
    assert_eq!((listed.status, &listed.body["items"]), (StatusCode::OK, &json!([])));
    let id = gate.asked(json!({"reason": "a\u{0}b"})).await;
    let mut alice = gate.approver("alice").await;
    let statement = alice.statement(&id, json!({"decision": "approve"})).await.unwrap();
    let mut decision = alice.signed(&statement, &[]).unwrap();
    decision["nonce"] = json!("a\u{0}b");
    let path = format!("/approvals/{id}/decisions");
    let refused = alice.browser.post(&path, &decision).await.unwrap_err();
    assert!(refused.contains("409"), "{refused}");
    let refused = alice.browser.post("/keys/ceremonies/%00", &json!({})).await.unwrap_err();
    assert!(refused.contains("409"), "{refused}");
    let unnamed = alice.browser.post("/keys/ceremonies", &json!({"name": "a\u{0}"})).await;
    assert!(unnamed.unwrap_err().contains("422"));
    for path in ["/sign-in/callback?code=%00&state=%00", "/sign-in?ceremony=%00"] {
        let answer = send(gate.http.get(gate.url(path))).await;
        assert!(answer.status.is_client_error(), "{path} {answer:?}");
    }
    gate.finish().await;
}
