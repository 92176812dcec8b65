//! Every parser of bytes from outside, as one function each: whatever it is given, it answers and does not
//! panic. The fuzz targets beside this file call them, and `tests/gate/fuzzing.rs` does on stable Rust.

use axum::http::HeaderMap;
use countersign::api::ask::AskBody;
use countersign::api::body::read_body;
use countersign::domain::ledger::Record;
use countersign::domain::statement::FrozenStatement;
use countersign::domain::subject::FrozenSubject;
use countersign::domain::unique_json;
use countersign::proof::assertion::UnverifiedAssertion;
use countersign::proof::authenticator_data::AuthenticatorData;
use countersign::proof::certificate::Certificate;
use countersign::proof::checkpoint::TrustedLog;
use countersign::proof::client_data::{self, Ceremony};
use countersign::proof::evidence::Trust;
use countersign::proof::jwk::is_canonical_key;
use countersign::proof::public_key::PublicKey;
use countersign::proof::registration;
use countersign::proof::token::{CompactToken, is_signed_by, unverified_claims};
use countersign::proof::verify::verify;

const TRUST: &[u8] = include_bytes!("../data/evidence/trust.json");
const ORIGIN: &str = "https://gate.acme.example";
const RP_ID: &str = "gate.acme.example";
/// RFC 8037, appendix A.2.
const KEY: &str =
    r#"{"crv":"Ed25519","kty":"OKP","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;

/// The name of a target, which is that of its corpus, and what it does.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 14] = [
    ("assertion", assertion),
    ("attestation_object", attestation_object),
    ("authenticator_data", authenticator_data),
    ("checkpoint", checkpoint),
    ("client_data", client_data),
    ("documents", documents),
    ("evidence", evidence),
    ("json", json),
    ("jwk", jwk),
    ("public_key", public_key),
    ("registration", registration),
    ("request_body", request_body),
    ("token", token),
    ("trust", trust),
];

/// The text of some bytes, where they are one.
fn text(data: &[u8]) -> &str {
    std::str::from_utf8(data).unwrap_or_default()
}

/// The JSON of an assertion, as a browser sends it.
pub fn assertion(data: &[u8]) {
    let _ = serde_json::from_slice::<UnverifiedAssertion>(data);
}

/// The attestation object of a registration: CBOR.
pub fn attestation_object(data: &[u8]) {
    let _ = registration::read_attestation_object(data);
    let _ = Certificate::read(data);
}

/// Authenticator data, as an authenticator signs it.
pub fn authenticator_data(data: &[u8]) {
    let _ = AuthenticatorData::parse(data);
}

/// A signed tree head, and the key of a log.
pub fn checkpoint(data: &[u8]) {
    let text = text(data);
    let _ = TrustedLog::parse(text);
    if let Some(log) = Trust::read(TRUST).ok().and_then(|trust| TrustedLog::parse(&trust.log)) {
        let _ = log.verify(text);
    }
}

/// Client data, as a browser writes it.
pub fn client_data(data: &[u8]) {
    for ceremony in [Ceremony::Registration, Ceremony::Authentication] {
        let _ = client_data::check(data, ceremony, None, ORIGIN);
    }
}

/// The documents that are hashed and signed.
pub fn documents(data: &[u8]) {
    let text = text(data);
    let _ = FrozenSubject::thaw(text);
    let _ = FrozenStatement::thaw(text);
    let _ = Record::parse(text);
}

/// A whole file of evidence.
pub fn evidence(data: &[u8]) {
    if let Ok(trust) = Trust::read(TRUST) {
        let _ = verify(data, &trust);
    }
}

/// JSON without repeated members.
pub fn json(data: &[u8]) {
    let _ = unique_json::parse(data);
}

/// A JSON Web Key in the form that is hashed.
pub fn jwk(data: &[u8]) {
    let _ = is_canonical_key(text(data));
}

/// A COSE key.
pub fn public_key(data: &[u8]) {
    let _ = PublicKey::from_cose(data);
}

/// A browser's answer to a registration.
pub fn registration(data: &[u8]) {
    let _ = registration::read(data, ORIGIN, RP_ID);
}

/// What a workload asks with.
pub fn request_body(data: &[u8]) {
    let _ = read_body::<AskBody>(&HeaderMap::new(), data);
}

/// A token of a workload or a directory.
pub fn token(data: &[u8]) {
    let text = text(data);
    let _ = CompactToken::parse(text);
    let _ = unverified_claims(text);
    let _ = is_signed_by(text, KEY);
}

/// A file of trust anchors.
pub fn trust(data: &[u8]) {
    let _ = Trust::read(data);
}
