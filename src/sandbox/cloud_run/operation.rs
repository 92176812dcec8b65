//! Long-running operations (google.longrunning.Operation).

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::refusal::Code;
use super::schema;
use super::state::{Kind, Operation, Outcome, Resource, State};

/// The operations kept; the oldest finished ones are forgotten, because the state is written whole
/// after every change.
const KEPT: usize = 200;

/// Begins an operation on a service or a job of this location and answers with its resource name.
pub fn begin(state: &mut State, parent: &str, resource: &str, now: Timestamp) -> String {
    let serial = state.next();
    let name = format!("{parent}/operations/{}", unique(&format!("{resource}@{serial}")));
    let resource = Resource { kind: Kind::Service, value: Value::Null };
    let operation = Operation { created: now, resource, outcome: Outcome::Running };
    state.operations.insert(name.clone(), operation);
    forget_oldest(state);
    name
}

/// Keeps what the operation is about, which its metadata and its response show.
pub fn keep_resource(state: &mut State, name: &str, kind: Kind, value: Value) {
    if let Some(operation) = state.operations.get_mut(name) {
        operation.resource = Resource { kind, value };
    }
}

/// Ends an operation, with the resource as it is then.
pub fn end(state: &mut State, name: &str, value: &Value, failure: Option<&str>) {
    if let Some(operation) = state.operations.get_mut(name) {
        operation.resource.value = value.clone();
        operation.outcome =
            failure.map_or(Outcome::Succeeded, |message| Outcome::Failed(message.to_owned()));
    }
}

/// The operation as the API answers it.
pub fn render(name: &str, operation: &Operation, integer_enums: bool) -> Value {
    let resource = typed(&operation.resource, integer_enums);
    let mut rendered = json!({ "name": name, "metadata": resource });
    match &operation.outcome {
        Outcome::Running => {}
        Outcome::Succeeded => {
            rendered["done"] = json!(true);
            rendered["response"] = resource;
        }
        Outcome::Failed(message) => {
            let (_, number, _) = Code::FailedPrecondition.parts();
            rendered["done"] = json!(true);
            rendered["error"] = json!({ "code": number, "message": message, "details": [] });
        }
    }
    rendered
}

/// The answer to a call that only asked for validation: what would be, done, and without a name.
pub fn render_validated(operation: &Operation, integer_enums: bool) -> Value {
    let resource = typed(&operation.resource, integer_enums);
    json!({ "metadata": resource, "done": true, "response": resource })
}

/// Whether the operation is still running.
pub fn is_running(operation: &Operation) -> bool {
    matches!(operation.outcome, Outcome::Running)
}

/// The resource as a google.protobuf.Any.
fn typed(resource: &Resource, integer_enums: bool) -> Value {
    let (schema, name) = match resource.kind {
        Kind::Service => (schema::SERVICE, "Service"),
        Kind::WorkerPool => (schema::WORKER_POOL, "WorkerPool"),
        Kind::Revision => (schema::REVISION, "Revision"),
        Kind::Job => (schema::JOB, "Job"),
    };
    let value = if integer_enums {
        schema::with_integer_enums(schema, &resource.value)
    } else {
        resource.value.clone()
    };
    let mut any = Map::new();
    any.insert(
        "@type".to_owned(),
        json!(format!("type.googleapis.com/google.cloud.run.v2.{name}")),
    );
    any.extend(value.as_object().cloned().unwrap_or_default());
    Value::Object(any)
}

/// Text in the form of a UUID that depends on `seed` alone.
pub fn unique(seed: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, seed.as_bytes());
    let digits = data_encoding::HEXLOWER.encode(digest.as_ref());
    let part = |from: usize, to: usize| &digits[from..to];
    format!("{}-{}-4{}-8{}-{}", part(0, 8), part(8, 12), part(12, 15), part(15, 18), part(18, 30))
}

fn forget_oldest(state: &mut State) {
    if state.operations.len() <= KEPT {
        return;
    }
    let finished = state.operations.iter().filter(|(_, operation)| !is_running(operation));
    let oldest = finished.min_by_key(|(_, operation)| operation.created);
    if let Some(name) = oldest.map(|(name, _)| name.clone()) {
        state.operations.remove(&name);
    }
}
