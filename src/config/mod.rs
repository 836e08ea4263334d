//! Configuration: flags over environment over `proxy.toml` over defaults.

mod listen;
mod pattern;
mod settings;
pub mod url;

pub use listen::ListenAddress;
pub use pattern::TablePattern;
pub use settings::{
    Auth, AuthMode, ClientTls, ClientTlsMode, CommentReuse, Comments, Config, ContextDefaults, Fact, Inject,
    Limits, Log, LogFormat, Pooler, Shutdown, SqlText, Upstream,
};
