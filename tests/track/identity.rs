//! What `before`, `after` and `incomplete` say under each replica identity.

use serde_json::{Value as Json, json};

use crate::tracker::{Tracker, outlines};

/// Larger than what the server keeps in a row's page, and not compressed: TOAST.
const LARGE: &str = "repeat('x', 100000)";

#[tokio::test]
async fn the_default_identity_tells_the_key_of_the_old_row() {
    let mut tracker = Tracker::on("CREATE TABLE t (id int PRIMARY KEY, x text)", &[]).await;
    tracker
        .run("INSERT INTO t VALUES (1, 'a'); UPDATE t SET x = 'b'; UPDATE t SET id = 2; DELETE FROM t")
        .await;
    let changes = tracker.changes("t").await;
    let before: Vec<&Json> = changes.iter().map(|change| &change.before).collect();
    let after: Vec<&Json> = changes.iter().map(|change| &change.after).collect();
    let incomplete: Vec<&Json> = changes.iter().map(|change| &change.incomplete).collect();
    assert_eq!(
        before,
        [
            &json!(null),
            &json!({"id": 1}),
            &json!({"id": 1}),
            &json!({"id": 2})
        ]
    );
    assert_eq!(
        after,
        [
            &json!({"id": 1, "x": "a"}),
            &json!({"id": 1, "x": "b"}),
            &json!({"id": 2, "x": "b"}),
            &json!(null)
        ]
    );
    let key = &json!({"before": "key"});
    assert_eq!(incomplete, [&json!(null), key, key, key]);
}

#[tokio::test]
async fn the_full_identity_tells_the_whole_old_row() {
    let mut tracker = Tracker::on(
        "CREATE TABLE t (id int PRIMARY KEY, x text); ALTER TABLE t REPLICA IDENTITY FULL",
        &[],
    )
    .await;
    tracker
        .run("INSERT INTO t VALUES (1, 'a'); UPDATE t SET x = NULL; DELETE FROM t")
        .await;
    let changes = tracker.changes("t").await;
    assert_eq!(changes[1].before, json!({"id": 1, "x": "a"}));
    assert_eq!(changes[1].after, json!({"id": 1, "x": null}));
    assert_eq!(
        (&changes[2].before, &changes[2].after),
        (&json!({"id": 1, "x": null}), &json!(null))
    );
    assert!(
        changes.iter().all(|change| change.incomplete.is_null()),
        "{changes:?}"
    );
}

#[tokio::test]
async fn a_full_identity_without_any_key_tells_it_as_well() {
    let mut tracker = Tracker::on("CREATE TABLE t (x int); ALTER TABLE t REPLICA IDENTITY FULL", &[]).await;
    tracker
        .run("INSERT INTO t VALUES (1), (1); UPDATE t SET x = 2; DELETE FROM t")
        .await;
    let changes = tracker.changes("t").await;
    assert_eq!(
        outlines(&changes),
        ["CREATE", "CREATE", "UPDATE", "UPDATE", "DELETE", "DELETE"]
    );
    assert_eq!(
        (&changes[2].before, &changes[2].after),
        (&json!({"x": 1}), &json!({"x": 2}))
    );
}

#[tokio::test]
async fn an_index_as_identity_tells_its_columns() {
    let mut tracker = Tracker::on(
        "CREATE TABLE t (id int PRIMARY KEY, code text NOT NULL UNIQUE, x int);
         ALTER TABLE t REPLICA IDENTITY USING INDEX t_code_key",
        &[],
    )
    .await;
    tracker
        .run(
            "INSERT INTO t VALUES (1, 'a', 1); UPDATE t SET x = 2; UPDATE t SET code = 'b'; UPDATE t SET id = 2;
             DELETE FROM t",
        )
        .await;
    let changes = tracker.changes("t").await;
    let before: Vec<&Json> = changes.iter().map(|change| &change.before).collect();
    assert_eq!(
        before,
        [
            &json!(null),
            &json!({"code": "a"}),
            &json!({"code": "a"}),
            &json!({"code": "b"}),
            &json!({"code": "b"})
        ]
    );
    // The log has no old primary key, and none at all of the row that was deleted.
    assert_eq!(
        outlines(&changes),
        ["CREATE 1", "UPDATE 1", "UPDATE 1", "UPDATE 2", "DELETE"]
    );
    assert!(
        changes[1..]
            .iter()
            .all(|change| change.incomplete == json!({"before": "key"})),
        "{changes:?}"
    );
}

#[tokio::test]
async fn a_large_value_that_an_update_left_alone_is_listed_under_the_default_identity() {
    let mut tracker = Tracker::on(
        "CREATE TABLE t (id int PRIMARY KEY, big text, \"other \"\"big\"\"\" text, x int);
         ALTER TABLE t ALTER big SET STORAGE EXTERNAL, ALTER \"other \"\"big\"\"\" SET STORAGE EXTERNAL",
        &[],
    )
    .await;
    tracker
        .run(&format!(
            "INSERT INTO t VALUES (1, {LARGE}, {LARGE}, 1); UPDATE t SET x = 2; UPDATE t SET big = 'small'"
        ))
        .await;
    tracker.run("UPDATE t SET id = 2").await;
    let changes = tracker.changes("t").await;
    assert_eq!(changes[0].after["big"].as_str().map(str::len), Some(100_000));
    assert_eq!(changes[1].after, json!({"id": 1, "x": 2}));
    assert_eq!(
        changes[1].incomplete,
        json!({"before": "key", "after": ["big", "other \"big\""]})
    );
    assert_eq!(changes[2].after, json!({"id": 1, "big": "small", "x": 2}));
    assert_eq!(
        changes[2].incomplete,
        json!({"before": "key", "after": ["other \"big\""]})
    );
    assert_eq!(
        (&changes[3].before, &changes[3].previous_primary_key),
        (&json!({"id": 1}), &Some("1".into()))
    );
    let whole = "SELECT length(changes_as_of('t', '1', (SELECT min(committed_at) FROM changes WHERE operation = 'UPDATE'
                                                          AND after ->> 'big' = 'small')) ->> 'other \"big\"')";
    assert_eq!(
        tracker
            .destination
            .query_one(whole, &[])
            .await
            .expect("the record")
            .get::<_, i32>(0),
        100_000
    );
}

#[tokio::test]
async fn a_large_value_that_an_update_left_alone_is_filled_in_under_the_full_identity() {
    let mut tracker = Tracker::on(
        "CREATE TABLE t (id int PRIMARY KEY, big text, x int);
         ALTER TABLE t REPLICA IDENTITY FULL; ALTER TABLE t ALTER big SET STORAGE EXTERNAL",
        &[],
    )
    .await;
    tracker
        .run(&format!(
            "INSERT INTO t VALUES (1, {LARGE}, 1); UPDATE t SET x = 2; DELETE FROM t"
        ))
        .await;
    let changes = tracker.changes("t").await;
    for row in [
        &changes[0].after,
        &changes[1].before,
        &changes[1].after,
        &changes[2].before,
    ] {
        assert_eq!(row["big"].as_str().map(str::len), Some(100_000));
    }
    assert!(
        changes.iter().all(|change| change.incomplete.is_null()),
        "{:?}",
        changes[1].incomplete
    );
}

#[tokio::test]
async fn a_large_key_that_an_update_left_alone_is_known() {
    let mut tracker = Tracker::on(
        "CREATE TABLE t (id text PRIMARY KEY, x int); ALTER TABLE t ALTER id SET STORAGE EXTENDED",
        &[],
    )
    .await;
    tracker
        .run("INSERT INTO t VALUES (repeat('x', 200000), 1); UPDATE t SET x = 2; DELETE FROM t")
        .await;
    let changes = tracker.changes("t").await;
    let keys: Vec<_> = changes.iter().map(|change| change.primary_key.clone()).collect();
    assert!(
        keys[0].is_some() && keys.iter().all(|key| *key == keys[0]),
        "{keys:?}"
    );
    assert_eq!(changes[1].previous_primary_key, None);
}

/// Published, its UPDATEs and DELETEs would fail.
#[tokio::test]
async fn a_table_without_any_identity_goes_on_working_and_is_named() {
    let mut tracker = Tracker::on(
        "CREATE TABLE loose (x int); CREATE TABLE nothing (id int PRIMARY KEY); CREATE TABLE t (id int PRIMARY KEY);
         ALTER TABLE nothing REPLICA IDENTITY NOTHING",
        &[],
    )
    .await;
    tracker
        .run(
            "INSERT INTO loose VALUES (1); UPDATE loose SET x = 2; DELETE FROM loose;
             INSERT INTO nothing VALUES (1); UPDATE nothing SET id = 2; INSERT INTO t VALUES (1)",
        )
        .await;
    assert_eq!(outlines(&tracker.changes("t").await), ["CREATE 1"]);
    assert!(tracker.stored("loose").await.is_empty() && tracker.stored("nothing").await.is_empty());
    assert!(
        tracker
            .log()
            .contains("ALTER TABLE public.loose REPLICA IDENTITY FULL;"),
        "{}",
        tracker.log()
    );
}

#[tokio::test]
async fn truncate_is_a_change_of_each_table() {
    let mut tracker = Tracker::on(
        "CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE child (id int PRIMARY KEY, p int REFERENCES parent);
         CREATE TABLE other (id int PRIMARY KEY)",
        &[],
    )
    .await;
    tracker
        .run(
            "INSERT INTO parent VALUES (1); INSERT INTO child VALUES (1, 1); INSERT INTO other VALUES (1);
             BEGIN; SELECT pg_logical_emit_message(true, '_bemi', '{\"who\": 1}'); TRUNCATE parent CASCADE; COMMIT;
             TRUNCATE other, child; TRUNCATE other RESTART IDENTITY",
        )
        .await;
    assert_eq!(
        outlines(&tracker.changes("parent").await),
        ["CREATE 1", "TRUNCATE"]
    );
    assert_eq!(
        outlines(&tracker.stored("child").await),
        ["CREATE 1", "TRUNCATE", "TRUNCATE"]
    );
    assert_eq!(
        outlines(&tracker.stored("other").await),
        ["CREATE 1", "TRUNCATE", "TRUNCATE"]
    );
    let truncated = &tracker.stored("parent").await[1];
    assert_eq!(truncated.context, json!({"who": 1}));
    assert!(
        truncated.before.is_null() && truncated.after.is_null() && truncated.incomplete.is_null(),
        "{truncated:?}"
    );
    let gone = "SELECT changes_as_of('child', '1', now()) IS NULL";
    assert!(
        tracker
            .destination
            .query_one(gone, &[])
            .await
            .expect("the record")
            .get::<_, bool>(0)
    );
}
