//! FIDO's metadata: what is believed of a file, and what becomes of keys whose model it says something against.

use std::time::Duration;

use countersign::cli::demo::approver::Approver;
use countersign::config::Config;
use countersign::domain::key_rules::Aaguid;
use countersign::proof::base64url;
use countersign::proof::metadata::{Metadata, MetadataRefusal, read};
use countersign::sandbox::authenticator::SoftwareAuthenticator;
use countersign::sandbox::authenticator::certificates::{Form, Issuer};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::attestations::root;
use crate::support::gate::{Engine, Gate, on_both_engines};
use crate::support::metadata::{Publisher, payload, signed, x5c};

on_both_engines!(
    a_suspended_model_signs_nothing,
    what_was_signed_before_does_not_begin,
    rules_change_while_a_model_is_suspended,
    a_configuration_that_leaves_it_out_is_none_to_start_with,
);

/// Two models, of which the first is the one that something is said against.
const MODELS: [[u8; 16]; 2] = [*b"acme-keys-five-0", *b"acme-keys-six-00"];

fn judged(publisher: &Publisher, file: &str) -> Result<Metadata, MetadataRefusal> {
    read(file, &base64url::encode(&publisher.root.certificate))
}

#[test]
fn what_is_said_against_a_model_suspends_it() {
    let publisher = Publisher::new();
    let said = |reports: &[&str]| {
        let file = publisher.file(&payload(&[(MODELS[0], "Acme Key 5", reports)]));
        let known = judged(&publisher, &format!("{file}\n")).unwrap();
        assert_eq!((known.number(), known.len()), (77, 1));
        assert_eq!(known.name(Aaguid(MODELS[0])), Some("Acme Key 5"));
        assert_eq!((known.name(Aaguid(MODELS[1])), known.against(Aaguid(MODELS[1]))), (None, None));
        let against = known.against(Aaguid(MODELS[0])).map(str::to_owned);
        assert_eq!(known.suspended().count(), usize::from(against.is_some()));
        against
    };
    for status in [
        "REVOKED",
        "USER_VERIFICATION_BYPASS",
        "ATTESTATION_KEY_COMPROMISE",
        "USER_KEY_REMOTE_COMPROMISE",
        "USER_KEY_PHYSICAL_COMPROMISE",
    ] {
        let expected = Some(format!("{status} since 2026-01-05"));
        assert_eq!(said(&["FIDO_CERTIFIED_L1", status]), expected);
        // What comes later takes nothing back: keys that were made before have the same model.
        assert_eq!(said(&[status, "UPDATE_AVAILABLE", "FIDO_CERTIFIED_L2"]), expected);
    }
    for reports in
        [&[][..], &["NOT_FIDO_CERTIFIED"], &["UPDATE_AVAILABLE", "SELF_ASSERTION_SUBMITTED"]]
    {
        assert_eq!(said(reports), None, "{reports:?}");
    }
    // Said twice of one model, it is said.
    let twice = [(MODELS[0], "Acme", &["REVOKED"][..]), (MODELS[0], "Acme", &["FIDO_CERTIFIED"])];
    let known = judged(&publisher, &publisher.file(&payload(&twice))).unwrap();
    assert!(known.against(Aaguid(MODELS[0])).is_some());
}

#[test]
fn a_file_that_fido_did_not_sign_is_refused() {
    let publisher = Publisher::new();
    let good = payload(&[(MODELS[0], "Acme Key 5", &["REVOKED"])]);
    let header = |alg: &str, chain: Value| json!({"alg": alg, "typ": "JWT", "x5c": chain});
    let (eve, other) = (root("Eve"), publisher.authority.issue(Form::server("mds.example.org")));
    let (eve_server, other) =
        (eve.issue(Form::server("mds.fidoalliance.org")).unwrap(), other.unwrap());
    let namesake = Publisher::new();
    let by = |signer: &Issuer, chain: &[&Issuer]| {
        signed(&header("ES256", x5c(chain)), &good, |input| fixed(&signer.sign(input).unwrap()))
    };
    let file = publisher.file(&good);
    let (start, signature) = file.rsplit_once('.').unwrap();
    let first = start.split('.').next().unwrap();
    let others = publisher.file(&payload(&[])).split('.').nth(1).unwrap().to_owned();
    for (file, says) in [
        (String::new(), "no signed file"),
        ("eyJ9.e30".to_owned(), "no signed file"),
        (by(&eve_server, &[&eve_server]), "do not end at the pinned root, but at \"Eve\""),
        (by(&eve_server, &[&eve_server, &eve]), "do not end at the pinned root, but at \"Eve\""),
        (namesake.file(&good), "do not end at the pinned root, but at \"Root of metadata\""),
        (by(&other, &[&other, &publisher.authority]), "and not by mds.fidoalliance.org"),
        (by(&eve, &[&publisher.server, &publisher.authority]), "its signature does not hold"),
        (format!("{first}.{others}.{signature}"), "its signature does not hold"),
        (format!("{start}."), "its signature does not hold"),
        (publisher.file_with(&header("none", publisher.chain()), &good), "its header names"),
        (publisher.file_with(&header("HS256", publisher.chain()), &good), "its header names"),
        (publisher.file_with(&json!({"alg": "RS256"}), &good), "its header names no certificates"),
        (publisher.file_with(&header("RS256", json!([7])), &good), "its header names"),
        (publisher.file_with(&header("RS256", json!([])), &good), "no certificate, or more than 6"),
        (
            publisher.file_with(&header("RS256", x5c(&[&publisher.server])), &good),
            "but at \"Authority of metadata\"",
        ),
        (
            publisher.file_with(
                &json!({"alg": "RS256", "crit": ["b64"], "x5c": publisher.chain()}),
                &good,
            ),
            "its signature does not hold",
        ),
    ] {
        let refusal = judged(&publisher, &file).unwrap_err().to_string();
        assert!(refusal.contains(says), "{refusal} is not {says}");
    }
    for (member, value) in [
        ("no", json!(-1)),
        ("no", json!("77")),
        ("nextUpdate", json!("soon")),
        ("entries", json!({})),
        ("entries", json!([{"aaguid": "Acme", "statusReports": []}])),
        ("entries", json!([{"aaguid": Aaguid(MODELS[0]).to_string()}])),
        ("entries", json!([{"statusReports": [{"status": 7}]}])),
    ] {
        let mut bad = good.clone();
        bad[member] = value;
        let refusal = judged(&publisher, &publisher.file(&bad)).unwrap_err().to_string();
        assert!(refusal.contains("what it says cannot be read"), "{member}: {refusal}");
    }
}

#[test]
fn certificates_are_judged_as_of_the_day_until_which_the_file_is_good() {
    let good = payload(&[(MODELS[0], "Acme Key 5", &["REVOKED"])]);
    let with = |valid: [&'static str; 2], next_update: &str| {
        let mut publisher = Publisher::new();
        let form = Form { valid, ..Form::server("mds.fidoalliance.org") };
        publisher.server = publisher.authority.issue(form).unwrap();
        let mut payload = good.clone();
        payload["nextUpdate"] = json!(next_update);
        let header = json!({"alg": "ES256", "x5c": publisher.chain()});
        let sign = |input: &[u8]| fixed(&publisher.server.sign(input).unwrap());
        judged(&publisher, &signed(&header, &payload, sign))
    };
    // An old file is one to be warned of. So is one that is good for longer than its certificate.
    let known = with(["250101000000Z", "260101000000Z"], "2025-07-01").unwrap();
    let at = |time: &str| known.overdue(time.parse().unwrap());
    assert_eq!(at("2025-07-01T23:59:59Z"), None);
    assert!(
        at("2025-07-02T00:00:00Z").unwrap().contains("number 77, was to be replaced by 2025-07-01")
    );
    assert!(with(["250101000000Z", "260101000000Z"], "2026-02-01").is_ok());
    // A certificate that came later signed nothing that was good before.
    let refusal = with(["250101000000Z", "260101000000Z"], "2024-12-31").unwrap_err().to_string();
    assert!(refusal.contains("was not valid at that time"), "{refusal}");
}

/// A signature as JSON Web Signatures have it (RFC 7518, section 3.4), from its DER: two numbers of 32 bytes.
fn fixed(der: &[u8]) -> Vec<u8> {
    let number = |at: usize| {
        let length = usize::from(der[at + 1]);
        let bytes = &der[at + 2..at + 2 + length];
        let bytes = &bytes[bytes.len().saturating_sub(32)..];
        ([vec![0; 32 - bytes.len()], bytes.to_vec()].concat(), at + 2 + length)
    };
    let (r, next) = number(2);
    [r, number(next).0].concat()
}

/// A gate that knows a file, and the folder that this file is in.
struct Known {
    publisher: Publisher,
    folder: TempDir,
}

impl Known {
    fn new() -> Self {
        let (publisher, folder) = (Publisher::new(), tempfile::tempdir().unwrap());
        std::fs::write(folder.path().join("root.pem"), publisher.root.pem()).unwrap();
        let known = Self { publisher, folder };
        known.say(&[]);
        known
    }

    /// Publishes a file that says this against the first model.
    fn say(&self, reports: &[&str]) {
        let models = [(MODELS[0], "Acme Key 5", reports), (MODELS[1], "Acme Key 6", &[])];
        let file = self.publisher.file(&payload(&models));
        std::fs::write(self.folder.path().join("fido.jwt"), file).unwrap();
    }

    /// The section that names it.
    fn trust(&self) -> String {
        let path = |name: &str| self.folder.path().join(name);
        format!(
            "[trust]\nmetadata = {:?}\nmetadata_root = {:?}\n",
            path("fido.jwt"),
            path("root.pem")
        )
    }

    /// A gate where two people sign, for which each may use whatever key.
    async fn gate(&self, engine: Engine) -> Gate {
        let section = self.trust();
        Gate::start_with(engine, |config| {
            config.replace("[trust]\n", &section).replace("count = 1", "count = 2")
        })
        .await
    }
}

/// The gate after a restart with the same configuration.
async fn again(gate: Gate) -> Gate {
    let config = std::fs::read_to_string(&gate.servers.files.config).unwrap();
    gate.restart_with(|_| config).await
}

/// Whether the gate ends instead of serving.
async fn ends(gate: &Gate) -> bool {
    for _ in 0..100 {
        if gate.http.get(gate.url("/health/ready")).send().await.is_err() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    false
}

/// Registers a key of this model, and goes on with it.
async fn take_key_of(person: &mut Approver, model: [u8; 16]) {
    let mut key = SoftwareAuthenticator::new();
    key.model = model;
    person.register_key_on(&mut key).await.unwrap();
    person.authenticator = key;
}

async fn approver(gate: &Gate, name: &str, model: [u8; 16]) -> Approver {
    let mut person = Approver::new(&gate.servers.gate).unwrap();
    person.sign_in(name).await.unwrap();
    take_key_of(&mut person, model).await;
    person
}

async fn a_suspended_model_signs_nothing(engine: Engine) {
    let known = Known::new();
    let gate = known.gate(engine).await;
    let mut alice = approver(&gate, "alice", MODELS[0]).await;
    let mut bob = approver(&gate, "bob", MODELS[1]).await;
    let before = gate.rules().await;
    let page = alice.browser.open("/keys", "alice").await.unwrap();
    assert!(page.contains("Acme Key 5") && page.contains("Can sign"), "{page}");
    let waiting = gate.asked(json!({"subject": {"steps": [100]}})).await;

    // A newer file counts from the next start on. Nobody has to sign for it: the rules are the same.
    known.say(&["USER_VERIFICATION_BYPASS"]);
    let gate = again(gate).await;
    gate.rules_wait_for(false).await;
    assert_eq!(gate.rules().await["digest"], before["digest"]);
    let page = alice.browser.open("/keys", "alice").await.unwrap();
    let says = "says of its model: USER_VERIFICATION_BYPASS since 2026-01-05";
    assert!(page.contains(says) && page.contains("Suspended"), "{page}");
    let id = gate.asked(json!({"subject": {"steps": [100]}})).await;
    for id in [&waiting, &id] {
        let refused = alice.statement(id, json!({"decision": "approve"})).await.unwrap_err();
        assert!(refused.contains("key_model_suspended") && refused.contains("409"), "{refused}");
        assert!(refused.contains("Use a key of another model"), "{refused}");
    }
    let environments = gate.get("/v1/environments").await.body;
    let suspended = &environments["environments"][0]["keys"]["suspended"];
    assert_eq!(*suspended, json!([Aaguid(MODELS[0]).to_string()]), "{environments:#}");
    // Whoever has a key of another model signs, and so does she once she has one.
    bob.approve(&id).await.unwrap();
    take_key_of(&mut alice, MODELS[1]).await;
    alice.approve(&id).await.unwrap();
    assert_eq!(gate.ended(&id).await["status"], "succeeded");
    gate.proved(&id).await;
    gate.finish().await;
}

async fn what_was_signed_before_does_not_begin(engine: Engine) {
    let known = Known::new();
    let gate = known.gate(engine).await;
    let mut alice = approver(&gate, "alice", MODELS[0]).await;
    let mut bob = approver(&gate, "bob", MODELS[1]).await;
    let id = gate.asked(json!({"subject": {"steps": [100]}})).await;
    alice.approve(&id).await.unwrap();
    known.say(&["REVOKED"]);
    let gate = again(gate).await;
    bob.approve(&id).await.unwrap();
    let ended = gate.ended(&id).await;
    assert_eq!(ended["status"], "needs_attention", "{ended:#}");
    let sentence = ended["status_sentence"].as_str().unwrap();
    assert!(
        sentence.contains("suspended by now") && sentence.contains("REVOKED since"),
        "{sentence}"
    );
    assert_eq!(gate.changes_of_cloud_run().await, 0);
    gate.finish().await;
}

async fn rules_change_while_a_model_is_suspended(engine: Engine) {
    let known = Known::new();
    known.say(&["REVOKED"]);
    let gate = known.gate(engine).await;
    let mut alice = approver(&gate, "alice", MODELS[0]).await;
    let mut bob = approver(&gate, "bob", MODELS[1]).await;
    let config = std::fs::read_to_string(&gate.servers.files.config).unwrap();
    let gate = gate.restart_with(|_| config.replace("count = 2", "count = 1")).await;
    gate.rules_wait_for(true).await;
    let change = gate.rule_change().await;
    let refused = alice.statement(&change, json!({"decision": "approve"})).await.unwrap_err();
    assert!(refused.contains("key_model_suspended"), "{refused}");
    take_key_of(&mut alice, MODELS[1]).await;
    alice.approve(&change).await.unwrap();
    bob.approve(&change).await.unwrap();
    gate.rules_wait_for(false).await;
    let id = gate.asked(json!({"subject": {"steps": [100]}})).await;
    bob.approve(&id).await.unwrap();
    assert_eq!(gate.ended(&id).await["status"], "succeeded");
    gate.finish().await;
}

async fn a_configuration_that_leaves_it_out_is_none_to_start_with(engine: Engine) {
    let known = Known::new();
    known.say(&["REVOKED"]);
    let gate = known.gate(engine).await;
    let section = known.trust();
    let file = gate.servers.files.config.clone();
    let config = std::fs::read_to_string(&file).unwrap();
    let load = |text: &str| {
        std::fs::write(&file, text).unwrap();
        Config::load(&file, &Default::default()).unwrap()
    };
    let own = load(&config).rulebook().unwrap();
    let without = load(&config.replace(&section, "[trust]\n"));
    assert_ne!(without.rulebook().unwrap(), own, "leaving it out is a change of the rules");
    // Until that is signed, the gate does not serve without it.
    let left_out = config.replace(&section, "[trust]\n");
    let gate = gate.restart(|_| left_out, async |_: &Gate| ()).await;
    assert!(ends(&gate).await);
    gate.servers.stop().await;
}
