//! DSSE v1 envelopes that the gate signs with its log key.

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use data_encoding::BASE64;
use serde::{Deserialize, Serialize};

use crate::domain::canonical::from_canonical_json;
use crate::domain::statement::pre_authentication_encoding;
use crate::proof::checkpoint::TrustedLog;

/// A DSSE v1 envelope with one signature.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Envelope {
    /// The media type of the payload.
    pub payload_type: String,
    /// The payload, base64.
    pub payload: String,
    /// The gate's signature.
    pub signatures: [EnvelopeSignature; 1],
}

/// One signature of an envelope.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EnvelopeSignature {
    /// The verifier key of the gate's log (C2SP signed-note): name, hash and Ed25519 key.
    pub keyid: String,
    /// Ed25519 over the pre-authentication encoding, base64.
    pub sig: String,
}

impl Envelope {
    /// The envelope of a payload that was signed.
    pub fn new(payload_type: &str, payload: &[u8], keyid: String, signature: &[u8]) -> Self {
        Self {
            payload_type: payload_type.to_owned(),
            payload: BASE64.encode(payload),
            signatures: [EnvelopeSignature { keyid, sig: BASE64.encode(signature) }],
        }
    }

    /// The payload of an envelope of this type that the log's key signed, in its one spelling
    /// (canonical JSON, canonical base64).
    pub fn open(text: &str, payload_type: &str, log: &TrustedLog) -> Option<Vec<u8>> {
        let envelope: Self = from_canonical_json(text).ok()?;
        let [EnvelopeSignature { keyid, sig }] = &envelope.signatures;
        let payload = BASE64.decode(envelope.payload.as_bytes()).ok()?;
        let signature = BASE64.decode(sig.as_bytes()).ok()?;
        let message = pre_authentication_encoding(payload_type, &payload);
        let holds = envelope.payload_type == payload_type
            && *keyid == log.key.verifier_key(&log.name)
            && UnparsedPublicKey::new(&ED25519, log.key.0).verify(&message, &signature).is_ok();
        holds.then_some(payload)
    }
}
