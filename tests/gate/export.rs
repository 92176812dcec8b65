//! The audit export: what a gate writes out checks, whatever is changed in it does not.

mod damage;
mod frozen;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Cursor, Read};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use countersign::cli::audit::export;
use countersign::config::Config;
use countersign::domain::canonical::to_canonical_json;
use countersign::domain::ledger::Record;
use countersign::domain::period::Period;
use countersign::proof::evidence::Trust;
use countersign::proof::export::check::{Folder, Report, check, check_contents};
use countersign::proof::export::{Flaw, Range, evidence_file, readme};
use countersign::proof::exported::ExportedEntry;
use countersign::storage::Storage;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::gate::{Engine, Gate, on_both_engines};

on_both_engines!(
    a_running_gate_is_exported_and_checked_by_hand,
    a_part_of_the_log_is_proved_to_be_whole,
);

/// The files of an export in memory.
pub type Files = BTreeMap<String, Arc<[u8]>>;

/// The texts of a folder's files.
pub fn read(folder: &Path) -> Files {
    let mut files = Files::new();
    for (folder, prefix) in [(folder.to_owned(), ""), (folder.join("evidence"), "evidence/")] {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_file() {
                let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
                files.insert(name, std::fs::read(entry.path()).unwrap().into());
            }
        }
    }
    files
}

fn judge(
    files: &Files,
    trust: &Trust,
    how: fn(&Folder<'_>, &Trust) -> Result<Report, Flaw>,
) -> Result<Report, Flaw> {
    let names: BTreeSet<String> = files.keys().cloned().collect();
    let open = |name: &str| -> std::io::Result<Box<dyn Read>> {
        let bytes = files.get(name).ok_or(std::io::ErrorKind::NotFound)?;
        Ok(Box::new(Cursor::new(bytes.clone())))
    };
    how(&Folder { names, open: &open }, trust)
}

/// The verdict on a whole export.
pub fn verdict(files: &Files, trust: &Trust) -> Result<Report, Flaw> {
    judge(files, trust, check)
}

/// The verdict on everything but the manifest.
pub fn verdict_on_contents(files: &Files, trust: &Trust) -> Result<Report, Flaw> {
    judge(files, trust, check_contents)
}

pub fn text(files: &Files, name: &str) -> String {
    String::from_utf8(files[name].to_vec()).unwrap()
}

fn rows(files: &Files, table: &str) -> Vec<Value> {
    let text = text(files, &format!("{table}.jsonl"));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A gate with a rollout, a rejection and a request that waits.
async fn story(engine: Engine) -> (Gate, [String; 3]) {
    let gate = Gate::start(engine).await;
    let mut alice = gate.approver("alice").await;
    let rolled_out =
        gate.asked(json!({"subject": {"steps": [50, 100]}, "reason": "=HYPERLINK(1)"})).await;
    alice.approve(&rolled_out).await.unwrap();
    gate.ended(&rolled_out).await;
    let rejected = gate.asked(json!({})).await;
    let no = json!({"decision": "reject", "reason": "Not on a \"Friday\", ever\nand never"});
    alice.decide(&rejected, no).await.unwrap();
    let waits = gate.asked(json!({})).await;
    (gate, [rolled_out, rejected, waits])
}

pub fn trust(gate: &Gate) -> Trust {
    Trust::read(&std::fs::read(&gate.servers.files.trust).unwrap()).unwrap()
}

pub async fn beside(gate: &Gate) -> (Config, Storage) {
    let config = Config::load(&gate.servers.files.config, &BTreeMap::new()).unwrap();
    let database = config.database.expose_secret().to_owned();
    let storage = Storage::open_beside(&database, config.log_key.clone()).await.unwrap();
    (config, storage)
}

/// Exports a period of a running gate.
pub async fn exported(gate: &Gate, period: Period) -> Files {
    let (config, storage) = beside(gate).await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("evidence")).unwrap();
    let now = gate.servers.clock.now();
    export(&storage, &config.trust(), period, folder.path(), now).await.map(|_| ()).unwrap();
    storage.close().await;
    read(folder.path())
}

fn hour() -> jiff::SignedDuration {
    jiff::SignedDuration::from_hours(1)
}

fn always() -> Period {
    Period::parse("2020-01-01", "2100-01-01").unwrap()
}

fn run(folder: &TempDir, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
    command.current_dir(folder.path()).env_clear().arg("audit");
    command.args(arguments).output().unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

async fn a_running_gate_is_exported_and_checked_by_hand(engine: Engine) {
    let (gate, [rolled_out, rejected, waits]) = story(engine).await;
    let folder = tempfile::tempdir().unwrap();
    let config = gate.servers.files.config.to_str().unwrap();
    let trust_file = gate.servers.files.trust.to_str().unwrap();
    let period = ["--from", "2020-01-01", "--to", "2100-01-01"];
    let out = |out: &'static str| {
        let export = ["export", "--config", config, "--out", out];
        [&export[..], &period].concat()
    };
    let output = run(&folder, &out("export"));
    assert_eq!(code(&output), 0, "{}", told(&output));
    let check = ["verify", "export", "--trust", trust_file];
    let output = run(&folder, &check);
    assert_eq!(code(&output), 0, "{}", told(&output));
    assert!(told(&output).starts_with("Everything holds.\n"), "{}", told(&output));
    let output = run(&folder, &[&check[..], &["--json"]].concat());
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&answer["verdict"], &answer["approvals"]), (&json!("holds"), &json!(3)));

    let files = read(&folder.path().join("export"));
    let approvals = rows(&files, "approvals");
    let ids: BTreeSet<&str> =
        approvals.iter().map(|row| row["approval"].as_str().unwrap()).collect();
    assert_eq!(ids, [&*rolled_out, &*rejected, &*waits].into());
    let row = approvals.iter().find(|row| row["approval"] == *rolled_out).unwrap();
    assert_eq!((&row["status"], &row["approvers"]), (&json!("succeeded"), &json!(["u-alice"])));
    assert!(
        row["actor_id"].is_string() && row["changes"].as_array().is_some_and(|all| !all.is_empty())
    );
    let decisions = rows(&files, "decisions");
    assert_eq!(decisions.len(), 2);
    assert!(
        decisions.iter().all(|row| row["approver"] == "u-alice" && row["actor_id"].is_string())
    );
    let calls = rows(&files, "rollouts");
    let calls = calls.iter().filter(|row| row["kind"] == "rollout.call_announced").count();
    assert_eq!(calls, gate.changes_of_cloud_run().await);
    assert_eq!(rows(&files, "keys")[0]["kind"], "credential.registered");
    assert_eq!(rows(&files, "policies")[0]["policy"]["environment"], "production");
    assert!(text(&files, "approvals.csv").contains(",'=HYPERLINK(1),"));
    assert!(text(&files, "decisions.csv").contains("\"Not on a \"\"Friday\"\", ever\nand never\""));
    assert!(text(&files, "README.txt").contains("countersign audit verify"));

    // One changed byte is named by code, file and line.
    let path = folder.path().join("export/events.csv");
    let changed = text(&files, "events.csv").replacen("gate.started", "gate.starTed", 1);
    std::fs::write(&path, changed).unwrap();
    let output = run(&folder, &[&check[..], &["--json"]].concat());
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (code(&output), &answer["code"], &answer["file"]),
        (1, &json!("file_changed"), &json!("events.csv"))
    );

    for (arguments, why) in [
        (out("export"), "not empty"),
        (
            vec![
                "export",
                "--config",
                config,
                "--out",
                "x",
                "--from",
                "today",
                "--to",
                "2100-01-01",
            ],
            "neither a day",
        ),
        (
            vec![
                "export",
                "--config",
                config,
                "--out",
                "x",
                "--from",
                "2100-01-01",
                "--to",
                "2020-01-01",
            ],
            "before it begins",
        ),
        (vec!["verify", "nowhere", "--trust", trust_file], "cannot be read"),
        (vec!["verify", "export", "--trust", config], "cannot be used|is not JSON"),
        (vec!["verify", "export"], "--trust"),
        (vec!["verify"], "name a folder"),
    ] {
        let output = run(&folder, &arguments);
        assert_eq!(code(&output), 2, "{arguments:?}: {}", told(&output));
        assert!(why.split('|').any(|why| told(&output).contains(why)), "{}", told(&output));
    }
    let output = run(&folder, &["verify", "--config", config, "--json"]);
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((code(&output), &answer["verdict"]), (0, &json!("holds")), "beside a running gate");
    gate.finish().await;
}

async fn a_part_of_the_log_is_proved_to_be_whole(engine: Engine) {
    let (gate, [rolled_out, ..]) = story(engine).await;
    let trust = trust(&gate);
    let all = exported(&gate, always()).await;
    let report = verdict(&all, &trust).unwrap();
    assert_eq!((report.first, report.end), (0, report.size));
    let entries: Vec<ExportedEntry> = text(&all, "entries.jsonl")
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let at = |index: usize| Record::parse(&entries[index].record).unwrap().at;
    // Periods that begin and end anywhere, an empty one among them.
    let last = entries.len() - 1;
    for (first, end) in [(3, 9), (2, 3), (7, last), (last, last), (0, 5)] {
        let until = if first == end {
            at(first) + jiff::SignedDuration::from_nanos(1_000)
        } else {
            at(end)
        };
        let period = Period { from: at(first), until };
        let part = exported(&gate, period).await;
        let report = verdict(&part, &trust).unwrap_or_else(|flaw| panic!("{flaw}"));
        let inside = |index: &u64| period.contains(at(usize::try_from(*index).unwrap()));
        assert!((0..report.first).all(|index| !inside(&index)), "nothing before is left out");
        assert!((report.end..report.size.min(entries.len() as u64)).all(|index| !inside(&index)));
        assert!(inside(&report.first) && inside(&(report.end - 1)));
        let ids: BTreeSet<String> = (report.first..report.end)
            .filter_map(|index| {
                let record =
                    Record::parse(&entries[usize::try_from(index).unwrap()].record).unwrap();
                Some(record.approval?.id.to_string())
            })
            .collect();
        assert_eq!(report.approvals, ids.len() as u64);
        assert!(ids.iter().all(|id| part.contains_key(&evidence_file(id))));
    }
    // An honest export of a shorter period, said to be of a longer one.
    let mut cut = exported(&gate, Period { from: at(3), until: at(last) }).await;
    let range = text(&cut, "range.json");
    let mut range: Range = serde_json::from_str(&range).unwrap();
    for (from, until) in [(at(3), at(last) + hour()), (at(3) - hour(), at(last))] {
        (range.from, range.until) = (from, until);
        let texts = [
            ("range.json", to_canonical_json(&range).unwrap()),
            ("README.txt", readme(&trust.origin, &range)),
        ];
        cut.extend(texts.map(|(name, text)| (name.to_owned(), text.into_bytes().into())));
        let flaw = verdict_on_contents(&cut, &trust).unwrap_err();
        assert_eq!(flaw.code.as_str(), "period_mismatch", "{flaw}");
    }
    let before = Period::parse("2020-01-01", "2020-12-31").unwrap();
    let report = verdict(&exported(&gate, before).await, &trust).unwrap();
    assert_eq!((report.first, report.end, report.approvals), (0, 0, 0));
    let after = Period::parse("2090-01-01", "2091-12-31").unwrap();
    let report = verdict(&exported(&gate, after).await, &trust).unwrap();
    assert_eq!((report.first, report.end, report.approvals), (report.size, report.size, 0));

    // A gate whose database was changed exports nothing.
    let (config, storage) = beside(&gate).await;
    let change = format!(
        "UPDATE decisions SET signature = credential_id WHERE approval_id = '{rolled_out}'"
    );
    crate::evidence::tamper(&gate, &change).await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("evidence")).unwrap();
    let refused =
        export(&storage, &config.trust(), always(), folder.path(), gate.servers.clock.now()).await;
    let refused = refused.map(|_| ()).unwrap_err();
    assert!(refused.contains(&rolled_out) && refused.contains("does not hold"), "{refused}");
    assert!(!folder.path().join("manifest.json").exists());
    storage.close().await;
    gate.servers.stop().await;
}
