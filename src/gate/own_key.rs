//! Whoever has a key already signs with it that a new one is theirs too: neither a session nor the word of the
//! directory alone adds a key to a person's.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::json;

use crate::domain::digest::Digest;
use crate::domain::endorsement::{Endorsement, FrozenEndorsement, OWN_KEY_SIGNED};
use crate::domain::ledger::Record;
use crate::domain::person::Person;
use crate::domain::statement::Decider;
use crate::gate::decide::{RelyingParty, encode};
use crate::gate::evidence::decision_evidence;
use crate::gate::signature::{check, give_out, note_refusal};
use crate::gate::{CeremonyRefusal, GateError, refusals};
use crate::proof::assertion::UnverifiedAssertion;
use crate::randomness;
use crate::storage::{Credential, Session, Storage};

/// What the ledger calls a registration, and the suspension of a key.
const REGISTERED: &str = "credential.registered";
const SUSPENDED: &str = "credential.suspended";

/// A statement that a person has to sign with one of the keys before a registration goes on.
pub type Wanted = (FrozenEndorsement, Vec<Credential>);

/// What a statement about the key of this registration is about: no other signature can be mistaken for one.
fn about(ceremony: &str) -> String {
    format!("own-key:{ceremony}")
}

/// The keys with which a person could sign that another one is theirs, by their ids: those that were neither
/// given up nor suspended, whether they may sign anything else yet or not. The signed entries say it, and no row.
pub(super) async fn known_keys(
    storage: &Storage,
    person: &Person,
) -> Result<BTreeSet<String>, GateError> {
    let name = |record: &Record| record.data["credential"].as_str().map(str::to_owned);
    let suspended = storage.signed_records(SUSPENDED).await?;
    let suspended = suspended.iter().filter_map(|(_, record)| name(record));
    let revoked = storage.revocations().await?.into_iter();
    let over: BTreeSet<String> =
        revoked.map(|found| found.revocation.credential).chain(suspended).collect();
    let registered = storage.signed_records(REGISTERED).await?;
    let theirs = registered.iter().filter(|(_, record)| record.data["person"] == json!(person));
    Ok(theirs
        .filter_map(|(_, record)| name(record))
        .filter(|id| !over.contains(id) && storage.revoked_at(id).is_none())
        .collect())
}

/// The statement that the person signs about the key `credential` that the browser just made in this ceremony.
/// None if they have no key to sign it with.
pub async fn prepare(
    storage: &Storage,
    party: &RelyingParty,
    session: &Session,
    (ceremony, credential, registration): (&str, &[u8], &str),
    now: Timestamp,
) -> Result<Option<Wanted>, GateError> {
    let person = &session.profile.person;
    let known = known_keys(storage, person).await?;
    if known.is_empty() {
        return Ok(None);
    }
    let mut keys = storage.credentials_of(person).await?;
    keys.retain(|key| known.contains(&encode(&key.id)));
    let owner = Decider {
        approver: person.clone(),
        credentials: keys.iter().map(|key| encode(&key.id)).collect(),
        sign_in_digest: Digest::of(&session.id_token),
    };
    let nonce = randomness::token::<32>();
    let statement = FrozenEndorsement::of_own_key(
        &encode(credential),
        registration,
        owner,
        &party.origin,
        nonce,
        now,
    )?;
    give_out(storage, session, about(ceremony), &statement).await?;
    Ok(Some((statement, keys)))
}

/// Checks an assertion over such a statement and writes down that the new key is the person's.
///
/// # Errors
/// What does not hold. It is counted as a refused key.
pub async fn vouch(
    storage: &Storage,
    party: &RelyingParty,
    session: &Session,
    ceremony: &str,
    (nonce, unverified): (&str, &UnverifiedAssertion),
    now: Timestamp,
) -> Result<(), GateError> {
    let outcome = try_to_vouch(storage, party, session, ceremony, (nonce, unverified), now).await;
    let named = (refusals::CREDENTIAL, "registration", ceremony);
    note_refusal(storage, session, named, unverified, &outcome, now);
    outcome
}

async fn try_to_vouch(
    storage: &Storage,
    party: &RelyingParty,
    session: &Session,
    ceremony: &str,
    (nonce, unverified): (&str, &UnverifiedAssertion),
    now: Timestamp,
) -> Result<(), GateError> {
    let place = about(ceremony);
    let signed =
        check::<Endorsement>(storage, party, session, &place, nonce, unverified, now).await?;
    let subject = signed.statement.statement().subject.first();
    let subject = subject.ok_or(CeremonyRefusal::UnknownStatement)?.clone();
    let data = json!({
        "person": session.profile.person,
        "credential": subject.name,
        "registration_digest": subject.digest.sha256,
        "signed_with": encode(&signed.credential.id),
        "signed": decision_evidence(signed.kept().clone()),
    });
    let mut writer = storage.begin().await?;
    signed.use_up(&mut writer, now).await?;
    writer.record(OWN_KEY_SIGNED, data, now).await?;
    Ok(writer.commit().await?)
}

/// Whether a registration may go on: a key of the person signed for the new one, or they have none. The signed
/// entry says it, and no row.
///
/// # Errors
/// [`CeremonyRefusal::OwnKeyMissing`].
pub async fn require(
    storage: &Storage,
    person: &Person,
    (credential, registration): (&[u8], &str),
) -> Result<(), GateError> {
    let keys = known_keys(storage, person).await?;
    if keys.is_empty() {
        return Ok(());
    }
    let (id, digest) = (encode(credential), Digest::of(registration));
    let records = storage.signed_records(OWN_KEY_SIGNED).await?;
    let is_vouched = records.iter().any(|(_, record)| {
        let data = &record.data;
        data["credential"] == json!(id)
            && data["registration_digest"] == json!(digest)
            && data["signed_with"].as_str().is_some_and(|key| keys.contains(key))
    });
    if is_vouched { Ok(()) } else { Err(CeremonyRefusal::OwnKeyMissing.into()) }
}
