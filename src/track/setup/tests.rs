use super::{PublicationFacts, Setup, SourceFacts, TopTable, create_slot, plan, teardown};
use crate::check::server::{ServerFacts, Service};
use crate::config::Track;
use crate::track::rules::Rules;
use crate::wire::encoding::ClientEncoding;

fn table(name: &str) -> TopTable {
    TopTable {
        schema: "public".into(),
        name: name.into(),
        quoted: format!("public.{name}"),
        is_ours: true,
        has_identity: true,
    }
}

fn facts() -> SourceFacts {
    SourceFacts {
        server: ServerFacts {
            version_num: 150_020,
            version: "15.20".into(),
            user: "bob".into(),
            database: "app".into(),
            wal_level: "logical".into(),
            in_recovery: false,
            service: Service::Unknown,
            may_emit: Some(true),
            is_direct: true,
            tables: Vec::new(),
        },
        encoding: ClientEncoding::default(),
        is_superuser: true,
        may_replicate: true,
        may_create: true,
        slots_used: 0,
        slots_max: 10,
        senders_used: 0,
        senders_max: 10,
        sender_timeout_ms: 60_000,
        publication: None,
        slot: None,
        tables: vec![table("changes"), table("todo"), table("users")],
    }
}

fn planned(facts: &SourceFacts, track: &Track) -> Setup {
    plan(facts, track, &Rules::from(track), Some("public"))
}

fn mends(setup: &Setup) -> Vec<&'static str> {
    setup.unmet().map(|finding| finding.subject).collect()
}

#[test]
fn a_superuser_publishes_all_tables() {
    let setup = planned(&facts(), &Track::default());
    assert_eq!(
        setup.statements,
        [
            "CREATE PUBLICATION \"bemi\" FOR ALL TABLES WITH (publish = 'insert, update, delete, truncate', \
             publish_via_partition_root = false);"
        ]
    );
    assert!(!setup.lists_tables && mends(&setup).is_empty());
}

#[test]
fn who_chooses_tables_or_may_not_have_all_gets_a_list() {
    let chosen = Track {
        exclude: vec!["users".parse().unwrap()],
        ..Track::default()
    };
    let no_superuser = SourceFacts {
        is_superuser: false,
        ..facts()
    };
    let setup = planned(&facts(), &chosen);
    assert!(
        setup.statements[0].contains("FOR TABLE public.todo WITH"),
        "{setup:?}"
    );
    let setup = planned(&no_superuser, &Track::default());
    assert!(
        setup.statements[0].contains("FOR TABLE public.todo, public.users WITH"),
        "{setup:?}"
    );
    assert!(setup.lists_tables && mends(&setup).is_empty());
}

#[test]
fn a_table_without_identity_is_told_and_its_updates_are_not_broken() {
    let mut facts = facts();
    facts.tables[2].has_identity = false;
    let setup = planned(&facts, &Track::default());
    assert!(
        setup.statements[0].contains("FOR TABLE public.todo WITH"),
        "{setup:?}"
    );
    let note = setup.notes().next().unwrap();
    assert_eq!(note.remedy, ["ALTER TABLE public.users REPLICA IDENTITY FULL;"]);
}

#[test]
fn what_others_own_they_have_to_publish() {
    let mut facts = facts();
    facts.is_superuser = false;
    facts.tables[1].is_ours = false;
    let setup = planned(&facts, &Track::default());
    assert_eq!(mends(&setup), ["publication"]);
    let remedy = &setup.unmet().next().unwrap().remedy;
    assert!(
        remedy[0].contains("superuser") && remedy[1].starts_with("CREATE PUBLICATION"),
        "{remedy:?}"
    );
}

#[test]
fn a_publication_that_is_there_is_altered_where_it_lacks_something() {
    let publication = PublicationFacts {
        has_all_tables: false,
        has_all_operations: false,
        via_root: false,
        is_ours: true,
        tables: vec!["public.users".into()],
    };
    let mut facts = facts();
    facts.publication = Some(publication.clone());
    let Setup {
        statements, added, ..
    } = planned(&facts, &Track::default());
    assert_eq!(added, [table("todo")]);
    assert!(
        statements[0].starts_with("ALTER PUBLICATION \"bemi\" SET (publish"),
        "{statements:?}"
    );
    assert_eq!(statements[1], "ALTER PUBLICATION \"bemi\" ADD TABLE public.todo;");

    facts.publication = Some(PublicationFacts {
        has_all_tables: true,
        has_all_operations: true,
        ..publication
    });
    assert_eq!(planned(&facts, &Track::default()).statements, [""; 0]);
    assert_eq!(
        teardown(&facts, &Track::default()),
        ["DROP PUBLICATION \"bemi\";"]
    );
}

#[test]
fn what_is_missing_is_named_with_what_to_run_as_whom() {
    let mut facts = facts();
    facts.server.wal_level = "replica".into();
    facts.server.is_direct = false;
    facts.may_replicate = false;
    facts.may_create = false;
    facts.slots_used = 10;
    facts.senders_used = 10;
    let setup = planned(&facts, &Track::default());
    assert_eq!(
        mends(&setup),
        [
            "wal_level",
            "pooler",
            "REPLICATION",
            "slots",
            "senders",
            "publication"
        ]
    );
}

#[test]
fn a_slot_survives_a_failover_where_the_server_can() {
    assert!(!create_slot(169_999, "bemi").contains("failover"));
    assert!(create_slot(170_000, "bemi").contains("failover => true"));
}
