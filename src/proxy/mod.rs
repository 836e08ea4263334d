//! Sockets: what the pure parts decided is carried out here.

pub mod connect_error;
pub mod stream;
pub mod upstream;
