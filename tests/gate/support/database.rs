//! The gate's database in the hands of somebody else: rows changed beside the gate, backups, and a
//! server that fell back to what it had before.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use countersign::config::Config;
use countersign::storage::Storage;
use secrecy::ExposeSecret;
use sqlx::{AnyConnection, AssertSqlSafe, Connection, Executor};

use crate::support::gate::{Engine, Gate};
use crate::support::postgres;

/// What the database held once.
pub enum Backup {
    File { database: PathBuf, copy: PathBuf },
    Server { database: String, copy: String },
}

impl Backup {
    /// Copies the database of a gate that is stopped.
    pub async fn take(gate: &Gate) -> Self {
        let url = url(gate);
        match url.strip_prefix("sqlite://") {
            Some(path) => {
                let name = format!("backup-{}.db", gate.unique());
                let (database, copy) = (PathBuf::from(path), gate.servers.files.folder.join(name));
                std::fs::copy(&database, &copy).unwrap();
                // A process that was killed leaves its last commits there.
                let _ = std::fs::copy(beside(&database), beside(&copy));
                Self::File { database, copy }
            }
            None => {
                let copy = postgres::copy_of(&url).await;
                Self::Server { database: url, copy }
            }
        }
    }

    /// Puts it in the place of what is there. A server may have gates connected to it, which lose
    /// their connections, as in a failover to a replica that lags behind.
    pub async fn restore(&self) {
        match self {
            Self::File { database, copy } => {
                let _ = std::fs::remove_file(beside(database));
                let _ = std::fs::copy(beside(copy), beside(database));
                std::fs::copy(copy, database).unwrap();
            }
            Self::Server { database, copy } => postgres::replace(database, copy).await,
        }
    }
}

/// SQLite's log of what is not in the file itself yet.
fn beside(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push("-wal");
    PathBuf::from(name)
}

/// The configuration of a gate.
pub fn config(gate: &Gate) -> Config {
    Config::load(&gate.servers.files.config, &BTreeMap::new()).unwrap()
}

/// Where it is.
pub fn url(gate: &Gate) -> String {
    config(gate).database.expose_secret().to_owned()
}

/// Opens the storage of a gate that is stopped, with the gate's own log key: what is written now is
/// signed as the gate's own entries are.
pub async fn storage(gate: &Gate) -> Storage {
    let config = config(gate);
    Storage::open(config.database.expose_secret(), config.log_key.clone()).await.unwrap()
}

/// Opens the storage of a gate that runs, to read beside it.
pub async fn reading(gate: &Gate) -> Storage {
    let config = config(gate);
    let url = config.database.expose_secret();
    Storage::open_beside(url, config.log_key.clone()).await.unwrap()
}

/// Runs SQL beside the gate, as somebody who has the database in their hands would: no foreign key
/// stops them. Each must find its row.
pub async fn tamper(gate: &Gate, engine: Engine, statements: &[&str]) {
    sqlx::any::install_default_drivers();
    let mut connection = AnyConnection::connect(&url(gate)).await.unwrap();
    let unguarded = match engine {
        Engine::Sqlite => "PRAGMA foreign_keys = OFF",
        Engine::Postgres => "SET session_replication_role = replica",
    };
    connection.execute(unguarded).await.unwrap();
    for sql in statements {
        let done = connection.execute(AssertSqlSafe((*sql).to_owned())).await.unwrap();
        let is_done = done.rows_affected() > 0 || sql.starts_with("CREATE");
        assert!(is_done, "it changed nothing: {sql}");
    }
    connection.close().await.unwrap();
}
