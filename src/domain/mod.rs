//! The rules of the house, pure: no async, no input or output, nothing of the crate outside `domain`.
