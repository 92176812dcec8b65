//! Receivers of notices: webhooks signed as Standard Webhooks (specification 1.0) has them, and incoming
//! webhooks of Slack or of what speaks like it.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_lc_rs::hmac;
use data_encoding::BASE64;
use http::{HeaderMap, StatusCode, header};
use jiff::{SignedDuration, Timestamp};
use reqwest::redirect;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use url::{Host, Url};

use crate::domain::canonical::to_canonical_json;
use crate::domain::notice::{Notice, Subscription};
use crate::integrations::outbound::chain;
use crate::integrations::public_address::{CheckedNames, Reach};

/// Long enough for a handshake across the world.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// For a whole exchange. A receiver that works on a notice before it answers is asked to do it the other
/// way around.
const TOTAL_TIMEOUT: Duration = Duration::from_secs(10);
/// What a receiver may ask for in `Retry-After`.
const LONGEST_RETRY_AFTER: SignedDuration = SignedDuration::from_hours(1);
/// What secrets are written with (Standard Webhooks, "signature scheme").
const SECRET_PREFIX: &str = "whsec_";
/// The bytes of a secret: at least a 192-bit key, at most a block of SHA-256.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// A receiver, as configured.
#[derive(Clone, Debug)]
pub struct ReceiverSettings {
    /// What it is called and what it wants to be told.
    pub subscription: Subscription,
    /// Where it is. Slack's addresses are secrets.
    pub url: SecretString,
    /// What it understands.
    pub form: Form,
}

/// What a receiver understands.
#[derive(Clone, Debug)]
pub enum Form {
    /// Standard Webhooks, signed with each of these keys: two while one takes the other's place.
    Webhook(Vec<hmac::Key>),
    /// A Slack message.
    Slack,
}

impl ReceiverSettings {
    /// What it is called.
    pub fn name(&self) -> &str {
        &self.subscription.receiver
    }

    /// Where it is, as far as everybody may know: scheme and host.
    pub fn shown(&self) -> String {
        let url = Url::parse(self.url.expose_secret());
        url.map(|url| url.origin().ascii_serialization()).unwrap_or_default()
    }
}

/// The signing keys that a secret's text holds: one or two, each on a line of its own.
pub fn signing_keys(text: &SecretString) -> Option<Vec<hmac::Key>> {
    let keys = text.expose_secret().split_whitespace().map(|line| {
        let bytes = BASE64.decode(line.strip_prefix(SECRET_PREFIX)?.as_bytes()).ok()?;
        let fits = SECRET_BYTES.contains(&bytes.len());
        fits.then(|| hmac::Key::new(hmac::HMAC_SHA256, &bytes))
    });
    let keys: Vec<hmac::Key> = keys.collect::<Option<_>>()?;
    (1..=2).contains(&keys.len()).then_some(keys)
}

/// A notice that was not taken.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    /// The outbox names a receiver that the configuration does not.
    #[error("the configuration names no receiver {0:?}")]
    NotConfigured(String),
    /// It is at an address where nothing is sent.
    #[error("{0} is no public address: nothing is sent there")]
    NotPublic(String),
    /// No answer came.
    #[error("no answer: {0}")]
    NoAnswer(String),
    /// It answered something else than that it took it.
    #[error("it answered {status}")]
    Refused {
        /// What it answered.
        status: StatusCode,
        /// How long it asks to be left alone.
        retry_after: Option<SignedDuration>,
    },
    /// It wants nothing any more (Standard Webhooks: the endpoint is to be disabled).
    #[error("it answered 410: it is gone, remove it from the configuration")]
    Gone,
    /// The notice could not be made.
    #[error("the notice could not be written: {0}")]
    Unusable(String),
}

impl DeliveryError {
    /// Whether trying again is of no use.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Gone | Self::Unusable(_))
    }

    /// How long the receiver asks to be left alone.
    pub fn retry_after(&self) -> Option<SignedDuration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// The receivers, and the way to them.
pub struct Receivers {
    client: reqwest::Client,
    reach: Reach,
    settings: BTreeMap<String, ReceiverSettings>,
}

impl Receivers {
    /// These receivers, told over connections that follow no redirect, use no proxy and end at addresses
    /// within `reach` alone.
    ///
    /// # Errors
    /// If TLS cannot be set up at all.
    pub fn new(settings: Vec<ReceiverSettings>, reach: Reach) -> Result<Self, String> {
        let builder = || {
            reqwest::Client::builder()
                .redirect(redirect::Policy::none())
                // A proxy would look names up by itself, and connect to what it finds.
                .no_proxy()
                .dns_resolver(CheckedNames(reach))
                .connect_timeout(CONNECT_TIMEOUT)
                .timeout(TOTAL_TIMEOUT)
                .user_agent(concat!("countersign/", env!("CARGO_PKG_VERSION")))
        };
        // Without any certificates (a bare container) plain HTTP on loopback works all the same.
        let client = builder().build().or_else(|_| builder().tls_certs_only([]).build());
        let client = client.map_err(|error| chain(&error))?;
        let settings = settings.into_iter().map(|one| (one.name().to_owned(), one)).collect();
        Ok(Self { client, reach, settings })
    }

    /// As they are configured, by their names.
    pub fn settings(&self) -> impl Iterator<Item = &ReceiverSettings> {
        self.settings.values()
    }

    /// Whether a requester may name this one.
    pub fn is_webhook(&self, name: &str) -> bool {
        self.settings.get(name).is_some_and(|one| matches!(one.form, Form::Webhook(_)))
    }

    /// Tells a receiver, once.
    ///
    /// # Errors
    /// If it did not say that it took it. It may have taken it all the same.
    pub async fn tell(
        &self,
        receiver: &str,
        notice: &Notice,
        now: Timestamp,
    ) -> Result<(), DeliveryError> {
        let settings = self.settings.get(receiver);
        let settings = settings.ok_or_else(|| DeliveryError::NotConfigured(receiver.to_owned()))?;
        let unusable = |error: &dyn std::fmt::Display| DeliveryError::Unusable(error.to_string());
        let url = Url::parse(settings.url.expose_secret()).map_err(|error| unusable(&error))?;
        // Names are checked when they are looked up; addresses are looked up by nobody.
        let address = match url.host() {
            Some(Host::Ipv4(address)) => Some(address.into()),
            Some(Host::Ipv6(address)) => Some(address.into()),
            Some(Host::Domain(_)) | None => None,
        };
        if let Some(address) = address.filter(|address| !self.reach.admits(*address)) {
            return Err(DeliveryError::NotPublic(address.to_string()));
        }
        let (headers, body) = match &settings.form {
            Form::Webhook(keys) => {
                let body =
                    to_canonical_json(&notice.payload()).map_err(|error| unusable(&error))?;
                (signed(notice, keys, &body, now), body)
            }
            Form::Slack => (HeaderMap::new(), slack_message(notice)),
        };
        let request = self.client.post(url).headers(headers);
        let request = request.header(header::CONTENT_TYPE, "application/json").body(body);
        // The address may be a secret, and errors reach logs and pages.
        let answer = request.send().await;
        let answer =
            answer.map_err(|error| DeliveryError::NoAnswer(chain(&error.without_url())))?;
        match answer.status() {
            status if status.is_success() => Ok(()),
            StatusCode::GONE => Err(DeliveryError::Gone),
            status => {
                let retry_after = retry_after(answer.headers());
                Err(DeliveryError::Refused { status, retry_after })
            }
        }
    }
}

fn retry_after(headers: &HeaderMap) -> Option<SignedDuration> {
    let seconds: u32 = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(SignedDuration::from_secs(i64::from(seconds)).min(LONGEST_RETRY_AFTER))
}

/// The headers that prove to a receiver that a body is ours (Standard Webhooks, "webhook headers").
fn signed(notice: &Notice, keys: &[hmac::Key], body: &str, now: Timestamp) -> HeaderMap {
    let seconds = now.as_second().to_string();
    let content = format!("{}.{seconds}.{body}", notice.id);
    let signatures: Vec<String> = keys
        .iter()
        .map(|key| format!("v1,{}", BASE64.encode(hmac::sign(key, content.as_bytes()).as_ref())))
        .collect();
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("webhook-id", notice.id.as_str()),
        ("webhook-timestamp", &seconds),
        ("webhook-signature", &signatures.join(" ")),
    ] {
        // All of it is ours and ASCII.
        if let Ok(value) = value.parse() {
            headers.insert(name, value);
        }
    }
    headers
}

/// A message with a link and nothing to press.
fn slack_message(notice: &Notice) -> String {
    let environment = notice.environment.as_ref().map(|name| format!("*{}* ", for_slack(name)));
    let text = format!(
        "{}{} <{}|Open it>",
        environment.unwrap_or_default(),
        for_slack(&notice.sentence),
        for_slack(&notice.url)
    );
    json!({"text": text, "unfurl_links": false, "unfurl_media": false}).to_string()
}

/// Slack's three control characters, written as it asks for, and no line breaks: a text is a text, and
/// neither link nor call to a channel.
fn for_slack(text: &str) -> String {
    text.chars().fold(String::new(), |mut escaped, letter| {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            letter if letter.is_control() => escaped.push(' '),
            letter => escaped.push(letter),
        }
        escaped
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_read_strictly() {
        let keys = |text: &str| signing_keys(&text.to_owned().into()).map(|keys| keys.len());
        let good = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        assert_eq!(keys(good), Some(1));
        assert_eq!(keys(&format!("{good}\n{good}\n")), Some(2));
        let three = format!("{good}\n{good}\n{good}");
        for bad in
            ["", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_", "whsec_AAAA", "whsec_!", &three]
        {
            assert_eq!(keys(bad), None, "{bad}");
        }
    }

    #[test]
    fn texts_are_inert_in_slack() {
        let escaped = for_slack("<!channel> & <https://evil.example|Approve>\nnow");
        assert_eq!(escaped, "&lt;!channel&gt; &amp; &lt;https://evil.example|Approve&gt; now");
    }
}
