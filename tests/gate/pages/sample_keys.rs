//! Keys of people, in every state.

use countersign::domain::digest::Digest;
use countersign::domain::key_rules::Vouching;
use countersign::domain::loss::{LOSS_SCHEMA, LossReport};
use countersign::domain::person::Person;
use countersign::domain::recovery::{FrozenRecovery, Kept, NamedHead, Recovery, Signer};
use countersign::proof::base64url;
use countersign::web::views::Surroundings;
use countersign::web::views::endorsement::Enrolment;
use countersign::web::views::keys::{
    EndorsedBy, KeyListing, KeyNote, KeyNoteSays, KeyStatus, LossPage, PersonsKeys, RevokedBy,
};
use countersign::web::views::recovery::Lost;
use jiff::Timestamp;

use crate::sample_approval::{minutes_ago, now, person};

/// A key in every state.
pub fn keys(created_at: Timestamp) -> Vec<KeyListing> {
    let key = |name: &str, status, is_device_bound| KeyListing {
        id: base64url::encode(name.as_bytes()),
        name: name.into(),
        model: None,
        vouching: Some(Vouching::Nobody("the browser passed no attestation on".to_owned())),
        aaguid: Some("ee882879-721c-4913-9775-3dfcce97072a".into()),
        is_device_bound,
        created_at,
        last_used_at: None,
        status,
        public_key: "pQECAyYgASFYIOQvvHPjgfyDCiE9ti_KFp_FJNV17KzObN3uFRiUoEzB".into(),
        code: "7QX4-M2PD".into(),
        endorsed_by: EndorsedBy::People(vec!["Dan Okafor".into()]),
        endorse_at: None,
    };
    vec![
        KeyListing {
            model: Some("YubiKey 5 NFC".into()),
            vouching: Some(Vouching::Maker("Yubico U2F Root CA".into())),
            last_used_at: Some(minutes_ago(2)),
            ..key("Blue YubiKey", KeyStatus::Active, true)
        },
        key("Phone", KeyStatus::Unconfirmed, false),
        KeyListing {
            endorsed_by: EndorsedBy::People(Vec::new()),
            endorse_at: Some("/keys/TmV3IGtleQ/endorsement".into()),
            ..key("New key", KeyStatus::Waiting { missing: 1 }, true)
        },
        key("Old key", KeyStatus::Suspended, true),
        KeyListing {
            vouching: Some(Vouching::Stranger("Eve Root".into())),
            ..key(
                "Key of a model",
                KeyStatus::ModelSuspended("REVOKED since 2026-01-05".into()),
                true,
            )
        },
        key(
            "Given up",
            KeyStatus::Revoked(Some(revoked_by("Carol Nakamura", "left in a taxi"))),
            true,
        ),
        key("Lost key", KeyStatus::Lost { since: minutes_ago(50), reported: minutes_ago(3) }, true),
    ]
}

/// What two environments say of these keys.
pub fn notes() -> Vec<KeyNote> {
    let note = |environment: &str, says| KeyNote { environment: environment.into(), says };
    vec![
        note("production", KeyNoteSays::SignUntil(minutes_ago(-6 * 24 * 60))),
        note("payments", KeyNoteSays::Refused("the key \"Phone\" does not sign here".into())),
    ]
}

/// What is reported of a lost key.
pub fn loss_page(around: Surroundings<'_>) -> LossPage {
    let report = LossReport {
        schema: LOSS_SCHEMA.into(),
        credential: "Xo3kq2M0T4aVb6yQpLz8dw".into(),
        person: person("alice.moreau"),
        since: minutes_ago(50),
        audience: "https://gate.acme.example".into(),
        nonce: "nonce".into(),
    };
    LossPage::new(("Blue YubiKey", &report), vec!["Laptop".into()], "x", around)
}

pub fn revoked_by(name: &str, reason: &str) -> RevokedBy {
    RevokedBy { name: name.into(), at: minutes_ago(1), reason: reason.into() }
}

/// Everybody's keys.
pub fn people(created_at: Timestamp) -> Vec<PersonsKeys> {
    let person = |name: &str, keys| PersonsKeys {
        name: name.into(),
        email: Some(format!("{}@example.com", name.to_lowercase().replace(' ', "."))),
        subject: format!("u-{}", name.len()),
        keys,
    };
    vec![
        person("Bob Lindqvist", keys(created_at)),
        person(
            "Carol Nakamura",
            vec![KeyListing { id: "Y2Fyb2w".into(), ..keys(created_at).remove(0) }],
        ),
    ]
}

/// A new key that waits for Bob.
pub fn enrolment() -> Enrolment {
    let mut person = people(now()).remove(1);
    person.keys = keys(now()).into_iter().filter(|key| key.endorse_at.is_some()).collect();
    let record = r#"{"at":"2026-11-24T14:00:00Z","data":{},"kind":"credential.registered"}"#;
    Enrolment { person, record: record.into(), digest: Digest::of(record), is_own: false }
}

/// A recovery that one of two people has signed.
pub fn recovery() -> (FrozenRecovery, Lost) {
    let signer = |subject: &str| Signer {
        person: Person { issuer: "https://login.example.com".into(), subject: subject.into() },
        credential: base64url::encode(subject.as_bytes()),
        public_key: "pQECAyYgASFYIOQvvHPjgfyDCiE9ti_KFp_FJNV17KzObN3uFRiUoEzB".into(),
        backup_eligible: false,
    };
    let signers = vec![signer("u-alice"), signer("u-bob"), signer("u-carol")];
    let statement = FrozenRecovery::of(Recovery {
        outside: NamedHead {
            name: "gate.example.com/log".into(),
            size: 48_231,
            root: Digest::of("outside"),
        },
        database: Kept { size: 48_102, root: Digest::of("database") },
        new_name: "gate.example.com/log/recovered-1".into(),
        revoked: vec![base64url::encode(b"a key that was lost on a train")],
        signers: signers.clone(),
        audience: "https://gate.example.com".into(),
        nonce: base64url::encode(&[7; 32]),
        issued_at: minutes_ago(4),
        expires_at: minutes_ago(-11),
    });
    let lost = Lost {
        last_entry_at: Some(minutes_ago(8 * 60)),
        open: Vec::new(),
        signed: signers[..1].to_vec(),
        needed: 2,
        request_options: "{}".into(),
    };
    (statement.unwrap(), lost)
}
