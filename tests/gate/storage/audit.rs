//! The audit: whoever changes the database beside the gate is found out.

use std::collections::BTreeSet;

use countersign::domain::decision::Verdict;
use countersign::domain::ids::ApprovalId;
use countersign::domain::ledger::Frontier;
use countersign::domain::log_key::LogKey;
use countersign::storage::Storage;
use countersign::storage::audit::verify_ledger;
use sqlx::{AnyConnection, Connection};

use super::database::{Database, apply, approved, asked, create, decide, now, register, sign_in};
use crate::support::gate::{Engine, on_both_engines};

on_both_engines!(
    an_untouched_database_has_no_findings,
    an_empty_database_has_no_findings,
    changed_entries_are_found,
    missing_and_moved_entries_are_found,
    a_ledger_that_was_cut_consistently_is_found,
    changed_approvals_are_found,
    an_approval_that_nobody_asked_for_is_found,
    changed_decisions_are_found,
    changed_jobs_are_found,
    changed_policies_are_found,
    changed_keys_are_found,
    planted_sessions_are_found,
    another_log_key_is_found_and_told_briefly,
    one_audit_tells_of_everything,
);

/// A database with a story. Entries: 0 alice signs in, 1 her key, 2 the first approval, 3 her yes,
/// 4 the second approval, 5 the third, 6 it is cancelled, 7 the fourth, 8 her no.
async fn story(engine: Engine) -> (Database, [ApprovalId; 4]) {
    let database = Database::new(engine).await;
    let storage = database.open().await;
    sign_in(&storage, "alice").await;
    register(&storage, "alice").await;
    let first = approved(&storage, &database).await;
    let second = create(&storage, database.request()).await.approval;
    let third = create(&storage, database.request()).await.approval;
    let third = apply(&storage, third.cancel(now()).unwrap()).await;
    let fourth = create(&storage, database.request()).await.approval;
    let fourth = decide(&storage, fourth, "alice", Verdict::Reject).await;
    storage.close().await;
    let ids = [&first, &second, &third, &fourth].map(|approval| approval.id().clone());
    (database, ids)
}

/// The codes that the audit gives after the tampering. `$1` to `$4` stand for the approvals.
async fn codes_after(engine: Engine, tampering: &[&str]) -> BTreeSet<&'static str> {
    let (database, ids) = story(engine).await;
    let statements: Vec<String> = tampering
        .iter()
        .map(|sql| {
            (1..).zip(&ids).fold((*sql).to_owned(), |sql, (place, id)| {
                sql.replace(&format!("${place}"), &format!("'{id}'"))
            })
        })
        .collect();
    database.tamper(&statements.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let findings = database.audit().await.findings;
    for finding in &findings {
        assert!(finding.sentence.contains("from a backup"), "{finding:?}");
    }
    findings.into_iter().map(|finding| finding.code).collect()
}

/// Asserts that each tampering, alone, gives exactly these codes.
async fn assert_found(engine: Engine, cases: &[(&[&str], &[&'static str])]) {
    let mut surprises = Vec::new();
    for (tampering, expected) in cases {
        let found = codes_after(engine, tampering).await;
        if found != expected.iter().copied().collect() {
            surprises.push((tampering, found));
        }
    }
    assert!(surprises.is_empty(), "{surprises:#?}");
}

async fn an_untouched_database_has_no_findings(engine: Engine) {
    let (database, _) = story(engine).await;
    let report = database.audit().await;
    assert_eq!((report.entries, report.approvals), (9, 4));
    assert_eq!(report.findings, []);
    let storage = database.open().await;
    assert_eq!(report.root, storage.head().await.unwrap().root());
    // It may run beside a gate that writes.
    let mut writer = storage.begin().await.unwrap();
    writer.record("test", serde_json::json!({}), now()).await.unwrap();
    assert_eq!(verify_ledger(&storage).await.unwrap().findings, []);
    writer.commit().await.unwrap();
    assert_eq!(verify_ledger(&storage).await.unwrap().entries, 10);
}

async fn an_empty_database_has_no_findings(engine: Engine) {
    let database = Database::new(engine).await;
    let report = database.audit().await;
    assert_eq!((report.entries, report.approvals, report.findings.len()), (0, 0, 0));
}

async fn changed_entries_are_found(engine: Engine) {
    const OTHER: &str = "FROM ledger_entries WHERE entry_index = 0) WHERE entry_index = 3";
    let taken_from_another =
        |column: &str| format!("UPDATE ledger_entries SET {column} = (SELECT {column} {OTHER}");
    let [salt, root, signature, hash] =
        ["salt", "root", "signature", "entry_hash"].map(taken_from_another);
    assert_found(
        engine,
        &[
            (
                &["UPDATE ledger_entries SET record = REPLACE(record, 'alice', 'mallory') \
                   WHERE entry_index = 0"],
                &["entry_record_changed", "record_column_mismatch", "session_unrecorded"],
            ),
            (
                &["UPDATE ledger_entries SET record = REPLACE(record, ',', ', ') \
                   WHERE entry_index = 6"],
                &["entry_record_changed", "record_malformed", "state_mismatch", "version_mismatch"],
            ),
            (
                &["UPDATE ledger_nodes SET hash = (SELECT hash FROM ledger_nodes WHERE level = 1 \
                   AND position = 0) WHERE level = 0 AND position = 2"],
                &["node_mismatch"],
            ),
            (&["DELETE FROM ledger_nodes WHERE level = 1 AND position = 1"], &["node_mismatch"]),
            (&[&salt], &["entry_record_changed"]),
            (&[&root], &["entry_root_mismatch"]),
            (&[&signature], &["entry_signature_invalid"]),
            (
                &[&hash],
                &[
                    "entry_record_changed",
                    "entry_root_mismatch",
                    "entry_signature_invalid",
                    "head_mismatch",
                ],
            ),
            (
                &["UPDATE ledger_entries SET kind = 'approval.expired' WHERE entry_index = 6"],
                &["record_column_mismatch"],
            ),
            (
                &["UPDATE ledger_entries SET at = at + 1 WHERE entry_index = 6"],
                &["record_column_mismatch"],
            ),
            (
                &["UPDATE ledger_entries SET approval_id = $2 WHERE entry_index = 6"],
                &["record_column_mismatch", "state_mismatch", "version_mismatch"],
            ),
            (
                &["UPDATE ledger_entries SET entry_hash = 'x' || SUBSTR(entry_hash, 2) \
                   WHERE entry_index = 6"],
                &["head_mismatch", "impossible_row", "state_mismatch", "version_mismatch"],
            ),
        ],
    )
    .await;
}

async fn missing_and_moved_entries_are_found(engine: Engine) {
    const DELETE: &str = "DELETE FROM ledger_entries WHERE entry_index = ";
    let delete = |index: u8| format!("{DELETE}{index}");
    let (first, middle, last) = (delete(0), delete(2), delete(8));
    let renumber = |from: u8, to: u8| {
        format!("UPDATE ledger_entries SET entry_index = {to} WHERE entry_index = {from}")
    };
    let swap = [renumber(4, 90), renumber(5, 4), renumber(90, 5)];
    assert_found(
        engine,
        &[
            (&[&first], &["entry_missing", "head_mismatch", "session_unrecorded"]),
            (
                &[&middle],
                &["chain_broken", "entry_missing", "first_entry_mismatch", "head_mismatch"],
            ),
            (
                &[&last],
                &[
                    "decision_unrecorded",
                    "decisions_mismatch",
                    "head_mismatch",
                    "state_mismatch",
                    "version_mismatch",
                ],
            ),
            (
                &[&swap[0], &swap[1], &swap[2]],
                &[
                    "entry_root_mismatch",
                    "entry_signature_invalid",
                    "first_entry_mismatch",
                    "head_mismatch",
                ],
            ),
            (&["UPDATE ledger_head SET size = size - 1"], &["impossible_row"]),
            (&["UPDATE ledger_head SET size = size + 1"], &["head_mismatch"]),
            (&["DELETE FROM ledger_head"], &["head_mismatch"]),
        ],
    )
    .await;
}

/// Somebody who knows the format takes the last entry back and moves the head accordingly.
async fn a_ledger_that_was_cut_consistently_is_found(engine: Engine) {
    let (database, _) = story(engine).await;
    let storage = database.open().await;
    let mut tree = Frontier::default();
    for entry in storage.entries(0, 8).await.unwrap() {
        tree.append(entry.leaf());
    }
    storage.close().await;
    drop(storage);
    database.tamper(&["DELETE FROM ledger_entries WHERE entry_index = 8"]).await;
    let mut connection = AnyConnection::connect(&database.url).await.unwrap();
    let subtrees: Vec<u8> = tree.subtrees().iter().flat_map(|root| *root.as_bytes()).collect();
    sqlx::query("UPDATE ledger_head SET size = 8, subtrees = $1")
        .bind(subtrees)
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
    let report = database.audit().await;
    assert_eq!(report.root, tree.root());
    let codes: BTreeSet<_> = report.findings.iter().map(|finding| finding.code).collect();
    let expected =
        ["decision_unrecorded", "decisions_mismatch", "state_mismatch", "version_mismatch"];
    assert_eq!(codes, expected.into());
}

async fn changed_approvals_are_found(engine: Engine) {
    assert_found(
        engine,
        &[
            (&["UPDATE approvals SET status = 'executing' WHERE id = $1"], &["impossible_row"]),
            (
                &["UPDATE approvals SET status = 'pending', state = '{\"status\":\"pending\"}' \
                   WHERE id = $4"],
                &["state_mismatch"],
            ),
            (&["UPDATE approvals SET version = 7 WHERE id = $1"], &["version_mismatch"]),
            (&["UPDATE approvals SET decisions = '[]' WHERE id = $1"], &["decisions_mismatch"]),
            (
                &["UPDATE approvals SET decisions = REPLACE(decisions, 'approve', 'reject') \
                   WHERE id = $1"],
                &["decisions_mismatch"],
            ),
            (
                &["UPDATE approvals SET deployment = REPLACE(deployment, '1Gi', '8Gi') \
                   WHERE id = $1"],
                &["impossible_row"],
            ),
            (
                &["UPDATE approvals SET requester_key = 'github:2' WHERE id = $1"],
                &["impossible_row"],
            ),
            (
                &["UPDATE approvals SET created_at = created_at + 1 WHERE id = $1"],
                &["created_at_mismatch"],
            ),
            (&["UPDATE approvals SET first_entry = 77 WHERE id = $1"], &["first_entry_mismatch"]),
            (
                &["DELETE FROM approvals WHERE id = $1"],
                &["decision_without_approval", "entry_without_approval", "job_without_approval"],
            ),
        ],
    )
    .await;
}

async fn an_approval_that_nobody_asked_for_is_found(engine: Engine) {
    let (database, ids) = story(engine).await;
    let planted = database.request();
    let (id, text) = (planted.approval.id(), planted.approval.subject.text());
    let digest = planted.approval.subject.digest();
    let key = asked(&planted).idempotency_key;
    let sql = format!(
        "INSERT INTO approvals SELECT '{id}', 99, environment, service, requester_key, '{key}', \
         request_digest, token, token_key, '{}', '{digest}', policy_digest, status, version, state, \
         decisions, created_at, expires_at FROM approvals WHERE id = '{}'",
        text.replace('\'', "''"),
        ids[1]
    );
    database.tamper(&[&sql]).await;
    let findings = database.audit().await.findings;
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert_eq!(findings[0].code, "approval_without_entries");
    assert!(findings[0].sentence.contains(id.as_str()), "{findings:?}");
}

async fn changed_decisions_are_found(engine: Engine) {
    assert_found(
        engine,
        &[
            (&["DELETE FROM decisions WHERE approval_id = $1"], &["decision_missing"]),
            (
                &["UPDATE decisions SET approval_id = $2 WHERE approval_id = $1"],
                &["decision_missing", "decision_unrecorded"],
            ),
            (
                &["UPDATE decisions SET subject = 'mallory' WHERE approval_id = $1"],
                &["decision_missing", "decision_unrecorded"],
            ),
            (
                &["UPDATE decisions SET statement = REPLACE(statement, '1Gi', '8Gi') \
                   WHERE approval_id = $1"],
                &["decision_mismatch"],
            ),
            (
                &["UPDATE decisions SET decided_at = decided_at + 1 WHERE approval_id = $1"],
                &["decision_mismatch"],
            ),
            (
                &["UPDATE decisions SET id_token = 'another' WHERE approval_id = $1"],
                &["decision_mismatch"],
            ),
            (
                &["UPDATE decisions SET credential_id = authenticator_data WHERE approval_id = $1"],
                &["decision_mismatch"],
            ),
        ],
    )
    .await;
}

async fn changed_jobs_are_found(engine: Engine) {
    assert_found(
        engine,
        &[
            (&["DELETE FROM jobs WHERE approval_id = $1"], &["job_missing"]),
            (
                &["INSERT INTO jobs (approval_id, due_at, epoch, attempts) VALUES ($2, 0, 0, 0)"],
                &["job_unexpected"],
            ),
            (
                &["INSERT INTO jobs (approval_id, due_at, epoch, attempts) \
                   VALUES ('apr_unknown', 0, 0, 0)"],
                &["job_without_approval"],
            ),
        ],
    )
    .await;
}

async fn changed_policies_are_found(engine: Engine) {
    assert_found(
        engine,
        &[
            (
                &["UPDATE policies SET policy = REPLACE(policy, '\"count\":1', '\"count\":2')"],
                &["impossible_row", "policy_mismatch"],
            ),
            (&["DELETE FROM policies"], &["impossible_row"]),
        ],
    )
    .await;
}

async fn changed_keys_are_found(engine: Engine) {
    assert_found(
        engine,
        &[
            (&["DELETE FROM credentials"], &["credential_missing"]),
            (&["UPDATE credentials SET public_key = aaguid"], &["credential_mismatch"]),
            (&["UPDATE credentials SET subject = 'mallory'"], &["credential_mismatch"]),
            (&["UPDATE credentials SET id_token = 'another'"], &["credential_mismatch"]),
            (&["UPDATE credentials SET created_at = 0"], &["credential_mismatch"]),
            (&["UPDATE credentials SET status = 'revoked'"], &["credential_status_mismatch"]),
            (
                &["UPDATE credentials SET id = public_key"],
                &["credential_missing", "credential_unrecorded"],
            ),
        ],
    )
    .await;
    let (database, _) = story(engine).await;
    let storage = database.open().await;
    let key = super::database::credential("alice");
    let mut writer = storage.begin().await.unwrap();
    writer.suspend_credential(&key.id, "its counter went backwards", now()).await.unwrap();
    writer.commit().await.unwrap();
    storage.close().await;
    drop(storage);
    assert_eq!(database.audit().await.findings, []);
    database.tamper(&["UPDATE credentials SET status = 'active'"]).await;
    let findings = database.audit().await.findings;
    assert_eq!(findings[0].code, "credential_status_mismatch", "{findings:?}");
}

async fn planted_sessions_are_found(engine: Engine) {
    assert_found(
        engine,
        &[
            (
                &["UPDATE sessions SET profile = REPLACE(profile, 'release-managers', 'security')"],
                &["session_unrecorded"],
            ),
            (&["UPDATE sessions SET id_token = 'another'"], &["session_unrecorded"]),
            (&["UPDATE sessions SET profile = '{\"person\":{}}'"], &["impossible_row"]),
        ],
    )
    .await;
    // One that is over and swept leaves nothing to find.
    assert_found(engine, &[(&["DELETE FROM sessions"], &[])]).await;
}

async fn another_log_key_is_found_and_told_briefly(engine: Engine) {
    let database = Database::new(engine).await;
    let storage = database.open().await;
    let mut writer = storage.begin().await.unwrap();
    // More than the audit reads at once.
    for _ in 0..205 {
        writer.record("test", serde_json::json!({}), now()).await.unwrap();
    }
    writer.commit().await.unwrap();
    storage.close().await;
    drop(storage);
    let other = std::sync::Arc::new(LogKey::from_seed(&[8; 32]).unwrap());
    let storage = Storage::open(&database.url, other).await.unwrap();
    let findings = verify_ledger(&storage).await.unwrap().findings;
    assert_eq!(findings.len(), 101);
    assert!(findings.iter().all(|finding| finding.code == "entry_signature_invalid"));
    assert!(findings[100].sentence.starts_with("105 more findings"), "{:?}", findings[100]);
}

async fn one_audit_tells_of_everything(engine: Engine) {
    let found = codes_after(
        engine,
        &[
            "UPDATE ledger_entries SET signature = (SELECT signature FROM ledger_entries \
             WHERE entry_index = 0) WHERE entry_index = 3",
            "UPDATE approvals SET version = 7 WHERE id = $1",
            "DELETE FROM decisions WHERE approval_id = $4",
            "DELETE FROM jobs",
            "UPDATE credentials SET public_key = aaguid",
            "UPDATE sessions SET id_token = 'another'",
        ],
    )
    .await;
    let expected = [
        "credential_mismatch",
        "decision_missing",
        "entry_signature_invalid",
        "job_missing",
        "session_unrecorded",
        "version_mismatch",
    ];
    assert_eq!(found, expected.into());
}
