//! Why nothing may be done upon an approval.

use jiff::Timestamp;

use crate::gate::GateError;
use crate::proof::verify::Failure;
use crate::storage::{RecordedRevocation, StorageError};

/// What does not hold.
#[derive(Debug, thiserror::Error)]
pub enum NotAuthorised {
    /// A check of the evidence failed.
    #[error(transparent)]
    Evidence(#[from] Failure),
    /// The evidence holds and is not one of an approval.
    #[error("the evidence holds, and it is not one of an approval: it ends in {0}")]
    NotApproved(&'static str),
    /// The arguments of an action are none that its tool takes.
    #[error("what was approved calls its tool with something that it does not take: {0}")]
    Arguments(String),
    /// What was approved is something else than a rollout.
    #[error("what was approved is no rollout: it is of the kind {0}")]
    OtherKind(&'static str),
    /// The stored row says something else than the evidence.
    #[error("the stored approval is not the one that the evidence proves: {0} differs")]
    Row(&'static str),
    /// A key that signed was revoked before anything was rolled out, as is known outside the database.
    #[error(
        "the key {0} with which it was signed was revoked before the rollout began: ask again, and have the new request signed with a key that is still good"
    )]
    RevokedBefore(String),
    /// A key that signed was revoked before anything was rolled out.
    #[error(
        "{} revoked a key of {} with which it was signed, at {} ({:?}), before the rollout began: ask again, and have the new request signed with a key that is still good",
        .0.revocation.by_name, .0.revocation.person.subject, .0.at, .0.revocation.reason
    )]
    Revoked(Box<RecordedRevocation>),
    /// A key that signed was lost by then, as its owner reported before anything was rolled out.
    #[error(
        "{} reported at {} that the key is lost with which it was signed, and it was lost by then: ask again, and have the new request signed with a key that is still good",
        .0.revocation.by_name, .0.at
    )]
    Lost(Box<RecordedRevocation>),
    /// A key that had to be there beside the one that signed had been given up before.
    #[error(
        "{0} is said to have had the key {1} beside the one that they signed with, and it had been given up before: ask again, and have the new request signed when the key is replaced"
    )]
    OtherKeyGivenUp(String, String),
    /// Something became known against the model of a key that signed.
    #[error(
        "the key with which {0} signed is of a model that is suspended by now, since FIDO's metadata says of it: {1}. Ask again, and have the new request signed with a key of another model"
    )]
    ModelSuspended(String, String),
    /// The rollout began after the approval had run out.
    #[error(
        "the rollout began at {begun}, and the approval ran out at {ran_out}: ask again and have it signed again"
    )]
    BegunLate {
        /// When it began, as the log says.
        begun: Timestamp,
        /// Until when it had to.
        ran_out: Timestamp,
    },
    /// Something began or went forward while the policy had everything closed.
    #[error("it went forward outside the windows of its policy: {0}")]
    OutsideWindow(String),
    /// An entry tells the rollout what nobody signed.
    #[error("entry {0} of the log tells the rollout what no approver signed")]
    UnsignedOrder(u64),
    /// The policy asks for pinned anchors, and this gate has none.
    #[error(
        "the environment {0} asks for pinned trust, and nothing is pinned in this gate's configuration: write [trust] again as it was, and ask again"
    )]
    Unpinned(String),
    /// It was asked for under rules that nobody signed for.
    #[error(
        "it was asked for under rules of {0} that were not in force then: rules change only with the signatures that those before them ask for. Ask again, and have it signed under the rules in force"
    )]
    OtherRules(String),
    /// Too few witnesses have signed a head that covers the approval yet.
    #[error("the rollout begins when enough witnesses have signed the log: {0}")]
    NotWitnessed(Failure),
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
            Self::Arguments(_) => "invalid_arguments",
            Self::OtherKind(_) => "other_kind",
            Self::Row(_) => "row_mismatch",
            Self::RevokedBefore(_) => "credential_revoked",
            Self::Revoked(_) => "credential_revoked",
            Self::Lost(_) => "credential_lost",
            Self::OtherKeyGivenUp(..) => "key_not_accepted",
            Self::ModelSuspended(..) => "key_model_suspended",
            Self::BegunLate { .. } => "begun_late",
            Self::OutsideWindow(_) => "outside_window",
            Self::UnsignedOrder(_) => "order_unsigned",
            Self::Unpinned(_) => "trust_unpinned",
            Self::OtherRules(_) => "rules_not_signed",
            Self::NotWitnessed(failure) => failure.code().as_str(),
            Self::LogGap(_) => "log_gap",
            Self::Outdated(_) => "evidence_outdated",
            Self::Incomplete(_) => "evidence_incomplete",
            Self::Storage(StorageError::Log(fault)) => fault.code(),
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
