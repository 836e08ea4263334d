//! Asks one session for everything that `server` judges.
//!
//! Only simple queries, each complete in itself: they work through a pooler in transaction mode, too.

use std::str::FromStr;

use tokio::io::AsyncReadExt;
use tokio_postgres::{Client, SimpleQueryMessage, SimpleQueryRow};

use super::server::{ReplicaIdentity, ServerFacts, Service, TableFacts};
use crate::client::{TlsIsThere, reason};

/// Why the server could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The server refused, or the connection broke.
    #[error("{}", reason(.0))]
    Postgres(#[from] tokio_postgres::Error),
    /// It answered with something else than it was asked for.
    #[error("unexpected answer to the query for {0}; is this a PostgreSQL server?")]
    Answer(&'static str),
}

/// Roles that only a provider's servers have say whose service this is. The function got a fourth argument in version 17.
const SERVER: &str = "
    select current_setting('server_version_num') as version_num,
           current_setting('server_version') as version,
           quote_ident(current_user) as \"user\",
           current_database() as database,
           current_setting('wal_level') as wal_level,
           pg_is_in_recovery() as in_recovery,
           pg_backend_pid() as pid,
           (select rolname from pg_catalog.pg_roles
             where rolname in ('rds_superuser', 'cloudsqlsuperuser', 'azure_pg_admin', 'neon_superuser')
             order by rolname limit 1) as provider,
           has_function_privilege(coalesce(
             to_regprocedure('pg_catalog.pg_logical_emit_message(boolean, text, text, boolean)'),
             to_regprocedure('pg_catalog.pg_logical_emit_message(boolean, text, text)'))::oid, 'execute') as may_emit";

/// What serves as identity follows `RelationGetIndexList` in `relcache.c`: a valid unique index, not deferrable.
/// Only tables that hold rows count: a partitioned table's changes are logged by its partitions.
const TABLES: &str = "
    select n.nspname as schema, c.relname as name, format('%I.%I', n.nspname, c.relname) as quoted,
           c.relpersistence as persistence, c.relreplident as identity,
           exists (select from pg_catalog.pg_index i where i.indrelid = c.oid and i.indisprimary
                      and i.indisvalid and i.indimmediate) as has_key,
           exists (select from pg_catalog.pg_index i where i.indrelid = c.oid and i.indisreplident
                      and i.indisvalid and i.indimmediate) as has_index
      from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
     where c.relkind = 'r' and c.relpersistence <> 't'
       and n.nspname <> 'information_schema' and n.nspname !~ '^pg_'
       and not exists (select from pg_catalog.pg_depend d
                        where d.classid = 'pg_catalog.pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
     order by 1, 2";

/// Everything there is to ask.
///
/// # Errors
/// When the connection breaks or the server answers otherwise than PostgreSQL does.
pub async fn ask(client: &Client) -> Result<ServerFacts, QueryError> {
    let rows = rows(client, SERVER).await?;
    let row = rows.first().ok_or(QueryError::Answer("the server's settings"))?;
    let pid: i32 = parsed(row, "pid")?;
    Ok(ServerFacts {
        version_num: parsed(row, "version_num")?,
        version: text(row, "version")?.into(),
        user: text(row, "user")?.into(),
        database: text(row, "database")?.into(),
        wal_level: text(row, "wal_level")?.into(),
        in_recovery: flag(row, "in_recovery")?,
        service: service(row.try_get("provider")?),
        may_emit: row.try_get("may_emit")?.map(|value| value == "t"),
        is_direct: process_id_of_login(client).await == Some(pid),
        tables: tables(client).await?,
    })
}

async fn tables(client: &Client) -> Result<Vec<TableFacts>, QueryError> {
    rows(client, TABLES).await?.iter().map(table).collect()
}

fn table(row: &SimpleQueryRow) -> Result<TableFacts, QueryError> {
    let has_key = flag(row, "has_key")?;
    let without = if has_key {
        ReplicaIdentity::NothingDespiteKey
    } else {
        ReplicaIdentity::Nothing
    };
    Ok(TableFacts {
        schema: text(row, "schema")?.into(),
        name: text(row, "name")?.into(),
        quoted: text(row, "quoted")?.into(),
        is_logged: text(row, "persistence")? == "p",
        identity: match text(row, "identity")? {
            "f" => ReplicaIdentity::Full,
            "d" if has_key => ReplicaIdentity::Key,
            "i" if flag(row, "has_index")? => ReplicaIdentity::Key,
            "d" | "i" | "n" => without,
            _ => return Err(QueryError::Answer("identity")),
        },
    })
}

fn service(provider: Option<&str>) -> Service {
    match provider {
        Some("rds_superuser") => Service::AmazonRds,
        Some("cloudsqlsuperuser") => Service::GoogleCloudSql,
        Some("azure_pg_admin") => Service::Azure,
        Some("neon_superuser") => Service::Neon,
        Some(_) | None => Service::Unknown,
    }
}

/// The process id in BackendKeyData. tokio-postgres shows it only inside the CancelRequest that it writes (manual,
/// 55.7: length, code, process id, key), so it writes one into memory; where the session has TLS it insists on TLS there, too.
async fn process_id_of_login(client: &Client) -> Option<i32> {
    const CANCEL_REQUEST_BYTES: usize = 16;
    let (ours, mut theirs) = tokio::io::duplex(CANCEL_REQUEST_BYTES);
    client
        .cancel_token()
        .cancel_query_raw(ours, TlsIsThere)
        .await
        .ok()?;
    theirs.read_i64().await.ok()?;
    theirs.read_i32().await.ok()
}

async fn rows(client: &Client, query: &str) -> Result<Vec<SimpleQueryRow>, QueryError> {
    let messages = client.simple_query(query).await?;
    let row = |message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    };
    Ok(messages.into_iter().filter_map(row).collect())
}

fn text<'a>(row: &'a SimpleQueryRow, column: &'static str) -> Result<&'a str, QueryError> {
    row.try_get(column)?.ok_or(QueryError::Answer(column))
}

fn parsed<T: FromStr>(row: &SimpleQueryRow, column: &'static str) -> Result<T, QueryError> {
    text(row, column)?.parse().map_err(|_| QueryError::Answer(column))
}

fn flag(row: &SimpleQueryRow, column: &'static str) -> Result<bool, QueryError> {
    Ok(text(row, column)? == "t")
}
