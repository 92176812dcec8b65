//! One file per outside party; each is the only file that imports that party's crate.

pub mod passkeys;
