//! The same with the database in the attacker's hands as well, and even with the gate's own log key: what was
//! not signed puts no rules into force, and nothing is rolled out under it.

use countersign::cli::demo::approver::Approver;
use countersign::clock::Clock;
use countersign::domain::approval::Approval;
use countersign::domain::deployment::Deployment;
use countersign::domain::digest::Digest;
use countersign::domain::ids::ApprovalId;
use countersign::domain::policy::Policy;
use countersign::domain::rulebook::RULES_IN_FORCE;
use countersign::domain::subject::FrozenSubject;
use countersign::gate::rules_in_force::data_of;
use countersign::proof::jwk::thumbprint;
use countersign::storage::{AskedWith, NewApproval};
use serde_json::json;

use super::{counts, lowered, rolls_out_by_one, ruled};
use crate::support::database::{config, storage, tamper};
use crate::support::gate::{Engine, Gate, on_both_engines, send};

on_both_engines!(
    stored_texts_are_not_the_rules,
    an_entry_that_nobody_signed_puts_nothing_into_force,
    an_approval_under_other_rules_rolls_out_nothing,
    an_entry_that_is_gone_stops_the_gate,
);

async fn gate_and_alice(engine: Engine) -> (Gate, Approver) {
    let gate = Gate::start_with(engine, ruled).await;
    let alice = gate.approver("alice").await;
    (gate, alice)
}

/// Stops the gate, does this to what it left, and starts it with the rules that nobody signed.
async fn with_stopped(gate: Gate, at_rest: impl AsyncFnOnce(&Gate)) -> Gate {
    let gate = gate.restart(lowered, at_rest).await;
    gate.rules_wait_for(true).await;
    gate
}

async fn stored_texts_are_not_the_rules(engine: Engine) {
    let (gate, mut alice) = gate_and_alice(engine).await;
    gate.asked(json!({})).await;
    let digest = gate.rules().await["digest"].clone();
    let gate = with_stopped(gate, async |gate| {
        let text = "UPDATE policies SET policy = replace(policy, '\"count\":2', '\"count\":1')";
        tamper(gate, engine, &[text]).await;
    })
    .await;
    assert_eq!(gate.rules().await["digest"], digest);
    assert_eq!(counts(&gate).await, [2, 1]);
    let asked = gate.ask(json!({})).await;
    if asked.status.is_success() {
        let _ = alice.approve(&asked.id()).await;
    }
    assert_eq!(gate.changes_of_cloud_run().await, 0);
    gate.servers.stop().await;
}

async fn an_entry_that_nobody_signed_puts_nothing_into_force(engine: Engine) {
    let (gate, mut alice) = gate_and_alice(engine).await;
    let digest = gate.rules().await["digest"].clone();
    let gate = with_stopped(gate, async |gate| {
        // With the gate's own log key, as somebody who has the configuration has it.
        let rules = config(gate).rulebook().unwrap();
        let storage = storage(gate).await;
        let mut writer = storage.begin().await.unwrap();
        writer.record(RULES_IN_FORCE, data_of(&rules), Clock::system().now()).await.unwrap();
        writer
            .record(RULES_IN_FORCE, json!({"rules": "mine"}), Clock::system().now())
            .await
            .unwrap();
        writer.commit().await.unwrap();
        storage.close().await;
    })
    .await;
    assert_eq!(gate.rules().await["digest"], digest);
    assert_eq!(counts(&gate).await, [2, 1]);
    assert!(!rolls_out_by_one(&gate, &mut alice).await);
    assert_eq!(gate.changes_of_cloud_run().await, 0);
    // And the change can still be signed by those who may.
    let (mut bob, mut carol) = (gate.approver("bob").await, gate.approver("carol").await);
    gate.sign_rules(&mut [&mut alice, &mut bob, &mut carol]).await;
    assert_eq!(counts(&gate).await, [1]);
    gate.finish().await;
}

/// The same deployment as one that was asked for, under rules that let one person sign.
fn under_weaker_rules(asked: &Approval) -> (FrozenSubject, Policy) {
    let mut policy = asked.policy.clone();
    policy.rules.truncate(1);
    policy.rules[0].count = 1;
    let deployment: Deployment = asked.subject.deployment().unwrap().clone();
    let mut other = deployment;
    other.facts.approval = ApprovalId::from_random([7; 16]);
    other.facts.policy_digest = policy.canonical().unwrap().1;
    (FrozenSubject::freeze(other).unwrap(), policy)
}

async fn an_approval_under_other_rules_rolls_out_nothing(engine: Engine) {
    let (gate, mut alice) = gate_and_alice(engine).await;
    let asked = gate.asked(json!({})).await;
    let mut planted = None;
    let gate = gate
        .restart(ruled, async |gate| {
            let storage = storage(gate).await;
            let id: ApprovalId = asked.parse().unwrap();
            let stored = storage.approval(&id).await.unwrap().unwrap();
            let (token, key) = storage.requester_token(&id).await.unwrap().unwrap();
            let (subject, policy) = under_weaker_rules(&stored.approval);
            let now = subject.requested_at;
            let asked = NewApproval {
                requester_key: stored.requester_key.clone(),
                idempotency_key: "another".to_owned(),
                request_digest: Digest::of("another"),
                asked_with: AskedWith::Token { key_thumbprint: thumbprint(&key), token, key },
                notify: None,
            };
            let mut writer = storage.begin().await.unwrap();
            let transition = Approval::request(subject, policy);
            let created = writer.create(transition, &asked, now).await.unwrap();
            writer.commit().await.unwrap();
            planted = Some(created.approval.id().to_string());
            storage.close().await;
        })
        .await;
    gate.rules_wait_for(false).await;
    let planted = planted.unwrap();
    alice.approve(&planted).await.unwrap();
    let ended = gate.ended(&planted).await;
    assert_eq!(ended["status"], "needs_attention", "{ended:#}");
    let sentence = ended["status_sentence"].as_str().unwrap();
    assert!(sentence.contains("rules_not_signed"), "{sentence}");
    assert_eq!(gate.changes_of_cloud_run().await, 0);
    gate.finish().await;
}

async fn an_entry_that_is_gone_stops_the_gate(engine: Engine) {
    let (gate, mut alice) = gate_and_alice(engine).await;
    let (mut bob, mut carol) = (gate.approver("bob").await, gate.approver("carol").await);
    let gate = gate.restart_with(lowered).await;
    gate.sign_rules(&mut [&mut alice, &mut bob, &mut carol]).await;
    let entry = gate.rules().await["entry"].as_u64().unwrap();
    // The stricter rules would be in force again, or none, as the attacker likes.
    let gate = gate
        .restart(lowered, async |gate| {
            let gone =
                format!("UPDATE ledger_entries SET kind = 'gone' WHERE entry_index = {entry}");
            tamper(gate, engine, &[&gone]).await;
        })
        .await;
    let ready = async || send(gate.http.get(gate.url("/health/ready"))).await;
    let mut shown = ready().await;
    for _ in 0..100 {
        if shown.body.to_string().contains("put rules into force") {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        shown = ready().await;
    }
    assert_eq!(shown.status, 503, "{shown:?}");
    assert!(shown.body.to_string().contains("put rules into force"), "{shown:?}");
    assert_eq!(gate.changes_of_cloud_run().await, 0);
    gate.servers.stop().await;
}
