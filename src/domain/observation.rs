//! What Cloud Run says of a service, a worker pool or a job at one moment.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One revision's share of a service's traffic, or of a worker pool's instances.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrafficShare {
    /// The revision's short name, `web-00007-abc` for example.
    pub revision: String,
    /// Percent of all requests, or of all instances, 0 to 100.
    pub percent: u8,
}

/// A public address of its own for one revision, whatever its share of the traffic.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct TrafficTag {
    /// The tag, the first part of the address.
    pub tag: String,
    /// The short name of the revision that the address leads to.
    pub revision: String,
}

/// Where a tag leads to, in effect.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TagAddress {
    /// The short name of the revision.
    pub revision: String,
    /// The public address.
    pub uri: String,
}

/// Whether the service's latest change took effect.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Readiness {
    /// Cloud Run is still working on it.
    Reconciling,
    /// It took effect.
    Ready,
    /// It did not; Cloud Run's own words why.
    Failed(String),
}

/// A service or a worker pool as one GET of the Cloud Run Admin API v2 showed it.
#[derive(Clone, PartialEq, Debug)]
pub struct ObservedService {
    /// Cloud Run's own identifier: another one means that the service was deleted and made anew.
    pub uid: String,
    /// Counts the changes of what is asked of the service.
    pub generation: i64,
    /// The version that a conditional change must name.
    pub etag: String,
    /// Whether the latest change took effect.
    pub readiness: Readiness,
    /// The shares that really serve (`trafficStatuses`, `instanceSplitStatuses`), in the order of the revisions' names,
    /// without those of zero percent.
    pub serving: Vec<TrafficShare>,
    /// The shares that are asked for (`traffic`, `instanceSplits`), in the same order, the latest revision resolved to
    /// its name.
    pub wanted: Vec<TrafficShare>,
    /// The tagged addresses that are asked for, in order.
    pub tags: Vec<TrafficTag>,
    /// The addresses that tags have in effect, by tag.
    pub tag_addresses: BTreeMap<String, TagAddress>,
    /// The revision template, in the API's JSON, without the revision's name.
    pub template: Value,
    /// The short name of the newest revision that was ever asked for.
    pub latest_created_revision: String,
    /// The service's own annotations.
    pub annotations: BTreeMap<String, String>,
    /// The service's public address; empty for a worker pool.
    pub uri: String,
    /// Who changed it last.
    pub last_modifier: String,
}

/// A revision of a service or a worker pool as one GET showed it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ObservedRevision {
    /// Its short name.
    pub name: String,
    /// The image of its main container, as Cloud Run names it.
    pub image: String,
    /// Whether it can serve.
    pub readiness: Readiness,
    /// Its annotations, ours among them.
    pub annotations: BTreeMap<String, String>,
}

/// A revision as a list showed it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListedRevision {
    /// Its short name.
    pub name: String,
    /// When it was created.
    pub created_at: Timestamp,
    /// Who created it.
    pub creator: String,
}

/// A job as one GET showed it.
#[derive(Clone, PartialEq, Debug)]
pub struct ObservedJob {
    /// Cloud Run's own identifier: another one means that the job was deleted and made anew.
    pub uid: String,
    /// Counts the changes of what is asked of the job.
    pub generation: i64,
    /// The version that a conditional change must name.
    pub etag: String,
    /// Whether the latest change took effect.
    pub readiness: Readiness,
    /// The execution template, in the API's JSON.
    pub template: Value,
    /// The job's own annotations.
    pub annotations: BTreeMap<String, String>,
    /// Who changed it last.
    pub last_modifier: String,
    /// Everything that stands in it, in the API's JSON: a change of a job replaces all of it.
    pub whole: Value,
}

impl ObservedJob {
    /// The short name of the execution that was created last, if there was one.
    pub fn last_execution(&self) -> Option<&str> {
        let name = self.whole["latestCreatedExecution"]["name"].as_str()?;
        name.rsplit('/').next().filter(|name| !name.is_empty())
    }
}

/// An execution of a job as one GET showed it.
#[derive(Clone, PartialEq, Debug)]
pub struct ObservedExecution {
    /// Its short name.
    pub name: String,
    /// The image of its main container, as Cloud Run names it.
    pub image: String,
    /// Whether it still runs, succeeded, or failed.
    pub readiness: Readiness,
    /// What it runs, in the form of an execution template.
    pub template: Value,
    /// Its annotations, ours among them.
    pub annotations: BTreeMap<String, String>,
    /// How many tasks it has.
    pub tasks: u32,
    /// How many have succeeded.
    pub succeeded: u32,
    /// How many have failed.
    pub failed: u32,
    /// How many were cancelled.
    pub cancelled: u32,
    /// When it began to run.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub completed_at: Option<Timestamp>,
}
