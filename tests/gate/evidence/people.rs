//! The people of made evidence: their keys, and who endorses whose.

use std::sync::{Arc, Mutex};

use countersign::domain::decision::assertion_digest;
use countersign::domain::digest::Digest;
use countersign::domain::endorsement::{ENDORSED, FrozenEndorsement, RecordedEndorsement};
use countersign::domain::ledger::Record;
use countersign::domain::person::Person;
use countersign::domain::statement::Decider;
use countersign::proof::assertion::UnverifiedAssertion;
use countersign::proof::base64url;
use countersign::proof::evidence::{
    CredentialEvidence, DecisionEvidence, EndorsementEvidence, SignIn,
};
use countersign::proof::jwk::thumbprint;
use countersign::proof::registration;
use countersign::randomness;
use countersign::sandbox::authenticator::{Fault, SoftwareAuthenticator};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::evidence::keys::{ANCHOR_SUBJECT, DIRECTORY, ORIGIN, RP_ID, creation_options};
use crate::evidence::log::Log;
use crate::evidence::maker::{ANCHOR, Maker};

impl Maker {
    pub fn enrol(&self, subject: &'static str, at: Timestamp, synced: bool) -> Enrolled {
        let mut authenticator = SoftwareAuthenticator::new();
        authenticator.backup_eligible = synced;
        authenticator.attestation = self.attestation.clone();
        let answer = authenticator.create(&creation_options(subject), ORIGIN).unwrap().to_string();
        let registration = (self.edit_registration)(&answer);
        let nonce = base64url::encode(Digest::of(&registration).as_bytes());
        let mut claims = self.id_token(subject, &nonce, "engineering", at);
        (self.edit_enrolment_token)(&mut claims);
        let key = &self.keys.directory;
        let sign_in = SignIn { id_token: key.sign(&claims), key: key.text(), gate_groups: None };
        let authenticator = Arc::new(Mutex::new(authenticator));
        Enrolled {
            subject,
            authenticator,
            answer,
            registration,
            sign_in,
            at,
            entry: None,
            revoked: None,
            endorsed: Vec::new(),
        }
    }

    /// The person whose key is pinned.
    pub fn enrol_anchor(&self, at: Timestamp) -> Enrolled {
        let (authenticator, registration) = self.keys.anchor.clone();
        let nonce = base64url::encode(Digest::of(&registration).as_bytes());
        let mut claims = self.id_token(ANCHOR_SUBJECT, &nonce, "engineering", at);
        (self.edit_enrolment_token)(&mut claims);
        let key = &self.keys.directory;
        let sign_in = SignIn { id_token: key.sign(&claims), key: key.text(), gate_groups: None };
        let subject = ANCHOR_SUBJECT;
        Enrolled {
            subject,
            authenticator,
            answer: registration.clone(),
            registration,
            sign_in,
            at,
            entry: None,
            revoked: None,
            endorsed: Vec::new(),
        }
    }

    pub fn endorse(&self, people: &mut [Enrolled], log: &mut Log, at: Timestamp) {
        for (whose, by) in self.endorsements.clone() {
            let by = if by == ANCHOR { people.len() - 1 } else { by };
            let record = &log.entries[people[whose].entry.unwrap()].0.record;
            let mut claims = self.id_token(people[by].subject, "n", "security", at);
            (self.edit_endorsing_token)(&mut claims);
            let key = &self.keys.directory;
            let sign_in =
                SignIn { id_token: key.sign(&claims), key: key.text(), gate_groups: None };
            let endorser = Decider {
                approver: people[by].person(),
                credentials: vec![people[by].id()],
                sign_in_digest: Digest::of(&sign_in.id_token),
            };
            let nonce = randomness::token::<32>();
            let prepared = FrozenEndorsement::of_enrolment(
                &people[whose].id(),
                record,
                endorser,
                ORIGIN,
                nonce,
                at,
            );
            let mut statement = prepared.unwrap().statement().clone();
            (self.edit_endorsement)(&mut statement);
            let statement = FrozenEndorsement::freeze(statement).unwrap();
            let challenge = *statement.challenge().as_bytes();
            let assertion = people[by].assert(&challenge, &self.endorsement_faults);
            let signed = evidence_of(statement.text(), &people[by].id(), &assertion, sign_in);
            let said = RecordedEndorsement {
                credential: people[whose].id(),
                endorser: statement.predicate().endorser.clone(),
                signed_with: people[by].id(),
                statement_digest: Digest::of(statement.text()),
                assertion_digest: digest_of(&assertion),
                sign_in_key: thumbprint(&signed.sign_in.key),
            };
            let mut record = Record::of_event(ENDORSED, json!(said), at);
            (self.edit_endorsed)(&mut record);
            let entry = self.write(log, &record);
            people[whose].endorsed.push((signed, entry));
        }
    }
}

/// What evidence holds of a signed statement.
pub fn evidence_of(
    statement: &str,
    credential: &str,
    assertion: &UnverifiedAssertion,
    sign_in: SignIn,
) -> DecisionEvidence {
    DecisionEvidence {
        statement: statement.to_owned(),
        credential_id: credential.to_owned(),
        authenticator_data: base64url::encode(&assertion.authenticator_data),
        client_data_json: base64url::encode(&assertion.client_data_json),
        signature: base64url::encode(&assertion.signature),
        user_handle: assertion.user_handle.as_deref().map(base64url::encode),
        sign_in,
    }
}

pub fn digest_of(assertion: &UnverifiedAssertion) -> Digest {
    assertion_digest(
        &assertion.authenticator_data,
        &assertion.client_data_json,
        &assertion.signature,
        assertion.user_handle.as_deref(),
    )
    .unwrap()
}

/// A person with a key.
pub struct Enrolled {
    subject: &'static str,
    authenticator: Arc<Mutex<SoftwareAuthenticator>>,
    /// What the browser answered.
    answer: String,
    /// What the file says that it answered.
    registration: String,
    sign_in: SignIn,
    at: Timestamp,
    entry: Option<usize>,
    revoked: Option<usize>,
    endorsed: Vec<(DecisionEvidence, usize)>,
}

impl Enrolled {
    pub fn person(&self) -> Person {
        Person { issuer: DIRECTORY.into(), subject: self.subject.into() }
    }

    pub fn assert(&self, challenge: &[u8], faults: &[Fault]) -> UnverifiedAssertion {
        let options = json!({"challenge": base64url::encode(challenge), "rpId": RP_ID});
        let mut authenticator = self.authenticator.lock().unwrap();
        let assertion = authenticator.assert_with(&options, ORIGIN, faults).unwrap();
        serde_json::from_value(assertion).unwrap()
    }

    pub fn id(&self) -> String {
        let registration: Value = serde_json::from_str(&self.answer).unwrap();
        registration["id"].as_str().unwrap().to_owned()
    }

    pub fn write(&mut self, maker: &Maker, log: &mut Log) {
        let read = registration::read(self.answer.as_bytes(), ORIGIN, RP_ID).unwrap();
        let credential = read.credential;
        let data = json!({
            "person": {"issuer": DIRECTORY, "subject": self.subject},
            "credential": self.id(),
            "public_key": base64url::encode(credential.public_key.cose()),
            "aaguid": data_encoding::HEXLOWER.encode(&credential.aaguid),
            "backup_eligible": credential.flags.backup_eligible(),
            "registration_digest": Digest::of(&self.registration),
            "sign_in_digest": Digest::of(&self.sign_in.id_token),
            "sign_in_key": thumbprint(&self.sign_in.key),
        });
        let record = Record::of_event("credential.registered", data, self.at);
        self.entry = Some(maker.write(log, &record));
    }

    /// Writes that the key was given up, or `edit` of it.
    pub fn give_up(&mut self, maker: &Maker, log: &mut Log, at: Timestamp) {
        let data = json!({"credential": self.id(), "reason": "lost"});
        let mut record = Record::of_event("credential.revoked", data, at);
        (maker.edit_revocation)(&mut record);
        self.revoked = Some(maker.write(log, &record));
    }

    pub fn evidence(self, log: &Log) -> CredentialEvidence {
        CredentialEvidence {
            registration: self.registration,
            sign_in: self.sign_in,
            entry: log.evidence(self.entry.unwrap()),
            revoked: self.revoked.map(|entry| log.evidence(entry)),
            endorsements: self
                .endorsed
                .into_iter()
                .map(|(signed, entry)| EndorsementEvidence { signed, entry: log.evidence(entry) })
                .collect(),
        }
    }
}
