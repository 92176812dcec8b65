//! The audit: recomputes the ledger from its entries, and compares every other row with it.
//!
//! It believes the log key and nothing else. What the ledger names is compared byte for byte;
//! what it does not name (a key's display name, an idempotency key, the bytes of a WebAuthn
//! signature) is not judged here: signatures are verified by `gate::authorise` before they count.

mod approvals;
mod decisions;
mod endorsements;
mod entries;
mod people;

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{Any, Transaction};

use crate::domain::digest::Digest;
use crate::domain::log_key::LogPublicKey;
use crate::storage::Storage;
use crate::storage::error::{Result, StorageError};
use people::People;

/// How many rows are read at once: enough that the database is not asked for each, few enough
/// that memory stays flat however long the ledger is (a row has up to some tens of kilobytes).
const PAGE: u32 = 200;
/// How many findings of one kind are told one by one. A wrong log key makes one for every entry;
/// nobody reads a million sentences, and the number of them is told all the same.
const MOST_OF_A_KIND: u64 = 100;
/// What to do about a row that was changed.
const RESTORE: &str =
    "restore it from a backup and find out who writes to the database beside the gate";

/// Something that does not match.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// The stable snake_case name of this kind of finding.
    pub code: &'static str,
    /// What is wrong with which row of which table, and what to do now.
    pub sentence: String,
}

/// What the audit found out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AuditReport {
    /// How many entries the ledger has.
    pub entries: u64,
    /// How many approvals there are.
    pub approvals: u64,
    /// The root of the tree that was recomputed from the entries.
    pub root: Digest,
    /// Everything that does not match; empty if everything does.
    pub findings: Vec<Finding>,
}

/// Recomputes the ledger's tree and compares every row that the ledger tells about with it.
///
/// It reads one moment of the database, page by page, so that it may run beside a gate. It goes on
/// after a finding: the report names them all (of one kind only the first hundred one by one).
///
/// # Errors
/// If the database cannot be read. A row that cannot be understood is a finding.
pub async fn verify_ledger(storage: &Storage) -> Result<AuditReport> {
    let mut audit = Audit::begin(storage).await?;
    audit.load_sessions().await?;
    let tree = audit.check_entries().await?;
    audit.check_head(&tree).await?;
    audit.check_policies().await?;
    let approvals = audit.check_approvals().await?;
    audit.check_orphans().await?;
    audit.check_people().await?;
    audit.check_endorsements().await?;
    audit.snapshot.rollback().await?;
    let findings = audit.findings.finish();
    Ok(AuditReport { entries: tree.size(), approvals, root: tree.root(), findings })
}

/// An audit under way.
struct Audit {
    /// All of it sees one moment of the database.
    snapshot: Transaction<'static, Any>,
    log_key: LogPublicKey,
    findings: Findings,
    /// What the entries told about keys and sign-ins.
    people: People,
    /// The approvals that have a job.
    jobs: BTreeSet<String>,
}

impl Audit {
    async fn begin(storage: &Storage) -> Result<Self> {
        let mut snapshot = storage.begin_snapshot().await?;
        let jobs: Vec<String> =
            sqlx::query_scalar("SELECT approval_id FROM jobs").fetch_all(&mut *snapshot).await?;
        Ok(Self {
            snapshot,
            log_key: storage.log_public_key(),
            findings: Findings::default(),
            people: People::default(),
            jobs: jobs.into_iter().collect(),
        })
    }
}

/// The findings so far.
#[derive(Default)]
struct Findings {
    found: Vec<Finding>,
    of_a_kind: BTreeMap<&'static str, u64>,
}

impl Findings {
    fn add(&mut self, code: &'static str, sentence: String) {
        let count = self.of_a_kind.entry(code).or_default();
        *count += 1;
        if *count <= MOST_OF_A_KIND {
            self.found.push(Finding { code, sentence });
        }
    }

    /// A finding about one row; `wrong` goes on from the row's name.
    fn row(
        &mut self,
        code: &'static str,
        table: &str,
        row: impl std::fmt::Display,
        wrong: impl std::fmt::Display,
    ) {
        self.add(code, format!("{table} row {row} {wrong}: {RESTORE}"));
    }

    /// The value of a row, or a finding if the row is one that the gate never writes.
    fn readable<T>(&mut self, value: Result<T>) -> Result<Option<T>> {
        match value {
            Ok(value) => Ok(Some(value)),
            Err(StorageError::ImpossibleRow { table, column, row, reason }) => {
                let wrong = format_args!("has an impossible {column} ({reason})");
                self.row("impossible_row", table, row, wrong);
                Ok(None)
            }
            Err(other) => Err(other),
        }
    }

    fn finish(mut self) -> Vec<Finding> {
        for (code, count) in self.of_a_kind {
            if let Some(more @ 1..) = count.checked_sub(MOST_OF_A_KIND) {
                let sentence = format!("{more} more findings of this kind are not told one by one");
                self.found.push(Finding { code, sentence });
            }
        }
        self.found
    }
}
