//! What every request says beside its subject: why, and until when it may be decided.

use jiff::{SignedDuration, Timestamp};

use crate::domain::canonical::CanonicalError;
use crate::domain::policy::{Policy, TrustLevel};
use crate::domain::request::{
    LONGEST_BODY, LONGEST_LINK, LONGEST_REASON, LONGEST_TITLE, MOST_LINKS, Occasion,
    RequestRefusal, SHORTEST_EXPIRY, is_plain_https, seen_claims,
};
use crate::domain::subject::{Facts, Link, Requester};
use crate::domain::text::is_deceptive;

/// The requester's own words.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Words {
    /// Why.
    pub reason: String,
    /// A headline.
    pub title: Option<String>,
    /// More about it.
    pub body: Option<String>,
    /// For whom the requester says that it acts.
    pub acts_for: Option<String>,
    /// Where to read more.
    pub links: Vec<Link>,
    /// How long it may stay open.
    pub expires_in: Option<SignedDuration>,
}

impl Words {
    /// Checks the texts.
    pub fn check(&self) -> Result<(), RequestRefusal> {
        let text = |field, problem: String| Err(RequestRefusal::Text { field, problem });
        if self.reason.chars().all(|letter| letter.is_whitespace() || is_deceptive(letter)) {
            return text("reason", "is missing: say in a sentence why this should go out".into());
        }
        if self.reason.chars().count() > LONGEST_REASON {
            return text("reason", format!("is longer than {LONGEST_REASON} characters"));
        }
        if self.title.as_ref().is_some_and(|title| title.chars().count() > LONGEST_TITLE) {
            return text("title", format!("is longer than {LONGEST_TITLE} characters"));
        }
        if self.acts_for.as_ref().is_some_and(|name| name.chars().count() > LONGEST_TITLE) {
            return text("acts_for", format!("is longer than {LONGEST_TITLE} characters"));
        }
        if self.body.as_ref().is_some_and(|body| body.len() > LONGEST_BODY) {
            return text("body", format!("is longer than {LONGEST_BODY} bytes"));
        }
        if self.links.len() > MOST_LINKS {
            return text("links", format!("are more than {MOST_LINKS}"));
        }
        for link in &self.links {
            if !is_plain_https(&link.url) || link.url.len() > LONGEST_LINK {
                return text(
                    "links",
                    format!(
                        "must be https addresses of at most {LONGEST_LINK} bytes, without user \
                         names, spaces or invisible characters"
                    ),
                );
            }
            if link.title.chars().count() > LONGEST_TITLE {
                return text(
                    "links",
                    format!("have a title longer than {LONGEST_TITLE} characters"),
                );
            }
        }
        Ok(())
    }

    /// How long the request stays open.
    pub fn lifetime(&self, policy: &Policy) -> Result<SignedDuration, RequestRefusal> {
        let longest = i64::try_from(policy.expires_in_seconds).unwrap_or(i64::MAX);
        let asked = self.expires_in.unwrap_or(SignedDuration::from_secs(longest));
        // What the policy itself gives is always acceptable, however short an operator made it.
        let shortest = SHORTEST_EXPIRY.as_secs().min(longest);
        if asked.as_secs() < shortest || asked.as_secs() > longest {
            return Err(RequestRefusal::Expiry { shortest, longest: policy.expires_in_seconds });
        }
        Ok(asked)
    }

    /// What the subject says whatever it is.
    ///
    /// # Errors
    /// If the policy has no canonical form.
    pub fn facts(
        &self,
        policy: &Policy,
        requester: Requester,
        occasion: &Occasion<'_>,
        lifetime: SignedDuration,
    ) -> Result<Facts, CanonicalError> {
        let requested_at = occasion.requested_at;
        Ok(Facts {
            approval: occasion.id.clone(),
            audience: occasion.audience.to_owned(),
            environment: policy.environment.clone(),
            requester,
            reason: self.reason.clone(),
            title: self.title.clone(),
            acts_for: self.acts_for.clone(),
            body: self.body.clone(),
            links: self.links.clone(),
            policy_digest: policy.canonical()?.1,
            requested_at,
            expires_at: requested_at.saturating_add(lifetime).unwrap_or(Timestamp::MAX),
        })
    }
}

/// Checks who asks, and whether anything may be asked for at all.
pub fn check_asking(policy: &Policy, requester: &Requester) -> Result<(), RequestRefusal> {
    if policy.admits_requester(&requester.issuer, &requester.claims) {
        return Ok(());
    }
    Err(RequestRefusal::RequesterNotAllowed {
        environment: policy.environment.clone(),
        seen: seen_claims(requester),
    })
}

/// Checks that something is pinned, where the environment asks for it.
pub fn check_trust(policy: &Policy) -> Result<(), RequestRefusal> {
    let rules = &policy.enrolment;
    if rules.requires_pinned_trust && rules.trust == TrustLevel::Unpinned {
        let environment = policy.environment.clone();
        return Err(RequestRefusal::TrustUnpinned { environment });
    }
    Ok(())
}
