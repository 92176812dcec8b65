//! The gate as a GitHub App, against a GitHub that checks every call with GitHub's own description.

mod description;
mod forging;
mod rules;
mod runs;
mod showing;
