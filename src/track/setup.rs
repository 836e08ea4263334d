//! What has to be there on the source, and the statements that make it. Pure.

use super::gap::Slot;
use super::rules::Rules;
use crate::check::report::{Finding, Mark};
use crate::check::server::{self, ServerFacts};
use crate::config::Track;
use crate::wire::encoding::ClientEncoding;

/// How many tables a message names.
const TABLES_SHOWN: usize = 10;

/// What the source says about itself.
#[derive(Clone, Debug)]
pub struct SourceFacts {
    /// What `bemi check` asks as well.
    pub server: ServerFacts,
    /// The database's own encoding.
    pub encoding: ClientEncoding,
    /// Whether the role may do anything.
    pub is_superuser: bool,
    /// Whether it may open replication connections and make slots.
    pub may_replicate: bool,
    /// Whether it may make a publication in this database.
    pub may_create: bool,
    /// Slots there are, and there can be.
    pub slots_used: i64,
    /// `max_replication_slots`
    pub slots_max: i64,
    /// Replication connections there are, and there can be.
    pub senders_used: i64,
    /// `max_wal_senders`
    pub senders_max: i64,
    /// `wal_sender_timeout` in milliseconds; 0: none.
    pub sender_timeout_ms: u64,
    /// The publication, if it is there.
    pub publication: Option<PublicationFacts>,
    /// The slot, if it is there.
    pub slot: Option<Slot>,
    /// Tables that could be published: a partitioned one as a whole.
    pub tables: Vec<TopTable>,
}

/// `pg_publication`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicationFacts {
    /// FOR ALL TABLES.
    pub has_all_tables: bool,
    /// It publishes INSERT, UPDATE, DELETE and TRUNCATE.
    pub has_all_operations: bool,
    /// `publish_via_partition_root`
    pub via_root: bool,
    /// Whether we may change it.
    pub is_ours: bool,
    /// The tables it lists, quoted with their schema.
    pub tables: Vec<String>,
}

/// A table that is no partition of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopTable {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// Both, quoted.
    pub quoted: String,
    /// Whether we own it, which is what it takes to publish it.
    pub is_ours: bool,
    /// Whether the log can say which of its rows was changed. Where it cannot, publishing it would make its UPDATEs fail.
    pub has_identity: bool,
}

/// What is to be done on the source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Setup {
    /// What was found; something to mend stops.
    pub findings: Vec<Finding>,
    /// Statements to run, in order: the publication. Empty: it is there.
    pub statements: Vec<String>,
    /// Tables that these add to a publication which was there: what changed in them before is not in the stream.
    pub added: Vec<TopTable>,
    /// Whether the publication lists its tables, so that new ones have to be added.
    pub lists_tables: bool,
}

impl Setup {
    /// What stands in the way.
    pub fn unmet(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.mark == Mark::Mend)
    }

    /// What does not, but is worth knowing.
    pub fn notes(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.mark == Mark::Note)
    }
}

/// What has to be done, and what stands in the way. `own_schema` is that of the table `changes`, where it is in this
/// database.
#[must_use]
pub fn plan(facts: &SourceFacts, track: &Track, rules: &Rules, own_schema: Option<&str>) -> Setup {
    let mut findings = preflight(facts, track);
    let wanted = wanted_tables(&facts.tables, rules, own_schema);
    let (publishable, without): (Vec<&TopTable>, Vec<&TopTable>) =
        wanted.into_iter().partition(|table| table.has_identity);
    let setup = match &facts.publication {
        Some(publication) => existing(publication, facts, track, &publishable),
        None => new(facts, track, rules, &publishable, without.is_empty()),
    };
    findings.extend(without_identity(&without, setup.lists_tables));
    findings.extend(setup.findings);
    Setup { findings, ..setup }
}

fn preflight(facts: &SourceFacts, track: &Track) -> Vec<Finding> {
    let ServerFacts {
        user, in_recovery, ..
    } = &facts.server;
    let mut findings = vec![server::version(&facts.server), server::wal_level(&facts.server)];
    if !facts.server.is_direct {
        findings.push(
            Finding::mend("pooler", "a pooler is in between, which does not pass the log on")
                .by("give the URL of the server itself as --source"),
        );
    }
    if *in_recovery {
        findings.push(
            Finding::mend(
                "standby",
                "this server is a standby, where no publication can be made",
            )
            .by("give the URL of the primary as --source"),
        );
    }
    findings.push(if facts.may_replicate {
        Finding::fine("REPLICATION", format!("{user} has it"))
    } else {
        Finding::mend("REPLICATION", format!("{user} may not read the log"))
            .by("-- as a superuser (Amazon RDS: GRANT rds_replication TO ...):")
            .by(format!("ALTER ROLE {user} REPLICATION;"))
    });
    if facts.slot.is_none() && facts.slots_used >= facts.slots_max {
        findings.push(
            Finding::mend(
                "slots",
                format!("all {} replication slots are in use", facts.slots_max),
            )
            .by("SELECT slot_name, active FROM pg_replication_slots;  -- is one of them needed by nobody?")
            .by(format!(
                "ALTER SYSTEM SET max_replication_slots = {};  -- then restart",
                facts.slots_max + 4
            )),
        );
    }
    let is_running = facts.slot.as_ref().is_some_and(|slot| slot.active_pid.is_some());
    if facts.senders_used >= facts.senders_max && !is_running {
        findings.push(
            Finding::mend(
                "senders",
                format!("all {} replication connections are in use", facts.senders_max),
            )
            .by(format!(
                "ALTER SYSTEM SET max_wal_senders = {};  -- then restart",
                facts.senders_max + 4
            )),
        );
    }
    if let Some(slot) = &facts.slot
        && (slot.plugin != "pgoutput" || slot.database != facts.server.database)
    {
        findings.push(
            Finding::mend(
                "slot",
                format!(
                    "\"{}\" is somebody else's: plugin {}, database {}",
                    track.slot, slot.plugin, slot.database
                ),
            )
            .by("choose another name with --slot"),
        );
    }
    findings
}

/// What the rules want, without what the tracker writes itself.
#[must_use]
pub fn wanted_tables<'a>(
    tables: &'a [TopTable],
    rules: &Rules,
    own_schema: Option<&str>,
) -> Vec<&'a TopTable> {
    let is_own =
        |table: &TopTable| own_schema == Some(table.schema.as_str()) && super::is_own_table(&table.name);
    tables
        .iter()
        .filter(|table| rules.wants(&table.schema, &table.name, None) && !is_own(table))
        .collect()
}

/// A publication is altered where it lacks something, and never dropped.
fn existing(
    publication: &PublicationFacts,
    facts: &SourceFacts,
    track: &Track,
    publishable: &[&TopTable],
) -> Setup {
    let name = quoted(&track.publication);
    let mut setup = Setup {
        lists_tables: !publication.has_all_tables,
        ..Setup::default()
    };
    let is_as_wanted = publication.has_all_operations && publication.via_root == track.partitions_via_root;
    let alteration = format!("ALTER PUBLICATION {name} SET ({});", options(facts, track));
    match (is_as_wanted, publication.is_ours) {
        (true, _) => {}
        (false, true) => setup.statements.push(alteration),
        (false, false) => setup.findings.push(
            Finding::mend(
                "publication",
                format!("{name} is not published as it should be, and is somebody else's"),
            )
            .by("-- as its owner:")
            .by(alteration),
        ),
    }
    if publication.has_all_tables {
        return setup;
    }
    let is_missing = |table: &&TopTable| !publication.tables.contains(&table.quoted);
    let missing = publishable.iter().copied().filter(is_missing);
    let (ours, theirs): (Vec<&TopTable>, Vec<&TopTable>) =
        missing.partition(|table| publication.is_ours && (table.is_ours || facts.is_superuser));
    setup.statements.extend(add_tables(track, &ours));
    setup.added = ours.into_iter().cloned().collect();
    if let Some(statement) = add_tables(track, &theirs) {
        let what = format!(
            "these tables are not in {name}, and so not followed: {}",
            shown(&theirs)
        );
        setup.findings.push(
            Finding::note("publication", what)
                .by("-- as the owner of both, or a superuser:")
                .by(statement),
        );
    }
    setup
}

/// The statement that adds tables to the publication.
#[must_use]
pub fn add_tables(track: &Track, tables: &[&TopTable]) -> Option<String> {
    (!tables.is_empty()).then(|| {
        format!(
            "ALTER PUBLICATION {} ADD TABLE {};",
            quoted(&track.publication),
            list(tables)
        )
    })
}

/// All tables where that is allowed and safe: then a new table is followed from its first row on.
fn new(
    facts: &SourceFacts,
    track: &Track,
    rules: &Rules,
    publishable: &[&TopTable],
    all_have_identity: bool,
) -> Setup {
    let wants_all = rules.tables.is_empty() && rules.exclude.is_empty();
    let all = wants_all && facts.is_superuser && all_have_identity;
    let tables = match (all, publishable) {
        (true, _) => " FOR ALL TABLES".to_owned(),
        (false, []) => String::new(),
        (false, tables) => format!(" FOR TABLE {}", list(tables)),
    };
    let (name, options) = (quoted(&track.publication), options(facts, track));
    let statement = format!("CREATE PUBLICATION {name}{tables} WITH ({options});");
    let ServerFacts { user, database, .. } = &facts.server;
    let may_not_create = (!facts.may_create).then(|| {
        Finding::mend("publication", format!("{user} may not make one"))
            .by("-- as a superuser or the owner of the database:")
            .by(format!(
                "GRANT CREATE ON DATABASE {} TO {user};",
                quoted(database)
            ))
    });
    let foreign: Vec<&TopTable> = publishable
        .iter()
        .copied()
        .filter(|table| !table.is_ours)
        .collect();
    // To publish a table one has to own it.
    let may_not_publish = (!all && !facts.is_superuser && !foreign.is_empty()).then(|| {
        let what = format!(
            "{user} does not own all tables, and so may not publish {}",
            shown(&foreign)
        );
        Finding::mend("publication", what)
            .by("-- as a superuser:")
            .by(&*statement)
            .by("-- or choose tables with --tables")
    });
    Setup {
        findings: may_not_create.into_iter().chain(may_not_publish).collect(),
        statements: vec![statement],
        added: Vec::new(),
        lists_tables: !all,
    }
}

fn options(facts: &SourceFacts, track: &Track) -> String {
    let mut options = format!(
        "publish = 'insert, update, delete, truncate', publish_via_partition_root = {}",
        track.partitions_via_root
    );
    if facts.server.version_num >= 180_000 {
        options.push_str(", publish_generated_columns = stored");
    }
    options
}

fn list(tables: &[&TopTable]) -> String {
    tables
        .iter()
        .map(|table| table.quoted.as_str())
        .collect::<Vec<_>>()
        .join(", ")
}

fn without_identity(tables: &[&TopTable], lists_tables: bool) -> Option<Finding> {
    let consequence = if lists_tables {
        "is not followed, because its UPDATEs and DELETEs would fail"
    } else {
        "fails in its UPDATEs and DELETEs, because the publication has all tables"
    };
    let what = format!(
        "without a replica identity a table {consequence}: {}",
        shown(tables)
    );
    (!tables.is_empty()).then(|| {
        let finding = Finding::note("replica identity", what);
        tables.iter().take(TABLES_SHOWN).fold(finding, |finding, table| {
            finding.by(format!("ALTER TABLE {} REPLICA IDENTITY FULL;", table.quoted))
        })
    })
}

fn shown(tables: &[&TopTable]) -> String {
    let named = list(&tables.iter().copied().take(TABLES_SHOWN).collect::<Vec<_>>());
    match tables.len().saturating_sub(TABLES_SHOWN) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

/// The statement that makes the slot. From version 17 on it is one that survives a failover; a standby may only
/// ask for that on the primary, where we are.
#[must_use]
pub fn create_slot(version_num: u32, slot: &str) -> String {
    let failover = if version_num >= 170_000 {
        ", failover => true"
    } else {
        ""
    };
    format!(
        "SELECT lsn::text FROM pg_catalog.pg_create_logical_replication_slot('{slot}', 'pgoutput'{failover});"
    )
}

/// What `bemi track --teardown` runs.
#[must_use]
pub fn teardown(facts: &SourceFacts, track: &Track) -> Vec<String> {
    let slot = facts
        .slot
        .as_ref()
        .map(|_| format!("SELECT pg_catalog.pg_drop_replication_slot('{}');", track.slot));
    let publication = facts
        .publication
        .as_ref()
        .map(|_| format!("DROP PUBLICATION {};", quoted(&track.publication)));
    slot.into_iter().chain(publication).collect()
}

/// A name as SQL has it.
#[must_use]
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests;
