//! Recoveries that are cut off, on a terminal, after a fork, and beside other gates: each leads to a gate
//! that stands still or to one that goes on, and to nothing between.

use std::process::{Command, Stdio};

use countersign::clock::Clock;
use countersign::domain::digest::Digest;
use countersign::domain::recovery::{FrozenRecovery, RecoverySignature};
use countersign::gate::decide::encode;
use countersign::gate::recover;
use countersign::proof::assertion::UnverifiedAssertion;
use countersign::sandbox::witness::verifier_key;
use serde_json::{Value, json};

use super::scene::Scene;
use crate::support::database::storage;
use crate::support::gate::{Engine, on_both_engines, send};
use crate::support::process::GateProcess;
use crate::support::terminal::Terminal;

on_both_engines!(
    a_crash_before_the_head_is_replaced_is_finished_by_the_next_start,
    a_restore_before_the_head_is_replaced_is_recovered_again,
    a_log_that_forked_goes_on_too,
    the_command_tells_what_is_lost_and_what_to_pin,
);

/// Alice's signature over a statement, as her browser would send it.
fn signed(scene: &mut Scene, statement: &FrozenRecovery) -> UnverifiedAssertion {
    let key = scene.alice.authenticator.newest_credential().unwrap();
    let options = json!({
        "challenge": encode(statement.challenge().as_bytes()),
        "rpId": "localhost",
        "userVerification": "required",
        "allowCredentials": [{"type": "public-key", "id": key}],
    });
    let signed = scene.alice.authenticator.assert(&options, &scene.gate.servers.gate).unwrap();
    serde_json::from_value(signed).unwrap()
}

/// Signs and writes the recovery without any gate that would follow the log: what a gate that is killed
/// right after its commit leaves behind.
async fn written_and_killed(scene: &mut Scene) {
    let (statement, links) = scene.prepared().await.unwrap();
    scene.process.stop().await;
    let assertion = signed(scene, &statement);
    let (trust, seen) = (scene.trust(), scene.seen());
    let memory = storage(&scene.gate).await;
    let now = Clock::system().now();
    let secret = recover::open(&memory, &links[0], now).await.unwrap();
    // Killed before the commit: the signature is kept, and nothing else happened.
    let kept = RecoverySignature {
        credential: assertion.raw_id.clone(),
        authenticator_data: encode(&assertion.authenticator_data),
        client_data_json: encode(&assertion.client_data_json),
        signature: encode(&assertion.signature),
        user_handle: assertion.user_handle.as_deref().map(encode),
    };
    assert!(memory.sign_recovery_link(&Digest::of(&links[0]), &kept).await.unwrap());
    memory.close().await;
    drop(memory);
    scene.process.start_again_to_refuse().await;
    scene.still_stopped().await;
    scene.process.stop().await;
    // Whoever signs once more through the same link has it carried out.
    let memory = storage(&scene.gate).await;
    let done = recover::sign(&memory, &trust, &seen, &secret, &assertion, now).await.unwrap();
    assert!(done);
    memory.close().await;
    drop(memory);
    assert_eq!(scene.seen(), seen, "the head outside is still the lost one");
}

async fn a_crash_before_the_head_is_replaced_is_finished_by_the_next_start(engine: Engine) {
    let mut scene = Scene::new(engine, 1).await;
    let yesterday = scene.backup().await;
    scene.assert_works().await;
    scene.gate.clear_journal().await;
    scene.restore(&yesterday).await;
    written_and_killed(&mut scene).await;
    scene.process.start_again().await;
    scene.going_on().await;
    assert_eq!(scene.seen().lineage.recoveries, 1);
    assert_eq!(scene.gate.changes_of_cloud_run().await, 0);
    scene.assert_works().await;
    scene.end().await;
}

async fn a_restore_before_the_head_is_replaced_is_recovered_again(engine: Engine) {
    let mut scene = Scene::new(engine, 1).await;
    let yesterday = scene.backup().await;
    scene.gate.asked(json!({})).await;
    scene.restore(&yesterday).await;
    written_and_killed(&mut scene).await;
    yesterday.restore().await;
    scene.process.start_again_to_refuse().await;
    scene.stopped("the database lost what came after").await;
    scene.still_stopped().await;
    let again = scene.recover().await;
    assert!(again.predicate().new_name.ends_with("/log/recovered-1"));
    scene.assert_works().await;
    scene.end().await;
}

async fn a_log_that_forked_goes_on_too(engine: Engine) {
    let mut scene = Scene::new(engine, 1).await;
    let yesterday = scene.backup().await;
    scene.gate.asked(json!({})).await;
    scene.process.stop().await;
    let lost = scene.seen();
    yesterday.restore().await;
    // A gate that kept no head outside wrote on: the log is as long as the other one, and another one.
    let memory = storage(&scene.gate).await;
    while memory.head().await.unwrap().size() < lost.size + 2 {
        let mut writer = memory.begin().await.unwrap();
        writer.record("gate.started", json!({}), Clock::system().now()).await.unwrap();
        writer.commit().await.unwrap();
    }
    memory.close().await;
    drop(memory);
    scene.process.start_again_to_refuse().await;
    scene.stopped("are not those that were seen before").await;
    let (statement, links) = scene.prepared().await.unwrap();
    assert_eq!(statement.predicate().lost(), None);
    let mut link = scene.opened(&links[0]).await;
    assert!(link.page().await.contains("are not those that were seen"));
    link.sign(&mut scene.alice).await.unwrap();
    scene.going_on().await;
    scene.assert_works().await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn gates_that_run_through_a_failover_go_on_together() {
    let mut scene = Scene::new(Engine::Postgres, 1).await;
    let witness = format!(
        "\n[[witness]]\nkey = \"{}\"\nurl = \"{}/witness/w\"\n",
        verifier_key("w"),
        scene.gate.servers.sandbox
    );
    scene.gate.servers.files.edit_config(|text| text + &witness).unwrap();
    scene.process.stop().await;
    scene.process.start_again().await;
    scene.gate.sign_rules(&mut [&mut scene.alice]).await;
    scene.watched(&scene.trust()).await;
    let behind = scene.backup().await;
    let other = GateProcess::start_another(&scene.gate).await;
    scene.assert_works().await;
    scene.gate.asked(json!({})).await;
    let signed_by_witness = async || {
        let health = send(scene.gate.http.get(format!("{}/health/ready", other.address))).await;
        health.body["witnesses"][0]["signed"].as_u64()
    };
    let note = scene.checkpoint().await;
    let lost: u64 = note.lines().nth(1).unwrap().parse().unwrap();
    scene.gate.until("the witness signs", async || signed_by_witness().await >= Some(lost)).await;
    scene.gate.clear_journal().await;
    // Both are connected, and know entries that the replica never got.
    behind.restore().await;
    scene.stopped("the database lost what came after").await;
    let (_, links) = scene.prepared().await.unwrap();
    let mut link = scene.opened(&links[0]).await;
    link.sign(&mut scene.alice).await.unwrap();
    scene.going_on().await;
    let readiness = format!("{}/health/ready", other.address);
    scene
        .gate
        .until("the other gate goes on", async || {
            send(scene.gate.http.get(&readiness)).await.status == 200
        })
        .await;
    // A gate that offered the longer log before offers the one that goes on.
    scene.watched(&scene.trust().after(1)).await;
    let signs_the_new = async || {
        let health = send(scene.gate.http.get(format!("{}/health/ready", other.address))).await;
        health.body["witnesses"][0]["signed"].as_u64().is_some_and(|size| size < lost)
    };
    scene.gate.until("the witness signs the log that goes on", signs_the_new).await;
    assert_eq!(scene.gate.changes_of_cloud_run().await, 0);
    for address in [&scene.gate.servers.gate, &other.address] {
        let shown = send(scene.gate.http.get(format!("{address}/log/checkpoint"))).await;
        assert!(shown.body.as_str().unwrap().contains("/log/recovered-1\n"), "{shown:?}");
    }
    scene.assert_works().await;
    other.end().await;
    scene.end().await;
}

fn command(arguments: &[&str]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
    let output = command.args(arguments).env_clear().stdin(Stdio::null()).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(said).unwrap())
}

async fn the_command_tells_what_is_lost_and_what_to_pin(engine: Engine) {
    let mut scene = Scene::new(engine, 1).await;
    let config = scene.gate.servers.files.config.display().to_string();
    let folder = scene.gate.servers.files.folder.clone();
    let path = |name: &str| folder.join(name).display().to_string();
    let (_, old) = command(&["config", "trust", "--config", &config]);
    std::fs::write(path("old.json"), &old).unwrap();
    let (code, said) = command(&["recover", "--config", &config]);
    assert!(code == 2 && said.contains("on a terminal alone"), "{said}");
    scene.process.stop().await;
    let mut nothing = Terminal::run(&scene.gate, "recover");
    nothing.line_with("there is nothing to recover");
    assert_eq!(nothing.ended().code(), Some(1));
    scene.process.start_again().await;

    let yesterday = scene.backup().await;
    scene.gate.asked(json!({})).await;
    scene.restore(&yesterday).await;
    if engine == Engine::Sqlite {
        // The file is for one process, which serves the page itself.
        scene.process.stop().await;
    }
    let mut terminal = Terminal::run(&scene.gate, "recover");
    terminal.line_with("entries when it was last seen");
    terminal.line_with("lost ");
    let link = terminal.line_with("/recovery#");
    let (address, token) = link.split_once('#').unwrap();
    assert_eq!((address, token.len()), (scene.gate.url("/recovery").as_str(), 43));
    assert!(terminal.line_with("Who can sign").contains("u-alice, u-bob"));
    crate::support::process::until_live(&scene.gate.servers.gate).await;
    let mut link = scene.opened(token).await;
    link.sign(&mut scene.alice).await.unwrap();
    terminal.line_with("The log was recovered");
    let pin = terminal.line_with("\"log\":");
    terminal.interrupt();
    assert!(terminal.ended().success());
    if engine == Engine::Sqlite {
        scene.process.start_again().await;
    }
    scene.going_on().await;
    scene.assert_works().await;

    // What it printed is what auditors pin; who pinned the old name is told.
    let (_, new) = command(&["config", "trust", "--config", &config]);
    assert!(new.contains(&pin) && !old.contains(&pin), "{pin} is not in {new}");
    std::fs::write(path("new.json"), &new).unwrap();
    let out = path("export");
    let period = ["--from", "2000-01-01", "--to", "2100-01-01", "--out", &out];
    let arguments = [&["audit", "export", "--config", &config][..], &period].concat();
    let (code, said) = command(&arguments);
    assert_eq!(code, 0, "{said}");
    let (code, said) = command(&["audit", "verify", &out, "--trust", &path("new.json")]);
    assert_eq!(code, 0, "{said}");
    let (code, said) = command(&["audit", "verify", &out, "--trust", &path("old.json")]);
    assert!(code == 1 && said.contains("read the log.recovered entry"), "{said}");
    let entries = std::fs::read_to_string(format!("{out}/entries.jsonl")).unwrap();
    assert_eq!(entries.matches("log.recovered").count(), 1, "{entries}");
    // Anchors that do not know who signed it do not accept it.
    let mut others: Value = serde_json::from_str(&new).unwrap();
    others["endorsers"] = json!([]);
    std::fs::write(path("others.json"), others.to_string()).unwrap();
    let (code, said) = command(&["audit", "verify", &out, "--trust", &path("others.json")]);
    assert!(code == 1 && said.contains("not pinned"), "{said}");
    let (code, said) = command(&["audit", "verify", "--config", &config]);
    assert_eq!(code, 0, "{said}");
    // Without anybody whose key is pinned there is no way back, and the command says what there is.
    let text = std::fs::read_to_string(&config).unwrap();
    let unpinned =
        |line: &&str| !line.starts_with("endorsers") && !line.starts_with("recovery_signatures");
    let text: String = text.lines().filter(unpinned).map(|line| format!("{line}\n")).collect();
    scene.process.stop().await;
    let right = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text).unwrap();
    let mut nobody = Terminal::run(&scene.gate, "recover");
    nobody.line_with("pins nobody's key");
    assert_eq!(nobody.ended().code(), Some(1));
    std::fs::write(&config, right).unwrap();
    scene.process.start_again().await;
    scene.end().await;
}
