//! Evidence: what a gate gives verifies, what anybody changed does not, and the worker goes by nothing else.

mod acting;
mod batches;
mod broken_glass;
pub mod checks;
pub mod codes;
mod command;
pub mod damage;
mod damaged_assertions;
mod decided;
mod endorsements;
mod key_rules;
pub mod keys;
pub mod log;
pub mod maker;
pub mod people;
mod runs;
mod separation;
mod spellings;
mod windows;
mod withdrawals;
pub mod witnesses;

use std::collections::BTreeMap;
use std::time::Duration;

use countersign::config::Config;
use countersign::domain::rollout::{Answer, recorded_calls};
use countersign::proof::evidence::Trust;
use countersign::proof::verify::{Verified, verify};
use jiff::SignedDuration;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use sqlx::{AnyConnection, AssertSqlSafe, Connection, Executor};

use crate::evidence::keys::{Keys, ORIGIN};
use crate::evidence::maker::Maker;
use crate::support::bundles;
use crate::support::cloud_run::fault_at;
use crate::support::gate::{Engine, Gate, on_both_engines};

on_both_engines!(
    evidence_of_every_ending_verifies,
    a_token_in_its_last_second_makes_evidence_that_holds,
    the_worker_calls_nothing_when_rows_were_changed,
    a_policy_that_was_changed_rolls_out_nothing,
);

/// The evidence of an approval, byte for byte as the gate gives it.
async fn download(gate: &Gate, id: &str) -> Vec<u8> {
    let token = gate.token(json!({})).await;
    let url = gate.url(&format!("/v1/approvals/{id}/evidence"));
    let answer = gate.http.get(url).bearer_auth(token).send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "application/json");
    let name = format!("attachment; filename=\"{id}.evidence.json\"");
    assert_eq!(answer.headers()["content-disposition"], name.as_str());
    answer.bytes().await.unwrap().to_vec()
}

async fn verified(gate: &Gate, id: &str) -> Verified {
    let trust = Trust::read(&std::fs::read(&gate.servers.files.trust).unwrap()).unwrap();
    let file = download(gate, id).await;
    verify(&file, &trust).unwrap_or_else(|failure| panic!("{}: {failure}", failure.code()))
}

async fn evidence_of_every_ending_verifies(engine: Engine) {
    let gate = Gate::start(engine).await;
    let mut alice = gate.approver("alice").await;
    let pending = gate.asked(json!({})).await;
    let status = |verified: &Verified| verified.state().status().as_str();
    let found = verified(&gate, &pending).await;
    assert_eq!((status(&found), found.is_approved()), ("pending", false));

    let approved = gate.asked(json!({"subject": {"steps": [50, 100]}})).await;
    alice.approve(&approved).await.unwrap();
    gate.ended(&approved).await;
    let found = verified(&gate, &approved).await;
    assert_eq!((status(&found), found.is_approved()), ("succeeded", true));
    assert_eq!(found.deciders()[0].decision.person.subject, "u-alice");
    assert_eq!(found.subject().approval.as_str(), approved);
    assert_eq!(found.version(), u64::try_from(found.records().len()).unwrap());
    let calls = found.records().iter().filter(|record| record.kind == "rollout.call_announced");
    assert_eq!(calls.count(), gate.changes_of_cloud_run().await);
    let calls = recorded_calls(found.records());
    assert_eq!(calls.len(), gate.changes_of_cloud_run().await);
    for call in calls {
        assert!(matches!(call.answer, Some(Answer::Accepted { .. })), "{call:?}");
        assert!(call.etag.is_some(), "{call:?}");
    }

    let rejected = gate.asked(json!({})).await;
    alice.decide(&rejected, json!({"decision": "reject", "reason": "No\u{202e}"})).await.unwrap();
    let found = verified(&gate, &rejected).await;
    assert_eq!((status(&found), found.is_approved()), ("rejected", false));

    gate.post(&format!("/v1/approvals/{pending}/cancel"), json!({})).await;
    let found = verified(&gate, &pending).await;
    assert_eq!((status(&found), found.is_approved()), ("cancelled", false));

    let expired = gate.asked(json!({"expires_in": "2m"})).await;
    gate.servers.clock.shift(SignedDuration::from_secs(121));
    gate.ended(&expired).await;
    let found = verified(&gate, &expired).await;
    assert_eq!((status(&found), found.is_approved()), ("expired", false));
    gate.finish().await;
}

/// The token is accepted up to half a minute after its end, and then Cloud Run takes its time.
async fn a_token_in_its_last_second_makes_evidence_that_holds(engine: Engine) {
    let gate = Gate::start(engine).await;
    let slow = json!({"kind": "delay", "milliseconds": 3000});
    gate.fault(fault_at("GET", "/services/", 1, slow)).await;
    let now = gate.servers.clock.now().as_second();
    let token = gate.token(json!({"iat": now - 300, "nbf": null, "exp": now - 28})).await;
    let answer = gate.ask_as(&token, "late", &gate.request_body(json!({}))).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let found = verified(&gate, &answer.id()).await;
    let waited = found.records()[0].at.duration_since(found.subject().requested_at);
    assert!(waited >= SignedDuration::from_secs(3), "{waited}");
    gate.finish().await;
}

/// The SQL that changes something of the approval with this id.
type Change<'a> = Box<dyn Fn(&str) -> String + 'a>;

/// Runs SQL beside the gate, as somebody who has the database in their hands would.
pub async fn tamper(gate: &Gate, sql: &str) {
    let config = Config::load(&gate.servers.files.config, &BTreeMap::new()).unwrap();
    sqlx::any::install_default_drivers();
    let mut connection = AnyConnection::connect(config.database.expose_secret()).await.unwrap();
    connection.execute(AssertSqlSafe(sql.to_owned())).await.unwrap();
    connection.close().await.unwrap();
}

/// SQL that changes each decision at the moment when it is written, and the name of what it made.
fn changes_decisions(engine: Engine, change: &str) -> String {
    match engine {
        Engine::Sqlite => format!(
            "CREATE TRIGGER planted AFTER INSERT ON decisions BEGIN \
             UPDATE decisions SET {change} WHERE approval_id = NEW.approval_id; END"
        ),
        Engine::Postgres => format!(
            "CREATE OR REPLACE FUNCTION plant() RETURNS trigger AS $$ BEGIN \
             UPDATE decisions SET {change} WHERE approval_id = NEW.approval_id; RETURN NEW; END \
             $$ LANGUAGE plpgsql; \
             CREATE TRIGGER planted AFTER INSERT ON decisions FOR EACH ROW EXECUTE FUNCTION plant()"
        ),
    }
}

fn no_longer(engine: Engine) -> &'static str {
    match engine {
        Engine::Sqlite => "DROP TRIGGER planted",
        Engine::Postgres => "DROP TRIGGER planted ON decisions",
    }
}

/// Entries of the ledger are not among the rows: changed ones stop the whole gate, see `log_followed`.
async fn the_worker_calls_nothing_when_rows_were_changed(engine: Engine) {
    let gate = Gate::start(engine).await;
    let zeros = |length| match engine {
        Engine::Sqlite => format!("zeroblob({length})"),
        Engine::Postgres => format!("decode(repeat('00', {length}), 'hex')"),
    };
    let decision = |change: &str| changes_decisions(engine, change);
    let changes: Vec<(&str, Change<'_>)> = vec![
        ("statement_mismatch", Box::new(|_| decision(&format!("signature = {}", zeros(70))))),
        (
            "statement_mismatch",
            Box::new(|_| decision(&format!("authenticator_data = {}", zeros(37)))),
        ),
        ("malformed", Box::new(|_| decision("statement = '{}'"))),
        ("sign_in_invalid", Box::new(|_| decision("id_token = 'x'"))),
        ("malformed", Box::new(|_| decision("issuer_key = '{}'"))),
        (
            "requester_mismatch",
            Box::new(|id| format!("UPDATE approvals SET token = 'x' WHERE id = '{id}'")),
        ),
        (
            "malformed",
            Box::new(|id| format!("UPDATE approvals SET token_key = '{{}}' WHERE id = '{id}'")),
        ),
        (
            "enrolment_invalid",
            Box::new(|_| "UPDATE credentials SET registration = '{}'".to_owned()),
        ),
        ("enrolment_invalid", Box::new(|_| "UPDATE credentials SET id_token = 'x'".to_owned())),
    ];
    for (code, sql) in changes {
        // Each with a key and an approval of its own, since the rows of the ones before stay changed.
        let mut alice = gate.approver("alice").await;
        let id = gate.asked(json!({})).await;
        let sql = sql(&id);
        tamper(&gate, &sql).await;
        alice.approve(&id).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        if sql.contains("TRIGGER") {
            tamper(&gate, no_longer(engine)).await;
        }
        let ended = gate.ended(&id).await;
        assert_eq!(ended["status"], "needs_attention", "{sql}: {ended:#}");
        let sentence = ended["status_sentence"].as_str().unwrap();
        assert!(sentence.contains(code), "{sql}: {sentence}");
    }
    assert_eq!(gate.changes_of_cloud_run().await, 0);
    gate.servers.stop().await;
}

async fn a_policy_that_was_changed_rolls_out_nothing(engine: Engine) {
    let gate = Gate::start(engine).await;
    let mut alice = gate.approver("alice").await;
    let id = gate.asked(json!({})).await;
    let statement = alice.statement(&id, json!({"decision": "approve"})).await.unwrap();
    let weaker = "UPDATE policies SET policy = replace(policy, 'release-managers', 'engineering')";
    tamper(&gate, weaker).await;
    // Nobody can even decide under it: the row is not the one whose digest was signed.
    alice.sign(&id, &statement, &[]).await.unwrap_err();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(gate.changes_of_cloud_run().await, 0);
    let answer: Value = gate.get(&format!("/v1/approvals/{id}")).await.body;
    assert!(answer["status"].as_u64().is_some_and(|status| status >= 500), "{answer:#}");
    gate.servers.stop().await;
}

/// RFC 7519, section 4.1.3: a list of one says what the text says. The second verifier judges them too.
#[test]
fn a_token_has_one_audience_however_it_is_written() {
    let keys = Keys::new();
    let mismatch = ("invalid", Some("requester_mismatch"));
    let mut cases = Vec::new();
    for (audience, expected) in [
        (json!([ORIGIN, "https://sts.example"]), mismatch),
        (json!([ORIGIN, ORIGIN]), mismatch),
        (json!(["https://sts.example"]), mismatch),
        (json!([[ORIGIN]]), mismatch),
        (json!([]), mismatch),
        (json!({ "0": ORIGIN }), mismatch),
        (json!([ORIGIN]), ("approved", None)),
        (json!(ORIGIN), ("approved", None)),
    ] {
        let mut maker = Maker::new(&keys);
        maker.deployment.requester.claims.insert("aud".into(), audience.clone());
        let file = codes::text(&maker.make());
        assert_eq!(bundles::verdict(file.as_bytes(), &keys.trust()), expected, "{audience}");
        cases.push(bundles::case(&audience.to_string(), &file, &keys.trust()));
    }
    bundles::leave("audiences", &cases.into());
}
