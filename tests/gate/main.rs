//! Every integration test of the gate, in one binary.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod pages;
mod previews;
mod sample_approval;
mod sentences;
