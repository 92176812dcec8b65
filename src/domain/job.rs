//! A job of Cloud Run that runs once, or is only updated: what people sign, and what became of it.
//!
//! One call updates the job and starts its execution, under a name that follows from the approval. So
//! whether it was started is one question to Cloud Run, and it cannot be started twice. Where nothing is to
//! run, the same call has no such name, and the job itself shows whether it was made.

mod next_action;
mod request;

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::deployment::Commit;
use crate::domain::digest::Digest;
use crate::domain::ids::ApprovalId;
use crate::domain::image::ImageReference;
use crate::domain::separation::Shipped;
use crate::domain::service::ends_of_name;
use crate::domain::subject::Facts;
use crate::domain::time;

pub use next_action::{JobWorld, next_job_action};
pub use request::JobRequest;

/// Cloud Run takes a job's name and the token of an execution if they have fewer than 63 characters together
/// (`Job.startExecutionToken`), and the token has 12.
const LONGEST_JOB_ID: usize = 50;

/// `projects/P/locations/R/jobs/J`, as the Cloud Run Admin API v2 writes it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct JobName {
    full: String,
    project_end: usize,
    location_end: usize,
}

/// The text does not name a job that can be run.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "a job is written projects/PROJECT/locations/REGION/jobs/JOB, with lower-case letters, digits and \
     hyphens, JOB with 50 of them at most; this is not: {0:?}"
)]
pub struct InvalidJobName(String);

impl JobName {
    /// The project, by id or number.
    pub fn project(&self) -> &str {
        &self.full["projects/".len()..self.project_end]
    }

    /// The region, `europe-west1` for example.
    pub fn location(&self) -> &str {
        &self.full[self.project_end + "/locations/".len()..self.location_end]
    }

    /// The last part: the job's own name.
    pub fn job(&self) -> &str {
        &self.full[self.location_end + "/jobs/".len()..]
    }

    /// The whole name.
    pub fn as_str(&self) -> &str {
        &self.full
    }
}

impl FromStr for JobName {
    type Err = InvalidJobName;

    fn from_str(text: &str) -> Result<Self, InvalidJobName> {
        let invalid = || InvalidJobName(text.chars().take(200).collect());
        let (project_end, location_end) =
            ends_of_name(text, "jobs", LONGEST_JOB_ID).ok_or_else(invalid)?;
        Ok(Self { full: text.to_owned(), project_end, location_end })
    }
}

impl TryFrom<String> for JobName {
    type Error = InvalidJobName;

    fn try_from(text: String) -> Result<Self, InvalidJobName> {
        text.parse()
    }
}

impl From<JobName> for String {
    fn from(name: JobName) -> Self {
        name.full
    }
}

impl fmt::Display for JobName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.full)
    }
}

/// Everything that a decision signs about one execution of a job, or about a change of it alone, and what the
/// worker carries out.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct JobExecution {
    /// Who asks, why, where and until when.
    #[serde(flatten)]
    pub facts: Facts,
    /// Which job runs, or is changed.
    pub job: JobName,
    /// With which image.
    pub image: ImageReference,
    /// The complete execution template that the job gets, in the API's JSON.
    pub proposed: Value,
    /// The short name of the execution. Without one the job is only updated, and nothing runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution: Option<String>,
    /// What must still be so when the job is changed.
    pub preconditions: JobPreconditions,
    /// What GitHub says of the commit that the token names, where the gate may ask.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<Commit>,
    /// What it ships and who had a hand in it, where the rules ask for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shipped: Option<Shipped>,
}

/// The job as it was when its execution was asked for.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobPreconditions {
    /// Cloud Run's identifier of the job.
    pub uid: String,
    /// The generation that was seen.
    pub generation: i64,
    /// The execution template that it had, in the API's JSON.
    pub running: Value,
}

impl JobExecution {
    /// What Cloud Run makes the name of the execution from, if there is to be one: the letters of the approval.
    pub fn token(&self) -> Option<&str> {
        self.execution.as_ref().map(|_| letters(&self.facts.approval))
    }
}

/// The short name of the execution that an approval starts: known before, and unlike any other.
fn execution_name(job: &JobName, id: &ApprovalId) -> String {
    format!("{}-{}", job.job(), letters(id))
}

/// 12 of the approval's random letters (60 bits).
fn letters(id: &ApprovalId) -> &str {
    &id.as_str()[4..16]
}

impl Deref for JobExecution {
    type Target = Facts;

    fn deref(&self) -> &Facts {
        &self.facts
    }
}

impl DerefMut for JobExecution {
    fn deref_mut(&mut self) -> &mut Facts {
        &mut self.facts
    }
}

/// An execution as it was seen, which says what an approval came to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Execution {
    /// Its short name.
    pub name: String,
    /// The digest of the image that it runs, as Cloud Run shows it.
    pub image_digest: Digest,
    /// How many tasks it has.
    pub tasks: u32,
    /// How many of them have succeeded.
    pub succeeded: u32,
    /// How many have failed.
    pub failed: u32,
    /// How many were cancelled.
    pub cancelled: u32,
    /// When it began to run.
    #[serde(
        default,
        deserialize_with = "time::deserialize_some",
        skip_serializing_if = "Option::is_none"
    )]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(
        default,
        deserialize_with = "time::deserialize_some",
        skip_serializing_if = "Option::is_none"
    )]
    pub completed_at: Option<Timestamp>,
    /// When it was seen so.
    #[serde(deserialize_with = "time::deserialize")]
    pub observed_at: Timestamp,
}

/// A job as it was seen after a change that runs nothing, which says what an approval came to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Updated {
    /// The digest of the image that it was seen to have: the signed one, as all of its template.
    pub image_digest: Digest,
    /// The generation that was seen.
    pub generation: i64,
    /// When it was seen so.
    #[serde(deserialize_with = "time::deserialize")]
    pub observed_at: Timestamp,
}

impl Execution {
    /// How its tasks stand, as a clause: `3 of 5 tasks succeeded, 1 failed`.
    pub fn in_words(&self) -> String {
        let tasks = if self.tasks == 1 { "task" } else { "tasks" };
        let mut words = format!("{} of {} {tasks} succeeded", self.succeeded, self.tasks);
        for (count, what) in [(self.failed, "failed"), (self.cancelled, "were cancelled")] {
            if count > 0 {
                words.push_str(&format!(", {count} {what}"));
            }
        }
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_name() {
        let name: JobName = "projects/demo/locations/europe-west1/jobs/migrate".parse().unwrap();
        assert_eq!(
            (name.project(), name.location(), name.job()),
            ("demo", "europe-west1", "migrate")
        );
        let id = ApprovalId::from_random([7; 16]);
        let execution = execution_name(&name, &id);
        assert_eq!(execution.len(), "migrate-".len() + 12);
        assert!(execution.starts_with("migrate-") && id.as_str().contains(letters(&id)));
    }

    #[test]
    fn anything_else_is_refused() {
        let long = format!("projects/demo/locations/r/jobs/{}", "a".repeat(LONGEST_JOB_ID + 1));
        for bad in [
            "",
            "migrate",
            "projects/demo/locations/r/jobs/",
            "projects/demo/locations/r/jobs/Migrate",
            "projects/demo/locations/r/jobs/migrate:run",
            "projects/demo/locations/r/services/web",
            &long,
        ] {
            assert!(bad.parse::<JobName>().is_err(), "{bad}");
        }
    }
}
