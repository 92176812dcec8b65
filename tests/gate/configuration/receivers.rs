//! Who is told what happened: receivers that nobody could have meant.

use countersign::domain::notice::Event;
use countersign::integrations::public_address::Reach;

use super::{Folder, GOOD};

const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
const HOOK: &str = "[[webhook]]\nname = \"deploys\"\nurl = \"https://hooks.example.com/in\"\nsecret_file = \"hook-secret\"\n";

fn folder(webhooks: &str) -> Folder {
    let folder = Folder::new(&format!("{GOOD}\n{webhooks}"));
    folder.write("hook-secret", &format!("{SECRET}\n"));
    folder
}

#[test]
fn receivers_are_what_the_file_says() {
    let some = HOOK.replace("deploys", "some") + "events = [\"key.added\", \"rollout.failed\"]\n";
    let none = HOOK.replace("deploys", "none") + "events = []\n";
    let config = folder(&[HOOK, &some, &none].concat()).accepted();
    assert_eq!(config.reach, Reach::Public);
    let events = |place: usize| config.receivers[place].subscription.events.len();
    assert_eq!((events(0), events(1), events(2)), (Event::names().count(), 2, 0));
    assert_eq!(config.receivers[0].shown(), "https://hooks.example.com");
    let shown = [config.summary(), format!("{config:?}")].concat();
    assert!(!shown.contains("C2FVsBQ") && !shown.contains("/in"), "{shown}");
    assert!(shown.contains("some at https://hooks.example.com, told of key.added, rollout.failed"));
}

#[test]
fn a_channel_that_two_environments_share_hears_general_things_once() {
    let text = GOOD
        .replace("steps = [10, 100]", "steps = [10, 100]\nslack_webhook_file = \"slack\"")
        .replace("expires_in = \"30m\"", "expires_in = \"30m\"\nslack_webhook_file = \"slack\"");
    let folder = Folder::new(&text);
    folder.write("slack", "https://hooks.slack.com/services/T0/B0/s3cret\n");
    let config = folder.accepted();
    let general: Vec<bool> = config.receivers.iter().map(|one| one.subscription.general).collect();
    assert_eq!(general, [true, false]);
    assert!(!format!("{config:?}{}", config.summary()).contains("s3cret"));
    let key = "environment.production.slack_webhook_file";
    for (address, says) in [
        ("not an address s3cret", "does not hold the address"),
        ("https://10.0.0.1/s3cret", "not public"),
    ] {
        folder.write("slack", address);
        let lines = folder.refused();
        assert!(lines.iter().all(|line| line.contains(says)), "{lines:#?}");
        assert!(lines[0].starts_with(key), "{lines:#?}");
    }
}

#[test]
fn receivers_that_cannot_be_meant() {
    let refused = |part: &str, other: &str, key: &str, says: &str| {
        assert!(HOOK.contains(part));
        folder(&HOOK.replace(part, other)).assert_refused(key, says);
    };
    refused("deploys", "a b", "webhook.name", "rename it");
    refused("deploys", "slack:production", "webhook.name", "rename it");
    let url = "https://hooks.example.com/in";
    refused(url, "hooks", "webhook.deploys.url", "no https address");
    refused(url, "ftp://hooks.example.com", "webhook.deploys.url", "no https address");
    refused(url, "http://hooks.example.com/in", "webhook.deploys.url", "use https");
    refused(url, "https://u:p@hooks.example.com", "webhook.deploys.url", "user name");
    for private in [
        "10.1.2.3",
        "192.168.0.1",
        "127.0.0.1",
        "169.254.169.254",
        "[::1]",
        "[fd00::1]",
        "[::ffff:10.0.0.1]",
        "0x0a000001",
        "167772161",
    ] {
        let private = format!("https://{private}/in");
        refused(url, &private, "webhook.deploys.url", "not public");
    }
    let events = "secret_file = \"hook-secret\"\nevents = [\"approval\"]";
    let secret = "secret_file = \"hook-secret\"";
    refused(secret, events, "webhook.deploys.events", "approval.requested, approval.expiring");
    refused(secret, "secret_file = \"none\"", "webhook.deploys.secret_file", "cannot be read");
    folder(&[HOOK, HOOK].concat()).assert_refused("webhook.deploys", "rename one of them");
    for bad in ["s3cret", "whsec_c2hvcnQ=", &format!("{SECRET}\n{SECRET}\n{SECRET}")] {
        let folder = folder(HOOK);
        folder.write("hook-secret", bad);
        folder.assert_refused("webhook.deploys.secret_file", "openssl rand -base64 32");
    }
}
