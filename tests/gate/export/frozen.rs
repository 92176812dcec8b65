//! What began although it was frozen is listed: no gate does that, and somebody with its log key could.

use std::collections::BTreeMap;

use countersign::cli::audit::export;
use countersign::config::Config;
use countersign::domain::period::Period;
use countersign::domain::rollout::Outcome;
use countersign::storage::Storage;
use jiff::SignedDuration;
use secrecy::ExposeSecret;
use serde_json::json;

use super::{exported, read, trust, verdict};
use crate::break_glass::{BOB, breaking, glass};
use crate::freezing::{freeze, production, until_held};
use crate::support::gate::{Engine, Gate, on_both_engines};

on_both_engines!(
    a_rollout_that_began_under_a_freeze_is_listed,
    a_broken_glass_is_not_listed_as_one,
);

fn around(now: jiff::Timestamp) -> Period {
    let hour = SignedDuration::from_hours(1);
    Period { from: now - hour, until: now + hour }
}

async fn a_rollout_that_began_under_a_freeze_is_listed(engine: Engine) {
    let gate = Gate::start(engine).await;
    let mut alice = gate.approver("alice").await;
    freeze(&mut alice, &production()).await;
    let id = gate.asked(json!({})).await;
    alice.approve(&id).await.unwrap();
    until_held(&gate, &id).await;
    let (trust, now) = (trust(&gate), gate.servers.clock.now());
    let config = Config::load(&gate.servers.files.config, &BTreeMap::new()).unwrap();
    let Gate { servers, .. } = gate;
    servers.stop().await;
    let storage =
        Storage::open(config.database.expose_secret(), config.log_key.clone()).await.unwrap();
    let mut writer = storage.begin().await.unwrap();
    let begun = writer.next_entry();
    let held = writer.approval(&id.parse().unwrap()).await.unwrap().unwrap().approval;
    let held = writer.apply(held.begin(now).unwrap(), now).await.unwrap();
    let outcome = Outcome::NeedsAttention("it was not to begin".to_owned());
    writer.apply(held.finish(outcome, now).unwrap(), now).await.unwrap();
    writer.commit().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("evidence")).unwrap();
    export(&storage, &config.trust(), around(now), folder.path(), now).await.map(|_| ()).unwrap();
    storage.close().await;
    let report = verdict(&read(folder.path()), &trust).unwrap();
    assert_eq!(report.frozen, [begun]);
}

async fn a_broken_glass_is_not_listed_as_one(engine: Engine) {
    let gate = Gate::start_with(engine, glass(BOB)).await;
    gate.ready_delay(0).await;
    let mut alice = gate.approver("alice").await;
    let mut bob = gate.approver("bob").await;
    freeze(&mut alice, &production()).await;
    let id = gate.asked(json!({"subject": {"steps": [100]}})).await;
    bob.decide(&id, breaking("The checkout is down")).await.unwrap();
    assert_eq!(gate.ended(&id).await["status"], "succeeded");
    let files = exported(&gate, around(gate.servers.clock.now())).await;
    let report = verdict(&files, &trust(&gate)).unwrap();
    assert_eq!(report.frozen, Vec::<u64>::new());
    gate.finish().await;
}
