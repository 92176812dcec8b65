//! What the spec of a service or a worker pool may hold, and what Cloud Run fills in where the caller leaves out.

use serde_json::{Map, Value, json};

use super::family::Family;
use super::refusal::{Code, Refusal};
use super::state::ServiceName;

/// Namespaces of labels and annotations that Cloud Run's v2 API keeps for itself.
const RESERVED: [&str; 4] = [
    "run.googleapis.com",
    "cloud.googleapis.com",
    "serving.knative.dev",
    "autoscaling.knative.dev",
];

/// Checks a spec, the shares excepted, and fills in the defaults.
///
/// # Errors
/// `INVALID_ARGUMENT` with the path of the field that cannot be accepted.
pub fn complete(spec: &mut Map<String, Value>, name: &ServiceName) -> Result<(), Refusal> {
    let serves = name.family == Family::Service;
    let path = format!("{}.template", name.family.field());
    refuse_reserved(spec, name.family.field())?;
    fill(spec, "launchStage", json!("GA"));
    if serves {
        fill(spec, "ingress", json!("INGRESS_TRAFFIC_ALL"));
    } else {
        fill(spec, "scaling", json!({ "manualInstanceCount": 1 }));
    }
    let Some(template) = spec.get_mut("template").and_then(Value::as_object_mut) else {
        return Err(Refusal::field(path, "a template is needed."));
    };
    refuse_reserved(template, &path)?;
    check_revision_name(template, &name.id, &path)?;
    complete_containers(template, &format!("{path}.containers"), serves)?;
    fill(template, "serviceAccount", json!(default_account(&name.project)));
    if !serves {
        return Ok(());
    }
    fill(template, "timeout", json!("300s"));
    fill(template, "maxInstanceRequestConcurrency", json!(80));
    let scaling = template.entry("scaling").or_insert(json!({}));
    if let Some(scaling) = scaling.as_object_mut() {
        fill(scaling, "maxInstanceCount", json!(100));
    }
    Ok(())
}

/// Checks the containers of a template and fills in their defaults. Of those that serve, a single one gets a port.
///
/// # Errors
/// As [`complete`].
pub fn complete_containers(
    template: &mut Map<String, Value>,
    path: &str,
    serve: bool,
) -> Result<(), Refusal> {
    let containers = template.get_mut("containers").and_then(Value::as_array_mut);
    let Some(containers) = containers.filter(|containers| !containers.is_empty()) else {
        return Err(Refusal::field(path, "a template needs at least one container."));
    };
    let alone = serve && containers.len() == 1;
    for (index, container) in containers.iter_mut().enumerate() {
        complete_container(container, &format!("{path}[{index}]"), alone)?;
    }
    Ok(())
}

/// The account of a project that runs what names none.
pub fn default_account(project: &str) -> String {
    format!("{}-compute@developer.gserviceaccount.com", project_number(project))
}

/// The number that stands for a project: constant for its name.
pub fn project_number(project: &str) -> u64 {
    let fold = |number: u64, byte: u8| (number * 131 + u64::from(byte)) % 900_000_000_000;
    100_000_000_000 + project.bytes().fold(7, fold)
}

fn complete_container(container: &mut Value, path: &str, alone: bool) -> Result<(), Refusal> {
    let Some(container) = container.as_object_mut() else { return Ok(()) };
    if !container.contains_key("image") && !container.contains_key("sourceCode") {
        return Err(Refusal::field(format!("{path}.image"), "a container needs an image."));
    }
    check_environment(container, path)?;
    let mut first_port = None;
    if alone {
        let ports = container.entry("ports").or_insert(json!([{ "containerPort": 8080 }]));
        if let Some(port) = ports.get_mut(0).and_then(Value::as_object_mut) {
            fill(port, "name", json!("http1"));
            fill(port, "containerPort", json!(8080));
        }
    }
    if let Some(ports) = container.get("ports") {
        first_port = Some(ports[0]["containerPort"].clone());
    }
    // Without resources the CPU is throttled between requests; a caller that sets resources must
    // ask for that itself.
    let given = container.contains_key("resources");
    let resources = container.entry("resources").or_insert(json!({}));
    if let Some(resources) = resources.as_object_mut() {
        if !given {
            resources.insert("cpuIdle".to_owned(), json!(true));
        }
        let limits = resources.entry("limits").or_insert(json!({}));
        if let Some(limits) = limits.as_object_mut() {
            fill(limits, "cpu", json!("1000m"));
            fill(limits, "memory", json!("512Mi"));
        }
    }
    if let Some(port) = first_port {
        let probe = json!({ "timeoutSeconds": 240, "periodSeconds": 240, "failureThreshold": 1,
            "tcpSocket": { "port": port } });
        fill(container, "startupProbe", probe);
    }
    Ok(())
}

fn check_environment(container: &Map<String, Value>, path: &str) -> Result<(), Refusal> {
    let mut names = std::collections::BTreeSet::new();
    let variables = container.get("env").and_then(Value::as_array).into_iter().flatten();
    for (index, variable) in variables.enumerate() {
        let path = format!("{path}.env[{index}].name");
        match variable["name"].as_str() {
            None => return Err(Refusal::field(path, "an environment variable needs a name.")),
            Some(name) if !names.insert(name) => {
                return Err(Refusal::field(path, format!("{name} is set twice.")));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// Refuses labels and annotations that Cloud Run keeps for itself.
///
/// # Errors
/// As [`complete`].
pub fn refuse_reserved(holder: &Map<String, Value>, path: &str) -> Result<(), Refusal> {
    for kind in ["labels", "annotations"] {
        let entries = holder.get(kind).and_then(Value::as_object).into_iter().flatten();
        for (key, _) in entries {
            let namespace = key.split_once('/').map_or("", |(namespace, _)| namespace);
            let inside = |reserved: &str| {
                let rest = namespace.strip_suffix(reserved);
                rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            };
            if let Some(reserved) = RESERVED.into_iter().find(|reserved| inside(reserved)) {
                let problem = format!("'{key}' is in the namespace {reserved}, which is reserved.");
                return Err(Refusal::field(format!("{path}.{kind}"), problem));
            }
        }
    }
    Ok(())
}

/// A revision's name is the service's name, a dash and more, at most 63 characters, as in a DNS
/// label.
fn check_revision_name(
    template: &Map<String, Value>,
    service: &str,
    path: &str,
) -> Result<(), Refusal> {
    let Some(name) = template.get("revision").and_then(Value::as_str) else { return Ok(()) };
    let suffix = name.strip_prefix(service).and_then(|rest| rest.strip_prefix('-'));
    if suffix.is_none_or(|suffix| suffix.is_empty() || !is_label(name)) {
        let problem = format!(
            "'{name}' must be '{service}-' and a suffix: at most 63 lower-case letters, digits and dashes."
        );
        return Err(Refusal::field(format!("{path}.revision"), problem));
    }
    Ok(())
}

/// Whether a name is a DNS label (RFC 1035): lower case, starts with a letter, at most 63 long.
pub fn is_label(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    name.len() <= 63
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && !name.ends_with('-')
        && name.bytes().all(allowed)
}

/// Whether a new service or worker pool may have this name.
///
/// # Errors
/// `INVALID_ARGUMENT` for one that is no DNS label of at most 49 characters.
pub fn check_id(name: &ServiceName) -> Result<(), Refusal> {
    let (id, field) = (&name.id, name.family.field());
    if is_label(id) && id.len() <= 49 {
        return Ok(());
    }
    let message = format!(
        "Invalid {field}_id '{id}': it must be at most 49 lower-case letters, digits and dashes, and start with a letter."
    );
    Err(Refusal::new(Code::InvalidArgument, message))
}

fn fill(holder: &mut Map<String, Value>, field: &str, value: Value) {
    holder.entry(field).or_insert(value);
}
