//! `GET /keys`: a person's own keys. `GET /keys/all`: those of everybody, for approvers.

use std::collections::BTreeMap;

use axum::extract::{Query, State};
use axum::http::HeaderMap;
use data_encoding::HEXLOWER;
use serde::Deserialize;

use crate::api::problem::Problem;
use crate::app::App;
use crate::gate::decide::encode;
use crate::proof::token::unverified_claims;
use crate::storage::{Credential, CredentialStatus, RecordedRevocation};
use crate::web::page::{PageError, visit};
use crate::web::paths;
use crate::web::views::keys::{
    AllKeysPage, KeyListing, KeyStatus, KeysPage, PersonsKeys, RevokedBy,
};

/// What just happened.
#[derive(Deserialize)]
pub struct KeysQuery {
    registered: Option<String>,
    revoked: Option<String>,
}

/// Shows the keys of the person who is signed in.
pub async fn page(
    State(app): State<App>,
    Query(query): Query<KeysQuery>,
    headers: HeaderMap,
) -> Result<KeysPage, PageError> {
    let visit = visit(&app, &headers, paths::KEYS).await?;
    let profile = &visit.session.profile;
    let keys = app.storage.credentials_of(&profile.person).await.map_err(Problem::from)?;
    let revocations = app.storage.revocations().await.map_err(Problem::from)?;
    let keys: Vec<KeyListing> = keys.into_iter().map(|key| listing(key, &revocations)).collect();
    let message = match (query.registered, query.revoked) {
        (Some(_), _) => Some(
            "The key is registered, and your directory has vouched for it. It can sign now. Register a second one as a backup.",
        ),
        (None, Some(_)) => Some("The key is revoked. It signs nothing any more."),
        (None, None) => None,
    };
    let is_approver = !app.environments_of(profile).is_empty();
    Ok(KeysPage::new(&keys, message, is_approver, visit.surroundings(&app)))
}

/// Shows everybody's keys to whoever may sign in some environment.
pub async fn all(
    State(app): State<App>,
    Query(query): Query<KeysQuery>,
    headers: HeaderMap,
) -> Result<AllKeysPage, PageError> {
    let visit = visit(&app, &headers, paths::ALL_KEYS).await?;
    if app.environments_of(&visit.session.profile).is_empty() {
        return Err(Problem::not_found().into());
    }
    let revocations = app.storage.revocations().await.map_err(Problem::from)?;
    let mut people = BTreeMap::new();
    for credential in app.storage.credentials().await.map_err(Problem::from)? {
        let person = people.entry(credential.person.clone());
        let person = person.or_insert_with(|| persons(&credential));
        person.keys.push(listing(credential, &revocations));
    }
    let mut people: Vec<PersonsKeys> = people.into_values().collect();
    people.sort_by_cached_key(|person| person.name.to_lowercase());
    let message = query.revoked.map(|_| "The key is revoked. It signs nothing any more.");
    Ok(AllKeysPage::new(&people, message, visit.surroundings(&app)))
}

/// The person as the directory described them when they registered the key.
fn persons(credential: &Credential) -> PersonsKeys {
    let claims = unverified_claims(&credential.id_token).unwrap_or_default();
    let text = |name: &str| claims.get(name).and_then(|value| value.as_str()).map(str::to_owned);
    let is_verified = claims.get("email_verified").is_some_and(|verified| verified == true);
    let subject = credential.person.subject.clone();
    PersonsKeys {
        name: text("name").unwrap_or_else(|| subject.clone()),
        email: text("email").filter(|_| is_verified),
        subject,
        keys: Vec::new(),
    }
}

fn listing(credential: Credential, revocations: &[RecordedRevocation]) -> KeyListing {
    let id = encode(&credential.id);
    let revocation = revocations.iter().find(|found| found.revocation.credential == id).cloned();
    KeyListing {
        id,
        aaguid: aaguid_text(&credential.aaguid),
        name: credential.name,
        model: None,
        is_device_bound: !credential.backup_eligible,
        created_at: credential.created_at,
        last_used_at: credential.last_used_at,
        status: match (credential.status, revocation) {
            (_, Some(found)) => KeyStatus::Revoked(Some(RevokedBy {
                name: found.revocation.by_name,
                at: found.at,
                reason: found.revocation.reason,
            })),
            (CredentialStatus::Active, None) => KeyStatus::Active,
            (CredentialStatus::Suspended, None) => KeyStatus::Suspended,
            (CredentialStatus::Revoked, None) => KeyStatus::Revoked(None),
        },
    }
}

/// `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx`; all zeros says that the authenticator told none.
fn aaguid_text(aaguid: &[u8; 16]) -> Option<String> {
    let text = HEXLOWER.encode(aaguid);
    let parts = [&text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..]];
    (*aaguid != [0; 16]).then(|| parts.join("-"))
}
