//! What brings no log back.

use countersign::clock::Clock;
use countersign::domain::digest::Digest;
use countersign::domain::recovery::{
    FrozenRecovery, LOG_RECOVERED, RecordedRecovery, Recovery, RecoverySignature,
};
use countersign::sandbox::authenticator::Fault;
use countersign::storage::Storage;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::scene::{Link, Scene};
use crate::support::database::storage;
use crate::support::gate::{Engine, on_both_engines};

on_both_engines!(
    what_is_no_signature_of_a_pinned_key_is_refused,
    a_statement_of_something_else_is_refused,
    two_people_sign_where_two_are_asked_for,
    a_planted_recovery_is_none,
    nothing_is_recovered_where_nothing_is_lost,
);

/// The gate stands still after a backup was restored, and there are links to a recovery.
async fn stopped(engine: Engine, signatures: u8) -> (Scene, FrozenRecovery, Vec<String>) {
    let mut scene = Scene::new(engine, signatures).await;
    let yesterday = scene.backup().await;
    scene.gate.asked(json!({})).await;
    scene.restore(&yesterday).await;
    let (statement, links) = scene.prepared().await.unwrap();
    (scene, statement, links)
}

fn assert_refused(answer: Result<Value, String>, words: &str) {
    let refused = answer.unwrap_err();
    assert!(refused.contains(words), "{refused}");
}

async fn what_is_no_signature_of_a_pinned_key_is_refused(engine: Engine) {
    let mut scene = Scene::new(engine, 1).await;
    // Her key is not pinned, and the gate knows it.
    let mut dora = scene.gate.approver("carol").await;
    let yesterday = scene.backup().await;
    scene.gate.asked(json!({})).await;
    scene.restore(&yesterday).await;
    let (_, links) = scene.prepared().await.unwrap();
    let mut stranger = scene.opened(&links[0]).await;
    for token in [links[0].as_str(), "x", ""] {
        let answer = stranger.browser.post("/recovery", &json!({"token": token})).await;
        assert_refused(answer, "was opened before");
    }
    let mut link = stranger;
    let faults = [
        Fault::WrongKey,
        Fault::FlipFlags(0x04),
        Fault::FlipFlags(0x01),
        Fault::ClientDataMember("origin", json!("https://gate.example.org")),
        Fault::ClientDataMember("type", json!("webauthn.create")),
        Fault::ClientDataMember("crossOrigin", json!(true)),
        Fault::RelyingParty("example.org"),
        Fault::ExtraBytes(vec![0]),
        Fault::UserHandle(Some(vec![1; 32])),
    ];
    for fault in faults {
        let answer = link.sign_with(&mut scene.alice, std::slice::from_ref(&fault)).await;
        assert_refused(answer, "403");
    }
    // A signature over something else.
    let mut options = link.options().await;
    options["challenge"] = json!("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    let signed = scene.alice.authenticator.assert(&options, &scene.gate.servers.gate).unwrap();
    assert_refused(link.send(&signed).await, "403");
    // A good one by somebody else, under their own name and under Alice's.
    let mut options = link.options().await;
    let alices = options["allowCredentials"].clone();
    let key = dora.authenticator.newest_credential().unwrap();
    options["allowCredentials"] = json!([{"type": "public-key", "id": key}]);
    let mut signed = dora.authenticator.assert(&options, &scene.gate.servers.gate).unwrap();
    assert_refused(link.send(&signed).await, "not pinned");
    for name in ["id", "rawId"] {
        signed[name] = alices[0]["id"].clone();
    }
    assert_refused(link.send(&signed).await, "403");
    // Without the browser that opened the link there is nothing to sign.
    let mut other = scene.opened_nothing();
    assert_refused(other.send(&signed).await, "was opened before");
    assert!(!other.page().await.contains("data-options"));
    scene.still_stopped().await;
    scene.tamper(&["UPDATE recovery_links SET expires_at = 1"]).await;
    assert_refused(link.send(&signed).await, "was opened before");
    scene.still_stopped().await;
    scene.recover().await;
    scene.assert_works().await;
    scene.end().await;
}

/// Has a link lead to another statement, as somebody who writes into the database could.
async fn planted(scene: &mut Scene, recovery: Recovery) -> Link {
    scene.process.stop().await;
    let memory = storage(&scene.gate).await;
    let statement = FrozenRecovery::of(recovery).unwrap();
    let token = Digest::of(&statement.predicate().nonce).to_string();
    let expires_at = Timestamp::MAX.saturating_sub(SignedDuration::from_hours(1)).unwrap();
    memory.put_recovery_link(&Digest::of(&token), statement.text(), expires_at).await.unwrap();
    memory.close().await;
    drop(memory);
    scene.process.start_again_to_refuse().await;
    scene.opened(&token).await
}

async fn a_statement_of_something_else_is_refused(engine: Engine) {
    let (mut scene, statement, _) = stopped(engine, 1).await;
    let right = statement.predicate().clone();
    let hours = |count| right.issued_at + SignedDuration::from_hours(count);
    let alter = |change: &dyn Fn(&mut Recovery)| {
        let mut other = right.clone();
        change(&mut other);
        other.nonce = countersign::randomness::token::<32>();
        other
    };
    let cases = [
        ("no longer so", alter(&|one| one.outside.size += 1)),
        ("no longer so", alter(&|one| one.outside.root = Digest::of("other"))),
        ("no longer so", alter(&|one| one.database.size -= 1)),
        ("no longer so", alter(&|one| one.database.root = Digest::of("other"))),
        ("no longer so", alter(&|one| one.revoked.push("AAAA".to_owned()))),
        ("no longer so", alter(&|one| one.signers[1].person = one.signers[0].person.clone())),
        ("no longer so", alter(&|one| one.signers.truncate(1))),
        ("another log", alter(&|one| one.new_name.push('0'))),
        ("another log", alter(&|one| one.audience.push('0'))),
        ("another log", alter(&|one| one.outside.name.push('0'))),
        // Made an hour ago, or good for an hour.
        (
            "within the 15 minutes",
            alter(&|one| {
                one.issued_at = hours(-1);
                one.expires_at = hours(-1) + SignedDuration::from_mins(15);
            }),
        ),
        ("within the 15 minutes", alter(&|one| one.expires_at = hours(1))),
        ("within the 15 minutes", alter(&|one| one.issued_at = hours(1))),
    ];
    for (words, other) in cases {
        let statement = FrozenRecovery::of(other.clone()).unwrap();
        let mut link = planted(&mut scene, other).await;
        let key = scene.alice.authenticator.newest_credential().unwrap();
        let challenge = countersign::gate::decide::encode(statement.challenge().as_bytes());
        let options = json!({
            "challenge": challenge, "rpId": "localhost", "userVerification": "required",
            "allowCredentials": [{"type": "public-key", "id": key}],
        });
        let signed = scene.alice.authenticator.assert(&options, &scene.gate.servers.gate).unwrap();
        assert_refused(link.send(&signed).await, words);
    }
    scene.still_stopped().await;
    let first = scene.recover().await;
    scene.assert_works().await;
    // The same statement once more, after it was carried out.
    let mut again = planted(&mut scene, alter(&|_| {})).await;
    scene.going_on().await;
    let page = again.browser.open("/recovery", "nobody").await.unwrap_err();
    assert!(page.contains("409"), "{page}");
    assert_eq!(scene.seen().lineage.recoveries, 1);
    assert!(first.predicate().new_name.ends_with("-1"));
    scene.end().await;
}

async fn two_people_sign_where_two_are_asked_for(engine: Engine) {
    let (mut scene, _, links) = stopped(engine, 2).await;
    assert_eq!(links.len(), 2);
    let mut first = scene.opened(&links[0]).await;
    let mut second = scene.opened(&links[1]).await;
    assert_eq!(first.sign(&mut scene.alice).await.unwrap()["continue"], "/recovery");
    assert!(first.page().await.contains("Has not signed"));
    scene.still_stopped().await;
    // Once more, with the same key and with her other one, which is pinned too.
    let mut spare = scene.spare.take().unwrap();
    for alice in [&mut scene.alice, &mut spare] {
        assert_refused(second.sign(alice).await, "recovery_person_twice");
    }
    // Through her own link it changes nothing.
    assert_eq!(first.sign(&mut scene.alice).await.unwrap()["continue"], "/recovery");
    scene.still_stopped().await;
    assert_eq!(second.sign(&mut scene.bob).await.unwrap()["continue"], "/recovery?done=1");
    scene.going_on().await;
    let page = first.page().await;
    assert!(!page.contains("data-options"), "the link is over: {page}");
    scene.assert_works().await;
    scene.end().await;
}

async fn record(memory: &Storage, data: Value) {
    let mut writer = memory.begin().await.unwrap();
    writer.record(LOG_RECOVERED, data, Clock::system().now()).await.unwrap();
    writer.commit().await.unwrap();
}

async fn a_planted_recovery_is_none(engine: Engine) {
    let (mut scene, statement, _) = stopped(engine, 1).await;
    let forged = |count: usize| {
        let signature = RecoverySignature {
            credential: statement.predicate().signers[0].credential.clone(),
            authenticator_data: "AAAA".to_owned(),
            client_data_json: "AAAA".to_owned(),
            signature: "AAAA".to_owned(),
            user_handle: None,
        };
        let signatures = vec![signature; count];
        json!(RecordedRecovery { statement: statement.text().to_owned(), signatures })
    };
    // A row that the log key did not sign: as if it was not there.
    let record_text = countersign::domain::ledger::Record::of_event(
        LOG_RECOVERED,
        forged(1),
        Clock::system().now(),
    );
    let text = record_text.text().unwrap().replace('\'', "''");
    let planted = format!(
        "INSERT INTO ledger_entries (entry_index, kind, record, salt, entry_hash, root, signature, at) \
         SELECT entry_index + 1, '{LOG_RECOVERED}', '{text}', salt, entry_hash, root, signature, at \
         FROM ledger_entries ORDER BY entry_index DESC LIMIT 1"
    );
    scene.tamper(&[&planted]).await;
    scene.still_stopped().await;
    scene.tamper(&["DELETE FROM ledger_entries WHERE kind = 'log.recovered'"]).await;
    // One that it did sign, without a person, or with what is no signature.
    for data in [forged(0), forged(1)] {
        scene.process.stop().await;
        let clean = crate::support::database::Backup::take(&scene.gate).await;
        let memory = storage(&scene.gate).await;
        record(&memory, data).await;
        memory.close().await;
        drop(memory);
        scene.process.start_again_to_refuse().await;
        scene.stopped("recovered by an entry that does not hold").await;
        assert_eq!(scene.gate.changes_of_cloud_run().await, 0);
        scene.gate.ask(json!({})).await.assert_problem(503, "log_recovery_invalid");
        scene.process.stop().await;
        clean.restore().await;
        scene.process.start_again_to_refuse().await;
    }
    scene.stopped("the database lost what came after").await;
    scene.recover().await;
    scene.assert_works().await;
    // In a log that lost nothing it is none either.
    scene.process.stop().await;
    let clean = crate::support::database::Backup::take(&scene.gate).await;
    let memory = storage(&scene.gate).await;
    record(&memory, forged(1)).await;
    memory.close().await;
    drop(memory);
    scene.process.start_again_to_refuse().await;
    scene.stopped("recovered by an entry that does not hold").await;
    scene.process.stop().await;
    clean.restore().await;
    scene.process.start_again().await;
    scene.assert_works().await;
    scene.end().await;
}

async fn nothing_is_recovered_where_nothing_is_lost(engine: Engine) {
    let mut scene = Scene::new(engine, 1).await;
    let refused = scene.prepared().await.unwrap_err().to_string();
    assert!(refused.contains("there is nothing to recover"), "{refused}");
    scene.going_on().await;
    let mut stranger = scene.opened_nothing();
    let answer = stranger.browser.post("/recovery", &json!({"token": "x"})).await;
    assert_refused(answer, "was opened before");
    assert!(stranger.page().await.contains("a link that works once"));
    scene.assert_works().await;
    scene.end().await;
}
