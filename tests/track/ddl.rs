//! Tables that change while they are followed.

use serde_json::json;

use crate::tracker::{Tracker, contexts, is_at_least, outlines};

const T: &str = "CREATE TABLE t (id int PRIMARY KEY, x int)";

#[tokio::test]
async fn columns_come_go_and_change_in_the_middle_of_the_stream() {
    let mut tracker = Tracker::on(T, &[]).await;
    for statement in [
        "INSERT INTO t VALUES (1, 1)",
        "ALTER TABLE t ADD y timestamptz, ADD z numeric[] DEFAULT '{1.50}'",
        "INSERT INTO t VALUES (2, 2, '2026-11-24 10:00:00+00')",
        "ALTER TABLE t DROP x",
        "INSERT INTO t VALUES (3, NULL, '{}')",
        "ALTER TABLE t RENAME y TO \"when\"",
        "INSERT INTO t VALUES (4, 'infinity', NULL)",
        "ALTER TABLE t ALTER z TYPE text USING z::text",
        "INSERT INTO t VALUES (5, NULL, '{1}')",
        "ALTER TABLE t ALTER \"when\" TYPE jsonb USING to_jsonb(\"when\")",
        "INSERT INTO t VALUES (6, '{\"a\": 1}', NULL)",
        "ALTER TABLE t REPLICA IDENTITY FULL",
        "UPDATE t SET z = 'x' WHERE id = 6",
    ] {
        tracker.run(statement).await;
    }
    let changes = tracker.changes("t").await;
    let after: Vec<_> = changes.iter().map(|change| change.after.clone()).collect();
    assert_eq!(
        after,
        [
            json!({"id": 1, "x": 1}),
            serde_json::from_str(r#"{"id": 2, "x": 2, "y": "2026-11-24T10:00:00+00:00", "z": [1.50]}"#)
                .expect("JSON"),
            json!({"id": 3, "y": null, "z": []}),
            json!({"id": 4, "when": "infinity", "z": null}),
            json!({"id": 5, "when": null, "z": "{1}"}),
            json!({"id": 6, "when": {"a": 1}, "z": null}),
            json!({"id": 6, "when": {"a": 1}, "z": "x"}),
        ]
    );
    assert_eq!(changes[6].before, json!({"id": 6, "when": {"a": 1}, "z": null}));
}

#[tokio::test]
async fn they_may_do_so_inside_of_one_transaction() {
    let mut tracker = Tracker::on(T, &[]).await;
    tracker
        .run(
            "BEGIN; INSERT INTO t VALUES (1, 1); ALTER TABLE t ADD y text DEFAULT 'd'; INSERT INTO t VALUES (2, 2);
             ALTER TABLE t DROP x; INSERT INTO t VALUES (3, 'z'); ALTER TABLE t ALTER id TYPE text;
             INSERT INTO t VALUES ('four', NULL); CREATE TABLE u (id int PRIMARY KEY); INSERT INTO u VALUES (1);
             ALTER TABLE u RENAME TO w; INSERT INTO w VALUES (2); CREATE TYPE two AS ENUM ('a', 'b');
             ALTER TABLE w ADD e two[]; INSERT INTO w VALUES (3, '{a,b}');
             SELECT pg_logical_emit_message(true, '_bemi', '{\"who\": 1}'); COMMIT",
        )
        .await;
    let changes = tracker.changes("t").await;
    let after: Vec<_> = changes.iter().map(|change| change.after.clone()).collect();
    assert_eq!(
        after,
        [
            json!({"id": 1, "x": 1}),
            json!({"id": 2, "x": 2, "y": "d"}),
            json!({"id": 3, "y": "z"}),
            json!({"id": "four", "y": null})
        ]
    );
    let mut others = tracker.stored("u").await;
    others.extend(tracker.stored("w").await);
    assert_eq!(outlines(&others), ["CREATE 1", "CREATE 2", "CREATE 3"]);
    assert_eq!(others[2].after, json!({"id": 3, "e": ["a", "b"]}));
    assert!(
        contexts(&changes)
            .iter()
            .chain(&contexts(&others))
            .all(|context| *context == json!({"who": 1}))
    );
}

#[tokio::test]
async fn a_new_table_is_followed_from_its_first_row_where_all_are() {
    let mut tracker = Tracker::on("", &[]).await;
    tracker
        .run("CREATE TABLE made (id int PRIMARY KEY); INSERT INTO made VALUES (1); CREATE TABLE copied AS TABLE made")
        .await;
    tracker
        .run("CREATE TEMPORARY TABLE short (id int); INSERT INTO short VALUES (1)")
        .await;
    tracker
        .run("CREATE SCHEMA s; CREATE UNLOGGED TABLE s.made (id int); INSERT INTO s.made VALUES (9)")
        .await;
    assert_eq!(outlines(&tracker.changes("made").await), ["CREATE 1"]);
    assert_eq!(outlines(&tracker.stored("copied").await), ["CREATE"]);
    assert!(tracker.stored("short").await.is_empty());
}

#[tokio::test]
async fn a_new_table_is_added_to_a_list_and_what_came_before_is_told() {
    let arguments = [
        "--tables",
        "sentinel,kept,made",
        "--set",
        "track.tables_interval=100ms",
    ];
    let mut tracker = Tracker::on("CREATE TABLE kept (id int PRIMARY KEY)", &arguments).await;
    tracker
        .run(
            "CREATE TABLE made (id int PRIMARY KEY); CREATE TABLE unwanted (id int PRIMARY KEY);
             INSERT INTO made VALUES (1)",
        )
        .await;
    // Written down before the table is added, and closed once it is.
    let gap = "SELECT schema, \"table\", from_lsn IS NOT NULL, to_lsn > from_lsn, reason FROM changes_gaps
                WHERE to_lsn IS NOT NULL";
    let found = loop {
        let rows = tracker.destination.query(gap, &[]).await.expect("the gaps");
        if let Some(row) = rows.first() {
            break (
                row.get::<_, String>(0),
                row.get::<_, String>(1),
                row.get::<_, bool>(2),
                row.get::<_, bool>(3),
            );
        }
        tracker.caught_up().await;
    };
    assert_eq!(found, ("public".into(), "made".into(), true, true));
    tracker
        .run("INSERT INTO made VALUES (2); INSERT INTO unwanted VALUES (1)")
        .await;
    let changes = outlines(&tracker.changes("made").await);
    assert_eq!(
        changes.last().map(String::as_str),
        Some("CREATE 2"),
        "{changes:?}"
    );
    assert!(tracker.stored("unwanted").await.is_empty());
    let gaps = tracker.destination.query(gap, &[]).await.expect("the gaps");
    assert_eq!(gaps.len(), 1);
}

#[tokio::test]
async fn a_table_that_is_renamed_goes_on_under_its_new_name() {
    let mut tracker = Tracker::on(T, &[]).await;
    for statement in [
        "INSERT INTO t VALUES (1, 1)",
        "ALTER TABLE t RENAME TO u",
        "INSERT INTO u VALUES (2, 2)",
        "CREATE SCHEMA s",
        "ALTER TABLE u SET SCHEMA s",
        "INSERT INTO s.u VALUES (3, 3)",
    ] {
        tracker.run(statement).await;
    }
    assert_eq!(outlines(&tracker.changes("t").await), ["CREATE 1"]);
    let renamed = tracker.stored("u").await;
    assert_eq!(outlines(&renamed), ["CREATE 2", "CREATE 3"]);
    assert_eq!((&*renamed[0].schema, &*renamed[1].schema), ("public", "s"));
}

/// The catalog is asked when the stream is read, and by then knows nothing of it any more.
#[tokio::test]
async fn what_is_gone_when_the_stream_is_read_is_stored_all_the_same() {
    let mut tracker = Tracker::on(
        "CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE DOMAIN amount AS numeric;
         CREATE TABLE gone (id int PRIMARY KEY, m mood, ms mood[], a amount, n numeric[]);
         CREATE TABLE gone_full (b int, a int, PRIMARY KEY (b, a)); ALTER TABLE gone_full REPLICA IDENTITY FULL;
         CREATE TABLE rekeyed (id int PRIMARY KEY, other int NOT NULL);
         CREATE TABLE renamed (id int PRIMARY KEY, x int)",
        &[],
    )
    .await;
    tracker.caught_up().await;
    assert!(tracker.stop().await.success(), "{}", tracker.log());
    tracker
        .run(
            "INSERT INTO gone VALUES (1, 'sad', '{ok}', 1.50, '{2.50}'); UPDATE gone SET id = 2; DELETE FROM gone; DROP TABLE gone;
             INSERT INTO gone_full VALUES (1, 2); UPDATE gone_full SET a = 3; DROP TABLE gone_full; DROP TYPE mood; DROP DOMAIN amount;
             INSERT INTO rekeyed VALUES (1, 10); UPDATE rekeyed SET other = 11; ALTER TABLE rekeyed DROP CONSTRAINT rekeyed_pkey;
             ALTER TABLE rekeyed ADD PRIMARY KEY (other); INSERT INTO rekeyed VALUES (2, 20);
             INSERT INTO renamed VALUES (1, 1); UPDATE renamed SET x = 2; ALTER TABLE renamed RENAME id TO number; DELETE FROM renamed",
        )
        .await;
    tracker.start_again(&[]).await;
    let gone = tracker.changes("gone").await;
    assert_eq!(outlines(&gone), ["CREATE 1", "UPDATE 1 2", "DELETE 2"]);
    assert_eq!(gone[0].after["m"], "sad");
    assert_eq!(gone[0].after["n"].to_string(), "[2.50]");
    // What their types were made of cannot be known any more.
    assert_eq!(
        (&gone[0].after["ms"], &gone[0].after["a"]),
        (&json!("{ok}"), &json!("1.50"))
    );
    let full = tracker.stored("gone_full").await;
    assert_eq!((full.len(), &full[1].before), (2, &json!({"a": 2, "b": 1})));
    assert_eq!(
        outlines(&tracker.stored("rekeyed").await),
        ["CREATE 1", "UPDATE 1", "CREATE 20"]
    );
    let renamed = tracker.stored("renamed").await;
    assert_eq!(outlines(&renamed), ["CREATE 1", "UPDATE 1", "DELETE 1"]);
    assert_eq!(
        (&renamed[1].before, &renamed[2].before),
        (&json!({"id": 1}), &json!({"number": 1}))
    );
}

#[tokio::test]
async fn a_table_and_a_schema_may_go_while_they_are_followed() {
    let mut tracker = Tracker::on("CREATE SCHEMA s; CREATE TABLE s.t (id int PRIMARY KEY)", &[]).await;
    tracker
        .run("INSERT INTO s.t VALUES (1); TRUNCATE s.t; DROP SCHEMA s CASCADE")
        .await;
    tracker.run("CREATE SCHEMA s; CREATE TABLE s.t (id text PRIMARY KEY); INSERT INTO s.t VALUES ('a'); DROP TABLE s.t").await;
    assert_eq!(
        outlines(&tracker.changes("t").await),
        ["CREATE 1", "TRUNCATE", "CREATE a"]
    );
}

#[tokio::test]
async fn prepared_transactions_are_stored_when_they_are_committed() {
    let mut tracker = Tracker::on(T, &[]).await;
    let name = tracker.database().to_owned();
    tracker
        .run(&format!(
            "BEGIN; SELECT pg_logical_emit_message(true, '_bemi', '{{\"who\": 1}}'); INSERT INTO t VALUES (1, 1);
             PREPARE TRANSACTION '{name}_a'"
        ))
        .await;
    tracker
        .run(&format!(
            "BEGIN; INSERT INTO t VALUES (2, 2); PREPARE TRANSACTION '{name}_b'"
        ))
        .await;
    tracker.run("INSERT INTO t VALUES (3, 3)").await;
    assert_eq!(outlines(&tracker.changes("t").await), ["CREATE 3"]);
    tracker.run(&format!("COMMIT PREPARED '{name}_a'")).await;
    tracker.run(&format!("ROLLBACK PREPARED '{name}_b'")).await;
    let changes = tracker.changes("t").await;
    assert_eq!(outlines(&changes), ["CREATE 3", "CREATE 1"]);
    assert_eq!(changes[1].context, json!({"who": 1}));
}

#[tokio::test]
async fn generated_columns_are_stored_where_the_server_sends_them() {
    let mut tracker = Tracker::on(
        "CREATE TABLE t (id int PRIMARY KEY, x int, y int GENERATED ALWAYS AS (x * 2) STORED)",
        &[],
    )
    .await;
    tracker
        .run("INSERT INTO t VALUES (1, 2); UPDATE t SET x = 3")
        .await;
    let changes = tracker.changes("t").await;
    if is_at_least(18) {
        assert_eq!(changes[0].after, json!({"id": 1, "x": 2, "y": 4}));
        assert_eq!(changes[1].after, json!({"id": 1, "x": 3, "y": 6}));
        tracker
            .run("ALTER TABLE t ADD z int GENERATED ALWAYS AS (x * 3) VIRTUAL; UPDATE t SET x = 4")
            .await;
        let changes = tracker.changes("t").await;
        assert_eq!(changes[2].after, json!({"id": 1, "x": 4, "y": 8}));
    } else {
        assert_eq!(changes[0].after, json!({"id": 1, "x": 2}));
    }
}

/// Hundreds of savepoints make the server write subtransactions apart; what was rolled back is not there.
#[tokio::test]
async fn savepoints_and_exceptions_leave_what_stayed() {
    let mut tracker = Tracker::on(T, &[]).await;
    tracker
        .run(
            "DO $$ BEGIN
               FOR id IN 1..300 LOOP
                 BEGIN
                   INSERT INTO t VALUES (id, id);
                   IF id % 3 = 0 THEN RAISE EXCEPTION 'no'; END IF;
                 EXCEPTION WHEN raise_exception THEN NULL; END;
               END LOOP;
             END $$",
        )
        .await;
    let changes = outlines(&tracker.changes("t").await);
    let wanted: Vec<String> = (1..=300)
        .filter(|id| id % 3 != 0)
        .map(|id| format!("CREATE {id}"))
        .collect();
    assert_eq!(changes, wanted);
}
