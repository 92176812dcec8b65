//! `[login]`: the directory that people sign in at.

use std::path::PathBuf;

use secrecy::SecretString;
use serde::Deserialize;

use crate::config::check::Check;
use crate::config::secret;
use crate::integrations::cloud_credentials::GoogleAccount;
use crate::integrations::cloud_identity::{
    CloudIdentity, CloudIdentitySettings, GOOGLE_IDENTITY, SCOPE,
};
use crate::integrations::login_oidc::{GroupsFrom, LoginSettings};

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
    /// Where groups come from that the ID token does not list.
    pub groups_from: Source,
    /// How Cloud Identity is asked.
    pub cloud_identity: CloudIdentitySection,
    /// The only domain whose accounts may sign in.
    pub hosted_domain: Option<String>,
}

/// `login.groups_from`
#[derive(Deserialize, Clone, Copy, PartialEq, Eq, Default)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// From nowhere: they are those of the claim.
    #[default]
    Claim,
    /// From the directory's userinfo.
    Userinfo,
    /// From Google's Cloud Identity.
    CloudIdentity,
}

/// `[login.cloud_identity]`
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct CloudIdentitySection {
    /// Where it is; at Google if absent.
    pub endpoint: Option<String>,
    /// Whose rights are used.
    pub ask_as: AskAs,
}

/// `login.cloud_identity.ask_as`
#[derive(Deserialize, Clone, Copy, PartialEq, Eq, Default)]
#[serde(rename_all = "snake_case")]
pub enum AskAs {
    /// Those of the person who signs in.
    #[default]
    Person,
    /// Those of the gate's own service account.
    Gate,
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
            groups_from: Source::Claim,
            cloud_identity: CloudIdentitySection::default(),
            hosted_domain: None,
        }
    }
}

/// How people sign in, if the section says it in full.
pub(super) fn settings(
    check: &mut Check,
    section: LoginSection,
    account: &GoogleAccount,
) -> Option<LoginSettings> {
    let key = "login.issuer";
    let remedy = "write the issuer URL of the directory that approvers sign in at";
    let issuer = check.required(key, section.issuer.as_deref(), remedy).map(str::to_owned);
    if let Some(issuer) = &issuer {
        check.issuer_url(key, issuer);
    }
    let remedy = "register the gate as a web application at the directory and write its client id";
    let client_id =
        check.required("login.client_id", section.client_id.as_deref(), remedy).map(str::to_owned);
    if section.groups_claim.is_empty() {
        check.problem("login.groups_claim", "is empty: write the claim that lists groups");
    }
    if section.github_id_claim.as_ref().is_some_and(String::is_empty) {
        let key = "login.github_id_claim";
        check.problem(key, "is empty: leave it out, or name the claim that holds the number of a person's account at GitHub");
    }
    let is_domain = |domain: &String| domain.contains('.') && !domain.contains(['@', '/', ' ']);
    if let Some(domain) = section.hosted_domain.as_ref().filter(|domain| !is_domain(domain)) {
        let problem = format!("{domain:?} is no domain: write \"example.com\", say");
        check.problem("login.hosted_domain", problem);
    }
    let groups_from = groups_from(check, &section, account);
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
        groups_from: groups_from?,
        hosted_domain: section.hosted_domain,
    })
}

/// Where groups come from that the ID token does not list.
fn groups_from(
    check: &mut Check,
    section: &LoginSection,
    account: &GoogleAccount,
) -> Option<GroupsFrom> {
    match section.groups_from {
        Source::Claim => return Some(GroupsFrom::Claim),
        Source::Userinfo => return Some(GroupsFrom::Userinfo),
        Source::CloudIdentity => {}
    }
    let asked = &section.cloud_identity;
    let endpoint = asked.endpoint.as_deref().unwrap_or(GOOGLE_IDENTITY);
    let endpoint = check.endpoint("login.cloud_identity.endpoint", endpoint);
    let has = |scope: &str| section.scopes.iter().any(|one| one == scope);
    if !has("email") {
        check.problem(
            "login.scopes",
            "lacks \"email\", and Cloud Identity looks people up by their address: add it",
        );
    }
    if asked.ask_as == AskAs::Person && !has(SCOPE) {
        check.problem("login.scopes", format!("lacks {SCOPE:?}, so that nobody could read their own groups: add it, or ask with the gate's own rights (ask_as = \"gate\" in [login.cloud_identity])"));
    }
    let account = (asked.ask_as == AskAs::Gate).then(|| account.clone());
    let settings = CloudIdentitySettings { endpoint: endpoint?, account };
    Some(GroupsFrom::CloudIdentity(Box::new(CloudIdentity::new(settings))))
}
