//! Who vouches for the authenticator that made a key, from the bytes of its registration: attestation statements
//! of the format `packed` with certificates (WebAuthn Level 3, section 8.2).
//!
//! The statements of other formats, and one that an authenticator makes of itself, show nothing here: any software
//! writes the last, and a format that is not understood is not believed.

use jiff::Timestamp;

use super::base64url;
use super::cbor::Value;
use super::certificate::{
    Certificate, CertificateRefusal, ECDSA_SHA256, ECDSA_SHA384, RSA_SHA256, follow,
};
use super::registration::Registration;
use crate::domain::key_rules::Vouching;

/// An attestation statement, as far as it is understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Statement {
    /// None was given.
    None,
    /// One of the format `packed` that the key itself signed.
    OfItself,
    /// One of the format `packed` that a certified key signed.
    Packed {
        /// The signature's algorithm, by its identifier in the COSE registry.
        algorithm: i128,
        /// The signature.
        signature: Vec<u8>,
        /// The certificates, as DER, that of the authenticator first.
        certificates: Vec<Vec<u8>>,
    },
    /// One of the format `packed` with other members than those that it has.
    Malformed,
    /// One of another format.
    Other(String),
}

impl Statement {
    /// What an attestation object holds under these two names. Canonical maps have these members in this order.
    pub(super) fn read(format: &str, members: &[(Value<'_>, Value<'_>)]) -> Self {
        match (format, members) {
            ("none", _) => Self::None,
            (
                "packed",
                [
                    (Value::Text("alg"), Value::Integer(algorithm)),
                    (Value::Text("sig"), Value::Bytes(signature)),
                    (Value::Text("x5c"), Value::List(certificates)),
                ],
            ) => Self::of_certificates(*algorithm, signature, certificates),
            ("packed", [(Value::Text("alg"), _), (Value::Text("sig"), _)]) => Self::OfItself,
            ("packed", _) => Self::Malformed,
            (other, _) => Self::Other(other.to_owned()),
        }
    }

    fn of_certificates(algorithm: i128, signature: &[u8], certificates: &[Value<'_>]) -> Self {
        let certificates = certificates.iter().map(|one| match one {
            Value::Bytes(der) => Some(der.to_vec()),
            _ => None,
        });
        match certificates.collect() {
            Some(certificates) => {
                Self::Packed { algorithm, signature: signature.to_vec(), certificates }
            }
            None => Self::Malformed,
        }
    }
}

/// Why nobody vouches for an authenticator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AttestationRefusal {
    /// There is no statement.
    #[error("the browser passed no attestation on")]
    None,
    /// The key vouches for itself.
    #[error("it vouches for itself alone, as any software can")]
    OfItself,
    /// Its format is not understood.
    #[error("its attestation is in the format {0:?}, and packed alone is understood here")]
    Format(String),
    /// It has other members than a statement of its format.
    #[error("its attestation is malformed")]
    Malformed,
    /// It is not signed.
    #[error("its attestation is not signed by the certificate that it shows")]
    Signature,
    /// A certificate does not hold.
    #[error(transparent)]
    Certificate(#[from] CertificateRefusal),
}

/// Who vouches for the authenticator of a key that was registered at this moment. `roots` are pinned
/// certificates of makers, as DER in base64url.
pub fn vouching(registration: &Registration, roots: &[String], at: Timestamp) -> Vouching {
    judge(registration, roots, at).unwrap_or_else(|why| Vouching::Nobody(why.to_string()))
}

/// Who vouches for it, or why nobody does.
///
/// # Errors
/// The first thing about its statement that does not hold.
pub fn judge(
    registration: &Registration,
    roots: &[String],
    at: Timestamp,
) -> Result<Vouching, AttestationRefusal> {
    let credential = &registration.credential;
    let (algorithm, signature, certificates) = match &credential.statement {
        Statement::Packed { algorithm, signature, certificates } => {
            (*algorithm, signature, certificates)
        }
        Statement::None => return Err(AttestationRefusal::None),
        Statement::OfItself => return Err(AttestationRefusal::OfItself),
        Statement::Malformed => return Err(AttestationRefusal::Malformed),
        Statement::Other(format) => return Err(AttestationRefusal::Format(format.clone())),
    };
    let chain: Vec<Certificate<'_>> =
        certificates.iter().map(|der| Certificate::read(der)).collect::<Result<_, _>>()?;
    let roots: Vec<Vec<u8>> = roots.iter().filter_map(|text| base64url::decode(text)).collect();
    let roots: Vec<Certificate<'_>> =
        roots.iter().filter_map(|der| Certificate::read(der).ok()).collect();
    let root = follow(&chain, &roots, at)?;
    let (Some(leaf), Some(last)) = (chain.first(), chain.last()) else {
        return Err(CertificateRefusal::Length.into());
    };
    leaf.require_authenticator(&credential.aaguid)?;
    let message = [&credential.authenticator_data[..], &registration.client_data_hash].concat();
    let is_signed =
        certified(algorithm).is_some_and(|algorithm| leaf.verifies(algorithm, &message, signature));
    match root {
        _ if !is_signed => Err(AttestationRefusal::Signature),
        Some(root) => Ok(Vouching::Maker(root.name())),
        None => Ok(Vouching::Stranger(last.issuer())),
    }
}

/// The algorithm of a certificate's key for one of the COSE registry.
fn certified(algorithm: i128) -> Option<&'static str> {
    match algorithm {
        -7 => Some(ECDSA_SHA256),
        -35 => Some(ECDSA_SHA384),
        -257 => Some(RSA_SHA256),
        _ => None,
    }
}
