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
    let Some(Call { operation, places }) = call(method, path) else {
        return Some(format!("{method} {path} is not described"));
    };
    let query: Vec<(String, String)> =
        url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    if let Some(problem) = problem_of_parameters(operation, "path", &places)
        .or_else(|| problem_of_parameters(operation, "query", &query))
    {
        return Some(problem);
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
    let answers = &call(method, path)?.operation["responses"][status.as_str()];
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

/// What of the values in a path or a query is not as described: one that is of another type, or none of the
/// listed values, one that comes twice, and one that must be there and is not.
fn problem_of_parameters(
    operation: &'static Value,
    place: &str,
    given: &[(String, String)],
) -> Option<String> {
    let described = || {
        let all = operation["parameters"].as_array().into_iter().flatten();
        all.map(resolve).filter(|one| one["in"] == place)
    };
    for (at, (name, value)) in given.iter().enumerate() {
        let Some(parameter) = described().find(|one| one["name"] == **name) else {
            return Some(format!("the {place} parameter {name} is not described"));
        };
        if given[..at].iter().any(|(other, _)| other == name) {
            return Some(format!("the {place} parameter {name} comes twice"));
        }
        let schema = resolve(&parameter["schema"]);
        let value = match schema["type"].as_str() {
            Some("integer" | "boolean") => serde_json::from_str(value).unwrap_or(Value::Null),
            _ => Value::String(value.clone()),
        };
        if let Some(problem) =
            problem(schema, &value, &format!("the {place} parameter {name}"), true)
        {
            return Some(problem);
        }
    }
    let is_given = |one: &&Value| given.iter().any(|(name, _)| one["name"] == **name);
    let missing = described().find(|one| one["required"] == true && !is_given(one))?;
    Some(format!("the {place} parameter {} is missing", missing["name"]))
}

/// A described operation, and what stands in the places of its path.
struct Call {
    operation: &'static Value,
    places: Vec<(String, String)>,
}

/// The gate names repositories by their numbers, as GitHub's own redirects do; the description by owner and name.
fn call(method: &str, path: &str) -> Option<Call> {
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
    let (template, operation) = fitting.into_iter().find_map(|(template, operations)| {
        Some((template, operations.get(method.to_lowercase())?))
    })?;
    let parts = template.trim_start_matches('/').split('/').zip(&named);
    let places = parts.filter_map(|(part, segment)| {
        let name = part.strip_prefix('{')?.strip_suffix('}')?;
        Some((name.to_owned(), (*segment).to_owned()))
    });
    Some(Call { operation, places: places.collect() })
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
