//! The answer to a run of GitHub Actions that waits: announced in the ledger before it is given, and told there
//! afterwards.

use jiff::Timestamp;
use serde_json::json;

use crate::domain::approval::{Approval, Status};
use crate::domain::hold::hold_of;
use crate::domain::ids::ApprovalId;
use crate::domain::workflow_run::{RUN_WAITS, RunWaits, WorkflowRun};
use crate::gate::GateError;
use crate::gate::rollout::freezes_within;
use crate::storage::{RuleAnswer, Storage, WaitingRule, Writer};

/// The kind of the entry before an answer is given.
pub const ANNOUNCED: &str = "github.answer_announced";
/// The kind of the entry after it was.
pub const ANSWERED: &str = "github.run_answered";

/// Keeps what a verified webhook said, and writes it down: what the gate says of it later it said when it came.
/// False: it came before, and nothing is written.
pub async fn keep(storage: &Storage, waits: &RunWaits, now: Timestamp) -> Result<bool, GateError> {
    let mut writer = storage.begin().await?;
    if !writer.keep_rule(waits, now).await? {
        return Ok(false);
    }
    writer.record(RUN_WAITS, json!(waits), now).await?;
    writer.commit().await?;
    Ok(true)
}

/// What became of the wish to give an answer.
pub enum Announced {
    /// It is written down.
    Now,
    /// The run was answered before.
    Before,
    /// Something changed or is held: look again later.
    LookAgain,
}

/// Writes down that this answer is about to be given, upon these approvals. Those of the run itself are used up
/// by a yes, in the same change: from then on nobody takes a signature back. `signed` are those as they were
/// verified.
pub async fn announce(
    storage: &Storage,
    rule: &WaitingRule,
    answer: RuleAnswer,
    approvals: &[ApprovalId],
    signed: Vec<Approval>,
    now: Timestamp,
) -> Result<Announced, GateError> {
    let mut writer = storage.begin().await?;
    if !writer.announce_answer(rule, answer).await? {
        return Ok(Announced::Before);
    }
    for verified in signed {
        let stored = writer.approval(verified.id()).await?.ok_or(GateError::NotFound)?;
        let Some(freezes) = freezes_within(storage, &mut writer).await? else {
            return Ok(Announced::LookAgain);
        };
        let is_held = hold_of(&verified, &freezes, now).is_some();
        if stored.approval != verified || is_held {
            return Ok(Announced::LookAgain);
        }
        writer.apply(verified.let_on(now)?, now).await?;
    }
    writer.record(ANNOUNCED, told(rule, answer, approvals), now).await?;
    writer.commit().await?;
    Ok(Announced::Now)
}

/// Writes down that it was given, or that the run waits no more.
pub async fn answered(
    storage: &Storage,
    rule: &WaitingRule,
    answer: RuleAnswer,
    approvals: &[ApprovalId],
    now: Timestamp,
) -> Result<(), GateError> {
    let mut writer = storage.begin().await?;
    if writer.end_rule(rule, answer).await? {
        if let Some(open) = open_approval(&mut writer, rule).await? {
            writer.apply(open.cancel(now)?, now).await?;
        }
        writer.record(ANSWERED, told(rule, answer, approvals), now).await?;
        writer.commit().await?;
    }
    Ok(())
}

/// The approval of the run itself, if people can still sign it: there is nothing left that it could let on.
async fn open_approval(
    writer: &mut Writer,
    rule: &WaitingRule,
) -> Result<Option<Approval>, GateError> {
    let Some(attempt) = rule.attempt else { return Ok(None) };
    let requester = WorkflowRun::requester_key(rule.repository);
    let key = WorkflowRun::idempotency_key(rule.run, attempt, &rule.environment);
    let stored = writer.approval_by_idempotency_key(&requester, &key).await?;
    let is_open = |one: &Approval| matches!(one.status(), Status::Pending | Status::Approved);
    Ok(stored.map(|stored| stored.approval).filter(is_open))
}

fn told(rule: &WaitingRule, answer: RuleAnswer, approvals: &[ApprovalId]) -> serde_json::Value {
    json!({
        "delivery": rule.delivery,
        "repository": rule.repository,
        "run": rule.run,
        "attempt": rule.attempt,
        "environment": rule.environment,
        "answer": answer.as_str(),
        "approvals": approvals,
    })
}
