//! Bytes in, verdict out. The server, the worker and `countersign verify` call the same code.

pub mod assertion;
pub mod attestation;
pub mod authenticator_data;
pub mod base64url;
mod cbor;
pub mod certificate;
pub mod checkpoint;
pub mod client_data;
pub mod cosignature;
pub mod envelope;
pub mod evidence;
pub mod export;
pub mod exported;
pub mod grant;
pub mod jwk;
pub mod log_head;
pub mod metadata;
pub mod public_key;
pub mod recovery;
pub mod registration;
pub mod sign_in;
pub mod token;
pub mod user_handle;
pub mod verify;
