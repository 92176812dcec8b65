//! The ledger: an append-only Merkle log (RFC 6962) of everything that happened.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::approval::{Event, State, Transition};
use crate::domain::canonical::{CanonicalError, from_canonical_json, to_canonical_json};
use crate::domain::decision::Decision;
use crate::domain::digest::Digest;
use crate::domain::ids::ApprovalId;
use crate::domain::log_key::{LogKey, LogPublicKey};
use crate::domain::time;
use crate::domain::tree::Node;

/// Names the form of a record's bytes.
pub const RECORD_SCHEMA: &str = "countersign/record/v1";
/// The kind of the record that takes a credential out of use for good.
pub const CREDENTIAL_REVOKED: &str = "credential.revoked";
/// The kind of the record that a rollout began.
pub const ROLLOUT_BEGUN: &str = "rollout.begun";
/// The kind of the record that a run is about to be let on.
pub const RUN_LET_ON: &str = "run.let_on";
/// The kind of the record that a grant was used.
pub const GRANT_CONSUMED: &str = "grant.consumed";
/// The kind of the record before a call to Cloud Run.
pub const CALL_ANNOUNCED: &str = "rollout.call_announced";
/// The kind of the record of what came back from one.
pub const CALL_ANSWERED: &str = "rollout.call_answered";

/// The revoked credentials by their ids (base64url), each with the index of the entry that says so.
pub type Revoked = BTreeMap<String, u64>;

/// What one entry of the ledger says. Its canonical JSON, salted, is what the tree commits to.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// [`RECORD_SCHEMA`].
    pub schema: String,
    /// What happened: `approval.requested`, `credential.registered`, ...
    pub kind: String,
    /// When the gate wrote it.
    #[serde(deserialize_with = "time::deserialize")]
    pub at: Timestamp,
    /// The approval that it happened to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approval: Option<ApprovalRecord>,
    /// What else there is to know.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub data: Value,
}

/// An approval after one change, enough to tell its whole state from the ledger alone.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApprovalRecord {
    /// Which approval.
    pub id: ApprovalId,
    /// Its version after the change.
    pub version: u64,
    /// The digest of what was asked for.
    pub deployment_digest: Digest,
    /// The digest of the rules in force.
    pub policy_digest: Digest,
    /// Its state after the change.
    pub state: State,
    /// Its decisions after the change.
    pub decisions: Vec<Decision>,
    /// The entry hash of the approval's previous entry: each approval is a chain of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous: Option<Digest>,
}

impl Record {
    /// What a transition writes. `previous` is the entry hash of the approval's entry before; the
    /// first entry has none, and `data` about the requester's token in its place.
    pub fn of_transition(
        transition: &Transition,
        previous: Option<Digest>,
        data: Value,
        at: Timestamp,
    ) -> Self {
        let approval = &transition.approval;
        Self {
            schema: RECORD_SCHEMA.to_owned(),
            kind: event_name(transition.event),
            at,
            approval: Some(ApprovalRecord {
                id: approval.id().clone(),
                version: approval.version,
                deployment_digest: *approval.subject.digest(),
                policy_digest: approval.subject.policy_digest,
                state: approval.state.clone(),
                decisions: approval.decisions.clone(),
                previous,
            }),
            data,
        }
    }

    /// Something that happened to no approval: a sign-in, a key.
    pub fn of_event(kind: &str, data: Value, at: Timestamp) -> Self {
        Self { schema: RECORD_SCHEMA.to_owned(), kind: kind.to_owned(), at, approval: None, data }
    }

    /// The canonical JSON.
    pub fn text(&self) -> Result<String, CanonicalError> {
        to_canonical_json(self)
    }

    /// The credential (base64url id) that this record takes out of use for good.
    pub fn revokes(&self) -> Option<&str> {
        (self.kind == CREDENTIAL_REVOKED).then(|| self.data["credential"].as_str()).flatten()
    }

    /// Reads a record back from its canonical text, and from no other text.
    pub fn parse(text: &str) -> Result<Self, CanonicalError> {
        from_canonical_json(text)
    }
}

fn event_name(event: Event) -> String {
    match serde_json::to_value(event) {
        Ok(Value::String(name)) => name,
        _ => unreachable!("an event serialises to its name"),
    }
}

/// One entry as it is stored: the record, and everything that fixes its place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Its place, from 0.
    pub index: u64,
    /// The record's canonical JSON.
    pub record: String,
    /// 32 random bytes, so that the hash of a record tells nothing about an erased one.
    pub salt: [u8; 32],
    /// SHA-256(salt || record).
    pub entry_hash: Digest,
    /// The tree's root after this entry.
    pub root: Digest,
    /// The log key's signature over index, previous root and leaf hash.
    pub signature: Vec<u8>,
}

impl Entry {
    /// RFC 6962 leaf hash: SHA-256(0x00 || entry hash).
    pub fn leaf(&self) -> Digest {
        leaf_hash(&self.entry_hash)
    }
}

/// The tree's size and the roots of its complete subtrees, enough to append without the entries.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Frontier {
    size: u64,
    /// Roots of the complete subtrees from the largest to the smallest, one per set bit of `size`.
    subtrees: Vec<Digest>,
}

/// A stored frontier that no tree has.
#[derive(Debug, thiserror::Error)]
#[error(
    "the ledger's head is damaged: a tree of {size} entries has {expected} complete subtrees, not {found}"
)]
pub struct ImpossibleFrontier {
    size: u64,
    expected: u32,
    found: usize,
}

impl Frontier {
    /// A frontier that was stored.
    pub fn restore(size: u64, subtrees: Vec<Digest>) -> Result<Self, ImpossibleFrontier> {
        if subtrees.len() == size.count_ones() as usize {
            Ok(Self { size, subtrees })
        } else {
            Err(ImpossibleFrontier { size, expected: size.count_ones(), found: subtrees.len() })
        }
    }

    /// How many entries the tree has.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The roots of the complete subtrees, from the largest to the smallest.
    pub fn subtrees(&self) -> &[Digest] {
        &self.subtrees
    }

    /// The tree's root (RFC 6962, section 2.1); SHA-256 of nothing for the empty tree.
    pub fn root(&self) -> Digest {
        let mut subtrees = self.subtrees.iter().rev();
        match subtrees.next() {
            None => Digest::of(b""),
            Some(last) => subtrees.fold(*last, |right, left| node_hash(left, &right)),
        }
    }

    /// Appends a leaf, and gives the subtrees that it completes, itself among them.
    pub fn append(&mut self, leaf: Digest) -> Vec<(Node, Digest)> {
        let mut hash = leaf;
        let mut completed = vec![(Node { level: 0, position: self.size }, hash)];
        // Each trailing one of the size is a complete subtree as large as the node so far.
        for level in 1..=u8::try_from(self.size.trailing_ones()).unwrap_or(u8::MAX) {
            if let Some(left) = self.subtrees.pop() {
                hash = node_hash(&left, &hash);
                completed.push((Node { level, position: self.size >> level }, hash));
            }
        }
        self.subtrees.push(hash);
        self.size += 1;
        completed
    }

    /// Appends a complete subtree of 2^level leaves; false if none can stand at this size.
    pub fn append_subtree(&mut self, level: u8, mut hash: Digest) -> bool {
        let length = 1_u64.checked_shl(u32::from(level));
        let Some(size) = length.and_then(|length| self.size.checked_add(length)) else {
            return false;
        };
        if self.size != 0 && self.size.trailing_zeros() < u32::from(level) {
            return false;
        }
        for _ in 0..(self.size >> level).trailing_ones() {
            if let Some(left) = self.subtrees.pop() {
                hash = node_hash(&left, &hash);
            }
        }
        self.subtrees.push(hash);
        self.size = size;
        true
    }

    /// Writes the next entry on top of this tree, and gives the subtrees that it completes.
    pub fn write(
        &mut self,
        record: &Record,
        salt: [u8; 32],
        log_key: &LogKey,
    ) -> Result<(Entry, Vec<(Node, Digest)>), CanonicalError> {
        let record = record.text()?;
        let entry_hash = entry_hash(&salt, &record);
        let leaf = leaf_hash(&entry_hash);
        let index = self.size;
        let signature = log_key.sign_entry(index, &self.root(), &leaf);
        let completed = self.append(leaf);
        let entry = Entry { index, record, salt, entry_hash, root: self.root(), signature };
        Ok((entry, completed))
    }

    /// Checks that `entry` is the next one on top of this tree, moves on to it, and gives the subtrees
    /// that it completes.
    pub fn follow(
        &mut self,
        entry: &Entry,
        log_key: &LogPublicKey,
    ) -> Result<Vec<(Node, Digest)>, EntryFault> {
        let index = self.size;
        if entry.index != index {
            return Err(EntryFault::Missing { index, found: entry.index });
        }
        if entry_hash(&entry.salt, &entry.record) != entry.entry_hash {
            return Err(EntryFault::Record { index });
        }
        if !log_key.verify_entry(index, &self.root(), &entry.leaf(), &entry.signature) {
            return Err(EntryFault::Signature { index });
        }
        let completed = self.append(entry.leaf());
        if self.root() == entry.root { Ok(completed) } else { Err(EntryFault::Root { index }) }
    }
}

/// What is wrong with one entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryFault {
    /// An entry is gone or stands in the wrong place.
    #[error("entry {index} is missing: entry {found} stands in its place")]
    Missing { index: u64, found: u64 },
    /// The record or its salt was changed.
    #[error("entry {index}: the record is not the one that its hash commits to")]
    Record { index: u64 },
    /// The log key did not sign this entry in this place.
    #[error("entry {index}: the log key did not sign this entry at this place of the log")]
    Signature { index: u64 },
    /// The stored head differs from the recomputed one.
    #[error("entry {index}: the stored root is not the root of the entries up to it")]
    Root { index: u64 },
}

/// SHA-256(salt || record).
pub fn entry_hash(salt: &[u8; 32], record: &str) -> Digest {
    Digest::of_parts(&[salt, record.as_bytes()])
}

/// RFC 6962, section 2.1: SHA-256(0x00 || entry).
pub fn leaf_hash(entry_hash: &Digest) -> Digest {
    Digest::of_parts(&[&[0], entry_hash.as_bytes()])
}

/// RFC 6962, section 2.1: SHA-256(0x01 || left || right).
pub fn node_hash(left: &Digest, right: &Digest) -> Digest {
    Digest::of_parts(&[&[1], left.as_bytes(), right.as_bytes()])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6962, section 2.1, written down as it stands there.
    fn root_by_definition(leaves: &[Digest]) -> Digest {
        match leaves {
            [] => Digest::of(b""),
            [leaf] => *leaf,
            _ => {
                let split = leaves.len().next_power_of_two() / 2;
                let (left, right) = leaves.split_at(split);
                node_hash(&root_by_definition(left), &root_by_definition(right))
            }
        }
    }

    #[test]
    fn appending_gives_the_root_of_the_definition() {
        let mut frontier = Frontier::default();
        let mut leaves = Vec::new();
        for index in 0..130_u8 {
            assert_eq!(frontier.root(), root_by_definition(&leaves));
            let leaf = leaf_hash(&Digest::of([index]));
            frontier.append(leaf);
            leaves.push(leaf);
            let stored = Frontier::restore(frontier.size(), frontier.subtrees().to_vec()).unwrap();
            assert_eq!(stored, frontier);
        }
    }

    #[test]
    fn a_changed_entry_is_found() {
        let key = LogKey::from_seed(&[7; 32]).unwrap();
        let mut written = Frontier::default();
        let entries: Vec<Entry> = (0..5)
            .map(|index| {
                let record = Record::of_event("test", index.into(), Timestamp::UNIX_EPOCH);
                written.write(&record, [index; 32], &key).unwrap().0
            })
            .collect();
        let check = |entries: &[Entry]| {
            let mut frontier = Frontier::default();
            entries.iter().try_for_each(|entry| frontier.follow(entry, &key.public()).map(|_| ()))
        };
        assert_eq!(check(&entries), Ok(()));
        let changed = |index: usize, change: &dyn Fn(&mut Entry)| {
            let mut entries = entries.clone();
            change(&mut entries[index]);
            check(&entries)
        };
        let index = 3;
        assert_eq!(changed(3, &|entry| entry.salt[0] ^= 1), Err(EntryFault::Record { index }));
        assert_eq!(changed(3, &|entry| entry.record.push(' ')), Err(EntryFault::Record { index }));
        assert_eq!(
            changed(3, &|entry| entry.signature[9] ^= 1),
            Err(EntryFault::Signature { index })
        );
        assert_eq!(
            changed(3, &|entry| entry.root = Digest::of("x")),
            Err(EntryFault::Root { index })
        );
        assert_eq!(
            check(&[&entries[..2], &entries[3..]].concat()),
            Err(EntryFault::Missing { index: 2, found: 3 })
        );
    }
}
