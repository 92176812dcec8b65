//! Damage: no byte of the file can change without being found.

use countersign::domain::approval::Status;
use countersign::domain::canonical::to_canonical_json;
use countersign::proof::verify::{Code, verify};
use serde_json::Value;

use crate::evidence::codes::text;
use crate::evidence::keys::Keys;
use crate::evidence::maker::Maker;

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

#[test]
fn every_leaf_matters() {
    let keys = Keys::new();
    let trust = keys.trust();
    let good = text(&Maker::small(&keys).make());
    assert!(verify(good.as_bytes(), &trust).is_ok());
    let variants = variants(&serde_json::from_str(&good).unwrap(), "");
    assert!(variants.len() > 500, "only {}", variants.len());
    for (path, changed) in variants {
        let changed = to_canonical_json(&changed).unwrap();
        if path == "/entries/5 removed" {
            // No file can show that there is no later entry: this one proves an earlier moment.
            let earlier = verify(changed.as_bytes(), &trust).unwrap();
            assert_eq!((earlier.version(), earlier.state().status()), (5, Status::Executing));
            continue;
        }
        assert!(verify(changed.as_bytes(), &trust).is_err(), "{path} can be changed");
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
    for length in (0..good.len()).step_by(97) {
        assert!(verify(&good.as_bytes()[..length], &trust).is_err(), "cut to {length}");
    }
}

/// A small generator of the same numbers each time (Knuth's MMIX constants).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
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

#[test]
fn more_random_damage_never_verifies() {
    damage_at_random(3);
}

#[test]
fn yet_more_random_damage_never_verifies() {
    damage_at_random(4);
}

fn damage_at_random(seed: u64) {
    let keys = Keys::new();
    let trust = keys.trust();
    let good = text(&Maker::small(&keys).make()).into_bytes();
    assert!(verify(&good, &trust).is_ok());
    let mut numbers = Numbers(seed);
    for round in 0..5_000 {
        let mut bytes = good.clone();
        for _ in 0..=numbers.below(3) {
            let at = numbers.below(bytes.len());
            match numbers.below(5) {
                0 => bytes[at] ^= 1 << numbers.below(8),
                1 => bytes[at] = b"0123456789abcdefABCDEF_-\"\\{}[],:"[numbers.below(32)],
                2 => bytes.insert(at, bytes[numbers.below(good.len()).min(bytes.len() - 1)]),
                3 => drop(bytes.remove(at)),
                _ => {
                    let other = numbers.below(bytes.len());
                    bytes.swap(at, other);
                }
            }
        }
        if bytes != good {
            assert!(verify(&bytes, &trust).is_err(), "round {round}");
        }
    }
}
