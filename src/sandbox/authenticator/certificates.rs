//! Certificates of made makers of authenticators, right ones and wrong ones, written as DER by hand (RFC 5280,
//! section 4.1): a test says what stands in them, and no library corrects it.

use data_encoding::BASE64;

use super::signing::SigningKey;
use super::{AuthenticatorError, KeyAlgorithm};
use crate::randomness;

/// The names that a subject is made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NameOf {
    /// The country.
    Country,
    /// The organisation.
    Organization,
    /// A part of it.
    Unit,
    /// The common name.
    Common,
}

/// What stands in a certificate.
#[derive(Clone, Debug)]
pub struct Form {
    /// The algorithm of the key that it is of. No certificate here is of one of EdDSA.
    pub algorithm: KeyAlgorithm,
    /// Whose it is.
    pub subject: Vec<(NameOf, String)>,
    /// Whether it may issue others; it does not say if absent.
    pub is_authority: Option<bool>,
    /// How many others may lie between it and the last one.
    pub path_length: Option<u8>,
    /// The model of authenticators that it is for.
    pub model: Option<[u8; 16]>,
    /// The server that it is for.
    pub server: Option<String>,
    /// From when and until when it is valid, as `YYMMDDHHMMSSZ`.
    pub valid: [&'static str; 2],
    /// More extensions: the object identifier as DER has it, whether it is critical, the value.
    pub more: Vec<(Vec<u8>, bool, Vec<u8>)>,
}

/// The object identifier of models (1.3.6.1.4.1.45724.1.1.4).
pub const MODEL: [u8; 11] = [0x2b, 6, 1, 4, 1, 0x82, 0xe5, 0x1c, 1, 1, 4];
const BASIC_CONSTRAINTS: [u8; 3] = [0x55, 0x1d, 0x13];
const KEY_USAGE: [u8; 3] = [0x55, 0x1d, 0x0f];
const ALTERNATIVE_NAME: [u8; 3] = [0x55, 0x1d, 0x11];
const EC_PUBLIC_KEY: [u8; 7] = [0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
const P256: [u8; 8] = [0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
const P384: [u8; 5] = [0x2b, 0x81, 4, 0, 0x22];
const RSA: [u8; 9] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
const ECDSA_WITH_SHA256: [u8; 8] = [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
const ECDSA_WITH_SHA384: [u8; 8] = [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3];
const RSA_WITH_SHA256: [u8; 9] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 0x0b];

const BOOLEAN: u8 = 0x01;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const OBJECT_IDENTIFIER: u8 = 0x06;
/// A value of no content, where RSA has its parameters.
const NOTHING: [u8; 2] = [0x05, 0];
const UTF8_STRING: u8 = 0x0c;
const PRINTABLE_STRING: u8 = 0x13;
const UTC_TIME: u8 = 0x17;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;

/// A value with its tag and its length.
fn value(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let length = content.len();
    let [high, low] = u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes();
    let header = match length {
        0..128 => vec![tag, low],
        128..256 => vec![tag, 0x81, low],
        _ => vec![tag, 0x82, high, low],
    };
    [header, content].concat()
}

/// An algorithm with its parameters.
fn kind(name: &[u8], parameters: &[u8]) -> Vec<u8> {
    value(SEQUENCE, &[&value(OBJECT_IDENTIFIER, &[name]), parameters])
}

impl Form {
    /// Of an authority of this name: a root, or one that a root issues.
    pub fn authority(name: &str) -> Self {
        Self {
            algorithm: KeyAlgorithm::Es256,
            subject: vec![(NameOf::Common, name.to_owned())],
            is_authority: Some(true),
            path_length: None,
            model: None,
            server: None,
            valid: ["200101000000Z", "491231235959Z"],
            more: Vec::new(),
        }
    }

    /// Of the authenticators of a model, as WebAuthn wants it (Level 3, section 8.2.1).
    pub fn authenticator(model: [u8; 16]) -> Self {
        let subject = [
            (NameOf::Country, "AA"),
            (NameOf::Organization, "Acme Keys"),
            (NameOf::Unit, "Authenticator Attestation"),
            (NameOf::Common, "Acme Key 5"),
        ];
        Self {
            subject: subject.map(|(kind, name)| (kind, name.to_owned())).to_vec(),
            is_authority: Some(false),
            model: Some(model),
            ..Self::authority("")
        }
    }

    /// Of a server of this name.
    pub fn server(name: &str) -> Self {
        let server = Some(name.to_owned());
        Self { is_authority: Some(false), server, ..Self::authority(name) }
    }

    fn name(&self) -> Vec<u8> {
        let parts = self.subject.iter().map(|(kind, name)| {
            let (last, tag) = match kind {
                NameOf::Country => (0x06, PRINTABLE_STRING),
                NameOf::Organization => (0x0a, UTF8_STRING),
                NameOf::Unit => (0x0b, UTF8_STRING),
                NameOf::Common => (0x03, UTF8_STRING),
            };
            let kind = value(OBJECT_IDENTIFIER, &[&[0x55, 0x04, last]]);
            let pair = value(SEQUENCE, &[&kind, &value(tag, &[name.as_bytes()])]);
            value(SET, &[&pair])
        });
        value(SEQUENCE, &[&parts.collect::<Vec<_>>().concat()])
    }

    fn extensions(&self) -> Vec<u8> {
        let mut all = Vec::new();
        if let Some(is_authority) = self.is_authority {
            let says = if is_authority { value(BOOLEAN, &[&[0xff]]) } else { Vec::new() };
            let length = self.path_length.map(|length| value(INTEGER, &[&[length]]));
            let content = value(SEQUENCE, &[&says, &length.unwrap_or_default()]);
            all.push((BASIC_CONSTRAINTS.to_vec(), true, content));
        }
        if self.is_authority == Some(true) {
            // keyCertSign is the sixth bit.
            all.push((KEY_USAGE.to_vec(), true, value(BIT_STRING, &[&[2, 0x04]])));
        }
        if let Some(model) = self.model {
            all.push((MODEL.to_vec(), false, value(OCTET_STRING, &[&model])));
        }
        if let Some(server) = &self.server {
            let names = value(SEQUENCE, &[&value(0x82, &[server.as_bytes()])]);
            all.push((ALTERNATIVE_NAME.to_vec(), false, names));
        }
        all.extend(self.more.iter().cloned());
        let written = all.iter().map(|(name, critical, content)| {
            let critical = if *critical { value(BOOLEAN, &[&[0xff]]) } else { Vec::new() };
            let name = value(OBJECT_IDENTIFIER, &[name]);
            value(SEQUENCE, &[&name, &critical, &value(OCTET_STRING, &[content])])
        });
        let written = written.collect::<Vec<_>>().concat();
        if written.is_empty() { written } else { value(0xa3, &[&value(SEQUENCE, &[&written])]) }
    }
}

/// Somebody with a key and a certificate.
pub struct Issuer {
    key: SigningKey,
    form: Form,
    /// The certificate, as DER.
    pub certificate: Vec<u8>,
}

impl Issuer {
    /// Somebody who signs their own certificate, as roots do.
    ///
    /// # Errors
    /// If the cryptographic library makes no key.
    pub fn root(form: Form) -> Result<Self, AuthenticatorError> {
        Self::new(form, None)
    }

    /// Somebody whose certificate this one issues, whether it may or not.
    ///
    /// # Errors
    /// If the cryptographic library makes no key.
    pub fn issue(&self, form: Form) -> Result<Self, AuthenticatorError> {
        Self::new(form, Some(self))
    }

    /// The key's signature over a message: PKCS #1 1.5, or ECDSA in DER, with the hash of its algorithm.
    ///
    /// # Errors
    /// If the cryptographic library does not sign.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, AuthenticatorError> {
        self.key.sign(message)
    }

    /// The algorithm of its key.
    pub fn algorithm(&self) -> KeyAlgorithm {
        self.form.algorithm
    }

    /// The certificate as a file has it.
    pub fn pem(&self) -> String {
        let text = BASE64.encode(&self.certificate);
        let lines: Vec<&str> =
            text.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
        format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
    }

    fn new(form: Form, issuer: Option<&Self>) -> Result<Self, AuthenticatorError> {
        let key = SigningKey::generate(form.algorithm)?;
        let mut made = Self { key, form, certificate: Vec::new() };
        let issuer = issuer.unwrap_or(&made);
        let algorithm = match issuer.algorithm() {
            KeyAlgorithm::Es256 => kind(&ECDSA_WITH_SHA256, &[]),
            KeyAlgorithm::Es384 => kind(&ECDSA_WITH_SHA384, &[]),
            KeyAlgorithm::Rs256 => kind(&RSA_WITH_SHA256, &NOTHING),
            KeyAlgorithm::EdDsa => return Err(AuthenticatorError::Algorithm),
        };
        let said = made.said(&issuer.form.name(), &algorithm);
        let signature = value(BIT_STRING, &[&[0], &issuer.sign(&said)?]);
        made.certificate = value(SEQUENCE, &[&said, &algorithm, &signature]);
        Ok(made)
    }

    /// What is signed of the certificate.
    fn said(&self, issuer: &[u8], algorithm: &[u8]) -> Vec<u8> {
        let version = value(0xa0, &[&value(INTEGER, &[&[2]])]);
        // Neither negative nor longer than it must be.
        let serial = value(INTEGER, &[&[0x40], &randomness::bytes::<15>()]);
        let [from, to] = self.form.valid.map(|time| value(UTC_TIME, &[time.as_bytes()]));
        let valid = value(SEQUENCE, &[&from, &to]);
        let kind = match self.algorithm() {
            KeyAlgorithm::Es384 => kind(&EC_PUBLIC_KEY, &value(OBJECT_IDENTIFIER, &[&P384])),
            KeyAlgorithm::Rs256 => kind(&RSA, &NOTHING),
            _ => kind(&EC_PUBLIC_KEY, &value(OBJECT_IDENTIFIER, &[&P256])),
        };
        let key = value(BIT_STRING, &[&[0], self.key.public_key()]);
        let key = value(SEQUENCE, &[&kind, &key]);
        let (subject, extensions) = (self.form.name(), self.form.extensions());
        let parts: [&[u8]; 8] =
            [&version, &serial, algorithm, issuer, &valid, &subject, &key, &extensions];
        value(SEQUENCE, &parts)
    }
}
