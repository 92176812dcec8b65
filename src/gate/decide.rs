//! A person decides: a fresh statement, then the assertion that signs it.

use jiff::Timestamp;
use serde_json::json;

use crate::domain::approval::{Approval, Status};
use crate::domain::decision::{Decision, Verdict};
use crate::domain::digest::Digest;
use crate::domain::exception::{BrokenGlass, EXCEPTION_OPENED};
use crate::domain::ids::ApprovalId;
use crate::domain::person::{Person, Profile};
use crate::domain::policy::NewerRequest;
use crate::domain::request::LONGEST_REASON;
use crate::domain::statement::{DecidedOn, Decider, FrozenStatement, Predicate, Saying};
use crate::gate::endorse::signing_keys;
use crate::gate::key_alone::require_bridged;
use crate::gate::keys::accepted_keys;
use crate::gate::loss::void_signature;
use crate::gate::signature::{Signed, check, give_out, note_refusal};
use crate::gate::{CeremonyRefusal, GateError, refusals};
use crate::proof::assertion::{CredentialRecord, UnverifiedAssertion};
use crate::proof::evidence::Trust;
use crate::proof::jwk::thumbprint;
use crate::proof::public_key::{PublicKey, PublicKeyRefusal};
use crate::proof::user_handle::user_handle;
use crate::randomness;
use crate::storage::{Credential, Session, Storage, Writer};

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
    trust: &Trust,
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
    let Profile { person, name, github_id, .. } = profile;
    let groups = profile.groups_under(&stored.approval.policy);
    let withdraws = match verdict {
        Verdict::Approve | Verdict::Reject => {
            stored.approval.may_decide(person, name, groups, *github_id, now)?;
            None
        }
        Verdict::BreakGlass => {
            stored.approval.may_break_glass(person, name, groups, *github_id, now)?;
            require_bridged(session, &stored.approval.policy, now)?;
            if reason.as_ref().is_none_or(|reason| reason.trim().is_empty()) {
                return Err(CeremonyRefusal::NothingSaid.into());
            }
            None
        }
        Verdict::Withdraw => {
            Some(stored.approval.may_withdraw(person, name, now)?.statement_digest)
        }
    };
    // Nobody completes what would not be executed.
    if verdict == Verdict::Approve
        && let Some((void, _)) = void_signature(storage, trust, &stored.approval).await?
    {
        return Err(CeremonyRefusal::SignatureVoid(void.name.clone()).into());
    }
    let policy = &stored.approval.policy;
    let credentials = match withdraws {
        None => accepted_keys(storage, trust, policy, person, now).await?.keys,
        // A yes can be taken back with any key that could sign somewhere.
        Some(_) => {
            let needed = policy.enrolment.endorsements.max(trust.endorsements);
            signing_keys(storage, trust, needed, person).await?
        }
    };
    let decider = Decider {
        approver: profile.person.clone(),
        credentials: credentials.iter().map(|known| encode(&known.id)).collect(),
        sign_in_digest: Digest::of(&session.id_token),
    };
    let statement = FrozenStatement::prepare(
        &stored.approval.subject,
        Saying {
            decision: verdict,
            reason: reason.filter(|reason| !reason.trim().is_empty()),
            withdraws,
            directory_unreachable_since: profile
                .directory_unreachable_since
                .filter(|_| verdict == Verdict::BreakGlass),
        },
        decider,
        randomness::token::<32>(),
        now,
    )?;
    give_out(storage, session, id.to_string(), &statement).await?;
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
    let named = (refusals::DECISION, "approval", id.as_str());
    note_refusal(storage, session, named, unverified, &outcome, now);
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
    let about = id.as_str();
    let signed: Signed<Predicate> =
        check(storage, relying_party, session, about, nonce, unverified, now).await?;
    commit(storage, session, &signed, now).await
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
    signed: &Signed<Predicate>,
    now: Timestamp,
) -> Result<Approval, GateError> {
    let DecidedOn::One { subject, .. } = &signed.statement.predicate().on else {
        return Err(CeremonyRefusal::UnknownStatement.into());
    };
    let mut writer = storage.begin().await?;
    signed.use_up(&mut writer, now).await?;
    let stored = writer.approval(&subject.facts().approval).await?.ok_or(GateError::NotFound)?;
    let approval = record(&mut writer, session, signed, stored.approval, now).await?;
    // After this commit the decision stands and the rollout will run, whatever happens to this
    // process; before it, nothing happened and the person can sign again.
    writer.commit().await?;
    Ok(approval)
}

/// Writes what a statement that was just used up says of one approval, into a change that is not committed.
pub(super) async fn record(
    writer: &mut Writer,
    session: &Session,
    signed: &Signed<Predicate>,
    approval: Approval,
    now: Timestamp,
) -> Result<Approval, GateError> {
    let predicate = signed.statement.predicate();
    let decision = Decision {
        person: session.profile.person.clone(),
        name: session.profile.name.clone(),
        groups: session.profile.groups_under(&approval.policy).to_vec(),
        github_id: approval.policy.github_id_claim().and(session.profile.github_id),
        verdict: predicate.decision,
        reason: predicate.reason.clone(),
        directory_unreachable_since: predicate.directory_unreachable_since,
        decided_at: now,
        statement_digest: Digest::of(signed.statement.text()),
        credential: encode(&signed.credential.id),
        assertion_digest: signed.kept().assertion_digest()?,
        sign_in_key: thumbprint(&session.issuer_key),
    };
    require_bridged(session, &approval.policy, now)?;
    let person = &session.profile.person;
    if predicate.withdraws.is_some() {
        approval.may_withdraw(person, &session.profile.name, now)?;
        let stands = approval.standing_of(person).map(|yes| yes.statement_digest);
        if predicate.withdraws != stands {
            // What the page showed was taken back in between, and another yes signed.
            return Err(CeremonyRefusal::UnknownStatement.into());
        }
    }
    let was_broken = approval.is_glass_broken();
    let transition = approval.decide(decision, now)?;
    writer.insert_decision(transition.approval.id(), person, signed.kept()).await?;
    let breaks_glass = transition.approval.is_glass_broken() && !was_broken;
    let approval = writer.apply(transition, now).await?;
    if let Some(glass) = BrokenGlass::of(&approval, now).filter(|_| breaks_glass) {
        tracing::error!(approval = %glass.approval, by = glass.by.subject, "the glass was broken");
        writer.record(EXCEPTION_OPENED, json!(glass), now).await?;
    }
    match predicate.withdraws {
        Some(_) => give_way(writer, approval, now).await,
        None => Ok(approval),
    }
}

/// What waits for people again takes the place that its environment gives an older request: a newer one
/// for the same service that came in between supersedes it.
async fn give_way(
    writer: &mut Writer,
    approval: Approval,
    now: Timestamp,
) -> Result<Approval, GateError> {
    // Two acts of one tool are two acts: only what the gate carries out takes another's place.
    let yields = approval.status() == Status::Pending
        && approval.subject.subject().is_carried_out()
        && approval.policy.newer_request == NewerRequest::Supersede;
    let newer = if yields { writer.newer_open(&approval).await? } else { None };
    match newer {
        Some(newer) => Ok(writer.apply(approval.supersede(newer, now)?, now).await?),
        None => Ok(approval),
    }
}

/// Unpadded base64url, as WebAuthn writes credential ids.
pub fn encode(bytes: &[u8]) -> String {
    data_encoding::BASE64URL_NOPAD.encode(bytes)
}
