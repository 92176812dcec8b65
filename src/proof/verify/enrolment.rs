//! Enrolments: how a key became a person's.

use data_encoding::HEXLOWER;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::Decider;
use super::failure::{Code, Failure};
use super::form::UnverifiedCredential;
use super::judge::Judge;
use super::ledger::Moment;
use super::sign_in::person_of;
use crate::domain::decision::Decision;
use crate::domain::digest::Digest;
use crate::domain::key_rules::{Aaguid, KeyFacts, Vouching};
use crate::domain::person::Person;
use crate::proof::assertion::CredentialRecord;
use crate::proof::attestation::vouching;
use crate::proof::base64url;
use crate::proof::evidence::Trust;
use crate::proof::jwk::thumbprint;
use crate::proof::registration::{self, AttestedCredential};
use crate::proof::token::unverified_claims;
use crate::proof::user_handle::user_handle;

/// What an enrolment is called in the ledger.
const REGISTERED: &str = "credential.registered";

/// A credential that is a person's, as its registration, the directory and the ledger say alike.
pub(super) struct Enrolled {
    pub id: String,
    pub person: Person,
    /// The place of its entry.
    pub index: u64,
    /// The entry that took it out of use, where the file has it.
    pub revoked: Option<Moment>,
    enrolled_at: Timestamp,
    attested: AttestedCredential,
    vouching: Vouching,
}

impl Enrolled {
    /// What an assertion is checked against.
    pub(super) fn record(&self) -> CredentialRecord {
        CredentialRecord {
            id: self.attested.credential_id.clone(),
            public_key: self.attested.public_key.clone(),
            user_handle: user_handle(&self.person.issuer, &self.person.subject).to_vec(),
            backup_eligible: self.attested.flags.backup_eligible(),
            sign_count: 0,
        }
    }

    /// What rules ask about it.
    pub(super) fn facts(&self) -> KeyFacts {
        KeyFacts {
            backup_eligible: self.attested.flags.backup_eligible(),
            aaguid: Aaguid(self.attested.aaguid),
            vouching: self.vouching.clone(),
            suspended: None,
            enrolled_at: self.enrolled_at,
        }
    }

    /// Whether these anchors name it.
    pub(super) fn is_anchor(&self, trust: &Trust) -> bool {
        trust.is_anchor(self.attested.public_key.cose())
    }

    /// Whoever decided with it.
    pub(super) fn decider(&self, decision: &Decision) -> Decider {
        Decider {
            decision: decision.clone(),
            aaguid: self.attested.aaguid,
            backup_eligible: self.attested.flags.backup_eligible(),
            attestation: self.attested.format.clone(),
        }
    }
}

pub(super) fn check(
    keys: &[UnverifiedCredential<'_>],
    trust: &Trust,
    judge: &impl Judge,
) -> Result<Vec<Enrolled>, Failure> {
    keys.iter().map(|credential| enrolled(credential, trust, judge)).collect()
}

fn enrolled(
    unverified: &UnverifiedCredential<'_>,
    trust: &Trust,
    judge: &impl Judge,
) -> Result<Enrolled, Failure> {
    let invalid = |why: String| Code::EnrolmentInvalid.because(why);
    let registration = unverified.registration;
    let read = registration::read(registration.as_bytes(), &trust.origin, &trust.rp_id)
        .map_err(|error| invalid(format!("a registration does not hold: {error}")))?;
    let attested = &read.credential;
    let id = base64url::encode(&attested.credential_id);
    let sign_in = unverified.sign_in;
    let claims = unverified_claims(&sign_in.id_token)
        .map_err(|error| invalid(format!("the ID token of the enrolment of {id}: {error}")))?;
    let person = person_of(&claims)
        .ok_or_else(|| invalid(format!("the ID token of the enrolment of {id} names nobody")))?;
    let record = &unverified.entry.record;
    let digest = Digest::of(registration);
    let said = json!({
        "person": person,
        "credential": id,
        "public_key": base64url::encode(attested.public_key.cose()),
        "aaguid": HEXLOWER.encode(&attested.aaguid),
        "backup_eligible": attested.flags.backup_eligible(),
        "registration_digest": digest,
        "sign_in_digest": sign_in.digest(),
        "sign_in_key": thumbprint(&sign_in.key),
    });
    let is_recorded = record.kind == REGISTERED && record.approval.is_none() && record.data == said;
    judge.require(is_recorded, || {
        invalid(format!(
            "the entry of the enrolment of {id} does not say what its registration and sign-in say"
        ))
    })?;
    let nonce = base64url::encode(digest.as_bytes());
    let vouched = claims.get("nonce").and_then(Value::as_str) == Some(&nonce);
    judge.require(vouched, || invalid(format!(
            "the directory did not vouch for the key {id}: the ID token's nonce is not the digest of its registration"
        )))?;
    let revoked = unverified.revoked.as_ref();
    let is_of_it = revoked.is_none_or(|entry| {
        let is_later = entry.index > unverified.entry.index;
        is_later && entry.record.approval.is_none() && entry.record.revokes() == Some(&id)
    });
    judge.require(is_of_it, || {
        invalid(format!("the entry that is said to revoke {id} says something else"))
    })?;
    let revoked = revoked.map(|entry| Moment { index: entry.index, at: entry.record.at });
    let (index, enrolled_at) = (unverified.entry.index, record.at);
    let vouching = vouching(&read, &trust.attestation_roots, enrolled_at);
    let attested = read.credential;
    Ok(Enrolled { id, person, index, revoked, enrolled_at, attested, vouching })
}
