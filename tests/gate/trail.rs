//! The audit trail: every verification event, good or bad, is in the ledger, and nobody can flood it.

use std::collections::BTreeMap;
use std::time::Duration;

use countersign::cli::demo::approver::Approver;
use countersign::config::Config;
use countersign::domain::ledger::Record;
use countersign::domain::policy::Policy;
use countersign::gate::start;
use countersign::sandbox::authenticator::Fault;
use countersign::storage::{REFUSAL_PAUSE, Refusal, Storage};
use jiff::SignedDuration;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::evidence::tamper;
use crate::sample_approval;
use crate::storage::database::{Database, now};
use crate::support::gate::{Engine, Gate, on_both_engines, send};

on_both_engines!(
    refusals_are_told_with_who_and_why,
    a_loop_of_refusals_is_an_entry_a_minute,
    refusals_wait_for_a_ledger_that_cannot_be_written,
    a_start_tells_what_changed,
    reading_writes_nothing,
    nobody_signs_in_or_decides_without_a_ledger,
);

/// Stops the gate and gives every record of the ledger that it left behind.
async fn stopped(gate: Gate) -> Vec<Record> {
    let config = Config::load(&gate.servers.files.config, &BTreeMap::new()).unwrap();
    gate.servers.stop().await;
    let storage = Storage::open(config.database.expose_secret(), config.log_key.clone());
    let storage = storage.await.unwrap();
    let records = records_in(&storage).await;
    storage.close().await;
    records
}

async fn records_in(storage: &Storage) -> Vec<Record> {
    let entries = storage.entries(0, 10_000).await.unwrap();
    entries.iter().map(|entry| Record::parse(&entry.record).unwrap()).collect()
}

fn of_kind<'a>(records: &'a [Record], kind: &str) -> Vec<&'a Value> {
    records.iter().filter(|record| record.kind == kind).map(|record| &record.data).collect()
}

async fn refusals_are_told_with_who_and_why(engine: Engine) {
    let gate = Gate::start(engine).await;
    let mut alice = gate.approver("alice").await;
    let id = gate.asked(json!({})).await;
    alice.approve_with(&id, &[Fault::FlipFlags(0x04)]).await.unwrap_err();
    let path = format!("/v1/approvals/{id}");
    let expired = gate.token(json!({"exp": 1_000_000_000, "iat": 999_999_000})).await;
    gate.get_as(&path, &expired).await.assert_problem(401, "token_expired");
    let forged = gate.token(json!({})).await;
    let (signed, signature) = forged.rsplit_once('.').unwrap();
    let flipped = if signature.starts_with('A') { "B" } else { "A" };
    let forged = format!("{signed}.{flipped}{}", &signature[1..]);
    gate.get_as(&path, &forged).await.assert_problem(401, "bad_signature");
    gate.get_as(&path, "garbage").await.assert_problem(401, "malformed_token");
    send(gate.http.get(gate.url(&path))).await.assert_problem(401, "missing_token");
    let stranger = gate.token(json!({"repository_id": "6666"})).await;
    let body = gate.request_body(json!({}));
    gate.ask_as(&stranger, "key", &body).await.assert_problem(403, "requester_not_allowed");
    let lost = gate.http.get(gate.url("/sign-in/callback?code=x&state=y")).send().await.unwrap();
    assert_eq!(lost.status(), 400);

    let records = stopped(gate).await;
    let started = of_kind(&records, "gate.started");
    assert_eq!(started.len(), 1);
    assert_eq!(started[0]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(started[0]["configuration_digest"].as_str().unwrap().len(), 64);
    assert_eq!(records[0].kind, "gate.started");
    let policies = of_kind(&records, "policy.changed");
    assert_eq!((policies.len(), &policies[0]["environment"]), (1, &json!("production")));

    let signed_in = of_kind(&records, "person.signed_in");
    assert_eq!(signed_in.len(), 2, "to look, and for the key");
    assert_eq!(signed_in[0]["person"]["subject"], "u-alice");
    assert!(signed_in[0]["auth_time"].is_string() && signed_in[0]["groups"].is_array());

    let decisions = of_kind(&records, "decision.refused");
    assert_eq!(decisions.len(), 1, "{decisions:#?}");
    assert_eq!(decisions[0]["approval"], id.as_str());
    assert_eq!(decisions[0]["person"]["subject"], "u-alice");
    assert_eq!(decisions[0]["code"], "user_not_verified");
    assert!(decisions[0]["credential"].is_string());

    let tokens = of_kind(&records, "token.refused");
    let with = |code: &str| tokens.iter().find(|token| token["code"] == code).unwrap();
    let expired = with("token_expired");
    assert_eq!((&expired["issuer"], &expired["requester"]), (&json!("github"), &json!("1001")));
    assert!(expired["subject"].as_str().unwrap().starts_with("repo:"));
    let forged = with("bad_signature");
    assert_eq!((&forged["issuer"], &forged["subject"]), (&json!("github"), &Value::Null));
    let requests = of_kind(&records, "request.refused");
    assert_eq!(requests[0]["code"], "requester_not_allowed");
    assert!(requests[0]["requester"].as_str().unwrap().ends_with("repository_id=6666"));

    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for data in of_kind(&records, "strangers.refused") {
        for codes in data["counts"].as_object().unwrap().values() {
            for (code, count) in codes.as_object().unwrap() {
                *counts.entry(code.clone()).or_default() += count.as_u64().unwrap();
            }
        }
    }
    assert_eq!(counts["missing_token"], 1);
    assert_eq!(counts["stale_sign_in"], 1);
    assert!(counts["malformed_token"] >= 1);
    // A token is a secret while it lives, and it names people: it never stands in the ledger.
    for record in &records {
        assert!(!record.text().unwrap().contains("eyJ"), "{record:?}");
    }
}

async fn a_loop_of_refusals_is_an_entry_a_minute(engine: Engine) {
    let gate = Gate::start(engine).await;
    let expired = gate.token(json!({"exp": 1_000_000_000, "iat": 999_999_000})).await;
    let loops = (0..200).map(|_| async {
        gate.get_as("/v1/approvals", &expired).await.assert_problem(401, "token_expired");
        gate.get_as("/v1/approvals", "garbage").await.assert_problem(401, "malformed_token");
    });
    futures::future::join_all(loops).await;
    // Longer than the sweep takes to come by.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    let records = stopped(gate).await;
    for kind in ["token.refused", "strangers.refused"] {
        let entries = of_kind(&records, kind);
        // The first at once, the rest in the minute's entry, which the stop wrote early.
        assert!((1..=2).contains(&entries.len()), "{kind}: {}", entries.len());
        let total: u64 = entries.iter().map(|data| data["count"].as_u64().unwrap()).sum();
        assert_eq!(total, 200, "{kind}");
    }
}

async fn refusals_wait_for_a_ledger_that_cannot_be_written(engine: Engine) {
    let database = Database::new(engine).await;
    let storage = database.open().await;
    let about = json!({"issuer": "github"});
    for _ in 0..3 {
        let (kind, code, about) = ("token.refused", "token_expired", about.clone());
        storage.note_refusal(Refusal { kind, code, about, at: now() });
    }
    database.execute("ALTER TABLE ledger_entries RENAME TO gone").await;
    storage.write_refusals(REFUSAL_PAUSE, now()).await.unwrap_err();
    storage.note_stranger("token.refused", "malformed_token", now());
    database.execute("ALTER TABLE gone RENAME TO ledger_entries").await;
    storage.write_refusals(REFUSAL_PAUSE, now()).await.unwrap();
    storage.write_refusals(SignedDuration::ZERO, now()).await.unwrap();
    let records = records_in(&storage).await;
    assert_eq!(records.len(), 2, "{records:#?}");
    assert_eq!(of_kind(&records, "token.refused")[0]["count"], 3);
    assert_eq!(of_kind(&records, "strangers.refused")[0]["count"], 1);
}

async fn a_start_tells_what_changed(engine: Engine) {
    let database = Database::new(engine).await;
    let storage = database.open().await;
    let configuration = countersign::domain::digest::Digest::of("configuration");
    let environment = |name: &str, count| {
        let mut policy = Policy { environment: name.to_owned(), ..sample_approval::policy() };
        policy.rules[0].count = count;
        (name.to_owned(), policy)
    };
    let mut changes = Vec::new();
    for policies in [
        vec![environment("production", 1), environment("staging", 1)],
        vec![environment("production", 1), environment("staging", 1)],
        vec![environment("production", 2), environment("staging", 1)],
        vec![environment("production", 2)],
        vec![environment("production", 1), environment("staging", 1)],
    ] {
        let rules = sample_approval::rulebook(policies.into_iter().collect());
        start::record(&storage, &rules, &configuration, now()).await.unwrap();
        let records = records_in(&storage).await;
        let all = of_kind(&records, "policy.changed");
        let news: Vec<String> = all[changes.len()..]
            .iter()
            .map(|data| format!("{} {}", data["environment"], data["policy"]["rules"][0]["count"]))
            .collect();
        assert_eq!(of_kind(&records, "gate.started").len() + all.len(), records.len());
        changes.extend(news);
    }
    let expected = [
        r#""production" 1"#,
        r#""staging" 1"#,
        r#""production" 2"#,
        r#""staging" null"#,
        r#""production" 1"#,
        r#""staging" 1"#,
    ];
    assert_eq!(changes, expected);
    let records = records_in(&storage).await;
    let last = of_kind(&records, "policy.changed");
    let (_, digest) = environment("production", 2).1.canonical().unwrap();
    assert_eq!(last[4]["previous"], json!(digest));
    let audit = countersign::storage::audit::verify_ledger(&storage).await.unwrap();
    assert_eq!(audit.findings, []);
}

async fn nobody_signs_in_or_decides_without_a_ledger(engine: Engine) {
    let gate = Gate::start(engine).await;
    let mut alice = gate.approver("alice").await;
    let id = gate.asked(json!({})).await;
    let statement = alice.statement(&id, json!({"decision": "approve"})).await.unwrap();
    tamper(&gate, "CREATE TABLE kept AS SELECT * FROM ledger_head").await;
    tamper(&gate, "DELETE FROM ledger_head").await;
    let refused = alice.sign(&id, &statement, &[]).await.unwrap_err();
    assert!(refused.contains("503"), "{refused}");
    let mut bob = Approver::new(&gate.servers.gate).unwrap();
    let refused = bob.sign_in("bob").await.unwrap_err();
    assert!(refused.contains("503"), "{refused}");
    let answer = gate.ask(json!({})).await;
    answer.assert_problem(503, "temporarily_unavailable");
    assert_eq!(gate.approval(&id).await["status"], "pending");
    tamper(&gate, "INSERT INTO ledger_head SELECT * FROM kept").await;
    tamper(&gate, "DROP TABLE kept").await;
    // No step by hand: what failed can be done again, at the latest when the log was looked at once more.
    let mut tries = 0;
    while let Err(refused) = bob.sign_in("bob").await {
        tries += 1;
        assert!(tries < 100, "{refused}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    alice.sign(&id, &statement, &[]).await.unwrap();
    gate.ended(&id).await;
    gate.finish().await;
}

async fn reading_writes_nothing(engine: Engine) {
    let gate = Gate::start(engine).await;
    let mut alice = gate.approver("alice").await;
    let id = gate.asked(json!({})).await;
    let before = gate.http.get(gate.url("/log/checkpoint")).send().await.unwrap();
    let before = before.text().await.unwrap();
    for _ in 0..5 {
        alice.read_page(&id).await.unwrap();
        alice.browser.open("/", "alice").await.unwrap();
        gate.approval(&id).await;
        gate.get("/v1/approvals").await;
    }
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let after = gate.http.get(gate.url("/log/checkpoint")).send().await.unwrap();
    assert_eq!(after.text().await.unwrap(), before);
    gate.finish().await;
}
