//! The Cloud Run Admin API v2, through Google's official client.
//!
//! Every method makes exactly one call: nothing is retried and no long-running operation is waited
//! for. A write returns as soon as Cloud Run accepted it; whether it took effect is seen by reading
//! the service again. Only the worker decides to try again, and it looks first.
//!
//! Services and worker pools are rolled out in the same way. What is the same for both is here; `service` and
//! `worker_pool` make the calls, each of its own kind.

mod error;
mod job;
mod observed;
mod revision_template;
mod service;
mod template;
mod trial;
mod worker_pool;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use google_cloud_auth::credentials::Credentials;
use google_cloud_gax::error::Error;
use google_cloud_gax::error::rpc::Code;
use google_cloud_gax::retry_policy::NeverRetry;
use google_cloud_run_v2::client::{Executions, Jobs, Revisions, Services, WorkerPools};
use google_cloud_wkt::FieldMask;
use jiff::{SignedDuration, Timestamp};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::OnceCell;
use url::Url;

pub use self::error::CloudRunError;
use self::error::{Attempt, Request};
pub use self::template::{TemplateError, check_execution_template, check_template};
use crate::domain::deployment::Deployment;
use crate::domain::observation::{
    ListedRevision, ObservedRevision, ObservedService, TrafficShare, TrafficTag,
};
use crate::domain::service::{ServiceKind, ServiceName};
use crate::domain::template::APPROVAL_ANNOTATION;
use crate::integrations::cloud_credentials::{EVERYTHING, GoogleAccount};
use crate::integrations::outbound::{OutboundHttp, clock_ahead};

/// Which step of its rollout an approval wrote last, beside [`APPROVAL_ANNOTATION`].
pub const STEP_ANNOTATION: &str = "countersign.dev/step";

/// For reads. The API answers in well under a second; a caller waits for this one.
const READ_TIMEOUT: Duration = Duration::from_secs(20);

/// For writes. The API validates images and secrets before it answers, which takes some seconds;
/// giving up early would only make more outcomes unknown.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);

/// How the Cloud Run Admin API v2 is reached.
#[derive(Clone, Debug)]
pub struct CloudRunSettings {
    /// Where it is, if not at Google.
    pub endpoint: Option<Url>,
    /// Whose rights are used where nothing else is said.
    pub account: GoogleAccount,
    /// Whose rights are used for the services and jobs, by their whole names, of environments that have an
    /// account of their own.
    pub accounts_by_name: BTreeMap<String, GoogleAccount>,
}

impl CloudRunSettings {
    /// Whose rights are used for a service or a job.
    pub fn account_of(&self, resource: &str) -> &GoogleAccount {
        self.accounts_by_name.get(resource).unwrap_or(&self.account)
    }
}

/// Cloud Run. Clones share their connections and credentials.
#[derive(Clone, Debug)]
pub struct CloudRun {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    settings: CloudRunSettings,
    /// One set for every account, so that no environment's calls are made with another's rights.
    clients: BTreeMap<GoogleAccount, OnceCell<Clients>>,
    clock_ahead: Mutex<Option<SignedDuration>>,
}

/// Where Google's API is, if the configuration names no other place.
const GOOGLE_ENDPOINT: &str = "https://run.googleapis.com/";

/// Google's clients, made when they are first needed.
#[derive(Debug)]
struct Clients {
    services: Services,
    worker_pools: WorkerPools,
    revisions: Revisions,
    jobs: Jobs,
    executions: Executions,
}

impl CloudRun {
    /// Touches neither the network nor the credentials: they are looked for at the first call.
    pub fn new(settings: CloudRunSettings) -> Self {
        let accounts = settings.accounts_by_name.values().chain([&settings.account]);
        let clients = accounts.map(|account| (account.clone(), OnceCell::new())).collect();
        let clock_ahead = Mutex::default();
        Self { shared: Arc::new(Shared { settings, clients, clock_ahead }) }
    }

    /// Compares our clock with Cloud Run's, by the `Date` of an answer; which answer does not matter,
    /// so none of Google's rights are used. Google's client does not show it.
    pub async fn compare_clocks(&self, http: &OutboundHttp, now: Timestamp) {
        let endpoint = self.shared.settings.endpoint.as_ref().map_or(GOOGLE_ENDPOINT, Url::as_str);
        match http.get_json(endpoint).await {
            Ok(answer) => {
                let ahead = clock_ahead(answer.headers(), now);
                *self.shared.clock_ahead.lock().unwrap_or_else(PoisonError::into_inner) = ahead;
            }
            Err(error) => tracing::warn!(%error, "Cloud Run's clock could not be read"),
        }
    }

    /// How far Cloud Run's clock was ahead of ours when they were compared last.
    pub fn clock_ahead(&self) -> Option<SignedDuration> {
        *self.shared.clock_ahead.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads a service or a worker pool; `None` if it does not exist.
    ///
    /// # Errors
    /// If Cloud Run does not answer, or refuses: its sentence names the permission that is missing.
    pub async fn observe_service(
        &self,
        name: &ServiceName,
    ) -> Result<Option<ObservedService>, CloudRunError> {
        let attempt = Attempt { request: Request::ReadService, resource: name.as_str() };
        let clients = self.clients(&attempt).await?;
        match name.kind() {
            ServiceKind::Service => service::observe(clients, &attempt).await,
            ServiceKind::WorkerPool => worker_pool::observe(clients, &attempt).await,
        }
    }

    /// Reads a revision by its short name; `None` if it, or its service, does not exist.
    ///
    /// # Errors
    /// As [`CloudRun::observe_service`].
    pub async fn observe_revision(
        &self,
        name: &ServiceName,
        revision: &str,
    ) -> Result<Option<ObservedRevision>, CloudRunError> {
        let attempt = Attempt { request: Request::ReadRevision(revision), resource: name.as_str() };
        let clients = self.clients(&attempt).await?;
        let full_name = format!("{name}/revisions/{revision}");
        let call = clients.revisions.get_revision().set_name(full_name).send();
        let found = found(call_once(&attempt, call).await?, &attempt)?;
        Ok(found.as_ref().map(observed::revision))
    }

    /// Every revision of a service that there still is; none of one that does not exist.
    ///
    /// # Errors
    /// As [`CloudRun::observe_service`].
    pub async fn list_revisions(
        &self,
        name: &ServiceName,
    ) -> Result<Vec<ListedRevision>, CloudRunError> {
        let attempt = Attempt { request: Request::ListRevisions, resource: name.as_str() };
        let clients = self.clients(&attempt).await?;
        let mut revisions = Vec::new();
        let mut page = String::new();
        loop {
            let call = clients.revisions.list_revisions().set_parent(name.as_str());
            let call = call.set_page_token(&page).send();
            let Some(found) = found(call_once(&attempt, call).await?, &attempt)? else {
                return Ok(revisions);
            };
            for revision in &found.revisions {
                let listed = observed::listed(revision);
                revisions.push(listed.map_err(|problem| attempt.unknown(&problem))?);
            }
            page = found.next_page_token;
            if page.is_empty() {
                return Ok(revisions);
            }
        }
    }

    /// Creates the service or the worker pool with its first revision serving everything. Who may call a service,
    /// and from where, and how many instances a worker pool has, is left to the platform's default.
    ///
    /// # Errors
    /// [`CloudRunError::NotNow`] if the service exists by now: whoever looks again sees whose it is.
    pub async fn create_service(&self, deployment: &Deployment) -> Result<(), CloudRunError> {
        let name = &deployment.service;
        let attempt = Attempt { request: Request::CreateService, resource: name.as_str() };
        let everything =
            [TrafficShare { revision: deployment.plan.revision.clone(), percent: 100 }];
        let change = Change {
            template: Some(&deployment.proposed),
            shares: &everything,
            tags: &[],
            annotations: annotations(deployment, &BTreeMap::new(), name.kind().noun()),
        };
        change.check(&attempt)?;
        let clients = self.clients(&attempt).await?;
        match name.kind() {
            ServiceKind::Service => service::create(clients, &attempt, name, change).await,
            ServiceKind::WorkerPool => worker_pool::create(clients, &attempt, name, change).await,
        }
    }

    /// Creates the signed revision; the traffic stays on the revisions that serve now.
    ///
    /// # Errors
    /// [`CloudRunError::NotNow`] if the service changed since it was observed, or if the revision's
    /// name is taken by another template.
    pub async fn create_revision(
        &self,
        deployment: &Deployment,
        observed: &ObservedService,
    ) -> Result<(), CloudRunError> {
        let change = Change {
            template: Some(&deployment.proposed),
            shares: &observed.serving,
            tags: &observed.tags,
            annotations: annotations(deployment, &observed.annotations, "revision"),
        };
        let request = Request::CreateRevision(&deployment.plan.revision);
        self.patch(request, &deployment.service, observed, change).await
    }

    /// Moves the traffic to these shares, and gives the new revision this tag and no other. The template is not sent: Cloud Run would take it for a
    /// change.
    ///
    /// # Errors
    /// [`CloudRunError::NotNow`] if the service changed since it was observed,
    /// [`CloudRunError::Refused`] if one of the revisions does not exist.
    pub async fn move_traffic(
        &self,
        deployment: &Deployment,
        observed: &ObservedService,
        traffic: &[TrafficShare],
        tag: Option<&str>,
    ) -> Result<(), CloudRunError> {
        let name = &deployment.service;
        let ours = traffic.iter().find(|share| share.revision == deployment.plan.revision);
        let revision = &deployment.plan.revision;
        let mut tags = observed.tags.clone();
        tags.retain(|tag| tag.revision != *revision);
        let signed = tag.map(|tag| TrafficTag { tag: tag.to_owned(), revision: revision.clone() });
        tags.extend(signed);
        let percent = ours.map_or(0, |share| share.percent);
        let step = format!("{} {percent}%", name.kind().shared());
        let change = Change {
            template: None,
            shares: traffic,
            tags: &tags,
            annotations: annotations(deployment, &observed.annotations, &step),
        };
        self.patch(Request::MoveTraffic, name, observed, change).await
    }

    /// One conditional PATCH of what changes; never one that creates the service.
    async fn patch(
        &self,
        request: Request<'_>,
        name: &ServiceName,
        observed: &ObservedService,
        change: Change<'_>,
    ) -> Result<(), CloudRunError> {
        let attempt = Attempt { request, resource: name.as_str() };
        if observed.etag.is_empty() {
            return Err(attempt.refused("the change would be unconditional: no etag was observed"));
        }
        change.check(&attempt)?;
        let clients = self.clients(&attempt).await?;
        let etag = &observed.etag;
        match name.kind() {
            ServiceKind::Service => service::patch(clients, &attempt, etag, change).await,
            ServiceKind::WorkerPool => worker_pool::patch(clients, &attempt, etag, change).await,
        }
    }

    async fn clients(&self, attempt: &Attempt<'_>) -> Result<&Clients, CloudRunError> {
        let settings = &self.shared.settings;
        let account = settings.account_of(attempt.resource);
        let Some(clients) = self.shared.clients.get(account) else {
            return Err(attempt.refused("there is no connection for its account"));
        };
        let connecting = clients.get_or_try_init(async || {
            let credentials = account.credentials(EVERYTHING);
            let credentials = credentials.map_err(|error| attempt.without_credentials(&error))?;
            connect(settings, credentials).await.map_err(|error| attempt.unprepared(&error))
        });
        match tokio::time::timeout(READ_TIMEOUT, connecting).await {
            Ok(connected) => connected,
            Err(_) => Err(attempt.not_now(&format!(
                "Google's credentials were not found within {} seconds",
                READ_TIMEOUT.as_secs()
            ))),
        }
    }
}

async fn connect(
    settings: &CloudRunSettings,
    credentials: Credentials,
) -> Result<Clients, google_cloud_gax::client_builder::Error> {
    let mut services = Services::builder().with_retry_policy(NeverRetry);
    let mut worker_pools = WorkerPools::builder().with_retry_policy(NeverRetry);
    let mut revisions = Revisions::builder().with_retry_policy(NeverRetry);
    let mut jobs = Jobs::builder().with_retry_policy(NeverRetry);
    let mut executions = Executions::builder().with_retry_policy(NeverRetry);
    if let Some(endpoint) = &settings.endpoint {
        services = services.with_endpoint(endpoint.as_str());
        worker_pools = worker_pools.with_endpoint(endpoint.as_str());
        revisions = revisions.with_endpoint(endpoint.as_str());
        jobs = jobs.with_endpoint(endpoint.as_str());
        executions = executions.with_endpoint(endpoint.as_str());
    }
    Ok(Clients {
        services: services.with_credentials(credentials.clone()).build().await?,
        worker_pools: worker_pools.with_credentials(credentials.clone()).build().await?,
        revisions: revisions.with_credentials(credentials.clone()).build().await?,
        jobs: jobs.with_credentials(credentials.clone()).build().await?,
        executions: executions.with_credentials(credentials).build().await?,
    })
}

/// Makes one call within the time that its kind may take.
///
/// A crash or a timeout here leaves an unknown outcome: the request may have arrived.
async fn call_once<T>(
    attempt: &Attempt<'_>,
    call: impl Future<Output = Result<T, Error>>,
) -> Result<Result<T, Error>, CloudRunError> {
    let limit = if attempt.is_write() { WRITE_TIMEOUT } else { READ_TIMEOUT };
    tokio::time::timeout(limit, call)
        .await
        .map_err(|_| attempt.unknown(&format!("no answer within {} seconds", limit.as_secs())))
}

/// What was read, or `None` if Cloud Run itself says that it does not exist. A 404 of anything else,
/// of a proxy or a wrong address, proves nothing about the service.
fn found<T>(answer: Result<T, Error>, attempt: &Attempt<'_>) -> Result<Option<T>, CloudRunError> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.status().is_some_and(|status| status.code == Code::NotFound) => {
            Ok(None)
        }
        Err(error) => Err(attempt.failed(&error)),
    }
}

/// What a write sets. Everything else of a service or a worker pool stays as it is.
struct Change<'a> {
    /// The template of a new revision, if there is to be one.
    template: Option<&'a Value>,
    /// The shares of all revisions.
    shares: &'a [TrafficShare],
    /// The tags there are then; a worker pool has none.
    tags: &'a [TrafficTag],
    annotations: BTreeMap<String, String>,
}

impl Change<'_> {
    fn check(&self, attempt: &Attempt<'_>) -> Result<(), CloudRunError> {
        let sum: u32 = self.shares.iter().map(|share| u32::from(share.percent)).sum();
        // Without shares, Cloud Run would give everything to the latest revision.
        if sum != 100 || self.shares.iter().any(|share| share.revision.is_empty()) {
            let problem = format!("the shares sum to {sum} and not to 100; nothing was sent");
            return Err(attempt.refused(&problem));
        }
        Ok(())
    }

    /// The template as the official client sends it.
    fn template<T: DeserializeOwned>(
        &self,
        attempt: &Attempt<'_>,
    ) -> Result<Option<T>, CloudRunError> {
        let template = self.template.map(template::to_model).transpose();
        template.map_err(|error| attempt.refused(&error.to_string()))
    }

    /// Which members are sent; `shares` is the name of the one that holds the shares.
    fn mask(&self, shares: &str) -> FieldMask {
        let template = self.template.map(|_| "template");
        FieldMask::default().set_paths(template.into_iter().chain([shares, "annotations"]))
    }
}

fn annotations(
    deployment: &Deployment,
    observed: &BTreeMap<String, String>,
    step: &str,
) -> BTreeMap<String, String> {
    let mut annotations = observed.clone();
    annotations.insert(APPROVAL_ANNOTATION.to_owned(), deployment.approval.to_string());
    annotations.insert(STEP_ANNOTATION.to_owned(), step.to_owned());
    annotations
}
