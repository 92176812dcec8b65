//! The requester takes it back.

use jiff::Timestamp;

use crate::domain::approval::Approval;
use crate::domain::ids::ApprovalId;
use crate::gate::GateError;
use crate::integrations::workload_oidc::VerifiedRequester;
use crate::storage::Storage;

/// Cancels an approval that is pending or approved and not begun.
///
/// # Errors
/// [`GateError::NotFound`] for an approval of another requester, as for one that does not exist.
pub async fn cancel(
    storage: &Storage,
    requester: &VerifiedRequester,
    id: &ApprovalId,
    now: Timestamp,
) -> Result<Approval, GateError> {
    let mut writer = storage.begin().await?;
    let stored = writer.approval(id).await?.ok_or(GateError::NotFound)?;
    if stored.requester_key != requester.requester_key() {
        return Err(GateError::NotFound);
    }
    let approval = writer.apply(stored.approval.cancel(now)?, now).await?;
    writer.commit().await?;
    Ok(approval)
}
