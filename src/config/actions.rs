//! The tools that agents and pipelines may ask for, and the key of their grants.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use data_encoding::HEXLOWER_PERMISSIVE;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::Value;

use crate::config::check::Check;
use crate::config::secret;
use crate::domain::action::{ActionType, Field};
use crate::domain::command::command_type;
use crate::domain::grant::GrantKey;
use crate::domain::json_schema::{Misfit, check_schema};
use crate::domain::policy::Policy;
use crate::proof::grant::GrantKeys;
use crate::proof::jwk::is_canonical_key;

/// The longest name of a tool, title or label, in characters: one line of the page.
const LONGEST_NAME: usize = 100;
/// The longest audience, in characters.
const LONGEST_AUDIENCE: usize = 300;

/// `[[action]]`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActionSection {
    /// The tool's name.
    pub tool: String,
    /// What it is by the program's own declaration, in place of everything below.
    pub template: Option<Template>,
    /// What it does, in a few words.
    pub title: Option<String>,
    /// Who takes its grants.
    pub audience: Option<String>,
    /// The JSON Schema of its arguments.
    pub schema: Option<Value>,
    /// The file that holds it.
    pub schema_file: Option<PathBuf>,
    /// The argument that says what it is done to.
    pub target: Option<String>,
    /// The arguments that the page shows first, in this order.
    #[serde(default)]
    pub fields: Vec<Field>,
    /// The arguments that say how much it can touch.
    #[serde(default)]
    pub blast_radius: Vec<Field>,
    /// The arguments that are references to secrets.
    #[serde(default)]
    pub secrets: Vec<String>,
}

/// A tool that the program itself knows.
#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "snake_case")]
pub enum Template {
    /// A command that `countersign exec` runs.
    Command,
}

/// `[grant]`
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct GrantSection {
    /// The file that holds the key.
    pub key_file: Option<PathBuf>,
    /// The key of the environment.
    #[serde(skip)]
    pub key: Option<SecretString>,
    /// Public keys (RFC 7638 form) of grants that were signed before the key was changed.
    pub previous_keys: Vec<String>,
}

/// The declared tools, by their names.
pub(super) fn actions(
    check: &mut Check,
    sections: Vec<ActionSection>,
) -> BTreeMap<String, ActionType> {
    let mut actions = BTreeMap::new();
    for section in sections {
        let tool = section.tool.clone();
        let action = Declared { check, tool: &tool }.action(section);
        if actions.insert(tool.clone(), action).is_some() {
            check.problem(
                "action",
                format!("{tool:?} is declared twice: give each tool a name of its own"),
            );
        }
    }
    actions
}

/// The declarations of the tools that an environment names, in the order of their names.
pub(super) fn named(
    check: &mut Check,
    environment: &str,
    tools: &[String],
    declared: &BTreeMap<String, ActionType>,
) -> Vec<ActionType> {
    let mut found = BTreeMap::new();
    for tool in tools {
        match declared.get(tool) {
            Some(action) => {
                found.insert(tool, action.clone());
            }
            None => check.problem(
                &format!("environment.{environment}.actions"),
                format!("names the tool {tool:?}, and no [[action]] declares it: declare it, or correct the name"),
            ),
        }
    }
    found.into_values().collect()
}

/// The check of one declaration.
struct Declared<'a> {
    check: &'a mut Check,
    tool: &'a str,
}

impl Declared<'_> {
    fn problem(&mut self, key: &str, text: impl Into<String>) {
        self.check.problem(&format!("action.{}.{key}", self.tool), text);
    }

    fn action(mut self, section: ActionSection) -> ActionType {
        let plain =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
        let is_name = !self.tool.is_empty() && self.tool.len() <= LONGEST_NAME;
        if !is_name || !self.tool.bytes().all(plain) {
            self.problem("tool", "is not 1 to 100 lower-case letters, digits, dots, hyphens and underscores: rename it");
        }
        if let Some(template) = section.template {
            return self.of_template(template, &section);
        }
        let title = self.needed_line("title", section.title, LONGEST_NAME);
        let audience = self.needed_line("audience", section.audience, LONGEST_AUDIENCE);
        let schema = self.schema(section.schema, section.schema_file.as_deref());
        let fields = section.fields.iter().chain(&section.blast_radius);
        for field in fields {
            self.line("fields", &field.label, LONGEST_NAME);
            self.place("fields", &field.argument);
        }
        for place in section.secrets.iter().chain(&section.target) {
            self.place("secrets or target", place);
        }
        if let Some(target) = section.target.iter().find(|target| section.secrets.contains(*target))
        {
            self.problem(
                "target",
                format!(
                    "{target:?} is a secret, and stands in the headline: name another argument"
                ),
            );
        }
        ActionType {
            tool: self.tool.to_owned(),
            title,
            audience,
            schema,
            target: section.target,
            fields: section.fields,
            blast_radius: section.blast_radius,
            secrets: section.secrets,
        }
    }

    /// What a template says cannot be said otherwise: whoever signs relies on what its page always shows.
    fn of_template(&mut self, template: Template, section: &ActionSection) -> ActionType {
        let is_given = [
            ("title", section.title.is_some()),
            ("audience", section.audience.is_some()),
            ("schema", section.schema.is_some()),
            ("schema_file", section.schema_file.is_some()),
            ("target", section.target.is_some()),
            ("fields", !section.fields.is_empty()),
            ("blast_radius", !section.blast_radius.is_empty()),
            ("secrets", !section.secrets.is_empty()),
        ];
        for (key, _) in is_given.iter().filter(|(_, is_given)| *is_given) {
            self.problem(key, "is there beside template, which says it: leave one of them out");
        }
        match template {
            Template::Command => command_type(self.tool),
        }
    }

    fn needed_line(&mut self, key: &str, text: Option<String>, longest: usize) -> String {
        match &text {
            Some(text) => self.line(key, text, longest),
            None => self.problem(key, "is missing: write one line of text"),
        }
        text.unwrap_or_default()
    }

    fn line(&mut self, key: &str, text: &str, longest: usize) {
        let length = text.chars().count();
        if text.trim().is_empty() || length > longest || text.chars().any(char::is_control) {
            self.problem(
                key,
                format!("{text:?} is not one line of 1 to {longest} characters: write one"),
            );
        }
    }

    fn place(&mut self, key: &str, place: &str) {
        if !place.starts_with('/') || place.len() < 2 {
            self.problem(key, format!("{place:?} names no argument: write its place as a JSON pointer, such as \"/database\""));
        }
    }

    fn schema(&mut self, inline: Option<Value>, file: Option<&Path>) -> Value {
        let schema = match (inline, file) {
            (Some(schema), None) => schema,
            (None, Some(file)) => self.schema_in(file),
            _ => {
                self.problem("schema", "is missing, or is there beside schema_file: give the JSON Schema of the arguments in one of them");
                return Value::Bool(false);
            }
        };
        if let Err(Misfit { at, problem }) = check_schema(&schema) {
            self.problem("schema", format!("{at:?} {problem}"));
        } else if schema["type"] != "object" {
            self.problem(
                "schema",
                "is not one of an object: arguments have names, so write type = \"object\"",
            );
        }
        schema
    }

    fn schema_in(&mut self, file: &Path) -> Value {
        let path = self.check.folder.join(file);
        let text = std::fs::read_to_string(&path).map_err(|error| error.to_string());
        let read =
            text.and_then(|text| serde_json::from_str(&text).map_err(|error| error.to_string()));
        read.unwrap_or_else(|error| {
            self.problem(
                "schema_file",
                format!("{} cannot be read as JSON ({error}): correct it", path.display()),
            );
            Value::Bool(true)
        })
    }
}

/// The keys of grants, which any environment needs that lets tools be asked for.
pub(super) fn grant_keys(
    check: &mut Check,
    section: &GrantSection,
    environments: &BTreeMap<String, Policy>,
) -> Option<GrantKeys> {
    for key in &section.previous_keys {
        if !is_canonical_key(key) {
            check.problem("grant.previous_keys", format!("{key:?} is no public key in the form of RFC 7638: copy crv, kty and x of it from /.well-known/jwks.json"));
        }
    }
    let seed = match (&section.key, &section.key_file) {
        (Some(key), _) => Some(key.clone()),
        (None, Some(file)) => secret::read(check, "grant.key_file", file),
        (None, None) => {
            if environments.values().any(|policy| !policy.actions.is_empty()) {
                check.problem("grant.key_file", "is missing, and an environment lets tools be asked for: make a key with `openssl rand -hex 32`, put it into a file that only the gate may read and name that here, or set COUNTERSIGN_GRANT_KEY");
            }
            None
        }
    }?;
    let bytes = HEXLOWER_PERMISSIVE.decode(seed.expose_secret().as_bytes()).ok();
    let key = bytes.and_then(|bytes| GrantKey::from_seed(&bytes).ok());
    if key.is_none() {
        check.problem("grant.key_file", "the key of grants is not 32 bytes in hexadecimal (64 characters): make one with `openssl rand -hex 32`");
    }
    Some(GrantKeys::new(Arc::new(key?), &section.previous_keys))
}
