//! bemi: a PostgreSQL proxy that puts application context into the write-ahead log.

pub mod auth;
pub mod check;
pub mod cli;
pub mod config;
pub mod context;
pub mod demo;
pub mod logging;
pub mod proxy;
pub mod replication;
pub mod session;
pub mod sql;
pub mod tls;
pub mod wire;
