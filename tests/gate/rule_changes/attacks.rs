//! Attacks of somebody who can write the configuration file and start the gate, and has one accomplice who may
//! sign: nothing is rolled out.

use countersign::cli::demo::approver::Approver;
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{ONE_OF_THEM, RULES, STAGING, counts, lowered, ruled};
use crate::support::gate::{Engine, Gate, on_both_engines};

on_both_engines!(a_configuration_writer_rolls_out_nothing);

/// An edit of the configuration of these tests, by what it is.
type Attack = (&'static str, fn(String) -> String);

fn swapped(text: String, one: &str, other: &str) -> String {
    assert!(text.contains(one), "{one:?} is not in {text}");
    text.replace(one, other)
}

/// Dan alone may sign, and is no release manager.
const DANS: &str = "rules = [{ from = [\"person:u-dan\"], count = 1 }]";
const KEY: &str = r#"'{"crv":"P-256","kty":"EC","x":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","y":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}'"#;

/// What is edited: each would let one person alone roll something out, or take something away that stops it.
const ATTACKS: &[Attack] = &[
    ("a lower count", |text| swapped(text, "count = 2 }", "count = 1 }")),
    ("a rule dropped", lowered_rule),
    ("one more person", |text| {
        swapped(
            text,
            "[\"group:release-managers\"], count = 2",
            "[\"group:release-managers\", \"person:u-dan\"], count = 2",
        )
    }),
    ("other signers", |text| swapped(text, RULES, DANS)),
    ("security is everybody", |text| swapped(text, "\"group:security\"", "\"group:engineering\"")),
    ("a new environment takes the service", |text| {
        let text = swapped(text, "services/web\", ", "services/other\", ");
        let shadow = STAGING.replace("environment.staging", "environment.shadow");
        text + &shadow
            .replace("services/staging", "services/web")
            .replace("\"group:engineering\"", "\"person:u-dan\"")
    }),
    ("staging takes the service", |text| {
        let text = swapped(text, "services/web\", ", "services/other\", ");
        swapped(
            text,
            "services/staging\"]",
            "services/staging\", \"projects/demo/locations/europe-west1/services/web\"]",
        )
    }),
    ("two environments change places", |text| {
        let text = swapped(text, "[environment.production]", "[environment.tmp]");
        let text = swapped(text, "[environment.staging]", "[environment.production]");
        swapped(text, "[environment.tmp]", "[environment.staging]")
    }),
    ("production is gone", |text| {
        swapped(text, "[environment.production]", "[environment.elsewhere]")
    }),
    ("one more requester", |text| {
        swapped(
            text,
            "{ issuer = \"agent\", claims = { sub = \"agent:release-bot\" } },",
            "{ issuer = \"agent\", claims = { sub = \"agent:*\" } },",
        )
    }),
    ("wider claims", |text| swapped(text, "ref = \"refs/heads/main\"", "ref = \"refs/*\"")),
    ("more images", |text| {
        swapped(
            text,
            "images = [\"europe-docker.pkg.dev/demo/app/web\"]",
            "images = [\"europe-docker.pkg.dev/demo/app/web\", \"evil.example/web\"]",
        )
    }),
    ("requests stay open", |text| swapped(text, "expires_in = \"8h\"", "expires_in = \"7d\"")),
    ("an approval stays good", |text| {
        swapped(text, RULES, &format!("{RULES}\nexecute_within = \"5h\""))
    }),
    ("a newer request takes the place", |text| {
        swapped(text, "newer_request = \"queue\"", "newer_request = \"supersede\"")
    }),
    ("fewer may wait", |text| swapped(text, "max_pending = 10000", "max_pending = 1")),
    ("other steps", |text| swapped(text, "steps = [10, 50, 100]", "steps = [100]")),
    ("one person signs the way back", |text| {
        text + "[environment.production.plan]\nrollback_window = \"1h\"\n"
    }),
    ("models of keys are good again", |text| {
        swapped(text, ", deny = [\"00000000-0000-0000-0000-000000000001\"]", "")
    }),
    ("pins are not required", |text| swapped(text, "\nrequire_pinned_trust = true", "")),
    ("no pins", |text| unpinned(&text, "")),
    ("another pin of the directory", |text| unpinned(&text, &format!("login_keys = [{KEY}]\n"))),
    ("keys need endorsements of nobody", |text| text + "[enrolment]\nendorsements = 1\n"),
    ("another claim says the groups", |text| {
        swapped(text, "[login]\n", "[login]\ngroups_claim = \"given_groups\"\n")
    }),
    ("an operator", |text| text + "[roles]\noperator = [\"person:u-dan\"]\n"),
    ("a reader", |text| {
        swapped(
            text,
            "readers = [\"group:auditors\"]",
            "readers = [\"group:auditors\", \"person:u-dan\"]",
        )
    }),
    ("another algorithm of tokens", |text| {
        swapped(text, "algorithm = \"ES256\"", "algorithm = \"RS256\"")
    }),
    ("other keys of tokens", |text| {
        swapped(
            text,
            "name = \"agent\"\n",
            "name = \"agent\"\njwks_uri = \"http://localhost:9/keys\"\n",
        )
    }),
    ("another Cloud Run", |text| {
        swapped(
            text,
            "[cloud_run]\nendpoint = \"http://localhost:",
            "[cloud_run]\nendpoint = \"http://127.0.0.1:",
        )
    }),
    ("another GitHub", |text| swapped(text, "/github-api\"", "/github-evil\"")),
    ("another tool", |text| {
        swapped(text, "title = \"Restart a database\"", "title = \"Nothing to see\"")
    }),
    ("everything at once", |text| {
        let text = swapped(text, RULES, ONE_OF_THEM);
        unpinned(&swapped(text, "expires_in = \"8h\"", "expires_in = \"7d\""), "")
    }),
];

fn lowered_rule(text: String) -> String {
    swapped(text, ", { from = [\"group:security\"], count = 1 }]", "]")
}

fn unpinned(text: &str, pin: &str) -> String {
    let pins = |line: &&str| !line.starts_with("login_keys") && !line.starts_with("workload_keys");
    let text: String = text.lines().filter(pins).map(|line| format!("{line}\n")).collect();
    swapped(text, "[trust]\n", &format!("[trust]\n{pin}"))
}

/// Has this person sign whatever can be asked for; how many calls changed Cloud Run.
async fn tries(gate: &Gate, person: &mut Approver) -> usize {
    for asked in [json!({}), json!({"environment": "shadow"}), json!({"environment": "staging"})] {
        let answer = gate.ask(asked).await;
        if answer.status == StatusCode::CREATED {
            // Whether the page lets them or not.
            let _ = person.approve(&answer.id()).await;
            tokio::time::sleep(std::time::Duration::from_millis(300)).await;
            gate.post(&format!("/v1/approvals/{}/cancel", answer.id()), Value::Null).await;
        }
    }
    gate.changes_of_cloud_run().await
}

/// The approval of a change about which nobody was asked before: the older one gives way to it.
async fn asked_anew(gate: &Gate, what: &str, before: &[String]) -> String {
    for _ in 0..100 {
        let change = gate.rule_change().await;
        if !before.contains(&change) {
            return change;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("{what}: nobody is asked about it")
}

async fn a_configuration_writer_rolls_out_nothing(engine: Engine) {
    let mut gate = Gate::start_with(engine, ruled).await;
    let (mut alice, mut dan) = (gate.approver("alice").await, gate.approver("dan").await);
    let bound = gate.rules().await;
    assert_eq!(tries(&gate, &mut alice).await + tries(&gate, &mut dan).await, 0);
    assert!(ATTACKS.len() >= 20);
    let mut asked = Vec::new();
    for (what, edit) in ATTACKS {
        gate = gate.restart_with(|text| edit(ruled(text))).await;
        gate.rules_wait_for(true).await;
        let change = asked_anew(&gate, what, &asked).await;
        asked.push(change.clone());
        let rules = gate.rules().await;
        assert_eq!(rules["digest"], bound["digest"], "{what}");
        assert_eq!(counts(&gate).await, [2, 1], "{what}");
        // One of the accomplices signs the change itself, which is not enough.
        let _ = dan.approve(&change).await;
        let _ = alice.approve(&change).await;
        let rollouts = tries(&gate, &mut alice).await + tries(&gate, &mut dan).await;
        assert_eq!(rollouts, 0, "{what}");
        gate.rules_wait_for(true).await;
    }
    // There and back again.
    gate = gate.restart_with(lowered).await;
    gate.rules_wait_for(true).await;
    gate = gate.restart_with(ruled).await;
    gate.rules_wait_for(false).await;
    assert_eq!(gate.rules().await["digest"], bound["digest"]);
    assert_eq!(tries(&gate, &mut alice).await, 0);
    gate.finish().await;
}
