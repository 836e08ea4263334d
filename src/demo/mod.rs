//! `bemi demo`: the whole product on a throw-away PostgreSQL, in a minute.

mod changes;
pub mod cluster;
mod report;
mod run;
mod script;
mod stage;
mod tracker;

pub use report::Style;
pub use run::{DemoError, Options, run, start_proxy};
