//! Where an approval stands.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::ids::ApprovalId;
use crate::domain::intervention::Orders;
use crate::domain::job::{Execution, Updated};
use crate::domain::person::Person;
use crate::domain::rollout::{Progress, Serving};
use crate::domain::time;

/// Where an approval stands, with exactly the data that exists then.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case", deny_unknown_fields)]
pub enum State {
    /// Waiting for people.
    Pending {},
    /// The rules are met; the rollout has not begun.
    Approved {
        #[serde(deserialize_with = "time::deserialize")]
        at: Timestamp,
    },
    /// The rollout runs.
    Executing {
        #[serde(deserialize_with = "time::deserialize")]
        since: Timestamp,
        progress: Progress,
        #[serde(default, skip_serializing_if = "Orders::is_empty")]
        orders: Orders,
    },
    /// The service serves what was signed, or the job ran or was updated; of an action, its grant was used.
    Succeeded {
        #[serde(deserialize_with = "time::deserialize")]
        at: Timestamp,
        #[serde(skip_serializing_if = "Option::is_none")]
        serving: Option<Serving>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        execution: Option<Execution>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        updated: Option<Updated>,
    },
    /// It failed.
    Failed {
        #[serde(deserialize_with = "time::deserialize")]
        at: Timestamp,
        reason: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        execution: Option<Execution>,
    },
    /// It failed, and what served before serves again.
    RolledBack {
        #[serde(deserialize_with = "time::deserialize")]
        at: Timestamp,
        reason: String,
    },
    /// The world is not as anybody signed.
    NeedsAttention {
        #[serde(deserialize_with = "time::deserialize")]
        at: Timestamp,
        reason: String,
        progress: Progress,
    },
    /// A person signed a no.
    Rejected {
        #[serde(deserialize_with = "time::deserialize")]
        at: Timestamp,
        by: Person,
        name: String,
        reason: Option<String>,
    },
    /// Nobody decided, or the rollout did not begin, in time.
    Expired {
        #[serde(deserialize_with = "time::deserialize")]
        at: Timestamp,
    },
    /// The requester took it back.
    Cancelled {
        #[serde(deserialize_with = "time::deserialize")]
        at: Timestamp,
    },
    /// A newer request took its place.
    Superseded {
        #[serde(deserialize_with = "time::deserialize")]
        at: Timestamp,
        by: ApprovalId,
    },
    /// The signatures were taken back.
    Withdrawn {
        #[serde(deserialize_with = "time::deserialize")]
        at: Timestamp,
        by: Person,
    },
}

/// The name of a state, as API, pages and storage write it.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Debug,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the states are described at `State`")]
pub enum Status {
    Pending,
    Approved,
    Executing,
    Succeeded,
    Failed,
    RolledBack,
    NeedsAttention,
    Rejected,
    Expired,
    Cancelled,
    Superseded,
    Withdrawn,
}

impl Status {
    /// Every status.
    pub const ALL: [Self; 12] = [
        Self::Pending,
        Self::Approved,
        Self::Executing,
        Self::Succeeded,
        Self::Failed,
        Self::RolledBack,
        Self::NeedsAttention,
        Self::Rejected,
        Self::Expired,
        Self::Cancelled,
        Self::Superseded,
        Self::Withdrawn,
    ];

    /// The snake_case name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Executing => "executing",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::RolledBack => "rolled_back",
            Self::NeedsAttention => "needs_attention",
            Self::Rejected => "rejected",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
            Self::Superseded => "superseded",
            Self::Withdrawn => "withdrawn",
        }
    }

    /// Reads the snake_case name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }

    /// Whether nothing more happens by itself.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Pending | Self::Approved | Self::Executing)
    }
}

impl State {
    /// What was signed is done, and there is nothing that could be seen of it.
    pub fn succeeded(at: Timestamp) -> Self {
        Self::Succeeded { at, serving: None, execution: None, updated: None }
    }

    /// The job as it was seen after a change that runs nothing.
    pub fn updated(&self) -> Option<&Updated> {
        if let Self::Succeeded { updated, .. } = self { updated.as_ref() } else { None }
    }

    /// The execution of a job, as it was last recorded.
    pub fn execution(&self) -> Option<&Execution> {
        match self {
            Self::Executing { progress, .. } | Self::NeedsAttention { progress, .. } => {
                progress.execution.as_deref()
            }
            Self::Succeeded { execution, .. } | Self::Failed { execution, .. } => {
                execution.as_ref()
            }
            Self::Pending {}
            | Self::Approved { .. }
            | Self::RolledBack { .. }
            | Self::Rejected { .. }
            | Self::Expired { .. }
            | Self::Cancelled { .. }
            | Self::Superseded { .. }
            | Self::Withdrawn { .. } => None,
        }
    }

    /// The name of this state.
    pub fn status(&self) -> Status {
        match self {
            Self::Pending {} => Status::Pending,
            Self::Approved { .. } => Status::Approved,
            Self::Executing { .. } => Status::Executing,
            Self::Succeeded { .. } => Status::Succeeded,
            Self::Failed { .. } => Status::Failed,
            Self::RolledBack { .. } => Status::RolledBack,
            Self::NeedsAttention { .. } => Status::NeedsAttention,
            Self::Rejected { .. } => Status::Rejected,
            Self::Expired { .. } => Status::Expired,
            Self::Cancelled { .. } => Status::Cancelled,
            Self::Superseded { .. } => Status::Superseded,
            Self::Withdrawn { .. } => Status::Withdrawn,
        }
    }
}
