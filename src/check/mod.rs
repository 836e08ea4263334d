//! `bemi check`: is the server ready for the proxy, and what to run where it is not. And `bemi health`: does a
//! proxy answer.
//!
//! ```text
//! session      logs in as the URL says
//! queries      asks that session         -> ServerFacts
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
mod session;

#[cfg(test)]
mod tests;
