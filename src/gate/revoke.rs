//! A key is revoked: by its owner, or by another approver at once.

use jiff::Timestamp;

use crate::domain::request::LONGEST_REASON;
use crate::gate::decide::encode;
use crate::gate::{CeremonyRefusal, GateError};
use crate::storage::{Credential, CredentialStatus, Revocation, Session, Storage};

/// What the ledger says where the owner gave no reason.
const BY_OWNER: &str = "given up by its owner";

/// Revokes a key. `is_approver` says whether the person may sign in some environment, without which
/// they may revoke no key but their own. A key that was revoked before stays as it is.
///
/// # Errors
/// [`CeremonyRefusal::UnknownCredential`] if there is no such key that the person may revoke.
pub async fn revoke(
    storage: &Storage,
    session: &Session,
    credential_id: &[u8],
    is_approver: bool,
    reason: &str,
    now: Timestamp,
) -> Result<Credential, GateError> {
    let profile = &session.profile;
    let credential = storage.credential(credential_id).await?;
    let credential = credential
        .filter(|credential| is_approver || credential.person == profile.person)
        .ok_or(CeremonyRefusal::UnknownCredential)?;
    let reason = match reason.trim() {
        "" if credential.person == profile.person => BY_OWNER,
        "" => return Err(CeremonyRefusal::ReasonMissing.into()),
        reason if reason.chars().count() > LONGEST_REASON => {
            return Err(CeremonyRefusal::ReasonTooLong.into());
        }
        reason => reason,
    };
    let revocation = Revocation {
        credential: encode(&credential.id),
        person: credential.person.clone(),
        by: profile.person.clone(),
        by_name: profile.name.clone(),
        reason: reason.to_owned(),
        loss: None,
    };
    let mut writer = storage.begin().await?;
    if writer.revoke_credential(&credential.id, &revocation, now).await? {
        writer.commit().await?;
        tracing::warn!(
            credential = revocation.credential,
            person = revocation.person.subject,
            by = revocation.by.subject,
            "a key was revoked"
        );
    }
    Ok(Credential { status: CredentialStatus::Revoked, ..credential })
}
