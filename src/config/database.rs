//! The database URL: where it comes from, and how it looks without its password.

use std::path::Path;

use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::config::check::Check;
use crate::config::file::ConfigFile;
use crate::config::secret;

/// Stands beside the configuration if it names no other.
const DEFAULT: &str = "sqlite://countersign.db";

/// The database URL, absolute and checked as far as that goes without opening it.
pub(super) fn database(check: &mut Check, file: &ConfigFile) -> Option<SecretString> {
    if let Some(url) = &file.database_secret {
        return usable(check, "database", url.expose_secret());
    }
    match (&file.database, &file.database_file) {
        (Some(_), Some(_)) => {
            check.problem("database", "is given and database_file too: keep one of them");
            None
        }
        (None, Some(path)) => {
            let url = secret::read(check, "database_file", path)?;
            usable(check, "database_file", url.expose_secret())
        }
        (Some(url), None) if has_password(url) => {
            check.problem(
                "database",
                "holds a password, and no secret stands in this file: put the whole URL into a \
                 file of its own and name that with database_file, or set COUNTERSIGN_DATABASE",
            );
            None
        }
        (Some(url), None) => usable(check, "database", url),
        (None, None) => usable(check, "database", DEFAULT),
    }
}

fn usable(check: &mut Check, key: &'static str, url: &str) -> Option<SecretString> {
    match url.split_once(':') {
        Some(("sqlite", rest)) => sqlite(check, key, rest),
        Some(("postgres" | "postgresql", _)) => match Url::parse(url) {
            Ok(_) => Some(url.to_owned().into()),
            Err(error) => {
                let form = "postgres://USER@HOST/DATABASE";
                check.problem(key, format!("cannot be read as a URL ({error}): write {form}"));
                None
            }
        },
        _ => {
            check.problem(
                key,
                "begins with neither sqlite: nor postgres: write sqlite:///absolute/path.db or \
                 postgres://USER@HOST/DATABASE",
            );
            None
        }
    }
}

/// A SQLite file: its folder must be there, and a relative path begins at the configuration.
fn sqlite(check: &mut Check, key: &'static str, rest: &str) -> Option<SecretString> {
    let rest = rest.strip_prefix("//").unwrap_or(rest);
    let (encoded, parameters) = match rest.split_once('?') {
        Some((path, parameters)) => (path, format!("?{parameters}")),
        None => (rest, String::new()),
    };
    if encoded.is_empty() || encoded == ":memory:" || parameters.contains("mode=memory") {
        check.problem(
            key,
            "names a database in memory, which would forget every approval: write \
             sqlite:///absolute/path.db",
        );
        return None;
    }
    // As a file URL, the standard's own rules say what is encoded and what a relative path means.
    let path = Url::from_directory_path(&check.folder)
        .and_then(|folder| folder.join(encoded).map_err(|_| ()))
        .and_then(|url| url.to_file_path().map(|path| (url.path().to_owned(), path)));
    let Ok((encoded, path)) = path else {
        check.problem(key, "names no file: write sqlite:///absolute/path.db");
        return None;
    };
    let folder = path.parent().unwrap_or(Path::new("/"));
    if !folder.is_dir() {
        let folder = folder.display();
        check.problem(key, format!("the folder {folder} does not exist: make it, or name another"));
        return None;
    }
    Some(format!("sqlite://{encoded}{parameters}").into())
}

fn is_password(name: &str) -> bool {
    name == "password" || name == "sslpassword"
}

fn has_password(url: &str) -> bool {
    Url::parse(url).is_ok_and(|url| {
        url.password().is_some() || url.query_pairs().any(|(name, _)| is_password(&name))
    })
}

/// The URL as it may be printed: without password.
pub(super) fn shown(url: &SecretString) -> String {
    let Ok(mut url) = Url::parse(url.expose_secret()) else {
        return "a database URL".to_owned();
    };
    // Refused only by a URL that can hold no password in the first place.
    let _ = url.set_password(None);
    if has_password(url.as_str()) {
        let plain: Vec<(String, String)> = url
            .query_pairs()
            .filter(|(name, _)| !is_password(name))
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .collect();
        url.set_query(None);
        if !plain.is_empty() {
            url.query_pairs_mut().extend_pairs(plain);
        }
    }
    url.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_is_shown() {
        for (url, expected) in [
            ("postgres://gate:s3cret@db:5432/gate", "postgres://gate@db:5432/gate"),
            ("postgres://gate@db/gate?password=s3cret", "postgres://gate@db/gate"),
            (
                "postgres://db/gate?user=gate&password=s3cret&sslmode=require",
                "postgres://db/gate?user=gate&sslmode=require",
            ),
            ("sqlite:///var/lib/gate.db", "sqlite:///var/lib/gate.db"),
            ("postgres://gate:s3cret@[/gate", "a database URL"),
        ] {
            assert_eq!(shown(&url.to_owned().into()), expected);
        }
    }

    #[test]
    fn a_password_is_noticed_wherever_it_stands() {
        assert!(has_password("postgres://gate:s3cret@db/gate"));
        assert!(has_password("postgres://gate@db/gate?host=/run&password=s3cret"));
        assert!(!has_password("postgres://gate@db/gate?host=/run"));
        assert!(!has_password("sqlite:///var/lib/gate.db?mode=rwc"));
    }
}
