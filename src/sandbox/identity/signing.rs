//! The sandbox's signing keys and the JOSE side of its tokens.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{self, EcdsaKeyPair, KeyPair, RsaEncoding, RsaKeyPair};
use data_encoding::{BASE64, BASE64URL_NOPAD};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::randomness;

/// The current key and the one before it are published, as issuers do while they rotate.
const PUBLISHED_KEYS: usize = 2;

const KEY_FILE: &str = "identity-keys.json";

/// The three parties of the sandbox that sign tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Issuer {
    Github,
    Agent,
    Identity,
}

impl Issuer {
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Github => "/github",
            Self::Agent => "/agent",
            Self::Identity => "/identity",
        }
    }

    pub(super) fn algorithm(self) -> &'static str {
        match self {
            Self::Github | Self::Identity => "RS256",
            Self::Agent => "ES256",
        }
    }
}

/// The key file of an earlier run cannot be used, or a new one cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("the sandbox's key file {path} {problem}; remove it to start with new keys")]
pub struct KeyFileError {
    path: String,
    problem: String,
}

/// A key could not be made, kept or used.
#[derive(Debug, thiserror::Error)]
#[error("the sandbox cannot sign: {0}")]
pub(super) struct SigningError(String);

pub(super) struct SigningKey {
    key_id: String,
    pair: Pair,
}

enum Pair {
    Rsa(RsaKeyPair),
    Ecdsa(EcdsaKeyPair),
}

#[derive(Serialize, Deserialize)]
struct StoredKey {
    key_id: String,
    pkcs8: String,
}

/// The keys of all issuers, newest first. A key is made when it is first needed.
pub(super) struct KeyRing {
    file: Option<PathBuf>,
    keys: BTreeMap<Issuer, Vec<SigningKey>>,
}

impl KeyRing {
    pub(super) fn open(data_dir: Option<&Path>) -> Result<Self, KeyFileError> {
        let file = data_dir.map(|directory| directory.join(KEY_FILE));
        let keys = match &file {
            Some(path) if path.exists() => read(path)?,
            _ => BTreeMap::new(),
        };
        Ok(Self { file, keys })
    }

    /// The key that signs now.
    pub(super) fn current(&mut self, issuer: Issuer) -> Result<&SigningKey, SigningError> {
        if self.keys.get(&issuer).is_none_or(Vec::is_empty) {
            self.rotate(issuer, false)?;
        }
        self.keys
            .get(&issuer)
            .and_then(|keys| keys.first())
            .ok_or_else(|| SigningError("no key was kept".to_owned()))
    }

    /// Makes a new signing key. The one before stays published unless it is `withdrawn`.
    pub(super) fn rotate(&mut self, issuer: Issuer, withdraw: bool) -> Result<(), SigningError> {
        let keys = self.keys.entry(issuer).or_default();
        if withdraw {
            keys.clear();
        }
        keys.insert(0, SigningKey::generate(issuer)?);
        keys.truncate(PUBLISHED_KEYS);
        self.save()
    }

    /// The JSON Web Key Set (RFC 7517) of one issuer.
    pub(super) fn key_set(&mut self, issuer: Issuer) -> Result<Value, SigningError> {
        self.current(issuer)?;
        let keys = self.keys.get(&issuer).map(Vec::as_slice).unwrap_or_default();
        Ok(json!({ "keys": keys.iter().map(SigningKey::public).collect::<Vec<_>>() }))
    }

    fn save(&self) -> Result<(), SigningError> {
        let Some(path) = &self.file else { return Ok(()) };
        let failed = |error: std::io::Error| SigningError(format!("{}: {error}", path.display()));
        let mut stored: BTreeMap<Issuer, Vec<StoredKey>> = BTreeMap::new();
        for (issuer, keys) in &self.keys {
            let keys = keys.iter().map(SigningKey::store).collect::<Result<_, _>>()?;
            stored.insert(*issuer, keys);
        }
        let text =
            serde_json::to_vec_pretty(&stored).map_err(|error| SigningError(error.to_string()))?;
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory).map_err(failed)?;
        }
        // Written beside and renamed, so that a crash leaves the old keys or the new ones.
        let beside = path.with_extension("new");
        std::fs::write(&beside, text).map_err(failed)?;
        std::fs::rename(&beside, path).map_err(failed)
    }
}

fn read(path: &Path) -> Result<BTreeMap<Issuer, Vec<SigningKey>>, KeyFileError> {
    let broken = |problem: String| KeyFileError { path: path.display().to_string(), problem };
    let text = std::fs::read(path).map_err(|error| broken(format!("cannot be read ({error})")))?;
    let stored: BTreeMap<Issuer, Vec<StoredKey>> = serde_json::from_slice(&text)
        .map_err(|error| broken(format!("is not what was written ({error})")))?;
    let mut keys = BTreeMap::new();
    for (issuer, stored) in stored {
        let restored = stored
            .iter()
            .map(|key| SigningKey::restore(issuer, key))
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| broken("holds a key that cannot be used".to_owned()))?;
        keys.insert(issuer, restored);
    }
    Ok(keys)
}

impl SigningKey {
    pub(super) fn generate(issuer: Issuer) -> Result<Self, SigningError> {
        let failed = |_| SigningError("no key could be made".to_owned());
        let pair = match issuer {
            Issuer::Github | Issuer::Identity => {
                Pair::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).map_err(failed)?)
            }
            Issuer::Agent => Pair::Ecdsa(
                EcdsaKeyPair::generate(&signature::ECDSA_P256_SHA256_FIXED_SIGNING)
                    .map_err(failed)?,
            ),
        };
        Ok(Self { key_id: randomness::token::<12>(), pair })
    }

    fn store(&self) -> Result<StoredKey, SigningError> {
        let failed = |_| SigningError("a key could not be written out".to_owned());
        let pkcs8 = match &self.pair {
            Pair::Rsa(pair) => {
                let document: Pkcs8V1Der<'_> = pair.as_der().map_err(failed)?;
                BASE64URL_NOPAD.encode(document.as_ref())
            }
            Pair::Ecdsa(pair) => {
                BASE64URL_NOPAD.encode(pair.to_pkcs8v1().map_err(failed)?.as_ref())
            }
        };
        Ok(StoredKey { key_id: self.key_id.clone(), pkcs8 })
    }

    fn restore(issuer: Issuer, stored: &StoredKey) -> Option<Self> {
        let pkcs8 = BASE64URL_NOPAD.decode(stored.pkcs8.as_bytes()).ok()?;
        let algorithm = &signature::ECDSA_P256_SHA256_FIXED_SIGNING;
        let pair = match issuer {
            Issuer::Github | Issuer::Identity => Pair::Rsa(RsaKeyPair::from_pkcs8(&pkcs8).ok()?),
            Issuer::Agent => Pair::Ecdsa(EcdsaKeyPair::from_pkcs8(algorithm, &pkcs8).ok()?),
        };
        Some(Self { key_id: stored.key_id.clone(), pair })
    }

    pub(super) fn key_id(&self) -> &str {
        &self.key_id
    }

    /// The public half as a JSON Web Key (RFC 7517, RFC 7518 section 6).
    fn public(&self) -> Value {
        match &self.pair {
            Pair::Rsa(pair) => {
                let public = pair.public_key();
                let modulus = public.modulus();
                let exponent = public.exponent();
                json!({
                    "kty": "RSA", "use": "sig", "alg": "RS256", "kid": self.key_id,
                    "n": BASE64URL_NOPAD.encode(modulus.big_endian_without_leading_zero()),
                    "e": BASE64URL_NOPAD.encode(exponent.big_endian_without_leading_zero()),
                })
            }
            Pair::Ecdsa(pair) => {
                // An uncompressed point: one tag byte, then x and y of 32 bytes each.
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                json!({
                    "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256",
                    "kid": self.key_id,
                    "x": BASE64URL_NOPAD.encode(x), "y": BASE64URL_NOPAD.encode(y),
                })
            }
        }
    }

    /// The public half as PEM: the "secret" of the classic attack that signs HS256 with it.
    fn public_pem(&self) -> Result<String, SigningError> {
        let failed = |_| SigningError("a public key could not be written out".to_owned());
        let der: PublicKeyX509Der<'_> = match &self.pair {
            Pair::Rsa(pair) => pair.public_key().as_der().map_err(failed)?,
            Pair::Ecdsa(pair) => pair.public_key().as_der().map_err(failed)?,
        };
        let text = BASE64.encode(der.as_ref());
        let lines: Vec<&str> =
            text.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
        Ok(format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n")))
    }

    /// Signs `input` as the header's `alg` asks; an algorithm that this key has not falls back
    /// to its own, which makes a token whose header lies.
    fn sign(&self, algorithm: &str, input: &[u8]) -> Result<Vec<u8>, SigningError> {
        let failed = |_| SigningError("the signature could not be made".to_owned());
        match (algorithm, &self.pair) {
            ("none", _) => Ok(Vec::new()),
            ("HS256", _) => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, self.public_pem()?.as_bytes());
                Ok(hmac::sign(&key, input).as_ref().to_vec())
            }
            (_, Pair::Rsa(pair)) => {
                let encoding: &'static dyn RsaEncoding = match algorithm {
                    "RS384" => &signature::RSA_PKCS1_SHA384,
                    "RS512" => &signature::RSA_PKCS1_SHA512,
                    "PS256" => &signature::RSA_PSS_SHA256,
                    _ => &signature::RSA_PKCS1_SHA256,
                };
                let mut bytes = vec![0; pair.public_modulus_len()];
                pair.sign(encoding, &SystemRandom::new(), input, &mut bytes).map_err(failed)?;
                Ok(bytes)
            }
            (_, Pair::Ecdsa(pair)) => {
                Ok(pair.sign(&SystemRandom::new(), input).map_err(failed)?.as_ref().to_vec())
            }
        }
    }

    /// A compact JWS (RFC 7515, section 7.1) over `payload`.
    pub(super) fn compact(
        &self,
        header: &Map<String, Value>,
        payload: &str,
        damage: Damage,
    ) -> Result<String, SigningError> {
        let header_text = Value::Object(header.clone()).to_string();
        let input = format!(
            "{}.{}",
            BASE64URL_NOPAD.encode(header_text.as_bytes()),
            BASE64URL_NOPAD.encode(payload.as_bytes())
        );
        let algorithm = header.get("alg").and_then(Value::as_str).unwrap_or_default();
        let mut bytes = self.sign(algorithm, input.as_bytes())?;
        match damage {
            Damage::None => {}
            Damage::Broken => bytes.iter_mut().take(1).for_each(|byte| *byte ^= 1),
            Damage::Absent => bytes.clear(),
        }
        Ok(format!("{input}.{}", BASE64URL_NOPAD.encode(&bytes)))
    }
}

/// What is done to a signature after it was made.
#[derive(Clone, Copy)]
pub(super) enum Damage {
    None,
    Broken,
    Absent,
}
