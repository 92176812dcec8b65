//! What can be wrong with the log as a whole. Each of these stops the gate: it decides nothing, writes
//! nothing and calls nobody until it is gone.

use std::fmt;

use crate::domain::ledger::EntryFault;

/// What is the matter with a database that does not do its work. Said to strangers too, so it names
/// no host and no file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outage {
    /// It does not answer, or not in time.
    Unreachable,
    /// It is a standby, a read-only file, or set so.
    ReadOnly,
    /// Nothing more fits on its disk.
    Full,
    /// It says that it failed.
    Failing,
}

impl fmt::Display for Outage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Unreachable => "cannot be reached",
            Self::ReadOnly => "can be read and not written",
            Self::Full => "has no space left on its disk",
            Self::Failing => "fails when it is read or written",
        })
    }
}

/// Why the log may not be acted on.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LogFault {
    /// Nothing was verified yet since this process started.
    #[error(
        "the log is still being verified since this gate started: it goes on by itself as soon as that is done"
    )]
    Unchecked,
    /// The database that holds it cannot be written.
    #[error("the database {0}: the gate goes on by itself as soon as it can be written again")]
    Unavailable(Outage),
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
    /// The rules in force are not those that this process runs with.
    #[error(
        "other rules are in force than this process began with: it takes them up by itself in a moment"
    )]
    OtherRules,
    /// The head cannot be read or kept outside the database.
    #[error("the log's head cannot be kept outside the database: {0}")]
    Outside(String),
}

impl LogFault {
    /// The stable name.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unchecked => "log_unchecked",
            Self::Unavailable(_) => "database_unavailable",
            Self::Shrunk { .. } => "log_shrunk",
            Self::Forked { .. } => "log_forked",
            Self::Entry(_) | Self::Damaged(_) => "log_entry_invalid",
            Self::Recovery(_) => "log_recovery_invalid",
            Self::OtherRules => "rules_changed",
            Self::Outside(_) => "log_head_unavailable",
        }
    }

    /// Whether it goes away without anybody's doing, or with what is done outside the gate.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unchecked | Self::Unavailable(_) | Self::OtherRules | Self::Outside(_) => true,
            Self::Shrunk { .. }
            | Self::Forked { .. }
            | Self::Entry(_)
            | Self::Recovery(_)
            | Self::Damaged(_) => false,
        }
    }
}
