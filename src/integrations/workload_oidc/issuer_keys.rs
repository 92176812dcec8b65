//! The published keys of one issuer: fetched from the pinned address, kept through outages.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};

use crate::integrations::outbound::{self, OutboundError, OutboundHttp};

/// A token with an unknown key id may be an issuer's new key or a stranger's invention.
/// Once a minute is soon enough for the first and too rare to be used as an amplifier.
const UNKNOWN_KEY_INTERVAL: SignedDuration = SignedDuration::from_secs(60);

/// A key that the issuer withdrew is believed for no longer than this.
const REFRESH_INTERVAL: SignedDuration = SignedDuration::from_secs(600);

/// While no key was ever read nothing works, so the gate asks more often.
const FIRST_KEYS_INTERVAL: SignedDuration = SignedDuration::from_secs(5);

/// Honest issuers publish fewer than ten keys.
const MAX_KEYS: usize = 100;

/// Where the keys of an issuer are and what they must be.
pub(super) struct IssuerKeys {
    issuer: String,
    pinned_jwks_uri: Option<String>,
    /// The JWK members that a usable key has: `kty`, and `crv` for curves.
    key_type: &'static str,
    curve: Option<&'static str>,
    algorithm: &'static str,
    known: Mutex<Known>,
    /// Held while fetching, so that many callers cause one request.
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Known {
    keys: HashMap<String, Value>,
    ever_read: bool,
    last_failed: bool,
    last_attempt: Option<Timestamp>,
    last_unknown: Option<Timestamp>,
    clock_ahead: Option<SignedDuration>,
}

/// A key was not found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoKey {
    /// The issuer's keys are known, and this one is not among them.
    Unknown,
    /// The issuer's keys were never read.
    Unavailable,
}

#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error(transparent)]
    Outbound(#[from] OutboundError),
    #[error("{url} answered {status}")]
    Status { url: String, status: u16 },
    #[error("{url} did not answer with {what}")]
    Form { url: String, what: &'static str },
    #[error("{url} is the discovery document of another issuer: {found}")]
    OtherIssuer { url: String, found: String },
}

impl IssuerKeys {
    pub(super) fn new(
        issuer: &str,
        pinned_jwks_uri: Option<String>,
        (key_type, curve): (&'static str, Option<&'static str>),
        algorithm: &'static str,
    ) -> Self {
        Self {
            issuer: issuer.to_owned(),
            pinned_jwks_uri,
            key_type,
            curve,
            algorithm,
            known: Mutex::default(),
            fetching: tokio::sync::Mutex::default(),
        }
    }

    /// The key of that id, fetched if need be and allowed.
    pub(super) async fn key(
        &self,
        http: &OutboundHttp,
        key_id: &str,
        now: Timestamp,
    ) -> Result<Value, NoKey> {
        if let Some(key) = self.held(key_id) {
            if !self.is_stale(now) {
                return Ok(key);
            }
            // Known but old: one caller renews, the others go on with what there is.
            let Ok(_fetching) = self.fetching.try_lock() else { return Ok(key) };
            self.fetch_and_keep(http, now).await;
            return self.held(key_id).ok_or(NoKey::Unknown);
        }
        let _fetching = self.fetching.lock().await;
        // Somebody else may have fetched while this caller waited.
        if let Some(key) = self.held(key_id) {
            return Ok(key);
        }
        if self.may_fetch_for_unknown(now) {
            self.fetch_and_keep(http, now).await;
        }
        let otherwise = if self.ever_read() { NoKey::Unknown } else { NoKey::Unavailable };
        self.held(key_id).ok_or(otherwise)
    }

    /// Fetches now, whatever is known.
    pub(super) async fn refresh(&self, http: &OutboundHttp, now: Timestamp) {
        let _fetching = self.fetching.lock().await;
        self.fetch_and_keep(http, now).await;
    }

    /// How far the issuer's clock was ahead of ours when it last answered.
    pub(super) fn clock_ahead(&self) -> Option<SignedDuration> {
        self.known().clock_ahead
    }

    /// Whether keys were ever read.
    pub(super) fn ever_read(&self) -> bool {
        self.known().ever_read
    }

    /// The key of that id, if it was published when last read. The lock ends with this call.
    fn held(&self, key_id: &str) -> Option<Value> {
        self.known().keys.get(key_id).cloned()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Every change is one assignment of a whole value, so a panic leaves nothing half done.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Old keys are renewed every ten minutes, and while that fails once a minute.
    fn is_stale(&self, now: Timestamp) -> bool {
        let known = self.known();
        let interval = if known.last_failed { UNKNOWN_KEY_INTERVAL } else { REFRESH_INTERVAL };
        has_passed(known.last_attempt, interval, now)
    }

    fn may_fetch_for_unknown(&self, now: Timestamp) -> bool {
        let mut known = self.known();
        if !known.ever_read {
            return has_passed(known.last_attempt, FIRST_KEYS_INTERVAL, now);
        }
        let allowed = has_passed(known.last_unknown, UNKNOWN_KEY_INTERVAL, now);
        if allowed {
            known.last_unknown = Some(now);
        }
        allowed
    }

    async fn fetch_and_keep(&self, http: &OutboundHttp, now: Timestamp) {
        self.known().last_attempt = Some(now);
        let fetched = self.fetch(http, now).await;
        let mut known = self.known();
        match fetched {
            Ok(keys) => {
                known.keys = keys;
                known.ever_read = true;
                known.last_failed = false;
            }
            Err(error) => {
                known.last_failed = true;
                tracing::warn!(issuer = self.issuer, %error, "the keys of an issuer were not read");
            }
        }
    }

    async fn fetch(
        &self,
        http: &OutboundHttp,
        now: Timestamp,
    ) -> Result<HashMap<String, Value>, FetchError> {
        let jwks_uri = match &self.pinned_jwks_uri {
            Some(pinned) => pinned.clone(),
            None => self.discover(http, now).await?,
        };
        let set = self.get(http, &jwks_uri, now).await?;
        let Some(Value::Array(keys)) = set.get("keys") else {
            return Err(FetchError::Form { url: jwks_uri, what: "a key set (RFC 7517)" });
        };
        Ok(self.usable(keys))
    }

    async fn discover(&self, http: &OutboundHttp, now: Timestamp) -> Result<String, FetchError> {
        let url = format!("{}/.well-known/openid-configuration", self.issuer.trim_end_matches('/'));
        let document = self.get(http, &url, now).await?;
        let text = |name: &str| document.get(name).and_then(Value::as_str).map(str::to_owned);
        let found = text("issuer").unwrap_or_default();
        if found != self.issuer {
            return Err(FetchError::OtherIssuer { url, found });
        }
        let jwks_uri = text("jwks_uri").unwrap_or_default();
        // An issuer that is reached by TLS cannot hand its trust to plain text.
        let downgraded = self.issuer.starts_with("https:") && !jwks_uri.starts_with("https:");
        if jwks_uri.is_empty() || downgraded {
            return Err(FetchError::Form { url, what: "a usable jwks_uri" });
        }
        Ok(jwks_uri)
    }

    async fn get(
        &self,
        http: &OutboundHttp,
        url: &str,
        now: Timestamp,
    ) -> Result<Map<String, Value>, FetchError> {
        let answer = http.get_json(url).await?;
        if let Some(ahead) = outbound::clock_ahead(answer.headers(), now) {
            self.known().clock_ahead = Some(ahead);
        }
        let status = answer.status().as_u16();
        if status != 200 {
            return Err(FetchError::Status { url: url.to_owned(), status });
        }
        serde_json::from_slice(answer.body())
            .map_err(|_| FetchError::Form { url: url.to_owned(), what: "a JSON object" })
    }

    /// Keys by id. A key of another kind is skipped, and so are two keys with one id: which of
    /// them signed could not be told.
    fn usable(&self, keys: &[Value]) -> HashMap<String, Value> {
        let mut usable: HashMap<String, Option<Value>> = HashMap::new();
        for key in keys.iter().take(MAX_KEYS) {
            if let Some(key_id) = self.key_id_if_usable(key) {
                usable
                    .entry(key_id.to_owned())
                    .and_modify(|ambiguous| *ambiguous = None)
                    .or_insert_with(|| Some(key.clone()));
            }
        }
        usable.into_iter().filter_map(|(key_id, key)| Some((key_id, key?))).collect()
    }

    fn key_id_if_usable<'k>(&self, key: &'k Value) -> Option<&'k str> {
        let text = |name: &str| key.get(name).and_then(Value::as_str);
        let fits = |name: &str, expected: &str| match key.get(name) {
            None => true,
            Some(found) => found.as_str() == Some(expected),
        };
        let usable = text("kty") == Some(self.key_type)
            && self.curve.is_none_or(|curve| text("crv") == Some(curve))
            && fits("use", "sig")
            && fits("alg", self.algorithm);
        text("kid").filter(|_| usable)
    }
}

/// Whether `interval` lies between `last` and `now`; a clock set back counts as passed,
/// or else a wrong clock could silence the gate for years.
fn has_passed(last: Option<Timestamp>, interval: SignedDuration, now: Timestamp) -> bool {
    last.is_none_or(|last| now.duration_since(last).abs() >= interval)
}
