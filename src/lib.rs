//! Countersign: a human-approval gate for CI/CD.

pub mod api;
pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod domain;
pub mod gate;
pub mod integrations;
pub mod proof;
pub mod randomness;
pub mod sandbox;
pub mod server;
pub mod storage;
pub mod web;
pub mod worker;
