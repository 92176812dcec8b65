//! Who vouches for an authenticator: what is believed of a registration, and every forgery of it.

use countersign::domain::digest::Digest;
use countersign::domain::key_rules::Vouching;
use countersign::proof::attestation::{AttestationRefusal, judge, vouching};
use countersign::proof::base64url;
use countersign::proof::certificate::{roots_of_pem, unusable_root};
use countersign::proof::registration::{self, Registration, read_attestation_object};
use countersign::sandbox::authenticator::certificates::{Form, Issuer};
use countersign::sandbox::authenticator::{Attestation, SoftwareAuthenticator};
use jiff::Timestamp;
use serde_json::Value;

use crate::evidence::keys::{ORIGIN, RP_ID, creation_options};
use crate::sample_approval::now;
use crate::support::attestations::{all_good, forgeries, of, root};

const VECTORS: &str = include_str!("../data/webauthn-test-vectors.json");

/// The registration of a key whose authenticator says this of its maker.
fn registered(attestation: Attestation) -> Registration {
    let mut authenticator = SoftwareAuthenticator::new();
    authenticator.attestation = attestation;
    let answer = authenticator.create(&creation_options("u-alice"), ORIGIN).unwrap();
    registration::read(answer.to_string().as_bytes(), ORIGIN, RP_ID).unwrap()
}

fn pinned(roots: &[&Issuer]) -> Vec<String> {
    roots.iter().map(|root| base64url::encode(&root.certificate)).collect()
}

#[test]
fn a_maker_with_a_pinned_root_vouches_for_its_authenticators() {
    let (maker, other) = (root("Acme Root"), root("Other Root"));
    let at = |time: &str| time.parse::<Timestamp>().unwrap();
    for (name, attestation) in all_good(&maker) {
        let registration = registered(attestation);
        let judged = |roots: &[&Issuer], at| vouching(&registration, &pinned(roots), at);
        let by_maker = Vouching::Maker("Acme Root".to_owned());
        assert_eq!(judged(&[&maker], now()), by_maker, "{name}");
        assert_eq!(judged(&[&other, &maker], now()), by_maker, "{name}");
        let stranger = Vouching::Stranger("Acme Root".to_owned());
        for roots in [&[][..], &[&other]] {
            assert_eq!(judged(roots, now()), stranger, "{name}");
        }
        // It is valid from its first second to its last.
        for time in ["2020-01-01T00:00:00Z", "2049-12-31T23:59:59.9Z"] {
            assert_eq!(judged(&[&maker], at(time)), by_maker, "{name} {time}");
        }
        for time in ["2019-12-31T23:59:59.9Z", "2050-01-01T00:00:00Z"] {
            assert!(matches!(judged(&[&maker], at(time)), Vouching::Nobody(_)), "{name} {time}");
        }
    }
}

#[test]
fn every_forgery_is_refused_for_its_own_reason() {
    let maker = root("Acme Root");
    for (name, attestation, says) in forgeries(&maker) {
        match vouching(&registered(attestation), &pinned(&[&maker]), now()) {
            Vouching::Nobody(why) => assert!(why.contains(says), "{name}: {why}"),
            Vouching::Stranger(_) => assert!(says.contains("whose roots are pinned"), "{name}"),
            Vouching::Maker(who) => panic!("{name}: {who}"),
        }
    }
}

#[test]
fn a_root_that_is_no_longer_good_vouches_for_nobody() {
    let old = |change: &dyn Fn(&mut Form)| {
        let mut form = Form::authority("Old Root");
        change(&mut form);
        Issuer::root(form).unwrap()
    };
    let expired = old(&|form| form.valid = ["200101000000Z", "200201000000Z"]);
    let no_authority = old(&|form| form.is_authority = Some(false));
    for root in [expired, no_authority] {
        let found = vouching(&registered(of(&root)), &pinned(&[&root]), now());
        assert_eq!(found, Vouching::Stranger("Old Root".to_owned()));
    }
}

/// One bit of the statement, of the authenticator data or of the client data changed, and nobody vouches.
#[test]
fn what_was_signed_cannot_be_changed() {
    let maker = root("Acme Root");
    let good = registered(of(&maker));
    let judged = |registration: &Registration| judge(registration, &pinned(&[&maker]), now());
    assert!(judged(&good).is_ok());
    for place in 0..good.credential.authenticator_data.len() {
        let mut changed = good.clone();
        changed.credential.authenticator_data[place] ^= 1;
        assert_eq!(judged(&changed), Err(AttestationRefusal::Signature));
    }
    let mut changed = good.clone();
    changed.client_data_hash[0] ^= 1;
    assert_eq!(judged(&changed), Err(AttestationRefusal::Signature));
    let mut changed = good;
    changed.credential.aaguid[0] ^= 1;
    assert!(judged(&changed).unwrap_err().to_string().contains("of another model"));
}

/// The W3C's own registrations, under its own root.
#[test]
fn the_vectors_of_the_w3c() {
    let file: Value = serde_json::from_str(VECTORS).unwrap();
    let hex =
        |value: &Value| data_encoding::HEXLOWER.decode(value.as_str().unwrap().as_bytes()).unwrap();
    let vectors = file["vectors"].as_array().unwrap();
    let roots = [base64url::encode(&hex(&vectors[0]["data"]["attestation_ca_cert"]))];
    let mut verdicts = Vec::new();
    for vector in vectors.iter().filter(|vector| vector.get("registration").is_some()) {
        let name = vector["id"].as_str().unwrap().strip_prefix("sctn-test-vectors-").unwrap();
        let registration = &vector["registration"];
        let Ok(credential) = read_attestation_object(&hex(&registration["attestationObject"]))
        else {
            verdicts.push(format!("{name}: a key that is not supported"));
            continue;
        };
        let client_data_hash = *Digest::of(hex(&registration["clientDataJSON"])).as_bytes();
        let (challenge, transports) = (Vec::new(), Vec::new());
        let registration = Registration { challenge, client_data_hash, credential, transports };
        verdicts.push(match judge(&registration, &roots, now()) {
            Ok(vouching) => format!("{name}: {vouching:?}"),
            Err(refusal) => format!("{name}: {refusal}"),
        });
    }
    insta::assert_snapshot!(verdicts.join("\n"), @r#"
    none-es256: the browser passed no attestation on
    packed-self-es256: it vouches for itself alone, as any software can
    none-es256-crossOrigin: the browser passed no attestation on
    none-es256-topOrigin: the browser passed no attestation on
    none-es256-long-credential-id: the browser passed no attestation on
    packed-es256: Maker("WebAuthn test vectors")
    packed-es384: Maker("WebAuthn test vectors")
    packed-es512: a key that is not supported
    packed-rs256: Maker("WebAuthn test vectors")
    packed-eddsa: Maker("WebAuthn test vectors")
    packed-ed448: a key that is not supported
    tpm-es256: its attestation is in the format "tpm", and packed alone is understood here
    android-key-es256: its attestation is in the format "android-key", and packed alone is understood here
    apple-es256: its attestation is in the format "apple", and packed alone is understood here
    fido-u2f-es256: its attestation is in the format "fido-u2f", and packed alone is understood here
    "#);
}

#[test]
fn roots_are_read_from_files() {
    let (one, other) = (root("One"), root("Other"));
    let both = format!("Root of Acme\n{}\n{}", one.pem(), other.pem());
    assert_eq!(roots_of_pem(&both).unwrap(), pinned(&[&one, &other]));
    let leaf = one.issue(Form::authenticator([7; 16])).unwrap();
    for (text, says) in [
        (String::new(), "holds no certificate"),
        ("certificate".to_owned(), "holds no certificate"),
        (one.pem().replace("CERTIFICATE", "PRIVATE KEY"), "holds a \"PRIVATE KEY\""),
        (one.pem().replace("MII", "MIX"), "certificate 1 of it is none"),
        (one.pem().replace("-----END", "----END"), "no file of PEM blocks"),
        (leaf.pem(), "none that may issue others"),
        (format!("{}{}", other.pem(), leaf.pem()), "certificate 2 of it"),
    ] {
        let why = roots_of_pem(&text).unwrap_err();
        assert!(why.contains(says), "{why}");
    }
    assert_eq!(unusable_root(&pinned(&[&one, &other])), None);
    assert_eq!(unusable_root(&pinned(&[&one, &other, &one])), Some(3));
    assert_eq!(unusable_root(&["AAAA".to_owned()]), Some(1));
}
