//! Whose rights are used at Google, and the credentials that carry them.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use google_cloud_auth::build_errors::Error;
use google_cloud_auth::credentials::service_account::AccessSpecifier;
use google_cloud_auth::credentials::{
    Builder, CacheableResource, Credentials, anonymous, external_account, impersonated,
    service_account,
};
use http::HeaderMap;
use serde_json::Value;
use tokio::sync::OnceCell;

/// The scope of everything that an account's roles allow. What the gate may do is said by roles, as Google
/// advises, and not by scopes.
pub const EVERYTHING: &str = "https://www.googleapis.com/auth/cloud-platform";

/// Whose rights are used at Google.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct GoogleAccount {
    /// Where its credentials come from.
    pub source: CredentialSource,
    /// The service account whose rights those credentials borrow, where they are not used as they are.
    pub impersonates: Option<String>,
}

/// Where credentials come from.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum CredentialSource {
    /// Google's application default credentials: on Google Cloud, the metadata server.
    ApplicationDefault,
    /// A file of one of the [`KINDS_OF_FILES`].
    File(PathBuf),
    /// None: for the sandbox.
    Anonymous,
}

/// What a file of credentials says in `type`: workload identity federation, an account that borrows another's
/// rights, and a key. A person's own login (`authorized_user`) is none of them: the gate acts as itself.
pub const KINDS_OF_FILES: [&str; 3] =
    ["external_account", "impersonated_service_account", "service_account"];

impl GoogleAccount {
    /// Google's application default credentials, as they are.
    pub const APPLICATION_DEFAULT: Self =
        Self { source: CredentialSource::ApplicationDefault, impersonates: None };
    /// Nobody.
    pub const ANONYMOUS: Self = Self { source: CredentialSource::Anonymous, impersonates: None };

    /// Its credentials, which touch the network when they are first used.
    ///
    /// # Errors
    /// Why there are none.
    pub fn credentials(&self, scope: &str) -> Result<Credentials, NoCredentials> {
        let Some(impersonated) = &self.impersonates else {
            return self.source.credentials(scope);
        };
        // Whoever borrows rights needs no more of its own than to ask for them.
        let builder =
            impersonated::Builder::from_source_credentials(self.source.credentials(EVERYTHING)?);
        Ok(builder.with_target_principal(impersonated).with_scopes([scope]).build()?)
    }
}

impl CredentialSource {
    fn credentials(&self, scope: &str) -> Result<Credentials, NoCredentials> {
        match self {
            Self::ApplicationDefault => Ok(Builder::default().with_scopes([scope]).build()?),
            Self::File(path) => of_file(path, scope),
            Self::Anonymous => Ok(anonymous::Builder::new().build()),
        }
    }
}

fn of_file(path: &Path, scope: &str) -> Result<Credentials, NoCredentials> {
    let value = read_credentials_file(path)
        .map_err(|why| NoCredentials::File { path: path.to_owned(), why })?;
    let credentials = match value.get("type").and_then(Value::as_str) {
        Some("external_account") => {
            external_account::Builder::new(value).with_scopes([scope]).build()?
        }
        Some("impersonated_service_account") => {
            impersonated::Builder::new(value).with_scopes([scope]).build()?
        }
        _ => service_account::Builder::new(value)
            .with_access_specifier(AccessSpecifier::from_scopes([scope]))
            .build()?,
    };
    Ok(credentials)
}

/// The content of a file of credentials.
///
/// # Errors
/// What is wrong with it and what to do, to stand behind its path.
pub fn read_credentials_file(path: &Path) -> Result<Value, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}"))?;
    let value: Value = serde_json::from_str(&text)
        .map_err(|error| format!("is no JSON ({error}): take the file as Google gave it"))?;
    match value.get("type").and_then(Value::as_str) {
        Some(kind) if KINDS_OF_FILES.contains(&kind) => Ok(value),
        kind => Err(format!(
            "holds credentials of the type {kind:?}, and the gate takes {}: make one for a service account \
             or for workload identity federation",
            KINDS_OF_FILES.join(", ")
        )),
    }
}

impl fmt::Display for GoogleAccount {
    /// `with Google's application default credentials, as deployer@example.iam.gserviceaccount.com`
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            CredentialSource::ApplicationDefault => {
                formatter.write_str("with Google's application default credentials")?;
            }
            CredentialSource::File(path) => {
                write!(formatter, "with the credentials of {}", path.display())?;
            }
            CredentialSource::Anonymous => formatter.write_str("without credentials")?,
        }
        match &self.impersonates {
            Some(account) => write!(formatter, ", as {account}"),
            None => Ok(()),
        }
    }
}

/// Why there are no credentials.
#[derive(Debug, thiserror::Error)]
pub enum NoCredentials {
    /// Google's library says why.
    #[error(transparent)]
    Google(#[from] Error),
    /// The file.
    #[error("{} {why}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

/// Credentials for one scope, looked for when they are first needed: for the APIs that are called without
/// Google's own client. Clones share them.
#[derive(Clone, Debug)]
pub struct CloudCredentials {
    account: GoogleAccount,
    scope: &'static str,
    found: Arc<OnceCell<Credentials>>,
}

impl CloudCredentials {
    /// Touches neither the network nor a file.
    pub fn new(account: GoogleAccount, scope: &'static str) -> Self {
        Self { account, scope, found: Arc::default() }
    }

    /// The headers that a request needs.
    ///
    /// # Errors
    /// Why there are none, in Google's words.
    pub async fn headers(&self) -> Result<HeaderMap, String> {
        let find = async || self.account.credentials(self.scope).map_err(|error| error.to_string());
        let found = self.found.get_or_try_init(find).await?;
        let headers = found.headers(http::Extensions::new()).await;
        match headers.map_err(|error| error.to_string())? {
            CacheableResource::New { data, .. } => Ok(data),
            CacheableResource::NotModified => {
                Err("they are said to be what we never had".to_owned())
            }
        }
    }
}
