//! `[github.app]`: what an App needs, and what counts of what GitHub says.

use super::{Folder, GOOD};
use crate::support::github::private_key;

const APP: &str = r#"
[github.app]
id = 123456
private_key_file = "app.pem"
webhook_secret_file = "webhook"
[[github.app.installation]]
id = 42
repositories = [1001, 1002]
"#;

fn with(app: &str) -> Folder {
    let folder = Folder::new(&format!("{GOOD}\n{app}"));
    folder.write("app.pem", &private_key());
    folder.write("webhook", &"s3cret".repeat(6));
    folder
}

#[test]
fn an_app_is_what_it_says() {
    let config = with(APP).accepted();
    let app = config.github.as_ref().unwrap().app.as_ref().unwrap();
    assert_eq!((app.id, app.installations[0].id, app.shows.len()), (123_456, 42, 3));
    assert!(app.installations[0].repositories.contains(&1002));
    assert!(
        config
            .summary()
            .contains("repositories pinned: 2, shown there: deployments, checks, comments")
    );
    assert!(!format!("{config:?}").contains("s3cret") && !config.summary().contains("s3cret"));
    let some = with(&APP.replace("id = 123456", "id = 123456\nshows = [\"check\"]")).accepted();
    assert!(some.summary().contains("shown there: checks\n"));
    assert_ne!(config.digest().unwrap(), some.digest().unwrap());
    let none = with(&APP.replace("id = 123456", "id = 123456\nshows = []")).accepted();
    assert!(none.summary().contains("shown there: nothing"));
}

#[test]
fn an_app_that_cannot_be_meant_is_refused() {
    let refused = |part: &str, replacement: &str, key: &str, says: &str| {
        assert!(APP.contains(part), "{part}");
        with(&APP.replace(part, replacement)).assert_refused(key, says);
    };
    refused("id = 123456\n", "", "github.app.id", "App ID");
    let key = "github.app.private_key_file";
    refused("private_key_file = \"app.pem\"\n", "", key, "is missing");
    refused("app.pem", "webhook", key, "no RSA private key");
    let key = "github.app.webhook_secret_file";
    refused("webhook_secret_file = \"webhook\"\n", "", key, "is missing");
    let short = with(APP);
    short.write("webhook", "guessable");
    short.assert_refused(key, "openssl rand -hex 32");
    let key = "github.app.installation.repositories";
    refused("[1001, 1002]", "[]", key, "is empty for 42");
    let twice = "[1001]\n[[github.app.installation]]\nid = 43\nrepositories = [1001]";
    refused("[1001, 1002]", twice, key, "1001 is listed twice");
    let (_, installation) = APP.split_once("[[").unwrap();
    refused(&format!("[[{installation}"), "", "github.app.installation", "is missing");
    let unknown = with(&APP.replace("id = 123456", "id = 123456\nsecret = \"s3cret\"")).refused();
    assert!(unknown.concat().contains("secret"), "{unknown:?}");
}
