//! Sessions and the cookies that carry them.

use axum::http::{HeaderMap, HeaderValue, header};

use crate::api::problem::Problem;
use crate::app::App;
use crate::domain::digest::Digest;
use crate::domain::recovery::RECOVERY_LIFETIME;
use crate::gate::sign_in::SESSION_LIFETIME;
use crate::storage::Session;

/// The session's cookie. `__Host-` makes browsers insist on Secure, on the path / and on no Domain,
/// so that no neighbouring host can set it (RFC 6265bis, section 4.1.3.2).
pub const SESSION_COOKIE: &str = "__Host-countersign-session";
/// Binds a sign-in to the browser that began it, against sign-in forgery.
pub const SIGN_IN_COOKIE: &str = "__Host-countersign-sign-in";

/// Holds the digest of the key that this browser just made, against a registration that somebody else
/// put in its place: the directory vouches for what the browser and not the database says.
pub const REGISTRATION_COOKIE: &str = "__Host-countersign-registration";

/// Binds a one-time link of a recovery to the browser that opened it.
pub const RECOVERY_COOKIE: &str = "__Host-countersign-recovery";

/// The caller's session, if there is one that has not ended.
pub async fn find_session(app: &App, headers: &HeaderMap) -> Result<Option<Session>, Problem> {
    let Some(secret) = cookie(headers, SESSION_COOKIE) else { return Ok(None) };
    Ok(app.storage.session(&Digest::of(secret), app.now()).await?)
}

/// The value of a cookie. A name that comes twice counts as absent: one of the two is not ours.
pub fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut values = lines
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(found, _)| *found == name)
        .map(|(_, value)| value);
    match (values.next(), values.next()) {
        (Some(value), None) => Some(value),
        _ => None,
    }
}

/// The header that opens a session in the browser.
pub fn session_cookie(secret: &str) -> HeaderValue {
    set_cookie(SESSION_COOKIE, secret, SESSION_LIFETIME.as_secs())
}

/// The header that binds a sign-in to the browser.
pub fn sign_in_cookie(secret: &str) -> HeaderValue {
    set_cookie(SIGN_IN_COOKIE, secret, 600)
}

/// The header that binds a registration to the browser that made the key.
pub fn registration_cookie(nonce: &str) -> HeaderValue {
    set_cookie(REGISTRATION_COOKIE, nonce, 600)
}

/// The header that binds a link of a recovery to the browser, for as long as it may be signed.
pub fn recovery_cookie(secret: &str) -> HeaderValue {
    set_cookie(RECOVERY_COOKIE, secret, RECOVERY_LIFETIME.as_secs())
}

/// The header that removes a cookie.
pub fn removed(name: &str) -> HeaderValue {
    set_cookie(name, "", 0)
}

/// `SameSite=Lax`: a link from a chat opens the page signed in, a cross-site post carries nothing.
fn set_cookie(name: &str, value: &str, max_age: i64) -> HeaderValue {
    let text = format!("{name}={value}; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age={max_age}");
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_that_comes_twice_is_no_cookie() {
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, "a=1; __Host-countersign-session=x; b=2".parse().unwrap());
        assert_eq!(cookie(&headers, SESSION_COOKIE), Some("x"));
        headers.append(header::COOKIE, "__Host-countersign-session=y".parse().unwrap());
        assert_eq!(cookie(&headers, SESSION_COOKIE), None);
    }
}
