//! What the process environment says: variables that take the place of keys of the file.

use std::collections::BTreeMap;

use secrecy::SecretString;

use crate::config::error::Problem;
use crate::config::file::ConfigFile;
use crate::config::github::GitHubAppSection;

/// What every variable of the gate begins with, so that a misspelt one is noticed.
pub const PREFIX: &str = "COUNTERSIGN_";

/// The variable of the log's filter, which no key of the file stands for: the log begins before
/// the file is read.
const LOG_FILTER: &str = "COUNTERSIGN_LOG";

/// A variable that takes the place of a key.
pub struct Override {
    /// The variable.
    pub variable: &'static str,
    /// The key that it stands for.
    pub key: &'static str,
    /// What it is for.
    pub meaning: &'static str,
    set: fn(&mut ConfigFile, String),
}

/// Every override. A later one wins over an earlier one of the same key.
pub const OVERRIDES: [Override; 13] = [
    Override {
        variable: "PORT",
        key: "listen",
        meaning: "listen on this port of all addresses, as Cloud Run asks",
        set: |file, port| file.listen = Some(format!("0.0.0.0:{port}")),
    },
    Override {
        variable: "COUNTERSIGN_LISTEN",
        key: "listen",
        meaning: "the address and port to listen on",
        set: |file, text| file.listen = Some(text),
    },
    Override {
        variable: "COUNTERSIGN_PUBLIC_ORIGIN",
        key: "public_origin",
        meaning: "the origin under which browsers reach the gate",
        set: |file, text| file.public_origin = Some(text),
    },
    Override {
        variable: "COUNTERSIGN_DATABASE",
        key: "database",
        meaning: "the database URL, with or without a password",
        set: |file, text| file.database_secret = Some(text.into()),
    },
    Override {
        variable: "COUNTERSIGN_LOG_KEY",
        key: "log_key_file",
        meaning: "the private key of the log, 64 hexadecimal characters",
        set: |file, text| file.log_key = Some(text.into()),
    },
    Override {
        variable: "COUNTERSIGN_GRANT_KEY",
        key: "grant.key_file",
        meaning: "the private key of grants, 64 hexadecimal characters",
        set: |file, text| file.grant.key = Some(text.into()),
    },
    Override {
        variable: "COUNTERSIGN_NOTICE",
        key: "notice",
        meaning: "a sentence for the top of every page",
        set: |file, text| file.notice = Some(text),
    },
    Override {
        variable: "COUNTERSIGN_LOGIN_ISSUER",
        key: "login.issuer",
        meaning: "the issuer URL of the directory that people sign in at",
        set: |file, text| file.login.issuer = Some(text),
    },
    Override {
        variable: "COUNTERSIGN_LOGIN_CLIENT_ID",
        key: "login.client_id",
        meaning: "the gate's client id at the directory",
        set: |file, text| file.login.client_id = Some(text),
    },
    Override {
        variable: "COUNTERSIGN_LOGIN_CLIENT_SECRET",
        key: "login.client_secret_file",
        meaning: "the secret of that client",
        set: |file, text| file.login.client_secret = Some(text.into()),
    },
    Override {
        variable: "COUNTERSIGN_GITHUB_TOKEN",
        key: "github.token_file",
        meaning: "a token that may read the commits of private repositories",
        set: |file, text| {
            file.github.get_or_insert_default().token = Some(SecretString::from(text));
        },
    },
    Override {
        variable: "COUNTERSIGN_GITHUB_APP_KEY",
        key: "github.app.private_key_file",
        meaning: "the private key of the gate's GitHub App, PEM",
        set: |file, text| app(file).private_key = Some(SecretString::from(text)),
    },
    Override {
        variable: "COUNTERSIGN_GITHUB_WEBHOOK_SECRET",
        key: "github.app.webhook_secret_file",
        meaning: "the secret of that App's webhook",
        set: |file, text| app(file).webhook_secret = Some(SecretString::from(text)),
    },
];

fn app(file: &mut ConfigFile) -> &mut GitHubAppSection {
    file.github.get_or_insert_default().app.get_or_insert_default()
}

/// Variables that stand for no key of the file, and what they are for.
pub const OTHER_VARIABLES: [(&str, &str); 8] = [
    ("COUNTERSIGN_CONFIG", "the configuration file, in place of --config"),
    (
        "COUNTERSIGN_GATE",
        "for `countersign request`, `wait` and `exec`: the gate's address, in place of --gate",
    ),
    ("COUNTERSIGN_TOKEN", "for the same: the identity token of the job"),
    ("COUNTERSIGN_TRUST", "for `countersign exec`: the file of trust anchors, in place of --trust"),
    ("COUNTERSIGN_APPROVAL", "what `countersign exec` tells the command: its approval's id"),
    ("COUNTERSIGN_EVIDENCE", "the same: the path of the verified evidence"),
    ("COUNTERSIGN_GRANT", "the same: the grant, which was used up for this one run"),
    (LOG_FILTER, "what is logged: info, or directives such as info,countersign=debug"),
];

/// The whole environment of this process, for those who ask a gate from a pipeline's job. A value that is
/// not Unicode is passed on with replacement characters, which nothing accepts.
pub fn environment() -> BTreeMap<String, String> {
    let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
    std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect()
}

/// The variables of this process that concern the gate.
pub fn of_process() -> BTreeMap<String, String> {
    let mut variables = environment();
    variables.retain(|name, _| name == "PORT" || name.starts_with(PREFIX));
    variables
}

/// The log's filter, if the environment names one.
pub fn log_filter() -> Option<String> {
    of_process().remove(LOG_FILTER)
}

/// Puts the variables into their places. Gives, for each key that was replaced, the variable that
/// did, so that a complaint can name it.
pub(super) fn apply(
    file: &mut ConfigFile,
    variables: &BTreeMap<String, String>,
    problems: &mut Vec<Problem>,
) -> BTreeMap<&'static str, &'static str> {
    let mut sources = BTreeMap::new();
    for one in &OVERRIDES {
        let Some(value) = variables.get(one.variable) else { continue };
        if value.trim().is_empty() {
            problems.push(Problem::new(
                one.variable,
                format!("is set and empty: unset it, or give it {}", one.meaning),
            ));
            continue;
        }
        (one.set)(file, value.trim().to_owned());
        sources.insert(one.key, one.variable);
    }
    for name in variables.keys().filter(|name| name.starts_with(PREFIX) && !is_known(name)) {
        problems.push(Problem::new(
            name,
            format!("is no variable of the gate: unset it, or use one of {}", known().join(", ")),
        ));
    }
    sources
}

fn known() -> Vec<&'static str> {
    let overrides = OVERRIDES.iter().map(|one| one.variable);
    overrides.chain(OTHER_VARIABLES.iter().map(|(name, _)| *name)).collect()
}

fn is_known(name: &str) -> bool {
    known().contains(&name)
}
