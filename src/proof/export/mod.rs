//! The audit export: a folder with everything that happened in a period, which can be checked offline to
//! be complete and unchanged. The gate writes it with [`tables`]; [`check`] recomputes all of it.
//!
//! Completeness comes from the log's tree. The folder holds every entry of the period, and of the entries
//! before and after only the roots of the complete subtrees that cover them: together they give the root
//! that the log key signed, and only the entries that are really there do.

pub mod check;
mod contents;
mod flaw;
mod readme;
mod rules;
pub mod tables;

use serde::{Deserialize, Serialize};

use crate::domain::digest::Digest;
use crate::domain::period::Period;

pub use flaw::{Flaw, FlawCode};
pub use readme::readme;

/// Names the form of the folder.
pub const MANIFEST_SCHEMA: &str = "countersign/audit-export/v1";
/// Names the form of the range.
pub const RANGE_SCHEMA: &str = "countersign/audit-range/v1";
/// The media type of the manifest in its envelope.
pub const MANIFEST_TYPE: &str = "application/vnd.countersign.audit-export+json";

/// The manifest, canonical JSON.
pub const MANIFEST: &str = "manifest.json";
/// The manifest in an envelope that the log key signed.
pub const MANIFEST_ENVELOPE: &str = "manifest.dsse.json";
/// What the folder is, for people.
pub const README: &str = "README.txt";
/// The anchors that the gate itself used.
pub const TRUST: &str = "trust.json";
/// The signed tree head that everything leads to.
pub const CHECKPOINT: &str = "checkpoint.txt";
/// What witnesses signed of it, as in evidence: canonical JSON.
pub const COSIGNATURES: &str = "cosignatures.json";
/// Where the period is in the log.
pub const RANGE: &str = "range.json";
/// The entries of the period.
pub const ENTRIES: &str = "entries.jsonl";
/// The entry right before the period and the one right after it, where there are any.
pub const NEIGHBOURS: &str = "neighbours.jsonl";

/// Every file that a folder has but for the evidence.
pub fn fixed_files() -> Vec<String> {
    let tables = tables::TABLES.iter().flat_map(|table| [table.jsonl(), table.csv()]);
    let files = [
        MANIFEST,
        MANIFEST_ENVELOPE,
        README,
        TRUST,
        CHECKPOINT,
        COSIGNATURES,
        RANGE,
        ENTRIES,
        NEIGHBOURS,
    ];
    files.map(str::to_owned).into_iter().chain(tables).collect()
}

/// The evidence of one approval.
pub fn evidence_file(approval: &str) -> String {
    format!("evidence/{approval}.json")
}

/// What the folder holds.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`MANIFEST_SCHEMA`].
    pub schema: String,
    /// The version of the program that wrote it.
    pub version: String,
    /// The gate.
    pub origin: String,
    /// The log's verifier key (C2SP signed-note).
    pub log: String,
    /// When it was written.
    pub exported_at: jiff::Timestamp,
    /// What was asked of the ledger.
    pub query: Query,
    /// How many rows each table has, without headings.
    pub rows: std::collections::BTreeMap<String, u64>,
    /// Every other file, by path.
    pub files: Vec<ListedFile>,
}

/// What was asked of the ledger.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Query {
    /// The first moment.
    pub from: jiff::Timestamp,
    /// The first moment after it.
    pub until: jiff::Timestamp,
    /// `UTC`, in which all times of the folder are.
    pub time_zone: String,
    /// What was left out: nothing.
    pub filter: String,
}

impl Query {
    /// Everything of a period.
    pub fn of(period: Period) -> Self {
        Self {
            from: period.from,
            until: period.until,
            time_zone: "UTC".to_owned(),
            filter: "every entry of the ledger in the period; the evidence of every approval that an entry is about".to_owned(),
        }
    }
}

/// One file.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListedFile {
    /// Its path in the folder.
    pub path: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its SHA-256.
    pub sha256: Digest,
}

/// Where the entries of the period are in the log. All entries from the first that is not before the
/// period to the last that is not after it belong to it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Range {
    /// [`RANGE_SCHEMA`].
    pub schema: String,
    /// The first moment of the period.
    pub from: jiff::Timestamp,
    /// The first moment after it.
    pub until: jiff::Timestamp,
    /// The index of the first entry of the period.
    pub first: u64,
    /// The index after the last.
    pub end: u64,
    /// The roots of the complete subtrees of what stands before the neighbour before the period, from
    /// left to right (RFC 6962, section 2.1).
    pub before: Vec<Digest>,
    /// The same of what stands after the neighbour after it, up to the checkpoint.
    pub after: Vec<Digest>,
}

impl Range {
    /// The indices of the period with its neighbours, in a log of this size; without the last.
    pub fn with_neighbours(first: u64, end: u64, size: u64) -> (u64, u64) {
        (first.saturating_sub(1), end.saturating_add(1).min(size))
    }
}
