//! The settings themselves: one struct per section of `proxy.toml`, with their defaults.
//!
//! Nothing here knows where a value came from; `load` fills these structs from flags, environment and
//! file. Every field names its key, its unit and its default. `proxy.toml` in the repository says the
//! same to operators, and a test holds the two together.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, Value};

use super::track::Track;
use super::url::{ChannelBinding, KeepaliveParameters, TlsParameters, UpstreamUrl};
use super::{ListenAddress, TablePattern};

/// Everything `bemi proxy` can be told.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// `listen`: where clients connect. Several are allowed; default `127.0.0.1:6432`.
    pub listen: Vec<ListenAddress>,
    /// `threads`: threads with an event loop, and as many with a runtime for logins. Default 0: one of each per core.
    /// The next event loop comes into use when one takes a third of a core, or four fifths where it serves some 3 to 150
    /// clients that are busy at a time: those are served for less by one.
    pub threads: usize,
    /// `[upstream]`: the server, or the pooler, behind the proxy.
    pub upstream: Upstream,
    /// `[tls]`: TLS between clients and the proxy.
    pub tls: ClientTls,
    /// `[auth]`: who checks passwords.
    pub auth: Auth,
    /// `[context]`: what every write carries, whatever its client says.
    pub context: ContextDefaults,
    /// `[comments]`: which SQL comments are context.
    pub comments: Comments,
    /// `[inject]`: which writes get a message, and what it says about the statement.
    pub inject: Inject,
    /// `[limits]`: bounds on time and memory.
    pub limits: Limits,
    /// `[shutdown]`: what SIGTERM waits for.
    pub shutdown: Shutdown,
    /// `[track]`: what `bemi track` stores, and where.
    pub track: Track,
    /// `[log]`: what is written to standard error.
    pub log: Log,
}

impl Config {
    /// Every default, with `url` as the server.
    pub fn new(url: UpstreamUrl) -> Self {
        Self {
            listen: vec![ListenAddress::Tcp {
                host: "127.0.0.1".into(),
                port: 6432,
            }],
            threads: 0,
            upstream: Upstream::new(url),
            tls: ClientTls::default(),
            auth: Auth::default(),
            context: ContextDefaults::default(),
            comments: Comments::default(),
            inject: Inject::default(),
            limits: Limits::default(),
            shutdown: Shutdown::default(),
            track: Track::default(),
            log: Log::default(),
        }
    }
}

/// `[upstream]`
#[derive(Clone, Debug, PartialEq)]
pub struct Upstream {
    /// `url`: the application's own DATABASE_URL (`postgresql://...?sslmode=verify-full&sslrootcert=...`). Required.
    pub url: UpstreamUrl,
    /// `pooler`: what stands between the proxy and the server. Default `none`.
    pub pooler: Pooler,
    /// `connect_timeout`: name lookup, TCP and TLS together, where the URL has no `connect_timeout`. Default 30 s: a server
    /// that forks for each of thousands of connections at once answers the last of them late.
    pub connect_timeout: Duration,
}

impl Upstream {
    /// Every default, with `url` as the server.
    pub fn new(url: UpstreamUrl) -> Self {
        Self {
            url,
            pooler: Pooler::None,
            connect_timeout: Duration::from_secs(30),
        }
    }
}

/// The URL before any source has named one: no host at all, which no URL can say.
pub(super) fn no_url() -> UpstreamUrl {
    UpstreamUrl {
        hosts: Vec::new(),
        user: None,
        password: None,
        dbname: None,
        tls: TlsParameters::default(),
        channel_binding: ChannelBinding::Prefer,
        connect_timeout: None,
        keepalive: KeepaliveParameters::default(),
        application_name: None,
        options: None,
        ignored: Vec::new(),
    }
}

/// `upstream.pooler`: whether one server session may serve several of our connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pooler {
    /// A PostgreSQL server, or a pooler in session mode: settings live as long as the connection.
    #[default]
    None,
    /// A pooler in transaction mode: the server's own copy of `bemi.context` means nothing, and
    /// statements may not be kept prepared from one transaction to the next.
    Transaction,
}

/// `[tls]`: the client leg. Paths are relative to the working directory.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClientTls {
    /// `certificate`: PEM file, the server certificate first, then its chain.
    /// Default none: an SSLRequest is answered `N`.
    pub certificate: Option<PathBuf>,
    /// `key`: PEM file with the private key of `certificate`. Default none.
    pub key: Option<PathBuf>,
    /// `client_ca`: PEM file; when set, clients must show a certificate issued by one of these. Default none.
    pub client_ca: Option<PathBuf>,
    /// `mode`: whether clients may stay in the clear. Default `prefer`.
    pub mode: ClientTlsMode,
}

/// `tls.mode`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientTlsMode {
    /// TLS for who asks for it, plain for who does not.
    #[default]
    Prefer,
    /// A startup packet in the clear is refused, except on a unix socket.
    Require,
}

/// `[auth]`
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Auth {
    /// `mode`: who checks passwords. Default `passthrough`.
    pub mode: AuthMode,
    /// `users_file`: for `scram`: lines of `"user" "password or SCRAM verifier"`. Default none.
    pub users_file: Option<PathBuf>,
}

/// `auth.mode`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AuthMode {
    /// Authentication messages are relayed between client and server.
    #[default]
    Passthrough,
    /// The proxy asks the client for its password, over TLS only, and logs in to the server with it.
    Password,
    /// The proxy checks the client against `users_file` with SCRAM-SHA-256, and logs in to the server itself.
    Scram,
}

/// `[context]`: the lowest sources of context.
#[derive(Clone, Debug, PartialEq)]
pub struct ContextDefaults {
    /// `facts`: what the proxy itself knows of the connection and adds. Default none.
    pub facts: Vec<Fact>,
    /// `max_bytes`: longest value of `bemi.context`, in bytes. Default 1 MiB.
    pub max_bytes: usize,
    /// `[context.static]`: keys and values that every context starts from. Default none.
    pub fixed: Map<String, Value>,
}

impl Default for ContextDefaults {
    fn default() -> Self {
        Self {
            facts: Vec::new(),
            max_bytes: 1 << 20,
            fixed: Map::new(),
        }
    }
}

/// One of `context.facts`: a key of the context and where its value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fact {
    /// `user` of the startup packet.
    User,
    /// `database` of the startup packet; the user's name where there is none.
    Database,
    /// `application_name` of the startup packet.
    ApplicationName,
    /// The client's IP address, without port; absent on a unix socket.
    ClientAddr,
}

impl Fact {
    /// The name in `context.facts`, and the key in the context.
    pub fn key(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Database => "database",
            Self::ApplicationName => "application_name",
            Self::ClientAddr => "client_addr",
        }
    }
}

/// `[comments]`
#[derive(Clone, Debug, PartialEq)]
pub struct Comments {
    /// `affix`: the word of `/*Bemi {...} Bemi*/`; ASCII letters, digits and `_`. Default `Bemi`.
    pub affix: String,
    /// `sqlcommenter`: read `/*key='url%20encoded',...*/`. Default true.
    pub sqlcommenter: bool,
    /// `marginalia`: read Rails' `/*key:value,...*/`. Default false.
    pub marginalia: bool,
    /// `reuse`: for which executions of a prepared statement its comment counts. Default `every`.
    pub reuse: CommentReuse,
}

impl Default for Comments {
    fn default() -> Self {
        Self {
            affix: "Bemi".into(),
            sqlcommenter: true,
            marginalia: false,
            reuse: CommentReuse::Every,
        }
    }
}

/// `comments.reuse`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CommentReuse {
    /// Every Execute of what the Parse with the comment prepared.
    #[default]
    Every,
    /// The first Execute only.
    First,
    /// Executes in the Sync group of the Parse only.
    SameSync,
}

/// `[inject]`
#[derive(Clone, Debug, PartialEq)]
pub struct Inject {
    /// `include`: tables whose writes get a message. Default empty: all.
    pub include: Vec<TablePattern>,
    /// `exclude`: tables whose writes get none; stronger than `include`. Default empty.
    pub exclude: Vec<TablePattern>,
    /// `sql`: how the statement appears under the key `SQL`. Default `full`.
    pub sql: SqlText,
    /// `sql_max_bytes`: longer statements are cut to this many bytes. Default 64 KiB.
    pub sql_max_bytes: usize,
    /// `functions`: a SELECT or CALL naming one of them counts as a write. Default empty.
    pub functions: Vec<TablePattern>,
}

impl Default for Inject {
    fn default() -> Self {
        Self {
            include: Vec::new(),
            exclude: Vec::new(),
            sql: SqlText::Full,
            sql_max_bytes: 64 << 10,
            functions: Vec::new(),
        }
    }
}

impl Inject {
    /// Whether a write to this table gets a message. `schema` is `None` where the statement names none.
    ///
    /// Such a table could live in any schema of the search path. To audit too much is better than too
    /// little, so it meets every `include` pattern that its name allows, and only those `exclude`
    /// patterns that hold in every schema.
    pub fn wants_table(&self, schema: Option<&str>, name: &str) -> bool {
        let included = self.include.is_empty() || self.include.iter().any(|p| p.may_match(schema, name));
        included && !self.exclude.iter().any(|p| p.matches(schema, name))
    }
}

/// `inject.sql`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SqlText {
    /// As the client wrote it.
    #[default]
    Full,
    /// With literals replaced by `$1`, `$2`, ...
    Normalized,
    /// No key `SQL` at all.
    Off,
}

/// `[limits]`
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// `handshake_timeout`: from accept to ReadyForQuery. Default 60 s, as `authentication_timeout` of the server.
    pub handshake_timeout: Duration,
    /// `max_connections`: client connections at a time; one more is refused with 53300. Default 10,000.
    pub max_connections: usize,
    /// `max_startup_packet_bytes`: longest startup packet, its length itself not counted. Default 10,000, as `MAX_STARTUP_PACKET_LENGTH` of the server.
    pub max_startup_packet_bytes: usize,
    /// `max_auth_message_bytes`: longest message of a login, either way. Default 65,535, as `PG_MAX_AUTH_TOKEN_LENGTH` of the server.
    pub max_auth_message_bytes: usize,
    /// `max_scram_iterations`: most iterations of SCRAM to do for one login at the server's request, in modes `password`
    /// and `scram`. Default 1,000,000, about a second; the server's own default asks for 4,096.
    pub max_scram_iterations: u32,
    /// `max_inspected_message_bytes`: longest message that is looked into; longer ones pass untouched. Default 16 MiB.
    pub max_inspected_message_bytes: usize,
    /// `statement_cache_entries`: statement texts whose analysis is remembered, over all connections. Default 10,000.
    pub statement_cache_entries: usize,
    /// `statement_cache_bytes`: their total length. Default 64 MiB.
    pub statement_cache_bytes: usize,
    /// `max_pending_replies`: replies one connection may be waiting for before its client is read on. Default
    /// 65,536, at least 4,096.
    pub max_pending_replies: usize,
    /// `buffer_bytes`: read at once from a socket, into a buffer of the thread; an idle connection holds none.
    /// Default 64 KiB.
    pub buffer_bytes: usize,
    /// `tcp_keepalive_idle`: silence before the first probe, on both legs. Default 60 s; 0 switches probes off.
    pub tcp_keepalive_idle: Duration,
    /// `tcp_keepalive_interval`: between probes. Default 10 s.
    pub tcp_keepalive_interval: Duration,
    /// `tcp_keepalive_retries`: unanswered probes before the connection is given up. Default 6.
    pub tcp_keepalive_retries: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake_timeout: Duration::from_secs(60),
            max_connections: 10_000,
            max_startup_packet_bytes: 10_000,
            max_auth_message_bytes: 65_535,
            max_scram_iterations: 1_000_000,
            max_inspected_message_bytes: 16 << 20,
            statement_cache_entries: 10_000,
            statement_cache_bytes: 64 << 20,
            max_pending_replies: 65_536,
            buffer_bytes: 64 << 10,
            tcp_keepalive_idle: Duration::from_secs(60),
            tcp_keepalive_interval: Duration::from_secs(10),
            tcp_keepalive_retries: 6,
        }
    }
}

/// `[shutdown]`
#[derive(Clone, Debug, PartialEq)]
pub struct Shutdown {
    /// `timeout`: how long running transactions may go on after SIGTERM. Default 30 s.
    pub timeout: Duration,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(30),
        }
    }
}

/// `[log]`
#[derive(Clone, Debug, PartialEq)]
pub struct Log {
    /// `level`: `error`, `warn`, `info`, `debug`, `trace`, `off`, or a list such as `info,bemi::proxy=debug`. Default `info`.
    pub level: String,
    /// `format`: default `text`.
    pub format: LogFormat,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            level: "info".into(),
            format: LogFormat::Text,
        }
    }
}

/// `log.format`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people: time, level, message, fields.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}
