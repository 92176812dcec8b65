//! `countersign exec`: a command runs after people signed exactly this command, once, and not otherwise.

mod outages;
mod refusals;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use countersign::cli::exec::ending::{EXIT_CODES, Reason};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::gate::{Engine, Gate, on_both_engines, send};
use crate::support::job::{Job, Ran};

on_both_engines!(
    an_approved_command_runs_once_as_it_was_signed,
    of_two_jobs_with_one_approval_one_runs_the_command,
);

/// The configuration with commands allowed in production.
fn with_commands(config: String) -> String {
    let tools = "actions = [\"restart-database\"";
    assert!(config.contains(tools));
    let declared = "\n[[action]]\ntool = \"run-command\"\ntemplate = \"command\"\n";
    config.replace(tools, &format!("{tools}, \"run-command\"")) + declared
}

async fn gate(engine: Engine) -> Gate {
    Gate::start_with(engine, with_commands).await
}

/// A folder with a script that leaves a line in the file `ran` each time that it runs.
struct Work(TempDir);

impl Work {
    fn new(script: &str) -> Self {
        let work = Self(tempfile::tempdir().unwrap());
        work.write("deploy", &format!("#!/bin/sh\necho \"$0 $*\" >>ran\n{script}\n"));
        std::fs::set_permissions(work.path("deploy"), PermissionsExt::from_mode(0o755)).unwrap();
        work.write("plan", "first");
        work
    }

    fn folder(&self) -> &Path {
        self.0.path()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    /// The script with these words, which depends on the plan.
    fn job(&self, gate: &Gate, options: &[&str], words: &[&str]) -> Job {
        let options = [&["--file", "plan"][..], options].concat();
        Job::executing(gate, self.folder(), &options, &[&["./deploy"][..], words].concat())
    }

    /// How often it ran.
    fn runs(&self) -> usize {
        std::fs::read_to_string(self.path("ran")).unwrap_or_default().lines().count()
    }

    fn report(&self) -> Value {
        serde_json::from_slice(&std::fs::read(self.path("report.json")).unwrap()).unwrap()
    }

    /// Asserts that a job ended without running anything, and why.
    fn assert_not_run(&self, ran: &Ran, outcome: &str, code: Option<&str>) {
        let report = self.report();
        let (exit_code, word) = (&report["exit_code"], &report["outcome"]);
        assert_eq!((ran.code, exit_code, word), (125, &json!(125), &json!(outcome)), "{ran:#?}");
        assert_eq!(report["error"]["code"].as_str(), code, "{report:#}");
        let said = format!("the command was not run ({outcome})");
        assert!(ran.log.contains(&said) && ran.output.is_empty(), "{ran:#?}");
    }
}

async fn an_approved_command_runs_once_as_it_was_signed(engine: Engine) {
    let gate = gate(engine).await;
    let mut alice = gate.approver("alice").await;
    let work = Work::new(
        "cat; echo \"$COUNTERSIGN_APPROVAL $COUNTERSIGN_EVIDENCE $COUNTERSIGN_GRANT\"; echo oops >&2; exit 7",
    );
    work.write("input", "from standard input\n");
    let words = ["--to", "production now", "", "<b>"];
    let reason = ["--reason", "Adds the column"];
    let job = work.job(&gate, &reason, &words);
    let mut job = job.reads(std::fs::File::open(work.path("input")).unwrap()).start();
    let id = job.asked().await;
    job.until_says("Waiting").await;
    assert_eq!(work.runs(), 0, "nobody has signed");

    let page = alice.browser.open(&format!("/approvals/{id}"), "alice").await.unwrap();
    let shown = |text: &str| page.split_once(text).unwrap_or_else(|| panic!("{text}: {page}")).1;
    assert!(page.contains("Run a command"), "{page}");
    let (fields, _) = shown("id=\"fields\"").split_once("</dl>").unwrap();
    let labels: Vec<&str> =
        fields.split("<dt>").skip(1).map(|rest| rest.split('<').next().unwrap()).collect();
    assert_eq!(labels, ["Command", "Directory", "Program", "Files", "On this machine alone"]);
    let (command, _) = fields.split_once("</ol>").unwrap();
    let items: Vec<&str> = command.split("<li class=\"value\">").skip(1).collect();
    let items: Vec<&str> = items.iter().map(|item| item.split("</li>").next().unwrap()).collect();
    let quoted = |text: &str| format!("&#34;{text}&#34;");
    let expected = ["./deploy", "--to", "production now", "", "&#60;b&#62;"].map(quoted);
    assert_eq!(items, expected);
    assert!(!page.contains("Every other argument"), "{page}");

    alice.approve(&id).await.unwrap();
    let ran = job.ended().await;
    assert_eq!(ran.code, 7, "{ran:#?}");
    assert!(ran.log.ends_with("oops\n"), "{ran:#?}");
    let (read, told) = ran.output.split_once('\n').unwrap();
    assert_eq!(read, "from standard input");
    let told: Vec<&str> = told.split_whitespace().collect();
    let [approval, evidence, grant] = told[..] else { panic!("{told:?}") };
    assert_eq!(approval, id);
    let ran_as = std::fs::read_to_string(work.path("ran")).unwrap();
    let name = work.path("deploy");
    assert_eq!(ran_as, format!("{} --to production now  <b>\n", name.display()));
    let report = work.report();
    assert_eq!((&report["exit_code"], &report["outcome"]), (&Value::Null, &json!("done")));
    assert!(report["approval"].get("grant").is_none(), "{report:#}");

    let trust = gate.servers.files.trust.to_str().unwrap();
    let verified = Job::bare(&["verify", "--trust", trust, evidence]).run().await;
    assert!(verified.code == 0 && verified.output.contains("production now"), "{verified:?}");
    std::fs::remove_file(evidence).unwrap();
    let arguments = gate.approval(&id).await["subject"]["arguments"].clone();
    let body = json!({"grant": grant, "audience": "urn:countersign:exec", "arguments": arguments});
    let again = send(gate.http.post(gate.url("/v1/grants/consume")).json(&body)).await;
    again.assert_problem(409, "grant_used");

    // The same job again goes on with its request, which was used up.
    let again = work.job(&gate, &reason, &words).run().await;
    work.assert_not_run(&again, "used", Some("used"));
    assert_eq!((work.report()["approval"]["id"].as_str(), work.runs()), (Some(&*id), 1));
    gate.finish().await;
}

async fn of_two_jobs_with_one_approval_one_runs_the_command(engine: Engine) {
    let gate = gate(engine).await;
    let mut alice = gate.approver("alice").await;
    let work = Work::new("exit 0");
    let other = |name: &str| work.path(name).to_str().unwrap().to_owned();
    let jobs = ["one.json", "two.json", "three.json"].map(other);
    let mut started = Vec::new();
    for report in &jobs {
        started.push(work.job(&gate, &["--report", report], &[]).start());
    }
    let mut ids = Vec::new();
    for job in &mut started {
        ids.push(job.asked().await);
        job.until_says("Waiting").await;
    }
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    alice.approve(&ids[0]).await.unwrap();
    let mut codes = Vec::new();
    for job in started {
        codes.push(job.ended().await.code);
    }
    codes.sort_unstable();
    assert_eq!((codes, work.runs()), (vec![0, 125, 125], 1));
    gate.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn signals_end_a_command_as_if_it_stood_alone() {
    let gate = gate(Engine::Sqlite).await;
    let mut alice = gate.approver("alice").await;
    // The file of a finished wait tells the test that the trap is set.
    let work =
        Work::new("trap 'echo stopped; exit 9' TERM; echo ready >&2; while :; do sleep 0.1; done");
    // While people read, the request stays, and the same command goes on with it.
    let mut waiting = work.job(&gate, &[], &[]).start();
    let id = waiting.asked().await;
    waiting.until_says("Waiting").await;
    waiting.signal("TERM").await;
    work.assert_not_run(&waiting.ended().await, "still_open", Some("interrupted"));
    assert_eq!(gate.approval(&id).await["status"], "pending");

    let mut running = work.job(&gate, &[], &[]).start();
    assert_eq!(running.asked().await, id);
    alice.approve(&id).await.unwrap();
    running.until_says("ready\n").await;
    running.signal("TERM").await;
    let ran = running.ended().await;
    assert_eq!((ran.code, ran.output.as_str()), (9, "stopped\n"), "{ran:?}");

    // Taken back, if the job says so.
    let options = ["--idempotency-key", "other", "--cancel-on-interrupt"];
    let mut waiting = work.job(&gate, &options, &[]).start();
    let id = waiting.asked().await;
    waiting.until_says("Waiting").await;
    waiting.signal("INT").await;
    work.assert_not_run(&waiting.ended().await, "cancelled", None);
    assert_eq!(gate.approval(&id).await["status"], "cancelled");
    assert_eq!(work.runs(), 1);
    gate.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_readmes_command_runs_as_it_stands_there() {
    let gate = gate(Engine::Sqlite).await;
    let mut alice = gate.approver("alice").await;
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
    let blocks = readme.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let block = blocks.into_iter().find(|block| block.contains("countersign exec ")).unwrap();
    // The example of a workflow has the same command.
    let (_, command) = block.split_once("countersign exec ").unwrap();
    let example = root.join("actions/examples/run-a-command.yml");
    let example = std::fs::read_to_string(example).unwrap();
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words(&example).contains(&words(command)), "{example}");
    let program = env!("CARGO_BIN_EXE_countersign");
    let here = block
        .replace("https://gate.example.com", &gate.servers.gate)
        .replace("=trust.json", &format!("={}", gate.servers.files.trust.display()))
        .replace("countersign exec ", &format!("exec {program} exec "));
    let work = Work::new("");
    std::fs::rename(work.path("deploy"), work.path("psql")).unwrap();
    std::fs::create_dir(work.path("migrations")).unwrap();
    work.write("migrations/0042.sql", "ALTER TABLE orders ADD COLUMN phone TEXT;");
    let path = std::env::var_os("PATH").unwrap();
    let path = format!("{}:{}", work.folder().display(), path.to_str().unwrap());
    let shell = Job::of(&gate, &[]).shell(&here, work.folder()).set("PATH", &path);
    let mut job = shell.start();
    let id = job.asked().await;
    alice.approve(&id).await.unwrap();
    let ran = job.ended().await;
    assert_eq!((ran.code, work.runs()), (0, 1), "{ran:#?}");
    let arguments = gate.approval(&id).await["subject"]["arguments"].clone();
    assert_eq!(arguments["command"], json!(["psql", "--file", "migrations/0042.sql"]));
    assert_eq!(arguments["files"][0]["path"], "migrations/0042.sql");
    gate.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_gets_the_terminal_that_the_wait_had() {
    let gate = gate(Engine::Sqlite).await;
    let mut alice = gate.approver("alice").await;
    let folder = tempfile::tempdir().unwrap();
    let program = env!("CARGO_BIN_EXE_countersign");
    let trust = gate.servers.files.trust.display();
    let asked = "test -t 0 && test -t 1 && test -t 2 && echo on a terminal";
    let words = format!("exec --environment production --trust {trust} -- sh -c '{asked}'");
    let script = format!("exec script -qefc \"exec {program} {words}\" /dev/null");
    let job = Job::of(&gate, &[]).shell(&script, folder.path()).start();
    let id = loop {
        let listed = gate.get("/v1/approvals").await.body;
        if let Some(id) = listed["items"][0]["id"].as_str() {
            break id.to_owned();
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    };
    alice.approve(&id).await.unwrap();
    let ran = job.ended().await;
    assert_eq!(ran.code, 0, "{ran:?}");
    // The line that moved is taken away before the command speaks.
    let (before, _) = ran.output.split_once("on a terminal").unwrap();
    assert!(before.contains("\r\u{1b}[2K"), "{ran:?}");
    assert!(before.ends_with('\n') || before.ends_with("\u{1b}[2K"), "{ran:?}");
    gate.finish().await;
}

/// Pipelines ask for actions by the API as agents do, by the same rules.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_asks_for_an_action_and_gets_its_grant() {
    let gate = gate(Engine::Sqlite).await;
    let mut alice = gate.approver("alice").await;
    let subject = json!({
        "kind": "action", "tool": "restart-database", "arguments": {"database": "orders-db"},
    });
    let request = json!({"environment": "production", "reason": "It hangs", "subject": subject});
    let path = gate.servers.files.write("action.json", request.to_string()).unwrap();
    let words = ["request", "--json", "--file", path.to_str().unwrap(), "--wait"];
    let mut job = Job::of(&gate, &words).start();
    let id = job.asked().await;
    alice.approve(&id).await.unwrap();
    let json = job.ended().await.assert(0, "done");
    assert_eq!(json["approval"]["status"], "approved");
    let grant = &json["approval"]["grant"];
    let body = json!({
        "grant": grant["token"], "audience": grant["audience"], "arguments": {"database": "orders-db"},
    });
    let used = send(gate.http.post(gate.url("/v1/grants/consume")).json(&body)).await;
    assert_eq!(used.status, StatusCode::OK, "{used:?}");
    Job::of(&gate, &["wait", &id, "--json"]).run().await.assert(0, "done");
    gate.finish().await;
}

#[tokio::test]
async fn help_and_usage_have_the_codes_of_exec() {
    let help = Job::bare(&["exec", "--help"]).run().await;
    assert_eq!(help.code, 0, "{help:?}");
    let words = Reason::OWN.map(|reason| reason.row().0);
    for part in EXIT_CODES.map(|(code, _)| code).into_iter().chain(words) {
        assert!(help.output.contains(part), "{part} in {}", help.output);
    }
    assert_eq!(words, ["used", "not_proved", "changed", "not_started", "not_found"]);
    for words in [&["exec"][..], &["exec", "--environment", "production", "--", "true"]] {
        let refused = Job::bare(words).run().await;
        assert_eq!(refused.code, 125, "{refused:?}");
    }
}
