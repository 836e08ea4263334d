//! The demonstration on somebody's server, without its proxy.
//!
//! What must be shown here is what it says, what it concludes and what it leaves behind. An event trigger stands in for
//! the proxy where messages are wanted: it lets the server itself write them.

mod support;

use std::net::{Ipv4Addr, SocketAddr};

use bemi::demo::{DemoError, Options, Style, run};
use support::database;

/// Gives every new table a trigger that emits `bemi.context` ahead of each statement.
const STAND_IN: &str = r#"
    CREATE FUNCTION emit() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM pg_logical_emit_message(true, '_bemi',
            (current_setting('bemi.context')::jsonb || jsonb_build_object('SQL', current_query()))::text);
        RETURN NULL;
    END $$;
    CREATE FUNCTION attach() RETURNS event_trigger LANGUAGE plpgsql AS $$
    DECLARE
        made record;
    BEGIN
        FOR made IN SELECT * FROM pg_event_trigger_ddl_commands() WHERE object_type = 'table' LOOP
            EXECUTE format('CREATE TRIGGER emit BEFORE INSERT OR UPDATE OR DELETE ON %s EXECUTE FUNCTION public.emit()',
                           made.object_identity);
        END LOOP;
    END $$;
    CREATE EVENT TRIGGER attach ON ddl_command_end WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION attach();
"#;

const PLAIN: Style = Style {
    color: false,
    width: 80,
};

async fn demonstrate(user: &str, database: &str) -> (Result<(), DemoError>, String) {
    let port = support::cluster().port();
    let url = format!("postgresql://{user}@127.0.0.1:{port}/{database}?sslmode=disable");
    let options = Options {
        keep: false,
        upstream: Some(url),
    };
    let mut output = Vec::new();
    let no_proxy = async |_url| Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    let outcome = run(&options, PLAIN, &mut output, no_proxy).await;
    (outcome, String::from_utf8(output).unwrap())
}

/// Schemas, publications and slots that the demonstration made.
async fn leftovers(database: &str) -> i64 {
    let client = support::connect(support::cluster().port(), database).await;
    let count = "SELECT (SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'bemi%')
        + (SELECT count(*) FROM pg_publication WHERE pubname LIKE 'bemi%')
        + (SELECT count(*) FROM pg_replication_slots WHERE database = current_database() AND slot_name LIKE 'bemi%')";
    client.query_one(count, &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn every_change_is_shown_with_its_context_and_nothing_is_left() {
    let database = database(support::cluster()).await;
    let client = support::connect(support::cluster().port(), &database).await;
    client.batch_execute(STAND_IN).await.unwrap();
    let (outcome, shown) = demonstrate("postgres", &database).await;
    assert!(outcome.is_ok(), "{outcome:?}\n{shown}");
    assert!(shown.contains("INSERT bemi_demo_"), "{shown}");
    assert!(shown.contains("done  f -> t"), "{shown}");
    assert_eq!(
        shown.matches("187234").count(),
        5,
        "the SET, and one context per write:\n{shown}"
    );
    assert!(shown.ends_with("only another host and port.\n"), "{shown}");
    assert_eq!(leftovers(&database).await, 0);
}

#[tokio::test]
async fn changes_without_context_fail_the_demonstration_and_nothing_is_left() {
    let database = database(support::cluster()).await;
    let (outcome, shown) = demonstrate("postgres", &database).await;
    assert!(
        matches!(
            outcome,
            Err(DemoError::Unexpected {
                step: 2,
                expected: 2,
                found: 2,
                bare: 2
            })
        ),
        "{outcome:?}\n{shown}"
    );
    assert_eq!(leftovers(&database).await, 0);
}

#[tokio::test]
async fn a_role_without_rights_is_told_which_ones_and_nothing_is_left() {
    let database = database(support::cluster()).await;
    let client = support::connect(support::cluster().port(), &database).await;
    client
        .batch_execute("CREATE ROLE bare LOGIN; CREATE ROLE half LOGIN")
        .await
        .unwrap();
    client
        .batch_execute(&format!("GRANT CREATE ON DATABASE {database} TO half"))
        .await
        .unwrap();

    let (outcome, _) = demonstrate("bare", &database).await;
    let text = outcome.unwrap_err().to_string();
    assert!(
        text.starts_with("cannot make a schema") && text.contains("GRANT CREATE ON DATABASE"),
        "{text}"
    );

    let (outcome, _) = demonstrate("half", &database).await;
    let text = outcome.unwrap_err().to_string();
    assert!(
        text.starts_with("cannot make a logical replication slot") && text.contains("REPLICATION"),
        "{text}"
    );
    assert_eq!(leftovers(&database).await, 0);
}
