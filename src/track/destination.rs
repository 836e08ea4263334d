//! The destination: its tables, made and kept up to date; and what it remembers of a slot.

use tokio_postgres::Client;

use super::gap::{Gap, Progress};
use super::partition::{Partition, bound, kept_from};
use super::setup::quoted;
use crate::client::reason;
use crate::config::{PartitionBy, Retention, Track};
use crate::replication::connection::System;
use crate::replication::{Lsn, Timestamp};

/// The migrations, in order; their place is their version. One that has been released is never changed.
const MIGRATIONS: [&[&str]; 1] = [&[
    include_str!("schema/changes.sql"),
    include_str!("schema/functions.sql"),
]];

/// How this session writes. What is told to the source as stored must have reached the disk.
///
/// The three GIN indexes are most of the work, but neither a longer `gin_pending_list_limit` nor more `work_mem` to merge it
/// with makes it less: docs/benchmarks.md has the figures. Both are left to the server; the list is what queries look
/// through.
pub const SETTINGS: &str = "SET statement_timeout = 0; SET lock_timeout = 0; SET idle_in_transaction_session_timeout = 0; \
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
            "bemi track {}.{} {} {}",
            self.schema, "changes", self.slot, self.database
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

    /// Brings the tables up to the newest version.
    ///
    /// # Errors
    /// [`DestinationError`]
    pub async fn migrate(&self, schema_name: &str) -> Result<(), DestinationError> {
        const WHAT: &str = "cannot make the table changes";
        let version = self.version(schema_name).await?;
        let known = MIGRATIONS.len();
        let done = match usize::try_from(version) {
            Ok(done) if done <= known => done,
            _newer => {
                return Err(DestinationError::Newer {
                    found: version,
                    known,
                });
            }
        };
        if done > 0 {
            self.check_form().await?;
        }
        for (place, parts) in MIGRATIONS.iter().enumerate().skip(done) {
            let sql: String = parts.iter().map(|part| self.filled_in(part)).collect();
            let version = place + 1;
            let schema = &self.schema;
            let script = format!(
                "BEGIN; CREATE SCHEMA IF NOT EXISTS {schema}; \
                 CREATE TABLE IF NOT EXISTS {schema}.changes_version \
                   (version integer PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT clock_timestamp()); \
                 {sql}; INSERT INTO {schema}.changes_version (version) VALUES ({version}); COMMIT"
            );
            let script = if self.schema_exists(schema_name).await? {
                script.replace(&format!("CREATE SCHEMA IF NOT EXISTS {schema}; "), "")
            } else {
                script
            };
            if let Err(source) = self.client.batch_execute(&script).await {
                // What cannot be rolled back has been, by the end of the session.
                _ = self.client.batch_execute("ROLLBACK").await;
                return Err(DestinationError::Postgres { what: WHAT, source });
            }
        }
        Ok(())
    }

    /// The statements of a first set-up, for `--print-setup`.
    #[must_use]
    pub fn script(track: &Track) -> String {
        let form = Form::of(track.retention);
        let schema = quoted(&track.schema);
        let parts: Vec<String> = MIGRATIONS
            .iter()
            .enumerate()
            .map(|(place, parts)| {
                let sql: String = parts.iter().map(|part| form.filled_in(part, &schema)).collect();
                format!(
                    "{sql}\nINSERT INTO {schema}.changes_version (version) VALUES ({});\n",
                    place + 1
                )
            })
            .collect();
        format!(
            "CREATE SCHEMA IF NOT EXISTS {schema};\nCREATE TABLE {schema}.changes_version (version integer PRIMARY KEY, \
             applied_at timestamptz NOT NULL DEFAULT clock_timestamp());\n\n{}",
            parts.concat()
        )
    }

    fn filled_in(&self, sql: &str) -> String {
        Form::of(self.retention).filled_in(sql, &self.schema)
    }

    async fn schema_exists(&self, name: &str) -> Result<bool, DestinationError> {
        const WHAT: &str = "cannot look for the schema";
        let row = self
            .client
            .query_one(
                "SELECT pg_catalog.to_regnamespace(pg_catalog.quote_ident($1)) IS NOT NULL",
                &[&name],
            )
            .await
            .map_err(failed(WHAT))?;
        row.try_get(0).map_err(failed(WHAT))
    }

    /// 0: nothing is there.
    async fn version(&self, schema_name: &str) -> Result<i32, DestinationError> {
        const WHAT: &str = "cannot look for the table changes";
        let schema = &self.schema;
        let row = self
            .client
            .query_one(
                "SELECT pg_catalog.to_regclass($1) IS NOT NULL, pg_catalog.to_regclass($2) IS NOT NULL",
                &[&format!("{schema}.changes"), &format!("{schema}.changes_version")],
            )
            .await
            .map_err(failed(WHAT))?;
        let (has_table, has_version): (bool, bool) = (
            row.try_get(0).map_err(failed(WHAT))?,
            row.try_get(1).map_err(failed(WHAT))?,
        );
        match (has_table, has_version) {
            (true, false) => Err(DestinationError::ForeignTable {
                schema: schema_name.to_owned(),
            }),
            (_, false) => Ok(0),
            (_, true) => {
                let query = format!("SELECT coalesce(max(version), 0) FROM {schema}.changes_version");
                let row = self.client.query_one(&query, &[]).await.map_err(failed(WHAT))?;
                row.try_get(0).map_err(failed(WHAT))
            }
        }
    }

    /// Whether the table is as `retention` wants it: plain or partitioned.
    async fn check_form(&self) -> Result<(), DestinationError> {
        const WHAT: &str = "cannot look at the table changes";
        let schema = &self.schema;
        let row = self
            .client
            .query_one(
                "SELECT relkind = 'p' FROM pg_catalog.pg_class WHERE oid = pg_catalog.to_regclass($1)",
                &[&format!("{schema}.changes")],
            )
            .await
            .map_err(failed(WHAT))?;
        let is_partitioned: bool = row.try_get(0).map_err(failed(WHAT))?;
        let wants_partitions = self.retention != Retention::Off;
        if is_partitioned == wants_partitions {
            return Ok(());
        }
        let text = if is_partitioned {
            format!(
                "{schema}.changes is partitioned by time, but retention is off: set track.retention to a number of days"
            )
        } else {
            format!(
                "{schema}.changes is one plain table, but retention needs one that is partitioned. To keep the old rows \
                 beside a new table, run: ALTER TABLE {schema}.changes RENAME TO changes_until_now; DELETE FROM \
                 {schema}.changes_version; and rename its indexes; or set track.retention to off"
            )
        };
        Err(DestinationError::OtherForm(text))
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

    /// A row of `changes_gaps`. `table`: schema and name of the one table concerned.
    ///
    /// # Errors
    /// [`DestinationError`]
    pub async fn write_gap(
        &self,
        table: Option<(&str, &str)>,
        from: Option<Lsn>,
        to: Option<Lsn>,
        reason: &str,
    ) -> Result<(), DestinationError> {
        let query = format!(
            "INSERT INTO {}.changes_gaps (slot, database, schema, \"table\", from_lsn, to_lsn, reason)
             VALUES ($1, $2, $3, $4, $5::text::pg_lsn, $6::text::pg_lsn, $7)",
            self.schema
        );
        let [from, to] = [from, to].map(|lsn| lsn.map(|lsn| lsn.to_string()));
        let (schema, name) = table.unzip();
        self.client
            .execute(
                &query,
                &[&self.slot, &self.database, &schema, &name, &from, &to, &reason],
            )
            .await
            .map(drop)
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

    /// The partition of a time.
    pub(super) fn partition_of(&self, time: Timestamp) -> Option<Partition> {
        (self.retention != Retention::Off).then(|| Partition::of(time, self.partition_by))
    }

    /// Makes a partition unless it is there.
    pub(super) async fn make_partition(&self, partition: &Partition) -> Result<(), DestinationError> {
        const WHAT: &str = "cannot make a partition of the table changes";
        let (schema, name) = (&self.schema, partition.name());
        let exists = self
            .client
            .query_one(
                "SELECT pg_catalog.to_regclass($1) IS NOT NULL",
                &[&format!("{schema}.{name}")],
            )
            .await
            .and_then(|row| row.try_get(0))
            .map_err(failed(WHAT))?;
        if exists {
            return Ok(());
        }
        // Attaching takes a weaker lock on the whole table than making it in its place would.
        let sql = format!(
            "CREATE TABLE {schema}.{name} (LIKE {schema}.changes INCLUDING DEFAULTS INCLUDING CONSTRAINTS); \
             ALTER TABLE {schema}.changes ATTACH PARTITION {schema}.{name} FOR VALUES FROM ('{}') TO ('{}')",
            bound(partition.from),
            bound(partition.to)
        );
        self.client.batch_execute(&sql).await.map_err(failed(WHAT))
    }

    /// Makes the partitions of the near future, and drops those that have had their time. Returns the names of these.
    ///
    /// # Errors
    /// [`DestinationError`]
    pub(super) async fn keep_partitions(&self, now: Timestamp) -> Result<Vec<String>, DestinationError> {
        const WHAT: &str = "cannot drop a partition of the table changes";
        let Retention::Days(days) = self.retention else {
            return Ok(Vec::new());
        };
        for partition in Partition::ahead(now, self.partition_by) {
            self.make_partition(&partition).await?;
        }
        let rows = self
            .client
            .query(
                "SELECT c.relname::text, pg_catalog.pg_get_expr(c.relpartbound, c.oid)
                   FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid
                  WHERE i.inhparent = pg_catalog.to_regclass($1) AND c.relname ~ '^changes_p[0-9]{8}$'
                    AND substring(pg_catalog.pg_get_expr(c.relpartbound, c.oid) FROM $$TO \\('(.*)'\\)$$)::timestamptz
                        <= $2::text::timestamptz
                  ORDER BY 1",
                &[&format!("{}.changes", self.schema), &kept_from(now, days).to_string()],
            )
            .await
            .map_err(failed(WHAT))?;
        let mut dropped = Vec::new();
        for row in rows {
            let name: String = row.try_get(0).map_err(failed(WHAT))?;
            let sql = format!("DROP TABLE {}.{}", self.schema, quoted(&name));
            self.client.batch_execute(&sql).await.map_err(failed(WHAT))?;
            dropped.push(name);
        }
        Ok(dropped)
    }
}

/// One plain table, or one that is partitioned.
#[derive(Clone, Copy)]
enum Form {
    Plain,
    Partitioned,
}

impl Form {
    fn of(retention: Retention) -> Self {
        match retention {
            Retention::Off => Self::Plain,
            Retention::Days(_) => Self::Partitioned,
        }
    }

    fn filled_in(self, sql: &str, schema: &str) -> String {
        let (primary_key, partitioning) = match self {
            Self::Plain => ("id", ""),
            Self::Partitioned => ("id, committed_at", "PARTITION BY RANGE (committed_at)"),
        };
        sql.replace("@schema@", schema)
            .replace("@primary_key@", primary_key)
            .replace("@partitioning@", partitioning)
    }
}
