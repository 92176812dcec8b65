//! The first key: whoever runs the gate gives its first approver a link that works once, and learns
//! which key was registered through it, so as to pin that one and no other.

use jiff::{SignedDuration, Timestamp};

use crate::domain::digest::Digest;
use crate::gate::{CeremonyRefusal, GateError};
use crate::randomness;
use crate::storage::{Credential, Session, Storage};

/// How long a link may be opened.
pub const LINK_LIFETIME: SignedDuration = SignedDuration::from_mins(15);

/// Makes a link's token, 256 random bits in base64url; only its hash is stored.
pub async fn make_link(storage: &Storage, now: Timestamp) -> Result<String, GateError> {
    let token = randomness::token::<32>();
    let expires_at = now.saturating_add(LINK_LIFETIME).unwrap_or(now);
    storage.put_first_key_link(&Digest::of(&token), expires_at).await?;
    Ok(token)
}

/// Opens a link in a session: the key that is registered in it next is the first one.
///
/// # Errors
/// [`CeremonyRefusal::LinkOver`] unless the link is there, in time and unopened.
pub async fn open_link(
    storage: &Storage,
    session: &Session,
    token: &str,
    now: Timestamp,
) -> Result<(), GateError> {
    if storage.open_first_key_link(&Digest::of(token), &session.id, now).await? {
        tracing::info!(
            person = session.profile.person.subject,
            "the link of the first key was opened"
        );
        Ok(())
    } else {
        Err(CeremonyRefusal::LinkOver.into())
    }
}

/// The key that was registered through a link, once it is.
///
/// # Errors
/// [`CeremonyRefusal::LinkOver`] if the link's time is over and nobody opened it.
pub async fn registered(
    storage: &Storage,
    token: &str,
    now: Timestamp,
) -> Result<Option<Credential>, GateError> {
    let link = storage.first_key_link(&Digest::of(token)).await?;
    let link = link.ok_or(CeremonyRefusal::LinkOver)?;
    // Whoever opened it in time has the time of a registration more.
    let grace = if link.session.is_some() { LINK_LIFETIME } else { SignedDuration::ZERO };
    match link.credential {
        Some(id) => Ok(storage.credential(&id).await?),
        None if now.duration_since(link.expires_at) > grace => {
            Err(CeremonyRefusal::LinkOver.into())
        }
        None => Ok(None),
    }
}
