//! Our verifier beside webauthn-rs's: the same assertions, good and bad, through both.
//!
//! Ours may be stricter, in the ways listed here and in no other; it may never be laxer.

use countersign::proof::assertion::UnverifiedAssertion;
use countersign::proof::base64url;
use countersign::sandbox::authenticator::{Fault, KeyAlgorithm, SoftwareAuthenticator};
use proptest::prelude::*;
use serde_json::{Value, json};
use webauthn_rs_core::WebauthnCore;
use webauthn_rs_core::proto::{
    AuthenticationState, Credential, PublicKeyCredential, RegisterPublicKeyCredential,
    UserVerificationPolicy,
};

use super::ceremony::{ORIGIN, RP_ID, Signer, alice, member};

/// The refusals in which ours goes beyond webauthn-rs 0.6.2, each with the reason.
const STRICTER: [(&str, &str); 10] = [
    ("cross_origin", "it does not look at crossOrigin on assertions"),
    ("top_origin_present", "it does not know topOrigin"),
    ("user_handle_mismatch", "it leaves userHandle to the caller"),
    ("leftover_bytes", "it does not ask that the authenticator data ends"),
    ("reserved_flags", "it does not look at the reserved bits"),
    ("client_data_too_long", "it sets no limit"),
    ("client_data_duplicate_member", "it accepts such pairs among members it does not read"),
    ("origin_mismatch", "it compares parsed URLs, not the browser's text"),
    ("attested_credential_present", "it skips a credential that nobody asked for"),
    ("extensions_present", "it reads extensions that nobody asked for"),
];

/// One enrolled key, known to both verifiers.
struct Pair {
    signer: Signer,
    core: WebauthnCore,
    credential: Credential,
}

impl Pair {
    fn new(algorithm: KeyAlgorithm) -> Self {
        let timeout = std::time::Duration::from_secs(60);
        let origins = vec![ORIGIN.parse().unwrap()];
        let core = WebauthnCore::new_unsafe_experts_only(
            "Countersign",
            RP_ID,
            origins,
            timeout,
            Some(false),
            Some(false),
        );
        let builder = core.new_challenge_register_builder(&alice(), "alice", "Alice").unwrap();
        let builder = builder.user_verification_policy(UserVerificationPolicy::Required);
        let (options, state) = core.generate_challenge_register(builder).unwrap();
        let options = serde_json::to_value(options).unwrap();

        // The same authenticator registers twice; the second key is the one both know.
        let mut authenticator = SoftwareAuthenticator::new();
        authenticator.algorithm = algorithm;
        let mut signer = Signer::with(authenticator);
        let mut options = options;
        options["publicKey"]["pubKeyCredParams"] = json!([{"type": "public-key", "alg": match algorithm {
            KeyAlgorithm::Es256 => -7,
            KeyAlgorithm::Es384 => -35,
            KeyAlgorithm::Rs256 => -257,
            KeyAlgorithm::EdDsa => -8,
        }}]);
        let response = signer.authenticator.create(&options, ORIGIN).unwrap();
        let parsed: RegisterPublicKeyCredential = serde_json::from_value(response.clone()).unwrap();
        let credential = core.register_credential(&parsed, &state, None).unwrap();
        let bytes = response.to_string();
        let ours = countersign::proof::registration::read(bytes.as_bytes(), ORIGIN, RP_ID).unwrap();
        signer.record.id = ours.credential.credential_id;
        signer.record.public_key = ours.credential.public_key;
        Self { signer, core, credential }
    }

    /// The state of an authentication whose challenge is ours. webauthn-rs makes its challenges
    /// itself; its state is serialisable, so that the one in it can be replaced.
    fn state(&self) -> AuthenticationState {
        let policy = Some(UserVerificationPolicy::Required);
        let builder =
            self.core.new_challenge_authenticate_builder(vec![self.credential.clone()], policy);
        let (_, state) = self.core.generate_challenge_authenticate(builder.unwrap()).unwrap();
        let mut state = serde_json::to_value(state).unwrap();
        state["challenge"] = match &state["challenge"] {
            Value::Array(_) => json!(self.signer.challenge),
            _ => json!(base64url::encode(&self.signer.challenge)),
        };
        serde_json::from_value(state).unwrap()
    }

    /// Both verdicts on `assertion`: the code of our refusal, and theirs.
    fn verdicts(&self, assertion: &Value) -> (Result<(), &'static str>, Result<(), String>) {
        let unverified: Result<UnverifiedAssertion, _> = serde_json::from_value(assertion.clone());
        let ours = match unverified {
            Ok(unverified) => {
                self.signer.verify(&unverified).map(drop).map_err(|refusal| refusal.code())
            }
            Err(_) => Err("assertion_not_json"),
        };
        let parsed: Result<PublicKeyCredential, _> = serde_json::from_value(assertion.clone());
        let theirs = match parsed {
            Ok(parsed) => self
                .core
                .authenticate_credential(&parsed, &self.state())
                .map(drop)
                .map_err(|error| format!("{error:?}")),
            Err(error) => Err(error.to_string()),
        };
        (ours, theirs)
    }

    /// Signs with `faults` and holds both verdicts against each other.
    fn compare(&mut self, faults: &[Fault]) -> Result<(), String> {
        let assertion = self.signer.sign_json(faults);
        self.judge(&assertion).map_err(|difference| format!("{faults:?}: {difference}"))
    }

    fn judge(&self, assertion: &Value) -> Result<(), String> {
        match self.verdicts(assertion) {
            (Ok(()), Ok(())) | (Err(_), Err(_)) => Ok(()),
            (Err(code), Ok(())) if STRICTER.iter().any(|(stricter, _)| *stricter == code) => Ok(()),
            (ours, theirs) => Err(format!("ours {ours:?}, theirs {theirs:?}")),
        }
    }
}

#[test]
fn both_accept_good_assertions() {
    for algorithm in [KeyAlgorithm::Es256, KeyAlgorithm::Es384, KeyAlgorithm::Rs256] {
        let mut pair = Pair::new(algorithm);
        let good = pair.signer.sign_json(&[]);
        assert_eq!(pair.verdicts(&good), (Ok(()), Ok(())), "{algorithm:?}");
    }
}

#[test]
fn both_refuse_what_the_specification_refuses() {
    let faults = [
        vec![Fault::FlipFlags(0x01)],
        vec![Fault::FlipFlags(0x04)],
        vec![Fault::RelyingParty("example.com")],
        vec![Fault::WrongKey],
        vec![Fault::Truncated(36)],
        member("type", "webauthn.create"),
        member("challenge", base64url::encode(&[41; 32])),
        member("origin", "https://evil.example"),
        vec![Fault::FlipFlags(0x08)],
    ];
    for algorithm in [KeyAlgorithm::Es256, KeyAlgorithm::Es384, KeyAlgorithm::Rs256] {
        let mut pair = Pair::new(algorithm);
        for faults in &faults {
            let assertion = pair.signer.sign_json(faults);
            let (ours, theirs) = pair.verdicts(&assertion);
            assert!(ours.is_err() && theirs.is_err(), "{faults:?}: {ours:?}, {theirs:?}");
        }
    }
}

#[test]
fn ours_is_stricter_exactly_where_the_list_says() {
    let mut pair = Pair::new(KeyAlgorithm::Es256);
    let good = String::from_utf8(pair.signer.sign(&[]).client_data_json).unwrap();
    let twice = good.replacen('{', r#"{"future":{"a":1,"a":1},"#, 1);
    let attested = [&[0; 16], &[0, 1, 9][..], pair.signer.record.public_key.cose()].concat();
    let faults = [
        member("crossOrigin", true),
        member("topOrigin", "https://frame.example"),
        vec![Fault::UserHandle(Some(vec![1; 32]))],
        vec![Fault::ExtraBytes(vec![0; 7])],
        vec![Fault::FlipFlags(0x02)],
        member("padding", "x".repeat(4096)),
        vec![Fault::ClientData(twice.into_bytes())],
        member("origin", "https://gate.example.com/"),
        vec![Fault::FlipFlags(0x40), Fault::ExtraBytes(attested)],
        vec![Fault::FlipFlags(0x80), Fault::ExtraBytes(vec![0xa0])],
    ];
    for ((code, reason), faults) in STRICTER.iter().zip(faults) {
        let assertion = pair.signer.sign_json(&faults);
        assert_eq!(pair.verdicts(&assertion), (Err(*code), Ok(())), "{reason}");
    }
}

#[test]
fn both_judge_the_signature_counter_alike() {
    let mut pair = Pair::new(KeyAlgorithm::Es256);
    for stored in [0, 1, 7, u32::MAX] {
        for received in [0, 1, 6, 7, 8, u32::MAX] {
            pair.signer.record.sign_count = stored;
            pair.credential.counter = stored;
            let assertion = pair.signer.sign_json(&[Fault::SignCount(received)]);
            let (ours, theirs) = pair.verdicts(&assertion);
            assert_eq!(ours.is_ok(), theirs.is_ok(), "{stored} -> {received}");
        }
    }
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        any::<u8>().prop_map(Fault::FlipFlags),
        proptest::collection::vec(any::<u8>(), 1..90).prop_map(Fault::ExtraBytes),
        (0..40_usize).prop_map(Fault::Truncated),
        any::<u32>().prop_map(Fault::SignCount),
        Just(Fault::WrongKey),
        Just(Fault::RelyingParty("example.com")),
        any::<bool>().prop_map(|framed| Fault::ClientDataMember("crossOrigin", framed.into())),
        "[ -~]{0,40}".prop_map(|text| Fault::ClientDataMember("origin", text.into())),
        "[A-Za-z0-9_-]{0,43}".prop_map(|text| Fault::ClientDataMember("challenge", text.into())),
        "[a-z.]{0,16}".prop_map(|text| Fault::ClientDataMember("type", text.into())),
        Just(Fault::Signature(|signature| signature[..signature.len() - 1].to_vec())),
        Just(Fault::Signature(|signature| [signature, &[0]].concat())),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn random_assertions_meet_the_same_verdict(
        faults in proptest::collection::vec(fault(), 0..3),
        stored in 0..3_u32,
        flip in proptest::option::of((0..3_usize, any::<u16>())),
        es384 in any::<bool>(),
    ) {
        let algorithm = if es384 { KeyAlgorithm::Es384 } else { KeyAlgorithm::Es256 };
        let mut pair = Pair::new(algorithm);
        pair.signer.record.sign_count = stored;
        pair.credential.counter = stored;
        let difference = pair.compare(&faults);
        prop_assert!(difference.is_ok(), "{}", difference.unwrap_err());

        let mut assertion = pair.signer.sign_json(&faults);
        if let Some((member, bit)) = flip {
            let name = ["signature", "authenticatorData", "clientDataJSON"][member];
            let text = assertion["response"][name].as_str().unwrap().to_owned();
            let mut bytes = base64url::decode(&text).unwrap();
            if !bytes.is_empty() {
                let index = usize::from(bit / 8) % bytes.len();
                bytes[index] ^= 1 << (bit % 8);
            }
            assertion["response"][name] = base64url::encode(&bytes).into();
        }
        let difference = pair.judge(&assertion);
        prop_assert!(difference.is_ok(), "{}", difference.unwrap_err());
    }
}
