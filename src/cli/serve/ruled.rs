//! Under which rules a gate serves: those in force, whatever its configuration file says by now.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::app::App;
use crate::config::Config;
use crate::domain::rulebook::{InForce, RuleHistory, Rulebook, rulebook_changes};
use crate::gate::{GateError, rule_changes, rules_in_force};
use crate::storage::Storage;

/// How soon people are asked again, where they could not be.
const TRY_AGAIN: Duration = Duration::from_secs(1);
/// How often it is looked whether people are still asked: a request of theirs expires after a week.
const LOOK_AGAIN: Duration = Duration::from_secs(60);
/// What every page says while rules wait.
const WAITS: &str = "The gate’s configuration file says other rules than those in force. They count when everybody who has to has signed the change, which is in the inbox.";

/// A configuration as it may be used.
#[derive(Clone)]
pub struct Ruled {
    /// With the rules in force in the place of its own.
    pub config: Arc<Config>,
    /// The file's own rules, where they are others and wait for signatures.
    pub proposed: Option<Arc<Rulebook>>,
    /// Whether this process only began with rules that were in force then: it proposes nothing.
    is_outdated: bool,
}

/// Puts a configuration under the rules that the log of `storage` says are in force, and lets nothing be done
/// as soon as others are. `known` are those that this process verified before.
///
/// # Errors
/// A sentence, if the rules in force cannot be read by this version.
pub async fn ruled(
    config: &Config,
    storage: &Storage,
    known: &RuleHistory,
) -> Result<Ruled, String> {
    let unreadable =
        |error: &dyn std::fmt::Display| format!("the rules in force cannot be used: {error}");
    let own = config.rulebook().map_err(|error| unreadable(&error))?;
    let history = match known.current() {
        Some(_) => known.clone(),
        None => on_record(config, storage).await,
    };
    let Some(in_force) = history.current() else {
        let digest = own.digest().map_err(|error| unreadable(&error))?;
        tracing::info!(%digest, "no rules are bound yet: those of the configuration file count");
        storage.run_with(digest);
        return Ok(Ruled::of_file(config, false));
    };
    require_metadata(config, &in_force.rules)?;
    storage.run_with(in_force.digest);
    tell(in_force);
    if *in_force.rules == own {
        return Ok(Ruled::of_file(config, false));
    }
    if known.was_in_force(&own) {
        tracing::warn!(
            "this process began with the rules before: start it again with a configuration file that says the new ones"
        );
        let config = config.clone().under(&in_force.rules).map_err(|error| unreadable(&error))?;
        return Ok(Ruled::of_file(&config, true));
    }
    tracing::warn!(
        "the configuration file says other rules than those in force, which stay until the change is signed"
    );
    for change in rulebook_changes(&in_force.rules, &own) {
        tracing::warn!(
            environment = change.environment,
            effect = change.effect.as_str(),
            "waits for signatures: {}",
            change.sentence
        );
    }
    let notice = config.notice.as_ref().map(|notice| format!("{WAITS} {notice}"));
    let config = config.clone().under(&in_force.rules).map_err(|error| unreadable(&error))?;
    let notice = Some(notice.unwrap_or_else(|| WAITS.to_owned()));
    let config = Arc::new(Config { notice, ..config });
    Ok(Ruled { config, proposed: Some(Arc::new(own)), is_outdated: false })
}

/// Where the rules in force want to know what FIDO says against models of keys, a file that does not say it is
/// none to start with: whoever edits it could make suspended keys sign.
fn require_metadata(config: &Config, rules: &Rulebook) -> Result<(), String> {
    let wanted = &rules.anchors.metadata_root;
    if wanted.is_none() || *wanted == config.pins.metadata_root {
        return Ok(());
    }
    Err("the rules in force ask for FIDO's metadata under a root that the configuration does not name: name it in trust.metadata_root, and the file in trust.metadata, until a change of that is signed".to_owned())
}

impl Ruled {
    fn of_file(config: &Config, is_outdated: bool) -> Self {
        Self { config: Arc::new(config.clone()), proposed: None, is_outdated }
    }
}

/// What the log says before it is followed. Where that cannot be told, the file's rules are begun with, and
/// nothing is done under them as soon as it is known that they are not in force.
async fn on_record(config: &Config, storage: &Storage) -> RuleHistory {
    let read = async {
        let head = storage.head().await?;
        rules_in_force::on_record(storage, &config.trust(), &head, &Default::default()).await
    };
    match read.await {
        Ok((history, _)) => history,
        Err(error) => {
            tracing::warn!(%error, "which rules are in force is not known yet");
            RuleHistory::default()
        }
    }
}

fn tell(in_force: &InForce) {
    let InForce { entry, at, digest, by, .. } = in_force;
    let by =
        if by.is_empty() { "the first start that bound them".to_owned() } else { by.join(", ") };
    tracing::info!(%digest, entry, since = %at, by, "the rules in force");
}

/// Sees to it that people are asked about rules that wait, and no longer about those that nobody proposes.
pub async fn ask(app: App, ruled: Ruled, mut shutdown: watch::Receiver<bool>) {
    let Ruled { proposed, is_outdated, .. } = ruled;
    let asking = async {
        if is_outdated {
            std::future::pending::<()>().await;
        }
        loop {
            let outcome = ask_once(&app, proposed.as_deref()).await;
            let pause = match outcome {
                Ok(()) if proposed.is_none() => std::future::pending().await,
                Ok(()) => LOOK_AGAIN,
                Err(error) => {
                    tracing::debug!(%error, "people cannot be asked about rules yet");
                    TRY_AGAIN
                }
            };
            tokio::time::sleep(pause).await;
        }
    };
    tokio::select! {
        () = asking => {}
        _ = shutdown.wait_for(|stop| *stop) => {}
    }
}

async fn ask_once(app: &App, proposed: Option<&Rulebook>) -> Result<(), GateError> {
    match proposed {
        None => rule_changes::take_back(&app.storage, app.now()).await,
        Some(after) => {
            rule_changes::ask(&app.storage, &app.trust, after, app.now()).await.map(|_| ())
        }
    }
}
