//! Verifications per second: our whole verifier beside a bare P-256 verification and beside
//! webauthn-rs, in one run; and the evidence of a whole approval, in milliseconds.
//!
//! The contenders take turns in short rounds, so that a machine that grows warm or busy slows all
//! of them alike; the median round of each counts. `cargo bench --bench verify -- --json` prints
//! one line of JSON in place of the table.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement prints or stops")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, ParsedPublicKey};
use countersign::proof::assertion::{CredentialRecord, Expectation, UnverifiedAssertion, verify};
use countersign::proof::base64url;
use countersign::proof::evidence::Trust;
use countersign::proof::public_key::PublicKey;
use countersign::proof::registration;
use countersign::proof::verify::verify as verify_evidence;
use countersign::sandbox::authenticator::SoftwareAuthenticator;
use serde_json::{Value, json};
use webauthn_rs_core::WebauthnCore;
use webauthn_rs_core::proto::{
    AuthenticationState, PublicKeyCredential, RegisterPublicKeyCredential, UserVerificationPolicy,
};

const ORIGIN: &str = "https://gate.example.com";
const RP_ID: &str = "gate.example.com";
/// Odd, so that the median is a round that was run.
const ROUNDS: usize = 15;
/// The evidence of an approval by two people that was rolled out: one of the saved vectors.
const BUNDLE: &str = "evidence_bundle";
const ROUND_LENGTH: Duration = Duration::from_millis(200);

/// One key, known to every contender, and one assertion of it.
struct Case {
    core: WebauthnCore,
    state: AuthenticationState,
    record: CredentialRecord,
    assertion: Value,
    challenge: [u8; 32],
}

impl Case {
    fn new() -> Self {
        let origins = vec![ORIGIN.parse().unwrap()];
        let timeout = Duration::from_secs(60);
        let core = WebauthnCore::new_unsafe_experts_only(
            "Countersign",
            RP_ID,
            origins,
            timeout,
            Some(false),
            Some(false),
        );
        let mut authenticator = SoftwareAuthenticator::new();
        let builder = core.new_challenge_register_builder(&[1; 32], "alice", "Alice").unwrap();
        let builder = builder.user_verification_policy(UserVerificationPolicy::Required);
        let (options, state) = core.generate_challenge_register(builder).unwrap();
        let options = serde_json::to_value(options).unwrap();
        let response = authenticator.create(&options, ORIGIN).unwrap();
        let parsed: RegisterPublicKeyCredential = serde_json::from_value(response.clone()).unwrap();
        let credential = core.register_credential(&parsed, &state, None).unwrap();
        let response = response.to_string();
        let registered = registration::read(response.as_bytes(), ORIGIN, RP_ID).unwrap().credential;

        let policy = Some(UserVerificationPolicy::Required);
        let builder = core.new_challenge_authenticate_builder(vec![credential], policy).unwrap();
        let (options, state) = core.generate_challenge_authenticate(builder).unwrap();
        let options = serde_json::to_value(options).unwrap();
        let challenge = options["publicKey"]["challenge"].as_str().unwrap();
        let challenge = base64url::decode(challenge).unwrap().try_into().unwrap();
        let assertion = authenticator.assert(&options, ORIGIN).unwrap();
        let record = CredentialRecord {
            id: registered.credential_id,
            public_key: registered.public_key,
            user_handle: vec![1; 32],
            backup_eligible: false,
            sign_count: 0,
        };
        Self { core, state, record, assertion, challenge }
    }

    fn expectation(&self) -> Expectation<'_> {
        Expectation {
            challenge: self.challenge,
            origin: ORIGIN,
            rp_id: RP_ID,
            credentials: std::slice::from_ref(&self.record),
            device_bound: true,
        }
    }
}

/// Calls of `work` per second, over one round.
fn round(work: &dyn Fn()) -> f64 {
    let (start, mut calls) = (Instant::now(), 0_u32);
    while start.elapsed() < ROUND_LENGTH {
        for _ in 0..32 {
            work();
        }
        calls += 32;
    }
    f64::from(calls) / start.elapsed().as_secs_f64()
}

/// How long one call takes, at so many per second.
fn milliseconds(per_second: f64) -> f64 {
    1_000.0 / per_second
}

/// The uncompressed point of an ES256 COSE key: its coordinates are the last 32 bytes and those
/// before the three bytes of the second label and length.
fn point(cose: &[u8]) -> Vec<u8> {
    [&[0x04], &cose[10..42], &cose[45..77]].concat()
}

fn main() {
    let case = Case::new();
    let unverified: UnverifiedAssertion = serde_json::from_value(case.assertion.clone()).unwrap();
    let hash = digest(&SHA256, &unverified.client_data_json);
    let message = [unverified.authenticator_data.as_slice(), hash.as_ref()].concat();
    let cose = case.record.public_key.cose().to_vec();
    let bare = ParsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point(&cose)).unwrap();
    let text = case.assertion.to_string();
    let theirs: PublicKeyCredential = serde_json::from_value(case.assertion.clone()).unwrap();

    let trust = Trust::read(include_bytes!("../tests/data/evidence/trust.json")).unwrap();
    let evidence = include_bytes!("../tests/data/evidence/good-approved.json");

    let contenders: [(&str, &dyn Fn()); 5] = [
        ("bare_p256", &|| bare.verify_sig(black_box(&message), &unverified.signature).unwrap()),
        ("countersign", &|| {
            black_box(verify(&case.expectation(), black_box(&unverified)).unwrap());
        }),
        ("countersign_from_json_and_cose", &|| {
            let unverified: UnverifiedAssertion = serde_json::from_str(black_box(&text)).unwrap();
            let public_key = PublicKey::from_cose(black_box(&cose)).unwrap();
            let record = CredentialRecord { public_key, ..case.record.clone() };
            let expectation = Expectation { credentials: &[record], ..case.expectation() };
            black_box(verify(&expectation, &unverified).unwrap());
        }),
        ("webauthn_rs_core", &|| {
            black_box(case.core.authenticate_credential(black_box(&theirs), &case.state).unwrap());
        }),
        (BUNDLE, &|| {
            black_box(verify_evidence(black_box(evidence), &trust).unwrap());
        }),
    ];
    let mut rates = contenders.map(|_| Vec::with_capacity(ROUNDS));
    for _ in 0..ROUNDS {
        for ((_, work), rates) in contenders.iter().zip(&mut rates) {
            rates.push(round(*work));
        }
    }
    let medians = rates.map(|mut rates| {
        rates.sort_by(f64::total_cmp);
        rates[ROUNDS / 2]
    });
    if std::env::args().any(|argument| argument == "--json") {
        let entry = |((name, _), median): (&(&str, &dyn Fn()), f64)| {
            let figures = json!({"per_second": median.round(), "times_bare": medians[0] / median});
            ((*name).to_owned(), figures)
        };
        let figures: serde_json::Map<_, _> = contenders.iter().zip(medians).map(entry).collect();
        let report = json!({
            "benchmark": "verify",
            "rounds": ROUNDS,
            "medians": figures,
            "bundle": {"bytes": evidence.len(), "milliseconds": milliseconds(medians[4])},
        });
        println!("{report}");
        return;
    }
    println!("{:<32} {:>14} {:>12}", "one core", "verifications/s", "times bare");
    for ((name, _), median) in contenders.iter().zip(medians) {
        println!("{name:<32} {median:>14.0} {:>12.2}", medians[0] / median);
    }
    let kibibytes = evidence.len() / 1024;
    println!("\nOne bundle of two approvers, {kibibytes} KiB: {:.2} ms", milliseconds(medians[4]));
}
