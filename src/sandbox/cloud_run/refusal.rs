//! Errors in Google's shape: `{"error": {"code", "message", "status", "details"}}`.

use axum::response::{IntoResponse, Json, Response};
use http::StatusCode;
use serde_json::{Value, json};

/// The canonical codes that the sandbox answers with (google.rpc.Code).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    InvalidArgument,
    FailedPrecondition,
    Unauthenticated,
    PermissionDenied,
    NotFound,
    AlreadyExists,
    Aborted,
    ResourceExhausted,
    Cancelled,
    Internal,
    Unimplemented,
    Unavailable,
    DeadlineExceeded,
    Unknown,
}

impl Code {
    /// The canonical name, the number in google.rpc.Code, and the HTTP status that carries it.
    pub fn parts(self) -> (&'static str, i32, u16) {
        match self {
            Self::Cancelled => ("CANCELLED", 1, 499),
            Self::Unknown => ("UNKNOWN", 2, 500),
            Self::InvalidArgument => ("INVALID_ARGUMENT", 3, 400),
            Self::DeadlineExceeded => ("DEADLINE_EXCEEDED", 4, 504),
            Self::NotFound => ("NOT_FOUND", 5, 404),
            Self::AlreadyExists => ("ALREADY_EXISTS", 6, 409),
            Self::PermissionDenied => ("PERMISSION_DENIED", 7, 403),
            Self::ResourceExhausted => ("RESOURCE_EXHAUSTED", 8, 429),
            Self::FailedPrecondition => ("FAILED_PRECONDITION", 9, 400),
            Self::Aborted => ("ABORTED", 10, 409),
            Self::Unimplemented => ("UNIMPLEMENTED", 12, 501),
            Self::Internal => ("INTERNAL", 13, 500),
            Self::Unavailable => ("UNAVAILABLE", 14, 503),
            Self::Unauthenticated => ("UNAUTHENTICATED", 16, 401),
        }
    }

    /// The canonical code that usually comes with an HTTP status.
    pub fn of_status(status: u16) -> Self {
        match status {
            400 => Self::InvalidArgument,
            401 => Self::Unauthenticated,
            403 => Self::PermissionDenied,
            404 => Self::NotFound,
            409 => Self::Aborted,
            412 => Self::FailedPrecondition,
            429 => Self::ResourceExhausted,
            499 => Self::Cancelled,
            500 => Self::Internal,
            501 => Self::Unimplemented,
            503 => Self::Unavailable,
            504 => Self::DeadlineExceeded,
            _ => Self::Unknown,
        }
    }
}

/// A refused call: nothing was changed by it.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    pub code: Code,
    pub message: String,
    /// The HTTP status where it differs from the code's usual one.
    http_status: Option<u16>,
    /// The request's field that is wrong, for a google.rpc.BadRequest among the details.
    field: Option<String>,
}

impl Refusal {
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), http_status: None, field: None }
    }

    /// A value that the API cannot accept, with the path of the field that holds it.
    pub fn field(path: impl Into<String>, problem: impl Into<String>) -> Self {
        let (path, problem) = (path.into(), problem.into());
        let message = format!("{path}: {problem}");
        Self { field: Some(path), ..Self::new(Code::InvalidArgument, message) }
    }

    /// `service` or `revision` with this resource name does not exist.
    pub fn not_found(name: &str) -> Self {
        Self::new(Code::NotFound, format!("Resource '{name}' was not found."))
    }

    /// An injected error: any HTTP status, with the code that usually comes with it.
    pub fn injected(status: u16, message: Option<&str>) -> Self {
        let message = message.unwrap_or("The sandbox was told to answer with this error.");
        let code = Code::of_status(status);
        Self { http_status: Some(status), ..Self::new(code, message) }
    }

    fn details(&self) -> Vec<Value> {
        let Some(field) = &self.field else { return Vec::new() };
        vec![json!({
            "@type": "type.googleapis.com/google.rpc.BadRequest",
            "fieldViolations": [{ "field": field, "description": self.message }],
        })]
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (name, _, usual) = self.code.parts();
        let status = self.http_status.unwrap_or(usual);
        let body = json!({ "error": {
            "code": status,
            "message": self.message,
            "status": name,
            "details": self.details(),
        } });
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, Json(body)).into_response()
    }
}
