//! A service in the older form, read as a change of the service that is there.

use serde_json::{Map, Value, json};

use super::super::family::Family;
use super::super::refusal::Refusal;
use super::super::state::Service;
use super::show::{ALIKE, INGRESS, INGRESSES, MAX_SCALE, MIN_SCALE, THROTTLING};

/// Namespaces that have fields in the newer form and no annotations or labels.
const TRANSLATED: [&str; 5] = [
    "run.googleapis.com/",
    "cloud.googleapis.com/",
    "serving.knative.dev/",
    "autoscaling.knative.dev/",
    "client.knative.dev/",
];

/// The whole service in the newer form: what the older form shows as `body` has it, everything else as it is.
///
/// # Errors
/// `INVALID_ARGUMENT` for a body that is no service, or one of another name.
pub fn service(current: &Service, body: &Value) -> Result<Value, Refusal> {
    let metadata = &body["metadata"];
    if body["kind"] != "Service" || metadata["name"] != *current.name.id {
        return Err(Refusal::field("metadata.name", "must be the service in the address."));
    }
    let mut newer = current.spec.clone();
    put(&mut newer, "annotations", own(&metadata["annotations"]));
    put(&mut newer, "labels", own(&metadata["labels"]));
    let ingress = metadata["annotations"][INGRESS].as_str();
    if let Some((_, ingress)) = INGRESSES.iter().find(|(older, _)| ingress == Some(*older)) {
        newer.insert("ingress".to_owned(), json!(ingress));
    }
    let template = template(&current.spec["template"], &body["spec"]["template"])?;
    newer.insert("template".to_owned(), template);
    let targets = body["spec"]["traffic"].as_array().into_iter().flatten().map(target);
    put(&mut newer, "traffic", Value::Array(targets.collect()));
    if let Some(version) = metadata["resourceVersion"].as_str() {
        newer.insert("etag".to_owned(), json!(format!("\"{version}\"")));
    }
    Ok(Value::Object(newer))
}

fn template(current: &Value, older: &Value) -> Result<Value, Refusal> {
    let mut newer = current.as_object().cloned().unwrap_or_default();
    let (metadata, spec) = (&older["metadata"], &older["spec"]);
    put(&mut newer, "annotations", own(&metadata["annotations"]));
    put(&mut newer, "labels", own(&metadata["labels"]));
    put(&mut newer, "revision", metadata["name"].clone());
    put(&mut newer, "maxInstanceRequestConcurrency", spec["containerConcurrency"].clone());
    put(&mut newer, "serviceAccount", spec["serviceAccountName"].clone());
    let timeout = spec["timeoutSeconds"].as_i64().map(|seconds| json!(format!("{seconds}s")));
    put(&mut newer, "timeout", timeout.unwrap_or_default());
    let mut scaling = current["scaling"].as_object().cloned().unwrap_or_default();
    for (key, field) in [(MAX_SCALE, "maxInstanceCount"), (MIN_SCALE, "minInstanceCount")] {
        put(&mut scaling, field, count(&metadata["annotations"][key], key)?);
    }
    put(&mut newer, "scaling", Value::Object(scaling));
    let rests = metadata["annotations"][THROTTLING].as_str().map(|text| text == "true");
    let containers = spec["containers"].as_array().into_iter().flatten().enumerate();
    let containers = containers.map(|(place, older)| {
        let current = &current["containers"][place];
        container(current, older, rests.filter(|_| place == 0))
    });
    put(&mut newer, "containers", Value::Array(containers.collect()));
    Ok(Value::Object(newer))
}

fn count(text: &Value, key: &str) -> Result<Value, Refusal> {
    let Some(text) = text.as_str() else { return Ok(Value::Null) };
    let count: u32 = text.parse().map_err(|_| {
        let path = format!("spec.template.metadata.annotations[{key}]");
        Refusal::field(path, format!("'{text}' is no number of instances."))
    })?;
    Ok(json!(count))
}

fn container(current: &Value, older: &Value, rests: Option<bool>) -> Value {
    let mut newer = current.as_object().cloned().unwrap_or_default();
    for field in ALIKE {
        put(&mut newer, field, older[field].clone());
    }
    let variables = older["env"].as_array().into_iter().flatten().map(variable);
    put(&mut newer, "env", Value::Array(variables.collect()));
    let mut resources = current["resources"].as_object().cloned().unwrap_or_default();
    put(&mut resources, "limits", older["resources"]["limits"].clone());
    if let Some(rests) = rests {
        put(&mut resources, "cpuIdle", if rests { json!(true) } else { Value::Null });
    }
    put(&mut newer, "resources", Value::Object(resources));
    Value::Object(newer)
}

fn variable(older: &Value) -> Value {
    let reference = &older["valueFrom"]["secretKeyRef"];
    if reference.is_null() {
        return json!({ "name": older["name"], "value": older["value"].as_str().unwrap_or_default() });
    }
    let reference = json!({ "secret": reference["name"], "version": reference["key"] });
    json!({ "name": older["name"], "valueSource": { "secretKeyRef": reference } })
}

fn target(older: &Value) -> Value {
    let is_latest = older["latestRevision"] == true;
    let mut newer = Map::new();
    newer.insert(
        "type".to_owned(),
        json!(if is_latest { Family::Service.latest() } else { Family::Service.revision() }),
    );
    let percent = older["percent"].as_i64().filter(|percent| *percent != 0);
    put(&mut newer, "percent", percent.map_or(Value::Null, Value::from));
    put(&mut newer, "tag", older["tag"].clone());
    if !is_latest {
        put(&mut newer, "revision", older["revisionName"].clone());
    }
    Value::Object(newer)
}

/// The labels or annotations that stay such in the newer form.
fn own(entries: &Value) -> Value {
    let entries = entries.as_object().into_iter().flatten();
    let own = entries.filter(|(key, _)| !TRANSLATED.iter().any(|prefix| key.starts_with(prefix)));
    own.map(|(key, value)| (key.clone(), value.clone())).collect::<Map<_, _>>().into()
}

/// Writes a field, or leaves it out where it is empty: the newer form has no empty fields.
fn put(holder: &mut Map<String, Value>, field: &str, value: Value) {
    let is_empty = match &value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::String(text) => text.is_empty(),
        _ => false,
    };
    if is_empty {
        holder.remove(field);
    } else {
        holder.insert(field.to_owned(), value);
    }
}
