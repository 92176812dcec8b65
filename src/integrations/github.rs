//! GitHub's API: what the commit that ships says of itself, and whose commits those since the last are
//! ([`commits`]). [`app`] is the gate's own App there,
//! [`delivery`] what GitHub sends to it.

pub mod app;
pub mod commits;
pub mod delivery;
pub mod runs;
pub mod shown;

use std::time::Duration;

use http::Uri;
use jiff::Timestamp;
use octocrab::Octocrab;
use secrecy::SecretString;
use serde::Deserialize;

use crate::domain::deployment::Commit;
use crate::domain::time::is_writable;

/// Long enough for a healthy API; a pipeline waits for the answer meanwhile.
const TIMEOUT: Duration = Duration::from_secs(4);
/// A headline is shown on one line; what is longer is cut.
const LONGEST_HEADLINE: usize = 200;

/// Where GitHub's API is and how to speak to it.
#[derive(Clone, Debug)]
pub struct GitHubSettings {
    /// `https://api.github.com`, or the API of a GitHub Enterprise Server.
    pub api: String,
    /// A token that may read contents of the repositories that ask; none for public ones.
    pub token: Option<SecretString>,
    /// The gate's App there, where it has one.
    pub app: Option<app::AppSettings>,
}

/// A client of GitHub's API.
pub struct GitHub {
    client: Octocrab,
}

/// Why a commit could not be read. A deployment can be asked for all the same: what GitHub says of
/// a commit is context, the commit itself is named by the verified token.
#[derive(Debug, thiserror::Error)]
pub enum GitHubError {
    /// The address or token cannot be used.
    #[error("the GitHub API cannot be used as configured: {0}")]
    Settings(String),
    /// GitHub did not answer with the commit.
    #[error("GitHub did not answer with the commit: {0}")]
    Unanswered(#[from] octocrab::Error),
    /// The token's claims are not of GitHub's form.
    #[error("the repository id or the commit of the token is not of GitHub's form")]
    Claims,
}

#[derive(Deserialize)]
struct CommitAnswer {
    html_url: String,
    commit: CommitPart,
}

#[derive(Deserialize)]
struct CommitPart {
    message: String,
    author: Option<AuthorPart>,
}

#[derive(Deserialize)]
struct AuthorPart {
    name: String,
    date: Option<Timestamp>,
}

impl GitHub {
    /// A client for these settings. Nothing is fetched yet.
    pub fn new(settings: &GitHubSettings) -> Result<Self, GitHubError> {
        let unusable = |error: &dyn std::fmt::Display| GitHubError::Settings(error.to_string());
        let api: Uri = settings.api.parse().map_err(|error| unusable(&error))?;
        let mut builder = Octocrab::builder()
            .base_uri(api)
            .map_err(|error| unusable(&error))?
            .set_connect_timeout(Some(TIMEOUT))
            .set_read_timeout(Some(TIMEOUT));
        if let Some(token) = &settings.token {
            builder = builder.personal_token(token.clone());
        }
        Ok(Self { client: builder.build()? })
    }

    /// What GitHub says of a commit (REST API, "Get a commit"), by the repository's number, which
    /// unlike its name never comes to mean another one.
    pub async fn commit(&self, repository_id: &str, sha: &str) -> Result<Commit, GitHubError> {
        let is_number =
            !repository_id.is_empty() && repository_id.bytes().all(|byte| byte.is_ascii_digit());
        let is_sha = sha.len() >= 40 && sha.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_number || !is_sha {
            return Err(GitHubError::Claims);
        }
        let route = format!("/repositories/{repository_id}/commits/{sha}");
        let answer = self.client.get::<CommitAnswer, _, ()>(route, None);
        let answer = tokio::time::timeout(TIMEOUT, answer)
            .await
            .map_err(|_| GitHubError::Settings("no answer in time".to_owned()))??;
        let headline = answer.commit.message.lines().next().unwrap_or_default();
        let author = answer.commit.author;
        Ok(Commit {
            headline: headline.chars().take(LONGEST_HEADLINE).collect(),
            author: author
                .as_ref()
                .map(|author| author.name.chars().take(LONGEST_HEADLINE).collect()),
            // Git lets an author claim any year.
            authored_at: author.and_then(|author| author.date).filter(|date| is_writable(*date)),
            url: answer.html_url,
        })
    }
}
