//! The gate's public API as those who ask use it: `countersign request`, `wait` and `exec` and the
//! demo's pipeline. It knows what any other client could know: addresses, tokens and JSON.
//!
//! Every call carries a token that was fetched for it, since a token lives for minutes and a wait for
//! hours. A lost answer is asked for again, which the idempotency key and the version make harmless.

pub mod failure;
mod grants;
pub mod idempotency;
pub mod tokens;
mod wait;

use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, LOCATION, RETRY_AFTER};
use reqwest::{Method, Response, redirect};
use serde_json::{Value, json};
use url::Url;

use crate::domain::approval::Status;
use crate::domain::ids::ApprovalId;
use crate::domain::text::one_line;
pub use failure::Failure;
pub use grants::Grant;
use tokens::Tokens;
pub use wait::{News, Waited};

/// For an exchange that waits for nothing.
const EXCHANGE: Duration = Duration::from_secs(30);
/// What a proxy in front may add to a long poll.
const POLL_MARGIN: Duration = Duration::from_secs(20);
/// A machine that does not answer a connection in this time is not there.
const CONNECT: Duration = Duration::from_secs(10);
/// Evidence of an approval that many signed takes tens of kilobytes. What is larger than this is no
/// answer of a gate, and is not read to its end.
const MOST_BYTES: usize = 16 * 1024 * 1024;
/// A longer pause than this would outlive a short outage for no gain.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(120);

/// A gate, and the tokens to ask it with.
pub struct Client {
    http: reqwest::Client,
    gate: String,
    tokens: Tokens,
}

/// An approval as the gate shows it.
#[derive(Clone, Debug)]
pub struct Approval {
    /// Its name.
    pub id: ApprovalId,
    /// Where it stands; none if this program is older than the gate and does not know the word.
    pub status: Option<Status>,
    /// Counts its changes.
    pub version: u64,
    /// What the status means.
    pub sentence: String,
    /// The whole answer.
    pub whole: Value,
}

impl Approval {
    fn read(whole: Value) -> Option<Self> {
        let id = whole["id"].as_str()?.parse().ok()?;
        let status = whole["status"].as_str()?;
        let refused = whole["grant_refused"].as_str();
        let sentence = refused.or(whole["status_sentence"].as_str()).map(one_line);
        Some(Self {
            id,
            version: whole["version"].as_u64()?,
            sentence: sentence.unwrap_or_else(|| format!("It is {}.", one_line(status))),
            status: Status::parse(status),
            whole,
        })
    }

    /// A text of the answer, fit for a terminal; empty if it is not there.
    pub fn text(&self, name: &str) -> String {
        self.whole[name].as_str().map(one_line).unwrap_or_default()
    }

    /// Whether nothing more happens by itself: an action that has its grant waits for nobody but us.
    pub fn has_ended(&self) -> bool {
        self.status.is_some_and(Status::is_final) || self.grant().is_some()
    }
}

/// The address of a gate, as it is written in front of the paths of its API.
///
/// # Errors
/// A sentence, when a token would travel in the clear or the address is more than an address.
pub fn gate_address(text: &str) -> Result<String, String> {
    let url = Url::parse(text).map_err(|error| {
        format!("{text:?} is no address ({error}): write it like https://gate.example.com")
    })?;
    let is_here = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
    if url.scheme() != "https" && !(url.scheme() == "http" && is_here) {
        return Err(format!(
            "{text:?} does not begin with https://: the token travels with every call, so http:// is for this machine alone"
        ));
    }
    let is_bare = url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    if !is_bare {
        return Err(format!("{text:?} has a user, a query or a fragment: give the bare address"));
    }
    Ok(text.trim_end_matches('/').to_owned())
}

impl Client {
    /// A client of the gate at this address, which [`gate_address`] checked.
    ///
    /// # Errors
    /// A sentence, if no TLS can be set up on this machine.
    pub fn new(gate: String, tokens: Tokens) -> Result<Self, String> {
        // On the machine itself nothing lies between: a proxy is for what is outside.
        let is_here = gate.starts_with("http://");
        let http = if is_here { direct_http() } else { http() }?;
        Ok(Self { http, gate, tokens })
    }

    /// Whether each call can have a token of its own.
    pub fn renews_tokens(&self) -> bool {
        self.tokens.renews()
    }

    /// Asks, or finds what was asked under this key before.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn ask(&self, body: &Value, key: &str) -> Result<Approval, Failure> {
        let call = Call { key: Some(key), body: Some(body), ..Call::new(Method::POST) };
        let answer = self.send("/v1/approvals", call).await?;
        approval_in(&answer).ok_or_else(|| Failure::Refused {
            status: 200,
            code: "no_approval".to_owned(),
            detail: format!(
                "{} answered something that is no approval: is it the address of the gate?",
                self.gate
            ),
        })
    }

    /// The approval as soon as it is newer than `version`, or as it is after `patience`.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn read(
        &self,
        id: &ApprovalId,
        version: u64,
        patience: Duration,
    ) -> Result<Approval, Failure> {
        let path = format!("/v1/approvals/{id}?wait={}&version={version}", patience.as_secs());
        let timeout = patience + POLL_MARGIN;
        let answer = self.send(&path, Call { timeout, ..Call::new(Method::GET) }).await?;
        // While an approval is waited for, a proxy's own page is an outage, not an answer.
        approval_in(&answer).ok_or_else(|| {
            Failure::no_answer(format!("{} answered something that is no approval", self.gate))
        })
    }

    /// Takes the request back.
    ///
    /// # Errors
    /// [`Failure`]; refused when the rollout has begun or the approval has ended.
    pub async fn cancel(&self, id: &ApprovalId) -> Result<(), Failure> {
        let call = Call { body: Some(&json!({})), ..Call::new(Method::POST) };
        self.send(&format!("/v1/approvals/{id}/cancel"), call).await.map(|_| ())
    }

    /// The evidence file, byte by byte as the gate made it.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn evidence(&self, id: &ApprovalId) -> Result<Vec<u8>, Failure> {
        self.send(&format!("/v1/approvals/{id}/evidence"), Call::new(Method::GET)).await
    }

    async fn send(&self, path: &str, call: Call<'_>) -> Result<Vec<u8>, Failure> {
        let mut request = self
            .http
            .request(call.method.clone(), format!("{}{path}", self.gate))
            .header(ACCEPT, "application/json")
            .timeout(call.timeout);
        if call.has_token {
            request = request.bearer_auth(self.tokens.fetch(&self.http).await?);
        }
        if let Some(key) = call.key {
            request = request.header("Idempotency-Key", key);
        }
        if let Some(body) = call.body {
            request = request.json(body);
        }
        let lost = |error: reqwest::Error| {
            Failure::no_answer(format!("{} did not answer ({})", self.gate, cause_of(&error)))
        };
        let mut answer = request.send().await.map_err(lost)?;
        let mut body = Vec::new();
        while let Some(part) = answer.chunk().await.map_err(lost)? {
            if body.len() + part.len() > MOST_BYTES {
                return Err(Failure::no_answer(format!(
                    "{} answered more than a gate does",
                    self.gate
                )));
            }
            body.extend_from_slice(&part);
        }
        if answer.status().is_success() {
            Ok(body)
        } else {
            Err(self.failure_of(&call, &answer, &body))
        }
    }

    /// What an answer that says no means.
    fn failure_of(&self, call: &Call<'_>, answer: &Response, body: &[u8]) -> Failure {
        let status = answer.status();
        let is_problem = header_of(answer.headers(), CONTENT_TYPE.as_str())
            .is_some_and(|kind| kind.starts_with("application/problem+json"));
        let problem: Value =
            if is_problem { serde_json::from_slice(body).unwrap_or_default() } else { Value::Null };
        let detail = problem["detail"].as_str().map(one_line);
        if status.is_redirection() {
            let to = header_of(answer.headers(), LOCATION.as_str()).unwrap_or("nowhere");
            return Failure::Refused {
                status: status.as_u16(),
                code: "redirect".to_owned(),
                detail: format!(
                    "{} redirects to {}: give the address that answers itself, since a token is not carried elsewhere",
                    self.gate,
                    one_line(to)
                ),
            };
        }
        let is_passing = status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429);
        // The gate's own refusals are problems. Anything else was said by something in front of it,
        // which may pass while an approval is waited for.
        if is_passing || (!is_problem && call.method == Method::GET) {
            let why = detail.unwrap_or_else(|| "without an explanation".to_owned());
            let retry_after = header_of(answer.headers(), RETRY_AFTER.as_str())
                .and_then(|text| text.parse().ok())
                .map(|seconds| Duration::from_secs(seconds).min(LONGEST_RETRY_AFTER));
            let sentence = format!("{} answered {}: {why}", self.gate, status.as_u16());
            return Failure::NoAnswer { sentence, retry_after };
        }
        let code = problem["type"].as_str().and_then(|kind| kind.rsplit(':').next());
        Failure::Refused {
            status: status.as_u16(),
            code: code.map_or_else(|| "no_code".to_owned(), one_line),
            detail: detail.unwrap_or_else(|| {
                format!(
                    "{} answered {} without an explanation: is it the address of the gate?",
                    self.gate,
                    status.as_u16()
                )
            }),
        }
    }
}

/// One call of the API.
struct Call<'a> {
    method: Method,
    key: Option<&'a str>,
    body: Option<&'a Value>,
    timeout: Duration,
    /// Whether it says who we are.
    has_token: bool,
}

impl Call<'_> {
    fn new(method: Method) -> Self {
        Self { method, key: None, body: None, timeout: EXCHANGE, has_token: true }
    }
}

/// Through the proxy that the environment names, if it does.
fn http() -> Result<reqwest::Client, String> {
    built(http_builder())
}

/// Past any proxy.
fn direct_http() -> Result<reqwest::Client, String> {
    built(http_builder().no_proxy())
}

fn http_builder() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        // Following a redirect would hand the token to whoever it points to.
        .redirect(redirect::Policy::none())
        .connect_timeout(CONNECT)
        .timeout(EXCHANGE)
        .user_agent(concat!("countersign/", env!("CARGO_PKG_VERSION")))
}

fn built(builder: reqwest::ClientBuilder) -> Result<reqwest::Client, String> {
    let why = |error| format!("no connection can be made from here: {}", cause_of(&error));
    builder.build().map_err(why)
}

fn approval_in(body: &[u8]) -> Option<Approval> {
    Approval::read(serde_json::from_slice(body).ok()?)
}

fn header_of<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// The innermost cause: reqwest's own message says only that sending failed.
fn cause_of(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    one_line(&cause.to_string())
}
