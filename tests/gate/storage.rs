//! Storage by itself, on both databases: one way in, all or nothing, and one gapless ledger.

mod audit;
pub mod database;
mod leases;
mod short_lived;

use std::collections::BTreeSet;
use std::time::Duration;

use countersign::domain::approval::Status;
use countersign::domain::ledger::Frontier;
use countersign::storage::{ApprovalFilter, Storage, StorageError, StoredApproval};
use jiff::SignedDuration;
use serde_json::json;

use crate::support::gate::{Engine, on_both_engines};
use database::{Database, apply, approved, asked, create, log_key, now};

on_both_engines!(
    an_approval_is_read_back_as_it_was_written,
    an_idempotency_key_makes_one_approval,
    a_stale_version_conflicts,
    a_dropped_writer_leaves_nothing,
    a_failed_step_refuses_the_commit,
    an_impossible_row_is_an_error_that_names_it,
    pages_go_on_where_the_last_one_ended,
    lists_show_what_was_asked_for,
    what_is_over_is_due_for_expiry,
    concurrent_writers_make_one_gapless_ledger,
    a_commit_wakes_whoever_waits,
);

async fn record(storage: &Storage, what: &str) {
    let mut writer = storage.begin().await.unwrap();
    writer.record("test", json!({ "what": what }), now()).await.unwrap();
    writer.commit().await.unwrap();
}

async fn an_approval_is_read_back_as_it_was_written(engine: Engine) {
    let database = Database::new(engine).await;
    let storage = database.open().await;
    let stored = create(&storage, database.request()).await;
    let id = stored.approval.id().clone();
    assert_eq!(storage.approval(&id).await.unwrap().as_ref(), Some(&stored));
    let approval = apply(&storage, stored.approval.clone().cancel(now()).unwrap()).await;
    assert_eq!(approval.version, 2);
    // Also by another connection to the same database, after it was closed and opened again.
    storage.close().await;
    drop(storage);
    let storage = database.open().await;
    let reread = storage.approval(&id).await.unwrap().unwrap();
    assert_eq!(reread, StoredApproval { approval, ..stored });
    let entries = storage.entries_of(&id).await.unwrap();
    assert_eq!(entries.iter().map(|entry| entry.index).collect::<Vec<_>>(), [0, 1]);
    assert!(entries[1].record.contains(&entries[0].entry_hash.to_string()), "they are chained");
}

async fn an_idempotency_key_makes_one_approval(engine: Engine) {
    let database = Database::new(engine).await;
    let storage = database.open().await;
    let (first, second) = (database.request(), database.request());
    let mut key = asked(&first);
    key.idempotency_key = "build 7".into();
    let mut writer = storage.begin().await.unwrap();
    writer.create(first, &key, now()).await.unwrap();
    writer.commit().await.unwrap();
    let mut writer = storage.begin().await.unwrap();
    let refused = writer.create(second, &key, now()).await.unwrap_err();
    assert!(matches!(refused, StorageError::Duplicate(_)), "{refused}");
    drop(writer);
    // The same key of another requester is another key.
    let other = database.request_with(|deployment| deployment.requester.key = "github:2".into());
    let mut others_key = asked(&other);
    others_key.idempotency_key = "build 7".into();
    let mut writer = storage.begin().await.unwrap();
    let others = writer.create(other, &others_key, now()).await.unwrap();
    writer.commit().await.unwrap();
    let found = storage.approval_by_idempotency_key("github:2", "build 7").await.unwrap();
    assert_eq!(found, Some(others));
    assert_eq!(storage.approval_by_idempotency_key("github:2", "build 8").await.unwrap(), None);
    // The request must be the one of the requester that the deployment names.
    let third = database.request();
    let mut writer = storage.begin().await.unwrap();
    let refused = writer.create(third, &others_key, now()).await.unwrap_err();
    assert!(matches!(refused, StorageError::Contradiction(_)), "{refused}");
}

async fn a_stale_version_conflicts(engine: Engine) {
    let database = Database::new(engine).await;
    let storage = database.open().await;
    let read = create(&storage, database.request()).await.approval;
    apply(&storage, read.clone().cancel(now()).unwrap()).await;
    let mut writer = storage.begin().await.unwrap();
    let refused = writer.apply(read.clone().cancel(now()).unwrap(), now()).await.unwrap_err();
    assert!(matches!(refused, StorageError::Conflict), "{refused}");
    assert!(matches!(writer.commit().await, Err(StorageError::Unfinished)));
    assert_eq!(storage.approval(read.id()).await.unwrap().unwrap().approval.version, 2);
    assert_eq!(storage.head().await.unwrap().size(), 2);
}

async fn a_dropped_writer_leaves_nothing(engine: Engine) {
    let database = Database::new(engine).await;
    let storage = database.open().await;
    let transition = database.request();
    let id = transition.approval.id().clone();
    let mut writer = storage.begin().await.unwrap();
    let asked = asked(&transition);
    writer.create(transition, &asked, now()).await.unwrap();
    writer.record("test", json!({}), now()).await.unwrap();
    assert!(writer.approval(&id).await.unwrap().is_some(), "it sees its own change");
    assert_eq!(storage.approval(&id).await.unwrap(), None, "nobody else does");
    drop(writer);
    assert_eq!(storage.approval(&id).await.unwrap(), None);
    assert_eq!(storage.head().await.unwrap(), Frontier::default());
    assert_eq!(storage.entries(0, 10).await.unwrap(), []);
    // The next writer does not wait for it.
    record(&storage, "next").await;
    assert_eq!(storage.head().await.unwrap().size(), 1);
}

async fn a_failed_step_refuses_the_commit(engine: Engine) {
    let database = Database::new(engine).await;
    let storage = database.open().await;
    let mut writer = storage.begin().await.unwrap();
    writer.record("test", json!({}), now()).await.unwrap();
    let unknown = database.request().approval.cancel(now()).unwrap();
    assert!(matches!(writer.apply(unknown, now()).await, Err(StorageError::Conflict)));
    // A step that succeeds afterwards does not make it good.
    let _ = writer.record("test", json!({}), now()).await;
    assert!(matches!(writer.commit().await, Err(StorageError::Unfinished)));
    assert_eq!(storage.head().await.unwrap().size(), 0);
}

async fn an_impossible_row_is_an_error_that_names_it(engine: Engine) {
    let database = Database::new(engine).await;
    let storage = database.open().await;
    let approval = approved(&storage, &database).await;
    for (sql, column) in [
        ("UPDATE approvals SET status = 'executing'", "status"),
        ("UPDATE approvals SET environment = 'staging'", "environment"),
        ("UPDATE approvals SET deployment = REPLACE(deployment, '512Mi', '513Mi')", "digest"),
        ("UPDATE policies SET policy = REPLACE(policy, '\"count\":1', '\"count\":2')", "policy"),
        ("UPDATE approvals SET expires_at = expires_at + 1", "expires_at"),
    ] {
        let fresh = Database::new(engine).await;
        let storage = fresh.open().await;
        approved(&storage, &fresh).await;
        fresh.tamper(&[sql]).await;
        let refused = storage.approval(approval.id()).await.unwrap_err();
        assert!(matches!(refused, StorageError::ImpossibleRow { .. }), "{refused}");
        let sentence = refused.to_string();
        assert!(
            sentence.contains(approval.id().as_str()) && sentence.contains(column),
            "{sentence}"
        );
    }
}

async fn ids(storage: &Storage, filter: &ApprovalFilter) -> (Vec<String>, Option<String>) {
    let page = storage.approvals(filter).await.unwrap();
    let ids = page.approvals.iter().map(|stored| stored.approval.id().to_string()).collect();
    (ids, page.next_cursor)
}

async fn pages_go_on_where_the_last_one_ended(engine: Engine) {
    let database = Database::new(engine).await;
    let storage = database.open().await;
    let mut newest_first = Vec::new();
    for _ in 0..5 {
        let stored = create(&storage, database.request()).await;
        newest_first.insert(0, stored.approval.id().to_string());
        record(&storage, "something between").await;
    }
    let mut filter = ApprovalFilter { limit: 2, ..ApprovalFilter::default() };
    let (first, cursor) = ids(&storage, &filter).await;
    assert_eq!(first, newest_first[..2]);
    // What is added meanwhile moves nothing.
    create(&storage, database.request()).await;
    filter.cursor = cursor;
    let (second, cursor) = ids(&storage, &filter).await;
    assert_eq!(second, newest_first[2..4]);
    filter.cursor = cursor;
    assert_eq!(ids(&storage, &filter).await, (newest_first[4..].to_vec(), None));
    filter.limit = 0;
    assert_eq!(ids(&storage, &filter).await.0.len(), 1, "no limit is a limit of one");
    for cursor in ["", "!", "AAAA", "AQAAAAAAAAA", "Av________8", "_________8"] {
        filter.cursor = Some(cursor.into());
        let refused = storage.approvals(&filter).await.unwrap_err();
        assert!(matches!(refused, StorageError::InvalidCursor), "{cursor}: {refused}");
    }
    // Entries go by index.
    let entries = storage.entries(3, 4).await.unwrap();
    assert_eq!(entries.iter().map(|entry| entry.index).collect::<Vec<_>>(), [3, 4, 5, 6]);
    let changes = storage.changes_since(8, 2).await.unwrap();
    assert_eq!(changes.len(), 2);
    assert_eq!(changes[0].1.as_ref().map(ToString::to_string), Some(newest_first[0].clone()));
    assert_eq!(changes[1], (9, None));
}

async fn lists_show_what_was_asked_for(engine: Engine) {
    let database = Database::new(engine).await;
    let storage = database.open().await;
    let mine = create(&storage, database.request()).await.approval;
    let theirs = database.request_with(|deployment| deployment.requester.key = "github:2".into());
    let theirs = create(&storage, theirs).await.approval;
    let theirs = apply(&storage, theirs.cancel(now()).unwrap()).await;
    let all = ApprovalFilter { limit: 10, ..ApprovalFilter::default() };
    let by_requester =
        |keys: &[&str]| Some(keys.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>());
    let (mine, theirs) = (mine.id().to_string(), theirs.id().to_string());
    for (filter, expected) in [
        (all.clone(), vec![&theirs, &mine]),
        (
            ApprovalFilter { requester_keys: by_requester(&["github:2"]), ..all.clone() },
            vec![&theirs],
        ),
        (ApprovalFilter { requester_keys: by_requester(&[]), ..all.clone() }, vec![]),
        (
            ApprovalFilter { environments: by_requester(&["production"]), ..all.clone() },
            vec![&theirs, &mine],
        ),
        (ApprovalFilter { environments: by_requester(&["staging"]), ..all.clone() }, vec![]),
        (ApprovalFilter { statuses: vec![Status::Pending], ..all.clone() }, vec![&mine]),
        (
            ApprovalFilter {
                requester_keys: by_requester(&["github:2", "github:3"]),
                environments: by_requester(&["staging", "production"]),
                statuses: vec![Status::Cancelled, Status::Expired],
                ..all.clone()
            },
            vec![&theirs],
        ),
    ] {
        let (found, _) = ids(&storage, &filter).await;
        assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{filter:?}");
    }
    let mut writer = storage.begin().await.unwrap();
    assert_eq!(writer.count_pending("production").await.unwrap(), 1);
    assert_eq!(writer.count_pending("staging").await.unwrap(), 0);
}

async fn what_is_over_is_due_for_expiry(engine: Engine) {
    let database = Database::new(engine).await;
    let storage = database.open().await;
    let pending = create(&storage, database.request()).await.approval;
    let approved = approved(&storage, &database).await;
    let cancelled = create(&storage, database.request()).await.approval;
    apply(&storage, cancelled.cancel(now()).unwrap()).await;
    let end = pending.subject.expires_at;
    let before = end - SignedDuration::from_secs(1);
    assert_eq!(storage.due_for_expiry(before, 10).await.unwrap(), []);
    let due = storage.due_for_expiry(end, 10).await.unwrap();
    assert_eq!(due, [pending.id().clone(), approved.id().clone()]);
    assert_eq!(storage.due_for_expiry(end, 1).await.unwrap(), [pending.id().clone()]);
}

async fn concurrent_writers_make_one_gapless_ledger(engine: Engine) {
    let database = Database::new(engine).await;
    let storage = database.open().await;
    // Two gates share a server; a file belongs to one.
    let other = match engine {
        Engine::Sqlite => storage.clone(),
        Engine::Postgres => database.open().await,
    };
    let writers = (0..32).map(|number| {
        let storage = if number % 2 == 0 { storage.clone() } else { other.clone() };
        let transition = database.request();
        tokio::spawn(async move {
            let stored = create(&storage, transition).await;
            apply(&storage, stored.approval.cancel(now()).unwrap()).await;
        })
    });
    for outcome in futures::future::join_all(writers).await {
        outcome.unwrap();
    }
    let entries = storage.entries(0, 100).await.unwrap();
    assert_eq!(entries.len(), 64);
    let mut tree = Frontier::default();
    for entry in &entries {
        tree.follow(entry, &storage.log_public_key()).unwrap();
    }
    assert_eq!(storage.head().await.unwrap(), tree);
    let salts: BTreeSet<_> = entries.iter().map(|entry| entry.salt).collect();
    assert_eq!(salts.len(), 64, "each entry has its own salt");
    drop(other);
    storage.close().await;
    drop(storage);
    assert_eq!(database.audit().await.findings, []);
}

async fn a_commit_wakes_whoever_waits(engine: Engine) {
    let database = Database::new(engine).await;
    let storage = database.open().await;
    let mut own = storage.wakeups();
    // Another gate on the same server is woken up too.
    let other = match engine {
        Engine::Sqlite => None,
        Engine::Postgres => Some(database.open().await),
    };
    let mut others = other.as_ref().map(Storage::wakeups);
    let quiet = tokio::time::timeout(Duration::from_millis(50), own.changed()).await;
    assert!(quiet.is_err(), "nothing happened yet");
    record(&storage, "change").await;
    let long = Duration::from_secs(5);
    tokio::time::timeout(long, own.changed()).await.unwrap().unwrap();
    if let Some(others) = &mut others {
        tokio::time::timeout(long, others.changed()).await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_serves_one_gate() {
    let database = Database::new(Engine::Sqlite).await;
    let storage = database.open().await;
    let refused = Storage::open(&database.url, log_key()).await.err().unwrap();
    assert!(matches!(refused, StorageError::InUse(_)), "{refused}");
    assert!(refused.to_string().contains("gate.db"), "{refused}");
    // A link to the file is the same file.
    let path = database.url.strip_prefix("sqlite://").unwrap();
    let link = format!("{path}.link");
    std::os::unix::fs::symlink(path, &link).unwrap();
    let refused = Storage::open(&format!("sqlite://{link}"), log_key()).await.err().unwrap();
    assert!(matches!(refused, StorageError::InUse(_)), "{refused}");
    storage.close().await;
    drop(storage);
    database.open().await.check().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn urls_that_name_no_database_are_refused() {
    for url in
        ["", "mysql://root@localhost/gate", "sqlite::memory:", "sqlite://:memory:", "sqlite:"]
    {
        let refused = Storage::open(url, log_key()).await.err().unwrap();
        assert!(matches!(refused, StorageError::InvalidUrl(_)), "{url}: {refused}");
    }
}
