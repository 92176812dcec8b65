//! Why a transition is not possible, in words and by a stable name.

use jiff::Timestamp;

use super::Status;
use crate::domain::intervention::Act;

/// Why a transition is not possible.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransitionRefusal {
    /// It already ended, or its rollout already runs.
    #[error("this approval is already {}: nothing was changed", .0.as_str().replace('_', " "))]
    Closed(Status),
    /// Its time is over.
    #[error("this approval expired at {0}: ask again from the pipeline")]
    Expired(Timestamp),
    /// The person is in none of the rules.
    #[error(
        "{0} may not sign for this environment: none of its rules names the person or one of their groups"
    )]
    NotAnApprover(String),
    /// The person decided before.
    #[error("{0} has already signed this approval; a person counts once")]
    AlreadyDecided(String),
    /// The rules let nobody break the glass.
    #[error(
        "nobody may break the glass of {0}: the rules under which this was asked for name nobody who may (break_glass of the environment)"
    )]
    NoBreakGlass(String),
    /// The person may not.
    #[error(
        "{0} may not break the glass here: none of its rules for that names the person or one of their groups"
    )]
    MayNotBreakGlass(String),
    /// The person has no yes that could be taken back.
    #[error("{0} has no signature on this approval that could be taken back: nothing was changed")]
    NothingToWithdraw(String),
    /// The person asked for it through somebody: with a credential that they issued, or a program that acts
    /// for them. Or they started the run that it is about.
    #[error(
        "this was asked for on behalf of {0} or started by them, so that they count as its requester: somebody else has to decide"
    )]
    OwnRequest(String),
    /// The person had a hand in what is shipped.
    #[error(
        "{0} had a hand in the commits that this ships (wrote, committed or merged one, or started the run), and nobody signs for their own here: somebody else has to decide"
    )]
    OwnCommits(String),
    /// Nobody signs for their own commits here, and which the person's are is not known.
    #[error(
        "nobody signs for their own commits here, and which account at GitHub is {0}'s is not known: have its number written into the directory, or into github_accounts of the environment"
    )]
    AccountUnknown(String),
    /// Nobody signs for their own commits here, and whose the shipped ones are is not known.
    #[error(
        "nobody signs for their own commits here, and whose commits this ships is not known: ask again from a job of GitHub Actions"
    )]
    CommitsUnknown,
    /// Nobody can sign this about the rollout now.
    #[error(
        "it cannot be signed now that {}: this approval is {}. Load the page again to see what can be", .0.in_words(), .1.as_str().replace('_', " ")
    )]
    NotPossible(Act, Status),
    /// The time in which one person may sign the way back is over.
    #[error("the way back could be signed by one person until {0}: ask for a new rollout instead")]
    WindowOver(Timestamp),
}

impl TransitionRefusal {
    /// The stable name of the refusal.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Closed(_) => "approval_closed",
            Self::Expired(_) => "approval_expired",
            Self::NotAnApprover(_) => "not_an_approver",
            Self::AlreadyDecided(_) => "already_decided",
            Self::NoBreakGlass(_) => "no_break_glass",
            Self::MayNotBreakGlass(_) => "may_not_break_glass",
            Self::NothingToWithdraw(_) => "nothing_to_withdraw",
            Self::OwnRequest(_) => "own_request",
            Self::OwnCommits(_) => "own_commits",
            Self::AccountUnknown(_) => "account_unknown",
            Self::CommitsUnknown => "commits_unknown",
            Self::NotPossible(..) => "intervention_not_possible",
            Self::WindowOver(_) => "rollback_window_over",
        }
    }
}
