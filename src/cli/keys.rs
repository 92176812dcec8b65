//! `countersign keys bootstrap`: the first person's key, and what to pin of it.

use std::io::{ErrorKind, IsTerminal};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::app::App;
use crate::cli::{USAGE, failed, logging, serve, shutdown_signal};
use crate::clock::Clock;
use crate::config::Config;
use crate::domain::digest::Digest;
use crate::domain::ids::short_code;
use crate::domain::rulebook::RuleHistory;
use crate::domain::text::one_line;
use crate::gate::first_key;
use crate::proof::base64url;
use crate::proof::token::unverified_claims;
use crate::server::Front;
use crate::storage::{Credential, Engine};

/// How often the database is asked whether the key is there.
const PAUSE: Duration = Duration::from_millis(500);

/// Gives the one-time link of the first key on this terminal, waits for the key and prints what to pin.
/// Exit code 0: it is registered; 1: it is not; 2: this is no terminal.
#[expect(clippy::print_stderr, reason = "a command line speaks to its terminal")]
pub async fn bootstrap(config: &Path) -> ExitCode {
    if !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() {
        eprintln!(
            "countersign: the link of the first key is shown on a terminal alone, so that no log keeps it: run `countersign keys bootstrap` by hand, without pipes"
        );
        return ExitCode::from(USAGE);
    }
    logging::start_quietly();
    match try_bootstrap(config).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => failed(&why),
    }
}

async fn try_bootstrap(path: &Path) -> Result<(), String> {
    let config = Config::load_from_process(path).map_err(|error| error.to_string())?;
    if !config.pins.endorsers.is_empty() {
        return Err("trust.endorsers pins a key already: its owner endorses those of others, on the page of all keys".to_owned());
    }
    let (stop, stopped) = watch::channel(false);
    let storage = serve::open(&config).await;
    let storage = storage.map_err(|error| serve::unusable(&config, &error))?;
    let ruled = serve::ruled(&config, &storage, &RuleHistory::default()).await?;
    let config = Arc::clone(&ruled.config);
    let app = serve::build(&ruled, storage, Clock::system(), stopped.clone())?;
    let listener = listen(&config, &app).await?;
    let front = listener.map(|listener| Front::open(listener, stopped.clone()));
    let gate =
        front.map(|front| tokio::spawn(serve::serve_app(app.clone(), ruled, front, stopped)));
    let mut shutdown = shutdown_signal();
    let outcome = match wait_for_key(&app, &config, &mut shutdown).await {
        Ok(key) => print_pins(&app, &key, path),
        Err(why) => Err(why),
    };
    if outcome.is_ok() && gate.is_some() {
        stay(&mut shutdown).await;
    }
    let _ = stop.send(true);
    if let Some(gate) = gate {
        gate.await.map_err(|error| error.to_string())??;
    } else {
        app.storage.close().await;
    }
    outcome
}

/// The person still looks at a page of this gate, and its code is to be compared.
#[expect(clippy::print_stdout, reason = "a command line speaks to its terminal")]
async fn stay(shutdown: &mut watch::Receiver<bool>) {
    println!("\nThis gate stays up until you have compared the codes: then stop it with Ctrl-C.");
    let _ = shutdown.wait_for(|stop| *stop).await;
}

/// The configured address, where no gate answers there yet. Beside a server as database one may: it
/// then does what this process would.
pub(super) async fn listen(config: &Config, app: &App) -> Result<Option<TcpListener>, String> {
    match TcpListener::bind(config.listen).await {
        Ok(listener) => Ok(Some(listener)),
        Err(error)
            if error.kind() == ErrorKind::AddrInUse && app.storage.engine() == Engine::Postgres =>
        {
            Ok(None)
        }
        Err(error) => Err(format!("{} cannot be listened on: {error}", config.listen)),
    }
}

#[expect(clippy::print_stdout, reason = "the link is for this terminal and no log")]
async fn wait_for_key(
    app: &App,
    config: &Config,
    shutdown: &mut watch::Receiver<bool>,
) -> Result<Key, String> {
    let token =
        first_key::make_link(&app.storage, app.now()).await.map_err(|error| error.to_string())?;
    println!(
        "The link of the first key. It works once, within 15 minutes, after a normal sign-in:\n"
    );
    println!("    {}/keys/first#{token}\n", config.relying_party.origin);
    println!("Give it to the first approver, or open it yourself. This waits (Ctrl-C gives up).");
    loop {
        let found = first_key::registered(&app.storage, &token, app.now()).await;
        if let Some(credential) = found.map_err(|error| error.to_string())? {
            let entry = app.storage.enrolment_of(&credential.id).await;
            let entry = entry.map_err(|error| error.to_string())?;
            let entry = entry.ok_or("the ledger has no entry of the enrolment")?;
            return Ok(Key { credential, code: short_code(&Digest::of(&entry.record)) });
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            _ = shutdown.wait_for(|stop| *stop) => return Err("given up: no key was registered".to_owned()),
        }
    }
}

/// The key that was registered through the link.
struct Key {
    credential: Credential,
    code: String,
}

#[expect(clippy::print_stdout, reason = "the answer of a command goes to standard output")]
fn print_pins(app: &App, key: &Key, path: &Path) -> Result<(), String> {
    let Key { credential, code } = key;
    let claims = unverified_claims(&credential.id_token).map_err(|error| error.to_string())?;
    let text = |name: &str| claims.get(name).and_then(|value| value.as_str()).map(one_line);
    let subject = one_line(&credential.person.subject);
    let name = text("name").unwrap_or_else(|| subject.clone());
    let email = text("email").unwrap_or_else(|| "no e-mail address".to_owned());
    println!("\nA key was registered, and the directory vouched for it:\n");
    println!("    person  {name} ({email}), subject {subject}");
    println!("    key     {}", one_line(&credential.name));
    println!("    code    {code}, which the keys page of {name} shows too: compare them\n");
    println!("Write this into {} and start the gate again:\n", path.display());
    println!("    [trust]");
    println!("    endorsers = [\"{}\"]", base64url::encode(&credential.public_key));
    println!(
        "    # The key with which {} vouched; only if it never changes its keys:",
        one_line(&app.trust.login.issuer)
    );
    println!("    # login_keys = ['{}']\n", credential.issuer_key);
    println!("    [enrolment]");
    println!("    endorsements = {}\n", app.trust.endorsements.max(1));
    println!(
        "Then everybody registers a key, and {name} endorses them. Pin a second endorser as soon as"
    );
    println!("there is one: what hangs on a single key is lost with it.");
    Ok(())
}
