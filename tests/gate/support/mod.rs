//! A gate with its sandbox over real HTTP, spoken to in the words of the domain.

pub mod attestations;
pub mod balancer;
pub mod bundles;
pub mod cloud_run;
pub mod database;
pub mod gate;
pub mod github;
pub mod job;
pub mod metadata;
pub mod object;
pub mod postgres;
pub mod process;
pub mod rules;
pub mod severed;
pub mod terminal;
