//! Approvals: what the entries of each one tell, and whether its rows say the same.

use crate::domain::approval::Status;
use crate::domain::digest::Digest;
use crate::domain::ledger::{ApprovalRecord, Entry, Record};
use crate::domain::subject::Subject;
use crate::storage::approvals::{ApprovalRow, StoredApproval, approval_columns};
use crate::storage::audit::{Audit, Findings, PAGE};
use crate::storage::error::Result;
use crate::storage::jobs::needs_job;
use crate::storage::ledger::{EntryRow, entry_columns};

/// What the entries of one approval tell.
struct Told {
    /// The index of its first entry.
    first_entry: u64,
    /// What the first entry says.
    first: Record,
    /// What the last entry says.
    last: ApprovalRecord,
}

impl Audit {
    /// Compares every approval with its entries; gives how many there are.
    pub(super) async fn check_approvals(&mut self) -> Result<u64> {
        const SQL: &str =
            approval_columns!("WHERE a.first_entry > $1 ORDER BY a.first_entry LIMIT $2");
        let (mut count, mut after) = (0, -1);
        loop {
            let rows: Vec<ApprovalRow> = sqlx::query_as(SQL)
                .bind(after)
                .bind(i64::from(PAGE))
                .fetch_all(&mut *self.snapshot)
                .await?;
            let Some(last) = rows.last() else { return Ok(count) };
            after = last.first_entry;
            for row in rows {
                self.check_approval(row).await?;
                count += 1;
            }
        }
    }

    async fn check_approval(&mut self, row: ApprovalRow) -> Result<()> {
        let (id, first_entry) = (row.id.clone(), row.first_entry);
        let stored = self.findings.readable(StoredApproval::try_from(row))?;
        let told = self.follow_chain(&id).await?;
        match &told {
            None => {
                let wrong = "has no entry in the ledger, so nobody asked for it";
                self.findings.row("approval_without_entries", "approvals", &id, wrong);
            }
            Some(told) => {
                if i64::try_from(told.first_entry) != Ok(first_entry) {
                    let wrong =
                        format!("begins with entry {}, not {first_entry}", told.first_entry);
                    self.findings.row("first_entry_mismatch", "approvals", &id, wrong);
                }
                if let Some(stored) = &stored {
                    compare(told, stored, &id, &mut self.findings);
                }
            }
        }
        // The ledger is believed before the row.
        let decisions = match (&told, &stored) {
            (Some(told), _) => told.last.decisions.as_slice(),
            (None, Some(stored)) => stored.approval.decisions.as_slice(),
            (None, None) => &[],
        };
        let subject = stored.as_ref().map(|stored| &stored.approval.subject);
        self.check_decisions(&id, decisions, subject).await?;
        let status = told.as_ref().map(|told| told.last.state.status());
        if let Some(StoredApproval { approval, .. }) = &stored {
            let status = status.unwrap_or_else(|| approval.status());
            self.check_job(&id, approval.subject.subject(), status);
        }
        Ok(())
    }

    /// Follows the entries of one approval: each must name the one before.
    async fn follow_chain(&mut self, id: &str) -> Result<Option<Told>> {
        const SQL: &str = entry_columns!(
            "WHERE approval_id = $1 AND entry_index > $2 ORDER BY entry_index LIMIT $3"
        );
        let (mut chain, mut after) = (Chain::default(), -1);
        loop {
            let rows: Vec<EntryRow> = sqlx::query_as(SQL)
                .bind(id)
                .bind(after)
                .bind(i64::from(PAGE))
                .fetch_all(&mut *self.snapshot)
                .await?;
            let Some(last) = rows.last() else { return Ok(chain.told) };
            after = last.entry_index;
            // What cannot be read was found when the tree was recomputed.
            for entry in rows.into_iter().filter_map(|row| Entry::try_from(row).ok()) {
                if let Ok(record) = Record::parse(&entry.record) {
                    chain.follow(id, &entry, record, &mut self.findings);
                }
            }
        }
    }

    /// A job stands exactly while a rollout is approved or executing.
    fn check_job(&mut self, id: &str, subject: &Subject, status: Status) {
        let status_name = status.as_str();
        match (needs_job(subject, status), self.jobs.contains(id)) {
            (true, false) => {
                let wrong = format!("is missing although the approval is {status_name}");
                self.findings.row("job_missing", "jobs", id, wrong);
            }
            (false, true) => {
                let wrong = format!("is there although the approval is {status_name}");
                self.findings.row("job_unexpected", "jobs", id, wrong);
            }
            (true, true) | (false, false) => {}
        }
    }

    /// Rows that name an approval that is not there.
    pub(super) async fn check_orphans(&mut self) -> Result<()> {
        const TABLES: [(&str, &str, &str); 3] = [
            (
                "entry_without_approval",
                "ledger_entries",
                "SELECT DISTINCT approval_id FROM ledger_entries WHERE approval_id IS NOT NULL \
                 AND approval_id NOT IN (SELECT id FROM approvals)",
            ),
            (
                "decision_without_approval",
                "decisions",
                "SELECT DISTINCT approval_id FROM decisions \
                 WHERE approval_id NOT IN (SELECT id FROM approvals)",
            ),
            (
                "job_without_approval",
                "jobs",
                "SELECT approval_id FROM jobs WHERE approval_id NOT IN (SELECT id FROM approvals)",
            ),
        ];
        for (code, table, sql) in TABLES {
            let ids: Vec<String> = sqlx::query_scalar(sql).fetch_all(&mut *self.snapshot).await?;
            for id in ids {
                self.findings.row(code, table, id, "names an approval that is not there");
            }
        }
        Ok(())
    }

    /// Each policy stands under its own digest.
    pub(super) async fn check_policies(&mut self) -> Result<()> {
        const SQL: &str =
            "SELECT digest, policy FROM policies WHERE digest > $1 ORDER BY digest LIMIT $2";
        let mut after = String::new();
        loop {
            let rows: Vec<(String, String)> = sqlx::query_as(SQL)
                .bind(&after)
                .bind(i64::from(PAGE))
                .fetch_all(&mut *self.snapshot)
                .await?;
            let Some((last, _)) = rows.last() else { return Ok(()) };
            after.clone_from(last);
            for (digest, policy) in rows {
                if Digest::of(&policy).to_string() != digest {
                    let wrong = "has a text with another digest";
                    self.findings.row("policy_mismatch", "policies", digest, wrong);
                }
            }
        }
    }
}

/// The entries of one approval as they go by.
#[derive(Default)]
struct Chain {
    told: Option<Told>,
    /// The entry hash of the entry before.
    previous: Option<Digest>,
}

impl Chain {
    fn follow(&mut self, id: &str, entry: &Entry, record: Record, findings: &mut Findings) {
        let Some(said) = record.approval.clone().filter(|said| said.id.as_str() == id) else {
            // That the column names another approval than the record was found before.
            return;
        };
        let version = self.told.as_ref().map_or(0, |told| told.last.version);
        if said.previous != self.previous || said.version != version + 1 {
            let wrong = format!(
                "tells version {} of approval {id}, which does not follow version {version} before",
                said.version
            );
            findings.row("chain_broken", "ledger_entries", entry.index, wrong);
        }
        self.previous = Some(entry.entry_hash);
        match &mut self.told {
            Some(told) => {
                let is_same = told.last.deployment_digest == said.deployment_digest
                    && told.last.policy_digest == said.policy_digest;
                if !is_same {
                    let wrong = format!("names another deployment or policy of approval {id}");
                    findings.row("chain_digest_changed", "ledger_entries", entry.index, wrong);
                }
                told.last = said;
            }
            None => {
                self.told = Some(Told { first_entry: entry.index, first: record, last: said });
            }
        }
    }
}

/// Compares an approval's row with what its entries tell.
fn compare(told: &Told, stored: &StoredApproval, id: &str, findings: &mut Findings) {
    let approval = &stored.approval;
    let last = &told.last;
    let columns = [
        ("deployment_mismatch", "deployment", last.deployment_digest == *approval.subject.digest()),
        (
            "deployment_mismatch",
            "policy_digest",
            last.policy_digest == approval.subject.policy_digest,
        ),
        ("version_mismatch", "version", last.version == approval.version),
        ("state_mismatch", "state", last.state == approval.state),
        ("decisions_mismatch", "decisions", last.decisions == approval.decisions),
        ("created_at_mismatch", "created_at", told.first.at == stored.created_at),
    ];
    for (code, column, same) in columns {
        if !same {
            let wrong = format!("has another {column} than its entries in the ledger tell");
            findings.row(code, "approvals", id, wrong);
        }
    }
}
