//! A workload asks.

use jiff::{SignedDuration, Timestamp};

use crate::domain::approval::{Approval, Status};
use crate::domain::batch::{AskedBatch, LARGEST_BATCH, MOST_IN_BATCH, batch_key};
use crate::domain::digest::Digest;
use crate::domain::policy::{NewerRequest, Policy};
use crate::domain::recovery::Lineage;
use crate::domain::request::RequestRefusal;
use crate::domain::subject::{FrozenSubject, Requester};
use crate::domain::workflow_run::WorkflowRun;
use crate::gate::{Crowding, GateError, Repetition};
use crate::integrations::workload_oidc::VerifiedRequester;
use crate::proof::jwk::thumbprint;
use crate::storage::{
    AskedWith, CommitAtGitHub, NewApproval, SpentToken, Storage, StoredApproval, Writer,
};

/// How far back `requests_per_hour` looks.
const HOUR: SignedDuration = SignedDuration::from_hours(1);

/// One attempt to ask: who, under which key, and the digest of what the body says.
pub struct Attempt<'a> {
    /// The verified token.
    pub requester: &'a VerifiedRequester,
    /// The caller's `Idempotency-Key`.
    pub idempotency_key: &'a str,
    /// The digest of the body's canonical JSON.
    pub request_digest: Digest,
    /// The commit at which GitHub is shown what becomes of it, where it is.
    pub commit: Option<CommitAtGitHub>,
    /// The webhook that is to be told of it, one that the configuration knows.
    pub notify: Option<&'a str>,
    /// The batch that it is one of, where its requester names one.
    pub batch: Option<AskedBatch>,
}

/// The requester as the signed bytes name it.
pub fn requester_of(verified: &VerifiedRequester) -> Requester {
    Requester {
        issuer: verified.issuer_name().to_owned(),
        issuer_url: verified.issuer().to_owned(),
        subject: verified.subject().to_owned(),
        key: verified.requester_key().to_owned(),
        claims: verified.claims().clone(),
    }
}

/// Looks whether this was asked before, and spends the token on its key if so.
///
/// # Errors
/// [`Repetition`] if the key or the token was used for something else.
pub async fn find_earlier(
    storage: &Storage,
    attempt: &Attempt<'_>,
) -> Result<Option<StoredApproval>, GateError> {
    let key = attempt.requester.requester_key();
    if storage.approval_by_idempotency_key(key, attempt.idempotency_key).await?.is_none() {
        return Ok(None);
    }
    let mut writer = storage.begin().await?;
    let earlier = claim(&mut writer, attempt).await?;
    writer.commit().await?;
    Ok(earlier)
}

/// Stores a new approval, or gives the one that the same request made meanwhile.
///
/// The second value says whether it is new. Token, approval, policy and ledger entry commit together.
pub async fn create(
    storage: &Storage,
    attempt: &Attempt<'_>,
    subject: FrozenSubject,
    policy: &Policy,
    now: Timestamp,
) -> Result<(StoredApproval, bool), GateError> {
    let mut writer = storage.begin().await?;
    if let Some(earlier) = claim(&mut writer, attempt).await? {
        writer.commit().await?;
        return Ok((earlier, false));
    }
    let asked = NewApproval {
        requester_key: attempt.requester.requester_key().to_owned(),
        idempotency_key: attempt.idempotency_key.to_owned(),
        request_digest: attempt.request_digest,
        asked_with: AskedWith::Token {
            token: attempt.requester.token().to_owned(),
            key: attempt.requester.key().to_owned(),
            key_thumbprint: thumbprint(attempt.requester.key()),
        },
        notify: attempt.notify.map(str::to_owned),
    };
    slow_down(&mut writer, attempt.requester.requester_key(), policy, now).await?;
    look_before(&mut writer, &subject).await?;
    let superseded = make_room(&mut writer, &subject, policy).await?;
    let stored = writer.create(Approval::request(subject, policy.clone()), &asked, now).await?;
    if let Some(batch) = &attempt.batch {
        join(&mut writer, &stored.approval, batch).await?;
    }
    if let Some(commit) = &attempt.commit {
        writer.show_at_github(&stored.approval, commit, now).await?;
    }
    for older in superseded {
        writer.apply(older.supersede(stored.approval.id().clone(), now)?, now).await?;
    }
    writer.commit().await?;
    Ok((stored, true))
}

/// Stores an approval of a run that waits, or gives the one of this very attempt. `waits` is what a verified
/// entry says of the webhook.
///
/// # Errors
/// [`Crowding`] if the environment's policy lets no more wait.
pub async fn create_for_run(
    storage: &Storage,
    subject: FrozenSubject,
    commit: &CommitAtGitHub,
    policy: &Policy,
    now: Timestamp,
) -> Result<StoredApproval, GateError> {
    let run = subject.workflow_run().ok_or(GateError::NotFound)?;
    let requester_key = run.requester.key.clone();
    let idempotency_key = WorkflowRun::idempotency_key(run.run, run.attempt, &run.environment);
    let mut writer = storage.begin().await?;
    let earlier = writer.approval_by_idempotency_key(&requester_key, &idempotency_key).await?;
    if let Some(earlier) = earlier {
        return Ok(earlier);
    }
    let asked = NewApproval {
        requester_key,
        idempotency_key,
        request_digest: *subject.digest(),
        asked_with: AskedWith::Said { recorded: run.recorded() },
        notify: None,
    };
    slow_down(&mut writer, &asked.requester_key, policy, now).await?;
    make_room(&mut writer, &subject, policy).await?;
    let stored = writer.create(Approval::request(subject, policy.clone()), &asked, now).await?;
    writer.show_at_github(&stored.approval, commit, now).await?;
    writer.commit().await?;
    Ok(stored)
}

/// Refuses a requester that asked as often as it may within the hour before.
async fn slow_down(
    writer: &mut Writer,
    requester: &str,
    policy: &Policy,
    now: Timestamp,
) -> Result<(), GateError> {
    let Some(most) = policy.requests_per_hour else { return Ok(()) };
    let requester = requester.to_owned();
    let since = now.saturating_sub(HOUR).unwrap_or(Timestamp::MIN);
    let environment = policy.environment.clone();
    // Of the newest that count, the oldest is the first to leave the hour.
    let Some(oldest) = writer.nth_newest_asked(&requester, &environment, since, most).await? else {
        return Ok(());
    };
    let left = oldest.saturating_add(HOUR).unwrap_or(now).duration_since(now).as_secs();
    let wait_seconds = u64::try_from(left).unwrap_or_default() + 1;
    Err(Crowding::TooFast { requester, environment, most, wait_seconds }.into())
}

/// What a rollout is to come after must be a rollout or a job that the same requester asked for, and one that
/// can still succeed.
///
/// # Errors
/// [`RequestRefusal::After`].
async fn look_before(writer: &mut Writer, subject: &FrozenSubject) -> Result<(), GateError> {
    let Some(after) = subject.deployment().and_then(|one| one.after.clone()) else { return Ok(()) };
    let refused =
        |problem: &str| Err(RequestRefusal::After(after.clone(), problem.to_owned()).into());
    let before = writer.approval(&after).await?.map(|stored| stored.approval);
    let is_own = |one: &Approval| {
        one.subject.requester.key == subject.requester.key && one.subject.subject().is_carried_out()
    };
    let Some(before) = before.filter(is_own) else {
        return refused(
            "you asked for no deployment and no job of this name. Ask for that one first",
        );
    };
    match before.status() {
        Status::Pending
        | Status::Approved
        | Status::Executing
        | Status::NeedsAttention
        | Status::Succeeded => Ok(()),
        ended => refused(&format!(
            "it has ended as {}. Ask for that one again first",
            ended.as_str().replace('_', " ")
        )),
    }
}

/// The older requests for the same service or job whose place the new one takes.
///
/// # Errors
/// [`Crowding`] if the environment's policy lets no more wait.
async fn make_room(
    writer: &mut Writer,
    subject: &FrozenSubject,
    policy: &Policy,
) -> Result<Vec<Approval>, GateError> {
    let environment = &policy.environment;
    // Two acts of one tool are two acts; two rollouts of one service are not both what people want.
    let asked = subject.subject();
    let target = asked.is_carried_out().then(|| asked.target());
    let older: Vec<Approval> = match (policy.newer_request, target) {
        // Not looked at where it would change nothing: there may be many.
        (NewerRequest::Queue, _) | (_, None) => Vec::new(),
        (NewerRequest::Supersede | NewerRequest::Refuse, Some(target)) => {
            let pending = writer.pending_for(environment, target).await?;
            if policy.newer_request == NewerRequest::Refuse && !pending.is_empty() {
                return Err(Crowding::OlderWaits(target.to_owned()).into());
            }
            pending.into_iter().map(|stored| stored.approval).collect()
        }
    };
    let left = writer.count_pending(environment).await?.saturating_sub(older.len() as u64);
    if left >= policy.max_pending {
        let (environment, most) = (environment.clone(), policy.max_pending);
        return Err(Crowding::TooManyWait { environment, most }.into());
    }
    Ok(older)
}

/// Puts a new approval into its batch, as long as people can sign all of it at once.
///
/// # Errors
/// [`Crowding::BatchFull`].
async fn join(
    writer: &mut Writer,
    approval: &Approval,
    batch: &AskedBatch,
) -> Result<(), GateError> {
    let key = batch_key(&approval.subject.requester, &batch.label)?;
    writer.join_batch(approval.id(), &key, batch).await?;
    let (members, bytes) = writer.size_of_batch(&key).await?;
    if members > MOST_IN_BATCH as u64 || bytes > LARGEST_BATCH as u64 {
        return Err(Crowding::BatchFull(batch.label.clone()).into());
    }
    Ok(())
}

/// Whether a token may have been spent in the part of the log that was lost. Whatever was lost is older
/// than the statement of the recovery, and its entry younger by as long as people took to sign it: an
/// issuer's clock would have to be ahead by more than that.
fn is_before_recovery(lineage: Lineage, issued_at: Timestamp) -> bool {
    lineage.recovered_at.is_some_and(|recovered_at| issued_at <= recovered_at)
}

/// Spends the token on this key and finds what the key made before.
async fn claim(
    writer: &mut Writer,
    attempt: &Attempt<'_>,
) -> Result<Option<StoredApproval>, GateError> {
    let requester = attempt.requester;
    let key = requester.requester_key();
    let spent = writer
        .spend_token(requester.token_id(), key, attempt.idempotency_key, requester.expires_at())
        .await?;
    match spent {
        SpentToken::FirstUse if is_before_recovery(writer.lineage(), requester.issued_at()) => {
            return Err(Repetition::TokenBeforeRecovery.into());
        }
        SpentToken::FirstUse | SpentToken::SameKey => {}
        SpentToken::OtherKey => return Err(Repetition::TokenReused.into()),
    }
    let earlier = writer.approval_by_idempotency_key(key, attempt.idempotency_key).await?;
    match earlier {
        Some(earlier) if earlier.request_digest != attempt.request_digest => {
            Err(Repetition::OtherBody.into())
        }
        earlier => Ok(earlier),
    }
}
