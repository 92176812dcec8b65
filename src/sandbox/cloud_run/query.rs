//! The query of a call: its parameters, how it wants enums, which page of a list.

use std::collections::BTreeMap;

use axum::response::Json;
use serde_json::{Value, json};

use super::refusal::{Code, Refusal};
use super::schema;

/// Query parameters that Google's front end understands for every method.
const SYSTEM_PARAMETERS: [&str; 14] = [
    "$alt",
    "alt",
    "$.xgafv",
    "access_token",
    "callback",
    "fields",
    "$fields",
    "key",
    "$key",
    "oauth_token",
    "prettyPrint",
    "quotaUser",
    "upload_protocol",
    "uploadType",
];

/// The query of a call.
pub struct Query {
    parameters: BTreeMap<String, String>,
    /// Enums are answered by number.
    pub integer_enums: bool,
}

impl Query {
    /// Reads the query of a call of `method`, such as `services.patch`.
    pub fn read(raw: Option<String>, method: &str) -> Result<Self, Refusal> {
        let raw = raw.unwrap_or_default();
        let mut parameters = BTreeMap::new();
        let mut integer_enums = false;
        for (name, value) in url::form_urlencoded::parse(raw.as_bytes()) {
            if matches!(&*name, "$alt" | "alt") {
                integer_enums = value.split(';').any(|part| part == "enum-encoding=int");
            } else if schema::has_parameter(method, &schema::camel_case(&name)) {
                parameters.insert(schema::camel_case(&name), value.into_owned());
            } else if !SYSTEM_PARAMETERS.contains(&&*name) {
                let message = format!(
                    "Invalid JSON payload received. Unknown name \"{name}\": Cannot bind query parameter. Field '{name}' could not be found in request message."
                );
                return Err(Refusal::new(Code::InvalidArgument, message));
            }
        }
        Ok(Self { parameters, integer_enums })
    }

    /// A parameter that is given and not empty.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// A boolean parameter; false if it is not given.
    pub fn flag(&self, name: &str) -> Result<bool, Refusal> {
        match self.text(name) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(Refusal::field(name, "must be true or false.")),
        }
    }

    /// A resource with its enums as the caller wants them.
    pub fn encode(&self, schema: &str, value: &Value) -> Value {
        if self.integer_enums { schema::with_integer_enums(schema, value) } else { value.clone() }
    }

    /// The page that the query asks for and the token of the next one. Items come with names.
    fn page(&self, items: Vec<(String, Value)>) -> Result<(Vec<Value>, Option<String>), Refusal> {
        let size = self.text("pageSize").unwrap_or("0").parse::<i32>();
        let size = size.ok().and_then(|size| usize::try_from(size).ok());
        let size = match size {
            None => return Err(Refusal::field("pageSize", "must be a number from 0 on.")),
            Some(0) => 100,
            Some(size) => size.min(1000),
        };
        let start = match self.text("pageToken") {
            None => 0,
            Some(token) => {
                let last = data_encoding::BASE64URL_NOPAD.decode(token.as_bytes()).ok();
                let place =
                    |last: Vec<u8>| items.iter().position(|(name, _)| name.as_bytes() == last);
                let wrong = || Refusal::field("pageToken", "was not given out by this list.");
                last.and_then(place).ok_or_else(wrong)? + 1
            }
        };
        let more = items.len() > start + size;
        let page: Vec<(String, Value)> = items.into_iter().skip(start).take(size).collect();
        let last = page.last().filter(|_| more);
        let token = last.map(|(name, _)| data_encoding::BASE64URL_NOPAD.encode(name.as_bytes()));
        Ok((page.into_iter().map(|(_, item)| item).collect(), token))
    }

    /// A list's answer: the page under `field`, left out when empty.
    pub fn list(&self, field: &str, items: Vec<(String, Value)>) -> Result<Json<Value>, Refusal> {
        let (page, next) = self.page(items)?;
        let mut answer = json!({});
        if !page.is_empty() {
            answer[field] = Value::Array(page);
        }
        if let Some(next) = next {
            answer["nextPageToken"] = Value::String(next);
        }
        Ok(Json(answer))
    }
}
