//! A person reports a key as lost with another key of theirs, and no sign-in for it.

use countersign::cli::demo::approver::Approver;
use countersign::domain::digest::Digest;
use countersign::domain::loss::{FrozenLoss, LossStatement, RecordedLoss, SignedLoss};
use countersign::domain::statement::{Frozen, Statement};
use countersign::gate::loss::lost_since;
use countersign::sandbox::authenticator::SoftwareAuthenticator;
use countersign::storage::RecordedRevocation;
use jiff::SignedDuration;
use serde_json::{Value, json};

use super::{approved_and_held, assert_proved, assert_stopped_after, at, id_of, losses, two_keys};
use crate::support::database::{config, reading};
use crate::support::gate::{Engine, Gate, on_both_engines};

on_both_engines!(
    another_key_reports_a_loss_and_what_was_signed_before_counts,
    what_the_lost_key_signed_since_then_stops,
    only_another_key_of_the_owner_that_counts_reports_a_loss,
    a_signature_reports_what_it_is_over_and_in_time,
    no_row_makes_a_report_or_moves_it,
    a_report_that_the_key_did_not_sign_is_a_revocation,
);

/// Hands the report in, and gives the name under which it waits.
async fn reported(person: &mut Approver, name: &str, lost: &str, since: &str) -> String {
    let path = format!("/keys/{lost}/losses");
    let page = person.browser.submit(&path, &[("since", since)], name).await.unwrap();
    let ceremony = page.split("data-ceremony=\"").nth(1).unwrap().split('"').next().unwrap();
    ceremony.to_owned()
}

async fn prepared(person: &mut Approver, ceremony: &str) -> Result<Value, String> {
    person.browser.post(&format!("/keys/losses/{ceremony}/statements"), &json!({})).await
}

async fn sent(person: &mut Approver, ceremony: &str, signed: &Value) -> Result<Value, String> {
    person.browser.post(&format!("/keys/losses/{ceremony}/signatures"), signed).await
}

/// Reports with the key in hand that another one is lost.
async fn report(
    person: &mut Approver,
    name: &str,
    lost: &str,
    since: &str,
) -> Result<Value, String> {
    let ceremony = reported(person, name, lost, since).await;
    let statement = prepared(person, &ceremony).await?;
    let signed = person.signed(&statement, &[])?;
    sent(person, &ceremony, &signed).await
}

async fn another_key_reports_a_loss_and_what_was_signed_before_counts(engine: Engine) {
    let gate = Gate::start(engine).await;
    let (mut alice, other) = two_keys(&gate, "alice").await;
    let lost = id_of(&alice.authenticator);
    let id = approved_and_held(&gate, &mut alice).await;
    gate.servers.clock.shift(SignedDuration::from_secs(2));
    alice.authenticator = other.clone();
    let ceremony = reported(&mut alice, "alice", &lost, &at(&gate, -1)).await;
    let page = alice.browser.open(&format!("/keys/losses/{ceremony}"), "alice").await.unwrap();
    assert!(page.contains("Sign it with another key") && page.contains(&lost), "{page}");
    let statement = prepared(&mut alice, &ceremony).await.unwrap();
    let named = &statement["request_options"]["allowCredentials"];
    assert_eq!(
        (named.as_array().unwrap().len(), named[0]["id"].as_str()),
        (1, Some(&*id_of(&other)))
    );
    let text: Value = serde_json::from_str(statement["statement"].as_str().unwrap()).unwrap();
    let said = &text["predicate"]["report"];
    assert_eq!(
        (said["credential"].as_str(), said["person"]["subject"].as_str()),
        (Some(&*lost), Some("u-alice"))
    );
    assert!(losses(&gate).await.is_empty());
    let signed = alice.signed(&statement, &[]).unwrap();
    let next = sent(&mut alice, &ceremony, &signed).await.unwrap();
    gate.no_faults().await;
    let page = alice.browser.open(next["continue"].as_str().unwrap(), "alice").await.unwrap();
    assert!(page.contains("The loss is recorded") && page.contains("as lost since"), "{page}");
    assert_eq!(gate.ended(&id).await["status"], "succeeded");
    // Once; and the other key goes on signing.
    assert!(sent(&mut alice, &ceremony, &signed).await.unwrap_err().contains("409"));
    let found = losses(&gate).await;
    assert_eq!((found.len(), found[0].revocation.by.subject.as_str()), (1, "u-alice"));
    let id = gate.asked(json!({})).await;
    alice.approve(&id).await.unwrap();
    assert_eq!(gate.ended(&id).await["status"], "succeeded");
    let page = alice.browser.open("/audit", "alice").await.unwrap();
    assert!(page.contains("as lost since"), "{page}");
    assert_proved(&gate, &id).await;
    gate.finish().await;
}

async fn what_the_lost_key_signed_since_then_stops(engine: Engine) {
    let gate = Gate::start(engine).await;
    let (mut alice, other) = two_keys(&gate, "alice").await;
    let lost = id_of(&alice.authenticator);
    let id = approved_and_held(&gate, &mut alice).await;
    alice.authenticator = other;
    report(&mut alice, "alice", &lost, &at(&gate, -60)).await.unwrap();
    gate.no_faults().await;
    let ended = gate.ended(&id).await;
    assert_eq!(ended["status"], "needs_attention", "{ended:#}");
    let sentence = ended["status_sentence"].as_str().unwrap();
    assert!(sentence.contains("credential_lost"), "{sentence}");
    assert_eq!(gate.changes_of_cloud_run().await, 0);
    gate.finish().await;
}

async fn only_another_key_of_the_owner_that_counts_reports_a_loss(engine: Engine) {
    let gate = Gate::start(engine).await;
    let (mut alice, second) = two_keys(&gate, "alice").await;
    let first = id_of(&alice.authenticator);
    let mut bob = gate.approver("bob").await;
    let refused = |outcome: Result<Value, String>, words: &str| {
        let refused = outcome.unwrap_err();
        assert!(refused.contains(words), "{words}: {refused}");
    };
    // Whoever has no other key signs in for it.
    let own = id_of(&bob.authenticator);
    let ceremony = reported(&mut bob, "bob", &own, &at(&gate, -60)).await;
    refused(prepared(&mut bob, &ceremony).await, "no_credential");
    let page = bob.browser.open(&format!("/keys/losses/{ceremony}"), "bob").await.unwrap();
    assert!(!page.contains("Sign it with another key"), "{page}");
    // Nor does the lost key itself, somebody else, or a key that was brought in with it.
    let ceremony = reported(&mut alice, "alice", &first, &at(&gate, -60)).await;
    refused(prepared(&mut bob, &ceremony).await, "unknown_enrolment");
    let statement = prepared(&mut alice, &ceremony).await.unwrap();
    let mut of_any = statement.clone();
    of_any["request_options"]["allowCredentials"] = json!([]);
    let by_lost = alice.signed(&of_any, &[]).unwrap();
    refused(sent(&mut alice, &ceremony, &by_lost).await, "other_credential");
    let by_bob = bob.signed(&of_any, &[]).unwrap();
    refused(sent(&mut alice, &ceremony, &by_bob).await, "other_credential");
    let mut third = SoftwareAuthenticator::new();
    alice.register_key_on(&mut third).await.unwrap();
    let ceremony = reported(&mut alice, "alice", &first, &at(&gate, -60)).await;
    let statement = prepared(&mut alice, &ceremony).await.unwrap();
    let named = statement["request_options"]["allowCredentials"].as_array().unwrap();
    assert!(named.iter().all(|one| one["id"] == *id_of(&second)), "{named:?}");
    // A key that was given up in between.
    alice.revoke(&id_of(&second), "The bag is gone").await.unwrap();
    alice.authenticator = second;
    let late = alice.signed(&statement, &[]).unwrap();
    let outcome = sent(&mut alice, &ceremony, &late).await;
    refused(outcome, "403");
    assert!(losses(&gate).await.iter().all(|found| found.revocation.loss.is_none()));
    gate.finish().await;
}

async fn a_signature_reports_what_it_is_over_and_in_time(engine: Engine) {
    let gate = Gate::start(engine).await;
    let (mut alice, other) = two_keys(&gate, "alice").await;
    let lost = id_of(&alice.authenticator);
    alice.authenticator = other;
    let early = reported(&mut alice, "alice", &lost, &at(&gate, -60)).await;
    let statement = prepared(&mut alice, &early).await.unwrap();
    let since_early = alice.signed(&statement, &[]).unwrap();
    let late = reported(&mut alice, "alice", &lost, &at(&gate, -30)).await;
    let statement = prepared(&mut alice, &late).await.unwrap();
    // Not in the place of another report, nor under the name of another statement.
    let refused = sent(&mut alice, &late, &since_early).await.unwrap_err();
    assert!(refused.contains("stale_page"), "{refused}");
    let renamed = json!({"nonce": statement["nonce"], "credential": since_early["credential"]});
    let refused = sent(&mut alice, &late, &renamed).await.unwrap_err();
    assert!(refused.contains("challenge"), "{refused}");
    // Nor does an approval report a loss, or a report approve.
    let id = gate.asked(json!({})).await;
    let approval = alice.statement(&id, json!({"decision": "approve"})).await.unwrap();
    let approves = alice.signed(&approval, &[]).unwrap();
    let refused = sent(&mut alice, &late, &approves).await.unwrap_err();
    assert!(refused.contains("stale_page"), "{refused}");
    let refused = alice.sign(&id, &statement, &[]).await.unwrap_err();
    assert!(refused.contains("stale_page"), "{refused}");
    gate.servers.clock.shift(SignedDuration::from_secs(301));
    let refused = sent(&mut alice, &early, &since_early).await.unwrap_err();
    assert!(refused.contains("statement_expired"), "{refused}");
    assert!(losses(&gate).await.is_empty());
    // What was refused before takes nothing from a fresh one.
    report(&mut alice, "alice", &lost, &at(&gate, -60)).await.unwrap();
    assert_eq!(losses(&gate).await.len(), 1);
    gate.finish().await;
}

/// Rows that say that a key was lost only after it signed, where it is given up for good or was lost before.
async fn no_row_makes_a_report_or_moves_it(engine: Engine) {
    let entry = "WHERE kind = 'credential.revoked'";
    let later = r#"replace(record, '\"since\":\"20', '\"since\":\"30')"#;
    let loss = json!({
        "statement": "{}", "signed_with": "AAAA", "authenticator_data": "AAAA",
        "client_data_json": "AAAA", "signature": "AAAA", "sign_in": "e30.e30.e30", "issuer_key": "{}",
    });
    for (is_reported, sql) in [
        (true, format!("UPDATE ledger_entries SET record = {later} {entry}")),
        (
            false,
            format!(
                "UPDATE ledger_entries SET record = \
                 replace(record, '\"person\":', '\"loss\":{loss},\"person\":') {entry}"
            ),
        ),
    ] {
        let gate = Gate::start(engine).await;
        let (mut alice, other) = two_keys(&gate, "alice").await;
        let lost = id_of(&alice.authenticator);
        let id = approved_and_held(&gate, &mut alice).await;
        alice.authenticator = other;
        if is_reported {
            report(&mut alice, "alice", &lost, &at(&gate, -60)).await.unwrap();
        } else {
            alice.revoke(&lost, "The bag is gone").await.unwrap();
        }
        assert_stopped_after(gate, &id, &sql).await;
    }
}

/// The log key alone moves no loss and makes none: what stands in the entry is verified.
async fn a_report_that_the_key_did_not_sign_is_a_revocation(engine: Engine) {
    let gate = Gate::start(engine).await;
    let (mut alice, other) = two_keys(&gate, "alice").await;
    let lost = id_of(&alice.authenticator);
    alice.authenticator = other;
    report(&mut alice, "alice", &lost, &at(&gate, -60)).await.unwrap();
    let real = losses(&gate).await.remove(0);
    let (storage, trust) = (reading(&gate).await, config(&gate).trust());
    let since = lost_since(&storage, &trust, &real).await.unwrap().unwrap();
    assert!(since < real.at);
    let edited = |edit: &dyn Fn(&mut SignedLoss)| {
        let mut found: RecordedRevocation = real.clone();
        let Some(RecordedLoss::Signed(loss)) = &mut found.revocation.loss else {
            panic!("{real:?}")
        };
        edit(loss);
        found
    };
    let said = |edit: &dyn Fn(&mut Statement<LossStatement>)| {
        edited(&|loss| {
            let mut statement = FrozenLoss::thaw(&loss.statement).unwrap().statement().clone();
            edit(&mut statement);
            loss.statement = Frozen::freeze(statement).unwrap().text().to_owned();
        })
    };
    let later = SignedDuration::from_secs(30);
    let mut forged = vec![
        ("moved", said(&|statement| statement.predicate.report.since += later)),
        ("another type", said(&|statement| statement.predicate_type.push('x'))),
        (
            "another subject",
            said(&|statement| statement.subject[0].digest.sha256 = Digest::of("x")),
        ),
        (
            "another gate",
            said(&|statement| statement.predicate.audience = "https://evil.example".into()),
        ),
        ("the lost key", edited(&|loss| loss.signed_with = lost.clone())),
        ("another signature", edited(&|loss| loss.signature = "MAYCAQECAQE".into())),
        ("no statement", edited(&|loss| loss.statement = "{}".into())),
        ("no sign-in", edited(&|loss| loss.sign_in = "e30.e30.e30".into())),
        ("a day later", real.clone()),
        ("of another key", real.clone()),
        ("before the key was there", real.clone()),
    ];
    forged[8].1.at = real.at + SignedDuration::from_hours(24);
    forged[9].1.revocation.credential = "AAAA".into();
    forged[10].1.index = 0;
    for (name, found) in &forged {
        let since = lost_since(&storage, &trust, found).await.unwrap();
        assert_eq!(since, None, "{name}");
    }
    storage.close().await;
    gate.finish().await;
}
