//! The ledger's part: the signed tree head, every entry in it, and the approval's own chain.

use jiff::Timestamp;

use super::failure::{Code, Failure};
use super::form::{Form, UnverifiedEntry};
use super::judge::Judge;
use crate::domain::digest::Digest;
use crate::domain::ledger::ApprovalRecord;
use crate::domain::log_key::LogPublicKey;
use crate::domain::tree::verify_inclusion;
use crate::proof::checkpoint::{Checkpoint, TrustedLog};

/// What an approval's first entry is called.
const REQUESTED: &str = "approval.requested";

/// The approval's own entries: each in the log, each signed, each following the one before.
pub(super) struct Chain<'a> {
    /// The approval's part of the last record.
    pub last: &'a ApprovalRecord,
    /// For each decision, the entry in which it first appears.
    pub decided: Vec<Moment>,
}

/// An entry's place in the log, and its time.
#[derive(Clone, Copy)]
pub(super) struct Moment {
    pub index: u64,
    pub at: Timestamp,
}

pub(super) fn check_checkpoint(form: &Form<'_>, log: &TrustedLog) -> Result<Checkpoint, Failure> {
    log.verify(form.checkpoint).ok_or_else(|| {
        let name = &log.name;
        Code::CheckpointInvalid.because(match log.successor_that_signed(form.checkpoint) {
            Some(successor) => successor_sentence(name, &successor),
            None => format!("the tree head is not one that the pinned key of {name} signed"),
        })
    })
}

/// What to do about a log that is another one since it was pinned.
pub(crate) fn successor_sentence(pinned: &str, successor: &str) -> String {
    format!(
        "it is from the log {successor}, with which {pinned} goes on after it lost entries: read the log.recovered entry, ask for the anchors of today (countersign config trust), and pin that name if its reasons convince you"
    )
}

/// Each is in the tree of this size and root.
pub(super) fn check_inclusion<'a>(
    entries: impl Iterator<Item = &'a UnverifiedEntry>,
    (size, root): (u64, &Digest),
) -> Result<(), Failure> {
    for entry in entries {
        if !verify_inclusion(&entry.leaf, entry.index, size, &entry.inclusion, root) {
            return Err(Code::EntryNotIncluded.because(format!(
                "entry {} is not in the log of {size} entries that the tree head names",
                entry.index
            )));
        }
    }
    Ok(())
}

/// The log key signed each in its place.
pub(super) fn check_signatures<'a>(
    entries: impl Iterator<Item = &'a UnverifiedEntry>,
    key: &LogPublicKey,
) -> Result<(), Failure> {
    for entry in entries {
        if !key.verify_entry(entry.index, &entry.previous_root, &entry.leaf, &entry.signature) {
            return Err(Code::EntrySignatureInvalid.because(format!(
                "entry {}: the log key did not sign this entry at this place of the log",
                entry.index
            )));
        }
    }
    Ok(())
}

fn broken(sentence: impl Into<String>) -> Failure {
    Code::ChainBroken.because(sentence)
}

pub(super) fn check_chain<'a>(
    form: &'a Form<'_>,
    judge: &impl Judge,
) -> Result<Chain<'a>, Failure> {
    let mut decided = Vec::new();
    let mut before: Option<(&UnverifiedEntry, &ApprovalRecord)> = None;
    for entry in &form.entries {
        let UnverifiedEntry { index, record, .. } = entry;
        let about = || broken(format!("entry {index} is about something else"));
        let approval = record.approval.as_ref().ok_or_else(about)?;
        judge.require(is_about(approval, form), about)?;
        let follows = match before {
            None => {
                record.kind == REQUESTED && approval.version == 1 && approval.previous.is_none()
            }
            Some((earlier, said)) => {
                *index > earlier.index
                    && record.at >= earlier.record.at
                    && said.version.checked_add(1) == Some(approval.version)
                    && approval.previous == Some(earlier.entry_hash)
                    && approval.decisions.starts_with(&said.decisions)
            }
        };
        let gap = || {
            broken(format!(
                "entry {index} does not follow the one before: one is missing, or stands in another place"
            ))
        };
        judge.require(follows, gap)?;
        decided.resize(approval.decisions.len(), Moment { index: *index, at: record.at });
        before = Some((entry, approval));
    }
    let (_, last) = before.ok_or_else(|| broken("there is no entry of the approval"))?;
    Ok(Chain { last, decided })
}

fn is_about(said: &ApprovalRecord, form: &Form<'_>) -> bool {
    said.id == form.subject.approval
        && said.deployment_digest == *form.subject.digest()
        && said.policy_digest == form.policy_digest
}
