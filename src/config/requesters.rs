//! Which workloads may ask: refused where more could than the author can have meant.

use std::collections::BTreeMap;

use crate::config::environments::Around;
use crate::config::file::RequesterSection;
use crate::domain::agent_credential::AGENT_ISSUER;
use crate::domain::policy::{ActsFor, RequesterMatch};
use crate::integrations::workload_oidc::WorkloadKind;

/// GitHub's claims that never come to mean somebody else.
const GITHUB_IDS: [&str; 2] = ["repository_id", "repository_owner_id"];

/// The requesters of `environment`.
pub(super) fn requesters(
    problem: &mut dyn FnMut(String),
    environment: &str,
    sections: Vec<RequesterSection>,
    around: Around<'_>,
) -> Vec<RequesterMatch> {
    let sections = sections.into_iter().enumerate();
    let matches = sections.map(|(index, section)| {
        let complain = &mut |text: String| problem(format!("requester {} {text}", index + 1));
        match section.issuer == AGENT_ISSUER {
            true => agents_with_credentials(complain, environment, &section),
            false => workload(complain, section, around),
        }
    });
    matches.collect()
}

fn workload(
    complain: &mut dyn FnMut(String),
    section: RequesterSection,
    around: Around<'_>,
) -> RequesterMatch {
    let issuer = section.issuer;
    let claims: BTreeMap<String, Vec<String>> =
        section.claims.into_iter().map(|(name, values)| (name, values.into_values())).collect();
    match around.issuers.get(&issuer) {
        None => complain(format!(
            "names the issuer {issuer:?}, and no [[workload_issuer]] has that name: add it, or correct the name"
        )),
        Some(_) if claims.is_empty() => complain(format!(
            "names no claims, so every workload that {issuer} knows could ask: name at least one"
        )),
        Some(WorkloadKind::Github) if !GITHUB_IDS.iter().any(|id| claims.contains_key(*id)) => {
            complain(
                "matches neither repository_id nor repository_owner_id: names and sub can come to mean another repository, numbers cannot. Find yours with `gh api repos/OWNER/NAME --jq .id`".to_owned(),
            );
        }
        Some(_) => {}
    }
    let kind = around.issuers.get(&issuer).copied().unwrap_or_default();
    for (name, values) in &claims {
        if values.is_empty() {
            complain(format!("lists no value for {name}: list one, or leave it out"));
        }
        for value in values {
            if let Some(fault) = fault_of_pattern(kind, name, value) {
                complain(format!("has {value:?} for {name}, {fault}"));
            }
        }
    }
    let acts_for = section.acts_for.map(|claim| {
        if claim.is_empty() {
            complain(
                "has an empty acts_for: name the claim that names the person, or leave it out"
                    .to_owned(),
            );
        }
        ActsFor { directory: around.directory.to_owned(), claim }
    });
    RequesterMatch { issuer, claims, acts_for }
}

/// Agents with credentials of the gate: each is for one environment, and may ask in no other.
fn agents_with_credentials(
    complain: &mut dyn FnMut(String),
    environment: &str,
    section: &RequesterSection,
) -> RequesterMatch {
    if !section.claims.is_empty() {
        complain(format!(
            "names claims of {AGENT_ISSUER}, whose credentials are for this environment alone: leave claims out"
        ));
    }
    if section.acts_for.is_some() {
        complain(format!(
            "has acts_for, and credentials of {AGENT_ISSUER} act for who issued them: leave acts_for out"
        ));
    }
    let environment = ("environment".to_owned(), vec![environment.to_owned()]);
    RequesterMatch { issuer: AGENT_ISSUER.to_owned(), claims: [environment].into(), acts_for: None }
}

/// What is wrong with one acceptable value of a claim.
pub(super) fn fault_of_pattern(
    kind: WorkloadKind,
    claim: &str,
    value: &str,
) -> Option<&'static str> {
    let is_number = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    match value.strip_suffix('*').unwrap_or(value) {
        "" if value == "*" => Some("which anything matches: name a value, or leave the claim out"),
        "" => Some("which is empty: name a value"),
        prefix if prefix.contains('*') => Some("but a * stands at the end alone"),
        _ if kind == WorkloadKind::Github && GITHUB_IDS.contains(&claim) && !is_number => {
            Some("but GitHub's ids are whole numbers: write one in full")
        }
        _ => None,
    }
}
