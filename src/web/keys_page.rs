//! `GET /keys`: a person's own keys. `GET /keys/all`: those of everybody, for approvers.

use std::collections::BTreeMap;

use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use data_encoding::HEXLOWER;
use serde::Deserialize;

use crate::api::problem::Problem;
use crate::app::App;
use crate::domain::digest::Digest;
use crate::domain::ids::short_code;
use crate::domain::key_rules::Vouching;
use crate::domain::person::{Person, Profile};
use crate::gate::decide::encode;
use crate::gate::keys::{AcceptedKeys, accepted_keys, facts_now};
use crate::gate::loss::{self, lost_since};
use crate::gate::{CeremonyRefusal, GateError};
use crate::proof::base64url;
use crate::proof::sign_in::id_token_of;
use crate::proof::token::unverified_claims;
use crate::storage::{Credential, CredentialStatus, KeptEndorsement, RecordedRevocation};
use crate::web::page::{PageError, visit};
use crate::web::paths;
use crate::web::views::keys::{
    AllKeysPage, EndorsedBy, KeyListing, KeyNote, KeyNoteSays, KeyStatus, KeysPage, LossPage,
    PersonsKeys, RevokedBy,
};

/// What just happened.
#[derive(Deserialize)]
pub struct KeysQuery {
    registered: Option<String>,
    revoked: Option<String>,
    lost: Option<String>,
    endorsed: Option<String>,
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
    let book = Book::read(&app, &profile.person).await?;
    let mut listings = Vec::with_capacity(keys.len());
    for key in keys {
        listings.push(book.listing(&app, key).await?);
    }
    let KeysQuery { registered, revoked, lost, .. } = query;
    let message = match (registered, revoked.or(lost.clone())) {
        (Some(_), _) if app.trust.endorsements > 0 => Some(
            "The key is registered, and your directory has vouched for it. Ask another approver to endorse it, and tell them its code.",
        ),
        (Some(_), _) => Some(
            "The key is registered, and your directory has vouched for it. It can sign now. Register a second one as a backup.",
        ),
        (None, Some(_)) if lost.is_some() => Some(
            "The loss is recorded, and whoever has to know is told. The key signs nothing any more. Register another one in its place.",
        ),
        (None, Some(_)) => Some("The key is revoked. It signs nothing any more."),
        (None, None) => None,
    };
    let is_approver = app.looks_after_keys(profile);
    let notes = notes(&app, profile).await?;
    Ok(KeysPage::new(&listings, &notes, message, is_approver, visit.surroundings(&app)))
}

/// What the environments in which this person may sign say of their keys, where they have any.
async fn notes(app: &App, profile: &Profile) -> Result<Vec<KeyNote>, Problem> {
    let mut notes = Vec::new();
    for environment in app.environments_of(profile) {
        let Some(policy) = app.authority.policies.get(&environment) else { continue };
        let (storage, person) = (&app.storage, &profile.person);
        let says = match accepted_keys(storage, &app.trust, policy, person, app.now()).await {
            Ok(AcceptedKeys { until: Some(until), .. }) => KeyNoteSays::SignUntil(until),
            Err(GateError::Ceremony(refusal @ CeremonyRefusal::KeyNotAccepted { .. })) => {
                KeyNoteSays::Refused(refusal.to_string())
            }
            Ok(_) | Err(GateError::Ceremony(_)) => continue,
            Err(other) => return Err(other.into()),
        };
        notes.push(KeyNote { environment, says });
    }
    Ok(notes)
}

/// Shows what is reported of a lost key, before its owner signs in for it.
pub async fn loss(
    State(app): State<App>,
    Path(ceremony): Path<String>,
    headers: HeaderMap,
) -> Result<LossPage, PageError> {
    let visit = visit(&app, &headers, paths::KEYS).await?;
    let report = loss::waiting(&app.storage, &visit.session, &ceremony, app.now()).await;
    let report = report.map_err(Problem::from)?;
    let id = base64url::decode(&report.credential).ok_or_else(Problem::not_found)?;
    let key = app.storage.credential(&id).await.map_err(Problem::from)?;
    let name = key.ok_or_else(Problem::not_found)?.name;
    let others = loss::signed::keys_for(&app.storage, &app.trust, &report).await;
    let others = others.map_err(Problem::from)?.into_iter().map(|key| key.name).collect();
    Ok(LossPage::new((&name, &report), others, &ceremony, visit.surroundings(&app)))
}

/// Shows everybody's keys to whoever may sign in some environment.
pub async fn all(
    State(app): State<App>,
    Query(query): Query<KeysQuery>,
    headers: HeaderMap,
) -> Result<AllKeysPage, PageError> {
    let visit = visit(&app, &headers, paths::ALL_KEYS).await?;
    if !app.looks_after_keys(&visit.session.profile) {
        return Err(Problem::not_found().into());
    }
    let book = Book::read(&app, &visit.session.profile.person).await?;
    let mut people = BTreeMap::new();
    for credential in app.storage.credentials().await.map_err(Problem::from)? {
        let person = people.entry(credential.person.clone());
        let person = person.or_insert_with(|| persons(&credential));
        person.keys.push(book.listing(&app, credential).await?);
    }
    let mut people: Vec<PersonsKeys> = people.into_values().collect();
    people.sort_by_cached_key(|person| person.name.to_lowercase());
    let message = match (query.revoked, query.endorsed) {
        (Some(_), _) => Some("The key is revoked. It signs nothing any more."),
        (None, Some(_)) => Some("You endorsed the key. Your signature is kept with it."),
        (None, None) => None,
    };
    Ok(AllKeysPage::new(&people, message, visit.surroundings(&app)))
}

/// The person as the directory described them when they registered the key.
pub fn persons(credential: &Credential) -> PersonsKeys {
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

/// How many keys wait for this person's endorsement.
pub async fn waiting_for(app: &App, profile: &Profile) -> Result<usize, Problem> {
    if app.trust.endorsements == 0 || !app.looks_after_keys(profile) {
        return Ok(0);
    }
    let book = Book::read(app, &profile.person).await?;
    let mut waiting = 0;
    for credential in app.storage.credentials().await? {
        let listing = book.listing(app, credential).await?;
        waiting += usize::from(listing.endorse_at.is_some());
    }
    Ok(waiting)
}

/// One key as a page lists it for this viewer.
pub async fn listing_of(
    app: &App,
    credential: Credential,
    viewer: &Person,
) -> Result<KeyListing, Problem> {
    Book::read(app, viewer).await?.listing(app, credential).await
}

/// What is known of all keys, read once for a page.
struct Book<'a> {
    viewer: &'a Person,
    revocations: Vec<RecordedRevocation>,
    endorsements: Vec<KeptEndorsement>,
}

impl<'a> Book<'a> {
    async fn read(app: &App, viewer: &'a Person) -> Result<Self, Problem> {
        let revocations = app.storage.revocations().await?;
        Ok(Self { viewer, revocations, endorsements: app.storage.endorsements().await? })
    }

    async fn listing(&self, app: &App, credential: Credential) -> Result<KeyListing, Problem> {
        let id = encode(&credential.id);
        let revocation =
            self.revocations.iter().find(|found| found.revocation.credential == id).cloned();
        let endorsements: Vec<&KeptEndorsement> =
            self.endorsements.iter().filter(|kept| kept.credential_id == credential.id).collect();
        let enrolment = app.storage.enrolment_of(&credential.id).await?;
        let needed = usize::from(app.trust.endorsements);
        let is_anchor = app.trust.is_anchor(&credential.public_key);
        let missing = if is_anchor { 0 } else { needed.saturating_sub(endorsements.len()) };
        let is_theirs = credential.person == *self.viewer;
        let has_endorsed = endorsements.iter().any(|kept| kept.endorser == *self.viewer);
        let facts = facts_now(&credential, &app.trust);
        let lost = match &revocation {
            Some(found) => lost_since(&app.storage, &app.trust, found).await?,
            None => None,
        };
        let status = match (credential.status, revocation) {
            (_, Some(found)) => match lost {
                Some(since) => KeyStatus::Lost { since, reported: found.at },
                None => KeyStatus::Revoked(Some(RevokedBy {
                    name: found.revocation.by_name,
                    at: found.at,
                    reason: found.revocation.reason,
                })),
            },
            (CredentialStatus::Revoked, None) => KeyStatus::Revoked(None),
            (CredentialStatus::Suspended, None) => KeyStatus::Suspended,
            (CredentialStatus::Active, None) if facts.suspended.is_some() => {
                KeyStatus::ModelSuspended(facts.suspended.unwrap_or_default())
            }
            (CredentialStatus::Active, None) if missing > 0 => KeyStatus::Waiting { missing },
            (CredentialStatus::Active, None) => KeyStatus::Active,
        };
        let waits_for_viewer =
            matches!(status, KeyStatus::Waiting { .. }) && !is_theirs && !has_endorsed;
        let metadata = app.trust.metadata.as_ref();
        let model = metadata.and_then(|known| known.name(facts.aaguid)).map(str::to_owned);
        Ok(KeyListing {
            vouching: match facts.vouching {
                // No browser was asked for an attestation then.
                Vouching::Nobody(_) if !asks_who_made_keys(app) => None,
                known => Some(known),
            },
            public_key: encode(&credential.public_key),
            aaguid: aaguid_text(&credential.aaguid),
            code: enrolment.map(|entry| short_code(&Digest::of(&entry.record))).unwrap_or_default(),
            endorsed_by: match (is_anchor, needed) {
                (true, _) => EndorsedBy::Anchor,
                (false, 0) => EndorsedBy::NobodyNeeded,
                (false, _) => {
                    let names = endorsements.iter().map(|kept| name_of(kept));
                    EndorsedBy::People(names.collect())
                }
            },
            endorse_at: waits_for_viewer.then(|| paths::endorsement(&id)),
            id,
            name: credential.name,
            model,
            is_device_bound: !credential.backup_eligible,
            created_at: credential.created_at,
            last_used_at: credential.last_used_at,
            status,
        })
    }
}

/// Whether some environment asks who vouches for the authenticators of keys.
fn asks_who_made_keys(app: &App) -> bool {
    let mut rules = app.authority.policies.values().filter_map(|policy| policy.keys.as_ref());
    rules.any(|keys| keys.attestation.is_some())
}

/// The endorser's name, as the directory said when they endorsed.
fn name_of(kept: &KeptEndorsement) -> String {
    let claims = unverified_claims(&id_token_of(&kept.signed.id_token)).unwrap_or_default();
    let name = claims.get("name").and_then(|name| name.as_str());
    name.unwrap_or(&kept.endorser.subject).to_owned()
}

/// `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx`; all zeros says that the authenticator told none.
fn aaguid_text(aaguid: &[u8; 16]) -> Option<String> {
    let text = HEXLOWER.encode(aaguid);
    let parts = [&text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..]];
    (*aaguid != [0; 16]).then(|| parts.join("-"))
}
