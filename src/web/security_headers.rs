//! The headers that every answer of the gate carries.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;

/// Nothing is allowed but our own style, scripts, images and requests, so that text which a
/// requester wrote could do nothing even if it were ever taken for markup. `form-action` is
/// ourselves: the sign-in leaves by links and redirects, never by a posted form.
pub const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     img-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; \
     base-uri 'none'";

const ALWAYS: [(HeaderName, &str); 7] = [
    (CONTENT_SECURITY_POLICY, PAGE_POLICY),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    // For what does not know `frame-ancestors` yet.
    (X_FRAME_OPTIONS, "DENY"),
    // Not `no-referrer`: browsers then send `Origin: null` with our own forms.
    (REFERRER_POLICY, "same-origin"),
    (
        HeaderName::from_static("permissions-policy"),
        "publickey-credentials-get=(self), publickey-credentials-create=(self), camera=(), \
         geolocation=(), microphone=(), payment=(), usb=()",
    ),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// A year without a plain connection, the shortest time that browser makers count as a decision
/// (RFC 6797). Not for subdomains: they are not ours to speak for.
const STRICT_TRANSPORT: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// The headers of a gate at `origin`. Strict transport is promised where the origin is https, though
/// TLS ends in front of us: whoever reaches the gate reaches it by that origin.
pub fn security_headers(origin: &str) -> Arc<HeaderMap> {
    let always = ALWAYS.map(|(name, value)| (name, HeaderValue::from_static(value)));
    let mut headers: HeaderMap = always.into_iter().collect();
    if origin.starts_with("https://") {
        headers.insert(STRICT_TRANSPORT_SECURITY, STRICT_TRANSPORT);
    }
    Arc::new(headers)
}

/// A layer (`axum::middleware::from_fn_with_state`) that adds the headers. Answers that say nothing about
/// caching must not be kept: pages show what one person may see at one moment.
pub async fn add_security_headers(
    State(always): State<Arc<HeaderMap>>,
    request: Request,
    next: Next,
) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in always.iter() {
        headers.insert(name, value.clone());
    }
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}
