//! Whether the destination can be written to, and what to run where it cannot.

use tokio_postgres::Client;

use super::destination::{DestinationError, failed};
use super::setup::quoted;
use crate::config::{Retention, Track};

/// The tables that are written to all the time.
const TABLES: [&str; 4] = ["changes", "changes_progress", "changes_gaps", "changes_version"];

/// What the role has, and what it lacks on those of the tables that are there.
const QUERY: &str = "
    SELECT pg_catalog.getdatabaseencoding()::text, pg_catalog.quote_ident(current_user),
           pg_catalog.quote_ident(pg_catalog.current_database()),
           pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE'),
           n.oid IS NOT NULL,
           coalesce(pg_catalog.has_schema_privilege(n.oid, 'USAGE'), false),
           coalesce(pg_catalog.has_schema_privilege(n.oid, 'CREATE'), false),
           array(SELECT c.relname::text FROM pg_catalog.pg_class c
                  WHERE c.relnamespace = n.oid AND c.relname = ANY ($2)
                    AND NOT (pg_catalog.has_table_privilege(c.oid, 'SELECT') AND pg_catalog.has_table_privilege(c.oid, 'INSERT')
                             AND pg_catalog.has_table_privilege(c.oid, 'UPDATE'))
                  ORDER BY 1),
           coalesce((SELECT pg_catalog.pg_has_role(c.relowner, 'USAGE') FROM pg_catalog.pg_class c
                      WHERE c.relnamespace = n.oid AND c.relname = 'changes'), false),
           EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.relnamespace = n.oid AND c.relname = 'changes_version')
      FROM (SELECT pg_catalog.to_regnamespace(pg_catalog.quote_ident($1))::oid AS oid) n";

/// Checks it.
///
/// # Errors
/// [`DestinationError::Encoding`] and [`DestinationError::Rights`]
pub(super) async fn check(
    client: &Client,
    schema: &str,
    retention: Retention,
) -> Result<(), DestinationError> {
    const WHAT: &str = "cannot ask for rights on the destination";
    let tables = TABLES.as_slice();
    let row = client
        .query_one(QUERY, &[&schema, &tables])
        .await
        .map_err(failed(WHAT))?;
    let text = |place: usize| row.try_get::<_, String>(place).map_err(failed(WHAT));
    let is = |place: usize| row.try_get::<_, bool>(place).map_err(failed(WHAT));
    let encoding = text(0)?;
    if encoding != "UTF8" {
        return Err(DestinationError::Encoding(encoding));
    }
    let (user, database, schema) = (text(1)?, text(2)?, quoted(schema));
    let lacking: Vec<String> = row.try_get(7).map_err(failed(WHAT))?;
    let (is_made, is_partitioned) = (is(9)?, retention != Retention::Off);
    let mut remedies = Vec::new();
    if !is(4)? {
        if !is(3)? {
            remedies.push(format!("GRANT CREATE ON DATABASE {database} TO {user};"));
        }
    } else if !is(5)? || ((!is_made || is_partitioned) && !is(6)?) {
        remedies.push(grant_schema(&schema, &user, !is_made || is_partitioned));
    }
    if !lacking.is_empty() {
        let lacking: Vec<&str> = lacking.iter().map(String::as_str).collect();
        remedies.push(grant_tables(&schema, &user, &lacking));
    }
    if is_made && is_partitioned && !is(8)? {
        remedies.push(give_table(&schema, &user));
    }
    if remedies.is_empty() {
        return Ok(());
    }
    Err(DestinationError::Rights {
        user,
        remedy: remedies.join("\n  "),
    })
}

/// What `track.destination`'s role needs of tables that somebody else made, for `--print-setup`.
pub(super) fn grants(track: &Track, user: &str) -> Vec<String> {
    let (schema, user) = (quoted(&track.schema), quoted(user));
    let is_partitioned = track.retention != Retention::Off;
    let mut grants = vec![
        grant_schema(&schema, &user, is_partitioned),
        grant_tables(&schema, &user, &TABLES),
    ];
    if is_partitioned {
        grants.push(give_table(&schema, &user));
    }
    grants
}

fn grant_schema(schema: &str, user: &str, makes_tables: bool) -> String {
    let rights = if makes_tables { "USAGE, CREATE" } else { "USAGE" };
    format!("GRANT {rights} ON SCHEMA {schema} TO {user};")
}

fn grant_tables(schema: &str, user: &str, tables: &[&str]) -> String {
    let tables: Vec<String> = tables.iter().map(|table| format!("{schema}.{table}")).collect();
    format!("GRANT SELECT, INSERT, UPDATE ON {} TO {user};", tables.join(", "))
}

/// To make its partitions and to drop them one has to own it.
fn give_table(schema: &str, user: &str) -> String {
    format!("ALTER TABLE {schema}.changes OWNER TO {user};")
}
