//! Traffic: which revisions serve which share of the requests, and of a worker pool which share of the instances.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::family::Family;
use super::refusal::Refusal;
use super::template::is_label;

/// The targets of a spec; an empty list means everything to the newest.
pub fn targets(family: Family, spec: &mut Map<String, Value>) -> Vec<Value> {
    let everything = || json!([{ "type": family.latest(), "percent": 100 }]);
    let traffic = spec.entry(family.shares()).or_insert_with(everything);
    traffic.as_array().cloned().unwrap_or_default()
}

/// Checks traffic against the revisions that exist or are about to.
///
/// # Errors
/// `INVALID_ARGUMENT` for shares that do not sum to 100, a revision that is missing or superfluous,
/// a target without a type, a wrong or repeated tag.
pub fn check(
    family: Family,
    targets: &[Value],
    exists: impl Fn(&str) -> bool,
) -> Result<(), Refusal> {
    let whole = format!("{}.{}", family.field(), family.shares());
    let (named, newest) = (Some(family.revision()), Some(family.latest()));
    let mut sum = 0;
    let mut tags = BTreeSet::new();
    for (index, target) in targets.iter().enumerate() {
        let field = |name: &str| format!("{whole}[{index}].{name}");
        let percent = target["percent"].as_i64().unwrap_or(0);
        if !(0..=100).contains(&percent) {
            return Err(Refusal::field(field("percent"), "must be from 0 to 100."));
        }
        sum += percent;
        match (target["type"].as_str(), target["revision"].as_str()) {
            (kind, Some(revision)) if kind == named && exists(revision) => {}
            (kind, Some(revision)) if kind == named => {
                let problem = format!("Revision '{revision}' does not exist.");
                return Err(Refusal::field(field("revision"), problem));
            }
            (kind, None) if kind == named => {
                return Err(Refusal::field(field("revision"), "a revision must be named."));
            }
            (kind, None) if kind == newest => {}
            (kind, Some(_)) if kind == newest => {
                let problem = "must be empty when the share is that of the latest revision.";
                return Err(Refusal::field(field("revision"), problem));
            }
            _ => return Err(Refusal::field(field("type"), "a type must be given.")),
        }
        if let Some(tag) = target["tag"].as_str()
            && !(is_label(tag) && tags.insert(tag))
        {
            let problem = format!("'{tag}' is no DNS label or given twice.");
            return Err(Refusal::field(field("tag"), problem));
        }
    }
    if sum == 100 {
        return Ok(());
    }
    Err(Refusal::field(whole, format!("the shares sum to {sum}, not to 100.")))
}

/// What the service reports as serving, from targets that are in effect. A tag has an address of
/// its own, whatever its share.
pub fn statuses(targets: &[Value], uri: &str, tags: Option<&str>) -> Vec<Value> {
    let status = |target: &Value| {
        let mut status = target.clone();
        if let (Some(tag), Some(host)) = (target["tag"].as_str(), uri.strip_prefix("https://")) {
            status["uri"] = json!(match tags {
                Some(base) => {
                    let label = host.split('.').next().unwrap_or(host);
                    format!("{base}/tags/{tag}---{label}")
                }
                None => format!("https://{tag}---{host}"),
            });
        }
        status
    };
    targets.iter().map(status).collect()
}
