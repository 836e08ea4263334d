//! bemi: a PostgreSQL proxy that puts application context into the write-ahead log.

pub mod demo;
pub mod replication;
