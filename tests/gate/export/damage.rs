//! Ten thousand random edits, deletions, reorders, truncations and forks of an exported folder: all found.

use std::collections::BTreeMap;

use countersign::domain::canonical::to_canonical_json;
use countersign::domain::digest::Digest;
use countersign::domain::ledger::{Frontier, Record, entry_hash, leaf_hash};
use countersign::domain::log_key::LogKey;
use countersign::domain::period::Period;
use countersign::proof::envelope::Envelope;
use countersign::proof::evidence::Trust;
use countersign::proof::export::{
    ListedFile, MANIFEST, MANIFEST_ENVELOPE, MANIFEST_TYPE, Manifest, NEIGHBOURS, Range,
};
use countersign::proof::exported::ExportedEntry;
use jiff::SignedDuration;
use serde_json::json;

use super::{Files, beside, exported, text, trust, verdict, verdict_on_contents};
use crate::support::gate::{Engine, Gate};

const TRIES: u32 = 10_000;
const ENTRIES: &str = "entries.jsonl";
const RANGE: &str = "range.json";
const CHECKPOINT: &str = "checkpoint.txt";

/// Numbers that look random and are the same in each run (xorshift64*).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(number).unwrap() % limit.max(1)
    }

    fn of<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }
}

/// What was done to an export, and to which file.
type Damage = (&'static str, String);

fn lines(files: &Files, name: &str) -> Vec<String> {
    text(files, name).split_inclusive('\n').map(str::to_owned).collect()
}

fn put(files: &mut Files, name: &str, content: impl Into<Vec<u8>>) {
    files.insert(name.to_owned(), content.into().into());
}

/// Changes a file as bytes or lines.
fn scribble(files: &mut Files, name: &str, random: &mut Random) -> &'static str {
    let mut bytes = files[name].to_vec();
    let mut list = String::from_utf8(bytes.clone()).map_or(Vec::new(), |text| {
        text.split_inclusive('\n').map(str::to_owned).collect::<Vec<_>>()
    });
    let (one, other) = (random.below(list.len()), random.below(list.len()));
    let what = match random.below(7) {
        0 if !bytes.is_empty() => {
            let place = random.below(bytes.len());
            bytes[place] ^= 1 << random.below(8);
            put(files, name, bytes);
            return "a bit flipped";
        }
        1 if !bytes.is_empty() => {
            bytes.truncate(random.below(bytes.len()));
            put(files, name, bytes);
            return "truncated";
        }
        2 => {
            let more = *random.of(&["\n", " ", "{}\n", "x"]);
            bytes.extend_from_slice(more.as_bytes());
            put(files, name, bytes);
            return "extended";
        }
        3 if !list.is_empty() => {
            list.remove(one);
            "a line deleted"
        }
        4 if !list.is_empty() => {
            list.insert(other, list[one].clone());
            "a line repeated"
        }
        5 if list.len() > 1 => {
            list.swap(one, other);
            "two lines swapped"
        }
        _ => {
            files.remove(name);
            return "removed";
        }
    };
    put(files, name, list.concat());
    what
}

/// The entries of the export with everything around them, as somebody without the log key rewrites them.
struct Rewriting<'a> {
    entries: Vec<ExportedEntry>,
    range: Range,
    key: &'a LogKey,
}

impl Rewriting<'_> {
    /// Gives every entry from `from` on the leaf, index and root that fit, and another key's signature.
    fn settle(&mut self, from: usize, signs: bool, tree: &Frontier) {
        let mut tree = tree.clone();
        for (place, entry) in self.entries.iter_mut().enumerate() {
            let salt = data_encoding::HEXLOWER.decode(entry.salt.as_bytes()).unwrap();
            let leaf = leaf_hash(&entry_hash(&salt.try_into().unwrap(), &entry.record));
            if place >= from {
                entry.index = tree.size();
                entry.previous_root = tree.root().to_string();
                entry.leaf = leaf.to_string();
                if signs {
                    let signature = self.key.sign_entry(entry.index, &tree.root(), &leaf);
                    entry.signature = data_encoding::HEXLOWER.encode(&signature);
                }
            }
            tree.append(leaf);
        }
    }
}

/// Rewrites the log of an export consistently, as far as that goes without the log key.
fn fork(files: &mut Files, key: &LogKey, random: &mut Random) -> &'static str {
    let entries = lines(files, ENTRIES);
    let parsed = entries.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let range: Range = serde_json::from_str(&text(files, RANGE)).unwrap();
    let mut rewriting = Rewriting { entries: parsed, range, key };
    let count = rewriting.entries.len();
    let place = random.below(count);
    // The tree before the period, with its neighbour.
    let mut tree =
        Frontier::restore(rewriting.range.first.saturating_sub(1), rewriting.range.before.clone())
            .unwrap();
    for line in lines(files, NEIGHBOURS).into_iter().take(usize::from(rewriting.range.first > 0)) {
        let entry: ExportedEntry = serde_json::from_str(&line).unwrap();
        tree.append(entry.leaf.parse().unwrap());
    }
    let signs = random.below(2) == 0;
    let what = match random.below(6) {
        0 => {
            rewriting.entries.remove(place);
            rewriting.range.end -= 1;
            "an entry removed and the rest moved up"
        }
        1 => {
            let record = &mut rewriting.entries[place].record;
            *record = record.replacen("2026", "2025", 1).replacen("alice", "malice", 1);
            "a record rewritten"
        }
        2 => {
            let other = random.below(count);
            rewriting.entries.swap(place, other);
            "two entries swapped and renumbered"
        }
        3 => {
            let copy = rewriting.entries[place].clone();
            rewriting.entries.insert(place, copy);
            rewriting.range.end += 1;
            "an entry inserted"
        }
        4 => {
            let cut = random.below(count - 1) + 1;
            rewriting.entries.truncate(count - cut);
            rewriting.range.end -= cut as u64;
            "the end of the period cut off"
        }
        _ => {
            rewriting.entries[place].salt = format!("{:064x}", random.below(1 << 30));
            "another salt"
        }
    };
    let before = text(files, ENTRIES);
    rewriting.settle(place.min(rewriting.entries.len()), signs, &tree);
    let rewritten: String =
        rewriting.entries.iter().map(|entry| to_canonical_json(entry).unwrap() + "\n").collect();
    if rewritten == before {
        // The swap of an entry with itself: signed by another key it is another log all the same.
        put(files, ENTRIES, before.replacen("\"index\"", "\"Index\"", 1));
        return "a member renamed";
    }
    put(files, ENTRIES, rewritten);
    put(files, RANGE, to_canonical_json(&rewriting.range).unwrap());
    if random.below(2) == 0 {
        let mut whole = tree;
        for entry in &rewriting.entries {
            whole.append(entry.leaf.parse().unwrap());
        }
        let name = text(files, CHECKPOINT).lines().next().unwrap().to_owned();
        put(files, CHECKPOINT, key.sign_checkpoint(&name, whole.size(), &whole.root()));
    }
    what
}

/// Replaces the manifest by one that fits the files, signed by somebody else's key.
fn sign_again(files: &mut Files, trust: &Trust, key: &LogKey) {
    let Some(manifest) = files.get(MANIFEST) else { return };
    let Ok(mut manifest) = serde_json::from_slice::<Manifest>(manifest) else { return };
    let listed =
        files.iter().filter(|(name, _)| ![MANIFEST, MANIFEST_ENVELOPE].contains(&&***name));
    manifest.files = listed
        .map(|(path, bytes)| ListedFile {
            path: path.clone(),
            size: bytes.len() as u64,
            sha256: Digest::of(bytes),
        })
        .collect();
    let text = to_canonical_json(&manifest).unwrap();
    let signature = key.sign_envelope(MANIFEST_TYPE, text.as_bytes());
    let envelope = Envelope::new(MANIFEST_TYPE, text.as_bytes(), trust.log.clone(), &signature);
    put(files, MANIFEST, text);
    put(files, MANIFEST_ENVELOPE, to_canonical_json(&envelope).unwrap());
}

/// Does one random thing to an export.
fn damage(files: &mut Files, key: &LogKey, random: &mut Random) -> Damage {
    let names: Vec<String> = files.keys().cloned().collect();
    match random.below(10) {
        0..5 => (fork(files, key, random), ENTRIES.to_owned()),
        5..7 => {
            let name = random.of(&[ENTRIES, RANGE, CHECKPOINT, NEIGHBOURS]);
            (scribble(files, name, random), (*name).to_owned())
        }
        7..9 => {
            let name = random.of(&names).clone();
            (scribble(files, &name, random), name)
        }
        _ => {
            let (one, other) = (random.of(&names).clone(), random.of(&names).clone());
            let name = if one == other { "evidence/other.json".to_owned() } else { other };
            files.insert(name.clone(), files[&one].clone());
            ("put in the place of another", name)
        }
    }
}

/// What came of some of the changes: how many by code, and those that were not found.
#[derive(Default)]
struct Tally {
    found: BTreeMap<&'static str, u32>,
    missed: Vec<Damage>,
}

fn try_changes(all: &Files, trust: &Trust, tries: u32, seed: u64) -> Tally {
    let other = LogKey::from_seed(&[99; 32]).unwrap();
    let (mut random, mut tally, mut tried) = (Random(seed), Tally::default(), 0);
    while tried < tries {
        let mut files = all.clone();
        let (what, file) = damage(&mut files, &other, &mut random);
        if files == *all {
            continue;
        }
        tried += 1;
        // The anchors in the folder are for the reader's convenience; the manifest alone covers them.
        let is_outside = [MANIFEST, MANIFEST_ENVELOPE, "trust.json"].contains(&&*file);
        let verdict = match random.below(10) {
            0 => verdict(&files, trust),
            1 => {
                sign_again(&mut files, trust, &other);
                verdict(&files, trust)
            }
            _ if is_outside && files.contains_key(&file) => verdict(&files, trust),
            // As if the manifest had been signed by the log key itself.
            _ => verdict_on_contents(&files, trust),
        };
        match verdict {
            Ok(_) => tally.missed.push((what, file)),
            Err(flaw) => *tally.found.entry(flaw.code.as_str()).or_default() += 1,
        }
    }
    tally
}

#[expect(clippy::print_stdout, reason = "the count is told, so that it can be seen to be one")]
#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_changes_are_all_found() {
    let gate = Gate::start(Engine::Sqlite).await;
    let mut alice = gate.approver("alice").await;
    let id = gate.asked(json!({"subject": {"steps": [100]}})).await;
    alice.approve(&id).await.unwrap();
    gate.ended(&id).await;
    let trust = trust(&gate);
    let all = exported(&gate, without_the_edges(&gate).await).await;
    gate.servers.stop().await;
    assert!(verdict(&all, &trust).is_ok() && verdict_on_contents(&all, &trust).is_ok());
    let started = std::time::Instant::now();
    let seeds = [0x9e37_79b9_7f4a_7c15, 0xd1b5_4a32_d192_ed03];
    let tallies = std::thread::scope(|scope| {
        let tries = TRIES / u32::try_from(seeds.len()).unwrap();
        let threads = seeds.map(|seed| {
            let (all, trust) = (&all, &trust);
            scope.spawn(move || try_changes(all, trust, tries, seed))
        });
        threads.map(|thread| thread.join().unwrap())
    });
    let (mut found, mut missed) = (BTreeMap::new(), Vec::new());
    for tally in tallies {
        for (code, count) in tally.found {
            *found.entry(code).or_default() += count;
        }
        missed.extend(tally.missed);
    }
    let tried = found.values().sum::<u32>() + u32::try_from(missed.len()).unwrap();
    println!("{tried} changes in {:?}: {found:#?}", started.elapsed());
    assert_eq!(tried, TRIES);
    assert!(missed.is_empty(), "{} of {tried} not found: {missed:#?}", missed.len());
    assert!(found.len() >= 10, "{found:#?}");
}

/// A period that leaves out the first and the last entries, so that there are neighbours and hashes.
async fn without_the_edges(gate: &Gate) -> Period {
    let (_, storage) = beside(gate).await;
    let entries = storage.entries(0, 1000).await.unwrap();
    storage.close().await;
    let at = |index: usize| Record::parse(&entries[index].record).unwrap().at;
    Period { from: at(4), until: at(entries.len() - 2) - SignedDuration::from_nanos(1_000) }
}
