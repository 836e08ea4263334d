//! bemi: a PostgreSQL proxy that puts application context into the write-ahead log.

pub mod config;
pub mod proxy;
pub mod tls;
