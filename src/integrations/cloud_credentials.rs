//! Google's credentials for the APIs that are called without Google's own client.

use std::sync::Arc;

use google_cloud_auth::credentials::{Builder, CacheableResource, Credentials, anonymous};
use http::HeaderMap;
use tokio::sync::OnceCell;

use crate::integrations::cloud_run::CloudRunCredentials;

/// Credentials for one scope, looked for when they are first needed. Clones share them.
#[derive(Clone, Debug)]
pub struct CloudCredentials {
    kind: CloudRunCredentials,
    scope: &'static str,
    found: Arc<OnceCell<Credentials>>,
}

impl CloudCredentials {
    /// Touches neither the network nor a file.
    pub fn new(kind: CloudRunCredentials, scope: &'static str) -> Self {
        Self { kind, scope, found: Arc::default() }
    }

    /// The headers that a request needs.
    ///
    /// # Errors
    /// Why there are none, in Google's words.
    pub async fn headers(&self) -> Result<HeaderMap, String> {
        let found = self.found.get_or_try_init(async || match self.kind {
            CloudRunCredentials::Anonymous => Ok(anonymous::Builder::new().build()),
            CloudRunCredentials::ApplicationDefault => Builder::default()
                .with_scopes([self.scope])
                .build()
                .map_err(|error| error.to_string()),
        });
        let headers = found.await?.headers(http::Extensions::new()).await;
        match headers.map_err(|error| error.to_string())? {
            CacheableResource::New { data, .. } => Ok(data),
            CacheableResource::NotModified => {
                Err("they are said to be what we never had".to_owned())
            }
        }
    }
}
