//! X.509 certificates, as far as chains of attestations need them: RFC 5280, section 6, without names that
//! constrain, policies and lists of revoked ones. Whatever says something critical beside that is refused.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA384_ASN1, ECDSA_P384_SHA256_ASN1, ECDSA_P384_SHA384_ASN1,
    ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512, VerificationAlgorithm,
};
use jiff::Timestamp;
use serde_json::json;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::ParsedExtension;
use x509_parser::pem::Pem;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::{AttributeTypeAndValue, X509Name, X509Version};

use crate::proof::base64url;
use crate::proof::jwk::canonical_key;

/// More certificates than this no maker needs to say whose an authenticator is.
const LONGEST_CHAIN: usize = 6;
/// What may be critical, because it is looked at here: basic constraints and key usage.
const UNDERSTOOD: [&str; 2] = ["2.5.29.19", "2.5.29.15"];
/// The model of an authenticator in its certificate (WebAuthn Level 3, section 8.2.1).
const MODEL: &str = "1.3.6.1.4.1.45724.1.1.4";
/// What the certificate of an authenticator calls it.
const AUTHENTICATOR: &str = "Authenticator Attestation";

/// Why a certificate, or a chain of them, does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateRefusal {
    /// It is none.
    #[error("a certificate of it cannot be read")]
    Unreadable,
    /// It says something that must be understood and is not.
    #[error("a certificate of it says something critical that is not understood here ({0})")]
    Critical(String),
    /// There are none, or too many.
    #[error("its chain has no certificate, or more than {LONGEST_CHAIN}")]
    Length,
    /// It is there more than once.
    #[error("the certificate of {0:?} stands in its chain twice")]
    Twice(String),
    /// It was not valid then.
    #[error("the certificate of {0:?} was not valid at that time")]
    NotValid(String),
    /// The one behind it did not issue it.
    #[error("the certificate of {0:?} was not issued by the one that follows it")]
    NotIssued(String),
    /// It may not issue others.
    #[error("the certificate of {0:?} may not issue the one before it")]
    NoAuthority(String),
    /// It is not one of an authenticator.
    #[error("its certificate is none of an authenticator: {0}")]
    NoAuthenticator(&'static str),
}

/// A certificate of version 3 with each extension once and nothing critical in it that is not looked at here.
pub struct Certificate<'a> {
    inner: X509Certificate<'a>,
}

impl<'a> Certificate<'a> {
    /// Reads a certificate, from its first byte to its last.
    ///
    /// # Errors
    /// [`CertificateRefusal::Unreadable`] and [`CertificateRefusal::Critical`].
    pub fn read(der: &'a [u8]) -> Result<Self, CertificateRefusal> {
        let (rest, inner) =
            X509Certificate::from_der(der).map_err(|_| CertificateRefusal::Unreadable)?;
        let is_sound = rest.is_empty()
            && inner.version() == X509Version::V3
            && inner.tbs_certificate.signature == inner.signature_algorithm
            && inner.extensions_map().is_ok()
            && inner
                .extensions()
                .iter()
                .all(|one| !matches!(one.parsed_extension(), ParsedExtension::ParseError { .. }));
        if !is_sound {
            return Err(CertificateRefusal::Unreadable);
        }
        let critical = inner.extensions().iter().filter(|one| one.critical);
        let critical = critical.map(|one| one.oid.to_id_string());
        match critical.into_iter().find(|name| !UNDERSTOOD.contains(&name.as_str())) {
            Some(name) => Err(CertificateRefusal::Critical(name)),
            None => Ok(Self { inner }),
        }
    }

    /// Whose it is, in its own words.
    pub fn name(&self) -> String {
        named(self.inner.subject())
    }

    /// Who issued it, in its own words.
    pub fn issuer(&self) -> String {
        named(self.inner.issuer())
    }

    /// Its names of servers, in lower case (RFC 5280, section 4.2.1.6).
    pub fn servers(&self) -> Vec<String> {
        use x509_parser::extensions::GeneralName;
        let names = self.inner.subject_alternative_name().ok().flatten();
        let names = names.map(|names| names.value.general_names.as_slice()).unwrap_or_default();
        let servers = names.iter().filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        });
        servers.collect()
    }

    /// Whether it may issue certificates with so many others between it and the last one.
    pub fn may_issue(&self, between: usize) -> bool {
        let constraints = self.inner.basic_constraints().ok().flatten();
        let is_authority = constraints.is_some_and(|found| {
            let most = found.value.path_len_constraint;
            found.value.ca && most.is_none_or(|most| between <= most as usize)
        });
        let usage = self.inner.key_usage();
        is_authority && usage.is_ok_and(|usage| usage.is_none_or(|one| one.value.key_cert_sign()))
    }

    /// Whether its key signed this, by the algorithm for certificates of this name (RFC 5280, section 4.1.1.2).
    pub fn verifies(&self, algorithm: &str, message: &[u8], signature: &[u8]) -> bool {
        let Some(verification) = self.verification(algorithm) else { return false };
        let key = &self.inner.public_key().subject_public_key.data;
        ParsedPublicKey::new(verification, key.as_ref())
            .is_ok_and(|key| key.verify_sig(message, signature).is_ok())
    }

    /// How its key verifies such signatures, if it is one that can.
    fn verification(&self, algorithm: &str) -> Option<&'static dyn VerificationAlgorithm> {
        let key = &self.inner.public_key().algorithm;
        let curve = key.parameters.as_ref().and_then(|curve| curve.as_oid().ok());
        let curve = curve.map(|curve| curve.to_id_string()).unwrap_or_default();
        Some(match (key.algorithm.to_id_string().as_str(), curve.as_str(), algorithm) {
            (EC, P256, ECDSA_SHA256) => &ECDSA_P256_SHA256_ASN1,
            (EC, P256, ECDSA_SHA384) => &ECDSA_P256_SHA384_ASN1,
            (EC, P384, ECDSA_SHA256) => &ECDSA_P384_SHA256_ASN1,
            (EC, P384, ECDSA_SHA384) => &ECDSA_P384_SHA384_ASN1,
            (RSA, _, RSA_SHA256) => &RSA_PKCS1_2048_8192_SHA256,
            (RSA, _, RSA_SHA384) => &RSA_PKCS1_2048_8192_SHA384,
            (RSA, _, RSA_SHA512) => &RSA_PKCS1_2048_8192_SHA512,
            _ => return None,
        })
    }

    fn is_issued_by(&self, issuer: &Self) -> bool {
        let algorithm = self.inner.signature_algorithm.algorithm.to_id_string();
        let signed = self.inner.tbs_certificate.as_ref();
        self.inner.issuer().as_raw() == issuer.inner.subject().as_raw()
            && issuer.verifies(&algorithm, signed, &self.inner.signature_value.data)
    }

    /// Whether it was valid at a moment, to the second.
    fn is_valid(&self, at: Timestamp) -> bool {
        let validity = self.inner.validity();
        let (from, to) = (validity.not_before.timestamp(), validity.not_after.timestamp());
        (from..=to).contains(&at.as_second())
    }

    /// The last second in which it is valid, since 1970.
    pub fn valid_until(&self) -> i64 {
        self.inner.validity().not_after.timestamp()
    }

    /// Its key as a JSON Web Key in the form that RFC 7638 hashes: of RSA or of P-256.
    pub fn json_web_key(&self) -> Option<String> {
        let key = self.inner.public_key();
        let is_p256 = self.verification(ECDSA_SHA256).is_some();
        let numbers = |one: &[u8]| {
            base64url::encode(&one[one.iter().take_while(|byte| **byte == 0).count()..])
        };
        let members = match key.parsed().ok()? {
            PublicKey::RSA(key) => {
                json!({"kty": "RSA", "n": numbers(key.modulus), "e": numbers(key.exponent)})
            }
            // An uncompressed point: the byte 4, then both coordinates.
            PublicKey::EC(point) if is_p256 && point.data().len() == 65 => {
                let (x, y) = point.data()[1..].split_at(32);
                let (x, y) = (base64url::encode(x), base64url::encode(y));
                json!({"kty": "EC", "crv": "P-256", "x": x, "y": y})
            }
            _ => return None,
        };
        canonical_key(&members)
    }

    /// What WebAuthn asks of the certificate of an authenticator (Level 3, section 8.2.1), whose model is this.
    ///
    /// # Errors
    /// [`CertificateRefusal::NoAuthenticator`].
    pub fn require_authenticator(&self, model: &[u8; 16]) -> Result<(), CertificateRefusal> {
        let refused = |why| Err(CertificateRefusal::NoAuthenticator(why));
        let subject = self.inner.subject();
        let is_once = |mut named: Box<dyn Iterator<Item = &AttributeTypeAndValue<'_>> + '_>| {
            named.next().is_some() && named.next().is_none()
        };
        let mut units = subject.iter_organizational_unit();
        let unit = units.next().and_then(|one| one.as_str().ok());
        if unit != Some(AUTHENTICATOR)
            || units.next().is_some()
            || !is_once(Box::new(subject.iter_country()))
            || !is_once(Box::new(subject.iter_organization()))
            || !is_once(Box::new(subject.iter_common_name()))
        {
            return refused("it does not call itself one");
        }
        match self.inner.basic_constraints() {
            Ok(Some(found)) if !found.value.ca => {}
            _ => return refused("it may issue others, or does not say that it may not"),
        }
        let mut extensions = self.inner.extensions().iter();
        match extensions.find(|one| one.oid.to_id_string() == MODEL) {
            None => Ok(()),
            // The model in an octet string of its own.
            Some(one) if !one.critical && one.value == [&[0x04, 0x10][..], model].concat() => {
                Ok(())
            }
            Some(_) => refused("it is of another model than the key"),
        }
    }
}

const EC: &str = "1.2.840.10045.2.1";
const P256: &str = "1.2.840.10045.3.1.7";
const P384: &str = "1.3.132.0.34";
const RSA: &str = "1.2.840.113549.1.1.1";
/// ECDSA with SHA-256.
pub const ECDSA_SHA256: &str = "1.2.840.10045.4.3.2";
/// ECDSA with SHA-384.
pub const ECDSA_SHA384: &str = "1.2.840.10045.4.3.3";
/// RSA PKCS #1 1.5 with SHA-256.
pub const RSA_SHA256: &str = "1.2.840.113549.1.1.11";
const RSA_SHA384: &str = "1.2.840.113549.1.1.12";
const RSA_SHA512: &str = "1.2.840.113549.1.1.13";

/// The common name, or all of it where there is none.
fn named(name: &X509Name<'_>) -> String {
    let common = name.iter_common_name().next().and_then(|one| one.as_str().ok());
    common.map_or_else(|| name.to_string(), str::to_owned)
}

/// Follows a chain, the certificate in question first: each was valid at this moment and issued by the next,
/// which may. Gives the one of `roots` that it ends at, if it does: that is its last, or issued its last.
///
/// # Errors
/// What does not hold of the chain by itself.
pub fn follow<'r, 'a>(
    chain: &[Certificate<'a>],
    roots: &'r [Certificate<'a>],
    at: Timestamp,
) -> Result<Option<&'r Certificate<'a>>, CertificateRefusal> {
    let Some(last) = chain.last().filter(|_| chain.len() <= LONGEST_CHAIN) else {
        return Err(CertificateRefusal::Length);
    };
    for (place, one) in chain.iter().enumerate() {
        if chain[..place].iter().any(|before| before.inner.as_raw() == one.inner.as_raw()) {
            return Err(CertificateRefusal::Twice(one.name()));
        }
        if !one.is_valid(at) {
            return Err(CertificateRefusal::NotValid(one.name()));
        }
        let Some(issuer) = chain.get(place + 1) else { continue };
        if !one.is_issued_by(issuer) {
            return Err(CertificateRefusal::NotIssued(one.name()));
        }
        if !issuer.may_issue(place) {
            return Err(CertificateRefusal::NoAuthority(issuer.name()));
        }
    }
    let between = chain.len() - 1;
    Ok(roots.iter().find(|root| {
        let is_last = between > 0 && root.inner.as_raw() == last.inner.as_raw();
        let issued_last = last.is_issued_by(root) && root.may_issue(between) && root.is_valid(at);
        is_last || issued_last
    }))
}

/// The certificates of a text in PEM form, as their DER bytes in base64url.
///
/// # Errors
/// A sentence, if there is none, or something else than a certificate of an authority.
pub fn roots_of_pem(text: &str) -> Result<Vec<String>, String> {
    let mut roots = Vec::new();
    for block in Pem::iter_from_buffer(text.as_bytes()) {
        let block = block.map_err(|error| format!("it is no file of PEM blocks ({error})"))?;
        if block.label != "CERTIFICATE" {
            return Err(format!("it holds a {:?} beside certificates", block.label));
        }
        roots.push(base64url::encode(&block.contents));
    }
    match unusable_root(&roots) {
        _ if roots.is_empty() => Err("it holds no certificate in PEM form".to_owned()),
        Some(place) => Err(format!("certificate {place} of it is none that may issue others")),
        None => Ok(roots),
    }
}

/// Whose a pinned root is, in its own words.
pub fn name_of_root(root: &str) -> String {
    let der = base64url::decode(root).unwrap_or_default();
    Certificate::read(&der).map_or_else(|why| why.to_string(), |root| root.name())
}

/// The place (from 1) of the first root that is no certificate of an authority in base64url, or stands there
/// twice.
pub fn unusable_root(roots: &[String]) -> Option<usize> {
    let is_root = |text: &String| {
        let der = base64url::decode(text);
        der.is_some_and(|der| Certificate::read(&der).is_ok_and(|root| root.may_issue(0)))
    };
    let mut seen = std::collections::BTreeSet::new();
    let unusable = roots.iter().position(|text| !is_root(text) || !seen.insert(text));
    unusable.map(|place| place + 1)
}
