//! Requests that change something must come from our own pages.

use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::api::problem::Problem;
use crate::app::App;

/// Refuses every request but GET and HEAD whose `Origin` is not ours, or that has none. Browsers send
/// `Origin` with every such request (Fetch Standard, "append a request Origin header"); what sends
/// none is no page of ours.
pub async fn require_same_origin(State(app): State<App>, request: Request, next: Next) -> Response {
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return next.run(request).await;
    }
    let headers = request.headers();
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let is_ours = match (origins.next(), origins.next()) {
        (Some(origin), None) => origin.as_bytes() == app.relying_party.origin.as_bytes(),
        _ => false,
    };
    let is_cross_site =
        headers.get("sec-fetch-site").is_some_and(|site| site.as_bytes() != b"same-origin");
    if !is_ours || is_cross_site {
        return Problem::new(
            StatusCode::FORBIDDEN,
            "cross_origin",
            "This request did not come from a page of this gate, so nothing was done. Open the page itself and try again there.",
        )
        .into_response();
    }
    next.run(request).await
}
