//! The last sign-in of a person, read again while the directory cannot be reached.

use jiff::Timestamp;
use serde_json::Value;

use super::failure::{Code, Failure};
use super::judge::Strict;
use super::sign_in::verify;
use crate::domain::person::{Person, Profile};
use crate::proof::evidence::{SignIn, Trust};

/// What the directory signed at the last sign-in of a person. Only [`verify_last_sign_in`] makes one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LastSignIn {
    profile: Profile,
    issued_at: Timestamp,
}

impl LastSignIn {
    /// Who it is, with what the directory said then.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// When the directory signed it.
    pub fn issued_at(&self) -> Timestamp {
        self.issued_at
    }
}

/// Verifies a sign-in that was kept, of which the ledger recorded the thumbprint of the directory's key.
/// `github_id_claim` holds the number of an account at GitHub, where the rules ask for one.
///
/// # Errors
/// By the codes of evidence: it is not of the pinned directory for this gate, or says not who it is of and when.
pub fn verify_last_sign_in(
    kept: &SignIn,
    recorded_key: &str,
    github_id_claim: Option<&str>,
    trust: &Trust,
) -> Result<LastSignIn, Failure> {
    let verified = verify(kept, Some(recorded_key), &trust.login, &Strict)?;
    let invalid = |what: &str| Code::SignInInvalid.because(format!("a sign-in says not {what}"));
    let text = |name: &str| {
        let text = verified.claim(name).and_then(Value::as_str);
        text.filter(|text| !text.is_empty()).map(str::to_owned)
    };
    let person: Person = verified.person().ok_or_else(|| invalid("whose it is"))?;
    let groups = verified.groups(&trust.login.groups_claim, false);
    let is_verified = verified.claim("email_verified") == Some(&Value::Bool(true));
    let email = text("email").filter(|_| is_verified);
    let profile = Profile {
        name: text("name").or_else(|| email.clone()).unwrap_or_else(|| person.subject.clone()),
        email,
        groups: groups.ok_or_else(|| invalid("the groups as a list"))?,
        github_id: verified.github_id(github_id_claim),
        gate_groups: kept.gate_groups.is_some(),
        directory_unreachable_since: None,
        person,
    };
    let issued_at = verified.issued_at().ok_or_else(|| invalid("when it was"))?;
    Ok(LastSignIn { profile, issued_at })
}
