//! Both databases have the same tables, and every version leaves the one before what it reads.

use super::{File, assert_none, files};

#[test]
fn both_databases_have_the_same_tables() {
    let (sqlite, postgres) = (files(&["migrations/sqlite"]), files(&["migrations/postgres"]));
    let names = |files: &[File]| -> Vec<String> {
        files.iter().map(|file| file.path.rsplit('/').next().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&sqlite), names(&postgres));
    for (sqlite, postgres) in sqlite.iter().zip(&postgres) {
        let ours = sqlite.text.replace(") STRICT;", ");").replace("x''", "''");
        let theirs = postgres
            .text
            .replace("BIGINT", "INTEGER")
            .replace("BYTEA", "BLOB")
            .replace("migrations/sqlite", "migrations/postgres");
        for (number, (ours, theirs)) in (1..).zip(ours.lines().zip(theirs.lines())) {
            assert_eq!(ours, theirs, "{}:{number} against {}", sqlite.path, postgres.path);
        }
        assert_eq!(ours.lines().count(), theirs.lines().count(), "{}", sqlite.path);
    }
}

/// The last migration before there was a version that others could run beside.
const BEFORE_ANY_VERSION: &str = "0014";

/// What an older version would miss, or trip over, in the tables of a newer one.
fn takes_away(migration: &str) -> Vec<&str> {
    let statements = migration.split(';').map(str::trim);
    statements
        .filter(|statement| {
            let text = statement.to_uppercase();
            let must = text.contains("NOT NULL") && !text.contains("DEFAULT");
            ["DROP ", "RENAME ", "ALTER COLUMN", "DELETE FROM"]
                .iter()
                .any(|word| text.contains(word))
                || text.contains("ADD COLUMN") && must
                || text.contains("ADD CONSTRAINT")
                || text.contains("CREATE UNIQUE INDEX")
        })
        .collect()
}

#[test]
fn migrations_only_add() {
    let mut complaints = Vec::new();
    for file in files(&["migrations"]) {
        let name = file.path.rsplit('/').next().unwrap();
        // One that says which versions end with it may take away what those read.
        if name < BEFORE_ANY_VERSION || file.text.contains("UPDATE oldest_version") {
            continue;
        }
        complaints.extend(
            takes_away(&file.text).iter().map(|statement| format!("{}: {statement}", file.path)),
        );
    }
    assert_none(&complaints, "the version before must be able to go on beside a new one");
    for bad in [
        "ALTER TABLE approvals DROP COLUMN state",
        "ALTER TABLE approvals RENAME COLUMN state TO standing",
        "ALTER TABLE approvals ADD COLUMN other TEXT NOT NULL",
    ] {
        assert_eq!(takes_away(bad), [bad]);
    }
    assert!(takes_away("ALTER TABLE jobs ADD COLUMN other INTEGER NOT NULL DEFAULT 0;").is_empty());
}
