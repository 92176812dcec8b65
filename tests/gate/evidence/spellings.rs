//! Other spellings of what a file says: members twice and in another order, texts that a lenient reader
//! takes for the same.

use countersign::domain::canonical::to_canonical_json;
use countersign::proof::base64url;
use serde_json::Value;

/// The JSON text with the members of one of its objects repeated or in another order, for every object
/// in it and in the texts in it: JSON, base64url of JSON, tokens.
pub fn respelled_members(text: &str) -> Vec<String> {
    let value: Value = serde_json::from_str(text).unwrap();
    let mut all = Vec::new();
    for object in objects(&value) {
        let spelled = to_canonical_json(object).unwrap();
        let at = text.find(&spelled).unwrap();
        for other in other_objects(object) {
            all.push(format!("{}{other}{}", &text[..at], &text[at + spelled.len()..]));
        }
    }
    for (path, inner) in texts(&value, String::new()) {
        for other in other_inner(inner) {
            let mut value = value.clone();
            *value.pointer_mut(&path).unwrap() = other.into();
            all.push(to_canonical_json(&value).unwrap());
        }
    }
    all
}

fn other_objects(object: &Value) -> Vec<String> {
    let members = object.as_object().unwrap().iter();
    let mut members: Vec<String> = members
        .map(|(name, member)| {
            let name = to_canonical_json(name).unwrap();
            format!("{name}:{}", to_canonical_json(member).unwrap())
        })
        .collect();
    members.sort();
    let written = |members: &[String]| format!("{{{}}}", members.join(","));
    let Some(first) = members.first().cloned() else { return Vec::new() };
    let name = first.split_once(':').unwrap().0.to_owned();
    let repeated = |member: String, at: usize| {
        let mut more = members.clone();
        more.insert(at, member);
        written(&more)
    };
    let mut all = vec![
        repeated(first.clone(), 0),
        repeated(first, members.len()),
        repeated(format!("{name}:null"), 0),
        repeated(format!("{name}:null"), members.len()),
    ];
    if members.len() > 1 {
        let mut turned = members.clone();
        turned.rotate_left(1);
        all.push(written(&turned));
        let mut reversed = members.clone();
        reversed.reverse();
        all.push(written(&reversed));
    }
    all
}

fn other_inner(text: &str) -> Vec<String> {
    let is_object = |text: &str| {
        serde_json::from_str::<Value>(text)
            .is_ok_and(|value| value.is_object() && to_canonical_json(&value).unwrap() == text)
    };
    if is_object(text) {
        return respelled_members(text);
    }
    let mut all = Vec::new();
    let parts: Vec<&str> = text.split('.').collect();
    for (place, part) in parts.iter().enumerate() {
        let Some(decoded) = base64url::decode(part) else { continue };
        let Ok(decoded) = String::from_utf8(decoded) else { continue };
        let Ok(value @ Value::Object(_)) = serde_json::from_str::<Value>(&decoded) else {
            continue;
        };
        for other in respelled_members(&to_canonical_json(&value).unwrap()) {
            let mut parts: Vec<String> = parts.iter().map(|part| (*part).to_owned()).collect();
            parts[place] = base64url::encode(other.as_bytes());
            all.push(parts.join("."));
        }
    }
    all
}

fn objects(value: &Value) -> Vec<&Value> {
    let mut all = Vec::new();
    match value {
        Value::Object(members) => {
            all.push(value);
            all.extend(members.values().flat_map(objects));
        }
        Value::Array(items) => all.extend(items.iter().flat_map(objects)),
        _ => {}
    }
    all
}

fn texts(value: &Value, path: String) -> Vec<(String, &str)> {
    match value {
        Value::String(text) => vec![(path, text)],
        Value::Object(members) => {
            let inner = members.iter();
            inner.flat_map(|(name, member)| texts(member, format!("{path}/{name}"))).collect()
        }
        Value::Array(items) => {
            let inner = items.iter().enumerate();
            inner.flat_map(|(place, item)| texts(item, format!("{path}/{place}"))).collect()
        }
        _ => Vec::new(),
    }
}

/// The file with one text in a spelling that a lenient reader takes for the same.
pub fn respelled_texts(value: &Value) -> Vec<String> {
    let mut all = Vec::new();
    for (path, text) in texts(value, String::new()) {
        let stray = |text: &str| {
            // The next letter of the alphabet: the same bytes with other leftover bits, or other bytes.
            let last = text.chars().last().map_or('B', |last| char::from(last as u8 + 1));
            format!("{}{last}", &text[..text.len().saturating_sub(1)])
        };
        for other in [
            text.to_uppercase(),
            format!("{text}="),
            format!("{text}=="),
            format!(" {text}"),
            format!("{text}\n"),
            format!("{text}\0"),
            format!("0x{text}"),
            text.replace('-', "+").replace('_', "/"),
            if text.is_ascii() { stray(text) } else { format!("{text}B") },
        ] {
            if other != text {
                let mut value = value.clone();
                *value.pointer_mut(&path).unwrap() = other.into();
                all.push(to_canonical_json(&value).unwrap());
            }
        }
    }
    all
}
