//! A person signs in.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::domain::digest::Digest;
use crate::domain::person::{Person, Profile};
use crate::gate::GateError;
use crate::integrations::login_oidc::VerifiedSignIn;
use crate::proof::evidence::SignIn;
use crate::proof::jwk::thumbprint;
use crate::randomness;
use crate::storage::{Session, Storage};

/// How long a session lives, whatever happens in it. Group membership is believed for as long as
/// this and no longer, so it bounds how long a person removed from a group could still sign.
pub const SESSION_LIFETIME: SignedDuration = SignedDuration::from_mins(15);

/// The profile that a verified sign-in gives.
pub fn profile_of(sign_in: &VerifiedSignIn) -> Profile {
    let subject = sign_in.subject();
    Profile {
        person: Person { issuer: sign_in.issuer().to_owned(), subject: subject.to_owned() },
        name: sign_in.name().or(sign_in.email()).unwrap_or(subject).to_owned(),
        email: sign_in.email().map(str::to_owned),
        groups: sign_in.groups().to_vec(),
        github_id: sign_in.github_id(),
        gate_groups: sign_in.has_gate_groups(),
        directory_unreachable_since: None,
    }
}

/// What is kept of a sign-in, and signed by its digest.
fn text_of(sign_in: &VerifiedSignIn) -> String {
    let gate_groups = sign_in.has_gate_groups().then(|| sign_in.groups().to_vec());
    let (id_token, key) = (sign_in.id_token().to_owned(), sign_in.key().to_owned());
    SignIn { id_token, key, gate_groups }.text()
}

/// Opens a session and gives the secret for its cookie; only the secret's hash is stored. Where a last sign-in may
/// count for so long while the directory cannot be reached, this one is kept for that.
pub async fn open_session(
    storage: &Storage,
    sign_in: &VerifiedSignIn,
    outage_grace: Option<SignedDuration>,
    now: Timestamp,
) -> Result<(String, Session), GateError> {
    let secret = randomness::token::<32>();
    let session = Session {
        id: Digest::of(&secret),
        profile: profile_of(sign_in),
        id_token: text_of(sign_in),
        issuer_key: sign_in.key().to_owned(),
        auth_time: sign_in.auth_time(),
        created_at: now,
        expires_at: now.saturating_add(SESSION_LIFETIME).unwrap_or(now),
    };
    let mut writer = storage.begin().await?;
    writer.insert_session(&session).await?;
    if let Some(grace) = outage_grace {
        let until = now.saturating_add(grace).unwrap_or(Timestamp::MAX);
        writer.keep_sign_in(&session, until).await?;
    }
    let mut data = json!({
        "person": session.profile.person,
        "name": session.profile.name,
        "groups": session.profile.groups,
        "auth_time": session.auth_time,
        "sign_in_digest": Digest::of(&session.id_token),
        "sign_in_key": thumbprint(&session.issuer_key),
    });
    if session.profile.gate_groups {
        data["groups_said_by"] = "gate".into();
    }
    writer.record("person.signed_in", data, now).await?;
    writer.commit().await?;
    Ok((secret, session))
}
