//! What can be wrong with the log as a whole. Each of these stops the gate: it decides nothing, writes
//! nothing and calls nobody until it is gone.

use crate::domain::ledger::EntryFault;

/// Why the log may not be acted on.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LogFault {
    /// Nothing was verified yet since this process started.
    #[error(
        "the log is still being verified since this gate started: it goes on by itself as soon as that is done"
    )]
    Unchecked,
    /// Entries are gone from its end: a restored backup, a failover that lost commits, or a deletion.
    #[error(
        "the log has {found} entries and had {seen} when it was last seen: the database lost what came after. Bring the lost part back, or run `countersign recover` if it is lost for good; nothing is decided or rolled out until then"
    )]
    Shrunk {
        /// How many it had.
        seen: u64,
        /// How many there are.
        found: u64,
    },
    /// It is another log than the one that was seen.
    #[error(
        "the first {size} entries of the log are not those that were seen before: the database was replaced or rewritten. Bring the right one back, or run `countersign recover` if it is lost for good; nothing is decided or rolled out until then"
    )]
    Forked {
        /// How many entries the head has that does not fit.
        size: u64,
    },
    /// One entry is not what the log key signed.
    #[error(
        "{0}: restore it from a backup and find out who writes to the database beside the gate"
    )]
    Entry(#[from] EntryFault),
    /// The log goes on after a recovery that nobody signed who could.
    #[error(
        "the log was recovered by an entry that does not hold ({0}): restore the database from a backup from before it, and run `countersign recover`"
    )]
    Recovery(String),
    /// A row of the log is gone or is none that the gate writes.
    #[error("the log is damaged ({0})")]
    Damaged(String),
    /// The head cannot be read or kept outside the database.
    #[error("the log's head cannot be kept outside the database: {0}")]
    Outside(String),
}

impl LogFault {
    /// The stable name.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unchecked => "log_unchecked",
            Self::Shrunk { .. } => "log_shrunk",
            Self::Forked { .. } => "log_forked",
            Self::Entry(_) | Self::Damaged(_) => "log_entry_invalid",
            Self::Recovery(_) => "log_recovery_invalid",
            Self::Outside(_) => "log_head_unavailable",
        }
    }

    /// Whether it goes away without anybody's doing, or with what is done outside the gate.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unchecked | Self::Outside(_) => true,
            Self::Shrunk { .. }
            | Self::Forked { .. }
            | Self::Entry(_)
            | Self::Recovery(_)
            | Self::Damaged(_) => false,
        }
    }
}
