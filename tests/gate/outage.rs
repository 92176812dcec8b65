//! The directory cannot be reached: a key alone signs its owner in, who breaks the glass and does nothing else.

mod database;
mod refusals;

use countersign::cli::demo::approver::Approver;
use countersign::sandbox::authenticator::Fault;
use jiff::SignedDuration;
use reqwest::Method;
use serde_json::{Value, json};

use crate::break_glass::{BOB, breaking, exceptions, glass, review};
use crate::support::gate::{Engine, Gate, on_both_engines};
use crate::support::process::countersign;

on_both_engines!(a_key_alone_breaks_the_glass_and_everything_says_so, somebody_else_can_go_on);

/// Bob breaks the glass in production, with a last sign-in of so long ago.
fn bridged(grace: &str) -> impl FnOnce(String) -> String {
    let grace = format!("outage_grace = \"{grace}\"\n");
    move |config| glass(BOB)(config) + &grace
}

/// The directory is down, for longer than any test.
async fn go_down(gate: &Gate) {
    let outage = json!({"seconds": 1_000_000});
    gate.sandbox(Method::POST, "/_sandbox/identity-outage", Some(outage)).await;
}

/// It is there again, and what failed a moment ago is asked again.
async fn come_back(gate: &Gate) {
    gate.sandbox(Method::POST, "/_sandbox/identity-outage", Some(json!({"off": true}))).await;
    gate.servers.clock.shift(SignedDuration::from_secs(6));
}

/// Somebody with the key of `owner` in a browser that knows nothing yet.
fn with_key_of(gate: &Gate, owner: &Approver) -> Approver {
    let mut person = Approver::new(&gate.servers.gate).unwrap();
    person.authenticator = owner.authenticator.clone();
    person
}

/// A fresh statement that signs a key's owner in.
async fn begun(person: &mut Approver) -> Result<Value, String> {
    person.browser.post("/sign-in/key/statements", &json!({"return_to": "/keys"})).await
}

/// Signs in with nothing but the key.
async fn sign_in_with(person: &mut Approver, faults: &[Fault]) -> Result<Value, String> {
    let statement = begun(person).await?;
    let signed = person.signed(&statement, faults)?;
    person.browser.post("/sign-in/key/sessions", &signed).await
}

async fn a_key_alone_breaks_the_glass_and_everything_says_so(engine: Engine) {
    let gate = Gate::start_with(engine, bridged("4h")).await;
    gate.ready_delay(0).await;
    let mut alice = gate.approver("alice").await;
    let bob = gate.approver("bob").await;
    gate.servers.clock.shift(SignedDuration::from_hours(3));
    let id = gate.asked(json!({"subject": {"steps": [100]}})).await;
    go_down(&gate).await;
    let page = format!("/approvals/{id}");
    let mut alone = with_key_of(&gate, &bob);
    let offered = alone.browser.open(&page, "bob").await.unwrap();
    assert!(offered.contains("The directory cannot be reached"), "{offered}");
    assert!(offered.contains(&format!("data-return-to=\"{page}\"")), "{offered}");

    let statement = begun(&mut alone).await.unwrap();
    assert_eq!(statement["request_options"]["allowCredentials"], json!([]));
    assert_eq!(statement["request_options"]["userVerification"], "required");
    let signed = alone.signed(&statement, &[]).unwrap();
    let next = alone.browser.post("/sign-in/key/sessions", &signed).await.unwrap();
    assert_eq!(next["continue"], "/keys");
    let shown = alone.browser.open(&page, "bob").await.unwrap();
    for words in [
        "You signed in with your key alone",
        "You sign with it that the gate cannot reach the directory",
        "(3 hours ago)",
        "it takes a sign-in at the directory to decide",
    ] {
        assert!(shown.contains(words), "no {words:?} in: {shown}");
    }
    let statement = alone.statement(&id, breaking("The checkout is down")).await.unwrap();
    let text: Value = serde_json::from_str(statement["statement"].as_str().unwrap()).unwrap();
    let since = text["predicate"]["directory_unreachable_since"].as_str().unwrap().to_owned();
    assert!(shown.contains(&format!("data-unreachable-since=\"{since}\"")), "{since}: {shown}");
    alone.sign(&id, &statement, &[]).await.unwrap();
    assert_eq!(gate.ended(&id).await["status"], "succeeded");

    let decision = gate.approval(&id).await["decisions"][0].clone();
    assert_eq!(decision["directory_unreachable_since"], *since, "{decision:#}");
    let open = exceptions(&gate).await.remove(0);
    assert_eq!(open["directory_unreachable_since"], *since, "{open:#}");
    proof_says_so(&gate, &id, &since).await;
    come_back(&gate).await;
    alice.sign_in("alice").await.unwrap();
    for (path, words) in [
        (&*page, "Signed in with a key alone: the directory could not be reached"),
        ("/exceptions", "with a key alone: the directory could not be reached"),
        ("/audit", "alone, since the directory could not be reached since"),
        ("/audit", "while the directory could not be reached, since"),
    ] {
        let page = alice.browser.open(path, "alice").await.unwrap();
        assert!(page.contains(words), "no {words:?} in {path}: {page}");
    }
    let entry = open["entry"].as_u64().unwrap();
    review(&mut alice, entry, "It was down, and so was the directory").await.unwrap();
    assert_eq!(exceptions(&gate).await[0]["status"], "closed");
    gate.finish().await;
}

/// The evidence has it in the signed statement, and `countersign verify` says it.
async fn proof_says_so(gate: &Gate, id: &str, since: &str) {
    let proved = gate.proved(id).await;
    assert!(proved.is_approved() && proved.is_by_break_glass());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("evidence.json");
    let url = gate.url(&format!("/v1/approvals/{id}/evidence"));
    let request = gate.http.get(url).bearer_auth(gate.token(json!({})).await);
    std::fs::write(&file, request.send().await.unwrap().bytes().await.unwrap()).unwrap();
    let mut command = countersign();
    command.arg("verify").arg(&file).arg("--trust").arg(&gate.servers.files.trust);
    let text = String::from_utf8(command.output().unwrap().stdout).unwrap();
    for words in [
        format!("since {since}, by the gate's own word, it could not reach the directory"),
        format!("an earlier one: the directory was not reached since {since}"),
        "a last sign-in of at most 14400 seconds before".to_owned(),
    ] {
        assert!(text.contains(&words), "no {words:?} in {text}");
    }
    let output = command.arg("--json").output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["approvers"][0]["directory_unreachable_since"], *since, "{report:#}");
    assert_eq!(report["verdict"], "approved");
}

/// What one begins with a key alone, others sign for as always: two have to break it here, and one of them was
/// signed in before the outage.
async fn somebody_else_can_go_on(engine: Engine) {
    let both = "{ from = [\"person:u-bob\", \"person:u-alice\"], count = 2 }";
    let config = |config| glass(both)(config) + "outage_grace = \"1h\"\n";
    let gate = Gate::start_with(engine, config).await;
    gate.ready_delay(0).await;
    let mut alice = gate.approver("alice").await;
    let bob = gate.approver("bob").await;
    let id = gate.asked(json!({"subject": {"steps": [100]}})).await;
    go_down(&gate).await;
    let mut alone = with_key_of(&gate, &bob);
    sign_in_with(&mut alone, &[]).await.unwrap();
    alone.decide(&id, breaking("The checkout is down")).await.unwrap();
    assert_eq!(gate.approval(&id).await["status"], "pending");
    alice.decide(&id, breaking("It is")).await.unwrap();
    assert_eq!(gate.ended(&id).await["status"], "succeeded");
    let decisions = gate.approval(&id).await["decisions"].clone();
    let said = |nth: usize| decisions[nth].get("directory_unreachable_since").is_some();
    assert!(said(0) && !said(1), "{decisions:#}");
    assert!(exceptions(&gate).await[0]["directory_unreachable_since"].is_string());
    gate.finish().await;
}
