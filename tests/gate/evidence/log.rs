//! The ledger of made evidence.

use std::collections::HashMap;

use countersign::domain::digest::Digest;
use countersign::domain::ledger::{Entry, Frontier};
use countersign::domain::tree::{Node, fold_subtrees, inclusion_path};
use countersign::proof::evidence::EntryEvidence;

/// The ledger.
pub struct Log {
    pub tree: Frontier,
    pub nodes: HashMap<Node, Digest>,
    pub entries: Vec<(Entry, Digest)>,
}

impl Log {
    pub fn new() -> Self {
        Self { tree: Frontier::default(), nodes: HashMap::new(), entries: Vec::new() }
    }

    pub fn evidence(&self, index: usize) -> EntryEvidence {
        let (entry, previous_root) = &self.entries[index];
        let steps = inclusion_path(entry.index, self.tree.size()).unwrap();
        let hash = |step: &Vec<Node>| {
            let hashes: Vec<Digest> = step.iter().map(|node| self.nodes[node]).collect();
            fold_subtrees(&hashes).unwrap().to_string()
        };
        EntryEvidence {
            index: entry.index,
            record: entry.record.clone(),
            salt: data_encoding::HEXLOWER.encode(&entry.salt),
            previous_root: previous_root.to_string(),
            signature: data_encoding::HEXLOWER.encode(&entry.signature),
            inclusion: steps.iter().map(hash).collect(),
        }
    }
}
