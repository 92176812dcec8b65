//! Somebody who trusts nobody follows the log: checkpoints, tiles, entries.

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use countersign::domain::digest::Digest;
use countersign::domain::ledger::{Frontier, leaf_hash};
use countersign::domain::statement::pre_authentication_encoding;
use data_encoding::BASE64;
use serde_json::{Value, json};

use crate::support::gate::{Engine, Gate, on_both_engines, send};

on_both_engines!(
    a_stranger_can_recompute_the_tree,
    tiles_that_are_not_there_are_refused,
    a_verdict_is_summed_up_for_slsa_verifiers,
);

/// The size and root that the gate signs now.
async fn checkpoint(gate: &Gate) -> (u64, Digest) {
    let answer = gate.http.get(gate.url("/log/checkpoint")).send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "text/plain; charset=utf-8");
    assert_eq!(answer.headers()["cache-control"], "no-store");
    let note = answer.text().await.unwrap();
    let lines: Vec<&str> = note.split('\n').collect();
    let name = format!("{}/log", gate.servers.gate.trim_start_matches("http://"));
    assert_eq!((lines[0], lines[3], lines.len()), (name.as_str(), "", 6));
    assert!(lines[4].starts_with(&format!("\u{2014} {name} ")));
    let root = BASE64.decode(lines[2].as_bytes()).unwrap().try_into().unwrap();
    (lines[1].parse().unwrap(), Digest::from_bytes(root))
}

async fn bytes(gate: &Gate, path: &str) -> Vec<u8> {
    let answer = gate.http.get(gate.url(path)).send().await.unwrap();
    assert_eq!(answer.status(), 200, "{path}");
    assert!(answer.headers()["cache-control"].to_str().unwrap().contains("immutable"));
    answer.bytes().await.unwrap().to_vec()
}

async fn a_stranger_can_recompute_the_tree(engine: Engine) {
    let gate = Gate::start(engine).await;
    // More than one full tile.
    let mut alice = gate.approver("alice").await;
    let id = gate.asked(json!({"subject": {"steps": [100]}})).await;
    alice.approve(&id).await.unwrap();
    gate.ended(&id).await;
    for _ in 0..10 {
        futures::future::join_all((0..25).map(|_| gate.asked(json!({})))).await;
    }
    let (size, root) = checkpoint(&gate).await;
    assert!(size > 256, "{size}");
    let rest = size - 256;
    let mut leaves = bytes(&gate, "/log/tile/0/000").await;
    leaves.extend(bytes(&gate, &format!("/log/tile/0/001.p/{rest}")).await);
    let mut tree = Frontier::default();
    for leaf in leaves.as_chunks::<32>().0 {
        tree.append(Digest::from_bytes(*leaf));
        // The tile above has the root of each full tile below.
        if tree.size() == 256 {
            assert_eq!(bytes(&gate, "/log/tile/1/000.p/1").await, tree.root().as_bytes());
        }
    }
    assert_eq!((tree.size(), tree.root()), (size, root));
    // The entries are what the leaves are the hashes of.
    let entries = bytes(&gate, "/log/tile/entries/000").await;
    assert_eq!(entries.len(), 256 * 34);
    for (entry, leaf) in entries.as_chunks::<34>().0.iter().zip(leaves.as_chunks::<32>().0) {
        assert_eq!(entry[..2], [0, 32]);
        let entry = Digest::from_bytes(entry[2..].try_into().unwrap());
        assert_eq!(leaf_hash(&entry).as_bytes(), leaf);
    }
    gate.finish().await;
}

async fn tiles_that_are_not_there_are_refused(engine: Engine) {
    let gate = Gate::start(engine).await;
    gate.asked(json!({})).await;
    for path in
        ["0/000", "0/000.p/200", "0/001.p/1", "1/000.p/1", "9/000", "entries/000", "x", "0/../0"]
    {
        let answer = send(gate.http.get(gate.url(&format!("/log/tile/{path}")))).await;
        assert!(answer.status.is_client_error(), "{path}: {answer:?}");
    }
    let answer = send(gate.http.get(gate.url("/log/tile/0/000"))).await;
    answer.assert_problem(404, "no_such_tile");
    gate.finish().await;
}

async fn a_verdict_is_summed_up_for_slsa_verifiers(engine: Engine) {
    let gate = Gate::start(engine).await;
    let mut alice = gate.approver("alice").await;
    let id = gate.asked(json!({"subject": {"steps": [100]}})).await;
    let path = format!("/v1/approvals/{id}/verification-summary");
    gate.get(&path).await.assert_problem(409, "not_decided");
    alice.approve(&id).await.unwrap();
    gate.ended(&id).await;
    let envelope = gate.get(&path).await.body;
    let payload = BASE64.decode(envelope["payload"].as_str().unwrap().as_bytes()).unwrap();
    let kind = envelope["payloadType"].as_str().unwrap();
    let signature = BASE64.decode(envelope["signatures"][0]["sig"].as_str().unwrap().as_bytes());
    let key = envelope["signatures"][0]["keyid"].as_str().unwrap().splitn(3, '+').nth(2).unwrap();
    let key = BASE64.decode(key.as_bytes()).unwrap();
    UnparsedPublicKey::new(&ED25519, &key[1..])
        .verify(&pre_authentication_encoding(kind, &payload), &signature.unwrap())
        .unwrap();
    let statement: Value = serde_json::from_slice(&payload).unwrap();
    assert_eq!(statement["predicateType"], "https://slsa.dev/verification_summary/v1");
    let predicate = &statement["predicate"];
    assert_eq!(predicate["verificationResult"], "PASSED");
    assert_eq!(predicate["verifier"]["id"], gate.servers.gate);
    let image = gate.approval(&id).await["subject"]["image"].as_str().unwrap().to_owned();
    assert!(image.ends_with(statement["subject"][0]["digest"]["sha256"].as_str().unwrap()));
    let refused = gate.asked(json!({})).await;
    alice.decide(&refused, json!({"decision": "reject"})).await.unwrap();
    let path = format!("/v1/approvals/{refused}/verification-summary");
    let payload = gate.get(&path).await.body["payload"].as_str().unwrap().to_owned();
    let statement: Value =
        serde_json::from_slice(&BASE64.decode(payload.as_bytes()).unwrap()).unwrap();
    assert_eq!(statement["predicate"]["verificationResult"], "FAILED");
    gate.finish().await;
}
