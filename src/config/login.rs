//! `[login]`: the directory that people sign in at.

use std::path::PathBuf;

use secrecy::SecretString;
use serde::Deserialize;

use crate::config::check::Check;
use crate::config::secret;
use crate::integrations::login_oidc::LoginSettings;

/// `[login]`
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LoginSection {
    /// The directory's issuer URL.
    pub issuer: Option<String>,
    /// The gate's client id there.
    pub client_id: Option<String>,
    /// The file that holds the client's secret.
    pub client_secret_file: Option<PathBuf>,
    /// The client's secret of the environment.
    #[serde(skip)]
    pub client_secret: Option<SecretString>,
    /// The scopes to ask for.
    pub scopes: Vec<String>,
    /// The claim that lists groups.
    pub groups_claim: String,
    /// The claim that holds the number of a person's account at GitHub.
    pub github_id_claim: Option<String>,
}

impl Default for LoginSection {
    fn default() -> Self {
        Self {
            issuer: None,
            client_id: None,
            client_secret_file: None,
            client_secret: None,
            scopes: ["openid", "profile", "email"].map(str::to_owned).to_vec(),
            groups_claim: "groups".to_owned(),
            github_id_claim: None,
        }
    }
}

/// How people sign in, if the section says it in full.
pub(super) fn settings(check: &mut Check, section: LoginSection) -> Option<LoginSettings> {
    let key = "login.issuer";
    let remedy = "write the issuer URL of the directory that approvers sign in at";
    let issuer = check.required(key, section.issuer.as_deref(), remedy).map(str::to_owned);
    if let Some(issuer) = &issuer {
        check.issuer_url(key, issuer);
    }
    let remedy =
        "register the gate as a web application at the directory and write its client id";
    let client_id = check
        .required("login.client_id", section.client_id.as_deref(), remedy)
        .map(str::to_owned);
    if section.groups_claim.is_empty() {
        check.problem("login.groups_claim", "is empty: write the claim that lists groups");
    }
    if section.github_id_claim.as_ref().is_some_and(String::is_empty) {
        let key = "login.github_id_claim";
        check.problem(key, "is empty: leave it out, or name the claim that holds the number of a person's account at GitHub");
    }
    let key = "login.client_secret_file";
    let client_secret = match (section.client_secret, section.client_secret_file) {
        (Some(secret), _) => Some(secret),
        (None, Some(path)) => secret::read(check, key, &path),
        (None, None) => {
            check.problem(
                key,
                "is missing: name the file that holds the client's secret, or set \
                 COUNTERSIGN_LOGIN_CLIENT_SECRET",
            );
            None
        }
    };
    Some(LoginSettings {
        issuer: issuer?,
        client_id: client_id?,
        client_secret: client_secret?,
        scopes: section.scopes,
        groups_claim: section.groups_claim,
        github_id_claim: section.github_id_claim,
    })
}
