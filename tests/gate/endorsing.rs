//! New keys need the signature of another approver, in chains that end at the pinned ones.

use std::collections::BTreeMap;

use countersign::cli::demo::approver::Approver;
use countersign::config::Config;
use countersign::proof::base64url;
use countersign::proof::evidence::Trust;
use countersign::proof::verify::verify;
use countersign::sandbox::authenticator::Fault;
use countersign::storage::Storage;
use countersign::storage::audit::verify_ledger;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::evidence::tamper;
use crate::support::gate::{Engine, Gate, on_both_engines};

on_both_engines!(
    a_key_waits_until_another_approver_endorses_it,
    what_is_no_endorsement_is_refused,
    an_endorsement_stands_after_its_endorser_is_revoked,
    no_row_endorses_a_key,
    nothing_is_endorsed_where_nothing_is_asked_for,
);

/// A gate whose new keys need one endorsement, with Alice's key pinned. Nothing was before, so that nobody has to
/// sign for it.
pub async fn endorsing(engine: Engine) -> (Gate, Approver) {
    let unpinned = |config: String| -> String {
        let pins =
            |line: &&str| !line.starts_with("login_keys") && !line.starts_with("workload_keys");
        config.lines().filter(pins).map(|line| format!("{line}\n")).collect()
    };
    let gate = Gate::start_with(engine, unpinned).await;
    let alice = gate.approver("alice").await;
    let config = Config::load(&gate.servers.files.config, &BTreeMap::new()).unwrap();
    let gate = gate
        .restart_with(|text| {
            let key = public_key(&config);
            let pinned = format!("[trust]\nendorsers = [\"{}\"]\n", key);
            text.replace("[trust]\n", &pinned) + "\n[enrolment]\nendorsements = 1\n"
        })
        .await;
    (gate, alice)
}

/// The public key of the only credential that there is.
fn public_key(config: &Config) -> String {
    tokio::task::block_in_place(|| {
        tokio::runtime::Handle::current().block_on(async {
            let database = config.database.expose_secret();
            let storage = Storage::open(database, config.log_key.clone()).await.unwrap();
            let credentials = storage.credentials().await.unwrap();
            storage.close().await;
            base64url::encode(&credentials[0].public_key)
        })
    })
}

fn key_of(approver: &Approver) -> String {
    approver.authenticator.newest_credential().unwrap()
}

/// The code that a page shows of a key.
fn code_in(page: &str) -> String {
    let (_, rest) = page.split_once("<dt>Code</dt><dd><code class=\"value\">").unwrap();
    rest.split('<').next().unwrap().to_owned()
}

async fn approves(approver: &mut Approver, gate: &Gate) -> Result<Value, String> {
    let id = gate.asked(json!({})).await;
    approver.approve(&id).await?;
    Ok(gate.ended(&id).await)
}

async fn a_key_waits_until_another_approver_endorses_it(engine: Engine) {
    let (gate, mut alice) = endorsing(engine).await;
    let mut bob = gate.approver("bob").await;
    let refused = approves(&mut bob, &gate).await.unwrap_err();
    assert!(refused.contains("waits for other approvers"), "{refused}");
    let own = bob.browser.open("/keys", "bob").await.unwrap();
    assert!(own.contains("Waits for endorsement") && own.contains("nobody yet"), "{own}");
    let key = key_of(&bob);
    let inbox = alice.browser.open("/", "alice").await.unwrap();
    assert!(inbox.contains("A new key waits"), "{inbox}");
    let page = alice.browser.open(&format!("/keys/{key}/endorsement"), "alice").await.unwrap();
    assert!(page.contains("Bob Brandt") && page.contains("bob@demo.example"), "{page}");
    assert!(page.contains(&code_in(&own)), "both see one code: {page}");
    alice.endorse(&key).await.unwrap();
    let ended = approves(&mut bob, &gate).await.unwrap();
    assert_eq!(ended["status"], "succeeded", "{ended:#}");
    let own = bob.browser.open("/keys", "bob").await.unwrap();
    assert!(own.contains("Can sign") && own.contains("Alice Adler"), "{own}");
    // The chain is in the evidence, and holds by the anchors that an auditor is given.
    let id = ended["id"].as_str().unwrap();
    let evidence = gate.get(&format!("/v1/approvals/{id}/evidence")).await.body;
    assert_eq!(evidence["credentials"].as_array().unwrap().len(), 2);
    assert_eq!(evidence["credentials"][0]["endorsements"].as_array().unwrap().len(), 1);
    assert_eq!(evidence["credentials"][1]["endorsements"], json!([]));
    let trust = Trust::read(&std::fs::read(&gate.servers.files.trust).unwrap()).unwrap();
    let text = countersign::domain::canonical::to_canonical_json(&evidence).unwrap();
    assert!(verify(text.as_bytes(), &trust).unwrap().is_approved());
    // The pinned key needs nobody; and Bob, who is endorsed, endorses others.
    assert_eq!(approves(&mut alice, &gate).await.unwrap()["status"], "succeeded");
    let mut carol = gate.approver("carol").await;
    bob.endorse(&key_of(&carol)).await.unwrap();
    let ended = approves(&mut carol, &gate).await.unwrap();
    assert_eq!(ended["status"], "succeeded", "{ended:#}");
    gate.finish().await;
}

async fn what_is_no_endorsement_is_refused(engine: Engine) {
    let (gate, mut alice) = endorsing(engine).await;
    let mut bob = gate.approver("bob").await;
    let mut carol = gate.approver("carol").await;
    let mut dan = gate.approver("dan").await;
    let (bobs, carols, alices) = (key_of(&bob), key_of(&carol), key_of(&alice));
    // Oneself; with a key that waits itself; without being an approver; the pinned key; no key at all.
    let none = "AAAA".to_owned();
    let attempts = [
        (bob.endorsement(&bobs).await, "somebody else than its owner"),
        (carol.endorsement(&bobs).await, "waits for other approvers"),
        (dan.endorsement(&bobs).await, "no key of this name"),
        (bob.endorsement(&alices).await, "does not wait"),
        (alice.endorsement(&none).await, "no key of this name"),
    ];
    for (outcome, words) in attempts {
        let refused = outcome.unwrap_err();
        assert!(refused.contains(words), "{refused}");
    }
    // A signature for one key, sent for another; altered; twice.
    let statement = alice.endorsement(&bobs).await.unwrap();
    let refused = alice.sign_endorsement(&carols, &statement, &[]).await.unwrap_err();
    assert!(refused.contains("out of date"), "{refused}");
    for fault in [Fault::WrongKey, Fault::FlipFlags(0x04), Fault::RelyingParty("evil.example")] {
        let refused = alice.sign_endorsement(&bobs, &statement, &[fault]).await.unwrap_err();
        assert!(refused.contains("422"), "{refused}");
    }
    let refused = carol.sign_endorsement(&bobs, &statement, &[]).await.unwrap_err();
    assert!(refused.contains("out of date") || refused.contains("did not sign"), "{refused}");
    alice.sign_endorsement(&bobs, &statement, &[]).await.unwrap();
    let refused = alice.sign_endorsement(&bobs, &statement, &[]).await.unwrap_err();
    assert!(refused.contains("already signed"), "{refused}");
    assert!(alice.endorse(&bobs).await.unwrap_err().contains("before"));
    // An endorsement is no decision, and a decision no endorsement.
    let id = gate.asked(json!({})).await;
    let statement = alice.endorsement(&carols).await.unwrap();
    assert!(alice.sign(&id, &statement, &[]).await.is_err());
    let statement = alice.statement(&id, json!({"decision": "approve"})).await.unwrap();
    assert!(alice.sign_endorsement(&carols, &statement, &[]).await.is_err());
    assert_eq!(gate.approval(&id).await["status"], "pending");
    assert!(approves(&mut carol, &gate).await.is_err());
    assert_eq!(gate.changes_of_cloud_run().await, 0);
    gate.finish().await;
}

async fn an_endorsement_stands_after_its_endorser_is_revoked(engine: Engine) {
    let (gate, mut alice) = endorsing(engine).await;
    let mut bob = gate.approver("bob").await;
    let carol = gate.approver("carol").await;
    alice.endorse(&key_of(&bob)).await.unwrap();
    let statement = alice.endorsement(&key_of(&carol)).await.unwrap();
    let alices = key_of(&alice);
    bob.revoke(&alices, "left the company").await.unwrap();
    // What she endorsed before stands; what she signs now is nothing.
    assert_eq!(approves(&mut bob, &gate).await.unwrap()["status"], "succeeded");
    let refused = alice.sign_endorsement(&key_of(&carol), &statement, &[]).await.unwrap_err();
    assert!(refused.contains("revoked and signs nothing"), "{refused}");
    assert!(alice.endorsement(&key_of(&carol)).await.unwrap_err().contains("no key registered"));
    gate.finish().await;
}

async fn no_row_endorses_a_key(engine: Engine) {
    let (gate, mut alice) = endorsing(engine).await;
    let mut bob = gate.approver("bob").await;
    let mut carol = gate.approver("carol").await;
    alice.endorse(&key_of(&bob)).await.unwrap();
    // Bob's endorsement is copied to Carol's key, and then moved there.
    let carols = "(SELECT id FROM credentials WHERE subject = 'u-carol')";
    let columns = "issuer, subject, entry_index, statement, signed_with, authenticator_data, \
                   client_data_json, signature, user_handle, id_token, issuer_key, endorsed_at";
    for sql in [
        format!(
            "INSERT INTO endorsements (credential_id, {columns}) SELECT {carols}, {columns} FROM endorsements"
        ),
        format!("UPDATE endorsements SET entry_index = 0 WHERE credential_id = {carols}"),
        format!("UPDATE endorsements SET subject = 'u-bob' WHERE credential_id = {carols}"),
    ] {
        tamper(&gate, &sql).await;
        let ended = approves(&mut carol, &gate).await.unwrap();
        assert_eq!(ended["status"], "needs_attention", "{sql}: {ended:#}");
        let sentence = ended["status_sentence"].as_str().unwrap();
        assert!(sentence.contains("endorsement_invalid"), "{sql}: {sentence}");
    }
    // And Bob's is taken away between his signature's page and the rollout.
    let id = gate.asked(json!({})).await;
    let statement = bob.statement(&id, json!({"decision": "approve"})).await.unwrap();
    tamper(&gate, &format!("DELETE FROM endorsements WHERE credential_id <> {carols}")).await;
    bob.sign(&id, &statement, &[]).await.unwrap();
    let ended = gate.ended(&id).await;
    assert!(ended["status_sentence"].as_str().unwrap().contains("not_endorsed"), "{ended:#}");
    assert_eq!(gate.changes_of_cloud_run().await, 0);
    let config = Config::load(&gate.servers.files.config, &BTreeMap::new()).unwrap();
    gate.servers.stop().await;
    // The audit names both.
    let database = config.database.expose_secret();
    let storage = Storage::open(database, config.log_key.clone()).await.unwrap();
    let findings = verify_ledger(&storage).await.unwrap().findings;
    storage.close().await;
    let codes: Vec<&str> = findings.iter().map(|finding| finding.code).collect();
    for code in ["endorsement_unrecorded", "endorsement_missing"] {
        assert!(codes.contains(&code), "no {code}: {codes:?}");
    }
}

async fn nothing_is_endorsed_where_nothing_is_asked_for(engine: Engine) {
    let gate = Gate::start(engine).await;
    let mut alice = gate.approver("alice").await;
    let bob = gate.approver("bob").await;
    let refused = alice.endorsement(&key_of(&bob)).await.unwrap_err();
    assert!(refused.contains("does not wait"), "{refused}");
    let page = alice.browser.open("/keys", "alice").await.unwrap();
    assert!(page.contains("asks for no endorsements"), "{page}");
    let inbox = alice.browser.open("/", "alice").await.unwrap();
    assert!(!inbox.contains("key waits"), "{inbox}");
    gate.finish().await;
}
