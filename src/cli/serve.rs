//! `countersign serve`: the gate.

mod ruled;

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
use crate::domain::log_fault::LogFault;
use crate::domain::rulebook::RuleHistory;
use crate::gate::drift::ChangesSeen;
use crate::gate::watch::Watch;
use crate::gate::{GateError, start};
use crate::integrations::audit_events::AuditEvents;
use crate::integrations::binary_authorization::BinaryAuthorization;
use crate::integrations::cloud_run::CloudRun;
use crate::integrations::github::GitHub;
use crate::integrations::github::app::GitHubApp;
use crate::integrations::log_head::LogHead;
use crate::integrations::login_oidc::LoginProvider;
use crate::integrations::metrics::Metrics;
use crate::integrations::outbound::OutboundHttp;
use crate::integrations::passkeys::Passkeys;
use crate::integrations::probe::Probe;
use crate::integrations::receiver::Receivers;
use crate::integrations::witness::Witnesses;
use crate::integrations::workload_oidc::{Verifier, WorkloadKind};
use crate::proof::checkpoint::TrustedLog;
use crate::server::{self, Front, routes_that_refuse};
use crate::storage::{Storage, StorageError};
use crate::worker::drift::Lookout;
use crate::worker::github::{Terms, Voice};
use crate::worker::log::LogFollower;
use crate::worker::notices::Courier;
use crate::worker::witness::Offering;
use crate::worker::{Outside, Worker};
pub use ruled::{Ruled, ruled};

/// How often the keys of token issuers are read again, and with them the clocks compared.
const REFRESH: Duration = Duration::from_secs(600);
/// How long a database that cannot be opened or written yet is left alone.
const OPEN_AGAIN: Duration = Duration::from_secs(1);

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

/// Serves until `shutdown` turns true: on the given listener, or on the configured address. When other rules
/// come into force it goes on under them.
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
    let overdue = config.metadata.as_ref().and_then(|known| known.overdue(clock.now()));
    for warning in config.warnings.iter().chain(&overdue) {
        tracing::warn!("{warning}");
    }
    let front = Front::open(listener, shutdown.clone());
    let mut known = RuleHistory::default();
    loop {
        let Some(storage) = open_or_wait(&config, &front, shutdown.clone()).await? else {
            return Ok(());
        };
        let ruled = ruled(&config, &storage, &known).await?;
        let (end, ended) = watch::channel(false);
        let app = build(&ruled, storage.clone(), clock.clone(), ended.clone())?;
        let ending = tokio::spawn(ending(storage.clone(), shutdown.clone(), end));
        let served = serve_app(app, ruled, front.clone(), ended).await;
        if served.is_err() || !ending.await.unwrap_or(false) {
            return served;
        }
        // Other rules came into force: everything that rests on rules is made anew, and whoever asks
        // meanwhile waits a moment.
        tracing::warn!("the rules in force changed: the gate goes on under the new ones");
        known = storage.rules();
    }
}

/// Ends the serving when this process is told to stop, or when other rules are in force. True: it goes on then.
async fn ending(
    storage: Storage,
    mut shutdown: watch::Receiver<bool>,
    end: watch::Sender<bool>,
) -> bool {
    let goes_on = tokio::select! {
        _ = shutdown.wait_for(|stop| *stop) => false,
        () = storage.await_other_rules() => true,
    };
    end.send_replace(true);
    goes_on
}

/// Opens the database. As long as it is away, everybody who asks is refused with the reason; a gate that
/// ended instead would stay down where nobody starts it again. None: it was told to stop.
async fn open_or_wait(
    config: &Config,
    front: &Front,
    mut shutdown: watch::Receiver<bool>,
) -> Result<Option<Storage>, String> {
    let outage = match open(config).await {
        Ok(storage) => return Ok(Some(storage)),
        Err(error) => error.outage().ok_or_else(|| unusable(config, &error))?,
    };
    let (reason, shown) = watch::channel(LogFault::Unavailable(outage));
    let (end, ended) = watch::channel(false);
    let refusing = routes_that_refuse(&config.relying_party.origin, shown);
    let opening = async {
        let opened = loop {
            tokio::select! {
                () = tokio::time::sleep(OPEN_AGAIN) => {}
                _ = shutdown.wait_for(|stop| *stop) => break Ok(None),
            }
            match open(config).await {
                Ok(storage) => break Ok(Some(storage)),
                Err(error) => match error.outage() {
                    Some(outage) => {
                        tracing::error!("{}; it is tried again", unusable(config, &error));
                        reason.send_replace(LogFault::Unavailable(outage));
                    }
                    None => break Err(unusable(config, &error)),
                },
            }
        };
        end.send_replace(true);
        opened
    };
    let (opened, ()) = tokio::join!(opening, front.serve(refusing, ended));
    opened
}

/// What to say of a database that could not be opened.
pub fn unusable(config: &Config, error: &StorageError) -> String {
    format!("the database {}: {error}", config.database_shown())
}

/// Opens the database that the configuration names, if its ledger goes on with the configured key.
///
/// # Errors
/// Those of [`Storage::open`] and [`Storage::refuse_another_log_key`].
pub async fn open(config: &Config) -> Result<Storage, StorageError> {
    let storage = Storage::open(config.database.expose_secret(), config.log_key.clone()).await?;
    storage.subscribe(config.receivers.iter().map(|one| one.subscription.clone()).collect());
    let checked = storage.refuse_another_log_key().await;
    if checked.is_err() {
        storage.close().await;
    }
    checked.map(|()| storage)
}

/// What answers to runs of GitHub Actions rest on beside evidence.
fn terms(app: &App, config: &Config) -> Terms {
    let issuers = config.workload_issuers.iter();
    let issuers = issuers.filter(|issuer| issuer.kind == WorkloadKind::Github);
    Terms {
        origin: app.relying_party.origin.clone(),
        policies: app.authority.policies.clone(),
        issuers: issuers.map(|issuer| issuer.name.clone()).collect(),
    }
}

/// Serves what was built until `shutdown` turns true, with the worker and everything else beside it.
pub async fn serve_app(
    app: App,
    ruled: Ruled,
    front: Front,
    shutdown: watch::Receiver<bool>,
) -> Result<(), String> {
    let config = Arc::clone(&ruled.config);
    app.storage.await_start();
    let settings = Arc::clone(&config);
    let log = Arc::clone(&app.log);
    // Before the first entry of this process: nothing is written on top of a log that is at fault. Such a
    // gate starts all the same, and its pages say why nothing is decided.
    log.begin().await;
    let starter = match record_start(&app, &config).await {
        Ok(()) => {
            // What it wrote is known before anybody asks for anything. A fault is told by whoever follows the log.
            let _ = log.secure().await;
            None
        }
        Err(GateError::Storage(error)) if error.outage().is_some() || is_of_the_log(&error) => {
            Some(tokio::spawn(record_start_later(app.clone(), config, shutdown.clone())))
        }
        Err(error) => return Err(format!("the start cannot be written to the ledger: {error}")),
    };
    tracing::info!(
        origin = app.relying_party.origin,
        environments = app.authority.policies.len(),
        trust = app.trust.level().as_str(),
        "the gate is ready"
    );
    let watcher = tokio::spawn({
        let app = app.clone();
        async move { app.watch.run().await }
    });
    let (storage, cloud_run) = (app.storage.clone(), app.cloud_run.clone());
    let (clock, trust) = (app.clock.clone(), app.trust.clone());
    let offering = Offering::new(
        storage.clone(),
        clock.clone(),
        Arc::clone(&log),
        Arc::clone(&app.witnesses),
        app.relying_party.origin.clone(),
    );
    let voice = app.github_app.clone().map(|github| {
        let (storage, clock, trust) = (storage.clone(), clock.clone(), trust.clone());
        let terms = terms(&app, &settings);
        let voice = Voice::new(storage, clock, trust, Arc::clone(&log), github, terms);
        tokio::spawn(voice.run(shutdown.clone()))
    });
    let courier = Courier::new(
        storage.clone(),
        clock.clone(),
        Arc::clone(&app.receivers),
        app.relying_party.origin.clone(),
    );
    let outside = Outside {
        cloud_run,
        probe: Probe::new(settings.reach)?,
        metrics: Metrics::new(&settings.metrics, &app.http),
        attestors: BinaryAuthorization::new(settings.attestors.clone(), app.http.clone()),
    };
    let worker = Worker::new(storage, outside, clock, trust, Arc::clone(&log));
    let worker = tokio::spawn(worker.run(shutdown.clone()));
    let follower = tokio::spawn({
        let shutdown = shutdown.clone();
        async move { log.run(shutdown).await }
    });
    let offering = tokio::spawn(offering.run(shutdown.clone()));
    let courier = tokio::spawn(courier.run(shutdown.clone()));
    let lookout = lookout(&app, &settings).map(|one| tokio::spawn(one.run(shutdown.clone())));
    let refresher = tokio::spawn(refresh(app.clone(), shutdown.clone()));
    let asking = tokio::spawn(ruled::ask(app.clone(), ruled, shutdown.clone()));
    front.serve(server::routes(app.clone()), shutdown).await;
    let tasks = [watcher, worker, follower, offering, courier, refresher, asking];
    for task in tasks.into_iter().chain(lookout).chain(starter).chain(voice) {
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
    Ok(())
}

/// Writes down with which settings and rules this process begins.
async fn record_start(app: &App, config: &Config) -> Result<(), GateError> {
    start::record(&app.storage, &config.rulebook()?, &config.digest()?, app.now()).await
}

/// The same as soon as it can be: until then nothing else is written.
async fn record_start_later(app: App, config: Arc<Config>, mut shutdown: watch::Receiver<bool>) {
    let recording = async {
        while let Err(error) = record_start(&app, &config).await {
            tracing::debug!(%error, "the start cannot be written to the ledger yet");
            tokio::time::sleep(OPEN_AGAIN).await;
        }
    };
    tokio::select! {
        () = recording => {}
        _ = shutdown.wait_for(|stop| *stop) => {}
    }
}

/// What looks at the services, if the configuration says so.
fn lookout(app: &App, config: &Config) -> Option<Lookout> {
    let drift = config.drift.as_ref()?;
    let services = app.authority.policies.iter().flat_map(|(name, policy)| {
        policy.services.iter().map(|service| (name.clone(), service.clone()))
    });
    let (storage, cloud_run) = (app.storage.clone(), app.cloud_run.clone());
    let (clock, changes) = (app.clock.clone(), Arc::clone(&app.changes));
    Some(Lookout::new(storage, cloud_run, clock, services.collect(), drift.every, changes))
}

fn is_of_the_log(error: &StorageError) -> bool {
    matches!(error, StorageError::Log(_))
}

/// Follows the log that this configuration names.
fn follower(
    config: &Config,
    storage: &Storage,
    http: &OutboundHttp,
) -> Result<LogFollower, String> {
    let trust = config.trust();
    let log = TrustedLog::parse(&trust.log);
    let log = log.ok_or_else(|| format!("{} is no verifier key of a log", trust.log))?;
    let place = LogHead::new(config.log_head.clone(), http);
    Ok(LogFollower::new(storage.clone(), log, trust, config.authority(), place))
}

async fn listen(address: SocketAddr) -> Result<TcpListener, String> {
    TcpListener::bind(address).await.map_err(|error| {
        format!("{address} cannot be listened on: {error}; choose another with listen or PORT")
    })
}

/// Makes the long-lived parts. Nothing outside is asked, so that a start is fast and an outage of somebody
/// else does not keep the gate down.
pub fn build(
    ruled: &Ruled,
    storage: Storage,
    clock: Clock,
    shutdown: watch::Receiver<bool>,
) -> Result<App, String> {
    let config = &ruled.config;
    let http = OutboundHttp::new().map_err(|error| error.to_string())?;
    let push = config.drift.as_ref().and_then(|drift| drift.push.as_ref());
    let github = config.github.as_ref().map(GitHub::new).transpose();
    let log = Arc::new(follower(config, &storage, &http)?);
    let github_app = config.github.as_ref().and_then(|github| Some((github, github.app.as_ref()?)));
    let github_app = github_app.map(|(github, app)| GitHubApp::new(&github.api, app)).transpose();
    let github_app = github_app.map_err(|error| error.to_string())?;
    Ok(App::new(Parts {
        passkeys: passkeys(config),
        relying_party: config.relying_party.clone(),
        audit_readers: config.audit_readers.clone(),
        authority: config.authority(),
        watch: Watch::new(storage.clone(), shutdown),
        storage,
        clock,
        workloads: Verifier::new(config.workload_issuers.clone(), http.clone()),
        agents: config.agent_issuer(),
        login: LoginProvider::new(config.login.clone(), http.clone()),
        log_head: LogHead::new(config.log_head.clone(), &http),
        trust: config.trust(),
        cloud_run: CloudRun::new(config.cloud_run.clone()),
        github: github.map_err(|error| error.to_string())?,
        github_app: github_app.map(Arc::new),
        witnesses: Arc::new(Witnesses::new(config.witnesses.clone(), http.clone())),
        receivers: Arc::new(Receivers::new(config.receivers.clone(), config.reach)?),
        audit_events: push.map(|settings| AuditEvents::new(settings, http.clone())),
        changes: Arc::new(ChangesSeen::default()),
        watches_services: config.drift.is_some(),
        http,
        grant_keys: config.grant_keys.clone(),
        log,
        proxies: config.proxies.clone(),
        rules_wait: ruled.proposed.is_some(),
        notice: config.notice.clone(),
    }))
}

/// Browsers are asked who made an authenticator only where somebody wants to know: it is a question about the
/// person's belongings.
fn passkeys(config: &Config) -> Passkeys {
    let passkeys = Passkeys::new(&config.relying_party.id, &config.public_origin, "Countersign");
    let mut rules = config.environments.values().filter_map(|policy| policy.keys.as_ref());
    let is_asked = rules.any(|keys| keys.attestation.is_some());
    if is_asked { passkeys.with_attestation() } else { passkeys }
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
