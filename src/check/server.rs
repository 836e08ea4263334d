//! From what the server says about itself to findings. Pure: `queries` asks, this judges.

use super::report::Finding;
use crate::config::{Inject, Pooler};

/// The oldest major version whose `in_hot_standby` and pipelining the proxy relies on.
const OLDEST: u32 = 140_000;

/// How many tables a finding names; a schema with hundreds of them would drown the rest.
const TABLES_SHOWN: usize = 10;

/// What the server says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerFacts {
    /// `server_version_num`: 150020.
    pub version_num: u32,
    /// `server_version`: `15.20 (Debian ...)`.
    pub version: String,
    /// The user that logged in, quoted as in SQL.
    pub user: String,
    /// The database.
    pub database: String,
    /// `wal_level`
    pub wal_level: String,
    /// Whether the server is a standby.
    pub in_recovery: bool,
    /// Whose service it is, as far as its roles tell.
    pub service: Service,
    /// Whether the user may execute `pg_logical_emit_message`; `None` where there is no such function.
    pub may_emit: Option<bool>,
    /// Whether the process id given at login is the one that executes queries.
    pub is_direct: bool,
    /// Every permanent or unlogged table that is neither the system's nor an extension's.
    pub tables: Vec<TableFacts>,
}

/// Who runs the server: that decides where `wal_level` is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Amazon RDS or Aurora: has the role `rds_superuser`.
    AmazonRds,
    /// Google Cloud SQL: has the role `cloudsqlsuperuser`.
    GoogleCloudSql,
    /// Azure Database for PostgreSQL: has the role `azure_pg_admin`.
    Azure,
    /// Neon: has the role `neon_superuser`.
    Neon,
    /// None of these.
    Unknown,
}

/// One table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableFacts {
    /// Its schema, as stored.
    pub schema: String,
    /// Its name, as stored.
    pub name: String,
    /// `schema.name`, quoted as in SQL.
    pub quoted: String,
    /// Whether its changes are written to the write-ahead log at all.
    pub is_logged: bool,
    /// What the log says about an old row.
    pub identity: ReplicaIdentity,
}

/// `pg_class.relreplident`, and whether it has what it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplicaIdentity {
    /// `DEFAULT`, with a primary key; or `USING INDEX`, with that index.
    Key,
    /// `FULL`: the whole old row.
    Full,
    /// `NOTHING`, or an index that is gone, on a table with a primary key.
    NothingDespiteKey,
    /// No identity, and no primary key to make one of.
    Nothing,
}

/// Judges everything that one session can see.
pub fn findings(facts: &ServerFacts, pooler: Pooler, inject: &Inject) -> Vec<Finding> {
    let audited: Vec<&TableFacts> = facts
        .tables
        .iter()
        .filter(|table| inject.wants_table(Some(&table.schema), &table.name))
        .collect();
    [
        Some(Finding::fine(
            "login",
            format!("as {} in database {}", facts.user, facts.database),
        )),
        Some(version(facts)),
        standby(facts),
        between(facts, pooler),
        Some(wal_level(facts)),
        Some(emit(facts)),
        Some(identities(&audited)),
        before_images(&audited),
        unlogged(&audited),
    ]
    .into_iter()
    .flatten()
    .collect()
}

pub(crate) fn version(facts: &ServerFacts) -> Finding {
    let what = format!("PostgreSQL {}", facts.version);
    if facts.version_num >= OLDEST {
        return Finding::fine("version", what);
    }
    Finding::mend("version", format!("{what} is too old")).by("upgrade the server to PostgreSQL 14 or newer")
}

fn standby(facts: &ServerFacts) -> Option<Finding> {
    facts.in_recovery.then(|| {
        Finding::note(
            "standby",
            "this server is a standby: it takes no writes, so there is nothing to add context to",
        )
    })
}

fn between(facts: &ServerFacts, pooler: Pooler) -> Option<Finding> {
    match (facts.is_direct, pooler) {
        (true, Pooler::None) => None,
        (true, Pooler::Transaction) => Some(Finding::note(
            "pooler",
            "upstream.pooler is \"transaction\", but nothing seems to pool connections here",
        )),
        (false, Pooler::Transaction) => Some(Finding::fine("pooler", "in between, as upstream.pooler says")),
        (false, Pooler::None) => Some(
            Finding::note(
                "pooler",
                "the process that answers is not the one that was connected to: a pooler is in between. \
                 If it pools transactions or statements, set",
            )
            .by("upstream.pooler = \"transaction\""),
        ),
    }
}

pub(crate) fn wal_level(facts: &ServerFacts) -> Finding {
    if facts.wal_level == "logical" {
        return Finding::fine("wal_level", "logical");
    }
    let what = format!(
        "is {}: messages are written, but nothing can decode them",
        facts.wal_level
    );
    let finding = Finding::mend("wal_level", what);
    match facts.service {
        Service::AmazonRds => finding.by("set rds.logical_replication = 1 in the parameter group, then reboot"),
        Service::GoogleCloudSql => finding.by("set the database flag cloudsql.logical_decoding = on (this restarts the instance)"),
        Service::Azure => finding.by("set the server parameter wal_level = logical, then restart"),
        Service::Neon => finding.by("enable logical replication in the settings of the project"),
        Service::Unknown => finding
            .by("ALTER SYSTEM SET wal_level = 'logical';")
            .by("then restart the server; on a managed service, look for its setting for logical replication or decoding"),
    }
}

fn emit(facts: &ServerFacts) -> Finding {
    // Version 17 added a fourth argument, `flush`.
    let arguments = if facts.version_num >= 170_000 {
        "boolean, text, text, boolean"
    } else {
        "boolean, text, text"
    };
    match facts.may_emit {
        Some(true) => Finding::fine(
            "pg_logical_emit_message",
            format!("{} may execute it", facts.user),
        ),
        Some(false) => Finding::mend(
            "pg_logical_emit_message",
            format!(
                "{} may not execute it, so every write with context would fail",
                facts.user
            ),
        )
        .by(format!(
            "GRANT EXECUTE ON FUNCTION pg_catalog.pg_logical_emit_message({arguments}) TO {};",
            facts.user
        )),
        None => Finding::mend("pg_logical_emit_message", "this server has no such function")
            .by("use a PostgreSQL server, 14 or newer; what only speaks its protocol is not enough"),
    }
}

fn identities(tables: &[&TableFacts]) -> Finding {
    let without: Vec<&&TableFacts> = tables
        .iter()
        .filter(|table| {
            table.is_logged
                && matches!(
                    table.identity,
                    ReplicaIdentity::Nothing | ReplicaIdentity::NothingDespiteKey
                )
        })
        .collect();
    if without.is_empty() {
        return Finding::fine(
            "replica identity",
            format!("usable on all tables ({})", tables.len()),
        );
    }
    let what = format!(
        "{} of {} tables have none, so the log cannot say which row an UPDATE or DELETE changed, \
         and both fail once the table is published; give them a primary key, or run",
        without.len(),
        tables.len()
    );
    let remedies = without.iter().take(TABLES_SHOWN).map(|table| {
        let identity = if table.identity == ReplicaIdentity::Nothing {
            "FULL"
        } else {
            "DEFAULT"
        };
        format!("ALTER TABLE {} REPLICA IDENTITY {identity};", table.quoted)
    });
    let finding = remedies.fold(Finding::mend("replica identity", what), Finding::by);
    match without.len().saturating_sub(TABLES_SHOWN) {
        0 => finding,
        more => finding.by(format!("... and {more} more")),
    }
}

fn before_images(tables: &[&TableFacts]) -> Option<Finding> {
    let count = tables
        .iter()
        .filter(|table| table.is_logged && table.identity == ReplicaIdentity::Key)
        .count();
    (count > 0).then(|| {
        Finding::note(
            "old rows",
            format!(
                "on {count} tables the log keeps only the key of a row that was changed or deleted; \
                 ALTER TABLE ... REPLICA IDENTITY FULL keeps all of it, for more log"
            ),
        )
    })
}

fn unlogged(tables: &[&TableFacts]) -> Option<Finding> {
    let names: Vec<&str> = tables
        .iter()
        .filter(|table| !table.is_logged)
        .map(|table| table.quoted.as_str())
        .collect();
    let more = names.len().saturating_sub(TABLES_SHOWN);
    let shown = names
        .iter()
        .take(TABLES_SHOWN)
        .copied()
        .collect::<Vec<_>>()
        .join(", ");
    let rest = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    (!names.is_empty()).then(|| {
        Finding::note(
            "unlogged tables",
            format!("changes of {shown}{rest} never reach the write-ahead log"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::super::report::Mark;
    use super::*;

    fn table(name: &str, identity: ReplicaIdentity) -> TableFacts {
        TableFacts {
            schema: "public".into(),
            name: name.into(),
            quoted: format!("public.{name}"),
            is_logged: true,
            identity,
        }
    }

    fn good() -> ServerFacts {
        ServerFacts {
            version_num: 150_020,
            version: "15.20".into(),
            user: "bob".into(),
            database: "app".into(),
            wal_level: "logical".into(),
            in_recovery: false,
            service: Service::Unknown,
            may_emit: Some(true),
            is_direct: true,
            tables: vec![table("todo", ReplicaIdentity::Full)],
        }
    }

    fn judge(facts: &ServerFacts) -> Vec<Finding> {
        findings(facts, Pooler::None, &Inject::default())
    }

    #[track_caller]
    fn only_mend(facts: &ServerFacts) -> Finding {
        let mends: Vec<Finding> = judge(facts)
            .into_iter()
            .filter(|finding| finding.mark == Mark::Mend)
            .collect();
        assert_eq!(mends.len(), 1, "{mends:?}");
        mends.into_iter().next().expect("one")
    }

    #[test]
    fn nothing_is_to_be_mended_on_a_good_server() {
        assert!(
            judge(&good()).iter().all(|finding| finding.mark == Mark::Fine),
            "{:?}",
            judge(&good())
        );
    }

    #[test]
    fn a_server_older_than_14_is_too_old() {
        let facts = ServerFacts {
            version_num: 130_022,
            version: "13.22".into(),
            ..good()
        };
        assert_eq!(only_mend(&facts).subject, "version");
    }

    #[test]
    fn wal_level_is_mended_where_the_server_is_run() {
        let facts = ServerFacts {
            wal_level: "replica".into(),
            ..good()
        };
        assert_eq!(
            only_mend(&facts).remedy.first().map(String::as_str),
            Some("ALTER SYSTEM SET wal_level = 'logical';")
        );
        let facts = ServerFacts {
            service: Service::AmazonRds,
            ..facts
        };
        assert!(
            only_mend(&facts)
                .remedy
                .join("\n")
                .contains("rds.logical_replication")
        );
    }

    #[test]
    fn the_grant_names_the_signature_of_that_version() {
        let facts = ServerFacts {
            may_emit: Some(false),
            user: "\"Bob\"".into(),
            version_num: 169_999,
            ..good()
        };
        let grant =
            "GRANT EXECUTE ON FUNCTION pg_catalog.pg_logical_emit_message(boolean, text, text) TO \"Bob\";";
        assert_eq!(only_mend(&facts).remedy, [grant]);
        let facts = ServerFacts {
            version_num: 170_000,
            ..facts
        };
        let grant = "GRANT EXECUTE ON FUNCTION pg_catalog.pg_logical_emit_message(boolean, text, text, boolean) TO \"Bob\";";
        assert_eq!(only_mend(&facts).remedy, [grant]);
    }

    #[test]
    fn a_table_without_identity_is_named_with_what_mends_it() {
        let mut facts = good();
        facts.tables.push(table("a", ReplicaIdentity::Nothing));
        facts.tables.push(table("b", ReplicaIdentity::NothingDespiteKey));
        let mends = [
            "ALTER TABLE public.a REPLICA IDENTITY FULL;",
            "ALTER TABLE public.b REPLICA IDENTITY DEFAULT;",
        ];
        assert_eq!(only_mend(&facts).remedy, mends);
    }

    #[test]
    fn a_long_list_of_tables_is_cut() {
        let mut facts = good();
        facts
            .tables
            .extend((0..13).map(|number| table(&format!("t{number}"), ReplicaIdentity::Nothing)));
        let remedy = only_mend(&facts).remedy;
        assert_eq!(remedy.len(), TABLES_SHOWN + 1);
        assert_eq!(remedy.last().map(String::as_str), Some("... and 3 more"));
    }

    #[test]
    fn tables_that_are_not_audited_do_not_matter() {
        let mut facts = good();
        facts.tables.push(table("log", ReplicaIdentity::Nothing));
        let inject = Inject {
            exclude: vec!["log".parse().expect("a pattern")],
            ..Inject::default()
        };
        assert!(
            findings(&facts, Pooler::None, &inject)
                .iter()
                .all(|finding| finding.mark == Mark::Fine)
        );
    }

    #[test]
    fn an_unlogged_table_needs_no_identity_but_a_note() {
        let mut facts = good();
        facts.tables.push(TableFacts {
            is_logged: false,
            ..table("cache", ReplicaIdentity::Nothing)
        });
        let notes: Vec<Finding> = judge(&facts)
            .into_iter()
            .filter(|finding| finding.mark != Mark::Fine)
            .collect();
        assert_eq!(notes.len(), 1);
        assert_eq!(
            notes.first().map(|note| (note.mark, note.subject)),
            Some((Mark::Note, "unlogged tables"))
        );
    }

    #[test]
    fn a_pooler_in_between_is_compared_with_the_configuration() {
        let pooled = ServerFacts {
            is_direct: false,
            ..good()
        };
        let between = |facts: &ServerFacts, pooler| super::between(facts, pooler).map(|finding| finding.mark);
        assert_eq!(between(&pooled, Pooler::None), Some(Mark::Note));
        assert_eq!(between(&pooled, Pooler::Transaction), Some(Mark::Fine));
        assert_eq!(between(&good(), Pooler::Transaction), Some(Mark::Note));
        assert_eq!(between(&good(), Pooler::None), None);
    }
}
