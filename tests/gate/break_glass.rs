//! Breaking the glass: a signature by rules of its own goes through freezes and windows, and stays red until somebody
//! else has signed for it.

mod orders;
mod refusals;

use countersign::cli::demo::approver::Approver;
use countersign::sandbox::authenticator::Fault;
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::freezing::{freeze, production};
use crate::notices::scene::{calls_of, heard, with};
use crate::support::gate::{Engine, Gate, on_both_engines};
use crate::support::process::countersign;
use crate::windows::{until_closed, window};

on_both_engines!(
    the_glass_goes_through_freezes_and_windows,
    what_everybody_signed_and_is_held_can_be_broken_out,
    as_many_break_it_as_the_rules_say,
    what_nobody_else_signs_for_is_overdue,
);

/// Two have to sign by the rules; Bob alone breaks the glass, or whoever `rules` names.
pub fn glass(rules: &str) -> impl FnOnce(String) -> String {
    let section = format!(
        "\n[environment.production.break_glass]\nrules = [{rules}]\nexplain_within = \"1h\"\n"
    );
    move |config| config.replace("count = 1", "count = 2") + &section
}

pub const BOB: &str = "{ from = [\"person:u-bob\"], count = 1 }";

pub fn breaking(reason: &str) -> Value {
    json!({"decision": "break_glass", "reason": reason})
}

/// The exceptions as the API lists them.
pub async fn exceptions(gate: &Gate) -> Vec<Value> {
    gate.get("/v1/exceptions").await.body["exceptions"].as_array().unwrap().clone()
}

/// Prepares the second signature as the page does, signs it and sends it.
pub async fn review(person: &mut Approver, entry: u64, words: &str) -> Result<Value, String> {
    let statements = format!("/exceptions/{entry}/statements");
    let prepared = person.browser.post(&statements, &json!({"explanation": words})).await?;
    let signed = person.signed(&prepared, &[])?;
    person.browser.post(&format!("/exceptions/{entry}/reviews"), &signed).await
}

async fn the_glass_goes_through_freezes_and_windows(engine: Engine) {
    let hook = "[[webhook]]\nname = \"all\"\nurl = \"SANDBOX/receiver/all\"\nsecret_file = \"webhook-secret\"\nevents = [\"exception.opened\", \"exception.closed\"]\n";
    let gate =
        Gate::start_with(engine, |config| with(hook, true)(glass(BOB)(config) + &window(30, 120)))
            .await;
    gate.ready_delay(0).await;
    let mut alice = gate.approver("alice").await;
    let mut bob = gate.approver("bob").await;
    freeze(&mut alice, &production()).await;
    let id = gate.asked(json!({"subject": {"steps": [100]}})).await;
    alice.approve(&id).await.unwrap();
    assert_eq!(gate.approval(&id).await["status"], "pending");
    // The page says before the touch what it overrides, and what follows.
    let page = bob.browser.open(&format!("/approvals/{id}"), "bob").await.unwrap();
    for words in ["Break the glass", "Alice Adler froze production", "within 1 hour"] {
        assert!(page.contains(words), "no {words:?} in: {page}");
    }
    let page = alice.browser.open(&format!("/approvals/{id}"), "alice").await.unwrap();
    assert!(!page.contains("Break the glass"), "{page}");
    bob.decide(&id, breaking("The checkout is down")).await.unwrap();
    assert_eq!(gate.ended(&id).await["status"], "succeeded");
    let proved = gate.proved(&id).await;
    assert!(proved.is_approved() && proved.is_by_break_glass());
    says_so_offline(&gate, &id).await;

    let open = exceptions(&gate).await.remove(0);
    assert_eq!(
        (open["status"].as_str(), open["by"]["subject"].as_str()),
        (Some("open"), Some("u-bob"))
    );
    assert_eq!(
        (open["approval"].as_str(), open["reason"].as_str()),
        (Some(&*id), Some("The checkout is down"))
    );
    let banner =
        "Bob Brandt broke the glass for web in production. Somebody else has to sign for it";
    let mut erin = Approver::new(&gate.servers.gate).unwrap();
    erin.sign_in("erin").await.unwrap();
    for (person, name) in [(&mut alice, "alice"), (&mut bob, "bob"), (&mut erin, "erin")] {
        for path in ["/", "/keys", "/environments", &format!("/approvals/{id}"), "/exceptions"] {
            let page = person.browser.open(path, name).await.unwrap();
            assert!(page.contains(banner), "{name}, {path}: {page}");
        }
    }
    let page = bob.browser.open("/exceptions", "bob").await.unwrap();
    assert!(page.contains("You broke this glass") && !page.contains("Sign and close it"), "{page}");
    let entry = open["entry"].as_u64().unwrap();
    review(&mut alice, entry, "It was down, and the fix is in the main branch").await.unwrap();
    let closed = exceptions(&gate).await.remove(0);
    assert_eq!(closed["status"], "closed", "{closed:#}");
    assert_eq!(closed["closed_by"]["subject"], "u-alice");
    let page = bob.browser.open("/exceptions", "bob").await.unwrap();
    assert!(page.contains("the fix is in the main branch") && !page.contains(banner), "{page}");
    let page = alice.browser.open("/audit", "alice").await.unwrap();
    assert!(page.contains("broke the glass") && page.contains("signed for the glass"), "{page}");
    let told = calls_of(&gate, "all", 2).await;
    let events: Vec<&str> = told.iter().map(|one| one.payload["type"].as_str().unwrap()).collect();
    assert_eq!(events, ["exception.opened", "exception.closed"]);
    assert_eq!(told[0].payload["data"]["url"], gate.url("/exceptions"));
    assert_eq!(told[0].payload["data"]["person"]["subject"], "u-bob");
    // The channel is told in words, with a link to where it is signed for.
    let link = format!("<{}|Open it>", gate.url("/exceptions"));
    for words in ["Bob Brandt broke the glass for", "Alice Adler signed for the glass"] {
        gate.until(words, async || {
            let told = heard(&gate, "slack").await;
            let mut texts = told.iter().map(|one| one.payload["text"].as_str().unwrap());
            texts.any(|text| text.contains(words) && text.contains(&link))
        })
        .await;
    }
    gate.finish().await;
}

/// `countersign verify` says in words and by a member how it was approved, and calls it approved.
async fn says_so_offline(gate: &Gate, id: &str) {
    let token = gate.token(json!({})).await;
    let url = gate.url(&format!("/v1/approvals/{id}/evidence"));
    let file = gate.http.get(url).bearer_auth(token).send().await.unwrap().bytes().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let evidence = folder.path().join("evidence.json");
    std::fs::write(&evidence, file).unwrap();
    let verify = |more: &[&str]| {
        let trust = &gate.servers.files.trust;
        let mut command = countersign();
        command.arg("verify").arg(&evidence).arg("--trust").arg(trust).args(more);
        command.output().unwrap()
    };
    let output = verify(&[]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.starts_with("Approved by breaking the glass, and everything holds."), "{text}");
    assert!(text.contains("lets 1 of u-bob do that, with a reason"), "{text}");
    let output = verify(&["--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (report["verdict"].as_str(), report["break_glass"].as_bool()),
        (Some("approved"), Some(true))
    );
}

async fn what_everybody_signed_and_is_held_can_be_broken_out(engine: Engine) {
    let carol = "{ from = [\"person:u-carol\", \"person:u-alice\"], count = 1 }";
    let gate = Gate::start_with(engine, |config| glass(carol)(config) + &window(30, 120)).await;
    gate.ready_delay(0).await;
    let mut alice = gate.approver("alice").await;
    let mut bob = gate.approver("bob").await;
    let mut carol = gate.approver("carol").await;
    let id = gate.asked(json!({"subject": {"steps": [100]}})).await;
    alice.approve(&id).await.unwrap();
    bob.approve(&id).await.unwrap();
    until_closed(&gate, &id).await;
    // Who signed a yes says one thing: they take it back before they break the glass.
    let refused = alice.decide(&id, breaking("Now")).await.unwrap_err();
    assert!(refused.contains("409") && refused.contains("already_decided"), "{refused}");
    alice.decide(&id, json!({"decision": "withdraw"})).await.unwrap();
    assert_eq!(gate.approval(&id).await["status"], "pending");
    carol.decide(&id, breaking("The checkout is down")).await.unwrap();
    assert_eq!(gate.ended(&id).await["status"], "succeeded");
    assert!(gate.proved(&id).await.is_by_break_glass());

    // The other way round: everybody signed, it is held, and somebody else breaks the glass.
    let id = gate.asked(json!({"subject": {"steps": [100]}})).await;
    alice.approve(&id).await.unwrap();
    bob.approve(&id).await.unwrap();
    until_closed(&gate, &id).await;
    carol.decide(&id, breaking("Still down")).await.unwrap();
    assert_eq!(gate.ended(&id).await["status"], "succeeded");
    assert_eq!(exceptions(&gate).await.len(), 2);
    gate.finish().await;
}

async fn as_many_break_it_as_the_rules_say(engine: Engine) {
    let two = "{ from = [\"person:u-bob\", \"person:u-dan\"], count = 2 }";
    let gate = Gate::start_with(engine, glass(two)).await;
    gate.ready_delay(0).await;
    let mut bob = gate.approver("bob").await;
    // Dan is named for emergencies alone: he reads of it, and signs nothing by the rules.
    let mut dan = gate.approver("dan").await;
    let id = gate.asked(json!({"subject": {"steps": [100]}})).await;
    bob.decide(&id, breaking("The checkout is down")).await.unwrap();
    assert_eq!(gate.approval(&id).await["status"], "pending");
    assert!(exceptions(&gate).await.is_empty());
    assert_eq!(gate.changes_of_cloud_run().await, 0);
    let refused = dan.approve(&id).await.unwrap_err();
    assert!(refused.contains("not_an_approver"), "{refused}");
    dan.decide(&id, breaking("It is, I see it too")).await.unwrap();
    assert_eq!(gate.ended(&id).await["status"], "succeeded");
    let entry = exceptions(&gate).await[0]["entry"].as_u64().unwrap();
    // Neither of the two signs for it, and nobody without a say by the rules.
    for (person, code) in [(&mut bob, "own_exception"), (&mut dan, "own_exception")] {
        let refused = review(person, entry, "It was in order").await.unwrap_err();
        assert!(refused.contains("403") && refused.contains(code), "{refused}");
    }
    let mut alice = gate.approver("alice").await;
    review(&mut alice, entry, "It was in order").await.unwrap();
    gate.finish().await;
}

async fn what_nobody_else_signs_for_is_overdue(engine: Engine) {
    let hook = "[[webhook]]\nname = \"all\"\nurl = \"SANDBOX/receiver/all\"\nsecret_file = \"webhook-secret\"\nevents = [\"exception.overdue\"]\n";
    let gate = Gate::start_with(engine, |config| with(hook, false)(glass(BOB)(config))).await;
    gate.ready_delay(0).await;
    let mut alice = gate.approver("alice").await;
    let mut bob = gate.approver("bob").await;
    let id = gate.asked(json!({"subject": {"steps": [100]}})).await;
    bob.decide(&id, breaking("The checkout is down")).await.unwrap();
    gate.ended(&id).await;
    gate.servers.clock.shift(SignedDuration::from_mins(61));
    gate.until("it is overdue", async || exceptions(&gate).await[0]["status"] == "overdue").await;
    let told = calls_of(&gate, "all", 1).await;
    assert_eq!(told[0].payload["type"], "exception.overdue");
    alice.sign_in("alice").await.unwrap();
    let page = alice.browser.open("/exceptions", "alice").await.unwrap();
    assert!(page.contains("it is overdue") && page.contains("Overdue"), "{page}");
    let entry = exceptions(&gate).await[0]["entry"].as_u64().unwrap();
    // A signature that does not hold closes nothing.
    let statements = format!("/exceptions/{entry}/statements");
    let words = json!({"explanation": "Late, and in order"});
    let prepared = alice.browser.post(&statements, &words).await.unwrap();
    let forged = alice.signed(&prepared, &[Fault::FlipFlags(0x04)]).unwrap();
    let reviews = format!("/exceptions/{entry}/reviews");
    alice.browser.post(&reviews, &forged).await.unwrap_err();
    let signed = alice.signed(&prepared, &[]).unwrap();
    alice.browser.post(&reviews, &signed).await.unwrap();
    // Nor does one that was used.
    let again = alice.browser.post(&reviews, &signed).await.unwrap_err();
    assert!(again.contains("409"), "{again}");
    assert_eq!(exceptions(&gate).await[0]["status"], "closed");
    calls_of(&gate, "all", 1).await;
    gate.finish().await;
}
