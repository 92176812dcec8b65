//! The ways in which asking can go wrong, told apart by what to do next.

use std::time::Duration;

/// Why there is no approval to show.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The gate understood and said no. Asking again changes nothing.
    #[error("{detail}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The gate's stable code.
        code: String,
        /// The gate's sentence.
        detail: String,
    },
    /// No usable answer: nobody knows whether the call took effect. Asking again is right.
    #[error("{sentence}")]
    NoAnswer {
        /// What was asked and what came.
        sentence: String,
        /// How long the other side asks to be left alone.
        retry_after: Option<Duration>,
    },
    /// Where tokens come from gave none.
    #[error("{sentence}")]
    NoToken {
        /// What was tried and what to do.
        sentence: String,
        /// Whether the same may work in a while: a program that gave tokens before, say.
        may_pass: bool,
    },
}

impl Failure {
    /// No answer, and nothing said about when to try again.
    pub fn no_answer(sentence: impl Into<String>) -> Self {
        Self::NoAnswer { sentence: sentence.into(), retry_after: None }
    }

    /// No token, now or later.
    pub fn no_token(sentence: impl Into<String>) -> Self {
        Self::NoToken { sentence: sentence.into(), may_pass: false }
    }

    /// Whether the same call may succeed later. What may be a mistake of whoever set the command up is
    /// believed to be an outage only once something has worked.
    pub(super) fn is_passing(&self, has_worked: bool) -> bool {
        match self {
            Self::Refused { .. } => false,
            Self::NoAnswer { .. } => true,
            Self::NoToken { may_pass, .. } => *may_pass && has_worked,
        }
    }

    /// The stable code of it.
    pub fn code(&self) -> &str {
        match self {
            Self::Refused { code, .. } => code,
            Self::NoAnswer { .. } => "no_answer",
            Self::NoToken { .. } => "no_token",
        }
    }
}
