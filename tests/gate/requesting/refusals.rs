//! What is refused before anything is sent, and what the gate refuses.

use axum::Router;
use axum::http::StatusCode;
use axum::response::Redirect;
use axum::routing::any;
use serde_json::json;
use tokio::net::TcpListener;

use crate::support::gate::{Engine, Gate, SERVICE};
use crate::support::job::{Job, image};

const GATE: &str = "http://localhost:1";

/// Serves a router on a port of its own and gives its address.
pub async fn serve(router: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    format!("http://{address}")
}

#[tokio::test]
async fn a_wrong_command_line_is_64_and_nothing_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let twice = file("twice.json", r#"{"environment": "a", "environment": "b"}"#);
    let list = file("list.json", "[]");
    let subject = file("subject.json", r#"{"environment": "a", "reason": "b", "subject": 1}"#);
    let number = file("number.json", r#"{"environment": 1, "reason": "b"}"#);
    let absent = folder.path().join("absent.json").to_str().unwrap().to_owned();
    let image = image(1);
    let whole = ["--environment", "p", "--reason", "r", "--service", "s", "--image", &image];
    let with = |rest: &[&str]| {
        let words = [&["request", "--gate", GATE][..], &whole, rest].concat();
        words.into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let plain = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let cases = [
        ("no gate", plain(&["request"])),
        ("a gate in the clear", plain(&["request", "--gate", "http://gate.example.com"])),
        ("a gate that is no address", plain(&["request", "--gate", "gate"])),
        ("a gate with a user", plain(&["request", "--gate", "https://a:b@gate.example.com"])),
        ("a gate with a query", plain(&["request", "--gate", "https://gate.example.com?a=b"])),
        ("an unknown flag", with(&["--yes"])),
        ("nothing to ask for", plain(&["request", "--gate", GATE])),
        ("no image", plain(&[&["request", "--gate", GATE][..], &whole[..6]].concat())),
        ("an empty reason", with(&["--reason", " "])),
        ("a template that is no JSON", with(&["--template", "{"])),
        ("a template that is a list", with(&["--template", "[]"])),
        ("a template with a member twice", with(&["--template", r#"{"a": 1, "a": 2}"#])),
        ("steps in words", with(&["--steps", "ten,hundred"])),
        ("steps over a byte", with(&["--steps", "300"])),
        ("a link without a title", with(&["--link", "https://example.com"])),
        ("a time in words", with(&["--wait", "--timeout", "soon"])),
        ("no time", with(&["--wait", "--timeout", "0s"])),
        ("a time before now", with(&["--wait", "--timeout=-5s"])),
        ("a timeout without a wait", with(&["--timeout", "5s"])),
        ("evidence without a wait", with(&["--evidence", "x.json"])),
        ("two sources", with(&["--token-file", "a", "--token-env", "B"])),
        ("an unknown platform", with(&["--token-from", "travis"])),
        ("a key with a space", with(&["--idempotency-key", "a b"])),
        ("an empty key", with(&["--idempotency-key", ""])),
        ("a file that is not there", with(&["--file", &absent])),
        ("a file with a member twice", with(&["--file", &twice])),
        ("a file with a list", with(&["--file", &list])),
        ("a subject that is a number", with(&["--file", &subject])),
        ("an environment that is a number", plain(&["request", "--gate", GATE, "--file", &number])),
        ("an empty standard input", with(&["--file", "-"])),
        ("wait for nothing", plain(&["wait", "--gate", GATE])),
        ("wait for no id", plain(&["wait", "apr_1", "--gate", GATE])),
        ("wait for a path", plain(&["wait", "../../health/live", "--gate", GATE])),
    ];
    for (case, words) in cases {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let ran = Job::bare(&words).set("COUNTERSIGN_TOKEN", "a.b.c").run().await;
        assert_eq!(ran.code, 64, "{case}: {ran:#?}");
        assert_eq!(ran.output, "", "{case}");
        assert!(ran.log.len() > 20, "{case}: {ran:?}");
    }
    // Other commands keep clap's own code.
    assert_eq!(Job::bare(&["verify"]).run().await.code, 2);
    assert_eq!(Job::bare(&["request", "--help"]).run().await.code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_gate_refuses_is_8_with_its_code_and_sentence() {
    let gate = Gate::start(Engine::Sqlite).await;
    let image = image(1);
    let other = "europe-docker.pkg.dev/demo/app/other@sha256:".to_owned() + &"0".repeat(64);
    let base = ["request", "--json", "--reason", "r", "--environment"];
    let job = |rest: &[&str]| Job::of(&gate, &[&base[..], rest].concat());
    let service = ["production", "--service", SERVICE, "--image"];
    for (rest, code) in [
        (vec!["production", "--service", SERVICE, "--image", "a/b:latest"], "image_not_by_digest"),
        (vec!["production", "--service", "web", "--image", &image], "invalid_service"),
        (vec!["nowhere", "--service", SERVICE, "--image", &image], "unknown_environment"),
        ([&service[..], &[&other]].concat(), "image_not_allowed"),
        ([&service[..], &[&image, "--steps", "50"]].concat(), "invalid_steps"),
        ([&service[..], &[&image, "--expires-in", "soon"]].concat(), "invalid_expiry"),
        (
            [&service[..], &[&image, "--audience", "https://other.example"]].concat(),
            "wrong_audience",
        ),
        ([&service[..], &[&image, "--template", r#"{"nothing": 1}"#]].concat(), "invalid_template"),
    ] {
        job(&rest).run().await.assert_error(8, "refused", code);
    }
    let unknown = format!("apr_{}", "a".repeat(26));
    let ran = Job::of(&gate, &["wait", &unknown, "--json"]).run().await;
    ran.assert_error(8, "refused", "not_found");
    // A pull request from a fork.
    let token = gate.token(json!({"event_name": "pull_request"})).await;
    let ran = job(&[&service[..], &[&image, "--token-env", "T"]].concat()).set("T", &token);
    ran.run().await.assert_error(8, "refused", "refused_event");
    let listed = gate.get("/v1/approvals").await.body;
    assert_eq!(listed["items"], json!([]));
    gate.finish().await;
}

#[tokio::test]
async fn what_is_no_gate_is_told_apart_from_one() {
    let elsewhere =
        Router::new().fallback(any(|| async { Redirect::temporary("https://login.example/") }));
    let page =
        Router::new().fallback(any(|| async { (StatusCode::NOT_FOUND, "<h1>Not found</h1>") }));
    let yes = Router::new().fallback(any(|| async { "{\"ok\": true}" }));
    for (server, code) in [(elsewhere, "redirect"), (page, "no_code"), (yes, "no_approval")] {
        let address = serve(server).await;
        let image = image(1);
        let words = ["request", "--json", "--gate", &address, "--environment", "p", "--reason"];
        let words = [&words[..], &["r", "--service", "s", "--image", &image]].concat();
        let ran = Job::bare(&words).set("COUNTERSIGN_TOKEN", "a.b.c").run().await;
        ran.assert_error(8, "refused", code);
        assert!(!ran.log.contains("a.b.c"), "the token stands in the log: {ran:?}");
    }
}
