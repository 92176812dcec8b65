//! Using an approval up, once, before the command runs.
//!
//! The gate's ledger is the only memory: nothing is kept on this machine that could be lost, copied or changed.
//! Whoever uses the approval up runs the command, and nobody else; a process that ends between the two leaves a
//! command that was not run and is not run later either, since nobody could tell that from one that was.

use std::time::Duration;

use serde_json::{Map, Value};
use tokio::time::{Instant, sleep};

use super::ending::{NotRun, Reason};
use super::proof::Expected;
use crate::cli::request::outcome::Outcome;
use crate::cli::request::progress::Progress;
use crate::client::{Approval, Client, Failure, Grant, Waited};
use crate::domain::approval::Status;
use crate::domain::command::COMMAND_AUDIENCE;
use crate::proof::evidence::Trust;
use crate::proof::token::CompactToken;

/// Between two attempts, when the gate answers and does not take the grant.
const PAUSE: Duration = Duration::from_secs(1);

/// An approval that is about to be used up.
pub struct Using<'a> {
    /// The gate.
    pub client: &'a Client,
    /// The anchors.
    pub trust: &'a Trust,
    /// What was signed.
    pub expected: Expected<'a>,
    /// Until when it is tried.
    pub deadline: Option<Instant>,
    /// Standard error.
    pub progress: &'a Progress,
}

impl Using<'_> {
    /// Uses it up, and gives the grant that did. An answer that was lost is looked for in the ledger, where the
    /// entry names the grant: only this process ever had it.
    ///
    /// # Errors
    /// It is not ours to run.
    pub async fn use_up(&self, approval: &Approval) -> Result<Grant, NotRun> {
        let mut latest = approval.clone();
        let mut presented: Vec<(String, Grant)> = Vec::new();
        loop {
            let Some(grant) = latest.grant() else {
                return self.who_used_it(&latest, presented).await;
            };
            let arguments: &Map<String, Value> = self.expected.arguments;
            let used = self.client.consume(&grant, COMMAND_AUDIENCE, arguments).await;
            let failure = match used {
                Ok(()) => return Ok(grant),
                Err(failure) => failure,
            };
            match &failure {
                Failure::NoAnswer { sentence, .. } => {
                    self.progress.say(&format!(
                        "No answer when the approval was used up, looking: {sentence}"
                    ));
                    presented.push((id_of(&grant), grant));
                }
                Failure::Refused { code, .. } if is_passing(code) => {
                    self.progress.say(&format!("Not yet: {failure}"));
                }
                Failure::Refused { code, .. } if is_closed(code) => {}
                Failure::Refused { .. } | Failure::NoToken { .. } => {
                    return Err(NotRun::failed(&failure).of(&latest));
                }
            }
            sleep(PAUSE).await;
            latest = self.look(&latest).await?;
        }
    }

    /// The approval as it is now; waits while it cannot be used, as during a freeze.
    async fn look(&self, latest: &Approval) -> Result<Approval, NotRun> {
        let tell = |news: crate::client::News<'_>| self.progress.tell(news);
        let waited = self.client.wait(&latest.id, self.deadline, &tell).await;
        match waited.map_err(|failure| NotRun::failed(&failure).of(latest))? {
            Waited::Ended(approval) => Ok(approval),
            Waited::StillOpen(approval) => {
                let reason = Reason::Ended(Outcome::StillOpen);
                let why = "--timeout passed before the approval could be used up";
                Err(NotRun::because(reason, "timeout", why).of(&approval))
            }
        }
    }

    async fn who_used_it(
        &self,
        latest: &Approval,
        presented: Vec<(String, Grant)>,
    ) -> Result<Grant, NotRun> {
        if latest.status != Some(Status::Succeeded) {
            return Err(not_used(latest));
        }
        if presented.is_empty() {
            return Err(used_before(latest));
        }
        let proved = self.expected.prove(self.client, self.trust, self.progress).await?;
        let ours =
            presented.into_iter().find(|(id, _)| proved.was_used_by(std::slice::from_ref(id)));
        ours.map(|(_, grant)| grant).ok_or_else(|| used_before(latest))
    }
}

/// An approval that ended without being used up.
pub fn not_used(approval: &Approval) -> NotRun {
    let outcome = Outcome::of_approval(approval);
    let (_, word, _) = outcome.row();
    NotRun::because(Reason::Ended(outcome), word, approval.sentence.clone()).of(approval)
}

/// An approval that somebody used up already.
pub fn used_before(approval: &Approval) -> NotRun {
    let why = "this approval was used up before, and whether the command ran then, only its own traces say: a command runs once at most. To run it again, ask anew with another --idempotency-key";
    NotRun::because(Reason::Used, "used", why).of(approval)
}

/// Refusals that are over by themselves: a freeze, closed windows, and a grant that was held for too long.
fn is_passing(code: &str) -> bool {
    matches!(code, "frozen" | "closed" | "grant_expired")
}

/// The approval is not open any more; what became of it is read.
fn is_closed(code: &str) -> bool {
    matches!(code, "grant_used" | "approval_closed" | "approval_expired")
}

/// The name of a grant, under which the ledger knows it. The gate made it, so that what is not readable is named by
/// no entry either.
fn id_of(grant: &Grant) -> String {
    let read = CompactToken::parse(&grant.token).ok();
    let id = read.and_then(|read| read.unverified_claims.get("jti")?.as_str().map(str::to_owned));
    id.unwrap_or_default()
}
