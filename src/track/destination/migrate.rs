//! Makes the tables of the destination, and brings them up to date.

use super::{Destination, DestinationError, failed};
use crate::config::{Retention, Track};
use crate::track::rights;
use crate::track::setup::quoted;

/// The migrations, in order; their place is their version. One that has been released is never changed.
///
/// In them `@schema@` stands for the destination schema, quoted; `@primary_key@` and `@partitioning@` differ between one
/// plain table and one that is partitioned by time ([`Form`]).
const MIGRATIONS: [&[&str]; 1] = [&[
    include_str!("../schema/changes.sql"),
    include_str!("../schema/functions.sql"),
]];

impl Destination {
    /// Brings the tables up to the newest version.
    ///
    /// # Errors
    /// [`DestinationError`]
    pub async fn migrate(&self, schema_name: &str) -> Result<(), DestinationError> {
        const WHAT: &str = "cannot make the table changes";
        rights::check(&self.client, schema_name, self.retention).await?;
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
            // Where it is there, nobody needs the right to make one.
            let make_schema = if self.schema_exists(schema_name).await? {
                String::new()
            } else {
                format!("CREATE SCHEMA {schema}; ")
            };
            let script = format!(
                "BEGIN; {make_schema}CREATE TABLE IF NOT EXISTS {schema}.changes_version \
                   (version integer PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT clock_timestamp()); \
                 {sql}; INSERT INTO {schema}.changes_version (version) VALUES ({version}); COMMIT"
            );
            if let Err(source) = self.client.batch_execute(&script).await {
                // What this cannot take back, the end of the session does.
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
