//! Human labels for the members of a Cloud Run revision template.

use super::inert::Inert;

/// What a member is called.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Label {
    /// In our words.
    pub words: &'static str,
    /// The part that the service's owner named: a variable, a label, or the path of a member
    /// that we have no words for.
    pub name: Option<Inert>,
    /// The container it belongs to, where there are several.
    pub container: Option<Inert>,
}

/// Words and rank of the member at `path`; the lowest rank is shown first.
pub fn label(path: &[String], name_containers: bool) -> (usize, Label) {
    let parts: Vec<&str> = path.iter().map(String::as_str).collect();
    if let ["containers", container, rest @ ..] = parts.as_slice() {
        let (rank, words, name) = container_member(rest);
        let container = name_containers.then(|| Inert::new(container));
        return (rank, Label { words, name, container });
    }
    let (rank, words, name) = template_member(&parts);
    (rank, Label { words, name, container: None })
}

type Words = (usize, &'static str, Option<Inert>);

fn container_member(parts: &[&str]) -> Words {
    match parts {
        ["image"] => (0, "Container image", None),
        ["command"] => (1, "Command", None),
        ["args"] => (2, "Arguments", None),
        ["env", name] => (3, "Environment variable", Some(Inert::new(name))),
        ["env"] => (3, "Environment variables, with their order", None),
        ["resources", "limits", "cpu"] => (4, "CPU", None),
        ["resources", "limits", "memory"] => (5, "Memory", None),
        ["resources", "cpuIdle"] => (6, "CPU only during requests", None),
        ["resources", "startupCpuBoost"] => (7, "CPU boost at startup", None),
        ["ports", ..] => (8, "Port", Some(path_after(&parts[1..]))),
        ["volumeMounts", ..] => (9, "Volume mount", Some(path_after(&parts[1..]))),
        ["workingDir"] => (10, "Working directory", None),
        ["startupProbe", ..] => (11, "Startup probe", Some(path_after(&parts[1..]))),
        ["livenessProbe", ..] => (12, "Liveness probe", Some(path_after(&parts[1..]))),
        ["readinessProbe", ..] => (12, "Readiness probe", Some(path_after(&parts[1..]))),
        ["baseImageUri"] => (1, "Automatically updated base image", None),
        ["name"] => (30, "Container name", None),
        [] => (0, "Container", None),
        other => (31, "Container setting", Some(path_after(other))),
    }
}

fn template_member(parts: &[&str]) -> Words {
    match parts {
        ["taskTimeout"] => (13, "Timeout of a task", None),
        ["taskCount"] => (13, "Tasks", None),
        ["parallelism"] => (13, "Tasks at once, at most", None),
        ["maxRetries"] => (13, "Retries of a failed task", None),
        ["serviceAccount"] => (13, "Service account", None),
        ["scaling", "minInstanceCount"] => (14, "Fewest instances", None),
        ["scaling", "maxInstanceCount"] => (15, "Most instances", None),
        ["maxInstanceRequestConcurrency"] => (16, "Requests at once per instance", None),
        ["timeout"] => (17, "Request timeout", None),
        ["sessionAffinity"] => (18, "Session affinity", None),
        ["executionEnvironment"] => (19, "Execution environment", None),
        ["vpcAccess", ..] => (20, "Network", Some(path_after(&parts[1..]))),
        ["volumes", ..] => (21, "Volume", Some(path_after(&parts[1..]))),
        ["encryptionKey"] => (22, "Encryption key", None),
        ["revision"] => (39, "Revision name", None),
        ["labels", name] => (40, "Label", Some(Inert::new(name))),
        ["annotations", name] => (41, "Annotation", Some(Inert::new(name))),
        [] => (0, "The whole template", None),
        other => (35, "Setting", Some(path_after(other))),
    }
}

fn path_after(parts: &[&str]) -> Inert {
    Inert::new(&parts.join("."))
}
