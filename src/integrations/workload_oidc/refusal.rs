//! Why a workload token is refused, in words that say what to change.

use crate::proof::token::Unreadable;

/// A workload token was refused.
///
/// [`Refusal::code`] is stable and meant for programs; the text is for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Over the size limit; nothing in it was looked at.
    #[error("the token is larger than 16 KiB; ask the issuer for one with fewer claims")]
    TooLarge,
    /// Not three parts, not base64url, not JSON.
    #[error(
        "the bearer value is not a signed token ({0}); send the OpenID Connect token as the issuer gave it"
    )]
    Malformed(String),
    /// A member occurs twice in one object.
    #[error("the token's {0} names a member twice; two readers could read it differently")]
    DuplicateMember(String),
    /// The header's `alg` is `none`.
    #[error("the token is not signed (alg is none); send a signed token")]
    Unsigned,
    /// The header marks extensions as critical.
    #[error("the token's header has critical extensions (crit), and the gate knows none")]
    CriticalHeader,
    /// The header brings its own key or says where to fetch one.
    #[error("the token's header carries {0}; keys come only from the issuer's pinned address")]
    EmbeddedKey(&'static str),
    /// The header's `typ` or `cty` is not that of a plain JWT.
    #[error("the token's {0} is not that of an identity token; send an ID token, whose typ is JWT")]
    WrongType(&'static str),
    /// The header has no usable `kid`.
    #[error("the token's header has no key id (kid); the issuer must name the key it signed with")]
    MissingKeyId,
    /// No `iss`, or one that is not a text.
    #[error("the token names no issuer (iss)")]
    MissingIssuer,
    /// A stranger: nobody configured this issuer.
    #[error("the issuer {issuer} is not one that this gate knows; an administrator can add it")]
    UnknownIssuer {
        /// The issuer that the token claims, shortened and without control characters.
        issuer: String,
    },
    /// Not the one algorithm of this issuer.
    #[error("the token is signed with {found}, but tokens of {issuer} are signed with {expected}")]
    WrongAlgorithm {
        /// The issuer's name in the configuration.
        issuer: String,
        /// What the header says, shortened.
        found: String,
        /// The one algorithm that is accepted.
        expected: &'static str,
    },
    /// The issuer does not publish a key of that id.
    #[error(
        "{issuer} does not publish the key that signed this token; if it just changed its keys, try again in a minute"
    )]
    UnknownKey {
        /// The issuer's name in the configuration.
        issuer: String,
    },
    /// The issuer's keys were never read, and cannot be read now.
    #[error("the keys of {issuer} cannot be read at the moment; try again shortly")]
    KeysUnavailable {
        /// The issuer's name in the configuration.
        issuer: String,
    },
    /// The signature does not fit.
    #[error("the token's signature does not fit its content and the key of {issuer}")]
    BadSignature {
        /// The issuer's name in the configuration.
        issuer: String,
    },
    /// No `exp`.
    #[error("the token has no expiry (exp); tokens without an end are not accepted")]
    MissingExpiry,
    /// No `iat`.
    #[error("the token does not say when it was issued (iat)")]
    MissingIssuedAt,
    /// No `aud`.
    #[error("the token has no audience (aud); ask the issuer for one with the audience {expected}")]
    MissingAudience {
        /// The audience of this gate.
        expected: String,
    },
    /// No `sub`, or an empty one.
    #[error("the token names no subject (sub)")]
    MissingSubject,
    /// The claim that identifies the requester is absent, empty or not a text.
    #[error("the token has no {claim}, by which requesters of {issuer} are told apart")]
    MissingRequesterClaim {
        /// The configured claim.
        claim: String,
        /// The issuer's name in the configuration.
        issuer: String,
    },
    /// A registered claim has the wrong JSON type or an impossible value.
    #[error(
        "the token's {0} is not of the form that RFC 7519 gives it (times: whole seconds since 1970)"
    )]
    MalformedClaim(&'static str),
    /// `aud` is an array, and not of one text.
    #[error(
        "the token is for several parties (its audience is a list); ask the issuer for one for this gate alone, with the audience {expected}"
    )]
    AudienceIsList {
        /// The audience of this gate.
        expected: String,
    },
    /// `aud` is another party.
    #[error("the token is for somebody else; ask the issuer for one with the audience {expected}")]
    WrongAudience {
        /// The audience of this gate.
        expected: String,
    },
    /// `exp` has passed.
    #[error("the token expired at {0}; ask the issuer for a fresh one")]
    Expired(jiff::Timestamp),
    /// `nbf` is to come.
    #[error("the token is not valid before {0}; check the clocks of issuer and gate")]
    NotYetValid(jiff::Timestamp),
    /// `iat` is to come.
    #[error("the token says it was issued at {0}, which is to come; check the clocks")]
    IssuedInFuture(jiff::Timestamp),
    /// `exp` is not after `iat`.
    #[error("the token's expiry is not after its issue; the issuer made it wrongly")]
    EndsBeforeItBegins,
    /// `exp` is too far from `iat`.
    #[error("the token is valid for more than 24 hours; ask the issuer for a short-lived one")]
    LivesTooLong,
    /// A GitHub token without `event_name`.
    #[error("the token does not say what started the run (event_name)")]
    MissingEvent,
    /// The run was started by an event that strangers can cause.
    #[error(
        "runs started by {0} cannot ask: people outside can start them; use push, workflow_dispatch or release"
    )]
    RefusedEvent(String),
}

/// A refusal, and how much is known of who sent the token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{refusal}")]
pub struct Refused {
    /// Why.
    pub refusal: Refusal,
    /// The configured name of the issuer that the token claims; none for a stranger.
    pub issuer: Option<String>,
    /// What that issuer signed; none until its signature was verified.
    pub signed: Option<Signed>,
}

/// What an issuer says of the holder of a token that is refused all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// The token's `sub`.
    pub subject: String,
    /// The claim that requesters of this issuer are told apart by.
    pub requester: String,
}

impl std::ops::Deref for Refused {
    type Target = Refusal;

    fn deref(&self) -> &Refusal {
        &self.refusal
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, issuer: None, signed: None }
    }
}

impl Refusal {
    /// A stable name of the reason, in snake_case.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLarge => "token_too_large",
            Self::Malformed(_) => "malformed_token",
            Self::DuplicateMember(_) => "duplicate_member",
            Self::Unsigned => "unsigned_token",
            Self::CriticalHeader => "critical_header",
            Self::EmbeddedKey(_) => "embedded_key",
            Self::WrongType(_) => "wrong_token_type",
            Self::MissingKeyId => "missing_key_id",
            Self::MissingIssuer => "missing_issuer",
            Self::UnknownIssuer { .. } => "unknown_issuer",
            Self::WrongAlgorithm { .. } => "wrong_algorithm",
            Self::UnknownKey { .. } => "unknown_key",
            Self::KeysUnavailable { .. } => "keys_unavailable",
            Self::BadSignature { .. } => "bad_signature",
            Self::MissingExpiry => "missing_expiry",
            Self::MissingIssuedAt => "missing_issued_at",
            Self::MissingAudience { .. } => "missing_audience",
            Self::MissingSubject => "missing_subject",
            Self::MissingRequesterClaim { .. } => "missing_requester_claim",
            Self::MalformedClaim(_) => "malformed_claim",
            Self::AudienceIsList { .. } => "audience_is_list",
            Self::WrongAudience { .. } => "wrong_audience",
            Self::Expired(_) => "token_expired",
            Self::NotYetValid(_) => "token_not_yet_valid",
            Self::IssuedInFuture(_) => "issued_in_future",
            Self::EndsBeforeItBegins => "ends_before_it_begins",
            Self::LivesTooLong => "lives_too_long",
            Self::MissingEvent => "missing_event",
            Self::RefusedEvent(_) => "refused_event",
        }
    }

    /// Whether the same token may be accepted later: the issuer is at fault, not the token.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::KeysUnavailable { .. })
    }
}

impl From<Unreadable> for Refusal {
    fn from(unreadable: Unreadable) -> Self {
        match unreadable {
            Unreadable::TooLarge => Self::TooLarge,
            Unreadable::Duplicate(part) => Self::DuplicateMember(part.to_owned()),
            other @ (Unreadable::Empty
            | Unreadable::NotThreeParts
            | Unreadable::NotBase64(_)
            | Unreadable::NotJson(_)) => Self::Malformed(other.to_string()),
        }
    }
}
