//! Batches: which approvals were asked for together.

use std::collections::BTreeMap;

use sqlx::{AnyConnection, AssertSqlSafe};

use crate::domain::approval::Status;
use crate::domain::batch::{AskedBatch, batch_key};
use crate::domain::digest::Digest;
use crate::domain::ids::ApprovalId;
use crate::storage::approvals::{ApprovalRow, StoredApproval, approval_columns};
use crate::storage::column::Row;
use crate::storage::error::Result;
use crate::storage::writer::step;
use crate::storage::{Storage, Writer};

/// The deployments that one run asked for under one label.
#[derive(Clone, PartialEq, Debug)]
pub struct Batch {
    /// The digest of requester, run and label.
    pub key: Digest,
    /// The requester's own name for it.
    pub label: String,
    /// How many members the requester announced.
    pub announced: Option<u8>,
    /// The approvals, in the order in which they were asked for.
    pub members: Vec<StoredApproval>,
}

impl Batch {
    /// The members that were not taken back and whose place no newer request took.
    pub fn asked(&self) -> impl Iterator<Item = &StoredApproval> {
        self.members
            .iter()
            .filter(|one| !matches!(one.approval.status(), Status::Cancelled | Status::Superseded))
    }
}

/// Keeps which batch an approval is in.
async fn insert_member(
    connection: &mut AnyConnection,
    id: &ApprovalId,
    key: &Digest,
    asked: &AskedBatch,
) -> Result<()> {
    const SQL: &str = "INSERT INTO batch_members (approval_id, batch, label, announced) \
                       VALUES ($1, $2, $3, $4)";
    sqlx::query(SQL)
        .bind(id.as_str())
        .bind(key.to_string())
        .bind(&asked.label)
        .bind(asked.size.map(i64::from))
        .execute(connection)
        .await?;
    Ok(())
}

async fn size_of(connection: &mut AnyConnection, key: &Digest) -> Result<(u64, u64)> {
    const SQL: &str = "SELECT COUNT(*), CAST(COALESCE(SUM(OCTET_LENGTH(a.deployment)), 0) AS BIGINT) \
         FROM batch_members m JOIN approvals a ON a.id = m.approval_id WHERE m.batch = $1";
    let (members, bytes): (i64, i64) =
        sqlx::query_as(SQL).bind(key.to_string()).fetch_one(connection).await?;
    Ok((members.unsigned_abs(), bytes.unsigned_abs()))
}

impl Writer {
    /// How many members a batch has, and how many bytes their deployments are together.
    pub async fn size_of_batch(&mut self, key: &Digest) -> Result<(u64, u64)> {
        step!(self, size_of(&mut self.transaction, key))
    }

    /// Puts an approval into a batch.
    pub async fn join_batch(
        &mut self,
        id: &ApprovalId,
        key: &Digest,
        asked: &AskedBatch,
    ) -> Result<()> {
        step!(self, insert_member(&mut self.transaction, id, key, asked))
    }
}

impl Storage {
    /// The batch that an approval is in, if its requester named one.
    ///
    /// # Errors
    /// For a member whose request is another requester's or of another run: the gate writes no such row.
    pub async fn batch_of(&self, id: &ApprovalId) -> Result<Option<Batch>> {
        const OWN: &str = "SELECT batch, label FROM batch_members WHERE approval_id = $1";
        const ANNOUNCED: &str = "SELECT MAX(announced) FROM batch_members WHERE batch = $1";
        const MEMBERS: &str = approval_columns!(
            "JOIN batch_members m ON m.approval_id = a.id WHERE m.batch = $1 ORDER BY a.first_entry"
        );
        let mut reader = self.reader().await?;
        let own: Option<(String, String)> =
            sqlx::query_as(OWN).bind(id.as_str()).fetch_optional(&mut *reader).await?;
        let Some((batch, label)) = own else { return Ok(None) };
        let row = Row { table: "batch_members", key: id.as_str() };
        let key: Digest = row.parse("batch", &batch)?;
        let announced: Option<i64> =
            sqlx::query_scalar(ANNOUNCED).bind(&batch).fetch_one(&mut *reader).await?;
        let rows: Vec<ApprovalRow> =
            sqlx::query_as(MEMBERS).bind(&batch).fetch_all(&mut *reader).await?;
        let members: Vec<StoredApproval> =
            rows.into_iter().map(StoredApproval::try_from).collect::<Result<_>>()?;
        for member in &members {
            let same = batch_key(&member.approval.subject.requester, &label)? == key;
            let row = Row { table: "batch_members", key: member.approval.id().as_str() };
            row.must(same, "batch", "its request was not made by the requester of this batch")?;
        }
        let announced = announced.map(|count| row.number("announced", count)).transpose()?;
        Ok(Some(Batch { key, label, announced, members }))
    }

    /// Of these approvals, those that wait in a batch with others that wait, with how many wait in it.
    pub async fn waiting_together(&self, ids: &[&ApprovalId]) -> Result<BTreeMap<ApprovalId, u64>> {
        if ids.is_empty() {
            return Ok(BTreeMap::new());
        }
        let places: Vec<String> = (1..=ids.len()).map(|place| format!("${place}")).collect();
        let sql = format!(
            "SELECT m.approval_id, COUNT(*) FROM batch_members m \
             JOIN batch_members o ON o.batch = m.batch \
             JOIN approvals a ON a.id = o.approval_id AND a.status = 'pending' \
             WHERE m.approval_id IN ({}) GROUP BY m.approval_id HAVING COUNT(*) > 1",
            places.join(", ")
        );
        // The text holds constants and numbered placeholders only.
        let mut query = sqlx::query_as::<_, (String, i64)>(AssertSqlSafe(sql));
        for id in ids {
            query = query.bind(id.as_str());
        }
        let rows = query.fetch_all(&mut *self.reader().await?).await?;
        let counted = rows.into_iter().map(|(id, count)| {
            let id = Row { table: "batch_members", key: &id }.parse("approval_id", &id)?;
            Ok((id, count.unsigned_abs()))
        });
        counted.collect()
    }
}
