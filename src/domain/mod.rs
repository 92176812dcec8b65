//! The rules of the house, pure: no async, no input or output, nothing of the crate outside `domain`.

pub mod approval;
pub mod canonical;
pub mod decision;
pub mod deployment;
pub mod digest;
pub mod endorsement;
pub mod ids;
pub mod image;
pub mod ledger;
pub mod log_key;
pub mod observation;
pub mod person;
pub mod platform_defaults;
pub mod policy;
pub mod request;
pub mod rollout;
pub mod sentence;
pub mod service;
pub mod statement;
pub mod template;
pub mod text;
pub mod tree;
pub mod unique_json;
pub mod verification_summary;
