//! The destination: its tables, made and kept up to date; and what it remembers of a slot.

mod migrate;
mod partitions;

use tokio_postgres::Client;

use super::gap::{Gap, Progress};
use super::setup::{TopTable, quoted};
use crate::client::reason;
use crate::config::{PartitionBy, Retention, Track};
use crate::replication::connection::System;
use crate::replication::{Lsn, Timestamp};

/// How this session writes. What is told to the source as stored must have reached the disk.
///
/// The three GIN indexes are most of the work. New entries wait in a list, which is merged when it is full; a longer list
/// makes fewer and better merges (`ginInsertCleanup`, ginfast.c), with as much memory as `work_mem`. Queries look through
/// what is not merged yet, so that a list must not be too long either: docs/benchmarks.md has the figures.
///
/// Where the host or the network of a tracker is lost without a word, the server has to notice: until then it keeps the
/// lock, and with it the next tracker, out for hours.
pub const SETTINGS: &str = "SET gin_pending_list_limit = '16MB'; SET work_mem = '64MB'; \
     SET tcp_keepalives_idle = 20; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3; \
     SELECT pg_catalog.set_config('synchronous_commit', 'on', false) \
      WHERE pg_catalog.current_setting('synchronous_commit') = 'off'";

/// Why the destination cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DestinationError {
    /// The server refused, or the connection broke.
    #[error("{what}: {}", reason(.source))]
    Postgres {
        /// What was attempted.
        what: &'static str,
        /// What came of it.
        source: tokio_postgres::Error,
    },
    /// A table of that name that we did not make.
    #[error(
        "there is a table {schema}.changes already that bemi did not make: choose another schema with --schema, or \
         rename it"
    )]
    ForeignTable {
        /// Its schema.
        schema: String,
    },
    /// Not every character of the source could be stored, and one that cannot would stop everything behind it.
    #[error(
        "the database is in {0}, and the table changes needs one in UTF8: name another one with --destination"
    )]
    Encoding(String),
    /// The role may not do what has to be done.
    #[error("{user} lacks rights; as a superuser or the owner, run\n  {remedy}")]
    Rights {
        /// The role.
        user: String,
        /// What to run, a statement a line.
        remedy: String,
    },
    /// A later bemi has been here.
    #[error("the table is of version {found}, made by a newer bemi; this one knows versions up to {known}")]
    Newer {
        /// The version of the table.
        found: i32,
        /// The newest one known.
        known: usize,
    },
    /// One plain table cannot become a partitioned one by itself.
    #[error("{0}")]
    OtherForm(String),
    /// Another tracker holds the slot's progress.
    #[error("another bemi track stores the changes of this slot{}", pid.map(|pid| format!(" (process {pid} of the destination)")).unwrap_or_default())]
    Locked {
        /// Its process on the destination.
        pid: Option<i32>,
    },
    /// Somebody else stored changes of the slot.
    #[error("another bemi track has stored changes of this slot meanwhile")]
    Superseded,
}

/// Wraps an error of the server with what was attempted.
pub(super) fn failed(what: &'static str) -> impl FnOnce(tokio_postgres::Error) -> DestinationError {
    move |source| DestinationError::Postgres { what, source }
}

/// A session on the destination.
#[derive(Debug)]
pub struct Destination {
    pub(super) client: Client,
    /// The schema, quoted.
    pub(super) schema: String,
    /// Whose progress it is: the slot and the source's database.
    slot: String,
    database: String,
    retention: Retention,
    partition_by: PartitionBy,
}

impl Destination {
    /// On a session that is logged in. `database` is that of the source.
    #[must_use]
    pub fn new(client: Client, track: &Track, database: &str) -> Self {
        Self {
            client,
            schema: quoted(&track.schema),
            slot: track.slot.clone(),
            database: database.to_owned(),
            retention: track.retention,
            partition_by: track.partition_by,
        }
    }

    /// The slot's name.
    #[must_use]
    pub fn slot(&self) -> &str {
        &self.slot
    }

    /// Makes sure that no other tracker writes for this slot: neither another process nor what is left of one that was
    /// killed, whose last COMMIT may still be on its way.
    ///
    /// # Errors
    /// [`DestinationError::Locked`]
    pub async fn lock(&self) -> Result<(), DestinationError> {
        const WHAT: &str = "cannot prepare the session on the destination";
        self.client.batch_execute(SETTINGS).await.map_err(failed(WHAT))?;
        let key = format!(
            "bemi track {}.changes {} {}",
            self.schema, self.slot, self.database
        );
        let row = self
            .client
            .query_one(
                "SELECT pg_catalog.pg_try_advisory_lock(k.key),
                        (SELECT l.pid FROM pg_catalog.pg_locks l
                          WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
                            AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
                            AND l.classid::bigint = (k.key >> 32) & 4294967295 AND l.objid::bigint = k.key & 4294967295
                          LIMIT 1)
                   FROM (SELECT pg_catalog.hashtextextended($1, 0) AS key) k",
                &[&key],
            )
            .await
            .map_err(failed(WHAT))?;
        let is_ours: bool = row.try_get(0).map_err(failed(WHAT))?;
        if is_ours {
            return Ok(());
        }
        Err(DestinationError::Locked {
            pid: row.try_get(1).map_err(failed(WHAT))?,
        })
    }

    /// What is remembered of the slot.
    ///
    /// # Errors
    /// [`DestinationError`]
    pub async fn progress(&self) -> Result<Option<Progress>, DestinationError> {
        const WHAT: &str = "cannot read the progress";
        let query = format!(
            "SELECT system_identifier, timeline, lsn::text FROM {}.changes_progress WHERE slot = $1 AND database = $2",
            self.schema
        );
        let row = self
            .client
            .query_opt(&query, &[&self.slot, &self.database])
            .await
            .map_err(failed(WHAT))?;
        row.map(|row| {
            let (identifier, timeline): (String, i32) = (row.try_get(0)?, row.try_get(1)?);
            let lsn: Option<String> = row.try_get(2)?;
            Ok(Progress {
                system_identifier: identifier.parse().unwrap_or_default(),
                timeline: u32::try_from(timeline).unwrap_or_default(),
                lsn: lsn.and_then(|text| text.parse().ok()),
            })
        })
        .transpose()
        .map_err(failed(WHAT))
    }

    /// Remembers where the slot begins; `None`: it is about to be made.
    ///
    /// # Errors
    /// [`DestinationError`]
    pub async fn remember(&self, system: System, lsn: Option<Lsn>) -> Result<(), DestinationError> {
        let query = format!(
            "INSERT INTO {0}.changes_progress AS p (slot, database, system_identifier, timeline, lsn)
             VALUES ($1, $2, $3, $4, $5::text::pg_lsn)
             ON CONFLICT (slot, database) DO UPDATE
                SET system_identifier = excluded.system_identifier, timeline = excluded.timeline, lsn = excluded.lsn,
                    updated_at = clock_timestamp()",
            self.schema
        );
        let timeline = i32::try_from(system.timeline).unwrap_or(i32::MAX);
        let (identifier, lsn) = (system.identifier.to_string(), lsn.map(|lsn| lsn.to_string()));
        self.client
            .execute(
                &query,
                &[&self.slot, &self.database, &identifier, &timeline, &lsn],
            )
            .await
            .map(drop)
            .map_err(failed("cannot store the progress"))
    }

    /// Writes a gap down, and goes on behind it.
    ///
    /// # Errors
    /// [`DestinationError`]
    pub async fn accept(&self, gap: &Gap, system: System, to: Lsn) -> Result<(), DestinationError> {
        const WHAT: &str = "cannot write the gap down";
        self.client.batch_execute("BEGIN").await.map_err(failed(WHAT))?;
        self.write_gap(None, gap.from, Some(to), &gap.reason.to_string())
            .await?;
        self.remember(system, Some(to)).await?;
        self.client.batch_execute("COMMIT").await.map_err(failed(WHAT))
    }

    /// Writes down that tables are about to be followed which were not so far. It is done before, since whoever is killed
    /// behind that does not come to it any more; where it ends is told later ([`Destination::end_gaps`]). Returns what that
    /// takes.
    ///
    /// # Errors
    /// [`DestinationError`]
    pub async fn begin_gaps(
        &self,
        tables: &[&TopTable],
        from: Lsn,
        reason: &str,
    ) -> Result<Vec<i64>, DestinationError> {
        let mut gaps = Vec::new();
        for table in tables {
            let table = (&*table.schema, &*table.name);
            gaps.push(self.write_gap(Some(table), Some(from), None, reason).await?);
        }
        Ok(gaps)
    }

    /// Writes down where these gaps end; `None`: they are none.
    ///
    /// # Errors
    /// [`DestinationError`]
    pub async fn end_gaps(&self, gaps: &[i64], to: Option<Lsn>) -> Result<(), DestinationError> {
        if gaps.is_empty() {
            return Ok(());
        }
        let schema = &self.schema;
        let (query, to) = match to {
            Some(to) => (
                format!("UPDATE {schema}.changes_gaps SET to_lsn = $2::text::pg_lsn WHERE id = ANY ($1)"),
                Some(to.to_string()),
            ),
            None => (
                format!("DELETE FROM {schema}.changes_gaps WHERE id = ANY ($1) AND $2::text IS NULL"),
                None,
            ),
        };
        let done = self.client.execute(&query, &[&gaps, &to]).await;
        done.map(drop)
            .map_err(failed("cannot write down where a gap ends"))
    }

    /// A row of `changes_gaps`, and its id. `table`: schema and name of the one table concerned.
    async fn write_gap(
        &self,
        table: Option<(&str, &str)>,
        from: Option<Lsn>,
        to: Option<Lsn>,
        reason: &str,
    ) -> Result<i64, DestinationError> {
        let query = format!(
            "INSERT INTO {}.changes_gaps (slot, database, schema, \"table\", from_lsn, to_lsn, reason)
             VALUES ($1, $2, $3, $4, $5::text::pg_lsn, $6::text::pg_lsn, $7) RETURNING id",
            self.schema
        );
        let [from, to] = [from, to].map(|lsn| lsn.map(|lsn| lsn.to_string()));
        let (schema, name) = table.unzip();
        self.client
            .query_one(
                &query,
                &[&self.slot, &self.database, &schema, &name, &from, &to, &reason],
            )
            .await
            .and_then(|row| row.try_get(0))
            .map_err(failed("cannot write the gap down"))
    }

    /// Moves the progress from one position to another.
    ///
    /// # Errors
    /// [`DestinationError::Superseded`] where it is not at `from` any more.
    pub(super) async fn advance(
        &self,
        from: Lsn,
        to: Lsn,
        committed_at: Option<Timestamp>,
    ) -> Result<(), DestinationError> {
        let query = format!(
            "UPDATE {}.changes_progress
                SET lsn = $4::text::pg_lsn, committed_at = coalesce($5::text::timestamptz, committed_at),
                    updated_at = clock_timestamp()
              WHERE slot = $1 AND database = $2 AND lsn = $3::text::pg_lsn",
            self.schema
        );
        let committed_at = committed_at.map(|time| time.to_string());
        let moved = self
            .client
            .execute(
                &query,
                &[
                    &self.slot,
                    &self.database,
                    &from.to_string(),
                    &to.to_string(),
                    &committed_at,
                ],
            )
            .await
            .map_err(failed("cannot store the progress"))?;
        if moved == 1 {
            Ok(())
        } else {
            Err(DestinationError::Superseded)
        }
    }
}
