//! What Cloud Run writes into a revision template by itself, and whether a template that runs is the
//! one that was signed.

use serde_json::{Map, Value};

/// The account of a service that names none: `NUMBER-compute@…`, the project's default.
const DEFAULT_ACCOUNT_SUFFIX: &str = "-compute@developer.gserviceaccount.com";

/// The first difference between the template that runs and the one that was signed, as the path of
/// a member; `None` if what runs is what was signed. Both in the normal form of
/// `integrations::cloud_run`.
///
/// The name of the revision is not compared: a running template is observed without it. What the
/// signed template leaves out and Cloud Run is known to fill in may be there, with the value that
/// Cloud Run gives it where that value decides what runs. Anything else that was not signed is a
/// difference, even where it looks harmless.
pub fn template_difference(observed: &Value, signed: &Value) -> Option<String> {
    let mut signed = signed.clone();
    if let Some(members) = signed.as_object_mut() {
        members.remove("revision");
    }
    difference(observed, &signed, "template")
}

/// Whether what runs is what was signed: [`template_difference`] finds none.
pub fn same_template(observed: &Value, signed: &Value) -> bool {
    template_difference(observed, signed).is_none()
}

/// The first difference between what an execution runs and the signed execution template. Labels and
/// annotations are not compared: Cloud Run adds its own to those of an execution. Where the signed template leaves the number of
/// tasks at once to Cloud Run, whatever it chose is the same.
pub fn execution_difference(observed: &Value, signed: &Value) -> Option<String> {
    let numbers = ["taskCount", "parallelism"].into_iter().find(|name| {
        let signed = signed.get(name);
        signed.is_some() && signed != observed.get(name)
    });
    let nothing = Value::Null;
    let task = |template: &Value| template.get("template").unwrap_or(&nothing).clone();
    numbers.map(str::to_owned).or_else(|| difference(&task(observed), &task(signed), "task"))
}

/// The first difference between the execution template that a job has and the signed one. Of an execution Cloud Run
/// chooses and adds some things; what a job has is its caller's, down to labels and annotations.
pub fn job_difference(observed: &Value, signed: &Value) -> Option<String> {
    let one = Value::from(1);
    let differs = |name: &&str| match (observed.get(*name), signed.get(*name)) {
        (Some(observed), None) => *name != "taskCount" || *observed != one,
        (observed, signed) => observed != signed,
    };
    let own = ["labels", "annotations", "taskCount", "parallelism"].into_iter().find(differs);
    own.map(str::to_owned).or_else(|| execution_difference(observed, signed))
}

fn difference(observed: &Value, signed: &Value, path: &str) -> Option<String> {
    match (observed, signed) {
        (Value::Object(observed), Value::Object(signed)) => members(observed, signed, path),
        (Value::Array(observed), Value::Array(signed)) if observed.len() == signed.len() => {
            let pairs = observed.iter().zip(signed).enumerate();
            pairs.into_iter().find_map(|(index, (observed, signed))| {
                difference(observed, signed, &format!("{path}[{index}]"))
            })
        }
        _ => (observed != signed && !is_same_cpu(observed, signed, path)).then(|| path.to_owned()),
    }
}

/// `1` and `1000m` are the same limit of the CPU; Cloud Run may answer with the other one.
fn is_same_cpu(observed: &Value, signed: &Value, path: &str) -> bool {
    path.ends_with(".resources.limits.cpu")
        && millicpu(observed).is_some_and(|observed| Some(observed) == millicpu(signed))
}

fn millicpu(limit: &Value) -> Option<u32> {
    let text = limit.as_str()?;
    match text.strip_suffix('m') {
        Some(thousandths) => thousandths.parse().ok(),
        None => text.parse::<u32>().ok()?.checked_mul(1000),
    }
}

fn members(
    observed: &Map<String, Value>,
    signed: &Map<String, Value>,
    path: &str,
) -> Option<String> {
    let missing = signed.keys().find(|name| !observed.contains_key(*name));
    if let Some(name) = missing {
        return Some(format!("{path}.{name}"));
    }
    observed.iter().find_map(|(name, value)| {
        let path = format!("{path}.{name}");
        match signed.get(name) {
            Some(signed) => difference(value, signed, &path),
            None => (!is_platform_default(&without_indices(&path), value)).then_some(path),
        }
    })
}

/// Whether Cloud Run gives a member this value when the caller leaves it out. From the API's
/// reference and from what its answers hold.
fn is_platform_default(path: &str, value: &Value) -> bool {
    let is_only = |names: &[&str]| {
        value.as_object().is_some_and(|members| {
            members.iter().all(|(name, member)| {
                names.contains(&name.as_str())
                    && is_platform_default(&format!("{path}.{name}"), member)
            })
        })
    };
    // A job's task has the containers of a revision.
    let path = &*path.replacen("task.containers", "template.containers", 1);
    match path {
        "task.timeout" => value == "600s",
        "task.maxRetries" => value == 3,
        "task.serviceAccount" => value.as_str().is_some_and(is_default_account),
        "task.executionEnvironment" => value == "EXECUTION_ENVIRONMENT_GEN2",
        "template.timeout" => value == "300s",
        "template.maxInstanceRequestConcurrency" => value == 80 || value == 1,
        "template.serviceAccount" => value.as_str().is_some_and(is_default_account),
        "template.executionEnvironment" => {
            value == "EXECUTION_ENVIRONMENT_GEN1" || value == "EXECUTION_ENVIRONMENT_GEN2"
        }
        "template.scaling" => is_only(&["maxInstanceCount"]),
        // The region's and the project's quota decide.
        "template.scaling.maxInstanceCount" => value.is_u64(),
        "template.containers.ports" => value
            .as_array()
            .is_some_and(|ports| ports.len() == 1 && ports.iter().all(is_default_port)),
        "template.containers.ports.name" => value == "http1",
        "template.containers.ports.containerPort" => value == 8080,
        "template.containers.resources" => is_only(&["limits", "cpuIdle", "startupCpuBoost"]),
        "template.containers.resources.limits" => is_only(&["cpu", "memory"]),
        "template.containers.resources.limits.cpu" => value == "1000m" || value == "1",
        "template.containers.resources.limits.memory" => value == "512Mi",
        "template.containers.resources.cpuIdle"
        | "template.containers.resources.startupCpuBoost" => value.is_boolean(),
        "template.containers.startupProbe" => {
            is_only(&["timeoutSeconds", "periodSeconds", "failureThreshold", "tcpSocket"])
        }
        "template.containers.startupProbe.tcpSocket" => is_only(&["port"]),
        _ => is_probe_timing(path) && value.is_u64(),
    }
}

/// Whether it says when a probe asks, or the port of one that names none: the container's own.
fn is_probe_timing(path: &str) -> bool {
    let Some((probe, member)) =
        path.strip_prefix("template.containers.").and_then(|rest| rest.split_once('.'))
    else {
        return false;
    };
    ["startupProbe", "livenessProbe", "readinessProbe"].contains(&probe)
        && [
            "timeoutSeconds",
            "periodSeconds",
            "failureThreshold",
            "tcpSocket.port",
            "httpGet.port",
            "grpc.port",
        ]
        .contains(&member)
}

fn is_default_account(account: &str) -> bool {
    account.strip_suffix(DEFAULT_ACCOUNT_SUFFIX).is_some_and(|number| {
        !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

fn is_default_port(port: &Value) -> bool {
    port.as_object().is_some_and(|members| {
        members.iter().all(|(name, value)| match name.as_str() {
            "name" => value == "http1",
            "containerPort" => value == 8080,
            _ => false,
        })
    })
}

/// `template.containers[0].image` as `template.containers.image`.
fn without_indices(path: &str) -> String {
    let mut plain = String::with_capacity(path.len());
    let mut inside = false;
    for character in path.chars() {
        match character {
            '[' => inside = true,
            ']' => inside = false,
            _ if !inside => plain.push(character),
            _ => {}
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn signed() -> Value {
        json!({
            "revision": "web-new",
            "annotations": { "countersign.dev/approval": "apr_x" },
            "containers": [{ "image": "i", "livenessProbe": { "httpGet": { "path": "/" } } }],
        })
    }

    fn filled_in() -> Value {
        json!({
            "annotations": { "countersign.dev/approval": "apr_x" },
            "timeout": "300s",
            "maxInstanceRequestConcurrency": 80,
            "serviceAccount": "123-compute@developer.gserviceaccount.com",
            "scaling": { "maxInstanceCount": 100 },
            "containers": [{
                "image": "i",
                "ports": [{ "name": "http1", "containerPort": 8080 }],
                "resources": { "limits": { "cpu": "1000m", "memory": "512Mi" }, "cpuIdle": true },
                "startupProbe": { "timeoutSeconds": 240, "tcpSocket": { "port": 8080 } },
                "livenessProbe": { "httpGet": { "path": "/", "port": 8080 }, "periodSeconds": 10 },
            }],
        })
    }

    #[test]
    fn what_cloud_run_fills_in_is_no_difference() {
        assert_eq!(template_difference(&filled_in(), &signed()), None);
        let mut in_whole_cpus = signed();
        in_whole_cpus["containers"][0]["resources"] = json!({ "limits": { "cpu": "1" } });
        assert_eq!(template_difference(&filled_in(), &in_whole_cpus), None);
        in_whole_cpus["containers"][0]["resources"]["limits"]["cpu"] = json!("2");
        assert!(!same_template(&filled_in(), &in_whole_cpus));
    }

    #[test]
    fn a_job_has_nothing_that_nobody_signed() {
        let signed = json!({
            "annotations": { "countersign.dev/approval": "apr_x" },
            "template": { "containers": [{ "image": "i" }] },
        });
        let mut observed = signed.clone();
        observed["taskCount"] = json!(1);
        observed["template"]["timeout"] = json!("600s");
        observed["template"]["maxRetries"] = json!(3);
        assert_eq!(job_difference(&observed, &signed), None);
        for (pointer, name, value, path) in [
            ("", "taskCount", json!(2), "taskCount"),
            ("", "parallelism", json!(1), "parallelism"),
            ("", "labels", json!({ "a": "b" }), "labels"),
            ("/annotations", "a", json!("b"), "annotations"),
            ("/template", "timeout", json!("900s"), "task.timeout"),
            ("/template/containers/0", "args", json!(["--all"]), "task.containers[0].args"),
        ] {
            let mut other = observed.clone();
            other.pointer_mut(pointer).unwrap()[name] = value;
            assert_eq!(job_difference(&other, &signed).as_deref(), Some(path));
        }
    }

    #[test]
    fn what_nobody_signed_is_a_difference() {
        for (pointer, value, path) in [
            (
                "/serviceAccount",
                json!("eve@demo.iam.gserviceaccount.com"),
                "template.serviceAccount",
            ),
            ("/timeout", json!("3600s"), "template.timeout"),
            ("/containers/0/image", json!("j"), "template.containers[0].image"),
            (
                "/containers/0/ports",
                json!([{ "containerPort": 22 }]),
                "template.containers[0].ports",
            ),
            (
                "/containers/0/livenessProbe/httpGet/path",
                json!("/other"),
                "template.containers[0].livenessProbe.httpGet.path",
            ),
            (
                "/containers/0/startupProbe/tcpSocket",
                json!({ "host": 1 }),
                "template.containers[0].startupProbe",
            ),
            ("/annotations", json!({}), "template.annotations.countersign.dev/approval"),
            ("/containers", json!([]), "template.containers"),
        ] {
            let mut observed = filled_in();
            *observed.pointer_mut(pointer).unwrap() = value;
            assert_eq!(template_difference(&observed, &signed()).as_deref(), Some(path));
        }
        for (pointer, name, value) in [
            ("", "volumes", json!([{ "name": "v", "emptyDir": {} }])),
            ("", "vpcAccess", json!({ "connector": "c" })),
            ("", "labels", json!({ "a": "b" })),
            ("/annotations", "a", json!("b")),
            ("/containers/0", "env", json!([{ "name": "A", "value": "1" }])),
            ("/containers/0", "command", json!(["sh"])),
            ("/containers/0/resources/limits", "nvidia.com/gpu", json!("1")),
        ] {
            let mut observed = filled_in();
            observed.pointer_mut(pointer).unwrap()[name] = value;
            assert!(!same_template(&observed, &signed()), "{pointer}.{name}");
        }
    }
}
