//! PostgreSQL's own tools through the proxy: dump and restore, maintenance, base backups, logical decoding.
//!
//! Where a tool is too old for the server it refuses to work; then it must do so in the same words.

mod support;

use std::path::Path;
use std::process::Output;

use bemi::demo::cluster::Cluster;
use serde_json::Value as Json;
use support::wal::WalReader;
use support::{program, proxy, version};

const TABLES: &str = "
    CREATE SCHEMA app;
    CREATE TYPE app.mood AS ENUM ('calm', 'busy');
    CREATE TABLE app.todo (id serial PRIMARY KEY, task text, mood app.mood DEFAULT 'calm');
    CREATE VIEW app.open AS SELECT * FROM app.todo WHERE mood = 'calm';
    CREATE FUNCTION app.add(task text) RETURNS void LANGUAGE sql AS 'INSERT INTO app.todo (task) VALUES (task)';
    CREATE RULE quiet AS ON UPDATE TO app.open DO INSTEAD (UPDATE app.todo SET task = NEW.task WHERE id = NEW.id);
    INSERT INTO app.todo (task) SELECT 'tab\\t and back\\\\slash ' || n FROM generate_series(1, 3000) AS n;";

async fn run(cluster: &Cluster, tool: &str, port: u16, database: &str, arguments: &[&str]) -> Output {
    let mut command = program::libpq(cluster, tool, port, database);
    command
        .args(arguments)
        .env("PGOPTIONS", program::option("bemi.context", r#"{"user_id":1}"#));
    program::run(command).await
}

/// What a tool said, without the ports.
fn said(output: &Output, port: u16) -> String {
    let text = program::text(&output.stdout) + &program::text(&output.stderr) + &output.status.to_string();
    // A random key that makes each dump of newer tools its own.
    let lines = text
        .lines()
        .filter(|line| !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict"));
    lines
        .collect::<Vec<_>>()
        .join("\n")
        .replace(&port.to_string(), "PORT")
}

#[tokio::test]
async fn a_dump_is_the_same_and_can_be_restored_with_context() {
    let cluster = support::cluster();
    let proxy = proxy::start(cluster).await;
    let [original, copy] = [support::database(cluster).await, support::database(cluster).await];
    let direct = support::connect(cluster.port(), &original).await;
    direct.batch_execute(TABLES).await.unwrap();
    let wal = WalReader::create(cluster, &copy).await;

    let arguments = ["--no-publications"];
    let expected = run(cluster, "pg_dump", cluster.port(), &original, &arguments).await;
    let dump = run(cluster, "pg_dump", proxy.port(), &original, &arguments).await;
    assert_eq!(said(&expected, cluster.port()), said(&dump, proxy.port()));
    if !expected.status.success() {
        return version::not_tested("what a dump holds: pg_dump is too old for the server");
    }
    let mut psql = program::libpq(cluster, "psql", proxy.port(), &copy);
    psql.args(["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1"])
        .env("PGOPTIONS", program::option("bemi.context", r#"{"user_id":1}"#));
    let restored = program::run_with_input(psql, &dump.stdout).await;
    assert!(restored.status.success(), "{}", program::text(&restored.stderr));
    let again = run(cluster, "pg_dump", cluster.port(), &copy, &arguments).await;
    assert_eq!(said(&expected, cluster.port()), said(&again, cluster.port()));

    let contexts: Vec<_> = wal
        .transactions()
        .await
        .iter()
        .flat_map(|t| t.contexts())
        .collect();
    assert_eq!(contexts.len(), 3000);
    for context in contexts {
        let context = context.expect("a context");
        assert_eq!(context["user_id"], Json::from(1));
        assert!(
            context["SQL"]
                .as_str()
                .expect("a statement")
                .starts_with("COPY app.todo")
        );
    }
}

#[tokio::test]
async fn an_archive_is_restored_by_several_jobs() {
    let cluster = support::cluster();
    let proxy = proxy::start(cluster).await;
    let [original, copy] = [support::database(cluster).await, support::database(cluster).await];
    let direct = support::connect(cluster.port(), &original).await;
    direct.batch_execute(TABLES).await.unwrap();
    let directory = tempfile::tempdir().expect("a directory");
    let archive = directory.path().join("archive");
    let archive = archive.to_str().expect("UTF-8");
    let dump = ["--format=directory", "--jobs=3", "--file", archive];
    let dumped = run(cluster, "pg_dump", proxy.port(), &original, &dump).await;
    if !dumped.status.success() {
        let expected = run(cluster, "pg_dump", cluster.port(), &original, &dump).await;
        assert_eq!(said(&expected, cluster.port()), said(&dumped, proxy.port()));
        return version::not_tested("restoring by several jobs: pg_dump is too old for the server");
    }
    let restore = ["--jobs=3", "--exit-on-error", "--dbname", &copy, archive];
    let restored = run(cluster, "pg_restore", proxy.port(), &copy, &restore).await;
    assert!(restored.status.success(), "{}", said(&restored, proxy.port()));
    let arguments: [&str; 0] = [];
    let dumps = [
        run(cluster, "pg_dump", cluster.port(), &original, &arguments).await,
        run(cluster, "pg_dump", cluster.port(), &copy, &arguments).await,
    ];
    assert_eq!(said(&dumps[0], cluster.port()), said(&dumps[1], cluster.port()));
}

#[tokio::test]
async fn maintenance_goes_through() {
    let cluster = support::cluster();
    let proxy = proxy::start(cluster).await;
    let database = support::database(cluster).await;
    support::connect(cluster.port(), &database)
        .await
        .batch_execute(TABLES)
        .await
        .unwrap();
    let tools: [(&str, &[&str]); 5] = [
        ("pg_isready", &[]),
        ("vacuumdb", &["--analyze", "--table=app.todo", "--echo"]),
        ("reindexdb", &["--concurrently", "--schema=app", "--echo"]),
        ("clusterdb", &["--echo"]),
        ("createuser", &["--echo", "postgres"]),
    ];
    for (tool, arguments) in tools {
        let expected = run(cluster, tool, cluster.port(), &database, arguments).await;
        let proxied = run(cluster, tool, proxy.port(), &database, arguments).await;
        assert_eq!(
            said(&expected, cluster.port()),
            said(&proxied, proxy.port()),
            "{tool}"
        );
    }
}

/// The files of a base backup, without what differs from backup to backup.
fn files(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        found.push(entry.file_name().display().to_string());
    }
    found.sort();
    found
}

#[tokio::test]
async fn replication_connections_are_raw_pipes() {
    let cluster = support::cluster();
    let proxy = proxy::start(cluster).await;
    let database = support::database(cluster).await;
    let directory = tempfile::tempdir().expect("a directory");
    let mut backups = Vec::new();
    for port in [cluster.port(), proxy.port()] {
        let target = directory.path().join("backup");
        let target = target.to_str().expect("UTF-8");
        let arguments = [
            "--pgdata",
            target,
            "--wal-method=stream",
            "--checkpoint=fast",
            "--no-sync",
        ];
        let mut command = program::libpq(cluster, "pg_basebackup", port, &database);
        command.args(arguments);
        let output = program::run(command).await;
        backups.push((said(&output, port), files(Path::new(target))));
        // There is none where the tool refused to work.
        let _ = std::fs::remove_dir_all(target);
    }
    assert_eq!(backups[0], backups[1]);

    let direct = support::connect(cluster.port(), &database).await;
    direct
        .batch_execute("SELECT pg_create_logical_replication_slot('tools', 'test_decoding')")
        .await
        .unwrap();
    direct
        .batch_execute("CREATE TABLE todo (id int); INSERT INTO todo SELECT generate_series(1, 2000)")
        .await
        .unwrap();
    let end: String = direct
        .query_one("SELECT pg_current_wal_lsn()::text", &[])
        .await
        .unwrap()
        .get(0);
    direct.batch_execute("INSERT INTO todo VALUES (0)").await.unwrap();
    let mut command = program::libpq(cluster, "pg_recvlogical", proxy.port(), &database);
    command.args([
        "--dbname",
        &database,
        "--slot=tools",
        "--start",
        "--file=-",
        "--no-loop",
        "--endpos",
        &end,
    ]);
    let output = program::run(command).await;
    assert!(output.status.success(), "{}", said(&output, proxy.port()));
    assert_eq!(program::text(&output.stdout).matches("INSERT: id").count(), 2000);
}
