//! bemi: a PostgreSQL proxy that puts application context into the write-ahead log, and a tracker that stores every
//! row change with the context it was made in.
//!
//! An application connects to the proxy instead of the server. It says who is asking and why, with
//! `SET bemi.context = '{"user_id": 1}'` or in a SQL comment, and writes as it always did. Ahead of every write, in
//! the write's own transaction, the proxy has the server run
//!
//! ```sql
//! SELECT pg_catalog.pg_logical_emit_message(true, '_bemi', '{"user_id": 1, "SQL": "INSERT ..."}')
//! ```
//!
//! so that whoever follows the log by logical replication reads the context next to each row change. The client sees
//! none of it.
//!
//! # The protocol in a minute
//!
//! After a startup packet and a login, both sides send *frames*: a type byte, a length, a body. A client speaks
//! in one of two ways:
//!
//! ```text
//!   simple     Query "INSERT ..; SELECT .."      ->  CommandComplete, RowDescription, DataRow*, CommandComplete,
//!                                                    ReadyForQuery
//!   extended   Parse  Bind  Execute  ...  Sync   ->  ParseComplete, BindComplete, DataRow*, CommandComplete, ...,
//!                                                    ReadyForQuery
//! ```
//!
//! The server answers in order, and a client need not wait: it may send many groups before the first reply. After an
//! error in an extended group the server skips what follows up to the next Sync. Everything the proxy does has to hold
//! under these three rules; [`session`] is where it does.
//!
//! # The layers
//!
//! ```text
//!   wire         frames and messages as bytes                                PURE
//!     <- sql        texts: statements, kinds, comments, the verdict cache    PURE
//!     <- context    JSON objects, and the setting through transactions       PURE
//!     <- session    the decisions: bytes of either side in, bytes out        PURE
//!     <- proxy      sockets: listener, workers, opening, login, event loop, relay
//!        auth       SCRAM and the login modes                                PURE
//!        tls        certificates on both legs, judged as libpq judges them
//!   replication  the connection and its stream; pgoutput messages            PURE, but for the sockets
//!     <- track      row changes with their contexts, into the table `changes` PURE, but for both ends
//!   config       flags over environment over proxy.toml over defaults        PURE
//!   client       sessions of our own, connected as the proxy connects
//!   check, demo  `bemi check`, `bemi demo`
//!   cli, logging the command line and its log
//!   prefetch     memory asked for before it is needed: hints, no decisions
//! ```
//!
//! Pure means: no sockets, no clock, no globals; every decision can be tested with bytes alone.
//!
//! # What a connection costs
//!
//! A frame that nobody needs to look into is forwarded from the buffer it was read into, in one write with its
//! neighbours; rows of a result and COPY data cost a look at their headers. System calls and wake-ups are what is left,
//! so one event loop has all logged-in clients as long as that spares it some of them; then the next one takes over half
//! of those that are busy.
//!
//! Three well-kept crates are kept off that path on purpose. `tokio` serves whatever comes once in a connection's life;
//! its tasks and wakers cost as much as all decisions, so relays wait for their sockets with `mio` itself. `pgwire` owns
//! every message it decodes; the relay reads slices ([`wire`]), and `pgwire` serves tests as a second opinion.
//! `sqlparser` builds a tree for every statement; the lexer of [`sql`] finds kinds and boundaries without one, and the
//! parser is asked only where structure matters.

pub mod auth;
pub mod check;
pub mod cli;
pub mod client;
pub mod config;
pub mod context;
pub mod demo;
pub mod logging;
mod prefetch;
pub mod proxy;
pub mod replication;
pub mod session;
pub mod sql;
pub mod tls;
pub mod track;
pub mod wire;
