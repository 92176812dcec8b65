//! Whether the evidence of an approval proves that people signed exactly this command. The gate is not believed,
//! and neither is what it answered before: bytes and trust anchors alone are.

use std::time::Duration;

use serde_json::{Map, Value};
use tokio::time::{Instant, sleep};

use super::ending::{NotRun, Reason};
use crate::cli::request::progress::Progress;
use crate::client::Client;
use crate::domain::approval::Status;
use crate::domain::canonical::to_canonical_json;
use crate::domain::command::COMMAND_AUDIENCE;
use crate::domain::ids::ApprovalId;
use crate::proof::evidence::Trust;
use crate::proof::verify::{Code, Verified, verify};

/// Witnesses are offered a new head every two seconds; those that take longer are away.
const WITNESSES: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_secs(2);

/// What must have been signed.
pub struct Expected<'a> {
    /// Under this name.
    pub approval: &'a ApprovalId,
    /// By the rules of this environment.
    pub environment: &'a str,
    /// As this tool.
    pub tool: &'a str,
    /// With these arguments.
    pub arguments: &'a Map<String, Value>,
}

/// Evidence that proves it, as a file and as what it says.
pub struct Proved {
    /// The file, byte by byte.
    pub file: Vec<u8>,
    /// What was verified.
    pub verified: Verified,
}

impl Proved {
    /// Whether these grants, or one of them, used the approval up.
    pub fn was_used_by(&self, grants: &[String]) -> bool {
        let is_used = self.verified.state().status() == Status::Succeeded;
        let last = self.verified.records().last().and_then(|record| record.data["grant"].as_str());
        is_used && last.is_some_and(|used| grants.iter().any(|grant| grant == used))
    }
}

impl Expected<'_> {
    /// Reads the evidence and verifies it. Where witnesses have to sign, they are given a while for it.
    ///
    /// # Errors
    /// What does not hold.
    pub async fn prove(
        &self,
        client: &Client,
        trust: &Trust,
        progress: &Progress,
    ) -> Result<Proved, NotRun> {
        let begun = Instant::now();
        loop {
            let file = client.evidence_patiently(self.approval).await;
            let file = file.map_err(|failure| NotRun::failed(&failure))?;
            match verify(&file, trust) {
                Ok(verified) => {
                    self.is_what_was_signed(&verified)?;
                    return Ok(Proved { file, verified });
                }
                Err(failure)
                    if failure.code() == Code::NotWitnessed && begun.elapsed() < WITNESSES =>
                {
                    progress.say("Approved; waiting for the witnesses of the log.");
                    sleep(PAUSE).await;
                }
                Err(failure) => {
                    let code = failure.code().as_str();
                    return Err(not_proved(code, format!("its evidence does not hold: {failure}")));
                }
            }
        }
    }

    fn is_what_was_signed(&self, verified: &Verified) -> Result<(), NotRun> {
        let status = verified.state().status();
        if !verified.is_approved() {
            let why = format!("its evidence is genuine and says {}, not approved", status.as_str());
            return Err(not_proved("not_approved", why));
        }
        let Some(action) = verified.subject().action() else {
            return Err(not_proved("other_kind", "what was approved is no action"));
        };
        let declared = verified.policy().action(&action.tool);
        let canonical = |arguments: &Map<String, Value>| to_canonical_json(arguments).ok();
        let same = [
            (
                action.approval == *self.approval,
                "other_approval",
                "it is the evidence of another approval",
            ),
            (
                action.environment == self.environment,
                "other_environment",
                "it was approved for another environment",
            ),
            (action.tool == self.tool, "other_tool", "another tool was approved"),
            (
                declared.is_some_and(|declared| declared.audience == COMMAND_AUDIENCE),
                "other_audience",
                "the gate's configuration declares this tool for somebody else's enforcement: give --tool the name of an [[action]] with template = \"command\"",
            ),
            (
                canonical(&action.arguments)
                    .is_some_and(|signed| Some(signed) == canonical(self.arguments)),
                "other_command",
                "people signed another command, directory or files than these",
            ),
        ];
        match same.iter().find(|(is_same, ..)| !is_same) {
            None => Ok(()),
            Some((_, code, why)) => Err(not_proved(code, *why)),
        }
    }
}

fn not_proved(code: &str, why: impl Into<String>) -> NotRun {
    NotRun::because(Reason::NotProved, code, why)
}
