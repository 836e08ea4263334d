//! What the application says about itself, and for how long it holds.
//!
//! - [`Context`] is one JSON object; [`payload`] merges several into what goes to the write-ahead log.
//! - [`Settings`] follows one setting of the server through transactions and savepoints, as `guc.c` does.
//! - [`Timeline`] follows what decides over a write: the setting, the transaction block, the message in force.
//!
//! The three ways to set `bemi.context` (startup packet, SET, SET LOCAL) are one setting with one value at any
//! time, the one that `current_setting('bemi.context', true)` returns. It is merged key by key with what stands
//! below it (the operator's static context) and above it (the statement's comments).

mod json;
mod object;
pub mod payload;
mod settings;
mod startup;
mod timeline;

pub use json::write_string as write_json_string;
pub use object::{Context, Entries, InvalidContext};
pub use settings::{Scope, Settings};
pub use startup::{startup_value, without_startup_value};
pub use timeline::{Effect, Message, Timeline, Value};
