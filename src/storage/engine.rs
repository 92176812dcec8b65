//! What differs between SQLite and PostgreSQL: opening, locking, migrations and wake-ups.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::LazyLock;
use std::time::Duration;

use sqlx::any::AnyPoolOptions;
use sqlx::migrate::Migrator;
use sqlx::postgres::PgListener;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AnyConnection, AnyPool, Connection};
use tokio::sync::watch;

use crate::storage::error::{Result, StorageError};

static SQLITE_MIGRATIONS: LazyLock<Migrator> =
    LazyLock::new(|| beside_newer(sqlx::migrate!("./migrations/sqlite")));
static POSTGRES_MIGRATIONS: LazyLock<Migrator> =
    LazyLock::new(|| beside_newer(sqlx::migrate!("./migrations/postgres")));

/// SQLite has one writer at a time whatever we do; one connection makes the others wait here, in
/// order, instead of in SQLite's busy handler, which polls.
const SQLITE_WRITERS: u32 = 1;
/// Readers never wait for the writer in WAL mode. Each costs a thread, and more of them than
/// cores of a small machine gain nothing.
const SQLITE_READERS: u32 = 4;
/// Writers wait for one row, the ledger's head. A second connection begins its transaction while
/// the first commits, and one more is there for jobs, sign-ins and what else takes no head.
const POSTGRES_WRITERS: u32 = 3;
/// With the writers and the listener a gate has 10 connections: ten gates fit into the 100 that
/// PostgreSQL allows by default.
const POSTGRES_READERS: u32 = 6;
/// Whoever waits longer for a connection is better told so than kept.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the listener waits before it tries a lost server again. Readers poll beside it.
const RECONNECT_PAUSE: Duration = Duration::from_secs(1);
/// The name that wake-ups go by in PostgreSQL.
const CHANNEL: &str = "countersign_changes";

/// The database's kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Engine {
    /// A file of this machine.
    Sqlite,
    /// A server.
    Postgres,
}

/// What opening gave.
pub(super) struct Opened {
    pub(super) engine: Engine,
    pub(super) writers: AnyPool,
    pub(super) readers: AnyPool,
    /// Held as long as the storage is open; the operating system gives it back in any case.
    pub(super) lock: Option<File>,
}

/// Opens the database of a URL, alone if it is a file, and brings its tables up to date.
pub(super) async fn open(url: &str) -> Result<Opened> {
    sqlx::any::install_default_drivers();
    match url.split_once(':').map(|(scheme, _)| scheme) {
        Some("sqlite") => open_sqlite(url).await,
        Some("postgres" | "postgresql") => open_postgres(url).await,
        _ => Err(StorageError::InvalidUrl("it begins with neither sqlite: nor postgres:".into())),
    }
}

/// Opens the database of a URL that a gate uses: without its lock, and as it is.
pub(super) async fn open_beside(url: &str) -> Result<Opened> {
    sqlx::any::install_default_drivers();
    let (engine, writers, readers) = match url.split_once(':').map(|(scheme, _)| scheme) {
        Some("sqlite") => {
            let options = SqliteConnectOptions::from_str(url)
                .map_err(|error| StorageError::InvalidUrl(error.to_string()))?;
            let path = options.get_filename().to_owned();
            if let Err(cause) = std::fs::metadata(&path) {
                return Err(StorageError::File { path: path.display().to_string(), cause });
            }
            let (writers, readers) = (sqlite_pool(url, 1).await?, sqlite_pool(url, 1).await?);
            (Engine::Sqlite, writers, readers)
        }
        Some("postgres" | "postgresql") => {
            (Engine::Postgres, postgres_writers(url, 1).await?, postgres_readers(url, 1).await?)
        }
        _ => {
            return Err(StorageError::InvalidUrl(
                "it begins with neither sqlite: nor postgres:".into(),
            ));
        }
    };
    Ok(Opened { engine, writers, readers, lock: None })
}

async fn open_sqlite(url: &str) -> Result<Opened> {
    let options = SqliteConnectOptions::from_str(url)
        .map_err(|error| StorageError::InvalidUrl(error.to_string()))?;
    let path = options.get_filename().to_owned();
    if path.as_os_str().is_empty() || url.contains("memory") && !path.is_absolute() {
        return Err(StorageError::InvalidUrl("a database in memory forgets everything".into()));
    }
    let lock = lock_file(&path)?;
    let writers = sqlite_pool(url, SQLITE_WRITERS).await?;
    migrate(&SQLITE_MIGRATIONS, &writers).await?;
    let readers = sqlite_pool(url, SQLITE_READERS).await?;
    Ok(Opened { engine: Engine::Sqlite, writers, readers, lock: Some(lock) })
}

/// Migrations of newer versions are none of ours: they only added something.
fn beside_newer(mut migrations: Migrator) -> Migrator {
    migrations.set_ignore_missing(true);
    migrations
}

/// Brings the tables up to date, unless a newer version took away what this one reads.
async fn migrate(migrations: &Migrator, pool: &AnyPool) -> Result<()> {
    migrations.run(pool).await?;
    let needed = sqlx::query_scalar("SELECT migration FROM oldest_version").fetch_one(pool).await?;
    let known = migrations.iter().map(|migration| migration.version).max().unwrap_or(0);
    if needed > known { Err(StorageError::TooOld { needed, known }) } else { Ok(()) }
}

/// Makes the file, readable for its owner only since it holds sign-ins, and takes the lock beside
/// it. Links lead to the same lock.
fn lock_file(path: &Path) -> Result<File> {
    let named = |path: &Path| path.display().to_string();
    let fault = |path: &Path| {
        let path = named(path);
        move |cause| StorageError::File { path, cause }
    };
    private_file(path).map_err(fault(path))?;
    let real = std::fs::canonicalize(path).map_err(fault(path))?;
    let mut beside = real.into_os_string();
    beside.push(".lock");
    let beside = PathBuf::from(beside);
    let lock = private_file(&beside).map_err(fault(&beside))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(StorageError::InUse(named(path))),
        Err(TryLockError::Error(cause)) => Err(fault(&beside)(cause)),
    }
}

fn private_file(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

async fn sqlite_pool(url: &str, connections: u32) -> Result<AnyPool> {
    // FULL: a commit that was answered survives a loss of power. The decision is the commit.
    const PRAGMAS: [&str; 4] = [
        "PRAGMA journal_mode = WAL",
        "PRAGMA synchronous = FULL",
        "PRAGMA foreign_keys = ON",
        "PRAGMA busy_timeout = 5000",
    ];
    let pool = AnyPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .idle_timeout(None)
        .max_lifetime(None)
        // A file does not go away as a server does. But a commit that fails on a full disk leaves its
        // connection inside the transaction, where it could never begin another one.
        .test_before_acquire(false)
        .before_acquire(|connection, _| {
            Box::pin(async move { Ok(!connection.is_in_transaction()) })
        })
        .after_connect(|connection, _| {
            Box::pin(async move {
                for pragma in PRAGMAS {
                    sqlx::query(pragma).execute(&mut *connection).await?;
                }
                Ok(())
            })
        })
        .connect(url)
        .await?;
    Ok(pool)
}

async fn open_postgres(url: &str) -> Result<Opened> {
    let writers = postgres_writers(url, POSTGRES_WRITERS).await?;
    if let Err(error) = migrate(&POSTGRES_MIGRATIONS, &writers).await {
        // Whoever migrates holds a lock of the server for as long as the connection lives.
        writers.close().await;
        return Err(error);
    }
    let readers = postgres_readers(url, POSTGRES_READERS).await?;
    Ok(Opened { engine: Engine::Postgres, writers, readers, lock: None })
}

/// A connection that was made to a server which could not be written stays read-only afterwards, so
/// it is given up for a new one. The question is also the test whether the connection lives.
async fn can_write(connection: &mut AnyConnection) -> std::result::Result<bool, sqlx::Error> {
    const SQL: &str = "SELECT current_setting('transaction_read_only')";
    let is_read_only: String = sqlx::query_scalar(SQL).fetch_one(connection).await?;
    Ok(is_read_only == "off")
}

/// A pool for reading: of a server that is read-only, too.
async fn postgres_readers(url: &str, connections: u32) -> Result<AnyPool> {
    Ok(postgres_pool(connections).connect(url).await?)
}

async fn postgres_writers(url: &str, connections: u32) -> Result<AnyPool> {
    let pool = postgres_pool(connections)
        .test_before_acquire(false)
        .before_acquire(|connection, _| Box::pin(can_write(connection)));
    Ok(pool.connect(url).await?)
}

fn postgres_pool(connections: u32) -> AnyPoolOptions {
    // A gate that freezes inside a transaction would keep the ledger's head from all the others for
    // as long as it sleeps. Ours take milliseconds, so the server ends those that sleep; its other
    // writers may wait in line for the head and each take as long.
    const SLEEPLESS: &str = "SET idle_in_transaction_session_timeout = '2s'";
    AnyPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .after_connect(|connection, _| {
            Box::pin(async move {
                sqlx::query(SLEEPLESS).execute(&mut *connection).await?;
                Ok(())
            })
        })
}

impl Engine {
    /// The statement that begins a transaction which writes.
    pub(super) fn begin_write(self) -> &'static str {
        match self {
            // A plain BEGIN that writes later fails when another writer came between.
            Self::Sqlite => "BEGIN IMMEDIATE",
            Self::Postgres => "BEGIN ISOLATION LEVEL READ COMMITTED",
        }
    }

    /// The statement that begins a transaction which sees one moment of the database.
    pub(super) fn begin_snapshot(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN",
            Self::Postgres => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        }
    }
}

/// Has the other gates woken up when the transaction commits.
pub(super) async fn notify(
    engine: Engine,
    connection: &mut AnyConnection,
    name: &str,
) -> Result<()> {
    match engine {
        Engine::Sqlite => Ok(()),
        Engine::Postgres => {
            // CAST: pg_notify gives void, a type that has no place in a portable row.
            sqlx::query("SELECT CAST(pg_notify($1, $2) AS TEXT)")
                .bind(CHANNEL)
                .bind(name)
                .execute(connection)
                .await?;
            Ok(())
        }
    }
}

/// Begins to listen for the wake-ups of other gates.
pub(super) async fn listener(url: &str) -> Result<PgListener> {
    let mut listener = PgListener::connect(url).await?;
    listener.listen(CHANNEL).await?;
    Ok(listener)
}

/// Passes the wake-ups of other gates on, for ever. `name` is ours: our own commits wake up
/// without the way through the server.
pub(super) async fn listen(mut listener: PgListener, name: String, wakeups: watch::Sender<u64>) {
    loop {
        match listener.try_recv().await {
            Ok(Some(notification)) if notification.payload() == name => {}
            // After a lost connection something may have been missed: wake up to look.
            Ok(Some(_) | None) => wakeups.send_modify(|count| *count += 1),
            Err(error) => {
                tracing::warn!(%error, "the database does not tell about changes; polling goes on");
                tokio::time::sleep(RECONNECT_PAUSE).await;
            }
        }
    }
}
