//! A second person signs for a broken glass; and the ledger says it if nobody did in time.

use jiff::Timestamp;
use serde_json::json;

use crate::domain::digest::Digest;
use crate::domain::exception::{
    EXCEPTION_CLOSED, EXCEPTION_OVERDUE, Exception, ExceptionReview, ExceptionStatus, FrozenReview,
    OverdueException, RecordedReview,
};
use crate::domain::request::LONGEST_REASON;
use crate::domain::statement::Decider;
use crate::gate::decide::{RelyingParty, encode};
use crate::gate::keys::accepted_keys;
use crate::gate::signature::{check, give_out, note_refusal};
use crate::gate::{CeremonyRefusal, GateError, refusals};
use crate::proof::assertion::UnverifiedAssertion;
use crate::proof::evidence::Trust;
use crate::proof::jwk::thumbprint;
use crate::randomness;
use crate::storage::{Credential, Session, Storage};

/// What a statement about the exception of this entry is about.
fn about(entry: u64) -> String {
    format!("exception:{entry}")
}

/// The exception of this entry, if this person may sign for it now.
async fn reviewable(
    storage: &Storage,
    session: &Session,
    entry: u64,
) -> Result<Exception, GateError> {
    let exceptions = storage.exceptions().await?;
    let exception = exceptions.iter().find(|one| one.entry == entry);
    let exception = exception.ok_or(GateError::NotFound)?.clone();
    let id = &exception.glass.approval;
    let approval = storage.approval(id).await?.ok_or(GateError::NotFound)?.approval;
    let profile = &session.profile;
    exception
        .refuse_review(&approval, &profile.person, &profile.groups)
        .map_err(CeremonyRefusal::Review)?;
    Ok(exception)
}

/// Makes the statement with which this person signs for a broken glass, and gives the keys that may sign it: those
/// that sign in its environment.
///
/// # Errors
/// [`CeremonyRefusal::Review`], and as for all signatures.
pub async fn prepare(
    storage: &Storage,
    trust: &Trust,
    session: &Session,
    entry: u64,
    explanation: &str,
    now: Timestamp,
) -> Result<(FrozenReview, Vec<Credential>), GateError> {
    let explanation = explanation.trim();
    if explanation.is_empty() {
        return Err(CeremonyRefusal::NothingSaid.into());
    }
    if explanation.chars().count() > LONGEST_REASON {
        return Err(CeremonyRefusal::ReasonTooLong.into());
    }
    let exception = reviewable(storage, session, entry).await?;
    let person = &session.profile.person;
    let id = &exception.glass.approval;
    let policy = storage.approval(id).await?.ok_or(GateError::NotFound)?.approval.policy;
    let keys = accepted_keys(storage, trust, &policy, person, now).await?.keys;
    let signer = Decider {
        approver: person.clone(),
        credentials: keys.iter().map(|key| encode(&key.id)).collect(),
        sign_in_digest: Digest::of(&session.id_token),
    };
    let statement = FrozenReview::of_exception(
        (entry, exception.glass),
        explanation.to_owned(),
        signer,
        (&trust.origin, randomness::token::<32>()),
        now,
    )?;
    give_out(storage, session, about(entry), &statement).await?;
    Ok((statement, keys))
}

/// Checks an assertion over such a statement and writes it into the ledger, which closes the exception. Nonce,
/// signature counter and entry commit together.
///
/// # Errors
/// As for all signatures.
pub async fn review(
    storage: &Storage,
    relying_party: &RelyingParty,
    session: &Session,
    entry: u64,
    nonce: &str,
    unverified: &UnverifiedAssertion,
    now: Timestamp,
) -> Result<(), GateError> {
    let outcome = try_to_review(storage, relying_party, session, entry, nonce, unverified, now);
    let outcome = outcome.await;
    let about = about(entry);
    let named = (refusals::EXCEPTION_REVIEW, "about", about.as_str());
    note_refusal(storage, session, named, unverified, &outcome, now);
    outcome
}

async fn try_to_review(
    storage: &Storage,
    relying_party: &RelyingParty,
    session: &Session,
    entry: u64,
    nonce: &str,
    unverified: &UnverifiedAssertion,
    now: Timestamp,
) -> Result<(), GateError> {
    let about = about(entry);
    let signed =
        check::<ExceptionReview>(storage, relying_party, session, &about, nonce, unverified, now)
            .await?;
    let review = signed.statement.predicate();
    let profile = &session.profile;
    let recorded =
        RecordedReview::new(review, &profile.name, signed.kept(), thumbprint(&session.issuer_key));
    let mut writer = storage.begin().await?;
    // A change owns the ledger's head: nobody else closes it between this look and what is written.
    reviewable(storage, session, entry).await?;
    signed.use_up(&mut writer, now).await?;
    writer.record(EXCEPTION_CLOSED, json!(recorded), now).await?;
    writer.commit().await?;
    tracing::warn!(entry, by = profile.person.subject, "somebody else signed for a broken glass");
    Ok(())
}

/// Writes down which exceptions are overdue, each once.
///
/// # Errors
/// If it cannot be read or written.
pub async fn tell_overdue(storage: &Storage, now: Timestamp) -> Result<(), GateError> {
    let is_due =
        |one: &&Exception| one.status(now) == ExceptionStatus::Overdue && !one.is_told_overdue;
    let known = storage.exceptions().await?;
    if !known.iter().any(|one| is_due(&one)) {
        return Ok(());
    }
    let mut writer = storage.begin().await?;
    // Another gate may have written it meanwhile.
    let exceptions = storage.exceptions().await?;
    for Exception { entry, glass, .. } in exceptions.iter().filter(is_due) {
        let (entry, approval) = (*entry, glass.approval.clone());
        let environment = glass.environment.clone();
        let overdue = OverdueException { entry, approval, environment };
        writer.record(EXCEPTION_OVERDUE, json!(overdue), now).await?;
        tracing::error!(entry, "nobody else signed for a broken glass in time");
    }
    Ok(writer.commit().await?)
}
