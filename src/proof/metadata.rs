//! What FIDO says of models of authenticators (FIDO Metadata Service, version 3.0): a file that FIDO signs and
//! publishes every month, with what became known against each model. It only takes away: no key signs because of it.

use std::collections::BTreeMap;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::Value;

use super::base64url;
use super::certificate::{Certificate, CertificateRefusal, follow};
use super::token::{Unreadable, is_signed_by, unverified_claims, unverified_header};
use crate::domain::key_rules::Aaguid;

/// Whose certificate signs it (section 3.2, "Metadata BLOB object processing rules").
const SERVER: &str = "mds.fidoalliance.org";
/// What is said against a model whose keys sign nothing from then on, here. Each of them counts, whatever was said
/// later: a model keeps its AAGUID when its makers mend it, and nobody sees which of its keys are mended.
const AGAINST: [&str; 5] = [
    "REVOKED",
    "USER_VERIFICATION_BYPASS",
    "ATTESTATION_KEY_COMPROMISE",
    "USER_KEY_REMOTE_COMPROMISE",
    "USER_KEY_PHYSICAL_COMPROMISE",
];

/// What a file says whose signature holds. Only [`read`] makes one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Metadata {
    number: u64,
    next_update: Date,
    models: BTreeMap<Aaguid, Model>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Model {
    name: Option<String>,
    suspended: Option<String>,
}

/// Why a file cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetadataRefusal {
    /// It is no token.
    #[error("it is no signed file of FIDO's metadata: {0}")]
    Unreadable(#[from] Unreadable),
    /// Its header brings no certificates.
    #[error("its header names no certificates (x5c), or another algorithm than RS256 and ES256")]
    Header,
    /// A certificate does not hold.
    #[error("its signature cannot be believed: {0}")]
    Certificate(#[from] CertificateRefusal),
    /// It is signed under another root.
    #[error("its certificates do not end at the pinned root, but at {0:?}")]
    Root(String),
    /// It is signed by somebody else.
    #[error("it is signed by {0:?}, and not by {SERVER}")]
    Signer(String),
    /// The signature does not hold.
    #[error("its signature does not hold")]
    Signature,
    /// It says something that cannot be read.
    #[error("what it says cannot be read: {0}")]
    Form(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Payload {
    no: u64,
    next_update: Date,
    entries: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    aaguid: Option<Aaguid>,
    metadata_statement: Option<Described>,
    status_reports: Vec<Report>,
}

#[derive(Deserialize)]
struct Described {
    description: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    status: String,
    effective_date: Option<Date>,
}

impl Metadata {
    /// Its number, which rises with each that FIDO publishes.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The day on which FIDO publishes the next at the latest.
    pub fn next_update(&self) -> Date {
        self.next_update
    }

    /// What is said against a model, if its keys sign nothing because of it: the status, and since when.
    pub fn against(&self, model: Aaguid) -> Option<&str> {
        self.models.get(&model)?.suspended.as_deref()
    }

    /// What the makers call a model.
    pub fn name(&self, model: Aaguid) -> Option<&str> {
        self.models.get(&model)?.name.as_deref()
    }

    /// The models whose keys sign nothing.
    pub fn suspended(&self) -> impl Iterator<Item = Aaguid> {
        let models = self.models.iter().filter(|(_, model)| model.suspended.is_some());
        models.map(|(aaguid, _)| *aaguid)
    }

    /// How many models it knows.
    pub fn len(&self) -> usize {
        self.models.len()
    }

    /// Whether it knows none.
    pub fn is_empty(&self) -> bool {
        self.models.is_empty()
    }

    /// A sentence for whoever runs the gate, once there is a newer file.
    pub fn overdue(&self, now: Timestamp) -> Option<String> {
        let due = midnight(self.next_update)?;
        let next_day = due.saturating_add(SignedDuration::from_hours(24)).ok()?;
        (now >= next_day).then(|| {
            format!(
                "the file of trust.metadata, number {}, was to be replaced by {}: fetch the newest from https://mds3.fidoalliance.org/ and start the gate again, since what became known since then against a model is not in it",
                self.number, self.next_update
            )
        })
    }
}

/// Reads a file that is signed by FIDO under this root (DER, base64url), as FIDO publishes it: a JWS in compact form.
///
/// Its certificates are judged as of the day until which it is good: an older file is one to be warned of
/// ([`Metadata::overdue`]), and no reason for a gate not to start.
///
/// # Errors
/// The first thing that does not hold.
pub fn read(file: &str, root: &str) -> Result<Metadata, MetadataRefusal> {
    let token = file.trim();
    let header = unverified_header(token)?;
    let is_known = matches!(header.get("alg").and_then(Value::as_str), Some("RS256" | "ES256"));
    let chain = header.get("x5c").and_then(Value::as_array).filter(|_| is_known);
    let chain = chain.and_then(|all| all.iter().map(certificate).collect::<Option<Vec<_>>>());
    let chain = chain.ok_or(MetadataRefusal::Header)?;
    let chain: Vec<Certificate<'_>> =
        chain.iter().map(|der| Certificate::read(der)).collect::<Result<_, _>>()?;
    let claims = unverified_claims(token)?;
    let form = |error: &dyn std::fmt::Display| MetadataRefusal::Form(error.to_string());
    let said: Payload =
        serde_json::from_value(Value::Object(claims)).map_err(|error| form(&error))?;
    let good_until = midnight(said.next_update).ok_or_else(|| form(&"its nextUpdate is no day"))?;
    let ends = chain.iter().map(Certificate::valid_until).chain([good_until.as_second()]).min();
    let root = base64url::decode(root).unwrap_or_default();
    let root = [Certificate::read(&root)?];
    let at = ends.and_then(|ends| Timestamp::from_second(ends).ok()).unwrap_or(Timestamp::MIN);
    let is_under_root = follow(&chain, &root, at)?.is_some();
    let (Some(leaf), Some(last)) = (chain.first(), chain.last()) else {
        return Err(CertificateRefusal::Length.into());
    };
    if !is_under_root {
        return Err(MetadataRefusal::Root(last.issuer()));
    }
    if !leaf.servers().iter().any(|server| server == SERVER) {
        return Err(MetadataRefusal::Signer(leaf.name()));
    }
    if !leaf.json_web_key().is_some_and(|key| is_signed_by(token, &key)) {
        return Err(MetadataRefusal::Signature);
    }
    let mut models: BTreeMap<Aaguid, Model> = BTreeMap::new();
    for entry in said.entries {
        // Authenticators of FIDO U2F have no AAGUID, and no key here is known by anything else.
        let Some(aaguid) = entry.aaguid else { continue };
        let model = models.entry(aaguid).or_default();
        model.name = entry.metadata_statement.map(|said| said.description).or(model.name.take());
        let mut against = entry.status_reports.iter().filter(|one| AGAINST.contains(&&*one.status));
        model.suspended = against.next_back().map(in_words).or(model.suspended.take());
    }
    Ok(Metadata { number: said.no, next_update: said.next_update, models })
}

/// When a day begins, in UTC.
fn midnight(day: Date) -> Option<Timestamp> {
    TimeZone::UTC.to_timestamp(day.at(0, 0, 0, 0)).ok()
}

fn in_words(report: &Report) -> String {
    match report.effective_date {
        Some(since) => format!("{} since {since}", report.status),
        None => report.status.clone(),
    }
}

/// A certificate as JSON Web Signatures bring it: DER in base64 with padding (RFC 7515, section 4.1.6).
fn certificate(value: &Value) -> Option<Vec<u8>> {
    data_encoding::BASE64.decode(value.as_str()?.as_bytes()).ok()
}
