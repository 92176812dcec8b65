//! What takes a rollout: services and worker pools, and all that the API has differently for the two.

use serde::{Deserialize, Serialize};

use super::schema;
use super::state::Kind;

/// A service, or a worker pool: revisions and operations, etags, masks and reconciling are the same for both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    #[default]
    Service,
    WorkerPool,
}

impl Family {
    pub const ALL: [Self; 2] = [Self::Service, Self::WorkerPool];

    /// The one whose resource names have this part, if there is one.
    pub fn of_collection(collection: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|family| family.collection() == collection)
    }

    /// The part of resource names before the last, which is also the list's field and the description's name.
    pub fn collection(self) -> &'static str {
        match self {
            Self::Service => "services",
            Self::WorkerPool => "workerPools",
        }
    }

    /// The parameter of a create that names the new one.
    pub fn id_parameter(self) -> &'static str {
        match self {
            Self::Service => "serviceId",
            Self::WorkerPool => "workerPoolId",
        }
    }

    pub fn schema(self) -> &'static str {
        match self {
            Self::Service => schema::SERVICE,
            Self::WorkerPool => schema::WORKER_POOL,
        }
    }

    pub fn kind(self) -> Kind {
        match self {
            Self::Service => Kind::Service,
            Self::WorkerPool => Kind::WorkerPool,
        }
    }

    /// The request's field that holds it, with which paths in refusals begin.
    pub fn field(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::WorkerPool => "worker_pool",
        }
    }

    /// The field with the shares that are asked for.
    pub fn shares(self) -> &'static str {
        match self {
            Self::Service => "traffic",
            Self::WorkerPool => "instanceSplits",
        }
    }

    /// The field with the shares that are in effect.
    pub fn share_statuses(self) -> &'static str {
        match self {
            Self::Service => "trafficStatuses",
            Self::WorkerPool => "instanceSplitStatuses",
        }
    }

    /// The type of a share of the newest ready revision, whichever that is.
    pub fn latest(self) -> &'static str {
        match self {
            Self::Service => "TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST",
            Self::WorkerPool => "INSTANCE_SPLIT_ALLOCATION_TYPE_LATEST",
        }
    }

    /// The type of a share of a named revision.
    pub fn revision(self) -> &'static str {
        match self {
            Self::Service => "TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION",
            Self::WorkerPool => "INSTANCE_SPLIT_ALLOCATION_TYPE_REVISION",
        }
    }
}
