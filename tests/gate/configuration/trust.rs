//! `[trust]` and `[enrolment]`: what can be pinned, and what cannot be meant.

use countersign::config::Config;
use countersign::domain::policy::TrustLevel;
use countersign::proof::base64url;
use countersign::sandbox::authenticator::certificates::Form;

use super::{Folder, GOOD};
use crate::support::attestations::root;
use crate::support::metadata::{Publisher, payload};

/// A COSE key of P-256, and a JSON Web Key.
const ENDORSER: &str = "pQECAyYgASFYIOQvvHPjgfyDCiE9ti_KFp_FJNV17KzObN3uFRiUoEzBIlggGVg3K-rR53IJX9zrmJUU_Vci7CGeQVFUXmC0W1670PM";
const KEY: &str = r#"{"e":"AQAB","kty":"RSA","n":"sXchDaQebHnPiGvyDOAT4saGEUetSyo9MKLOoWFsueri23bOdgWp4Dy1WlUzewbgBHod5pcM9H95GQRV3JDXboIRROSBigeC5yjU1hGzHHyXss8UDprecbAYxknTcQkhslANGRUZmdTOQ5qTRsLAt6BTYuyvVRdhS8exSZEy_c4gs_7svlJJQ4H9_NxsiIoLwAEk7-Q3UXERGYw_75IDrGA84-lA_-Ct4eTlXHBIY2EaV7t7LjJaynVJCpkv4LKjTTAumiGUIuQhrNhZLuF_RJLqHpM2kgWFLU7-VTdL1VbC2tejvcI2BlMkEpk1BzBZI0KQB0GaDWFLN-aEAw3vRw"}"#;

fn with(trust: &str) -> Folder {
    Folder::new(&format!("{GOOD}\n{trust}\n"))
}

#[test]
fn what_counts_as_pinned() {
    let level = |trust: &str| {
        let config = with(trust).load().unwrap();
        assert_eq!(config.trust().level(), config.pins.level());
        let policies = config.environments.values();
        assert!(policies.clone().all(|policy| policy.enrolment.trust == config.pins.level()));
        (config.pins.level(), config.warnings.iter().any(|warning| warning.contains("endors")))
    };
    let (pinned, unpinned) = (TrustLevel::Pinned, TrustLevel::Unpinned);
    assert_eq!(level(""), (unpinned, false));
    assert_eq!(level(&format!("[trust]\nlogin_keys = ['{KEY}']")), (pinned, false));
    // Endorsers count where their signatures are asked for, and whoever forgets the one is warned.
    let endorser = format!("[trust]\nendorsers = [\"{ENDORSER}\"]");
    assert_eq!(level(&endorser), (unpinned, true));
    assert_eq!(level(&format!("{endorser}\n[enrolment]\nendorsements = 1")), (pinned, false));
    assert_eq!(level("[enrolment]\nendorsements = 1"), (unpinned, true));
    let recovery = |trust: &str| with(trust).load().unwrap().trust().recovery_signatures;
    assert_eq!(recovery(&endorser), 1);
    assert_eq!(recovery(&format!("{endorser}\nrecovery_signatures = 1")), 1);
    // Keys of workloads say nothing of people.
    let github = format!("[trust]\nworkload_keys = {{ github = ['{KEY}'] }}");
    assert_eq!(level(&github), (unpinned, false));
    let config = with(&github).load().unwrap();
    assert_eq!(config.trust().workload_issuers[0].keys, [KEY]);
    assert!(config.trust().workload_issuers[1].keys.is_empty());
}

/// Two witnesses.
const WITNESSES: [&str; 2] = [
    "witness.example.org/w1+eba12634+BNdamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea",
    "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2",
];

fn witness(key: &str) -> String {
    format!("[[witness]]\nkey = \"{key}\"\nurl = \"https://witness.example/1/\"\n")
}

#[test]
fn witnesses_are_pinned_by_naming_them() {
    let none = with("").load().unwrap();
    assert!(none.witnesses.is_empty() && none.trust().witnesses.is_empty());
    let both = WITNESSES.map(witness).concat();
    let config = with(&format!("[trust]\nwitnesses_required = 1\n{both}")).load().unwrap();
    let trust = config.trust();
    let expected = WITNESSES.map(str::to_owned);
    assert_eq!((&trust.witnesses[..], trust.witnesses_required), (&expected[..], 1));
    assert!(config.summary().contains("a rollout begins when 1 signed the log"));
    let digest = |folder: Folder| folder.load().unwrap().digest().unwrap();
    assert_ne!(config.digest().unwrap(), digest(with(&both)));
    assert_ne!(none.digest().unwrap(), digest(with(&both)));
}

#[test]
fn witnesses_that_cannot_be_meant_are_refused() {
    let good = witness(WITNESSES[0]);
    let log = "gate.example/log+00000000+AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let cases = [
        (witness(log), "witness.1.key: is no verifier key"),
        (witness(&WITNESSES[0].replace("w1", "w2")), "witness.1.key"),
        (format!("{good}{good}"), "witness.2.key"),
        (good.replace("https", "http"), "use https"),
        (good.replace("https://", ""), "witness.1.url"),
        (good.replace("/1/", "/1?x=1"), "has a query"),
        (good.replace("https://", "https://me:secret@"), "witness.1.url"),
        (good.replace("url", "address"), "unknown field `address`"),
        ("[[witness]]\nurl = \"https://w.example\"".to_owned(), "missing field `key`"),
        (format!("{good}[trust]\nwitnesses_required = 2"), "is 2, and there are 1"),
        ("[trust]\nwitnesses_required = 1".to_owned(), "there are 0"),
        (format!("{good}[trust]\nwitnesses_required = -1"), "is -1"),
    ];
    for (section, words) in cases {
        let said = with(&section).load().unwrap_err().to_string();
        assert!(said.contains(words), "{section}: {said}");
    }
}

#[test]
fn pins_that_cannot_be_meant_are_refused() {
    let spaced = KEY.replace(':', ": ");
    let cases = [
        ("[trust]\nendorsers = [\"AAAA\"]".to_owned(), "trust.endorsers: number 1"),
        (format!("[trust]\nendorsers = [\"{ENDORSER}\", \"{ENDORSER}\"]"), "number 2"),
        (format!("[trust]\nendorsers = [\"{ENDORSER}=\"]"), "trust.endorsers"),
        (format!("[trust]\nlogin_keys = ['{spaced}']"), "trust.login_keys: number 1"),
        (format!("[trust]\nlogin_keys = ['{KEY}', '{KEY}']"), "number 2"),
        (format!("[trust]\nworkload_keys = {{ nobody = ['{KEY}'] }}"), "workload_keys.nobody"),
        ("[trust]\nlog = \"x\"".to_owned(), "log"),
        ("[trust]\nrecovery_signatures = 1".to_owned(), "lists 0 keys"),
        (
            format!("[trust]\nendorsers = [\"{ENDORSER}\"]\nrecovery_signatures = 2"),
            "asks for 2 people",
        ),
        (format!("[trust]\nendorsers = [\"{ENDORSER}\"]\nrecovery_signatures = 0"), "1 to 8"),
        (format!("[trust]\nendorsers = [\"{ENDORSER}\"]\nrecovery_signatures = -1"), "1 to 8"),
        ("[enrolment]\nendorsements = -1".to_owned(), "enrolment.endorsements"),
        ("[enrolment]\nendorsements = 9".to_owned(), "0 to 8"),
    ];
    for (trust, words) in cases {
        let said = with(&trust).load().unwrap_err().to_string();
        assert!(said.contains(words), "{trust}: {said}");
    }
}

/// Makers of security keys are pinned by the certificates in files, beside the configuration or elsewhere.
#[test]
fn makers_are_pinned_by_their_roots() {
    let (one, other) = (root("One Root"), root("Other Root"));
    let text = "[trust]\nattestation_roots = [\"roots/one.pem\", \"roots/more.pem\"]";
    let keys = "expires_in = \"8h\"\nkeys = { attestation = \"trusted\" }";
    let config = GOOD.replacen("expires_in = \"8h\"", keys, 1);
    let folder = Folder::new(&format!("{config}\n{text}\n"));
    folder.write("roots/one.pem", &one.pem());
    let refused = |more: &str, says: &str| {
        folder.write("roots/more.pem", more);
        let problems = folder.refused();
        let is_told =
            |line: &String| line.contains("trust.attestation_roots") && line.contains(says);
        assert!(problems.iter().any(is_told), "{problems:?}");
    };
    let missing = folder.refused();
    assert!(missing[0].contains("roots/more.pem cannot be used"), "{missing:?}");
    refused("", "holds no certificate");
    refused(&one.pem(), "certificate 2 of all is there twice");
    refused(&one.issue(Form::authenticator([7; 16])).unwrap().pem(), "may issue others");
    folder.write("roots/more.pem", &other.pem());
    let config = folder.accepted();
    let roots = [&one, &other].map(|root| base64url::encode(&root.certificate));
    assert_eq!(config.trust().attestation_roots, roots);
    assert_eq!(config.rulebook().unwrap().anchors.attestation_roots, roots);
    let summary = config.summary();
    for name in ["One Root", "Other Root"] {
        assert!(summary.contains(name), "{summary}");
    }
    // Who believes other makers has other rules.
    folder.write("roots/more.pem", &root("Other Root").pem());
    let changed = folder.accepted();
    assert_ne!(changed.rulebook().unwrap(), config.rulebook().unwrap());
    assert_ne!(changed.digest().unwrap(), config.digest().unwrap());
    let under = changed.under(&config.rulebook().unwrap()).unwrap();
    assert_eq!(under.trust().attestation_roots, roots);
    // Without a root nobody could sign.
    let nobody = Folder::new(&GOOD.replacen("expires_in = \"8h\"", keys, 1)).refused();
    assert!(nobody[0].contains("keys.attestation") && nobody[0].contains("no key could sign"));
}

/// What FIDO says of models is read at the start, and is no rule; that it is read, and under which root, is one.
#[test]
fn what_fido_says_of_models_is_read_at_the_start() {
    let (publisher, other) = (Publisher::new(), root("Other Root"));
    let both = "metadata = \"fido.jwt\"\nmetadata_root = \"root.pem\"";
    let folder = with(&format!("[trust]\n{both}"));
    let say = |reports: &[&str]| {
        folder.write("fido.jwt", &publisher.file(&payload(&[([7; 16], "Acme Key 5", reports)])));
        folder.accepted()
    };
    folder.write("root.pem", &publisher.root.pem());
    let missing = folder.refused();
    assert!(
        missing[0].contains("trust.metadata") && missing[0].contains("fido.jwt"),
        "{missing:?}"
    );
    let before = say(&[]);
    let after = say(&["REVOKED"]);
    assert!(
        after
            .summary()
            .contains("number 77, to be replaced by 2049-06-01; models: 1, suspended: 1")
    );
    assert_eq!(after.rulebook().unwrap(), before.rulebook().unwrap());
    let suspended = |config: &Config| {
        let policies = config.authority().policies;
        policies["production"].keys.as_ref().map(|keys| keys.suspended.len())
    };
    assert_eq!((suspended(&before), suspended(&after)), (Some(0), Some(1)));
    assert_eq!(after.environments, before.environments);
    let under = after.clone().under(&before.rulebook().unwrap()).unwrap();
    assert_eq!(under.authority().policies, after.authority().policies);
    assert!(serde_json::to_string(&after.trust()).unwrap().find("REVOKED").is_none());
    let refused = |says: &str| {
        let problems = folder.refused();
        assert!(problems.iter().any(|line| line.contains(says)), "{problems:?}");
    };
    folder.write("fido.jwt", "eyJ");
    refused("trust.metadata: ");
    folder.write("fido.jwt", &publisher.file(&payload(&[])));
    folder.write("root.pem", &other.pem());
    refused("do not end at the pinned root, but at \"Root of metadata\"");
    folder.write("root.pem", &format!("{}{}", publisher.root.pem(), other.pem()));
    refused("holds more than one certificate");
    folder.write("root.pem", "no certificate");
    refused("trust.metadata_root");
    for (line, says) in [
        ("metadata = \"fido.jwt\"", "trust.metadata_root: is missing"),
        ("metadata_root = \"root.pem\"", "trust.metadata: is missing"),
    ] {
        let problems = with(&format!("[trust]\n{line}")).refused();
        assert!(problems[0].contains(says), "{problems:?}");
    }
}
