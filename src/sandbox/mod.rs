//! Real HTTP servers that stand in for Google, GitHub and the directory, for the demo and the tests.

pub mod authenticator;
