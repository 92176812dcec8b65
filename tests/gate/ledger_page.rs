//! The audit page, its downloads and single entries: who may read what, and that "verified" is verified.

use countersign::cli::demo::approver::Approver;
use countersign::domain::ledger::Record;
use countersign::domain::log_key::LogPublicKey;
use countersign::proof::checkpoint::TrustedLog;
use countersign::proof::evidence::Trust;
use countersign::proof::exported::ExportedEntry;
use serde_json::{Value, json};

use crate::evidence::tamper;
use crate::support::gate::{Engine, Gate, on_both_engines, send};

on_both_engines!(
    auditors_and_approvers_read_the_ledger_and_others_do_not,
    filters_show_what_was_asked_for,
    downloads_can_be_checked,
    a_changed_entry_is_shown_as_one,
    single_entries_are_for_those_who_may_read_them,
);

/// A person with a session and no key.
async fn visitor(gate: &Gate, name: &str) -> Approver {
    let mut visitor = Approver::new(&gate.servers.gate).unwrap();
    visitor.sign_in(name).await.unwrap();
    visitor
}

/// A gate with one approval that was rolled out and one that waits.
async fn story(engine: Engine) -> (Gate, Approver, String, String) {
    let gate = Gate::start(engine).await;
    let mut alice = gate.approver("alice").await;
    let first = gate.asked(json!({"subject": {"steps": [100]}})).await;
    alice.approve(&first).await.unwrap();
    gate.ended(&first).await;
    let second = gate.asked(json!({})).await;
    (gate, alice, first, second)
}

fn log_key(gate: &Gate) -> LogPublicKey {
    let trust = Trust::read(&std::fs::read(&gate.servers.files.trust).unwrap()).unwrap();
    TrustedLog::parse(&trust.log).unwrap().key
}

async fn auditors_and_approvers_read_the_ledger_and_others_do_not(engine: Engine) {
    let (gate, mut alice, first, second) = story(engine).await;
    let mut erin = visitor(&gate, "erin").await;
    for (name, person) in [("erin", &mut erin), ("alice", &mut alice)] {
        let page = person.browser.open("/audit", name).await.unwrap();
        assert!(page.contains("rollout.ended") && page.contains("gate.started"), "{page}");
        assert!(page.contains(&format!("/approvals/{first}/evidence")));
        assert!(
            page.matches("class=\"holds\">Verified").count() > 10
                && !page.contains("Does not hold")
        );
        let page = person.browser.open(&format!("/approvals/{first}"), name).await.unwrap();
        assert!(page.contains("href=\"/audit\""));
    }
    // Who reads everything signs nothing.
    let refused = erin.statement(&second, json!({"decision": "approve"})).await.unwrap_err();
    assert!(refused.contains("may not sign"), "{refused}");
    let evidence =
        erin.browser.open(&format!("/approvals/{first}/evidence"), "erin").await.unwrap();
    assert!(evidence.contains("countersign/evidence/v1"));

    let mut dan = visitor(&gate, "dan").await;
    for path in ["/audit", "/audit/entries.csv", "/audit/entries.jsonl"] {
        let refused = dan.browser.open(path, "dan").await.unwrap_err();
        assert!(refused.contains("404"), "{path}: {refused}");
    }
    assert!(!dan.browser.open("/", "dan").await.unwrap().contains("href=\"/audit\""));
    let answer = gate.http.get(gate.url("/audit")).send().await.unwrap();
    assert!(answer.status().is_redirection());
    let answer = send(gate.http.get(gate.url("/audit/entries.jsonl"))).await;
    answer.assert_problem(401, "signed_out");
    gate.finish().await;
}

async fn filters_show_what_was_asked_for(engine: Engine) {
    let (gate, _, first, second) = story(engine).await;
    let mut erin = visitor(&gate, "erin").await;
    let today = gate.servers.clock.now().strftime("%Y-%m-%d").to_string();
    let cases: [(String, &[&str], &[&str]); 9] = [
        ("kind=rollout.ended".into(), &["rollout.ended", &first], &[&second]),
        (format!("approval={second}"), &[&second], &[&first]),
        ("who=u-alice&kind=approval.decided".into(), &["Alice Adler signed yes"], &[&second]),
        ("who=u-bob".into(), &["No entry is like this."], &["<ol"]),
        ("environment=production&kind=approval.requested".into(), &[&first, &second], &[]),
        ("environment=staging".into(), &["No entry is like this."], &[]),
        (format!("from={today}&to={today}&kind=gate.started"), &["gate.started"], &[]),
        ("to=2020-01-01".into(), &["No entry is like this."], &[]),
        ("before=1".into(), &["gate.started", "Newest"], &["rollout.ended</code>"]),
    ];
    for (query, shown, hidden) in cases {
        let page = erin.browser.open(&format!("/audit?{query}"), "erin").await.unwrap();
        let listed = page.split("</form>").nth(2).unwrap();
        for part in shown {
            assert!(listed.contains(part), "{query} shows no {part}: {listed}");
        }
        for part in hidden {
            assert!(!listed.contains(part), "{query} shows {part}");
        }
    }
    for query in ["from=yesterday", "to=2026-02-30", "before=-1", "colour=blue", "before=x"] {
        let refused = erin.browser.open(&format!("/audit?{query}"), "erin").await.unwrap_err();
        assert!(refused.contains("400"), "{query}: {refused}");
    }
    gate.finish().await;
}

async fn downloads_can_be_checked(engine: Engine) {
    let (gate, _, first, _) = story(engine).await;
    let key = log_key(&gate);
    let mut erin = visitor(&gate, "erin").await;
    let lines = erin.browser.open("/audit/entries.jsonl", "erin").await.unwrap();
    let entries: Vec<ExportedEntry> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(entries.last().unwrap().index, 0);
    assert_eq!(entries.len() as u64, entries[0].index + 1, "newest first, none missing");
    assert!(entries.iter().all(|entry| entry.check(&key).is_ok()));
    let csv = erin.browser.open("/audit/entries.csv", "erin").await.unwrap();
    assert!(csv.starts_with("index,at,kind,who,approval,service,environment,sentence,leaf\r\n"));
    assert_eq!(csv.matches("\r\n").count(), entries.len() + 1);
    let filtered = format!("/audit/entries.csv?approval={first}");
    let csv = erin.browser.open(&filtered, "erin").await.unwrap();
    let own = entries.iter().filter(|entry| {
        let record = Record::parse(&entry.record).unwrap();
        record.approval.is_some_and(|approval| approval.id.as_str() == first)
    });
    assert_eq!(csv.lines().count(), own.count() + 1);
    gate.finish().await;
}

async fn a_changed_entry_is_shown_as_one(engine: Engine) {
    let (gate, _, first, _) = story(engine).await;
    let mut erin = visitor(&gate, "erin").await;
    let own = format!("approval_id = '{first}'");
    for (change, flaw) in [
        (
            format!("UPDATE ledger_entries SET record = REPLACE(record, '\"succeeded\"', '\"failed\"') WHERE {own} AND kind = 'rollout.ended'"),
            "the record is not the one that was logged",
        ),
        (
            format!("UPDATE ledger_entries SET signature = (SELECT signature FROM ledger_entries WHERE entry_index = 0) WHERE {own} AND kind = 'rollout.begun'"),
            "the log key did not sign it in this place",
        ),
        (
            "UPDATE ledger_nodes SET hash = (SELECT hash FROM ledger_nodes WHERE level = 0 AND position = 0) WHERE level = 0 AND position = 1".to_owned(),
            "it is not in the tree whose head is shown",
        ),
    ] {
        tamper(&gate, &change).await;
        let page = erin.browser.open("/audit", "erin").await.unwrap();
        assert!(page.contains(&format!("Does not hold: {flaw}.")), "{change}: {page}");
        assert!(page.contains("act on nothing before it is explained"));
    }
    gate.servers.stop().await;
}

async fn single_entries_are_for_those_who_may_read_them(engine: Engine) {
    let (gate, _, first, _) = story(engine).await;
    let key = log_key(&gate);
    let mut erin = visitor(&gate, "erin").await;
    let entry = erin.browser.open("/log/entries/0", "erin").await.unwrap();
    let entry: ExportedEntry = serde_json::from_str(&entry).unwrap();
    assert!(entry.check(&key).is_ok() && entry.record.contains("gate.started"));

    // A requester reads what is about its own approvals, by token, and nothing else.
    let csv =
        erin.browser.open(&format!("/audit/entries.csv?approval={first}"), "erin").await.unwrap();
    let own: u64 = csv.lines().last().unwrap().split(',').next().unwrap().parse().unwrap();
    let path = format!("/log/entries/{own}");
    let answer = gate.get(&path).await;
    let entry: ExportedEntry = serde_json::from_value(answer.body).unwrap();
    assert!(entry.check(&key).is_ok() && entry.record.contains("approval.requested"));
    gate.get("/log/entries/0").await.assert_problem(404, "not_found");
    let stranger = gate.token(json!({"repository_id": "6666"})).await;
    gate.get_as(&path, &stranger).await.assert_problem(404, "not_found");
    send(gate.http.get(gate.url(&path))).await.assert_problem(401, "missing_token");
    let mut dan = visitor(&gate, "dan").await;
    assert!(dan.browser.open(&path, "dan").await.unwrap_err().contains("404"));
    for path in ["100000", "-1", "00", "x", "18446744073709551615", "1.0"] {
        let answer = gate.get(&format!("/log/entries/{path}")).await;
        answer.assert_problem(404, "not_found");
    }
    let absent: Value = gate.get("/log/entries/100000").await.body;
    let hidden: Value = gate.get("/log/entries/0").await.body;
    assert_eq!(absent, hidden, "absent and forbidden look alike");
    gate.finish().await;
}
