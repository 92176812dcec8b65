//! `GET /keys`: a person's own keys.

use axum::extract::{Query, State};
use axum::http::HeaderMap;
use data_encoding::HEXLOWER;
use serde::Deserialize;

use crate::api::problem::Problem;
use crate::app::App;
use crate::storage::{Credential, CredentialStatus};
use crate::web::page::{PageError, visit};
use crate::web::paths;
use crate::web::views::keys::{KeyListing, KeyStatus, KeysPage};

/// What just happened.
#[derive(Deserialize)]
pub struct KeysQuery {
    registered: Option<String>,
}

/// Shows the keys of the person who is signed in.
pub async fn page(
    State(app): State<App>,
    Query(query): Query<KeysQuery>,
    headers: HeaderMap,
) -> Result<KeysPage, PageError> {
    let visit = visit(&app, &headers, paths::KEYS).await?;
    let person = &visit.session.profile.person;
    let keys = app.storage.credentials_of(person).await.map_err(Problem::from)?;
    let keys: Vec<KeyListing> = keys.into_iter().map(listing).collect();
    let message = query.registered.is_some().then_some(
        "The key is registered, and your directory has vouched for it. It can sign now. Register a second one as a backup.",
    );
    Ok(KeysPage::new(&keys, message, visit.surroundings(&app)))
}

fn listing(credential: Credential) -> KeyListing {
    KeyListing {
        aaguid: aaguid_text(&credential.aaguid),
        name: credential.name,
        model: None,
        is_device_bound: !credential.backup_eligible,
        created_at: credential.created_at,
        last_used_at: credential.last_used_at,
        status: match credential.status {
            CredentialStatus::Active => KeyStatus::Active,
            CredentialStatus::Suspended => KeyStatus::Suspended,
            CredentialStatus::Revoked => KeyStatus::Revoked,
        },
    }
}

/// `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx`; all zeros says that the authenticator told none.
fn aaguid_text(aaguid: &[u8; 16]) -> Option<String> {
    let text = HEXLOWER.encode(aaguid);
    let parts = [&text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..]];
    (*aaguid != [0; 16]).then(|| parts.join("-"))
}
