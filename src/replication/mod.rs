//! Logical replication: the connection, its stream, and what the messages in it say.
//!
//! ```text
//! connection   login, IDENTIFY_SYSTEM, START_REPLICATION
//! stream       whole messages in, status updates out
//! abridge      a message that is too long, made shorter       PURE
//! pgoutput     what a message says                           PURE
//! ```

pub mod abridge;
pub mod connection;
mod lsn;
pub mod pgoutput;
pub mod stream;

pub use lsn::{Lsn, ParseLsnError, Timestamp};
