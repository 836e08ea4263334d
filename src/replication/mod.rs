//! What a logical replication stream says. Pure: bytes in, values out.

mod lsn;
pub mod pgoutput;

pub use lsn::{Lsn, ParseLsnError, Timestamp};
