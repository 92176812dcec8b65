//! `[log]`: where the newest head of the log is kept.

use countersign::integrations::log_head::LogHeadPlace;

use super::{Folder, GOOD, assert_refused};

#[test]
fn the_head_of_the_log_outside() {
    let head = "[log]\nhead = \"outside/log-head.json\"\n";
    let folder = Folder::new(GOOD);
    let place = LogHeadPlace::File(folder.path("outside/log-head.json"));
    assert_eq!(folder.accepted().log_head, place);
    for without in ["", "[log]\n", "[log]\nhead = \"\"\n"] {
        let config = Folder::with(head, without).accepted();
        assert_eq!(config.log_head, LogHeadPlace::Memory);
        assert!(config.warnings.len() == 1, "{:?}", config.warnings);
        assert!(config.warnings[0].contains("log.head is missing"), "{:?}", config.warnings);
    }
}

#[test]
fn the_head_of_the_log_in_an_object() {
    let head = "[log]\nhead = \"outside/log-head.json\"\n";
    let object = "[log]\nhead = \"gs://heads/gate/head.json\"\n";
    let config = Folder::with(head, object).accepted();
    let LogHeadPlace::Object(settings) = &config.log_head else { panic!("{:?}", config.log_head) };
    assert_eq!(settings.name.to_string(), "gs://heads/gate/head.json");
    assert_eq!(settings.endpoint.as_str(), "https://storage.googleapis.com/");
    assert_eq!(settings.account, config.cloud_run.account);
    let summary = config.summary();
    assert!(summary.contains("gs://heads/gate/head.json at https://storage"), "{summary}");
    let elsewhere = format!("{object}endpoint = \"https://storage-gate.p.googleapis.com\"\n");
    assert_ne!(
        Folder::with(head, &elsewhere).accepted().digest().unwrap(),
        config.digest().unwrap(),
        "where the head is kept is part of what a start records",
    );
    for (bad, key, words) in [
        ("head = \"gs://heads\"", "log.head", "gs://BUCKET/OBJECT"),
        ("head = \"gs:/heads/a\"", "log.head", "gs://BUCKET/OBJECT"),
        ("head = \"gs://Heads/a\"", "log.head", "bucket"),
        ("head = \"gs://heads/..\"", "log.head", "object"),
        ("head = \"s3://heads/a\"", "log.head", "gs://BUCKET/OBJECT"),
        ("head = \"a\"\nendpoint = \"https://a.example\"", "log.endpoint", "of no use"),
        ("head = \"gs://heads/a\"\nendpoint = \"a\"", "log.endpoint", "no https address"),
        ("head = \"gs://heads/a\"\nendpoint = \"http://a.example\"", "log.endpoint", "use https"),
        (
            "head = \"gs://heads/a\"\nendpoint = \"https://storage.example.com\"",
            "log.endpoint",
            "Google token",
        ),
        (
            "head = \"gs://heads/a\"\nendpoint = \"http://localhost:1\"",
            "log.endpoint",
            "whole world",
        ),
    ] {
        assert_refused(head, &format!("[log]\n{bad}\n"), key, words);
    }
}
