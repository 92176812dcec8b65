//! How `request` and `wait` end: the one table of their exit codes.

use std::process::ExitCode;

use crate::client::{Approval, Failure};
use crate::domain::approval::Status;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Cloud Run serves what was signed, or an action has its grant; or it was only to be asked, and is.
    Done,
    /// Something went wrong on this machine.
    Broken,
    /// Somebody signed a no.
    Rejected,
    /// Nobody decided in time.
    Expired,
    /// The rollout did not reach what was signed.
    RolloutFailed,
    /// The request was taken back, or a newer one took its place.
    Cancelled,
    /// A person has to look.
    NeedsAttention,
    /// The request stays, and nobody here waits for it any more.
    StillOpen,
    /// The gate said no to the call.
    Refused,
    /// Nobody answered.
    NoAnswer,
    /// No token was found.
    NoToken,
    /// The command line is wrong.
    Usage,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 12] = [
        Self::Done,
        Self::Broken,
        Self::Rejected,
        Self::Expired,
        Self::RolloutFailed,
        Self::Cancelled,
        Self::NeedsAttention,
        Self::StillOpen,
        Self::Refused,
        Self::NoAnswer,
        Self::NoToken,
        Self::Usage,
    ];

    /// The exit code, the word of `--json`, and what it means. Scripts rely on the numbers.
    pub const fn row(self) -> (u8, &'static str, &'static str) {
        match self {
            Self::Done => (
                0,
                "done",
                "Cloud Run serves what was signed, or an action has its grant (without --wait: it is asked)",
            ),
            Self::Broken => {
                (1, "broken", "something on this machine: a file that cannot be written")
            }
            Self::Rejected => (2, "rejected", "somebody signed a no"),
            Self::Expired => (3, "expired", "nobody decided in time"),
            Self::RolloutFailed => (4, "rollout_failed", "the rollout failed or was rolled back"),
            Self::Cancelled => (5, "cancelled", "taken back, withdrawn or superseded"),
            Self::NeedsAttention => {
                (6, "needs_attention", "the world is not as signed: a person has to look")
            }
            Self::StillOpen => (
                7,
                "still_open",
                "--timeout passed or the command was interrupted; the request stays, `countersign wait ID` goes on",
            ),
            Self::Refused => (8, "refused", "the gate refused the request or the token"),
            Self::NoAnswer => {
                (9, "no_answer", "the gate, or where tokens come from, could not be reached")
            }
            Self::NoToken => (10, "no_token", "there is no identity token to ask with"),
            Self::Usage => {
                (64, "usage", "the command line or the request's file is wrong; nothing was sent")
            }
        }
    }

    /// What the status of an approval means; none while it is open.
    pub fn of_status(status: Status) -> Option<Self> {
        match status {
            Status::Pending | Status::Approved | Status::Executing => None,
            Status::Succeeded => Some(Self::Done),
            Status::Rejected => Some(Self::Rejected),
            Status::Expired => Some(Self::Expired),
            Status::Failed | Status::RolledBack => Some(Self::RolloutFailed),
            Status::Cancelled | Status::Superseded | Status::Withdrawn => Some(Self::Cancelled),
            Status::NeedsAttention => Some(Self::NeedsAttention),
        }
    }

    /// What an approval means for whoever waited for it.
    pub fn of_approval(approval: &Approval) -> Self {
        let of_status = approval.status.and_then(Self::of_status);
        of_status.unwrap_or(if approval.has_ended() { Self::Done } else { Self::StillOpen })
    }

    /// What a failure means.
    pub fn of_failure(failure: &Failure) -> Self {
        match failure {
            Failure::Refused { .. } => Self::Refused,
            Failure::NoAnswer { .. } => Self::NoAnswer,
            Failure::NoToken { .. } => Self::NoToken,
        }
    }
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        Self::from(outcome.row().0)
    }
}

/// The table, for `--help`.
pub fn exit_codes() -> String {
    let rows = Outcome::ALL.map(Outcome::row);
    let lines = rows.map(|(code, word, meaning)| format!("  {code:>2}  {word:<15}  {meaning}\n"));
    format!("Exit codes (and the `outcome` of --json):\n{}", lines.concat())
}
