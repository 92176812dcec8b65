//! What went wrong at Cloud Run, sorted by what it leaves to do.

use std::error::Error as _;

use google_cloud_gax::client_builder;
use google_cloud_gax::error::rpc::Code;
use google_cloud_gax::error::{CredentialsError, Error};

use crate::integrations::cloud_credentials::NoCredentials;

/// How much of an answer is repeated: a proxy's page would drown the sentence.
const LONGEST_QUOTE: usize = 600;

/// Why a call of the Cloud Run Admin API failed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CloudRunError {
    /// The call may or may not have taken effect: look before anything else is done.
    #[error("{0}")]
    Unknown(String),
    /// It did not take effect, as far as Cloud Run says; look again and try again later.
    #[error("{0}")]
    NotNow(String),
    /// It did not take effect and never will as it is.
    #[error("{0}")]
    Refused(String),
}

impl CloudRunError {
    /// The stable name of the class.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unknown(_) => "cloud_run_outcome_unknown",
            Self::NotNow(_) => "cloud_run_not_now",
            Self::Refused(_) => "cloud_run_refused",
        }
    }
}

/// What is asked of Cloud Run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Request<'a> {
    ReadService,
    ReadRevision(&'a str),
    ListRevisions,
    CreateService,
    CreateRevision(&'a str),
    MoveTraffic,
    ReadJob,
    ReadExecution(&'a str),
    RunJob,
    UpdateJob,
    TestPermissions,
    TryChange,
    TestJobPermissions,
    TryJobChange,
}

/// A call that is under way, for the sentences about it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attempt<'a> {
    pub request: Request<'a>,
    /// The whole name of the service, the worker pool or the job.
    pub resource: &'a str,
}

impl Attempt<'_> {
    /// What the call would have done, after "to".
    fn aim(&self) -> String {
        let service = self.resource;
        match self.request {
            Request::ReadService => format!("read {service}"),
            Request::ReadRevision(revision) => format!("read revision {revision} of {service}"),
            Request::ListRevisions => format!("list the revisions of {service}"),
            Request::CreateService => format!("create {service}"),
            Request::CreateRevision(revision) => format!("create revision {revision} of {service}"),
            Request::MoveTraffic if self.is_of_worker_pool() => {
                format!("move the instances of {service}")
            }
            Request::MoveTraffic => format!("move the traffic of {service}"),
            Request::ReadJob => format!("read {service}"),
            Request::ReadExecution(name) => format!("read execution {name} of {service}"),
            Request::RunJob => format!("update {service} and start an execution of it"),
            Request::UpdateJob => format!("update {service}"),
            Request::TestPermissions | Request::TestJobPermissions => {
                format!("tell the gate's rights on {service}")
            }
            Request::TryChange | Request::TryJobChange => {
                format!("accept a change of {service} that is only tried")
            }
        }
    }

    fn is_of_worker_pool(&self) -> bool {
        self.resource.contains("/workerPools/")
    }

    pub(super) fn is_write(&self) -> bool {
        match self.request {
            Request::ReadService
            | Request::ReadRevision(_)
            | Request::ListRevisions
            | Request::ReadJob
            | Request::ReadExecution(_)
            | Request::TestPermissions
            | Request::TryChange
            | Request::TestJobPermissions
            | Request::TryJobChange => false,
            Request::CreateService
            | Request::CreateRevision(_)
            | Request::MoveTraffic
            | Request::RunJob
            | Request::UpdateJob => true,
        }
    }

    /// The permission that the call needs.
    fn permission(&self) -> &'static str {
        let is_of_worker_pool = self.is_of_worker_pool();
        match self.request {
            Request::ReadService | Request::TestPermissions if is_of_worker_pool => {
                "run.workerpools.get"
            }
            Request::CreateService if is_of_worker_pool => "run.workerpools.create",
            Request::CreateRevision(_) | Request::MoveTraffic | Request::TryChange
                if is_of_worker_pool =>
            {
                "run.workerpools.update"
            }
            Request::ReadService | Request::TestPermissions => "run.services.get",
            Request::ReadRevision(_) => "run.revisions.get",
            Request::ListRevisions => "run.revisions.list",
            Request::CreateService => "run.services.create",
            Request::CreateRevision(_) | Request::MoveTraffic | Request::TryChange => {
                "run.services.update"
            }
            Request::ReadJob | Request::TestJobPermissions => "run.jobs.get",
            Request::ReadExecution(_) => "run.executions.get",
            Request::RunJob => "run.jobs.update and run.jobs.run",
            Request::UpdateJob | Request::TryJobChange => "run.jobs.update",
        }
    }

    /// Nobody knows whether it took effect.
    pub(super) fn unknown(&self, why: &str) -> CloudRunError {
        let consequence = if self.is_write() {
            "it may or may not have taken effect; what is there must be read before anything else is done"
        } else {
            "nothing was changed; try again"
        };
        CloudRunError::Unknown(format!(
            "Cloud Run gave no clear answer when asked to {}: {why} ({consequence})",
            self.aim()
        ))
    }

    /// It did not take effect, and may another time.
    pub(super) fn not_now(&self, why: &str) -> CloudRunError {
        let advice = if self.is_write() { "look again, then try again" } else { "try again" };
        CloudRunError::NotNow(format!("Cloud Run does not {} now: {why} ({advice})", self.aim()))
    }

    /// It did not take effect, and will not as it is.
    pub(super) fn refused(&self, why: &str) -> CloudRunError {
        CloudRunError::Refused(format!("Cloud Run refuses to {}: {why}", self.aim()))
    }

    /// There are no credentials for the service's account.
    pub(super) fn without_credentials(&self, error: &NoCredentials) -> CloudRunError {
        self.refused(&format!(
            "the gate has no Google credentials: {}. Run it as a service account on Google Cloud, name a credentials_file, or point GOOGLE_APPLICATION_CREDENTIALS at one",
            chain(error)
        ))
    }

    /// The client cannot be made.
    pub(super) fn unprepared(&self, error: &client_builder::Error) -> CloudRunError {
        self.refused(&format!("the connection cannot be prepared: {}", chain(error)))
    }

    /// The class and the sentence for an error of the official client.
    pub(super) fn failed(&self, error: &Error) -> CloudRunError {
        if error.is_connect() {
            return self.not_now(&innermost(error));
        }
        if error.is_authentication() {
            let credentials = error.source().and_then(|source| source.downcast_ref());
            let is_transient = credentials.is_some_and(CredentialsError::is_transient);
            let why = format!("the gate's Google credentials do not work: {}", chain(error));
            return if is_transient { self.not_now(&why) } else { self.refused(&why) };
        }
        if error.is_binding() || error.is_serialization() {
            return self.refused(&innermost(error));
        }
        match error.http_status_code() {
            Some(status) => self.answered(status, error),
            // A timeout, a connection that broke after the request was sent, or an answer that
            // cannot be read: whatever was asked may have happened.
            None => self.unknown(&innermost(error)),
        }
    }

    /// Cloud Run, or something in front of it, answered with an error.
    fn answered(&self, status: u16, error: &Error) -> CloudRunError {
        let code = error.status().map(|status| status.code);
        let said = match error.status() {
            Some(answer) => {
                format!("{} ({status} {})", quoted(&answer.message), answer.code.name())
            }
            None => quoted(&error.to_string()),
        };
        match (status, code) {
            (429 | 503, _)
            | (_, Some(Code::Aborted | Code::FailedPrecondition | Code::ResourceExhausted)) => {
                self.not_now(&said)
            }
            // A name that is taken may have been taken by an earlier attempt of ours that arrived
            // late: looking again tells whose it is.
            (409 | 412, _) => self.not_now(&said),
            (401, _) => self.refused(&format!(
                "{said}. The gate's credentials are not valid there; check whose they are"
            )),
            (403, _) => self.refused(&format!("{said}. {}", self.missing_permission())),
            (408 | 499, _) => self.unknown(&said),
            (400..=499 | 501, _) => self.refused(&said),
            _ => self.unknown(&said),
        }
    }

    fn missing_permission(&self) -> String {
        let (permission, service) = (self.permission(), self.resource);
        let tries = matches!(self.request, Request::TryChange | Request::TryJobChange);
        let changes = self.is_write() || tries;
        let acting = if changes {
            ", and iam.serviceAccounts.actAs on the service account that it runs as"
        } else {
            ""
        };
        let role = if changes { "roles/run.developer" } else { "roles/run.viewer" };
        format!(
            "Grant the gate's service account {permission} on {service} ({role} has it){acting}"
        )
    }
}

fn quoted(text: &str) -> String {
    let text = text.trim().trim_end_matches('.');
    match text.char_indices().nth(LONGEST_QUOTE) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// An error and all its causes.
fn chain(error: &dyn std::error::Error) -> String {
    joined(&causes(error))
}

/// The last two causes: those before them repeat the address that was called, parameters and all.
fn innermost(error: &dyn std::error::Error) -> String {
    let causes = causes(error);
    joined(&causes[causes.len().saturating_sub(2)..])
}

fn causes(error: &dyn std::error::Error) -> Vec<String> {
    let mut causes = vec![error.to_string()];
    let mut source = error.source();
    while let Some(cause) = source {
        causes.push(cause.to_string());
        source = cause.source();
    }
    causes
}

/// Each cause said once: some repeat the one below them in their own words.
fn joined(causes: &[String]) -> String {
    let mut words = String::new();
    for cause in causes {
        if words.is_empty() {
            words = cause.clone();
        } else if !words.contains(cause) {
            words = format!("{words}: {cause}");
        }
    }
    quoted(&words)
}
