//! Rows of an approval that was approved, changed before the worker looks at it.

use countersign::proof::verify::Code::{
    AssertionInvalid, ChainBroken, EntryNotIncluded, EntrySignatureInvalid, IssuerKeyNotPinned,
    RequesterMismatch, SignInInvalid, SignInMismatch, StatementMismatch, TokenSignatureInvalid,
};

use super::Bite::{Believed, Elsewhere, Without};
use super::{Act, Attack, Bite, Place};

const COMPARED: &str = "the row is compared with what was proved";

fn attack(
    name: &'static str,
    wrote: &'static str,
    code: &'static str,
    bite: Bite,
    sql: fn(&Place<'_>) -> Vec<String>,
) -> Attack {
    Attack { name, wrote, act: Act::Sql(sql), code, bite }
}

/// An update of the approval's row.
fn approval(place: &Place<'_>, change: &str) -> Vec<String> {
    vec![format!("UPDATE approvals SET {change} WHERE id = '{}'", place.id)]
}

/// An update of its decision.
fn decision(place: &Place<'_>, change: &str) -> Vec<String> {
    vec![format!("UPDATE decisions SET {change} WHERE approval_id = '{}'", place.id)]
}

/// A column of its decision, from another approval.
fn from_donor(place: &Place<'_>, columns: &[&str]) -> Vec<String> {
    let of = |column: &&str| {
        format!("{column} = (SELECT {column} FROM decisions WHERE approval_id = '{}')", place.donor)
    };
    decision(place, &columns.iter().map(of).collect::<Vec<_>>().join(", "))
}

/// An update of its last entry in the ledger.
fn last_entry(place: &Place<'_>, change: &str) -> Vec<String> {
    vec![format!(
        "UPDATE ledger_entries SET {change} WHERE entry_index = \
         (SELECT MAX(entry_index) FROM ledger_entries WHERE approval_id = '{}')",
        place.id
    )]
}

pub fn attacks() -> Vec<Attack> {
    let mut all = of_the_approval();
    all.extend(of_the_decision());
    all.extend(of_the_ledger());
    all
}

fn of_the_approval() -> Vec<Attack> {
    vec![
        attack(
            "another status",
            "approvals.status",
            "impossible_row",
            Elsewhere("a row that contradicts itself is not read"),
            |place| approval(place, "status = 'executing'"),
        ),
        attack(
            "a deployment of other bytes",
            "approvals.deployment",
            "impossible_row",
            Elsewhere("a row that contradicts itself is not read"),
            |place| approval(place, "deployment = replace(deployment, 'Fixes', 'Breaks')"),
        ),
        attack(
            "another approval's deployment",
            "approvals.deployment",
            "impossible_row",
            Elsewhere("a row that contradicts itself is not read"),
            |place| {
                approval(
                    place,
                    &format!(
                        "deployment = (SELECT deployment FROM approvals WHERE id = '{}')",
                        place.donor
                    ),
                )
            },
        ),
        attack(
            "a later version",
            "approvals.version",
            "row_mismatch",
            Believed(COMPARED),
            |place| approval(place, "version = version + 1"),
        ),
        attack(
            "a rollout that has begun",
            "approvals.state",
            "row_mismatch",
            Believed(COMPARED),
            |place| {
                let state = r#"{"status":"executing","since":"2026-01-01T00:00:00Z","progress":{"revision_ready":false,"steps_done":0}}"#;
                approval(place, &format!("status = 'executing', state = '{state}'"))
            },
        ),
        attack(
            "another name of who decided",
            "approvals.decisions",
            "row_mismatch",
            Believed(COMPARED),
            |place| approval(place, "decisions = replace(decisions, 'Alice Adler', 'Bob Brandt')"),
        ),
        attack(
            "no decisions in the row",
            "approvals.decisions",
            "row_mismatch",
            Believed(COMPARED),
            |place| approval(place, "decisions = '[]'"),
        ),
        attack(
            "another token of the requester",
            "approvals.token",
            "requester_mismatch",
            Without(&[RequesterMismatch]),
            |place| {
                approval(
                    place,
                    &format!("token = (SELECT token FROM approvals WHERE id = '{}')", place.donor),
                )
            },
        ),
        attack(
            "no token",
            "approvals.token",
            "requester_mismatch",
            Elsewhere("there is nothing to verify"),
            |place| approval(place, "token = ''"),
        ),
        attack(
            "another key of the requester's issuer",
            "approvals.token_key",
            "requester_mismatch",
            Without(&[RequesterMismatch, IssuerKeyNotPinned, TokenSignatureInvalid]),
            |place| {
                approval(
                    place,
                    &format!(
                        "token_key = (SELECT issuer_key FROM decisions WHERE approval_id = '{}')",
                        place.donor
                    ),
                )
            },
        ),
    ]
}

fn of_the_decision() -> Vec<Attack> {
    vec![
        attack(
            "the decision deleted",
            "decisions",
            "statement_mismatch",
            Without(&[StatementMismatch]),
            |place| vec![format!("DELETE FROM decisions WHERE approval_id = '{}'", place.id)],
        ),
        attack(
            "the decisions of two approvals swapped",
            "decisions.*",
            "statement_mismatch",
            Without(&[StatementMismatch]),
            |place| {
                from_donor(
                    place,
                    &[
                        "statement",
                        "authenticator_data",
                        "client_data_json",
                        "signature",
                        "id_token",
                        "credential_id",
                    ],
                )
            },
        ),
        attack(
            "another approval's statement",
            "decisions.statement",
            "statement_mismatch",
            Without(&[StatementMismatch, SignInMismatch, AssertionInvalid]),
            |place| from_donor(place, &["statement"]),
        ),
        attack(
            "another approval's assertion",
            "decisions.signature, …",
            "statement_mismatch",
            Without(&[StatementMismatch, AssertionInvalid]),
            |place| from_donor(place, &["authenticator_data", "client_data_json", "signature"]),
        ),
        attack(
            "a signature of zeros",
            "decisions.signature",
            "statement_mismatch",
            Without(&[StatementMismatch, AssertionInvalid]),
            |place| decision(place, &format!("signature = {}", place.zeros(70))),
        ),
        attack(
            "other authenticator data",
            "decisions.authenticator_data",
            "statement_mismatch",
            Without(&[StatementMismatch, AssertionInvalid]),
            |place| decision(place, &format!("authenticator_data = {}", place.zeros(37))),
        ),
        attack(
            "another user handle",
            "decisions.user_handle",
            "statement_mismatch",
            Without(&[StatementMismatch, AssertionInvalid]),
            |place| decision(place, &format!("user_handle = {}", place.zeros(32))),
        ),
        attack(
            "a statement that says nothing",
            "decisions.statement",
            "malformed",
            Elsewhere("there is nothing to verify"),
            |place| decision(place, "statement = '{}'"),
        ),
        attack(
            "another person's sign-in",
            "decisions.id_token",
            "sign_in_mismatch",
            Without(&[SignInMismatch]),
            |place| {
                decision(
                    place,
                    "id_token = (SELECT id_token FROM sessions WHERE profile LIKE '%u-bob%' LIMIT 1)",
                )
            },
        ),
        attack(
            "another sign-in of the same person",
            "decisions.id_token",
            "sign_in_mismatch",
            Without(&[SignInMismatch]),
            |place| {
                decision(
                    place,
                    "id_token = (SELECT s.id_token FROM sessions s WHERE s.profile LIKE '%u-alice%' AND s.id_token <> decisions.id_token LIMIT 1)",
                )
            },
        ),
        attack(
            "another key of the directory",
            "decisions.issuer_key",
            "issuer_key_not_pinned",
            Without(&[IssuerKeyNotPinned, TokenSignatureInvalid, SignInInvalid]),
            |place| {
                decision(
                    place,
                    &format!(
                        "issuer_key = (SELECT token_key FROM approvals WHERE id = '{}')",
                        place.donor
                    ),
                )
            },
        ),
    ]
}

fn of_the_ledger() -> Vec<Attack> {
    vec![
        attack(
            "an entry with another salt",
            "ledger_entries.salt",
            "entry_not_included",
            Without(&[EntryNotIncluded, EntrySignatureInvalid]),
            |place| last_entry(place, &format!("salt = {}", place.zeros(32))),
        ),
        attack(
            "an entry without a signature",
            "ledger_entries.signature",
            "entry_signature_invalid",
            Without(&[EntrySignatureInvalid]),
            |place| last_entry(place, &format!("signature = {}", place.zeros(64))),
        ),
        attack(
            "another entry's signature",
            "ledger_entries.signature",
            "entry_signature_invalid",
            Without(&[EntrySignatureInvalid]),
            |place| {
                last_entry(
                    place,
                    &format!(
                        "signature = (SELECT signature FROM ledger_entries WHERE approval_id = '{}' AND kind = 'approval.decided')",
                        place.donor
                    ),
                )
            },
        ),
        attack(
            "a record that says something else",
            "ledger_entries.record",
            "entry_not_included",
            Without(&[EntryNotIncluded, EntrySignatureInvalid]),
            |place| last_entry(place, "record = replace(record, 'Alice Adler', 'Bob Brandt')"),
        ),
        attack(
            "another token in the first record",
            "ledger_entries.record",
            "entry_not_included",
            Without(&[EntryNotIncluded, EntrySignatureInvalid, ChainBroken, RequesterMismatch]),
            |place| {
                vec![format!(
                    "UPDATE ledger_entries SET record = replace(record, '\"token_key\":\"', '\"token_key\":\"A') WHERE approval_id = '{}' AND kind = 'approval.requested'",
                    place.id
                )]
            },
        ),
        attack(
            "the first entry deleted",
            "ledger_entries",
            "evidence_incomplete",
            Elsewhere("a row that the evidence needs is gone"),
            |place| {
                vec![format!(
                    "DELETE FROM ledger_entries WHERE approval_id = '{}' AND kind = 'approval.requested'",
                    place.id
                )]
            },
        ),
        attack(
            "the deciding entry taken for another approval's",
            "ledger_entries.approval_id",
            "not_approved",
            Elsewhere("what is left is of no approval"),
            |place| last_entry(place, "approval_id = NULL"),
        ),
    ]
}
