//! Registration of security keys and passkeys, through webauthn-rs.
//!
//! The core is used, with user verification *required*: the high-level security-key interface asks
//! for "preferred" and so would enrol a key without a PIN. Decisions do not come here: they are
//! verified by [`crate::proof::assertion`].

use std::time::Duration;

use serde::{Deserialize, Serialize};
use url::Url;
use webauthn_rs_core::WebauthnCore;
use webauthn_rs_core::error::WebauthnError;
use webauthn_rs_core::proto::{
    AttestationConveyancePreference, COSEAlgorithm, RegisterPublicKeyCredential, RegistrationState,
    UserVerificationPolicy,
};

use crate::proof::registration::{self, RegistrationRefusal};

/// How long the browser may ask the person for a key: long enough to look for one in a bag.
const CEREMONY_TIMEOUT: Duration = Duration::from_secs(300);

/// What webauthn-rs verifies and Web browsers offer; most wanted first.
const ALGORITHMS: [COSEAlgorithm; 3] =
    [COSEAlgorithm::ES256, COSEAlgorithm::ES384, COSEAlgorithm::RS256];

/// The registration ceremonies of one relying party.
#[derive(Clone, Debug)]
pub struct Passkeys {
    core: WebauthnCore,
    rp_id: String,
    origin: String,
    /// What browsers are asked to pass on.
    attestation: AttestationConveyancePreference,
}

/// A ceremony that has begun.
#[derive(Clone, Debug)]
pub struct Ceremony {
    /// The JSON of `PublicKeyCredentialCreationOptions`, for
    /// `PublicKeyCredential.parseCreationOptionsFromJSON`.
    pub creation_options: serde_json::Value,
    /// What [`Passkeys::finish`] needs, for the database. Whoever stores it must bind it to the
    /// person and the session, and delete it in the transaction that stores the credential: that
    /// is what makes a ceremony good for one credential only.
    pub state: String,
}

/// A credential that a person has just made.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Registered {
    pub credential_id: Vec<u8>,
    /// The public key as a COSE key in canonical CBOR.
    pub cose_public_key: Vec<u8>,
    /// The authenticator's model; all zero when it does not say.
    pub aaguid: [u8; 16],
    pub backup_eligible: bool,
    pub backup_state: bool,
    pub sign_count: u32,
    /// Hints for the browser (`usb`, `internal`, ...); unsigned.
    pub transports: Vec<String>,
    /// The handle that the ceremony was begun for.
    pub user_handle: Vec<u8>,
    /// The attestation statement's registered name (`none`, `packed`, ...).
    pub attestation_format: String,
    /// The browser's answer, byte for byte: the evidence of the enrolment.
    pub registration_response: Vec<u8>,
}

/// Why a registration did not come about.
#[derive(Debug, thiserror::Error)]
pub enum PasskeyError {
    #[error("a registration could not be begun")]
    Begin(#[source] WebauthnError),
    #[error("the stored registration ceremony cannot be read or written")]
    State(#[source] serde_json::Error),
    #[error("the registration response is not the JSON that a browser makes of a new key")]
    Response(#[source] serde_json::Error),
    #[error(transparent)]
    Refused(#[from] RegistrationRefusal),
    #[error("the registration is not the answer to this ceremony, or it is malformed: begin again")]
    Ceremony(#[source] WebauthnError),
    #[error("two readings of the registration response disagree about {0}")]
    Disagreement(&'static str),
}

impl PasskeyError {
    /// A stable name for machines.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Begin(_) => "registration_not_begun",
            Self::State(_) => "ceremony_unreadable",
            Self::Response(_) => "registration_not_json",
            Self::Refused(refusal) => refusal.code(),
            Self::Ceremony(WebauthnError::MismatchedChallenge) => "challenge_mismatch",
            Self::Ceremony(WebauthnError::UserNotVerified) => "user_not_verified",
            Self::Ceremony(WebauthnError::CredentialAlteredAlgFromRequest) => {
                "unsupported_algorithm"
            }
            Self::Ceremony(_) => "registration_refused",
            Self::Disagreement(_) => "registration_disagreement",
        }
    }
}

/// What is kept between the two halves of a ceremony.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredCeremony {
    user_handle: Vec<u8>,
    registration: RegistrationState,
}

impl Passkeys {
    /// The relying party `rp_id`, whose pages are served from `origin`; people see `rp_name`.
    pub fn new(rp_id: &str, origin: &Url, rp_name: &str) -> Self {
        let origins = vec![origin.clone()];
        let core = WebauthnCore::new_unsafe_experts_only(
            rp_name,
            rp_id,
            origins,
            CEREMONY_TIMEOUT,
            Some(false),
            Some(false),
        );
        let origin = origin.origin().ascii_serialization();
        let attestation = AttestationConveyancePreference::None;
        Self { core, rp_id: rp_id.to_owned(), origin, attestation }
    }

    /// The same, where browsers are asked for the attestation of the authenticator's maker. Who they are is
    /// theirs to ask: some show a question of their own then.
    pub fn with_attestation(self) -> Self {
        Self { attestation: AttestationConveyancePreference::Direct, ..self }
    }

    /// Begins the registration of a key for the person with `user_handle`
    /// (see [`crate::proof::user_handle`]). `excluded` are the ids of the keys the person has.
    ///
    /// # Errors
    /// When webauthn-rs refuses the names, or the state cannot be written.
    pub fn begin(
        &self,
        user_handle: &[u8],
        user_name: &str,
        display_name: &str,
        excluded: &[Vec<u8>],
    ) -> Result<Ceremony, PasskeyError> {
        let builder = self
            .core
            .new_challenge_register_builder(user_handle, user_name, display_name)
            .map_err(PasskeyError::Begin)?
            .attestation(self.attestation.clone())
            .user_verification_policy(UserVerificationPolicy::Required)
            .credential_algorithms(ALGORITHMS.to_vec())
            .exclude_credentials(Some(excluded.to_vec()));
        let (options, registration) =
            self.core.generate_challenge_register(builder).map_err(PasskeyError::Begin)?;
        let mut creation_options =
            serde_json::to_value(options.public_key).map_err(PasskeyError::State)?;
        // The core knows "required" and "discouraged" only. A hint to the browser, nothing more:
        // phones and laptops make discoverable passkeys, security keys need not.
        let selection = creation_options.get_mut("authenticatorSelection");
        if let Some(selection) = selection.and_then(serde_json::Value::as_object_mut) {
            selection.insert("residentKey".to_owned(), "preferred".into());
        }
        let stored = StoredCeremony { user_handle: user_handle.to_vec(), registration };
        let state = serde_json::to_string(&stored).map_err(PasskeyError::State)?;
        Ok(Ceremony { creation_options, state })
    }

    /// Finishes a registration with the browser's answer, as received.
    ///
    /// The answer is judged twice: by webauthn-rs against the ceremony (challenge, attestation
    /// statement, algorithm) and by [`registration::read`], as an offline verifier will read it.
    ///
    /// # Errors
    /// When either refuses it, or they do not read the same credential.
    pub fn finish(&self, state: &str, response: &[u8]) -> Result<Registered, PasskeyError> {
        let stored: StoredCeremony = serde_json::from_str(state).map_err(PasskeyError::State)?;
        let ours = registration::read(response, &self.origin, &self.rp_id)?;
        let parsed: RegisterPublicKeyCredential =
            serde_json::from_slice(response).map_err(PasskeyError::Response)?;
        let theirs = self
            .core
            .register_credential(&parsed, &stored.registration, None)
            .map_err(PasskeyError::Ceremony)?;

        let credential = ours.credential;
        if theirs.cred_id != credential.credential_id {
            return Err(PasskeyError::Disagreement("the credential's id"));
        }
        if theirs.backup_eligible != credential.flags.backup_eligible() {
            return Err(PasskeyError::Disagreement("the backup flags"));
        }
        Ok(Registered {
            credential_id: credential.credential_id,
            cose_public_key: credential.public_key.cose().to_vec(),
            aaguid: credential.aaguid,
            backup_eligible: credential.flags.backup_eligible(),
            backup_state: credential.flags.backed_up(),
            sign_count: credential.sign_count,
            transports: ours.transports,
            user_handle: stored.user_handle,
            attestation_format: credential.format,
            registration_response: response.to_vec(),
        })
    }
}
