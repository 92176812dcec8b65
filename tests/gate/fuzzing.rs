//! The fuzz targets on stable Rust: over the saved corpus and random changes of it. `cargo fuzz` goes
//! further where there is a nightly compiler, with the same functions.

use std::path::{Path, PathBuf};

use countersign::proof::base64url;
use countersign::proof::evidence::Evidence;
use serde_json::{Value, json};

use crate::evidence::damage::{Numbers, edited, random_edit};

#[path = "../fuzz/targets.rs"]
mod targets;

/// How many random changes of each saved input are tried.
const CHANGES: usize = 150;
/// Set it to write the corpus anew, after the format changed: together with the vectors it comes from.
const REWRITE: &str = "COUNTERSIGN_REWRITE_VECTORS";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz")
}

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = folder().join("corpus").join(target);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|_| panic!("{target} has no corpus"));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| std::fs::read(path).unwrap()).collect()
}

#[test]
fn no_parser_panics() {
    for (name, target) in targets::TARGETS {
        let saved = corpus(name);
        assert!(!saved.is_empty(), "{name} has no corpus");
        for input in saved {
            target(&input);
            let mut numbers = Numbers(input.len() as u64);
            // The largest are files of evidence, which take a while each.
            let changes = if input.len() > 10_000 { CHANGES / 5 } else { CHANGES };
            for _ in 0..changes {
                let mut bytes = input.clone();
                for _ in 0..=numbers.below(4) {
                    bytes = edited(&bytes, &random_edit(&mut numbers, &bytes));
                }
                target(&bytes);
                target(&bytes[..numbers.below(bytes.len() + 1)]);
            }
        }
        target(&[]);
        target(&[0xff; 64]);
        target("[".repeat(5_000).as_bytes());
    }
}

#[test]
fn every_target_can_be_fuzzed() {
    let manifest = std::fs::read_to_string(folder().join("Cargo.toml")).unwrap();
    for (name, _) in targets::TARGETS {
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name} is not in the manifest");
        let path = folder().join(format!("fuzz_targets/{name}.rs"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|_| panic!("{path:?}"));
        assert!(text.contains(&format!("targets::{name}(data)")), "{path:?} calls another target");
    }
    let files = std::fs::read_dir(folder().join("fuzz_targets")).unwrap().count();
    assert_eq!(files, targets::TARGETS.len());
}

/// The corpus is cut out of the saved vectors.
#[test]
#[expect(clippy::disallowed_methods, reason = "whoever changes the format says so")]
fn the_corpus_is_that_of_the_vectors() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/evidence");
    let trust = std::fs::read(data.join("trust.json")).unwrap();
    let good = std::fs::read(data.join("good-rejected.json")).unwrap();
    let evidence: Evidence = serde_json::from_slice(&good).unwrap();
    let decision = &evidence.decisions[0];
    let registration: Value = serde_json::from_str(&evidence.credentials[0].registration).unwrap();
    let decoded = |text: &str| base64url::decode(text).unwrap();
    let object = decoded(registration["response"]["attestationObject"].as_str().unwrap());
    let key = countersign::proof::registration::read_attestation_object(&object).unwrap();
    let assertion = json!({
        "id": decision.credential_id, "rawId": decision.credential_id, "type": "public-key",
        "response": {
            "authenticatorData": decision.authenticator_data,
            "clientDataJSON": decision.client_data_json,
            "signature": decision.signature,
        },
    });
    let body = json!({
        "environment": "production", "reason": "Fixes the checkout on phones", "expires_in": "8h",
        "subject": {
            "kind": "deployment", "service": "projects/demo/locations/europe-west1/services/web",
            "image": format!("europe-docker.pkg.dev/demo/app/web@sha256:{}", "a".repeat(64)),
            "template": {"containers": [{"env": [{"name": "A", "value": "1"}]}]}, "steps": [10, 100],
        },
        "links": [{"title": "Changes", "url": "https://example.com/"}],
    });
    let inputs: Vec<(&str, &str, Vec<u8>)> = vec![
        ("assertion", "good", assertion.to_string().into()),
        ("attestation_object", "good", object),
        ("authenticator_data", "good", decoded(&decision.authenticator_data)),
        ("checkpoint", "good", evidence.checkpoint.clone().into()),
        ("client_data", "good", decoded(&decision.client_data_json)),
        ("documents", "deployment", evidence.deployment.clone().into()),
        ("documents", "record", evidence.entries[0].record.clone().into()),
        ("documents", "statement", decision.statement.clone().into()),
        ("evidence", "good", good.clone()),
        ("json", "good", evidence.policy.clone().into()),
        ("jwk", "good", decision.sign_in.key.clone().into()),
        ("public_key", "good", key.public_key.cose().to_vec()),
        ("registration", "good", evidence.credentials[0].registration.clone().into()),
        ("request_body", "good", body.to_string().into()),
        ("token", "good", evidence.requester.token().unwrap().token.clone().into()),
        ("trust", "good", trust),
    ];
    for (target, name, input) in inputs {
        let path = folder().join("corpus").join(target).join(name);
        if std::env::var(REWRITE).is_ok() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, &input).unwrap();
        }
        assert_eq!(std::fs::read(&path).unwrap(), input, "{path:?}");
    }
}
