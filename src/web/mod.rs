//! The pages that people read: view models, templates, assets, sessions and the handlers.

pub mod agents;
pub mod approvals;
pub mod assets;
pub mod audit;
pub mod batches;
pub mod decisions;
pub mod drift;
pub mod endorsements;
pub mod environments;
pub mod exceptions;
pub mod first_key;
pub mod inbox;
pub mod interventions;
pub mod key_sign_in;
pub mod keys;
pub mod keys_page;
pub mod notices;
pub mod page;
pub mod paths;
pub mod proxy;
pub mod recovery;
pub mod same_origin;
pub mod security_headers;
pub mod session;
pub mod sign_in;
pub mod views;
