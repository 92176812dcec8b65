//! A configuration says other rules than those in force: people are asked, and what they signed comes into
//! force. Until then the old rules stay.

use jiff::{SignedDuration, Timestamp};

use crate::domain::approval::{Approval, Status};
use crate::domain::canonical::CanonicalError;
use crate::domain::ids::ApprovalId;
use crate::domain::policy::Policy;
use crate::domain::rollout::Outcome;
use crate::domain::rule_change::RuleChange;
use crate::domain::rulebook::{RULES_ENVIRONMENT, RULES_IN_FORCE, Rulebook};
use crate::domain::subject::{Facts, FrozenSubject};
use crate::gate::GateError;
use crate::gate::authorise::AuthorisedRuleChange;
use crate::gate::rules_in_force::data_of;
use crate::proof::evidence::Trust;
use crate::randomness;
use crate::storage::{
    ApprovalFilter, AskedWith, Job, NewApproval, Storage, StoredApproval, Writer,
};

/// How long a no stands: who runs the gate is not asked the same again by every start.
const NO_STANDS: SignedDuration = SignedDuration::from_hours(24);

/// Asks people about the change from the rules in force to those of the configuration, `after`; or finds that
/// they are asked already, or that there is nothing to ask. Several gates and many starts ask once.
///
/// # Errors
/// If the ledger cannot be read or written.
pub async fn ask(
    storage: &Storage,
    trust: &Trust,
    after: &Rulebook,
    now: Timestamp,
) -> Result<Option<ApprovalId>, GateError> {
    let rules = storage.rules();
    let Some(in_force) = rules.current().filter(|one| *one.rules != *after) else {
        return Ok(None);
    };
    let latest = latest(storage, &Status::ALL).await?;
    let is_same = |stored: &StoredApproval| is_from_to(&stored.approval, &in_force.rules, after);
    if let Some(stored) = latest.as_ref().filter(|stored| is_same(stored))
        && stands(&stored.approval, now)
    {
        return Ok(Some(stored.approval.id().clone()));
    }
    let last = latest.map_or_else(|| "none".to_owned(), |stored| stored.approval.id().to_string());
    let policy = in_force.rules.quorum(after);
    let policy = policy.suspending(trust.metadata.iter().flat_map(|known| known.suspended()));
    let subject = subject_of(&trust.origin, &in_force.rules, after, &policy, now)?;
    let change = subject.rule_change().ok_or(GateError::NotFound)?;
    let (from, to) = change.digests()?;
    let asked = NewApproval {
        requester_key: RuleChange::requester_key(),
        idempotency_key: format!("{from} to {to} after {last}"),
        request_digest: *subject.digest(),
        asked_with: AskedWith::Said { recorded: change.recorded()? },
        notify: None,
    };
    let mut writer = storage.begin().await?;
    let earlier =
        writer.approval_by_idempotency_key(&asked.requester_key, &asked.idempotency_key).await?;
    if let Some(earlier) = earlier {
        return Ok(Some(earlier.approval.id().clone()));
    }
    if is_unread(storage, &mut writer).await? {
        // Other rules come into force just now. It is looked at again.
        return Ok(None);
    }
    let stored = writer.create(Approval::request(subject, policy), &asked, now).await?;
    let id = stored.approval.id().clone();
    for older in open(storage).await? {
        let older =
            writer.approval(older.approval.id()).await?.ok_or(GateError::NotFound)?.approval;
        if older.status() == Status::Pending {
            writer.apply(older.supersede(id.clone(), now)?, now).await?;
        }
    }
    writer.commit().await?;
    tracing::warn!(approval = %id, "the configuration says other rules than those in force: people are asked to sign the change");
    Ok(Some(id))
}

/// Ends what people are asked, where the configuration says the rules in force again.
///
/// # Errors
/// If the ledger cannot be read or written.
pub async fn take_back(storage: &Storage, now: Timestamp) -> Result<(), GateError> {
    let open = open(storage).await?;
    if open.is_empty() {
        return Ok(());
    }
    let mut writer = storage.begin().await?;
    for stored in open {
        let now_stored = writer.approval(stored.approval.id()).await?.ok_or(GateError::NotFound)?;
        if now_stored.approval.status() == Status::Pending {
            writer.apply(now_stored.approval.cancel(now)?, now).await?;
        }
    }
    Ok(writer.commit().await?)
}

/// What became of the wish to put rules into force.
pub enum Put {
    /// They are.
    Now,
    /// Other rules came into force just now, which has not been verified yet: look again.
    Unread,
    /// The change cannot come into force any more, and its approval says so.
    TooLate,
    /// The lease of its job is not ours.
    Lost,
}

/// Puts the rules that people signed into force, by the entry that ends their approval.
///
/// # Errors
/// If the approval does not allow it, or the ledger cannot be written.
pub async fn put_into_force(
    storage: &Storage,
    job: &Job,
    authorised: &AuthorisedRuleChange,
    now: Timestamp,
) -> Result<Put, GateError> {
    let mut writer = storage.begin().await?;
    if !writer.hold_job(job).await? {
        return Ok(Put::Lost);
    }
    if is_unread(storage, &mut writer).await? {
        return Ok(Put::Unread);
    }
    let change = authorised.change();
    let stored = writer.approval(&job.approval).await?.ok_or(GateError::NotFound)?;
    let approval = stored.approval;
    if approval.subject.rule_change() != Some(change) {
        return Err(GateError::NotFound);
    }
    let rules = storage.rules();
    let is_current = rules.current().is_some_and(|in_force| *in_force.rules == change.before);
    let transition = if is_current {
        approval.put_into_force(data_of(&change.after), now)?
    } else {
        let why = "the rules in force are others by now than those that it changes".to_owned();
        approval.finish(Outcome::Failed(why), now)?
    };
    writer.apply(transition, now).await?;
    writer.commit().await?;
    Ok(if is_current { Put::Now } else { Put::TooLate })
}

/// Whether an entry that may put rules into force stands in the ledger and was not verified yet. A change owns
/// the ledger's head, so none can come between this look and what it writes.
async fn is_unread(storage: &Storage, writer: &mut Writer) -> Result<bool, GateError> {
    let verified = storage.known_tree().map_or(0, |tree| tree.size());
    Ok(writer.has_kind_since(RULES_IN_FORCE, verified).await?)
}

/// The approval of a change of the rules that waits for signatures, if one does.
///
/// # Errors
/// If it cannot be read.
pub async fn waiting(storage: &Storage) -> Result<Option<ApprovalId>, GateError> {
    let latest = latest(storage, &[Status::Pending]).await?;
    Ok(latest.map(|stored| stored.approval.id().clone()))
}

/// Whether people need not be asked anew for the same change.
fn stands(approval: &Approval, now: Timestamp) -> bool {
    match approval.status() {
        Status::Pending => now < approval.subject.expires_at,
        Status::Approved => now < approval.runs_out_at(),
        Status::Rejected => now.duration_since(approval.subject.requested_at) < NO_STANDS,
        _ => false,
    }
}

fn is_from_to(approval: &Approval, before: &Rulebook, after: &Rulebook) -> bool {
    let change = approval.subject.rule_change();
    change.is_some_and(|change| change.before == *before && change.after == *after)
}

/// The newest approval of a change of the rules with one of these states.
async fn latest(
    storage: &Storage,
    statuses: &[Status],
) -> Result<Option<StoredApproval>, GateError> {
    Ok(changes(storage, statuses, 1).await?.into_iter().next())
}

async fn open(storage: &Storage) -> Result<Vec<StoredApproval>, GateError> {
    changes(storage, &[Status::Pending], 100).await
}

async fn changes(
    storage: &Storage,
    statuses: &[Status],
    limit: u32,
) -> Result<Vec<StoredApproval>, GateError> {
    let filter = ApprovalFilter {
        requester_keys: Some(vec![RuleChange::requester_key()]),
        environments: None,
        statuses: statuses.to_vec(),
        cursor: None,
        limit,
    };
    Ok(storage.approvals(&filter).await?.approvals)
}

fn subject_of(
    origin: &str,
    before: &Rulebook,
    after: &Rulebook,
    policy: &Policy,
    now: Timestamp,
) -> Result<FrozenSubject, CanonicalError> {
    let seconds = i64::try_from(policy.expires_in_seconds).unwrap_or(i64::MAX);
    let lifetime = SignedDuration::from_secs(seconds);
    FrozenSubject::freeze(RuleChange {
        facts: Facts {
            approval: ApprovalId::from_random(randomness::bytes()),
            audience: origin.to_owned(),
            environment: RULES_ENVIRONMENT.to_owned(),
            requester: RuleChange::requester(origin),
            reason: "The gate's configuration file says other rules than those in force."
                .to_owned(),
            title: None,
            acts_for: None,
            body: None,
            links: Vec::new(),
            policy_digest: policy.canonical()?.1,
            requested_at: now,
            expires_at: now.saturating_add(lifetime).unwrap_or(Timestamp::MAX),
        },
        before: before.clone(),
        after: after.clone(),
    })
}
