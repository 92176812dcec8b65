//! Whether a rollout is authorised, from bytes alone.
//!
//! The database is not believed: what it says is only the place where the bytes are found. The
//! worker asks this before every call to Cloud Run, however often it asked before.

use crate::domain::deployment::FrozenDeployment;
use crate::gate::GateError;
use crate::gate::evidence::gather;
use crate::gate::newest::refuse_later_entries;
use crate::proof::checkpoint::TrustedLog;
use crate::proof::evidence::Trust;
use crate::proof::verify::{Failure, Verified, verify_evidence};
use crate::storage::{Storage, StorageError, StoredApproval};

/// A deployment whose evidence was verified just now. Only [`authorise`] makes one, and nothing
/// calls Cloud Run without one.
#[derive(Debug)]
pub struct Authorised {
    deployment: FrozenDeployment,
}

impl Authorised {
    /// What may be rolled out.
    pub fn deployment(&self) -> &FrozenDeployment {
        &self.deployment
    }
}

/// What does not hold.
#[derive(Debug, thiserror::Error)]
pub enum NotAuthorised {
    /// A check of the evidence failed.
    #[error(transparent)]
    Evidence(#[from] Failure),
    /// The evidence holds and is not one of an approval.
    #[error("the evidence holds, and it is not one of an approval: it ends in {0}")]
    NotApproved(&'static str),
    /// The stored row says something else than the evidence.
    #[error("the stored approval is not the one that the evidence proves: {0} differs")]
    Row(&'static str),
    /// After the approval's last entry the log is not whole.
    #[error(
        "entry {0} of the log is missing, or not the one that the log key signed there: what it says of this approval is not known"
    )]
    LogGap(u64),
    /// The approval's own chain of entries ends before the approval does.
    #[error("entry {0} of the log is a later one of this approval, and not in its evidence")]
    Outdated(u64),
    /// A row that the evidence needs is gone, or is none that the gate writes.
    #[error("the evidence is not complete: {0}")]
    Incomplete(String),
    /// The evidence could not be read now.
    #[error(transparent)]
    Storage(StorageError),
}

impl NotAuthorised {
    /// The stable name of the finding: that of the failed check, where there is one.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Evidence(failure) => failure.code().as_str(),
            Self::NotApproved(_) => "not_approved",
            Self::Row(_) => "row_mismatch",
            Self::LogGap(_) => "log_gap",
            Self::Outdated(_) => "evidence_outdated",
            Self::Incomplete(_) => "evidence_incomplete",
            Self::Storage(_) => "evidence_unreadable",
        }
    }
}

impl From<StorageError> for NotAuthorised {
    fn from(error: StorageError) -> Self {
        GateError::from(error).into()
    }
}

impl From<GateError> for NotAuthorised {
    fn from(error: GateError) -> Self {
        match error {
            // A database that fails is asked again; a row that is not what the gate writes stays so.
            GateError::Storage(
                error @ (StorageError::ImpossibleRow { .. } | StorageError::Missing { .. }),
            ) => Self::Incomplete(error.to_string()),
            GateError::Storage(error) => Self::Storage(error),
            GateError::NotFound => {
                Self::Incomplete("a row that it needs is not in the database".to_owned())
            }
            other => Self::Incomplete(other.to_string()),
        }
    }
}

/// Gathers the evidence of an approval, verifies it against `trust`, and compares it with the row.
///
/// # Errors
/// What does not hold. [`NotAuthorised::Storage`] alone says that it could not be told.
pub async fn authorise(
    storage: &Storage,
    trust: &Trust,
    stored: &StoredApproval,
) -> Result<Authorised, NotAuthorised> {
    let evidence = gather(storage, &trust.origin, stored).await?;
    let verified = verify_evidence(&evidence, trust)?;
    if !verified.is_approved() {
        return Err(NotAuthorised::NotApproved(verified.state().status().as_str()));
    }
    compare(&verified, stored)?;
    let last = evidence.entries.last().map_or(0, |entry| entry.index);
    let log = TrustedLog::parse(&trust.log)
        .ok_or_else(|| NotAuthorised::Incomplete("the pinned log key cannot be read".to_owned()))?;
    let id = stored.approval.id();
    refuse_later_entries(storage, &log.key, id, last, verified.checkpoint()).await?;
    Ok(Authorised { deployment: verified.deployment().clone() })
}

/// The row is what the worker goes by, so it must say what was proved.
fn compare(verified: &Verified, stored: &StoredApproval) -> Result<(), NotAuthorised> {
    let approval = &stored.approval;
    let same = [
        ("the deployment", approval.deployment == *verified.deployment()),
        ("the policy", approval.policy == *verified.policy()),
        ("the version", approval.version == verified.version()),
        ("the state", approval.state == *verified.state()),
        ("the list of decisions", approval.decisions == verified.decisions()),
    ];
    match same.into_iter().find(|(_, same)| !same) {
        Some((what, _)) => Err(NotAuthorised::Row(what)),
        None => Ok(()),
    }
}
