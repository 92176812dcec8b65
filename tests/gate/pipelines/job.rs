//! A job of each CI: the command that stands in the pipeline's file, in the environment that the CI gives.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use countersign::cli::demo::approver::Approver;
use serde_json::json;
use tokio::process::Command;

use super::claims::Ci;
use super::token;
use crate::support::gate::{Gate, SERVICE};
use crate::support::job::{Ran, image};

/// A rollout of three steps takes seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// The shell's part of a pipeline's file.
fn command_in(file: &str) -> String {
    let mut lines = file.lines().map(str::trim).skip_while(|line| {
        !line.starts_with("DIGEST=") && !line.starts_with("countersign request")
    });
    let mut command = String::new();
    let mut asks = false;
    for line in lines.by_ref() {
        asks |= line.starts_with("countersign request");
        command += &format!("{line}\n");
        if asks && !line.ends_with('\\') {
            break;
        }
    }
    assert!(asks, "the file asks for nothing:\n{file}");
    command
}

/// What the CI itself puts in place of its own marks before a shell sees them, and what stands for this test's gate.
fn command_here(gate: &Gate, ci: &Ci, token_file: &Path) -> String {
    let command = command_in(&ci.read(ci.kind));
    let here = [
        ("$$", "$"),
        ("https://gate.example.com", &gate.servers.gate),
        ("projects/my-project/locations/europe-west1/services/web", SERVICE),
        ("europe-docker.pkg.dev/my-project/app/web", "europe-docker.pkg.dev/demo/app/web"),
        ("/var/run/countersign/token", token_file.to_str().unwrap()),
    ];
    let command = here.iter().fold(command, |text, (from, to)| text.replace(from, to));
    assert!(!command.contains("my-project") && !command.contains("example.com"), "{command}");
    command
}

fn environment_of(ci: &Ci, token: &str) -> Vec<(&'static str, String)> {
    let set = |pairs: &[(&'static str, &str)]| {
        pairs.iter().map(|(name, value)| (*name, (*value).to_owned())).collect::<Vec<_>>()
    };
    match ci.name {
        "gitlab" => set(&[
            ("CI", "true"),
            ("CI_PIPELINE_ID", "1519139981"),
            ("CI_PROJECT_ID", "46573356"),
            ("CI_JOB_NAME", "deploy"),
            ("CI_COMMIT_TITLE", "Fixes the checkout; on \"phones\""),
            ("COUNTERSIGN_TOKEN", token),
        ]),
        "buildkite" => set(&[
            ("BUILDKITE", "true"),
            ("BUILDKITE_BUILD_ID", "018485f6-1f53-4f18-9b53-72428db4d239"),
            ("BUILDKITE_STEP_ID", "018485f6-eec2-4b61-a7be-0e35ef563df0"),
            ("BUILDKITE_JOB_ID", "01945ecf-80f0-41e8-9b83-a2970a9305a1"),
            ("BUILDKITE_MESSAGE", "Fixes the checkout"),
        ]),
        "circleci" => set(&[
            ("CIRCLECI", "true"),
            ("CIRCLE_PIPELINE_ID", "9f0c2b1a-7d6e-4c5b-8a90-1234567890ab"),
            ("CIRCLE_JOB", "deploy"),
            ("CIRCLE_SHA1", "8fe1b322a576d59fe6257052a4107df7dc1b8c78"),
        ]),
        "jenkins" => set(&[
            ("BUILD_TAG", "jenkins-web-main-12"),
            ("JENKINS_URL", "https://jenkins.example.com/"),
            ("STAGE_NAME", "Deploy"),
            ("COUNTERSIGN_TOKEN", token),
        ]),
        _ => set(&[("RUN", "4f53cda1-8c2b-4a0c-8354-bb5f9a3ecbe5"), ("REASON", "Fixes it")]),
    }
}

/// Runs the command of the pipeline's file as a job of that CI, and signs what it asks for. Gives how it ended,
/// and what it asked for.
pub async fn run_snippet(
    gate: &Gate,
    ci: &Ci,
    first_token: &str,
    alice: &mut Approver,
) -> (Ran, String) {
    let folder = tempfile::tempdir().unwrap();
    let token_file = folder.path().join("token");
    std::fs::write(&token_file, first_token).unwrap();
    let image = image(gate.unique());
    let digest = image.split('@').nth(1).unwrap();
    std::fs::write(folder.path().join("digest"), digest).unwrap();
    // Programs of the CI: each call of them gives the token that stands in the file by then.
    for (name, script) in [
        (
            "buildkite-agent",
            format!(
                "case \"$1\" in meta-data) echo {digest};; oidc) cat {};; esac",
                token_file.display()
            ),
        ),
        ("circleci", format!("cat {}", token_file.display())),
    ] {
        let path = folder.path().join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let program = Path::new(env!("CARGO_BIN_EXE_countersign")).parent().unwrap();
    let system = std::env::var_os("PATH").unwrap();
    let path =
        format!("{}:{}:{}", folder.path().display(), program.display(), system.to_str().unwrap());
    let running = Command::new("sh")
        .args(["-c", &command_here(gate, ci, &token_file)])
        .env_clear()
        .env("PATH", path)
        .env("DIGEST", digest)
        .envs(environment_of(ci, first_token))
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let signing = async {
        let id = asked(gate, ci, &image).await;
        alice.approve(&id).await.unwrap();
        id
    };
    let both = async { tokio::join!(running, signing) };
    let (output, id) = tokio::time::timeout(PATIENCE, both).await.expect("the job ends");
    let output = output.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let ran = Ran {
        code: output.status.code().unwrap(),
        output: text(output.stdout),
        log: text(output.stderr),
    };
    assert_eq!(ran.output.trim_end(), id, "{ran:#?}");
    (ran, id)
}

/// Waits until the image was asked for, and gives the approval.
async fn asked(gate: &Gate, ci: &Ci, image: &str) -> String {
    loop {
        let reading = token(gate, ci, &json!({})).await;
        let listed = gate.get_as("/v1/approvals", &reading).await;
        let items = listed.body["items"].as_array().unwrap_or_else(|| panic!("{listed:?}"));
        if let Some(item) = items.iter().find(|item| item["subject"]["image"] == image) {
            return item["id"].as_str().unwrap().to_owned();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
