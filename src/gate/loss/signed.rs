//! The report of a loss, signed with another key of the owner: the key that is lost is not needed for it, nor a sign-in
//! made for it.

use jiff::Timestamp;

use super::{brought_in, record, waiting};
use crate::domain::decision::SignedDecision;
use crate::domain::digest::Digest;
use crate::domain::ledger::Revoked;
use crate::domain::loss::{FrozenLoss, LossReport, LossStatement, RecordedLoss, SignedLoss};
use crate::domain::statement::Decider;
use crate::gate::decide::{RelyingParty, encode};
use crate::gate::endorse::signing_keys;
use crate::gate::evidence::gather_signed;
use crate::gate::signature::{check, give_out, note_refusal};
use crate::gate::{CeremonyRefusal, GateError, refusals};
use crate::proof::assertion::UnverifiedAssertion;
use crate::proof::base64url;
use crate::proof::evidence::Trust;
use crate::proof::jwk::thumbprint;
use crate::proof::verify::verify_signed_loss;
use crate::randomness;
use crate::storage::{Credential, RecordedRevocation, Session, Storage};

/// What a statement about this report is about: no other signature can be mistaken for one.
fn about(ceremony: &str) -> String {
    format!("key-loss:{ceremony}")
}

/// The keys of the owner that may sign that another one is lost: those that sign something somewhere, but for the lost
/// one and those that it brought in while it was.
pub async fn keys_for(
    storage: &Storage,
    trust: &Trust,
    report: &LossReport,
) -> Result<Vec<Credential>, GateError> {
    let mut keys = match signing_keys(storage, trust, trust.endorsements, &report.person).await {
        Err(GateError::Ceremony(_)) => Vec::new(),
        other => other?,
    };
    let doubtful = brought_in(storage, &report.credential, report.since).await?;
    keys.retain(|key| {
        encode(&key.id) != report.credential && !doubtful.iter().any(|one| one.id == key.id)
    });
    Ok(keys)
}

/// Makes the statement that the owner may sign with another key about the report that waits under this name.
///
/// # Errors
/// [`CeremonyRefusal::UnknownEnrolment`] if none waits, [`CeremonyRefusal::NoCredential`] if they have no other key.
pub async fn prepare(
    storage: &Storage,
    trust: &Trust,
    session: &Session,
    ceremony: &str,
    now: Timestamp,
) -> Result<(FrozenLoss, Vec<Credential>), GateError> {
    let report = waiting(storage, session, ceremony, now).await?;
    let keys = keys_for(storage, trust, &report).await?;
    if keys.is_empty() {
        return Err(CeremonyRefusal::NoCredential.into());
    }
    let owner = Decider {
        approver: session.profile.person.clone(),
        credentials: keys.iter().map(|key| encode(&key.id)).collect(),
        sign_in_digest: Digest::of(&session.id_token),
    };
    let statement = FrozenLoss::of_report(report, owner, randomness::token::<32>(), now)?;
    give_out(storage, session, about(ceremony), &statement).await?;
    Ok((statement, keys))
}

/// Checks an assertion over such a statement and writes the loss down. Nonce, signature counter, report and entries
/// commit together.
///
/// # Errors
/// What does not hold. It is counted as a refused key.
pub async fn sign(
    storage: &Storage,
    party: &RelyingParty,
    session: &Session,
    ceremony: &str,
    (nonce, unverified): (&str, &UnverifiedAssertion),
    now: Timestamp,
) -> Result<(), GateError> {
    let outcome = try_to_sign(storage, party, session, ceremony, (nonce, unverified), now).await;
    let named = (refusals::CREDENTIAL, "report", ceremony);
    note_refusal(storage, session, named, unverified, &outcome, now);
    outcome
}

async fn try_to_sign(
    storage: &Storage,
    party: &RelyingParty,
    session: &Session,
    ceremony: &str,
    (nonce, unverified): (&str, &UnverifiedAssertion),
    now: Timestamp,
) -> Result<(), GateError> {
    let place = about(ceremony);
    let signed =
        check::<LossStatement>(storage, party, session, &place, nonce, unverified, now).await?;
    let report = &signed.statement.predicate().report;
    let mut writer = storage.begin().await?;
    signed.use_up(&mut writer, now).await?;
    writer.take_ceremony(ceremony, now).await?.ok_or(CeremonyRefusal::UnknownEnrolment)?;
    let loss = RecordedLoss::Signed(SignedLoss::of(signed.kept()));
    record(storage, &mut writer, (report, loss), &session.profile, now).await?;
    Ok(writer.commit().await?)
}

/// Since when a key is lost, as an entry says that another key of its owner signed: from bytes alone.
///
/// # Errors
/// If it cannot be read. What does not hold is none.
pub(super) async fn verify(
    storage: &Storage,
    trust: &Trust,
    found: &RecordedRevocation,
    loss: &SignedLoss,
) -> Result<Option<Timestamp>, GateError> {
    let Some(signed) = signed_in_entry(loss, found.at) else { return Ok(None) };
    let place = (found.index, found.at);
    let key = thumbprint(&loss.issuer_key);
    let tree = storage.head().await?;
    let evidence = match gather_signed(storage, trust, place, (signed, key), &tree).await {
        Err(GateError::NotFound) => return Ok(None),
        other => other?,
    };
    let revocations = storage.revocations().await?.into_iter();
    let revoked: Revoked = revocations.map(|one| (one.revocation.credential, one.index)).collect();
    let about = (found.revocation.credential.as_str(), &found.revocation.person);
    let verified = verify_signed_loss(&evidence, about, trust, &revoked);
    if let Err(failure) = &verified {
        tracing::warn!(%failure, entry = found.index, "a reported loss does not hold: it is a revocation");
    }
    Ok(verified.ok())
}

/// What was signed, as it was received.
fn signed_in_entry(loss: &SignedLoss, at: Timestamp) -> Option<SignedDecision> {
    let handle = loss.user_handle.as_deref();
    Some(SignedDecision {
        statement: loss.statement.clone(),
        credential_id: base64url::decode(&loss.signed_with)?,
        authenticator_data: base64url::decode(&loss.authenticator_data)?,
        client_data_json: base64url::decode(&loss.client_data_json)?,
        signature: base64url::decode(&loss.signature)?,
        user_handle: match handle {
            None => None,
            Some(handle) => Some(base64url::decode(handle)?),
        },
        id_token: loss.sign_in.clone(),
        issuer_key: loss.issuer_key.clone(),
        decided_at: at,
    })
}
