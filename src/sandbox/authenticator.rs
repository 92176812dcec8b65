//! A software authenticator and the browser around it: makes keys and signs, without a person.
//!
//! `countersign demo --auto` plays the approver with it, and the tests make with it every wrong
//! assertion that a broken or hostile browser could send. It takes and gives the JSON that
//! `PublicKeyCredential.parseCreationOptionsFromJSON`, `parseRequestOptionsFromJSON` and `toJSON`
//! exchange (WebAuthn Level 3, sections 5.1.8 to 5.1.10).

mod attestation;
pub mod certificates;
mod signing;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};
use ciborium::Value as Cbor;
use data_encoding::BASE64URL_NOPAD;
use serde_json::{Map, Value, json};

use crate::randomness;

pub use attestation::Attestation;
use signing::SigningKey;

/// The model this authenticator says it is, if nothing else is said: its own, so that nobody takes it for hardware.
pub const AAGUID: [u8; 16] = *b"countersign-soft";

/// The algorithm of the keys to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyAlgorithm {
    Es256,
    Es384,
    Rs256,
    EdDsa,
}

impl KeyAlgorithm {
    /// Its identifier in the COSE registry.
    fn cose(self) -> i64 {
        match self {
            Self::Es256 => -7,
            Self::Es384 => -35,
            Self::Rs256 => -257,
            Self::EdDsa => -8,
        }
    }
}

/// A deliberate mistake, for tests. All but those said to be unsigned are signed over, so
/// that only the check meant for them can notice them.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The given flag bits are flipped: 0x01 UP, 0x04 UV, 0x08 BE, 0x10 BS, 0x40 AT, 0x80 ED.
    FlipFlags(u8),
    /// The member of the client data gets this value.
    ClientDataMember(&'static str, Value),
    /// The member is left out of the client data.
    WithoutClientDataMember(&'static str),
    /// These bytes stand in the place of the client data.
    ClientData(Vec<u8>),
    /// These bytes follow the authenticator data.
    ExtraBytes(Vec<u8>),
    /// The authenticator data ends after so many bytes.
    Truncated(usize),
    /// The signature counter is this.
    SignCount(u32),
    /// The RP id that is hashed is this.
    RelyingParty(&'static str),
    /// A key nobody knows signs in place of the registered one.
    WrongKey,
    /// The signature itself is changed by this function (unsigned).
    Signature(fn(&[u8]) -> Vec<u8>),
    /// The user handle in the answer is this (unsigned).
    UserHandle(Option<Vec<u8>>),
}

/// Why nothing was made or signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthenticatorError {
    #[error("the options lack {0:?} or give it in the wrong form")]
    Options(&'static str),
    #[error("the relying party {rp_id:?} is not the host of {origin:?} nor a domain above it")]
    RelyingParty { rp_id: String, origin: String },
    #[error("the options ask for other algorithms than this authenticator makes")]
    Algorithm,
    #[error("the authenticator already holds a key that the options exclude")]
    Excluded,
    #[error("the authenticator holds none of the keys that may sign")]
    NoCredential,
    #[error("the cryptographic library could not make or use a key")]
    Cryptography,
}

struct Credential {
    id: Vec<u8>,
    rp_id: String,
    user_handle: Vec<u8>,
    algorithm: KeyAlgorithm,
    key: SigningKey,
    sign_count: u32,
}

/// The authenticator with the keys it made. It verifies its owner always. A clone is the same authenticator.
#[derive(Clone)]
pub struct SoftwareAuthenticator {
    credentials: Arc<Mutex<Vec<Credential>>>,
    /// What the next key is.
    pub algorithm: KeyAlgorithm,
    /// The BE flag of everything it signs: its keys may be copied.
    pub backup_eligible: bool,
    /// The BS flag of everything it signs: its keys are backed up.
    pub backed_up: bool,
    /// Whether its keys count their signatures; a key that does not says 0 for ever.
    pub counts_signatures: bool,
    /// The model it says it is.
    pub model: [u8; 16],
    /// What it says of its maker, where it is asked.
    pub attestation: Attestation,
}

impl Default for SoftwareAuthenticator {
    fn default() -> Self {
        Self::new()
    }
}

impl SoftwareAuthenticator {
    /// An authenticator like a hardware key: ES256, device-bound, counting.
    pub fn new() -> Self {
        Self {
            credentials: Arc::default(),
            algorithm: KeyAlgorithm::Es256,
            backup_eligible: false,
            backed_up: false,
            counts_signatures: true,
            model: AAGUID,
            attestation: Attestation::None,
        }
    }

    /// The id of the key that was made last, base64url.
    pub fn newest_credential(&self) -> Option<String> {
        self.credentials().last().map(|credential| BASE64URL_NOPAD.encode(&credential.id))
    }

    fn credentials(&self) -> MutexGuard<'_, Vec<Credential>> {
        self.credentials.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a key for `options` (the JSON of `PublicKeyCredentialCreationOptions`, bare or under
    /// `publicKey`) on a page of `origin`, and gives the registration response.
    ///
    /// # Errors
    /// When the options cannot be met.
    pub fn create(&mut self, options: &Value, origin: &str) -> Result<Value, AuthenticatorError> {
        self.create_with(options, origin, &[])
    }

    /// As [`Self::create`], with deliberate mistakes.
    ///
    /// # Errors
    /// When the options cannot be met.
    pub fn create_with(
        &mut self,
        options: &Value,
        origin: &str,
        faults: &[Fault],
    ) -> Result<Value, AuthenticatorError> {
        let options = options.get("publicKey").unwrap_or(options);
        let rp_id = relying_party(options.pointer("/rp/id"), origin)?;
        let user_handle = bytes_at(options, "/user/id", "user.id")?;
        let wanted = options.get("pubKeyCredParams").and_then(Value::as_array);
        let identifier = Some(self.algorithm.cose());
        if !wanted.is_some_and(|all| all.iter().any(|one| one["alg"].as_i64() == identifier)) {
            return Err(AuthenticatorError::Algorithm);
        }
        let excluded = credential_ids(options.get("excludeCredentials"));
        if self.credentials().iter().any(|own| own.rp_id == rp_id && excluded.contains(&own.id)) {
            return Err(AuthenticatorError::Excluded);
        }
        let client_data = client_data("webauthn.create", options, origin, faults)?;
        let credential = Credential {
            id: randomness::bytes::<32>().to_vec(),
            rp_id,
            user_handle,
            algorithm: self.algorithm,
            key: SigningKey::generate(self.algorithm)?,
            sign_count: 0,
        };
        let authenticator_data = self.authenticator_data(&credential, true, faults)?;
        let signed = [&authenticator_data, digest(&SHA256, &client_data).as_ref()].concat();
        // Browsers pass on only what the page asks for.
        let is_asked = options.get("attestation").and_then(Value::as_str) == Some("direct");
        let attestation = if is_asked { &self.attestation } else { &Attestation::None };
        let (format, statement) = attestation.statement(&signed, &credential)?;
        let attestation_object = cbor(vec![
            (Cbor::from("fmt"), Cbor::from(format)),
            (Cbor::from("attStmt"), Cbor::Map(statement)),
            (Cbor::from("authData"), Cbor::Bytes(authenticator_data)),
        ])?;
        let id = BASE64URL_NOPAD.encode(&credential.id);
        self.credentials().push(credential);
        Ok(json!({
            "id": id,
            "rawId": id,
            "type": "public-key",
            "authenticatorAttachment": "cross-platform",
            "response": {
                "clientDataJSON": BASE64URL_NOPAD.encode(&client_data),
                "attestationObject": BASE64URL_NOPAD.encode(&attestation_object),
                "transports": ["usb"],
            },
            "clientExtensionResults": {},
        }))
    }

    /// Signs for `options` (the JSON of `PublicKeyCredentialRequestOptions`, bare or under
    /// `publicKey`) on a page of `origin`, and gives the assertion.
    ///
    /// # Errors
    /// When the options cannot be met.
    pub fn assert(&mut self, options: &Value, origin: &str) -> Result<Value, AuthenticatorError> {
        self.assert_with(options, origin, &[])
    }

    /// As [`Self::assert`], with deliberate mistakes.
    ///
    /// # Errors
    /// When the options cannot be met.
    pub fn assert_with(
        &mut self,
        options: &Value,
        origin: &str,
        faults: &[Fault],
    ) -> Result<Value, AuthenticatorError> {
        let options = options.get("publicKey").unwrap_or(options);
        let rp_id = relying_party(options.get("rpId"), origin)?;
        let allowed = credential_ids(options.get("allowCredentials"));
        let client_data = client_data("webauthn.get", options, origin, faults)?;
        let counts = self.counts_signatures;
        let usable = |own: &Credential| {
            own.rp_id == rp_id && (allowed.is_empty() || allowed.contains(&own.id))
        };
        let mut credentials = self.credentials();
        let credential = credentials.iter_mut().find(|own| usable(own));
        let credential = credential.ok_or(AuthenticatorError::NoCredential)?;
        if counts {
            credential.sign_count += 1;
        }
        let authenticator_data = self.authenticator_data(credential, false, faults)?;
        let signed = [&authenticator_data, digest(&SHA256, &client_data).as_ref()].concat();
        let mut signature = if faults.iter().any(|fault| matches!(fault, Fault::WrongKey)) {
            SigningKey::generate(credential.algorithm)?.sign(&signed)?
        } else {
            credential.key.sign(&signed)?
        };
        let mut user_handle = Some(credential.user_handle.clone());
        for fault in faults {
            match fault {
                Fault::Signature(change) => signature = change(&signature),
                Fault::UserHandle(other) => user_handle = other.clone(),
                _ => {}
            }
        }
        let id = BASE64URL_NOPAD.encode(&credential.id);
        Ok(json!({
            "id": id,
            "rawId": id,
            "type": "public-key",
            "authenticatorAttachment": "cross-platform",
            "response": {
                "authenticatorData": BASE64URL_NOPAD.encode(&authenticator_data),
                "clientDataJSON": BASE64URL_NOPAD.encode(&client_data),
                "signature": BASE64URL_NOPAD.encode(&signature),
                "userHandle": user_handle.map(|handle| BASE64URL_NOPAD.encode(&handle)),
            },
            "clientExtensionResults": {},
        }))
    }

    fn authenticator_data(
        &self,
        credential: &Credential,
        attested: bool,
        faults: &[Fault],
    ) -> Result<Vec<u8>, AuthenticatorError> {
        let mut flags = 0x05;
        for (set, bit) in [(self.backup_eligible, 0x08), (self.backed_up, 0x10), (attested, 0x40)] {
            flags |= if set { bit } else { 0 };
        }
        let (mut rp_id, mut sign_count) = (credential.rp_id.as_str(), credential.sign_count);
        for fault in faults {
            match fault {
                Fault::FlipFlags(bits) => flags ^= bits,
                Fault::RelyingParty(other) => rp_id = other,
                Fault::SignCount(other) => sign_count = *other,
                _ => {}
            }
        }
        let mut data = digest(&SHA256, rp_id.as_bytes()).as_ref().to_vec();
        data.push(flags);
        data.extend_from_slice(&sign_count.to_be_bytes());
        if attested {
            data.extend_from_slice(&self.model);
            // The ids made here are 32 bytes long.
            data.extend_from_slice(&[0, 32]);
            data.extend_from_slice(&credential.id);
            data.extend_from_slice(&credential.key.cose(credential.algorithm)?);
        }
        for fault in faults {
            match fault {
                Fault::ExtraBytes(extra) => data.extend_from_slice(extra),
                Fault::Truncated(length) => data.truncate(*length),
                _ => {}
            }
        }
        Ok(data)
    }
}

/// What the browser writes for the page to be signed over.
fn client_data(
    ceremony: &str,
    options: &Value,
    origin: &str,
    faults: &[Fault],
) -> Result<Vec<u8>, AuthenticatorError> {
    let challenge = options.get("challenge").and_then(Value::as_str);
    let challenge = challenge.ok_or(AuthenticatorError::Options("challenge"))?;
    let mut members = Map::new();
    members.insert("type".to_owned(), ceremony.into());
    members.insert("challenge".to_owned(), challenge.into());
    members.insert("origin".to_owned(), origin.into());
    members.insert("crossOrigin".to_owned(), false.into());
    for fault in faults {
        match fault {
            Fault::ClientData(bytes) => return Ok(bytes.clone()),
            Fault::ClientDataMember(name, value) => {
                members.insert((*name).to_owned(), value.clone());
            }
            Fault::WithoutClientDataMember(name) => {
                members.remove(*name);
            }
            _ => {}
        }
    }
    Ok(Value::Object(members).to_string().into_bytes())
}

/// The RP id that the options name, or the origin's host; it must be that host or above it.
fn relying_party(given: Option<&Value>, origin: &str) -> Result<String, AuthenticatorError> {
    let url = url::Url::parse(origin).map_err(|_| AuthenticatorError::Options("origin"))?;
    let host = url.host_str().unwrap_or_default();
    let rp_id = match given {
        None => host,
        Some(value) => value.as_str().ok_or(AuthenticatorError::Options("rpId"))?,
    };
    if host == rp_id || host.strip_suffix(rp_id).is_some_and(|below| below.ends_with('.')) {
        Ok(rp_id.to_owned())
    } else {
        let origin = origin.to_owned();
        Err(AuthenticatorError::RelyingParty { rp_id: rp_id.to_owned(), origin })
    }
}

fn bytes_at(
    options: &Value,
    pointer: &str,
    name: &'static str,
) -> Result<Vec<u8>, AuthenticatorError> {
    let text = options.pointer(pointer).and_then(Value::as_str);
    let bytes = text.and_then(|text| BASE64URL_NOPAD.decode(text.as_bytes()).ok());
    bytes.ok_or(AuthenticatorError::Options(name))
}

fn credential_ids(descriptors: Option<&Value>) -> Vec<Vec<u8>> {
    let descriptors = descriptors.and_then(Value::as_array).into_iter().flatten();
    descriptors.filter_map(|one| bytes_at(one, "/id", "id").ok()).collect()
}

fn cbor(members: Vec<(Cbor, Cbor)>) -> Result<Vec<u8>, AuthenticatorError> {
    let mut encoded = Vec::new();
    ciborium::into_writer(&Cbor::Map(members), &mut encoded)
        .map_err(|_| AuthenticatorError::Cryptography)?;
    Ok(encoded)
}
