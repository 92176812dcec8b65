//! The tables of an export: pure functions of the entries and of verified evidence. Writing them and
//! checking them is the same walk; only where the lines go differs.

mod approvals;
mod events;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::domain::canonical::to_canonical_json;
use crate::domain::csv;
use crate::domain::digest::Digest;
use crate::domain::ledger::{ApprovalRecord, Record};
use crate::proof::verify::Verified;

/// A table: a file of JSON lines and one of comma-separated values with the same rows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Table {
    /// The name of both files, before the dot.
    pub name: &'static str,
    /// The columns, in order.
    pub columns: &'static [&'static str],
}

impl Table {
    /// The file of JSON lines.
    pub fn jsonl(&self) -> String {
        format!("{}.jsonl", self.name)
    }

    /// The file for spreadsheets.
    pub fn csv(&self) -> String {
        format!("{}.csv", self.name)
    }
}

/// Every table.
pub const TABLES: [&Table; 7] = [
    &events::EVENTS,
    &events::KEYS,
    &events::SIGN_INS,
    &events::ROLLOUTS,
    &approvals::APPROVALS,
    &approvals::DECISIONS,
    &approvals::POLICIES,
];

/// Where the lines of tables go: into files, or against what stands in them.
pub trait Lines {
    /// Why a line could not be written, or is not there.
    type Error;

    /// Takes the next piece of a file.
    ///
    /// # Errors
    /// If it cannot be written, or something else is there.
    fn put(&mut self, file: &str, text: &str) -> Result<(), Self::Error>;
}

/// The entries of one approval in the period: index and leaf of each.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Population {
    /// In the order of the log.
    pub entries: Vec<(u64, Digest)>,
    version: u64,
    last: Option<Digest>,
}

/// The tables under way.
#[derive(Default)]
pub struct Tables {
    approvals: BTreeMap<String, Population>,
    policies: BTreeSet<Digest>,
    rows: BTreeMap<String, u64>,
}

/// An entry that does not follow the one before of its approval.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BrokenChain;

impl Tables {
    /// Begins every table with its headings.
    ///
    /// # Errors
    /// As [`Lines::put`].
    pub fn begin<L: Lines>(lines: &mut L) -> Result<Self, L::Error> {
        let mut tables = Self::default();
        for table in TABLES {
            lines.put(&table.jsonl(), "")?;
            lines.put(&table.csv(), &csv::line(table.columns))?;
            tables.rows.insert(table.name.to_owned(), 0);
        }
        Ok(tables)
    }

    /// Takes in one entry of the period, in order.
    ///
    /// # Errors
    /// As [`Lines::put`].
    pub fn entry<L: Lines>(
        &mut self,
        index: u64,
        record: &Record,
        leaf: &Digest,
        lines: &mut L,
    ) -> Result<(), L::Error> {
        for (table, row) in events::rows(index, record, leaf) {
            self.row(table, row, lines)?;
        }
        if let Some((digest, row)) = approvals::policy_of_entry(record) {
            self.policies.extend(digest);
            self.row(&approvals::POLICIES, row, lines)?;
        }
        Ok(())
    }

    /// Notes that an approval has this entry in the period.
    ///
    /// # Errors
    /// If it does not follow the approval's entry before.
    pub fn follow(
        &mut self,
        index: u64,
        said: &ApprovalRecord,
        (hash, leaf): (Digest, Digest),
    ) -> Result<(), BrokenChain> {
        let known = self.approvals.entry(said.id.to_string()).or_default();
        let follows = match known.last {
            // What came before the period is in the approval's evidence.
            None => (said.version == 1) == said.previous.is_none(),
            Some(last) => known.version + 1 == said.version && said.previous == Some(last),
        };
        known.version = said.version;
        known.last = Some(hash);
        known.entries.push((index, leaf));
        if follows { Ok(()) } else { Err(BrokenChain) }
    }

    /// The approvals that have an entry in the period, in the order in which they are told.
    pub fn approvals(&self) -> impl Iterator<Item = (&String, &Population)> {
        self.approvals.iter()
    }

    /// Takes in the evidence of one approval, in the order of [`Tables::approvals`].
    ///
    /// # Errors
    /// As [`Lines::put`].
    pub fn approval<L: Lines>(
        &mut self,
        verified: &Verified,
        population: &Population,
        lines: &mut L,
    ) -> Result<(), L::Error> {
        self.row(&approvals::APPROVALS, approvals::approval(verified, population), lines)?;
        for row in approvals::decisions(verified) {
            self.row(&approvals::DECISIONS, row, lines)?;
        }
        if self.policies.insert(verified.subject().policy_digest) {
            self.row(&approvals::POLICIES, approvals::policy_in_force(verified), lines)?;
        }
        Ok(())
    }

    /// How many rows each table has so far.
    pub fn rows(&self) -> &BTreeMap<String, u64> {
        &self.rows
    }

    fn row<L: Lines>(
        &mut self,
        table: &Table,
        row: Vec<Value>,
        lines: &mut L,
    ) -> Result<(), L::Error> {
        let cells: Vec<String> = row.iter().map(cell).collect();
        lines.put(&table.csv(), &csv::line(&cells))?;
        let names = table.columns.iter().map(|name| (*name).to_owned());
        let object: Map<String, Value> = names.zip(row).collect();
        lines.put(&table.jsonl(), &(json_text(&Value::Object(object)) + "\n"))?;
        *self.rows.entry(table.name.to_owned()).or_default() += 1;
        Ok(())
    }
}

/// A value as a spreadsheet shows it: texts as they are, nothing for null, everything else as JSON.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => json_text(other),
    }
}

/// A row holds what was read from canonical JSON, which has a canonical form again.
fn json_text(value: &Value) -> String {
    to_canonical_json(value).unwrap_or_default()
}
