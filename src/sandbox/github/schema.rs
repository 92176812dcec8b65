//! GitHub's published description of its API, and calls checked against it.
//!
//! GitHub itself ignores what it does not know; here it is refused, so that a misspelt member is found.

use std::sync::LazyLock;

use http::StatusCode;
use serde_json::{Map, Value};

static DESCRIPTION: LazyLock<Value> = LazyLock::new(|| {
    let text = include_str!("../../../tests/data/github-openapi.json");
    #[expect(clippy::expect_used, reason = "the text is part of the binary and tested")]
    serde_json::from_str(text).expect("the description is JSON")
});

/// Why GitHub would not know this call, if it would not. `path` begins behind the API's address.
pub fn problem_of_call(method: &str, path: &str, query: &str, body: &[u8]) -> Option<String> {
    let operation = match operation(method, path) {
        Some(operation) => operation,
        None => return Some(format!("{method} {path} is not described")),
    };
    for (name, _) in url::form_urlencoded::parse(query.as_bytes()) {
        let mut parameters = operation["parameters"].as_array().into_iter().flatten();
        if !parameters.any(|one| one["in"] == "query" && one["name"] == *name) {
            return Some(format!("the query parameter {name} is not described"));
        }
    }
    let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
    if schema.is_null() {
        return (!body.is_empty()).then(|| "a body is not described".to_owned());
    }
    match serde_json::from_slice(body) {
        Ok(body) => problem(schema, &body, "body", true),
        Err(_) if operation["requestBody"]["required"] == false && body.is_empty() => None,
        Err(error) => Some(format!("the body is not JSON: {error}")),
    }
}

/// What of this answer is not as GitHub would answer. Members may be missing: nobody reads all of them.
pub fn problem_of_answer(
    method: &str,
    path: &str,
    status: StatusCode,
    body: &[u8],
) -> Option<String> {
    let answers = &operation(method, path)?["responses"][status.as_str()];
    if answers.is_null() {
        return Some(format!("the status {status} is not described"));
    }
    let schema = &answers["content"]["application/json"]["schema"];
    if schema.is_null() {
        return (!body.is_empty()).then(|| "an answer is not described".to_owned());
    }
    match serde_json::from_slice(body) {
        Ok(body) => problem(schema, &body, "answer", false),
        Err(error) => Some(format!("the answer is not JSON: {error}")),
    }
}

/// The gate names repositories by their numbers, as GitHub's own redirects do; the description by owner and name.
fn operation(method: &str, path: &str) -> Option<&'static Value> {
    let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let named: Vec<&str> = match segments[..] {
        ["repositories", id, ..] => {
            [&["repos", "owner", id][..], segments.get(2..).unwrap_or_default()].concat()
        }
        _ => segments,
    };
    let fits = |template: &str| {
        let parts: Vec<&str> = template.trim_start_matches('/').split('/').collect();
        let same = |(part, segment): (&&str, &&str)| part.starts_with('{') || part == segment;
        parts.len() == named.len() && parts.iter().zip(&named).all(same)
    };
    let paths = DESCRIPTION["paths"].as_object()?;
    // A template that spells more out comes first.
    let mut fitting: Vec<(&String, &Value)> =
        paths.iter().filter(|(template, _)| fits(template)).collect();
    fitting.sort_by_key(|(template, _)| template.matches('{').count());
    fitting.into_iter().find_map(|(_, operations)| operations.get(method.to_lowercase()))
}

fn resolve(schema: &'static Value) -> &'static Value {
    match schema["$ref"].as_str().and_then(|path| DESCRIPTION.pointer(path.trim_start_matches('#')))
    {
        Some(found) => resolve(found),
        None => schema,
    }
}

/// The first thing about `value` that is not as the schema says. `whole`: what is required must be there.
fn problem(schema: &'static Value, value: &Value, at: &str, whole: bool) -> Option<String> {
    let schema = resolve(schema);
    if value.is_null() {
        let is_nullable = schema["nullable"] == true || schema["type"].is_null();
        return (whole && !is_nullable).then(|| format!("{at} is null"));
    }
    for kind in ["anyOf", "oneOf"] {
        let Some(choices) = schema[kind].as_array() else { continue };
        let mut problems = choices.iter().map(|choice| problem(choice, value, at, whole));
        if problems.all(|problem| problem.is_some()) {
            return Some(format!("{at} fits none of the {} forms", choices.len()));
        }
    }
    for part in schema["allOf"].as_array().into_iter().flatten() {
        if let Some(problem) = problem(part, value, at, whole) {
            return Some(problem);
        }
    }
    if let Some(values) = schema["enum"].as_array()
        && !values.contains(value)
    {
        return Some(format!("{at} is {value}, which is none of its values"));
    }
    match (schema["type"].as_str(), value) {
        (Some("string"), Value::String(text)) => {
            let longest = schema["maxLength"].as_u64().unwrap_or(u64::MAX);
            (text.chars().count() as u64 > longest).then(|| format!("{at} is too long"))
        }
        (Some("array"), Value::Array(items)) => {
            if items.len() as u64 > schema["maxItems"].as_u64().unwrap_or(u64::MAX) {
                return Some(format!("{at} has too many items"));
            }
            items.iter().find_map(|item| problem(&schema["items"], item, &format!("{at}[]"), whole))
        }
        (Some("object") | None, Value::Object(members)) => of_object(schema, members, at, whole),
        (Some("integer"), Value::Number(number)) if number.is_i64() || number.is_u64() => None,
        (Some("number"), Value::Number(_)) | (Some("boolean"), Value::Bool(_)) | (None, _) => None,
        (Some(kind), _) => Some(format!("{at} is no {kind}")),
    }
}

fn of_object(
    schema: &'static Value,
    members: &Map<String, Value>,
    at: &str,
    whole: bool,
) -> Option<String> {
    let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    for name in required.filter(|_| whole) {
        if !members.contains_key(name) {
            return Some(format!("{at}.{name} is missing"));
        }
    }
    let is_open = !matches!(schema.get("additionalProperties"), None | Some(Value::Bool(false)));
    for (name, member) in members {
        let place = format!("{at}.{name}");
        match schema["properties"].get(name) {
            Some(described) => {
                if let Some(problem) = problem(described, member, &place, whole) {
                    return Some(problem);
                }
            }
            None if is_open || schema["properties"].is_null() => {}
            None => return Some(format!("{place} is not described")),
        }
    }
    None
}
