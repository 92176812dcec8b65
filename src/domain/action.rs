//! An act of whoever asks, bound to its exact arguments: the gate does not do it, it gives a grant.

use std::ops::{Deref, DerefMut};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::domain::subject::Facts;

/// Everything that a decision signs about one act.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Action {
    /// Who asks, why, where and until when.
    #[serde(flatten)]
    pub facts: Facts,
    /// The tool, by the name under which the policy declares it.
    pub tool: String,
    /// What the tool is called with, exactly.
    pub arguments: Map<String, Value>,
    /// What it does, in the requester's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// What should come of it, in the requester's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effect: Option<String>,
    /// How to take it back, in the requester's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undo: Option<String>,
}

/// A tool that may be asked for, as the configuration declares it. It is part of the policy, and so frozen
/// by digest into every approval.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ActionType {
    /// Its name.
    pub tool: String,
    /// What it does, in a few words of whoever declares it.
    pub title: String,
    /// Who takes its grants: the `aud` of each.
    pub audience: String,
    /// The JSON Schema (draft 2020-12) of its arguments.
    #[schema(value_type = Object)]
    pub schema: Value,
    /// Which argument says what it is done to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The arguments that the page shows first, in this order.
    pub fields: Vec<Field>,
    /// The arguments that say how much it can touch.
    pub blast_radius: Vec<Field>,
    /// The arguments that are secrets: each is a reference and a hash, never the secret.
    pub secrets: Vec<String>,
}

/// One argument, as the page shows it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Field {
    /// What it is called.
    pub label: String,
    /// Where it stands in the arguments (RFC 6901).
    pub argument: String,
}

/// The arguments of one call as the page shows them: each of them, once.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Shown {
    /// The declared ones, in their order.
    pub fields: Vec<Drawn>,
    /// How much it can touch.
    pub blast_radius: Vec<Drawn>,
    /// Every argument that no declaration shows, by its place.
    pub others: Vec<Drawn>,
}

/// One argument with its value.
#[derive(Clone, PartialEq, Debug)]
pub struct Drawn {
    /// What it is called; its place, where nobody gave it a name.
    pub label: String,
    /// Its value; none if the caller left it out.
    pub value: Option<Value>,
    /// Whether it is a secret by reference and hash.
    pub is_secret: bool,
}

impl ActionType {
    /// What the call is done to, if a declared argument says it.
    pub fn target_of(&self, arguments: &Map<String, Value>) -> Option<Value> {
        at(arguments, self.target.as_deref()?).cloned()
    }

    /// Draws the arguments by the declaration; without one, all by their places.
    pub fn draw(declared: Option<&Self>, arguments: &Map<String, Value>) -> Shown {
        let Some(declared) = declared else {
            return Shown { others: rest(arguments, &[], &[]), ..Shown::default() };
        };
        let drawn = |fields: &[Field]| -> Vec<Drawn> {
            fields
                .iter()
                .map(|Field { label, argument }| Drawn {
                    label: label.clone(),
                    value: at(arguments, argument).cloned(),
                    is_secret: declared.secrets.contains(argument),
                })
                .collect()
        };
        let fields = declared.fields.iter().chain(&declared.blast_radius);
        let known: Vec<&str> = fields.map(|field| field.argument.as_str()).collect();
        Shown {
            fields: drawn(&declared.fields),
            blast_radius: drawn(&declared.blast_radius),
            others: rest(arguments, &known, &declared.secrets),
        }
    }
}

/// The value at a place (RFC 6901) of the arguments.
pub fn at<'a>(arguments: &'a Map<String, Value>, pointer: &str) -> Option<&'a Value> {
    let mut steps = pointer.strip_prefix('/')?.split('/').map(unescaped);
    let first = arguments.get(&steps.next()?)?;
    steps.try_fold(first, |value, step| match value {
        Value::Object(members) => members.get(&step),
        Value::Array(items) => items.get(step.parse::<usize>().ok()?),
        _ => None,
    })
}

fn unescaped(step: &str) -> String {
    step.replace("~1", "/").replace("~0", "~")
}

/// A value as people read it: a text as it is, anything else as JSON.
pub fn value_text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Everything that stands at none of the `known` places or below them.
fn rest(arguments: &Map<String, Value>, known: &[&str], secrets: &[String]) -> Vec<Drawn> {
    let mut found = Vec::new();
    gather(&Value::Object(arguments.clone()), String::new(), known, secrets, &mut found);
    found
}

fn gather(
    value: &Value,
    place: String,
    known: &[&str],
    secrets: &[String],
    found: &mut Vec<Drawn>,
) {
    if known.contains(&place.as_str()) {
        return;
    }
    let is_secret = secrets.contains(&place);
    let below = format!("{place}/");
    let goes_deeper = place.is_empty() || known.iter().any(|known| known.starts_with(&below));
    match value {
        Value::Object(members) if goes_deeper && !is_secret => {
            for (name, value) in members {
                let step = name.replace('~', "~0").replace('/', "~1");
                gather(value, format!("{place}/{step}"), known, secrets, found);
            }
        }
        Value::Array(items) if goes_deeper && !is_secret => {
            for (index, value) in items.iter().enumerate() {
                gather(value, format!("{place}/{index}"), known, secrets, found);
            }
        }
        value => found.push(Drawn { label: place, value: Some(value.clone()), is_secret }),
    }
}

impl Deref for Action {
    type Target = Facts;

    fn deref(&self) -> &Facts {
        &self.facts
    }
}

impl DerefMut for Action {
    fn deref_mut(&mut self) -> &mut Facts {
        &mut self.facts
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn declared() -> ActionType {
        serde_json::from_value(json!({
            "tool": "restart", "title": "Restart", "audience": "https://a", "schema": {},
            "target": "/db/name",
            "fields": [{"label": "Database", "argument": "/db/name"}, {"label": "Why", "argument": "/why"}],
            "blast_radius": [{"label": "Rows", "argument": "/rows/0"}],
            "secrets": ["/password"],
        }))
        .unwrap()
    }

    #[test]
    fn every_argument_is_shown_once() {
        let arguments = json!({
            "db": {"name": "orders", "zone": "b"}, "rows": [7, 8], "x/y": {"z": 1},
            "password": {"reference": "r", "sha256": "h"},
        });
        let arguments = arguments.as_object().unwrap();
        let shown = ActionType::draw(Some(&declared()), arguments);
        let texts = |drawn: &[Drawn]| -> Vec<String> {
            let value = |one: &Drawn| one.value.as_ref().map_or("none".into(), value_text);
            drawn.iter().map(|one| format!("{}={}", one.label, value(one))).collect()
        };
        assert_eq!(texts(&shown.fields), ["Database=orders", "Why=none"]);
        assert_eq!(texts(&shown.blast_radius), ["Rows=7"]);
        let others = [
            "/db/zone=b",
            "/password={\"reference\":\"r\",\"sha256\":\"h\"}",
            "/rows/1=8",
            "/x~1y={\"z\":1}",
        ];
        assert_eq!(texts(&shown.others), others);
        assert!(shown.others[1].is_secret && !shown.others[0].is_secret);
        assert_eq!(declared().target_of(arguments), Some(json!("orders")));
        let plain = ActionType::draw(None, arguments);
        assert_eq!(plain.others.len(), arguments.len());
    }
}
