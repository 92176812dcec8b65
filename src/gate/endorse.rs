//! An approver signs for the new key of somebody else.
//!
//! What makes a key count is asked of the configuration's anchors: a key that is one of them needs
//! nobody, every other needs so many signatures of people whose own keys count. What stands in the
//! database decides here only whom the page lets sign; before a rollout the whole chain is verified.

use jiff::Timestamp;
use serde_json::json;

use crate::domain::digest::Digest;
use crate::domain::endorsement::{ENDORSED, Endorsement, FrozenEndorsement, RecordedEndorsement};
use crate::domain::person::Person;
use crate::domain::statement::Decider;
use crate::gate::decide::{RelyingParty, encode};
use crate::gate::refusals;
use crate::gate::signature::{check, give_out, note_refusal};
use crate::gate::{CeremonyRefusal, GateError};
use crate::proof::assertion::UnverifiedAssertion;
use crate::proof::evidence::Trust;
use crate::proof::jwk::thumbprint;
use crate::randomness;
use crate::storage::{Credential, CredentialStatus, Session, Storage, StorageError};

/// The keys of a person that may sign where so many endorsements are `needed`.
///
/// # Errors
/// [`CeremonyRefusal::NoCredential`] or [`CeremonyRefusal::NotEndorsed`] if there is none.
pub async fn signing_keys(
    storage: &Storage,
    trust: &Trust,
    needed: u8,
    person: &Person,
) -> Result<Vec<Credential>, GateError> {
    let mut keys = storage.credentials_of(person).await?;
    keys.retain(|key| {
        key.status == CredentialStatus::Active && storage.revoked_at(&encode(&key.id)).is_none()
    });
    if keys.is_empty() {
        return Err(CeremonyRefusal::NoCredential.into());
    }
    let mut usable = Vec::with_capacity(keys.len());
    for key in keys {
        if missing(storage, trust, needed, &key).await? == 0 {
            usable.push(key);
        }
    }
    if usable.is_empty() { Err(CeremonyRefusal::NotEndorsed.into()) } else { Ok(usable) }
}

/// How many endorsements a key still lacks where so many are `needed`.
pub async fn missing(
    storage: &Storage,
    trust: &Trust,
    needed: u8,
    key: &Credential,
) -> Result<usize, GateError> {
    if needed == 0 || trust.is_anchor(&key.public_key) {
        return Ok(0);
    }
    let endorsed = storage.endorsements_of(&key.id).await?.len();
    Ok(usize::from(needed).saturating_sub(endorsed))
}

/// Makes the statement with which this person endorses a key, and gives the keys that may sign it.
pub async fn prepare(
    storage: &Storage,
    trust: &Trust,
    session: &Session,
    credential_id: &[u8],
    now: Timestamp,
) -> Result<(FrozenEndorsement, Vec<Credential>), GateError> {
    let person = &session.profile.person;
    let credential = endorsable(storage, trust, person, credential_id).await?;
    let keys = signing_keys(storage, trust, trust.endorsements, person).await?;
    let enrolment = storage.enrolment_of(&credential.id).await?.ok_or(GateError::NotFound)?;
    let endorser = Decider {
        approver: person.clone(),
        credentials: keys.iter().map(|key| encode(&key.id)).collect(),
        sign_in_digest: Digest::of(&session.id_token),
    };
    let about = encode(&credential.id);
    let nonce = randomness::token::<32>();
    let statement = FrozenEndorsement::of_enrolment(
        &about,
        &enrolment.record,
        endorser,
        &trust.origin,
        nonce,
        now,
    )?;
    give_out(storage, session, about, &statement).await?;
    Ok((statement, keys))
}

/// The key, if it waits for the endorsement of this person.
async fn endorsable(
    storage: &Storage,
    trust: &Trust,
    person: &Person,
    credential_id: &[u8],
) -> Result<Credential, GateError> {
    let credential = storage.credential(credential_id).await?;
    let credential = credential.ok_or(CeremonyRefusal::UnknownCredential)?;
    if credential.person == *person {
        return Err(CeremonyRefusal::OwnKey.into());
    }
    if credential.status != CredentialStatus::Active {
        return Err(CeremonyRefusal::RevokedCredential.into());
    }
    let endorsements = storage.endorsements_of(credential_id).await?;
    if endorsements.iter().any(|known| known.endorser == *person) {
        return Err(CeremonyRefusal::AlreadyEndorsed.into());
    }
    if missing(storage, trust, trust.endorsements, &credential).await? == 0 {
        return Err(CeremonyRefusal::NothingToEndorse.into());
    }
    Ok(credential)
}

/// Checks an assertion over such a statement and records the endorsement: nonce, signature counter,
/// endorsement and ledger entry commit together. A signature that does not hold is recorded as refused.
pub async fn endorse(
    storage: &Storage,
    relying_party: &RelyingParty,
    session: &Session,
    credential_id: &[u8],
    nonce: &str,
    unverified: &UnverifiedAssertion,
    now: Timestamp,
) -> Result<(), GateError> {
    let party = relying_party;
    let outcome =
        try_to_endorse(storage, party, session, credential_id, nonce, unverified, now).await;
    let about = encode(credential_id);
    let named = (refusals::ENDORSEMENT, "endorsed", about.as_str());
    note_refusal(storage, session, named, unverified, &outcome, now);
    outcome
}

async fn try_to_endorse(
    storage: &Storage,
    relying_party: &RelyingParty,
    session: &Session,
    credential_id: &[u8],
    nonce: &str,
    unverified: &UnverifiedAssertion,
    now: Timestamp,
) -> Result<(), GateError> {
    let about = encode(credential_id);
    let signed =
        check::<Endorsement>(storage, relying_party, session, &about, nonce, unverified, now)
            .await?;
    let endorser = &session.profile.person;
    let recorded = RecordedEndorsement {
        credential: about,
        endorser: endorser.clone(),
        signed_with: encode(&signed.credential.id),
        statement_digest: Digest::of(signed.statement.text()),
        assertion_digest: signed.kept().assertion_digest()?,
        sign_in_key: thumbprint(&session.issuer_key),
    };
    let mut writer = storage.begin().await?;
    signed.use_up(&mut writer, now).await?;
    match writer.insert_endorsement(credential_id, endorser, signed.kept()).await {
        Err(StorageError::Duplicate(_)) => return Err(CeremonyRefusal::AlreadyEndorsed.into()),
        other => other?,
    }
    writer.record(ENDORSED, json!(recorded), now).await?;
    writer.commit().await?;
    tracing::info!(
        credential = recorded.credential,
        endorser = endorser.subject,
        "a key was endorsed"
    );
    Ok(())
}
