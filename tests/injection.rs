//! The rules of injection, on a real server: what arrives in the write-ahead log for each kind of write.

mod support;

use serde_json::{Value as Json, json};
use support::proxy::{self, RunningProxy};
use support::version;
use support::wal::WalReader;
use tokio_postgres::Client;

const CONTEXT: &str = r#"{"user_id":1}"#;

const SCHEMA: &str = "
    CREATE TABLE todo (id int PRIMARY KEY, task text, done boolean DEFAULT false);
    CREATE TABLE other (id int);
    CREATE PROCEDURE add_todo(id int) LANGUAGE sql AS 'INSERT INTO todo VALUES (id)';
    CREATE PROCEDURE add_and_commit(id int) LANGUAGE plpgsql AS 'BEGIN INSERT INTO todo VALUES (id); COMMIT; END';
    CREATE FUNCTION new_todo(id int) RETURNS int LANGUAGE sql AS 'INSERT INTO todo VALUES (id) RETURNING id';
    INSERT INTO todo SELECT n, 'task ' || n FROM generate_series(1, 5) n;
    PREPARE ignored AS SELECT 1;
";

/// A database with a table `todo`, a reader of its log, and a client behind a proxy that has set [`CONTEXT`].
struct Stage {
    direct: Client,
    client: Client,
    wal: WalReader,
    _proxy: RunningProxy,
}

async fn stage() -> Stage {
    stage_with(|_| {}).await
}

async fn stage_with(adjust: impl FnOnce(&mut bemi::config::Config)) -> Stage {
    let cluster = support::cluster();
    let database = support::database(cluster).await;
    let direct = support::connect(cluster.port(), &database).await;
    direct.batch_execute(SCHEMA).await.expect("tables");
    let wal = WalReader::create(cluster, &database).await;
    let proxy = proxy::start_with(cluster, adjust).await;
    let client = support::connect(proxy.port(), &database).await;
    client
        .batch_execute(&format!("SET bemi.context = '{CONTEXT}'"))
        .await
        .expect("a context");
    Stage {
        direct,
        client,
        wal,
        _proxy: proxy,
    }
}

fn with_sql(sql: &str) -> Json {
    json!({"user_id": 1, "SQL": sql})
}

/// Every kind of write that counts as one everywhere.
const WRITES: &[&str] = &[
    "INSERT INTO todo VALUES (10, 'x')",
    "INSERT INTO todo VALUES (10, 'x') ON CONFLICT (id) DO UPDATE SET task = 'y' RETURNING *",
    "INSERT INTO todo SELECT id + 100, task FROM todo",
    "UPDATE todo SET done = true WHERE id = 1",
    "UPDATE ONLY todo AS t SET done = NOT done RETURNING id",
    "DELETE FROM todo WHERE id = 2",
    "TRUNCATE todo",
    "TRUNCATE TABLE ONLY todo, other",
    "WITH gone AS (DELETE FROM todo RETURNING *) SELECT count(*) FROM gone",
    "WITH ids AS (SELECT 11 AS id) INSERT INTO todo SELECT id FROM ids",
    "WITH RECURSIVE n (i) AS (VALUES (20) UNION ALL SELECT i + 1 FROM n WHERE i < 22) INSERT INTO todo SELECT i FROM n",
    "EXPLAIN ANALYZE INSERT INTO todo VALUES (12)",
    "EXPLAIN (ANALYZE, COSTS off) UPDATE todo SET done = true",
    "/* a comment */ INSERT INTO todo /* within */ VALUES (13, 'a; b') -- behind",
    "COPY todo (id) FROM PROGRAM 'echo 14'",
];

/// The same, of what came with a later version than the oldest.
const NEWER_WRITES: &[(u32, &str)] = &[
    (
        15,
        "MERGE INTO todo USING (VALUES (1)) AS new (id) ON todo.id = new.id WHEN MATCHED THEN UPDATE SET done = true",
    ),
    (
        17,
        "MERGE INTO todo USING (VALUES (1)) AS new (id) ON todo.id = new.id WHEN MATCHED THEN DO NOTHING \
         WHEN NOT MATCHED BY SOURCE THEN DELETE RETURNING merge_action(), todo.id",
    ),
    (
        17,
        "WITH merged AS (MERGE INTO todo USING (VALUES (21)) AS new (id) ON todo.id = new.id \
         WHEN NOT MATCHED THEN INSERT (id) VALUES (new.id) RETURNING todo.*) SELECT * FROM merged",
    ),
    (
        17,
        "COPY todo (id) FROM PROGRAM 'echo no number; echo 15' WITH (ON_ERROR ignore)",
    ),
    (
        18,
        "UPDATE todo SET done = true WHERE id = 1 RETURNING WITH (OLD AS before) before.done, new.done",
    ),
];

/// What is no write, or changes no row.
const READS: &[&str] = &[
    "SELECT * FROM todo FOR UPDATE",
    "SELECT 'INSERT INTO todo VALUES (1)'",
    "EXPLAIN INSERT INTO todo VALUES (12)",
    "EXPLAIN (ANALYZE false) INSERT INTO todo VALUES (12)",
    "COPY todo TO PROGRAM 'cat > /dev/null'",
    "VALUES (1), (2)",
    "SHOW bemi.context",
    "CREATE TABLE made (id int)",
    "CREATE INDEX ON todo (task)",
    "ANALYZE todo",
    "LISTEN somebody",
    "NOTIFY somebody",
];

#[derive(Debug, Clone, Copy, PartialEq)]
enum Protocol {
    Simple,
    Extended,
}

/// Runs a statement in a transaction of its own or in a block, over either protocol.
async fn run(client: &Client, sql: &str, protocol: Protocol, in_block: bool) {
    if in_block {
        client.batch_execute("BEGIN").await.expect("a block");
    }
    let done = match protocol {
        Protocol::Simple => client.batch_execute(sql).await,
        Protocol::Extended => client.query(sql, &[]).await.map(drop),
    };
    done.unwrap_or_else(|error| panic!("{sql}: {error}"));
    if in_block {
        client.batch_execute("COMMIT").await.expect("a commit");
    }
}

async fn reset(stage: &Stage) {
    let reset = "TRUNCATE todo; INSERT INTO todo SELECT n, 'task ' || n FROM generate_series(1, 5) n; DROP TABLE IF EXISTS made";
    stage.direct.batch_execute(reset).await.expect("the rows back");
    stage.wal.transactions().await;
}

#[tokio::test]
async fn every_kind_of_write_stands_behind_its_message_in_both_protocols_and_in_blocks() {
    let stage = stage().await;
    let newer = NEWER_WRITES
        .iter()
        .filter(|(major, sql)| version::has(support::cluster(), sql, *major));
    for sql in WRITES.iter().chain(newer.map(|(_, sql)| sql)) {
        for protocol in [Protocol::Simple, Protocol::Extended] {
            for in_block in [false, true] {
                reset(&stage).await;
                run(&stage.client, sql, protocol, in_block).await;
                let transaction = stage.wal.transaction().await;
                let what = format!("{sql} ({protocol:?}, in a block: {in_block})");
                assert_eq!(transaction.messages(), [with_sql(sql)], "{what}");
                let contexts = transaction.contexts();
                assert!(!contexts.is_empty(), "{what}: no row changed");
                assert!(
                    contexts.iter().all(|context| *context == Some(with_sql(sql))),
                    "{what}"
                );
            }
        }
    }
}

#[tokio::test]
async fn what_is_no_write_leaves_no_message() {
    let stage = stage().await;
    for sql in READS {
        for protocol in [Protocol::Simple, Protocol::Extended] {
            for in_block in [false, true] {
                reset(&stage).await;
                run(&stage.client, sql, protocol, in_block).await;
                let transactions = stage.wal.transactions().await;
                let messages: Vec<Json> = transactions.iter().flat_map(|t| t.messages()).collect();
                assert!(
                    messages.is_empty(),
                    "{sql} ({protocol:?}, in a block: {in_block}): {messages:?}"
                );
            }
        }
    }
}

#[tokio::test]
async fn tables_made_from_a_query_count_as_written() {
    let stage = stage().await;
    let writes = [
        "CREATE TABLE made AS SELECT * FROM todo",
        "CREATE TABLE IF NOT EXISTS made (a, b, c) AS SELECT * FROM todo WITH DATA",
        "SELECT * INTO made FROM todo",
    ];
    for sql in writes {
        for protocol in [Protocol::Simple, Protocol::Extended] {
            for in_block in [false, true] {
                reset(&stage).await;
                run(&stage.client, sql, protocol, in_block).await;
                assert_eq!(
                    stage.wal.transaction().await.messages(),
                    [with_sql(sql)],
                    "{sql} ({protocol:?}, {in_block})"
                );
            }
        }
    }
}

#[tokio::test]
async fn call_and_do_count_inside_a_block_only() {
    let stage = stage().await;
    let statements = [
        "CALL add_todo(30)",
        "DO $$ BEGIN INSERT INTO todo VALUES (31); END $$",
    ];
    for sql in statements {
        for protocol in [Protocol::Simple, Protocol::Extended] {
            reset(&stage).await;
            run(&stage.client, sql, protocol, false).await;
            assert_eq!(
                stage.wal.transaction().await.contexts(),
                [None],
                "{sql} ({protocol:?})"
            );
            reset(&stage).await;
            run(&stage.client, sql, protocol, true).await;
            assert_eq!(
                stage.wal.transaction().await.contexts(),
                [Some(with_sql(sql))],
                "{sql} ({protocol:?})"
            );
        }
    }
}

#[tokio::test]
async fn a_procedure_that_commits_still_may() {
    let stage = stage().await;
    for protocol in [Protocol::Simple, Protocol::Extended] {
        reset(&stage).await;
        run(&stage.client, "CALL add_and_commit(32)", protocol, false).await;
        assert_eq!(stage.wal.transaction().await.contexts(), [None], "{protocol:?}");
    }
}

#[tokio::test]
async fn what_must_stand_alone_still_does() {
    let stage = stage().await;
    for sql in [
        "VACUUM todo",
        "CREATE INDEX CONCURRENTLY made_index ON todo (task)",
        "DROP INDEX CONCURRENTLY made_index",
    ] {
        stage
            .client
            .batch_execute(sql)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    stage
        .client
        .batch_execute("ALTER SYSTEM SET work_mem = '5MB'")
        .await
        .expect("alone");
    assert!(
        stage
            .wal
            .transactions()
            .await
            .iter()
            .all(|t| t.messages().is_empty())
    );
}

#[tokio::test]
async fn execute_of_a_prepared_write_is_a_write() {
    let stage = stage().await;
    stage
        .client
        .batch_execute("PREPARE add (int) AS INSERT INTO todo VALUES ($1); PREPARE look AS TABLE todo")
        .await
        .unwrap();
    for protocol in [Protocol::Simple, Protocol::Extended] {
        for sql in ["EXECUTE add(40)", "EXPLAIN ANALYZE EXECUTE add(41)"] {
            reset(&stage).await;
            run(&stage.client, sql, protocol, false).await;
            assert_eq!(
                stage.wal.transaction().await.contexts(),
                [Some(with_sql(sql))],
                "{sql} ({protocol:?})"
            );
        }
        run(&stage.client, "EXECUTE look", protocol, false).await;
        assert!(stage.wal.transactions().await.is_empty());
        reset(&stage).await;
        run(
            &stage.client,
            "CREATE TABLE made AS EXECUTE look",
            protocol,
            false,
        )
        .await;
        assert_eq!(
            stage.wal.transaction().await.messages(),
            [with_sql("CREATE TABLE made AS EXECUTE look")]
        );
    }
    stage
        .client
        .batch_execute("DEALLOCATE add; PREPARE add (int) AS SELECT $1")
        .await
        .unwrap();
    run(&stage.client, "EXECUTE add(42)", Protocol::Simple, false).await;
    assert!(stage.wal.transactions().await.is_empty());
}

#[tokio::test]
async fn every_write_of_a_text_gets_its_own_message_in_one_transaction() {
    let stage = stage().await;
    let text = "INSERT INTO todo VALUES (50); SELECT 1; UPDATE todo SET done = true WHERE id = 50 ;; DELETE FROM todo WHERE id = 50;";
    let rows = stage.client.simple_query(text).await.unwrap();
    let messages: Vec<String> = rows.iter().map(|message| format!("{message:?}")).collect();
    let transaction = stage.wal.transaction().await;
    assert_eq!(
        transaction.contexts(),
        [
            Some(with_sql("INSERT INTO todo VALUES (50)")),
            Some(with_sql("UPDATE todo SET done = true WHERE id = 50")),
            Some(with_sql("DELETE FROM todo WHERE id = 50")),
        ]
    );
    let direct = stage.direct.simple_query(text).await.unwrap();
    let expected: Vec<String> = direct.iter().map(|message| format!("{message:?}")).collect();
    assert_eq!(messages, expected);
}

#[tokio::test]
async fn begin_and_commit_inside_a_text_divide_it_as_without_a_proxy() {
    let stage = stage().await;
    let text = "INSERT INTO todo VALUES (51); BEGIN; INSERT INTO todo VALUES (52); COMMIT; INSERT INTO todo VALUES (53)";
    stage.client.batch_execute(text).await.unwrap();
    let transactions = stage.wal.transactions().await;
    let contexts: Vec<_> = transactions.iter().map(|t| t.contexts()).collect();
    let of = |id| Some(with_sql(&format!("INSERT INTO todo VALUES ({id})")));
    assert_eq!(contexts, [vec![of(51), of(52)], vec![of(53)]]);
}

#[tokio::test]
async fn a_message_rolled_back_to_a_savepoint_is_emitted_again() {
    let stage = stage().await;
    let insert = |id: i32| format!("INSERT INTO todo VALUES ({id}) /*same*/");
    stage.client.batch_execute("BEGIN; SAVEPOINT s").await.unwrap();
    stage
        .client
        .execute("UPDATE todo SET done = true WHERE id = $1", &[&1])
        .await
        .unwrap();
    stage.client.batch_execute("ROLLBACK TO s").await.unwrap();
    stage
        .client
        .execute("UPDATE todo SET done = true WHERE id = $1", &[&2])
        .await
        .unwrap();
    stage
        .client
        .execute("UPDATE todo SET done = true WHERE id = $1", &[&3])
        .await
        .unwrap();
    stage.client.batch_execute(&insert(60)).await.unwrap();
    stage.client.batch_execute("COMMIT").await.unwrap();
    let transaction = stage.wal.transaction().await;
    let update = with_sql("UPDATE todo SET done = true WHERE id = $1");
    assert_eq!(
        transaction.messages(),
        [update, with_sql(&insert(60))],
        "one for both updates, none from before"
    );
}

#[tokio::test]
async fn a_write_without_context_is_not_blamed_on_the_one_before() {
    let stage = stage().await;
    stage
        .client
        .batch_execute("BEGIN; INSERT INTO todo VALUES (61)")
        .await
        .unwrap();
    stage.client.batch_execute("RESET bemi.context").await.unwrap();
    stage
        .client
        .batch_execute("INSERT INTO todo VALUES (62)")
        .await
        .unwrap();
    stage
        .client
        .execute("INSERT INTO todo VALUES (63)", &[])
        .await
        .unwrap();
    stage.client.batch_execute("COMMIT").await.unwrap();
    let transaction = stage.wal.transaction().await;
    assert_eq!(
        transaction.contexts(),
        [
            Some(with_sql("INSERT INTO todo VALUES (61)")),
            Some(json!({})),
            Some(json!({}))
        ]
    );
    assert_eq!(transaction.messages().len(), 2, "{{}} once");
}

#[tokio::test]
async fn error_positions_are_those_of_the_clients_own_text() {
    let stage = stage().await;
    for text in [
        "INSERT INTO todo VALUES (1, 'é', nonsense)",
        "INSERT INTO todo VALUES (70); INSERT INTO nowhere VALUES (1)",
        "INSERT INTO todo VALUES (71) RETURNING nonsense",
        "UPDATE todo SET 'é' = ",
        "SELECT 'é'; DELETE FROM todo WHERE nonsense; SELECT 1",
        "INSERT INTO todo VALUES (1)",
    ] {
        let position = |error: tokio_postgres::Error| {
            let error = error.as_db_error().expect("an error of the server").clone();
            (
                error.code().code().to_owned(),
                error.message().to_owned(),
                error.position().cloned(),
            )
        };
        let direct = position(stage.direct.batch_execute(text).await.expect_err("an error"));
        let proxied = position(stage.client.batch_execute(text).await.expect_err("an error"));
        assert_eq!(proxied, direct, "{text}");
        let direct = stage.direct.query(text, &[]).await.map_err(position).err();
        let proxied = stage.client.query(text, &[]).await.map_err(position).err();
        assert_eq!(proxied, direct, "{text}");
    }
}

#[tokio::test]
async fn a_server_that_knows_no_characters_counts_bytes() {
    let cluster = support::cluster();
    let direct = support::connect(cluster.port(), "postgres").await;
    let make =
        "CREATE DATABASE bytes_only TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'";
    direct.batch_execute(make).await.expect("a database");
    let proxy = proxy::start(cluster).await;
    let mut positions = Vec::new();
    for port in [cluster.port(), proxy.port()] {
        let client = support::connect(port, "bytes_only").await;
        client
            .batch_execute("CREATE TABLE IF NOT EXISTS todo (id int); SET bemi.context = '{\"a\": 1}'")
            .await
            .expect("a table");
        let text =
            "INSERT INTO todo SELECT length('é'); INSERT INTO todo SELECT length('é'); DELETE FROM nowhere";
        let error = client.batch_execute(text).await.expect_err("no such table");
        positions.push(
            error
                .as_db_error()
                .expect("an error of the server")
                .position()
                .cloned(),
        );
    }
    assert_eq!(positions[0], positions[1]);
    assert!(positions[0].is_some());
}

#[tokio::test]
async fn a_write_that_may_not_be_recorded_fails() {
    let stage = stage().await;
    let name: String = stage
        .direct
        .query_one("SELECT current_database()", &[])
        .await
        .unwrap()
        .get(0);
    let denied = format!(
        "CREATE ROLE denied_{name} LOGIN; GRANT ALL ON todo TO denied_{name};
         DO $$ DECLARE f regprocedure; BEGIN
             FOR f IN SELECT oid FROM pg_proc WHERE proname = 'pg_logical_emit_message' LOOP
                 EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM public', f);
             END LOOP;
         END $$"
    );
    stage.direct.batch_execute(&denied).await.unwrap();
    stage
        .client
        .batch_execute(&format!("SET SESSION AUTHORIZATION denied_{name}"))
        .await
        .unwrap();
    let error = stage
        .client
        .batch_execute("INSERT INTO todo VALUES (80)")
        .await
        .expect_err("refused");
    assert_eq!(error.code().map(|code| code.code()), Some("42501"));
    let error = stage
        .client
        .execute("INSERT INTO todo VALUES (81)", &[])
        .await
        .expect_err("refused");
    assert_eq!(error.code().map(|code| code.code()), Some("42501"));
    assert!(stage.wal.transactions().await.is_empty());
}

#[tokio::test]
async fn the_reserved_statement_is_never_seen() {
    let stage = stage().await;
    let names = "SELECT name FROM pg_prepared_statements ORDER BY name";
    stage
        .client
        .execute("INSERT INTO todo VALUES (90)", &[])
        .await
        .unwrap();
    for row in stage.client.query(names, &[]).await.unwrap() {
        assert_ne!(row.get::<_, String>(0), "_bemi");
    }
    stage
        .client
        .execute("INSERT INTO todo VALUES (91)", &[])
        .await
        .unwrap();
    let seen = format!("{:?}", stage.client.simple_query(names).await.unwrap());
    assert!(!seen.contains("_bemi"), "{seen}");
    stage
        .client
        .execute("INSERT INTO todo VALUES (92)", &[])
        .await
        .unwrap();
    assert_eq!(stage.wal.transactions().await.len(), 3);
}

#[tokio::test]
async fn writes_go_on_after_discard_all_and_deallocate_all() {
    let stage = stage().await;
    for (id, forget) in [(95, "DISCARD ALL"), (96, "DEALLOCATE ALL")] {
        stage
            .client
            .execute("INSERT INTO todo SELECT 94 WHERE false", &[])
            .await
            .unwrap();
        stage.client.batch_execute(forget).await.unwrap();
        stage
            .client
            .batch_execute(&format!("SET bemi.context = '{CONTEXT}'"))
            .await
            .unwrap();
        stage.wal.transactions().await;
        let sql = format!("INSERT INTO todo VALUES ({id})");
        stage.client.execute(&sql, &[]).await.unwrap();
        assert_eq!(
            stage.wal.transaction().await.contexts(),
            [Some(with_sql(&sql))],
            "{forget}"
        );
    }
}

#[tokio::test]
async fn tables_are_chosen_by_include_and_exclude() {
    let include = |config: &mut bemi::config::Config| {
        config.inject.include = vec!["todo".parse().unwrap()];
        config.inject.functions = vec!["new_todo".parse().unwrap()];
    };
    let stage = stage_with(include).await;
    for (sql, carries) in [
        ("INSERT INTO other VALUES (1)", false),
        ("INSERT INTO public.todo VALUES (100)", true),
        ("TRUNCATE other, todo", true),
        ("SELECT new_todo(101)", true),
        ("SELECT public.new_todo(102)", true),
        (
            "CREATE TABLE made AS WITH w AS (INSERT INTO todo VALUES (104) RETURNING id) SELECT id FROM w",
            true,
        ),
    ] {
        stage.client.batch_execute(sql).await.unwrap();
        let expected = if carries { vec![with_sql(sql)] } else { vec![] };
        assert_eq!(stage.wal.transaction().await.messages(), expected, "{sql}");
    }
    stage
        .client
        .batch_execute("BEGIN; INSERT INTO todo VALUES (103); INSERT INTO other VALUES (2); COMMIT")
        .await
        .unwrap();
    let contexts = stage.wal.transaction().await.contexts();
    assert_eq!(
        contexts,
        [Some(with_sql("INSERT INTO todo VALUES (103)")), Some(json!({}))]
    );
}

#[tokio::test]
async fn the_statement_may_be_normalized_cut_or_left_out() {
    use bemi::config::SqlText;
    let sql = "INSERT INTO todo VALUES (110, 'secret')";
    for (mode, max, shown) in [
        (
            SqlText::Normalized,
            1000,
            json!({"user_id": 1, "SQL": "INSERT INTO todo VALUES ($1, $2)"}),
        ),
        (SqlText::Full, 11, json!({"user_id": 1, "SQL": "INSERT INTO"})),
        (SqlText::Off, 1000, json!({"user_id": 1})),
    ] {
        let stage = stage_with(|config| {
            config.inject.sql = mode;
            config.inject.sql_max_bytes = max;
        })
        .await;
        stage.client.batch_execute(sql).await.unwrap();
        assert_eq!(stage.wal.transaction().await.contexts(), [Some(shown)]);
    }
}

#[tokio::test]
async fn copy_from_the_client_carries_context() {
    let stage = stage().await;
    let sql = "COPY todo (id) FROM STDIN";
    let mut sink = Box::pin(stage.client.copy_in(sql).await.unwrap());
    futures_util::SinkExt::send(&mut sink, bytes::Bytes::from_static(b"120\n121\n"))
        .await
        .unwrap();
    assert_eq!(sink.as_mut().finish().await.unwrap(), 2);
    assert_eq!(
        stage.wal.transaction().await.contexts(),
        [Some(with_sql(sql)), Some(with_sql(sql))]
    );
}
