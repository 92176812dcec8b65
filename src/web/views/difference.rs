//! The running revision template against the proposed one, member by member.
//!
//! Known members get a human label; every other member is shown by its path. Nothing is left out:
//! what is not a change is listed as unchanged.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::domain::template::APPROVAL_ANNOTATION;

use super::inert::Inert;
use super::label::{Label, label};

/// Everything that is the same or different between two templates.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Difference {
    /// What changes, the most telling first.
    pub changes: Vec<Change>,
    /// What the gate itself writes into every new revision.
    pub added_by_gate: Vec<Change>,
    /// What stays.
    pub unchanged: Vec<Unchanged>,
}

/// One member that changes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// What it is.
    pub label: Label,
    /// What runs now; none for something new.
    pub before: Option<Shown>,
    /// What is proposed; none for something that goes away.
    pub after: Option<Shown>,
    /// Whether both fit beside each other on one line.
    pub short: bool,
}

/// One member that stays.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unchanged {
    /// What it is.
    pub label: Label,
    /// What it is set to.
    pub value: Shown,
}

/// A value in words.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shown {
    /// The beginning that both sides of a change share.
    pub shared: Inert,
    /// The rest.
    pub rest: Inert,
    /// What kind of value it is, where the text alone could mislead.
    pub note: Option<&'static str>,
}

/// Compares two templates in the JSON of the Cloud Run Admin API v2.
pub fn difference(running: Option<&Value>, proposed: &Value) -> Difference {
    let mut leaves = Vec::new();
    compare(&mut Vec::new(), running, Some(proposed), &mut leaves);
    let containers: BTreeSet<&str> = leaves
        .iter()
        .filter(|leaf| leaf.path.len() > 1 && leaf.path[0] == "containers")
        .map(|leaf| leaf.path[1].as_str())
        .collect();
    let name_containers = containers.len() > 1;
    let mut labelled: Vec<(usize, Label, &Leaf<'_>)> = leaves
        .iter()
        .map(|leaf| {
            let (rank, label) = label(&leaf.path, name_containers);
            (rank, label, leaf)
        })
        .collect();
    labelled.sort_by(|left, right| left.0.cmp(&right.0).then(left.2.path.cmp(&right.2.path)));
    let mut difference = Difference::default();
    for (_, label, leaf) in labelled {
        match (leaf.before, leaf.after) {
            (Some(before), Some(after)) if before == after => {
                difference.unchanged.push(Unchanged { label, value: shown(&leaf.path, after) });
            }
            (before, after) => {
                let changes = if is_written_by_gate(&leaf.path) {
                    &mut difference.added_by_gate
                } else {
                    &mut difference.changes
                };
                changes.push(change(label, &leaf.path, before, after));
            }
        }
    }
    difference
}

/// Whether the gate alone writes a member: a request that names one of these is refused.
fn is_written_by_gate(path: &[String]) -> bool {
    match path {
        [member] => member == "revision",
        [annotations, name] => annotations == "annotations" && name == APPROVAL_ANNOTATION,
        _ => false,
    }
}

/// One member of the templates that is compared as a whole.
struct Leaf<'a> {
    path: Vec<String>,
    before: Option<&'a Value>,
    after: Option<&'a Value>,
}

fn compare<'a>(
    path: &mut Vec<String>,
    before: Option<&'a Value>,
    after: Option<&'a Value>,
    leaves: &mut Vec<Leaf<'a>>,
) {
    let members = if is_whole(path, before, after) { None } else { members(before, after) };
    let Some(members) = members else {
        if before.is_some() || after.is_some() {
            leaves.push(Leaf { path: path.clone(), before, after });
        }
        return;
    };
    for (name, before, after) in members {
        path.push(name);
        compare(path, before, after, leaves);
        path.pop();
    }
}

/// An environment variable is read as one thing, whether it has a value or names a secret. A list
/// whose shared elements changed their order is compared as a whole, since the order can matter
/// (`$(OTHER)` in environment values) and would be lost when its elements are compared one by one.
fn is_whole(path: &[String], before: Option<&Value>, after: Option<&Value>) -> bool {
    if matches!(path, [containers, _, env, _] if containers == "containers" && env == "env") {
        return true;
    }
    let (Some(before), Some(after)) = (before.and_then(names), after.and_then(names)) else {
        return false;
    };
    let kept: Vec<&&str> = before.iter().filter(|name| after.contains(name)).collect();
    let still: Vec<&&str> = after.iter().filter(|name| before.contains(name)).collect();
    kept != still
}

type Member<'a> = (String, Option<&'a Value>, Option<&'a Value>);

/// The members that two values are compared by, or none if they are compared as wholes.
fn members<'a>(before: Option<&'a Value>, after: Option<&'a Value>) -> Option<Vec<Member<'a>>> {
    let sides = || before.into_iter().chain(after);
    if sides().all(|side| side.as_object().is_some_and(|object| !object.is_empty())) {
        let keys: BTreeSet<&String> =
            sides().filter_map(Value::as_object).flatten().map(|(key, _)| key).collect();
        let get = |side: Option<&'a Value>, key: &str| side.and_then(|side| side.get(key));
        return Some(
            keys.into_iter().map(|key| (key.clone(), get(before, key), get(after, key))).collect(),
        );
    }
    let lists = sides().all(|side| {
        side.as_array().is_some_and(|list| !list.is_empty() && list.iter().all(Value::is_object))
    });
    if !lists {
        return None;
    }
    let single = sides().all(|side| side.as_array().is_some_and(|list| list.len() == 1));
    let named = sides().all(|side| names(side).is_some());
    // A single element is compared with the single other one even if its name changed.
    if named && !(single && before.is_some() && sides().any(|side| side[0].get("image").is_some()))
    {
        let mut seen = Vec::new();
        for name in sides().filter_map(names).flatten() {
            if !seen.contains(&name) {
                seen.push(name);
            }
        }
        let find = |side: Option<&'a Value>, name: &str| {
            side.and_then(Value::as_array)
                .and_then(|list| list.iter().find(|element| element["name"] == name))
        };
        return Some(
            seen.into_iter()
                .map(|name| (name.to_owned(), find(before, name), find(after, name)))
                .collect(),
        );
    }
    let length = sides().filter_map(Value::as_array).map(Vec::len).max().unwrap_or(0);
    let at = |side: Option<&'a Value>, index: usize| side.and_then(|side| side.get(index));
    Some(
        (0..length).map(|index| (index.to_string(), at(before, index), at(after, index))).collect(),
    )
}

/// The names of a list's elements, if each has one of its own.
fn names(list: &Value) -> Option<Vec<&str>> {
    let names: Option<Vec<&str>> = list
        .as_array()?
        .iter()
        .map(|element| element.get("name").and_then(Value::as_str).filter(|name| !name.is_empty()))
        .collect();
    let names = names?;
    let different: BTreeSet<&str> = names.iter().copied().collect();
    (different.len() == names.len()).then_some(names)
}

/// Longer values stand under each other.
const SHORT: usize = 24;

fn change(label: Label, path: &[String], before: Option<&Value>, after: Option<&Value>) -> Change {
    let mut before = before.map(|value| shown(path, value));
    let mut after = after.map(|value| shown(path, value));
    let fits =
        |side: &Shown| side.note.is_none() && side.rest.as_written().chars().count() <= SHORT;
    let short = before.iter().chain(&after).all(fits);
    if let (false, Some(before), Some(after)) = (short, &mut before, &mut after) {
        split_shared(before, after);
    }
    Change { label, before, after, short }
}

/// Splits off the beginning that both share, up to the last separator, so that digests and words
/// are never cut in the middle.
fn split_shared(before: &mut Shown, after: &mut Shown) {
    let (left, right) = (before.rest.as_written(), after.rest.as_written());
    let same = left.chars().zip(right.chars()).take_while(|(left, right)| left == right);
    let same: usize = same.map(|(left, _)| left.len_utf8()).sum();
    let cut = left[..same]
        .rfind(|character: char| !character.is_alphanumeric())
        .map_or(0, |at| at + left[at..].chars().next().map_or(0, char::len_utf8));
    let split = |text: &str| (Inert::new(&text[..cut]), Inert::new(&text[cut..]));
    (before.shared, before.rest) = split(left);
    (after.shared, after.rest) = split(right);
}

fn shown(path: &[String], value: &Value) -> Shown {
    let plain = |text: &str, note| Shown { shared: Inert::new(""), rest: Inert::new(text), note };
    if path.get(2).is_some_and(|part| part == "env")
        && path.len() == 4
        && let Some((text, note)) = environment_value(value)
    {
        return plain(&text, note);
    }
    match value {
        Value::String(text) if text.is_empty() => plain("", Some("empty")),
        Value::String(text) => plain(text, None),
        other => plain(&other.to_string(), None),
    }
}

/// The value of an environment variable, or the version of the secret that it names. Anything
/// that has other members besides is not put into words.
fn environment_value(variable: &Value) -> Option<(String, Option<&'static str>)> {
    let members = variable.as_object()?;
    let known = |allowed: &[&str]| members.keys().all(|key| allowed.contains(&key.as_str()));
    if known(&["name", "value"]) {
        let text = members.get("value").map_or(Some(""), Value::as_str)?;
        return Some((text.to_owned(), text.is_empty().then_some("empty")));
    }
    let source = members.get("valueSource")?.as_object()?;
    let reference = source.get("secretKeyRef")?.as_object()?;
    if !known(&["name", "valueSource"]) || source.len() != 1 || reference.len() != 2 {
        return None;
    }
    let secret = reference.get("secret")?.as_str()?;
    let version = reference.get("version")?.as_str()?;
    Some((format!("{secret}, version {version}"), Some("from Secret Manager")))
}
