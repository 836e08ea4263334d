//! The proxy's input and output: thin code that moves bytes where the pure modules say.

pub mod login;
pub mod users_file;
