//! Which commit serves: that of the approval whose rollout made the revision, as its evidence proves.

use crate::domain::request::letters_of_revision;
use crate::domain::service::ServiceName;
use crate::gate::GateError;
use crate::gate::authorise::{NotAuthorised, prove};
use crate::proof::evidence::Trust;
use crate::storage::Storage;

/// A commit that people approved and that a revision was made for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServedCommit {
    /// GitHub's number of the repository.
    pub repository: u64,
    /// The commit.
    pub commit: String,
}

/// The commit that a revision was made for; none if no approval whose evidence holds says so. The row is only
/// the place where the bytes are found: one that was written by hand would hide the commits before it.
///
/// # Errors
/// If the evidence cannot be read now.
pub async fn served_commit(
    storage: &Storage,
    trust: &Trust,
    service: &ServiceName,
    revision: &str,
) -> Result<Option<ServedCommit>, GateError> {
    let Some(letters) = letters_of_revision(service, revision) else { return Ok(None) };
    let Some(stored) = storage.approval_of_rollout(service, letters).await? else {
        return Ok(None);
    };
    let verified = match prove(storage, trust, &stored).await {
        Ok(verified) => verified,
        Err(NotAuthorised::Storage(error)) => return Err(error.into()),
        Err(error) => {
            tracing::warn!(approval = %stored.approval.id(), %error, "the commit that serves is not known");
            return Ok(None);
        }
    };
    let deployment = verified.subject().deployment().filter(|one| {
        verified.is_approved() && one.service == *service && one.plan.revision == revision
    });
    let named = deployment.and_then(|deployment| {
        let requester = &deployment.requester;
        let repository = requester.claim("repository_id")?.parse().ok()?;
        Some(ServedCommit { repository, commit: requester.claim("sha")?.to_owned() })
    });
    Ok(named)
}
