//! Metrics that checks read, and checks that an environment asks for.

use countersign::domain::check::MetricsKind;

use super::{Folder, GOOD};

const METRICS: &str = r#"
[metrics.main]
kind = "prometheus"
url = "https://prometheus.example.com/"
token_file = "token"

[metrics.google]
kind = "cloud_monitoring"
project = "p"

[environment.production.plan]
tags = true
metrics = ["main", "google"]
"#;

const STEPS: &str = "steps = [10, 100]";
const QUERY: &str = r#"{ kind = "prometheus", name = "errors", source = "main", query = "x", comparator = "below", threshold = 1 }"#;

fn folder(text: &str) -> Folder {
    let folder = Folder::new(text);
    folder.write("token", "s3cret-token\n");
    folder
}

/// The good configuration with metrics, and one part of it replaced.
fn with(part: &str, other: &str) -> Folder {
    let text = format!("{GOOD}{METRICS}");
    assert!(text.contains(part), "{part:?} stands nowhere");
    folder(&text.replacen(part, other, 1))
}

#[test]
fn metrics_are_what_the_file_says() {
    let checks = format!("steps = [{{ percent = 10, checks = [{QUERY}] }}, 100]");
    let config = with(STEPS, &checks).accepted();
    let shown = [config.summary(), format!("{config:?}")].concat();
    assert!(!shown.contains("s3cret"), "{shown}");
    assert!(
        shown.contains("main: Prometheus at https://prometheus.example.com/, with a token"),
        "{shown}"
    );
    assert!(
        shown.contains("google: Cloud Monitoring of p at https://monitoring.googleapis.com/"),
        "{shown}"
    );
    let plan = &config.environments["production"].plan;
    let kinds: Vec<MetricsKind> = plan.metrics.iter().map(|one| one.kind).collect();
    assert_eq!(kinds, [MetricsKind::Prometheus, MetricsKind::CloudMonitoring]);
    assert_eq!(plan.steps[0].checks.len(), 1);
    let words = plan.in_words().join("; ");
    assert!(
        words.contains("checks may read main (Prometheus), google (Cloud Monitoring)"),
        "{words}"
    );
    assert!(words.contains("errors is below 1 (main: x)"), "{words}");
}

#[test]
fn metrics_that_cannot_be_meant() {
    let refused = |part: &str, other: &str, key: &str, says: &str| {
        with(part, other).assert_refused(key, says);
    };
    let url = "https://prometheus.example.com/";
    refused(url, "http://prometheus.example.com/", "metrics.main.url", "use https");
    refused(url, "prometheus", "metrics.main.url", "no https address");
    refused(url, "https://u:p@prometheus.example.com/", "metrics.main.url", "user name");
    refused(url, "https://prometheus.example.com/?x=1", "metrics.main.url", "holds a query");
    let plan = "[environment.production.plan]";
    let odd = "[metrics.\"a b\"]\nkind = \"cloud_monitoring\"\nproject = \"p\"\n";
    refused(plan, &format!("{odd}{plan}"), "metrics.a b", "rename it");
    refused("project = \"p\"", "project = \"p/x\"", "metrics.google.project", "no project");
    refused("token_file = \"token\"", "token_file = \"none\"", "metrics.main.token_file", "none");
    let key = "environment.production.plan.metrics";
    refused("metrics = [\"main\"", "metrics = [\"other\"", key, "there is no [metrics.other]");
}

#[test]
fn checks_that_an_environment_cannot_mean() {
    let refused = |part: &str, other: &str, key: &str, says: &str| {
        with(part, other).assert_refused(&format!("environment.production.{key}"), says);
    };
    let step = |step: &str| format!("steps = [{{ percent = 10, {step} }}, 100]");
    let http = r#"{ kind = "http", path = "/health" }"#;
    refused(STEPS, &step(&format!("checks = [{http}]")), "steps", "no tag");
    refused(
        STEPS,
        &step(&format!("checks = [{}]", QUERY.replace("main", "other"))),
        "steps",
        "checks may read main",
    );
    refused(
        STEPS,
        &step(&format!("checks = [{}]", QUERY.replace("main", "google"))),
        "steps",
        "of Prometheus",
    );
    let many = [QUERY; 9].join(", ");
    refused(STEPS, &step(&format!("checks = [{many}]")), "steps", "more than 8 checks");
    refused(STEPS, &step("checks = [{ kind = \"http\", path = \"health\" }]"), "steps", "the path");
    let tags = "tags = true";
    let of_plan = |checks: &str| format!("tags = true\nchecks = [{checks}]");
    refused(tags, &of_plan(http), "steps", "no step has a tag");
    refused(tags, &of_plan("{ kind = \"http\", path = \"x\" }"), "plan.checks", "the path");
    let many = (0..9).map(|number| QUERY.replace("\"x\"", &format!("\"x{number}\"")));
    let many = of_plan(&many.collect::<Vec<_>>().join(", "));
    refused(tags, &many, "plan.checks", "keep fewer");
}
