//! Approvals: one row each, read only after its digests were checked again.

mod written;

use jiff::Timestamp;
use serde_json::{Value, json};
use sqlx::{AnyConnection, FromRow};

use crate::domain::approval::{Approval, State, Status};
use crate::domain::canonical::from_canonical_json;
use crate::domain::decision::{Decision, SignedDecision};
use crate::domain::digest::Digest;
use crate::domain::ids::ApprovalId;
use crate::domain::policy::Policy;
use crate::domain::service::ServiceName;
use crate::domain::subject::FrozenSubject;
use crate::storage::Storage;
use crate::storage::column::Row;
use crate::storage::error::{Result, StorageError};

pub(super) use written::{
    count_pending, insert_approval, insert_decision, insert_policy, newer_open, nth_newest_asked,
    pending_for, rollouts_beside, update_approval,
};

/// How many older approvals a page names: one in the usual case.
const MOST_PREDECESSORS: i64 = 20;

/// An approval with what storage keeps beside it.
#[derive(Clone, PartialEq, Debug)]
pub struct StoredApproval {
    /// The approval.
    pub approval: Approval,
    /// Who counts as the same requester.
    pub requester_key: String,
    /// The requester's own name for the request; unique for the requester.
    pub idempotency_key: String,
    /// The digest of the request's body: the same key with another body is refused.
    pub request_digest: Digest,
    /// When the row was written.
    pub created_at: Timestamp,
}

/// What is stored about the request that a new approval answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewApproval {
    /// Who counts as the same requester.
    pub requester_key: String,
    /// The requester's own name for the request.
    pub idempotency_key: String,
    /// The digest of the request's body.
    pub request_digest: Digest,
    /// What it was asked with.
    pub asked_with: AskedWith,
    /// The webhook that is told of it, if the requester named one.
    pub notify: Option<String>,
}

/// What a new approval was asked with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AskedWith {
    /// A workload's token.
    Token {
        /// The token, as it was received.
        token: String,
        /// The key that verified it, in the form that RFC 7638 hashes.
        key: String,
        /// That key's thumbprint, for the ledger.
        key_thumbprint: String,
    },
    /// Nothing: the gate itself says of a run that it waits, or that its configuration says other rules.
    Said {
        /// What the ledger says of it.
        recorded: Value,
    },
}

impl AskedWith {
    /// What is kept: the token and the key that verified it. Nothing stands where there is none.
    pub(super) fn token(&self) -> (&str, &str) {
        match self {
            Self::Token { token, key, .. } => (token, key),
            Self::Said { .. } => ("", ""),
        }
    }

    /// What the approval's first entry holds.
    pub(super) fn recorded(&self) -> Value {
        match self {
            Self::Token { token, key_thumbprint, .. } => {
                json!({"token_digest": Digest::of(token), "token_key": key_thumbprint})
            }
            Self::Said { recorded } => recorded.clone(),
        }
    }
}

/// The columns of [`ApprovalRow`], with the policy's text beside them.
macro_rules! approval_columns {
    ($rest:literal) => {
        concat!(
            "SELECT a.id, a.first_entry, a.environment, a.service, a.requester_key, \
             a.idempotency_key, a.request_digest, a.deployment, a.deployment_digest, \
             a.policy_digest, p.policy, a.status, a.version, a.state, a.decisions, a.created_at, \
             a.expires_at FROM approvals a LEFT JOIN policies p ON p.digest = a.policy_digest ",
            $rest
        )
    };
}
pub(super) use approval_columns;

#[derive(FromRow)]
pub(super) struct ApprovalRow {
    pub(super) id: String,
    pub(super) first_entry: i64,
    environment: String,
    service: String,
    requester_key: String,
    idempotency_key: String,
    request_digest: String,
    deployment: String,
    deployment_digest: String,
    policy_digest: String,
    policy: Option<String>,
    status: String,
    version: i64,
    state: String,
    decisions: String,
    created_at: i64,
    expires_at: i64,
}

impl TryFrom<ApprovalRow> for StoredApproval {
    type Error = StorageError;

    fn try_from(columns: ApprovalRow) -> Result<Self> {
        let row = Row { table: "approvals", key: &columns.id };
        let id: ApprovalId = row.parse("id", &columns.id)?;
        let subject = thaw(&row, &columns)?;
        row.must(subject.approval == id, "deployment", "it names another approval")?;
        let policy = policy_of(&row, &columns, &subject)?;
        let state: State = row.json("state", &columns.state)?;
        let same = state.status().as_str() == columns.status;
        row.must(same, "status", "it is not the status of the state beside it")?;
        let decisions: Vec<Decision> = row.json("decisions", &columns.decisions)?;
        let version = row.number("version", columns.version)?;
        row.must(version >= 1, "version", "versions begin at 1")?;
        let created_at = row.time("created_at", columns.created_at)?;
        let request_digest = row.parse("request_digest", &columns.request_digest)?;
        let approval = Approval { subject, policy, version, decisions, state };
        let ApprovalRow { requester_key, idempotency_key, .. } = columns;
        Ok(Self { approval, requester_key, idempotency_key, request_digest, created_at })
    }
}

/// The approvals that this version can read, and how many there are that only a newer version can.
pub(super) fn readable(rows: Vec<ApprovalRow>) -> Result<(Vec<StoredApproval>, u32)> {
    let (mut approvals, mut newer) = (Vec::new(), 0);
    for row in rows {
        match StoredApproval::try_from(row) {
            Err(error @ StorageError::Newer(_)) => {
                tracing::warn!(%error, "a list lacks an approval");
                newer += 1;
            }
            read => approvals.push(read?),
        }
    }
    Ok((approvals, newer))
}

/// What was asked for, if the row's other columns say the same as its text.
fn thaw(row: &Row<'_>, columns: &ApprovalRow) -> Result<FrozenSubject> {
    let digest: Digest = row.parse("deployment_digest", &columns.deployment_digest)?;
    let subject = FrozenSubject::thaw(&columns.deployment).map_err(|error| {
        // Whoever writes such a row has nothing of it: what cannot be read is not carried out.
        let is_whole = Digest::of(&columns.deployment) == digest
            && from_canonical_json::<Value>(&columns.deployment).is_ok();
        if is_whole {
            StorageError::Newer(columns.id.clone())
        } else {
            row.impossible("deployment", error)
        }
    })?;
    row.must(
        *subject.digest() == digest,
        "deployment_digest",
        "the deployment's text has another digest",
    )?;
    row.must(
        subject.environment == columns.environment,
        "environment",
        "the deployment names another environment",
    )?;
    row.must(
        subject.subject().target() == columns.service,
        "service",
        "the deployment names another service",
    )?;
    row.must(
        subject.requester.key == columns.requester_key,
        "requester_key",
        "the deployment names another requester",
    )?;
    row.must(
        subject.expires_at.as_microsecond() == columns.expires_at,
        "expires_at",
        "the deployment names another time",
    )?;
    Ok(subject)
}

/// The policy, if it is the one that the deployment names.
fn policy_of(row: &Row<'_>, columns: &ApprovalRow, subject: &FrozenSubject) -> Result<Policy> {
    let text = columns.policy.as_deref();
    let text = text.ok_or_else(|| row.impossible("policy_digest", "no policy has this digest"))?;
    let digest = Digest::of(text);
    let same = digest.to_string() == columns.policy_digest && digest == subject.policy_digest;
    row.must(same, "policy_digest", "the policy's text has another digest")?;
    // It has the digest that was signed, so nobody changed it: these are rules that this version does not know.
    serde_json::from_str(text).map_err(|_| StorageError::Newer(columns.id.clone()))
}

pub(super) async fn approval(
    connection: &mut AnyConnection,
    id: &ApprovalId,
) -> Result<Option<StoredApproval>> {
    const SQL: &str = approval_columns!("WHERE a.id = $1");
    let row: Option<ApprovalRow> =
        sqlx::query_as(SQL).bind(id.as_str()).fetch_optional(connection).await?;
    row.map(StoredApproval::try_from).transpose()
}

pub(super) async fn approval_by_idempotency_key(
    connection: &mut AnyConnection,
    requester_key: &str,
    idempotency_key: &str,
) -> Result<Option<StoredApproval>> {
    const SQL: &str = approval_columns!("WHERE a.requester_key = $1 AND a.idempotency_key = $2");
    let row: Option<ApprovalRow> = sqlx::query_as(SQL)
        .bind(requester_key)
        .bind(idempotency_key)
        .fetch_optional(connection)
        .await?;
    row.map(StoredApproval::try_from).transpose()
}

/// What is kept of the decisions of an approval, in the order in which they were recorded.
pub(super) async fn decision_rows(
    connection: &mut AnyConnection,
    id: &str,
) -> Result<Vec<DecisionRow>> {
    const SQL: &str = "SELECT approval_id, issuer, subject, statement, credential_id, authenticator_data, \
         client_data_json, signature, user_handle, id_token, issuer_key, decided_at FROM decisions \
         WHERE approval_id = $1 ORDER BY position";
    Ok(sqlx::query_as(SQL).bind(id).fetch_all(connection).await?)
}

#[derive(FromRow)]
pub(super) struct DecisionRow {
    pub(super) approval_id: String,
    pub(super) issuer: String,
    pub(super) subject: String,
    statement: String,
    credential_id: Vec<u8>,
    authenticator_data: Vec<u8>,
    client_data_json: Vec<u8>,
    signature: Vec<u8>,
    user_handle: Option<Vec<u8>>,
    id_token: String,
    issuer_key: String,
    decided_at: i64,
}

impl TryFrom<DecisionRow> for SignedDecision {
    type Error = StorageError;

    fn try_from(columns: DecisionRow) -> Result<Self> {
        let row = Row { table: "decisions", key: &columns.approval_id };
        let decided_at = row.time("decided_at", columns.decided_at)?;
        let DecisionRow { statement, credential_id, authenticator_data, .. } = columns;
        let DecisionRow { client_data_json, signature, user_handle, .. } = columns;
        let DecisionRow { id_token, issuer_key, .. } = columns;
        Ok(Self {
            statement,
            credential_id,
            authenticator_data,
            client_data_json,
            signature,
            user_handle,
            id_token,
            issuer_key,
            decided_at,
        })
    }
}

impl Storage {
    /// The token that asked for an approval, and the key that verified it; two empty texts for a run.
    pub async fn requester_token(&self, id: &ApprovalId) -> Result<Option<(String, String)>> {
        Ok(sqlx::query_as("SELECT token, token_key FROM approvals WHERE id = $1")
            .bind(id.as_str())
            .fetch_optional(&mut *self.reader().await?)
            .await?)
    }

    /// The approval of this name.
    pub async fn approval(&self, id: &ApprovalId) -> Result<Option<StoredApproval>> {
        approval(&mut *self.reader().await?, id).await
    }

    /// The approval of a service whose revision has these letters in its name.
    pub async fn approval_of_rollout(
        &self,
        service: &ServiceName,
        letters: &str,
    ) -> Result<Option<StoredApproval>> {
        const SQL: &str =
            approval_columns!("WHERE a.service = $1 AND substr(a.id, 5, 12) = $2 LIMIT 1");
        let row: Option<ApprovalRow> = sqlx::query_as(SQL)
            .bind(service.as_str())
            .bind(letters)
            .fetch_optional(&mut *self.reader().await?)
            .await?;
        row.map(TryInto::try_into).transpose()
    }

    /// The approval that this requester asked for under this key.
    pub async fn approval_by_idempotency_key(
        &self,
        requester_key: &str,
        idempotency_key: &str,
    ) -> Result<Option<StoredApproval>> {
        let mut reader = self.reader().await?;
        approval_by_idempotency_key(&mut reader, requester_key, idempotency_key).await
    }

    /// Approvals that wait for people or for their rollout although their time is over, the
    /// oldest first.
    pub async fn due_for_expiry(&self, now: Timestamp, limit: u32) -> Result<Vec<ApprovalId>> {
        const SQL: &str = "SELECT id FROM approvals WHERE status IN ($1, $2) AND expires_at <= $3 \
                           ORDER BY expires_at, first_entry LIMIT $4";
        let ids: Vec<String> = sqlx::query_scalar(SQL)
            .bind(Status::Pending.as_str())
            .bind(Status::Approved.as_str())
            .bind(now.as_microsecond())
            .bind(i64::from(limit))
            .fetch_all(&mut *self.reader().await?)
            .await?;
        ids.iter().map(|id| Row { table: "approvals", key: id }.parse("id", id)).collect()
    }

    /// How many times the requester of an approval asked for the same target in the same environment before
    /// it, and the last of them; none if it never did.
    pub async fn asked_before(&self, approval: &Approval) -> Result<Option<(u64, StoredApproval)>> {
        const COUNT: &str = "SELECT COUNT(*) FROM approvals a WHERE a.requester_key = $1 \
             AND a.environment = $2 AND a.service = $3 \
             AND a.first_entry < (SELECT first_entry FROM approvals WHERE id = $4)";
        const LAST: &str = approval_columns!(
            "WHERE a.requester_key = $1 AND a.environment = $2 AND a.service = $3 \
             AND a.first_entry < (SELECT first_entry FROM approvals WHERE id = $4) \
             ORDER BY a.first_entry DESC LIMIT 1"
        );
        let subject = &approval.subject;
        let mut reader = self.reader().await?;
        let row: Option<ApprovalRow> = sqlx::query_as(LAST)
            .bind(&subject.requester.key)
            .bind(&subject.environment)
            .bind(subject.subject().target())
            .bind(approval.id().as_str())
            .fetch_optional(&mut *reader)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let count: i64 = sqlx::query_scalar(COUNT)
            .bind(&subject.requester.key)
            .bind(&subject.environment)
            .bind(subject.subject().target())
            .bind(approval.id().as_str())
            .fetch_one(&mut *reader)
            .await?;
        Ok(Some((count.unsigned_abs(), row.try_into()?)))
    }

    /// Approved actions, which have no job that would end them in time, the oldest first.
    pub async fn approved_actions(&self, limit: u32) -> Result<Vec<StoredApproval>> {
        const SQL: &str = approval_columns!(
            "WHERE a.status = 'approved' AND NOT EXISTS \
             (SELECT 1 FROM jobs j WHERE j.approval_id = a.id) ORDER BY a.first_entry LIMIT $1"
        );
        let rows: Vec<ApprovalRow> = sqlx::query_as(SQL)
            .bind(i64::from(limit))
            .fetch_all(&mut *self.reader().await?)
            .await?;
        // What only a newer version can read, that version ends.
        Ok(readable(rows)?.0)
    }

    /// The approvals whose place this one took, the newest first.
    pub async fn superseded_by(&self, approval: &Approval) -> Result<Vec<ApprovalId>> {
        const SQL: &str = approval_columns!(
            "WHERE a.environment = $1 AND a.service = $2 AND a.status = 'superseded' \
             AND a.first_entry < (SELECT first_entry FROM approvals WHERE id = $3) \
             ORDER BY a.first_entry DESC LIMIT $4"
        );
        let rows: Vec<ApprovalRow> = sqlx::query_as(SQL)
            .bind(&approval.subject.environment)
            .bind(approval.subject.subject().target())
            .bind(approval.id().as_str())
            .bind(MOST_PREDECESSORS)
            .fetch_all(&mut *self.reader().await?)
            .await?;
        let mut predecessors = Vec::new();
        for row in rows {
            let older = StoredApproval::try_from(row)?.approval;
            match &older.state {
                State::Superseded { by, .. } if by == approval.id() => {
                    predecessors.push(older.id().clone());
                }
                // Those before were superseded by these.
                _ => break,
            }
        }
        Ok(predecessors)
    }

    /// What proves the decisions of an approval, in the order in which they were recorded.
    pub async fn signed_decisions(&self, id: &ApprovalId) -> Result<Vec<SignedDecision>> {
        let rows = decision_rows(&mut *self.reader().await?, id.as_str()).await?;
        rows.into_iter().map(SignedDecision::try_from).collect()
    }
}
