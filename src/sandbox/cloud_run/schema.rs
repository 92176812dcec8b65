//! Google's published description of the API, and JSON checked against it.
//!
//! The sandbox has no structs of its own for services and revisions: every field that the
//! description knows is accepted, kept and answered, and every other one is refused. Inside the
//! sandbox all values are in one normal form (the protobuf JSON mapping: camel case, 64-bit numbers
//! as strings, enums by name, unset fields and default values left out).

use std::sync::LazyLock;

use jiff::Timestamp;
use serde_json::{Map, Number, Value, json};

use super::refusal::{Code, Refusal};

/// The schema of a service.
pub const SERVICE: &str = "GoogleCloudRunV2Service";
/// The schema of a worker pool.
pub const WORKER_POOL: &str = "GoogleCloudRunV2WorkerPool";
/// The schema of a revision.
pub const REVISION: &str = "GoogleCloudRunV2Revision";
/// The schema of a job.
pub const JOB: &str = "GoogleCloudRunV2Job";
/// The schema of an execution.
pub const EXECUTION: &str = "GoogleCloudRunV2Execution";

static DESCRIPTION: LazyLock<Value> = LazyLock::new(|| {
    let text = include_str!("../../../tests/data/cloud-run-v2-discovery.json");
    #[expect(clippy::expect_used, reason = "the text is part of the binary and tested")]
    let mut description: Value = serde_json::from_str(text).expect("the description is JSON");
    // The description was published with prose, which was removed from our copy by its key; the
    // own field of that name of services and worker pools went with it.
    for schema in [SERVICE, WORKER_POOL] {
        description["schemas"][schema]["properties"]["description"] = json!({ "type": "string" });
    }
    description
});

/// Fields whose default value means something else than their absence (`optional` or `oneof` in
/// the protobuf definition), so that it is kept.
const PRESENCE: [&str; 4] =
    ["value", "manualInstanceCount", "gpuZonalRedundancyDisabled", "maxRetries"];

/// Enum values whose number is not their place in the description's list.
const NUMBERS: [(&str, u64); 21] = [
    ("EARLY_ACCESS", 1),
    ("ALPHA", 2),
    ("BETA", 3),
    ("GA", 4),
    ("DEPRECATED", 5),
    ("UNIMPLEMENTED", 6),
    ("PRELAUNCH", 7),
    ("REVISION_FAILED", 3),
    ("PROGRESS_DEADLINE_EXCEEDED", 4),
    ("CONTAINER_MISSING", 6),
    ("CONTAINER_PERMISSION_DENIED", 7),
    ("CONTAINER_IMAGE_UNAUTHORIZED", 8),
    ("CONTAINER_IMAGE_AUTHORIZATION_CHECK_FAILED", 9),
    ("ENCRYPTION_KEY_PERMISSION_DENIED", 10),
    ("ENCRYPTION_KEY_CHECK_FAILED", 11),
    ("SECRETS_ACCESS_CHECK_FAILED", 12),
    ("WAITING_FOR_OPERATION", 13),
    ("IMMEDIATE_RETRY", 14),
    ("POSTPONED_RETRY", 15),
    ("INTERNAL", 16),
    ("VPC_NETWORK_NOT_FOUND", 17),
];

/// The properties of a schema by name; none for an unknown one.
pub fn properties(schema: &str) -> Option<&'static Map<String, Value>> {
    DESCRIPTION["schemas"][schema]["properties"].as_object()
}

/// Whether the description names this query parameter for a method such as
/// `services.patch` or `services.revisions.list`.
pub fn has_parameter(method: &str, parameter: &str) -> bool {
    let mut resource = &*DESCRIPTION;
    let mut names = method.split('.').peekable();
    while let Some(name) = names.next() {
        let kind = if names.peek().is_some() { "resources" } else { "methods" };
        resource = &resource[kind][name];
    }
    resource["parameters"][parameter]["location"] == "query"
}

/// The normal form of what a caller sent for `schema`; fields that only the service writes are
/// checked and dropped.
///
/// # Errors
/// `INVALID_ARGUMENT` for an unknown field or a value of the wrong type, with its path.
pub fn normalise(schema: &str, value: &Value, path: &str) -> Result<Map<String, Value>, Refusal> {
    let Some(object) = value.as_object() else {
        return Err(Refusal::field(path, "an object is expected here."));
    };
    let mut normal = Map::new();
    for (name, value) in object {
        let name = camel_case(name);
        let Some(property) = properties(schema).and_then(|properties| properties.get(&name)) else {
            let message = format!(
                "Invalid JSON payload received. Unknown name \"{name}\" at '{path}': Cannot find field."
            );
            return Err(Refusal::new(Code::InvalidArgument, message));
        };
        if value.is_null() {
            continue;
        }
        let value = normal_value(property, value, &format!("{path}.{name}"))?;
        let is_map = property["additionalProperties"].is_object();
        let empty_map = is_map && value.as_object().is_some_and(Map::is_empty);
        let kept = !empty_map && !is_default(&value) || PRESENCE.contains(&name.as_str());
        if kept && property["readOnly"] != true && normal.insert(name.clone(), value).is_some() {
            return Err(Refusal::field(format!("{path}.{name}"), "the field is given twice."));
        }
    }
    Ok(normal)
}

fn normal_value(property: &Value, value: &Value, path: &str) -> Result<Value, Refusal> {
    if let Some(schema) = property["$ref"].as_str() {
        return normalise(schema, value, path).map(Value::Object);
    }
    let wrong = |expected: &str| Refusal::field(path, format!("{expected} is expected here."));
    match property["type"].as_str().unwrap_or("any") {
        "array" => {
            let items = value.as_array().ok_or_else(|| wrong("an array"))?;
            let items = items.iter().enumerate().map(|(index, item)| {
                normal_value(&property["items"], item, &format!("{path}[{index}]"))
            });
            items.collect::<Result<_, _>>().map(Value::Array)
        }
        "object" => {
            let entries = value.as_object().ok_or_else(|| wrong("an object"))?;
            let entries = entries.iter().map(|(key, entry)| {
                let entry_path = format!("{path}[{key}]");
                normal_value(&property["additionalProperties"], entry, &entry_path)
                    .map(|entry| (key.clone(), entry))
            });
            entries.collect::<Result<_, _>>().map(Value::Object)
        }
        "boolean" if value.is_boolean() => Ok(value.clone()),
        "boolean" => Err(wrong("true or false")),
        "integer" => integer(value)
            .and_then(|number| i32::try_from(number).ok())
            .map(Value::from)
            .ok_or_else(|| wrong("a 32-bit whole number")),
        "number" if value.is_number() => Ok(value.clone()),
        "number" => Err(wrong("a number")),
        "string" => normal_text(property, value).ok_or_else(|| match property["format"].as_str() {
            Some("google-duration") => wrong("a duration in seconds such as \"3.5s\""),
            Some("google-datetime") => wrong("an RFC 3339 time"),
            Some("int64") => wrong("a 64-bit whole number"),
            _ if property["enum"].is_array() => wrong("one of the values of the enum"),
            _ => wrong("a string"),
        }),
        _ => Ok(value.clone()),
    }
}

fn normal_text(property: &Value, value: &Value) -> Option<Value> {
    if let Some(names) = property["enum"].as_array() {
        let known = |name: &&Value| match value.as_u64() {
            Some(number) => enum_number(names, name) == Some(number),
            None => *name == value,
        };
        let name = names.iter().find(known)?;
        // The value 0 is the unset one, which is left out; the empty string says so.
        return Some(if enum_number(names, name) == Some(0) { json!("") } else { name.clone() });
    }
    match property["format"].as_str() {
        Some("int64") => integer(value).map(|number| Value::String(number.to_string())),
        Some("google-duration") => duration(value.as_str()?).map(Value::String),
        Some("google-datetime") => {
            value.as_str()?.parse().ok().map(|time| Value::String(rfc3339(time)))
        }
        _ => value.is_string().then(|| value.clone()),
    }
}

/// The same value with every enum by number, which is what `enum-encoding=int` asks for.
pub fn with_integer_enums(schema: &str, value: &Value) -> Value {
    let Some(object) = value.as_object() else { return value.clone() };
    let fields = object.iter().map(|(name, value)| {
        let property = properties(schema).and_then(|properties| properties.get(name));
        (
            name.clone(),
            property.map_or_else(|| value.clone(), |property| by_number(property, value)),
        )
    });
    Value::Object(fields.collect())
}

fn by_number(property: &Value, value: &Value) -> Value {
    if let Some(schema) = property["$ref"].as_str() {
        return with_integer_enums(schema, value);
    }
    if let (Some(items), true) = (value.as_array(), property["items"].is_object()) {
        return items.iter().map(|item| by_number(&property["items"], item)).collect();
    }
    let number = property["enum"].as_array().and_then(|names| enum_number(names, value));
    number.map_or_else(|| value.clone(), Value::from)
}

fn enum_number(names: &[Value], name: &Value) -> Option<u64> {
    let exception = NUMBERS.iter().find(|(exception, _)| name == exception);
    let place = || names.iter().position(|candidate| candidate == name);
    match exception {
        Some((_, number)) => Some(*number),
        None => u64::try_from(place()?).ok(),
    }
}

/// Protobuf's JSON takes a whole number also as a string and as a float without a fraction.
fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::String(text) => text.parse().ok(),
        Value::Number(number) => number.as_i64().or_else(|| whole(number)),
        _ => None,
    }
}

fn whole(number: &Number) -> Option<i64> {
    let text = format!("{:.0}", number.as_f64()?);
    (number.as_f64()?.fract() == 0.0).then(|| text.parse().ok()).flatten()
}

fn is_default(value: &Value) -> bool {
    match value {
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty() || text == "0",
        Value::Array(items) => items.is_empty(),
        // An empty message is set, such as `emptyDir: {}`.
        Value::Object(_) | Value::Null => false,
    }
}

/// `3.5s` as protobuf writes it: no fraction, or one of 3, 6 or 9 digits.
fn duration(text: &str) -> Option<String> {
    let number = text.strip_suffix('s')?;
    let (sign, number) = number.strip_prefix('-').map_or(("", number), |rest| ("-", rest));
    let (seconds, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(seconds) || !digits(fraction) || fraction.len() > 9 {
        return None;
    }
    let seconds: u64 = seconds.parse().ok()?;
    Some(format!("{sign}{seconds}{}s", grouped_fraction(fraction)))
}

/// A time as protobuf writes it: UTC, `Z`, no fraction or one of 3, 6 or 9 digits.
pub fn rfc3339(time: Timestamp) -> String {
    let fraction = format!("{:09}", time.subsec_nanosecond().unsigned_abs());
    format!("{}{}Z", time.strftime("%Y-%m-%dT%H:%M:%S"), grouped_fraction(&fraction))
}

fn grouped_fraction(digits: &str) -> String {
    let digits = digits.trim_end_matches('0');
    match digits.len().div_ceil(3) * 3 {
        0 => String::new(),
        width => format!(".{digits:0<width$}"),
    }
}

/// Protobuf's JSON also takes a field by its name in the definition, `latest_ready_revision`.
pub fn camel_case(name: &str) -> String {
    let mut camel = String::with_capacity(name.len());
    let mut raise = false;
    for letter in name.chars() {
        if letter == '_' {
            raise = true;
        } else {
            camel.extend(raise.then(|| letter.to_ascii_uppercase()).or(Some(letter)));
            raise = false;
        }
    }
    camel
}
