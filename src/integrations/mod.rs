//! One file per outside party; each is the only file that imports that party's crate.

pub mod audit_events;
pub mod binary_authorization;
pub mod cloud_credentials;
pub mod cloud_monitoring;
pub mod cloud_run;
pub mod cloud_storage;
pub mod github;
pub mod log_head;
pub mod login_oidc;
pub mod metrics;
pub mod outbound;
pub mod passkeys;
pub mod probe;
pub mod prometheus;
pub mod public_address;
pub mod receiver;
pub mod witness;
pub mod workload_oidc;
