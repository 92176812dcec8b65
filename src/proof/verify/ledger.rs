//! The ledger's part: the signed tree head, every entry in it, and the approval's own chain.

use jiff::Timestamp;

use super::failure::{Code, Failure};
use super::form::Form;
use crate::domain::approval::State;
use crate::domain::canonical::from_canonical_json;
use crate::domain::decision::Decision;
use crate::domain::deployment::FrozenDeployment;
use crate::domain::ledger::{ApprovalRecord, Record};
use crate::domain::log_key::LogPublicKey;
use crate::domain::policy::Policy;
use crate::domain::tree::verify_inclusion;
use crate::proof::checkpoint::{Checkpoint, TrustedLog};

/// What an approval's first entry is called.
const REQUESTED: &str = "approval.requested";

/// The approval's own entries: each in the log, each signed, each following the one before, and the
/// deployment and policy whose digests they all name.
pub(super) struct Chain {
    pub deployment: FrozenDeployment,
    pub policy: Policy,
    pub records: Vec<Record>,
    /// The approval's part of the last record.
    last: ApprovalRecord,
    /// For each decision, the entry in which it first appears.
    pub decided: Vec<Moment>,
}

/// An entry's place in the log, and its time.
#[derive(Clone, Copy)]
pub(super) struct Moment {
    pub index: u64,
    pub at: Timestamp,
}

impl Chain {
    pub(super) fn version(&self) -> u64 {
        self.last.version
    }

    pub(super) fn state(&self) -> &State {
        &self.last.state
    }

    pub(super) fn decisions(&self) -> &[Decision] {
        &self.last.decisions
    }
}

pub(super) fn check_checkpoint(form: &Form<'_>, log: &TrustedLog) -> Result<Checkpoint, Failure> {
    log.verify(form.checkpoint).ok_or_else(|| {
        Code::CheckpointInvalid
            .because(format!("the tree head is not one that the pinned key of {} signed", log.name))
    })
}

pub(super) fn check_inclusion(form: &Form<'_>, checkpoint: &Checkpoint) -> Result<(), Failure> {
    for entry in form.all_entries() {
        let (size, root) = (checkpoint.size(), checkpoint.root());
        if !verify_inclusion(&entry.leaf, entry.index, size, &entry.inclusion, root) {
            return Err(Code::EntryNotIncluded.because(format!(
                "entry {} is not in the log of {size} entries that the tree head names",
                entry.index
            )));
        }
    }
    Ok(())
}

pub(super) fn check_signatures(form: &Form<'_>, key: &LogPublicKey) -> Result<(), Failure> {
    for entry in form.all_entries() {
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

pub(super) fn check_chain(form: &Form<'_>) -> Result<Chain, Failure> {
    let deployment = FrozenDeployment::thaw(form.deployment_text)
        .map_err(|error| broken(format!("the deployment: {error}")))?;
    let policy: Policy = from_canonical_json(form.policy_text)
        .map_err(|error| broken(format!("the policy: {error}")))?;
    let mut records: Vec<Record> = Vec::with_capacity(form.entries.len());
    let mut decided = Vec::new();
    let mut before: Option<(ApprovalRecord, u64)> = None;
    let mut previous = None;
    for entry in &form.entries {
        let at = entry.index;
        let record = Record::parse(entry.record)
            .map_err(|error| broken(format!("the record of entry {at}: {error}")))?;
        let Some(approval) = record.approval.clone() else {
            return Err(broken(format!("entry {at} is about something else")));
        };
        let is_about = approval.id == deployment.approval
            && approval.deployment_digest == *deployment.digest()
            && approval.policy_digest == form.policy_digest;
        if !is_about {
            return Err(broken(format!("entry {at} is about another approval or deployment")));
        }
        let follows = match &before {
            None => record.kind == REQUESTED && approval.version == 1,
            Some((said, index)) => {
                at > *index
                    && approval.version == said.version + 1
                    && records.last().is_some_and(|last| record.at >= last.at)
                    && approval.decisions.starts_with(&said.decisions)
            }
        };
        if !follows || approval.previous != previous {
            return Err(broken(format!(
                "entry {at} does not follow the one before: one is missing, or stands in another place"
            )));
        }
        let moment = Moment { index: at, at: record.at };
        decided.resize(approval.decisions.len(), moment);
        previous = Some(entry.entry_hash);
        before = Some((approval, at));
        records.push(record);
    }
    let Some((last, _)) = before else { return Err(broken("there is no entry")) };
    Ok(Chain { deployment, policy, records, last, decided })
}
