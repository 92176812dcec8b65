//! `countersign request`: asks, and waits if it is told to. From any CI, any shell, any agent.

mod body;
pub mod connection;
pub mod following;
pub mod outcome;
pub mod progress;
pub mod report;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::cli::shutdown_signal;
use crate::client::idempotency::derived_key;
use crate::client::{Approval, Client, Failure};
use crate::config::overrides::environment;
use crate::randomness;
use connection::Connection;
use following::{Following, how_to_go_on};
use outcome::Outcome;
use progress::Progress;
use report::Ended;

/// The options of `countersign request`.
#[derive(clap::Args)]
#[command(after_help = outcome::exit_codes())]
pub struct RequestArguments {
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    wanted: body::Wanted,
    /// The key under which the gate takes this request once. Derived from pipeline, job, environment,
    /// service and image if absent: a job that runs again goes on with what it asked for before.
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    /// Wait until it is decided and rolled out.
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    following: Following,
    /// Answer with one JSON object on standard output.
    #[arg(long)]
    json: bool,
}

/// How long a request that may have arrived is looked for when the command is interrupted.
const LOOKING: Duration = Duration::from_secs(4);

/// Asks. Exit codes: [`Outcome`].
pub async fn run(arguments: RequestArguments) -> ExitCode {
    let json = arguments.json;
    let ended = ask_and_follow(arguments).await.unwrap_or_else(|ended| ended);
    ended.speak(json)
}

async fn ask_and_follow(arguments: RequestArguments) -> Result<Ended, Ended> {
    let usage = |why: String| Ended::without_approval(Outcome::Usage, "usage", why);
    let RequestArguments { connection, wanted, idempotency_key, wait, following, .. } = arguments;
    if !wait && (following.timeout.is_some() || following.evidence.is_some()) {
        return Err(usage(
            "--timeout and --evidence are for --wait: add it, or leave them out".into(),
        ));
    }
    let body = wanted.body().map_err(usage)?;
    let environment = environment();
    let client = connection.open(&environment)?;
    let progress = Progress::begin();
    let key = chosen_key(idempotency_key, &environment, &body, &progress)?;
    if wait {
        warn_of_token(&client, &progress);
    }
    let mut shutdown = shutdown_signal();
    let deadline = following.deadline();
    let ask = Ask { client: &client, body: &body, key: &key, deadline };
    let approval = ask.until_answered(&following, &progress, &mut shutdown).await?;
    announce(&approval, &progress);
    if wait {
        return Ok(following
            .follow(&client, &approval.id, deadline, &progress, &mut shutdown)
            .await);
    }
    progress.say(&how_to_go_on(&approval.id));
    Ok(Ended::with(approval, Outcome::Done))
}

/// The key under which the gate takes a request once, which is said, so that it can be given again.
pub fn chosen_key(
    given: Option<String>,
    environment: &BTreeMap<String, String>,
    body: &Value,
    progress: &Progress,
) -> Result<String, Ended> {
    let (key, origin) = match (given, derived_key(environment, body)) {
        (Some(key), _) => (key, "as it was given"),
        (None, Some(key)) => {
            (key, "derived from pipeline and job: the same job finds this request again")
        }
        (None, None) => (
            format!("once-{}", randomness::token::<16>()),
            "made for this call, since no pipeline is known here: give it again to find this request",
        ),
    };
    if key.is_empty() || key.len() > 255 || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        let why = "--idempotency-key is not 1 to 255 visible ASCII characters";
        return Err(Ended::without_approval(Outcome::Usage, "usage", why));
    }
    progress.say(&format!("Idempotency key {key} ({origin})."));
    Ok(key)
}

/// Says before a wait how long it can be, where that is not as long as it takes.
pub fn warn_of_token(client: &Client, progress: &Progress) {
    if !client.renews_tokens() {
        progress.say(
            "The token stands in a variable and cannot be renewed: the wait ends when it expires.",
        );
    }
}

/// A request on its way.
pub struct Ask<'a> {
    /// The gate.
    pub client: &'a Client,
    /// What is asked for.
    pub body: &'a Value,
    /// Its idempotency key.
    pub key: &'a str,
    /// When the whole wait ends.
    pub deadline: Option<Instant>,
}

impl Ask<'_> {
    /// Asks until the gate answers, or somebody interrupts.
    pub async fn until_answered(
        &self,
        following: &Following,
        progress: &Progress,
        shutdown: &mut watch::Receiver<bool>,
    ) -> Result<Approval, Ended> {
        let tell = |news: crate::client::News<'_>| progress.tell(news);
        let asking = self.client.ask_patiently(self.body, self.key, self.deadline, &tell);
        tokio::select! {
            asked = progress.beside(asking) => asked.map_err(|failure| Ended::failed(&failure, None)),
            _ = shutdown.wait_for(|stop| *stop) => Err(self.interrupted(following).await),
        }
    }

    /// The call may have arrived although its answer did not: the same key finds out.
    async fn interrupted(&self, following: &Following) -> Ended {
        if following.cancel_on_interrupt {
            let taking_back = async {
                let asked = self.client.ask(self.body, self.key).await?;
                self.client.cancel(&asked.id).await?;
                self.client.read(&asked.id, 0, Duration::ZERO).await
            };
            if let Ok(Ok::<_, Failure>(approval)) = timeout(LOOKING, taking_back).await {
                return Ended::with(approval, Outcome::Cancelled);
            }
        }
        let why = format!(
            "interrupted before the gate answered, so the request may be there or not: the same command with --idempotency-key {} finds out",
            self.key
        );
        Ended::without_approval(Outcome::StillOpen, "interrupted", why)
    }
}

/// Says where to sign, before the wait begins.
pub fn announce(approval: &Approval, progress: &Progress) {
    progress.say(&format!("Asked as {}. Read and sign it at:", approval.id));
    progress.say(&format!("    {}", approval.text("url")));
    progress.say(&format!(
        "Short code {}, the page shows the same. It expires at {}.",
        approval.text("short_code"),
        approval.text("expires_at")
    ));
}
