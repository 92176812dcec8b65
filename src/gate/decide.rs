//! A person decides: a fresh statement, then the assertion that signs it.

use jiff::Timestamp;
use serde_json::json;

use crate::domain::approval::Approval;
use crate::domain::decision::{Decision, SignedDecision, Verdict};
use crate::domain::digest::Digest;
use crate::domain::ids::ApprovalId;
use crate::domain::person::Person;
use crate::domain::request::LONGEST_REASON;
use crate::domain::statement::{Decider, FrozenStatement};
use crate::gate::{CeremonyRefusal, GateError, refusals};
use crate::proof::assertion::{
    AssertionRefusal, CredentialRecord, Expectation, UnverifiedAssertion, VerifiedAssertion, verify,
};
use crate::proof::jwk::thumbprint;
use crate::proof::public_key::{PublicKey, PublicKeyRefusal};
use crate::proof::user_handle::user_handle;
use crate::randomness;
use crate::storage::{Credential, CredentialStatus, IssuedStatement, Refusal, Session, Storage};

/// Where assertions must come from.
#[derive(Clone, Debug)]
pub struct RelyingParty {
    /// The origin of the pages, `https://gate.example.com`.
    pub origin: String,
    /// The RP id: the origin's host.
    pub id: String,
}

/// A statement ready to be signed, and the credentials that may sign it.
pub struct Prepared {
    /// The statement.
    pub statement: FrozenStatement,
    /// The person's credentials.
    pub credentials: Vec<Credential>,
}

/// Makes the statement that a person may sign within five minutes.
pub async fn prepare(
    storage: &Storage,
    session: &Session,
    id: &ApprovalId,
    verdict: Verdict,
    reason: Option<String>,
    now: Timestamp,
) -> Result<Prepared, GateError> {
    if reason.as_ref().is_some_and(|reason| reason.chars().count() > LONGEST_REASON) {
        return Err(CeremonyRefusal::ReasonTooLong.into());
    }
    // Signing takes a person's time: better told now than after the touch.
    storage.refuse_if_stopped()?;
    let stored = storage.approval(id).await?.ok_or(GateError::NotFound)?;
    let profile = &session.profile;
    stored.approval.may_decide(&profile.person, &profile.name, &profile.groups, now)?;
    let mut credentials = storage.credentials_of(&profile.person).await?;
    credentials.retain(|credential| {
        credential.status == CredentialStatus::Active
            && storage.revoked_at(&encode(&credential.id)).is_none()
    });
    if credentials.is_empty() {
        return Err(CeremonyRefusal::NoCredential.into());
    }
    let decider = Decider {
        approver: profile.person.clone(),
        credentials: credentials.iter().map(|known| encode(&known.id)).collect(),
        sign_in_digest: Digest::of(&session.id_token),
    };
    let statement = FrozenStatement::prepare(
        &stored.approval.deployment,
        verdict,
        reason.filter(|reason| !reason.trim().is_empty()),
        decider,
        randomness::token::<32>(),
        now,
    )?;
    let issued = IssuedStatement {
        nonce: statement.predicate().nonce.clone(),
        approval: id.clone(),
        session: session.id,
        person: profile.person.clone(),
        text: statement.text().to_owned(),
        expires_at: statement.predicate().expires_at,
        used_at: None,
    };
    storage.put_statement(&issued).await?;
    Ok(Prepared { statement, credentials })
}

/// Checks an assertion over a statement and records the decision.
///
/// Decision, nonce, signature counter, ledger entry and rollout job commit together or not at all.
/// A signature that does not hold is counted as refused and changes nothing else.
pub async fn decide(
    storage: &Storage,
    relying_party: &RelyingParty,
    session: &Session,
    id: &ApprovalId,
    nonce: &str,
    unverified: &UnverifiedAssertion,
    now: Timestamp,
) -> Result<Approval, GateError> {
    let outcome = try_to_decide(storage, relying_party, session, id, nonce, unverified, now).await;
    if let Err(
        error @ (GateError::Assertion(_) | GateError::Ceremony(_) | GateError::Transition(_)),
    ) = &outcome
    {
        note_refusal(storage, session, id, unverified, error, now);
    }
    outcome
}

async fn try_to_decide(
    storage: &Storage,
    relying_party: &RelyingParty,
    session: &Session,
    id: &ApprovalId,
    nonce: &str,
    unverified: &UnverifiedAssertion,
    now: Timestamp,
) -> Result<Approval, GateError> {
    let issued = storage.statement(nonce).await?.ok_or(CeremonyRefusal::UnknownStatement)?;
    let is_own = issued.approval == *id
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
    let statement = FrozenStatement::thaw(&issued.text)?;
    let credential = signing_credential(storage, session, &statement, unverified).await?;
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
    commit(storage, session, &statement, &credential, &verified, unverified, now).await
}

async fn signing_credential(
    storage: &Storage,
    session: &Session,
    statement: &FrozenStatement,
    unverified: &UnverifiedAssertion,
) -> Result<Credential, GateError> {
    let id = data_encoding::BASE64URL_NOPAD.decode(unverified.raw_id.as_bytes());
    let id = id.map_err(|_| AssertionRefusal::RawIdMalformed)?;
    let credential = storage.credential(&id).await?.ok_or(CeremonyRefusal::OtherCredential)?;
    let is_named = statement.predicate().credentials.contains(&encode(&credential.id));
    if credential.person != session.profile.person || !is_named {
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

/// The parts of a stored credential that an assertion is checked against.
///
/// # Errors
/// If the stored public key cannot be read.
pub fn record_of(credential: &Credential) -> Result<CredentialRecord, PublicKeyRefusal> {
    let Person { issuer, subject } = &credential.person;
    Ok(CredentialRecord {
        id: credential.id.clone(),
        public_key: PublicKey::from_cose(&credential.public_key)?,
        user_handle: user_handle(issuer, subject).to_vec(),
        backup_eligible: credential.backup_eligible,
        sign_count: credential.sign_count,
    })
}

async fn commit(
    storage: &Storage,
    session: &Session,
    statement: &FrozenStatement,
    credential: &Credential,
    verified: &VerifiedAssertion,
    unverified: &UnverifiedAssertion,
    now: Timestamp,
) -> Result<Approval, GateError> {
    let predicate = statement.predicate();
    let id = &predicate.deployment.approval;
    let mut writer = storage.begin().await?;
    if !writer.use_statement(&predicate.nonce, now).await? {
        return Err(CeremonyRefusal::StatementUsed.into());
    }
    let (from, to) = (credential.sign_count, verified.new_sign_count());
    if !writer.advance_sign_count(&credential.id, from, to, now).await? {
        // Another assertion of the same key was counted in between.
        return Err(CeremonyRefusal::StatementUsed.into());
    }
    let stored = writer.approval(id).await?.ok_or(GateError::NotFound)?;
    let signed = SignedDecision {
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
    let decision = Decision {
        person: session.profile.person.clone(),
        name: session.profile.name.clone(),
        groups: session.profile.groups.clone(),
        verdict: predicate.decision,
        reason: predicate.reason.clone(),
        decided_at: now,
        statement_digest: Digest::of(statement.text()),
        credential: encode(&credential.id),
        assertion_digest: signed.assertion_digest()?,
        sign_in_key: thumbprint(&session.issuer_key),
    };
    let transition = stored.approval.decide(decision, now)?;
    writer.insert_decision(id, &session.profile.person, &signed).await?;
    let approval = writer.apply(transition, now).await?;
    // After this commit the decision stands and the rollout will run, whatever happens to this
    // process; before it, nothing happened and the person can sign again.
    writer.commit().await?;
    Ok(approval)
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

fn note_refusal(
    storage: &Storage,
    session: &Session,
    id: &ApprovalId,
    unverified: &UnverifiedAssertion,
    error: &GateError,
    now: Timestamp,
) {
    let code = match error {
        GateError::Assertion(refusal) => refusal.code(),
        GateError::Ceremony(refusal) => refusal.code(),
        GateError::Transition(refusal) => refusal.code(),
        _ => return,
    };
    tracing::warn!(approval = %id, person = session.profile.person.subject, code, "a decision was refused");
    let credential = named_credential(&unverified.raw_id);
    let person = &session.profile.person;
    let about = json!({"approval": id, "person": person, "credential": credential});
    storage.note_refusal(Refusal { kind: refusals::DECISION, code, about, at: now });
}

/// The credential that a browser named, if it can be one: others' text is not taken over.
fn named_credential(raw_id: &str) -> Option<&str> {
    let id = data_encoding::BASE64URL_NOPAD.decode(raw_id.as_bytes());
    id.is_ok_and(|id| (1..=1023).contains(&id.len())).then_some(raw_id)
}

/// Unpadded base64url, as WebAuthn writes credential ids.
pub fn encode(bytes: &[u8]) -> String {
    data_encoding::BASE64URL_NOPAD.encode(bytes)
}
