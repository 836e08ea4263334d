//! Asks the source what the stream does not say, and does there what has to be done.

use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};
use tokio_postgres::{Client, Row};

use super::assembler::Catalog;
use super::gap::Slot;
use super::kind::TypeFacts;
use super::setup::{PublicationFacts, SourceFacts, TopTable};
use super::table::TableFacts;
use crate::check::queries::{self, QueryError};
use crate::replication::Lsn;
use crate::wire::encoding::ClientEncoding;

/// The catalog, for a thread that has no runtime.
#[derive(Debug)]
pub struct SourceCatalog {
    client: Client,
    runtime: Handle,
}

impl SourceCatalog {
    /// On a session of its own.
    #[must_use]
    pub fn new(client: Client, runtime: Handle) -> Self {
        Self { client, runtime }
    }
}

/// The log is sent once it is on disk. The server lets others see what a transaction did only after that, and perhaps after
/// its standbys have confirmed; then it gives up the lock on the transaction's id (`CommitTransaction`, xact.c).
const IS_ENDING: &str = "
    SELECT EXISTS (SELECT FROM pg_catalog.pg_locks
                    WHERE locktype = 'transactionid' AND granted AND transactionid = $1::text::xid)";

/// Between two looks at it.
const SETTLING_INTERVAL: Duration = Duration::from_millis(5);

/// How long a transaction may take from its record in the log to its end. A standby that does not confirm must not hold the
/// stream up for ever; what the catalog shows by then has to do.
const LONGEST_SETTLING: Duration = Duration::from_secs(10);

/// A partition's primary key is its own; where the stream speaks of the root, its oid is the root's.
const TABLE: &str = "
    SELECT array(SELECT convert_to(a.attname, CASE pg_catalog.getdatabaseencoding() WHEN 'SQL_ASCII' THEN 'SQL_ASCII' ELSE 'UTF8' END)
                   FROM pg_catalog.pg_index i
                  CROSS JOIN LATERAL unnest(i.indkey) WITH ORDINALITY AS k (attnum, place)
                   JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
                  WHERE i.indrelid = c.oid AND i.indisprimary AND k.place <= i.indnkeyatts
                  ORDER BY k.place),
           rn.nspname::text, r.relname::text
      FROM pg_catalog.pg_class c
      LEFT JOIN pg_catalog.pg_class r ON c.relispartition AND r.oid = pg_catalog.pg_partition_root(c.oid)
      LEFT JOIN pg_catalog.pg_namespace rn ON rn.oid = r.relnamespace
     WHERE c.oid = $1";

/// `array_subscript_handler` tells true arrays from the fixed-length types that have items as well (point, oidvector).
const TYPES: &str = "
    SELECT t.oid, nullif(t.typbasetype, 0), t.typdelim::text,
           CASE WHEN t.typsubscript = 'pg_catalog.array_subscript_handler'::pg_catalog.regproc AND t.typlen = -1
                 AND t.typelem <> 0 THEN t.typelem END
      FROM pg_catalog.pg_type t WHERE t.oid = ANY ($1)";

impl Catalog for SourceCatalog {
    type Error = tokio_postgres::Error;

    fn settle(&mut self, xid: u32) -> Result<(), Self::Error> {
        let until = Instant::now() + LONGEST_SETTLING;
        self.runtime.block_on(async {
            while Instant::now() < until
                && self
                    .client
                    .query_one(IS_ENDING, &[&xid.to_string()])
                    .await?
                    .try_get(0)?
            {
                sleep(SETTLING_INTERVAL).await;
            }
            Ok(())
        })
    }

    fn table(&mut self, oid: u32) -> Result<Option<TableFacts>, Self::Error> {
        let row = self.runtime.block_on(self.client.query_opt(TABLE, &[&oid]))?;
        row.map(|row| {
            let (schema, name): (Option<String>, Option<String>) = (row.try_get(1)?, row.try_get(2)?);
            Ok(TableFacts {
                primary_key: row.try_get(0)?,
                root: schema.zip(name),
            })
        })
        .transpose()
    }

    fn types(&mut self, oids: &[u32]) -> Result<Vec<TypeFacts>, Self::Error> {
        let rows = self.runtime.block_on(self.client.query(TYPES, &[&oids]))?;
        rows.iter()
            .map(|row| {
                let delimiter: String = row.try_get(2)?;
                Ok(TypeFacts {
                    oid: row.try_get(0)?,
                    base: row.try_get(1)?,
                    item: row.try_get(3)?,
                    delimiter: delimiter.bytes().next().unwrap_or(b','),
                })
            })
            .collect()
    }
}

const RIGHTS: &str = "
    SELECT r.rolsuper,
           r.rolsuper OR r.rolreplication
             OR EXISTS (SELECT FROM pg_catalog.pg_roles s WHERE s.rolname IN ('rds_replication', 'azure_pg_admin')
                           AND pg_catalog.pg_has_role(r.oid, s.oid, 'USAGE')),
           pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE'),
           (SELECT count(*) FROM pg_catalog.pg_replication_slots),
           pg_catalog.current_setting('max_replication_slots')::bigint,
           (SELECT count(*) FROM pg_catalog.pg_stat_replication),
           pg_catalog.current_setting('max_wal_senders')::bigint,
           (SELECT setting::bigint FROM pg_catalog.pg_settings WHERE name = 'wal_sender_timeout'),
           pg_catalog.getdatabaseencoding()::text
      FROM pg_catalog.pg_roles r WHERE r.rolname = current_user";

const PUBLICATION: &str = "
    SELECT p.puballtables, p.pubinsert AND p.pubupdate AND p.pubdelete AND p.pubtruncate, p.pubviaroot,
           pg_catalog.pg_has_role(p.pubowner, 'USAGE'),
           array(SELECT format('%I.%I', n.nspname, c.relname)
                   FROM pg_catalog.pg_publication_rel r
                   JOIN pg_catalog.pg_class c ON c.oid = r.prrelid
                   JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                  WHERE r.prpubid = p.oid)
      FROM pg_catalog.pg_publication p WHERE p.pubname = $1";

/// Tables as one names them: a partitioned one as a whole. Its identity is that of its parts, which is what an UPDATE
/// looks at (`CheckCmdReplicaIdentity`, execReplication.c).
const TOP_TABLES: &str = "
    SELECT n.nspname::text, c.relname::text, format('%I.%I', n.nspname, c.relname),
           pg_catalog.pg_has_role(c.relowner, 'USAGE'),
           (SELECT coalesce(bool_and(l.relreplident = 'f'
                     OR EXISTS (SELECT FROM pg_catalog.pg_index i
                                 WHERE i.indrelid = l.oid AND i.indisvalid AND i.indimmediate
                                   AND (l.relreplident = 'd' AND i.indisprimary OR l.relreplident = 'i' AND i.indisreplident))), true)
              FROM pg_catalog.pg_class l
             WHERE l.relkind = 'r' AND (l.oid = c.oid OR c.relkind = 'p' AND l.relispartition
                                          AND pg_catalog.pg_partition_root(l.oid) = c.oid))
      FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence = 'p'
       AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
       AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                        WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
     ORDER BY 1, 2";

/// `conflicting` came with version 16, `invalidation_reason` with 17.
fn slot_query(version_num: u32) -> &'static str {
    match version_num {
        ..160_000 => {
            "SELECT plugin::text, database::text, confirmed_flush_lsn::text, active_pid,
                    CASE WHEN wal_status = 'lost' THEN 'wal_status is lost' END
               FROM pg_catalog.pg_replication_slots WHERE slot_name = $1"
        }
        160_000..170_000 => {
            "SELECT plugin::text, database::text, confirmed_flush_lsn::text, active_pid,
                    CASE WHEN wal_status = 'lost' THEN 'wal_status is lost' WHEN conflicting THEN 'conflicting' END
               FROM pg_catalog.pg_replication_slots WHERE slot_name = $1"
        }
        170_000.. => {
            "SELECT plugin::text, database::text, confirmed_flush_lsn::text, active_pid,
                    coalesce(invalidation_reason, CASE WHEN wal_status = 'lost' THEN 'wal_status is lost' END)
               FROM pg_catalog.pg_replication_slots WHERE slot_name = $1"
        }
    }
}

/// Everything that set-up depends on.
///
/// # Errors
/// When the connection breaks or the server answers otherwise than PostgreSQL does.
pub async fn ask(client: &Client, publication: &str, slot_name: &str) -> Result<SourceFacts, QueryError> {
    let server = queries::ask(client).await?;
    let rights = client.query_one(RIGHTS, &[]).await?;
    let publication = client.query_opt(PUBLICATION, &[&publication]).await?;
    let sender_timeout: Option<i64> = rights.try_get(7)?;
    let encoding: String = rights.try_get(8)?;
    Ok(SourceFacts {
        slot: slot(client, slot_name, server.version_num).await?,
        encoding: ClientEncoding::from_name(&encoding).unwrap_or_default(),
        is_superuser: rights.try_get(0)?,
        may_replicate: rights.try_get(1)?,
        may_create: rights.try_get(2)?,
        slots_used: rights.try_get(3)?,
        slots_max: rights.try_get(4)?,
        senders_used: rights.try_get(5)?,
        senders_max: rights.try_get(6)?,
        sender_timeout_ms: sender_timeout
            .and_then(|millis| u64::try_from(millis).ok())
            .unwrap_or(0),
        publication: publication.as_ref().map(publication_facts).transpose()?,
        tables: top_tables(client).await?,
        server,
    })
}

fn publication_facts(row: &Row) -> Result<PublicationFacts, tokio_postgres::Error> {
    Ok(PublicationFacts {
        has_all_tables: row.try_get(0)?,
        has_all_operations: row.try_get(1)?,
        via_root: row.try_get(2)?,
        is_ours: row.try_get(3)?,
        tables: row.try_get(4)?,
    })
}

/// The tables that could be followed.
///
/// # Errors
/// When the connection breaks.
pub async fn top_tables(client: &Client) -> Result<Vec<TopTable>, QueryError> {
    let rows = client.query(TOP_TABLES, &[]).await?;
    rows.iter()
        .map(|row| {
            Ok(TopTable {
                schema: row.try_get(0)?,
                name: row.try_get(1)?,
                quoted: row.try_get(2)?,
                is_ours: row.try_get(3)?,
                has_identity: row.try_get(4)?,
            })
        })
        .collect()
}

/// The tables that a publication lists, quoted.
///
/// # Errors
/// When the connection breaks.
pub async fn published(client: &Client, publication: &str) -> Result<Vec<String>, QueryError> {
    let row = client.query_opt(PUBLICATION, &[&publication]).await?;
    let facts = row.as_ref().map(publication_facts).transpose()?;
    Ok(facts.map(|facts| facts.tables).unwrap_or_default())
}

/// Where the log ends.
///
/// # Errors
/// When the connection breaks.
pub async fn log_end(client: &Client) -> Result<Lsn, QueryError> {
    let row = client
        .query_one("SELECT pg_catalog.pg_current_wal_lsn()::text", &[])
        .await?;
    let lsn: String = row.try_get(0)?;
    lsn.parse().map_err(|_| QueryError::Answer("the end of the log"))
}

/// The slot as it is now.
///
/// # Errors
/// When the connection breaks.
pub async fn slot(client: &Client, name: &str, version_num: u32) -> Result<Option<Slot>, QueryError> {
    let row = client.query_opt(slot_query(version_num), &[&name]).await?;
    row.map(|row| {
        let confirmed: Option<String> = row.try_get(2)?;
        let (plugin, database): (Option<String>, Option<String>) = (row.try_get(0)?, row.try_get(1)?);
        Ok(Slot {
            plugin: plugin.unwrap_or_default(),
            database: database.unwrap_or_default(),
            confirmed: confirmed.and_then(|text| text.parse().ok()),
            active_pid: row.try_get(3)?,
            invalid: row.try_get(4)?,
        })
    })
    .transpose()
}

/// Runs the statement that makes the slot, and returns where it begins.
///
/// # Errors
/// When the server refuses.
pub async fn create_slot(client: &Client, statement: &str) -> Result<Lsn, QueryError> {
    let row = client.query_one(statement, &[]).await?;
    let lsn: String = row.try_get(0)?;
    lsn.parse()
        .map_err(|_| QueryError::Answer("the new slot's position"))
}
