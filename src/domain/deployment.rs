//! The canonical deployment: every fact of one rollout, frozen when it is asked for, signed as a whole.

use std::ops::{Deref, DerefMut};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::ids::ApprovalId;
use crate::domain::image::ImageReference;
use crate::domain::observation::TrafficShare;
pub use crate::domain::plan::{Plan, Step};
use crate::domain::service::ServiceName;
use crate::domain::subject::Facts;
use crate::domain::time;

/// Everything that a decision signs about one rollout, and what the worker executes.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Deployment {
    /// Who asks, why, where and until when.
    #[serde(flatten)]
    pub facts: Facts,
    /// Where it goes.
    pub service: ServiceName,
    /// What goes there.
    pub image: ImageReference,
    /// The complete revision template that is sent to Cloud Run, in the API's JSON.
    pub proposed: Value,
    /// How it goes there, and the way back.
    pub plan: Plan,
    /// What must still be so when the first change is made.
    pub preconditions: Preconditions,
    /// What GitHub says of the commit that the token names, where the gate may ask.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<Commit>,
    /// The approval after whose success this begins, and never otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<ApprovalId>,
}

/// What must hold before the first change of the world.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "service", rename_all = "snake_case", deny_unknown_fields)]
pub enum Preconditions {
    /// The service does not exist; the rollout creates it.
    Absent {},
    /// The service is as it was when the deployment was asked for.
    Present {
        /// Cloud Run's identifier of the service.
        uid: String,
        /// The generation that was seen.
        generation: i64,
        /// The shares that served.
        serving: Vec<TrafficShare>,
        /// The running revision template, in the API's JSON.
        running: Value,
    },
}

/// A commit, as GitHub's API describes it. Its texts are its author's, not the gate's.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Commit {
    /// The first line of its message.
    pub headline: String,
    /// The author's name, as git has it: a claim and no identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// When the author made it.
    #[serde(
        default,
        deserialize_with = "time::deserialize_some",
        skip_serializing_if = "Option::is_none"
    )]
    pub authored_at: Option<Timestamp>,
    /// Its page.
    pub url: String,
}

impl Deref for Deployment {
    type Target = Facts;

    fn deref(&self) -> &Facts {
        &self.facts
    }
}

impl DerefMut for Deployment {
    fn deref_mut(&mut self) -> &mut Facts {
        &mut self.facts
    }
}
