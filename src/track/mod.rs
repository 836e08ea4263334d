//! `bemi track`: follows the write-ahead log and stores every row change, with its context, in the table `changes`.

pub mod array;
pub mod assembler;
pub mod context;
pub mod copy;
pub mod destination;
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
fn is_own_table(name: &str) -> bool {
    let is_date = |digits: &str| digits.len() == 8 && digits.bytes().all(|digit| digit.is_ascii_digit());
    matches!(
        name,
        "changes" | "changes_progress" | "changes_gaps" | "changes_version"
    ) || name.strip_prefix("changes_p").is_some_and(is_date)
}
