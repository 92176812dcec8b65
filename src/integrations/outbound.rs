//! How the gate reads from identity providers over HTTP: no redirects, bounded time, bounded size.

use std::time::Duration;

use http::header;
use jiff::{SignedDuration, Timestamp};
use reqwest::redirect;

/// Long enough for a handshake across the world, short enough that a dead provider
/// does not hold a caller.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// For a whole exchange. Identity providers answer in well under a second.
const TOTAL_TIMEOUT: Duration = Duration::from_secs(5);

/// Key sets, discovery documents and token answers are a few kilobytes. A larger answer is
/// an error or an attack, and is not read to its end.
const MAX_ANSWER_BYTES: usize = 256 * 1024;

/// An HTTP client that cannot be sent anywhere but where it was pointed.
///
/// Redirects are never followed: keys are trusted because of the address they came from,
/// and an open redirect at a provider must not move that address.
#[derive(Clone, Debug)]
pub struct OutboundHttp {
    client: reqwest::Client,
}

/// A request that got no usable answer.
#[derive(Debug, thiserror::Error)]
pub enum OutboundError {
    /// No answer came: name, connection, TLS or time.
    #[error("no answer from {url}: {cause}")]
    NoAnswer {
        /// Where the request went, without its query.
        url: String,
        /// What the network said.
        cause: String,
    },
    /// The answer was larger than any honest one.
    #[error("the answer of {url} is larger than {MAX_ANSWER_BYTES} bytes")]
    TooLarge {
        /// Where the request went, without its query.
        url: String,
    },
    /// The request could not be made at all.
    #[error("the request could not be made: {0}")]
    Unusable(String),
}

impl OutboundHttp {
    /// A client with the limits above. The process must have installed its TLS provider.
    ///
    /// A machine without any certificates (a bare container) still gets a client: plain HTTP on
    /// loopback works there, and every TLS connection fails, which is said once.
    ///
    /// # Errors
    /// If TLS cannot be set up at all.
    pub fn new() -> Result<Self, OutboundError> {
        let client = match builder().build() {
            Ok(client) => client,
            Err(error) => {
                let cause = chain(&error);
                tracing::warn!(cause, "no TLS connection can be made: install ca-certificates");
                let without_roots = builder().tls_certs_only([]).build();
                without_roots.map_err(|error| OutboundError::Unusable(chain(&error)))?
            }
        };
        Ok(Self { client })
    }

    /// Sends one request and reads its answer, whatever its status.
    ///
    /// # Errors
    /// If no answer came in time or it was too large.
    pub async fn send(
        &self,
        request: http::Request<Vec<u8>>,
    ) -> Result<http::Response<Vec<u8>>, OutboundError> {
        let url = without_query(&request.uri().to_string());
        let request = reqwest::Request::try_from(request)
            .map_err(|error| OutboundError::Unusable(chain(&error)))?;
        let no_answer = |error: reqwest::Error| OutboundError::NoAnswer {
            url: url.clone(),
            cause: chain(&error),
        };
        let mut answer = self.client.execute(request).await.map_err(no_answer)?;
        let mut body = Vec::new();
        while let Some(part) = answer.chunk().await.map_err(no_answer)? {
            if body.len() + part.len() > MAX_ANSWER_BYTES {
                return Err(OutboundError::TooLarge { url });
            }
            body.extend_from_slice(&part);
        }
        let mut response = http::Response::new(body);
        *response.status_mut() = answer.status();
        *response.headers_mut() = answer.headers().clone();
        Ok(response)
    }

    /// A plain GET that asks for JSON.
    ///
    /// # Errors
    /// As [`OutboundHttp::send`].
    pub async fn get_json(&self, url: &str) -> Result<http::Response<Vec<u8>>, OutboundError> {
        let request = http::Request::get(url)
            .header(header::ACCEPT, "application/json")
            .body(Vec::new())
            .map_err(|error| OutboundError::Unusable(error.to_string()))?;
        self.send(request).await
    }
}

fn builder() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .redirect(redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(TOTAL_TIMEOUT)
        .user_agent(concat!("countersign/", env!("CARGO_PKG_VERSION")))
}

/// How far the clock of whoever answered is ahead of `now`, by the answer's `Date`.
/// Its precision is a second, and it includes the time the answer took.
pub fn clock_ahead(headers: &http::HeaderMap, now: Timestamp) -> Option<SignedDuration> {
    let date = headers.get(header::DATE)?.to_str().ok()?;
    let theirs = jiff::fmt::rfc2822::parse(date).ok()?.timestamp();
    Some(theirs.duration_since(now))
}

/// An error with its causes: reqwest's own message says only that sending failed.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

/// Queries can carry secrets, and error texts reach logs.
fn without_query(url: &str) -> String {
    url.split('?').next().unwrap_or_default().to_owned()
}
