//! Where the nodes of the ledger's tree are (RFC 6962, section 2.1), and the proofs that they make.
//!
//! A node is named by its level, 0 for leaves, and its position in the level. Only complete
//! subtrees are named: they never change once they are there.

use crate::domain::digest::Digest;
use crate::domain::ledger::node_hash;

/// A complete subtree of 2^level leaves.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Node {
    /// 0 for a leaf.
    pub level: u8,
    /// Its place among the nodes of the level, from 0.
    pub position: u64,
}

/// For each step of the audit path of leaf `index` in a tree of `size` leaves, from the leaf
/// upwards, the complete subtrees that make the sibling, from left to right. `None` if there is no
/// such leaf.
pub fn inclusion_path(index: u64, size: u64) -> Option<Vec<Vec<Node>>> {
    if index >= size {
        return None;
    }
    let mut steps = Vec::new();
    let (mut start, mut length) = (0, size);
    while length > 1 {
        let left = split(length);
        if index - start < left {
            steps.push(complete_subtrees(start + left, length - left));
            length = left;
        } else {
            steps.push(complete_subtrees(start, left));
            start += left;
            length -= left;
        }
    }
    steps.reverse();
    Some(steps)
}

/// For each hash of the proof that a tree of `size` leaves goes on from one of `old` (RFC 6962, section
/// 2.1.2), the complete subtrees that make it, from left to right. It is empty where there is nothing to
/// prove: from nothing, and between equal sizes.
pub fn consistency_path(old: u64, size: u64) -> Vec<Vec<Node>> {
    let mut steps = Vec::new();
    let (mut start, mut length, mut rest) = (0, size, old);
    while 0 < rest && rest < length {
        let left = split(length);
        if rest <= left {
            steps.push(complete_subtrees(start + left, length - left));
            length = left;
        } else {
            steps.push(complete_subtrees(start, left));
            start += left;
            length -= left;
            rest -= left;
        }
    }
    // Where the old tree is no complete subtree of the new one, its last part is a hash of the proof too.
    if start > 0 {
        steps.push(complete_subtrees(start, length));
    }
    steps.reverse();
    steps
}

/// The largest power of two below `length`, which is at least 2.
fn split(length: u64) -> u64 {
    1 << (u64::BITS - 1 - (length - 1).leading_zeros())
}

/// The complete subtrees of `length` leaves from `start` on, the largest first. `start` must be a
/// multiple of the largest.
pub fn complete_subtrees(start: u64, length: u64) -> Vec<Node> {
    let mut nodes = Vec::new();
    let mut next = start;
    for level in (0..64_u8).rev() {
        if length >> level & 1 == 1 {
            nodes.push(Node { level, position: next >> level });
            next += 1 << level;
        }
    }
    nodes
}

/// The fewest complete subtrees that cover the leaves from `start` to before `end`, from left to right.
pub fn cover(start: u64, end: u64) -> Vec<Node> {
    let mut nodes = Vec::new();
    let mut next = start;
    while next < end {
        let fits = (end - next).ilog2();
        let level = u8::try_from(next.trailing_zeros().min(fits)).unwrap_or_default();
        nodes.push(Node { level, position: next >> level });
        next += 1 << level;
    }
    nodes
}

/// The hash of neighbouring complete subtrees, from left to right, as one tree; `None` for none.
pub fn fold_subtrees(hashes: &[Digest]) -> Option<Digest> {
    let (last, rest) = hashes.split_last()?;
    Some(rest.iter().rev().fold(*last, |right, left| node_hash(left, &right)))
}

/// Whether `path` leads from the leaf at `index` to the root of a tree of `size` leaves
/// (RFC 9162, section 2.1.3.2, which verifies the proofs of RFC 6962 as well).
pub fn verify_inclusion(
    leaf: &Digest,
    index: u64,
    size: u64,
    path: &[Digest],
    root: &Digest,
) -> bool {
    if index >= size {
        return false;
    }
    let (mut position, mut last) = (index, size - 1);
    let mut hash = *leaf;
    for sibling in path {
        if last == 0 {
            return false;
        }
        if position & 1 == 1 || position == last {
            hash = node_hash(sibling, &hash);
            while position & 1 == 0 && position != 0 {
                position >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        position >>= 1;
        last >>= 1;
    }
    last == 0 && hash == *root
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::domain::ledger::{Frontier, leaf_hash};

    #[test]
    fn any_cover_of_a_range_completes_the_tree() {
        let mut tree = Frontier::default();
        let mut nodes = HashMap::new();
        let mut leaves = Vec::new();
        for size in 0..=40_u64 {
            for (start, end) in (0..=size).flat_map(|end| (0..=end).map(move |start| (start, end)))
            {
                let hashes =
                    |from, to| cover(from, to).into_iter().map(|node| (node.level, nodes[&node]));
                let mut rebuilt = Frontier::default();
                let (before, after) = (hashes(0, start), hashes(end, size));
                let between = (start..end).map(|index| (0, leaves[index as usize]));
                for (level, hash) in before.chain(between).chain(after) {
                    assert!(rebuilt.append_subtree(level, hash));
                }
                assert_eq!(rebuilt, tree, "{start}..{end} of {size}");
            }
            let leaf = leaf_hash(&Digest::of(size.to_be_bytes()));
            leaves.push(leaf);
            nodes.extend(tree.append(leaf));
        }
        let mut odd = Frontier::default();
        odd.append(leaves[0]);
        assert!(!odd.append_subtree(1, leaves[1]), "no pair stands at an odd place");
        assert!(!odd.append_subtree(64, leaves[1]));
    }

    #[test]
    fn every_leaf_of_every_small_tree_is_proved_and_no_other() {
        let mut tree = Frontier::default();
        let mut nodes = HashMap::new();
        for size in 1..=70_u64 {
            let leaf = leaf_hash(&Digest::of(size.to_be_bytes()));
            nodes.extend(tree.append(leaf));
            for index in 0..size {
                let steps = inclusion_path(index, size).unwrap();
                let path: Vec<Digest> = steps
                    .iter()
                    .map(|step| {
                        let hashes: Vec<Digest> = step.iter().map(|node| nodes[node]).collect();
                        fold_subtrees(&hashes).unwrap()
                    })
                    .collect();
                let leaf = nodes[&Node { level: 0, position: index }];
                let root = tree.root();
                assert!(verify_inclusion(&leaf, index, size, &path, &root), "{index} of {size}");
                assert!(!verify_inclusion(&root, index, size, &path, &root) || size == 1);
                assert!(!verify_inclusion(&leaf, index + 1, size, &path, &root));
                let mut longer = path.clone();
                longer.push(leaf);
                assert!(!verify_inclusion(&leaf, index, size, &longer, &root));
                if let Some((_, shorter)) = path.split_last() {
                    assert!(!verify_inclusion(&leaf, index, size, shorter, &root));
                }
            }
            assert_eq!(inclusion_path(size, size), None);
        }
    }
}
