//! An approval's changes as server-sent events.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::cloud_run::fault_at;
use crate::support::gate::{Engine, Gate, SERVICE, on_both_engines, send};

on_both_engines!(
    every_change_is_told_in_order,
    a_stream_goes_on_where_the_last_one_ended,
    a_stream_of_a_stranger_is_refused,
);

/// One event as it stands in the stream.
#[derive(Debug)]
struct Told {
    id: u64,
    data: Value,
}

/// The whole stream of an approval from this event on, until the gate ends it.
async fn stream(gate: &Gate, id: &str, last: Option<u64>) -> Vec<Told> {
    let token = gate.token(json!({})).await;
    let mut request =
        gate.http.get(gate.url(&format!("/v1/approvals/{id}/events"))).bearer_auth(token);
    if let Some(last) = last {
        request = request.header("last-event-id", last.to_string());
    }
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    assert_eq!(answer.headers()["cache-control"], "no-store");
    read(&answer.text().await.unwrap())
}

/// As the HTML standard reads it: fields in lines, an empty line after each event.
fn read(text: &str) -> Vec<Told> {
    let events = text.split("\n\n").filter(|block| !block.is_empty() && !block.starts_with(':'));
    let events = events.map(|block| {
        let field = |name: &str| {
            let line = block.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
            line.unwrap_or_else(|| panic!("no {name} in {block}"))
        };
        assert_eq!(field("event"), "change");
        Told {
            id: field("id").parse().unwrap(),
            data: serde_json::from_str(field("data")).unwrap(),
        }
    });
    events.collect()
}

async fn every_change_is_told_in_order(engine: Engine) {
    let gate = Gate::start(engine).await;
    let mut alice = gate.approver("alice").await;
    let id = gate.asked(json!({})).await;
    let (told, ()) = tokio::join!(stream(&gate, &id, None), async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        alice.approve(&id).await.unwrap();
    });
    // From the first to the one that ends it, and none twice.
    let ids: Vec<u64> = told.iter().map(|one| one.id).collect();
    assert_eq!(ids, (1..=ids.len() as u64).collect::<Vec<_>>());
    let kinds: Vec<&str> = told.iter().map(|one| one.data["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds[..3], ["approval.requested", "approval.decided", "rollout.begun"]);
    assert_eq!(kinds.last(), Some(&"rollout.ended"));
    for one in &told {
        assert_eq!(one.data["approval"]["version"], one.id, "{one:?}");
        assert_eq!(one.data["approval"]["id"], id.as_str());
    }
    let sentences: Vec<&str> =
        told.iter().map(|one| one.data["sentence"].as_str().unwrap()).collect();
    for sentence in [
        "Alice Adler signed yes; the approval is approved.",
        "Cloud Run accepted the call: create the revision.",
        "Cloud Run was seen to serve step 2.",
    ] {
        assert!(sentences.contains(&sentence), "{sentence}: {sentences:#?}");
    }
    // Steps and shares as they were then, in words and in numbers.
    let half_way =
        told.iter().find(|one| one.data["approval"]["rollout"]["steps_done"] == 1).unwrap();
    assert_eq!(half_way.data["approval"]["status"], "executing");
    let last = &told.last().unwrap().data["approval"];
    assert_eq!(last["status"], "succeeded");
    // It is what reading the approval gives.
    assert_eq!(*last, gate.approval(&id).await);
    gate.finish().await;
}

async fn a_stream_goes_on_where_the_last_one_ended(engine: Engine) {
    let gate = Gate::start(engine).await;
    let mut alice = gate.approver("alice").await;
    let id = gate.asked(json!({})).await;
    let refused = fault_at("PATCH", SERVICE, 1, json!({"kind": "status", "code": 503}));
    gate.fault(refused).await;
    alice.approve(&id).await.unwrap();
    gate.ended(&id).await;
    let whole = stream(&gate, &id, None).await;
    let rest = stream(&gate, &id, Some(3)).await;
    assert_eq!(rest.len() + 3, whole.len());
    assert_eq!(rest[0].id, 4);
    // The parameter says the same, and the header goes first.
    let token = gate.token(json!({})).await;
    let path = gate.url(&format!("/v1/approvals/{id}/events?version=3"));
    let text = |last: Option<&'static str>| {
        let mut request = gate.http.get(&path).bearer_auth(&token);
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        async { request.send().await.unwrap().text().await.unwrap() }
    };
    assert_eq!(read(&text(None).await).len(), rest.len());
    assert_eq!(read(&text(Some("1")).await).len(), whole.len() - 1);
    // Whoever has everything hears that there is no more, at once.
    let after = whole.len() as u64;
    assert!(stream(&gate, &id, Some(after)).await.is_empty());
    gate.finish().await;
}

async fn a_stream_of_a_stranger_is_refused(engine: Engine) {
    let gate = Gate::start(engine).await;
    let id = gate.asked(json!({})).await;
    let path = format!("/v1/approvals/{id}/events");
    let stranger = gate.token(json!({"repository_id": "2002"})).await;
    gate.get_as(&path, &stranger).await.assert_problem(404, "not_found");
    gate.get("/v1/approvals/apr_unknown/events").await.assert_problem(404, "not_found");
    send(gate.http.get(gate.url(&path))).await.assert_problem(401, "missing_token");
    gate.get(&format!("{path}?since=1")).await.assert_problem(400, "invalid_query");
    for wrong in ["x", "-1", "1.5", "18446744073709551616"] {
        let token = gate.token(json!({})).await;
        let request = gate.http.get(gate.url(&path)).bearer_auth(token);
        let refused = send(request.header("last-event-id", wrong)).await;
        refused.assert_problem(400, "invalid_event_id");
    }
    // A shutdown ends the streams that are open.
    let url = gate.url(&path);
    let open = gate.http.get(url).bearer_auth(gate.token(json!({})).await).send().await.unwrap();
    let text = tokio::spawn(open.text());
    tokio::time::sleep(Duration::from_millis(200)).await;
    gate.finish().await;
    assert_eq!(read(&text.await.unwrap().unwrap()).len(), 1);
}
