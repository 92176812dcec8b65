//! A database that cannot be read or written: noticed where it happens and by a probe, told with its
//! reason, and over by itself.

use std::io::ErrorKind;
use std::time::Duration;

use sqlx::migrate::MigrateError;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::domain::log_fault::{LogFault, Outage};
use crate::storage::error::{Result, StorageError};
use crate::storage::{Engine, Inner, Storage};

/// For how long a probe answers for the database: whoever asks more often, strangers among them, has
/// nothing written for it.
const PROBE_HOLDS: Duration = Duration::from_secs(1);

/// When the database was last seen to be written.
pub(super) type Probed = Mutex<Option<Instant>>;

impl StorageError {
    /// What is the matter with the database, where that is why it was not done. It passes without
    /// anything that the gate could be told.
    pub fn outage(&self) -> Option<Outage> {
        match self {
            Self::Database(error)
            | Self::Commit(error)
            | Self::Migration(
                MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _),
            ) => outage_of(error),
            Self::File { cause, .. } => match cause.kind() {
                ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
                    Some(Outage::ReadOnly)
                }
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Some(Outage::Full),
                _ => None,
            },
            Self::Log(LogFault::Unavailable(outage)) => Some(*outage),
            Self::Conflict
            | Self::Duplicate(_)
            | Self::InvalidCursor
            | Self::Missing { .. }
            | Self::ImpossibleRow { .. }
            | Self::Newer(_)
            | Self::TooOld { .. }
            | Self::Contradiction(_)
            | Self::Unfinished
            | Self::InvalidUrl(_)
            | Self::InUse(_)
            | Self::OtherLogKey
            | Self::Log(_)
            | Self::Migration(_)
            | Self::Canonical(_) => None,
        }
    }
}

fn outage_of(error: &sqlx::Error) -> Option<Outage> {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::WorkerCrashed => Some(Outage::Unreachable),
        sqlx::Error::Database(said) => outage_of_code(&said.code()?),
        _ => None,
    }
}

/// PostgreSQL's codes have five characters (its documentation, appendix A), SQLite's fewer
/// (<https://www.sqlite.org/rescode.html>).
fn outage_of_code(code: &str) -> Option<Outage> {
    if code.len() == 5 {
        return match code {
            "25006" => Some(Outage::ReadOnly),
            "53100" => Some(Outage::Full),
            // Too many connections; shut down, crashed or starting.
            "53300" | "57P01" | "57P02" | "57P03" => Some(Outage::Unreachable),
            _ if code.starts_with("08") => Some(Outage::Unreachable),
            _ if ["53", "58", "XX"].contains(&&code[..2]) => Some(Outage::Failing),
            _ => None,
        };
    }
    // The lowest byte of an extended code is the primary one.
    match code.parse::<u32>().ok()? & 0xff {
        // READONLY
        8 => Some(Outage::ReadOnly),
        // FULL
        13 => Some(Outage::Full),
        // BUSY, LOCKED, IOERR, CORRUPT, CANTOPEN, NOTADB
        5 | 6 | 10 | 11 | 14 | 26 => Some(Outage::Failing),
        _ => None,
    }
}

/// What a failed commit means. A SQLite that could not write the whole of it to its file, which is
/// its own alone, has not done it. Of everything else nobody knows.
pub(super) fn of_commit(engine: Engine, error: sqlx::Error) -> StorageError {
    /// SQLITE_FULL and SQLITE_IOERR_WRITE.
    const NOT_WRITTEN: [&str; 2] = ["13", "778"];
    let code = error.as_database_error().and_then(|said| said.code()).unwrap_or_default();
    if engine == Engine::Sqlite && NOT_WRITTEN.contains(&&*code) {
        StorageError::Database(error)
    } else {
        StorageError::Commit(error)
    }
}

impl Inner {
    /// Stops the gate where the database is what failed, until it is seen to work again.
    pub(super) fn noticed<T>(&self, result: Result<T>) -> Result<T> {
        if let Err(error) = &result
            && let Some(outage) = error.outage()
        {
            tracing::error!(%error, "the database cannot be used");
            self.guard.stop(&LogFault::Unavailable(outage));
        }
        result
    }
}

impl Storage {
    /// Writes something of no meaning to the database, for good: a full disk shows itself at no earlier
    /// moment. If it cannot, the gate stops.
    pub async fn probe(&self) -> Result<()> {
        const SQL: &str = "UPDATE write_probe SET written = written + 1 WHERE id = 1";
        let written = async {
            let done = sqlx::query(SQL).execute(&mut *self.writer().await?).await?;
            match done.rows_affected() {
                1 => Ok(()),
                _ => Err(StorageError::Missing { table: "write_probe", row: "1".to_owned() }),
            }
        };
        self.inner.noticed(written.await)
    }

    /// Whether the database could be written a moment ago. If it could not, it is known already and
    /// the follower of the log looks whether it can.
    pub async fn check(&self) -> Result<()> {
        if let Some(fault @ LogFault::Unavailable(_)) = self.log_fault() {
            return Err(fault.into());
        }
        let mut probed = self.inner.probed.lock().await;
        if probed.is_none_or(|at| at.elapsed() >= PROBE_HOLDS) {
            self.probe().await?;
            *probed = Some(Instant::now());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outages_are_told_apart_from_what_the_gate_did_wrong() {
        for (code, outage) in [
            ("25006", Some(Outage::ReadOnly)),
            ("53100", Some(Outage::Full)),
            ("53300", Some(Outage::Unreachable)),
            ("57P01", Some(Outage::Unreachable)),
            ("08006", Some(Outage::Unreachable)),
            ("58030", Some(Outage::Failing)),
            ("XX001", Some(Outage::Failing)),
            // A password, a database that does not exist, a constraint, a cancelled statement.
            ("28P01", None),
            ("3D000", None),
            ("23505", None),
            ("57014", None),
            ("8", Some(Outage::ReadOnly)),
            ("1032", Some(Outage::ReadOnly)),
            ("13", Some(Outage::Full)),
            ("778", Some(Outage::Failing)),
            ("14", Some(Outage::Failing)),
            ("1", None),
            ("2067", None),
            ("", None),
            ("HY", None),
        ] {
            assert_eq!(outage_of_code(code), outage, "{code}");
        }
    }
}
