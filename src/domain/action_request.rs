//! From what an agent asks for to the canonical action.

use serde_json::{Map, Value};

use crate::domain::action::{Action, ActionType, at};
use crate::domain::canonical::to_canonical_json;
use crate::domain::json_schema::{Misfit, fits};
use crate::domain::plain_credential::{looks_like_credential, words_hold_credential};
use crate::domain::policy::Policy;
use crate::domain::request::{FreezeError, LONGEST_REASON, Occasion, RequestRefusal};
use crate::domain::subject::{FrozenSubject, Requester};
use crate::domain::words::{Words, check_asking, check_trust};

/// The longest arguments, in bytes of canonical JSON: they are signed with every decision and read on a page.
pub const LONGEST_ARGUMENTS: usize = 16 * 1024;
/// The longest name of a secret, in bytes.
const LONGEST_REFERENCE: usize = 512;
/// The largest whole number that every reader of JSON tells apart from its neighbours (RFC 8259, section 6).
const LARGEST_EXACT: u64 = (1 << 53) - 1;

/// An act as an agent asks for it.
#[derive(Clone, PartialEq, Debug)]
pub struct ActionRequest {
    /// The tool, by its declared name.
    pub tool: String,
    /// What it is to be called with.
    pub arguments: Map<String, Value>,
    /// What it does, in the requester's words.
    pub summary: Option<String>,
    /// What should come of it.
    pub effect: Option<String>,
    /// How to take it back.
    pub undo: Option<String>,
    /// Why, and until when.
    pub words: Words,
}

impl ActionRequest {
    /// Checks everything about the request.
    pub fn check(&self, policy: &Policy, requester: &Requester) -> Result<(), RequestRefusal> {
        check_asking(policy, requester)?;
        self.check_contents(policy)
    }

    /// Checks what is asked for, whoever asks.
    pub fn check_contents(&self, policy: &Policy) -> Result<(), RequestRefusal> {
        check_trust(policy)?;
        let declared =
            policy.action(&self.tool).ok_or_else(|| RequestRefusal::ToolNotDeclared {
                environment: policy.environment.clone(),
                tool: self.tool.chars().take(100).collect(),
                known: match &policy.actions[..] {
                    [] => "none".to_owned(),
                    known => {
                        known.iter().map(|one| one.tool.as_str()).collect::<Vec<_>>().join(", ")
                    }
                },
            })?;
        self.check_arguments(declared)?;
        self.words.check()?;
        for (field, text) in
            [("summary", &self.summary), ("effect", &self.effect), ("undo", &self.undo)]
        {
            if text.as_ref().is_some_and(|text| text.chars().count() > LONGEST_REASON) {
                let problem = format!("is longer than {LONGEST_REASON} characters");
                return Err(RequestRefusal::Text { field, problem });
            }
        }
        self.words.lifetime(policy).map(|_| ())
    }

    fn check_arguments(&self, declared: &ActionType) -> Result<(), RequestRefusal> {
        let refused = |Misfit { at, problem }: Misfit| RequestRefusal::Arguments {
            tool: declared.tool.clone(),
            place: if at.is_empty() { "the whole".to_owned() } else { at },
            problem,
        };
        let misfit =
            |at: &str, problem: &str| refused(Misfit { at: at.into(), problem: problem.into() });
        let length = to_canonical_json(&self.arguments).map_or(usize::MAX, |text| text.len());
        if length > LONGEST_ARGUMENTS {
            return Err(misfit("", &format!("is longer than {LONGEST_ARGUMENTS} bytes")));
        }
        for secret in &declared.secrets {
            match at(&self.arguments, secret) {
                Some(value) if !is_reference(value) => {
                    return Err(RequestRefusal::PlainSecret { place: secret.clone() });
                }
                _ => {}
            }
        }
        let arguments = Value::Object(self.arguments.clone());
        check_values(&arguments, "", "", &declared.secrets)?;
        fits(&declared.schema, &arguments).map_err(refused)
    }

    /// Freezes the request.
    pub fn freeze(
        &self,
        policy: &Policy,
        requester: Requester,
        occasion: &Occasion<'_>,
    ) -> Result<FrozenSubject, FreezeError> {
        self.check(policy, &requester)?;
        let lifetime = self.words.lifetime(policy)?;
        Ok(FrozenSubject::freeze(Action {
            facts: self.words.facts(policy, requester, occasion, lifetime)?,
            tool: self.tool.clone(),
            arguments: self.arguments.clone(),
            summary: self.summary.clone(),
            effect: self.effect.clone(),
            undo: self.undo.clone(),
        })?)
    }
}

/// Whether a value names a secret and its hash, and says nothing more.
fn is_reference(value: &Value) -> bool {
    let Value::Object(members) = value else { return false };
    let text = |name: &str| members.get(name).and_then(Value::as_str);
    let is_named = text("reference").is_some_and(|name| {
        (1..=LONGEST_REFERENCE).contains(&name.len()) && !looks_like_credential("", name)
    });
    let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let is_hashed = text("sha256").is_some_and(|hash| hash.len() == 64 && hash.bytes().all(is_hex));
    members.len() == 2 && is_named && is_hashed
}

/// Refuses what looks like a credential outside the declared secrets, and numbers that two readers of the
/// same text could take for different ones.
fn check_values(
    value: &Value,
    name: &str,
    place: &str,
    secrets: &[String],
) -> Result<(), RequestRefusal> {
    if secrets.iter().any(|secret| secret == place) {
        return Ok(());
    }
    match value {
        Value::Object(members) => members.iter().try_for_each(|(name, value)| {
            let step = name.replace('~', "~0").replace('/', "~1");
            check_values(value, name, &format!("{place}/{step}"), secrets)
        }),
        Value::Array(items) => {
            let is_command_line = matches!(name, "command" | "args" | "argv");
            if is_command_line && words_hold_credential(items.iter().filter_map(Value::as_str)) {
                return Err(RequestRefusal::PlainSecret { place: place.to_owned() });
            }
            items.iter().enumerate().try_for_each(|(index, value)| {
                check_values(value, name, &format!("{place}/{index}"), secrets)
            })
        }
        Value::String(text) if looks_like_credential(name, text) => {
            Err(RequestRefusal::PlainSecret { place: place.to_owned() })
        }
        Value::Number(number) => {
            let whole = number.as_u64().or(number.as_i64().map(i64::unsigned_abs));
            if whole.is_some_and(|whole| whole > LARGEST_EXACT) {
                return Err(RequestRefusal::Arguments {
                    tool: "this tool".to_owned(),
                    place: place.to_owned(),
                    problem: "is a whole number beyond 2^53 - 1, which not every reader tells from its neighbours: write it as a text".to_owned(),
                });
            }
            Ok(())
        }
        Value::Null | Value::Bool(_) | Value::String(_) => Ok(()),
    }
}
