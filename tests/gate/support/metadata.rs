//! Files of FIDO's metadata, signed by a FIDO of our own.

use countersign::domain::key_rules::Aaguid;
use countersign::proof::base64url;
use countersign::sandbox::authenticator::KeyAlgorithm;
use countersign::sandbox::authenticator::certificates::{Form, Issuer};
use data_encoding::BASE64;
use serde_json::{Value, json};

/// Whoever publishes such files.
pub struct Publisher {
    pub root: Issuer,
    pub authority: Issuer,
    pub server: Issuer,
}

fn rsa(form: Form) -> Form {
    Form { algorithm: KeyAlgorithm::Rs256, ..form }
}

impl Publisher {
    /// One with keys of RSA, as FIDO has them.
    pub fn new() -> Self {
        let root = Issuer::root(rsa(Form::authority("Root of metadata"))).unwrap();
        let authority = root.issue(rsa(Form::authority("Authority of metadata"))).unwrap();
        let server = authority.issue(rsa(Form::server("mds.fidoalliance.org"))).unwrap();
        Self { root, authority, server }
    }

    /// The file that says this.
    pub fn file(&self, payload: &Value) -> String {
        self.file_with(&json!({"alg": "RS256", "typ": "JWT", "x5c": self.chain()}), payload)
    }

    pub fn chain(&self) -> Value {
        x5c(&[&self.server, &self.authority])
    }

    pub fn file_with(&self, header: &Value, payload: &Value) -> String {
        signed(header, payload, |input| self.server.sign(input).unwrap())
    }
}

/// A chain as a header brings it.
pub fn x5c(chain: &[&Issuer]) -> Value {
    chain.iter().map(|one| BASE64.encode(&one.certificate)).collect()
}

pub fn signed(header: &Value, payload: &Value, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let part = |value: &Value| base64url::encode(value.to_string().as_bytes());
    let input = format!("{}.{}", part(header), part(payload));
    let signature = sign(input.as_bytes());
    format!("{input}.{}", base64url::encode(&signature))
}

/// What is said of models, each with its name and what was reported of it, the oldest first.
pub fn payload(models: &[([u8; 16], &str, &[&str])]) -> Value {
    let entries = models.iter().map(|(model, name, reports)| {
        let reports =
            reports.iter().map(|status| json!({"status": status, "effectiveDate": "2026-01-05"}));
        json!({
            "aaguid": Aaguid(*model).to_string(),
            "metadataStatement": {"description": name, "protocolFamily": "fido2"},
            "statusReports": reports.collect::<Vec<_>>(),
            "timeOfLastStatusChange": "2026-01-05",
        })
    });
    // One of FIDO U2F, which has no AAGUID.
    let old = json!({
        "attestationCertificateKeyIdentifiers": ["7c0903708b87115b0b422def3138c3c864e44573"],
        "metadataStatement": {"description": "Old key"},
        "statusReports": [{"status": "REVOKED"}],
        "timeOfLastStatusChange": "2026-01-05",
    });
    let entries: Vec<Value> = entries.chain([old]).collect();
    json!({"legalHeader": "…", "no": 77, "nextUpdate": "2049-06-01", "entries": entries})
}
