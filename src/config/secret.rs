//! Secrets: read from files of their own or from the environment, never printed.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use data_encoding::HEXLOWER_PERMISSIVE;
use secrecy::{ExposeSecret, SecretString};

use crate::config::check::Check;
use crate::domain::log_key::LogKey;

/// The permissions of group and others.
const NOT_THE_OWNER: u32 = 0o077;

/// Reads the secret in a file, without the white space around it.
pub(super) fn read(check: &mut Check, key: &str, path: &Path) -> Option<SecretString> {
    let path = check.folder.join(path);
    let shown = path.display();
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) => {
            let remedy = "name a file that the gate's user may read";
            check.problem(key, format!("{shown} cannot be read ({error}): {remedy}"));
            return None;
        }
    };
    if text.trim().is_empty() {
        check.problem(key, format!("{shown} is empty: write the secret into it"));
        return None;
    }
    let mode = std::fs::metadata(&path).map_or(0, |file| file.permissions().mode());
    if mode & NOT_THE_OWNER != 0 {
        let mode = mode & 0o777;
        check.warn(format!(
            "{key}: {shown} is open to other users of this machine (mode {mode:o}): chmod 600 it"
        ));
    }
    Some(text.trim().to_owned().into())
}

/// The private key of the log, from its hexadecimal seed.
pub(super) fn log_key(check: &mut Check, seed: &SecretString) -> Option<LogKey> {
    let bytes = HEXLOWER_PERMISSIVE.decode(seed.expose_secret().as_bytes());
    let key = bytes.ok().and_then(|bytes| LogKey::from_seed(&bytes).ok());
    if key.is_none() {
        check.problem(
            "log_key_file",
            "the log key is not 32 bytes in hexadecimal (64 characters): if this gate has no log \
             yet, make a key with `openssl rand -hex 32`; otherwise restore the one it had",
        );
    }
    key
}
