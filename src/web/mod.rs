//! The pages that people read: view models, templates, assets and the headers around them.

pub mod assets;
pub mod paths;
pub mod security_headers;
pub mod views;
