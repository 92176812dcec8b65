//! Damaged assertions: whatever is changed in what an authenticator and a browser answered, the signature
//! over it does not hold any more. Every case is left for the second verifier.

use countersign::proof::assertion::verify_from_record;
use countersign::proof::base64url;
use countersign::sandbox::authenticator::KeyAlgorithm;
use serde_json::{Value, json};

use crate::ceremony::{ORIGIN, RP_ID, Signer};
use crate::evidence::damage::{Edit, Numbers, edited, random_edit, written};
use crate::public_keys::{WRONG_SPELLINGS, other_s};
use crate::support::bundles::leave;

/// How many assertions are damaged at random, for each algorithm.
const RANDOM: usize = 18_000;

/// One key's signature, and damaged copies of it.
struct Run {
    signer: Signer,
    /// Authenticator data, client data, signature.
    parts: [Vec<u8>; 3],
    cases: Vec<Value>,
}

impl Run {
    fn new(algorithm: KeyAlgorithm) -> Self {
        let mut signer = Signer::new(algorithm);
        let signed = signer.sign(&[]);
        let parts = [signed.authenticator_data, signed.client_data_json, signed.signature];
        let run = Self { signer, parts, cases: Vec::new() };
        assert!(run.verifies(&run.parts));
        run
    }

    fn verifies(&self, parts: &[Vec<u8>; 3]) -> bool {
        let [authenticator_data, client_data_json, signature] = parts.clone();
        let id = base64url::encode(&self.signer.record.id);
        let unverified = countersign::proof::assertion::UnverifiedAssertion {
            id: id.clone(),
            raw_id: id,
            authenticator_data,
            client_data_json,
            signature,
            user_handle: None,
        };
        verify_from_record(&self.signer.expectation(), &unverified).is_ok()
    }

    /// The assertion with one part damaged must be refused.
    fn refused(&mut self, part: usize, edits: &[Edit]) {
        let mut parts = self.parts.clone();
        parts[part] = edited(&parts[part], edits);
        if parts == self.parts {
            return;
        }
        assert!(!self.verifies(&parts), "a damaged assertion verifies: part {part}, {edits:?}");
        self.cases.push(json!([part, written(edits)]));
    }

    fn damage(&mut self, seed: u64) {
        for part in 0..3 {
            let bytes = self.parts[part].clone();
            for at in 0..bytes.len() {
                for bit in 0..8 {
                    self.refused(part, &[(at, 1, vec![bytes[at] ^ (1 << bit)])]);
                }
                self.refused(part, &[(at, bytes.len() - at, Vec::new())]);
                self.refused(part, &[(at, 1, Vec::new())]);
            }
            for byte in 0..=u8::MAX {
                self.refused(part, &[(bytes.len(), 0, vec![byte])]);
                self.refused(part, &[(0, 0, vec![byte])]);
            }
        }
        let mut numbers = Numbers(seed);
        for _ in 0..RANDOM {
            let part = numbers.below(3);
            let mut bytes = self.parts[part].clone();
            let mut edits = Vec::new();
            for _ in 0..=numbers.below(3) {
                let edit = random_edit(&mut numbers, &bytes);
                bytes = edited(&bytes, &edit);
                edits.extend(edit);
            }
            self.refused(part, &edits);
        }
    }

    fn leave(self, name: &str) {
        let count = self.cases.len();
        assert!(count > RANDOM, "only {count} cases");
        let run = json!({
            "key": base64url::encode(self.signer.record.public_key.cose()),
            "challenge": base64url::encode(&self.signer.challenge),
            "origin": ORIGIN,
            "rp_id": RP_ID,
            "assertion": self.parts.each_ref().map(|part| base64url::encode(part)),
            "count": count,
            "damage": self.cases,
        });
        leave(&format!("damage-assertion-{name}"), &run);
    }
}

#[test]
fn no_damaged_assertion_of_p_256_verifies() {
    let mut run = Run::new(KeyAlgorithm::Es256);
    let signature = run.parts[2].clone();
    for change in WRONG_SPELLINGS {
        run.refused(2, &[(0, signature.len(), change(&signature))]);
    }
    // Not damage but a second signature that anybody can make from the first: it verifies, so nothing may
    // be recognised by the bytes of its signature.
    let [data, client_data, signature] = run.parts.clone();
    assert!(run.verifies(&[data, client_data, other_s(&signature)]));
    run.damage(1);
    run.leave("es256");
}

#[test]
fn no_damaged_assertion_of_p_384_verifies() {
    let mut run = Run::new(KeyAlgorithm::Es384);
    run.damage(2);
    run.leave("es384");
}

#[test]
fn no_damaged_assertion_of_ed25519_verifies() {
    let mut run = Run::new(KeyAlgorithm::EdDsa);
    run.damage(3);
    run.leave("eddsa");
}

#[test]
fn no_damaged_assertion_of_rsa_verifies() {
    let mut run = Run::new(KeyAlgorithm::Rs256);
    run.damage(4);
    run.leave("rs256");
}
