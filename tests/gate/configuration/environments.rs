//! Environments in which nobody, or anybody, could act.

use super::{Folder, GOOD, assert_refused};

#[test]
fn an_environment_needs_every_part() {
    let at = GOOD.find("[environment").unwrap();
    Folder::new(&GOOD[..at]).assert_refused("environment", "[environment.production]");
    for (part, key, consequence) in [
        ("services = [\"projects/p/locations/r/services/web\"]\n", "services", "nothing could be"),
        ("images = [\"registry.example.com/app/web\"]\n", "images", "nothing could be deployed"),
        (
            "rules = [{ from = [\"group:release-managers\"], count = 1 }]\n",
            "rules",
            "nobody could sign",
        ),
        (
            "requesters = [{ issuer = \"github\", claims = { repository_id = \"1001\", ref = \"refs/heads/main\" } }]\n",
            "requesters",
            "nobody could ask",
        ),
    ] {
        assert_refused(part, "", &format!("environment.production.{key}"), consequence);
    }
    let named = "[environment.\"a/b\"]";
    assert_refused("[environment.staging]", named, "environment.a/b.name", "rename it");
}

#[test]
fn rules_that_nobody_or_anybody_could_meet() {
    let key = "environment.production.rules";
    let from = "from = [\"group:release-managers\"], count = 1";
    let refused = |rule: &str, says: &str| assert_refused(from, rule, key, says);
    refused("from = [\"group:a\"], count = 0", "rule 1 has the count 0");
    refused("from = [\"group:a\"], count = -1", "1 to 16");
    refused("from = [\"group:a\"], count = 17", "1 to 16");
    refused("from = [], count = 1", "empty from");
    refused("from = [\"person:a\", \"person:b\"], count = 3", "lists 2");
    refused("from = [\"person:a\", \"person:a\"], count = 2", "lists 1");
    let same = "from = [\"person:a\"], count = 1 }, { from = [\"person:a\"], count = 1";
    refused(same, "a person counts for one rule only");
    let one_group =
        "from = [\"person:a\"], count = 1 }, { from = [\"person:a\", \"group:g\"], count = 1";
    Folder::with(from, one_group).accepted();
    Folder::with(from, "from = [\"person:a\", \"group:g\"], count = 16").accepted();
}

#[test]
fn steps_expiry_services_and_images() {
    let key = "environment.production.steps";
    for steps in ["[]", "[0, 100]", "[50]", "[50, 50, 100]", "[100, 50]"] {
        assert_refused("[10, 100]", steps, key, "rise to 100");
    }
    let key = "environment.production.expires_in";
    for time in ["0s", "10s", "8d", "169h", "-8h", "8", "soon", ""] {
        assert_refused("8h", time, key, "between 30 seconds and 7 days");
    }
    for (time, seconds) in
        [("7d", 604_800), ("1h 30m", 5_400), ("90 minutes", 5_400), ("PT2H", 7_200)]
    {
        let config = Folder::with("8h", time).accepted();
        assert_eq!(config.environments["production"].expires_in_seconds, seconds);
    }
    let key = "environment.production.images";
    let image = "registry.example.com/app/web";
    let digest = "a".repeat(64);
    for wrong in [":latest".to_owned(), format!("@sha256:{digest}"), "/".to_owned(), " ".to_owned()]
    {
        assert_refused(image, &format!("{image}{wrong}"), key, "without tag or digest");
    }
    let (web, staging) = ("projects/p/locations/r/services/web", "services/staging");
    assert_refused(web, "web", "environment.production.services", "projects/PROJECT");
    let key = "environment.staging.services";
    assert_refused(staging, "services/web", key, "also listed in environment.production");
}

#[test]
fn how_many_wait_and_for_how_long() {
    let expires = "expires_in = \"8h\"";
    let with = |line: &str| format!("{expires}\n{line}");
    let key = "environment.production.execute_within";
    for time in ["9s", "8d", "soon", ""] {
        let line = with(&format!("execute_within = \"{time}\""));
        assert_refused(expires, &line, key, "between 10 seconds and 7 days");
    }
    let key = "environment.production.max_pending";
    for count in ["0", "-1", "10001"] {
        assert_refused(expires, &with(&format!("max_pending = {count}")), key, "1 to 10000");
    }
    let unknown = Folder::with(expires, &with("newer_request = \"replace\"")).refused().join(" ");
    assert!(unknown.contains("supersede") && unknown.contains("replace"), "{unknown}");
    // Nothing begins after the request itself has run out.
    let config = Folder::with(expires, &with("execute_within = \"7d\"")).accepted();
    assert_eq!(config.environments["production"].execute_within_seconds, 28_800);
    let config = Folder::with(expires, expires).accepted();
    assert_eq!(config.environments["production"].execute_within_seconds, 3_600);
}

#[test]
fn requesters_that_would_let_others_ask() {
    let key = "environment.production.requesters";
    let claims = "repository_id = \"1001\", ref = \"refs/heads/main\"";
    let refused = |claims_now: &str, says: &str| assert_refused(claims, claims_now, key, says);
    refused("", "names no claims");
    refused("sub = \"repo:o/r:ref:refs/heads/main\"", "can come to mean another repository");
    refused("repository = \"o/r\", ref = \"refs/heads/main\"", "repository_id");
    refused("repository_id = \"1001\", ref = \"*\"", "anything matches");
    refused("repository_id = \"1001\", ref = \"refs/*/main\"", "at the end alone");
    refused("repository_id = \"1001\", ref = \"\"", "is empty");
    refused("repository_id = \"1001\", ref = []", "no value for ref");
    refused("repository_id = \"100*\"", "whole numbers");
    refused("repository_owner_id = \"octo\"", "whole numbers");
    Folder::with(claims, "repository_owner_id = \"7\", ref = \"refs/tags/v*\"").accepted();
    assert_refused("issuer = \"github\",", "issuer = \"gitlab\",", key, "\"gitlab\"");
}

#[test]
fn what_is_asked_of_keys_can_be_meant() {
    let refused = |keys: &str, key: &str, says: &str| {
        let with = format!("expires_in = \"8h\"\nkeys = {{ {keys} }}");
        assert_refused(
            "expires_in = \"8h\"",
            &with,
            &format!("environment.production.keys.{key}"),
            says,
        );
    };
    let model = "cb69481e-8ff7-4039-93ec-0a2729a154a8";
    refused("minimum_keys = 0", "minimum_keys", "1 to 8");
    refused("minimum_keys = 9", "minimum_keys", "1 to 8");
    refused("cool_down = \"31d\"", "cool_down", "between 0 seconds and 30 days");
    refused("replacement_grace = \"-1d\"", "replacement_grace", "between 0 seconds and 90 days");
    refused("allow = [\"YubiKey 5\"]", "allow", "\"YubiKey 5\" is no AAGUID");
    refused(&format!("deny = [\"{}\"]", model.to_uppercase()), "deny", "is no AAGUID");
    refused(&format!("allow = [\"{model}\", \"{model}\"]"), "allow", "twice");
    refused(&format!("allow = [\"{model}\"], deny = [\"{model}\"]"), "deny", "allow lists as well");
}
