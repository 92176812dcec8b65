//! Public keys of credentials, as COSE writes them (RFC 9052, RFC 9053, RFC 8230), and their
//! signatures as WebAuthn Level 3, section 6.5.5 forms them.

use aws_lc_rs::rsa::PublicKeyComponents;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, ED25519, ParsedPublicKey,
    RSA_PKCS1_2048_8192_SHA256, VerificationAlgorithm,
};

use super::cbor::{self, CborRefusal, Value};

/// The signature algorithms that are verified. ES256 is what nearly every key uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// ECDSA over P-256 with SHA-256.
    Es256,
    /// ECDSA over P-384 with SHA-384.
    Es384,
    /// RSASSA-PKCS1-v1_5 with SHA-256 and at least 2048 bits.
    Rs256,
    /// Ed25519.
    EdDsa,
}

impl Algorithm {
    /// The algorithm of a COSE identifier, if it is one of ours.
    fn from_cose(identifier: i128) -> Option<Self> {
        match identifier {
            -7 => Some(Self::Es256),
            -35 => Some(Self::Es384),
            -257 => Some(Self::Rs256),
            -8 => Some(Self::EdDsa),
            _ => None,
        }
    }

    /// Its name in the COSE registry.
    pub fn name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Rs256 => "RS256",
            Self::EdDsa => "EdDSA",
        }
    }
}

/// Why a public key was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublicKeyRefusal {
    #[error("the public key is not a COSE key: {0}")]
    Malformed(&'static str),
    #[error("the public key is not in the canonical CBOR form with exactly the members it needs")]
    NotCanonical,
    #[error(
        "the key's algorithm (COSE {0}) is not supported: register an ES256, ES384, RS256 or EdDSA key"
    )]
    UnsupportedAlgorithm(i128),
    #[error("the key's type or curve does not belong to its algorithm {0}")]
    WrongCurve(&'static str),
    #[error("the numbers in the public key are no {0} key: not on the curve, or too small")]
    InvalidKey(&'static str),
}

impl PublicKeyRefusal {
    /// A stable name for machines.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "public_key_malformed",
            Self::NotCanonical => "public_key_not_canonical",
            Self::UnsupportedAlgorithm(_) => "unsupported_algorithm",
            Self::WrongCurve(_) => "public_key_wrong_curve",
            Self::InvalidKey(_) => "public_key_invalid",
        }
    }
}

/// A checked public key: its algorithm and curve belong together and its point is on the curve.
#[derive(Clone, Debug)]
pub struct PublicKey {
    algorithm: Algorithm,
    cose: Vec<u8>,
    key: ParsedPublicKey,
}

impl PublicKey {
    /// Reads a COSE key in CTAP2 canonical CBOR: these bytes, and no other, mean this key.
    ///
    /// # Errors
    /// When the bytes are anything else than one supported key with exactly the members it needs.
    pub fn from_cose(bytes: &[u8]) -> Result<Self, PublicKeyRefusal> {
        let mut rest = bytes;
        let (_, key) = Self::read(&mut rest)?;
        if rest.is_empty() { Ok(key) } else { Err(PublicKeyRefusal::NotCanonical) }
    }

    /// Reads the COSE key that `bytes` start with and leaves what follows it.
    pub(super) fn read<'a>(bytes: &mut &'a [u8]) -> Result<(&'a [u8], Self), PublicKeyRefusal> {
        let start = *bytes;
        let value = cbor::read(bytes).map_err(|refusal| match refusal {
            CborRefusal::NotCanonical => PublicKeyRefusal::NotCanonical,
            CborRefusal::EndsEarly
            | CborRefusal::Unsupported
            | CborRefusal::TooDeep
            | CborRefusal::NotUtf8 => PublicKeyRefusal::Malformed("not CBOR as CTAP2 writes it"),
        })?;
        let cose = &start[..start.len() - bytes.len()];
        let members = Members::new(value)?;
        let identifier = members.integer(3)?;
        let algorithm = Algorithm::from_cose(identifier)
            .ok_or(PublicKeyRefusal::UnsupportedAlgorithm(identifier))?;
        let (key, needed) = match algorithm {
            Algorithm::Es256 => (members.elliptic(algorithm, 1, 32, &ECDSA_P256_SHA256_ASN1)?, 5),
            Algorithm::Es384 => (members.elliptic(algorithm, 2, 48, &ECDSA_P384_SHA384_ASN1)?, 5),
            Algorithm::EdDsa => (members.edwards()?, 4),
            Algorithm::Rs256 => (members.rsa()?, 4),
        };
        if members.0.len() != needed {
            return Err(PublicKeyRefusal::NotCanonical);
        }
        Ok((cose, Self { algorithm, cose: cose.to_vec(), key }))
    }

    /// The algorithm this key signs with.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The canonical COSE bytes of this key.
    pub fn cose(&self) -> &[u8] {
        &self.cose
    }

    /// Whether `signature` is this key's over `message`. ECDSA signatures must be strict DER.
    /// Both (r, s) and (r, n-s) verify: a signature's bytes identify nothing.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.key.verify_sig(message, signature).is_ok()
    }
}

/// Every encoding of a point of Ed25519 whose order divides 8, the sign bit cleared. Such a key binds nobody: for the neutral element one signature
/// that anybody can write down verifies over every message.
const SMALL_ORDER: [[u8; 32]; 7] = [
    edge(0x00, 0x00, 0x00),
    edge(0x01, 0x00, 0x00),
    edge(0xec, 0xff, 0x7f),
    edge(0xed, 0xff, 0x7f),
    edge(0xee, 0xff, 0x7f),
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98,
        0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53,
        0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67,
        0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac,
        0x03, 0x7a,
    ],
];

const fn edge(first: u8, between: u8, last: u8) -> [u8; 32] {
    let mut bytes = [between; 32];
    bytes[0] = first;
    bytes[31] = last;
    bytes
}

fn is_small_order(point: &[u8]) -> bool {
    let [start @ .., last] = point else { return false };
    SMALL_ORDER.iter().any(|small| small[..31] == *start && small[31] == last & 0x7f)
}

/// The members of a COSE key with integer labels.
struct Members<'a>(Vec<(i128, Value<'a>)>);

impl<'a> Members<'a> {
    fn new(value: Value<'a>) -> Result<Self, PublicKeyRefusal> {
        let Value::Map(entries) = value else {
            return Err(PublicKeyRefusal::Malformed("not a map"));
        };
        let labelled = entries.into_iter().map(|(label, value)| match label {
            Value::Integer(label) => Ok((label, value)),
            _ => Err(PublicKeyRefusal::NotCanonical),
        });
        Ok(Self(labelled.collect::<Result<_, _>>()?))
    }

    fn get(&self, label: i128) -> Result<&Value<'a>, PublicKeyRefusal> {
        let found = self.0.iter().find(|(candidate, _)| *candidate == label);
        found.map(|(_, value)| value).ok_or(PublicKeyRefusal::Malformed("a member is missing"))
    }

    fn integer(&self, label: i128) -> Result<i128, PublicKeyRefusal> {
        match self.get(label)? {
            Value::Integer(number) => Ok(*number),
            _ => Err(PublicKeyRefusal::Malformed("a member is not an integer")),
        }
    }

    fn bytes(&self, label: i128) -> Result<&'a [u8], PublicKeyRefusal> {
        match self.get(label)? {
            Value::Bytes(bytes) => Ok(bytes),
            _ => Err(PublicKeyRefusal::Malformed("a member is not a byte string")),
        }
    }

    /// Members 1 (key type) and -1 (curve) must be those of the algorithm: a signature is only as
    /// good as the weakest curve that may be named beside it.
    fn on_curve(
        &self,
        algorithm: Algorithm,
        kind: i128,
        curve: i128,
    ) -> Result<(), PublicKeyRefusal> {
        if self.integer(1)? == kind && self.integer(-1)? == curve {
            Ok(())
        } else {
            Err(PublicKeyRefusal::WrongCurve(algorithm.name()))
        }
    }

    fn elliptic(
        &self,
        algorithm: Algorithm,
        curve: i128,
        length: usize,
        verification: &'static dyn VerificationAlgorithm,
    ) -> Result<ParsedPublicKey, PublicKeyRefusal> {
        self.on_curve(algorithm, 2, curve)?;
        let invalid = || PublicKeyRefusal::InvalidKey(algorithm.name());
        let (x, y) = (self.bytes(-2)?, self.bytes(-3)?);
        if x.len() != length || y.len() != length {
            return Err(invalid());
        }
        let point = [&[0x04], x, y].concat();
        ParsedPublicKey::new(verification, point).map_err(|_| invalid())
    }

    fn edwards(&self) -> Result<ParsedPublicKey, PublicKeyRefusal> {
        let algorithm = Algorithm::EdDsa;
        self.on_curve(algorithm, 1, 6)?;
        let invalid = || PublicKeyRefusal::InvalidKey(algorithm.name());
        let point = self.bytes(-2)?;
        if is_small_order(point) {
            return Err(invalid());
        }
        ParsedPublicKey::new(&ED25519, point).map_err(|_| invalid())
    }

    /// 2048 to 8192 bits, and only the exponent 65537: every authenticator uses it, and others have cost
    /// verifiers dearly.
    fn rsa(&self) -> Result<ParsedPublicKey, PublicKeyRefusal> {
        let algorithm = Algorithm::Rs256;
        if self.integer(1)? != 3 {
            return Err(PublicKeyRefusal::WrongCurve(algorithm.name()));
        }
        let (n, e) = (self.bytes(-1)?, self.bytes(-2)?);
        let invalid = || PublicKeyRefusal::InvalidKey(algorithm.name());
        let is_sized = match n {
            [0, ..] => false,
            [first, ..] => n.len() > 256 || (n.len() == 256 && *first >= 0x80),
            [] => false,
        };
        if e != [1, 0, 1] || !is_sized || n.len() > 1024 {
            return Err(invalid());
        }
        PublicKeyComponents { n, e }
            .to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256)
            .map_err(|_| invalid())
    }
}
