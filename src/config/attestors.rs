//! `[binary_authorization]` and `[environment.NAME.binary_authorization]`: attestations of approved images.

use std::collections::BTreeMap;
use std::path::PathBuf;

use secrecy::ExposeSecret;
use serde::Deserialize;

use crate::config::check::Check;
use crate::config::file::EnvironmentSection;
use crate::config::secret;
use crate::domain::attestation::NoteName;
use crate::integrations::binary_authorization::{
    AttestorKey, AttestorSettings, BinaryAuthorizationSettings, GOOGLE_ANALYSIS, GOOGLE_KMS,
};
use crate::integrations::cloud_credentials::GoogleAccount;

const KEY: &str = "binary_authorization";

/// `[binary_authorization]`
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct BinaryAuthorizationSection {
    /// Where Artifact Analysis is; at Google if absent.
    pub analysis_endpoint: Option<String>,
    /// Where Cloud KMS is; at Google if absent.
    pub kms_endpoint: Option<String>,
}

/// `[environment.NAME.binary_authorization]`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttestorSection {
    /// The note of the attestor.
    pub note: String,
    /// The key in Cloud KMS.
    pub kms_key: Option<String>,
    /// The file that holds the key.
    pub key_file: Option<PathBuf>,
}

/// The note that an environment's images are attested for, as its policy has it.
pub(super) fn note(
    problem: &mut dyn FnMut(&str, String),
    section: Option<&AttestorSection>,
) -> Option<NoteName> {
    let section = section?;
    NoteName::try_from(section.note.clone())
        .map_err(|error| problem("binary_authorization.note", error.to_string()))
        .ok()
}

/// How attestations are made. Notes that cannot be used have left a problem behind by [`note`].
pub(super) fn settings(
    check: &mut Check,
    section: &BinaryAuthorizationSection,
    environments: &BTreeMap<String, EnvironmentSection>,
    account: impl Fn(&str) -> GoogleAccount,
) -> Option<BinaryAuthorizationSettings> {
    let mut attestors = BTreeMap::new();
    for (name, environment) in environments {
        let Some(section) = &environment.binary_authorization else { continue };
        let key = key(check, &format!("environment.{name}.{KEY}"), section);
        if let (Ok(note), Some(key)) = (NoteName::try_from(section.note.clone()), key) {
            let settings = AttestorSettings { note, key, account: account(name) };
            attestors.insert(name.clone(), settings);
        }
    }
    // Named where they are asked alone, for the rule that everything or nothing is on this machine.
    let analysis = section.analysis_endpoint.as_deref();
    let kms = section.kms_endpoint.as_deref();
    if attestors.is_empty() && analysis.is_none() && kms.is_none() {
        let [analysis, kms] = [GOOGLE_ANALYSIS, GOOGLE_KMS].map(|url| url.parse().ok());
        return Some(BinaryAuthorizationSettings { analysis: analysis?, kms: kms?, attestors });
    }
    let uses_kms = attestors.values().any(|one| matches!(one.key, AttestorKey::CloudKms(_)));
    let analysis =
        check.endpoint(&format!("{KEY}.analysis_endpoint"), analysis.unwrap_or(GOOGLE_ANALYSIS));
    let kms = match (kms, uses_kms) {
        (None, false) => GOOGLE_KMS.parse().ok(),
        _ => check.endpoint(&format!("{KEY}.kms_endpoint"), kms.unwrap_or(GOOGLE_KMS)),
    };
    Some(BinaryAuthorizationSettings { analysis: analysis?, kms: kms?, attestors })
}

fn key(check: &mut Check, key: &str, section: &AttestorSection) -> Option<AttestorKey> {
    match (&section.kms_key, &section.key_file) {
        (Some(name), None) => {
            if !is_key_version(name) {
                check.problem(
                    &format!("{key}.kms_key"),
                    format!("{name:?} is no version of a key: write projects/P/locations/L/keyRings/R/cryptoKeys/K/cryptoKeyVersions/1"),
                );
                return None;
            }
            Some(AttestorKey::CloudKms(name.clone()))
        }
        (None, Some(path)) => {
            let key = format!("{key}.key_file");
            let text = secret::read(check, &key, path)?;
            AttestorKey::from_pem(text.expose_secret())
                .map_err(|error| check.problem(&key, format!("{} {error}", path.display())))
                .ok()
        }
        (None, None) | (Some(_), Some(_)) => {
            check.problem(key, "names no key or two: write kms_key or key_file, whichever has the key that the attestor knows");
            None
        }
    }
}

fn is_key_version(name: &str) -> bool {
    let kinds = ["projects", "locations", "keyRings", "cryptoKeys", "cryptoKeyVersions"];
    let parts: Vec<&str> = name.split('/').collect();
    let plain = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte))
    };
    parts.len() == 2 * kinds.len()
        && parts.chunks(2).zip(kinds).all(|(pair, kind)| pair[0] == kind && plain(pair[1]))
}
