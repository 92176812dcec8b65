//! The ledger's rows: the head and the entries.

use sqlx::{AnyConnection, FromRow};

use crate::domain::digest::Digest;
use crate::domain::ids::ApprovalId;
use crate::domain::ledger::{Entry, Frontier, Record, entry_hash, leaf_hash};
use crate::domain::tree::{
    Node, complete_subtrees, consistency_path, fold_subtrees, inclusion_path,
};
use crate::storage::Storage;
use crate::storage::column::{Row, big_int};
use crate::storage::error::{Result, StorageError};

#[derive(FromRow)]
pub(super) struct HeadRow {
    size: i64,
    subtrees: Vec<u8>,
}

impl TryFrom<HeadRow> for Frontier {
    type Error = StorageError;

    fn try_from(columns: HeadRow) -> Result<Self> {
        let row = Row { table: "ledger_head", key: "1" };
        let size = row.number("size", columns.size)?;
        let (subtrees, rest) = columns.subtrees.as_chunks::<32>();
        row.must(rest.is_empty(), "subtrees", "it is no sequence of 32-byte hashes")?;
        let subtrees = subtrees.iter().map(|bytes| Digest::from_bytes(*bytes)).collect();
        Self::restore(size, subtrees).map_err(|error| row.impossible("subtrees", error))
    }
}

/// The subtrees of a head, as they are stored.
pub(super) fn subtrees_of(head: &Frontier) -> Vec<u8> {
    head.subtrees().iter().flat_map(|digest| *digest.as_bytes()).collect()
}

/// The columns of [`EntryRow`].
macro_rules! entry_columns {
    ($rest:literal) => {
        concat!(
            "SELECT entry_index, kind, approval_id, party, record, salt, entry_hash, root, signature, at \
             FROM ledger_entries ",
            $rest
        )
    };
}
pub(super) use entry_columns;

#[derive(FromRow)]
pub(super) struct EntryRow {
    pub(super) entry_index: i64,
    pub(super) kind: String,
    pub(super) approval_id: Option<String>,
    pub(super) party: Option<String>,
    record: String,
    salt: Vec<u8>,
    entry_hash: String,
    root: String,
    signature: Vec<u8>,
    pub(super) at: i64,
}

impl TryFrom<EntryRow> for Entry {
    type Error = StorageError;

    fn try_from(columns: EntryRow) -> Result<Self> {
        let key = columns.entry_index.to_string();
        let row = Row { table: "ledger_entries", key: &key };
        Ok(Self {
            index: row.number("entry_index", columns.entry_index)?,
            record: columns.record,
            salt: row.bytes("salt", columns.salt)?,
            entry_hash: row.parse("entry_hash", &columns.entry_hash)?,
            root: row.parse("root", &columns.root)?,
            signature: columns.signature,
        })
    }
}

/// The head as it is.
pub(super) async fn head(connection: &mut AnyConnection) -> Result<Frontier> {
    const SQL: &str = "SELECT size, subtrees FROM ledger_head WHERE id = 1";
    let row: Option<HeadRow> = sqlx::query_as(SQL).fetch_optional(connection).await?;
    row.ok_or_else(no_head)?.try_into()
}

/// Takes the head's row until the end of the transaction: whoever has it is the only writer.
pub(super) async fn take_head(connection: &mut AnyConnection) -> Result<Frontier> {
    const SQL: &str = "UPDATE ledger_head SET size = size WHERE id = 1 RETURNING size, subtrees";
    let row: Option<HeadRow> = sqlx::query_as(SQL).fetch_optional(connection).await?;
    row.ok_or_else(no_head)?.try_into()
}

/// Replaces the head that [`take_head`] gave.
pub(super) async fn put_head(
    connection: &mut AnyConnection,
    before: u64,
    head: &Frontier,
) -> Result<()> {
    const SQL: &str = "UPDATE ledger_head SET size = $1, subtrees = $2 WHERE id = 1 AND size = $3";
    let touched = sqlx::query(SQL)
        .bind(big_int(head.size())?)
        .bind(subtrees_of(head))
        .bind(big_int(before)?)
        .execute(connection)
        .await?
        .rows_affected();
    if touched == 1 { Ok(()) } else { Err(no_head()) }
}

fn no_head() -> StorageError {
    StorageError::Missing { table: "ledger_head", row: "1".to_owned() }
}

/// Inserts an entry that was written on top of the head.
pub(super) async fn insert_entry(
    connection: &mut AnyConnection,
    entry: &Entry,
    record: &Record,
) -> Result<()> {
    const SQL: &str = "INSERT INTO ledger_entries (entry_index, kind, approval_id, party, record, salt, \
         entry_hash, root, signature, at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING";
    let touched = sqlx::query(SQL)
        .bind(big_int(entry.index)?)
        .bind(&record.kind)
        .bind(record.approval.as_ref().map(|approval| approval.id.to_string()))
        .bind(record.party().map(str::to_owned))
        .bind(&entry.record)
        .bind(entry.salt.to_vec())
        .bind(entry.entry_hash.to_string())
        .bind(entry.root.to_string())
        .bind(&entry.signature)
        .bind(record.at.as_microsecond())
        .execute(connection)
        .await?
        .rows_affected();
    if touched == 1 { Ok(()) } else { Err(StorageError::Duplicate("a ledger entry at this index")) }
}

/// Keeps the subtrees that an entry completed.
pub(super) async fn insert_nodes(
    connection: &mut AnyConnection,
    completed: &[(Node, Digest)],
) -> Result<()> {
    const SQL: &str = "INSERT INTO ledger_nodes (level, position, hash) VALUES ($1, $2, $3) \
                       ON CONFLICT DO NOTHING";
    for (node, hash) in completed {
        let touched = sqlx::query(SQL)
            .bind(i64::from(node.level))
            .bind(big_int(node.position)?)
            .bind(hash.as_bytes().to_vec())
            .execute(&mut *connection)
            .await?
            .rows_affected();
        if touched != 1 {
            return Err(StorageError::Duplicate("a node of the ledger's tree at this place"));
        }
    }
    Ok(())
}

/// The entry hash of an approval's newest entry.
pub(super) async fn newest_entry_hash(
    connection: &mut AnyConnection,
    id: &ApprovalId,
) -> Result<Option<Digest>> {
    const SQL: &str = "SELECT entry_hash FROM ledger_entries WHERE approval_id = $1 \
                       ORDER BY entry_index DESC LIMIT 1";
    let hash: Option<String> =
        sqlx::query_scalar(SQL).bind(id.as_str()).fetch_optional(connection).await?;
    let row = Row { table: "ledger_entries", key: id.as_str() };
    hash.map(|hash| row.parse("entry_hash", &hash)).transpose()
}

async fn node_at(connection: &mut AnyConnection, node: Node) -> Result<Digest> {
    const SQL: &str = "SELECT hash FROM ledger_nodes WHERE level = $1 AND position = $2";
    let hash: Option<Vec<u8>> = sqlx::query_scalar(SQL)
        .bind(i64::from(node.level))
        .bind(big_int(node.position)?)
        .fetch_optional(connection)
        .await?;
    let key = format!("{}/{}", node.level, node.position);
    let row = Row { table: "ledger_nodes", key: &key };
    let hash = hash.ok_or_else(|| row.impossible("hash", "it is not there"))?;
    Ok(Digest::from_bytes(row.bytes("hash", hash)?))
}

impl Storage {
    /// The ledger's tree as it is now.
    pub async fn head(&self) -> Result<Frontier> {
        head(&mut *self.reader().await?).await
    }

    /// Makes sure that the ledger goes on with the key that it was begun with, before anything is
    /// written with another one.
    ///
    /// # Errors
    /// [`StorageError::OtherLogKey`] if our key did not sign the last entry.
    pub async fn refuse_another_log_key(&self) -> Result<()> {
        let Some(last) = self.head().await?.size().checked_sub(1) else { return Ok(()) };
        let entries = self.entries(last.saturating_sub(1), 2).await?;
        let Some(entry) = entries.iter().find(|entry| entry.index == last) else {
            return Err(StorageError::OtherLogKey);
        };
        let before = entries.iter().find(|entry| entry.index + 1 == last).map(|entry| entry.root);
        let before = before.unwrap_or_else(|| Frontier::default().root());
        let key = self.log_public_key();
        if key.verify_entry(last, &before, &entry.leaf(), &entry.signature) {
            Ok(())
        } else {
            Err(StorageError::OtherLogKey)
        }
    }

    /// Whether the log key signed this entry, with this record, on top of the entry before it.
    pub async fn is_signed(&self, entry: &Entry) -> Result<bool> {
        let before = match entry.index.checked_sub(1) {
            None => Some(Frontier::default().root()),
            Some(before) => self.entry(before).await?.map(|entry| entry.root),
        };
        let leaf = leaf_hash(&entry_hash(&entry.salt, &entry.record));
        Ok(before.is_some_and(|before| {
            self.log_public_key().verify_entry(entry.index, &before, &leaf, &entry.signature)
        }))
    }

    /// At most `limit` entries in order, from index `from` on.
    pub async fn entries(&self, from: u64, limit: u32) -> Result<Vec<Entry>> {
        const SQL: &str = entry_columns!("WHERE entry_index >= $1 ORDER BY entry_index LIMIT $2");
        let rows: Vec<EntryRow> = sqlx::query_as(SQL)
            .bind(big_int(from)?)
            .bind(i64::from(limit))
            .fetch_all(&mut *self.reader().await?)
            .await?;
        rows.into_iter().map(Entry::try_from).collect()
    }

    /// Every entry of one approval, in order.
    pub async fn entries_of(&self, id: &ApprovalId) -> Result<Vec<Entry>> {
        const SQL: &str = entry_columns!("WHERE approval_id = $1 ORDER BY entry_index");
        let rows: Vec<EntryRow> =
            sqlx::query_as(SQL).bind(id.as_str()).fetch_all(&mut *self.reader().await?).await?;
        rows.into_iter().map(Entry::try_from).collect()
    }

    /// What the entries of one approval say, in order.
    pub async fn records_of(&self, id: &ApprovalId) -> Result<Vec<Record>> {
        let records = self.entries_of(id).await?.into_iter().map(|entry| {
            let key = entry.index.to_string();
            let row = Row { table: "ledger_entries", key: &key };
            Record::parse(&entry.record).map_err(|error| row.impossible("record", error))
        });
        records.collect()
    }

    /// The entry at this index.
    pub async fn entry(&self, index: u64) -> Result<Option<Entry>> {
        Ok(self.entries(index, 1).await?.into_iter().find(|entry| entry.index == index))
    }

    /// The entry that says whose key this is, and how it became theirs.
    pub async fn enrolment_of(&self, credential_id: &[u8]) -> Result<Option<Entry>> {
        const SQL: &str = entry_columns!(
            "WHERE entry_index = (SELECT enrolment_entry FROM credentials WHERE id = $1)"
        );
        let row: Option<EntryRow> = sqlx::query_as(SQL)
            .bind(credential_id.to_vec())
            .fetch_optional(&mut *self.reader().await?)
            .await?;
        row.map(Entry::try_from).transpose()
    }

    /// So many neighbouring nodes of one level, from `from` on.
    ///
    /// # Errors
    /// If one of them is not there.
    pub async fn nodes(&self, from: Node, count: u64) -> Result<Vec<Digest>> {
        const SQL: &str = "SELECT hash FROM ledger_nodes WHERE level = $1 AND position >= $2 \
                           AND position < $3 ORDER BY position";
        let hashes: Vec<Vec<u8>> = sqlx::query_scalar(SQL)
            .bind(i64::from(from.level))
            .bind(big_int(from.position)?)
            .bind(big_int(from.position.saturating_add(count))?)
            .fetch_all(&mut *self.reader().await?)
            .await?;
        let key = format!("{}/{} and on", from.level, from.position);
        let row = Row { table: "ledger_nodes", key: &key };
        row.must(hashes.len() as u64 == count, "hash", "one is not there")?;
        hashes.into_iter().map(|hash| Ok(Digest::from_bytes(row.bytes("hash", hash)?))).collect()
    }

    /// The entry hashes from index `from` on: what the public log shows of entries.
    pub async fn entry_hashes(&self, from: u64, count: u64) -> Result<Vec<Digest>> {
        const SQL: &str = "SELECT entry_hash FROM ledger_entries WHERE entry_index >= $1 \
                           AND entry_index < $2 ORDER BY entry_index";
        let hashes: Vec<String> = sqlx::query_scalar(SQL)
            .bind(big_int(from)?)
            .bind(big_int(from.saturating_add(count))?)
            .fetch_all(&mut *self.reader().await?)
            .await?;
        let key = format!("{from} and on");
        let row = Row { table: "ledger_entries", key: &key };
        row.must(hashes.len() as u64 == count, "entry_hash", "one is not there")?;
        hashes.iter().map(|hash| row.parse("entry_hash", hash)).collect()
    }

    /// The tree as it was when it had so many entries (RFC 6962, section 2.1).
    pub async fn tree_at(&self, size: u64) -> Result<Frontier> {
        let mut hashes = Vec::new();
        let mut reader = self.reader().await?;
        for node in complete_subtrees(0, size) {
            hashes.push(node_at(&mut reader, node).await?);
        }
        let row = Row { table: "ledger_nodes", key: "of a head" };
        Frontier::restore(size, hashes).map_err(|error| row.impossible("hash", error))
    }

    /// The audit path of the entry at `index` in the tree of the first `size` entries (RFC 6962,
    /// section 2.1.1), from the leaf upwards.
    pub async fn inclusion(&self, index: u64, size: u64) -> Result<Vec<Digest>> {
        let missing = || StorageError::Missing { table: "ledger_nodes", row: index.to_string() };
        self.hashes_of(inclusion_path(index, size).ok_or_else(missing)?).await
    }

    /// The proof that the tree of the first `size` entries goes on from that of the first `old` (RFC 6962,
    /// section 2.1.2).
    pub async fn consistency(&self, old: u64, size: u64) -> Result<Vec<Digest>> {
        self.hashes_of(consistency_path(old, size)).await
    }

    /// The hash of each step of a proof.
    async fn hashes_of(&self, steps: Vec<Vec<Node>>) -> Result<Vec<Digest>> {
        let mut reader = self.reader().await?;
        let mut path = Vec::with_capacity(steps.len());
        for step in steps {
            let mut hashes = Vec::with_capacity(step.len());
            for node in step {
                hashes.push(node_at(&mut reader, node).await?);
            }
            path.extend(fold_subtrees(&hashes));
        }
        Ok(path)
    }

    /// The index of an approval's newest entry.
    pub async fn last_entry_of(&self, id: &ApprovalId) -> Result<Option<u64>> {
        const SQL: &str = "SELECT MAX(entry_index) FROM ledger_entries WHERE approval_id = $1";
        let index: Option<i64> =
            sqlx::query_scalar(SQL).bind(id.as_str()).fetch_one(&mut *self.reader().await?).await?;
        let row = Row { table: "ledger_entries", key: id.as_str() };
        index.map(|index| row.number("entry_index", index)).transpose()
    }

    /// Which approvals changed: index and approval of the entries from `index` on, in order.
    pub async fn changes_since(
        &self,
        index: u64,
        limit: u32,
    ) -> Result<Vec<(u64, Option<ApprovalId>)>> {
        const SQL: &str = "SELECT entry_index, approval_id FROM ledger_entries \
                           WHERE entry_index >= $1 ORDER BY entry_index LIMIT $2";
        let rows: Vec<(i64, Option<String>)> = sqlx::query_as(SQL)
            .bind(big_int(index)?)
            .bind(i64::from(limit))
            .fetch_all(&mut *self.reader().await?)
            .await?;
        let changes = rows.into_iter().map(|(index, approval)| {
            let key = index.to_string();
            let row = Row { table: "ledger_entries", key: &key };
            let approval = approval.map(|id| row.parse("approval_id", &id)).transpose()?;
            Ok((row.number("entry_index", index)?, approval))
        });
        changes.collect()
    }
}
