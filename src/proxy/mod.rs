//! Sockets: what the pure parts decided is carried out here.

pub mod connect_error;
pub mod stream;
pub mod upstream;
//! The proxy's input and output: thin code that moves bytes where the pure modules say.

pub mod login;
pub mod users_file;
