//! All of a batch or nothing: whatever stands in the way of one leaves the others as they were.

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::{approve_all, asked_together, gate_for, member, sign, statement};
use crate::evidence::tamper;
use crate::support::gate::{Engine, Gate, on_both_engines};

on_both_engines!(
    one_that_is_no_longer_open_holds_up_all,
    one_that_was_signed_alone_holds_up_all,
    one_that_cannot_be_written_leaves_nothing,
    two_people_decide_on_one_batch_at_once,
);

fn yes() -> Value {
    json!({"decision": "approve"})
}

/// Nothing was decided on any of these that are still open.
async fn assert_untouched(gate: &Gate, ids: &[String]) {
    for id in ids {
        let approval = gate.approval(id).await;
        assert_eq!(approval["decisions"], json!([]), "{approval:#}");
    }
    assert_eq!(gate.changes_of_cloud_run().await, 0);
}

/// Superseded, cancelled, rejected or expired between the page and the signature.
async fn one_that_is_no_longer_open_holds_up_all(engine: Engine) {
    let gate = Gate::start_with(engine, |config| {
        let services = "services = [\"projects/demo/locations/europe-west1/services/worker\", ";
        let config = config.replacen("services = [", services, 1);
        config.replace("newer_request = \"queue\"", "newer_request = \"supersede\"")
    })
    .await;
    let mut alice = gate.approver("alice").await;
    let ids = asked_together(&gate).await;
    let prepared = statement(&mut alice, &ids, yes()).await.unwrap();
    let newer = gate.asked(json!({"subject": {"service": super::service("api")}})).await;
    let refused = sign(&mut alice, &ids[0], &prepared).await.unwrap_err();
    for words in ["409", "approval_closed", "because of api in production", &ids[1], "superseded"] {
        assert!(refused.contains(words), "no {words:?} in {refused}");
    }
    assert_untouched(&gate, &ids).await;
    // The page does not offer it any more, and a statement on it is not given out.
    let refused = statement(&mut alice, &ids, yes()).await.unwrap_err();
    assert!(refused.contains("approval_closed") && refused.contains(&ids[1]), "{refused}");
    let left = [ids[0].clone(), ids[2].clone()];
    let prepared = statement(&mut alice, &left, yes()).await.unwrap();
    gate.post(&format!("/v1/approvals/{}/cancel", ids[2]), json!({})).await;
    let refused = sign(&mut alice, &ids[0], &prepared).await.unwrap_err();
    assert!(refused.contains("cancelled") && refused.contains("worker"), "{refused}");
    // A statement ends with the first of its deployments.
    let mut short = member("worker");
    short["expires_in"] = json!("2m");
    let left = [ids[0].clone(), gate.asked(short).await];
    let prepared = statement(&mut alice, &left, yes()).await.unwrap();
    gate.servers.clock.shift(SignedDuration::from_secs(121));
    let refused = sign(&mut alice, &ids[0], &prepared).await.unwrap_err();
    assert!(refused.contains("409"), "{refused}");
    assert_untouched(&gate, &ids).await;
    alice.decide(&newer, json!({"decision": "reject"})).await.unwrap();
    gate.finish().await;
}

async fn one_that_was_signed_alone_holds_up_all(engine: Engine) {
    let gate = gate_for(engine, 2).await;
    let mut alice = gate.approver("alice").await;
    let ids = asked_together(&gate).await;
    let prepared = statement(&mut alice, &ids, yes()).await.unwrap();
    alice.approve(&ids[2]).await.unwrap();
    for refused in [
        sign(&mut alice, &ids[0], &prepared).await.unwrap_err(),
        approve_all(&mut alice, &ids).await.unwrap_err(),
    ] {
        for words in ["409", "already_decided", "because of worker", "counts once"] {
            assert!(refused.contains(words), "no {words:?} in {refused}");
        }
    }
    assert_untouched(&gate, &ids[..2]).await;
    approve_all(&mut alice, &ids[..2]).await.unwrap();
    assert_eq!(gate.approval(&ids[0]).await["rules"][0]["met"], 1);
    gate.finish().await;
}

/// SQL that refuses the third decision, after two were written in the same change.
fn refuses_the_third(engine: Engine, id: &str) -> String {
    match engine {
        Engine::Sqlite => format!(
            "CREATE TRIGGER full BEFORE INSERT ON decisions WHEN NEW.approval_id = '{id}' \
             BEGIN SELECT RAISE(ABORT, 'no room'); END"
        ),
        Engine::Postgres => format!(
            "CREATE FUNCTION full_up() RETURNS trigger AS $$ BEGIN RAISE EXCEPTION 'no room'; END $$ \
             LANGUAGE plpgsql; CREATE TRIGGER full_up BEFORE INSERT ON decisions FOR EACH ROW \
             WHEN (NEW.approval_id = '{id}') EXECUTE FUNCTION full_up()"
        ),
    }
}

/// The change ends half-way, as in a crash: the two decisions before are gone with it, the statement is not
/// used up, and the same signature counts once there is room again.
async fn one_that_cannot_be_written_leaves_nothing(engine: Engine) {
    let gate = gate_for(engine, 1).await;
    let mut alice = gate.approver("alice").await;
    let ids = asked_together(&gate).await;
    tamper(&gate, &refuses_the_third(engine, &ids[2])).await;
    let prepared = statement(&mut alice, &ids, yes()).await.unwrap();
    let signed = alice.signed(&prepared, &[]).unwrap();
    let path = format!("/approvals/{}/batch/decisions", ids[0]);
    let refused = alice.browser.post(&path, &signed).await.unwrap_err();
    assert!(refused.contains("503"), "{refused}");
    let drop = match engine {
        Engine::Sqlite => "DROP TRIGGER full",
        Engine::Postgres => "DROP TRIGGER full_up ON decisions",
    };
    tamper(&gate, drop).await;
    for _ in 0..100 {
        if gate.get("/health/ready").await.status == 200 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert_untouched(&gate, &ids).await;
    alice.browser.post(&path, &signed).await.unwrap();
    for id in &ids {
        assert_eq!(gate.ended(id).await["status"], "succeeded");
    }
    gate.finish().await;
}

async fn two_people_decide_on_one_batch_at_once(engine: Engine) {
    let gate = gate_for(engine, 1).await;
    let (mut alice, mut bob) = (gate.approver("alice").await, gate.approver("bob").await);
    let ids = asked_together(&gate).await;
    let all = statement(&mut alice, &ids, yes()).await.unwrap();
    let no = json!({"decision": "reject"});
    let two = statement(&mut bob, &ids[1..], no).await.unwrap();
    let (first, second) =
        tokio::join!(sign(&mut alice, &ids[0], &all), sign(&mut bob, &ids[1], &two));
    assert!(first.is_ok() != second.is_ok(), "exactly one counts: {first:?} {second:?}");
    let expected = match first {
        Ok(_) => ["succeeded"; 3],
        Err(_) => ["pending", "rejected", "rejected"],
    };
    for (id, expected) in ids.iter().zip(expected) {
        let status = match expected {
            "pending" => gate.approval(id).await,
            _ => gate.ended(id).await,
        };
        assert_eq!(status["status"], expected, "{status:#}");
    }
    gate.finish().await;
}
