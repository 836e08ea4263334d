//! `[track]`: the settings of `bemi track`, with their defaults.

use std::time::Duration;

use super::settings::no_url;
use super::url::{Password, UpstreamUrl};
use super::{ColumnPattern, RedactRule, TablePattern};

/// `[track]`. The source is `upstream.url`.
#[derive(Clone, Debug, PartialEq)]
pub struct Track {
    /// `destination`: the database with the table `changes`. Default: the source itself.
    pub destination: UpstreamUrl,
    /// `schema`: where `changes` is made. Default `public`.
    pub schema: String,
    /// `slot`: the replication slot, and who the progress is kept for. Default `bemi`.
    pub slot: String,
    /// `publication`: which tables the source sends. Default `bemi`.
    pub publication: String,
    /// `tables`: tables to follow. Default empty: all.
    pub tables: Vec<TablePattern>,
    /// `exclude`: tables not to follow; stronger than `tables`. Default empty.
    pub exclude: Vec<TablePattern>,
    /// `partitions_via_root`: changes of a partition count as changes of the table it is a part of. Default false.
    pub partitions_via_root: bool,
    /// `ignore_columns`: an update of nothing but these is no change. Default empty.
    pub ignore_columns: Vec<ColumnPattern>,
    /// `redact`: columns whose values are not stored. Default empty.
    pub redact: Vec<RedactRule<ColumnPattern>>,
    /// `redact_context`: keys of the context whose values are not stored. Default empty.
    pub redact_context: Vec<RedactRule<String>>,
    /// `redact_key`: the secret that `hash` is made with. Default none.
    pub redact_key: Option<Password>,
    /// `retention`: how long changes are kept. Default off: for ever, in one plain table.
    pub retention: Retention,
    /// `partition_by`: how much time one partition holds, where there is a retention. Default a month.
    pub partition_by: PartitionBy,
    /// `memory_limit_bytes`: what the process stays under. Default 256 MiB.
    pub memory_limit_bytes: usize,
    /// `max_context_bytes`: longest context that is stored. Default 2 MiB.
    pub max_context_bytes: usize,
    /// `flush_interval`: how long a change may wait for others to be stored with. Default 200 ms.
    pub flush_interval: Duration,
    /// `status_interval`: between two answers to the source; its `wal_sender_timeout` must be longer. Default 10 s.
    pub status_interval: Duration,
    /// `report_interval`: between two lines about progress in the log. Default 10 s.
    pub report_interval: Duration,
    /// `tables_interval`: how often new tables are looked for, where the publication lists them. Default 30 s.
    pub tables_interval: Duration,
    /// `max_backoff`: longest wait before a lost connection is tried again. Default 30 s.
    pub max_backoff: Duration,
}

impl Default for Track {
    fn default() -> Self {
        Self {
            destination: no_url(),
            schema: "public".into(),
            slot: "bemi".into(),
            publication: "bemi".into(),
            tables: Vec::new(),
            exclude: Vec::new(),
            partitions_via_root: false,
            ignore_columns: Vec::new(),
            redact: Vec::new(),
            redact_context: Vec::new(),
            redact_key: None,
            retention: Retention::Off,
            partition_by: PartitionBy::Month,
            memory_limit_bytes: 256 << 20,
            max_context_bytes: 2 << 20,
            flush_interval: Duration::from_millis(200),
            status_interval: Duration::from_secs(10),
            report_interval: Duration::from_secs(10),
            tables_interval: Duration::from_secs(30),
            max_backoff: Duration::from_secs(30),
        }
    }
}

/// `track.retention`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Retention {
    /// For ever; `changes` is one plain table.
    #[default]
    Off,
    /// So many days; `changes` is partitioned, and partitions are dropped whole.
    Days(u32),
}

/// `track.partition_by`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PartitionBy {
    /// A day each.
    Day,
    /// A month each.
    #[default]
    Month,
}
