//! `bemi check`: is the server ready for the proxy, and what to run where it is not. And `bemi health`: does a
//! proxy answer.
//!
//! ```text
//! queries      asks a session            -> ServerFacts
//! server       ServerFacts               -> findings      PURE
//! certificate  the server's certificate  -> a finding     PURE
//! report       findings                  -> text          PURE
//! health       one byte from a proxy
//! ```

pub mod certificate;
pub mod health;
mod queries;
pub mod report;
pub mod server;

#[cfg(test)]
mod tests;
