//! `[github]`: GitHub's API, and the gate's App there.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use crate::config::check::Check;
use crate::config::secret;
use crate::integrations::github::GitHubSettings;
use crate::integrations::github::app::{AppSettings, Installation, Shown, is_private_key};

/// As long as the keys of SHA-256, which the signatures of webhooks are made with.
const SHORTEST_SECRET: usize = 32;

/// `[github]`
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GitHubSection {
    /// Where the API is.
    pub api: String,
    /// The file that holds a token.
    pub token_file: Option<PathBuf>,
    /// The token of the environment.
    #[serde(skip)]
    pub token: Option<SecretString>,
    /// The gate's GitHub App.
    pub app: Option<GitHubAppSection>,
}

impl Default for GitHubSection {
    fn default() -> Self {
        Self { api: "https://api.github.com".to_owned(), token_file: None, token: None, app: None }
    }
}

/// `[github.app]`
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct GitHubAppSection {
    /// GitHub's number of the App.
    pub id: u64,
    /// The file that holds its private key.
    pub private_key_file: Option<PathBuf>,
    /// The private key of the environment.
    #[serde(skip)]
    pub private_key: Option<SecretString>,
    /// The file that holds the secret of its webhook.
    pub webhook_secret_file: Option<PathBuf>,
    /// The webhook's secret of the environment.
    #[serde(skip)]
    pub webhook_secret: Option<SecretString>,
    /// Where it is installed.
    pub installation: Vec<InstallationSection>,
    /// What GitHub is shown of each approval.
    pub shows: Option<BTreeSet<Shown>>,
}

/// `[[github.app.installation]]`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstallationSection {
    /// GitHub's number of the installation.
    pub id: u64,
    /// GitHub's numbers of the repositories that count; no other one does.
    pub repositories: BTreeSet<u64>,
}

pub(super) fn settings(check: &mut Check, section: GitHubSection) -> GitHubSettings {
    check.endpoint("github.api", &section.api);
    let from_file = section.token_file.filter(|_| section.token.is_none());
    let from_file = from_file.and_then(|path| secret::read(check, "github.token_file", &path));
    GitHubSettings {
        api: section.api,
        token: section.token.or(from_file),
        app: section.app.and_then(|section| app(check, section)),
    }
}

fn app(check: &mut Check, section: GitHubAppSection) -> Option<AppSettings> {
    if section.id == 0 {
        check.problem("github.app.id", "is missing: write the number that GitHub shows as App ID");
    }
    let key = "github.app.private_key_file";
    let private_key = given(check, key, section.private_key, section.private_key_file.as_deref());
    if private_key.as_ref().is_some_and(|key| !is_private_key(key)) {
        check.problem(key, "holds no RSA private key in PEM: make one on the App's page at GitHub");
    }
    let key = "github.app.webhook_secret_file";
    let secret = given(check, key, section.webhook_secret, section.webhook_secret_file.as_deref());
    if secret.as_ref().is_some_and(|secret| secret.expose_secret().len() < SHORTEST_SECRET) {
        check.problem(
            key,
            format!("holds fewer than {SHORTEST_SECRET} characters, and whoever guesses them sends webhooks in GitHub's name: make one with `openssl rand -hex 32`"),
        );
    }
    let mut seen = BTreeSet::new();
    for installation in &section.installation {
        if installation.repositories.is_empty() {
            check.problem(
                "github.app.installation.repositories",
                format!(
                    "is empty for {}: list GitHub's numbers of the repositories",
                    installation.id
                ),
            );
        }
        for repository in &installation.repositories {
            if !seen.insert(*repository) {
                check.problem(
                    "github.app.installation.repositories",
                    format!("{repository} is listed twice: a repository has one installation"),
                );
            }
        }
    }
    if section.installation.is_empty() {
        check.problem(
            "github.app.installation",
            "is missing, so nothing that GitHub says would count: add [[github.app.installation]]",
        );
    }
    let installations = section.installation.into_iter();
    Some(AppSettings {
        id: section.id,
        private_key: private_key?,
        webhook_secret: secret?,
        installations: installations
            .map(|one| Installation { id: one.id, repositories: one.repositories })
            .collect(),
        shows: section.shows.unwrap_or_else(|| Shown::ALL.into()),
    })
}

/// A secret of the environment, or else of the file.
fn given(
    check: &mut Check,
    key: &str,
    from_environment: Option<SecretString>,
    file: Option<&Path>,
) -> Option<SecretString> {
    match (from_environment, file) {
        (Some(secret), _) => Some(secret),
        (None, Some(path)) => secret::read(check, key, path),
        (None, None) => {
            check.problem(key, "is missing: name the file that holds it");
            None
        }
    }
}
