//! An approver signs what becomes of a rollout: it goes on, goes back, is looked at again, or stays.
//!
//! One person is enough, since each of these leads to something that the approval already signed. What
//! the worker does about it rests on the entry alone, whose signature it verifies first.

use jiff::Timestamp;
use serde_json::json;

use crate::domain::approval::{Approval, Status};
use crate::domain::digest::Digest;
use crate::domain::ids::ApprovalId;
use crate::domain::intervention::{FrozenIntervention, Intervention, Wish};
use crate::domain::request::LONGEST_REASON;
use crate::domain::statement::Decider;
use crate::gate::decide::{RelyingParty, encode};
use crate::gate::evidence::decision_evidence;
use crate::gate::keys::accepted_keys;
use crate::gate::signature::{Signed, check, give_out, note_refusal};
use crate::gate::{CeremonyRefusal, Crowding, GateError, refusals};
use crate::proof::assertion::UnverifiedAssertion;
use crate::proof::evidence::{RecordedIntervention, Trust};
use crate::randomness;
use crate::storage::{Credential, Session, Storage, Writer};

/// What a statement about the rollout of this approval is about: no decision on it can be mistaken for one.
fn about(id: &ApprovalId) -> String {
    format!("intervention:{id}")
}

/// Makes the statement that a person may sign within five minutes, and gives the keys that may sign it.
///
/// # Errors
/// If the person may not sign it, or it is not possible now.
pub async fn prepare(
    storage: &Storage,
    trust: &Trust,
    session: &Session,
    id: &ApprovalId,
    wish: Wish,
    now: Timestamp,
) -> Result<(FrozenIntervention, Vec<Credential>), GateError> {
    if wish.reason.as_ref().is_some_and(|reason| reason.chars().count() > LONGEST_REASON) {
        return Err(CeremonyRefusal::ReasonTooLong.into());
    }
    // Signing takes a person's time: better told now than after the touch.
    storage.refuse_if_stopped()?;
    let stored = storage.approval(id).await?.ok_or(GateError::NotFound)?;
    let approval = &stored.approval;
    let profile = &session.profile;
    approval.may_intervene(wish.act, profile, now)?;
    let keys = accepted_keys(storage, trust, &approval.policy, &profile.person, now).await?.keys;
    let decider = Decider {
        approver: profile.person.clone(),
        credentials: keys.iter().map(|known| encode(&known.id)).collect(),
        sign_in_digest: Digest::of(&session.id_token),
    };
    let reason = wish.reason.filter(|reason| !reason.trim().is_empty());
    let wish = Wish { reason, ..wish };
    let statement = FrozenIntervention::about(
        &approval.subject,
        wish,
        approval.steps_done(),
        decider,
        randomness::token::<32>(),
        now,
    )?;
    give_out(storage, session, about(id), &statement).await?;
    Ok((statement, keys))
}

/// Checks an assertion over such a statement and writes the intervention. Nonce, signature counter, entry
/// and job commit together or not at all. A signature that does not hold is counted as refused.
///
/// # Errors
/// As for all signatures, and if it is not possible any more.
pub async fn intervene(
    storage: &Storage,
    relying_party: &RelyingParty,
    session: &Session,
    id: &ApprovalId,
    nonce: &str,
    unverified: &UnverifiedAssertion,
    now: Timestamp,
) -> Result<Approval, GateError> {
    let outcome = async {
        let about = about(id);
        let signed =
            check::<Intervention>(storage, relying_party, session, &about, nonce, unverified, now)
                .await?;
        commit(storage, session, id, &signed, now).await
    };
    let outcome = outcome.await;
    let named = (refusals::INTERVENTION, "approval", id.as_str());
    note_refusal(storage, session, named, unverified, &outcome, now);
    outcome
}

async fn commit(
    storage: &Storage,
    session: &Session,
    id: &ApprovalId,
    signed: &Signed<Intervention>,
    now: Timestamp,
) -> Result<Approval, GateError> {
    let Intervention { act, steps_done, reason, .. } = signed.statement.predicate();
    let profile = &session.profile;
    let mut writer = storage.begin().await?;
    signed.use_up(&mut writer, now).await?;
    let stored = writer.approval(id).await?.ok_or(GateError::NotFound)?;
    let approval = stored.approval;
    let is_same_pause = usize::try_from(*steps_done) == Ok(approval.steps_done());
    if *act == crate::domain::intervention::Act::GoOn && !is_same_pause {
        return Err(CeremonyRefusal::UnknownStatement.into());
    }
    if approval.status() != Status::Executing {
        refuse_beside(&mut writer, &approval, now).await?;
    }
    let mut transition = approval.intervene(*act, profile, reason.as_deref(), now)?;
    transition.data = json!(RecordedIntervention {
        name: profile.name.clone(),
        signed: decision_evidence(signed.kept().clone()),
    });
    let approval = writer.apply(transition, now).await?;
    // After this commit the worker acts on it, whatever happens to this process.
    writer.commit().await?;
    tracing::warn!(approval = %id, person = profile.person.subject, act = act.as_str(), "an approver intervened");
    Ok(approval)
}

/// A rollout that was over begins again only where no other one of the service runs. One that has not begun
/// waits for this one.
async fn refuse_beside(
    writer: &mut Writer,
    approval: &Approval,
    now: Timestamp,
) -> Result<(), GateError> {
    for other in writer.rollouts_beside(approval, now).await? {
        let beside = writer.approval(&other).await?.ok_or(GateError::NotFound)?.approval;
        if beside.status() == Status::Executing {
            let target = approval.subject.subject().target().to_owned();
            return Err(Crowding::OtherRollout(target).into());
        }
    }
    Ok(())
}
