//! `[cloud_run]` and `[environment.NAME.cloud_run]`: whose rights are used at Google.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use serde_json::Value;
use url::{Host, Url};

use crate::config::check::Check;
use crate::config::file::{CloudRunSection, EnvironmentSection};
use crate::domain::policy::Policy;
use crate::integrations::cloud_credentials::{
    CredentialSource, GoogleAccount, read_credentials_file,
};

/// What every service account's name ends in.
const SERVICE_ACCOUNTS: &str = ".gserviceaccount.com";

/// The values of `credentials`.
#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Credentials {
    /// Google's application default credentials.
    ApplicationDefault,
    /// None, for the sandbox.
    Anonymous,
}

/// `[environment.NAME.cloud_run]`
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct AccountSection {
    /// Whose rights are used.
    pub credentials: Option<Credentials>,
    /// The file that holds the credentials.
    pub credentials_file: Option<PathBuf>,
    /// The service account whose rights the credentials borrow.
    pub impersonate: Option<String>,
}

/// The gate's own account, of `[cloud_run]`.
pub(super) fn own(check: &mut Check, section: &mut CloudRunSection) -> GoogleAccount {
    let section = AccountSection {
        credentials: section.credentials,
        credentials_file: section.credentials_file.take(),
        impersonate: section.impersonate.take(),
    };
    account(check, "cloud_run", &section)
}

/// The accounts of environments that have one of their own, by the environments' names.
pub(super) fn of_environments(
    check: &mut Check,
    sections: &BTreeMap<String, EnvironmentSection>,
) -> BTreeMap<String, GoogleAccount> {
    let sections = sections
        .iter()
        .filter_map(|(name, section)| section.cloud_run.as_ref().map(|section| (name, section)));
    sections
        .map(|(name, section)| {
            (name.clone(), account(check, &format!("environment.{name}.cloud_run"), section))
        })
        .collect()
}

/// The keys by which nobody's rights are used.
pub(super) fn anonymous(
    own: &GoogleAccount,
    environments: &BTreeMap<String, GoogleAccount>,
) -> Vec<String> {
    let key = |name: &String| format!("environment.{name}.cloud_run.credentials");
    let environments = environments.iter().map(|(name, account)| (key(name), account));
    std::iter::once(("cloud_run.credentials".to_owned(), own))
        .chain(environments)
        .filter(|(_, account)| account.source == CredentialSource::Anonymous)
        .map(|(key, _)| key)
        .collect()
}

/// A service or a job is covered by one environment alone, so it says whose account is used.
pub(super) fn by_name(
    accounts: &BTreeMap<String, GoogleAccount>,
    environments: &BTreeMap<String, Policy>,
) -> BTreeMap<String, GoogleAccount> {
    let with_account =
        accounts.iter().filter_map(|(name, account)| Some((environments.get(name)?, account)));
    with_account
        .flat_map(|(policy, account)| {
            let services = policy.services.iter().map(ToString::to_string);
            let jobs = policy.jobs.iter().map(ToString::to_string);
            services.chain(jobs).map(|name| (name, account.clone()))
        })
        .collect()
}

fn account(check: &mut Check, key: &str, section: &AccountSection) -> GoogleAccount {
    let source = match (section.credentials, &section.credentials_file) {
        (None | Some(Credentials::ApplicationDefault), None) => {
            CredentialSource::ApplicationDefault
        }
        (Some(Credentials::Anonymous), None) => CredentialSource::Anonymous,
        (None, Some(path)) => {
            let path = check.folder.join(path);
            credentials_file(check, &format!("{key}.credentials_file"), &path);
            CredentialSource::File(path)
        }
        (Some(_), Some(_)) => {
            check.problem(
                &format!("{key}.credentials_file"),
                format!("stands beside {key}.credentials, and there can be one source of credentials: remove one of them"),
            );
            CredentialSource::ApplicationDefault
        }
    };
    let impersonates = section.impersonate.clone();
    if let Some(name) = &impersonates {
        let key = format!("{key}.impersonate");
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-.:@".contains(&byte);
        if !name.ends_with(SERVICE_ACCOUNTS)
            || name.matches('@').count() != 1
            || !name.bytes().all(plain)
        {
            check.problem(
                &key,
                format!(
                    "{name:?} is no service account: write NAME@PROJECT.iam.gserviceaccount.com"
                ),
            );
        } else if source == CredentialSource::Anonymous {
            check.problem(
                &key,
                "nobody can borrow another account's rights without credentials: name some, or remove it",
            );
        }
    }
    GoogleAccount { source, impersonates }
}

/// Read now, so that a wrong file stops the start and not the first rollout. The addresses in it get what
/// opens Google to the gate, so they are looked at like those of the configuration.
fn credentials_file(check: &mut Check, key: &str, path: &std::path::Path) {
    match read_credentials_file(path) {
        Ok(value) => addresses(check, key, &value),
        Err(why) => check.problem(key, format!("{} {why}", path.display())),
    }
}

fn addresses(check: &mut Check, key: &str, value: &Value) {
    let Value::Object(members) = value else { return };
    for (name, member) in members {
        let key = format!("{key} ({name})");
        match member.as_str().map(|text| (text, Url::parse(text))) {
            Some((text, Ok(url))) if names_an_address(name) && !is_metadata_server(&url) => {
                check.endpoint(&key, text);
            }
            Some(_) => (),
            None => addresses(check, &key, member),
        }
    }
}

fn names_an_address(member: &str) -> bool {
    member == "url" || member.ends_with("_url") || member.ends_with("_uri")
}

/// A machine's own metadata server has a link-local address and speaks plain HTTP, on every cloud.
fn is_metadata_server(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_link_local(),
        Some(Host::Ipv6(address)) => address.is_unicast_link_local() || address.is_unique_local(),
        Some(Host::Domain(_)) | None => false,
    }
}
