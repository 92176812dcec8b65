//! The first key: a link on a terminal, once, and what to pin of it.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use countersign::cli::demo::approver::Approver;
use countersign::cli::demo::pipeline::until_ready;
use countersign::config::Config;
use serde_json::json;

use crate::support::gate::{Engine, Gate, on_both_engines};
use crate::support::terminal::Terminal;

on_both_engines!(the_first_key_is_registered_and_pinned);

fn unpinned(config: String) -> String {
    let pins = |line: &&str| !line.starts_with("login_keys") && !line.starts_with("workload_keys");
    config.lines().filter(pins).map(|line| format!("{line}\n")).collect::<String>()
        + "\n[enrolment]\nendorsements = 1\n"
}

async fn the_first_key_is_registered_and_pinned(engine: Engine) {
    // The gate runs in the process of the command; its surroundings here.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let gate = Gate::around(engine, port).await;
    gate.servers.files.edit_config(unpinned).unwrap();
    let mut command = Terminal::run(&gate, "keys bootstrap");
    let link = command.line_with("/keys/first#");
    let (address, token) = link.split_once('#').unwrap();
    assert_eq!((address, token.len()), (gate.url("/keys/first").as_str(), 43));
    until_ready(&gate.servers.gate).await.unwrap();
    // Somebody else registers a key meanwhile, without the link.
    let other = gate.approver("bob").await;
    let mut alice = Approver::new(&gate.servers.gate).unwrap();
    let body = json!({"token": token});
    assert!(alice.browser.post("/keys/first", &body).await.unwrap_err().contains("401"));
    assert!(alice.browser.open("/keys/first", "alice").await.unwrap().contains("Sign in"));
    alice.sign_in("alice").await.unwrap();
    let refused = alice.browser.post("/keys/first", &json!({"token": "x"})).await.unwrap_err();
    assert!(refused.contains("409"), "{refused}");
    alice.browser.post("/keys/first", &body).await.unwrap();
    let again = alice.browser.post("/keys/first", &body).await.unwrap_err();
    assert!(again.contains("was opened before"), "{again}");
    alice.register_key().await.unwrap();
    let person = command.line_with("person");
    assert!(person.contains("Alice Adler") && person.contains("u-alice"), "{person}");
    let code = command.line_with("code").split_whitespace().nth(1).unwrap().replace(',', "");
    let pin = command.line_with("endorsers = ");
    command.line_with("stop it with Ctrl-C");
    let own = alice.browser.open("/keys", "alice").await.unwrap();
    assert!(own.contains(&code), "the codes can be compared: {own}");
    command.interrupt();
    assert!(command.ended().success());
    // What it printed is what makes the gate pinned, and Alice the first who can sign.
    let gate = gate
        .restart_with(|text| unpinned(text).replace("[trust]\n", &format!("[trust]\n{pin}\n")))
        .await;
    let own = alice.browser.open("/keys", "alice").await.unwrap();
    assert!(own.contains(&code) && own.contains("pinned in the configuration"), "{own}");
    assert!(!own.contains("Unpinned"), "{own}");
    let id = gate.asked(json!({})).await;
    alice.approve(&id).await.unwrap();
    assert_eq!(gate.ended(&id).await["status"], "succeeded");
    alice.endorse(&other.authenticator.newest_credential().unwrap()).await.unwrap();
    let config = Config::load(&gate.servers.files.config, &BTreeMap::new()).unwrap();
    assert_eq!(config.trust().level().as_str(), "pinned");
    // With a key pinned there is no other first one.
    gate.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_link_is_for_terminals_alone() {
    let gate = Gate::start(Engine::Sqlite).await;
    let run = |stdin| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
        let command = command.args(["keys", "bootstrap", "--config"]).env_clear();
        command.arg(&gate.servers.files.config).stdin(stdin).output().unwrap()
    };
    let output = run(Stdio::null());
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("on a terminal alone"), "{said}");
    assert!(output.stdout.is_empty());
    gate.finish().await;
}
