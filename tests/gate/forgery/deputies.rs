//! Rows that lead the gate itself to write what is not so: sessions, keys and statements, changed before
//! a decision.

use countersign::cli::demo::approver::Approver;
use countersign::proof::base64url;
use countersign::proof::registration;
use countersign::proof::user_handle::user_handle;
use countersign::proof::verify::Code::{
    AssertionInvalid, ChainBroken, CredentialNotEnrolled, EnrolmentInvalid, SignInMismatch,
    StatementTime,
};
use countersign::randomness;
use countersign::sandbox::authenticator::{Fault, SoftwareAuthenticator};
use data_encoding::HEXLOWER;
use jiff::SignedDuration;
use serde_json::json;

use super::Bite::{Elsewhere, Without};
use super::attacker::quoted;
use super::{Act, Attack, Scene, code_of};

/// What the gate is led to.
#[derive(Clone, Copy)]
pub enum Deputy {
    Groups,
    KeyMoved,
    PersonOfSession,
    PublicKey,
    KeyPlanted,
    NonceReused,
    AssertionOnOther,
    DecidedTwice,
    StatementSwapped,
    StatementOfOther,
    RegistrationSwapped,
    OldSignIn,
}

pub fn attacks() -> Vec<Attack> {
    let attack = |name, wrote, deputy, code, bite| Attack {
        name,
        wrote,
        act: Act::Deputy(deputy),
        code,
        bite,
    };
    vec![
        attack(
            "groups that the directory did not give",
            "sessions.profile",
            Deputy::Groups,
            "sign_in_mismatch",
            Without(&[SignInMismatch]),
        ),
        attack(
            "a key moved to another person",
            "credentials.subject, sessions",
            Deputy::KeyMoved,
            "credential_not_enrolled",
            Without(&[CredentialNotEnrolled]),
        ),
        attack(
            "a session moved to another person",
            "credentials.subject, sessions.profile",
            Deputy::PersonOfSession,
            "sign_in_mismatch",
            Without(&[SignInMismatch, CredentialNotEnrolled]),
        ),
        attack(
            "another public key",
            "credentials.public_key, sessions",
            Deputy::PublicKey,
            "assertion_invalid",
            Without(&[AssertionInvalid]),
        ),
        attack(
            "a key inserted",
            "credentials, sessions",
            Deputy::KeyPlanted,
            "enrolment_invalid",
            Without(&[EnrolmentInvalid]),
        ),
        attack(
            "a nonce used again",
            "statements.used_at",
            Deputy::NonceReused,
            "approval_closed",
            Elsewhere("nothing was recorded"),
        ),
        attack(
            "an assertion used on another approval",
            "statements.about, used_at",
            Deputy::AssertionOnOther,
            "approval_closed",
            Elsewhere("nothing was recorded"),
        ),
        attack(
            "an approval set back, the key's counter too, and the assertion sent again",
            "approvals, decisions, jobs, statements, credentials.sign_count",
            Deputy::DecidedTwice,
            "chain_broken",
            Without(&[ChainBroken, StatementTime]),
        ),
        attack(
            "another statement to sign",
            "statements.statement",
            Deputy::StatementSwapped,
            "challenge_mismatch",
            Elsewhere("nothing was recorded"),
        ),
        attack(
            "another person's statement",
            "statements.session, subject",
            Deputy::StatementOfOther,
            "other_credential",
            Elsewhere("nothing was recorded"),
        ),
        attack(
            "another key in the place of one that is being registered",
            "ceremonies.registration, verified",
            Deputy::RegistrationSwapped,
            "the page /sign-in answered 409 Conflict",
            Elsewhere("the directory would have vouched for it"),
        ),
        attack(
            "an old sign-in",
            "sessions.expires_at",
            Deputy::OldSignIn,
            "sign_in_mismatch",
            Without(&[SignInMismatch]),
        ),
    ]
}

impl Scene {
    /// Gives the approval that it is about, and the code if it was refused at once.
    pub(super) async fn deputise(&mut self, deputy: Deputy) -> (String, Option<String>) {
        let id = self.gate.asked(json!({})).await;
        let at_once = match deputy {
            Deputy::Groups => self.groups(&id).await,
            Deputy::KeyMoved => self.key_moved(&id).await,
            Deputy::PersonOfSession => self.person_of_session(&id).await,
            Deputy::PublicKey => self.public_key(&id).await,
            Deputy::KeyPlanted => self.key_planted(&id).await,
            Deputy::NonceReused | Deputy::AssertionOnOther | Deputy::DecidedTwice => {
                self.sent_again(&id, deputy).await
            }
            Deputy::StatementSwapped => Some(self.statement_swapped(&id).await),
            Deputy::StatementOfOther => Some(self.statement_of_other(&id).await),
            Deputy::RegistrationSwapped => Some(self.registration_swapped().await),
            Deputy::OldSignIn => self.old_sign_in(&id).await,
        };
        (id, at_once)
    }

    async fn groups(&mut self, id: &str) -> Option<String> {
        let mut dan = self.dan().await;
        let set = "profile = replace(profile, 'engineering', 'release-managers')";
        self.attacker.run(&format!("UPDATE sessions SET {set} WHERE profile LIKE '%u-dan%'")).await;
        dan.approve(id).await.unwrap();
        None
    }

    async fn key_moved(&mut self, id: &str) -> Option<String> {
        let mut dan = self.dan().await;
        self.move_keys_of_dan().await;
        let intruder = self.attacker.steal_session(&self.gate, "u-alice").await;
        let statement = intruder.statement(&self.gate, id).await.unwrap();
        let decision = dan.signed(&statement, &[Fault::UserHandle(None)]).unwrap();
        intruder.decide(&self.gate, id, &decision).await.err()
    }

    async fn move_keys_of_dan(&mut self) {
        self.attacker
            .run("UPDATE credentials SET subject = 'u-alice' WHERE subject = 'u-dan'")
            .await;
    }

    /// Dan with another key, for which one signs that is his again after the attack before.
    async fn dan(&mut self) -> Approver {
        let dans = "(SELECT entry_index FROM ledger_entries WHERE kind = 'credential.registered' AND party = 'u-dan')";
        let back =
            format!("UPDATE credentials SET subject = 'u-dan' WHERE enrolment_entry IN {dans}");
        self.attacker.run(&back).await;
        self.gate.approver("dan").await
    }

    async fn person_of_session(&mut self, id: &str) -> Option<String> {
        let mut dan = self.dan().await;
        self.move_keys_of_dan().await;
        let intruder = self.attacker.steal_session(&self.gate, "u-dan").await;
        let alices = "(SELECT profile FROM sessions WHERE profile LIKE '%u-alice%' LIMIT 1)";
        let session = &intruder.session;
        self.attacker
            .run(&format!("UPDATE sessions SET profile = {alices} WHERE id = '{session}'"))
            .await;
        let statement = intruder.statement(&self.gate, id).await.unwrap();
        let decision = dan.signed(&statement, &[Fault::UserHandle(None)]).unwrap();
        intruder.decide(&self.gate, id, &decision).await.err()
    }

    /// The newest key of a person, in base64url and as SQL.
    async fn key_of(&mut self, subject: &str) -> (String, String) {
        let sql = format!(
            "SELECT id FROM credentials WHERE subject = '{subject}' ORDER BY created_at DESC LIMIT 1"
        );
        let id = HEXLOWER.decode(self.attacker.read(&sql).await.unwrap().as_bytes()).unwrap();
        (base64url::encode(&id), self.attacker.bytes(&id))
    }

    async fn public_key(&mut self, id: &str) -> Option<String> {
        self.gate.approver("alice").await;
        let mut dan = self.dan().await;
        let (alices, alices_sql) = self.key_of("u-alice").await;
        let (dans, dans_sql) = self.key_of("u-dan").await;
        let of_dan = format!("(SELECT public_key FROM credentials WHERE id = {dans_sql})");
        self.attacker
            .run(&format!("UPDATE credentials SET public_key = {of_dan} WHERE id = {alices_sql}"))
            .await;
        let intruder = self.attacker.steal_session(&self.gate, "u-alice").await;
        let mut statement = intruder.statement(&self.gate, id).await.unwrap();
        statement["request_options"]["allowCredentials"] =
            json!([{"type": "public-key", "id": dans}]);
        let mut decision = dan.signed(&statement, &[Fault::UserHandle(None)]).unwrap();
        for name in ["id", "rawId"] {
            decision["credential"][name] = alices.as_str().into();
        }
        intruder.decide(&self.gate, id, &decision).await.err()
    }

    async fn key_planted(&mut self, id: &str) -> Option<String> {
        let origin = self.gate.servers.gate.clone();
        let issuer = self.attacker.read("SELECT issuer FROM credentials LIMIT 1").await.unwrap();
        let options = json!({
            "rp": {"id": "localhost", "name": "Countersign"},
            "user": {"id": base64url::encode(&user_handle(&issuer, "u-alice")), "name": "a", "displayName": "A"},
            "challenge": randomness::token::<32>(),
            "pubKeyCredParams": [{"type": "public-key", "alg": -7}],
        });
        let mut authenticator = SoftwareAuthenticator::new();
        let answer = authenticator.create(&options, &origin).unwrap().to_string();
        let made = registration::read(answer.as_bytes(), &origin, "localhost").unwrap().credential;
        let key = self.attacker.bytes(&made.credential_id);
        let public_key = self.attacker.bytes(made.public_key.cose());
        let aaguid = self.attacker.bytes(&made.aaguid);
        let same = "issuer, subject, name, backup_eligible, backup_state, transports, id_token, issuer_key, status, enrolment_entry, created_at";
        self.attacker.run(&format!(
            "INSERT INTO credentials (id, public_key, sign_count, aaguid, registration, {same}) \
             SELECT {key}, {public_key}, 0, {aaguid}, '{}', {same} FROM credentials WHERE subject = 'u-alice' LIMIT 1",
            quoted(&answer)
        ))
        .await;
        let intruder = self.attacker.steal_session(&self.gate, "u-alice").await;
        let statement = intruder.statement(&self.gate, id).await.unwrap();
        let mut attacker = Approver::new(&origin).unwrap();
        attacker.authenticator = authenticator;
        let decision = attacker.signed(&statement, &[]).unwrap();
        intruder.decide(&self.gate, id, &decision).await.err()
    }

    /// A decision that counted is sent once more, after rows were set back.
    async fn sent_again(&mut self, id: &str, deputy: Deputy) -> Option<String> {
        let statement = self.alice.statement(id, json!({"decision": "approve"})).await.unwrap();
        let decision = self.alice.signed(&statement, &[]).unwrap();
        let path = |id: &str| format!("/approvals/{id}/decisions");
        self.alice.browser.post(&path(id), &decision).await.unwrap();
        let nonce = statement["nonce"].as_str().unwrap();
        self.attacker
            .run(&format!("UPDATE statements SET used_at = NULL WHERE nonce = '{nonce}'"))
            .await;
        let (_, key) = self.key_of("u-alice").await;
        self.attacker.run(&format!("UPDATE credentials SET sign_count = 0 WHERE id = {key}")).await;
        match deputy {
            Deputy::AssertionOnOther => {
                let other = self.gate.asked(json!({})).await;
                let moved =
                    format!("UPDATE statements SET about = '{other}' WHERE nonce = '{nonce}'");
                self.attacker.run(&moved).await;
                Some(code_of(self.alice.browser.post(&path(&other), &decision).await))
            }
            Deputy::DecidedTwice => {
                for sql in [
                    format!("DELETE FROM jobs WHERE approval_id = '{id}'"),
                    format!("DELETE FROM decisions WHERE approval_id = '{id}'"),
                    format!(
                        "UPDATE approvals SET status = 'pending', version = 1, state = '{{\"status\":\"pending\"}}', decisions = '[]' WHERE id = '{id}'"
                    ),
                ] {
                    self.attacker.run(&sql).await;
                }
                self.alice.browser.post(&path(id), &decision).await.unwrap();
                None
            }
            _ => Some(code_of(self.alice.browser.post(&path(id), &decision).await)),
        }
    }

    async fn statement_swapped(&mut self, id: &str) -> String {
        let other = self.gate.asked(json!({})).await;
        let yes = json!({"decision": "approve"});
        let statement = self.alice.statement(id, yes.clone()).await.unwrap();
        let others = self.alice.statement(&other, yes).await.unwrap();
        let (own, others) = (&statement["nonce"], &others["nonce"]);
        let (own, others) = (own.as_str().unwrap(), others.as_str().unwrap());
        let text = format!("(SELECT statement FROM statements WHERE nonce = '{others}')");
        self.attacker
            .run(&format!("UPDATE statements SET statement = {text} WHERE nonce = '{own}'"))
            .await;
        code_of(self.alice.sign(id, &statement, &[]).await)
    }

    async fn statement_of_other(&mut self, id: &str) -> String {
        let mut bob = self.gate.approver("bob").await;
        let statement = bob.statement(id, json!({"decision": "approve"})).await.unwrap();
        let nonce = statement["nonce"].as_str().unwrap();
        let intruder = self.attacker.steal_session(&self.gate, "u-alice").await;
        let session = &intruder.session;
        self.attacker.run(&format!("UPDATE statements SET session = '{session}', subject = 'u-alice' WHERE nonce = '{nonce}'")).await;
        let decision = bob.signed(&statement, &[]).unwrap();
        intruder.decide(&self.gate, id, &decision).await.expect_err("it was accepted")
    }

    /// Alice registers a key, and by the time the directory is asked to vouch for it there is another one in
    /// its place, that dan made.
    async fn registration_swapped(&mut self) -> String {
        let mut ceremonies = Vec::new();
        for name in ["dan", "alice"] {
            let mut person = match name {
                "dan" => self.dan().await,
                other => self.gate.approver(other).await,
            };
            let begun = person.begin_registration().await.unwrap();
            let origin = self.gate.servers.gate.clone();
            let made = SoftwareAuthenticator::new().create(&begun["creation_options"], &origin);
            let id = begun["id"].as_str().unwrap().to_owned();
            let next = person.hand_in(&id, &made.unwrap()).await.unwrap();
            ceremonies.push((id, next, person));
        }
        let (id, next, mut alice) = ceremonies.pop().unwrap();
        let of_dan = |column: &str| {
            format!("(SELECT {column} FROM ceremonies WHERE id = '{}')", ceremonies[0].0)
        };
        let set =
            format!("registration = {}, verified = {}", of_dan("registration"), of_dan("verified"));
        self.attacker.run(&format!("UPDATE ceremonies SET {set} WHERE id = '{id}'")).await;
        alice.browser.open(&next, "alice").await.expect_err("the directory vouched for dan's key")
    }

    /// Everybody else's session ends, so this comes last.
    async fn old_sign_in(&mut self, id: &str) -> Option<String> {
        self.attacker.run("UPDATE sessions SET expires_at = 9000000000000000").await;
        self.gate.servers.clock.shift(SignedDuration::from_mins(17));
        self.alice.approve(id).await.unwrap();
        None
    }
}
