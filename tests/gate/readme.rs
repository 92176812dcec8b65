//! The README says what the program says: its tables and examples are made from the program, its
//! commands and addresses exist.
//!
//! `UPDATE_README=1 cargo nextest run readme` writes the made blocks anew.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use countersign::cli::exec::ending::{EXIT_CODES, Reason};
use countersign::cli::request::outcome::Outcome;
use countersign::config::overrides::{OTHER_VARIABLES, OVERRIDES};
use countersign::domain::approval::Status;
use countersign::domain::notice::Event;
use serde_json::Value;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// What stands between `<!-- made: NAME -->` and `<!-- end -->`.
fn made_blocks() -> [(&'static str, String); 7] {
    [
        ("example", format!("```toml\n{}```\n", read("src/config/example.toml"))),
        ("variables", variables()),
        ("exit codes", exit_codes()),
        ("exec codes", exec_codes()),
        ("events", events()),
        ("pipelines", pipelines()),
        ("figures", figures(&serde_json::from_str(&read("benches/results.json")).unwrap())),
    ]
}

fn exit_codes() -> String {
    let rows = Outcome::ALL.map(Outcome::row);
    let rows = rows.map(|(code, word, meaning)| format!("| {code} | `{word}` | {meaning} |\n"));
    format!("| exit code | `outcome` | meaning |\n| ---: | --- | --- |\n{}", rows.concat())
}

fn exec_codes() -> String {
    let rows = EXIT_CODES.map(|(code, meaning)| format!("| {code} | {meaning} |\n"));
    let words = Reason::OWN.map(|reason| {
        let (word, meaning) = reason.row();
        format!("| `{word}` | {meaning} |\n")
    });
    format!(
        "| exit code of `exec` | meaning |\n| ---: | --- |\n{}\n| `outcome` in the file of `--report`, beside those above | meaning |\n| --- | --- |\n{}",
        rows.concat(),
        words.concat()
    )
}

fn events() -> String {
    let names: Vec<String> = Event::names().map(|name| format!("`{name}`")).collect();
    format!("Events: {}.\n", names.join(", "))
}

/// A row for each file of `pipelines/` that says what a gate has to be told.
fn pipelines() -> String {
    let mut table = "| CI | token | issuer | requesters are told apart by | claims to match | configuration |\n| --- | --- | --- | --- | --- | --- |\n".to_owned();
    for (name, file) in [
        ("GitLab", "gitlab.yml"),
        ("Buildkite", "buildkite.yml"),
        ("CircleCI", "circleci.yml"),
        ("Jenkins", "jenkins.groovy"),
        ("Tekton", "tekton.yml"),
        ("Argo Workflows", "argo-workflows.yml"),
    ] {
        let configuration = format!("{}.toml", file.split('.').next().unwrap());
        let text = read(&format!("pipelines/{configuration}"));
        let token = text.lines().next().unwrap().trim_start_matches("# ");
        let config: toml::Table = text.parse().unwrap();
        let issuer = &config["workload_issuer"][0];
        let requester =
            issuer.get("requester_claim").and_then(toml::Value::as_str).unwrap_or("sub");
        let claims = config["environment"]["production"]["requesters"][0]["claims"].as_table();
        let claims: Vec<String> =
            claims.unwrap().keys().map(|claim| format!("`{claim}`")).collect();
        table += &format!(
            "| [{name}](pipelines/{file}) | {token} | `{}` | `{requester}` | {} | [{configuration}](pipelines/{configuration}) |\n",
            issuer["issuer"].as_str().unwrap(),
            claims.join(", ")
        );
    }
    table
}

fn variables() -> String {
    let mut table = "| variable | in place of | what it is |\n| --- | --- | --- |\n".to_owned();
    for one in &OVERRIDES {
        table += &format!("| `{}` | `{}` | {} |\n", one.variable, one.key, one.meaning);
    }
    for (variable, meaning) in OTHER_VARIABLES {
        table += &format!("| `{variable}` | | {meaning} |\n");
    }
    table
}

/// The figures of one run of `benches/run`.
fn figures(results: &Value) -> String {
    let number = |value: &Value| match value.as_f64() {
        Some(number) if number >= 100.0 => format!("{number:.0}"),
        Some(number) if number >= 10.0 => format!("{number:.1}"),
        Some(number) => format!("{number:.2}"),
        None => "not measured".to_owned(),
    };
    let mut text = format!("{}\n\n", results["machine"].as_str().unwrap());
    text += "| verifications per second, one core | | times a bare P-256 verification |\n| --- | ---: | ---: |\n";
    for (name, key) in [
        ("a bare P-256 verification (aws-lc-rs)", "bare_p256"),
        ("Countersign's strict verifier", "countersign"),
        ("the same, from JSON text and COSE key", "countersign_from_json_and_cose"),
        ("webauthn-rs", "webauthn_rs_core"),
    ] {
        let figure = &results["verify"]["medians"][key];
        let (rate, times) = (number(&figure["per_second"]), number(&figure["times_bare"]));
        text += &format!("| {name} | {rate} | {times} |\n");
    }
    text += "\n| the whole gate | SQLite | PostgreSQL |\n| --- | ---: | ---: |\n";
    for (name, key) in [
        ("process start to ready, ms", "start_to_ready_ms"),
        ("memory when idle, MiB", "idle_mebibytes"),
        ("memory with 5,000 waiters, MiB", "mebibytes_with_5000_waiters"),
        ("ledger appends per second", "ledger_appends_per_second"),
        ("approvals created per second, 1 client", "creations_per_second_1_client"),
        ("approvals created per second, 16 clients", "creations_per_second_16_clients"),
        ("posted decision to released waiter, 1 waiter, median ms", "release_1_waiter_median_ms"),
        ("the same, 100 waiters, the last of them, ms", "release_100_waiters_last_ms"),
        ("the same, 5,000 waiters, median ms", "release_5000_waiters_median_ms"),
        ("the same, 5,000 waiters, the last of them, ms", "release_5000_waiters_last_ms"),
    ] {
        let of = |engine: &str| number(&results["gate"][engine][key]);
        text += &format!("| {name} | {} | {} |\n", of("sqlite"), of("postgres"));
    }
    let disk = number(&results["gate"]["fdatasync_us"]);
    text += &format!(
        "\nBeside it, in the same run: writing 4 KiB and waiting for the disk takes {disk} µs.\n"
    );
    text + &append(&results["append"], number) + &audit(&results["audit"], number)
}

/// What one entry more costs, once it was measured.
fn append(results: &Value, number: fn(&Value) -> String) -> String {
    if results.is_null() {
        return String::new();
    }
    let [few, many] = ["few", "many"].map(|size| &results["sqlite"][size]);
    let mut text = format!(
        "\n| an entry more, committed, median µs | after {few} | after {many} | times |\n| --- | ---: | ---: | ---: |\n"
    );
    for (name, key) in [("SQLite", "sqlite"), ("PostgreSQL", "postgres")] {
        let of = |figure: &str| number(&results[key][figure]);
        let (few, many, ratio) = (of("few_us"), of("many_us"), of("ratio"));
        text += &format!("| {name} | {few} | {many} | {ratio} |\n");
    }
    text
}

/// What an audit costs, once it was measured.
fn audit(results: &Value, number: fn(&Value) -> String) -> String {
    let [few, many] = [&results["stages"][0], &results["stages"][1]];
    if many.is_null() {
        return String::new();
    }
    let mut text = format!(
        "\n| the export of a period | {} approvals | {} approvals |\n| --- | ---: | ---: |\n",
        few["approvals"], many["approvals"]
    );
    for (name, key) in [
        ("written and checked, s", "exported_and_checked_s"),
        ("`audit verify`, s", "verified_s"),
        ("the most memory that `audit verify` has, MiB", "verify_peak_mib"),
        ("bytes of the folder per approval", "export_bytes_per_approval"),
    ] {
        text += &format!("| {name} | {} | {} |\n", number(&few[key]), number(&many[key]));
    }
    let bytes = number(&results["database_bytes_per_approval"]);
    text + &format!(
        "\nAn approval that was signed and rolled out takes {bytes} bytes of a SQLite database.\n"
    )
}

#[test]
fn tables_and_examples_are_made_from_the_program() {
    let text = read("README.md");
    let mut made = text.clone();
    for (name, block) in made_blocks() {
        let begin = format!("<!-- made: {name} -->\n");
        let start = made.find(&begin).unwrap_or_else(|| panic!("no block {name}")) + begin.len();
        let end = start + made[start..].find("<!-- end -->").unwrap();
        made.replace_range(start..end, &block);
    }
    #[expect(clippy::disallowed_methods, reason = "a test is told by its environment to write")]
    if std::env::var("UPDATE_README").is_ok() {
        std::fs::write(root().join("README.md"), &made).unwrap();
    } else {
        assert!(text == made, "README.md is out of date: UPDATE_README=1 cargo nextest run readme");
    }
}

#[test]
fn commands_exist() {
    let mut commands = BTreeSet::new();
    let text = [read("README.md"), read("SECURITY.md"), read("src/config/example.toml")].concat();
    let text = text.replace("cargo run --release -- ", "countersign ");
    for found in text.split("countersign ").skip(1) {
        let words: Vec<&str> = found
            .split(|character: char| character.is_whitespace() || "`,.;)".contains(character))
            .take_while(|word| {
                word.bytes().all(|byte| byte.is_ascii_lowercase()) && !word.is_empty()
            })
            .take(2)
            .collect();
        commands.insert(words.join(" "));
    }
    assert!(commands.len() >= 4, "{commands:?}");
    for command in commands {
        // The second word may be prose: `countersign demo and …`. One of the two must be a command.
        let words: Vec<&str> = command.split(' ').collect();
        let is_command = |words: &[&str]| {
            let program = env!("CARGO_BIN_EXE_countersign");
            Command::new(program).args(words).arg("--help").output().unwrap().status.success()
        };
        assert!(is_command(&words) || is_command(&words[..1]), "countersign {command}");
    }
}

#[test]
fn addresses_and_statuses_exist() {
    let text = read("README.md");
    let (_, description) = countersign::api::routes().split_for_parts();
    let description = serde_json::to_value(&description).unwrap();
    let rows =
        text.lines().filter(|line| line.starts_with("| `GET /") || line.starts_with("| `POST /"));
    let mut calls = 0;
    for call in rows.flat_map(|row| row.split('`').filter(|part| part.contains(" /"))) {
        let (method, path) = call.split_once(' ').unwrap();
        let path = path.split('?').next().unwrap();
        let known = &description["paths"][path][method.to_lowercase()];
        assert!(known.is_object(), "{call}");
        calls += 1;
    }
    assert!(calls >= 8, "{calls}");
    for status in [
        "pending",
        "approved",
        "executing",
        "succeeded",
        "failed",
        "rolled_back",
        "needs_attention",
        "rejected",
        "expired",
        "cancelled",
    ] {
        assert!(Status::parse(status).is_some() && text.contains(status), "{status}");
    }
}

#[test]
fn the_workflow_is_the_actions_own_example() {
    let text = read("README.md");
    let block = text.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
    let example = read("actions/examples/build-then-deploy.yml");
    for line in block.lines() {
        assert!(
            example.lines().any(|own| own.trim() == line.trim().trim_start_matches("- ")
                || own.trim() == line.trim()),
            "{line}"
        );
    }
}

#[test]
fn what_it_points_to_is_there() {
    let actions = ["request-approval", "wait-for-approval", "verify-evidence"];
    let pages = actions.map(|action| format!("actions/{action}/README.md"));
    let pages = pages.iter().map(String::as_str);
    for page in ["README.md", "SECURITY.md"].into_iter().chain(pages) {
        let text = read(page);
        let folder = root().join(page).parent().unwrap().to_owned();
        for target in text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            let file = target.split('#').next().unwrap();
            let is_file = !file.is_empty() && !file.contains("://");
            assert!(!is_file || folder.join(file).exists(), "{page} points to {target}");
        }
    }
}
