//! The full name of what a rollout goes to: a Cloud Run service or a worker pool.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// `projects/P/locations/R/services/S` or `projects/P/locations/R/workerPools/W`, as the Cloud Run Admin API v2
/// writes them.
///
/// A worker pool is rolled out like a service: new revisions under names of their own, and shares of them that
/// sum to 100. So it stands wherever a service may, in requests, policies and statements, by its whole name. What
/// differs is asked of [`ServiceName::kind`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServiceName {
    full: String,
    project_end: usize,
    location_end: usize,
    kind: ServiceKind,
}

/// What a name stands for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ServiceKind {
    /// It answers requests, and its revisions share the traffic.
    Service,
    /// It fetches its work itself, has no address, and its revisions share the instances.
    WorkerPool,
}

/// The text names neither a Cloud Run service nor a worker pool.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "a service is written projects/PROJECT/locations/REGION/services/SERVICE and a worker pool \
     projects/PROJECT/locations/REGION/workerPools/POOL, \
     with lower-case letters, digits and hyphens; this is neither: {0:?}"
)]
pub struct InvalidServiceName(String);

/// Cloud Run refuses longer names (services.create, `service_id`; workerPools.create, `worker_pool_id`).
const LONGEST_SERVICE_ID: usize = 49;

impl ServiceKind {
    const ALL: [Self; 2] = [Self::Service, Self::WorkerPool];

    /// The part of a name before the last.
    fn collection(self) -> &'static str {
        match self {
            Self::Service => "services",
            Self::WorkerPool => "workerPools",
        }
    }

    /// What people call one.
    pub fn noun(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::WorkerPool => "worker pool",
        }
    }

    /// What its revisions share.
    pub fn shared(self) -> &'static str {
        match self {
            Self::Service => "traffic",
            Self::WorkerPool => "instances",
        }
    }

    /// The same as the beginning of a sentence about now.
    pub fn shared_is(self) -> &'static str {
        match self {
            Self::Service => "traffic is",
            Self::WorkerPool => "instances are",
        }
    }

    /// The same as the beginning of a sentence about before.
    pub fn shared_was(self) -> &'static str {
        match self {
            Self::Service => "traffic was",
            Self::WorkerPool => "instances were",
        }
    }
}

impl ServiceName {
    /// `projects/P/locations/R`.
    pub fn parent(&self) -> &str {
        &self.full[..self.location_end]
    }

    /// The project, by id or number.
    pub fn project(&self) -> &str {
        &self.full["projects/".len()..self.project_end]
    }

    /// The region, `europe-west1` for example.
    pub fn location(&self) -> &str {
        &self.full[self.project_end + "/locations/".len()..self.location_end]
    }

    /// The last part: the service's or the worker pool's own name.
    pub fn service(&self) -> &str {
        &self.full[self.location_end + 1 + self.kind.collection().len() + 1..]
    }

    /// Whether it is a service or a worker pool.
    pub fn kind(&self) -> ServiceKind {
        self.kind
    }

    /// Where it is, for people; and what it is, where that does not go without saying.
    pub fn place(&self) -> String {
        let place = format!("{}, {}", self.project(), self.location());
        match self.kind {
            ServiceKind::Service => place,
            ServiceKind::WorkerPool => format!("{}, {place}", self.kind.noun()),
        }
    }

    /// The whole name.
    pub fn as_str(&self) -> &str {
        &self.full
    }
}

impl FromStr for ServiceName {
    type Err = InvalidServiceName;

    fn from_str(text: &str) -> Result<Self, InvalidServiceName> {
        let invalid = || InvalidServiceName(text.chars().take(200).collect());
        let named = ServiceKind::ALL.into_iter().find_map(|kind| {
            let (project_end, location_end) =
                ends_of_name(text, kind.collection(), LONGEST_SERVICE_ID)?;
            Some(Self { full: text.to_owned(), project_end, location_end, kind })
        });
        named.ok_or_else(invalid)
    }
}

/// Where the project and the location end in `projects/P/locations/R/COLLECTION/ID`, if a text is such a name.
pub(super) fn ends_of_name(
    text: &str,
    collection: &str,
    longest_id: usize,
) -> Option<(usize, usize)> {
    let parts: Vec<&str> = text.split('/').collect();
    let ["projects", project, "locations", location, named, id] = parts[..] else { return None };
    let plain = |part: &str| {
        part.len() <= 63
            && part.starts_with(|first: char| first.is_ascii_lowercase() || first.is_ascii_digit())
            && !part.ends_with('-')
            && part.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
    };
    // Old project ids may carry a domain: example.com:project.
    let project_is_plain = project.split(':').all(|part| part.split('.').all(plain));
    let is_one = named == collection && project_is_plain && plain(location) && plain(id);
    let project_end = "projects/".len() + project.len();
    let location_end = project_end + "/locations/".len() + location.len();
    (is_one && id.len() <= longest_id).then_some((project_end, location_end))
}

impl TryFrom<String> for ServiceName {
    type Error = InvalidServiceName;

    fn try_from(text: String) -> Result<Self, InvalidServiceName> {
        text.parse()
    }
}

impl From<ServiceName> for String {
    fn from(name: ServiceName) -> Self {
        name.full
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.full)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_name() {
        let name: ServiceName =
            "projects/demo/locations/europe-west1/services/web".parse().unwrap();
        assert_eq!(
            (name.project(), name.location(), name.service()),
            ("demo", "europe-west1", "web")
        );
        assert_eq!(name.parent(), "projects/demo/locations/europe-west1");
        assert_eq!(name.kind(), ServiceKind::Service);
        let name: ServiceName =
            "projects/demo/locations/europe-west1/workerPools/mail".parse().unwrap();
        assert_eq!((name.service(), name.kind()), ("mail", ServiceKind::WorkerPool));
        assert_eq!(name.parent(), "projects/demo/locations/europe-west1");
    }

    #[test]
    fn anything_else_is_refused() {
        for bad in [
            "",
            "web",
            "projects/demo/locations/r/services/",
            "projects/demo/locations/r/services/Web",
            "projects/demo/locations/r/services/web/",
            "projects/demo/locations/../services/web",
            "projects/demo/locations/r/services/web?x",
            "projects/demo/locations/r/jobs/web",
            "projects/demo/locations/r/workerpools/web",
            "projects/demo/locations/r/workerPools/",
        ] {
            assert!(bad.parse::<ServiceName>().is_err(), "{bad}");
        }
    }
}
