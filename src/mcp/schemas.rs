//! The JSON Schemas of tools, made from the types that also describe the API.

use rmcp::model::JsonObject;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use crate::api::ask::AskBody;

/// Where OpenAPI keeps the schemas that others refer to, and where JSON Schema does.
const OPENAPI: &str = "#/components/schemas/";
const JSON_SCHEMA: &str = "#/$defs/";

/// The schema of a type as a document of its own (JSON Schema 2020-12, which OpenAPI 3.1 uses too).
pub fn schema_of<T: ToSchema>() -> JsonObject {
    let mut parts = Vec::new();
    T::schemas(&mut parts);
    let mut document = object(serde_json::to_value(T::schema()).unwrap_or_default());
    if !parts.is_empty() {
        let parts = parts.into_iter();
        let parts: Map<String, Value> = parts
            .map(|(name, part)| (name, serde_json::to_value(part).unwrap_or_default()))
            .collect();
        document.insert("$defs".to_owned(), Value::Object(parts));
    }
    let mut document = Value::Object(document);
    refer_inside(&mut document);
    object(document)
}

/// The arguments of a tool that asks for a subject of this kind: the body that the API takes, with what is
/// asked for beside the rest and not below `subject`, which agents get right more often, and the
/// idempotency key.
pub fn arguments_for(kind: &str) -> JsonObject {
    let mut schema = schema_of::<AskBody>();
    let subjects = schema["$defs"]["AskSubject"]["oneOf"].as_array().cloned().unwrap_or_default();
    let is_it = |subject: &Value| subject["properties"]["kind"]["enum"][0] == kind;
    let subject = subjects.into_iter().find(is_it).unwrap_or_default();
    let mut asked = object(subject["properties"].clone());
    asked.remove("kind");
    if let Some(Value::Array(required)) = schema.get_mut("required") {
        required.retain(|name| name != "subject");
        let of_subject = subject["required"].as_array().cloned().unwrap_or_default();
        required.extend(of_subject.into_iter().filter(|name| name != "kind"));
    }
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        properties.remove("subject");
        properties.extend(asked);
        properties.insert("idempotency_key".to_owned(), idempotency_key());
    }
    if let Some(Value::Object(parts)) = schema.get_mut("$defs") {
        parts.remove("AskSubject");
    }
    schema
}

fn idempotency_key() -> Value {
    json!({
        "type": ["string", "null"],
        "maxLength": 255,
        "description": "Names this request: the same key again gives the same approval, whatever became of it. \
                        Without it, the same arguments with the same token are the same request.",
    })
}

/// The body that the API takes for these arguments. None for a `subject` of the caller's own, which
/// is no argument and would hide the one that is made here.
pub fn body_of(kind: &str, mut arguments: JsonObject) -> Option<Value> {
    if arguments.contains_key("subject") {
        return None;
    }
    let mut subject = object(json!({ "kind": kind }));
    let names: &[&str] = match kind {
        "action" => &["tool", "arguments", "summary", "effect", "undo"],
        "job_execution" => &["job", "image", "template", "run"],
        _ => &["service", "image", "template", "steps", "on_failure", "after"],
    };
    for name in names {
        if let Some(value) = arguments.remove(*name) {
            subject.insert((*name).to_owned(), value);
        }
    }
    arguments.insert("subject".to_owned(), Value::Object(subject));
    Some(Value::Object(arguments))
}

fn refer_inside(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                match member {
                    Value::String(text) if name == "$ref" => {
                        *text = text.replacen(OPENAPI, JSON_SCHEMA, 1);
                    }
                    member => refer_inside(member),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(refer_inside),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn object(value: Value) -> JsonObject {
    match value {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}
