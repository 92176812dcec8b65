//! Every integration test of the gate, in one binary.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod assertions;
mod ceremony;
mod differential;
mod public_keys;
mod registrations;
