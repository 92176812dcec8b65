//! Every integration test of the gate, in one binary.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod asking;
mod assertions;
mod ceremony;
mod cloud_run_client;
mod configuration;
mod crash;
mod deciding;
mod description;
mod differential;
mod endorsing;
mod evidence;
mod faults;
mod first_key;
mod identity_server;
mod instances;
mod next_action;
mod pages;
mod previews;
mod public_keys;
mod public_log;
mod readme;
mod registrations;
mod revoking;
mod sample_approval;
mod sandbox_cloud_run;
mod sentences;
mod sign_in;
mod storage;
mod support;
mod tidy;
mod trust;
mod workload_tokens;
