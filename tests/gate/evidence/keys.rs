//! The private keys of everybody whose word made evidence rests on, and the anchors that pin them.

use std::sync::{Arc, Mutex};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
};
use countersign::domain::log_key::{LogKey, note_key_hash, verifier_key};
use countersign::gate::evidence::log_name;
use countersign::proof::base64url;
use countersign::proof::evidence::{Cosignature, TRUST_SCHEMA, Trust, TrustedIssuer, TrustedLogin};
use countersign::proof::jwk::canonical_key;
use countersign::proof::registration;
use countersign::proof::user_handle::user_handle;
use countersign::randomness;
use countersign::sandbox::authenticator::SoftwareAuthenticator;
use countersign::sandbox::authenticator::certificates::{Form, Issuer};
use data_encoding::BASE64;
use serde_json::{Map, Value, json};

pub const ORIGIN: &str = "https://gate.acme.example";
pub const RP_ID: &str = "gate.acme.example";
pub const DIRECTORY: &str = "https://login.acme.example";
pub const CLIENT: &str = "countersign";

/// The person whose key is pinned.
pub const ANCHOR_SUBJECT: &str = "u-root";

/// The options with which this person's key is made.
pub fn creation_options(subject: &str) -> Value {
    json!({
        "rp": {"id": RP_ID, "name": "Countersign"},
        "user": {"id": base64url::encode(&user_handle(DIRECTORY, subject)), "name": subject, "displayName": subject},
        "challenge": randomness::token::<32>(),
        "pubKeyCredParams": [{"type": "public-key", "alg": -7}],
        "attestation": "direct",
    })
}

fn anchor() -> (Arc<Mutex<SoftwareAuthenticator>>, String) {
    let mut authenticator = SoftwareAuthenticator::new();
    let registration = authenticator.create(&creation_options(ANCHOR_SUBJECT), ORIGIN).unwrap();
    (Arc::new(Mutex::new(authenticator)), registration.to_string())
}

/// An ES256 key of an issuer.
pub struct IssuerKey(EcdsaKeyPair);

impl IssuerKey {
    fn new() -> Self {
        Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    pub fn text(&self) -> String {
        let (x, y) = self.0.public_key().as_ref()[1..].split_at(32);
        let (x, y) = (base64url::encode(x), base64url::encode(y));
        canonical_key(&json!({"kty": "EC", "crv": "P-256", "x": x, "y": y})).unwrap()
    }

    pub fn sign(&self, claims: &Map<String, Value>) -> String {
        let header = base64url::encode(br#"{"alg":"ES256","kid":"1","typ":"JWT"}"#);
        let claims = base64url::encode(Value::Object(claims.clone()).to_string().as_bytes());
        let input = format!("{header}.{claims}");
        let signature = self.0.sign(&SystemRandom::new(), input.as_bytes()).unwrap();
        format!("{input}.{}", base64url::encode(signature.as_ref()))
    }
}

/// The signature type of cosignatures (C2SP tlog-cosignature).
const COSIGNATURE: u8 = 4;
/// When witnesses sign here, in seconds.
const TIME: u64 = 1_772_700_000;

/// A witness's private key.
pub struct WitnessKey {
    pub name: String,
    key: Ed25519KeyPair,
}

impl WitnessKey {
    pub fn new(name: &str) -> Self {
        Self::of_seed(name, &randomness::bytes::<32>())
    }

    pub fn of_seed(name: &str, seed: &[u8; 32]) -> Self {
        let key = Ed25519KeyPair::from_seed_unchecked(seed).unwrap();
        Self { name: name.to_owned(), key }
    }

    fn public(&self) -> [u8; 32] {
        self.key.public_key().as_ref().try_into().unwrap()
    }

    pub fn verifier_key(&self) -> String {
        verifier_key(&self.name, COSIGNATURE, &self.public())
    }

    /// The cosignature of a signed tree head at this time.
    pub fn cosign_at(&self, checkpoint: &str, seconds: u64) -> Cosignature {
        let head = &checkpoint[..=checkpoint.find("\n\n").unwrap()];
        let signature = self.key.sign(format!("cosignature/v1\ntime {seconds}\n{head}").as_bytes());
        let hash = note_key_hash(&self.name, COSIGNATURE, &self.public());
        let bytes = [&hash[..], &seconds.to_be_bytes(), signature.as_ref()].concat();
        Cosignature { witness: self.verifier_key(), cosignature: BASE64.encode(&bytes) }
    }

    pub fn cosign(&self, checkpoint: &str) -> Cosignature {
        self.cosign_at(checkpoint, TIME)
    }
}

/// Every private key.
pub struct Keys {
    pub log: LogKey,
    pub workload: IssuerKey,
    pub directory: IssuerKey,
    /// A key that nobody pinned.
    pub stranger: IssuerKey,
    /// The authenticator with the pinned key of a person, and that key's registration.
    pub anchor: (Arc<Mutex<SoftwareAuthenticator>>, String),
    /// The maker of authenticators whose root is pinned.
    pub maker: Issuer,
    /// Two witnesses that are pinned, and one that is not.
    pub witnesses: [WitnessKey; 3],
}

impl Keys {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            log: LogKey::from_seed(&randomness::bytes::<32>()).unwrap(),
            workload: IssuerKey::new(),
            directory: IssuerKey::new(),
            stranger: IssuerKey::new(),
            anchor: anchor(),
            maker: Issuer::root(Form::authority("Acme Root")).unwrap(),
            witnesses: ["w1", "w2", "w3"].map(|name| WitnessKey::new(&format!("{name}.example"))),
        })
    }

    /// The anchors that ask for one endorsement of each key, and pin the anchor.
    pub fn endorsing_trust(&self) -> Trust {
        let registration = registration::read(self.anchor.1.as_bytes(), ORIGIN, RP_ID).unwrap();
        let key = base64url::encode(registration.credential.public_key.cose());
        Trust { endorsements: 1, endorsers: vec![key], ..self.trust() }
    }

    pub fn trust(&self) -> Trust {
        Trust {
            schema: TRUST_SCHEMA.into(),
            note: None,
            origin: ORIGIN.into(),
            rp_id: RP_ID.into(),
            log: self.log.public().verifier_key(&log_name(ORIGIN)),
            endorsements: 0,
            endorsers: Vec::new(),
            recovery_signatures: 1,
            login: TrustedLogin {
                issuer: DIRECTORY.into(),
                client_id: CLIENT.into(),
                groups_claim: "groups".into(),
                gate_groups: false,
                keys: vec![self.directory.text()],
            },
            workload_issuers: vec![TrustedIssuer {
                name: "github".into(),
                issuer: "https://token.actions.githubusercontent.com".into(),
                audience: ORIGIN.into(),
                keys: vec![self.workload.text()],
            }],
            witnesses: self.witnesses[..2].iter().map(WitnessKey::verifier_key).collect(),
            witnesses_required: 1,
            attestation_roots: vec![base64url::encode(&self.maker.certificate)],
            metadata: None,
        }
    }
}
