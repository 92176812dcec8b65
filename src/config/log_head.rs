//! `[log]`: where the newest head of the log is kept outside the database.

use crate::config::check::Check;
use crate::config::file::LogSection;
use crate::integrations::cloud_credentials::{CredentialSource, GoogleAccount};
use crate::integrations::cloud_storage::{GOOGLE_STORAGE, ObjectName, ObjectSettings};
use crate::integrations::log_head::LogHeadPlace;

const KEY: &str = "log.head";
const ENDPOINT: &str = "log.endpoint";

/// Without a place outside the database the gate still starts, and says what that means.
pub(super) fn place(
    check: &mut Check,
    section: &LogSection,
    account: &GoogleAccount,
) -> LogHeadPlace {
    let head = section.head.as_deref().unwrap_or_default();
    let scheme = head.split_once(':').map(|(scheme, _)| scheme);
    if scheme == Some("gs") {
        return object(check, head, section.endpoint.as_deref(), account);
    }
    if section.endpoint.is_some() {
        check.problem(ENDPOINT, "is of no use: log.head names no object of Cloud Storage");
    }
    if head.is_empty() {
        check.warn(
            "log.head is missing: only this process remembers how long the log was, so that after \
             a restart a restored or shortened database passes for the newest: name a file or an \
             object that is kept apart from the database"
                .to_owned(),
        );
        return LogHeadPlace::Memory;
    }
    if head.contains("://") {
        check.problem(
            KEY,
            format!("{head:?} is no place for it: write a path, or gs://BUCKET/OBJECT"),
        );
    }
    LogHeadPlace::File(check.folder.join(head))
}

fn object(
    check: &mut Check,
    head: &str,
    endpoint: Option<&str>,
    account: &GoogleAccount,
) -> LogHeadPlace {
    let endpoint = match endpoint {
        Some(text) => check.endpoint(ENDPOINT, text).filter(|url| {
            let host = url.host_str().unwrap_or_default();
            // What is not encrypted is refused elsewhere, unless everything is on this machine.
            let is_googles = account.source == CredentialSource::Anonymous
                || url.scheme() == "http"
                || host.ends_with(".googleapis.com");
            if !is_googles {
                // It is read before the rules in force are known, so that no signature can allow it.
                check.problem(
                    ENDPOINT,
                    format!("{host} would be given the gate's Google token: name a host of googleapis.com"),
                );
            }
            is_googles
        }),
        // Named all the same, for the rule that everything or nothing is on this machine.
        None => check.endpoint(KEY, GOOGLE_STORAGE),
    };
    let name = ObjectName::parse(head).map_err(|error| {
        check.problem(KEY, format!("{head:?} names no object of Cloud Storage: {error}"));
    });
    match (name, endpoint) {
        (Ok(name), Some(endpoint)) => {
            LogHeadPlace::Object(ObjectSettings { name, endpoint, account: account.clone() })
        }
        // A problem was noted.
        _ => LogHeadPlace::Memory,
    }
}
