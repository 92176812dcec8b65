//! Changes that no approval explains: found, told, explained by two people, and never acted on.

use countersign::sandbox::authenticator::Fault;
use data_encoding::BASE64;
use reqwest::Method;
use serde_json::{Value, json};

use crate::notices::scene::{calls_of, with};
use crate::support::gate::{Answer, Engine, Gate, SERVICE, on_both_engines, send};
use crate::support::process::{GateProcess, countersign, free_port};

on_both_engines!(
    a_change_beside_the_gate_is_found_and_two_people_explain_it,
    what_was_done_while_the_gate_was_down_is_found_and_explained,
    a_rollout_is_no_drift,
    only_the_subscription_tells_of_changes,
    completeness_is_the_population_with_nothing_unmatched,
);

const HOOK: &str = "[[webhook]]\nname = \"all\"\nurl = \"SANDBOX/receiver/all\"\nsecret_file = \"webhook-secret\"\nevents = [\"drift.found\", \"drift.explained\"]\n";

/// A gate that looks at its services so often.
async fn watching(engine: Engine, every: &str) -> Gate {
    let drift = format!(
        "{HOOK}\n[drift]\nevery = \"{every}\"\n\n[drift.push]\nservice_account = \"pubsub@demo.iam.gserviceaccount.com\"\nissuer = \"SANDBOX/github\"\n"
    );
    let gate = Gate::start_with(engine, with(&drift, false)).await;
    // Nobody knows what was before the first look.
    gate.until("the first look", async || entries(&gate, "service.observed").await.len() == 2)
        .await;
    gate
}

/// What the ledger has of one kind.
async fn entries(gate: &Gate, kind: &str) -> Vec<Value> {
    let storage = crate::support::database::reading(gate).await;
    let records = storage.signed_records(kind).await.unwrap();
    storage.close().await;
    records.into_iter().map(|(_, record)| record.data).collect()
}

async fn outside_edit(gate: &Gate, change: Value) {
    let edit = json!({"service": SERVICE, "change": change, "modifier": "mallory@example.com"});
    gate.sandbox(Method::POST, "/_sandbox/outside-edit", Some(edit)).await;
}

fn image(number: u64) -> Value {
    let image = format!("europe-docker.pkg.dev/demo/app/web@sha256:{number:064x}");
    json!({"template": {"containers": [{"image": image}]}})
}

async fn found(gate: &Gate, count: usize) -> Vec<Value> {
    gate.until("the change is found", async || entries(gate, "drift.found").await.len() >= count)
        .await;
    let found = entries(gate, "drift.found").await;
    assert_eq!(found.len(), count, "{found:#?}");
    found
}

async fn a_change_beside_the_gate_is_found_and_two_people_explain_it(engine: Engine) {
    let gate = watching(engine, "1s").await;
    let mut alice = gate.approver("alice").await;
    let mut bob = gate.approver("bob").await;
    let page = alice.browser.open("/drift", "alice").await.unwrap();
    assert!(page.contains("None was found"), "{page}");
    gate.clear_journal().await;
    outside_edit(&gate, image(0xbad)).await;
    let change = found(&gate, 1).await.remove(0);
    assert_eq!(change["environment"], "production");
    assert!(change["unexplained"][0].as_str().unwrap().contains("was created"), "{change:#}");
    // It is told, once, and found once.
    let told = calls_of(&gate, "all", 1).await;
    let data = &told[0].payload["data"];
    let entry = data["entry"].as_u64().unwrap();
    assert_eq!(data["url"], gate.url("/drift"));
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    found(&gate, 1).await;
    // One person alone closes nothing, however often, and two with different words neither.
    let words = "Hotfix of the night, INC-7";
    let page = alice.browser.open("/drift", "alice").await.unwrap();
    assert!(page.contains("One of them is open"), "{page}");
    let explain = async |person: &mut countersign::cli::demo::approver::Approver, words: &str| {
        let statements = format!("/drift/{entry}/statements");
        let prepared = person.browser.post(&statements, &json!({"explanation": words})).await?;
        let signed = person.signed(&prepared, &[])?;
        person.browser.post(&format!("/drift/{entry}/explanations"), &signed).await
    };
    explain(&mut alice, words).await.unwrap();
    let again = explain(&mut alice, words).await.unwrap_err();
    assert!(again.contains("409"), "{again}");
    explain(&mut bob, "I do not know").await.unwrap();
    let page = bob.browser.open("/drift", "bob").await.unwrap();
    assert!(page.contains("One of them is open") && page.contains(words), "{page}");
    // What is not signed as it should be is not counted.
    let statements = format!("/drift/{entry}/statements");
    for bad in [json!({"explanation": "  "}), json!({"explanation": "x".repeat(1001)})] {
        assert!(bob.browser.post(&statements, &bad).await.unwrap_err().contains("422"));
    }
    let prepared = bob.browser.post(&statements, &json!({"explanation": words})).await.unwrap();
    let forged = bob.signed(&prepared, &[Fault::FlipFlags(0x04)]).unwrap();
    let explanations = format!("/drift/{entry}/explanations");
    bob.browser.post(&explanations, &forged).await.unwrap_err();
    // Another's finding, another's session, nobody's right.
    assert!(
        bob.browser
            .post("/drift/0/statements", &json!({"explanation": words}))
            .await
            .unwrap_err()
            .contains("404")
    );
    let mut dan = gate.approver("dan").await;
    assert!(
        dan.browser
            .post(&statements, &json!({"explanation": words}))
            .await
            .unwrap_err()
            .contains("404")
    );
    assert!(dan.browser.open("/drift", "dan").await.unwrap_err().contains("404"));
    explain(&mut bob, words).await.unwrap();
    let page = alice.browser.open("/drift", "alice").await.unwrap();
    assert!(page.contains("All of them are explained"), "{page}");
    let late = explain(&mut bob, "something else").await.unwrap_err();
    assert!(late.contains("409"), "{late}");
    assert_eq!(entries(&gate, "drift.explained").await.len(), 3);
    calls_of(&gate, "all", 4).await;
    // Nothing was changed back.
    assert_eq!(gate.changes_of_cloud_run().await, 0);
    // A second change is a second finding.
    outside_edit(&gate, image(0xbee)).await;
    let changes = found(&gate, 2).await;
    assert_ne!(changes[0]["state"], changes[1]["state"]);
    gate.finish().await;
}

/// The runbook: the gate is down, a sealed principal deploys beside it, and two people account for that.
async fn what_was_done_while_the_gate_was_down_is_found_and_explained(engine: Engine) {
    let gate = Gate::around(engine, free_port()).await;
    gate.ready_delay(0).await;
    gate.servers
        .files
        .edit_config(|config| format!("{config}\n[drift]\nevery = \"1s\"\n"))
        .unwrap();
    let mut process = GateProcess::start(&gate).await;
    let (mut alice, mut bob) = (gate.approver("alice").await, gate.approver("bob").await);
    gate.until("the first look", async || entries(&gate, "service.observed").await.len() == 2)
        .await;
    process.kill().await;
    let sealed = json!({"service": SERVICE, "change": image(0x911), "modifier": "sealed-deployer@demo.iam.gserviceaccount.com"});
    gate.sandbox(Method::POST, "/_sandbox/outside-edit", Some(sealed)).await;
    process.start_again().await;
    let change = found(&gate, 1).await.remove(0);
    assert!(change.to_string().contains("sealed-deployer@demo"), "{change:#}");
    let page = alice.browser.open("/drift", "alice").await.unwrap();
    assert!(page.contains("One of them is open"), "{page}");
    let entry = page.split("data-entry=\"").nth(1).unwrap().split('"').next().unwrap();
    let words = "The gate was down from 02:10 to 02:40: hotfix by the sealed principal, INC-8";
    for (person, open) in [(&mut alice, true), (&mut bob, false)] {
        let statements = format!("/drift/{entry}/statements");
        let prepared = person.browser.post(&statements, &json!({"explanation": words})).await;
        let signed = person.signed(&prepared.unwrap(), &[]).unwrap();
        person.browser.post(&format!("/drift/{entry}/explanations"), &signed).await.unwrap();
        let page = person.browser.open("/drift", "").await.unwrap();
        assert_eq!(page.contains("One of them is open"), open, "{page}");
    }
    process.end().await;
    gate.finish().await;
}

async fn a_rollout_is_no_drift(engine: Engine) {
    let gate = watching(engine, "1s").await;
    let mut alice = gate.approver("alice").await;
    for steps in [json!([10, 50, 100]), json!([100])] {
        let id = gate.asked(json!({"subject": {"steps": steps}})).await;
        alice.approve(&id).await.unwrap();
        assert_eq!(gate.ended(&id).await["status"], "succeeded");
        let left = async || {
            let all = entries(&gate, "service.observed").await;
            all.last().unwrap()["explained_by"] == id.as_str()
        };
        gate.until("the rollout's outcome is written down", left).await;
    }
    assert_eq!(entries(&gate, "drift.found").await, Vec::<Value>::new());
    // By hand back to what an older approval left: signed once, and not now.
    let first = entries(&gate, "service.observed").await;
    let serving = first[2]["state"]["serving"][0]["revision"].clone();
    let back = json!([{"type": "TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION", "revision": serving, "percent": 100}]);
    outside_edit(&gate, json!({"traffic": back})).await;
    let change = found(&gate, 1).await.remove(0);
    assert!(
        change["unexplained"][0].as_str().unwrap().starts_with("The traffic was"),
        "{change:#}"
    );
    assert_eq!(change["changed_by"], "mallory@example.com");
    gate.finish().await;
}

fn pushed(service: &str) -> Value {
    let entry = json!({
        "protoPayload": {
            "serviceName": "run.googleapis.com",
            "methodName": "google.cloud.run.v2.Services.UpdateService",
            "resourceName": service,
            "authenticationInfo": {"principalEmail": "eve@example.com"},
        },
    });
    json!({"message": {"data": BASE64.encode(entry.to_string().as_bytes()), "messageId": "1"}, "subscription": "s"})
}

async fn only_the_subscription_tells_of_changes(engine: Engine) {
    let gate = watching(engine, "4m").await;
    outside_edit(&gate, image(0xbad)).await;
    let audience = gate.url("/v1/drift/changes");
    let good = json!({"aud": audience, "email": "pubsub@demo.iam.gserviceaccount.com", "email_verified": true});
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        claims
    };
    let post = async |claims: Value, body: &Value| -> Answer {
        let token = gate.token(claims).await;
        send(gate.http.post(&audience).bearer_auth(token).json(body)).await
    };
    for claims in [
        with("email", json!("pubsub@evil.iam.gserviceaccount.com")),
        with("email", Value::Null),
        with("email_verified", json!(false)),
        with("email_verified", json!("true")),
        with("aud", json!(gate.servers.gate)),
        with("exp", json!(1)),
        with("signature", json!("broken")),
        with("signature", json!("foreign")),
        with("issuer", json!("agent")),
    ] {
        let refused = post(claims.clone(), &pushed(SERVICE)).await;
        assert_eq!(refused.status, 401, "{claims:#} {refused:?}");
    }
    let refused = send(gate.http.post(&audience).json(&pushed(SERVICE))).await;
    refused.assert_problem(401, "missing_token");
    for body in [json!({}), json!({"message": {"data": "!"}}), json!({"message": {"data": "e30"}})]
    {
        post(good.clone(), &body).await.assert_problem(400, "malformed_request");
    }
    assert_eq!(post(good.clone(), &pushed("projects/x/locations/y/services/z")).await.status, 204);
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    assert_eq!(entries(&gate, "drift.found").await.len(), 0, "nobody looked yet");
    assert_eq!(post(good.clone(), &pushed(SERVICE)).await.status, 204);
    let change = found(&gate, 1).await.remove(0);
    assert_eq!(change["changed_by"], "eve@example.com");
    gate.finish().await;
}

async fn completeness_is_the_population_with_nothing_unmatched(engine: Engine) {
    let gate = watching(engine, "1s").await;
    let begun = countersign::clock::Clock::system().now();
    let completeness = |from: &str| {
        let output = countersign()
            .args([
                "audit",
                "completeness",
                "--json",
                "--from",
                from,
                "--to",
                "2100-01-01",
                "--config",
            ])
            .arg(&gate.servers.files.config)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let told: Value = serde_json::from_str(&text)
            .unwrap_or_else(|_| panic!("{text}{}", String::from_utf8_lossy(&output.stderr)));
        (output.status.code().unwrap(), told)
    };
    let from = begun.to_string();
    let (code, told) = completeness(&from);
    assert_eq!((code, &told["unmatched"]), (0, &json!(0)), "{told:#}");
    let mut alice = gate.approver("alice").await;
    let mut bob = gate.approver("bob").await;
    let id = gate.asked(json!({"subject": {"steps": [100]}})).await;
    alice.approve(&id).await.unwrap();
    assert_eq!(gate.ended(&id).await["status"], "succeeded");
    gate.until("it is written down", async || entries(&gate, "service.observed").await.len() == 3)
        .await;
    let (code, told) = completeness(&from);
    assert_eq!((code, &told["unmatched"]), (0, &json!(0)), "{told:#}");
    let by: Vec<&Value> =
        told["changes"].as_array().unwrap().iter().map(|one| &one["explained_by"]).collect();
    assert_eq!(by, [&json!(id), &json!(id)], "the revision and the traffic");
    // A change beside the gate is on the list until two people explained it.
    outside_edit(&gate, image(0xbad)).await;
    found(&gate, 1).await;
    let (code, told) = completeness(&from);
    assert_eq!((code, &told["unmatched"]), (3, &json!(2)), "{told:#}");
    let page = alice.browser.open("/drift", "alice").await.unwrap();
    let entry = page.split("data-entry=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    for person in [&mut alice, &mut bob] {
        let path = format!("/drift/{entry}/statements");
        let prepared = person.browser.post(&path, &json!({"explanation": "INC-7"})).await.unwrap();
        let signed = person.signed(&prepared, &[]).unwrap();
        person.browser.post(&format!("/drift/{entry}/explanations"), &signed).await.unwrap();
    }
    let (code, told) = completeness(&from);
    assert_eq!((code, &told["unmatched"]), (0, &json!(0)), "{told:#}");
    // Of the time before the first look nobody knows anything.
    let (code, told) = completeness("2020-01-01");
    assert_eq!(code, 3, "{told:#}");
    assert_eq!(told["changes"][0]["kind"], "unwatched");
    gate.finish().await;
}
