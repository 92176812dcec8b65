//! The connection to PostgreSQL ends at a commit: it happened, or it did not, and the gate does not
//! know which.

use serde_json::json;

use super::Scene;
use crate::support::gate::Engine;
use crate::support::severed::Cut;

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_that_was_not_committed_can_be_sent_again() {
    a_decision(Cut::BeforeIt).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_whose_commit_was_not_confirmed_counts_once() {
    a_decision(Cut::AfterIt).await;
}

async fn a_decision(cut: Cut) {
    let mut scene = Scene::new(Engine::Postgres).await;
    let way = scene.way.take().unwrap();
    let mut tries = 0;
    let (id, signed) = loop {
        let (id, signed) = scene.signed().await;
        way.cut(0, cut);
        let refused = scene.send(&id, &signed).await.unwrap_err();
        assert!(way.heal() > 0, "nothing was cut: {refused}");
        scene.going_on().await;
        // Now and then it is the gate's own probe that is cut, and the decision is refused.
        if refused.contains("outcome_unknown") {
            assert!(refused.contains("It may have been recorded all the same"), "{refused}");
            break (id, signed);
        }
        assert!(refused.contains("database_unavailable"), "{refused}");
        tries += 1;
        assert!(tries < 5, "{refused}");
    };
    match cut {
        Cut::BeforeIt => scene.succeeds(&id, &signed).await,
        Cut::AfterIt => {
            let again = scene.send(&id, &signed).await.unwrap_err();
            assert!(again.contains("409"), "{again}");
            let ended = scene.gate.ended(&id).await;
            assert_eq!(ended["status"], "succeeded", "{ended:#}");
            assert_eq!(ended["decisions"].as_array().unwrap().len(), 1);
        }
    }
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_was_not_committed_can_be_repeated() {
    a_request(Cut::BeforeIt).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_whose_commit_was_not_confirmed_is_one_request() {
    a_request(Cut::AfterIt).await;
}

async fn a_request(cut: Cut) {
    let scene = Scene::new(Engine::Postgres).await;
    let way = scene.way.as_ref().unwrap();
    let body = scene.gate.request_body(json!({}));
    let token = scene.gate.token(json!({})).await;
    way.cut(0, cut);
    let asked = scene.gate.ask_as(&token, "the-key", &body).await;
    assert_eq!(asked.status, 503, "{asked:?}");
    assert!(way.heal() > 0, "{asked:?}");
    scene.going_on().await;
    let again = scene.gate.ask_as(&token, "the-key", &body).await;
    assert!(again.status.is_success(), "{again:?}");
    let listed = scene.gate.get("/v1/approvals").await.body;
    assert_eq!(listed["items"].as_array().unwrap().len(), 1, "{listed:#}");
    scene.gate.post(&format!("/v1/approvals/{}/cancel", again.id()), json!({})).await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_whose_commits_are_lost_is_made_once() {
    a_rollout(Cut::BeforeIt).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_whose_commits_are_not_confirmed_is_made_once() {
    a_rollout(Cut::AfterIt).await;
}

/// Every third commit is cut, whatever it is about.
async fn a_rollout(cut: Cut) {
    let mut scene = Scene::new(Engine::Postgres).await;
    let way = scene.way.take().unwrap();
    let id = scene.gate.asked(json!({})).await;
    let plan = scene.gate.signed(&id).await;
    scene.gate.clear_journal().await;
    scene.alice.approve(&id).await.unwrap();
    way.cut(2, cut);
    let ended = scene.gate.ended(&id).await;
    let cuts = way.heal();
    assert!(cuts > 2, "{cuts} commits were cut");
    assert_eq!(ended["status"], "succeeded", "{ended:#}");
    scene.gate.assert_writes(&plan, &plan.whole_plan()).await;
    scene.going_on().await;
    scene.end().await;
}
