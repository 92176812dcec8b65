//! `[[witness]]`: who else sees the log grow.

use serde::Deserialize;

use crate::config::check::Check;
use crate::integrations::witness::WitnessSettings;
use crate::proof::evidence::unusable_witness;

/// `[[witness]]`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WitnessSection {
    /// Its verifier key.
    pub key: String,
    /// The prefix of its addresses (tlog-witness calls it the submission prefix).
    pub url: String,
}

/// More witnesses than this make every tree head a long file and every round a long one.
const MOST_WITNESSES: usize = 16;

/// The witnesses of a file. One that cannot be used has left a problem behind.
pub(super) fn witnesses(check: &mut Check, sections: Vec<WitnessSection>) -> Vec<WitnessSettings> {
    if sections.len() > MOST_WITNESSES {
        check.problem("witness", format!("has more than {MOST_WITNESSES} sections: keep fewer"));
    }
    let keys: Vec<String> = sections.iter().map(|section| section.key.clone()).collect();
    if let Some(place) = unusable_witness(&keys) {
        check.problem(
            &format!("witness.{place}.key"),
            "is no verifier key of a witness (NAME+HASH+BASE64, signature type 4), or one that is listed before: copy what the witness's operator published",
        );
    }
    let mut witnesses = Vec::with_capacity(sections.len());
    for (place, section) in (1..).zip(sections) {
        let key = format!("witness.{place}.url");
        let Some(url) = check.endpoint(&key, &section.url) else { continue };
        if url.query().is_some() {
            check.problem(&key, "has a query: write the prefix before /add-checkpoint alone");
        }
        witnesses.push(WitnessSettings { key: section.key, url });
    }
    witnesses
}
