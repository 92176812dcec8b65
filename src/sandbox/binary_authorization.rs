//! As much of Artifact Analysis and Cloud KMS as attestations need, and the policy of Binary Authorization that
//! Cloud Run enforces: a revision whose image no attestor vouched for does not come up.
//!
//! Keys in Cloud KMS are made when they are first used, and everybody may use them. Which service needs
//! whose attestations says `PUT /_sandbox/binary-authorization`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::digest::{Digest, SHA256};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair,
    UnparsedPublicKey,
};
use axum::Router;
use axum::extract::{Json, Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use data_encoding::BASE64;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// How many bytes an uncompressed point of P-256 has, with which a SubjectPublicKeyInfo ends.
const POINT: usize = 65;
const SIGN: &str = ":asymmetricSign";
const PAYLOAD_TYPE: &str = "Google cloud binauthz container signature";

/// Attestations, the keys in Cloud KMS, and who needs whose. Clones are the same ones.
#[derive(Clone, Debug, Default)]
pub struct Attestations(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    occurrences: Vec<Value>,
    keys: BTreeMap<String, Arc<EcdsaKeyPair>>,
    policy: Policy,
}

/// What Cloud Run asks for.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Policy {
    /// The note whose attestations a service's images need, by the service's resource name.
    services: BTreeMap<String, String>,
    /// The public keys of attestors, by their ids: SubjectPublicKeyInfo in base64. Those in Cloud KMS are known.
    #[serde(default)]
    keys: BTreeMap<String, String>,
}

impl Attestations {
    /// The APIs, below `/google`.
    pub fn routes(&self) -> Router {
        Router::new()
            .route("/google/analysis/v1/projects/{project}/occurrences", post(create))
            .route("/google/analysis/v1/projects/{project}/notes/{note}/occurrences", get(list))
            .route("/google/kms/v1/{*name}", post(sign))
            .with_state(self.clone())
    }

    /// The lever.
    pub fn levers(&self) -> Router {
        Router::new()
            .route("/_sandbox/binary-authorization", put(set_policy))
            .with_state(self.clone())
    }

    /// Why Cloud Run does not let this image into this service, if it does not.
    pub fn refusal(&self, service: &str, image: &str) -> Option<String> {
        let known = self.lock();
        let note = known.policy.services.get(service)?;
        let vouched = known.occurrences.iter().any(|one| {
            one["noteName"] == json!(note)
                && one["resourceUri"] == json!(format!("https://{image}"))
                && known.vouches(&one["attestation"], image)
        });
        (!vouched).then(|| {
            format!("Container image '{image}' is not authorized by policy: denied by attestor of {note}: no attestations found that were valid and signed by a key trusted by the attestor.")
        })
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn vouches(&self, attestation: &Value, image: &str) -> bool {
        let bytes = |value: &Value| BASE64.decode(value.as_str()?.as_bytes()).ok();
        let Some(payload) = bytes(&attestation["serializedPayload"]) else { return false };
        let said: Value = serde_json::from_slice(&payload).unwrap_or_default();
        let critical = &said["critical"];
        let (repository, digest) = image.split_once('@').unwrap_or_default();
        critical["type"] == PAYLOAD_TYPE
            && critical["identity"]["docker-reference"] == repository
            && critical["image"]["docker-manifest-digest"] == digest
            && attestation["signatures"].as_array().into_iter().flatten().any(|signature| {
                let key = signature["publicKeyId"].as_str().and_then(|id| self.public_key(id));
                let Some((key, signature)) = key.zip(bytes(&signature["signature"])) else {
                    return false;
                };
                let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, key);
                key.verify(&payload, &signature).is_ok()
            })
    }

    fn public_key(&self, id: &str) -> Option<Vec<u8>> {
        if let Some(name) = id.strip_prefix("//cloudkms.googleapis.com/v1/") {
            return Some(self.keys.get(name)?.public_key().as_ref().to_vec());
        }
        let info = BASE64.decode(self.policy.keys.get(id)?.as_bytes()).ok()?;
        Some(info.get(info.len().checked_sub(POINT)?..)?.to_vec())
    }
}

async fn set_policy(State(all): State<Attestations>, Json(policy): Json<Policy>) -> Json<Policy> {
    all.lock().policy.clone_from(&policy);
    Json(policy)
}

async fn create(
    State(all): State<Attestations>,
    Path(project): Path<String>,
    Json(mut occurrence): Json<Value>,
) -> Response {
    let attested = &occurrence["attestation"];
    if occurrence["resourceUri"].as_str().is_none_or(|uri| !uri.contains("@sha256:"))
        || occurrence["noteName"].as_str().is_none_or(|note| !note.starts_with("projects/"))
        || !attested["serializedPayload"].is_string()
        || !attested["signatures"].is_array()
    {
        return refusal(StatusCode::BAD_REQUEST, "INVALID_ARGUMENT", "the occurrence is invalid");
    }
    let mut known = all.lock();
    let id = known.occurrences.len() + 1;
    occurrence["name"] = json!(format!("projects/{project}/occurrences/{id:08}"));
    occurrence["kind"] = json!("ATTESTATION");
    known.occurrences.push(occurrence.clone());
    Json(occurrence).into_response()
}

#[derive(Deserialize)]
struct Listing {
    filter: Option<String>,
}

async fn list(
    State(all): State<Attestations>,
    Path((project, note)): Path<(String, String)>,
    Query(query): Query<Listing>,
) -> Json<Value> {
    let note = json!(format!("projects/{project}/notes/{note}"));
    let filter = query.filter.unwrap_or_default();
    let resource = filter.strip_prefix("resourceUrl=\"").and_then(|rest| rest.strip_suffix('"'));
    let known = all.lock();
    let found = known.occurrences.iter().filter(|one| {
        one["noteName"] == note && resource.is_none_or(|uri| one["resourceUri"] == json!(uri))
    });
    Json(json!({"occurrences": found.collect::<Vec<_>>()}))
}

async fn sign(
    State(all): State<Attestations>,
    Path(name): Path<String>,
    Json(body): Json<Value>,
) -> Response {
    let Some(name) = name.strip_suffix(SIGN) else {
        return refusal(StatusCode::NOT_FOUND, "NOT_FOUND", "The sandbox has no such method.");
    };
    let hash =
        body["digest"]["sha256"].as_str().and_then(|hash| BASE64.decode(hash.as_bytes()).ok());
    let Some(hash) = hash.filter(|hash| hash.len() == 32) else {
        return refusal(StatusCode::BAD_REQUEST, "INVALID_ARGUMENT", "There is no SHA-256 digest.");
    };
    let mut known = all.lock();
    let key = match known.keys.get(name) {
        Some(key) => Arc::clone(key),
        None => match EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING) {
            Ok(key) => Arc::clone(known.keys.entry(name.to_owned()).or_insert(Arc::new(key))),
            Err(_) => return refusal(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", "no key"),
        },
    };
    let signature =
        Digest::import_less_safe(&hash, &SHA256).and_then(|hash| key.sign_digest(&hash));
    match signature {
        Ok(signature) => {
            Json(json!({"name": name, "signature": BASE64.encode(signature.as_ref())}))
                .into_response()
        }
        Err(_) => refusal(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", "no signature"),
    }
}

fn refusal(status: StatusCode, name: &str, message: &str) -> Response {
    let error = json!({"code": status.as_u16(), "status": name, "message": message});
    (status, Json(json!({ "error": error }))).into_response()
}
