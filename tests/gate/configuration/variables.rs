//! The environment: variables that take the place of keys.

use countersign::config::overrides::OVERRIDES;
use secrecy::ExposeSecret;

use super::{Folder, GOOD, LOG_KEY};
use crate::support::github::private_key;

#[test]
fn variables_take_the_place_of_keys() {
    let app = "[github.app]\nid = 1\ninstallation = [{ id = 2, repositories = [3] }]";
    let folder = Folder::new(&format!("{GOOD}\n{app}\n"))
        .variable("COUNTERSIGN_GITHUB_APP_KEY", &private_key())
        .variable("COUNTERSIGN_GITHUB_WEBHOOK_SECRET", &"s3cret".repeat(6))
        .variable("COUNTERSIGN_PUBLIC_ORIGIN", "https://other.example.com")
        .variable("COUNTERSIGN_LISTEN", "[::]:9000")
        .variable("PORT", "7000")
        .variable("COUNTERSIGN_DATABASE", "postgres://gate:s3cret@db/gate")
        .variable("COUNTERSIGN_LOG_KEY", &LOG_KEY.replace('9', "A"))
        .variable("COUNTERSIGN_GRANT_KEY", LOG_KEY)
        .variable("COUNTERSIGN_NOTICE", "Closed today.")
        .variable("COUNTERSIGN_LOGIN_ISSUER", "https://people.example.com")
        .variable("COUNTERSIGN_LOGIN_CLIENT_ID", "other")
        .variable("COUNTERSIGN_LOGIN_CLIENT_SECRET", "s3cret")
        .variable("COUNTERSIGN_GITHUB_TOKEN", "s3cret")
        .variable("COUNTERSIGN_CONFIG", "x")
        .variable("COUNTERSIGN_LOG", "debug");
    let given = |name: &&str| folder.variables.contains_key(*name);
    assert!(OVERRIDES.iter().map(|one| one.variable).all(|name| given(&name)), "one is untested");
    let config = folder.accepted();
    assert_eq!(config.relying_party.id, "other.example.com");
    assert_eq!(config.listen.to_string(), "[::]:9000");
    assert_eq!(config.database_shown(), "postgres://gate@db/gate");
    assert_eq!(config.notice.as_deref(), Some("Closed today."));
    assert_eq!(config.login.issuer, "https://people.example.com");
    assert_eq!(config.login.client_id, "other");
    assert_eq!(config.login.client_secret.expose_secret(), "s3cret");
    let github = config.github.as_ref().unwrap();
    assert!(github.token.is_some());
    let app = github.app.as_ref().unwrap();
    assert_eq!(app.webhook_secret.expose_secret().len(), 36);
    assert!(app.private_key.expose_secret().starts_with("-----BEGIN PRIVATE KEY-----"));
    assert_ne!(config.log_key.public(), Folder::new(GOOD).accepted().log_key.public());
    assert!(!config.summary().contains("s3cret") && !format!("{config:?}").contains("s3cret"));
}

#[test]
fn the_port_of_cloud_run() {
    let config = Folder::new(GOOD).variable("PORT", "7000").accepted();
    assert_eq!(config.listen.to_string(), "0.0.0.0:7000");
    let folder = Folder::new(GOOD).variable("PORT", "http");
    folder.assert_refused("listen (from PORT)", "no IP address with a port");
}

#[test]
fn variables_that_cannot_be_meant() {
    let folder = Folder::new(GOOD).variable("COUNTERSIGN_DATABSE", "s3cret");
    folder.assert_refused("COUNTERSIGN_DATABSE", "COUNTERSIGN_DATABASE");
    let folder = Folder::new(GOOD).variable("COUNTERSIGN_DATABASE", "");
    folder.assert_refused("COUNTERSIGN_DATABASE", "empty");
    let folder = Folder::new(GOOD).variable("COUNTERSIGN_LOG_KEY", "s3cret");
    folder.assert_refused("log_key_file (from COUNTERSIGN_LOG_KEY)", "not 32 bytes");
}
