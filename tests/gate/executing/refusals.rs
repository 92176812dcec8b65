//! Commands that are not run.

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::{Work, gate, with_commands};
use crate::freezing::{freeze, lift, production};
use crate::support::database::tamper;
use crate::support::gate::{Engine, Gate};
use crate::support::job::Job;

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_nobody_approved_does_not_run() {
    let gate = gate(Engine::Sqlite).await;
    let mut alice = gate.approver("alice").await;
    let work = Work::new("");
    let start = |key: &'static str| work.job(&gate, &["--idempotency-key", key], &[]).start();

    let mut job = start("rejected");
    let id = job.asked().await;
    alice.decide(&id, json!({"decision": "reject", "reason": "Not today"})).await.unwrap();
    let ran = job.ended().await;
    work.assert_not_run(&ran, "rejected", None);
    assert!(ran.log.contains("Not today"), "{ran:#?}");

    let mut job = start("cancelled");
    let id = job.asked().await;
    gate.post(&format!("/v1/approvals/{id}/cancel"), json!({})).await;
    work.assert_not_run(&job.ended().await, "cancelled", None);

    let open = work.job(&gate, &["--timeout", "1s"], &[]).run().await;
    work.assert_not_run(&open, "still_open", Some("timeout"));
    assert!(open.log.contains("the same command with --idempotency-key github-"), "{open:?}");

    let mut job = start("expired");
    job.asked().await;
    job.until_says("Waiting").await;
    gate.servers.clock.shift(SignedDuration::from_hours(9));
    work.assert_not_run(&job.ended().await, "expired", None);
    assert_eq!(work.runs(), 0);
    gate.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_configuration_does_not_allow_is_refused() {
    let work = Work::new("");
    let plain = Gate::start(Engine::Sqlite).await;
    let ran = work.job(&plain, &[], &[]).run().await;
    work.assert_not_run(&ran, "refused", Some("tool_not_declared"));
    plain.finish().await;

    let gate = gate(Engine::Sqlite).await;
    for (options, words, code) in [
        (&["--environment", "staging"][..], &[][..], "unknown_environment"),
        (&["--tool", "drop-database"], &[], "tool_not_declared"),
        (&["--tool", "restart-database"], &[], "invalid_arguments"),
        (&["--expires-in", "soon"], &[], "invalid_expiry"),
        (&["--notify", "nobody"], &[], "unknown_receiver"),
        (&[], &["--password", "hunter2-hunter2"], "plain_secret"),
        (&[], &["--api-key=hunter2-hunter2"], "plain_secret"),
        (&[], &[&"x".repeat(20_000)], "invalid_arguments"),
    ] {
        let ran = work.job(&gate, options, words).run().await;
        work.assert_not_run(&ran, "refused", Some(code));
    }
    let of_other_job = gate.token(json!({"repository_id": "1002"})).await;
    let job = work.job(&gate, &[], &[]).set("COUNTERSIGN_TOKEN", &of_other_job);
    work.assert_not_run(&job.run().await, "refused", Some("requester_not_allowed"));
    let job = work.job(&gate, &["--token-env", "NOTHING"], &[]);
    work.assert_not_run(&job.run().await, "no_token", Some("no_token"));
    let job = work.job(&gate, &["--file", "absent"], &[]);
    work.assert_not_run(&job.run().await, "usage", Some("usage"));
    let listed = gate.get("/v1/approvals").await.body;
    assert_eq!((listed["items"].as_array().unwrap().len(), work.runs()), (0, 0));
    gate.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_cannot_run_is_not_asked_for() {
    let gate = gate(Engine::Sqlite).await;
    let work = Work::new("");
    let run = async |program: &str| {
        let ran = Job::executing(&gate, work.folder(), &[], &[program]).run().await;
        (ran.code, work.report()["outcome"].as_str().unwrap().to_owned())
    };
    for absent in ["no-such-program", "./no-such-program", "/", ""] {
        assert_eq!(run(absent).await, (127, "not_found".to_owned()), "{absent}");
    }
    assert_eq!(run("./plan").await, (126, "not_started".to_owned()));
    let listed = gate.get("/v1/approvals").await.body;
    assert_eq!(listed["items"], json!([]), "{listed:#}");

    // What only shows when it is started uses the approval up: nobody could tell later how far it came.
    work.write("deploy", "#!/no/such/interpreter\n");
    let mut alice = gate.approver("alice").await;
    let mut job = work.job(&gate, &[], &[]).start();
    let id = job.asked().await;
    alice.approve(&id).await.unwrap();
    let ran = job.ended().await;
    assert_eq!((ran.code, &work.report()["outcome"]), (126, &json!("not_started")), "{ran:?}");
    assert!(ran.log.contains("used up"), "{ran:?}");
    assert_eq!(gate.approval(&id).await["status"], "succeeded");
    gate.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_swapped_between_asking_and_running_does_not_run() {
    let gate = gate(Engine::Sqlite).await;
    let mut alice = gate.approver("alice").await;
    let work = Work::new("");
    let program = std::fs::read_to_string(work.path("deploy")).unwrap();
    for (key, file, first) in [("file", "plan", "first"), ("program", "deploy", program.as_str())] {
        let start = || work.job(&gate, &["--idempotency-key", key], &[]).start();
        let mut job = start();
        let id = job.asked().await;
        job.until_says("Waiting").await;
        work.write(file, &format!("{first}\necho swapped >>ran\n"));
        alice.approve(&id).await.unwrap();
        let ran = job.ended().await;
        work.assert_not_run(&ran, "changed", Some("changed"));
        assert!(ran.log.contains(file) && ran.log.contains("SHA-256"), "{ran:?}");
        // Asked again it is another command: the key does not lead to the approval of the first.
        work.assert_not_run(
            &work.job(&gate, &["--idempotency-key", key], &[]).run().await,
            "refused",
            Some("idempotency_key_reused"),
        );
        std::fs::remove_file(work.path(file)).unwrap();
        assert_eq!(gate.approval(&id).await["status"], "approved", "it was not used up");
        // As it was signed, it runs.
        work.write(file, first);
        std::fs::set_permissions(
            work.path(file),
            std::os::unix::fs::PermissionsExt::from_mode(0o755),
        )
        .unwrap();
        let runs = work.runs();
        assert_eq!((start().ended().await.code, work.runs()), (0, runs + 1));
    }
    let ran = std::fs::read_to_string(work.path("ran")).unwrap();
    assert!(!ran.contains("swapped"), "{ran}");
    gate.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_approved_for_one_machine_does_not_run_on_another() {
    let gate = gate(Engine::Sqlite).await;
    let mut alice = gate.approver("alice").await;
    let work = Work::new("");
    let machine = |name: &str| {
        work.write("uname", &format!("#!/bin/sh\necho {name}\n"));
        let may_run = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(work.path("uname"), may_run).unwrap();
    };
    let path = std::env::var_os("PATH").unwrap();
    let path = format!("{}:{}", work.folder().display(), path.to_str().unwrap());
    let start = || work.job(&gate, &["--on-this-host"], &[]).set("PATH", &path).start();
    machine("build-1");
    let mut job = start();
    let id = job.asked().await;
    job.until_says("Waiting").await;
    assert_eq!(gate.approval(&id).await["subject"]["arguments"]["host"], "build-1");
    machine("build-2");
    alice.approve(&id).await.unwrap();
    let ran = job.ended().await;
    work.assert_not_run(&ran, "changed", Some("changed"));
    assert!(ran.log.contains("another machine"), "{ran:?}");
    assert_eq!((&gate.approval(&id).await["status"], work.runs()), (&json!("approved"), 0));
    machine("build-1");
    assert_eq!((start().ended().await.code, work.runs()), (0, 1));
    gate.finish().await;
}

/// Two requests, the first of which is approved; the database gives it out under the key of the second.
#[tokio::test(flavor = "multi_thread")]
async fn an_approval_of_other_arguments_runs_nothing() {
    let gate = gate(Engine::Sqlite).await;
    let mut alice = gate.approver("alice").await;
    let work = Work::new("");
    let ask = async |key: &str, word: &str| {
        let options = ["--idempotency-key", key, "--timeout", "1s"];
        let ran = work.job(&gate, &options, &[word]).run().await;
        work.assert_not_run(&ran, "still_open", Some("timeout"));
        work.report()["approval"]["id"].as_str().unwrap().to_owned()
    };
    let (small, large) = (ask("small", "--one").await, ask("large", "--all").await);
    alice.approve(&small).await.unwrap();
    let digest = format!("(SELECT request_digest FROM approvals WHERE id = '{large}')");
    let swaps = [
        format!("UPDATE approvals SET request_digest = {digest} WHERE id = '{small}'"),
        format!("UPDATE approvals SET idempotency_key = 'gone' WHERE id = '{large}'"),
        format!("UPDATE approvals SET idempotency_key = 'large' WHERE id = '{small}'"),
    ];
    tamper(&gate, Engine::Sqlite, &swaps.each_ref().map(String::as_str)).await;
    let ran = work.job(&gate, &["--idempotency-key", "large"], &["--all"]).run().await;
    work.assert_not_run(&ran, "not_proved", Some("other_command"));
    let stands = gate.approval(&small).await;
    assert_eq!((&stands["status"], work.runs()), (&json!("approved"), 0), "{stands:#}");
    gate.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn evidence_that_does_not_hold_here_runs_nothing() {
    let gate = gate(Engine::Sqlite).await;
    let mut alice = gate.approver("alice").await;
    let work = Work::new("");
    let text = std::fs::read_to_string(&gate.servers.files.trust).unwrap();
    let trust: Value = serde_json::from_str(&text).unwrap();
    let mut asked = None;
    for (member, value, outcome, code) in [
        ("origin", json!("https://other.example.com"), "not_proved", "audience_mismatch"),
        ("endorsements", json!(1), "not_proved", "not_endorsed"),
        ("schema", json!("countersign/trust/v9"), "usage", "usage"),
        ("log", json!("gate"), "usage", "usage"),
    ] {
        let mut other = trust.clone();
        other[member] = value;
        work.write("trust.json", &other.to_string());
        let mut job = work.job(&gate, &["--trust", "trust.json"], &[]).start();
        if outcome == "not_proved" && asked.is_none() {
            let id = job.asked().await;
            alice.approve(&id).await.unwrap();
            asked = Some(id);
        }
        work.assert_not_run(&job.ended().await, outcome, Some(code));
    }
    let absent = work.job(&gate, &["--trust", "absent.json"], &[]).run().await;
    work.assert_not_run(&absent, "usage", Some("usage"));
    assert_eq!(gate.approval(&asked.unwrap()).await["status"], "approved", "it was not used up");
    assert_eq!(work.job(&gate, &[], &[]).run().await.code, 0);
    gate.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_runs_while_its_environment_is_frozen() {
    let gate = gate(Engine::Sqlite).await;
    let mut alice = gate.approver("alice").await;
    let work = Work::new("");
    let scope = production();
    let frozen = freeze(&mut alice, &scope).await;
    let mut job = work.job(&gate, &["--timeout", "5s"], &[]).start();
    let id = job.asked().await;
    alice.approve(&id).await.unwrap();
    job.until_says("frozen").await;
    work.assert_not_run(&job.ended().await, "still_open", Some("timeout"));
    assert_eq!((&gate.approval(&id).await["status"], work.runs()), (&json!("approved"), 0));
    lift(&mut alice, &frozen, &scope).await;
    assert_eq!((work.job(&gate, &[], &[]).run().await.code, work.runs()), (0, 1));
    gate.finish().await;
}

/// A tool whose grants are somebody else's to take is no command, whatever its schema lets through.
#[tokio::test(flavor = "multi_thread")]
async fn a_tool_of_another_audience_runs_nothing() {
    let gate = Gate::start_with(Engine::Sqlite, |config| {
        let other = "tool = \"run-command\"\ntitle = \"Run it\"\naudience = \"https://runner.example.com\"\nschema = { type = \"object\" }";
        with_commands(config).replace("tool = \"run-command\"\ntemplate = \"command\"", other)
    })
    .await;
    let mut alice = gate.approver("alice").await;
    let work = Work::new("");
    let mut job = work.job(&gate, &[], &[]).start();
    let id = job.asked().await;
    alice.approve(&id).await.unwrap();
    work.assert_not_run(&job.ended().await, "not_proved", Some("other_audience"));
    assert_eq!((&gate.approval(&id).await["status"], work.runs()), (&json!("approved"), 0));
    gate.finish().await;
}
