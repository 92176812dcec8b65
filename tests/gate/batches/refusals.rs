//! What is in no batch, and what signs none.

use serde_json::{Value, json};

use super::{
    SERVICES, approve_all, asked_together, gate_for, member, page, service, sign, statement,
};
use crate::evidence::tamper;
use crate::support::gate::{Engine, Gate, on_both_engines};

on_both_engines!(
    only_what_one_run_asked_for_is_together,
    what_is_no_batch_is_not_asked_for,
    a_batch_has_room_for_thirty_two,
    only_what_the_page_shows_is_signed,
    a_statement_counts_once_and_in_its_place,
    auditors_and_strangers_sign_no_batch,
    no_row_puts_a_strangers_request_into_a_batch,
);

const YES: &str = "approve";

fn yes() -> Value {
    json!({"decision": YES})
}

async fn only_what_one_run_asked_for_is_together(engine: Engine) {
    let gate = gate_for(engine, 1).await;
    let mut alice = gate.approver("alice").await;
    let ids = asked_together(&gate).await;
    // The same label of another attempt, of an agent, and another label of the same run.
    let mut others = Vec::new();
    for (place, claims) in
        [json!({"run_attempt": "2"}), json!({"run_id": "700101"})].into_iter().enumerate()
    {
        let token = gate.token(claims).await;
        let answer =
            gate.ask_as(&token, &format!("o-{place}"), &gate.request_body(member("web"))).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        others.push(answer.id());
    }
    others.push(gate.asked(json!({"batch": "Matrix"})).await);
    others.push(gate.asked(json!({})).await);
    let shown = page(&mut alice, &ids[0], "alice").await;
    for other in &others {
        assert!(!shown.contains(other.as_str()), "{other}");
        let both = [ids[0].clone(), other.clone()];
        let refused = statement(&mut alice, &both, yes()).await.unwrap_err();
        assert!(refused.contains("409") && refused.contains("stale_page"), "{refused}");
    }
    // Asked again with the same key it is the same approval, in the same batch.
    let body = gate.request_body(member("web"));
    let first = gate.ask_as(&gate.token(json!({})).await, "again", &body).await.id();
    assert_eq!(gate.ask_as(&gate.token(json!({})).await, "again", &body).await.id(), first);
    // And with another batch it is another request.
    let mut other = body.clone();
    other["batch"] = json!("another");
    let refused = gate.ask_as(&gate.token(json!({})).await, "again", &other).await;
    refused.assert_problem(422, "idempotency_key_reused");
    gate.finish().await;
}

async fn what_is_no_batch_is_not_asked_for(engine: Engine) {
    let gate = gate_for(engine, 1).await;
    for changes in [
        json!({"batch": ""}),
        json!({"batch": "two\nlines"}),
        json!({"batch": "\u{202e}hidden"}),
        json!({"batch": "x".repeat(101)}),
        json!({"batch_size": 3}),
        json!({"batch": "x", "batch_size": 1}),
        json!({"batch": "x", "batch_size": 33}),
    ] {
        gate.ask(changes).await.assert_problem(422, "invalid_text");
    }
    for changes in [json!({"batch": 7}), json!({"batch": "x", "batch_size": "3"})] {
        assert_eq!(gate.ask(changes).await.status, 400);
    }
    let action =
        json!({"kind": "action", "tool": "restart-database", "arguments": {"database": "a"}});
    let body = json!({"environment": "production", "subject": action, "reason": "r", "batch": "x"});
    let refused = gate.ask_as(&gate.token(json!({})).await, "action", &body).await;
    refused.assert_problem(422, "invalid_text");
    gate.finish().await;
}

async fn a_batch_has_room_for_thirty_two(engine: Engine) {
    let gate = gate_for(engine, 1).await;
    let mut ids = Vec::new();
    for _ in 0..32 {
        ids.push(gate.asked(json!({"batch": "many"})).await);
    }
    gate.ask(json!({"batch": "many"})).await.assert_problem(409, "batch_full");
    // Long ones fill it sooner: thirteen texts of 15 KiB are more than one signature covers.
    let long = json!({"batch": "long", "body": "x".repeat(15 * 1024)});
    let mut room = 0;
    while gate.ask(long.clone()).await.status == 201 {
        room += 1;
    }
    assert!((8..13).contains(&room), "{room}");
    // All that have room can be signed at once.
    let mut alice = gate.approver("alice").await;
    let prepared = statement(&mut alice, &ids, json!({"decision": "reject"})).await.unwrap();
    sign(&mut alice, &ids[0], &prepared).await.unwrap();
    assert_eq!(gate.approval(&ids[31]).await["status"], "rejected");
    gate.finish().await;
}

async fn only_what_the_page_shows_is_signed(engine: Engine) {
    let gate = gate_for(engine, 1).await;
    let mut alice = gate.approver("alice").await;
    let ids = asked_together(&gate).await;
    let unknown = "apr_aaaaaaaaaaaaaaaaaaaaaaaaaa".to_owned();
    for chosen in [
        vec![ids[0].clone()],
        vec![ids[0].clone(), ids[0].clone()],
        vec![ids[0].clone(), ids[1].clone(), ids[1].clone()],
        vec![ids[0].clone(), unknown],
    ] {
        let refused = statement(&mut alice, &chosen, yes()).await.unwrap_err();
        assert!(refused.contains("409") && refused.contains("stale_page"), "{refused}");
    }
    let back = statement(&mut alice, &ids, json!({"decision": "withdraw"})).await.unwrap_err();
    assert!(back.contains("stale_page"), "{back}");
    let long = json!({"decision": "reject", "reason": "x".repeat(1001)});
    assert!(statement(&mut alice, &ids, long).await.unwrap_err().contains("invalid_text"));
    let path = format!("/approvals/{}/batch/statements", ids[0]);
    assert!(alice.browser.post(&path, &yes()).await.unwrap_err().contains("400"));
    for id in &ids {
        assert_eq!(gate.approval(id).await["status"], "pending");
    }
    gate.finish().await;
}

async fn a_statement_counts_once_and_in_its_place(engine: Engine) {
    let gate = gate_for(engine, 2).await;
    let (mut alice, mut bob) = (gate.approver("alice").await, gate.approver("bob").await);
    let ids = asked_together(&gate).await;
    let single = alice.statement(&ids[0], yes()).await.unwrap();
    let batch = statement(&mut alice, &ids[..2], yes()).await.unwrap();
    let signed = alice.signed(&batch, &[]).unwrap();
    let of_one = alice.signed(&single, &[]).unwrap();
    let batch_path = format!("/approvals/{}/batch/decisions", ids[0]);
    let single_path = |id: &String| format!("/approvals/{id}/decisions");
    // Each in the place of the other, for one that is not on the list, and in another session.
    for (path, decision) in [
        (batch_path.clone(), &of_one),
        (single_path(&ids[0]), &signed),
        (single_path(&ids[2]), &signed),
    ] {
        let refused = alice.browser.post(&path, decision).await.unwrap_err();
        assert!(refused.contains("409") && refused.contains("stale_page"), "{path}: {refused}");
    }
    assert!(bob.browser.post(&batch_path, &signed).await.unwrap_err().contains("stale_page"));
    // The same page of another member is the same batch.
    let same = format!("/approvals/{}/batch/decisions", ids[2]);
    alice.browser.post(&same, &signed).await.unwrap();
    for path in [batch_path, same] {
        let again = alice.browser.post(&path, &signed).await.unwrap_err();
        assert!(again.contains("409") && again.contains("already"), "{again}");
    }
    let met = |approval: Value| approval["rules"][0]["met"].clone();
    assert_eq!(met(gate.approval(&ids[0]).await), 1);
    assert_eq!(met(gate.approval(&ids[2]).await), 0, "it was not on the list");
    gate.finish().await;
}

async fn auditors_and_strangers_sign_no_batch(engine: Engine) {
    let gate = Gate::start_with(engine, |config| {
        let services = format!("services = [\"{}\", ", service("worker"));
        let config = config.replacen("services = [", &services, 1);
        let roles = "[roles]\nauditor = [\"person:u-carol\"]\n\n[environment.production]";
        config.replace("[environment.production]", roles)
    })
    .await;
    let (mut carol, mut dan) = (gate.approver("carol").await, gate.approver("dan").await);
    let ids = asked_together(&gate).await;
    let shown = page(&mut carol, &ids[0], "carol").await;
    assert!(shown.contains("auditors") && !shown.contains("id=\"approve\""), "{shown}");
    let refused = statement(&mut carol, &ids, yes()).await.unwrap_err();
    assert!(refused.contains("403") && refused.contains("auditor_signs_nothing"), "{refused}");
    let refused = approve_all(&mut dan, &ids).await.unwrap_err();
    assert!(refused.contains("404"), "{refused}");
    for path in ["batch/statements", "batch/decisions"] {
        let url = gate.url(&format!("/approvals/{}/{path}", ids[0]));
        let by_token = gate.http.post(&url).bearer_auth(gate.token(json!({})).await);
        let by_token = by_token.header("origin", &gate.servers.gate).json(&yes());
        crate::support::gate::send(by_token).await.assert_problem(401, "signed_out");
        let foreign = gate.http.post(&url).header("origin", "https://evil.example").json(&yes());
        crate::support::gate::send(foreign).await.assert_problem(403, "cross_origin");
    }
    gate.finish().await;
}

/// Rows of batches are believed for nothing: one that another requester's approval was put into is not read.
async fn no_row_puts_a_strangers_request_into_a_batch(engine: Engine) {
    let gate = gate_for(engine, 1).await;
    let mut alice = gate.approver("alice").await;
    let ids = asked_together(&gate).await;
    let token = gate.token(json!({"run_id": "700999"})).await;
    let stranger =
        gate.ask_as(&token, "stranger", &gate.request_body(member(SERVICES[0]))).await.id();
    let batch = format!("(SELECT batch FROM batch_members WHERE approval_id = '{}')", ids[0]);
    tamper(
        &gate,
        &format!("UPDATE batch_members SET batch = {batch} WHERE approval_id = '{stranger}'"),
    )
    .await;
    let refused = statement(&mut alice, &ids, yes()).await.unwrap_err();
    assert!(refused.contains("503"), "{refused}");
    tamper(&gate, &format!("DELETE FROM batch_members WHERE approval_id = '{stranger}'")).await;
    // A label that says something else changes what is shown, and nothing that is signed.
    approve_all(&mut alice, &ids).await.unwrap();
    for id in &ids {
        assert_eq!(gate.ended(id).await["status"], "succeeded");
    }
    gate.finish().await;
}
