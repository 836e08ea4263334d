//! `bemi track`: follows the write-ahead log and stores every row change, with its context, in the table `changes`.
//!
//! ```text
//!   source ──> replication ──> assembler ───────────────> pipeline ──> store ──> destination
//!                              messages -> rows of COPY                │
//!     ^                        PURE                                    │ rows and progress in one transaction
//!     └───────────── the slot is told what has been committed ─────────┘
//! ```
//!
//! **Exactly once.** Progress is stored in the transaction of the rows, and the source is told about it only after
//! that has been committed; so whatever is killed at whatever moment, a session begins where the table ends. An
//! advisory lock keeps two trackers apart, and the id of a row, which follows from its place in the log alone, is its primary
//! key. Where the log has lost something, nothing goes on by itself ([`gap`]).
//!
//! ```text
//!   run           sessions, one after the other, with back-off
//!   session       one connection to either side: set-up, stream, pump; endpoints: where they are
//!   setup, gap    what is missing, and where to begin                                PURE
//!   source, destination   the statements that ask and change either side
//!   pipeline      the thread that assembles; pieces of bounded size
//!   assembler     rows and contexts put together                                     PURE
//!     row, value, array, copy, jsonb, kind, table, context, rules, id, partition     PURE
//!   store         COPY, progress, COMMIT
//!   report        a line for people
//! ```
//!
//! The settings are those of `[track]` ([`crate::config::Track`]).

pub mod array;
pub mod assembler;
pub mod context;
pub mod copy;
pub mod destination;
pub mod endpoints;
pub mod error;
pub mod gap;
pub mod id;
pub mod jsonb;
pub mod kind;
pub mod partition;
pub mod pipeline;
pub mod report;
mod rights;
pub mod row;
pub mod rules;
pub mod run;
pub mod session;
pub mod setup;
pub mod source;
pub mod store;
pub mod table;
pub mod tasks;
pub mod value;

/// Whether the tracker makes a table of this name: `changes`, what stands beside it, and its partitions
/// (`changes_p20261101`), but no `changes_of_mind`.
pub(crate) fn is_own_table(name: &str) -> bool {
    let is_date = |digits: &str| digits.len() == 8 && digits.bytes().all(|digit| digit.is_ascii_digit());
    matches!(
        name,
        "changes" | "changes_progress" | "changes_gaps" | "changes_version"
    ) || name.strip_prefix("changes_p").is_some_and(is_date)
}
