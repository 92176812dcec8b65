//! What a request must show before any of it is handled: a token, a body of one message that says
//! one thing, a protocol revision that is spoken here.

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use rmcp::model::{ErrorData, JsonRpcError, ProtocolVersion};
use serde_json::Value;

use crate::api::bearer::authenticate;
use crate::api::problem::Problem;
use crate::app::App;
use crate::domain::unique_json;
use crate::mcp::protected_resource;

/// The revisions that are spoken here, the newest last.
pub const REVISIONS: [ProtocolVersion; 2] =
    [ProtocolVersion::V_2025_11_25, ProtocolVersion::V_2026_07_28];

/// A layer (`axum::middleware::from_fn_with_state`): who asks goes on in the request's extensions, the
/// token does not.
pub async fn admit(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let verified = match authenticate(&app, request.headers()).await {
        Ok(verified) => verified,
        Err(problem) => return refused(&app, problem),
    };
    if let Err(refusal) = require_known_revision(request.headers()) {
        return *refusal;
    }
    request.headers_mut().remove(header::AUTHORIZATION);
    request.extensions_mut().insert(verified);
    let (parts, body) = request.into_parts();
    // Within the limit that the server sets for all bodies.
    let limited = Request::from_parts(parts.clone(), body);
    let Ok(bytes) = Bytes::from_request(limited, &app).await else {
        return Problem::body_too_large().into_response();
    };
    if let Err(error) = require_one_message(&bytes) {
        return json_rpc_error(error);
    }
    next.run(Request::from_parts(parts, Body::from(bytes))).await
}

/// Whoever comes without a good token learns where the rules about tokens are (RFC 9728, section 5.1).
fn refused(app: &App, problem: Problem) -> Response {
    let is_unauthorized = problem.status == StatusCode::UNAUTHORIZED;
    let mut response = problem.into_response();
    if is_unauthorized {
        let metadata = protected_resource::url(app);
        let challenge = format!("Bearer resource_metadata=\"{metadata}\"");
        if let Ok(challenge) = HeaderValue::try_from(challenge) {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
    }
    response
}

/// A client that names no revision is judged by what it sends.
fn require_known_revision(headers: &HeaderMap) -> Result<(), Box<Response>> {
    let Some(value) = headers.get("mcp-protocol-version") else { return Ok(()) };
    let named = value.to_str().unwrap_or_default();
    if REVISIONS.iter().any(|revision| revision.as_str() == named) {
        return Ok(());
    }
    let named = serde_json::from_value(Value::String(named.to_owned())).unwrap_or_default();
    Err(Box::new(json_rpc_error(ErrorData::unsupported_protocol_version(named, &REVISIONS))))
}

/// Two readers of one message must read the same: no member twice, no list of messages, of which the
/// protocol has none since 2025-06-18.
fn require_one_message(body: &[u8]) -> Result<(), ErrorData> {
    match unique_json::parse(body) {
        _ if body.is_empty() => Ok(()),
        Ok(Value::Object(_)) => Ok(()),
        Ok(Value::Array(_)) => Err(ErrorData::invalid_request(
            "A body holds one message: send the messages of a batch one by one.",
            None,
        )),
        Ok(_) => {
            Err(ErrorData::invalid_request("A message is a JSON object (JSON-RPC 2.0).", None))
        }
        Err(error) => {
            Err(ErrorData::parse_error(format!("The body is no JSON message: {error}."), None))
        }
    }
}

fn json_rpc_error(error: ErrorData) -> Response {
    (StatusCode::BAD_REQUEST, axum::Json(JsonRpcError::new(None, error))).into_response()
}
