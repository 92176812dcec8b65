//! Witnesses: who does not sign holds nothing up, what is no signature of theirs is not kept, and who saw
//! another log is heard.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use countersign::config::Config;
use countersign::domain::digest::Digest;
use countersign::domain::ledger::Frontier;
use countersign::domain::period::Period;
use countersign::domain::tree::{Node, consistency_path, fold_subtrees};
use countersign::proof::checkpoint::TrustedLog;
use countersign::proof::cosignature::Witness;
use countersign::proof::evidence::Trust;
use countersign::proof::export::FlawCode;
use countersign::proof::verify::{Code, verify};
use countersign::sandbox::witness::{is_consistent, verifier_key};
use reqwest::Method;
use serde_json::{Value, json};

use crate::evidence::tamper;
use crate::export::{exported, text, verdict, verdict_on_contents};
use crate::support::gate::{Engine, Gate, on_both_engines, send};

on_both_engines!(
    a_witness_that_does_not_sign_holds_nothing_up,
    a_rollout_waits_for_witnesses_that_are_required,
    a_witness_that_saw_another_log_raises_an_alarm,
    what_a_witness_signed_is_shown_and_proved,
);

/// Longer than a witness is left out of after its first failures.
const PATIENCE: u32 = 400;

/// A gate with these witnesses of the sandbox, which know its log unless their name says otherwise.
async fn watched(engine: Engine, names: &[&str], required: u8) -> Gate {
    let gate = Gate::start_with(engine, |config| {
        let sandbox = config.split("endpoint = \"").nth(1).unwrap().split('"').next().unwrap();
        let witnesses = names.iter().map(|name| {
            let key = verifier_key(name);
            format!("\n[[witness]]\nkey = \"{key}\"\nurl = \"{sandbox}/witness/{name}\"\n")
        });
        let required = format!("[trust]\nwitnesses_required = {required}\n");
        let witnesses: String = witnesses.collect();
        config.replacen("[trust]\n", &required, 1) + &witnesses
    })
    .await;
    for name in names.iter().filter(|name| **name != "stranger") {
        tell(&gate, name, json!({"log": trust(&gate).log})).await;
    }
    gate
}

fn trust(gate: &Gate) -> Trust {
    Config::load(&gate.servers.files.config, &BTreeMap::new()).unwrap().trust()
}

async fn tell(gate: &Gate, name: &str, lever: Value) -> Value {
    gate.sandbox(Method::PUT, &format!("/_sandbox/witness/{name}"), Some(lever)).await
}

/// How a witness stands.
async fn standing(gate: &Gate, name: &str) -> Value {
    let health = send(gate.http.get(gate.url("/health/ready"))).await;
    assert_eq!(health.status, 200, "{health:?}");
    let mut all = health.body["witnesses"].as_array().unwrap().clone().into_iter();
    all.find(|one| one["name"] == name).unwrap()
}

/// Waits until a witness stands like this.
async fn until(gate: &Gate, name: &str, holds: impl Fn(&Value) -> bool) -> Value {
    for _ in 0..PATIENCE {
        let found = standing(gate, name).await;
        if holds(&found) {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{name} stands otherwise: {:#}", standing(gate, name).await);
}

async fn note(gate: &Gate) -> String {
    gate.http.get(gate.url("/log/checkpoint")).send().await.unwrap().text().await.unwrap()
}

/// Waits until the newest head has the line of a witness.
async fn until_cosigned(gate: &Gate) -> String {
    for _ in 0..PATIENCE {
        let note = note(gate).await;
        if note.lines().count() > 5 {
            return note;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("nobody signed: {}", note(gate).await);
}

async fn rolls_out(gate: &Gate) -> String {
    let mut alice = gate.approver("alice").await;
    let id = gate.asked(json!({"subject": {"steps": [100]}})).await;
    alice.approve(&id).await.unwrap();
    assert_eq!(gate.ended(&id).await["status"], "succeeded");
    id
}

async fn file(gate: &Gate, id: &str) -> Vec<u8> {
    let url = gate.url(&format!("/v1/approvals/{id}/evidence"));
    let request = gate.http.get(url).bearer_auth(gate.token(json!({})).await);
    request.send().await.unwrap().bytes().await.unwrap().to_vec()
}

async fn a_witness_that_does_not_sign_holds_nothing_up(engine: Engine) {
    let cases = [
        ("down", json!({"answers": 503}), "it answered 503"),
        ("forbids", json!({"answers": 403}), "knows this log under another key"),
        ("wrong", json!("wrong_signature"), "no line of its answer is a signature of its key"),
        ("other", json!("other_key"), "no line of its answer is a signature of its key"),
        ("ahead", json!("future"), "which is to come"),
        ("slow", json!({"slow": 60_000}), "no answer from"),
        ("stranger", json!("honest"), "does not know this log"),
    ];
    let names: Vec<&str> = cases.iter().map(|(name, ..)| *name).collect();
    let gate = watched(engine, &names, 0).await;
    for (name, behaviour, _) in &cases {
        tell(&gate, name, json!({"behaviour": behaviour})).await;
    }
    let id = rolls_out(&gate).await;
    for (name, _, fault) in &cases {
        let found =
            until(&gate, name, |one| one["fault"].as_str().is_some_and(|why| why.contains(fault)))
                .await;
        assert_eq!(found["alarm"], false, "{found:#}");
    }
    // Whoever signed before it was told otherwise may be in it; nobody who did not.
    let verified = gate.proved(&id).await;
    assert!(verified.cosigned().iter().all(|one| !["stranger"].contains(&one.witness.as_str())));
    gate.finish().await;
}

async fn a_rollout_waits_for_witnesses_that_are_required(engine: Engine) {
    let gate = watched(engine, &["w1", "w2"], 2).await;
    tell(&gate, "w2", json!({"behaviour": {"answers": 503}})).await;
    let mut alice = gate.approver("alice").await;
    let id = gate.asked(json!({"subject": {"steps": [100]}})).await;
    alice.approve(&id).await.unwrap();
    until(&gate, "w1", |one| one["signed"].is_u64()).await;
    until(&gate, "w2", |one| one["fault"].is_string()).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(gate.approval(&id).await["status"], "approved");
    assert_eq!(gate.changes_of_cloud_run().await, 0);
    let failure = verify(&file(&gate, &id).await, &trust(&gate)).unwrap_err();
    assert_eq!(failure.code(), Code::NotWitnessed);
    // Rows that somebody planted are no signatures.
    let (name, w2) = ("size, witness, cosignature", verifier_key("w2"));
    let planted = format!(
        "INSERT INTO cosignatures ({name}) SELECT size, '{w2}', cosignature FROM cosignatures WHERE witness <> '{w2}'"
    );
    tamper(&gate, &planted).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(gate.changes_of_cloud_run().await, 0);
    tell(&gate, "w2", json!({"behaviour": "honest"})).await;
    assert_eq!(gate.ended(&id).await["status"], "succeeded");
    assert!(gate.changes_of_cloud_run().await > 0);
    until(&gate, "w2", |one| one["fault"].is_null()).await;
    until_cosigned(&gate).await;
    let verified = gate.proved(&id).await;
    assert_eq!(verified.cosigned().iter().filter(|one| one.is_pinned).count(), 2);
    gate.finish().await;
}

async fn a_witness_that_saw_another_log_raises_an_alarm(engine: Engine) {
    let gate = watched(engine, &["w1", "w2"], 0).await;
    until(&gate, "w1", |one| one["signed"].is_u64()).await;
    until(&gate, "w2", |one| one["signed"].is_u64()).await;
    tell(&gate, "w1", json!({"behaviour": {"claims": 1_000_000}})).await;
    tell(&gate, "w2", json!({"behaviour": {"answers": 422}})).await;
    let mut alice = gate.approver("alice").await;
    let found = until(&gate, "w1", |one| one["alarm"] == true).await;
    assert!(found["fault"].as_str().unwrap().contains("a log of 1000000 entries"), "{found:#}");
    let found = until(&gate, "w2", |one| one["alarm"] == true).await;
    assert!(found["fault"].as_str().unwrap().contains("does not go on from"), "{found:#}");
    let page = alice.browser.open("/", "alice").await.unwrap();
    assert!(page.contains("The witness w1 does not sign the log"), "{page}");
    // It is a stranger's word, and stops nothing.
    let id = gate.asked(json!({"subject": {"steps": [100]}})).await;
    alice.approve(&id).await.unwrap();
    assert_eq!(gate.ended(&id).await["status"], "succeeded");
    // That it is down does not end the alarm; that it signs does.
    tell(&gate, "w1", json!({"behaviour": {"answers": 500}})).await;
    gate.asked(json!({})).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(standing(&gate, "w1").await["alarm"], true);
    for name in ["w1", "w2"] {
        tell(&gate, name, json!({"behaviour": "honest"})).await;
        until(&gate, name, |one| one["alarm"] == false && one["fault"].is_null()).await;
    }
    let page = alice.browser.open("/", "alice").await.unwrap();
    assert!(!page.contains("does not sign the log"), "{page}");
    gate.finish().await;
}

async fn what_a_witness_signed_is_shown_and_proved(engine: Engine) {
    let gate = watched(engine, &["w1"], 0).await;
    until(&gate, "w1", |one| one["signed"].is_u64()).await;
    let id = rolls_out(&gate).await;
    let (note, trust) = (until_cosigned(&gate).await, trust(&gate));
    // As any reader of signed notes: the log's line first, then the witness's.
    let lines: Vec<&str> = note.split_inclusive('\n').collect();
    let head = TrustedLog::parse(&trust.log).unwrap().verify(&lines[..5].concat()).unwrap();
    let witness = Witness::parse(&trust.witnesses[0]).unwrap();
    let (cosignature, _) = witness.find(lines[5], head.text()).unwrap();
    assert_eq!((lines.len(), lines[5]), (6, witness.line(cosignature).as_str()));
    let asking = Trust { witnesses_required: 1, ..trust.clone() };
    let verified = verify(&file(&gate, &id).await, &asking).unwrap();
    assert_eq!(verified.cosigned()[0].witness, "w1");
    // An auditor who pins somebody else is told so.
    let other = Trust { witnesses: vec![verifier_key("w9")], ..trust.clone() };
    let verified = verify(&file(&gate, &id).await, &other).unwrap();
    assert!(!verified.cosigned()[0].is_pinned);
    assert!(verified.checks().iter().any(|check| check.contains("none of them is pinned")));
    // Each offer went on from the one before, and the witness was told how.
    let offers = gate.calls("POST", "/witness/w1/add-checkpoint").await;
    let signed = offers.iter().filter(|call| call["status"] == 200);
    let olds = signed.map(|call| {
        let body = call["request"].as_str().unwrap();
        body.lines().next().unwrap().strip_prefix("old ").unwrap().parse::<u64>().unwrap()
    });
    let olds: Vec<u64> = olds.collect();
    assert!(olds.len() > 1 && olds.is_sorted(), "{olds:?}");
    exports_carry_it(&gate, &asking).await;
    // A row that is no signature is not shown, and bundles do without it.
    tamper(&gate, "UPDATE cosignatures SET cosignature = 'AAAA'").await;
    assert_eq!(self::note(&gate).await.lines().count(), 5);
    let verified = verify(&file(&gate, &id).await, &trust).unwrap();
    assert!(verified.cosigned().is_empty() && verified.is_approved());
    let failure = verify(&file(&gate, &id).await, &asking).unwrap_err();
    assert_eq!(failure.code(), Code::NotWitnessed);
    gate.finish().await;
}

/// The head of an export is one that the witness signed, and so is that of each bundle in it.
async fn exports_carry_it(gate: &Gate, asking: &Trust) {
    let file = "cosignatures.json";
    let mut files = exported(gate, Period::parse("2020-01-01", "2100-01-01").unwrap()).await;
    verdict(&files, asking).unwrap();
    let other = Trust { witnesses: vec![verifier_key("w9")], ..asking.clone() };
    assert_eq!(verdict(&files, &other).unwrap_err().code, FlawCode::NotWitnessed);
    let good = text(&files, file);
    for (changed, code) in [
        ("[]".to_owned(), FlawCode::NotWitnessed),
        (good.replace("w1+", "w2+"), FlawCode::CosignatureInvalid),
        (good.replacen("AAAA", "AAAB", 1), FlawCode::CosignatureInvalid),
        (good.replace('[', "[ "), FlawCode::CosignatureInvalid),
        (format!("{good}\n"), FlawCode::CosignatureInvalid),
        (String::new(), FlawCode::CosignatureInvalid),
    ] {
        assert_ne!(changed, good);
        files.insert(file.to_owned(), changed.clone().into_bytes().into());
        let flaw = verdict_on_contents(&files, asking).unwrap_err();
        assert_eq!((flaw.code, flaw.file.as_str()), (code, file), "{changed}");
    }
}

#[test]
fn proofs_of_growth_are_what_a_witness_asks_for() {
    let (mut tree, mut nodes) = (Frontier::default(), HashMap::<Node, Digest>::new());
    let mut roots = vec![tree.root()];
    for number in 0..70_u64 {
        nodes.extend(tree.append(Digest::of(number.to_be_bytes())));
        roots.push(tree.root());
    }
    let hash = |step: &Vec<Node>| {
        let parts: Vec<Digest> = step.iter().map(|node| nodes[node]).collect();
        *fold_subtrees(&parts).unwrap().as_bytes()
    };
    for size in 0..=70_u64 {
        for old in 0..=size {
            let root = |size: u64| roots[usize::try_from(size).unwrap()].as_bytes();
            let mut proof: Vec<[u8; 32]> = consistency_path(old, size).iter().map(hash).collect();
            assert!(is_consistent(old, size, root(old), root(size), &proof), "{old} {size}");
            if old == 0 || old == size {
                assert!(proof.is_empty());
                continue;
            }
            assert!(!is_consistent(old, size, &[0; 32], root(size), &proof), "{old} {size}");
            assert!(!is_consistent(old, size, root(old), &[0; 32], &proof), "{old} {size}");
            for place in 0..proof.len() {
                proof[place][7] ^= 1;
                assert!(!is_consistent(old, size, root(old), root(size), &proof), "{old} {size}");
                proof[place][7] ^= 1;
            }
            proof.push([0; 32]);
            assert!(!is_consistent(old, size, root(old), root(size), &proof), "{old} {size}");
        }
    }
}
