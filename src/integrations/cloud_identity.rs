//! Cloud Identity: `groups.memberships.searchTransitiveGroups` of its API v1
//! (<https://cloud.google.com/identity/docs/reference/rest/v1/groups.memberships/searchTransitiveGroups>).
//!
//! Google's ID tokens name no groups. This names all that a person is in, directly or through others. Google does
//! not sign the answer, so whoever believes it believes the gate.

use std::collections::BTreeSet;

use http::{Request, header};
use serde::Deserialize;
use url::Url;

use crate::integrations::cloud_credentials::{CloudCredentials, GoogleAccount};
use crate::integrations::outbound::OutboundHttp;

/// Where Google's Cloud Identity is.
pub const GOOGLE_IDENTITY: &str = "https://cloudidentity.googleapis.com/";
/// Read groups, and nothing else.
pub const SCOPE: &str = "https://www.googleapis.com/auth/cloud-identity.groups.readonly";
/// The label that every group of Google Groups has.
const EVERY_GROUP: &str = "cloudidentity.googleapis.com/groups.discussion_forum";
/// The largest page.
const PAGE: &str = "1000";
/// More groups than this nobody is in.
const MOST_PAGES: usize = 10;

/// Cloud Identity, as configured.
#[derive(Clone, Debug)]
pub struct CloudIdentitySettings {
    /// Where it is: [`GOOGLE_IDENTITY`], or a sandbox.
    pub endpoint: Url,
    /// The gate's own account; none if each person asks for themselves.
    pub account: Option<GoogleAccount>,
}

/// Cloud Identity.
#[derive(Clone, Debug)]
pub struct CloudIdentity {
    settings: CloudIdentitySettings,
    credentials: Option<CloudCredentials>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    #[serde(default)]
    memberships: Vec<Membership>,
    #[serde(default)]
    next_page_token: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Membership {
    group_key: GroupKey,
}

#[derive(Deserialize)]
struct GroupKey {
    id: String,
}

impl CloudIdentity {
    /// Touches neither the network nor the credentials.
    pub fn new(settings: CloudIdentitySettings) -> Self {
        let account = settings.account.clone();
        let credentials = account.map(|account| CloudCredentials::new(account, SCOPE));
        Self { settings, credentials }
    }

    /// As it was configured.
    pub fn settings(&self) -> &CloudIdentitySettings {
        &self.settings
    }

    /// The groups of the person with this address, by their own addresses, in ascending order. `access_token` is
    /// the person's.
    ///
    /// # Errors
    /// What went wrong, for the log.
    pub async fn groups_of(
        &self,
        http: &OutboundHttp,
        email: &str,
        access_token: &str,
    ) -> Result<Vec<String>, String> {
        // The address stands in an expression, between quotes.
        if email.contains(['\'', '\\']) || email.chars().any(char::is_control) {
            return Err("the address holds characters that no address at Google has".to_owned());
        }
        let mut groups = BTreeSet::new();
        let mut page_token = String::new();
        for _ in 0..MOST_PAGES {
            let answer = self.page(http, email, access_token, &page_token).await?;
            groups.extend(answer.memberships.into_iter().map(|one| one.group_key.id));
            if answer.next_page_token.is_empty() {
                return Ok(groups.into_iter().collect());
            }
            page_token = answer.next_page_token;
        }
        Err(format!("there are more than {MOST_PAGES} pages of groups"))
    }

    async fn page(
        &self,
        http: &OutboundHttp,
        email: &str,
        access_token: &str,
        page_token: &str,
    ) -> Result<Answer, String> {
        let path = "v1/groups/-/memberships:searchTransitiveGroups";
        let endpoint = &self.settings.endpoint;
        let mut url = endpoint.clone();
        url.set_path(&format!("{}/{path}", endpoint.path().trim_end_matches('/')));
        let query = format!("member_key_id == '{email}' && '{EVERY_GROUP}' in labels");
        url.query_pairs_mut().append_pair("query", &query).append_pair("pageSize", PAGE);
        if !page_token.is_empty() {
            url.query_pairs_mut().append_pair("pageToken", page_token);
        }
        let mut request = Request::get(url.as_str())
            .header(header::ACCEPT, "application/json")
            .body(Vec::new())
            .map_err(|error| error.to_string())?;
        match &self.credentials {
            Some(own) => request.headers_mut().extend(own.headers().await?),
            None => {
                let bearer = format!("Bearer {access_token}").parse();
                let bearer = bearer.map_err(|_| "the access token is no header".to_owned())?;
                request.headers_mut().insert(header::AUTHORIZATION, bearer);
            }
        }
        let response = http.send(request).await.map_err(|error| error.to_string())?;
        if !response.status().is_success() {
            return Err(format!("it answered {}", response.status()));
        }
        serde_json::from_slice(response.body())
            .map_err(|error| format!("the answer is none: {error}"))
    }
}
