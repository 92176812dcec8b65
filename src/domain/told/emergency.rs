//! What an entry tells of an emergency: a broken glass, who signed for it, and a sign-in with a key alone.

use serde_json::Value;

use super::groups;
use crate::domain::exception::{EXCEPTION_CLOSED, EXCEPTION_OPENED};
use crate::domain::key_sign_in::SIGNED_IN_WITH_KEY;

/// One sentence on an entry of this kind.
pub(super) fn told(kind: &str, data: &Value) -> String {
    let text = |name: &str| data[name].as_str().unwrap_or("?");
    match kind {
        SIGNED_IN_WITH_KEY => format!(
            "{} signed in with the key {} alone, since the directory could not be reached since {}: as a member of {}, as it signed at {}.",
            text("name"),
            text("credential"),
            text("directory_unreachable_since"),
            groups(data),
            text("signed_in_at")
        ),
        EXCEPTION_OPENED => format!(
            "{} broke the glass for {}{}, because “{}”: somebody else has to sign for it before {}.",
            text("by_name"),
            text("approval"),
            outage(data),
            text("reason").trim(),
            text("explain_before")
        ),
        EXCEPTION_CLOSED => format!(
            "{} signed for the glass that was broken for {} (entry {}): “{}”.",
            text("by_name"),
            text("approval"),
            data["entry"],
            text("explanation").trim()
        ),
        _ => format!(
            "Nobody else signed in time for the glass that was broken for {} (entry {}).",
            text("approval"),
            data["entry"]
        ),
    }
}

/// That the directory could not be reached then, if so.
fn outage(data: &Value) -> String {
    let since = data["directory_unreachable_since"].as_str();
    since
        .map(|since| format!(" while the directory could not be reached, since {since}"))
        .unwrap_or_default()
}
