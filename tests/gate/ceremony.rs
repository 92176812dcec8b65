//! An enrolled key and what its signatures must match: where every test of a verifier starts.

use countersign::integrations::passkeys::{Passkeys, Registered};
use countersign::proof::assertion::{
    AssertionRefusal, CredentialRecord, Expectation, UnverifiedAssertion, VerifiedAssertion, verify,
};
use countersign::proof::base64url;
use countersign::proof::public_key::PublicKey;
use countersign::proof::registration::read_attestation_object;
use countersign::proof::user_handle::user_handle;
use countersign::sandbox::authenticator::{Fault, KeyAlgorithm, SoftwareAuthenticator};
use serde_json::{Value, json};

pub const ORIGIN: &str = "https://gate.example.com";
pub const RP_ID: &str = "gate.example.com";

pub fn passkeys() -> Passkeys {
    Passkeys::new(RP_ID, &ORIGIN.parse().unwrap(), "Countersign")
}

pub fn alice() -> [u8; 32] {
    user_handle("https://login.example.com", "alice")
}

/// Registers a key of `authenticator` for alice, through webauthn-rs.
pub fn register(authenticator: &mut SoftwareAuthenticator) -> Registered {
    let ceremony = passkeys().begin(&alice(), "alice@example.com", "Alice", &[]).unwrap();
    let response = authenticator.create(&ceremony.creation_options, ORIGIN).unwrap();
    passkeys().finish(&ceremony.state, response.to_string().as_bytes()).unwrap()
}

/// An authenticator with one key of alice, its record, and a challenge to sign.
pub struct Signer {
    pub authenticator: SoftwareAuthenticator,
    pub record: CredentialRecord,
    pub challenge: [u8; 32],
    pub device_bound: bool,
}

impl Signer {
    pub fn new(algorithm: KeyAlgorithm) -> Self {
        let mut authenticator = SoftwareAuthenticator::new();
        authenticator.algorithm = algorithm;
        Self::with(authenticator)
    }

    /// Registers from the bytes alone, as an offline verifier does: EdDSA too.
    pub fn with(mut authenticator: SoftwareAuthenticator) -> Self {
        let algorithms = [-7, -35, -257, -8].map(|alg| json!({"type": "public-key", "alg": alg}));
        let options = json!({
            "rp": {"id": RP_ID, "name": "Countersign"},
            "user": {"id": base64url::encode(&alice()), "name": "alice", "displayName": "Alice"},
            "challenge": base64url::encode(&[7; 32]),
            "pubKeyCredParams": algorithms,
        });
        let response = authenticator.create(&options, ORIGIN).unwrap();
        let object = response["response"]["attestationObject"].as_str().unwrap();
        let credential = read_attestation_object(&base64url::decode(object).unwrap()).unwrap();
        let record = CredentialRecord {
            id: credential.credential_id,
            public_key: PublicKey::from_cose(credential.public_key.cose()).unwrap(),
            user_handle: alice().to_vec(),
            backup_eligible: credential.flags.backup_eligible(),
            sign_count: credential.sign_count,
        };
        Self { authenticator, record, challenge: [42; 32], device_bound: false }
    }

    pub fn options(&self) -> Value {
        json!({
            "challenge": base64url::encode(&self.challenge),
            "rpId": RP_ID,
            "userVerification": "required",
            "allowCredentials": [{"type": "public-key", "id": base64url::encode(&self.record.id)}],
        })
    }

    pub fn sign_json(&mut self, faults: &[Fault]) -> Value {
        let options = self.options();
        self.authenticator.assert_with(&options, ORIGIN, faults).unwrap()
    }

    pub fn sign(&mut self, faults: &[Fault]) -> UnverifiedAssertion {
        serde_json::from_value(self.sign_json(faults)).unwrap()
    }

    pub fn expectation(&self) -> Expectation<'_> {
        Expectation {
            challenge: self.challenge,
            origin: ORIGIN,
            rp_id: RP_ID,
            credentials: std::slice::from_ref(&self.record),
            device_bound: self.device_bound,
        }
    }

    pub fn verify(
        &self,
        assertion: &UnverifiedAssertion,
    ) -> Result<VerifiedAssertion, AssertionRefusal> {
        verify(&self.expectation(), assertion)
    }

    /// The code of the refusal that a signature with `faults` meets.
    pub fn refusal(&mut self, faults: &[Fault]) -> &'static str {
        let assertion = self.sign(faults);
        self.verify(&assertion).expect_err("a faulty signature was accepted").code()
    }
}

/// The client data member `name` with another value.
pub fn member(name: &'static str, value: impl Into<Value>) -> Vec<Fault> {
    vec![Fault::ClientDataMember(name, value.into())]
}
