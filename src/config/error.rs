//! Why a configuration cannot be used. Every message names the file, the key and the remedy, and
//! none of them repeats a secret.

use std::fmt::{self, Write as _};
use std::path::{Path, PathBuf};

/// Why the gate does not start with a configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error(
        "the configuration {file} cannot be read ({cause}): name a readable file with --config \
         or COUNTERSIGN_CONFIG", file = file.display()
    )]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system says.
        cause: std::io::Error,
    },
    /// It is not TOML, or not in the form of a configuration.
    #[error("the configuration {file}, line {line}: {message}", file = file.display())]
    Form {
        /// The file.
        file: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong there.
        message: String,
    },
    /// It contradicts itself, or cannot mean what it says.
    #[error("the configuration {file} cannot be used:{}", list(problems), file = file.display())]
    Problems {
        /// The file.
        file: PathBuf,
        /// Everything that was found.
        problems: Vec<Problem>,
    },
}

/// One thing that must be changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The key, or the variable.
    pub key: String,
    /// What is wrong with it and what to do.
    pub text: String,
}

impl Problem {
    pub(super) fn new(key: impl Into<String>, text: impl Into<String>) -> Self {
        Self { key: key.into(), text: text.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.key, self.text)
    }
}

fn list(problems: &[Problem]) -> String {
    problems.iter().fold(String::new(), |mut list, problem| {
        // Writing to a string cannot fail.
        let _ = write!(list, "\n  {problem}");
        list
    })
}

/// What people write into the file first, and where it belongs.
const INLINE_SECRETS: [(&str, &str, &str); 4] = [
    ("key", "key_file", "COUNTERSIGN_GRANT_KEY"),
    ("log_key", "log_key_file", "COUNTERSIGN_LOG_KEY"),
    ("client_secret", "client_secret_file", "COUNTERSIGN_LOGIN_CLIENT_SECRET"),
    ("token", "token_file", "COUNTERSIGN_GITHUB_TOKEN"),
];

impl ConfigError {
    /// A complaint of the TOML reader. Its own text would quote the line, and with it a secret
    /// that should not be there.
    pub(super) fn form(file: &Path, text: &str, mut error: toml::de::Error) -> Self {
        let start = error.span().map_or(0, |span| span.start);
        let line = text.bytes().take(start).filter(|byte| *byte == b'\n').count() + 1;
        error.set_input(None);
        let mut message = error.to_string().trim_end().replace('\n', " ");
        for (key, file_key, variable) in INLINE_SECRETS {
            if message.starts_with(&format!("unknown field `{key}`")) {
                message = format!(
                    "{key} is a secret, and no secret stands in this file: put it into a file of \
                     its own and name that with {file_key}, or set {variable}"
                );
            }
        }
        Self::Form { file: file.to_owned(), line, message }
    }
}
