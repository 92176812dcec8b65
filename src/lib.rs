//! Countersign: a human-approval gate for CI/CD.

pub mod cli;
pub mod clock;
pub mod domain;
pub mod integrations;
pub mod proof;
pub mod randomness;
pub mod sandbox;
pub mod storage;
