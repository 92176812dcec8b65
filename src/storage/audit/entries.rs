//! The ledger itself: every entry in order, and the head.

use std::collections::BTreeMap;

use crate::domain::digest::Digest;
use crate::domain::ledger::{Entry, EntryFault, Frontier, RECORD_SCHEMA, Record, entry_hash};
use crate::domain::log_key::LogPublicKey;
use crate::domain::tree::Node;
use crate::storage::audit::{Audit, PAGE, RESTORE};
use crate::storage::column::big_int;
use crate::storage::error::Result;
use crate::storage::ledger::{EntryRow, HeadRow, entry_columns};

impl Audit {
    /// Recomputes the tree from every entry, and remembers what the entries tell about people.
    pub(super) async fn check_entries(&mut self) -> Result<Frontier> {
        const SQL: &str = entry_columns!("WHERE entry_index > $1 ORDER BY entry_index LIMIT $2");
        let mut walk = Walk::begin();
        let mut after = -1;
        loop {
            let rows: Vec<EntryRow> = sqlx::query_as(SQL)
                .bind(after)
                .bind(i64::from(PAGE))
                .fetch_all(&mut *self.snapshot)
                .await?;
            let Some(last) = rows.last() else { return Ok(walk.tree) };
            after = last.entry_index;
            for row in rows {
                self.check_entry(row, &mut walk)?;
            }
            let completed = std::mem::take(&mut walk.completed);
            if !walk.apart {
                self.check_nodes(completed).await?;
            }
        }
    }

    /// Compares the kept subtrees, from which proofs are read, with those of the entries.
    async fn check_nodes(&mut self, completed: Vec<(Node, Digest)>) -> Result<()> {
        const SQL: &str = "SELECT position, hash FROM ledger_nodes \
                           WHERE level = $1 AND position BETWEEN $2 AND $3";
        let mut levels: BTreeMap<u8, BTreeMap<i64, Digest>> = BTreeMap::new();
        for (node, hash) in completed {
            levels.entry(node.level).or_default().insert(big_int(node.position)?, hash);
        }
        for (level, expected) in levels {
            let (first, last) = (expected.keys().next(), expected.keys().next_back());
            let (Some(first), Some(last)) = (first, last) else { continue };
            let rows: Vec<(i64, Vec<u8>)> = sqlx::query_as(SQL)
                .bind(i64::from(level))
                .bind(*first)
                .bind(*last)
                .fetch_all(&mut *self.snapshot)
                .await?;
            let kept: BTreeMap<i64, Vec<u8>> = rows.into_iter().collect();
            for (position, hash) in expected {
                let same = kept.get(&position).is_some_and(|kept| kept[..] == hash.as_bytes()[..]);
                if !same {
                    let key = format!("{level}/{position}");
                    let wrong = "is not the subtree of the entries that are there";
                    self.findings.row("node_mismatch", "ledger_nodes", key, wrong);
                }
            }
        }
        Ok(())
    }

    fn check_entry(&mut self, row: EntryRow, walk: &mut Walk) -> Result<()> {
        let (kind, approval, party, at) =
            (row.kind.clone(), row.approval_id.clone(), row.party.clone(), row.at);
        let place = row.entry_index;
        let Some(entry) = self.findings.readable(Entry::try_from(row))? else {
            walk.skip(place);
            return Ok(());
        };
        for fault in walk.follow(&entry, &self.log_key) {
            let code = match fault {
                EntryFault::Missing { .. } => "entry_missing",
                EntryFault::Record { .. } => "entry_record_changed",
                EntryFault::Signature { .. } => "entry_signature_invalid",
                EntryFault::Root { .. } => "entry_root_mismatch",
            };
            self.findings.add(code, format!("ledger_entries: {fault}: {RESTORE}"));
        }
        let index = entry.index;
        let record = match Record::parse(&entry.record) {
            Ok(record) if record.schema == RECORD_SCHEMA => record,
            Ok(record) => {
                let wrong = format!("has a record of the unknown form {:?}", record.schema);
                self.findings.row("record_malformed", "ledger_entries", index, wrong);
                return Ok(());
            }
            Err(error) => {
                let wrong = format!("has no readable record ({error})");
                self.findings.row("record_malformed", "ledger_entries", index, wrong);
                return Ok(());
            }
        };
        let named = record.approval.as_ref().map(|said| said.id.as_str());
        let columns = [
            ("kind", kind == record.kind),
            ("approval_id", approval.as_deref() == named),
            ("party", party.as_deref() == record.party()),
            ("at", at == record.at.as_microsecond()),
        ];
        for (column, _) in columns.into_iter().filter(|(_, same)| !same) {
            let wrong = format!("says something else in column {column} than in its record");
            self.findings.row("record_column_mismatch", "ledger_entries", index, wrong);
        }
        self.people.learn(index, &record);
        Ok(())
    }

    /// Compares the stored head with the recomputed tree.
    pub(super) async fn check_head(&mut self, tree: &Frontier) -> Result<()> {
        const SQL: &str = "SELECT size, subtrees FROM ledger_head WHERE id = 1";
        let row: Option<HeadRow> = sqlx::query_as(SQL).fetch_optional(&mut *self.snapshot).await?;
        let Some(row) = row else {
            self.findings.row("head_mismatch", "ledger_head", 1, "is gone");
            return Ok(());
        };
        let Some(head) = self.findings.readable(Frontier::try_from(row))? else { return Ok(()) };
        if head.size() != tree.size() {
            let wrong = format!("counts {} entries where {} can be read", head.size(), tree.size());
            self.findings.row("head_mismatch", "ledger_head", 1, wrong);
        } else if head != *tree {
            let wrong = "is not the tree of the entries that are there";
            self.findings.row("head_mismatch", "ledger_head", 1, wrong);
        }
        Ok(())
    }
}

/// The tree of the entries that went by.
struct Walk {
    tree: Frontier,
    /// The index that comes next.
    next: u64,
    /// The root stored beside the entry before; none if that entry is gone or unreadable.
    stored_root: Option<Digest>,
    /// The recomputed root is not the stored one, and that was told.
    apart: bool,
    /// The tree of the leaves that went by, whatever is wrong with their entries,
    leaves: Frontier,
    /// and its subtrees that were completed since they were looked at last.
    completed: Vec<(Node, Digest)>,
}

impl Walk {
    fn begin() -> Self {
        let tree = Frontier::default();
        let (leaves, completed) = (tree.clone(), Vec::new());
        Self { stored_root: Some(tree.root()), tree, next: 0, apart: false, leaves, completed }
    }

    /// Goes past an entry that cannot be read, which was told.
    fn skip(&mut self, index: i64) {
        self.next = u64::try_from(index).map_or(self.next, |index| index + 1);
        self.stored_root = None;
        self.apart = true;
    }

    /// Everything that is wrong with the next entry by itself. One that is gone or changed moves
    /// the root of every later one; those are then judged by the roots stored beside them, so that
    /// one change gives findings where it was made and not from there to the end.
    fn follow(&mut self, entry: &Entry, log_key: &LogPublicKey) -> Vec<EntryFault> {
        let index = entry.index;
        let mut faults = Vec::new();
        self.completed.extend(self.leaves.append(entry.leaf()));
        let outcome = self.tree.follow(entry, log_key);
        if self.next != index {
            faults.push(EntryFault::Missing { index: self.next, found: index });
            self.stored_root = None;
            self.apart = true;
        }
        if !matches!(outcome, Ok(_) | Err(EntryFault::Root { .. })) {
            if entry_hash(&entry.salt, &entry.record) != entry.entry_hash {
                faults.push(EntryFault::Record { index });
            }
            if !self.was_signed(entry, log_key) {
                faults.push(EntryFault::Signature { index });
            }
            self.tree.append(entry.leaf());
        }
        let same = self.tree.root() == entry.root;
        if !same && !self.apart {
            faults.push(EntryFault::Root { index });
        }
        self.apart = !same;
        self.stored_root = Some(entry.root);
        self.next = index + 1;
        faults
    }

    /// Whether the log key signed it on top of the recomputed tree or of the root stored before.
    /// What comes after a gap was signed on top of a root that nobody has: it is not judged.
    fn was_signed(&self, entry: &Entry, log_key: &LogPublicKey) -> bool {
        self.stored_root.is_none_or(|stored_root| {
            [self.tree.root(), stored_root].iter().any(|root| {
                log_key.verify_entry(entry.index, root, &entry.leaf(), &entry.signature)
            })
        })
    }
}
