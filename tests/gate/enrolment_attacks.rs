//! Whoever wants a key of their own to count as somebody else's: every way that we know of, one after the other,
//! against a gate that works. None of them leads to a key that can sign.

use countersign::cli::demo::approver::Approver;
use countersign::sandbox::authenticator::SoftwareAuthenticator;
use serde_json::{Value, json};

use crate::attested_keys::{asking, with_key};
use crate::endorsing::endorsing;
use crate::forgery::attacker::Attacker;
use crate::support::attestations::{forgeries, of, root};
use crate::support::gate::{Engine, Gate, on_both_engines};

on_both_engines!(
    no_attack_on_enrolment_gives_a_usable_key,
    no_software_key_is_usable_where_a_maker_is_asked_for,
);

/// Who attacks, and with what in hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// The cookie of a victim who has a key; at the directory the attacker is somebody else.
    HijackedSession,
    /// The same of a victim who has none yet.
    HijackedSessionWithoutKey,
    /// The victim's session, and the victim's account at the directory.
    HijackedSessionAndDirectory,
    /// The same, and the signature over another registration is handed in for this one.
    SignatureForAnother,
    /// The link to the sign-in that vouches, in the attacker's browser.
    StolenLink,
    /// The same link, opened by the victim, who signs in.
    LinkSentToVictim,
    /// A one-time link of the first key that was opened before.
    FirstKeyLink,
    /// A script in the victim's page hands in a key of the attacker's; the victim touches and confirms nothing.
    ScriptInThePage,
    /// A script in the page of a victim without a key, who then signs in unsuspecting.
    ScriptAndVictimSignsIn,
    /// An operator registers a key of their own and endorses it.
    OperatorEndorsesOwn,
    /// An operator with the database writes a key into the victim's name.
    OperatorPlantsRow,
    /// An operator with the database says that the victim's keys are gone, to skip their signature.
    OperatorHidesKeys,
}

const WAYS: [Way; 12] = [
    Way::HijackedSession,
    Way::HijackedSessionWithoutKey,
    Way::HijackedSessionAndDirectory,
    Way::SignatureForAnother,
    Way::StolenLink,
    Way::LinkSentToVictim,
    Way::FirstKeyLink,
    Way::ScriptInThePage,
    Way::ScriptAndVictimSignsIn,
    Way::OperatorEndorsesOwn,
    Way::OperatorPlantsRow,
    Way::OperatorHidesKeys,
];

/// One attack: what stopped it, and the authenticator whose key was to count.
struct Outcome {
    stopped: String,
    key: SoftwareAuthenticator,
    victim: &'static str,
}

/// The scene: Alice has a key, and carol has none; dan may sign nowhere and is the attacker.
struct Scene<'a> {
    gate: &'a Gate,
    alice: Approver,
    attacker: Attacker,
}

impl Scene<'_> {
    /// A key that the attacker makes for a registration that was begun in this browser.
    async fn made(
        &self,
        browser: &mut Approver,
        key: &mut SoftwareAuthenticator,
    ) -> (String, Value) {
        let begun = browser.begin_registration().await.unwrap();
        let made = key.create(&begun["creation_options"], &self.gate.servers.gate).unwrap();
        (format!("/keys/ceremonies/{}", begun["id"].as_str().unwrap()), made)
    }

    /// A browser with the cookies of another one.
    fn stolen(&self, from: &Approver) -> Approver {
        let mut thief = Approver::new(&self.gate.servers.gate).unwrap();
        thief.browser = from.browser.clone();
        thief
    }

    async fn signed_in(&self, name: &str) -> Approver {
        let mut person = Approver::new(&self.gate.servers.gate).unwrap();
        person.sign_in(name).await.unwrap();
        person
    }

    async fn attack(&mut self, way: Way) -> Outcome {
        let mut key = SoftwareAuthenticator::new();
        let victim = match way {
            Way::HijackedSessionWithoutKey | Way::ScriptAndVictimSignsIn => "carol",
            _ => "alice",
        };
        let stopped = match way {
            Way::HijackedSession => {
                let mut thief = self.stolen(&self.alice);
                let (path, made) = self.made(&mut thief, &mut key).await;
                let received = thief.browser.post(&path, &made).await.unwrap();
                assert!(received["own_key"].is_object() && received["continue"].is_null());
                self.vouched(&mut thief, &path, "dan").await
            }
            Way::HijackedSessionWithoutKey => {
                let carol = self.signed_in("carol").await;
                let mut thief = self.stolen(&carol);
                let (path, made) = self.made(&mut thief, &mut key).await;
                thief.browser.post(&path, &made).await.unwrap();
                self.vouched(&mut thief, &path, "dan").await
            }
            Way::HijackedSessionAndDirectory => {
                let mut thief = self.stolen(&self.alice);
                let (path, made) = self.made(&mut thief, &mut key).await;
                thief.browser.post(&path, &made).await.unwrap();
                self.vouched(&mut thief, &path, "alice").await
            }
            Way::SignatureForAnother => self.signature_for_another(&mut key).await,
            Way::StolenLink | Way::LinkSentToVictim => {
                let mut thief = self.stolen(&self.alice);
                let (path, made) = self.made(&mut thief, &mut key).await;
                thief.browser.post(&path, &made).await.unwrap();
                let name = if way == Way::StolenLink { "dan" } else { "alice" };
                let mut other = self.signed_in(name).await;
                self.vouched(&mut other, &path, name).await
            }
            Way::FirstKeyLink => {
                let mut dan = self.signed_in("dan").await;
                let body = json!({"token": "A".repeat(43)});
                let refused = dan.browser.post("/keys/first", &body).await.unwrap_err();
                let (path, made) = self.made(&mut dan, &mut key).await;
                dan.browser.post(&path, &made).await.unwrap();
                self.vouched(&mut dan, &path, "alice").await + &refused
            }
            Way::ScriptInThePage => {
                let mut page = self.stolen(&self.alice);
                let (path, made) = self.made(&mut page, &mut key).await;
                let received = page.browser.post(&path, &made).await.unwrap();
                // It has no key to sign with, and signs with the new one.
                page.authenticator = key.clone();
                let mut wanted = received["own_key"].clone();
                wanted["request_options"]["allowCredentials"] = json!([]);
                let signed = page.signed(&wanted, &[]).unwrap();
                let refused = page.browser.post(&format!("{path}/signatures"), &signed).await;
                refused.unwrap_err()
            }
            Way::ScriptAndVictimSignsIn => {
                let mut page = self.signed_in("carol").await;
                let (path, made) = self.made(&mut page, &mut key).await;
                page.browser.post(&path, &made).await.unwrap();
                // It is hers by the directory's word, and waits for somebody who compares its code with hers.
                let id = path.rsplit('/').next().unwrap();
                page.browser.open(&format!("/sign-in?ceremony={id}"), "carol").await.unwrap();
                "waits for an endorsement".to_owned()
            }
            Way::OperatorEndorsesOwn => {
                let mut dan = self.signed_in("dan").await;
                dan.register_key_on(&mut key).await.unwrap();
                dan.authenticator = key.clone();
                let own = key.newest_credential().unwrap();
                dan.endorse(&own).await.unwrap_err()
            }
            Way::OperatorPlantsRow => {
                key = self.gate.approver("bob").await.authenticator;
                let sql = "UPDATE credentials SET subject = 'u-alice' WHERE subject = 'u-bob'";
                self.attacker.run(sql).await;
                "what the directory signed is of somebody else".to_owned()
            }
            Way::OperatorHidesKeys => {
                let hide = "UPDATE credentials SET status = 'suspended', suspended_why = 'x' WHERE subject = 'u-alice'";
                self.attacker.run(hide).await;
                let mut thief = self.stolen(&self.alice);
                let (path, made) = self.made(&mut thief, &mut key).await;
                thief.browser.post(&path, &made).await.unwrap();
                let stopped = self.vouched(&mut thief, &path, "alice").await;
                let back = "UPDATE credentials SET status = 'active', suspended_why = NULL WHERE subject = 'u-alice'";
                self.attacker.run(back).await;
                stopped
            }
        };
        Outcome { stopped, key, victim }
    }

    /// What the gate says when the directory is asked to vouch, and this name signs in there.
    async fn vouched(&self, browser: &mut Approver, path: &str, name: &str) -> String {
        let id = path.rsplit('/').next().unwrap();
        let page = browser.browser.clone().open(&format!("/sign-in?ceremony={id}"), name).await;
        page.err().unwrap_or_else(|| "NOTHING".to_owned())
    }

    /// Alice signs for a key that she makes; the signature is handed in for the attacker's.
    async fn signature_for_another(&mut self, key: &mut SoftwareAuthenticator) -> String {
        let mut thief = self.stolen(&self.alice);
        let (path, made) = self.made(&mut thief, key).await;
        thief.browser.post(&path, &made).await.unwrap();
        let mut hers = SoftwareAuthenticator::new();
        let begun = self.alice.begin_registration().await.unwrap();
        let registration = hers.create(&begun["creation_options"], &self.gate.servers.gate);
        let own = format!("/keys/ceremonies/{}", begun["id"].as_str().unwrap());
        let received = self.alice.browser.post(&own, &registration.unwrap()).await.unwrap();
        let signed = self.alice.signed(&received["own_key"], &[]).unwrap();
        let taken = thief.browser.post(&format!("{path}/signatures"), &signed).await;
        taken.unwrap_err() + &self.vouched(&mut thief, &path, "alice").await
    }

    /// Whether the attacker's key signs anything that is executed in the victim's name.
    async fn is_usable(&self, outcome: &Outcome) -> bool {
        let mut person = self.signed_in(outcome.victim).await;
        person.authenticator = outcome.key.clone();
        let id = self.gate.asked(json!({"subject": {"steps": [100]}})).await;
        if person.approve(&id).await.is_err() {
            return false;
        }
        self.gate.ended(&id).await["status"] == "succeeded"
    }
}

async fn no_attack_on_enrolment_gives_a_usable_key(engine: Engine) {
    let (gate, alice) = endorsing(engine).await;
    let rules = std::fs::read_to_string(&gate.servers.files.config).unwrap();
    let roles = "\n[roles]\noperator = [\"person:u-dan\"]\n";
    let gate = gate.restart_with(|_| rules + roles).await;
    let attacker = Attacker::new(&gate, engine).await;
    let mut scene = Scene { gate: &gate, alice, attacker };
    scene.alice.sign_in("alice").await.unwrap();
    let (mut usable, mut table) = (0, String::new());
    for way in WAYS {
        let outcome = scene.attack(way).await;
        assert!(!outcome.stopped.contains("NOTHING"), "{way:?} went through");
        let is_usable = scene.is_usable(&outcome).await;
        usable += usize::from(is_usable);
        let stopped: String = outcome.stopped.chars().take(160).collect();
        table += &format!("{way:?}: usable {is_usable}; {stopped}\n");
    }
    eprintln!("attacks on enrolment: {}, usable keys: {usable}\n{table}", WAYS.len());
    assert_eq!(usable, 0, "{table}");
    assert_eq!(gate.changes_of_cloud_run().await, 0, "{table}");
    gate.servers.stop().await;
}

/// Somebody of the directory has keys of software only, and everything is theirs but a maker's private key: each
/// says of itself whatever it can.
async fn no_software_key_is_usable_where_a_maker_is_asked_for(engine: Engine) {
    let maker = root("Acme Root");
    let (gate, _root) = asking(engine, &maker, "trusted").await;
    let mut carol = gate.approver("carol").await;
    let first = carol.authenticator.clone();
    let (mut usable, mut table) = (0, String::new());
    let ways = forgeries(&maker);
    for (name, attestation, says) in &ways {
        carol.authenticator = first.clone();
        let registered = with_key(&mut carol, attestation.clone()).await;
        let stopped = match registered {
            Err(refused) => refused,
            Ok(key) => {
                carol.authenticator = key;
                let page = carol.browser.open("/keys", "carol").await.unwrap();
                let id = gate.asked(json!({"subject": {"steps": [100]}})).await;
                let stopped = carol.approve(&id).await.err();
                usable += usize::from(stopped.is_none());
                let told = page.contains("Not attested") || page.contains("root is not pinned");
                assert!(told, "{name} {says}: {page}");
                stopped.unwrap_or_default()
            }
        };
        table += &format!("{name}: {}\n", stopped.chars().take(160).collect::<String>());
    }
    eprintln!("software keys: {}, usable: {usable}\n{table}", ways.len());
    assert_eq!(usable, 0, "{table}");
    assert_eq!(gate.changes_of_cloud_run().await, 0, "{table}");
    // The maker's own is usable, so that it is the attestation that all the others lack.
    carol.authenticator = first;
    carol.authenticator = with_key(&mut carol, of(&maker)).await.unwrap();
    let id = gate.asked(json!({"subject": {"steps": [100]}})).await;
    carol.approve(&id).await.unwrap();
    assert_eq!(gate.ended(&id).await["status"], "succeeded");
    gate.finish().await;
}
