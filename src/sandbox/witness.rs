//! Witnesses of logs (C2SP tlog-witness and tlog-cosignature), as many as somebody asks for: each name under
//! `/witness/` is one. What one knows is lost with the process, and its key follows from its name, so that
//! nobody takes its word for anything.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256, digest};
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{post, put};
use axum::{Router, body::Bytes};
use data_encoding::{BASE64, HEXLOWER};
use http::{StatusCode, header};
use jiff::SignedDuration;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::clock::Clock;

/// Signature types of C2SP signed-note: a log's, and a witness's.
const LOG: u8 = 1;
const COSIGNATURE: u8 = 4;
/// How far ahead a clock is that is wrong.
const AHEAD: SignedDuration = SignedDuration::from_hours(1);

type Hash = [u8; 32];

/// What a witness is told to do. Whatever it is, it answers in the form of the specification.
#[derive(Deserialize, Clone, Copy, Default)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Behaviour {
    /// As it should.
    #[default]
    Honest,
    /// Answers with this status and does nothing.
    Answers(u16),
    /// Answers after so many milliseconds.
    Slow(u64),
    /// Claims that the newest head that it signed has this size.
    Claims(u64),
    /// Signs something else.
    WrongSignature,
    /// Signs with another key than its own.
    OtherKey,
    /// Signs with a time that is to come.
    Future,
}

#[derive(Default)]
struct Witness {
    behaviour: Behaviour,
    logs: BTreeMap<String, Log>,
}

/// A log that it watches: the key, and the newest head that it signed.
struct Log {
    key: Hash,
    size: u64,
    root: Hash,
}

/// The witnesses.
#[derive(Clone)]
pub struct Witnesses {
    clock: Clock,
    witnesses: Arc<Mutex<BTreeMap<String, Witness>>>,
}

/// What can be told to a witness.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Lever {
    /// A verifier key of a log that it watches from now on, from its beginning.
    log: Option<String>,
    behaviour: Option<Behaviour>,
}

fn key_of(name: &str) -> Option<Ed25519KeyPair> {
    let seed = digest(&SHA256, format!("the sandbox's witness {name}").as_bytes());
    Ed25519KeyPair::from_seed_unchecked(seed.as_ref()).ok()
}

fn public(key: &Ed25519KeyPair) -> Hash {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(key.public_key().as_ref());
    bytes
}

fn sha256(parts: &[&[u8]]) -> Hash {
    let mut context = Context::new(&SHA256);
    parts.iter().for_each(|part| context.update(part));
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

fn key_id(name: &str, signature_type: u8, key: &Hash) -> [u8; 4] {
    let [first, second, third, fourth, ..] =
        sha256(&[name.as_bytes(), b"\n", &[signature_type], key]);
    [first, second, third, fourth]
}

/// The verifier key of the witness called `name`.
pub fn verifier_key(name: &str) -> String {
    let key = key_of(name).map(|key| public(&key)).unwrap_or_default();
    let id = HEXLOWER.encode(&key_id(name, COSIGNATURE, &key));
    format!("{name}+{id}+{}", BASE64.encode(&[&[COSIGNATURE], &key[..]].concat()))
}

impl Witnesses {
    /// Witnesses that go by this clock.
    pub fn new(clock: Clock) -> Self {
        Self { clock, witnesses: Arc::default() }
    }

    /// `POST /witness/{name}/add-checkpoint`, and the lever `PUT /_sandbox/witness/{name}`.
    pub fn router(self) -> Router {
        Router::new()
            .route("/witness/{name}/add-checkpoint", post(add_checkpoint))
            .route("/_sandbox/witness/{name}", put(pull))
            .with_state(self)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Witness>> {
        self.witnesses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn pull(
    State(witnesses): State<Witnesses>,
    Path(name): Path<String>,
    Json(lever): Json<Lever>,
) -> Result<Json<Value>, StatusCode> {
    let mut all = witnesses.lock();
    let witness = all.entry(name.clone()).or_default();
    if let Some(text) = lever.log {
        let (origin, key) = read_log_key(&text).ok_or(StatusCode::BAD_REQUEST)?;
        witness.logs.insert(origin, Log { key, size: 0, root: sha256(&[]) });
    }
    witness.behaviour = lever.behaviour.unwrap_or(witness.behaviour);
    let sizes: BTreeMap<&String, u64> =
        witness.logs.iter().map(|(origin, log)| (origin, log.size)).collect();
    Ok(Json(json!({"key": verifier_key(&name), "logs": sizes})))
}

fn read_log_key(text: &str) -> Option<(String, Hash)> {
    let mut parts = text.splitn(3, '+');
    let (origin, _, key) = (parts.next()?, parts.next()?, parts.next()?);
    let key = BASE64.decode(key.as_bytes()).ok()?;
    let key: Hash = key.strip_prefix(&[LOG])?.try_into().ok()?;
    Some((origin.to_owned(), key))
}

/// The body of a request, of which nothing is believed.
struct Offer {
    old: u64,
    proof: Vec<Hash>,
    /// What is signed: origin, size, root.
    text: String,
    origin: String,
    size: u64,
    root: Hash,
    signatures: String,
}

impl Offer {
    fn read(body: &[u8]) -> Option<Self> {
        let body = std::str::from_utf8(body).ok()?;
        let (head, checkpoint) = body.split_once("\n\n")?;
        let mut lines = head.split('\n');
        let old = read_size(lines.next()?.strip_prefix("old ")?)?;
        let proof = lines.map(read_hash).collect::<Option<Vec<Hash>>>()?;
        let (text, signatures) = checkpoint.split_once("\n\n")?;
        let mut lines = text.split('\n');
        let (origin, size) = (lines.next()?.to_owned(), read_size(lines.next()?)?);
        let root = read_hash(lines.next()?)?;
        let is_short = proof.len() <= 63;
        let (text, signatures) = (format!("{text}\n"), signatures.to_owned());
        is_short.then_some(Self { old, proof, text, origin, size, root, signatures })
    }

    fn is_signed_by(&self, key: &Hash) -> bool {
        let begin = format!("\u{2014} {} ", self.origin);
        let id = key_id(&self.origin, LOG, key);
        let key = UnparsedPublicKey::new(&ED25519, key);
        self.signatures.lines().filter_map(|line| line.strip_prefix(&begin)).any(|found| {
            let bytes = BASE64.decode(found.as_bytes()).unwrap_or_default();
            let signature = bytes.strip_prefix(&id);
            signature.is_some_and(|signature| key.verify(self.text.as_bytes(), signature).is_ok())
        })
    }
}

fn read_size(text: &str) -> Option<u64> {
    text.parse().ok().filter(|size: &u64| size.to_string() == text)
}

fn read_hash(text: &str) -> Option<Hash> {
    BASE64.decode(text.as_bytes()).ok()?.try_into().ok()
}

fn conflict(size: u64) -> Response {
    let kind = [(header::CONTENT_TYPE, "text/x.tlog.size")];
    (StatusCode::CONFLICT, kind, format!("{size}\n")).into_response()
}

async fn add_checkpoint(
    State(witnesses): State<Witnesses>,
    Path(name): Path<String>,
    body: Bytes,
) -> Response {
    let behaviour = witnesses.lock().entry(name.clone()).or_default().behaviour;
    match behaviour {
        Behaviour::Slow(milliseconds) => {
            tokio::time::sleep(Duration::from_millis(milliseconds)).await;
        }
        Behaviour::Answers(status) => {
            return StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY).into_response();
        }
        Behaviour::Claims(size) => return conflict(size),
        Behaviour::Honest | Behaviour::WrongSignature | Behaviour::OtherKey | Behaviour::Future => {
        }
    }
    let Some(offer) = Offer::read(&body) else { return StatusCode::BAD_REQUEST.into_response() };
    // The lock is held until the head is remembered: two offers at once must not both go on from one head.
    let mut all = witnesses.lock();
    let log = all.get_mut(&name).and_then(|witness| witness.logs.get_mut(&offer.origin));
    let Some(log) = log else { return StatusCode::NOT_FOUND.into_response() };
    if !offer.is_signed_by(&log.key) {
        return StatusCode::FORBIDDEN.into_response();
    }
    if offer.old > offer.size {
        return StatusCode::BAD_REQUEST.into_response();
    }
    let is_another = offer.old == offer.size && offer.root != log.root;
    if offer.old != log.size || is_another {
        return conflict(log.size);
    }
    if !is_consistent(offer.old, offer.size, &log.root, &offer.root, &offer.proof) {
        return StatusCode::UNPROCESSABLE_ENTITY.into_response();
    }
    (log.size, log.root) = (offer.size, offer.root);
    let ahead = match behaviour {
        Behaviour::Future => AHEAD,
        _ => SignedDuration::ZERO,
    };
    let signer = match behaviour {
        Behaviour::OtherKey => key_of("nobody"),
        _ => key_of(&name),
    };
    let text = match behaviour {
        Behaviour::WrongSignature => "something else\n",
        _ => &offer.text,
    };
    let Some(signer) = signer else { return StatusCode::INTERNAL_SERVER_ERROR.into_response() };
    let seconds = (witnesses.clock.now() + ahead).as_second();
    cosignature(&name, &signer, text, seconds.unsigned_abs()).into_response()
}

fn cosignature(name: &str, key: &Ed25519KeyPair, text: &str, seconds: u64) -> String {
    let signature = key.sign(format!("cosignature/v1\ntime {seconds}\n{text}").as_bytes());
    let id = key_id(name, COSIGNATURE, &public(key));
    let bytes = [&id[..], &seconds.to_be_bytes(), signature.as_ref()].concat();
    format!("\u{2014} {name} {}\n", BASE64.encode(&bytes))
}

fn node(left: &Hash, right: &Hash) -> Hash {
    sha256(&[&[1], left, right])
}

/// Whether a tree of `size` leaves goes on from one of `old` (RFC 9162, section 2.1.4.2).
pub fn is_consistent(old: u64, size: u64, old_root: &Hash, root: &Hash, proof: &[Hash]) -> bool {
    if old == 0 || old == size {
        return proof.is_empty() && (old == 0 || old_root == root);
    }
    let (mut last_old, mut last) = (old - 1, size.saturating_sub(1));
    let mut path = proof.iter();
    // The root of a complete old tree is known and not repeated.
    let first = if old.is_power_of_two() { Some(old_root) } else { path.next() };
    let Some(first) = first else { return false };
    while last_old & 1 == 1 {
        (last_old, last) = (last_old >> 1, last >> 1);
    }
    let (mut seen, mut grown) = (*first, *first);
    for sibling in path {
        if last == 0 {
            return false;
        }
        if last_old & 1 == 1 || last_old == last {
            (seen, grown) = (node(sibling, &seen), node(sibling, &grown));
            while last_old & 1 == 0 && last_old != 0 {
                (last_old, last) = (last_old >> 1, last >> 1);
            }
        } else {
            grown = node(&grown, sibling);
        }
        (last_old, last) = (last_old >> 1, last >> 1);
    }
    old < size && seen == *old_root && grown == *root && last == 0
}
