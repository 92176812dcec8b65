//! `[[webhook]]` and the Slack webhooks of environments: who is told what happened.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use url::{Host, Url};

use crate::config::check::Check;
use crate::config::file::EnvironmentSection;
use crate::config::secret;
use crate::domain::notice::{Event, Subscription};
use crate::integrations::public_address::Reach;
use crate::integrations::receiver::{Form, ReceiverSettings, signing_keys};

/// `[[webhook]]`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebhookSection {
    /// What requesters and the outbox call it.
    pub name: String,
    /// Where it is.
    pub url: String,
    /// The file that holds the secret that notices are signed with.
    pub secret_file: PathBuf,
    /// Which events it is told of; of all if absent.
    pub events: Option<Vec<String>>,
}

/// More receivers than this are one system that spreads the word, and should be one receiver.
const MOST_WEBHOOKS: usize = 64;
/// The longest name of a receiver.
const LONGEST_NAME: usize = 63;

/// The receivers of a file, told over connections that go as far as `reach`. One that cannot be used has
/// left a problem behind.
pub(super) fn receivers(
    check: &mut Check,
    webhooks: Vec<WebhookSection>,
    environments: &BTreeMap<String, EnvironmentSection>,
    reach: Reach,
) -> Vec<ReceiverSettings> {
    if webhooks.len() > MOST_WEBHOOKS {
        check.problem("webhook", format!("has more than {MOST_WEBHOOKS} sections: keep fewer"));
    }
    let mut receivers: Vec<ReceiverSettings> = Vec::new();
    for section in webhooks {
        let key = format!("webhook.{}", section.name);
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let name = &section.name;
        if name.is_empty() || name.len() > LONGEST_NAME || !name.bytes().all(plain) {
            check.problem(
                "webhook.name",
                format!("{name:?} is not 1 to {LONGEST_NAME} letters, digits, hyphens and underscores: rename it"),
            );
        }
        if receivers.iter().any(|one| one.name() == name) {
            check.problem(&key, "is the name of two webhooks: rename one of them");
        }
        receivers.extend(webhook(check, &key, section, reach));
    }
    let mut seen: Vec<SecretString> = Vec::new();
    for (name, section) in environments {
        let Some(path) = &section.slack_webhook_file else { continue };
        let key = format!("environment.{name}.slack_webhook_file");
        let Some(url) = slack_url(check, &key, path, reach) else { continue };
        // A channel that several environments share is told once of what belongs to none of them.
        let general = !seen.iter().any(|other| other.expose_secret() == url.expose_secret());
        seen.push(url.clone());
        let subscription = Subscription {
            receiver: format!("slack:{name}"),
            events: Event::names().filter_map(Event::parse).collect(),
            environment: Some(name.clone()),
            general,
        };
        receivers.push(ReceiverSettings { subscription, url, form: Form::Slack });
    }
    receivers
}

fn webhook(
    check: &mut Check,
    key: &str,
    section: WebhookSection,
    reach: Reach,
) -> Option<ReceiverSettings> {
    let url = check.endpoint(&format!("{key}.url"), &section.url);
    if let Some(url) = &url {
        public(check, &format!("{key}.url"), url, reach);
    }
    let events = match section.events {
        None => Event::names().filter_map(Event::parse).collect(),
        Some(names) => events(check, &format!("{key}.events"), &names),
    };
    let key = format!("{key}.secret_file");
    let text = secret::read(check, &key, &section.secret_file)?;
    let keys = signing_keys(&text);
    if keys.is_none() {
        check.problem(
            &key,
            "holds no secret of the form that Standard Webhooks has: whsec_ and 24 to 64 bytes in \
             base64, and a second one on a line of its own while it takes the first one's place. Make \
             one with `echo whsec_$(openssl rand -base64 32)`",
        );
    }
    let subscription =
        Subscription { receiver: section.name, events, environment: None, general: true };
    Some(ReceiverSettings { subscription, url: url?.as_str().into(), form: Form::Webhook(keys?) })
}

fn events(check: &mut Check, key: &str, names: &[String]) -> BTreeSet<Event> {
    let mut events = BTreeSet::new();
    for name in names {
        match Event::parse(name) {
            Some(event) => {
                events.insert(event);
            }
            None => {
                let known = Event::names().collect::<Vec<_>>().join(", ");
                check.problem(key, format!("{name:?} is no event: write some of {known}"));
            }
        }
    }
    events
}

/// The address in a file of its own: whoever knows it can write into the channel.
fn slack_url(check: &mut Check, key: &str, path: &Path, reach: Reach) -> Option<SecretString> {
    let text = secret::read(check, key, path)?;
    // Nothing of it may stand in a message.
    let Ok(url) = Url::parse(text.expose_secret()) else {
        check.problem(key, "the file does not hold the address of an incoming webhook of Slack: put it there, and nothing else");
        return None;
    };
    let mut without_path = url.clone();
    without_path.set_path("");
    without_path.set_query(None);
    without_path.set_fragment(None);
    check.endpoint(key, without_path.as_str())?;
    public(check, key, &url, reach);
    Some(text)
}

/// An address that is written as such is judged here; what names lead to, when they are looked up.
fn public(check: &mut Check, key: &str, url: &Url, reach: Reach) {
    let address: Option<IpAddr> = match url.host() {
        Some(Host::Ipv4(address)) => Some(address.into()),
        Some(Host::Ipv6(address)) => Some(address.into()),
        Some(Host::Domain(_)) | None => None,
    };
    if address.is_some_and(|address| !reach.admits(address)) {
        check.problem(
            key,
            "leads to an address that is not public, where no notice is sent: use a name that leads to a public one",
        );
    }
}

/// How far notices go: to this machine only if the gate itself is on it.
pub(super) fn reach(public_origin: Option<&Url>) -> Reach {
    match public_origin {
        Some(origin) if super::loopback::is_loopback(origin) => Reach::WithLoopback,
        Some(_) | None => Reach::Public,
    }
}
