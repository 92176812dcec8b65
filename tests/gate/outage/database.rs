//! Somebody who can write the database: no row makes a last sign-in another's, younger, or one of more groups.

use jiff::SignedDuration;
use reqwest::Method;
use serde_json::json;

use super::{bridged, go_down, sign_in_with, with_key_of};
use crate::support::database::tamper;
use crate::support::gate::{Engine, Gate, on_both_engines};

on_both_engines!(
    a_last_sign_in_cannot_be_moved,
    a_last_sign_in_cannot_be_made_younger,
    a_session_of_an_outage_stays_one,
);

const ROW: &str = "UPDATE last_sign_ins SET sign_in = (SELECT sign_in FROM last_sign_ins WHERE subject = 'u-alice')";

async fn a_last_sign_in_cannot_be_moved(engine: Engine) {
    let gate = Gate::start_with(engine, bridged("4h")).await;
    let mut bob = gate.approver("bob").await;
    gate.approver("alice").await;
    // Bob was in more groups at an earlier sign-in, and that one is put back.
    tamper(&gate, engine, &["CREATE TABLE earlier AS SELECT * FROM last_sign_ins"]).await;
    let changes = json!({"groups": []});
    gate.sandbox(Method::POST, "/_sandbox/id-token", Some(changes)).await;
    bob.sign_in("bob").await.unwrap();
    go_down(&gate).await;
    let mut alone = with_key_of(&gate, &bob);
    sign_in_with(&mut alone, &[]).await.unwrap();
    let back = "UPDATE last_sign_ins SET sign_in = (SELECT sign_in FROM earlier WHERE subject = 'u-bob') WHERE subject = 'u-bob'";
    tamper(&gate, engine, &[back]).await;
    refused(sign_in_with(&mut alone, &[]).await);
    tamper(&gate, engine, &[&format!("{ROW} WHERE subject = 'u-bob'")]).await;
    refused(sign_in_with(&mut alone, &[]).await);
    // Nor does it help to give somebody's key to another.
    let own = "UPDATE credentials SET subject = 'u-alice' WHERE subject = 'u-bob'";
    tamper(&gate, engine, &[own]).await;
    let moved = sign_in_with(&mut alone, &[]).await.unwrap_err();
    assert!(moved.contains("key_signs_nobody_in"), "{moved}");
    gate.servers.stop().await;
}

fn refused<T: std::fmt::Debug>(outcome: Result<T, String>) {
    let refused = outcome.unwrap_err();
    assert!(refused.contains("403") && refused.contains("no_last_sign_in"), "{refused}");
}

async fn a_last_sign_in_cannot_be_made_younger(engine: Engine) {
    let gate = Gate::start_with(engine, bridged("1h")).await;
    let bob = gate.approver("bob").await;
    gate.servers.clock.shift(SignedDuration::from_mins(61));
    go_down(&gate).await;
    let mut alone = with_key_of(&gate, &bob);
    let younger = [
        "UPDATE last_sign_ins SET kept_until = kept_until + 360000000000",
        "UPDATE sessions SET expires_at = expires_at + 360000000000, created_at = created_at + 3600000000",
    ];
    tamper(&gate, engine, &younger).await;
    refused(sign_in_with(&mut alone, &[]).await);
    gate.servers.stop().await;
}

/// Whoever takes the word of the outage out of a session gets a signature that no verifier lets count.
async fn a_session_of_an_outage_stays_one(engine: Engine) {
    let gate = Gate::start_with(engine, |config| {
        let one = "{ from = [\"person:u-bob\", \"person:u-alice\"], count = 1 }";
        let section = format!("\n[environment.production.break_glass]\nrules = [{one}]\nexplain_within = \"1h\"\noutage_grace = \"4h\"\n");
        config + &section
    })
    .await;
    let alice = gate.approver("alice").await;
    gate.servers.clock.shift(SignedDuration::from_hours(2));
    let id = gate.asked(json!({"subject": {"steps": [100]}})).await;
    go_down(&gate).await;
    let mut alone = with_key_of(&gate, &alice);
    sign_in_with(&mut alone, &[]).await.unwrap();
    let plain = match engine {
        Engine::Sqlite => {
            "UPDATE sessions SET profile = json_remove(profile, '$.directory_unreachable_since') WHERE profile LIKE '%unreachable%'"
        }
        Engine::Postgres => {
            "UPDATE sessions SET profile = (profile::jsonb - 'directory_unreachable_since')::text WHERE profile LIKE '%unreachable%'"
        }
    };
    tamper(&gate, engine, &[plain]).await;
    alone.approve(&id).await.unwrap();
    let ended = gate.ended(&id).await;
    assert_eq!(ended["status"], "needs_attention", "{ended:#}");
    let sentence = ended["status_sentence"].as_str().unwrap();
    assert!(
        sentence.contains("the sign-in is not the one") && sentence.contains("too old"),
        "{sentence}"
    );
    assert_eq!(gate.changes_of_cloud_run().await, 0);
    gate.servers.stop().await;
}
