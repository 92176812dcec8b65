//! Empty databases on a real PostgreSQL.

use std::str::FromStr;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Executor};

/// Names the server's maintenance database, as a superuser: `postgres://postgres@localhost/postgres`.
const SERVER: &str = "COUNTERSIGN_TEST_POSTGRES";
/// Every database of a test is called so, with a random name behind it.
const PREFIX: &str = "countersign_test_";

/// The URL of a new, empty database.
///
/// It lasts as long as the test's runtime: a connection that the runtime holds keeps a lock on its
/// name, and whoever makes the next database drops those that nobody has locked.
pub async fn fresh_database() -> String {
    made_of("template0").await
}

/// The URL of a new database that holds what another one holds, to which nobody may be connected.
pub async fn copy_of(url: &str) -> String {
    made_of(&name_of(url)).await
}

/// Puts a copy in the place of a database, whoever is connected to it.
pub async fn replace(url: &str, copy: &str) {
    let mut connection = server().connect().await.unwrap();
    let (name, copy) = (name_of(url), name_of(copy));
    for sql in [
        format!("DROP DATABASE {name} WITH (FORCE)"),
        format!("CREATE DATABASE {name} TEMPLATE {copy}"),
    ] {
        connection.execute(AssertSqlSafe(sql)).await.unwrap();
    }
}

/// The URL of the server itself.
pub fn server_url() -> String {
    server().to_url_lossy().to_string()
}

/// Lets nobody write a database any more, or again. Sessions take note when they begin, so those that
/// are there are ended for the former; those that began read-only are left for the latter.
pub async fn set_read_only(url: &str, is_read_only: bool) {
    let mut connection = server().connect().await.unwrap();
    let name = name_of(url);
    let setting = if is_read_only { "SET default_transaction_read_only = on" } else { "RESET ALL" };
    let sql = format!("ALTER DATABASE {name} {setting}");
    connection.execute(AssertSqlSafe(sql)).await.unwrap();
    if is_read_only {
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1";
        sqlx::query(end).bind(name).execute(&mut connection).await.unwrap();
    }
}

fn name_of(url: &str) -> String {
    PgConnectOptions::from_str(url).unwrap().get_database().unwrap().to_owned()
}

async fn made_of(template: &str) -> String {
    let server = server();
    let mut connection = server.connect().await.unwrap();
    drop_abandoned(&mut connection).await;
    let name = format!("{PREFIX}{:032x}", u128::from_be_bytes(countersign::randomness::bytes()));
    assert!(lock(&mut connection, &name).await, "a random name is nobody else's");
    connection
        .execute(AssertSqlSafe(format!("CREATE DATABASE {name} TEMPLATE {template}")))
        .await
        .unwrap();
    tokio::spawn(async move {
        std::future::pending::<()>().await;
        drop(connection);
    });
    server.database(&name).to_url_lossy().to_string()
}

#[expect(clippy::disallowed_methods, reason = "whoever runs the tests names the server")]
fn server() -> PgConnectOptions {
    let url = std::env::var(SERVER).unwrap_or_else(|_| {
        panic!(
            "{SERVER} does not name a PostgreSQL server: run the tests with tests/run, which starts one"
        )
    });
    PgConnectOptions::from_str(&url).unwrap()
}

/// Drops the databases of tests that are over.
async fn drop_abandoned(connection: &mut PgConnection) {
    let names: Vec<String> =
        sqlx::query_scalar("SELECT datname FROM pg_database WHERE starts_with(datname, $1)")
            .bind(PREFIX)
            .fetch_all(&mut *connection)
            .await
            .unwrap();
    for name in names {
        if lock(connection, &name).await {
            let sql = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
            connection.execute(AssertSqlSafe(sql)).await.unwrap();
            sqlx::query("SELECT pg_advisory_unlock(hashtextextended($1, 0))")
                .bind(&name)
                .execute(&mut *connection)
                .await
                .unwrap();
        }
    }
}

/// Whether nobody else holds this name; from now on we do.
async fn lock(connection: &mut PgConnection, name: &str) -> bool {
    sqlx::query_scalar("SELECT pg_try_advisory_lock(hashtextextended($1, 0))")
        .bind(name)
        .fetch_one(connection)
        .await
        .unwrap()
}
