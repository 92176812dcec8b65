//! `countersign serve`: the gate.

use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use secrecy::ExposeSecret;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::app::{App, Parts};
use crate::cli::{failed, logging, shutdown_signal};
use crate::clock::Clock;
use crate::config::Config;
use crate::gate::start;
use crate::gate::watch::Watch;
use crate::integrations::cloud_run::CloudRun;
use crate::integrations::github::GitHub;
use crate::integrations::login_oidc::LoginProvider;
use crate::integrations::outbound::OutboundHttp;
use crate::integrations::passkeys::Passkeys;
use crate::integrations::workload_oidc::Verifier;
use crate::proof::checkpoint::TrustedLog;
use crate::server;
use crate::storage::Storage;
use crate::worker::Worker;
use crate::worker::log::LogFollower;

/// How often the keys of token issuers are read again, and with them the clocks compared.
const REFRESH: Duration = Duration::from_secs(600);

/// Runs the gate until it is told to stop.
pub async fn run(config: &Path) -> ExitCode {
    logging::start();
    let config = match Config::load_from_process(config) {
        Ok(config) => config,
        Err(error) => return failed(&error.to_string()),
    };
    match serve(config, None, Clock::system(), shutdown_signal()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => failed(&why),
    }
}

/// Serves until `shutdown` turns true: on the given listener, or on the configured address.
pub async fn serve(
    config: Config,
    listener: Option<TcpListener>,
    clock: Clock,
    shutdown: watch::Receiver<bool>,
) -> Result<(), String> {
    let listener = match listener {
        Some(listener) => listener,
        None => listen(config.listen).await?,
    };
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let app = build(&config, clock, shutdown.clone()).await?;
    serve_app(app, Arc::new(config), listener, shutdown).await
}

/// Serves what was built until `shutdown` turns true, with the worker and everything else beside it.
pub async fn serve_app(
    app: App,
    config: Arc<Config>,
    listener: TcpListener,
    shutdown: watch::Receiver<bool>,
) -> Result<(), String> {
    let log = Arc::new(follower(&config, &app.storage)?);
    // Before the first entry of this process: nothing is written on top of a log that is at fault. Such a
    // gate starts all the same, and its pages say why nothing is decided.
    log.begin().await;
    if app.storage.log_fault().is_none() {
        record_start(&app, &config).await?;
    }
    tracing::info!(
        origin = app.relying_party.origin,
        environments = app.policies.len(),
        trust = app.trust.level().as_str(),
        "the gate is ready"
    );
    let watcher = tokio::spawn({
        let app = app.clone();
        async move { app.watch.run().await }
    });
    let (storage, cloud_run) = (app.storage.clone(), app.cloud_run.clone());
    let (clock, trust) = (app.clock.clone(), app.trust.clone());
    let worker = Worker::new(storage, cloud_run, clock, trust, Arc::clone(&log));
    let worker = tokio::spawn(worker.run(shutdown.clone()));
    let follower = tokio::spawn({
        let shutdown = shutdown.clone();
        async move { log.run(shutdown).await }
    });
    let refresher = tokio::spawn(refresh(app.clone(), shutdown.clone()));
    let served = server::serve(listener, app.clone(), shutdown).await;
    for task in [watcher, worker, follower, refresher] {
        if let Err(error) = task.await {
            tracing::error!(%error, "a task of the gate ended badly");
        }
    }
    // What the last requests were refused is told too.
    if let Err(error) = app.storage.write_refusals(SignedDuration::ZERO, app.now()).await {
        tracing::error!(%error, "the last refusals could not be written to the ledger");
    }
    app.storage.close().await;
    tracing::info!("the gate has stopped");
    served.map_err(|error| format!("the gate ended: {error}"))
}

/// Writes down with which settings and rules this process begins.
async fn record_start(app: &App, config: &Config) -> Result<(), String> {
    let digest = config.digest().map_err(|error| error.to_string())?;
    start::record(&app.storage, &app.policies, &digest, app.now())
        .await
        .map_err(|error| format!("the start cannot be written to the ledger: {error}"))
}

/// Follows the log that this configuration names.
fn follower(config: &Config, storage: &Storage) -> Result<LogFollower, String> {
    let trust = config.trust();
    let log = TrustedLog::parse(&trust.log);
    let log = log.ok_or_else(|| format!("{} is no verifier key of a log", trust.log))?;
    Ok(LogFollower::new(storage.clone(), log, config.log_head.clone()))
}

async fn listen(address: SocketAddr) -> Result<TcpListener, String> {
    TcpListener::bind(address).await.map_err(|error| {
        format!("{address} cannot be listened on: {error}; choose another with listen or PORT")
    })
}

/// Makes the long-lived parts. Nothing outside but the database is asked, so that a start is fast
/// and an outage of somebody else does not keep the gate down.
pub async fn build(
    config: &Config,
    clock: Clock,
    shutdown: watch::Receiver<bool>,
) -> Result<App, String> {
    let storage = Storage::open(config.database.expose_secret(), config.log_key.clone())
        .await
        .map_err(|error| format!("the database {}: {error}", config.database_shown()))?;
    storage.refuse_another_log_key().await.map_err(|error| error.to_string())?;
    let http = OutboundHttp::new().map_err(|error| error.to_string())?;
    let github = config.github.as_ref().map(GitHub::new).transpose();
    Ok(App::new(Parts {
        passkeys: Passkeys::new(&config.relying_party.id, &config.public_origin, "Countersign"),
        relying_party: config.relying_party.clone(),
        audit_readers: config.audit_readers.clone(),
        policies: config.environments.clone(),
        watch: Watch::new(storage.clone(), shutdown),
        storage,
        clock,
        workloads: Verifier::new(config.workload_issuers.clone(), http.clone()),
        agents: config.agent_issuer(),
        login: LoginProvider::new(config.login.clone(), http.clone()),
        http,
        trust: config.trust(),
        cloud_run: CloudRun::new(config.cloud_run.clone()),
        github: github.map_err(|error| error.to_string())?,
        proxies: config.proxies.clone(),
        notice: config.notice.clone(),
    }))
}

/// Reads issuers' keys before the first token needs them, and compares clocks on the way.
async fn refresh(app: App, mut shutdown: watch::Receiver<bool>) {
    while !*shutdown.borrow() {
        let now = app.now();
        tokio::join!(app.workloads.refresh(now), app.cloud_run.compare_clocks(&app.http, now));
        tokio::select! {
            () = tokio::time::sleep(REFRESH) => {}
            _ = shutdown.changed() => {}
        }
    }
}
