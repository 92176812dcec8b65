//! What can go wrong with storage.

use crate::domain::canonical::CanonicalError;
use crate::domain::log_fault::LogFault;

/// The result of everything in storage.
pub type Result<T> = std::result::Result<T, StorageError>;

/// What went wrong, to what, and what to do now.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// Somebody else changed the row first. Read it again and decide again.
    #[error("the approval was changed by somebody else at the same moment: read it again")]
    Conflict,
    /// A row with this key exists; what it is about follows.
    #[error("{0} exists already, and there can be only one")]
    Duplicate(&'static str),
    /// The cursor was not made by this gate.
    #[error("the cursor is not one that this gate gave out: begin again without a cursor")]
    InvalidCursor,
    /// The row to be changed is not there.
    #[error("{table} has no row {row}: nothing was changed")]
    Missing {
        /// The table.
        table: &'static str,
        /// The row's key.
        row: String,
    },
    /// A row says something that the gate never writes. It is refused, not repaired.
    #[error(
        "{table}.{column} of row {row} is not what the gate writes ({reason}): \
         run `countersign audit verify` and restore the row from a backup"
    )]
    ImpossibleRow {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
        /// The row's key.
        row: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A row that fits its digest holds what this version does not know. A newer version wrote it.
    #[error(
        "the approval {0} was asked for through a newer version of the gate, which alone can read it: \
         ask that version, or update this one"
    )]
    Newer(String),
    /// A newer version took away what this one reads.
    #[error(
        "a newer version of the gate changed the tables, and this one cannot use them any more (it knows \
         migration {known}, they need {needed}): start the newer version"
    )]
    TooOld {
        /// The last migration of the oldest version that can use the database.
        needed: i64,
        /// The last migration that this version knows.
        known: i64,
    },
    /// What was to be written contradicts itself. A fault of the gate, not of the caller's input.
    #[error("refused to write: {0}")]
    Contradiction(&'static str),
    /// A step of this writer failed, so the whole of it must not be committed.
    #[error("a step of this change failed, so none of it was written: begin the change again")]
    Unfinished,
    /// The URL names no database that the gate can use.
    #[error(
        "the database URL is not usable ({0}): write sqlite:///absolute/path.db or \
         postgres://user@host/database"
    )]
    InvalidUrl(String),
    /// The SQLite file belongs to another process.
    #[error(
        "another process has {0} open, and a SQLite file serves one gate at a time: \
         stop the other process, or use PostgreSQL"
    )]
    InUse(String),
    /// The file or its lock cannot be used.
    #[error("cannot use {path}: {cause}")]
    File {
        /// The file.
        path: String,
        /// The operating system's words.
        cause: std::io::Error,
    },
    /// The ledger was written with another key.
    #[error(
        "the last entry of the ledger was not signed with the configured log key: \
         configure the key that the ledger was begun with"
    )]
    OtherLogKey,
    /// The log cannot be relied on.
    #[error(transparent)]
    Log(#[from] LogFault),
    /// The tables could not be brought up to date.
    #[error("the database cannot be migrated: {0}")]
    Migration(#[from] sqlx::migrate::MigrateError),
    /// A value has no canonical form.
    #[error(transparent)]
    Canonical(#[from] CanonicalError),
    /// The database did not say whether it committed a change: it is there whole, or not at all.
    #[error(
        "the database did not confirm a change ({0}), which may have been recorded all the same: \
         read again before repeating it"
    )]
    Commit(sqlx::Error),
    /// The database failed, and nothing was changed.
    #[error("the database failed: {0}")]
    Database(#[from] sqlx::Error),
}
