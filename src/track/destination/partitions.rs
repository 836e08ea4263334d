//! The partitions of `changes`: made ahead, and dropped when they have had their time.

use super::{Destination, DestinationError, failed};
use crate::config::Retention;
use crate::replication::Timestamp;
use crate::track::partition::{Partition, bound, kept_from};
use crate::track::setup::quoted;

impl Destination {
    /// The partition of a time.
    pub(in crate::track) fn partition_of(&self, time: Timestamp) -> Option<Partition> {
        (self.retention != Retention::Off).then(|| Partition::of(time, self.partition_by))
    }

    /// Makes a partition unless it is there.
    pub(in crate::track) async fn make_partition(
        &self,
        partition: &Partition,
    ) -> Result<(), DestinationError> {
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
    pub(in crate::track) async fn keep_partitions(
        &self,
        now: Timestamp,
    ) -> Result<Vec<String>, DestinationError> {
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
