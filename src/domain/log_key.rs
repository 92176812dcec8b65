//! The log key: signs each entry of the ledger when it is written.

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use data_encoding::{BASE64, HEXLOWER};

use crate::domain::digest::Digest;
use crate::domain::statement::pre_authentication_encoding;

/// Separates these signatures from every other use of an Ed25519 key.
const ENTRY_CONTEXT: &[u8] = b"countersign ledger entry v1\0";

/// The private key of the log (Ed25519, RFC 8032).
pub struct LogKey(Ed25519KeyPair);

/// The seed is not 32 bytes.
#[derive(Debug, thiserror::Error)]
#[error("the log key is not a 32-byte Ed25519 seed")]
pub struct InvalidLogKey;

impl LogKey {
    /// The key of a 32-byte seed.
    pub fn from_seed(seed: &[u8]) -> Result<Self, InvalidLogKey> {
        Ed25519KeyPair::from_seed_unchecked(seed).map(Self).map_err(|_| InvalidLogKey)
    }

    /// The public key, 32 bytes.
    pub fn public(&self) -> LogPublicKey {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(self.0.public_key().as_ref());
        LogPublicKey(bytes)
    }

    /// Signs that the entry with this leaf hash was written at this index on top of this root.
    pub fn sign_entry(&self, index: u64, previous_root: &Digest, leaf: &Digest) -> Vec<u8> {
        self.0.sign(&entry_message(index, previous_root, leaf)).as_ref().to_vec()
    }
}

impl LogKey {
    /// The signed tree head of the log called `name` (C2SP tlog-checkpoint and signed-note).
    pub fn sign_checkpoint(&self, name: &str, size: u64, root: &Digest) -> String {
        let text = checkpoint_text(name, size, root);
        let mut signature = self.public().note_key_hash(name).to_vec();
        signature.extend_from_slice(self.0.sign(text.as_bytes()).as_ref());
        format!("{text}\n\u{2014} {name} {}\n", BASE64.encode(&signature))
    }
}

impl LogKey {
    /// Signs the pre-authentication encoding of a DSSE envelope, whose own beginning keeps these
    /// signatures apart from those of entries and checkpoints.
    pub fn sign_envelope(&self, payload_type: &str, payload: &[u8]) -> Vec<u8> {
        self.0.sign(&pre_authentication_encoding(payload_type, payload)).as_ref().to_vec()
    }
}

impl LogKey {
    /// Signs a token of the gate's own (RFC 7515). Its signing input begins with the base64url of a
    /// brace, as nothing else does that this key signs.
    pub fn sign_token(&self, signing_input: &str) -> Vec<u8> {
        self.0.sign(signing_input.as_bytes()).as_ref().to_vec()
    }
}

impl std::fmt::Debug for LogKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("LogKey(secret)")
    }
}

/// What is signed of a tree head, by the log and by its witnesses (C2SP tlog-checkpoint).
pub fn checkpoint_text(name: &str, size: u64, root: &Digest) -> String {
    format!("{name}\n{size}\n{}\n", BASE64.encode(root.as_bytes()))
}

/// The public key of the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogPublicKey(pub [u8; 32]);

/// Ed25519 among the signature types of C2SP signed-note.
pub const NOTE_ED25519: u8 = 1;

/// What tells keys of one name apart in signed notes: the first four bytes of
/// SHA-256(name || 0x0A || signature type || key).
pub fn note_key_hash(name: &str, signature_type: u8, key: &[u8; 32]) -> [u8; 4] {
    let digest = Digest::of_parts(&[name.as_bytes(), b"\n", &[signature_type], key]);
    let [first, second, third, fourth, ..] = *digest.as_bytes();
    [first, second, third, fourth]
}

/// A key as whoever verifies signed notes pins it (C2SP signed-note): `name+hash+base64`.
pub fn verifier_key(name: &str, signature_type: u8, key: &[u8; 32]) -> String {
    let hash = HEXLOWER.encode(&note_key_hash(name, signature_type, key));
    format!("{name}+{hash}+{}", BASE64.encode(&[&[signature_type], &key[..]].concat()))
}

impl LogPublicKey {
    /// The hash of this key as one of signed notes, see [`note_key_hash`].
    pub fn note_key_hash(&self, name: &str) -> [u8; 4] {
        note_key_hash(name, NOTE_ED25519, &self.0)
    }

    /// The verifier key of the log called `name`, as whoever follows the log pins it.
    pub fn verifier_key(&self, name: &str) -> String {
        verifier_key(name, NOTE_ED25519, &self.0)
    }

    /// Whether the log signed this entry in this place.
    pub fn verify_entry(
        &self,
        index: u64,
        previous_root: &Digest,
        leaf: &Digest,
        signature: &[u8],
    ) -> bool {
        UnparsedPublicKey::new(&ED25519, self.0)
            .verify(&entry_message(index, previous_root, leaf), signature)
            .is_ok()
    }
}

fn entry_message(index: u64, previous_root: &Digest, leaf: &Digest) -> Vec<u8> {
    let mut message = ENTRY_CONTEXT.to_vec();
    message.extend_from_slice(&index.to_be_bytes());
    message.extend_from_slice(previous_root.as_bytes());
    message.extend_from_slice(leaf.as_bytes());
    message
}
