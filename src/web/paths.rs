//! The addresses that pages link to. Handlers and templates both take them from here.

use data_encoding::HEXUPPER;

use crate::domain::ids::ApprovalId;

/// The list of approvals.
pub const INBOX: &str = "/";
/// A person's own keys.
pub const KEYS: &str = "/keys";
/// The environments, and what is frozen.
pub const ENVIRONMENTS: &str = "/environments";
/// The credentials of agents.
pub const AGENTS: &str = "/agents";
/// The credentials of agents, after one of them was revoked.
pub const AGENT_REVOKED: &str = "/agents?revoked=1";
/// The keys of all approvers.
pub const ALL_KEYS: &str = "/keys/all";
/// A person's own keys, after one was added.
pub const KEY_REGISTERED: &str = "/keys?registered=1";
/// A person's own keys, after one of them was revoked.
pub const KEY_REVOKED: &str = "/keys?revoked=1";
/// A person's own keys, after one of them was reported as lost.
pub const KEY_LOST: &str = "/keys?lost=1";
/// The keys of all approvers, after one of them was revoked.
pub const ANOTHERS_KEY_REVOKED: &str = "/keys/all?revoked=1";
/// The ledger, for those who may read it.
pub const AUDIT: &str = "/audit";
/// The same as JSON lines.
pub const AUDIT_JSONL: &str = "/audit/entries.jsonl";
/// The same for a spreadsheet.
pub const AUDIT_CSV: &str = "/audit/entries.csv";
/// The keys of all approvers, after one of them was endorsed.
pub const ANOTHERS_KEY_ENDORSED: &str = "/keys/all?endorsed=1";
/// What changed of services and no approval explains.
pub const DRIFT: &str = "/drift";
/// Where the glass was broken.
pub const EXCEPTIONS: &str = "/exceptions";
/// Who is told what happens, and who was not.
pub const NOTICES: &str = "/notices";
/// The one-time link of the first key.
pub const FIRST_KEY: &str = "/keys/first";
/// A recovery of the log; its one-time links begin with it.
pub const RECOVERY: &str = "/recovery";
/// The same, after it was carried out.
pub const RECOVERED: &str = "/recovery?done=1";
/// Where a recovery is signed; POST only.
pub const RECOVERY_SIGNATURES: &str = "/recovery/signatures";
/// Starts a sign-in; takes the local path to come back to as `return_to`.
pub const SIGN_IN: &str = "/sign-in";
/// Signs in with a key alone, while the directory cannot be reached; takes `return_to` as well.
pub const KEY_SIGN_IN: &str = "/sign-in/key";
/// Ends a session; POST only.
pub const SIGN_OUT: &str = "/sign-out";

/// The page of one approval.
pub fn approval(id: &ApprovalId) -> String {
    format!("/approvals/{id}")
}

/// The page of the batch that an approval is in.
pub fn batch(id: &ApprovalId) -> String {
    format!("/approvals/{id}/batch")
}

/// The evidence of one approval, for people who are signed in.
pub fn evidence(id: &ApprovalId) -> String {
    format!("/approvals/{id}/evidence")
}

/// Where a key is revoked, by its id in base64url; POST only.
pub fn revocations(credential: &str) -> String {
    format!("{KEYS}/{credential}/revocations")
}

/// Where a key is reported as lost, by its id in base64url; POST only.
pub fn losses(credential: &str) -> String {
    format!("{KEYS}/{credential}/losses")
}

/// What is reported of a lost key, before the directory vouches for it.
pub fn loss(ceremony: &str) -> String {
    format!("{KEYS}/losses/{ceremony}")
}

/// The sign-in with which the directory vouches for what waits in a ceremony.
pub fn vouching_sign_in(ceremony: &str) -> String {
    format!("{SIGN_IN}?ceremony={ceremony}")
}

/// One entry of the ledger with what its place can be checked by.
pub fn entry(index: u64) -> String {
    format!("/log/entries/{index}")
}

/// A path with these parameters, but for the empty ones.
pub fn with_query(path: &str, parameters: &[(&str, &str)]) -> String {
    let pairs = parameters.iter().filter(|(_, value)| !value.is_empty());
    let pairs: Vec<String> =
        pairs.map(|(name, value)| format!("{name}={}", percent_encode(value))).collect();
    if pairs.is_empty() { path.to_owned() } else { format!("{path}?{}", pairs.join("&")) }
}

/// Where a key is endorsed, by its id in base64url.
pub fn endorsement(credential: &str) -> String {
    format!("{KEYS}/{credential}/endorsement")
}

/// A sign-in that leads back to `return_to`, a path of this gate.
pub fn sign_in(return_to: &str) -> String {
    format!("{SIGN_IN}?return_to={}", percent_encode(return_to))
}

/// A sign-in with a key alone that leads back to `return_to`, a path of this gate.
pub fn key_sign_in(return_to: &str) -> String {
    format!("{KEY_SIGN_IN}?return_to={}", percent_encode(return_to))
}

/// Percent-encodes everything but the unreserved characters of RFC 3986 and `/`.
fn percent_encode(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'/') {
            encoded.push(char::from(byte));
        } else {
            encoded.push('%');
            encoded.push_str(&HEXUPPER.encode(&[byte]));
        }
        encoded
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn return_paths_stay_one_parameter() {
        assert_eq!(sign_in("/approvals/apr_x"), "/sign-in?return_to=/approvals/apr_x");
        assert_eq!(sign_in("/a?b=c&d=é#e"), "/sign-in?return_to=/a%3Fb%3Dc%26d%3D%C3%A9%23e");
    }
}
