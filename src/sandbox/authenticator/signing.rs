//! The private keys of the software authenticator.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair, RSA_PKCS1_SHA256,
};
use ciborium::Value as Cbor;

use super::{AuthenticatorError, KeyAlgorithm, cbor};

/// A private key, of whichever algorithm.
pub(super) enum SigningKey {
    Ecdsa(EcdsaKeyPair),
    Rsa(RsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl SigningKey {
    pub(super) fn generate(algorithm: KeyAlgorithm) -> Result<Self, AuthenticatorError> {
        let key = match algorithm {
            KeyAlgorithm::Es256 => {
                EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).map(Self::Ecdsa)
            }
            KeyAlgorithm::Es384 => {
                EcdsaKeyPair::generate(&ECDSA_P384_SHA384_ASN1_SIGNING).map(Self::Ecdsa)
            }
            KeyAlgorithm::Rs256 => RsaKeyPair::generate(KeySize::Rsa2048).map(Self::Rsa),
            KeyAlgorithm::EdDsa => Ed25519KeyPair::generate().map(Self::Ed25519),
        };
        key.map_err(|_| AuthenticatorError::Cryptography)
    }

    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, AuthenticatorError> {
        let random = SystemRandom::new();
        let failed = |_| AuthenticatorError::Cryptography;
        match self {
            Self::Ecdsa(key) => Ok(key.sign(&random, message).map_err(failed)?.as_ref().to_vec()),
            Self::Ed25519(key) => Ok(key.sign(message).as_ref().to_vec()),
            Self::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).map_err(failed)?;
                Ok(signature)
            }
        }
    }

    /// The public key as certificates have it: a point, or the numbers of RSA (RFC 8017, appendix A.1.1).
    pub(super) fn public_key(&self) -> &[u8] {
        match self {
            Self::Ecdsa(key) => key.public_key().as_ref(),
            Self::Ed25519(key) => key.public_key().as_ref(),
            Self::Rsa(key) => key.public_key().as_ref(),
        }
    }

    /// The public key as a COSE key in canonical CBOR.
    pub(super) fn cose(&self, algorithm: KeyAlgorithm) -> Result<Vec<u8>, AuthenticatorError> {
        let (kind, parameters) = match self {
            Self::Ecdsa(key) => {
                // An uncompressed point: the byte 4, then both coordinates.
                let point = key.public_key().as_ref();
                let (x, y) = point[1..].split_at(point.len() / 2);
                let curve = if algorithm == KeyAlgorithm::Es384 { 2 } else { 1 };
                (2, vec![(-1, Cbor::from(curve)), (-2, x.into()), (-3, y.into())])
            }
            Self::Ed25519(key) => {
                (1, vec![(-1, Cbor::from(6)), (-2, key.public_key().as_ref().into())])
            }
            Self::Rsa(key) => {
                let public = key.public_key();
                let modulus = public.modulus().big_endian_without_leading_zero();
                let exponent = public.exponent().big_endian_without_leading_zero();
                (3, vec![(-1, modulus.into()), (-2, exponent.into())])
            }
        };
        let mut members = vec![(1, Cbor::from(kind)), (3, Cbor::from(algorithm.cose()))];
        members.extend(parameters);
        cbor(members.into_iter().map(|(label, value)| (Cbor::from(label), value)).collect())
    }
}
