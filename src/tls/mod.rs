//! TLS on both legs: towards the server as libpq does it, towards clients as the server does it.

pub mod generate;
