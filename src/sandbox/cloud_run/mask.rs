//! Update masks: which fields of a service or a worker pool a patch writes.

use serde_json::{Map, Value};

use super::refusal::{Code, Refusal};
use super::schema;

/// The current spec with the masked fields taken from `wanted`; a masked field that `wanted`
/// leaves out is cleared. No mask, an empty one and `*` replace the whole spec.
///
/// # Errors
/// `INVALID_ARGUMENT` for a path that is no field of this schema or goes through a list.
pub fn apply(
    schema: &'static str,
    mask: Option<&str>,
    current: &Map<String, Value>,
    wanted: &Map<String, Value>,
) -> Result<Map<String, Value>, Refusal> {
    let paths: Vec<&str> = mask.unwrap_or("").split(',').filter(|path| !path.is_empty()).collect();
    if paths.is_empty() || paths == ["*"] {
        return Ok(wanted.clone());
    }
    let mut updated = current.clone();
    for path in paths {
        let steps = resolve(schema, path.trim())?;
        if !steps.is_empty() {
            copy(&mut updated, Some(wanted), &steps);
        }
    }
    Ok(updated)
}

/// The field names along a path. Empty for a field that only the service writes or that is no
/// part of the spec: naming it in a mask changes nothing.
fn resolve(schema: &'static str, path: &str) -> Result<Vec<String>, Refusal> {
    let wrong = |problem: &str| {
        let message = format!("Invalid update mask: '{path}' {problem}.");
        Refusal::new(Code::InvalidArgument, message)
    };
    let mut schema = Some(schema);
    let mut steps = Vec::new();
    let mut rest = Some(path);
    while let Some(remaining) = rest {
        let Some(message) = schema else { return Err(wrong("goes beyond a field")) };
        let (name, after) = match remaining.split_once('.') {
            Some((name, after)) => (name, Some(after)),
            None => (remaining, None),
        };
        let name = schema::camel_case(name);
        let property = schema::properties(message).and_then(|properties| properties.get(&name));
        let Some(property) = property else { return Err(wrong("is no field of it")) };
        if property["readOnly"] == true || matches!(path, "name" | "etag") {
            return Ok(Vec::new());
        }
        steps.push(name);
        if let (Some(key), true) = (after, property["additionalProperties"].is_object()) {
            steps.push(key.trim_matches('`').to_owned());
            return Ok(steps);
        }
        schema = property["$ref"].as_str();
        rest = after;
    }
    Ok(steps)
}

fn copy(target: &mut Map<String, Value>, source: Option<&Map<String, Value>>, steps: &[String]) {
    let [step, inner @ ..] = steps else { return };
    let value = source.and_then(|source| source.get(step));
    if !inner.is_empty() {
        let mut nested = match target.remove(step) {
            Some(Value::Object(nested)) => nested,
            _ => Map::new(),
        };
        copy(&mut nested, value.and_then(Value::as_object), inner);
        if !nested.is_empty() {
            target.insert(step.clone(), Value::Object(nested));
        }
    } else if let Some(value) = value {
        target.insert(step.clone(), value.clone());
    } else {
        target.remove(step);
    }
}
