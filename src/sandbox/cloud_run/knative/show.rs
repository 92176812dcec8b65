//! Services and revisions in the older form.

use serde_json::{Map, Value, json};

use super::super::family::Family;
use super::super::state::{Health, Revision, Service};
use super::super::{render, template, traffic};

/// The version of the resources.
pub const API_VERSION: &str = "serving.knative.dev/v1";
/// The label that says whose revision it is.
pub const SERVICE_LABEL: &str = "serving.knative.dev/service";
/// The most and the fewest instances of a revision.
pub const MAX_SCALE: &str = "autoscaling.knative.dev/maxScale";
pub const MIN_SCALE: &str = "autoscaling.knative.dev/minScale";
/// Whether the processor rests between requests.
pub const THROTTLING: &str = "run.googleapis.com/cpu-throttling";
/// Who may call the service from where.
pub const INGRESS: &str = "run.googleapis.com/ingress";
const INGRESS_STATUS: &str = "run.googleapis.com/ingress-status";
/// The names of `INGRESS` in the older form and in the newer.
pub const INGRESSES: [(&str, &str); 3] = [
    ("all", "INGRESS_TRAFFIC_ALL"),
    ("internal", "INGRESS_TRAFFIC_INTERNAL_ONLY"),
    ("internal-and-cloud-load-balancing", "INGRESS_TRAFFIC_INTERNAL_LOAD_BALANCER"),
];
const LOCATION_LABEL: &str = "cloud.googleapis.com/location";

/// A service.
pub fn service(service: &Service) -> Value {
    let newer = render::service(service);
    let name = &service.name;
    let mut annotations = object(&newer["annotations"]);
    let ingress = INGRESSES.iter().find(|(_, ingress)| newer["ingress"] == *ingress);
    for key in [INGRESS, INGRESS_STATUS] {
        annotations.insert(key.to_owned(), json!(ingress.map(|(older, _)| older)));
    }
    for (key, field) in [("creator", "creator"), ("lastModifier", "lastModifier")] {
        annotations.insert(format!("serving.knative.dev/{key}"), newer[field].clone());
    }
    let number = template::project_number(&name.project).to_string();
    json!({
        "apiVersion": API_VERSION,
        "kind": "Service",
        "metadata": {
            "name": name.id,
            "namespace": number,
            "selfLink": format!("/apis/{API_VERSION}/namespaces/{number}/services/{}", name.id),
            "uid": newer["uid"],
            "resourceVersion": newer["etag"].as_str().map(|etag| etag.trim_matches('"')),
            "generation": service.generation,
            "creationTimestamp": newer["createTime"],
            "labels": with_location(&newer["labels"], &name.location),
            "annotations": annotations,
        },
        "spec": {
            "template": revision_template(&service.spec["template"]),
            "traffic": targets(&mut service.spec.clone()),
        },
        "status": status(service, &newer),
    })
}

fn status(service: &Service, newer: &Value) -> Value {
    let terminal = condition(&newer["terminalCondition"]);
    let others = newer["conditions"].as_array().into_iter().flatten().map(condition);
    let uri = render::uri(&service.name);
    json!({
        "observedGeneration": service.observed_generation,
        "conditions": std::iter::once(terminal).chain(others).collect::<Vec<_>>(),
        "latestCreatedRevisionName": service.latest_created,
        "latestReadyRevisionName": service.latest_ready,
        "traffic": serving(service),
        "url": uri,
        "address": { "url": uri },
    })
}

/// What serves, in which the newest ready revision is named.
fn serving(service: &Service) -> Vec<Value> {
    let shown = service.traffic_statuses.iter().map(|status| {
        let mut target = target(status);
        if target["latestRevision"] == true {
            target["revisionName"] = json!(service.latest_ready);
        }
        if let Some(uri) = status.get("uri") {
            target["url"] = uri.clone();
        }
        target
    });
    shown.collect()
}

fn targets(spec: &mut Map<String, Value>) -> Vec<Value> {
    traffic::targets(Family::Service, spec).iter().map(target).collect()
}

fn target(newer: &Value) -> Value {
    let mut older = Map::new();
    older.insert("percent".to_owned(), json!(newer["percent"].as_i64().unwrap_or(0)));
    if newer["type"] == Family::Service.latest() {
        older.insert("latestRevision".to_owned(), json!(true));
    }
    for (field, value) in [("revisionName", &newer["revision"]), ("tag", &newer["tag"])] {
        if value.is_string() {
            older.insert(field.to_owned(), value.clone());
        }
    }
    Value::Object(older)
}

/// A revision of the service.
pub fn revision(service: &Service, revision: &Revision) -> Value {
    let newer = render::revision(service, revision);
    let frozen = revision_template(&Value::Object(revision.spec.clone()));
    let mut labels = object(&frozen["metadata"]["labels"]);
    labels.insert(SERVICE_LABEL.to_owned(), json!(service.name.id));
    labels.insert("serving.knative.dev/configuration".to_owned(), json!(service.name.id));
    let mut annotations = object(&frozen["metadata"]["annotations"]);
    annotations.insert("serving.knative.dev/creator".to_owned(), json!(revision.creator));
    json!({
        "apiVersion": API_VERSION,
        "kind": "Revision",
        "metadata": {
            "name": revision.id,
            "namespace": template::project_number(&service.name.project).to_string(),
            "uid": revision.uid,
            "resourceVersion": newer["etag"].as_str().map(|etag| etag.trim_matches('"')),
            "generation": revision.generation,
            "creationTimestamp": newer["createTime"],
            "labels": with_location(&Value::Object(labels), &service.name.location),
            "annotations": annotations,
        },
        "spec": frozen["spec"],
        "status": {
            "observedGeneration": revision.generation,
            "conditions": [condition(&newer["conditions"][0]), active(service, revision)],
            "imageDigest": newer["containerStatuses"][0]["imageDigest"],
            "logUrl": newer["logUri"],
        },
    })
}

/// A revision is active as long as requests can reach it.
fn active(service: &Service, revision: &Revision) -> Value {
    let is_latest = service.latest_ready.as_ref() == Some(&revision.id);
    let reaches = |status: &Value| {
        status["revision"] == *revision.id
            || (status["type"] == Family::Service.latest() && is_latest)
    };
    let is_active =
        revision.health == Health::Ready && service.traffic_statuses.iter().any(reaches);
    let mut condition =
        json!({ "type": "Active", "status": if is_active { "True" } else { "False" } });
    if !is_active {
        condition["reason"] = json!("Retired");
        condition["message"] = json!("Revision retired.");
    }
    condition
}

fn condition(newer: &Value) -> Value {
    let status = match newer["state"].as_str() {
        Some("CONDITION_SUCCEEDED") => "True",
        Some("CONDITION_FAILED") => "False",
        _ => "Unknown",
    };
    let mut older = Map::new();
    older.insert("status".to_owned(), json!(status));
    for (field, value) in [
        ("type", &newer["type"]),
        ("message", &newer["message"]),
        ("reason", &newer["reason"]),
        ("lastTransitionTime", &newer["lastTransitionTime"]),
    ] {
        if !value.is_null() {
            older.insert(field.to_owned(), value.clone());
        }
    }
    Value::Object(older)
}

/// A revision template in the older form, where scaling is written into annotations.
pub fn revision_template(newer: &Value) -> Value {
    let mut annotations = object(&newer["annotations"]);
    let scaling = &newer["scaling"];
    for (key, field) in [(MAX_SCALE, "maxInstanceCount"), (MIN_SCALE, "minInstanceCount")] {
        if let Some(count) = scaling[field].as_i64() {
            annotations.insert(key.to_owned(), json!(count.to_string()));
        }
    }
    let containers = newer["containers"].as_array();
    let rests =
        containers.and_then(|all| all.first()).map(|one| one["resources"]["cpuIdle"] == true);
    if let Some(rests) = rests {
        annotations.insert(THROTTLING.to_owned(), json!(rests.to_string()));
    }
    let mut metadata = json!({ "annotations": annotations });
    for (field, value) in [("name", &newer["revision"]), ("labels", &newer["labels"])] {
        if !value.is_null() {
            metadata[field] = value.clone();
        }
    }
    let seconds =
        newer["timeout"].as_str().and_then(|text| text.trim_end_matches('s').parse::<i64>().ok());
    json!({
        "metadata": metadata,
        "spec": {
            "containerConcurrency": newer["maxInstanceRequestConcurrency"],
            "timeoutSeconds": seconds,
            "serviceAccountName": newer["serviceAccount"],
            "containers": containers.into_iter().flatten().map(container).collect::<Vec<_>>(),
        },
    })
}

/// The fields of a container that both forms write alike.
pub const ALIKE: [&str; 9] = [
    "name",
    "image",
    "command",
    "args",
    "workingDir",
    "ports",
    "startupProbe",
    "livenessProbe",
    "readinessProbe",
];

fn container(newer: &Value) -> Value {
    let mut older = Map::new();
    for field in ALIKE {
        if let Some(value) = newer.get(field) {
            older.insert(field.to_owned(), value.clone());
        }
    }
    if let Some(variables) = newer["env"].as_array() {
        older.insert("env".to_owned(), variables.iter().map(variable).collect());
    }
    older.insert("resources".to_owned(), json!({ "limits": newer["resources"]["limits"] }));
    Value::Object(older)
}

fn variable(newer: &Value) -> Value {
    let reference = &newer["valueSource"]["secretKeyRef"];
    if reference.is_null() {
        return json!({ "name": newer["name"], "value": newer["value"] });
    }
    let reference = json!({ "name": reference["secret"], "key": reference["version"] });
    json!({ "name": newer["name"], "valueFrom": { "secretKeyRef": reference } })
}

fn with_location(labels: &Value, location: &str) -> Map<String, Value> {
    let mut labels = object(labels);
    labels.insert(LOCATION_LABEL.to_owned(), json!(location));
    labels
}

fn object(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}
