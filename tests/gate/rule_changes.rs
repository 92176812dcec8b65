//! Whoever can edit the configuration changes no rule: once trust is pinned, rules change only with the
//! signatures that the rules in force ask for.

mod attacks;
mod planted;

use countersign::cli::demo::approver::Approver;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::instances::Fleet;
use crate::support::gate::{Engine, Gate, SERVICE, on_both_engines};

on_both_engines!(
    a_change_closes_nobodys_connection,
    a_change_counts_when_everybody_signed_it,
    a_change_that_nobody_wants_stays_out,
    what_one_environment_says_of_itself_is_its_own_affair,
    without_pins_rules_change_at_once,
);

/// Production needs two release managers and security, staging an engineer.
const RULES: &str = "rules = [{ from = [\"group:release-managers\"], count = 2 }, { from = [\"group:security\"], count = 1 }]\nrequire_pinned_trust = true";
const STAGING: &str = r#"
[environment.staging]
services = ["projects/demo/locations/europe-west1/services/staging"]
images = ["europe-docker.pkg.dev/demo/app/web"]
requesters = [{ issuer = "github", claims = { repository_id = "1001" } }]
rules = [{ from = ["group:engineering"], count = 1 }]
expires_in = "8h"
keys = { minimum_keys = 1 }
"#;
const ONE_OF_THEM: &str = "rules = [{ from = [\"group:release-managers\"], count = 1 }]";

/// The rules that are in force in these tests.
fn ruled(config: String) -> String {
    let deny = "keys = { minimum_keys = 1, deny = [\"00000000-0000-0000-0000-000000000001\"] }";
    let config = config.replace(ONE_OF_THEM, RULES).replace("keys = { minimum_keys = 1 }", deny);
    assert!(config.contains("group:security") && config.contains("deny"), "{config}");
    config + STAGING
}

/// One of two release managers is enough, and nobody of security.
fn lowered(config: String) -> String {
    ruled(config).replace(RULES, &format!("{ONE_OF_THEM}\nrequire_pinned_trust = true"))
}

/// What the API says of who has to sign in production.
async fn counts(gate: &Gate) -> Vec<u64> {
    let environments = gate.get("/v1/environments").await.body["environments"].clone();
    let production =
        environments.as_array().unwrap().iter().find(|one| one["name"] == "production");
    let rules = production.unwrap()["rules"].as_array().unwrap().clone();
    rules.iter().map(|rule| rule["count"].as_u64().unwrap()).collect()
}

/// Asks for a rollout, has one person sign it, and says whether it was rolled out.
async fn rolls_out_by_one(gate: &Gate, person: &mut Approver) -> bool {
    let id = gate.asked(json!({})).await;
    person.approve(&id).await.unwrap();
    let approval = gate.approval(&id).await;
    if approval["status"] == "pending" {
        gate.post(&format!("/v1/approvals/{id}/cancel"), json!({})).await;
        return false;
    }
    gate.ended(&id).await["status"] == "succeeded"
}

async fn a_change_counts_when_everybody_signed_it(engine: Engine) {
    let gate = Gate::start_with(engine, ruled).await;
    let (mut alice, mut bob) = (gate.approver("alice").await, gate.approver("bob").await);
    let mut carol = gate.approver("carol").await;
    let bound = gate.rules().await;
    assert_eq!(bound["signed_by"], json!([]), "{bound}");
    assert!(!rolls_out_by_one(&gate, &mut alice).await);

    let gate = gate.restart_with(lowered).await;
    gate.rules_wait_for(true).await;
    let change = gate.rule_change().await;
    assert_eq!(gate.rules().await["digest"], bound["digest"], "another start changes nothing");
    assert_eq!(counts(&gate).await, [2, 1]);
    assert!(!rolls_out_by_one(&gate, &mut alice).await);
    let page = alice.browser.open(&format!("/approvals/{change}"), "alice").await.unwrap();
    for words in [
        "1 of release-managers must sign; before, 2 of release-managers",
        "no longer needed: 1 of security",
        "Somebody may do more after this",
        "release-managers for production",
        "security for production",
        "the gate’s own statement",
    ] {
        assert!(page.contains(words), "no {words:?} in {page}");
    }
    assert!(!page.contains("for staging"), "staging is not touched: {page}");
    for page in ["/", "/keys", "/environments"] {
        let shown = alice.browser.open(page, "alice").await.unwrap();
        assert!(shown.contains("says other rules than those in force"), "{page}: {shown}");
    }
    let inbox = bob.browser.open("/", "bob").await.unwrap();
    assert!(inbox.contains("Change of the rules of production"), "{inbox}");
    // Another start asks nobody twice.
    let gate = gate.restart_with(lowered).await;
    assert_eq!(gate.rule_change().await, change);

    alice.approve(&change).await.unwrap();
    bob.approve(&change).await.unwrap();
    gate.get(&format!("/v1/approvals/{change}")).await.assert_problem(404, "not_found");
    assert_eq!(counts(&gate).await, [2, 1], "security has not signed");
    carol.approve(&change).await.unwrap();
    gate.rules_wait_for(false).await;
    assert_eq!(counts(&gate).await, [1]);
    let rules = gate.rules().await;
    assert_ne!(rules["digest"], bound["digest"]);
    assert_eq!(rules["approval"], change.as_str());
    let signed_by = rules["signed_by"].as_array().unwrap();
    assert_eq!(signed_by.len(), 3, "{rules}");
    assert!(rolls_out_by_one(&gate, &mut alice).await);
    let shown = alice.browser.open("/environments", "alice").await.unwrap();
    assert!(shown.contains("Signed by Alice Adler and Bob Brandt and Carol Chen"), "{shown}");

    // They stay in force, and the old file is a change by now.
    let gate = gate.restart_with(lowered).await;
    gate.rules_wait_for(false).await;
    assert!(rolls_out_by_one(&gate, &mut bob).await);
    let gate = gate.restart_with(ruled).await;
    gate.rules_wait_for(true).await;
    assert_eq!(counts(&gate).await, [1]);
    let back = gate.rule_change().await;
    assert_ne!(back, change);
    // The file goes back, and nobody is asked any more.
    let gate = gate.restart_with(lowered).await;
    gate.rules_wait_for(false).await;
    for _ in 0..100 {
        if gate.rules().await["waiting"].is_null() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert!(gate.rules().await["waiting"].is_null());
    let page = alice.browser.open(&format!("/approvals/{back}"), "alice").await.unwrap();
    assert!(page.contains("says the rules in force again"), "{page}");
    gate.finish().await;
}

/// Asks over a connection that stays open, and says with which status the gate answered.
async fn asked_over(connection: &mut TcpStream) -> String {
    let question = b"GET /health/live HTTP/1.1\r\nhost: gate\r\n\r\n";
    connection.write_all(question).await.unwrap();
    let mut answer = vec![0; 4096];
    let read = connection.read(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer[..read]).lines().next().unwrap_or("closed").to_owned()
}

async fn a_change_closes_nobodys_connection(engine: Engine) {
    let gate = Gate::start_with(engine, ruled).await;
    let (mut alice, mut bob) = (gate.approver("alice").await, gate.approver("bob").await);
    let mut carol = gate.approver("carol").await;
    let gate = gate.restart_with(lowered).await;
    let origin = gate.url("");
    let mut connection = TcpStream::connect(origin.rsplit('/').next().unwrap()).await.unwrap();
    assert_eq!(asked_over(&mut connection).await, "HTTP/1.1 200 OK");
    gate.rules_wait_for(true).await;
    let change = gate.rule_change().await;
    for approver in [&mut alice, &mut bob, &mut carol] {
        approver.approve(&change).await.unwrap();
    }
    gate.rules_wait_for(false).await;
    assert_eq!(counts(&gate).await, [1]);
    assert_eq!(asked_over(&mut connection).await, "HTTP/1.1 200 OK");
    gate.finish().await;
}

async fn a_change_that_nobody_wants_stays_out(engine: Engine) {
    let gate = Gate::start_with(engine, ruled).await;
    let mut alice = gate.approver("alice").await;
    let mut dan = gate.approver("dan").await;
    let gate = gate.restart_with(lowered).await;
    let change = gate.rule_change().await;
    // Nobody but those whom the rules in force name: staging's engineers have no say in production.
    let refused = dan.approve(&change).await.unwrap_err();
    assert!(refused.contains("403") || refused.contains("404"), "{refused}");
    let no = json!({"decision": "reject", "reason": "Nobody asked for this"});
    alice.decide(&change, no).await.unwrap();
    let page = alice.browser.open(&format!("/approvals/{change}"), "alice").await.unwrap();
    assert!(page.contains("The old rules stay in force"), "{page}");
    // A start does not ask again at once what somebody said no to.
    let gate = gate.restart_with(lowered).await;
    gate.rules_wait_for(true).await;
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    assert!(gate.rules().await["waiting"].is_null());
    assert_eq!(counts(&gate).await, [2, 1]);
    assert!(!rolls_out_by_one(&gate, &mut alice).await);
    assert_eq!(gate.changes_of_cloud_run().await, 0);
    gate.finish().await;
}

async fn what_one_environment_says_of_itself_is_its_own_affair(engine: Engine) {
    let gate = Gate::start_with(engine, ruled).await;
    let mut dan = gate.approver("dan").await;
    let patient =
        |config: String| ruled(config).replace(STAGING, &format!("{STAGING}max_pending = 3\n"));
    let gate = gate.restart_with(patient).await;
    gate.sign_rules(&mut [&mut dan]).await;
    // What claims a service for staging is everybody's.
    let claiming = |config: String| {
        patient(config).replace(
            "services/staging\"]",
            "services/staging\", \"projects/demo/locations/europe-west1/services/billing\"]",
        )
    };
    let gate = gate.restart_with(claiming).await;
    let change = gate.rule_change().await;
    dan.approve(&change).await.unwrap();
    let page = dan.browser.open(&format!("/approvals/{change}"), "dan").await.unwrap();
    assert!(page.contains("security for production"), "{page}");
    assert!(page.contains("0 of 2") && page.contains("1 of 1"), "{page}");
    gate.rules_wait_for(true).await;
    gate.finish().await;
}

async fn without_pins_rules_change_at_once(engine: Engine) {
    let unpinned = |config: String| -> String {
        let pins =
            |line: &&str| !line.starts_with("login_keys") && !line.starts_with("workload_keys");
        config.lines().filter(pins).map(|line| format!("{line}\n")).collect()
    };
    let strict = |config: String| {
        unpinned(config)
            .replace(ONE_OF_THEM, "rules = [{ from = [\"group:release-managers\"], count = 2 }]")
    };
    let gate = Gate::start_with(engine, strict).await;
    assert!(gate.rules().await.is_null());
    let mut alice = gate.approver("alice").await;
    assert!(!rolls_out_by_one(&gate, &mut alice).await);
    let gate = gate.restart_with(unpinned).await;
    assert!(rolls_out_by_one(&gate, &mut alice).await);
    // From the first start with pins on they bind.
    let gate = gate.restart_with(|config| config).await;
    assert!(gate.rules().await["digest"].is_string());
    let gate = gate.restart_with(unpinned).await;
    gate.rules_wait_for(true).await;
    let services = gate.get("/v1/environments").await.body["environments"][0]["services"].clone();
    assert!(services.as_array().unwrap().iter().any(|one| one == SERVICE));
    gate.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_instance_takes_new_rules_up() {
    let mut fleet = Fleet::configured(2, ruled).await;
    let (mut alice, mut bob) =
        (fleet.gate.approver("alice").await, fleet.gate.approver("bob").await);
    let mut carol = fleet.gate.approver("carol").await;
    let bound = fleet.gate.rules().await["digest"].clone();
    // One of them is started with the new file, the other one still runs with the old.
    fleet.instances[1].stop().await;
    let one = format!("{ONE_OF_THEM}\nrequire_pinned_trust = true");
    let port = fleet.instances[1].address.rsplit(':').next().unwrap();
    let file = fleet.gate.servers.files.folder.join(format!("instance-{port}.toml"));
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace(RULES, &one)).unwrap();
    fleet.instances[1].start_again().await;
    let change = fleet.gate.rule_change().await;
    for approver in [&mut alice, &mut bob, &mut carol] {
        approver.approve(&change).await.unwrap();
    }
    let digest = async |index: usize| -> serde_json::Value {
        let shown = fleet.get_at(index, "/v1/environments").await;
        shown.body["rules"]["digest"].clone()
    };
    for index in [0, 1] {
        let mut shown = digest(index).await;
        for _ in 0..100 {
            if shown.is_string() && shown != bound {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            shown = digest(index).await;
        }
        assert!(shown.is_string() && shown != bound, "instance {index}: {shown}");
    }
    assert!(rolls_out_by_one(&fleet.gate, &mut alice).await);
    assert!(fleet.gate.rules().await["waiting"].is_null(), "nobody proposes the old ones");
    fleet.finish().await;
}
