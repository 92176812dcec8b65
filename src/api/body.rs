//! The bodies of requests: JSON objects in which every member is known and named once.

use axum::http::{HeaderMap, StatusCode, header};
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use crate::api::problem::Problem;
use crate::domain::unique_json;

/// An object, written as one: serde would take the list of a struct's values for it as well, and
/// what a list says depends on the order of our members.
#[derive(Default)]
pub struct Object<T>(pub T);

impl<'de, T: DeserializeOwned> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let members = Map::<String, Value>::deserialize(deserializer)?;
        T::deserialize(Value::Object(members)).map(Self).map_err(D::Error::custom)
    }
}

/// Reads a body, as a value and as what the value says.
///
/// # Errors
/// 415 for a body that says it is no JSON, 400 for one that is not what was asked for.
pub fn read_body<T: DeserializeOwned>(
    headers: &HeaderMap,
    body: &[u8],
) -> Result<(Value, T), Problem> {
    require_json(headers)?;
    let value = unique_json::parse(body).map_err(|error| malformed(&error))?;
    let Object(read) = serde_json::from_value(value.clone()).map_err(|error| malformed(&error))?;
    Ok((value, read))
}

/// A caller that does not say what it sends is taken to send what we ask for.
fn require_json(headers: &HeaderMap) -> Result<(), Problem> {
    let Some(media_type) = headers.get(header::CONTENT_TYPE) else { return Ok(()) };
    let media_type = media_type.to_str().unwrap_or_default();
    let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_json = essence == "application/json"
        || essence.starts_with("application/") && essence.ends_with("+json");
    if is_json {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "unsupported_media_type",
        "The body must be JSON: send it with Content-Type: application/json.",
    ))
}

fn malformed(error: &dyn std::fmt::Display) -> Problem {
    let detail = format!(
        "The body is not what this address takes: {error}. The description is at /openapi.json."
    );
    Problem::new(StatusCode::BAD_REQUEST, "malformed_request", detail)
}
