//! Configuration: flags over environment over `proxy.toml` over defaults.
//!
//! ```text
//! settings   the structs that the rest of the crate reads, with their defaults
//! keys       which key fills which field: the only list of keys there is
//! load       sources in order of strength -> assignments -> settings
//!   file     proxy.toml -> keys with their lines
//!   value    text or TOML -> a field's type, and back
//!   checks   bounds, and settings that need each other
//! url        the server's address, from the application's own DATABASE_URL
//! origin     "--listen", "BEMI_LISTEN", "proxy.toml:3": every error begins with one
//! ```
//!
//! Pure: arguments, environment and files are parameters of [`Config::load`].

mod checks;
mod file;
mod keys;
mod listen;
mod load;
mod nearest;
mod origin;
mod pattern;
mod redact;
mod settings;
mod track;
pub mod url;
mod value;

#[cfg(test)]
mod tests;

pub use listen::ListenAddress;
pub use load::{FlagValue, Sources};
pub use origin::{ConfigError, Origin, Problem};
pub use pattern::{ColumnPattern, TablePattern};
pub use redact::{RedactRule, Redaction};
pub use settings::{
    Auth, AuthMode, ClientTls, ClientTlsMode, CommentReuse, Comments, Config, ContextDefaults, Fact, Inject,
    Limits, Log, LogFormat, Pooler, Shutdown, SqlText, Upstream,
};
pub use track::{PartitionBy, Retention, Track};
