//! Why a sign-in is refused, in words that say what to do.

/// A sign-in was refused.
///
/// [`SignInRefusal::code`] is stable and meant for programs; the text is for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignInRefusal {
    /// The provider's discovery document or keys cannot be read.
    #[error("the sign-in service cannot be reached at the moment; try again shortly")]
    ProviderUnavailable,
    /// The redirect URI or the provider's own addresses cannot be used.
    #[error("sign-in is not set up correctly ({0}); tell an administrator")]
    Misconfigured(String),
    /// The state that came back is not the one that was sent.
    #[error("this sign-in was not begun in this browser, or was begun again since; start again")]
    StateMismatch,
    /// The provider does not accept the code.
    #[error("the sign-in service did not accept the sign-in ({0}); start again")]
    CodeRefused(String),
    /// The provider does not accept the client's secret.
    #[error("the sign-in service does not accept this gate's client secret; tell an administrator")]
    ClientRefused,
    /// The answer has no ID token.
    #[error("the sign-in service gave no ID token; ask for the scope openid")]
    NoIdToken,
    /// The ID token cannot be read unambiguously.
    #[error("the ID token cannot be read: {0}")]
    MalformedToken(String),
    /// The algorithm is none of those that are accepted.
    #[error("the ID token is not signed with an accepted algorithm (RS256, ES256 or their kin)")]
    DisallowedAlgorithm,
    /// The provider does not publish the key.
    #[error("the sign-in service does not publish the key that signed the ID token; start again")]
    UnknownKey,
    /// The signature does not fit.
    #[error("the ID token's signature does not fit")]
    BadSignature,
    /// `iss` is another.
    #[error("the ID token is of another issuer than the configured one")]
    WrongIssuer,
    /// `aud` or `azp` is not this client alone.
    #[error("the ID token is not for this gate alone")]
    WrongAudience,
    /// The nonce is absent or another.
    #[error("the ID token answers another sign-in than the one begun here; start again")]
    NonceMismatch,
    /// `exp` has passed.
    #[error("the ID token has expired; start again, and check the clocks if it happens again")]
    Expired,
    /// `iat`, `nbf` or `auth_time` is to come.
    #[error("the ID token is from the future; check the clocks of gate and sign-in service")]
    FromTheFuture,
    /// The person signed in too long ago.
    #[error("the sign-in is too old; sign in again, with your credentials this time")]
    TooOld,
    /// The groups claim is not a list of texts, or a pointer stands in its place.
    #[error(
        "the directory did not say which groups you are in ({0}); ask an administrator to send the groups as a list"
    )]
    UnreadableGroups(&'static str),
    /// The groups are to be read elsewhere, and that place gave none.
    #[error("the directory did not say at the moment which groups you are in; try again shortly")]
    GroupsUnavailable,
    /// Userinfo is about somebody else than the ID token (OpenID Connect Core 1.0, section 5.3.2).
    #[error(
        "the sign-in service answered about another person than the one who signed in; start again"
    )]
    OtherUserinfo,
    /// The account is of no domain, or of another one than the configured.
    #[error("only accounts of {0} may sign in here; sign in with one of those")]
    OtherDomain(String),
}

impl SignInRefusal {
    /// A stable name of the reason, in snake_case.
    pub fn code(&self) -> &'static str {
        match self {
            Self::ProviderUnavailable => "provider_unavailable",
            Self::Misconfigured(_) => "sign_in_misconfigured",
            Self::StateMismatch => "state_mismatch",
            Self::CodeRefused(_) => "code_refused",
            Self::ClientRefused => "client_refused",
            Self::NoIdToken => "no_id_token",
            Self::MalformedToken(_) => "malformed_id_token",
            Self::DisallowedAlgorithm => "disallowed_algorithm",
            Self::UnknownKey => "unknown_key",
            Self::BadSignature => "bad_signature",
            Self::WrongIssuer => "wrong_issuer",
            Self::WrongAudience => "wrong_audience",
            Self::NonceMismatch => "nonce_mismatch",
            Self::Expired => "id_token_expired",
            Self::FromTheFuture => "id_token_from_the_future",
            Self::TooOld => "sign_in_too_old",
            Self::UnreadableGroups(_) => "unreadable_groups",
            Self::GroupsUnavailable => "groups_unavailable",
            Self::OtherUserinfo => "other_userinfo",
            Self::OtherDomain(_) => "other_domain",
        }
    }
}
