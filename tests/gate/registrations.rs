//! Registration of keys: through webauthn-rs, and read again from bytes alone.

use countersign::proof::base64url;
use countersign::proof::public_key::PublicKey;
use countersign::proof::registration;
use countersign::sandbox::authenticator::{
    AAGUID, AuthenticatorError, Fault, KeyAlgorithm, SoftwareAuthenticator,
};
use serde_json::{Value, json};

use super::ceremony::{ORIGIN, RP_ID, alice, member, passkeys, register};
use super::public_keys::Change;

#[test]
fn a_key_of_every_enrollable_algorithm_is_registered() {
    for algorithm in [KeyAlgorithm::Es256, KeyAlgorithm::Es384, KeyAlgorithm::Rs256] {
        let mut authenticator = SoftwareAuthenticator::new();
        authenticator.algorithm = algorithm;
        let registered = register(&mut authenticator);
        assert_eq!(registered.user_handle, alice());
        assert_eq!(registered.aaguid, AAGUID);
        assert_eq!(registered.attestation_format, "none");
        assert_eq!(registered.transports, ["usb"]);
        assert_eq!((registered.backup_eligible, registered.sign_count), (false, 0));
        // An offline verifier derives the same key from the recorded response.
        let read = registration::read(&registered.registration_response, ORIGIN, RP_ID).unwrap();
        let key = PublicKey::from_cose(&registered.cose_public_key).unwrap();
        assert_eq!(read.credential.public_key.cose(), key.cose());
        assert_eq!(read.credential.credential_id, registered.credential_id);
    }
}

#[test]
fn a_synchronised_passkey_is_recorded_as_such() {
    let mut authenticator = SoftwareAuthenticator::new();
    (authenticator.backup_eligible, authenticator.backed_up) = (true, true);
    let registered = register(&mut authenticator);
    assert!(registered.backup_eligible && registered.backup_state);
}

#[test]
fn the_options_require_user_verification_and_no_attestation() {
    let ceremony = passkeys().begin(&alice(), "alice", "Alice", &[vec![9; 16]]).unwrap();
    let mut options = ceremony.creation_options;
    options["challenge"] = Value::Null;
    assert_eq!(options["authenticatorSelection"]["userVerification"], "required");
    assert_eq!(options["authenticatorSelection"]["residentKey"], "preferred");
    assert_eq!(options["authenticatorSelection"]["requireResidentKey"], false);
    assert_eq!(options["rp"], json!({"id": RP_ID, "name": "Countersign"}));
    assert_eq!(options["user"]["id"], base64url::encode(&alice()));
    assert_eq!(options["excludeCredentials"][0]["id"], base64url::encode(&[9; 16]));
    assert!(matches!(options["attestation"].as_str(), None | Some("none")));
    let algorithms = options["pubKeyCredParams"].as_array().unwrap();
    let algorithms: Vec<_> = algorithms.iter().map(|one| one["alg"].as_i64().unwrap()).collect();
    assert_eq!(algorithms, [-7, -35, -257]);
}

#[test]
fn a_key_that_is_already_registered_is_not_made_again() {
    let mut authenticator = SoftwareAuthenticator::new();
    let registered = register(&mut authenticator);
    let ceremony =
        passkeys().begin(&alice(), "alice", "Alice", &[registered.credential_id]).unwrap();
    let refusal = authenticator.create(&ceremony.creation_options, ORIGIN).unwrap_err();
    assert_eq!(refusal, AuthenticatorError::Excluded);
}

#[test]
fn every_faulty_registration_is_refused_for_its_own_reason() {
    let faults = [
        (vec![Fault::FlipFlags(0x01)], "user_not_present"),
        (vec![Fault::FlipFlags(0x04)], "user_not_verified"),
        (vec![Fault::FlipFlags(0x02)], "reserved_flags"),
        (vec![Fault::FlipFlags(0x10)], "backed_up_but_not_eligible"),
        (vec![Fault::FlipFlags(0x40)], "no_attested_credential"),
        (vec![Fault::FlipFlags(0x80)], "attestation_object_malformed"),
        (vec![Fault::ExtraBytes(vec![0])], "leftover_bytes"),
        (vec![Fault::Truncated(36)], "attestation_object_malformed"),
        (vec![Fault::Truncated(60)], "attestation_object_malformed"),
        (vec![Fault::Truncated(120)], "public_key_malformed"),
        (vec![Fault::RelyingParty("example.com")], "relying_party_mismatch"),
        (member("type", "webauthn.get"), "client_data_wrong_type"),
        (member("challenge", base64url::encode(&[1; 32])), "challenge_mismatch"),
        (member("origin", "https://evil.example"), "origin_mismatch"),
        (member("origin", "https://a.gate.example.com"), "origin_mismatch"),
        (member("crossOrigin", true), "cross_origin"),
        (member("topOrigin", "https://frame.example"), "top_origin_present"),
    ];
    for (faults, code) in faults {
        let ceremony = passkeys().begin(&alice(), "alice", "Alice", &[]).unwrap();
        let mut authenticator = SoftwareAuthenticator::new();
        let options = &ceremony.creation_options;
        let response = authenticator.create_with(options, ORIGIN, &faults).unwrap().to_string();
        let refusal = passkeys().finish(&ceremony.state, response.as_bytes()).unwrap_err();
        assert_eq!(refusal.code(), code, "{faults:?}");
    }
}

/// Registers with the response that `change` makes of a good one.
fn refusal_of(change: impl FnOnce(String) -> String) -> &'static str {
    let ceremony = passkeys().begin(&alice(), "alice", "Alice", &[]).unwrap();
    let good = SoftwareAuthenticator::new().create(&ceremony.creation_options, ORIGIN).unwrap();
    let response = change(good.to_string());
    passkeys().finish(&ceremony.state, response.as_bytes()).expect_err(&response).code()
}

/// Registers with the attestation object that `change` makes of a good one.
fn refusal_of_object(change: impl FnOnce(Vec<u8>) -> Vec<u8>) -> &'static str {
    refusal_of(|response| {
        let mut response: Value = serde_json::from_str(&response).unwrap();
        let object = &mut response["response"]["attestationObject"];
        let changed = change(base64url::decode(object.as_str().unwrap()).unwrap());
        *object = base64url::encode(&changed).into();
        response.to_string()
    })
}

/// The object with these bytes of it, which occur once, replaced.
fn replaced(object: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let places: Vec<usize> =
        (0..object.len()).filter(|&at| object[at..].starts_with(from)).collect();
    let [at] = places[..] else { panic!("{from:?} occurs {} times", places.len()) };
    [&object[..at], to, &object[at + from.len()..]].concat()
}

#[test]
fn what_a_verifier_would_refuse_later_is_not_enrolled() {
    let malformed = "attestation_object_malformed";
    let (none, statement) = (&b"cfmtdnone"[..], &b"gattStmt\xa0"[..]);
    assert_eq!(
        refusal_of_object(|object| replaced(&object, statement, b"gattStmt\xa1\x00\x00")),
        "attestation_statement_of_none"
    );
    let respelled: [Change; 7] = [
        // The members in another order, one twice, one more, one less.
        |object| {
            let (none, statement) = (&b"cfmtdnone"[..], &b"gattStmt\xa0"[..]);
            replaced(object, &[none, statement].concat(), &[statement, none].concat())
        },
        |object| [&[0xa4], &object[1..10], &object[1..]].concat(),
        |object| [&[0xa4], &object[1..], &b"hauthDatb\x00"[..]].concat(),
        |object| replaced(&[&[0xa2], &object[1..]].concat(), b"gattStmt\xa0", b""),
        // A length that is longer than it needs to be, one that is left open, a byte behind it.
        |object| [&[0xb8, 3], &object[1..]].concat(),
        |object| [&[0xbf], &object[1..], &[0xff]].concat(),
        |object| [object, &[0]].concat(),
    ];
    for (place, change) in respelled.into_iter().enumerate() {
        assert_eq!(refusal_of_object(|object| change(&object)), malformed, "{place}");
    }
    assert_eq!(refusal_of_object(|object| replaced(&object, none, b"cfmtDnone")), malformed);
    // Whoever reads the first and whoever reads the last would enrol different keys.
    let twice = |response: String| response.replacen('{', "{\"type\":\"public-key\",", 1);
    assert_eq!(refusal_of(twice), "registration_duplicate_member");
    let twice_in_what_is_ignored = |response: String| {
        response.replacen(
            "\"clientExtensionResults\":{",
            "\"clientExtensionResults\":{\"a\":1,\"a\":1",
            1,
        )
    };
    assert_eq!(refusal_of(twice_in_what_is_ignored), "registration_duplicate_member");
}

#[test]
fn extensions_are_one_canonical_map() {
    let create = |extensions: &[u8]| {
        let faults = [Fault::FlipFlags(0x80), Fault::ExtraBytes(extensions.to_vec())];
        let ceremony = passkeys().begin(&alice(), "alice", "Alice", &[]).unwrap();
        let options = &ceremony.creation_options;
        let answer = SoftwareAuthenticator::new().create_with(options, ORIGIN, &faults).unwrap();
        registration::read(answer.to_string().as_bytes(), ORIGIN, RP_ID)
    };
    assert!(create(b"\xa1kcredProtect\x02").is_ok());
    for (extensions, code) in [
        (&b"\x80"[..], "attestation_object_malformed"),
        (b"\xbf\xff", "attestation_object_malformed"),
        (b"\xa1kcredProtect\x18\x02", "attestation_object_malformed"),
        (b"\xa2aa\x00aa\x00", "attestation_object_malformed"),
        (b"\xa1aa\xf9\x3c\x00", "attestation_object_malformed"),
        (b"\xa0\x00", "leftover_bytes"),
    ] {
        assert_eq!(create(extensions).unwrap_err().code(), code, "{extensions:?}");
    }
}

#[test]
fn a_credential_id_has_1_to_1023_bytes() {
    let ceremony = passkeys().begin(&alice(), "alice", "Alice", &[]).unwrap();
    let good = SoftwareAuthenticator::new().create(&ceremony.creation_options, ORIGIN).unwrap();
    let object = good["response"]["attestationObject"].as_str().unwrap();
    let object = base64url::decode(object).unwrap();
    // The authenticator data: 37 bytes of header, the AAGUID, the id's length, an id of 32 bytes, the key.
    let at = object.windows(8).position(|bytes| bytes == b"authData").unwrap() + 8;
    let data = &object[at + 2..];
    let with_id = |length: u16| {
        let id = vec![7; usize::from(length)];
        let data = [&data[..53], &length.to_be_bytes(), &id, &data[55 + 32..]].concat();
        let header = [&[0x59][..], &u16::try_from(data.len()).unwrap().to_be_bytes()].concat();
        let short = [0x58, u8::try_from(data.len()).unwrap_or(0)];
        let header = if data.len() < 256 { &short[..] } else { &header };
        registration::read_attestation_object(&[&object[..at], header, &data].concat())
    };
    for length in [1, 16, 1023] {
        assert_eq!(with_id(length).unwrap().credential_id.len(), usize::from(length));
    }
    for length in [0, 1024, 2000] {
        assert_eq!(with_id(length).unwrap_err().code(), "credential_id_length", "{length}");
    }
}

#[test]
fn a_response_answers_its_own_ceremony_only() {
    let mut authenticator = SoftwareAuthenticator::new();
    let first = passkeys().begin(&alice(), "alice", "Alice", &[]).unwrap();
    let second = passkeys().begin(&alice(), "alice", "Alice", &[]).unwrap();
    let response = authenticator.create(&first.creation_options, ORIGIN).unwrap().to_string();
    let refusal = passkeys().finish(&second.state, response.as_bytes()).unwrap_err();
    assert_eq!(refusal.code(), "challenge_mismatch");
    // Another instance, which never saw the ceremony begin, finishes it from the stored state.
    assert!(passkeys().finish(&first.state, response.as_bytes()).is_ok());
    let refusal = passkeys().finish("{}", response.as_bytes()).unwrap_err();
    assert_eq!(refusal.code(), "ceremony_unreadable");
}

#[test]
fn an_algorithm_that_was_not_offered_is_refused() {
    let mut authenticator = SoftwareAuthenticator::new();
    authenticator.algorithm = KeyAlgorithm::EdDsa;
    let ceremony = passkeys().begin(&alice(), "alice", "Alice", &[]).unwrap();
    let mut options = ceremony.creation_options;
    let refusal = authenticator.create(&options, ORIGIN).unwrap_err();
    assert_eq!(refusal, AuthenticatorError::Algorithm);
    // A browser that ignores the offer.
    options["pubKeyCredParams"] = json!([{"type": "public-key", "alg": -8}]);
    let response = authenticator.create(&options, ORIGIN).unwrap().to_string();
    assert!(passkeys().finish(&ceremony.state, response.as_bytes()).is_err());
}

#[test]
fn a_response_that_is_no_registration_is_refused() {
    let ceremony = passkeys().begin(&alice(), "alice", "Alice", &[]).unwrap();
    let mut authenticator = SoftwareAuthenticator::new();
    let good = authenticator.create(&ceremony.creation_options, ORIGIN).unwrap();
    let changes = [
        ("/id", json!("AAAA"), "id_mismatch"),
        ("/rawId", json!("AAAA"), "id_mismatch"),
        ("/type", json!("password"), "registration_not_json"),
        ("/response", Value::Null, "registration_not_json"),
        ("/response/attestationObject", json!("AAA="), "registration_not_json"),
        ("/response/attestationObject", json!("oA"), "attestation_object_malformed"),
        ("/response/attestationObject", json!("AA"), "attestation_object_malformed"),
        ("/response/clientDataJSON", json!("e30"), "client_data_wrong_type"),
    ];
    for (pointer, value, code) in changes {
        let mut bad = good.clone();
        *bad.pointer_mut(pointer).unwrap() = value;
        let refusal = passkeys().finish(&ceremony.state, bad.to_string().as_bytes()).unwrap_err();
        assert_eq!(refusal.code(), code, "{pointer}");
    }
    let refusal = passkeys().finish(&ceremony.state, b"<html>").unwrap_err();
    assert_eq!(refusal.code(), "registration_not_json");
}

#[test]
fn a_page_of_another_site_gets_no_key() {
    let ceremony = passkeys().begin(&alice(), "alice", "Alice", &[]).unwrap();
    let mut authenticator = SoftwareAuthenticator::new();
    for origin in ["https://evil.example", "https://evilgate.example.com", "https://example.com"] {
        let refusal = authenticator.create(&ceremony.creation_options, origin).unwrap_err();
        assert!(matches!(refusal, AuthenticatorError::RelyingParty { .. }), "{origin}");
    }
}
