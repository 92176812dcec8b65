//! The way back after a restored backup, or a failover that lost commits: people with pinned keys sign for
//! going on, and nothing that happened in the lost part happens twice.

mod interrupted;
mod refusals;
mod scene;

use std::time::Duration;

use countersign::proof::verify::{Code, verify};
use serde_json::json;

use crate::support::gate::{Engine, on_both_engines};
use scene::Scene;

on_both_engines!(a_restored_backup_goes_on_after_a_pinned_key_signed,);

async fn a_restored_backup_goes_on_after_a_pinned_key_signed(engine: Engine) {
    let mut scene = Scene::new(engine, 1).await;
    let pending = scene.gate.asked(json!({})).await;
    let (rolled_out, yesterday) = scene.backup_of_a_rollout().await;
    assert_eq!(scene.gate.ended(&rolled_out).await["status"], "succeeded");
    // What is lost: the end of that rollout, a whole other one, and a revocation.
    let bob = scene.bob.authenticator.newest_credential().unwrap();
    scene.alice.revoke(&bob, "lost on a train").await.unwrap();
    scene.assert_works().await;
    let spent = scene.gate.token(json!({})).await;
    let body = scene.gate.request_body(json!({}));
    let lost = scene.gate.ask_as(&spent, "lost", &body).await;
    assert_eq!(lost.status, 201, "{lost:?}");
    let served = scene.gate.service().await;
    scene.gate.clear_journal().await;

    scene.restore(&yesterday).await;
    scene.still_stopped().await;
    let seen = scene.seen();
    let (statement, links) = scene.prepared().await.unwrap();
    let recovery = statement.predicate();
    assert_eq!((recovery.outside.size, recovery.outside.root), (seen.size, seen.root));
    assert_eq!(recovery.revoked, std::slice::from_ref(&bob));
    let mut link = scene.opened(&links[0]).await;
    let page = link.page().await;
    let count = recovery.lost().unwrap();
    assert!(page.contains(&format!("{count} entries at the end of the log are gone")), "{page}");
    assert!(page.contains(&rolled_out) && page.contains(&bob), "{page}");
    assert!(!page.contains(&pending), "{page}");
    scene.still_stopped().await;
    assert_eq!(link.sign(&mut scene.alice).await.unwrap()["continue"], "/recovery?done=1");
    scene.going_on().await;

    // The log goes on under another name, and the head outside is its own.
    let name = &recovery.new_name;
    assert!(name.ends_with("/log/recovered-1"));
    assert!(scene.checkpoint().await.starts_with(&format!("{name}\n")));
    assert_eq!(scene.seen().lineage.recoveries, 1);
    assert!(scene.seen().revoked[&bob] <= recovery.database.size + 1);
    // What was rolled out in the lost part is not rolled out again, and says why.
    let ended = scene.gate.ended(&rolled_out).await;
    assert_eq!(ended["status"], "failed", "{ended:#}");
    let sentence = ended["status_sentence"].as_str().unwrap();
    assert!(sentence.contains("Nothing was changed"), "{sentence}");
    assert_eq!(scene.gate.changes_of_cloud_run().await, 0);
    assert_eq!(scene.gate.service().await, served);
    // Nobody is signed in, and what was revoked stays so.
    let refused = scene.alice.statement(&pending, json!({"decision": "approve"})).await;
    assert!(refused.unwrap_err().contains("401"));
    scene.bob.sign_in("bob").await.unwrap();
    let refused = scene.bob.statement(&pending, json!({"decision": "approve"})).await;
    assert!(refused.unwrap_err().contains("no key"));
    // A token that was spent in the lost part creates nothing again.
    let again = scene.gate.ask_as(&spent, "again", &body).await;
    again.assert_problem(401, "token_before_recovery");
    // What waited for people waits again; Cloud Run is not as it was asked for any more.
    scene.alice.sign_in("alice").await.unwrap();
    scene.alice.approve(&pending).await.unwrap();
    let ended = scene.gate.ended(&pending).await;
    assert_eq!(ended["status"], "failed", "{ended:#}");
    assert_eq!(scene.gate.changes_of_cloud_run().await, 0);
    scene.assert_works().await;

    // Evidence is of the log under its new name, and says so to whoever pinned the old one.
    let evidence = scene.gate.get(&format!("/v1/approvals/{rolled_out}/evidence")).await.body;
    let evidence = countersign::domain::canonical::to_canonical_json(&evidence).unwrap();
    let failure = verify(evidence.as_bytes(), &scene.trust()).unwrap_err();
    assert_eq!(failure.code(), Code::CheckpointInvalid);
    assert!(failure.to_string().contains("read the log.recovered entry"), "{failure}");
    verify(evidence.as_bytes(), &scene.trust().after(1)).unwrap();
    // A start begins at the new head, and an older backup is noticed as before.
    let today = scene.backup().await;
    scene.assert_works().await;
    scene.restore(&today).await;
    let second = scene.recover().await;
    assert!(second.predicate().outside.name.ends_with("/log/recovered-1"));
    assert!(second.predicate().new_name.ends_with("/log/recovered-2"));
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    scene.assert_works().await;
    scene.end().await;
}
