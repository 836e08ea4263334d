//! What has to be there before, who makes it, and how it is taken away.

use bemi::demo::cluster::{Cluster, ClusterOptions};
use tokio_postgres::Client;

use crate::support::{self, program};
use crate::tracker::{Tracker, cluster, outlines, run_to_its_end};

const T: &str = "CREATE TABLE t (id int PRIMARY KEY)";

/// A new database with this in it, and a session of the superuser.
async fn database_with(sql: &str) -> (String, Client) {
    let database = support::database(cluster()).await;
    let client = support::connect(cluster().port(), &database).await;
    client.batch_execute(sql).await.expect("what the test needs");
    (database, client)
}

/// A new role, and a URL to log in with as it.
async fn role(client: &Client, database: &str, attributes: &str) -> (String, String) {
    let role = format!("role_of_{database}");
    client
        .batch_execute(&format!("CREATE ROLE {role} LOGIN {attributes}"))
        .await
        .expect("a role");
    let url = cluster()
        .url(database, &[])
        .replace("postgres@", &format!("{role}@"));
    (role, url)
}

/// The statements that a message tells to run: whole lines that end with a semicolon, or have a comment behind it.
fn remedies(message: &str) -> Vec<String> {
    let lines = message.lines().map(str::trim);
    let statements = lines.filter(|line| {
        ["ALTER ", "GRANT ", "CREATE "]
            .iter()
            .any(|word| line.starts_with(word))
    });
    statements
        .map(|line| line.split("; ").next().unwrap_or(line).to_owned())
        .collect()
}

#[tokio::test]
async fn the_schema_may_be_another_one() {
    for (name, schema) in [("audit", "audit"), ("Odd \"Schema\"", "\"Odd \"\"Schema\"\"\"")] {
        let (database, _client) = database_with(T).await;
        let url = cluster().url(&database, &[]);
        let destination = support::connect(cluster().port(), &database).await;
        let mut tracker = Tracker::start(
            &database,
            destination,
            schema,
            &["--source", &url, "--schema", name],
        )
        .await;
        tracker.run("INSERT INTO t VALUES (1); CREATE TABLE changes_of_mind (id int PRIMARY KEY); INSERT INTO changes_of_mind VALUES (1)").await;
        assert_eq!(outlines(&tracker.changes("t").await), ["CREATE 1"]);
        assert_eq!(outlines(&tracker.stored("changes_of_mind").await), ["CREATE 1"]);
        // A table of that name in another schema is nobody's but the application's.
        tracker
            .run("CREATE TABLE public.changes (id int PRIMARY KEY); INSERT INTO public.changes VALUES (5)")
            .await;
        let found = tracker.changes("changes").await;
        assert_eq!(
            (outlines(&found), &*found[0].schema),
            (vec!["CREATE 5".to_owned()], "public")
        );
    }
}

#[tokio::test]
async fn a_table_changes_of_somebody_else_is_left_alone() {
    let (database, client) = database_with("CREATE TABLE changes (id int PRIMARY KEY)").await;
    let url = cluster().url(&database, &[]);
    let (code, _, error) = run_to_its_end(&database, &["--source", &url]).await;
    assert!(code == Some(1) && error.contains("--schema"), "{error}");
    let row = client.query_one(
        "SELECT count(*) FROM pg_attribute WHERE attrelid = 'changes'::regclass AND attnum > 0",
        &[],
    );
    assert_eq!(row.await.expect("its columns").get::<_, i64>(0), 1);
    let slots = "SELECT count(*) FROM pg_replication_slots WHERE slot_name = $1";
    assert_eq!(
        client
            .query_one(slots, &[&database])
            .await
            .expect("the slots")
            .get::<_, i64>(0),
        0
    );
}

#[tokio::test]
async fn what_print_setup_prints_is_all_that_a_role_with_replication_needs() {
    for retention in ["off", "30d"] {
        let (database, client) = database_with(&format!(
            "{T}; CREATE TABLE sentinel (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY)"
        ))
        .await;
        let (_, url) = role(&client, &database, "REPLICATION").await;
        let arguments = ["--source", &*url, "--retention", retention];
        let (code, script, error) =
            run_to_its_end(&database, &[&arguments[..], &["--print-setup"]].concat()).await;
        assert_eq!(code, Some(0), "{error}");
        let mut psql = program::libpq(cluster(), "psql", cluster().port(), &database);
        psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1"]);
        let output = program::run_with_input(psql, script.as_bytes()).await;
        assert!(
            output.status.success(),
            "{}\n{script}",
            program::text(&output.stderr)
        );
        // From here on it is there: what is written before the tracker runs arrives as well.
        client
            .batch_execute("INSERT INTO t VALUES (1)")
            .await
            .expect("a row");
        let destination = support::connect(cluster().port(), &database).await;
        let mut tracker = Tracker::start(&database, destination, "public", &arguments).await;
        tracker.run("INSERT INTO t VALUES (2)").await;
        assert_eq!(
            outlines(&tracker.changes("t").await),
            ["CREATE 1", "CREATE 2"],
            "{script}"
        );
    }
}

#[tokio::test]
async fn teardown_takes_away_what_it_made_but_not_what_was_stored() {
    let mut tracker = Tracker::on(T, &[]).await;
    tracker.run("INSERT INTO t VALUES (1)").await;
    tracker.caught_up().await;
    assert!(tracker.stop().await.success());
    let url = cluster().url(tracker.database(), &[]);
    let slot = tracker.database().to_owned();
    let (code, out, _) = run_to_its_end(&slot, &["--source", &url, "--teardown"]).await;
    assert!(
        code == Some(1) && out.contains("--yes") && out.contains("pg_drop_replication_slot"),
        "{out}"
    );
    let there = "SELECT (SELECT count(*) FROM pg_replication_slots WHERE slot_name = $1) + (SELECT count(*) FROM pg_publication)";
    let count = async || {
        tracker
            .source
            .query_one(there, &[&slot])
            .await
            .expect("a count")
            .get::<_, i64>(0)
    };
    assert_eq!(count().await, 2);
    let (code, out, error) = run_to_its_end(&slot, &["--source", &url, "--teardown", "--yes"]).await;
    assert!(code == Some(0) && out.contains("Removed."), "{out}{error}");
    assert_eq!(count().await, 0);
    assert_eq!(outlines(&tracker.stored("t").await), ["CREATE 1"]);
    let (code, out, _) = run_to_its_end(&slot, &["--source", &url, "--teardown", "--yes"]).await;
    assert!(code == Some(0) && out.contains("Nothing to remove"), "{out}");
}

/// Runs it until it goes on by itself, and each time what it says is missing.
#[tokio::test]
async fn a_role_that_lacks_rights_is_told_what_to_run_until_it_has_them() {
    let (database, client) = database_with(&format!("{T}; REVOKE CREATE ON SCHEMA public FROM public")).await;
    client
        .batch_execute("CREATE TABLE sentinel (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY)")
        .await
        .expect("a table");
    let (role, url) = role(&client, &database, "").await;
    let mut told = Vec::new();
    for _ in 0..5 {
        let run = tokio::time::timeout(
            std::time::Duration::from_secs(10),
            run_to_its_end(&database, &["--source", &url]),
        )
        .await;
        let Ok((code, _, error)) = run else { break };
        let statements = remedies(&error);
        assert!(code == Some(1) && !statements.is_empty(), "{code:?} {error}");
        for statement in &statements {
            let done = client.batch_execute(statement).await;
            done.unwrap_or_else(|failed| panic!("{statement}: {:?}\n{error}", failed.as_db_error()));
        }
        told.extend(statements);
    }
    assert!(
        told.iter()
            .any(|statement| *statement == format!("ALTER ROLE {role} REPLICATION;")),
        "{told:?}"
    );
    assert!(
        told.iter()
            .any(|statement| statement.starts_with("CREATE PUBLICATION")),
        "{told:?}"
    );
    assert!(
        told.iter().any(|statement| statement.contains("ON SCHEMA")),
        "{told:?}"
    );
    let destination = support::connect(cluster().port(), &database).await;
    let mut tracker = Tracker::start(&database, destination, "public", &["--source", &url]).await;
    tracker.run("INSERT INTO t VALUES (1)").await;
    assert_eq!(outlines(&tracker.changes("t").await), ["CREATE 1"]);
}

/// Settings of a role must not end what takes long, and not what waits.
#[tokio::test]
async fn timeouts_of_the_role_do_not_count() {
    let (database, client) = database_with(T).await;
    let (role, url) = role(&client, &database, "SUPERUSER").await;
    for setting in [
        "statement_timeout",
        "idle_session_timeout",
        "lock_timeout",
        "idle_in_transaction_session_timeout",
    ] {
        client
            .batch_execute(&format!("ALTER ROLE {role} SET {setting} = '300ms'"))
            .await
            .expect("a setting");
    }
    // The slot waits for this one.
    let writer = support::connect(cluster().port(), &database).await;
    writer
        .batch_execute("BEGIN; INSERT INTO t VALUES (0)")
        .await
        .expect("a transaction");
    let waiting = tokio::spawn(async move {
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
        writer.batch_execute("COMMIT").await.expect("the end of it");
    });
    let destination = support::connect(cluster().port(), &database).await;
    let arguments = ["--source", &*url, "--set", "track.status_interval=1s"];
    let mut tracker = Tracker::start(&database, destination, "public", &arguments).await;
    waiting.await.expect("no panic");
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    tracker
        .run("INSERT INTO t VALUES (1); CREATE TABLE u (id int PRIMARY KEY); INSERT INTO u VALUES (2)")
        .await;
    assert_eq!(outlines(&tracker.changes("u").await), ["CREATE 2"]);
    assert!(!tracker.log().contains("WARN"), "{}", tracker.log());
}

#[tokio::test]
async fn a_server_that_is_not_set_up_is_told_so_and_mended() {
    let options = ClusterOptions::default()
        .setting("wal_level", "replica")
        .setting("max_replication_slots", "1")
        .setting("max_wal_senders", "2");
    let mut server = Cluster::start(&options).expect("a server");
    let client = support::connect(server.port(), "postgres").await;
    client
        .batch_execute(&format!(
            "{T}; SELECT pg_create_physical_replication_slot('taken')"
        ))
        .await
        .expect("a slot");
    let url = server.url("postgres", &[]);
    let (code, _, error) = run_to_its_end("bemi", &["--source", &url]).await;
    assert_eq!(code, Some(1), "{error}");
    let statements = remedies(&error);
    assert_eq!(statements.len(), 2, "{error}");
    for statement in &statements {
        client
            .batch_execute(statement)
            .await
            .unwrap_or_else(|failed| panic!("{statement}: {failed}"));
    }
    drop(client);
    server.restart().expect("restarted");
    let (code, script, error) = run_to_its_end("bemi", &["--source", &url, "--print-setup"]).await;
    assert!(
        code == Some(0) && !script.contains("max_replication_slots"),
        "{script}{error}"
    );
}

#[tokio::test]
async fn mistakes_in_the_configuration_end_with_2() {
    let url = "postgresql://bob:hunter2@127.0.0.1:1/app";
    let missing = format!("{url}?sslmode=verify-full&sslrootcert=/nowhere/ca.crt");
    for (arguments, needle) in [
        (&["--retention", "30d"][..], "BEMI_UPSTREAM"),
        (&["--source", url, "--retention", "a month"], "--retention"),
        (&["--source", url, "--slot", "No Slot"], "--slot"),
        (&["--source", url, "--schema", ""], "--schema"),
        (&["--source", url, "--tables", "a.b.c"], "--tables"),
        (&["--source", url, "--set", "track.redact=a=burn"], "track.redact"),
        (
            &["--source", url, "--set", "track.redact=a=hash"],
            "BEMI_TRACK_REDACT_KEY",
        ),
        (
            &["--source", url, "--set", "track.partition_by=week"],
            "track.partition_by",
        ),
        (
            &["--source", url, "--set", "track.memory_limit_bytes=1000"],
            "track.memory_limit_bytes",
        ),
        (&["--source", url, "--set", "track.sources=1"], "track.sources"),
        (&["--source", url, "--yes"], "--teardown"),
        (
            &["--source", url, "--teardown", "--print-setup"],
            "cannot be used",
        ),
        (&["--source", url, "--upstream", url], "cannot be used"),
        (&["--source", &missing], "ca.crt"),
        (&["--destination", "mysql://x", "--source", url], "--destination"),
    ] {
        let (code, _, error) = run_to_its_end("bemi", arguments).await;
        assert!(
            code == Some(2) && error.contains(needle) && !error.contains("hunter2"),
            "{arguments:?}: {code:?} {error}"
        );
    }
}
