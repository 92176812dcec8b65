//! One entry of the ledger outside the gate: everything that its place in the log can be checked by.

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};

use crate::domain::digest::Digest;
use crate::domain::ledger::{Entry, entry_hash, leaf_hash};
use crate::domain::log_key::LogPublicKey;

/// An entry as it is given out. Hashes and bytes are lower-case hexadecimal.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExportedEntry {
    /// Its place, from 0.
    pub index: u64,
    /// The record, canonical JSON as text.
    pub record: String,
    /// 32 random bytes.
    pub salt: String,
    /// The RFC 6962 leaf hash: SHA-256(0x00 || SHA-256(salt || record)).
    pub leaf: String,
    /// The root of the tree before it.
    pub previous_root: String,
    /// The log key's signature over index, previous root and leaf.
    pub signature: String,
}

/// What does not hold of an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EntryFlaw {
    /// Something in it is not what it must be in form.
    Malformed,
    /// The leaf is not the one of salt and record.
    Leaf,
    /// The log key did not sign it in this place.
    Signature,
}

impl ExportedEntry {
    /// An entry with the root of the tree before it.
    pub fn new(entry: &Entry, previous_root: &Digest) -> Self {
        Self {
            index: entry.index,
            record: entry.record.clone(),
            salt: HEXLOWER.encode(&entry.salt),
            leaf: entry.leaf().to_string(),
            previous_root: previous_root.to_string(),
            signature: HEXLOWER.encode(&entry.signature),
        }
    }

    /// Checks the entry by itself, and gives its entry hash and leaf.
    ///
    /// # Errors
    /// The first thing that does not hold.
    pub fn check(&self, log_key: &LogPublicKey) -> Result<(Digest, Digest), EntryFlaw> {
        let salt = HEXLOWER.decode(self.salt.as_bytes()).map_err(|_| EntryFlaw::Malformed)?;
        let salt: [u8; 32] = salt.try_into().map_err(|_| EntryFlaw::Malformed)?;
        let hash = entry_hash(&salt, &self.record);
        let leaf = leaf_hash(&hash);
        if self.leaf != leaf.to_string() {
            return Err(EntryFlaw::Leaf);
        }
        let previous: Digest = self.previous_root.parse().map_err(|_| EntryFlaw::Malformed)?;
        let signature = HEXLOWER.decode(self.signature.as_bytes());
        let signature = signature.map_err(|_| EntryFlaw::Malformed)?;
        if log_key.verify_entry(self.index, &previous, &leaf, &signature) {
            Ok((hash, leaf))
        } else {
            Err(EntryFlaw::Signature)
        }
    }
}
