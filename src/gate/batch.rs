//! A person decides on all deployments of a batch with one signature: one statement that lists each of them in
//! full, and one decision of its own for each approval. All of them are written, or none.

use jiff::Timestamp;

use crate::domain::approval::Approval;
use crate::domain::batch::FEWEST_IN_BATCH;
use crate::domain::decision::Verdict;
use crate::domain::digest::Digest;
use crate::domain::ids::ApprovalId;
use crate::domain::person::Profile;
use crate::domain::request::LONGEST_REASON;
use crate::domain::statement::{DecidedOn, Decider, FrozenStatement, Predicate, Saying};
use crate::gate::decide::{Prepared, RelyingParty, encode, record};
use crate::gate::keys::accepted_keys;
use crate::gate::loss::void_signature;
use crate::gate::signature::{Signed, check, give_out, note_refusal};
use crate::gate::{CeremonyRefusal, GateError, refusals};
use crate::proof::assertion::UnverifiedAssertion;
use crate::proof::evidence::Trust;
use crate::randomness;
use crate::storage::{Batch, Credential, Session, Storage, StoredApproval};

/// What a statement on members of this batch is about: no decision on one approval can be mistaken for one.
fn about(batch: &Batch) -> String {
    format!("batch:{}", batch.key)
}

/// What a person says of several members of a batch at once.
pub struct Gesture {
    /// The members that the page showed.
    pub approvals: Vec<ApprovalId>,
    /// Approve or reject.
    pub verdict: Verdict,
    /// Why, in the person's words.
    pub reason: Option<String>,
}

/// Makes the statement that a person may sign within five minutes about these members of a batch.
///
/// # Errors
/// [`GateError::Member`] if one of them is not open, or not this person's to sign.
pub async fn prepare(
    storage: &Storage,
    trust: &Trust,
    session: &Session,
    batch: &Batch,
    gesture: Gesture,
    now: Timestamp,
) -> Result<Prepared, GateError> {
    if gesture.reason.as_ref().is_some_and(|reason| reason.chars().count() > LONGEST_REASON) {
        return Err(CeremonyRefusal::ReasonTooLong.into());
    }
    // Signing takes a person's time: better told now than after the touch.
    storage.refuse_if_stopped()?;
    let members = chosen(batch, &gesture)?;
    let mut keys = Vec::with_capacity(members.len());
    for one in &members {
        keys.push(keys_for(storage, trust, &session.profile, &one.approval, now).await?);
        if gesture.verdict == Verdict::Approve
            && let Some((void, _)) = void_signature(storage, trust, &one.approval).await?
        {
            let refusal = CeremonyRefusal::SignatureVoid(void.name.clone());
            return Err(GateError::from(refusal).of_member(&one.approval));
        }
    }
    let credentials = in_common(keys);
    if credentials.is_empty() {
        return Err(CeremonyRefusal::NoCommonKey.into());
    }
    let decider = Decider {
        approver: session.profile.person.clone(),
        credentials: credentials.iter().map(|known| encode(&known.id)).collect(),
        sign_in_digest: Digest::of(&session.id_token),
    };
    let asked: Vec<_> = members.iter().map(|one| &one.approval.subject).collect();
    let reason = gesture.reason.filter(|reason| !reason.trim().is_empty());
    let saying = Saying {
        decision: gesture.verdict,
        reason,
        withdraws: None,
        directory_unreachable_since: None,
    };
    let nonce = randomness::token::<32>();
    let statement = FrozenStatement::prepare_batch(&asked, saying, decider, nonce, now)?;
    give_out(storage, session, about(batch), &statement).await?;
    Ok(Prepared { statement, credentials })
}

/// The members that the page showed, in the order of the batch. A signature is taken back one by one.
fn chosen<'a>(
    batch: &'a Batch,
    gesture: &Gesture,
) -> Result<Vec<&'a StoredApproval>, CeremonyRefusal> {
    let is_chosen = |one: &&StoredApproval| gesture.approvals.contains(one.approval.id());
    let members: Vec<_> = batch.members.iter().filter(is_chosen).collect();
    let is_whole =
        members.len() == gesture.approvals.len() && (FEWEST_IN_BATCH..).contains(&members.len());
    match gesture.verdict {
        Verdict::Approve | Verdict::Reject if is_whole => Ok(members),
        _ => Err(CeremonyRefusal::UnknownStatement),
    }
}

/// The keys with which a person may sign this one of several now.
///
/// # Errors
/// [`GateError::Member`] if the person may not, or with none of them.
pub async fn keys_for(
    storage: &Storage,
    trust: &Trust,
    profile: &Profile,
    approval: &Approval,
    now: Timestamp,
) -> Result<Vec<Credential>, GateError> {
    let Profile { person, name, github_id, .. } = profile;
    let groups = profile.groups_under(&approval.policy);
    let may = approval.may_decide(person, name, groups, *github_id, now);
    may.map_err(|refusal| GateError::from(refusal).of_member(approval))?;
    let accepted = accepted_keys(storage, trust, &approval.policy, person, now).await;
    Ok(accepted.map_err(|refusal| refusal.of_member(approval))?.keys)
}

/// The keys that are in each of these lists.
pub fn in_common(lists: Vec<Vec<Credential>>) -> Vec<Credential> {
    let common = lists.into_iter().reduce(|common, list| {
        let is_in_both = |key: &Credential| list.iter().any(|one| one.id == key.id);
        common.into_iter().filter(is_in_both).collect()
    });
    common.unwrap_or_default()
}

/// Checks an assertion over such a statement and records the decision on each of its deployments.
///
/// All decisions, nonce, signature counter, ledger entries and rollout jobs commit together or not at all: if
/// one of the approvals is no longer open, or no longer this person's to sign, nothing happens to any.
///
/// # Errors
/// [`GateError::Member`] names the one that stands in the way.
pub async fn decide(
    storage: &Storage,
    relying_party: &RelyingParty,
    session: &Session,
    batch: &Batch,
    nonce: &str,
    unverified: &UnverifiedAssertion,
    now: Timestamp,
) -> Result<Vec<Approval>, GateError> {
    let about = about(batch);
    let outcome = match check(storage, relying_party, session, &about, nonce, unverified, now).await
    {
        Ok(signed) => commit(storage, session, &signed, now).await,
        Err(refusal) => Err(refusal),
    };
    let key = batch.key.to_string();
    let named = (refusals::DECISION, "batch", key.as_str());
    note_refusal(storage, session, named, unverified, &outcome, now);
    outcome
}

async fn commit(
    storage: &Storage,
    session: &Session,
    signed: &Signed<Predicate>,
    now: Timestamp,
) -> Result<Vec<Approval>, GateError> {
    let DecidedOn::Batch { deployments } = &signed.statement.predicate().on else {
        return Err(CeremonyRefusal::UnknownStatement.into());
    };
    let mut writer = storage.begin().await?;
    signed.use_up(&mut writer, now).await?;
    let mut decided = Vec::with_capacity(deployments.len());
    for deployment in deployments {
        let id = &deployment.facts().approval;
        let approval = writer.approval(id).await?.ok_or(GateError::NotFound)?.approval;
        if !signed.statement.is_about(&approval.subject) {
            let stale = GateError::from(CeremonyRefusal::UnknownStatement);
            return Err(stale.of_member(&approval));
        }
        let unchanged = approval.clone();
        let recorded = record(&mut writer, session, signed, approval, now).await;
        decided.push(recorded.map_err(|refusal| refusal.of_member(&unchanged))?);
    }
    // The one point of no return for all of them: before it, nothing happened to any.
    writer.commit().await?;
    Ok(decided)
}
