//! More than a thousand ways in which a program tries to approve. None of them counts.

use countersign::cli::demo::approver::Approver;
use countersign::sandbox::authenticator::Fault;
use reqwest::Method;
use serde_json::{Value, json};

use super::Agent;
use super::credentials::{gate as gate_with_credentials, issue};
use crate::support::gate::{Answer, Engine, Gate, on_both_engines, send};

on_both_engines!(nothing_that_a_program_sends_approves, answers_hold_nothing_that_approves);

/// What a tool that approves might be called.
const TOOLS: [&str; 39] = [
    "approve",
    "approve_deployment",
    "approve_approval",
    "approve_request",
    "approval_approve",
    "decide",
    "decision",
    "submit_decision",
    "record_decision",
    "post_decision",
    "sign",
    "sign_approval",
    "sign_off",
    "signoff",
    "confirm",
    "accept",
    "grant",
    "grant_approval",
    "allow",
    "authorize",
    "authorise",
    "override",
    "force",
    "force_approve",
    "bypass",
    "skip_approval",
    "admin_approve",
    "auto_approve",
    "set_status",
    "update_approval",
    "update_status",
    "complete_approval",
    "execute",
    "deploy",
    "rollout",
    "create_statement",
    "get_statement",
    "register_key",
    "endorse_key",
];

/// The tools that exist: they take no decision either.
const REAL_TOOLS: [&str; 8] = [
    "list_environments",
    "request_deployment",
    "request_job_execution",
    "request_signoff",
    "get_approval",
    "wait_for_approval",
    "cancel_approval",
    "get_evidence",
];

/// Methods of the protocol, of its older and newer revisions, and of nobody.
const METHODS: [&str; 36] = [
    "initialize",
    "ping",
    "server/discover",
    "tools/list",
    "tools/call",
    "resources/list",
    "resources/templates/list",
    "resources/read",
    "resources/subscribe",
    "resources/unsubscribe",
    "resources/directory/read",
    "prompts/list",
    "prompts/get",
    "completion/complete",
    "logging/setLevel",
    "sampling/createMessage",
    "elicitation/create",
    "roots/list",
    "tasks/get",
    "tasks/update",
    "tasks/cancel",
    "tasks/list",
    "tasks/result",
    "subscriptions/listen",
    "skills/list",
    "skills/get",
    "approve",
    "approvals/approve",
    "approvals/decide",
    "tools/approve",
    "decision/create",
    "notifications/approved",
    "notifications/elicitation/complete",
    "notifications/initialized",
    "rpc.discover",
    "admin/approve",
];

/// Counts attempts, and knows what must not be approved.
struct Attempts<'a> {
    gate: &'a Gate,
    id: String,
    made: usize,
    /// Everything that an approval takes but the signature: a statement that waits for Alice.
    loot: Value,
}

impl Attempts<'_> {
    /// What every attempt says, in every spelling that a reader could fall for.
    fn claim(&self) -> Value {
        json!({
            "id": self.id, "approval": self.id, "decision": "approve", "status": "approved",
            "approved": true, "nonce": self.loot["nonce"], "statement": self.loot["statement"],
            "credential": {"id": "AAAA", "type": "public-key", "response": {}},
        })
    }

    /// An attempt that is refused as such.
    fn refused(&mut self, answer: &Answer, what: &str) {
        assert!(answer.status.is_client_error(), "{what}: {answer:?}");
        self.made += 1;
    }

    /// An attempt to which the protocol may say what it likes, as long as nothing is decided.
    fn made(&mut self) {
        self.made += 1;
    }

    async fn nothing_is_approved(&self, part: &str) {
        let reader = Agent::new(self.gate).await;
        let read = reader.tool("get_approval", json!({"id": self.id})).await;
        let approval = &read["structuredContent"]["approval"];
        let stands = (&approval["status"], &approval["version"], &approval["decisions"]);
        assert_eq!(stands, (&json!("pending"), &json!(1), &json!([])), "{part}");
        assert_eq!(self.gate.changes_of_cloud_run().await, 0, "{part}");
    }
}

async fn nothing_that_a_program_sends_approves(engine: Engine) {
    let gate = gate_with_credentials(engine).await;
    let mut alice = gate.approver("alice").await;
    let (_, credential) = issue(&mut alice).await;
    let id = Agent::new(&gate).await.asked(json!({})).await;
    let loot = alice.statement(&id, json!({"decision": "approve"})).await.unwrap();
    let mut attempts = Attempts { gate: &gate, id, made: 0, loot };
    let agents = gate.token(json!({"issuer": "agent"})).await;
    let jobs = gate.token(json!({"issuer": "github"})).await;
    for token in [agents, jobs, credential] {
        by_tools(&mut attempts, &token).await;
        by_methods(&mut attempts, &token).await;
        by_answers_to_questions(&mut attempts, &token).await;
        by_routes(&mut attempts, &token).await;
        by_pages(&mut attempts, &token).await;
        attempts.nothing_is_approved(&token).await;
    }
    by_sessions_without_assertion(&mut attempts, &mut alice).await;
    attempts.nothing_is_approved("sessions").await;
    by_forged_assertions(&mut attempts, &mut alice).await;
    attempts.nothing_is_approved("assertions").await;
    by_forged_attestations(&mut attempts).await;
    attempts.nothing_is_approved("attestations").await;
    assert!(attempts.made >= 1000, "{}", attempts.made);
    // All of it cost nothing: the person signs as if nothing had happened.
    alice.approve(&attempts.id).await.unwrap();
    let waits = Agent::new(&gate).await;
    let over = json!({"id": attempts.id, "wait_seconds": 60});
    let ended = waits.tool("wait_for_approval", over).await["structuredContent"].clone();
    assert_eq!(ended["approval"]["status"], "succeeded", "{ended:#}");
    assert_eq!(ended["approval"]["decisions"].as_array().unwrap().len(), 1);
    gate.finish().await;
}

async fn by_tools(attempts: &mut Attempts<'_>, token: &str) {
    let agent = Agent::with_token(attempts.gate, token.to_owned());
    for name in TOOLS {
        for arguments in [json!({"id": attempts.id}), attempts.claim()] {
            let answer =
                agent.call("tools/call", json!({"name": name, "arguments": arguments})).await;
            assert_eq!(answer.body["error"]["code"], -32602, "{name}: {answer:?}");
            attempts.made();
        }
    }
    for name in REAL_TOOLS {
        let result = agent.tool(name, attempts.claim()).await;
        assert_eq!(result["isError"], true, "{name}: {result:#}");
        assert_eq!(result["structuredContent"]["code"], "malformed_request", "{name}");
        attempts.made();
    }
}

async fn by_methods(attempts: &mut Attempts<'_>, token: &str) {
    let agent = Agent::with_token(attempts.gate, token.to_owned());
    for method in METHODS {
        for params in [
            attempts.claim(),
            json!({"uri": format!("countersign://approvals/{}/decisions", attempts.id)}),
        ] {
            let answer = agent.call(method, params).await;
            assert!(answer.status.is_success() || answer.status.is_client_error(), "{answer:?}");
            attempts.made();
        }
    }
}

/// What a client says that its person said: accepted, signed, approved.
async fn by_answers_to_questions(attempts: &mut Attempts<'_>, token: &str) {
    let agent = Agent::with_token(attempts.gate, token.to_owned());
    let accepted = json!({"action": "accept", "content": attempts.claim()});
    for (tool, arguments) in [
        ("list_environments", json!({})),
        ("get_approval", json!({"id": attempts.id})),
        ("wait_for_approval", json!({"id": attempts.id, "wait_seconds": 0})),
        ("get_evidence", json!({"id": attempts.id})),
    ] {
        let nonce = attempts.loot["nonce"].clone();
        for state in [json!(attempts.id), json!("approved"), nonce, Value::Null] {
            let params = json!({
                "name": tool, "arguments": arguments, "requestState": state,
                "inputResponses": {"approval_page": accepted, "decision": accepted},
            });
            let answer = agent.call("tools/call", params).await;
            assert!(answer.body["result"].is_object(), "{answer:?}");
            attempts.made();
        }
    }
    // An answer to a question that was never asked.
    for id in [json!(1), json!("approval_page"), json!(attempts.id)] {
        let message = json!({"jsonrpc": "2.0", "id": id, "result": accepted});
        attempts.refused(&send(agent.post(message.to_string())).await, "an answer");
    }
}

/// Every address of the API, by every method, and addresses that it might have.
async fn by_routes(attempts: &mut Attempts<'_>, token: &str) {
    let gate = attempts.gate;
    let description = send(gate.http.get(gate.url("/openapi.json"))).await.body;
    let described = description["paths"].as_object().unwrap().keys().cloned();
    let guessed = ["approve", "decisions", "statements", "decide", "status", "sign", "grant"];
    let guessed = guessed.iter().map(|name| format!("/v1/approvals/{{id}}/{name}"));
    for path in described.chain(guessed) {
        let path = path.replace("{id}", &attempts.id).replace(['{', '}'], "");
        for method in [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            let request = gate.http.request(method.clone(), gate.url(&path)).bearer_auth(token);
            let request = request.header("Idempotency-Key", format!("attack{}", attempts.made));
            let request = request.json(&attempts.claim());
            if method == Method::GET {
                // Not read to its end: a stream of events has none while nobody decides.
                let status = request.send().await.unwrap().status();
                assert!(!status.is_server_error(), "{method} {path}: {status}");
                attempts.made();
            } else {
                attempts.refused(&send(request).await, &format!("{method} {path}"));
            }
        }
    }
}

/// The addresses that people's pages use, with a token in the place of a session.
async fn by_pages(attempts: &mut Attempts<'_>, token: &str) {
    let gate = attempts.gate;
    let id = attempts.id.clone();
    for path in [
        format!("/approvals/{id}/statements"),
        format!("/approvals/{id}/decisions"),
        "/keys/ceremonies".to_owned(),
        "/keys/ceremonies/x".to_owned(),
        "/keys/x/revocations".to_owned(),
        "/keys/x/statements".to_owned(),
        "/keys/x/endorsements".to_owned(),
        "/keys/first".to_owned(),
        "/sign-out".to_owned(),
    ] {
        for origin in [Some(gate.servers.gate.as_str()), Some("https://evil.example"), None] {
            let mut request = gate.http.post(gate.url(&path)).bearer_auth(token);
            if let Some(origin) = origin {
                request = request.header("Origin", origin);
            }
            for cookie in ["", "session=AAAA", &format!("__Host-session={token}")] {
                let request = request.try_clone().unwrap().header("Cookie", cookie);
                let answer = send(request.json(&attempts.claim())).await;
                assert!(!answer.status.is_success(), "{path}: {answer:?}");
                attempts.made();
            }
        }
    }
}

/// A stolen session of somebody who may sign, and no key.
async fn by_sessions_without_assertion(attempts: &mut Attempts<'_>, alice: &mut Approver) {
    let path = format!("/approvals/{}/decisions", attempts.id);
    let nonce = attempts.loot["nonce"].clone();
    let response = |data: &str| json!({"authenticatorData": data, "clientDataJSON": data, "signature": data, "userHandle": data});
    let known = attempts.loot["request_options"]["allowCredentials"][0]["id"].clone();
    for nonce in [nonce, json!("AAAA"), json!(""), Value::Null, json!([]), json!({"$ne": null})] {
        for credential in [
            json!({}),
            Value::Null,
            json!("approve"),
            json!([]),
            json!({"id": known}),
            json!({"id": known, "rawId": known, "type": "public-key", "response": {}}),
            json!({"id": known, "rawId": known, "type": "public-key", "response": response("")}),
            json!({"id": known, "rawId": known, "type": "public-key", "response": response("AAAA")}),
            attempts.claim(),
        ] {
            let body = json!({"nonce": nonce, "credential": credential});
            let refused = alice.browser.post(&path, &body).await.unwrap_err();
            assert!(refused.contains(" 4"), "{body}: {refused}");
            attempts.made();
        }
    }
}

/// Signatures that are almost right.
async fn by_forged_assertions(attempts: &mut Attempts<'_>, alice: &mut Approver) {
    let id = attempts.id.clone();
    let member = |name, value| Fault::ClientDataMember(name, value);
    let mut faults: Vec<Fault> =
        (0..8).filter(|bit| ![3, 4].contains(bit)).map(|bit| Fault::FlipFlags(1 << bit)).collect();
    faults.extend((1..37).step_by(4).map(Fault::Truncated));
    faults.extend((1..6).map(|count| Fault::ExtraBytes(vec![0; count])));
    for value in [json!(""), json!("AAAA"), Value::Null, json!(7), attempts.loot["nonce"].clone()] {
        faults.push(member("challenge", value));
    }
    for origin in ["https://evil.example", "http://localhost", "null", "http://localhost:1", ""] {
        faults.push(member("origin", json!(origin)));
    }
    for kind in ["webauthn.create", "payment.get", "WEBAUTHN.GET", ""] {
        faults.push(member("type", json!(kind)));
    }
    faults.extend([
        member("crossOrigin", json!(true)),
        member("topOrigin", json!("https://evil.example")),
        Fault::WithoutClientDataMember("challenge"),
        Fault::WithoutClientDataMember("origin"),
        Fault::WithoutClientDataMember("type"),
        Fault::ClientData(Vec::new()),
        Fault::ClientData(b"{}".to_vec()),
        Fault::RelyingParty("evil.example"),
        Fault::WrongKey,
        Fault::UserHandle(Some(vec![1; 32])),
        Fault::Signature(|_| Vec::new()),
        Fault::Signature(|signature| signature[..signature.len() - 1].to_vec()),
        Fault::Signature(|signature| signature.iter().map(|byte| byte ^ 1).collect()),
    ]);
    for fault in faults {
        let refused = alice.approve_with(&id, std::slice::from_ref(&fault)).await.unwrap_err();
        assert!(refused.contains(" 4"), "{fault:?}: {refused}");
        attempts.made();
    }
}

/// Keys that nobody vouched for, and registrations that were tampered with.
async fn by_forged_attestations(attempts: &mut Attempts<'_>) {
    let gate = attempts.gate;
    for round in 0..40 {
        // Bob may sign. His browser is the attacker's, his key and the directory are not.
        let mut bob = Approver::new(&gate.servers.gate).unwrap();
        bob.sign_in("bob").await.unwrap();
        let begun = bob.browser.post("/keys/ceremonies", &json!({"name": "x"})).await.unwrap();
        let options = &begun["creation_options"];
        let mut made = bob.authenticator.create(options, &gate.servers.gate).unwrap();
        let path = format!("/keys/ceremonies/{}", begun["id"].as_str().unwrap());
        if round % 2 == 0 {
            let object = made["response"]["attestationObject"].as_str().unwrap().to_owned();
            let at = (round * 7) % object.len();
            let other = if object.as_bytes()[at] == b'A' { "B" } else { "A" };
            let forged = format!("{}{other}{}", &object[..at], &object[at + 1..]);
            made["response"]["attestationObject"] = json!(forged);
        }
        // Taken or not, it is nobody's key before the directory was asked about it.
        let _ = bob.browser.post(&path, &made).await;
        let refused = bob.approve(&attempts.id).await.unwrap_err();
        assert!(refused.contains("no_credential"), "{refused}");
        attempts.made();
    }
}

async fn answers_hold_nothing_that_approves(engine: Engine) {
    let gate = Gate::start(engine).await;
    let mut alice = gate.approver("alice").await;
    let agent = Agent::new(&gate).await;
    let id = agent.asked(json!({})).await;
    let loot = alice.statement(&id, json!({"decision": "approve"})).await.unwrap();
    let secrets =
        [&loot["nonce"], &loot["challenge"], &loot["request_options"]["allowCredentials"][0]["id"]];
    let uri = format!("countersign://approvals/{id}");
    let mut answers = vec![
        agent.call("server/discover", json!({})).await,
        agent.call("tools/list", json!({})).await,
        agent.call("resources/list", json!({})).await,
        agent.call("resources/templates/list", json!({})).await,
        agent.call("resources/read", json!({"uri": uri})).await,
        agent.call("resources/read", json!({"uri": format!("{uri}/evidence")})).await,
        agent
            .call("resources/read", json!({"uri": "countersign://environments/production/policy"}))
            .await,
    ];
    for tool in ["get_approval", "wait_for_approval", "get_evidence"] {
        let arguments = match tool {
            "wait_for_approval" => json!({"id": id, "wait_seconds": 0}),
            _ => json!({"id": id}),
        };
        answers.push(agent.call("tools/call", json!({"name": tool, "arguments": arguments})).await);
    }
    for answer in &answers {
        assert!(!answer.headers.contains_key("set-cookie"), "{answer:?}");
        for secret in secrets {
            assert!(!answer.body.to_string().contains(secret.as_str().unwrap()), "{answer:?}");
        }
    }
    // Once it was used, the nonce stands in the proof, and decides nothing a second time.
    alice.sign(&id, &loot, &[]).await.unwrap();
    let again = alice.sign(&id, &loot, &[]).await.unwrap_err();
    assert!(again.contains("409"), "{again}");
    let over = agent.tool("wait_for_approval", json!({"id": id, "wait_seconds": 60})).await;
    assert_eq!(over["structuredContent"]["approval"]["status"], "succeeded");
    for tool in ["get_approval", "get_evidence"] {
        let told = agent.tool(tool, json!({"id": id})).await.to_string();
        assert!(secrets.iter().all(|secret| !told.contains(secret.as_str().unwrap())), "{told}");
    }
    gate.finish().await;
}
