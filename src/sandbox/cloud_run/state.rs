//! What the sandbox remembers, and the file that keeps it over a restart.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::family::Family;
use super::jobs::Job;

/// Everything: services and worker pools, jobs and operations by resource name.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct State {
    pub services: BTreeMap<String, Service>,
    #[serde(default)]
    pub jobs: BTreeMap<String, Job>,
    pub operations: BTreeMap<String, Operation>,
    /// Counts every change; etags, uids, generated names and operation names come from it.
    pub serial: u64,
}

/// A service or a worker pool: what was asked for (`spec`) and what is so.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Service {
    pub name: ServiceName,
    pub uid: String,
    /// The fields that callers write, in normal form, with defaults filled in.
    pub spec: Map<String, Value>,
    pub generation: i64,
    pub observed_generation: i64,
    pub created: Timestamp,
    pub updated: Timestamp,
    pub creator: String,
    pub last_modifier: String,
    /// The serial of the last change.
    pub version: u64,
    pub latest_created: Option<String>,
    pub latest_ready: Option<String>,
    pub traffic_statuses: Vec<Value>,
    pub configuration: Health,
    pub routes: Health,
    pub transition: Timestamp,
    pub revisions: BTreeMap<String, Revision>,
    pub pending: Option<Pending>,
}

/// Whether one side of a service, or a revision, is as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    Reconciling,
    Ready,
    Failed(String),
}

/// A change that was accepted and is not yet in effect.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Pending {
    /// When it takes effect; never, for one that is stuck.
    pub due: Option<Timestamp>,
    /// The operations that end with it.
    pub operations: Vec<String>,
    pub deletes: bool,
}

/// A revision: a template that was frozen under a name.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Revision {
    pub id: String,
    pub uid: String,
    /// The template without the revision's name.
    pub spec: Map<String, Value>,
    pub generation: i64,
    pub created: Timestamp,
    pub updated: Timestamp,
    pub creator: String,
    pub version: u64,
    pub health: Health,
    /// The message with which it will fail, once it is tried.
    pub fails: Option<String>,
}

/// A long-running operation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Operation {
    pub created: Timestamp,
    /// The resource as of the last time that the operation moved.
    pub resource: Resource,
    pub outcome: Outcome,
}

/// A resource and its schema's short name, `Service` or `Revision`, say.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Resource {
    pub kind: Kind,
    pub value: Value,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    Service,
    WorkerPool,
    Revision,
    Job,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Outcome {
    Running,
    Succeeded,
    Failed(String),
}

/// `projects/P/locations/R/services/S` or `…/workerPools/W`, in its parts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceName {
    /// Absent from the files of older sandboxes, which have only services.
    #[serde(default)]
    pub family: Family,
    pub project: String,
    pub location: String,
    pub id: String,
}

impl ServiceName {
    /// Reads the resource name; none for anything else.
    pub fn parse(name: &str) -> Option<Self> {
        let parts: Vec<&str> = name.split('/').collect();
        let ["projects", project, "locations", location, collection, id] = parts[..] else {
            return None;
        };
        let family = Family::of_collection(collection)?;
        let owned = str::to_owned;
        Some(Self { family, project: owned(project), location: owned(location), id: owned(id) })
    }

    /// `projects/P/locations/R`.
    pub fn parent(&self) -> String {
        format!("projects/{}/locations/{}", self.project, self.location)
    }

    /// The full resource name of one of the service's revisions.
    pub fn revision(&self, id: &str) -> String {
        format!("{self}/revisions/{id}")
    }
}

impl std::fmt::Display for ServiceName {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}/{}/{}", self.parent(), self.family.collection(), self.id)
    }
}

/// The file with the state cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    #[error("cannot read the sandbox's state from {path}: {source}; check the file's permissions")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("the sandbox's state in {path} is damaged ({source}); move it away to start empty")]
    Damaged { path: PathBuf, source: serde_json::Error },
    #[error("cannot write the sandbox's state to {path}: {source}; check disk and permissions")]
    Write { path: PathBuf, source: std::io::Error },
}

impl State {
    /// The next serial number.
    pub fn next(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    /// The state in `path`; an empty one if there is no such file.
    ///
    /// # Errors
    /// If the file exists and cannot be read.
    pub fn load(path: &Path) -> Result<Self, StateError> {
        let text = match std::fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            Err(source) => return Err(StateError::Read { path: path.to_owned(), source }),
        };
        serde_json::from_slice(&text)
            .map_err(|source| StateError::Damaged { path: path.to_owned(), source })
    }

    /// Replaces `path` by this state in one step, so that a killed sandbox leaves a whole file.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), StateError> {
        let beside = path.with_extension("new");
        let write = || -> std::io::Result<()> {
            std::fs::write(&beside, serde_json::to_vec(self)?)?;
            std::fs::rename(&beside, path)
        };
        write().map_err(|source| StateError::Write { path: path.to_owned(), source })
    }
}
