//! The sandbox's check of calls: what GitHub's description does not know is refused.

use countersign::sandbox::github::{problem_of_answer, problem_of_call};
use reqwest::StatusCode;
use serde_json::{Value, json};

fn problem(method: &str, path: &str, body: Value) -> String {
    let text = if body.is_null() { String::new() } else { body.to_string() };
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    problem_of_call(method, path, query, text.as_bytes()).unwrap_or_default()
}

#[test]
fn what_github_describes_is_accepted() {
    let status = json!({"state": "success", "log_url": "https://gate.example.com", "environment": "production"});
    for (method, path, body) in [
        ("POST", "/repositories/1/deployments", json!({"ref": "main", "required_contexts": []})),
        ("POST", "/repositories/1/deployments/2/statuses", status),
        ("GET", "/repositories/1/deployments?sha=abc&per_page=100", Value::Null),
        ("PATCH", "/repositories/1/check-runs/2", json!({"status": "in_progress"})),
        ("PATCH", "/repositories/1/issues/comments/2", json!({"body": "text"})),
        ("POST", "/app/installations/1/access_tokens", Value::Null),
        ("GET", "/repositories/1/compare/abc...def?per_page=100&page=2", Value::Null),
        ("GET", "/repositories/1/commits?author=a%40example.com&per_page=1", Value::Null),
        ("GET", "/repositories/1/commits/abc/pulls?per_page=100", Value::Null),
        ("GET", "/repositories/1/pulls/7", Value::Null),
        ("GET", "/repositories/1/actions/runs/7/attempts/2", Value::Null),
    ] {
        assert_eq!(problem(method, path, body), "", "{method} {path}");
    }
}

#[test]
fn everything_else_is_refused() {
    for (method, path, body, says) in [
        ("POST", "/repositories/1/deployments", json!({}), "body.ref is missing"),
        ("POST", "/repositories/1/deployments", json!({"ref": 1}), "body.ref is no string"),
        (
            "POST",
            "/repositories/1/deployments",
            json!({"ref": "a", "env": "b"}),
            "body.env is not described",
        ),
        (
            "POST",
            "/repositories/1/deployments/2/statuses",
            json!({"state": "waiting"}),
            "none of its values",
        ),
        ("GET", "/repositories/1/deployments?commit=abc", Value::Null, "parameter commit"),
        ("GET", "/repositories/1/deployments?per_page=many", Value::Null, "per_page is null"),
        ("GET", "/repositories/1/deployments?page=1.5", Value::Null, "page is no integer"),
        ("GET", "/repositories/1/deployments?page=1&page=2", Value::Null, "page comes twice"),
        (
            "GET",
            "/repositories/1/commits/abc/check-runs?filter=newest",
            Value::Null,
            "none of its values",
        ),
        ("GET", "/repositories/1/actions/runs/latest", Value::Null, "run_id is null"),
        ("GET", "/repositories/1/actions/runs/1.5", Value::Null, "run_id is no integer"),
        ("PATCH", "/repositories/1/check-runs/x", json!({"name": "a"}), "check_run_id is null"),
        ("POST", "/repositories/1/check-runs", json!({"name": "a"}), "body.head_sha is missing"),
        (
            "PATCH",
            "/repositories/1/check-runs/2",
            json!({"status": "completed"}),
            "none of the 2 forms",
        ),
        ("DELETE", "/repositories/1/deployments", Value::Null, "is not described"),
        ("GET", "/repositories/1/secrets", Value::Null, "is not described"),
        ("GET", "/repositories/1/deployments", json!({}), "a body is not described"),
    ] {
        let found = problem(method, path, body);
        assert!(found.contains(says), "{method} {path}: {found:?}, not {says:?}");
    }
    let long = json!({"name": "a", "head_sha": "b", "output": {"title": "t", "summary": "x".repeat(65_536)}});
    assert!(problem("POST", "/repositories/1/check-runs", long).contains("summary is too long"));
}

#[test]
fn answers_are_checked_as_far_as_they_go() {
    let of = |body: Value| {
        let body = body.to_string();
        problem_of_answer(
            "POST",
            "/repositories/1/deployments",
            StatusCode::CREATED,
            body.as_bytes(),
        )
    };
    assert_eq!(of(json!({"id": 1, "sha": "abc"})), None);
    assert!(of(json!({"id": "1"})).unwrap().contains("answer.id is no integer"));
    assert!(of(json!({"number": 1})).unwrap().contains("not described"));
    let other = problem_of_answer("POST", "/repositories/1/deployments", StatusCode::OK, b"{}");
    assert!(other.unwrap().contains("200"));
}
