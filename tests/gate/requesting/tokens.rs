//! Where tokens come from, each source played by a real server, file or program.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use serde_json::{Value, json};

use super::refusals::serve;
use crate::support::gate::{Engine, Gate, SERVICE};
use crate::support::job::{Job, image};

/// A job that asks for a deployment on a machine that knows no platform.
fn asking(gate: &Gate, words: &[&str]) -> Job {
    let image = image(gate.unique());
    let base = ["request", "--json", "--gate", &gate.servers.gate, "--environment", "production"];
    let target = ["--service", SERVICE, "--image", &image, "--reason", "Fixes it"];
    Job::bare(&[&base[..], &target, words].concat())
}

/// A program of this name in a folder of its own, and a search path that begins there.
fn program(folder: &Path, name: &str, script: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    let rest = std::env::var_os("PATH").unwrap();
    format!("{}:{}", folder.display(), rest.to_str().unwrap())
}

#[tokio::test]
async fn without_a_token_nothing_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty");
    std::fs::write(&empty, "\n").unwrap();
    let garbage = folder.path().join("garbage");
    std::fs::write(&garbage, "two words").unwrap();
    let words = |rest: &[&str]| {
        let image = image(1);
        let base = ["request", "--json", "--gate", "http://localhost:1", "--environment", "p"];
        let target = ["--service", "s", "--image", &image, "--reason", "r"];
        Job::bare(&[&base[..], &target, rest].concat())
    };
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    let failing = program(folder.path(), "buildkite-agent", "echo 'no such job' >&2; exit 1");
    let cases = [
        ("nothing anywhere", words(&[])),
        ("an empty variable", words(&[]).set("COUNTERSIGN_TOKEN", " ")),
        ("a named variable that is not set", words(&["--token-env", "ID_TOKEN"])),
        ("a file that is not there", words(&["--token-file", "/nowhere/token"])),
        ("an empty file", words(&["--token-file", &path(&empty)])),
        ("a file of words", words(&["--token-file", &path(&garbage)])),
        ("a header in a variable", words(&[]).set("COUNTERSIGN_TOKEN", "a\r\nX-Evil: 1")),
        ("GitHub without the permission", words(&[]).set("GITHUB_ACTIONS", "true")),
        ("GitHub that was named elsewhere", words(&["--token-from", "github"])),
        ("Buildkite without its agent", words(&["--token-from", "buildkite"])),
        ("an agent that fails", words(&["--token-from", "buildkite"]).set("PATH", &failing)),
        ("CircleCI without program and variable", words(&["--token-from", "circleci"])),
        ("a command that prints nothing", words(&["--token-command", "true"])),
        ("a command that fails", words(&["--token-command", "echo no >&2; exit 3"])),
        ("a command that is not there", words(&["--token-command", "no-such-program-here"])),
    ];
    for (case, job) in cases {
        let ran = job.run().await;
        assert_eq!(
            (ran.code, ran.json()["error"]["code"].as_str()),
            (10, Some("no_token")),
            "{case}: {ran:#?}"
        );
    }
    let ran = words(&["--token-from", "buildkite"]).set("PATH", &failing).run().await;
    assert!(ran.log.contains("no such job"), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_a_variable_a_file_or_a_command() {
    let gate = Gate::start(Engine::Sqlite).await;
    let token = gate.token(json!({})).await;
    asking(&gate, &[]).set("COUNTERSIGN_TOKEN", &token).run().await.assert(0, "done");
    // The same token names one request, so another needs another.
    let again = asking(&gate, &["--token-env", "ID_TOKEN"]).set("ID_TOKEN", &token).run().await;
    again.assert_error(8, "refused", "token_reused");
    let token = gate.token(json!({})).await;
    let spaced = format!("  {token}\n");
    let job = asking(&gate, &["--token-env", "ID_TOKEN"]).set("ID_TOKEN", &spaced);
    job.run().await.assert(0, "done");
    let path = gate.servers.files.write("token", gate.token(json!({})).await).unwrap();
    asking(&gate, &["--token-file", path.to_str().unwrap()]).run().await.assert(0, "done");
    // A command is told for whom.
    let command = format!(
        r#"test "$COUNTERSIGN_AUDIENCE" = {} && echo {}"#,
        gate.servers.gate,
        gate.token(json!({})).await
    );
    asking(&gate, &["--token-command", &command]).run().await.assert(0, "done");
    gate.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_buildkite_or_circleci() {
    let gate = Gate::start(Engine::Sqlite).await;
    let folder = tempfile::tempdir().unwrap();
    let asked_for =
        |words: &str, token: &str| format!("test \"$*\" = '{words}' || exit 9\necho {token}");
    let words = format!("oidc request-token --audience {}", gate.servers.gate);
    let script = asked_for(&words, &gate.token(json!({})).await);
    let path = program(folder.path(), "buildkite-agent", &script);
    let job = asking(&gate, &[]).set("PATH", &path).set("BUILDKITE_JOB_ID", "018485f6");
    job.run().await.assert(0, "done");

    let words = format!(r#"run oidc get --claims {{"aud":"{}"}}"#, gate.servers.gate);
    let script = asked_for(&words, &gate.token(json!({})).await);
    let path = program(folder.path(), "circleci", &script);
    let job = asking(&gate, &[]).set("PATH", &path).set("CIRCLECI", "true");
    job.run().await.assert(0, "done");

    // An executor without CircleCI's program has the variable alone.
    let token = gate.token(json!({})).await;
    let job = asking(&gate, &[]).set("CIRCLECI", "true").set("CIRCLE_OIDC_TOKEN_V2", &token);
    job.run().await.assert(0, "done");
    gate.finish().await;
}

/// A metadata server that answers as Google's does.
async fn metadata(token: String) -> String {
    async fn identity(
        State(token): State<Arc<String>>,
        headers: HeaderMap,
        Query(query): Query<Value>,
    ) -> (StatusCode, String) {
        let asks_well = headers.get("Metadata-Flavor").is_some_and(|flavour| flavour == "Google")
            && query["format"] == "full"
            && query["audience"].as_str().is_some_and(|audience| audience.starts_with("http"));
        if asks_well && !headers.contains_key("X-Forwarded-For") {
            (StatusCode::OK, token.to_string())
        } else {
            (StatusCode::FORBIDDEN, "Missing Metadata-Flavor:Google header.".to_owned())
        }
    }
    let path = "/computeMetadata/v1/instance/service-accounts/default/identity";
    let router = Router::new().route(path, get(identity)).with_state(Arc::new(token));
    serve(router).await.replace("http://", "")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_googles_metadata_server() {
    let gate = Gate::start(Engine::Sqlite).await;
    let host = metadata(gate.token(json!({})).await).await;
    // A proxy gets neither the token nor what is said on this machine.
    let job =
        asking(&gate, &[]).set("GCE_METADATA_HOST", &host).set("HTTP_PROXY", "http://localhost:1");
    let job = job.set("http_proxy", "http://localhost:1").set("ALL_PROXY", "http://localhost:1");
    job.run().await.assert(0, "done");
    let elsewhere = serve(Router::new()).await.replace("http://", "");
    let job = asking(&gate, &["--token-from", "google"]).set("GCE_METADATA_HOST", &elsewhere);
    let ran = job.run().await;
    ran.assert_error(10, "no_token", "no_token");
    assert!(ran.log.contains("404"), "{ran:?}");
    gate.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn githubs_token_service_may_be_away_for_a_while() {
    let gate = Gate::start(Engine::Sqlite).await;
    let token = Arc::new(gate.token(json!({})).await);
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = asked.clone();
    let audience = gate.servers.gate.clone();
    let service = get(move |headers: HeaderMap, Query(query): Query<Value>| async move {
        let right = query["audience"] == audience && query["api-version"] == "2.0";
        let right = right && headers["authorization"] == "Bearer job";
        match counter.fetch_add(1, Ordering::Relaxed) {
            0 => (StatusCode::SERVICE_UNAVAILABLE, String::new()),
            _ if right => (StatusCode::OK, json!({"count": 1, "value": *token}).to_string()),
            _ => (StatusCode::BAD_REQUEST, String::new()),
        }
    });
    let address = serve(Router::new().route("/token", service)).await;
    let job = asking(&gate, &[])
        .set("ACTIONS_ID_TOKEN_REQUEST_URL", &format!("{address}/token?api-version=2.0&audience=x"))
        .set("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "job");
    let ran = job.run().await;
    ran.assert(0, "done");
    assert!(ran.log.contains("asking again"), "{ran:?}");
    assert_eq!(asked.load(Ordering::Relaxed), 2);
    let forbidden =
        serve(Router::new().route("/token", get(|| async { StatusCode::FORBIDDEN }))).await;
    let job = asking(&gate, &[])
        .set("ACTIONS_ID_TOKEN_REQUEST_URL", &format!("{forbidden}/token"))
        .set("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "job");
    job.run().await.assert_error(10, "no_token", "no_token");
    gate.finish().await;
}
