//! Real HTTP servers that stand in for Google, GitHub, the directory, witnesses, receivers and servers of metrics, for
//! the demo and the tests.
//!
//! Nothing of the gate knows that it talks to them: it is pointed at them by its configuration, as
//! it would be at the real ones.

pub mod authenticator;
pub mod binary_authorization;
pub mod cloud_run;
mod cloud_storage;
pub mod github;
pub mod google_accounts;
pub mod identity;
pub mod journal;
mod metrics;
pub mod receiver;
pub mod witness;

use std::path::PathBuf;

use axum::Router;
use jiff::SignedDuration;
use serde_json::json;

use crate::clock::Clock;
use cloud_run::CloudRun;
use github::GitHub;
use identity::{Identity, Settings};
use journal::Journal;
use metrics::Metrics;
use receiver::Receivers;
use witness::Witnesses;

/// The service that the sandbox starts with.
pub const DEMO_SERVICE: &str = "projects/demo/locations/europe-west1/services/web";
/// The job that is there from the beginning.
pub const DEMO_JOB: &str = "projects/demo/locations/europe-west1/jobs/migrate";
/// The image repository of the demo.
pub const DEMO_REPOSITORY: &str = "europe-docker.pkg.dev/demo/app/web";
/// What the demo's service runs before anything is approved.
const FIRST_DIGEST: &str = "0f0c5a5b1e3d0cf6a6f4bb0ed0a4f3bd7a64b8a4a5c2f3b1d3c1b2a4958677e1";
/// The secret that the demo's gate and provider share. No secret at all: everything is loopback.
pub const CLIENT_SECRET: &str = "the-sandbox-has-no-secrets";

/// Where the sandbox and the gate that it serves are.
pub struct SandboxSettings {
    /// Where the sandbox is reached, `http://localhost:8081`.
    pub base_url: String,
    /// Where the gate is reached: the audience of tokens and where sign-ins come back to.
    pub gate_origin: String,
    /// Where keys and state are kept over a restart.
    pub data_dir: Option<PathBuf>,
    /// The time.
    pub clock: Clock,
    /// How long a change takes until it is in effect.
    pub ready_delay: SignedDuration,
}

/// Why the sandbox cannot start.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// Its keys cannot be read or written.
    #[error("the sandbox's keys: {0}")]
    Keys(#[from] identity::KeyFileError),
    /// Its state cannot be read.
    #[error("the sandbox's state: {0}")]
    State(#[from] cloud_run::StateError),
    /// The first service cannot be made.
    #[error("the sandbox's first service: {0}")]
    Seed(#[from] cloud_run::SeedError),
}

/// Every route of the sandbox: Cloud Run, Cloud Storage, token issuers, the identity provider, witnesses,
/// receivers of notices, servers of metrics, journal and levers.
pub fn routes(settings: SandboxSettings) -> Result<Router, SandboxError> {
    let SandboxSettings { base_url, gate_origin, data_dir, clock, ready_delay } = settings;
    let journal = Journal::new(clock.clone());
    let state_file = data_dir.as_ref().map(|folder| folder.join("cloud-run.json"));
    let cloud_run = CloudRun::new(clock.clone(), journal.clone(), state_file)?;
    cloud_run.set_ready_delay(ready_delay);
    cloud_run.serve_tags_at(&base_url);
    cloud_run.seed_service(DEMO_SERVICE, &first_template())?;
    cloud_run.seed_job(DEMO_JOB, &first_execution_template())?;
    let witnesses = Witnesses::new(clock.clone());
    let github = GitHub::new(clock.clone());
    let receivers = Receivers::new(clock.clone());
    let metrics = Metrics::new(clock.clone());
    let accounts_clock = clock.clone();
    let mut identity = Settings::new(&base_url, &gate_origin, CLIENT_SECRET, clock);
    identity.data_dir = data_dir;
    let identity = Identity::new(identity)?.router();
    let attestations = cloud_run.attestations();
    let faulty = cloud_run
        .with_faults(cloud_storage::routes().merge(github.api()).merge(attestations.routes()));
    let storage = journal.watch(faulty);
    Ok(cloud_run
        .router()
        .merge(storage)
        .merge(journal.watch(identity.merge(witnesses.router())))
        .merge(journal.watch(google_accounts::routes(accounts_clock)))
        .merge(journal.watch(receivers.router()))
        .merge(journal.watch(metrics.router()))
        .merge(metrics.levers())
        .merge(attestations.levers())
        .merge(github.levers())
        .merge(journal.router()))
}

fn first_execution_template() -> serde_json::Value {
    json!({
        "template": {
            "containers": [{
                "image": format!("{DEMO_REPOSITORY}@sha256:{FIRST_DIGEST}"),
                "command": ["./migrate"],
                "resources": {"limits": {"cpu": "1", "memory": "512Mi"}},
            }],
            "maxRetries": 0,
            "timeout": "600s",
            "serviceAccount": "web@demo.iam.gserviceaccount.com",
        },
        "taskCount": 1,
    })
}

fn first_template() -> serde_json::Value {
    json!({
        "containers": [{
            "image": format!("{DEMO_REPOSITORY}@sha256:{FIRST_DIGEST}"),
            "ports": [{"name": "http1", "containerPort": 8080}],
            "env": [{"name": "GREETING", "value": "hello"}],
            "resources": {"limits": {"cpu": "1", "memory": "512Mi"}, "cpuIdle": true},
        }],
        "scaling": {"maxInstanceCount": 10},
        "maxInstanceRequestConcurrency": 80,
        "timeout": "300s",
        "serviceAccount": "web@demo.iam.gserviceaccount.com",
    })
}
