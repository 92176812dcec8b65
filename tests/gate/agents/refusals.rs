//! What an agent's client may not send, and what it is told then.

use reqwest::header::HeaderValue;
use serde_json::{Value, json};

use super::{Agent, assert_refused, image};
use crate::support::gate::{Engine, Gate, SERVICE, on_both_engines, send};

on_both_engines!(
    who_has_no_good_token_learns_where_tokens_come_from,
    what_is_no_message_is_refused,
    foreign_hosts_and_pages_are_refused,
    other_revisions_are_refused,
    what_the_gate_does_not_know_is_refused,
    wrong_arguments_come_back_as_results,
    approvals_of_others_do_not_exist,
    one_token_asks_for_one_thing,
    who_may_ask_for_nothing_sees_nothing,
);

/// A message that every gate answers.
fn ping() -> String {
    json!({"jsonrpc": "2.0", "id": 1, "method": "ping"}).to_string()
}

async fn who_has_no_good_token_learns_where_tokens_come_from(engine: Engine) {
    let gate = Gate::start(engine).await;
    let bare = gate.http.post(gate.url("/mcp")).body(ping());
    let nobody = send(bare).await;
    nobody.assert_problem(401, "missing_token");
    let metadata = gate.url("/.well-known/oauth-protected-resource");
    let challenge = format!("Bearer resource_metadata=\"{metadata}\"");
    assert_eq!(nobody.headers["www-authenticate"], challenge.as_str());
    let told = send(gate.http.get(metadata)).await;
    let sandbox = &gate.servers.sandbox;
    assert_eq!(
        told.body,
        json!({
            "resource": gate.servers.gate,
            "resource_name": "Countersign",
            "authorization_servers": [format!("{sandbox}/github"), format!("{sandbox}/agent")],
            "bearer_methods_supported": ["header"],
        })
    );
    let past = jiff::Timestamp::from_second(1_700_000_000).unwrap().as_second();
    for (claims, code) in [
        (json!({"issuer": "agent", "aud": "https://elsewhere.example"}), "wrong_audience"),
        (json!({"issuer": "agent", "iat": past, "nbf": past, "exp": past + 300}), "token_expired"),
        (json!({"issuer": "agent", "signature": "broken"}), "bad_signature"),
        (json!({"issuer": "agent", "signature": "foreign"}), "bad_signature"),
        (json!({"issuer": "agent", "iss": "https://elsewhere.example"}), "unknown_issuer"),
        (json!({"issuer": "agent", "exp": null}), "missing_expiry"),
    ] {
        let agent = Agent::with_token(&gate, gate.token(claims).await);
        for body in [ping(), String::new(), "[".to_owned()] {
            let answer = send(agent.post(body)).await;
            answer.assert_problem(401, code);
            assert_eq!(answer.headers["www-authenticate"], challenge.as_str());
        }
    }
    // A run that strangers can start is known and still may not ask.
    let fork = gate.token(json!({"event_name": "pull_request"})).await;
    let answer = send(Agent::with_token(&gate, fork).post(ping())).await;
    answer.assert_problem(403, "refused_event");
    // A person's session is no token.
    let mut alice = gate.approver("alice").await;
    let message = serde_json::from_str(&ping()).unwrap();
    let refused = alice.browser.post("/mcp", &message).await.unwrap_err();
    assert!(refused.contains("401") && refused.contains("missing_token"), "{refused}");
    gate.finish().await;
}

/// The code of a JSON-RPC error.
fn error_code(body: &Value) -> i64 {
    body["error"]["code"].as_i64().unwrap_or_else(|| panic!("no error: {body:#}"))
}

async fn what_is_no_message_is_refused(engine: Engine) {
    let gate = Gate::start(engine).await;
    let agent = Agent::new(&gate).await;
    let list = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
    for (body, code) in [
        ("{".to_owned(), -32700),
        ("{\"jsonrpc\": \"2.0\", \"id\": 1, \"id\": 2, \"method\": \"ping\"}".to_owned(), -32700),
        (format!("{}\u{0}", ping()), -32700),
        (json!([list, list]).to_string(), -32600),
        ("[]".to_owned(), -32600),
        ("\"ping\"".to_owned(), -32600),
        ("null".to_owned(), -32600),
    ] {
        let answer = send(agent.post(body.clone())).await;
        assert_eq!((answer.status.as_u16(), error_code(&answer.body)), (400, code), "{body}");
    }
    for body in [
        String::new(),
        "{}".to_owned(),
        json!({"jsonrpc": "1.0", "id": 1, "method": "ping"}).to_string(),
        json!({"jsonrpc": "2.0", "id": {}, "method": "ping"}).to_string(),
        json!({"jsonrpc": "2.0", "id": 1, "method": 7}).to_string(),
        json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": []}).to_string(),
        // An answer to a question that the gate never asked.
        json!({"jsonrpc": "2.0", "id": 1, "result": {"action": "accept"}}).to_string(),
    ] {
        let answer = send(agent.post(body.clone())).await;
        assert!(answer.status.is_client_error(), "{body}: {answer:?}");
    }
    let large =
        json!({"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {"x": "y".repeat(70_000)}});
    send(agent.post(large.to_string())).await.assert_problem(413, "body_too_large");
    for method in [reqwest::Method::GET, reqwest::Method::DELETE, reqwest::Method::PUT] {
        let token = gate.token(json!({"issuer": "agent"})).await;
        let request = gate.http.request(method.clone(), gate.url("/mcp")).bearer_auth(token);
        let answer = send(request.header("Accept", "text/event-stream")).await;
        assert_eq!(answer.status.as_u16(), 405, "{method}");
    }
    gate.finish().await;
}

async fn foreign_hosts_and_pages_are_refused(engine: Engine) {
    let gate = Gate::start(engine).await;
    let agent = Agent::new(&gate).await;
    let port = gate.servers.gate.rsplit(':').next().unwrap();
    for host in
        ["evil.example".to_owned(), format!("evil.example:{port}"), "localhost:1".to_owned()]
    {
        let mut request = agent.post(ping()).build().unwrap();
        request.headers_mut().insert("host", HeaderValue::from_str(&host).unwrap());
        let status = gate.http.execute(request).await.unwrap().status();
        assert_eq!(status.as_u16(), 403, "{host}");
    }
    for origin in ["https://evil.example", "null", &gate.servers.gate, "http://localhost"] {
        let origin = HeaderValue::from_str(origin).unwrap();
        let answer = send(agent.post(ping()).header("Origin", origin.clone())).await;
        assert_eq!(answer.status.as_u16(), 403, "{origin:?}: {answer:?}");
    }
    assert_eq!(send(agent.post(ping())).await.status.as_u16(), 200);
    gate.finish().await;
}

async fn other_revisions_are_refused(engine: Engine) {
    let gate = Gate::start(engine).await;
    let agent = Agent::new(&gate).await;
    let with = |revision: &str| {
        let mut request = agent.post(ping()).build().unwrap();
        let revision = HeaderValue::from_str(revision).unwrap();
        request.headers_mut().insert("mcp-protocol-version", revision);
        gate.http.execute(request)
    };
    for revision in ["2024-11-05", "2025-03-26", "2025-06-18", "2027-01-01", "newest", ""] {
        let answer = with(revision).await.unwrap();
        assert_eq!(answer.status().as_u16(), 400, "{revision}");
        let body: Value = answer.json().await.unwrap();
        assert_eq!(
            body["error"]["data"]["supported"],
            json!(["2025-11-25", "2026-07-28"]),
            "{body}"
        );
    }
    // Who begins with an older one is offered ours, and may leave.
    let hello = json!({"protocolVersion": "2024-11-05", "capabilities": {}, "clientInfo": {"name": "old", "version": "1"}});
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello});
    let mut request = agent.post(body.to_string()).build().unwrap();
    request.headers_mut().remove("mcp-protocol-version");
    let answer: Value = gate.http.execute(request).await.unwrap().json().await.unwrap();
    assert_eq!(answer["result"]["protocolVersion"], "2025-11-25", "{answer:#}");
    gate.finish().await;
}

async fn what_the_gate_does_not_know_is_refused(engine: Engine) {
    let gate = Gate::start(engine).await;
    let agent = Agent::new(&gate).await;
    for name in ["approve", "give_signoff", "", "LIST_ENVIRONMENTS", "list_environments "] {
        let answer = agent.call("tools/call", json!({"name": name, "arguments": {}})).await;
        assert_eq!(error_code(&answer.body), -32602, "{name}");
        let message = answer.body["error"]["message"].as_str().unwrap();
        assert!(message.contains("list_environments, request_deployment"), "{message}");
    }
    for method in ["approve", "prompts/get", "tasks/get", "sampling/createMessage", "x/y"] {
        let answer = agent.call(method, json!({})).await;
        assert!(answer.body["error"].is_object(), "{method}: {answer:?}");
    }
    for uri in [
        "countersign://approvals",
        "countersign://approvals/apr_x",
        "countersign://environments/staging/policy",
        "countersign://environments/production/policy/",
        "file:///etc/passwd",
        "https://gate.example.com/v1/approvals",
        "",
    ] {
        let answer = agent.call("resources/read", json!({"uri": uri})).await;
        assert_eq!(error_code(&answer.body), -32002, "{uri}");
        assert_eq!(answer.body["error"]["data"]["code"], "not_found", "{uri}");
    }
    gate.finish().await;
}

async fn wrong_arguments_come_back_as_results(engine: Engine) {
    let gate = Gate::start(engine).await;
    let agent = Agent::new(&gate).await;
    for (changes, code) in [
        (json!({"image": "europe-docker.pkg.dev/demo/app/web:latest"}), "image_not_by_digest"),
        (json!({"image": image(1).replace("demo/app", "evil/app")}), "image_not_allowed"),
        (json!({"environment": "staging"}), "unknown_environment"),
        (json!({"service": "web"}), "invalid_service"),
        (json!({"service": format!("{SERVICE}-other")}), "service_not_covered"),
        (json!({"steps": [50]}), "invalid_steps"),
        (json!({"steps": "all"}), "malformed_request"),
        (json!({"expires_in": "9 days"}), "invalid_expiry"),
        (json!({"reason": " "}), "invalid_text"),
        (json!({"reason": null}), "malformed_request"),
        (json!({"template": {"surprise": 1}}), "invalid_template"),
        (json!({"surprise": 1}), "malformed_request"),
        (json!({"subject": {"kind": "deployment"}}), "malformed_request"),
        (json!({"kind": "deployment"}), "malformed_request"),
        (json!({"decision": "approve"}), "malformed_request"),
        (json!({"idempotency_key": ""}), "invalid_idempotency_key"),
        (json!({"idempotency_key": 7}), "invalid_idempotency_key"),
        (json!({"idempotency_key": "x".repeat(256)}), "invalid_idempotency_key"),
        (json!({"idempotency_key": "ключ"}), "invalid_idempotency_key"),
    ] {
        let result = agent.request(changes.clone()).await;
        assert_eq!(result["structuredContent"]["code"], code, "{changes}");
        assert_refused(&result, code);
    }
    for (tool, arguments, code) in [
        ("list_environments", json!({"environment": "production"}), "malformed_request"),
        ("get_approval", json!({}), "malformed_request"),
        ("get_approval", json!({"id": 7}), "malformed_request"),
        ("get_approval", json!({"id": "apr_x"}), "not_found"),
        ("get_approval", json!({"id": "apr_x", "decision": "approve"}), "malformed_request"),
        ("wait_for_approval", json!({"id": "apr_x"}), "not_found"),
        ("wait_for_approval", json!({"id": "apr_x", "wait_seconds": -1}), "malformed_request"),
        ("cancel_approval", json!({"id": "../approvals"}), "not_found"),
        ("get_evidence", json!({"id": ""}), "not_found"),
    ] {
        assert_refused(&agent.tool(tool, arguments).await, code);
    }
    assert!(gate.get("/v1/approvals").await.body["items"].as_array().unwrap().is_empty());
    gate.finish().await;
}

async fn approvals_of_others_do_not_exist(engine: Engine) {
    let gate = Gate::start(engine).await;
    let theirs = gate.asked(json!({})).await;
    let agent = Agent::new(&gate).await;
    let absent = agent.tool("get_approval", json!({"id": "apr_x"})).await;
    for tool in ["get_approval", "wait_for_approval", "cancel_approval", "get_evidence"] {
        let result = agent.tool(tool, json!({"id": theirs})).await;
        assert_refused(&result, "not_found");
        assert_eq!(result, absent, "{tool}");
    }
    for uri in [
        format!("countersign://approvals/{theirs}"),
        format!("countersign://approvals/{theirs}/evidence"),
    ] {
        let answer = agent.call("resources/read", json!({"uri": uri})).await;
        assert_eq!(error_code(&answer.body), -32002, "{uri}");
    }
    let listed = agent.call("resources/list", json!({})).await.body;
    assert_eq!(listed["result"]["resources"].as_array().unwrap().len(), 1, "{listed:#}");
    assert_eq!(gate.approval(&theirs).await["status"], "pending");
    gate.finish().await;
}

async fn one_token_asks_for_one_thing(engine: Engine) {
    let gate = Gate::start(engine).await;
    let agent = Agent::new(&gate).await;
    let image = image(gate.unique());
    let first = agent.asked(json!({"image": image})).await;
    // The same call again, after a lost answer say, is the same request.
    assert_eq!(agent.asked(json!({"image": image})).await, first);
    assert_refused(&agent.request(json!({})).await, "token_reused");
    let named = json!({"image": image, "idempotency_key": "another"});
    assert_refused(&agent.request(named).await, "token_reused");
    // What was asked through the API under a name is the same request here, and another body is not.
    let body = gate.request_body(json!({"subject": {"steps": [20, 100]}}));
    let fresh = || gate.token(json!({"issuer": "agent"}));
    agent.tool("cancel_approval", json!({"id": first})).await;
    let asked = gate.ask_as(&fresh().await, "release-7", &body).await;
    let same = json!({
        "image": body["subject"]["image"], "steps": [20, 100], "idempotency_key": "release-7",
    });
    let again = Agent::with_token(&gate, fresh().await);
    assert_eq!(again.asked(same).await, asked.id());
    let other = Agent::with_token(&gate, fresh().await);
    let result = other.request(json!({"idempotency_key": "release-7"})).await;
    assert_refused(&result, "idempotency_key_reused");
    gate.finish().await;
}

async fn who_may_ask_for_nothing_sees_nothing(engine: Engine) {
    let gate = Gate::start(engine).await;
    let stranger = gate.token(json!({"issuer": "agent", "sub": "agent:stranger"})).await;
    let stranger = Agent::with_token(&gate, stranger);
    let listed = stranger.tool("list_environments", json!({})).await;
    assert_eq!(listed["structuredContent"], json!({"environments": []}));
    let resources = stranger.call("resources/list", json!({})).await.body;
    assert_eq!(resources["result"]["resources"], json!([]));
    assert_refused(&stranger.request(json!({})).await, "requester_not_allowed");
    let nowhere = stranger.request(json!({"environment": "nowhere"})).await;
    assert!(nowhere.to_string().contains("This token may ask for: none."), "{nowhere:#}");
    gate.finish().await;
}
