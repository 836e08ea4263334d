//! psql cannot tell the proxy from the server: what it prints is the same, byte for byte.
//!
//! Each script runs four times, on a fresh database each time: directly and through the proxy, without and with a
//! context in PGOPTIONS. The write-ahead log must hold the same changes, and a context exactly where there was one.

mod same;
#[path = "../support/mod.rs"]
mod support;

use same::{Script, same, same_script, same_with};
use support::version;
use support::wal::Transaction;

#[tokio::test]
async fn every_kind_of_statement_prints_the_same() {
    // Where it is a syntax error, that is what both print, and a row is missing.
    let copied = match version::has(support::cluster(), "MERGE", 15) {
        true => "SELECT 6",
        false => "SELECT 5",
    };
    let printed = same(
        "INSERT INTO todo VALUES (10, 'ten') RETURNING id, task;
         INSERT INTO todo VALUES (11, E'quoted '' \\\\ $1 ; semicolon') RETURNING *;
         UPDATE todo SET done = true WHERE id < 3 RETURNING id;
         DELETE FROM todo WHERE id = 3;
         MERGE INTO todo USING (VALUES (4, 'four'), (40, 'forty')) AS new (id, task) ON todo.id = new.id
             WHEN MATCHED THEN UPDATE SET task = new.task WHEN NOT MATCHED THEN INSERT VALUES (new.id, new.task);
         WITH gone AS (DELETE FROM todo WHERE id = 5 RETURNING *) SELECT * FROM gone;
         EXPLAIN (ANALYZE, COSTS off, TIMING off, SUMMARY off, BUFFERS off) UPDATE todo SET done = false;
         EXPLAIN (COSTS off) UPDATE todo SET done = false;
         CREATE TABLE copied AS SELECT * FROM todo;
         SELECT * INTO copied_again FROM todo;
         CREATE TABLE IF NOT EXISTS copied AS SELECT * FROM todo;
         TRUNCATE other;
         PREPARE put (int, text) AS INSERT INTO todo VALUES ($1, $2) RETURNING task;
         EXECUTE put(50, 'fifty');
         EXECUTE put(50, 'fifty');
         DEALLOCATE put;
         EXECUTE put(51, 'fifty one');
         VACUUM todo;
         CREATE INDEX CONCURRENTLY ON todo (task);
         SELECT count(*) FROM todo;
         SELECT 1 AS one \\; SELECT 2 AS two \\; INSERT INTO other (note) VALUES ('x') RETURNING note;
         ;;
         TABLE todo ORDER BY id;
         \\d todo
         \\dt
         SELECT name, statement FROM pg_prepared_statements;",
    )
    .await;
    for expected in ["INSERT 0 1", "UPDATE 2", copied, "TRUNCATE TABLE", "VACUUM"] {
        assert!(printed.contains(expected), "no {expected} in:\n{printed}");
    }
}

#[tokio::test]
async fn errors_point_to_the_same_place() {
    let printed = same(
        "INSERT INTO todo VALUES (10, 'ten', nonsense);
         SELECT 1 \\; INSERT INTO todo VALUES (10, 'é €'), (11, mistake) \\; SELECT 2;
         INSERT INTO todo
             VALUES (10, 'several lines'),
                    (11, wrong_here);
         /* comment */ UPDATE todo SET nowhere = 1;
         DELETE FROM nowhere;
         INSERT INTO todo VALUES (1, 'duplicate');
         INSERT INTO todo VALUES (1, 'over two lines
         ', mistake);
         INSERT INTO;
         SELECT * FRM todo;
         INSERT INTO other (note) VALUES ('one') \\; INSERT INTO other (note) VALUES (NULL);
         INSERT INTO other (note) VALUES ('one') \\; INSERT INTO other (note) SELECT 1/0 \\; SELECT 'not reached';
         \\errverbose
         \\set VERBOSITY verbose
         UPDATE todo SET done = 'maybe';
         \\set VERBOSITY sqlstate
         UPDATE todo SET done = 'maybe';
         \\set VERBOSITY terse
         INSERT INTO todo VALUES (12, nonsense);
         SELECT id, task FROM todo ORDER BY id;",
    )
    .await;
    for line in [
        "LINE 1: INSERT INTO todo VALUES (10, 'ten', nonsense);\n                                            ^",
        "LINE 3:                     (11, wrong_here);\n                                 ^",
    ] {
        assert!(printed.contains(line), "no {line} in:\n{printed}");
    }
}

#[tokio::test]
async fn errors_in_functions_and_notices_keep_their_context() {
    same(
        "CREATE FUNCTION warned() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN RAISE NOTICE 'row %', NEW.id; RETURN NEW; END $$;
         CREATE TRIGGER warned BEFORE INSERT ON todo FOR EACH ROW EXECUTE FUNCTION warned();
         INSERT INTO todo VALUES (10, 'a'), (11, 'b');
         CREATE FUNCTION failing() RETURNS int LANGUAGE plpgsql AS $$
         BEGIN EXECUTE 'SELECT nonsense FROM todo'; RETURN 1; END $$;
         INSERT INTO todo VALUES (failing());
         SELECT 1 \\; INSERT INTO todo VALUES (failing());
         CREATE FUNCTION broken() RETURNS int LANGUAGE sql AS 'SELECT mistake';
         INSERT INTO todo VALUES (12) \\; CREATE FUNCTION broken() RETURNS int LANGUAGE sql AS 'SELECT mistake';
         DO $$ BEGIN RAISE WARNING 'from a block'; END $$;
         DROP TABLE IF EXISTS never_there;
         INSERT INTO todo VALUES (13) \\; DROP TABLE IF EXISTS never_there;
         CREATE TABLE other_names (abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz int);
         ROLLBACK;
         BEGIN; BEGIN; COMMIT; COMMIT;",
    )
    .await;
}

#[tokio::test]
async fn copy_in_and_out_prints_and_writes_the_same() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("todo.csv");
    let file = file.to_str().expect("UTF-8");
    let printed = same(&format!(
        "COPY todo (id, task) FROM STDIN;
10\tten
11\televen \\\\ back
12\t\\N
\\.
COPY todo (id, task) FROM STDIN WITH (FORMAT csv);
13,\"with, comma\"
\\.
COPY todo (id, task) FROM STDIN;
14\tfine
oops\tnot a number
15\tnever
\\.
COPY todo FROM STDIN \\; INSERT INTO todo VALUES (21, 'behind a copy');
20\tin a text\tt
\\.
INSERT INTO todo VALUES (22, 'ahead') \\; COPY todo (id) FROM STDIN;
23
\\.
COPY nowhere FROM STDIN;
\\.
COPY todo TO STDOUT;
COPY (SELECT task FROM todo WHERE id < 3) TO STDOUT WITH (FORMAT csv, HEADER);
\\copy (SELECT * FROM todo ORDER BY id) TO '{file}' WITH (FORMAT csv)
DELETE FROM todo;
\\copy todo FROM '{file}' WITH (FORMAT csv)
\\copy todo FROM '/nowhere/to/be/found'
\\copy todo (id) FROM PROGRAM 'seq 1000 3000'
\\copy todo (id) FROM STDIN
30
31
\\.
BEGIN;
COPY todo (id) FROM STDIN;
40
\\.
COPY todo (id) FROM STDIN;
1000
\\.
COMMIT;
SELECT count(*), sum(id) FROM todo;
"
    ))
    .await;
    assert!(printed.contains("COPY 2001"), "{printed}");
    assert!(
        printed.contains("CONTEXT:  COPY todo, line 2, column id"),
        "{printed}"
    );
}

#[tokio::test]
async fn psql_variables_and_meta_commands_work_the_same() {
    same(
        "SELECT id, task FROM todo \\gdesc
         INSERT INTO todo VALUES (20, 'x') RETURNING id, done \\gdesc
         INSERT INTO todo VALUES (20, 'x') RETURNING id AS new_id, done \\gset
         \\echo :new_id :done :ROW_COUNT :SQLSTATE :ERROR
         INSERT INTO todo VALUES (20, 'x');
         \\echo :ERROR :SQLSTATE :LAST_ERROR_MESSAGE
         SELECT format('INSERT INTO todo VALUES (%s, %L)', n, 'gexec') FROM generate_series(30, 32) AS n \\gexec
         INSERT INTO todo VALUES ($1, $2) RETURNING id \\bind 40 bound \\g
         INSERT INTO todo VALUES ($1, $2) \\bind 1 duplicate \\g
         SELECT id, done, task FROM todo WHERE id < 3 ORDER BY id \\crosstabview
         UPDATE todo SET done = true WHERE id = 1 RETURNING * \\gx
         \\set FETCH_COUNT 7
         SELECT * FROM generate_series(1, 50) AS n;
         INSERT INTO todo SELECT n FROM generate_series(100, 130) AS n RETURNING id;
         SELECT 1/(n - 20) FROM generate_series(1, 50) AS n;
         \\unset FETCH_COUNT
         \\set SHOW_ALL_RESULTS off
         SELECT 1 \\; UPDATE todo SET done = false WHERE id = 1 RETURNING id \\; SELECT 3;
         \\set SINGLESTEP off
         SHOW bemi.context;
         \\encoding LATIN1
         INSERT INTO todo VALUES (60, 'latin') \\; INSERT INTO todo VALUES (61, nonsense);
         \\encoding UTF8
         SELECT pg_advisory_lock(1);
         \\l nowhere
         \\df nowhere
         \\watch_nothing",
    )
    .await;
}

#[tokio::test]
async fn transactions_and_savepoints_of_psql_work_the_same() {
    same(
        "\\set ON_ERROR_ROLLBACK on
         BEGIN;
         INSERT INTO todo VALUES (10, 'kept');
         INSERT INTO todo VALUES (1, 'refused');
         INSERT INTO todo VALUES (11, 'kept as well');
         SAVEPOINT mine;
         INSERT INTO todo VALUES (12, 'undone');
         ROLLBACK TO mine;
         INSERT INTO todo VALUES (13, 'kept');
         COMMIT;
         \\set ON_ERROR_ROLLBACK off
         BEGIN;
         INSERT INTO todo VALUES (14, 'lost');
         INSERT INTO todo VALUES (1, 'refused');
         INSERT INTO todo VALUES (15, 'ignored');
         SELECT 1 \\; INSERT INTO todo VALUES (15, 'ignored');
         COMMIT;
         \\set AUTOCOMMIT off
         INSERT INTO todo VALUES (16, 'in a block that psql began');
         COMMIT;
         INSERT INTO todo VALUES (17, 'undone');
         ROLLBACK;
         \\set AUTOCOMMIT on
         BEGIN; INSERT INTO todo VALUES (18, 'a'); COMMIT AND CHAIN; INSERT INTO todo VALUES (19, 'b'); ROLLBACK;
         INSERT INTO todo VALUES (24, 'x') \\; COMMIT \\; INSERT INTO todo VALUES (25, 'y') \\; ROLLBACK;
         BEGIN \\; INSERT INTO todo VALUES (26, 'z') \\; COMMIT \\; INSERT INTO todo VALUES (27, 'w');
         BEGIN; CALL nowhere(); END;
         BEGIN; INSERT INTO todo VALUES (28, 'v'); PREPARE TRANSACTION 'two';
         ROLLBACK PREPARED 'two';
         BEGIN READ ONLY; INSERT INTO todo VALUES (29, 'u'); COMMIT;
         SELECT * FROM todo ORDER BY id;",
    )
    .await;
}

#[tokio::test]
async fn several_statements_in_one_command_and_a_single_transaction_work_the_same() {
    let commands = [
        "--command=INSERT INTO todo VALUES (10, 'a'); UPDATE todo SET done = true WHERE id = 10; SELECT * FROM todo",
        "--command=INSERT INTO todo VALUES (11, 'b'); INSERT INTO todo VALUES (1, 'é'); SELECT 'not reached'",
        "--command=SELECT 1; INSERT INTO todo VALUES (12, nonsense)",
        "--command=\\d other",
        "--command=TABLE todo",
    ];
    same_with(&commands, "").await;
    let mut single = vec!["--single-transaction"];
    single.extend(commands);
    same_with(&single, "").await;
    let mut stopping = vec!["--single-transaction", "--set=ON_ERROR_STOP=1"];
    stopping.extend(commands);
    let printed = same_with(&stopping, "").await;
    assert!(!printed.contains("Table \"public.other\""), "{printed}");
}

#[tokio::test]
async fn large_results_and_unaligned_output_are_the_same() {
    let printed = same_with(
        &["--no-align", "--tuples-only"],
        "SELECT n, repeat('x', n % 300) FROM generate_series(1, 60000) AS n;
         INSERT INTO todo SELECT n, repeat('y', 500) FROM generate_series(100, 3000) AS n RETURNING id, task;
         SELECT repeat('z', 3000000);",
    )
    .await;
    assert!(printed.len() > 10_000_000);
}

#[tokio::test]
async fn notifications_and_large_objects_pass() {
    let printed = same(
        "LISTEN todo_changed;
         INSERT INTO todo VALUES (10, 'a') \\; NOTIFY todo_changed, 'one';
         BEGIN; NOTIFY todo_changed, 'two'; INSERT INTO todo VALUES (11, 'b'); COMMIT;
         SELECT pg_notify('todo_changed', 'three');
         UNLISTEN *;
         NOTIFY todo_changed, 'unheard';
         \\set QUIET on
         \\lo_import /etc/passwd
         SELECT length(lo_get(:LASTOID)) > 0 AS has_content;
         \\lo_unlink :LASTOID
         \\lo_unlink 1
         INSERT INTO todo VALUES (12, 'c');",
    )
    .await;
    assert_eq!(
        printed
            .matches("Asynchronous notification \"todo_changed\" with payload")
            .count(),
        3
    );
}

#[tokio::test]
async fn texts_that_are_hard_to_split_print_the_same() {
    same(
        "INSERT INTO todo VALUES (10, $x$ ; ' -- $x$) \\; SELECT 2;
         INSERT INTO todo VALUES (11, /* ; /* nested */ ' */ 'x') \\; SELECT 2; -- ; '
         INSERT INTO todo VALUES (12, U&'d\\0061t\\+000061') \\; SELECT E'\\';' AS e;
         CREATE FUNCTION add_todo(id int) RETURNS void LANGUAGE sql
             BEGIN ATOMIC INSERT INTO todo VALUES (id); INSERT INTO other (note) VALUES ('atomic'); END;
         CREATE RULE logged AS ON DELETE TO todo DO ALSO (INSERT INTO other (note) VALUES ('rule'); SELECT 1 AS ruled);
         DELETE FROM todo WHERE id = 1;
         INSERT INTO todo VALUES (13, 'x') \\; CREATE VIEW seen AS SELECT * FROM todo \\; TABLE seen ORDER BY id;
         UPDATE seen SET task = 'through a view' WHERE id = 2;
         SET standard_conforming_strings = off;
         INSERT INTO todo VALUES (14, 'back\\'slash;') \\; SELECT 'a\\\\b';
         RESET standard_conforming_strings;
         INSERT INTO \"todo\" (\"id\") VALUES (15);
         insert into Todo values (16, 'x'), (17, 'y') on conflict do nothing;
         INSERT INTO todo VALUES (16, 'x') ON CONFLICT (id) DO UPDATE SET task = excluded.task RETURNING *;
         SELECT id, task FROM todo ORDER BY id;
         SELECT note FROM other ORDER BY id;",
    )
    .await;
}

#[tokio::test]
async fn writes_in_unusual_places_are_seen() {
    same(
        "COPY (DELETE FROM todo WHERE id = 1 RETURNING *) TO STDOUT;
         COPY (WITH new AS (INSERT INTO todo VALUES (10) RETURNING id) SELECT * FROM new) TO STDOUT WITH (FORMAT csv);
         COPY (TABLE todo) TO STDOUT;
         PREPARE put (int) AS INSERT INTO todo VALUES ($1) RETURNING id;
         EXPLAIN (ANALYZE, COSTS off, TIMING off, SUMMARY off, BUFFERS off) EXECUTE put(11);
         EXPLAIN (COSTS off) EXECUTE put(12);
         EXPLAIN ANALYZE VERBOSE EXECUTE nowhere;
         PREPARE got AS SELECT * FROM todo;
         CREATE TABLE kept AS EXECUTE got;
         EXPLAIN (ANALYZE, COSTS off, TIMING off, SUMMARY off, BUFFERS off) CREATE TABLE kept_again AS SELECT * FROM todo;
         BEGIN; DO $$ BEGIN INSERT INTO todo VALUES (13); END $$; COMMIT;
         CREATE PROCEDURE add_todo(id int) LANGUAGE sql AS 'INSERT INTO todo VALUES (id)';
         BEGIN; CALL add_todo(14); COMMIT;
         WITH a AS (SELECT 1), b AS MATERIALIZED (UPDATE todo SET done = true WHERE id = 2 RETURNING id) TABLE b;
         WITH a AS (SELECT 15 AS id) INSERT INTO todo SELECT * FROM a;
         INSERT INTO other (note) WITH a AS (SELECT 'x') TABLE a;
         (WITH gone AS (DELETE FROM todo WHERE id = 3 RETURNING id) SELECT * FROM gone) UNION ALL SELECT 0;
         SELECT * FROM todo WHERE id = 4 FOR UPDATE;
         TRUNCATE todo, other RESTART IDENTITY CASCADE;
         VALUES (1); TABLE todo; SHOW work_mem;",
    )
    .await;
}

#[tokio::test]
async fn the_end_of_a_statement_or_session_by_the_server_looks_the_same() {
    same(
        "SET statement_timeout = '100ms';
         INSERT INTO todo SELECT 10 FROM pg_sleep(5);
         SELECT 1 \\; INSERT INTO todo SELECT 10 FROM pg_sleep(5) \\; SELECT 2;
         RESET statement_timeout;
         SET idle_in_transaction_session_timeout = '100ms';
         BEGIN;
         INSERT INTO todo VALUES (11);
         \\! sleep 0.5
         INSERT INTO todo VALUES (12);
         INSERT INTO todo VALUES (13);
         SELECT pg_terminate_backend(pg_backend_pid());
         INSERT INTO todo VALUES (14);
         INSERT INTO todo VALUES (15) \\; SELECT pg_terminate_backend(pg_backend_pid());
         SELECT id FROM todo ORDER BY id;",
    )
    .await;
}

/// The second byte of the first three characters is a backslash to a splitter that takes bytes for characters; the
/// others have no such byte, and other widths.
#[tokio::test]
async fn texts_in_encodings_of_the_client_are_split_and_pointed_into_the_same() {
    let characters: [(&str, &str, &[u8]); 6] = [
        ("SJIS", "\u{8868}", b"\x95\x5c"),
        ("GBK", "\u{8aa0}", b"\xd5\x5c"),
        ("BIG5", "\u{529f}", b"\xa5\x5c"),
        ("GB18030", "\u{3000}", b"\xa1\xa1"),
        ("LATIN1", "\u{e9}", b"\xe9"),
        ("EUC_JP", "\u{8868}", b"\xc9\xbd"),
    ];
    for (encoding, utf8, bytes) in characters {
        let mut input = Vec::new();
        for piece in "INSERT INTO todo VALUES (10, '@') \\; INSERT INTO todo VALUES (11, '@@', mistake);
             INSERT INTO todo VALUES (12, '@') \\; INSERT INTO todo VALUES (13, E'@\\n') RETURNING task;
             SELECT '@;' AS \"@\" \\; UPDATE todo SET task = '@' WHERE id = 1; -- @"
            .split_inclusive('@')
        {
            input.extend(piece.trim_end_matches('@').bytes());
            if piece.ends_with('@') {
                input.extend(bytes);
            }
        }
        let script = Script {
            arguments: &[],
            input: &input,
            encoding,
        };
        let (printed, transactions) = same_script(&script).await;
        assert!(printed.contains("does not exist"), "{encoding}: {printed}");
        let statements: Vec<_> = transactions
            .iter()
            .flat_map(Transaction::messages)
            .map(|message| message["SQL"].as_str().expect("text").to_owned())
            .collect();
        assert!(
            statements.contains(&format!("INSERT INTO todo VALUES (12, '{utf8}')")),
            "{encoding}: {statements:?}"
        );
    }
}
