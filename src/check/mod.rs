//! `bemi check`: is the server ready for the proxy, and what to run where it is not.

pub mod report;
pub mod server;
