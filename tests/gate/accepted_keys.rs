//! What an environment asks of keys: refused with what would do before anybody signs, and again by the
//! worker, whatever the rows say.

use countersign::cli::demo::approver::Approver;
use countersign::sandbox::authenticator::SoftwareAuthenticator;
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::evidence::tamper;
use crate::support::gate::{Engine, Gate, on_both_engines};

on_both_engines!(
    a_key_of_another_kind_signs_nothing,
    a_new_key_waits,
    whoever_signs_has_two_keys,
    the_loss_of_a_key_stops_nobody_for_a_week,
    no_row_makes_a_key_one_that_is_asked_for,
    a_second_key_that_was_given_up_is_none,
);

/// Those of a key's row but its id.
const COLUMNS: &str = "issuer, subject, name, public_key, sign_count, backup_eligible, backup_state, aaguid, \
                       transports, registration, id_token, issuer_key, status, created_at, enrolment_entry";

/// A gate whose environment asks this of keys.
async fn asking(engine: Engine, keys: &str) -> Gate {
    let section = format!("keys = {{ {keys} }}");
    Gate::start_with(engine, |config| config.replace("keys = { minimum_keys = 1 }", &section)).await
}

/// Registers a key on another authenticator, and goes on with the first one. Gives the new key.
async fn another_key(approver: &mut Approver, synced: bool) -> String {
    let mut other = SoftwareAuthenticator::new();
    other.backup_eligible = synced;
    approver.register_key_on(&mut other).await.unwrap();
    other.newest_credential().unwrap()
}

async fn refusal(approver: &mut Approver, id: &str) -> String {
    approver.statement(id, json!({"decision": "approve"})).await.unwrap_err()
}

async fn approved(gate: &Gate, approver: &mut Approver) -> Value {
    let id = gate.asked(json!({"subject": {"steps": [100]}})).await;
    approver.approve(&id).await.unwrap();
    gate.ended(&id).await
}

async fn a_key_of_another_kind_signs_nothing(engine: Engine) {
    let gate = asking(engine, "minimum_keys = 1, kind = \"synced\"").await;
    let mut alice = gate.approver("alice").await;
    let id = gate.asked(json!({})).await;
    let refused = refusal(&mut alice, &id).await;
    assert!(refused.contains("only synced passkeys sign here"), "{refused}");
    assert!(refused.contains("key_not_synced") && refused.contains("409"), "{refused}");
    let page = alice.browser.open(&format!("/approvals/{id}"), "alice").await.unwrap();
    assert!(page.contains("but with another key") && !page.contains("id=\"approve\""), "{page}");
    // A key that fits is the only one that the statement names.
    let synced = another_key(&mut alice, true).await;
    let statement = alice.statement(&id, json!({"decision": "approve"})).await.unwrap();
    let named = statement["request_options"]["allowCredentials"].as_array().unwrap();
    assert_eq!((named.len(), named[0]["id"].as_str()), (1, Some(synced.as_str())));
    let environments = gate.get("/v1/environments").await.body;
    assert_eq!(environments["environments"][0]["keys"], json!({"kind": "synced"}));
    assert_eq!(gate.changes_of_cloud_run().await, 0);
    gate.finish().await;
}

async fn a_new_key_waits(engine: Engine) {
    let gate = asking(engine, "minimum_keys = 1, cool_down = \"1h\"").await;
    let mut alice = gate.approver("alice").await;
    let id = gate.asked(json!({})).await;
    let refused = refusal(&mut alice, &id).await;
    assert!(refused.contains("key_cooling_down"), "{refused}");
    gate.servers.clock.shift(SignedDuration::from_mins(59));
    alice.sign_in("alice").await.unwrap();
    assert!(refusal(&mut alice, &id).await.contains("key_cooling_down"));
    gate.servers.clock.shift(SignedDuration::from_mins(2));
    let ended = approved(&gate, &mut alice).await;
    assert_eq!(ended["status"], "succeeded", "{ended:#}");
    gate.finish().await;
}

async fn whoever_signs_has_two_keys(engine: Engine) {
    // What an environment asks for that says nothing about keys.
    let gate = asking(engine, "").await;
    let mut alice = gate.approver("alice").await;
    let id = gate.asked(json!({})).await;
    let refused = refusal(&mut alice, &id).await;
    assert!(refused.contains("too_few_keys") && refused.contains("at least 2"), "{refused}");
    another_key(&mut alice, false).await;
    let ended = approved(&gate, &mut alice).await;
    assert_eq!(ended["status"], "succeeded", "{ended:#}");
    let verified = gate.proved(ended["id"].as_str().unwrap()).await;
    assert_eq!(verified.other_keys().len(), 1);
    // What nobody could sign yet is signed by whoever has two keys, and by nobody else's second one.
    let mut bob = gate.approver("bob").await;
    assert!(refusal(&mut bob, &id).await.contains("too_few_keys"));
    gate.finish().await;
}

async fn the_loss_of_a_key_stops_nobody_for_a_week(engine: Engine) {
    let gate = asking(engine, "replacement_grace = \"7d\"").await;
    let mut alice = gate.approver("alice").await;
    let second = another_key(&mut alice, false).await;
    let now = gate.servers.clock.now().strftime("%Y-%m-%dT%H:%M:%S").to_string();
    let page = alice.report_loss(&second, &now).await.unwrap();
    assert!(page.contains("What is left signs there until"), "{page}");
    let id = gate.asked(json!({"subject": {"steps": [100]}})).await;
    let page = alice.browser.open(&format!("/approvals/{id}"), "alice").await.unwrap();
    assert!(page.contains("have too few now") && page.contains("id=\"approve\""), "{page}");
    gate.servers.clock.shift(SignedDuration::from_hours(7 * 24 - 1));
    alice.sign_in("alice").await.unwrap();
    let ended = approved(&gate, &mut alice).await;
    assert_eq!(ended["status"], "succeeded", "{ended:#}");
    let verified = gate.proved(ended["id"].as_str().unwrap()).await;
    let other = &verified.other_keys()[0];
    assert!(other.revoked.is_some());
    let until = format!("went on signing until {}", other.counts_until.unwrap());
    assert!(verified.checks().iter().any(|check| check.contains(&until)), "{until}");
    gate.servers.clock.shift(SignedDuration::from_hours(2));
    alice.sign_in("alice").await.unwrap();
    let id = gate.asked(json!({})).await;
    assert!(refusal(&mut alice, &id).await.contains("too_few_keys"));
    let page = alice.browser.open("/keys", "alice").await.unwrap();
    assert!(page.contains("you sign nothing now") && page.contains("there are 1"), "{page}");
    // Replaced, and all is as it was.
    another_key(&mut alice, false).await;
    alice.statement(&id, json!({"decision": "approve"})).await.unwrap();
    gate.finish().await;
}

async fn no_row_makes_a_key_one_that_is_asked_for(engine: Engine) {
    let gate = asking(engine, "minimum_keys = 2, kind = \"synced\", cool_down = \"1h\"").await;
    let mut alice = gate.approver("alice").await;
    let id = gate.asked(json!({})).await;
    // Everything that the page goes by is changed in the database: kind, age and number.
    for sql in [
        "UPDATE credentials SET backup_eligible = 1",
        "UPDATE credentials SET created_at = created_at - 7200000000",
        &format!(
            "INSERT INTO credentials (id, {COLUMNS}) SELECT {}, {COLUMNS} FROM credentials",
            if engine == Engine::Sqlite { "x'AAAA'" } else { "'\\xAAAA'::bytea" }
        ),
    ] {
        tamper(&gate, sql).await;
    }
    alice.authenticator.backup_eligible = true;
    let statement = alice.statement(&id, json!({"decision": "approve"})).await.unwrap();
    alice.sign(&id, &statement, &[]).await.unwrap();
    let ended = gate.ended(&id).await;
    assert_eq!(ended["status"], "needs_attention", "{ended:#}");
    assert_eq!(gate.changes_of_cloud_run().await, 0);
    gate.servers.stop().await;
}

async fn a_second_key_that_was_given_up_is_none(engine: Engine) {
    let gate = asking(engine, "minimum_keys = 2, replacement_grace = \"0s\"").await;
    let mut alice = gate.approver("alice").await;
    let second = another_key(&mut alice, false).await;
    let (id, next) = (gate.asked(json!({})).await, gate.asked(json!({})).await);
    let statement = alice.statement(&id, json!({"decision": "approve"})).await.unwrap();
    alice.revoke(&second, "lost").await.unwrap();
    assert!(refusal(&mut alice, &next).await.contains("too_few_keys"));
    // The row says that it is good again, and its entry is hidden from whoever asks for such entries; the
    // worker knows from the entries that it verified.
    tamper(&gate, "UPDATE ledger_entries SET kind = 'x' WHERE kind = 'credential.revoked'").await;
    tamper(&gate, "UPDATE credentials SET status = 'active'").await;
    alice.sign(&id, &statement, &[]).await.unwrap();
    let ended = gate.ended(&id).await;
    assert_eq!(ended["status"], "needs_attention", "{ended:#}");
    let sentence = ended["status_sentence"].as_str().unwrap();
    assert!(sentence.contains("had been given up before"), "{sentence}");
    assert_eq!(gate.changes_of_cloud_run().await, 0);
    gate.servers.stop().await;
}
