//! Services, worker pools and revisions as the API answers them, in normal form.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::change::etag;
use super::family::Family;
use super::schema::rfc3339;
use super::state::{Health, Revision, Service, ServiceName};
use super::{operation, reconcile, template};

/// The address of a service.
pub fn uri(name: &ServiceName) -> String {
    let hash: String = operation::unique(&name.project).chars().take(8).collect();
    let region: String = name.location.chars().filter(char::is_ascii_alphabetic).take(2).collect();
    format!("https://{}-{hash}-{region}.a.run.app", name.id)
}

/// The service or the worker pool.
pub fn service(service: &Service) -> Value {
    let name = &service.name;
    let mut fields = service.spec.clone();
    let statuses = json!({
        "name": name.to_string(),
        "uid": service.uid,
        "etag": etag(&service.uid, service.version),
        "generation": service.generation.to_string(),
        "createTime": rfc3339(service.created),
        "updateTime": rfc3339(service.updated),
        "creator": service.creator,
        "lastModifier": service.last_modifier,
        "conditions": service_conditions(service),
        "terminalCondition": terminal_condition(service),
    });
    fields.extend(statuses.as_object().cloned().unwrap_or_default());
    if name.family == Family::Service {
        let number = template::project_number(&name.project);
        let numbered = format!("https://{}-{number}.{}.run.app", name.id, name.location);
        fields.insert("uri".to_owned(), json!(uri(name)));
        fields.insert("urls".to_owned(), json!([numbered, uri(name)]));
    }
    if service.observed_generation > 0 {
        let generation = service.observed_generation.to_string();
        fields.insert("observedGeneration".to_owned(), json!(generation));
    }
    if service.pending.is_some() {
        fields.insert("reconciling".to_owned(), json!(true));
    }
    for (field, id) in [
        ("latestCreatedRevision", &service.latest_created),
        ("latestReadyRevision", &service.latest_ready),
    ] {
        if let Some(id) = id {
            fields.insert(field.to_owned(), json!(name.revision(id)));
        }
    }
    if !service.traffic_statuses.is_empty() {
        let statuses = json!(service.traffic_statuses);
        fields.insert(name.family.share_statuses().to_owned(), statuses);
    }
    Value::Object(fields)
}

/// A revision of the service.
pub fn revision(service: &Service, revision: &Revision) -> Value {
    let name = &service.name;
    let mut fields = revision.spec.clone();
    // What a template has and a revision has not.
    fields.remove("healthCheckDisabled");
    let containers = fields.get("containers").and_then(Value::as_array).cloned();
    let statuses: Vec<Value> = containers.iter().flatten().map(container_status).collect();
    let statuses = json!({
        "name": name.revision(&revision.id),
        "uid": revision.uid,
        "etag": etag(&revision.uid, revision.version),
        "generation": revision.generation.to_string(),
        "createTime": rfc3339(revision.created),
        "updateTime": rfc3339(revision.updated),
        "creator": revision.creator,
        "service": name.id,
        "launchStage": service.spec.get("launchStage"),
        "conditions": [condition("Ready", &revision.health, revision.updated)],
        "containerStatuses": statuses,
        "logUri": format!("https://console.cloud.google.com/logs/viewer?project={}", name.project),
    });
    fields.extend(statuses.as_object().cloned().unwrap_or_default());
    if revision.health == Health::Reconciling {
        fields.insert("reconciling".to_owned(), json!(true));
    } else {
        let generation = revision.generation.to_string();
        fields.insert("observedGeneration".to_owned(), json!(generation));
    }
    Value::Object(fields)
}

fn container_status(container: &Value) -> Value {
    let mut status = Map::new();
    for (field, value) in [("name", &container["name"]), ("imageDigest", &container["image"])] {
        // An image by tag has no digest here: the sandbox has no registry to ask.
        let known = field == "name" || value.as_str().is_some_and(|image| image.contains('@'));
        if known && value.is_string() {
            status.insert(field.to_owned(), value.clone());
        }
    }
    Value::Object(status)
}

fn service_conditions(service: &Service) -> Vec<Value> {
    let now = |health: &Health| match service.pending {
        Some(_) => Health::Reconciling,
        None => health.clone(),
    };
    vec![
        condition("RoutesReady", &now(&service.routes), service.transition),
        condition("ConfigurationsReady", &now(&service.configuration), service.transition),
    ]
}

fn terminal_condition(service: &Service) -> Value {
    let health = match (&service.pending, reconcile::failure(service)) {
        (Some(_), _) => Health::Reconciling,
        (None, Some(message)) => Health::Failed(message.to_owned()),
        (None, None) => Health::Ready,
    };
    condition("Ready", &health, service.transition)
}

fn condition(kind: &str, health: &Health, since: Timestamp) -> Value {
    let state = match health {
        Health::Reconciling => "CONDITION_RECONCILING",
        Health::Ready => "CONDITION_SUCCEEDED",
        Health::Failed(_) => "CONDITION_FAILED",
    };
    let mut condition =
        json!({ "type": kind, "state": state, "lastTransitionTime": rfc3339(since) });
    if let Health::Failed(message) = health {
        condition["message"] = json!(message);
        let reason = if kind == "RoutesReady" { "UNKNOWN" } else { "REVISION_FAILED" };
        condition["reason"] = json!(reason);
    }
    condition
}
