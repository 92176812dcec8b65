//! Attestations for Binary Authorization: occurrences in Artifact Analysis
//! (<https://cloud.google.com/artifact-analysis/docs/reference/rest/v1/projects.occurrences/create>), signed by
//! a key in Cloud KMS
//! (<https://cloud.google.com/kms/docs/reference/rest/v1/projects.locations.keyRings.cryptoKeys.cryptoKeyVersions/asymmetricSign>)
//! or in a file.
//!
//! Made at most once: the note's occurrences are read first, and what is there is not made again. Two gates
//! that make one at the same moment make two of the same, which says nothing more than one.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use data_encoding::{BASE64, BASE64URL_NOPAD};
use http::{Method, Request, StatusCode, header};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use crate::domain::attestation::{NoteName, payload, resource};
use crate::domain::image::ImageReference;
use crate::integrations::cloud_credentials::{CloudCredentials, EVERYTHING, GoogleAccount};
use crate::integrations::outbound::OutboundHttp;

/// Where Google's Artifact Analysis is.
pub const GOOGLE_ANALYSIS: &str = "https://containeranalysis.googleapis.com/";
/// Where Google's Cloud KMS is.
pub const GOOGLE_KMS: &str = "https://cloudkms.googleapis.com/";
/// What public keys in Cloud KMS are called, before their resource name.
pub const KMS_KEYS: &str = "//cloudkms.googleapis.com/v1/";
/// How many pages of occurrences of one image and one note are read. An image has a handful.
const MOST_PAGES: usize = 20;
/// How much of an answer is repeated.
const LONGEST_QUOTE: usize = 600;

/// The private key of an attestor.
#[derive(Clone)]
pub enum AttestorKey {
    /// A version of a key in Cloud KMS, by its resource name. ECDSA or RSA with SHA-256.
    CloudKms(String),
    /// An ECDSA key on P-256, of a file.
    Local(Arc<EcdsaKeyPair>),
}

impl AttestorKey {
    /// The key of a PEM file in PKCS #8.
    ///
    /// # Errors
    /// If it is none, or of another kind than ECDSA on P-256.
    pub fn from_pem(text: &str) -> Result<Self, InvalidAttestorKey> {
        let der =
            PrivatePkcs8KeyDer::from_pem_slice(text.as_bytes()).map_err(|_| InvalidAttestorKey)?;
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, der.secret_pkcs8_der());
        Ok(Self::Local(Arc::new(pair.map_err(|_| InvalidAttestorKey)?)))
    }

    /// What attestors call its public key.
    pub fn id(&self) -> String {
        match self {
            Self::CloudKms(name) => format!("{KMS_KEYS}{name}"),
            Self::Local(pair) => {
                let spki = AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key());
                let spki = spki.map(|der| der.as_ref().to_vec()).unwrap_or_default();
                let hash = digest(&SHA256, &spki);
                format!("ni:///sha-256;{}", BASE64URL_NOPAD.encode(hash.as_ref()))
            }
        }
    }
}

impl fmt::Debug for AttestorKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("AttestorKey").field(&self.id()).finish()
    }
}

/// A file holds no key of an attestor.
#[derive(Debug, thiserror::Error)]
#[error(
    "holds no ECDSA private key on P-256 in PKCS #8: make one with openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256"
)]
pub struct InvalidAttestorKey;

/// One attestor, as configured.
#[derive(Clone, Debug)]
pub struct AttestorSettings {
    /// Its note, as policies name it.
    pub note: NoteName,
    /// The key that the attestor knows the public half of.
    pub key: AttestorKey,
    /// Whose rights are used.
    pub account: GoogleAccount,
}

/// Where Google's APIs are, or a sandbox.
#[derive(Clone, Debug)]
pub struct BinaryAuthorizationSettings {
    /// Artifact Analysis.
    pub analysis: Url,
    /// Cloud KMS.
    pub kms: Url,
    /// The attestors, by the environments that they are for.
    pub attestors: BTreeMap<String, AttestorSettings>,
}

/// Makes attestations.
#[derive(Clone, Debug)]
pub struct BinaryAuthorization {
    settings: BinaryAuthorizationSettings,
    http: OutboundHttp,
    credentials: BTreeMap<GoogleAccount, CloudCredentials>,
}

/// Why there is no attestation.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AttestationError {
    /// It will not be made as things are.
    #[error("{0}")]
    Refused(String),
    /// It may be made another time.
    #[error("{0}")]
    NotNow(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Occurrences {
    #[serde(default)]
    occurrences: Vec<Occurrence>,
    #[serde(default)]
    next_page_token: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Occurrence {
    name: String,
    #[serde(default)]
    resource_uri: String,
    attestation: Option<Attestation>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Attestation {
    #[serde(default)]
    serialized_payload: String,
    #[serde(default)]
    signatures: Vec<Signature>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Signature {
    #[serde(default)]
    public_key_id: String,
}

impl BinaryAuthorization {
    /// Touches neither the network nor the credentials.
    pub fn new(settings: BinaryAuthorizationSettings, http: OutboundHttp) -> Self {
        let accounts = settings.attestors.values().map(|one| one.account.clone());
        let credentials = accounts
            .map(|account| (account.clone(), CloudCredentials::new(account, EVERYTHING)))
            .collect();
        Self { settings, http, credentials }
    }

    /// Has the image attested for the attestor of this environment, unless it is already: what its occurrence is called.
    ///
    /// # Errors
    /// [`AttestationError::Refused`] where the environment has no such attestor any more, or Google refuses.
    pub async fn attest(
        &self,
        environment: &str,
        note: &NoteName,
        image: &ImageReference,
    ) -> Result<String, AttestationError> {
        // Two environments may share a note, each with a key of its own.
        let configured = self.settings.attestors.get(environment).filter(|one| one.note == *note);
        let configured = configured.ok_or_else(|| {
            AttestationError::Refused(format!(
                "what was signed asks for an attestation for {note}, and this gate's configuration has no such attestor for {environment}: write it again as it was, and ask again"
            ))
        })?;
        let text = payload(image).map_err(|error| AttestationError::Refused(error.to_string()))?;
        if let Some(found) = self.find(configured, image, &text).await? {
            return Ok(found);
        }
        let signature = self.sign(configured, text.as_bytes()).await?;
        let body = json!({
            "resourceUri": resource(image),
            "noteName": note,
            "attestation": {
                "serializedPayload": BASE64.encode(text.as_bytes()),
                "signatures": [{"publicKeyId": configured.key.id(), "signature": BASE64.encode(&signature)}],
            },
        });
        let url = at(&self.settings.analysis, &["v1", "projects", note.project(), "occurrences"]);
        let made = self.call(configured, Method::POST, url, Some(&body)).await?;
        read::<Occurrence>(made).map(|made| made.name)
    }

    /// The occurrence that says the same already.
    async fn find(
        &self,
        configured: &AttestorSettings,
        image: &ImageReference,
        text: &str,
    ) -> Result<Option<String>, AttestationError> {
        let (image, encoded) = (resource(image), BASE64.encode(text.as_bytes()));
        let key = configured.key.id();
        let mut segments = vec!["v1"];
        segments.extend(configured.note.as_str().split('/'));
        segments.push("occurrences");
        let mut page = String::new();
        for _ in 0..MOST_PAGES {
            let mut url = at(&self.settings.analysis, &segments);
            url.query_pairs_mut().append_pair("filter", &format!("resourceUrl=\"{image}\""));
            if !page.is_empty() {
                url.query_pairs_mut().append_pair("pageToken", &page);
            }
            let answer = self.call(configured, Method::GET, url, None).await?;
            let Occurrences { occurrences, next_page_token } = read(answer)?;
            let same = occurrences.into_iter().find(|one| {
                one.resource_uri == image
                    && one.attestation.as_ref().is_some_and(|attestation| {
                        let by_us = |signature: &Signature| signature.public_key_id == key;
                        attestation.serialized_payload == encoded
                            && attestation.signatures.iter().any(by_us)
                    })
            });
            if let Some(same) = same {
                return Ok(Some(same.name));
            }
            if next_page_token.is_empty() {
                return Ok(None);
            }
            page = next_page_token;
        }
        // Too many to read: one more does no harm.
        Ok(None)
    }

    async fn sign(
        &self,
        configured: &AttestorSettings,
        text: &[u8],
    ) -> Result<Vec<u8>, AttestationError> {
        match &configured.key {
            AttestorKey::Local(pair) => {
                let signature = pair.sign(&SystemRandom::new(), text).map_err(|_| {
                    AttestationError::NotNow("the attestor's key could not sign".to_owned())
                })?;
                Ok(signature.as_ref().to_vec())
            }
            AttestorKey::CloudKms(name) => {
                let hash = BASE64.encode(digest(&SHA256, text).as_ref());
                let mut segments: Vec<&str> = vec!["v1"];
                segments.extend(name.split('/'));
                let mut url = at(&self.settings.kms, &segments);
                url.set_path(&format!("{}:asymmetricSign", url.path()));
                let body = json!({"digest": {"sha256": hash}});
                let answer = self.call(configured, Method::POST, url, Some(&body)).await?;
                #[derive(Deserialize)]
                struct Signed {
                    signature: String,
                }
                let Signed { signature } = read(answer)?;
                BASE64.decode(signature.as_bytes()).map_err(|_| {
                    AttestationError::NotNow("the signature of Cloud KMS is no base64".to_owned())
                })
            }
        }
    }

    async fn call(
        &self,
        configured: &AttestorSettings,
        method: Method,
        url: Url,
        body: Option<&Value>,
    ) -> Result<http::Response<Vec<u8>>, AttestationError> {
        let not_now =
            |why: String| AttestationError::NotNow(format!("no attestation could be made: {why}"));
        let host = url.host_str().unwrap_or_default().to_owned();
        let body = body.map_or_else(Vec::new, |body| body.to_string().into_bytes());
        let request = Request::builder()
            .method(method)
            .uri(url.as_str())
            .header(header::ACCEPT, "application/json")
            .header(header::CONTENT_TYPE, "application/json")
            .body(body);
        let mut request = request.map_err(|error| not_now(error.to_string()))?;
        let Some(credentials) = self.credentials.get(&configured.account) else {
            return Err(not_now("there are no credentials for the attestor's account".to_owned()));
        };
        request.headers_mut().extend(credentials.headers().await.map_err(not_now)?);
        let answer = self.http.send(request).await.map_err(|error| not_now(error.to_string()))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let said: String =
            String::from_utf8_lossy(answer.body()).chars().take(LONGEST_QUOTE).collect();
        let why = format!("{host} answered with {status}: {said}");
        if status.is_server_error()
            || [StatusCode::TOO_MANY_REQUESTS, StatusCode::REQUEST_TIMEOUT].contains(&status)
        {
            return Err(not_now(why));
        }
        Err(AttestationError::Refused(format!(
            "no attestation was made, so nothing was rolled out: {why}. The gate's account needs \
             roles/containeranalysis.notes.attacher and roles/containeranalysis.notes.occurrences.viewer on {}, \
             roles/containeranalysis.occurrences.editor in its project and, for a key in Cloud KMS, roles/cloudkms.signer on the key",
            configured.note
        )))
    }
}

fn at(base: &Url, segments: &[&str]) -> Url {
    let mut url = base.clone();
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(segments);
    }
    url
}

fn read<T: for<'de> Deserialize<'de>>(
    answer: http::Response<Vec<u8>>,
) -> Result<T, AttestationError> {
    serde_json::from_slice(answer.body()).map_err(|error| {
        AttestationError::NotNow(format!(
            "the answer to a request for an attestation cannot be read: {error}"
        ))
    })
}
