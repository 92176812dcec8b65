//! The answer to a run of GitHub Actions that waits: announced in the ledger before it is given, and told there
//! afterwards.

use jiff::Timestamp;
use serde_json::json;

use crate::domain::ids::ApprovalId;
use crate::gate::GateError;
use crate::storage::{RuleAnswer, Storage, WaitingRule};

/// The kind of the entry before an answer is given.
pub const ANNOUNCED: &str = "github.answer_announced";
/// The kind of the entry after it was.
pub const ANSWERED: &str = "github.run_answered";

/// Writes down that this answer is about to be given, upon these approvals. False: it was given before.
pub async fn announce(
    storage: &Storage,
    rule: &WaitingRule,
    answer: RuleAnswer,
    approvals: &[ApprovalId],
    now: Timestamp,
) -> Result<bool, GateError> {
    let mut writer = storage.begin().await?;
    if !writer.announce_answer(rule, answer).await? {
        return Ok(false);
    }
    writer.record(ANNOUNCED, told(rule, answer, approvals), now).await?;
    writer.commit().await?;
    Ok(true)
}

/// Writes down that it was given.
pub async fn answered(
    storage: &Storage,
    rule: &WaitingRule,
    answer: RuleAnswer,
    approvals: &[ApprovalId],
    now: Timestamp,
) -> Result<(), GateError> {
    let mut writer = storage.begin().await?;
    if writer.end_rule(rule, answer).await? {
        writer.record(ANSWERED, told(rule, answer, approvals), now).await?;
        writer.commit().await?;
    }
    Ok(())
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
