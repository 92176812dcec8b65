//! Revision templates in one normal form, so that the same template is always the same JSON.
//!
//! The normal form is protobuf's JSON mapping with one spelling for everything: camel case, enums by
//! name, whole numbers of 32 bits as numbers, durations without idle zeros, members that say nothing
//! left out, and nothing that Cloud Run alone writes.

use google_cloud_run_v2::model::{ExecutionTemplate, RevisionTemplate, WorkerPoolRevisionTemplate};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::revision_template::{
    EXECUTION_TEMPLATE, Kind, Member, Message, REVISION_TEMPLATE, Shape,
    WORKER_POOL_REVISION_TEMPLATE,
};
use crate::domain::service::ServiceKind;

/// Namespaces of labels and annotations that the v2 API keeps for itself: it refuses them in what a
/// caller writes, and shows what they stand for in members of their own.
/// <https://cloud.google.com/run/docs/reference/rest/v2/projects.locations.services>
const RESERVED_NAMESPACES: [&str; 4] = [
    "run.googleapis.com",
    "cloud.googleapis.com",
    "serving.knative.dev",
    "autoscaling.knative.dev",
];

/// What is wrong with a revision template.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{path} {problem}")]
pub struct TemplateError {
    /// Where, `template.containers[0].imge` for example.
    pub path: String,
    /// What is wrong there and what to do.
    pub problem: String,
}

/// Checks a revision template, whole or only the members to change, against what Google publishes
/// for the Cloud Run Admin API v2, and returns it in normal form.
///
/// A member that is set to its default value says the same as `null`: take out what runs. Both come
/// back as `null`, as do the alternatives of a member that excludes them; members that change nothing
/// are left out.
///
/// # Errors
/// The first member that the API does not know, that only Cloud Run writes, or that has a value of
/// another type than the API's.
pub fn check_template(kind: ServiceKind, template: &Value) -> Result<Value, TemplateError> {
    match kind {
        ServiceKind::Service => check::<RevisionTemplate>(REVISION_TEMPLATE, template),
        ServiceKind::WorkerPool => {
            refuse_of_services(template)?;
            check::<WorkerPoolRevisionTemplate>(WORKER_POOL_REVISION_TEMPLATE, template)
        }
    }
}

/// Refuses what the revisions of services have and those of worker pools have not, so that nobody looks for a
/// mistake in the name.
fn refuse_of_services(template: &Value) -> Result<(), TemplateError> {
    let has = |message: Message, name: &str| message.iter().any(|member| member.name == name);
    let mut names = template.as_object().into_iter().flatten().map(|(name, _)| name);
    let of_services = names
        .find(|name| has(REVISION_TEMPLATE, name) && !has(WORKER_POOL_REVISION_TEMPLATE, name));
    match of_services {
        None => Ok(()),
        Some(name) => Err(TemplateError::new(
            &format!("template.{name}"),
            "is a setting of services, and the revisions of a worker pool have none of that name; leave it out",
        )),
    }
}

/// The same for the execution template of a job.
///
/// # Errors
/// As [`check_template`].
pub fn check_execution_template(template: &Value) -> Result<Value, TemplateError> {
    check::<ExecutionTemplate>(EXECUTION_TEMPLATE, template)
}

fn check<T: DeserializeOwned>(message: Message, template: &Value) -> Result<Value, TemplateError> {
    let mut reading = Reading { removals: Removals::AsNull, problems: Vec::new() };
    let Value::Object(members) = template else {
        return Err(TemplateError::new("template", "is not an object"));
    };
    let normal = reading.object(message, members, "template");
    if let Some(problem) = reading.problems.into_iter().next() {
        return Err(problem);
    }
    // The client's own model knows which members exclude each other.
    to_model::<T>(&without_nulls(&normal))?;
    Ok(normal)
}

/// The template of a running service or worker pool in normal form and without the name of its revision.
///
/// Members that Google added after this gate was built are kept as they came: they run, so they
/// belong to what is shown, and [`check_template`] refuses to build on them.
pub(super) fn observed_template(
    kind: ServiceKind,
    template: &impl Serialize,
) -> Result<Value, serde_json::Error> {
    let message = match kind {
        ServiceKind::Service => REVISION_TEMPLATE,
        ServiceKind::WorkerPool => WORKER_POOL_REVISION_TEMPLATE,
    };
    let mut normal = observed(message, template)?;
    if let Some(members) = normal.as_object_mut() {
        members.remove("revision");
    }
    Ok(normal)
}

/// A job's execution template in normal form, or what an execution shows in that form.
pub(super) fn observed_execution_template(
    template: &ExecutionTemplate,
) -> Result<Value, serde_json::Error> {
    observed(EXECUTION_TEMPLATE, template)
}

fn observed(message: Message, template: &impl Serialize) -> Result<Value, serde_json::Error> {
    let json = serde_json::to_value(template)?;
    let mut reading = Reading { removals: Removals::LeftOut, problems: Vec::new() };
    let members = json.as_object().cloned().unwrap_or_default();
    Ok(reading.object(message, &members, "template"))
}

/// The template as the official client sends it.
pub(super) fn to_model<T: DeserializeOwned>(template: &Value) -> Result<T, TemplateError> {
    serde_json::from_value(template.clone()).map_err(|error| {
        let problem = format!("is not one template: {error}");
        TemplateError::new("template", problem)
    })
}

/// Whether the v2 API keeps this label or annotation for itself.
pub(super) fn is_reserved(key: &str) -> bool {
    let namespace = key.split_once('/').map_or("", |(namespace, _)| namespace);
    RESERVED_NAMESPACES.iter().any(|reserved| {
        let rest = namespace.strip_suffix(reserved);
        rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    })
}

fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(members) => members
            .iter()
            .filter(|(_, member)| !member.is_null())
            .map(|(name, member)| (name.clone(), without_nulls(member)))
            .collect(),
        Value::Array(items) => items.iter().map(without_nulls).collect(),
        other => other.clone(),
    }
}

impl TemplateError {
    fn new(path: &str, problem: impl Into<String>) -> Self {
        Self { path: path.to_owned(), problem: problem.into() }
    }
}

/// How a member is written that has its default value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Removals {
    /// As `null`: in a change, it takes out what runs.
    AsNull,
    /// Not at all: in what runs, it is not there.
    LeftOut,
}

/// One pass over a template: writes its normal form and notes what is wrong with it. What is wrong
/// stays as it is.
struct Reading {
    removals: Removals,
    problems: Vec<TemplateError>,
}

impl Reading {
    fn object(&mut self, message: Message, members: &Map<String, Value>, path: &str) -> Value {
        let mut normal = Map::new();
        for (name, value) in members {
            let path = format!("{path}.{name}");
            let Some(known) = message.iter().find(|known| known.name == name) else {
                self.note(&path, unknown_member(message, name));
                normal.insert(name.clone(), value.clone());
                continue;
            };
            if known.kind == Kind::OutputOnly {
                self.note(&path, "is written by Cloud Run alone; leave it out");
            } else if let Some(value) = self.member(known, value, &path) {
                normal.insert(name.clone(), value);
            }
        }
        if self.removals == Removals::AsNull {
            self.exclude_alternatives(message, &mut normal, path);
        }
        Value::Object(normal)
    }

    /// Where one of several alternatives is set, takes out the others that may run: a probe by HTTP
    /// replaces one by TCP.
    fn exclude_alternatives(
        &mut self,
        message: Message,
        normal: &mut Map<String, Value>,
        path: &str,
    ) {
        let alternatives = message.iter().filter(|member| member.kind == Kind::Alternative);
        let alternatives: Vec<&str> = alternatives.map(|member| member.name).collect();
        let is_set = |name: &&&str| normal.get(**name).is_some_and(|value| !value.is_null());
        let set: Vec<&str> = alternatives.iter().filter(is_set).copied().collect();
        match set[..] {
            [] => {}
            [only] => {
                for other in alternatives.into_iter().filter(|name| *name != only) {
                    normal.insert(other.to_owned(), Value::Null);
                }
            }
            [first, second, ..] => {
                self.note(
                    &format!("{path}.{second}"),
                    format!("excludes {first}; keep one of them"),
                );
            }
        }
    }

    /// A member's normal form, if it says anything.
    fn member(&mut self, member: &Member, value: &Value, path: &str) -> Option<Value> {
        let value =
            if value.is_null() { Value::Null } else { self.value(&member.shape, value, path) };
        let says_nothing =
            value.as_object().is_some_and(Map::is_empty) && matches!(member.shape, Shape::Texts);
        if says_nothing {
            return None;
        }
        if value.is_null() || member.kind == Kind::Plain && is_default(&member.shape, &value) {
            return (self.removals == Removals::AsNull).then_some(Value::Null);
        }
        Some(value)
    }

    fn value(&mut self, shape: &Shape, value: &Value, path: &str) -> Value {
        let normal = match (shape, value) {
            (Shape::Message(message), Value::Object(members)) => {
                return self.object(message, members, path);
            }
            (Shape::List(item), Value::Array(items)) => {
                let items = items.iter().enumerate();
                return items
                    .map(|(index, value)| self.value(item, value, &format!("{path}[{index}]")))
                    .collect();
            }
            (Shape::Texts, Value::Object(texts)) => return self.texts(texts, path),
            (Shape::Text, Value::String(_))
            | (Shape::Flag, Value::Bool(_))
            | (Shape::Number, Value::Number(_)) => Some(value.clone()),
            (Shape::Int32, _) => {
                whole_number(value).and_then(|number| i32::try_from(number).ok()).map(Value::from)
            }
            (Shape::Int64, _) => whole_number(value).map(|number| number.to_string().into()),
            (Shape::Duration, Value::String(text)) => duration(text).map(Value::String),
            (Shape::Choice(names), _) => choice(names, value),
            _ => None,
        };
        normal.unwrap_or_else(|| {
            self.note(path, format!("must be {}, and is {}", expected(shape), shown(value)));
            value.clone()
        })
    }

    fn texts(&mut self, texts: &Map<String, Value>, path: &str) -> Value {
        let mut normal = Map::new();
        for (key, value) in texts {
            if is_reserved(key) {
                let problem = "is in a namespace that Cloud Run keeps for itself; leave it out";
                self.note(&format!("{path}[{key}]"), problem);
                continue;
            }
            let is_removal = value.is_null() && self.removals == Removals::AsNull;
            if !value.is_string() && !is_removal {
                let problem = format!("must be a string, and is {}", shown(value));
                self.note(&format!("{path}[{key}]"), problem);
            }
            normal.insert(key.clone(), value.clone());
        }
        Value::Object(normal)
    }

    fn note(&mut self, path: &str, problem: impl Into<String>) {
        self.problems.push(TemplateError::new(path, problem));
    }
}

fn unknown_member(message: Message, name: &str) -> String {
    let plain = |text: &str| text.replace(['_', '-'], "").to_lowercase();
    match message.iter().find(|known| plain(known.name) == plain(name)) {
        Some(known) => format!("is not known to the Cloud Run Admin API v2; write {}", known.name),
        None => "is not known to the Cloud Run Admin API v2; leave it out".to_owned(),
    }
}

/// Whether a value says the same as leaving its member out.
fn is_default(shape: &Shape, value: &Value) -> bool {
    match (shape, value) {
        (Shape::Text, Value::String(text)) => text.is_empty(),
        (Shape::Int64, Value::String(text)) => text == "0",
        (Shape::Choice(names), Value::String(name)) => names.first() == Some(&name.as_str()),
        (_, Value::Bool(flag)) => !flag,
        (_, Value::Number(number)) => number.as_f64() == Some(0.0),
        (_, Value::Array(items)) => items.is_empty(),
        // An empty message is set: `emptyDir: {}` is a volume.
        _ => false,
    }
}

/// Protobuf's JSON takes a whole number as a number and as a string.
fn whole_number(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

/// Protobuf's JSON takes an enum by name and by number.
fn choice(names: &[&str], value: &Value) -> Option<Value> {
    let name = match value {
        Value::String(name) => names.iter().find(|known| **known == name.as_str())?,
        Value::Number(number) => names.get(usize::try_from(number.as_u64()?).ok()?)?,
        _ => return None,
    };
    Some(Value::from(*name))
}

/// `3.500s` and `3.5s` are the same time.
fn duration(text: &str) -> Option<String> {
    let number = text.strip_suffix('s')?;
    let (seconds, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(seconds) || !digits(fraction) || fraction.len() > 9 {
        return None;
    }
    let seconds: u64 = seconds.parse().ok()?;
    let fraction = fraction.trim_end_matches('0');
    let point = if fraction.is_empty() { "" } else { "." };
    Some(format!("{seconds}{point}{fraction}s"))
}

fn expected(shape: &Shape) -> String {
    match shape {
        Shape::Text => "a string".to_owned(),
        Shape::Flag => "true or false".to_owned(),
        Shape::Int32 => "a whole number of 32 bits".to_owned(),
        Shape::Int64 => "a whole number of 64 bits".to_owned(),
        Shape::Number => "a number".to_owned(),
        Shape::Duration => "seconds such as \"300s\"".to_owned(),
        Shape::Choice(names) => format!("one of {}", names.join(", ")),
        Shape::Texts | Shape::Message(_) => "an object".to_owned(),
        Shape::List(_) => "a list".to_owned(),
    }
}

/// The value, or what kind of value it is: a long or nested one would drown the sentence.
fn shown(value: &Value) -> String {
    match value {
        Value::Object(_) => "an object".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::String(text) if text.chars().count() > 60 => "a long string".to_owned(),
        other => other.to_string(),
    }
}
