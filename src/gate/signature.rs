//! A key signs a statement that the gate gave out: a decision or an endorsement, by the same rules.

use jiff::Timestamp;
use serde_json::json;

use crate::domain::decision::SignedDecision;
use crate::domain::statement::{Frozen, Signable};
use crate::gate::decide::{RelyingParty, encode, record_of};
use crate::gate::key_alone::require_said;
use crate::gate::{CeremonyRefusal, GateError};
use crate::proof::assertion::{
    AssertionRefusal, Expectation, UnverifiedAssertion, VerifiedAssertion, verify,
};
use crate::storage::{
    Credential, CredentialStatus, IssuedStatement, Refusal, Session, Storage, Writer,
};

/// A statement that a key of its person signed, verified just now and not yet used up.
pub struct Signed<P> {
    /// What was signed.
    pub statement: Frozen<P>,
    /// The key that signed.
    pub credential: Credential,
    verified: VerifiedAssertion,
    kept: SignedDecision,
}

impl<P: Signable> Signed<P> {
    /// Everything that proves it.
    pub fn kept(&self) -> &SignedDecision {
        &self.kept
    }

    /// Uses up nonce and signature counter: inside one change this happens once or not at all.
    pub async fn use_up(&self, writer: &mut Writer, now: Timestamp) -> Result<(), GateError> {
        if !writer.use_statement(self.statement.predicate().nonce(), now).await? {
            return Err(CeremonyRefusal::StatementUsed.into());
        }
        let (from, to) = (self.credential.sign_count, self.verified.new_sign_count());
        if !writer.advance_sign_count(&self.credential.id, from, to, now).await? {
            // Another assertion of the same key was counted in between.
            return Err(CeremonyRefusal::StatementUsed.into());
        }
        Ok(())
    }
}

/// Keeps a statement, so that this session's person can sign it until its time is over: once, and in no place
/// that takes statements about something else.
pub async fn give_out<P: Signable>(
    storage: &Storage,
    session: &Session,
    about: String,
    statement: &Frozen<P>,
) -> Result<(), GateError> {
    require_said(session, statement.predicate())?;
    let issued = IssuedStatement {
        nonce: statement.predicate().nonce().to_owned(),
        about,
        session: session.id,
        person: session.profile.person.clone(),
        text: statement.text().to_owned(),
        expires_at: statement.predicate().expires_at(),
        used_at: None,
    };
    Ok(storage.put_statement(&issued).await?)
}

/// Checks an assertion over the statement with this nonce, which must be one about `about` that was
/// given to this session and is still good.
pub async fn check<P: Signable>(
    storage: &Storage,
    relying_party: &RelyingParty,
    session: &Session,
    about: &str,
    nonce: &str,
    unverified: &UnverifiedAssertion,
    now: Timestamp,
) -> Result<Signed<P>, GateError> {
    let issued = storage.statement(nonce).await?.ok_or(CeremonyRefusal::UnknownStatement)?;
    let is_own = issued.about == about
        && issued.session == session.id
        && issued.person == session.profile.person;
    if !is_own {
        return Err(CeremonyRefusal::UnknownStatement.into());
    }
    if issued.used_at.is_some() {
        return Err(CeremonyRefusal::StatementUsed.into());
    }
    if now >= issued.expires_at {
        return Err(CeremonyRefusal::StatementExpired.into());
    }
    let statement: Frozen<P> = Frozen::thaw(&issued.text)?;
    require_said(session, statement.predicate())?;
    let named = statement.predicate().credentials();
    let credential = signing_credential(storage, session, named, unverified).await?;
    let record = record_of(&credential).map_err(CeremonyRefusal::UnreadableCredential)?;
    let expectation = Expectation {
        challenge: *statement.challenge().as_bytes(),
        origin: &relying_party.origin,
        rp_id: &relying_party.id,
        credentials: &[record],
        device_bound: false,
    };
    let verified = match verify(&expectation, unverified) {
        Err(AssertionRefusal::SignCountRegressed { .. }) => {
            return Err(suspend(storage, &issued.nonce, &credential, now).await?.into());
        }
        other => other?,
    };
    let kept = SignedDecision {
        statement: statement.text().to_owned(),
        credential_id: credential.id.clone(),
        authenticator_data: unverified.authenticator_data.clone(),
        client_data_json: unverified.client_data_json.clone(),
        signature: unverified.signature.clone(),
        user_handle: unverified.user_handle.clone(),
        id_token: session.id_token.clone(),
        issuer_key: session.issuer_key.clone(),
        decided_at: now,
    };
    Ok(Signed { statement, credential, verified, kept })
}

async fn signing_credential(
    storage: &Storage,
    session: &Session,
    named: &[String],
    unverified: &UnverifiedAssertion,
) -> Result<Credential, GateError> {
    let id = data_encoding::BASE64URL_NOPAD.decode(unverified.raw_id.as_bytes());
    let id = id.map_err(|_| AssertionRefusal::RawIdMalformed)?;
    let credential = storage.credential(&id).await?.ok_or(CeremonyRefusal::OtherCredential)?;
    if credential.person != session.profile.person || !named.contains(&encode(&credential.id)) {
        return Err(CeremonyRefusal::OtherCredential.into());
    }
    if storage.revoked_at(&encode(&id)).is_some() {
        return Err(CeremonyRefusal::RevokedCredential.into());
    }
    match credential.status {
        CredentialStatus::Active => Ok(credential),
        CredentialStatus::Suspended => Err(CeremonyRefusal::SuspendedCredential.into()),
        CredentialStatus::Revoked => Err(CeremonyRefusal::RevokedCredential.into()),
    }
}

/// Suspends a key whose counter did not go up, unless this very assertion was counted just before:
/// a second click, or a repetition after a lost answer, that met the first one half-way.
async fn suspend(
    storage: &Storage,
    nonce: &str,
    credential: &Credential,
    now: Timestamp,
) -> Result<CeremonyRefusal, GateError> {
    let mut writer = storage.begin().await?;
    if !writer.use_statement(nonce, now).await? {
        return Ok(CeremonyRefusal::StatementUsed);
    }
    tracing::error!(
        credential = encode(&credential.id),
        "the signature counter went backwards: the key is suspended"
    );
    writer.suspend_credential(&credential.id, "its signature counter went backwards", now).await?;
    writer.commit().await?;
    Ok(CeremonyRefusal::SuspendedCredential)
}

/// Counts that a signature was refused and changed nothing, if that is why, under its kind and with
/// the name of what it was about.
pub fn note_refusal<T>(
    storage: &Storage,
    session: &Session,
    (kind, name, about): (&'static str, &str, &str),
    unverified: &UnverifiedAssertion,
    outcome: &Result<T, GateError>,
    now: Timestamp,
) {
    let Some(code) = outcome.as_ref().err().and_then(GateError::signature_code) else { return };
    let person = &session.profile.person;
    tracing::warn!(about, person = person.subject, code, kind, "a signature was refused");
    let credential = named_credential(&unverified.raw_id);
    let about = json!({name: about, "person": person, "credential": credential});
    storage.note_refusal(Refusal { kind, code, about, at: now });
}

/// The credential that a browser named, if it can be one: others' text is not taken over.
fn named_credential(raw_id: &str) -> Option<&str> {
    let id = data_encoding::BASE64URL_NOPAD.decode(raw_id.as_bytes());
    id.is_ok_and(|id| (1..=1023).contains(&id.len())).then_some(raw_id)
}
