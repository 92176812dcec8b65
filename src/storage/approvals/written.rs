//! What a writer reads and writes of approvals inside its change.

use jiff::{SignedDuration, Timestamp};
use sqlx::AnyConnection;

use super::{ApprovalRow, NewApproval, StoredApproval, approval_columns};
use crate::domain::approval::Approval;
use crate::domain::decision::SignedDecision;
use crate::domain::ids::ApprovalId;
use crate::domain::person::Person;
use crate::storage::column::{Row, big_int, json_text};
use crate::storage::error::{Result, StorageError};

pub(in crate::storage) async fn count_pending(
    connection: &mut AnyConnection,
    environment: &str,
) -> Result<u64> {
    const SQL: &str =
        "SELECT COUNT(*) FROM approvals WHERE environment = $1 AND status = 'pending'";
    let count: i64 = sqlx::query_scalar(SQL).bind(environment).fetch_one(connection).await?;
    Ok(count.unsigned_abs())
}

pub(in crate::storage) async fn nth_newest_asked(
    connection: &mut AnyConnection,
    requester_key: &str,
    environment: &str,
    since: Timestamp,
    nth: u64,
) -> Result<Option<Timestamp>> {
    const SQL: &str = "SELECT created_at FROM approvals WHERE requester_key = $1 AND environment = $2 \
         AND created_at > $3 ORDER BY first_entry DESC LIMIT 1 OFFSET $4";
    let at: Option<i64> = sqlx::query_scalar(SQL)
        .bind(requester_key)
        .bind(environment)
        .bind(since.as_microsecond())
        .bind(big_int(nth.saturating_sub(1))?)
        .fetch_optional(connection)
        .await?;
    at.map(|at| Row { table: "approvals", key: requester_key }.time("created_at", at)).transpose()
}

pub(in crate::storage) async fn insert_policy(
    connection: &mut AnyConnection,
    approval: &Approval,
) -> Result<()> {
    const SQL: &str =
        "INSERT INTO policies (digest, policy) VALUES ($1, $2) ON CONFLICT (digest) DO NOTHING";
    let (text, digest) = approval.policy.canonical()?;
    if digest != approval.subject.policy_digest {
        return Err(StorageError::Contradiction("the subject names another policy"));
    }
    // Another approval may have brought the same policy: one row or none.
    sqlx::query(SQL).bind(digest.to_string()).bind(text).execute(connection).await?;
    Ok(())
}

pub(in crate::storage) async fn insert_approval(
    connection: &mut AnyConnection,
    approval: &Approval,
    asked: &NewApproval,
    first_entry: u64,
    now: Timestamp,
) -> Result<()> {
    const SQL: &str = "INSERT INTO approvals (id, first_entry, environment, service, requester_key, \
         idempotency_key, request_digest, token, token_key, deployment, deployment_digest, \
         policy_digest, status, version, state, decisions, created_at, expires_at) VALUES \
         ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18) \
         ON CONFLICT DO NOTHING";
    let subject = &approval.subject;
    let (token, token_key) = asked.asked_with.token();
    let touched = sqlx::query(SQL)
        .bind(approval.id().as_str())
        .bind(big_int(first_entry)?)
        .bind(&subject.environment)
        .bind(subject.subject().target())
        .bind(&asked.requester_key)
        .bind(&asked.idempotency_key)
        .bind(asked.request_digest.to_string())
        .bind(token)
        .bind(token_key)
        .bind(subject.text())
        .bind(subject.digest().to_string())
        .bind(subject.policy_digest.to_string())
        .bind(approval.status().as_str())
        .bind(big_int(approval.version)?)
        .bind(json_text(&approval.state)?)
        .bind(json_text(&approval.decisions)?)
        .bind(now.as_microsecond())
        .bind(subject.expires_at.as_microsecond())
        .execute(connection)
        .await?
        .rows_affected();
    let what = "an approval with this idempotency key";
    if touched == 1 { Ok(()) } else { Err(StorageError::Duplicate(what)) }
}

pub(in crate::storage) async fn update_approval(
    connection: &mut AnyConnection,
    approval: &Approval,
) -> Result<()> {
    const SQL: &str = "UPDATE approvals SET status = $1, version = $2, state = $3, decisions = $4 \
         WHERE id = $5 AND version = $6 AND deployment_digest = $7";
    let touched = sqlx::query(SQL)
        .bind(approval.status().as_str())
        .bind(big_int(approval.version)?)
        .bind(json_text(&approval.state)?)
        .bind(json_text(&approval.decisions)?)
        .bind(approval.id().as_str())
        .bind(big_int(approval.version)? - 1)
        .bind(approval.subject.digest().to_string())
        .execute(connection)
        .await?
        .rows_affected();
    if touched == 1 { Ok(()) } else { Err(StorageError::Conflict) }
}

/// Keeps what proves a decision, whose entry is the one at `position`.
pub(in crate::storage) async fn insert_decision(
    connection: &mut AnyConnection,
    approval: &ApprovalId,
    person: &Person,
    decision: &SignedDecision,
    position: u64,
) -> Result<()> {
    const SQL: &str = "INSERT INTO decisions (approval_id, issuer, subject, position, statement, credential_id, \
         authenticator_data, client_data_json, signature, user_handle, id_token, issuer_key, \
         decided_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) \
         ON CONFLICT DO NOTHING";
    let touched = sqlx::query(SQL)
        .bind(approval.as_str())
        .bind(&person.issuer)
        .bind(&person.subject)
        .bind(big_int(position)?)
        .bind(&decision.statement)
        .bind(&decision.credential_id)
        .bind(&decision.authenticator_data)
        .bind(&decision.client_data_json)
        .bind(&decision.signature)
        .bind(decision.user_handle.clone())
        .bind(&decision.id_token)
        .bind(&decision.issuer_key)
        .bind(decision.decided_at.as_microsecond())
        .execute(connection)
        .await?
        .rows_affected();
    let what = "a decision on this approval with this entry";
    if touched == 1 { Ok(()) } else { Err(StorageError::Duplicate(what)) }
}

pub(in crate::storage) async fn pending_for(
    connection: &mut AnyConnection,
    environment: &str,
    target: &str,
) -> Result<Vec<StoredApproval>> {
    const SQL: &str = approval_columns!(
        "WHERE a.environment = $1 AND a.service = $2 AND a.status = 'pending' ORDER BY a.first_entry"
    );
    let rows: Vec<ApprovalRow> =
        sqlx::query_as(SQL).bind(environment).bind(target).fetch_all(connection).await?;
    rows.into_iter().map(StoredApproval::try_from).collect()
}

pub(in crate::storage) async fn newer_open(
    connection: &mut AnyConnection,
    approval: &Approval,
) -> Result<Option<ApprovalId>> {
    const SQL: &str = "SELECT id FROM approvals WHERE environment = $1 AND service = $2 \
         AND status IN ('pending', 'approved', 'executing') \
         AND first_entry > (SELECT first_entry FROM approvals WHERE id = $3) \
         ORDER BY first_entry DESC LIMIT 1";
    let id: Option<String> = sqlx::query_scalar(SQL)
        .bind(&approval.subject.environment)
        .bind(approval.subject.subject().target())
        .bind(approval.id().as_str())
        .fetch_optional(connection)
        .await?;
    id.map(|id| Row { table: "approvals", key: &id }.parse("id", &id)).transpose()
}

/// How long the job of an approval that comes first may be put off without losing its place: longer than
/// it waits for another rollout, and no job is put off for longer that can begin at all.
const PATIENCE: SignedDuration = SignedDuration::from_mins(1);

pub(in crate::storage) async fn rollouts_beside(
    connection: &mut AnyConnection,
    approval: &Approval,
    now: Timestamp,
) -> Result<Vec<ApprovalId>> {
    const SQL: &str = "SELECT a.id FROM jobs j JOIN approvals a ON a.id = j.approval_id \
         WHERE a.service = $1 AND a.id <> $2 AND (a.status = 'executing' OR (j.due_at <= $3 \
         AND a.first_entry < (SELECT first_entry FROM approvals WHERE id = $2))) \
         ORDER BY a.first_entry";
    let soon = now.saturating_add(PATIENCE).unwrap_or(Timestamp::MAX);
    let ids: Vec<String> = sqlx::query_scalar(SQL)
        .bind(approval.subject.subject().target())
        .bind(approval.id().as_str())
        .bind(soon.as_microsecond())
        .fetch_all(connection)
        .await?;
    ids.iter().map(|id| Row { table: "approvals", key: id }.parse("id", id)).collect()
}
