//! Credentials that approvers issue for agents: what they let an agent do, and what makes one.

use countersign::cli::demo::approver::Approver;
use countersign::domain::agent_credential::{AGENT_ISSUER, ISSUED_BY_ISSUER, ISSUED_BY_SUBJECT};
use countersign::sandbox::authenticator::Fault;
use jiff::SignedDuration;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use sqlx::{AnyConnection, Connection, Executor};

use super::Agent;
use crate::evidence::codes::text;
use crate::evidence::keys::{DIRECTORY, Keys};
use crate::evidence::maker::Maker;
use crate::support::bundles::{case, leave, verdict};
use crate::support::gate::{Engine, Gate, on_both_engines, send};

on_both_engines!(
    an_agent_asks_with_a_credential_and_its_issuer_cannot_approve,
    what_is_no_good_credential_is_refused,
    nothing_but_a_signature_issues_one,
    credentials_end,
    rows_make_no_credential,
);

/// A gate that lets agents with credentials ask.
pub async fn gate(engine: Engine) -> Gate {
    gate_with(engine, |config| config).await
}

/// The same with another configuration.
pub async fn gate_with(engine: Engine, edit: impl FnOnce(String) -> String) -> Gate {
    Gate::start_with(engine, |config| {
        edit(config)
            .replace("requesters = [", "requesters = [\n    { issuer = \"agent-credential\" },")
    })
    .await
}

fn wanted(agent: &str, days: u32) -> Value {
    json!({"agent": agent, "environment": "production", "days": days})
}

/// Issues a credential as the page does, and gives its number and its bearer value.
pub async fn issue(approver: &mut Approver) -> (u64, String) {
    let prepared = approver
        .browser
        .post("/agents/statements", &wanted("Release assistant", 30))
        .await
        .unwrap();
    let signed = approver.signed(&prepared, &[]).unwrap();
    let issued = approver.browser.post("/agents/credentials", &signed).await.unwrap();
    let index = issued["index"].as_u64().unwrap();
    (index, format!("csa_{index}_{}", prepared["secret"].as_str().unwrap()))
}

async fn an_agent_asks_with_a_credential_and_its_issuer_cannot_approve(engine: Engine) {
    let gate = gate(engine).await;
    let mut alice = gate.approver("alice").await;
    let mut bob = gate.approver("bob").await;
    let (index, bearer) = issue(&mut alice).await;
    let agent = Agent::with_token(&gate, bearer.clone());
    let listed = agent.tool("list_environments", json!({})).await;
    assert_eq!(listed["structuredContent"]["environments"][0]["name"], "production");
    // One after another, with one credential: each request has a token of its own.
    let first = agent.asked(json!({})).await;
    agent.tool("cancel_approval", json!({"id": first})).await;
    let id = agent.asked(json!({})).await;
    assert_ne!(first, id);
    let read = agent.tool("get_approval", json!({"id": id})).await["structuredContent"].clone();
    let requester = &read["approval"]["requester"];
    assert_eq!(requester["issuer"], "agent-credential");
    assert_eq!(requester["subject"], format!("agent-credential:{index}"));
    // Who issued it asked through it.
    let refused = alice.approve(&id).await.unwrap_err();
    assert!(refused.contains("403") && refused.contains("own_request"), "{refused}");
    bob.approve(&id).await.unwrap();
    let over = agent.tool("wait_for_approval", json!({"id": id, "wait_seconds": 60})).await;
    assert_eq!(over["structuredContent"]["approval"]["status"], "succeeded", "{over:#}");
    let proof = agent.tool("get_evidence", json!({"id": id})).await["structuredContent"].clone();
    assert_eq!((&proof["holds"], &proof["is_approved"]), (&json!(true), &json!(true)), "{proof:#}");
    // The credential opens the API too, and the secret stands nowhere.
    // It may hold the sign itself that stands before it.
    let secret = bearer.splitn(3, '_').nth(2).unwrap();
    let evidence = gate.get_as(&format!("/v1/approvals/{id}/evidence"), &bearer).await.body;
    assert!(!evidence.to_string().contains(secret));
    let page = alice.browser.open("/agents", "alice").await.unwrap();
    assert!(page.contains("Release assistant") && !page.contains(secret));
    gate.finish().await;
}

async fn what_is_no_good_credential_is_refused(engine: Engine) {
    let gate = gate(engine).await;
    let mut alice = gate.approver("alice").await;
    let (index, bearer) = issue(&mut alice).await;
    let secret = bearer.rsplit_once('_').map_or("", |(_, secret)| secret).to_owned();
    for wrong in [
        "csa_".to_owned(),
        "csa__".to_owned(),
        format!("csa_{index}"),
        format!("csa_{index}_"),
        format!("csa_{index}_{}", "A".repeat(43)),
        format!("{bearer}A"),
        format!("csa_0_{secret}"),
        format!("csa_{}_{secret}", index - 1),
        format!("csa_{}_{secret}", index + 1),
        format!("csa_-{index}_{secret}"),
        format!("csa_{}_{secret}", u64::MAX),
        format!("csa_99999999999999999999999_{secret}"),
    ] {
        let agent = Agent::with_token(&gate, wrong.clone());
        let answer = agent.call("tools/list", json!({})).await;
        answer.assert_problem(401, "unknown_agent_credential");
    }
    // What the gate makes of a credential is taken from nobody: not even while it is fresh.
    let agent = Agent::with_token(&gate, bearer);
    let id = agent.asked(json!({})).await;
    let uri = format!("countersign://approvals/{id}/evidence");
    let read = agent.call("resources/read", json!({"uri": uri})).await.body;
    let file = read["result"]["contents"][0]["text"].as_str().unwrap();
    let evidence: Value = serde_json::from_str(file).unwrap();
    let own = evidence["requester"]["token"].as_str().unwrap().to_owned();
    let replayed = Agent::with_token(&gate, own).call("tools/list", json!({})).await;
    replayed.assert_problem(401, "unknown_issuer");
    // It opens no page and decides nothing.
    let path = format!("/approvals/{id}/statements");
    let decision = json!({"decision": "approve"});
    let request = gate.http.post(gate.url(&path)).bearer_auth(&agent.token);
    let request = request.header("Origin", &gate.servers.gate).json(&decision);
    send(request).await.assert_problem(401, "signed_out");
    gate.finish().await;
    // A gate that lets no such agent ask knows no credentials at all.
    let plain = Gate::start(engine).await;
    let answer = Agent::with_token(&plain, format!("csa_1_{secret}")).call("ping", json!({})).await;
    answer.assert_problem(401, "unknown_agent_credential");
    plain.finish().await;
}

async fn nothing_but_a_signature_issues_one(engine: Engine) {
    let gate = gate(engine).await;
    let mut alice = gate.approver("alice").await;
    let path = "/agents/statements";
    for (body, code) in [
        (wanted("", 30), "invalid_agent_credential"),
        (wanted(&"x".repeat(61), 30), "invalid_agent_credential"),
        (wanted("ignore\u{202e}me", 30), "invalid_agent_credential"),
        (wanted("x", 0), "invalid_agent_credential"),
        (wanted("x", 91), "invalid_agent_credential"),
        (json!({"agent": "x", "environment": "staging", "days": 1}), "invalid_agent_credential"),
        (json!({"agent": "x", "environment": "production"}), "malformed_request"),
        (json!({"agent": "x", "environment": "production", "days": -1}), "malformed_request"),
    ] {
        let refused = alice.browser.post(path, &body).await.unwrap_err();
        assert!(refused.contains(code), "{body}: {refused}");
    }
    // Dan may sign in and sign nowhere; an agent's token is no session.
    let mut dan = gate.approver("dan").await;
    let refused = dan.browser.post(path, &wanted("x", 1)).await.unwrap_err();
    assert!(refused.contains("invalid_agent_credential"), "{refused}");
    let token = gate.token(json!({"issuer": "agent"})).await;
    for path in [path, "/agents/credentials", "/agents/1/revocations"] {
        let request = gate.http.post(gate.url(path)).bearer_auth(&token);
        let answer = send(request.header("Origin", &gate.servers.gate).json(&wanted("x", 1))).await;
        assert!(!answer.status.is_success(), "{path}: {answer:?}");
    }
    for fault in [
        Fault::WrongKey,
        Fault::FlipFlags(0x04),
        Fault::ClientDataMember("challenge", json!("AAAA")),
        Fault::ClientDataMember("origin", json!("https://evil.example")),
    ] {
        let prepared = alice.browser.post(path, &wanted("x", 1)).await.unwrap();
        let forged = alice.signed(&prepared, std::slice::from_ref(&fault)).unwrap();
        let refused = alice.browser.post("/agents/credentials", &forged).await.unwrap_err();
        assert!(refused.contains("422"), "{fault:?}: {refused}");
    }
    // A signature for a decision issues nothing, and one for a credential decides nothing.
    let id = gate.asked(json!({})).await;
    let decision = alice.statement(&id, json!({"decision": "approve"})).await.unwrap();
    let decision = alice.signed(&decision, &[]).unwrap();
    let refused = alice.browser.post("/agents/credentials", &decision).await.unwrap_err();
    assert!(refused.contains("stale_page"), "{refused}");
    let prepared = alice.browser.post(path, &wanted("x", 1)).await.unwrap();
    let signed = alice.signed(&prepared, &[]).unwrap();
    let decisions = format!("/approvals/{id}/decisions");
    let refused = alice.browser.post(&decisions, &signed).await.unwrap_err();
    assert!(refused.contains("stale_page"), "{refused}");
    // The right place takes it once.
    alice.browser.post("/agents/credentials", &signed).await.unwrap();
    let again = alice.browser.post("/agents/credentials", &signed).await.unwrap_err();
    assert!(again.contains("statement_used"), "{again}");
    assert_eq!(gate.approval(&id).await["status"], "pending");
    gate.finish().await;
}

async fn credentials_end(engine: Engine) {
    let gate = gate(engine).await;
    let mut alice = gate.approver("alice").await;
    let mut bob = gate.approver("bob").await;
    let bob_key = bob.authenticator.newest_credential().unwrap();
    let (index, first) = issue(&mut alice).await;
    let (_, second) = issue(&mut bob).await;
    let (_, third) = issue(&mut alice).await;
    let refused = async |bearer: &str, code: &str| {
        let answer = Agent::with_token(&gate, bearer.to_owned()).call("ping", json!({})).await;
        answer.assert_problem(401, code);
    };
    // Anybody who may sign there ends it, at once; Dan may not.
    let mut dan = gate.approver("dan").await;
    let revocations = format!("/agents/{index}/revocations");
    assert!(dan.browser.submit(&revocations, &[("reason", "x")], "dan").await.is_err());
    bob.browser.submit(&revocations, &[("reason", "It was lost")], "bob").await.unwrap();
    refused(&first, "agent_credential_revoked").await;
    // With the key that signed it goes what it signed.
    bob.revoke(&bob_key, "").await.unwrap();
    for _ in 0..100 {
        let answer = Agent::with_token(&gate, second.clone()).call("ping", json!({})).await;
        if answer.status.as_u16() == 401 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    refused(&second, "agent_credential_revoked").await;
    let answer = Agent::with_token(&gate, third.clone()).call("ping", json!({})).await;
    assert_eq!(answer.status.as_u16(), 200, "{answer:?}");
    gate.servers.clock.shift(SignedDuration::from_hours(30 * 24));
    refused(&third, "agent_credential_expired").await;
    gate.finish().await;
}

/// Both verifiers: evidence in which the issuer of the credential approved is evidence of no approval.
#[test]
fn whoever_issued_the_credential_does_not_count() {
    let keys = Keys::new();
    let mut trust = keys.trust();
    trust.workload_issuers[0].name = AGENT_ISSUER.into();
    let make = |subject: &str, issuer: &str| {
        let mut maker = Maker::new(&keys);
        maker.deployment.requester.issuer = AGENT_ISSUER.into();
        maker.policy.requesters[0].issuer = AGENT_ISSUER.into();
        let claims = &mut maker.deployment.requester.claims;
        claims.insert(ISSUED_BY_ISSUER.into(), json!(issuer));
        claims.insert(ISSUED_BY_SUBJECT.into(), json!(subject));
        text(&maker.make())
    };
    let mut cases = Vec::new();
    for (subject, issuer, expected) in [
        ("u-alice", DIRECTORY, ("invalid", Some("quorum_not_met"))),
        ("u-carol", DIRECTORY, ("invalid", Some("quorum_not_met"))),
        ("u-dora", DIRECTORY, ("approved", None)),
        ("u-alice", "https://elsewhere.example", ("approved", None)),
    ] {
        let evidence = make(subject, issuer);
        assert_eq!(verdict(evidence.as_bytes(), &trust), expected, "{subject} of {issuer}");
        cases.push(case(&format!("issued by {subject} of {issuer}"), &evidence, &trust));
    }
    leave("agent-credentials", &json!(cases));
}

/// Whoever writes into the database lets no agent in.
async fn rows_make_no_credential(engine: Engine) {
    let gate = gate(engine).await;
    let mut alice = gate.approver("alice").await;
    let (index, bearer) = issue(&mut alice).await;
    let config = countersign::config::Config::load(&gate.servers.files.config, &Default::default());
    let database = config.unwrap().database.expose_secret().to_owned();
    sqlx::any::install_default_drivers();
    let mut connection = AnyConnection::connect(&database).await.unwrap();
    // Another secret in the place of the one that was signed for.
    let mine = "B".repeat(43);
    let text: String =
        sqlx::query_scalar("SELECT record FROM ledger_entries WHERE entry_index = $1")
            .bind(i64::try_from(index).unwrap())
            .fetch_one(&mut connection)
            .await
            .unwrap();
    let record: Value = serde_json::from_str(&text).unwrap();
    let digest = record["data"]["grant"]["secret_digest"].as_str().unwrap();
    let forged = text.replace(digest, &countersign::domain::digest::Digest::of(&mine).to_string());
    let write = async |connection: &mut AnyConnection, text: &str| {
        let update = sqlx::query("UPDATE ledger_entries SET record = $1 WHERE entry_index = $2");
        let update = update.bind(text.to_owned()).bind(i64::try_from(index).unwrap());
        connection.execute(update).await.unwrap();
    };
    write(&mut connection, &forged).await;
    let answer =
        Agent::with_token(&gate, format!("csa_{index}_{mine}")).call("ping", json!({})).await;
    answer.assert_problem(401, "unknown_agent_credential");
    write(&mut connection, &text).await;
    let answer = Agent::with_token(&gate, bearer).call("ping", json!({})).await;
    assert_eq!(answer.status.as_u16(), 200, "{answer:?}");
    connection.close().await.unwrap();
    gate.finish().await;
}
