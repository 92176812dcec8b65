//! The groups of a person: those of the ID token, which the directory signed, and where it holds none or points
//! elsewhere, those that the gate reads itself.

use http::{Request, header};
use openidconnect::core::CoreProviderMetadata;
use serde_json::{Map, Value};

use super::{GroupsFrom, LoginProvider, SignInRefusal, VerifiedSignIn};

/// What an ID token says of groups.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum SignedGroups {
    /// These.
    Listed(Vec<String>),
    /// Nothing.
    Absent,
    /// That they are elsewhere. Entra replaces more than 200 groups by such a pointer (`_claim_names`, OpenID
    /// Connect Core 1.0, section 5.6.2; or `hasgroups`). Nobody signed what it points to.
    Elsewhere,
}

impl SignedGroups {
    /// What this claim of an ID token, and what stands in its place, say.
    ///
    /// # Errors
    /// If it is no list of texts.
    pub(super) fn of(claim: &str, claims: &Map<String, Value>) -> Result<Self, SignInRefusal> {
        let points = claims.get("_claim_names").and_then(|names| names.get(claim)).is_some();
        if points || claims.get("hasgroups") == Some(&Value::Bool(true)) {
            return Ok(Self::Elsewhere);
        }
        match claims.get(claim) {
            None => Ok(Self::Absent),
            Some(groups) => texts(groups)
                .map(Self::Listed)
                .ok_or(SignInRefusal::UnreadableGroups("its claim is not a list of texts")),
        }
    }
}

fn texts(groups: &Value) -> Option<Vec<String>> {
    groups.as_array()?.iter().map(|group| group.as_str().map(str::to_owned)).collect()
}

impl LoginProvider {
    /// The same sign-in with its groups: where the ID token does not list them, from where the configuration says.
    pub(super) async fn with_groups(
        &self,
        metadata: &CoreProviderMetadata,
        sign_in: VerifiedSignIn,
        signed: SignedGroups,
        access_token: &str,
    ) -> Result<VerifiedSignIn, SignInRefusal> {
        let by_gate = |groups| Ok(sign_in.clone().with_gate_groups(groups));
        match (signed, &self.settings.groups_from) {
            (SignedGroups::Listed(groups), _) => Ok(sign_in.with_signed_groups(groups)),
            (SignedGroups::Absent, GroupsFrom::Claim) => Ok(sign_in),
            (SignedGroups::Elsewhere, GroupsFrom::Claim) => {
                Err(SignInRefusal::UnreadableGroups("it sent a pointer in place of the list"))
            }
            (signed, GroupsFrom::Userinfo) => {
                match self.userinfo_groups(metadata, sign_in.subject(), access_token).await? {
                    Some(groups) => by_gate(groups),
                    None if signed == SignedGroups::Absent => Ok(sign_in),
                    None => Err(SignInRefusal::UnreadableGroups(
                        "it sent a pointer in place of the list, and its userinfo lists none either",
                    )),
                }
            }
            (_, GroupsFrom::CloudIdentity(identity)) => {
                let email = sign_in.email().ok_or(SignInRefusal::UnreadableGroups(
                    "it gave no verified address to look them up by",
                ))?;
                let found = identity.groups_of(&self.http, email, access_token).await;
                by_gate(found.map_err(|error| {
                    tracing::warn!(error, "Cloud Identity gave no groups");
                    SignInRefusal::GroupsUnavailable
                })?)
            }
        }
    }

    /// The groups in userinfo (OpenID Connect Core 1.0, section 5.3), whose `sub` must be that of the ID token.
    async fn userinfo_groups(
        &self,
        metadata: &CoreProviderMetadata,
        subject: &str,
        access_token: &str,
    ) -> Result<Option<Vec<String>>, SignInRefusal> {
        let unavailable = |error: String| {
            tracing::warn!(error, "userinfo gave no groups");
            SignInRefusal::GroupsUnavailable
        };
        let endpoint = metadata.userinfo_endpoint().ok_or_else(|| {
            SignInRefusal::Misconfigured("the directory has no userinfo endpoint".to_owned())
        })?;
        let request = Request::get(endpoint.as_str())
            .header(header::ACCEPT, "application/json")
            .header(header::AUTHORIZATION, format!("Bearer {access_token}"))
            .body(Vec::new())
            .map_err(|error| unavailable(error.to_string()))?;
        let response =
            self.sender()(request).await.map_err(|error| unavailable(error.to_string()))?;
        if !response.status().is_success() {
            return Err(unavailable(format!("it answered {}", response.status())));
        }
        let claims: Map<String, Value> = serde_json::from_slice(response.body())
            .map_err(|error| unavailable(format!("the answer is no JSON object: {error}")))?;
        if claims.get("sub").and_then(Value::as_str) != Some(subject) {
            return Err(SignInRefusal::OtherUserinfo);
        }
        match claims.get(&self.settings.groups_claim) {
            None => Ok(None),
            Some(groups) => texts(groups).map(Some).ok_or(SignInRefusal::UnreadableGroups(
                "the claim of its userinfo is not a list of texts",
            )),
        }
    }
}
