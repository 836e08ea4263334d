//! `bemi demo`: the whole product on a throw-away PostgreSQL, in a minute.

pub mod cluster;
