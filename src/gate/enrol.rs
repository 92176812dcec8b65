//! A person registers a key.
//!
//! Two steps with the directory in between: the browser makes the key, and the person signs in
//! once more with the OpenID nonce set to the digest of the browser's answer. So the directory's
//! own signature says that this key is this person's; a session alone cannot add a key. Whoever has keys
//! already signs with one of them in between ([`crate::gate::own_key`]).

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::domain::digest::Digest;
use crate::domain::person::Person;
use crate::gate::decide::{RelyingParty, encode};
use crate::gate::own_key::{self, Wanted};
use crate::gate::{CeremonyRefusal, GateError};
use crate::integrations::login_oidc::VerifiedSignIn;
use crate::integrations::passkeys::Registered;
use crate::proof::jwk::thumbprint;
use crate::randomness;
use crate::storage::{Ceremony, Credential, CredentialStatus, Session, Storage, StorageError};

/// How long a registration may take, both steps together.
pub const CEREMONY_LIFETIME: SignedDuration = SignedDuration::from_mins(10);

/// What waits in the database between the browser's answer and the directory's.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Waiting {
    name: String,
    registered: Registered,
}

/// What a begun registration keeps: the name that the person gave the key, and webauthn-rs's state.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Begun {
    name: String,
    state: String,
}

/// Keeps the state of a registration that was begun.
pub async fn begin(
    storage: &Storage,
    session: &Session,
    name: &str,
    state: String,
    now: Timestamp,
) -> Result<String, GateError> {
    let id = randomness::token::<16>();
    let begun = Begun { name: name.to_owned(), state };
    let ceremony = Ceremony {
        id: id.clone(),
        person: session.profile.person.clone(),
        session: session.id,
        state: json!(begun).to_string(),
        registration: None,
        verified: None,
        expires_at: now.saturating_add(CEREMONY_LIFETIME).unwrap_or(now),
    };
    storage.put_ceremony(&ceremony).await?;
    Ok(id)
}

/// The ceremony with this id, if it is this session's and still without an answer, and webauthn-rs's state.
pub async fn find(
    storage: &Storage,
    session: &Session,
    id: &str,
    now: Timestamp,
) -> Result<(Ceremony, String), GateError> {
    let ceremony = storage
        .ceremony(id, now)
        .await?
        .filter(|found| found.session == session.id && found.person == session.profile.person)
        .filter(|found| found.registration.is_none())
        .ok_or(CeremonyRefusal::UnknownEnrolment)?;
    let begun: Begun =
        serde_json::from_str(&ceremony.state).map_err(|_| CeremonyRefusal::UnknownEnrolment)?;
    Ok((ceremony, begun.state))
}

/// What a registration that was received needs next.
pub struct Received {
    /// The OpenID nonce that the next sign-in must carry: base64url of SHA-256 of the browser's answer.
    pub nonce: String,
    /// What the person has to sign before with a key that they have, if they have one.
    pub own_key: Option<Wanted>,
}

/// Keeps a verified registration until the directory vouches for it.
pub async fn receive(
    storage: &Storage,
    party: &RelyingParty,
    session: &Session,
    mut ceremony: Ceremony,
    registered: Registered,
    now: Timestamp,
) -> Result<Received, GateError> {
    if storage.credential(&registered.credential_id).await?.is_some() {
        return Err(CeremonyRefusal::AlreadyRegistered.into());
    }
    let begun: Begun =
        serde_json::from_str(&ceremony.state).map_err(|_| CeremonyRefusal::UnknownEnrolment)?;
    let response = String::from_utf8(registered.registration_response.clone());
    let response = response.map_err(|_| CeremonyRefusal::UnknownEnrolment)?;
    let about = (ceremony.id.as_str(), registered.credential_id.as_slice(), response.as_str());
    let own_key = own_key::prepare(storage, party, session, about, now).await?;
    let nonce = nonce_of(&response);
    ceremony.registration = Some(response);
    ceremony.verified = Some(json!(Waiting { name: begun.name, registered }).to_string());
    storage.update_ceremony(&ceremony).await?;
    Ok(Received { nonce, own_key })
}

/// The OpenID nonce that binds an ID token to a registration response.
pub fn nonce_of(registration_response: &str) -> String {
    encode(Digest::of(registration_response).as_bytes())
}

/// Finishes a registration: the directory's ID token, whose nonce was verified to be the one of the
/// registration, is of the same person, so the key is theirs.
pub async fn finish(
    storage: &Storage,
    ceremony_id: &str,
    sign_in: &VerifiedSignIn,
    now: Timestamp,
) -> Result<Credential, GateError> {
    let mut writer = storage.begin().await?;
    let ceremony =
        writer.take_ceremony(ceremony_id, now).await?.ok_or(CeremonyRefusal::UnknownEnrolment)?;
    let is_same =
        ceremony.person.issuer == sign_in.issuer() && ceremony.person.subject == sign_in.subject();
    if !is_same {
        return Err(CeremonyRefusal::OtherPerson.into());
    }
    let verified = ceremony.verified.ok_or(CeremonyRefusal::UnknownEnrolment)?;
    let registration = ceremony.registration.ok_or(CeremonyRefusal::UnknownEnrolment)?;
    let waiting: Waiting =
        serde_json::from_str(&verified).map_err(|_| CeremonyRefusal::UnknownEnrolment)?;
    let id = &waiting.registered.credential_id;
    own_key::require(storage, &ceremony.person, (id, &registration)).await?;
    let credential = credential_of(waiting, registration, ceremony.person, sign_in, now);
    match writer.insert_credential(&credential).await {
        Err(StorageError::Duplicate(_)) => return Err(CeremonyRefusal::AlreadyRegistered.into()),
        other => other?,
    }
    let data = json!({
        "person": credential.person,
        "credential": encode(&credential.id),
        "public_key": encode(&credential.public_key),
        "aaguid": data_encoding::HEXLOWER.encode(&credential.aaguid),
        "backup_eligible": credential.backup_eligible,
        "registration_digest": Digest::of(&credential.registration),
        "sign_in_digest": Digest::of(&credential.id_token),
        "sign_in_key": thumbprint(&credential.issuer_key),
    });
    writer.record("credential.registered", data, now).await?;
    if writer.note_first_key(&ceremony.session, &credential.id).await? {
        let data = json!({"credential": encode(&credential.id), "person": credential.person});
        writer.record("credential.first", data, now).await?;
    }
    writer.commit().await?;
    Ok(credential)
}

fn credential_of(
    waiting: Waiting,
    registration: String,
    person: Person,
    sign_in: &VerifiedSignIn,
    now: Timestamp,
) -> Credential {
    let Waiting { name, registered } = waiting;
    Credential {
        id: registered.credential_id,
        person,
        name,
        public_key: registered.cose_public_key,
        sign_count: registered.sign_count,
        backup_eligible: registered.backup_eligible,
        backup_state: registered.backup_state,
        aaguid: registered.aaguid,
        transports: registered.transports,
        registration,
        id_token: sign_in.id_token().to_owned(),
        issuer_key: sign_in.key().to_owned(),
        status: CredentialStatus::Active,
        created_at: now,
        last_used_at: None,
    }
}
