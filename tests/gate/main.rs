//! Every integration test of the gate, in one binary.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod identity_server;
mod sign_in;
mod workload_tokens;
mod sandbox_cloud_run;
mod assertions;
mod ceremony;
mod differential;
mod public_keys;
mod registrations;
