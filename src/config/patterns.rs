//! Values that claims of tokens and facts of runs are compared with.

use crate::integrations::workload_oidc::WorkloadKind;

/// GitHub's claims that never come to mean somebody else.
pub(super) const GITHUB_IDS: [&str; 2] = ["repository_id", "repository_owner_id"];

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
