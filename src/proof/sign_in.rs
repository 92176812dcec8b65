//! A sign-in as it is kept and hashed: the ID token, and the groups beside it where the directory did not sign them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::canonical::{from_canonical_json, to_canonical_json};
use crate::domain::digest::Digest;
use crate::proof::evidence::SignIn;
use crate::proof::token::{numeric_date, unverified_claims};

/// What is kept where the gate read the groups itself. Nobody takes it for an ID token: it begins with a brace.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WithGateGroups {
    gate_groups: Vec<String>,
    id_token: String,
}

impl SignIn {
    /// A sign-in out of the text that is kept of it and the directory's key.
    pub fn of_text(text: String, key: String) -> Self {
        match from_canonical_json::<WithGateGroups>(&text) {
            Ok(WithGateGroups { gate_groups, id_token }) => {
                Self { id_token, key, gate_groups: Some(gate_groups) }
            }
            Err(_) => Self { id_token: text, key, gate_groups: None },
        }
    }

    /// The text that is kept of it: the ID token, or canonical JSON that holds it with the groups.
    pub fn text(&self) -> String {
        let SignIn { id_token, gate_groups, .. } = self;
        let Some(gate_groups) = gate_groups.clone() else { return id_token.clone() };
        let whole = WithGateGroups { gate_groups, id_token: id_token.clone() };
        to_canonical_json(&whole).unwrap_or_else(|_| id_token.clone())
    }

    /// What statements name it by: SHA-256 of that text, so that whoever signs signs the groups too.
    pub fn digest(&self) -> Digest {
        Digest::of(self.text())
    }
}

/// When the directory signed the ID token in a text that is kept of a sign-in, if it says that.
pub fn issued_at(text: &str) -> Option<Timestamp> {
    let claims = unverified_claims(&id_token_of(text)).ok()?;
    numeric_date(&claims, "iat").ok().flatten()
}

/// The ID token in a text that is kept of a sign-in.
pub fn id_token_of(text: &str) -> String {
    SignIn::of_text(text.to_owned(), String::new()).id_token
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_read_as_it_was_written() {
        for gate_groups in [None, Some(vec![]), Some(vec!["a".to_owned(), "b\"{".to_owned()])] {
            let sign_in = SignIn { id_token: "e.y.J".into(), key: "{}".into(), gate_groups };
            let again = SignIn::of_text(sign_in.text(), "{}".into());
            assert_eq!(again, sign_in);
            assert_eq!(again.digest(), Digest::of(sign_in.text()));
            assert_eq!(id_token_of(&sign_in.text()), "e.y.J");
        }
        let text = r#"{"gate_groups": [],"id_token":"e"}"#;
        assert_eq!(SignIn::of_text(text.into(), String::new()).gate_groups, None, "not canonical");
    }
}
