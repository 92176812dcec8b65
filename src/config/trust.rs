//! `[trust]` and `[enrolment]`: where chains end, and how long they must be.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::config::check::Check;
use crate::config::file::{EnrolmentSection, TrustSection};
use crate::config::metadata;
use crate::domain::policy::TrustLevel;
use crate::proof::certificate::{roots_of_pem, unusable_root};
use crate::proof::evidence::unusable_endorser;
use crate::proof::jwk::is_canonical_key;

/// More endorsements than this of one key nobody collects.
const MOST_ENDORSEMENTS: u8 = 8;

/// The anchors of a configuration. The log key has a file of its own.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Pins {
    /// How many other approvers must sign for a new key.
    pub endorsements: u8,
    /// Public keys of approvers' credentials, as COSE in base64url.
    pub endorsers: Vec<String>,
    /// How many people with such keys must sign for a recovery of the log.
    pub recovery_signatures: u8,
    /// The directory's keys, in the form of RFC 7638.
    pub login_keys: Vec<String>,
    /// The keys of workload issuers by the issuer's name, in the form of RFC 7638.
    pub workload_keys: BTreeMap<String, Vec<String>>,
    /// How many of the configured witnesses must have signed the log before a rollout begins.
    pub witnesses_required: u8,
    /// The roots of makers of authenticators, as DER in base64url.
    pub attestation_roots: Vec<String>,
    /// The root under which FIDO signs its metadata, in the same form.
    pub metadata_root: Option<String>,
}

impl Pins {
    /// Whether something is pinned that stands for people: as [`crate::proof::evidence::Trust::level`].
    pub fn level(&self) -> TrustLevel {
        TrustLevel::of(self.endorsements, &self.endorsers, &self.login_keys)
    }
}

/// The pins of a file whose workload issuers have these names.
pub(super) fn pins<'a>(
    check: &mut Check,
    trust: TrustSection,
    enrolment: &EnrolmentSection,
    issuers: impl Iterator<Item = &'a String>,
    witnesses: usize,
) -> Pins {
    let endorsements = u8::try_from(enrolment.endorsements).ok();
    let endorsements = endorsements.filter(|count| *count <= MOST_ENDORSEMENTS);
    if endorsements.is_none() {
        check.problem(
            "enrolment.endorsements",
            format!("is {}: write how many other approvers must sign for a new key, 0 to {MOST_ENDORSEMENTS}", enrolment.endorsements),
        );
    }
    if let Some(place) = unusable_endorser(&trust.endorsers) {
        check.problem(
            "trust.endorsers",
            format!("number {place} is no public key of a credential, or is listed twice: copy what `countersign keys bootstrap` printed"),
        );
    }
    let recovery_signatures = recovery_signatures(check, &trust);
    check_keys(check, "trust.login_keys", &trust.login_keys);
    let witnesses_required = u8::try_from(trust.witnesses_required).ok();
    let witnesses_required = witnesses_required.filter(|count| usize::from(*count) <= witnesses);
    if witnesses_required.is_none() {
        check.problem(
            "trust.witnesses_required",
            format!("is {}, and there are {witnesses} [[witness]] sections: write how many of them must have signed before a rollout begins, 0 for none", trust.witnesses_required),
        );
    }
    let attestation_roots = attestation_roots(check, &trust.attestation_roots);
    let metadata_root = metadata::root(check, &trust);
    let issuers: Vec<&String> = issuers.collect();
    for (name, keys) in &trust.workload_keys {
        let key = format!("trust.workload_keys.{name}");
        if !issuers.contains(&name) {
            check.problem(&key, "is the name of no [[workload_issuer]]: correct or remove it");
        }
        check_keys(check, &key, keys);
    }
    match endorsements {
        Some(0) if !trust.endorsers.is_empty() => check.warn(
            "trust.endorsers pins nothing of approvals while enrolment.endorsements is 0, since no key needs their signature (a recovery of the log does): set it to 1 or more".to_owned(),
        ),
        Some(1..) if trust.endorsers.is_empty() => check.warn(
            "enrolment.endorsements asks for signatures and trust.endorsers is empty, so no key can sign: run `countersign keys bootstrap`".to_owned(),
        ),
        Some(needed) if trust.endorsers.len() < usize::from(needed) => check.warn(format!(
            "enrolment.endorsements asks for {needed} people and trust.endorsers lists fewer, so nobody else can ever be endorsed: pin as many"
        )),
        _ => {}
    }
    Pins {
        endorsements: endorsements.unwrap_or_default(),
        endorsers: trust.endorsers,
        recovery_signatures,
        login_keys: trust.login_keys,
        workload_keys: trust.workload_keys,
        witnesses_required: witnesses_required.unwrap_or_default(),
        attestation_roots,
        metadata_root,
    }
}

/// How many people must sign for a recovery: one, where the file does not say it.
fn recovery_signatures(check: &mut Check, trust: &TrustSection) -> u8 {
    let pinned = trust.endorsers.len();
    let Some(asked) = trust.recovery_signatures else { return 1 };
    let count = u8::try_from(asked).ok().filter(|count| (1..=MOST_ENDORSEMENTS).contains(count));
    match count {
        Some(count) if usize::from(count) <= pinned => count,
        Some(count) => {
            check.problem(
                "trust.recovery_signatures",
                format!("asks for {count} people and trust.endorsers lists {pinned} keys, so no log could ever be recovered: pin more keys, or ask for fewer"),
            );
            count
        }
        None => {
            check.problem(
                "trust.recovery_signatures",
                format!("is {asked}: write how many people with pinned keys must sign for a recovery, 1 to {MOST_ENDORSEMENTS}"),
            );
            1
        }
    }
}

/// The certificates of these files. One that cannot be used has left a problem behind.
fn attestation_roots(check: &mut Check, files: &[PathBuf]) -> Vec<String> {
    let key = "trust.attestation_roots";
    let mut roots = Vec::new();
    for file in files {
        let path = check.folder.join(file);
        let shown = path.display().to_string();
        let read = std::fs::read_to_string(&path).map_err(|error| error.to_string());
        match read.and_then(|text| roots_of_pem(&text)) {
            Ok(some) => roots.extend(some),
            Err(why) => check.problem(
                key,
                format!("{shown} cannot be used: {why}. Name a file with the root certificates of a maker of security keys, as PEM"),
            ),
        }
    }
    if let Some(place) = unusable_root(&roots) {
        check
            .problem(key, format!("certificate {place} of all is there twice: remove one of them"));
    }
    roots
}

fn check_keys(check: &mut Check, name: &str, keys: &[String]) {
    for (index, key) in keys.iter().enumerate() {
        if !is_canonical_key(key) || keys[..index].contains(key) {
            let number = index + 1;
            check.problem(
                name,
                format!("number {number} is listed twice or is no JSON Web Key in the form that RFC 7638 hashes (its required members, sorted, no spaces): write '{{\"e\":\"AQAB\",\"kty\":\"RSA\",\"n\":\"…\"}}', say"),
            );
        }
    }
}
