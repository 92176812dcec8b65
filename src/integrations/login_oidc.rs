//! Sign-in of people: OpenID Connect authorization code flow with PKCE, state and nonce.
//!
//! The protocol and the signature are the library's work, over our own bounded HTTP. What the ID
//! token must say is checked again here, because the library leaves `azp`, `nbf`, `auth_time` and
//! leeway to its caller, and because the raw token becomes evidence that others will read.
//!
//! Sources: OpenID Connect Core 1.0, sections 3.1 and 3.1.3.7; RFC 7636; RFC 9700.

mod groups;
mod id_token;
mod outage;
mod refusal;

use std::time::SystemTime;

use aws_lc_rs::constant_time;
use std::pin::Pin;

use jiff::{SignedDuration, Timestamp};
use openidconnect::core::{
    CoreAuthenticationFlow, CoreClient, CoreClientAuthMethod, CoreErrorResponseType, CoreIdToken,
    CoreIdTokenVerifier, CoreJwsSigningAlgorithm, CoreProviderMetadata,
};
use openidconnect::{
    AccessToken, AuthType, AuthorizationCode, ClaimsVerificationError, ClientId, ClientSecret,
    CsrfToken, HttpRequest, IssuerUrl, Nonce, OAuth2TokenResponse, PkceCodeChallenge,
    PkceCodeVerifier, RedirectUrl, RequestTokenError, Scope, SignatureVerificationError,
    TokenResponse,
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tokio::sync::Mutex;

use crate::integrations::cloud_identity::CloudIdentity;
use crate::integrations::outbound::{OutboundError, OutboundHttp};
use crate::randomness;

use groups::SignedGroups;
pub use id_token::VerifiedSignIn;
pub use outage::DirectoryOutage;
pub use refusal::SignInRefusal;

/// Clocks of well-run machines differ by less than a second; half a minute covers the others.
const LEEWAY: SignedDuration = SignedDuration::from_secs(30);

/// Discovery and keys are renewed this often, so that a withdrawn key ends within the hour.
const REFRESH_INTERVAL: SignedDuration = SignedDuration::from_hours(1);

/// A token with an unknown key, or a failed renewal, asks the provider again no sooner than this.
const RETRY_INTERVAL: SignedDuration = SignedDuration::from_secs(60);

/// While the provider was never reached nobody can sign in, so the gate asks more often.
const FIRST_INTERVAL: SignedDuration = SignedDuration::from_secs(5);

/// The asymmetric algorithms of the two families that directories use. The symmetric ones are
/// left out: with them everybody who knows the client secret could make an ID token.
const ALGORITHMS: [CoreJwsSigningAlgorithm; 5] = [
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha384,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha512,
    CoreJwsSigningAlgorithm::EcdsaP256Sha256,
    CoreJwsSigningAlgorithm::EcdsaP384Sha384,
];

/// How people sign in, as the configuration says. The secret comes from a file or the environment,
/// so this is built by the configuration and not deserialized.
#[derive(Clone, Debug)]
pub struct LoginSettings {
    /// The directory's issuer URL, exactly as its ID tokens name it.
    pub issuer: String,
    /// This gate's client id there.
    pub client_id: String,
    /// The secret of that client.
    pub client_secret: SecretString,
    /// Scopes beside `openid`, which is always asked for.
    pub scopes: Vec<String>,
    /// The claim that lists a person's groups; `groups` at most directories.
    pub groups_claim: String,
    /// The claim that holds the number of a person's account at GitHub, if the directory knows it.
    pub github_id_claim: Option<String>,
    /// Where groups come from that the ID token does not list.
    pub groups_from: GroupsFrom,
    /// The only domain whose accounts may sign in (Google's claim `hd`).
    pub hosted_domain: Option<String>,
}

/// Where groups come from that the ID token does not list.
#[derive(Clone, Debug)]
pub enum GroupsFrom {
    /// From nowhere: they are those of the claim.
    Claim,
    /// From the directory's userinfo.
    Userinfo,
    /// From Google's Cloud Identity.
    CloudIdentity(Box<CloudIdentity>),
}

impl GroupsFrom {
    /// As the configuration names it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Claim => "claim",
            Self::Userinfo => "userinfo",
            Self::CloudIdentity(_) => "cloud_identity",
        }
    }
}

/// The directory that people sign in at. Discovered when it is first needed, so that a start
/// never waits for it.
pub struct LoginProvider {
    settings: LoginSettings,
    http: OutboundHttp,
    discovered: Mutex<Discovered>,
}

#[derive(Default)]
struct Discovered {
    metadata: Option<CoreProviderMetadata>,
    last_attempt: Option<Timestamp>,
    last_failed: bool,
    last_missing_key: Option<Timestamp>,
    /// When it failed first, since when it never succeeded.
    unreachable_since: Option<Timestamp>,
}

/// A sign-in that was begun. All but the URL stays with the browser's session, until the answer.
pub struct Begin {
    /// Where to send the browser.
    pub authorization_url: String,
    /// Comes back with the answer; compare with [`check_state`].
    pub state: String,
    /// Must be in the ID token.
    pub nonce: String,
    /// Proves that whoever redeems the code also began the sign-in (RFC 7636).
    pub pkce_verifier: String,
}

type Sending =
    Pin<Box<dyn Future<Output = Result<openidconnect::HttpResponse, OutboundError>> + Send>>;

impl LoginProvider {
    /// A provider by its settings. Nothing is fetched yet.
    pub fn new(settings: LoginSettings, http: OutboundHttp) -> Self {
        Self { settings, http, discovered: Mutex::default() }
    }

    /// Begins a sign-in that comes back to `redirect_uri`.
    ///
    /// `nonce` is the caller's own for an enrolment, which binds the new key to the ID token;
    /// otherwise it is random. `max_age` (seconds) asks for a recent authentication; whether it
    /// was recent says [`VerifiedSignIn::require_fresh`].
    ///
    /// # Errors
    /// If the provider cannot be discovered, or an address cannot be used.
    pub async fn begin(
        &self,
        redirect_uri: &str,
        nonce: Option<&str>,
        max_age: Option<u64>,
        now: Timestamp,
    ) -> Result<Begin, SignInRefusal> {
        let metadata = self.metadata(now, false).await?;
        let client_id = ClientId::new(self.settings.client_id.clone());
        let client = CoreClient::from_provider_metadata(metadata, client_id, None)
            .set_redirect_uri(redirect_url(redirect_uri)?);
        let state = randomness::token::<32>();
        let nonce = nonce.map_or_else(randomness::token::<32>, str::to_owned);
        let verifier = PkceCodeVerifier::new(randomness::token::<32>());
        let scopes = self.settings.scopes.iter().filter(|scope| *scope != "openid");
        let mut request = client
            .authorize_url(
                CoreAuthenticationFlow::AuthorizationCode,
                move || CsrfToken::new(state),
                move || Nonce::new(nonce),
            )
            .add_scopes(scopes.cloned().map(Scope::new))
            .set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&verifier));
        if let Some(seconds) = max_age {
            request = request.set_max_age(std::time::Duration::from_secs(seconds));
        }
        let (url, state, nonce) = request.url();
        Ok(Begin {
            authorization_url: url.into(),
            state: state.into_secret(),
            nonce: nonce.secret().clone(),
            pkce_verifier: verifier.into_secret(),
        })
    }

    /// Finishes a sign-in: redeems the code and verifies the ID token.
    ///
    /// The caller has compared the state, with [`check_state`], and gives what [`Begin`] held.
    ///
    /// # Errors
    /// A [`SignInRefusal`] that says what is wrong and what to do.
    pub async fn finish(
        &self,
        code: &str,
        pkce_verifier: &str,
        expected_nonce: &str,
        redirect_uri: &str,
        now: Timestamp,
    ) -> Result<VerifiedSignIn, SignInRefusal> {
        let metadata = self.metadata(now, false).await?;
        let (id_token, access_token) =
            self.redeem(&metadata, code, pkce_verifier, redirect_uri).await?;
        let verdict = match self.verify(&metadata, &id_token, expected_nonce, now) {
            Err(SignInRefusal::UnknownKey) => {
                // The directory may have changed its keys since they were read.
                let renewed = self.metadata(now, true).await?;
                self.verify(&renewed, &id_token, expected_nonce, now)
            }
            verdict => verdict,
        };
        let (sign_in, groups) = verdict?;
        self.with_groups(&metadata, sign_in, groups, access_token.secret()).await
    }

    /// Whether the provider was ever reached, for `/health/ready`.
    pub async fn is_discovered(&self) -> bool {
        self.discovered.lock().await.metadata.is_some()
    }

    /// What discovery gave, renewed when it is old or when a key was not found in it.
    async fn metadata(
        &self,
        now: Timestamp,
        key_missing: bool,
    ) -> Result<CoreProviderMetadata, SignInRefusal> {
        let mut discovered = self.discovered.lock().await;
        let passed = |last: Option<Timestamp>, interval: SignedDuration| {
            last.is_none_or(|last| now.duration_since(last).abs() >= interval)
        };
        // Keys can change right after they were read, so a missing key has its own interval.
        let due = match (&discovered.metadata, discovered.last_failed) {
            (None, _) => passed(discovered.last_attempt, FIRST_INTERVAL),
            (Some(_), _) if key_missing => passed(discovered.last_missing_key, RETRY_INTERVAL),
            (Some(_), true) => passed(discovered.last_attempt, RETRY_INTERVAL),
            (Some(_), false) => passed(discovered.last_attempt, REFRESH_INTERVAL),
        };
        if due {
            if key_missing {
                discovered.last_missing_key = Some(now);
            }
            self.renew(&mut discovered, now).await;
        }
        discovered.metadata.clone().ok_or(SignInRefusal::ProviderUnavailable)
    }

    /// Asks the provider anew, and remembers what came of it.
    async fn renew(&self, discovered: &mut Discovered, now: Timestamp) {
        discovered.last_attempt = Some(now);
        match self.discover().await {
            Ok(metadata) => {
                discovered.metadata = Some(metadata);
                discovered.last_failed = false;
                discovered.unreachable_since = None;
            }
            Err(error) => {
                discovered.last_failed = true;
                discovered.unreachable_since.get_or_insert(now);
                tracing::warn!(issuer = self.settings.issuer, error, "discovery failed");
            }
        }
    }

    async fn discover(&self) -> Result<CoreProviderMetadata, String> {
        let issuer =
            IssuerUrl::new(self.settings.issuer.clone()).map_err(|error| error.to_string())?;
        let send = self.sender();
        CoreProviderMetadata::discover_async(issuer, &send).await.map_err(|error| {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            format!("{error}: {}", cause.unwrap_or_default())
        })
    }

    /// How every request of the library goes out. A directory that is reached by TLS cannot hand
    /// its trust, or our secret, to plain text.
    ///
    /// The closure owns all it needs and boxes its future: borrowed, it would keep the sign-in's own
    /// future from being `Send`.
    fn sender(&self) -> impl Fn(HttpRequest) -> Sending + Send + Sync + use<> {
        let http = self.http.clone();
        let must_be_tls = self.settings.issuer.starts_with("https:");
        move |request| {
            let http = http.clone();
            Box::pin(async move {
                if must_be_tls && request.uri().scheme_str() != Some("https") {
                    let problem = "the provider points to an address without TLS".to_owned();
                    return Err(OutboundError::Unusable(problem));
                }
                http.send(request).await
            })
        }
    }

    /// Gives the code for an ID token and an access token (OpenID Connect Core 1.0, section 3.1.3).
    async fn redeem(
        &self,
        metadata: &CoreProviderMetadata,
        code: &str,
        pkce_verifier: &str,
        redirect_uri: &str,
    ) -> Result<(CoreIdToken, AccessToken), SignInRefusal> {
        let secret = ClientSecret::new(self.settings.client_secret.expose_secret().to_owned());
        let client_id = ClientId::new(self.settings.client_id.clone());
        let client = CoreClient::from_provider_metadata(metadata.clone(), client_id, Some(secret))
            .set_redirect_uri(redirect_url(redirect_uri)?)
            .set_auth_type(authentication(metadata));
        let send = self.sender();
        let answer = client
            .exchange_code(AuthorizationCode::new(code.to_owned()))
            .map_err(|_| SignInRefusal::Misconfigured("no token endpoint".to_owned()))?
            .set_pkce_verifier(PkceCodeVerifier::new(pkce_verifier.to_owned()))
            .request_async(&send)
            .await
            .map_err(|error| match error {
                RequestTokenError::ServerResponse(answer) => match answer.error() {
                    CoreErrorResponseType::InvalidClient
                    | CoreErrorResponseType::UnauthorizedClient => SignInRefusal::ClientRefused,
                    other => SignInRefusal::CodeRefused(other.to_string()),
                },
                RequestTokenError::Request(error) => {
                    tracing::warn!(%error, "the token endpoint gave no answer");
                    SignInRefusal::ProviderUnavailable
                }
                RequestTokenError::Parse(error, _) => {
                    SignInRefusal::MalformedToken(error.inner().to_string())
                }
                RequestTokenError::Other(problem) => SignInRefusal::CodeRefused(problem),
            })?;
        let id_token = answer.id_token().cloned().ok_or(SignInRefusal::NoIdToken)?;
        Ok((id_token, answer.access_token().clone()))
    }

    /// OpenID Connect Core 1.0, section 3.1.3.7.
    fn verify(
        &self,
        metadata: &CoreProviderMetadata,
        id_token: &CoreIdToken,
        expected_nonce: &str,
        now: Timestamp,
    ) -> Result<(VerifiedSignIn, SignedGroups), SignInRefusal> {
        let earlier = SystemTime::try_from(now.saturating_sub(LEEWAY).unwrap_or(now))
            .map_err(|_| SignInRefusal::Expired)?;
        // A "public client" to the library is one whose secret verifies no token.
        let verifier = CoreIdTokenVerifier::new_public_client(
            ClientId::new(self.settings.client_id.clone()),
            metadata.issuer().clone(),
            metadata.jwks().clone(),
        )
        .set_allowed_algs(ALGORITHMS)
        .set_time_fn(move || earlier.into());
        let nonce = Nonce::new(expected_nonce.to_owned());
        id_token.claims(&verifier, &nonce).map_err(refusal_of)?;
        let key = id_token.signing_key(&verifier).map_err(signature_refusal)?;
        let jwk: Value = serde_json::to_value(key)
            .map_err(|error| SignInRefusal::MalformedToken(error.to_string()))?;
        id_token::check(&self.settings, id_token.to_string(), jwk, now)
    }
}

/// Compares the state that came back with the one that was sent, in constant time.
///
/// # Errors
/// [`SignInRefusal::StateMismatch`] if they differ: the answer belongs to another browser or try.
pub fn check_state(expected: &str, received: &str) -> Result<(), SignInRefusal> {
    constant_time::verify_slices_are_equal(expected.as_bytes(), received.as_bytes())
        .map_err(|_| SignInRefusal::StateMismatch)
}

fn redirect_url(redirect_uri: &str) -> Result<RedirectUrl, SignInRefusal> {
    RedirectUrl::new(redirect_uri.to_owned())
        .map_err(|error| SignInRefusal::Misconfigured(format!("redirect URI: {error}")))
}

/// The Basic header unless the provider takes the secret in the form alone
/// (OpenID Connect Discovery 1.0, section 3: Basic is the default).
fn authentication(metadata: &CoreProviderMetadata) -> AuthType {
    match metadata.token_endpoint_auth_methods_supported() {
        Some(methods)
            if !methods.contains(&CoreClientAuthMethod::ClientSecretBasic)
                && methods.contains(&CoreClientAuthMethod::ClientSecretPost) =>
        {
            AuthType::RequestBody
        }
        _ => AuthType::BasicAuth,
    }
}

fn refusal_of(error: ClaimsVerificationError) -> SignInRefusal {
    match error {
        ClaimsVerificationError::Expired(_) => SignInRefusal::Expired,
        ClaimsVerificationError::InvalidAudience(_) => SignInRefusal::WrongAudience,
        ClaimsVerificationError::InvalidIssuer(_) => SignInRefusal::WrongIssuer,
        ClaimsVerificationError::InvalidNonce(_) => SignInRefusal::NonceMismatch,
        ClaimsVerificationError::SignatureVerification(error) => signature_refusal(error),
        // The library's list of reasons is open; what it adds is refused as well.
        other => SignInRefusal::MalformedToken(other.to_string()),
    }
}

fn signature_refusal(error: SignatureVerificationError) -> SignInRefusal {
    match error {
        SignatureVerificationError::DisallowedAlg(_)
        | SignatureVerificationError::UnsupportedAlg(_)
        | SignatureVerificationError::NoSignature => SignInRefusal::DisallowedAlgorithm,
        SignatureVerificationError::NoMatchingKey
        | SignatureVerificationError::AmbiguousKeyId(_) => SignInRefusal::UnknownKey,
        _ => SignInRefusal::BadSignature,
    }
}
