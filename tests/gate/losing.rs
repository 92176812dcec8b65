//! A person reports a key as lost: the directory vouches for the report or another key signs it, and what the key signed since then
//! counts for nothing that has not begun.

mod signed;

use std::collections::BTreeMap;

use countersign::cli::demo::approver::Approver;
use countersign::config::Config;
use countersign::domain::loss::{LossReport, RecordedLoss};
use countersign::proof::verify::verify_loss;
use countersign::sandbox::authenticator::SoftwareAuthenticator;
use countersign::storage::{RecordedRevocation, Storage};
use jiff::SignedDuration;
use reqwest::Method;
use secrecy::ExposeSecret;
use serde_json::json;

use crate::evidence::tamper;
use crate::support::gate::{Engine, Gate, on_both_engines, send};
use crate::support::job::Job;

on_both_engines!(
    what_a_key_signed_before_it_was_lost_counts,
    what_a_key_signed_since_it_is_lost_stops,
    nobody_signs_on_top_of_a_lost_keys_signature,
    nothing_but_a_sign_in_for_it_reports_a_loss,
    what_a_lost_key_brought_in_goes_with_it,
    no_row_takes_a_loss_back_or_moves_it,
    a_loss_that_the_directory_did_not_sign_is_a_revocation,
);

/// A time a while from now, as the page's field writes it.
fn at(gate: &Gate, seconds: i64) -> String {
    let at = gate.servers.clock.now() + SignedDuration::from_secs(seconds);
    at.strftime("%Y-%m-%dT%H:%M:%S").to_string()
}

fn id_of(authenticator: &SoftwareAuthenticator) -> String {
    authenticator.newest_credential().unwrap()
}

/// Somebody with two keys for some minutes, who signs with the first. Gives the other authenticator.
async fn two_keys(gate: &Gate, name: &str) -> (Approver, SoftwareAuthenticator) {
    let mut approver = gate.approver(name).await;
    let mut other = SoftwareAuthenticator::new();
    approver.register_key_on(&mut other).await.unwrap();
    gate.servers.clock.shift(SignedDuration::from_mins(5));
    (approver, other)
}

/// The worker waits for Cloud Run to tell what runs, before it calls anything, until the faults end.
async fn approved_and_held(gate: &Gate, approver: &mut Approver) -> String {
    gate.ready_delay(0).await;
    let id = gate.asked(json!({"subject": {"steps": [100]}})).await;
    let held = gate.hold("GET", 1).await;
    approver.approve(&id).await.unwrap();
    gate.until_hit(held).await;
    id
}

async fn losses(gate: &Gate) -> Vec<RecordedRevocation> {
    let config = Config::load(&gate.servers.files.config, &BTreeMap::new()).unwrap();
    let database = config.database.expose_secret();
    let storage = Storage::open_beside(database, config.log_key.clone()).await.unwrap();
    let found = storage.revocations().await.unwrap();
    storage.close().await;
    found
}

/// Both commands accept an approval and the log in which a loss is reported.
async fn assert_proved(gate: &Gate, id: &str) {
    gate.proved(id).await;
    let token = gate.token(json!({})).await;
    let request = gate.http.get(gate.url(&format!("/v1/approvals/{id}/evidence")));
    let evidence = request.bearer_auth(token).send().await.unwrap().bytes().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (file, out) = (path("evidence.json"), path("export"));
    std::fs::write(&file, evidence).unwrap();
    let config = gate.servers.files.config.to_str().unwrap();
    let trust = gate.servers.files.trust.to_str().unwrap();
    let all = ["--from", "2000-01-01", "--to", "2100-01-01", "--out", &out];
    for words in [
        &["verify", "--trust", trust, &file][..],
        &["audit", "verify", "--config", config],
        &[&["audit", "export", "--config", config][..], &all].concat(),
        &["audit", "verify", &out, "--trust", trust],
    ] {
        let ran = Job::bare(words).run().await;
        assert_eq!(ran.code, 0, "{words:?}: {ran:?}");
    }
}

async fn what_a_key_signed_before_it_was_lost_counts(engine: Engine) {
    let gate = Gate::start(engine).await;
    let (mut alice, other) = two_keys(&gate, "alice").await;
    let lost = id_of(&alice.authenticator);
    let id = approved_and_held(&gate, &mut alice).await;
    gate.servers.clock.shift(SignedDuration::from_secs(2));
    let page = alice.report_loss(&lost, &at(&gate, -1)).await.unwrap();
    assert!(page.contains("The loss is recorded") && page.contains("as lost since"), "{page}");
    gate.no_faults().await;
    let ended = gate.ended(&id).await;
    assert_eq!(ended["status"], "succeeded", "{ended:#}");
    // It signs nothing any more, and the other one does.
    let id = gate.asked(json!({})).await;
    let statement = alice.statement(&id, json!({"decision": "approve"})).await.unwrap();
    let named = &statement["request_options"]["allowCredentials"];
    assert_eq!(named, &json!([named[0]]), "one key is left");
    assert_eq!(named[0]["id"].as_str(), other.newest_credential().as_deref());
    alice.authenticator = other;
    alice.approve(&id).await.unwrap();
    assert_eq!(gate.ended(&id).await["status"], "succeeded");
    let found = losses(&gate).await;
    assert_eq!((found.len(), found[0].revocation.by_name.as_str()), (1, "Alice Adler"));
    assert_proved(&gate, &id).await;
    gate.finish().await;
}

async fn what_a_key_signed_since_it_is_lost_stops(engine: Engine) {
    let gate = Gate::start(engine).await;
    let (mut alice, _) = two_keys(&gate, "alice").await;
    let lost = id_of(&alice.authenticator);
    let id = approved_and_held(&gate, &mut alice).await;
    alice.report_loss(&lost, &at(&gate, -60)).await.unwrap();
    gate.no_faults().await;
    let ended = gate.ended(&id).await;
    assert_eq!(ended["status"], "needs_attention", "{ended:#}");
    let sentence = ended["status_sentence"].as_str().unwrap();
    for words in ["Alice Adler", "lost by then", "credential_lost", "ask again"] {
        assert!(sentence.contains(words), "no {words:?} in: {sentence}");
    }
    assert_eq!(gate.changes_of_cloud_run().await, 0);
    gate.finish().await;
}

async fn nobody_signs_on_top_of_a_lost_keys_signature(engine: Engine) {
    let gate = Gate::start_with(engine, |config| config.replace("count = 1", "count = 2")).await;
    let (mut alice, other) = two_keys(&gate, "alice").await;
    let mut bob = gate.approver("bob").await;
    let id = gate.asked(json!({"subject": {"steps": [100]}})).await;
    alice.approve(&id).await.unwrap();
    let lost = id_of(&alice.authenticator);
    alice.report_loss(&lost, &at(&gate, -60)).await.unwrap();
    let refused = bob.statement(&id, json!({"decision": "approve"})).await.unwrap_err();
    assert!(refused.contains("signature_void") && refused.contains("takes it back"), "{refused}");
    let page = bob.browser.open(&format!("/approvals/{id}"), "bob").await.unwrap();
    assert!(page.contains("it counts no more") && !page.contains("id=\"approve\""), "{page}");
    // A no is a no.
    bob.statement(&id, json!({"decision": "reject", "reason": "x"})).await.unwrap();
    // She takes it back with the key that she has and signs again, and all is as it was.
    alice.authenticator = other;
    alice.decide(&id, json!({"decision": "withdraw"})).await.unwrap();
    alice.approve(&id).await.unwrap();
    bob.approve(&id).await.unwrap();
    let ended = gate.ended(&id).await;
    assert_eq!(ended["status"], "succeeded", "{ended:#}");
    gate.finish().await;
}

async fn nothing_but_a_sign_in_for_it_reports_a_loss(engine: Engine) {
    let gate = Gate::start(engine).await;
    let (mut alice, _) = two_keys(&gate, "alice").await;
    let mut bob = gate.approver("bob").await;
    let lost = id_of(&alice.authenticator);
    let path = format!("/keys/{lost}/losses");
    // Of somebody else, of no key, from a time that lies ahead, at no time, from another page.
    assert!(bob.report_loss(&lost, &at(&gate, -60)).await.unwrap_err().contains("404"));
    assert!(bob.report_loss("AAAA", &at(&gate, -60)).await.unwrap_err().contains("404"));
    for since in [at(&gate, 3600), "yesterday".to_owned(), String::new()] {
        assert!(alice.report_loss(&lost, &since).await.unwrap_err().contains("422"), "{since}");
    }
    let since = at(&gate, -60);
    let form = gate.http.post(gate.url(&path)).form(&[("since", &since)]);
    let foreign = form.header("origin", "https://evil.example").send().await.unwrap();
    assert_eq!(foreign.status(), 403);
    // The report alone changes nothing.
    let page = alice.browser.submit(&path, &[("since", &since)], "alice").await.unwrap();
    assert!(page.contains("Nothing is recorded before"), "{page}");
    let link = page.split("href=\"/sign-in?ceremony=").nth(1).unwrap().split('"').next().unwrap();
    let link = format!("/sign-in?ceremony={link}");
    assert!(losses(&gate).await.is_empty());
    // Another browser cannot sign in for it, another person does not, and no old sign-in does.
    assert!(bob.browser.open(&link, "bob").await.unwrap_err().contains("409"));
    assert!(bob.browser.open(&link, "alice").await.unwrap_err().contains("409"));
    assert!(alice.browser.clone().open(&link, "bob").await.unwrap_err().contains("403"));
    let page = alice.browser.submit(&path, &[("since", &since)], "alice").await.unwrap();
    let link = page.split("href=\"/sign-in?ceremony=").nth(1).unwrap().split('"').next().unwrap();
    let link = format!("/sign-in?ceremony={link}");
    let old = gate.servers.clock.now() - SignedDuration::from_mins(10);
    let stale = json!({"auth_time": old.as_second()});
    gate.sandbox(Method::POST, "/_sandbox/id-token", Some(stale)).await;
    assert!(alice.browser.clone().open(&link, "alice").await.unwrap_err().contains("403"));
    assert!(losses(&gate).await.is_empty());
    let page = alice.browser.open(&link, "alice").await.unwrap();
    assert!(page.contains("The loss is recorded"), "{page}");
    assert_eq!(losses(&gate).await.len(), 1);
    // Once, and not of a key that is given up.
    assert!(alice.browser.open(&link, "alice").await.is_err());
    assert!(alice.report_loss(&lost, &since).await.unwrap_err().contains("403"));
    assert_eq!(losses(&gate).await.len(), 1);
    gate.finish().await;
}

async fn what_a_lost_key_brought_in_goes_with_it(engine: Engine) {
    let gate = Gate::start(engine).await;
    let (mut alice, second) = two_keys(&gate, "alice").await;
    let first = id_of(&alice.authenticator);
    // Whoever has the second key by now signs with it for a third one.
    let good = std::mem::replace(&mut alice.authenticator, second.clone());
    let mut third = SoftwareAuthenticator::new();
    alice.register_key_on(&mut third).await.unwrap();
    alice.authenticator = good;
    let page = alice.report_loss(&id_of(&second), &at(&gate, -200)).await.unwrap();
    assert!(page.contains("a key that was lost by then signed for it"), "{page}");
    let id = gate.asked(json!({})).await;
    let statement = alice.statement(&id, json!({"decision": "approve"})).await.unwrap();
    let named = statement["request_options"]["allowCredentials"].as_array().unwrap();
    assert_eq!((named.len(), named[0]["id"].as_str()), (1, Some(first.as_str())));
    alice.approve(&id).await.unwrap();
    assert_eq!(gate.ended(&id).await["status"], "succeeded");
    gate.finish().await;
}

/// Waits until the gate says that something is wrong with its log, or with this approval.
async fn found(gate: &Gate, id: &str) -> String {
    let mut said = String::new();
    for _ in 0..400 {
        let ready = send(gate.http.get(gate.url("/health/ready"))).await.body.to_string();
        let sentence = gate.approval(id).await["status_sentence"].to_string();
        said = format!("{ready} {sentence}");
        let is_found = ["Nothing is decided", "evidence_incomplete", "log_gap", "credential_"];
        if is_found.iter().any(|words| said.contains(words)) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    said
}

async fn no_row_takes_a_loss_back_or_moves_it(engine: Engine) {
    let lost = "kind = 'credential.revoked'";
    for sql in [
        format!("DELETE FROM ledger_entries WHERE {lost}"),
        format!("UPDATE ledger_entries SET kind = 'x' WHERE {lost}"),
        format!(
            "UPDATE ledger_entries SET record = replace(record, 'since', 'until') WHERE {lost}"
        ),
        format!(
            "UPDATE ledger_entries SET record = replace(record, '\\\"since\\\":\\\"20', '\\\"since\\\":\\\"30') WHERE {lost}"
        ),
    ] {
        let gate = Gate::start(engine).await;
        let (mut alice, _) = two_keys(&gate, "alice").await;
        let key = id_of(&alice.authenticator);
        let id = approved_and_held(&gate, &mut alice).await;
        alice.report_loss(&key, &at(&gate, -60)).await.unwrap();
        assert_stopped_after(gate, &id, &sql).await;
    }
}

/// What is held goes on, with this written into the database, and comes to nothing.
async fn assert_stopped_after(gate: Gate, id: &str, sql: &str) {
    tamper(&gate, sql).await;
    tamper(&gate, "UPDATE credentials SET status = 'active', suspended_why = NULL").await;
    gate.no_faults().await;
    let said = found(&gate, id).await;
    eprintln!("{sql}: {said}");
    assert!(!gate.approval(id).await["status"].to_string().contains("succeeded"), "{said}");
    assert_eq!(gate.changes_of_cloud_run().await, 0, "{said}");
    gate.servers.stop().await;
}

/// The log key alone moves no loss: the time is in the report that the directory signed.
async fn a_loss_that_the_directory_did_not_sign_is_a_revocation(engine: Engine) {
    let gate = Gate::start(engine).await;
    let (mut alice, _) = two_keys(&gate, "alice").await;
    let key = id_of(&alice.authenticator);
    alice.report_loss(&key, &at(&gate, -60)).await.unwrap();
    let found = losses(&gate).await.remove(0);
    let config = Config::load(&gate.servers.files.config, &BTreeMap::new()).unwrap();
    let trust = config.trust();
    let person = &found.revocation.person;
    let Some(RecordedLoss::Vouched(real)) = found.revocation.loss.clone() else {
        panic!("{found:?}");
    };
    let about = (key.as_str(), person);
    let since = verify_loss(&real, about, found.at, &trust).unwrap();
    assert!(since < found.at);
    let edited = |edit: &dyn Fn(&mut LossReport)| {
        let mut report = LossReport::read(&real.report).unwrap();
        edit(&mut report);
        let mut loss = real.clone();
        loss.report = report.text().unwrap();
        loss
    };
    let later = SignedDuration::from_secs(30);
    let mut other_key = real.clone();
    other_key.issuer_key = other_key.issuer_key.replacen('A', "B", 1);
    let mut forged = [
        ("moved", edited(&|report| report.since += later)),
        ("another nonce", edited(&|report| report.nonce = "AAAA".to_owned())),
        ("another key", edited(&|report| report.credential = "AAAA".to_owned())),
        ("another gate", edited(&|report| report.audience = "https://evil.example".to_owned())),
        ("another form", edited(&|report| report.schema = "x".to_owned())),
        ("another issuer's key", other_key),
        ("no report", real.clone()),
        ("no token", real.clone()),
    ];
    forged[6].1.report = "{}".to_owned();
    forged[7].1.id_token = "e30.e30.e30".to_owned();
    for (name, loss) in &forged {
        assert!(verify_loss(loss, about, found.at, &trust).is_err(), "{name}");
    }
    let day_later = found.at + SignedDuration::from_hours(24);
    assert!(verify_loss(&real, about, day_later, &trust).is_err(), "an old sign-in");
    gate.finish().await;
}
