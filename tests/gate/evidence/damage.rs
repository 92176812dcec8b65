//! Damage: no byte of the file can change without being found. Every damaged file is left for the
//! second verifier, which must refuse it for the same reason.

use countersign::domain::approval::Status;
use countersign::domain::canonical::to_canonical_json;
use countersign::proof::base64url;
use countersign::proof::evidence::Trust;
use countersign::proof::verify::{Code, verify};
use serde_json::{Value, json};

use crate::evidence::codes::text;
use crate::evidence::keys::Keys;
use crate::evidence::maker::Maker;
use crate::evidence::spellings::{respelled_members, respelled_texts};
use crate::public_keys::{WRONG_SPELLINGS, other_s};
use crate::support::bundles::leave;

/// Members whose text is JSON itself.
const EMBEDDED: [&str; 5] = ["deployment", "policy", "record", "statement", "registration"];

/// Every way of changing one leaf, with its path.
pub fn variants(value: &Value, path: &str) -> Vec<(String, Value)> {
    let changed = |value: Value| vec![(path.to_owned(), value)];
    match value {
        Value::Null => changed(Value::Bool(false)),
        Value::Bool(yes) => changed(Value::Bool(!yes)),
        Value::Number(number) => changed((number.as_i64().unwrap() + 1).into()),
        Value::String(text) => {
            let name = path.rsplit('/').next().unwrap();
            let mut all = changed(format!("{text}a").into());
            all.push((path.to_owned(), other_middle(text).into()));
            if EMBEDDED.contains(&name)
                && let Ok(inner @ Value::Object(_)) = serde_json::from_str::<Value>(text)
            {
                for (path, inner) in variants(&inner, &format!("{path}:")) {
                    all.push((path, to_canonical_json(&inner).unwrap().into()));
                }
            }
            all
        }
        Value::Array(items) => {
            let mut all = Vec::new();
            for (index, item) in items.iter().enumerate() {
                for (path, other) in variants(item, &format!("{path}/{index}")) {
                    let mut items = items.clone();
                    items[index] = other;
                    all.push((path, Value::Array(items)));
                }
                let mut fewer = items.clone();
                fewer.remove(index);
                all.push((format!("{path}/{index} removed"), Value::Array(fewer)));
            }
            all
        }
        Value::Object(members) => {
            let mut all = Vec::new();
            for (name, member) in members {
                for (path, other) in variants(member, &format!("{path}/{name}")) {
                    let mut members = members.clone();
                    members.insert(name.clone(), other);
                    all.push((path, Value::Object(members)));
                }
                let mut fewer = members.clone();
                fewer.remove(name);
                all.push((format!("{path}/{name} removed"), Value::Object(fewer)));
            }
            let mut more = members.clone();
            more.insert("zzz".to_owned(), Value::Bool(true));
            all.push((format!("{path} with one more"), Value::Object(more)));
            all
        }
    }
}

/// The text with the character in its middle replaced.
fn other_middle(text: &str) -> String {
    let middle = text.chars().count() / 2;
    let other = |character| if character == 'b' { 'c' } else { 'b' };
    let mut changed: String = text
        .chars()
        .enumerate()
        .map(|(at, character)| if at == middle { other(character) } else { character })
        .collect();
    if text.is_empty() {
        changed.push('b');
    }
    changed
}

/// Bytes in the place of others: where, how many are removed, which are put there.
pub type Edit = (usize, usize, Vec<u8>);

/// What the edits, one after the other, make of `bytes`.
pub fn edited(bytes: &[u8], edits: &[Edit]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for (at, removed, inserted) in edits {
        bytes.splice(at..&(at + removed), inserted.iter().copied());
    }
    bytes
}

/// The edits as the second verifier reads them.
pub fn written(edits: &[Edit]) -> Vec<Value> {
    let write = |(at, removed, inserted): &Edit| json!([at, removed, base64url::encode(inserted)]);
    edits.iter().map(write).collect()
}

/// Damaged copies of one small file.
struct Run {
    trust: Trust,
    good: Vec<u8>,
    cases: Vec<Value>,
}

impl Run {
    fn new() -> Self {
        let keys = Keys::new();
        let (trust, good) = (keys.trust(), text(&Maker::small(&keys).make()).into_bytes());
        assert!(verify(&good, &trust).is_ok());
        Self { trust, good, cases: Vec::new() }
    }

    fn value(&self) -> Value {
        serde_json::from_slice(&self.good).unwrap()
    }

    /// The damaged file must be refused. Gives why; `None` where nothing was damaged.
    fn refused(&mut self, edits: &[Edit]) -> Option<Code> {
        let bytes = edited(&self.good, edits);
        if bytes == self.good {
            return None;
        }
        let failure = verify(&bytes, &self.trust).err();
        let code = failure.unwrap_or_else(|| panic!("a damaged file verifies: {edits:?}")).code();
        self.cases.push(json!([code.as_str(), written(edits)]));
        Some(code)
    }

    /// As [`Self::refused`], for a whole other file.
    fn refused_file(&mut self, other: &[u8]) -> Option<Code> {
        let same = |(left, right): (&u8, &u8)| left == right;
        let before = self.good.iter().zip(other).take_while(|pair| same(*pair)).count();
        let (good, rest) = (&self.good[before..], &other[before..]);
        let after = good.iter().rev().zip(rest.iter().rev()).take_while(|pair| same(*pair)).count();
        let inserted = rest[..rest.len() - after].to_vec();
        self.refused(&[(before, good.len() - after, inserted)])
    }

    /// Leaves the run to the second verifier.
    fn leave(self, name: &str, least: usize) {
        let count = self.cases.len();
        assert!(count >= least, "only {count} cases");
        let base = String::from_utf8(self.good).unwrap();
        let run = json!({"trust": self.trust, "base": base, "count": count, "damage": self.cases});
        leave(&format!("damage-{name}"), &run);
    }
}

#[test]
fn every_leaf_matters() {
    let mut run = Run::new();
    for (path, changed) in variants(&run.value(), "") {
        let changed = to_canonical_json(&changed).unwrap();
        if path == "/entries/6 removed" {
            // No file can show that there is no later entry: this one proves an earlier moment.
            let earlier = verify(changed.as_bytes(), &run.trust).unwrap();
            assert_eq!((earlier.version(), earlier.state().status()), (6, Status::Executing));
            continue;
        }
        assert!(run.refused_file(changed.as_bytes()).is_some(), "{path}");
    }
    run.leave("leaves", 500);
}

#[test]
fn members_twice_or_in_another_order_are_found() {
    let mut run = Run::new();
    let good = String::from_utf8(run.good.clone()).unwrap();
    for other in respelled_members(&good) {
        assert!(run.refused_file(other.as_bytes()).is_some(), "{other}");
    }
    run.leave("members", 500);
}

#[test]
fn other_spellings_of_texts_are_found() {
    let mut run = Run::new();
    for other in respelled_texts(&run.value()) {
        run.refused_file(other.as_bytes());
    }
    run.leave("texts", 500);
}

#[test]
fn other_spellings_of_a_signature_are_found() {
    let mut run = Run::new();
    let value = run.value();
    let signature = value["decisions"][0]["signature"].as_str().unwrap();
    let signature = base64url::decode(signature).unwrap();
    let mut others: Vec<Vec<u8>> =
        WRONG_SPELLINGS.iter().map(|change| change(&signature)).collect();
    // This one even verifies: what refuses it is that the ledger recorded the first.
    others.push(other_s(&signature));
    for other in others {
        let mut value = value.clone();
        value["decisions"][0]["signature"] = base64url::encode(&other).into();
        let other = to_canonical_json(&value).unwrap();
        assert_eq!(run.refused_file(other.as_bytes()), Some(Code::StatementMismatch));
    }
    run.leave("signatures", 8);
}

#[test]
fn a_file_that_was_cut_or_grew_is_malformed() {
    let mut run = Run::new();
    for length in (0..run.good.len()).step_by(11) {
        let cut = [(length, run.good.len() - length, Vec::new())];
        assert_eq!(run.refused(&cut), Some(Code::Malformed), "cut to {length}");
    }
    for byte in 0..=u8::MAX {
        for at in [0, run.good.len()] {
            let grown = [(at, 0, vec![byte; 1 + usize::from(byte) % 3])];
            assert_eq!(run.refused(&grown), Some(Code::Malformed), "{byte} at {at}");
        }
    }
    run.leave("lengths", 1_500);
}

#[test]
fn a_flipped_bit_anywhere_is_found() {
    let mut run = Run::new();
    for at in (0..run.good.len()).step_by(3) {
        // One of its eight bits, another for each neighbour.
        let bit = at % 8;
        let other = run.good[at] ^ (1 << bit);
        assert!(run.refused(&[(at, 1, vec![other])]).is_some(), "bit {bit} of byte {at}");
    }
    run.leave("bits", 4_000);
}

/// A small generator of the same numbers each time (Knuth's MMIX constants).
pub struct Numbers(pub u64);

impl Numbers {
    /// A number below `limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % limit
    }
}

#[test]
fn random_damage_never_verifies() {
    damage_at_random(1);
}

#[test]
fn other_random_damage_never_verifies() {
    damage_at_random(2);
}

fn damage_at_random(seed: u64) {
    let mut run = Run::new();
    let mut numbers = Numbers(seed);
    for _ in 0..2_500 {
        let mut edits = Vec::new();
        let mut bytes = run.good.clone();
        for _ in 0..=numbers.below(3) {
            let edit = random_edit(&mut numbers, &bytes);
            bytes = edited(&bytes, &edit);
            edits.extend(edit);
        }
        run.refused(&edits);
    }
    run.leave(&format!("random-{seed}"), 2_000);
}

/// A bit flipped, a byte replaced, repeated elsewhere or removed, or two exchanged.
pub fn random_edit(numbers: &mut Numbers, bytes: &[u8]) -> Vec<Edit> {
    if bytes.is_empty() {
        return vec![(0, 0, vec![0])];
    }
    let (at, other) = (numbers.below(bytes.len()), numbers.below(bytes.len()));
    match numbers.below(5) {
        0 => vec![(at, 1, vec![bytes[at] ^ (1 << numbers.below(8))])],
        1 => vec![(at, 1, vec![b"0123456789abcdefABCDEF_-\"\\{}[],:"[numbers.below(32)]])],
        2 => vec![(at, 0, vec![bytes[other]])],
        3 => vec![(at, 1, Vec::new())],
        _ => vec![(at, 1, vec![bytes[other]]), (other, 1, vec![bytes[at]])],
    }
}

/// The file with one leaf changed, so many times, with where: not all of them, a few anywhere.
pub fn changed_leaves(file: &str, count: usize) -> Vec<(String, String)> {
    let value: Value = serde_json::from_str(file).unwrap();
    let leaves = leaves_of(&value);
    let mut numbers = Numbers(file.len() as u64);
    (0..count)
        .map(|_| {
            let path = &leaves[numbers.below(leaves.len())];
            let mut value = value.clone();
            let leaf = value.pointer_mut(path).unwrap();
            *leaf = other_leaf(leaf);
            (path.clone(), to_canonical_json(&value).unwrap())
        })
        .collect()
}

/// Another value of the same kind.
pub fn other_leaf(leaf: &Value) -> Value {
    match leaf {
        Value::String(text) => other_middle(text).into(),
        Value::Number(number) => (number.as_f64().unwrap() as i64 + 1).into(),
        Value::Bool(yes) => (!yes).into(),
        _ => "null".into(),
    }
}

/// The JSON pointers of every leaf.
pub fn leaves_of(value: &Value) -> Vec<String> {
    let mut leaves = Vec::new();
    collect_leaves(value, String::new(), &mut leaves);
    leaves
}

fn collect_leaves(value: &Value, path: String, leaves: &mut Vec<String>) {
    match value {
        Value::Array(items) => items
            .iter()
            .enumerate()
            .for_each(|(place, item)| collect_leaves(item, format!("{path}/{place}"), leaves)),
        Value::Object(members) => members.iter().for_each(|(name, member)| {
            let name = name.replace('~', "~0").replace('/', "~1");
            collect_leaves(member, format!("{path}/{name}"), leaves);
        }),
        _ => leaves.push(path),
    }
}

#[test]
fn other_spellings_are_malformed() {
    let keys = Keys::new();
    let trust = keys.trust();
    let good = text(&Maker::new(&keys).make());
    let value: Value = serde_json::from_str(&good).unwrap();
    let reordered = {
        let (first, rest) = good[1..].split_once(",\"credentials\"").unwrap();
        format!("{{\"credentials\"{},{first}}}", rest.strip_suffix('}').unwrap())
    };
    assert_eq!(serde_json::from_str::<Value>(&reordered).unwrap(), value);
    let deep = format!("{{\"checkpoint\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
    for other in [
        format!(" {good}"),
        format!("{good}\n"),
        format!("{good}{good}"),
        format!("\u{feff}{good}"),
        good.replacen(':', ": ", 1),
        good.replacen("{\"checkpoint\"", "{\"checkpoint\":\"\",\"checkpoint\"", 1),
        good.replacen("countersign/evidence", "countersign\\/evidence", 1),
        good.replacen("countersign/evidence", "\\u0063ountersign/evidence", 1),
        good.replacen("\"index\":0", "\"index\":0.0", 1).replacen(
            "\"index\":1,",
            "\"index\":1.0,",
            1,
        ),
        serde_json::to_string_pretty(&value).unwrap(),
        reordered,
        deep,
        "{}".to_owned(),
        "null".to_owned(),
        String::new(),
        " ".repeat(5 * 1024 * 1024),
    ] {
        let failure = verify(other.as_bytes(), &trust).err().map(|failure| failure.code());
        assert_eq!(failure, Some(Code::Malformed), "{}", &other[..other.len().min(80)]);
    }
}
