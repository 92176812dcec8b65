//! The gate as a GitHub App: one token for each pinned repository, and one call at a time.
//!
//! A repository is named by its number, whose addresses GitHub itself redirects to when a repository is
//! renamed: a name can come to mean another one. What GitHub answers is sorted into what is over, what may
//! be tried again and when, and what nobody knows.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use http::{HeaderMap, Method, StatusCode, Uri};
use jiff::{SignedDuration, Timestamp};
use octocrab::Octocrab;
use octocrab::models::{AppId, InstallationId, RepositoryId};
use octocrab::service::middleware::retry::RetryConfig;
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::GitHubError;

/// For a whole call; nobody waits for it but the next call.
const TIMEOUT: Duration = Duration::from_secs(10);
/// GitHub's word for a secondary limit that names no time: "wait for at least one minute".
const SECONDARY_LIMIT: Duration = Duration::from_secs(60);
/// A limit that names a longer time than its own period (one hour) is not believed.
const LONGEST_LIMIT: Duration = Duration::from_secs(3600);
/// As much of GitHub's words as fits into a line of the log.
const LONGEST_MESSAGE: usize = 300;

/// What the gate's App is and where it is installed.
#[derive(Clone, Debug)]
pub struct AppSettings {
    /// GitHub's number of the App.
    pub id: u64,
    /// Its private key, PEM.
    pub private_key: SecretString,
    /// The secret of its webhook.
    pub webhook_secret: SecretString,
    /// Where it is installed, as far as that counts here.
    pub installations: Vec<Installation>,
    /// What GitHub is shown of each approval.
    pub shows: BTreeSet<Shown>,
}

/// An installation of the App, pinned with its repositories.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Installation {
    /// GitHub's number of it.
    pub id: u64,
    /// GitHub's numbers of the repositories.
    pub repositories: BTreeSet<u64>,
}

/// What GitHub can be shown of an approval.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shown {
    /// A deployment with its statuses.
    Deployment,
    /// A check run on the commit.
    Check,
    /// A comment on the pull request that the commit came with.
    Comment,
}

impl Shown {
    /// Everything.
    pub const ALL: [Self; 3] = [Self::Deployment, Self::Check, Self::Comment];

    /// As a list names it.
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Deployment => "deployments",
            Self::Check => "checks",
            Self::Comment => "comments",
        }
    }
}

/// Why a call was not answered as it should be.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The repository is not pinned in the configuration.
    #[error("the repository {0} is not listed in [[github.app.installation]]")]
    NotPinned(u64),
    /// GitHub did not do it, and may do it later: a limit, or its own outage before anything was done.
    #[error("GitHub did not do it now: {why}")]
    NotNow {
        /// GitHub's words.
        why: String,
        /// How long GitHub asks to be left alone, if it does.
        limited_for: Option<Duration>,
    },
    /// GitHub refused for good.
    #[error("GitHub refused ({status}): {why}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// GitHub's words.
        why: String,
    },
    /// No clear answer came: it may or may not have been done.
    #[error("what became of a call to GitHub is not known: {0}")]
    Unknown(String),
}

/// The App.
pub struct GitHubApp {
    /// GitHub's number of the App.
    pub id: u64,
    /// `github.com`, or the host of a GitHub Enterprise Server.
    pub host: String,
    /// The secret of its webhook.
    pub webhook_secret: SecretString,
    /// What GitHub is shown.
    pub shows: BTreeSet<Shown>,
    repositories: BTreeMap<u64, Pinned>,
}

struct Pinned {
    installation: u64,
    client: Octocrab,
}

/// Whether the App's tokens can be signed with it.
pub fn is_private_key(pem: &SecretString) -> bool {
    let pem = pem.expose_secret().as_bytes();
    Octocrab::builder().app_from_rsa_pem(AppId(1), pem).is_ok()
}

impl GitHubApp {
    /// The App at this API. Nothing is fetched yet: a token is taken with the first call, and again before
    /// it runs out.
    ///
    /// # Errors
    /// If the address or the key cannot be used.
    pub fn new(api: &str, settings: &AppSettings) -> Result<Self, GitHubError> {
        let unusable = |error: &dyn std::fmt::Display| GitHubError::Settings(error.to_string());
        let uri: Uri = api.parse().map_err(|error| unusable(&error))?;
        let host = match uri.authority().map(http::uri::Authority::as_str) {
            Some("api.github.com") | None => "github.com".to_owned(),
            Some(host) => host.to_owned(),
        };
        let builder = Octocrab::builder()
            .base_uri(uri)
            .map_err(|error| unusable(&error))?
            .set_connect_timeout(Some(TIMEOUT))
            .set_read_timeout(Some(TIMEOUT))
            // What is sent twice is decided here and nowhere else.
            .add_retry_config(RetryConfig::None);
        let app = builder
            .app_from_rsa_pem(AppId(settings.id), settings.private_key.expose_secret())?
            .build()?;
        let mut repositories = BTreeMap::new();
        for installation in &settings.installations {
            for repository in &installation.repositories {
                // Each token reaches one repository, so that one which left the installation stops no other.
                let client = app
                    .installation_builder(InstallationId(installation.id))
                    .repository_ids(vec![RepositoryId(*repository)])
                    .build()?;
                repositories.insert(*repository, Pinned { installation: installation.id, client });
            }
        }
        Ok(Self {
            id: settings.id,
            host,
            webhook_secret: settings.webhook_secret.clone(),
            shows: settings.shows.clone(),
            repositories,
        })
    }

    /// Whether this repository is pinned.
    pub fn knows(&self, repository: u64) -> bool {
        self.repositories.contains_key(&repository)
    }

    /// The installation that a repository is pinned with.
    pub fn installation_of(&self, repository: u64) -> Option<u64> {
        self.repositories.get(&repository).map(|pinned| pinned.installation)
    }

    /// Reads something of a repository.
    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        repository: u64,
        path: &str,
    ) -> Result<T, AppError> {
        let text = self.call(repository, Method::GET, path, None).await?;
        read(&text)
    }

    /// Changes something of a repository.
    pub(super) async fn send<T: DeserializeOwned>(
        &self,
        repository: u64,
        method: Method,
        path: &str,
        body: &Value,
    ) -> Result<T, AppError> {
        let text = self.call(repository, method, path, Some(body)).await?;
        read(&text)
    }

    /// One call, made once. `path` begins behind the repository's own address.
    pub(super) async fn call(
        &self,
        repository: u64,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<String, AppError> {
        let pinned = self.repositories.get(&repository);
        let client = &pinned.ok_or(AppError::NotPinned(repository))?.client;
        let not_now = |why: String| AppError::NotNow { why, limited_for: None };
        // Taken first, so that its failure is known to be one before anything was done.
        let token = tokio::time::timeout(TIMEOUT, client.installation_token()).await;
        token
            .map_err(|_| not_now("no token came in time".to_owned()))?
            .map_err(|error| not_now(format!("no token for the installation: {}", told(&error))))?;
        let uri = format!("/repositories/{repository}{path}");
        let request = http::Request::builder().method(method).uri(uri);
        let request = client.build_request(request, body).map_err(|error| {
            AppError::Unknown(format!("it could not be made: {}", told(&error)))
        })?;
        let exchange = async {
            let response = client.execute(request).await.map_err(|error| told(&error))?;
            let (status, headers) = (response.status(), response.headers().clone());
            let text = client.body_to_string(response).await.map_err(|error| told(&error))?;
            Ok((status, headers, text))
        };
        let (status, headers, text) = tokio::time::timeout(TIMEOUT, exchange)
            .await
            .unwrap_or_else(|_| Err("no answer in time".to_owned()))
            .map_err(AppError::Unknown)?;
        if status.is_success() { Ok(text) } else { Err(sort(status, &headers, &text)) }
    }
}

fn read<T: DeserializeOwned>(text: &str) -> Result<T, AppError> {
    serde_json::from_str(text)
        .map_err(|error| AppError::Unknown(format!("the answer is not GitHub's: {error}")))
}

/// An error with its causes, cut to what a log holds.
fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text.lines().next().unwrap_or_default().chars().take(LONGEST_MESSAGE).collect()
}

#[derive(Deserialize, Default)]
struct ErrorAnswer {
    #[serde(default)]
    message: String,
    #[serde(default)]
    errors: Value,
}

/// "Rate limits for the REST API" of GitHub's documentation says how limits are told.
fn sort(status: StatusCode, headers: &HeaderMap, text: &str) -> AppError {
    let ErrorAnswer { message, errors } = serde_json::from_str(text).unwrap_or_default();
    let words = if errors.is_null() { message } else { format!("{message} {errors}") };
    let why: String = words.chars().take(LONGEST_MESSAGE).collect();
    if matches!(status, StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS) {
        let limited_for = limited_for(headers)
            .or_else(|| why.contains("secondary rate limit").then_some(SECONDARY_LIMIT))
            .or_else(|| (status == StatusCode::TOO_MANY_REQUESTS).then_some(SECONDARY_LIMIT));
        if limited_for.is_some() {
            return AppError::NotNow { why, limited_for };
        }
    }
    if status.is_server_error() {
        return AppError::Unknown(format!("it answered {status}: {why}"));
    }
    AppError::Refused { status: status.as_u16(), why }
}

fn limited_for(headers: &HeaderMap) -> Option<Duration> {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.parse::<i64>().ok();
    let pause = match number("retry-after") {
        Some(seconds) => SignedDuration::from_secs(seconds),
        None if number("x-ratelimit-remaining") == Some(0) => {
            let reset = Timestamp::from_second(number("x-ratelimit-reset")?).ok()?;
            let date = headers.get(http::header::DATE)?.to_str().ok()?;
            reset.duration_since(jiff::fmt::rfc2822::parse(date).ok()?.timestamp())
        }
        None => return None,
    };
    // Both name whole seconds, and one that is asked a moment early asks for nothing.
    let pause = pause.saturating_add(SignedDuration::from_secs(1));
    Some(Duration::try_from(pause).unwrap_or_default().min(LONGEST_LIMIT))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(status: u16, headers: &[(&'static str, &str)], text: &str) -> Option<Option<u64>> {
        let named = headers
            .iter()
            .map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap()));
        let error = sort(StatusCode::from_u16(status).unwrap(), &named.collect(), text);
        match error {
            AppError::NotNow { limited_for, .. } => Some(limited_for.map(|pause| pause.as_secs())),
            _ => None,
        }
    }

    #[test]
    fn limits_are_waited_for_as_github_says() {
        let date = ("date", "Mon, 02 Mar 2026 09:00:00 GMT");
        let reset = ("x-ratelimit-reset", "1772442120");
        let none = ("x-ratelimit-remaining", "0");
        assert_eq!(limit(403, &[("retry-after", "30")], "{}"), Some(Some(31)));
        assert_eq!(limit(429, &[none, reset, date], "{}"), Some(Some(121)));
        assert_eq!(limit(429, &[("retry-after", "99999999")], "{}"), Some(Some(3600)));
        assert_eq!(limit(429, &[], "{}"), Some(Some(60)));
        let secondary = r#"{"message": "You have exceeded a secondary rate limit."}"#;
        assert_eq!(limit(403, &[], secondary), Some(Some(60)));
        // A permission that is missing is no limit, however much is left.
        assert_eq!(limit(403, &[("x-ratelimit-remaining", "12")], "{}"), None);
        assert_eq!(limit(422, &[], "{}"), None);
    }

    #[test]
    fn a_server_error_is_an_unknown_outcome() {
        let error = sort(StatusCode::BAD_GATEWAY, &HeaderMap::new(), "<html>");
        assert!(matches!(error, AppError::Unknown(_)), "{error}");
        let error = sort(StatusCode::NOT_FOUND, &HeaderMap::new(), r#"{"message": "Not Found"}"#);
        assert_eq!(error.to_string(), "GitHub refused (404): Not Found");
    }
}
