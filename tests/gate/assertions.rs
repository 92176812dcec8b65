//! The strict verifier: one accept and one reject for every check, and the W3C's own vectors.

use aws_lc_rs::digest::{SHA256, digest};
use countersign::proof::assertion::{
    CredentialRecord, Expectation, UnverifiedAssertion, judge_sign_count, verify,
    verify_from_record,
};
use countersign::proof::base64url;
use countersign::proof::public_key::{Algorithm, PublicKey};
use countersign::proof::registration::read_attestation_object;
use countersign::sandbox::authenticator::{Fault, KeyAlgorithm, SoftwareAuthenticator};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::ceremony::{ORIGIN, RP_ID, Signer, alice, member};
use super::public_keys::other_s;

const VECTORS: &str = include_str!("../data/webauthn-test-vectors.json");

/// What the strict policy (verified, device-bound, unframed) says to each vector of the W3C, all
/// of which are validly signed. Two have keys we do not support; one of them also signs a
/// challenge of 128 bytes, which no statement of ours has.
const VECTOR_REFUSALS: [(&str, &str); 15] = [
    ("none-es256", "user_not_verified"),
    ("packed-self-es256", "user_not_verified"),
    ("none-es256-crossOrigin", "cross_origin"),
    ("none-es256-topOrigin", "top_origin_present"),
    ("none-es256-long-credential-id", "not_device_bound"),
    ("packed-es256", "not_device_bound"),
    ("packed-es384", "not_device_bound"),
    ("packed-es512", "unsupported_algorithm"),
    ("packed-rs256", "user_not_verified"),
    ("packed-eddsa", "user_not_verified"),
    ("packed-ed448", "unsupported_algorithm"),
    ("tpm-es256", "not_device_bound"),
    ("android-key-es256", "user_not_verified"),
    ("apple-es256", "user_not_verified"),
    ("fido-u2f-es256", "user_not_verified"),
];

fn hex(value: &Value) -> Vec<u8> {
    data_encoding::HEXLOWER.decode(value.as_str().unwrap().as_bytes()).unwrap()
}

#[test]
fn every_vector_is_validly_signed_and_refused_for_its_own_reason() {
    let file: Value = serde_json::from_str(VECTORS).unwrap();
    let mut verdicts = Vec::new();
    for vector in file["vectors"].as_array().unwrap() {
        let Some(assertion) = vector.get("authentication") else { continue };
        let name = vector["id"].as_str().unwrap().strip_prefix("sctn-test-vectors-").unwrap();
        let attestation = hex(&vector["registration"]["attestationObject"]);
        let credential = match read_attestation_object(&attestation) {
            Ok(credential) => credential,
            Err(refusal) => {
                verdicts.push((name, refusal.code()));
                continue;
            }
        };
        let (data, client_data) =
            (hex(&assertion["authenticatorData"]), hex(&assertion["clientDataJSON"]));
        let signature = hex(&assertion["signature"]);
        let message = [data.as_slice(), digest(&SHA256, &client_data).as_ref()].concat();
        assert!(credential.public_key.verifies(&message, &signature), "{name}: signature");

        let id = base64url::encode(&credential.credential_id);
        let unverified = UnverifiedAssertion {
            id: id.clone(),
            raw_id: id,
            authenticator_data: data,
            client_data_json: client_data,
            signature,
            user_handle: None,
        };
        let record = CredentialRecord {
            id: credential.credential_id,
            public_key: credential.public_key,
            user_handle: vec![1],
            backup_eligible: credential.flags.backup_eligible(),
            sign_count: credential.sign_count,
        };
        let expectation = Expectation {
            challenge: hex(&assertion["challenge"]).try_into().unwrap(),
            origin: file["origin"].as_str().unwrap(),
            rp_id: file["rp_id"].as_str().unwrap(),
            credentials: &[record],
            device_bound: true,
        };
        verdicts.push((name, verify(&expectation, &unverified).unwrap_err().code()));
    }
    assert_eq!(verdicts, VECTOR_REFUSALS);
}

#[test]
fn a_good_signature_of_every_algorithm_is_accepted() {
    let algorithms = [
        (KeyAlgorithm::Es256, Algorithm::Es256),
        (KeyAlgorithm::Es384, Algorithm::Es384),
        (KeyAlgorithm::Rs256, Algorithm::Rs256),
        (KeyAlgorithm::EdDsa, Algorithm::EdDsa),
    ];
    for (made, read) in algorithms {
        let mut signer = Signer::new(made);
        signer.device_bound = true;
        assert_eq!(signer.record.public_key.algorithm(), read);
        let assertion = signer.sign(&[]);
        let verified = signer.verify(&assertion).unwrap();
        assert_eq!(verified.credential_id(), signer.record.id);
        assert_eq!(verified.new_sign_count(), 1);
        assert!(verified.flags().user_present() && verified.flags().user_verified());
        assert_eq!(signer.refusal(&[Fault::WrongKey]), "signature_invalid", "{made:?}");
    }
}

#[test]
fn what_is_allowed_to_differ_is_accepted() {
    let harmless = [
        vec![Fault::UserHandle(None)],
        vec![Fault::WithoutClientDataMember("crossOrigin")],
        member("extraData", "clientDataJSON may be extended in the future"),
        member("tokenBinding", json!({"status": "supported"})),
        vec![Fault::Signature(other_s)],
    ];
    let mut signer = Signer::new(KeyAlgorithm::Es256);
    for faults in harmless {
        let assertion = signer.sign(&faults);
        assert!(signer.verify(&assertion).is_ok(), "{faults:?}");
    }
}

#[test]
fn every_signed_fault_is_refused_by_the_check_meant_for_it() {
    let faults = [
        (vec![Fault::FlipFlags(0x01)], "user_not_present"),
        (vec![Fault::FlipFlags(0x04)], "user_not_verified"),
        (vec![Fault::FlipFlags(0x02)], "reserved_flags"),
        (vec![Fault::FlipFlags(0x20)], "reserved_flags"),
        (vec![Fault::FlipFlags(0x08)], "backup_eligibility_changed"),
        (vec![Fault::FlipFlags(0x10)], "backed_up_but_not_eligible"),
        (vec![Fault::FlipFlags(0x40)], "attested_credential_present"),
        (vec![Fault::FlipFlags(0x80)], "extensions_present"),
        (vec![Fault::FlipFlags(0x80), Fault::ExtraBytes(vec![0xa0])], "extensions_present"),
        (vec![Fault::ExtraBytes(vec![0])], "leftover_bytes"),
        (vec![Fault::Truncated(36)], "authenticator_data_too_short"),
        (vec![Fault::Truncated(0)], "authenticator_data_too_short"),
        (vec![Fault::RelyingParty("example.com")], "relying_party_mismatch"),
        (member("type", "webauthn.create"), "client_data_wrong_type"),
        (member("type", "payment.get"), "client_data_wrong_type"),
        (member("type", 1), "client_data_wrong_type"),
        (vec![Fault::WithoutClientDataMember("type")], "client_data_wrong_type"),
        (member("challenge", base64url::encode(&[41; 32])), "challenge_mismatch"),
        (member("challenge", base64url::encode(&[42; 31])), "challenge_mismatch"),
        (member("challenge", format!("{}=", base64url::encode(&[42; 32]))), "challenge_malformed"),
        (vec![Fault::WithoutClientDataMember("challenge")], "challenge_malformed"),
        (member("origin", "https://gate.example.com/"), "origin_mismatch"),
        (member("origin", "https://gate.example.com:443"), "origin_mismatch"),
        (member("origin", "http://gate.example.com"), "origin_mismatch"),
        (member("origin", "https://GATE.example.com"), "origin_mismatch"),
        (member("origin", "https://a.gate.example.com"), "origin_mismatch"),
        (member("origin", "null"), "origin_mismatch"),
        (vec![Fault::WithoutClientDataMember("origin")], "origin_mismatch"),
        (member("crossOrigin", true), "cross_origin"),
        (member("crossOrigin", "false"), "cross_origin_malformed"),
        (member("crossOrigin", Value::Null), "cross_origin_malformed"),
        (member("topOrigin", "https://frame.example"), "top_origin_present"),
        (member("topOrigin", Value::Null), "top_origin_present"),
        (member("padding", "x".repeat(4096)), "client_data_too_long"),
        (vec![Fault::ClientData(b"\xff{}".to_vec())], "client_data_not_utf8"),
        (vec![Fault::ClientData(b"\xef\xbb\xbf{}".to_vec())], "client_data_not_json"),
        (vec![Fault::ClientData(b"{}{}".to_vec())], "client_data_not_json"),
        (vec![Fault::ClientData(b"[]".to_vec())], "client_data_not_json"),
        (vec![Fault::ClientData(vec![b'['; 4000])], "client_data_not_json"),
        (vec![Fault::ClientData(Vec::new())], "client_data_not_json"),
        (vec![Fault::UserHandle(Some(vec![1; 32]))], "user_handle_mismatch"),
        (vec![Fault::UserHandle(Some(Vec::new()))], "user_handle_mismatch"),
        (vec![Fault::WrongKey], "signature_invalid"),
        (vec![Fault::Signature(|_| Vec::new())], "signature_invalid"),
    ];
    let mut signer = Signer::new(KeyAlgorithm::Es256);
    for (faults, code) in faults {
        assert_eq!(signer.refusal(&faults), code, "{faults:?}");
    }
}

#[test]
fn a_member_named_twice_is_refused_at_any_depth() {
    let mut signer = Signer::new(KeyAlgorithm::Es256);
    let good = String::from_utf8(signer.sign(&[]).client_data_json).unwrap();
    let twice = [
        good.replacen('{', r#"{"crossOrigin":true,"#, 1),
        good.replacen('{', r#"{"\u0074ype":"webauthn.get","#, 1),
        good.replacen('{', r#"{"future":[{"a":1,"a":1}],"#, 1),
    ];
    for client_data in twice {
        let fault = Fault::ClientData(client_data.into_bytes());
        assert_eq!(signer.refusal(&[fault]), "client_data_duplicate_member");
    }
}

#[test]
fn only_credentials_that_were_asked_for_may_sign() {
    let (mut signer, mut stranger) =
        (Signer::new(KeyAlgorithm::Es256), Signer::new(KeyAlgorithm::Es256));
    let foreign = stranger.sign(&[]);
    assert_eq!(signer.verify(&foreign).unwrap_err().code(), "credential_not_allowed");

    let mut assertion = signer.sign(&[]);
    assertion.id = foreign.id.clone();
    assert_eq!(signer.verify(&assertion).unwrap_err().code(), "id_mismatch");
    assertion.raw_id = "with padding=".to_owned();
    assert_eq!(signer.verify(&assertion).unwrap_err().code(), "raw_id_malformed");
    // Somebody else's signature under an allowed id.
    let disguised = UnverifiedAssertion { id: signer.sign(&[]).id, ..foreign };
    let disguised = UnverifiedAssertion { raw_id: disguised.id.clone(), ..disguised };
    assert_eq!(signer.verify(&disguised).unwrap_err().code(), "signature_invalid");

    let assertion = signer.sign(&[]);
    let records = [stranger.record.clone(), signer.record.clone()];
    let both = Expectation { credentials: &records, ..signer.expectation() };
    assert_eq!(verify(&both, &assertion).unwrap().credential_id(), signer.record.id);
    let none = Expectation { credentials: &[], ..signer.expectation() };
    assert_eq!(verify(&none, &assertion).unwrap_err().code(), "credential_not_allowed");
}

#[test]
fn a_synchronised_key_is_accepted_unless_the_policy_asks_for_a_device_bound_one() {
    let mut authenticator = SoftwareAuthenticator::new();
    (authenticator.backup_eligible, authenticator.backed_up) = (true, true);
    let mut signer = Signer::with(authenticator);
    let assertion = signer.sign(&[]);
    let flags = signer.verify(&assertion).unwrap().flags();
    assert!(flags.backup_eligible() && flags.backed_up());
    assert_eq!(signer.refusal(&[Fault::FlipFlags(0x18)]), "backup_eligibility_changed");
    signer.device_bound = true;
    assert_eq!(signer.refusal(&[]), "not_device_bound");
}

#[test]
fn the_signature_counter_rises_or_stays_zero() {
    for (stored, received, good) in [
        (0, 0, true),
        (0, 1, true),
        (7, 8, true),
        (7, u32::MAX, true),
        (7, 7, false),
        (7, 6, false),
        (7, 0, false),
        (u32::MAX, u32::MAX, false),
    ] {
        assert_eq!(judge_sign_count(stored, received).is_ok(), good, "{stored} -> {received}");
    }
    let mut signer = Signer::new(KeyAlgorithm::Es256);
    signer.record.sign_count = 5;
    assert_eq!(signer.refusal(&[Fault::SignCount(5)]), "sign_count_regressed");
    let replayed = signer.sign(&[Fault::SignCount(5)]);
    // Offline, the counter's history is unknown and not judged; everything else is.
    assert!(verify_from_record(&signer.expectation(), &replayed).is_ok());
    let unverified = signer.sign(&[Fault::FlipFlags(0x04)]);
    let refusal = verify_from_record(&signer.expectation(), &unverified).unwrap_err();
    assert_eq!(refusal.code(), "user_not_verified");
    let rising = signer.sign(&[Fault::SignCount(6)]);
    assert_eq!(signer.verify(&rising).unwrap().new_sign_count(), 6);
}

#[test]
fn the_json_of_a_browser_is_read_strictly_and_written_back() {
    let mut signer = Signer::new(KeyAlgorithm::Es256);
    let good = signer.sign_json(&[]);
    let assertion: UnverifiedAssertion = serde_json::from_value(good.clone()).unwrap();
    let written = serde_json::to_value(&assertion).unwrap();
    assert_eq!(serde_json::from_value::<UnverifiedAssertion>(written).unwrap(), assertion);
    assert_eq!(assertion.user_handle, Some(alice().to_vec()));

    let wrong = [
        ("/type", json!("password")),
        ("/type", Value::Null),
        ("/rawId", Value::Null),
        ("/response", Value::Null),
        ("/response/signature", json!("AAA=")),
        ("/response/signature", json!("AAB")),
        ("/response/signature", json!([1, 2])),
        ("/response/authenticatorData", json!("+/+/")),
        ("/response/clientDataJSON", json!("e30\n")),
        ("/response/userHandle", json!("AA==")),
    ];
    for (pointer, value) in wrong {
        let mut bad = good.clone();
        *bad.pointer_mut(pointer).unwrap() = value;
        assert!(serde_json::from_value::<UnverifiedAssertion>(bad).is_err(), "{pointer}");
    }
    let twice = good.to_string().replacen('{', r#"{"id":"AAAA","#, 1);
    assert!(serde_json::from_str::<UnverifiedAssertion>(&twice).is_err());
}

#[test]
fn a_refusal_is_a_sentence_for_people() {
    let mut signer = Signer::new(KeyAlgorithm::Es256);
    signer.record.sign_count = 9;
    let assertion = signer.sign(&[Fault::SignCount(3)]);
    insta::assert_snapshot!(signer.verify(&assertion).unwrap_err(), @"the key's signature counter went from 9 to 3: it may have been copied; suspend it and register another");
    let assertion = signer.sign(&member("origin", "https://evil.example"));
    insta::assert_snapshot!(signer.verify(&assertion).unwrap_err(), @r#"the signature was made on another origin than "https://gate.example.com": open the page there"#);
    assert_eq!((ORIGIN, RP_ID), ("https://gate.example.com", "gate.example.com"));
}

fn flipped(bytes: &[u8], bit: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let index = bit / 8 % bytes.len();
    bytes[index] ^= 1 << (bit % 8);
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_flipped_bit_is_refused(bit in any::<u16>(), algorithm in 0..3_usize) {
        let algorithms = [KeyAlgorithm::Es256, KeyAlgorithm::Es384, KeyAlgorithm::EdDsa];
        let mut signer = Signer::new(algorithms[algorithm]);
        let good = signer.sign(&[]);
        prop_assert!(signer.verify(&good).is_ok());
        let bit = usize::from(bit);
        let mut bad = good.clone();
        bad.signature = flipped(&good.signature, bit);
        prop_assert_eq!(signer.verify(&bad).unwrap_err().code(), "signature_invalid");
        let mut bad = good.clone();
        bad.authenticator_data = flipped(&good.authenticator_data, bit);
        prop_assert!(signer.verify(&bad).is_err());
        let mut bad = good.clone();
        bad.client_data_json = flipped(&good.client_data_json, bit);
        prop_assert!(signer.verify(&bad).is_err());
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = read_attestation_object(&bytes);
        let _ = PublicKey::from_cose(&bytes);
        let mut signer = Signer::new(KeyAlgorithm::Es256);
        let good = signer.sign(&[]);
        let data = UnverifiedAssertion { authenticator_data: bytes.clone(), ..good.clone() };
        prop_assert!(signer.verify(&data).is_err());
        let client_data = UnverifiedAssertion { client_data_json: bytes.clone(), ..good.clone() };
        prop_assert!(signer.verify(&client_data).is_err());
        let signature = UnverifiedAssertion { signature: bytes, ..good };
        prop_assert!(signer.verify(&signature).is_err());
    }
}
