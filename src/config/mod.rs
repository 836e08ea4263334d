//! Configuration: what the operator asked for.

pub mod url;
