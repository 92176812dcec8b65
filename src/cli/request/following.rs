//! Following an approval to its end, and what an interruption means.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::SignedDuration;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::outcome::Outcome;
use super::progress::Progress;
use super::report::Ended;
use crate::client::{Approval, Client, Waited};
use crate::domain::ids::ApprovalId;

/// Runners give a step about ten seconds between asking it to stop and ending it.
const CANCELLING: Duration = Duration::from_secs(8);

/// How to wait.
#[derive(clap::Args)]
pub struct Following {
    /// How long to ask and wait, 45s, 90m or 6h; until the approval ends if absent. The request stays afterwards.
    #[arg(long, value_parser = duration)]
    pub timeout: Option<Duration>,
    /// Write the evidence into this file once somebody decided.
    #[arg(long, value_name = "PATH")]
    pub evidence: Option<PathBuf>,
    /// Take the request back when this command is interrupted (SIGINT, SIGTERM), instead of leaving it.
    #[arg(long)]
    pub cancel_on_interrupt: bool,
}

fn duration(text: &str) -> Result<Duration, String> {
    let parsed = text.parse::<SignedDuration>().ok().and_then(|time| time.try_into().ok());
    parsed
        .filter(|time: &Duration| !time.is_zero())
        .ok_or_else(|| "write it like 45s, 90m or 6h".to_owned())
}

impl Following {
    /// When a command that starts now has to be through.
    pub fn deadline(&self) -> Option<Instant> {
        self.timeout.map(|time| Instant::now() + time)
    }

    /// Waits until the approval ends, the time is over, or somebody interrupts.
    pub async fn follow(
        &self,
        client: &Client,
        id: &ApprovalId,
        deadline: Option<Instant>,
        progress: &Progress,
        shutdown: &mut watch::Receiver<bool>,
    ) -> Ended {
        let tell = |news: crate::client::News<'_>| progress.tell(news);
        let waited = tokio::select! {
            waited = progress.beside(client.wait(id, deadline, &tell)) => waited,
            _ = shutdown.wait_for(|stop| *stop) => return self.interrupted(client, id, progress).await,
        };
        match waited {
            Ok(Waited::Ended(approval)) => self.conclude(client, approval).await,
            Ok(Waited::StillOpen(approval)) => {
                progress.say(&format!("The time is over. {}", how_to_go_on(id)));
                Ended::with(approval, Outcome::StillOpen)
            }
            Err(failure) => {
                progress.say(&how_to_go_on(id));
                Ended::failed(&failure, progress.latest())
            }
        }
    }

    async fn conclude(&self, client: &Client, approval: Approval) -> Ended {
        let outcome = Outcome::of_approval(&approval);
        let was_decided =
            approval.whole["decisions"].as_array().is_some_and(|decisions| !decisions.is_empty());
        let id = approval.id.clone();
        let mut ended = Ended::with(approval, outcome);
        if let Some(path) = self.evidence.as_deref().filter(|_| was_decided) {
            match save(client, &id, path).await {
                Ok(()) => ended.evidence = Some(path.to_owned()),
                Err(without) => {
                    // Whoever asked for the file relies on it: without it nothing is done.
                    let is_done = ended.outcome == Outcome::Done;
                    ended.outcome = if is_done { without.outcome } else { ended.outcome };
                    ended.error = without.error;
                }
            }
        }
        ended
    }

    async fn interrupted(&self, client: &Client, id: &ApprovalId, progress: &Progress) -> Ended {
        let left = |why: String| {
            progress.say(&format!("{why} {}", how_to_go_on(id)));
            let mut ended = Ended::without_approval(Outcome::StillOpen, "interrupted", why);
            ended.approval = progress.latest().map(Box::new);
            ended
        };
        if !self.cancel_on_interrupt {
            return left("Interrupted while waiting.".to_owned());
        }
        let cancelling = async {
            client.cancel(id).await?;
            client.read(id, 0, Duration::ZERO).await
        };
        match timeout(CANCELLING, cancelling).await {
            Ok(Ok(approval)) => Ended::with(approval, Outcome::Cancelled),
            Ok(Err(failure)) => {
                left(format!("Interrupted, and it could not be taken back: {failure}"))
            }
            Err(_) => left(
                "Interrupted, and the gate did not answer when it was to be taken back.".to_owned(),
            ),
        }
    }
}

/// What whoever stops waiting has to know.
pub fn how_to_go_on(id: &ApprovalId) -> String {
    format!("The request stays at the gate. To go on waiting: countersign wait {id}")
}

async fn save(client: &Client, id: &ApprovalId, path: &Path) -> Result<(), Ended> {
    let evidence =
        client.evidence_patiently(id).await.map_err(|failure| Ended::failed(&failure, None))?;
    std::fs::write(path, evidence).map_err(|error| {
        let why = format!("the evidence cannot be written to {}: {error}", path.display());
        Ended::without_approval(Outcome::Broken, "evidence_not_written", why)
    })
}
