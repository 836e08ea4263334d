//! The columns `primary_key` and `previous_primary_key`.

use serde_json::{Value as Json, json};

use crate::tracker::{Tracker, outlines};

#[tokio::test]
async fn one_column_is_text_several_are_json_in_the_order_of_the_key() {
    let mut tracker = Tracker::on(
        "CREATE TABLE one (x int, id text PRIMARY KEY);
         CREATE TABLE several (a text, x int, b int, PRIMARY KEY (b, a));
         CREATE TABLE included (id int, x int, PRIMARY KEY (id) INCLUDE (x));
         CREATE TABLE none (x int); ALTER TABLE none REPLICA IDENTITY FULL;
         CREATE TABLE unique_only (x int NOT NULL UNIQUE);
         ALTER TABLE unique_only REPLICA IDENTITY USING INDEX unique_only_x_key",
        &[],
    )
    .await;
    tracker
        .run(
            r#"INSERT INTO one VALUES (1, E'a"b\\c\td'), (2, ''), (3, '[1]'), (4, 'NULL');
               INSERT INTO several VALUES (E'q"\\\t', 1, 7);
               INSERT INTO included VALUES (5, 6);
               INSERT INTO none VALUES (1); INSERT INTO unique_only VALUES (1);
               UPDATE several SET x = 2; DELETE FROM several; DELETE FROM included"#,
        )
        .await;
    let keys: Vec<Option<String>> = tracker
        .changes("one")
        .await
        .into_iter()
        .map(|change| change.primary_key)
        .collect();
    assert_eq!(
        keys,
        ["a\"b\\c\td", "", "[1]", "NULL"].map(|key| Some(key.to_owned()))
    );
    for change in tracker.stored("several").await {
        let key: Json = serde_json::from_str(&change.primary_key.expect("a key")).expect("JSON");
        assert_eq!(key, json!([7, "q\"\\\t"]));
        assert_eq!(change.previous_primary_key, None);
    }
    assert_eq!(
        outlines(&tracker.stored("included").await),
        ["CREATE 5", "DELETE 5"]
    );
    assert_eq!(outlines(&tracker.stored("none").await), ["CREATE"]);
    assert_eq!(outlines(&tracker.stored("unique_only").await), ["CREATE"]);
}

#[tokio::test]
async fn keys_of_any_type_are_the_text_that_the_server_shows() {
    let mut tracker = Tracker::on(
        "CREATE TABLE numbers (id numeric PRIMARY KEY);
         CREATE TABLE moments (id timestamptz PRIMARY KEY);
         CREATE TABLE mixed (a numeric, b timestamptz, c boolean, d text, PRIMARY KEY (d, c, b, a));
         CREATE TABLE bytes (id bytea PRIMARY KEY)",
        &[],
    )
    .await;
    tracker
        .run(
            r"INSERT INTO numbers VALUES (1.50); INSERT INTO moments VALUES ('2026-11-24 10:00:00+00');
              INSERT INTO mixed VALUES (1.50, '2026-11-24 10:00:00+00', true, 'x'); INSERT INTO bytes VALUES ('\x00ff')",
        )
        .await;
    assert_eq!(outlines(&tracker.changes("numbers").await), ["CREATE 1.50"]);
    assert_eq!(
        outlines(&tracker.stored("moments").await),
        ["CREATE 2026-11-24 10:00:00+00"]
    );
    assert_eq!(
        outlines(&tracker.stored("mixed").await),
        [r#"CREATE ["x",true,"2026-11-24T10:00:00+00:00",1.50]"#]
    );
    assert_eq!(outlines(&tracker.stored("bytes").await), [r"CREATE \x00ff"]);
}

#[tokio::test]
async fn a_key_that_is_too_long_for_an_index_is_a_digest() {
    let mut tracker = Tracker::on(
        "CREATE TABLE long (id text PRIMARY KEY); CREATE TABLE longer (a text, b text, PRIMARY KEY (a, b))",
        &[],
    )
    .await;
    // Short where it is compressed, as the server's own index needs it.
    tracker
        .run(
            "INSERT INTO long VALUES (repeat('x', 1900)), (repeat('x', 20000)), (repeat('y', 20000));
             INSERT INTO longer VALUES (repeat('x', 20000), 'a');
             DELETE FROM long WHERE id = repeat('y', 20000)",
        )
        .await;
    let changes = tracker.changes("long").await;
    let keys: Vec<String> = changes
        .into_iter()
        .filter_map(|change| change.primary_key)
        .collect();
    assert_eq!(keys[0], "x".repeat(1_900));
    assert!(
        keys[1].starts_with("sha256:") && keys[1].len() == 71,
        "{}",
        keys[1]
    );
    assert!(
        keys[2].starts_with("sha256:") && keys[2] != keys[1],
        "{}",
        keys[2]
    );
    assert_eq!(keys[2], keys[3]);
    let longer = tracker.stored("longer").await;
    assert!(
        longer[0]
            .primary_key
            .as_ref()
            .is_some_and(|key| key.starts_with("sha256:")),
        "{longer:?}"
    );
}

#[tokio::test]
async fn an_update_of_the_key_tells_the_one_before() {
    let mut tracker = Tracker::on(
        "CREATE TABLE plain (id int PRIMARY KEY, x int); CREATE TABLE complete (id int PRIMARY KEY, x int);
         CREATE TABLE double (a int, b int, PRIMARY KEY (b, a));
         ALTER TABLE complete REPLICA IDENTITY FULL",
        &[],
    )
    .await;
    for table in ["plain", "complete"] {
        tracker
            .run(&format!(
                "INSERT INTO {table} VALUES (1, 1); UPDATE {table} SET x = 2; UPDATE {table} SET id = 2;
                 UPDATE {table} SET id = id, x = 3; DELETE FROM {table}"
            ))
            .await;
        let changes = tracker.changes(table).await;
        assert_eq!(
            outlines(&changes),
            ["CREATE 1", "UPDATE 1", "UPDATE 1 2", "UPDATE 2", "DELETE 2"],
            "{table}"
        );
        assert_eq!(changes[2].before["id"], 1, "{table}");
        assert_eq!(changes[2].after["id"], 2, "{table}");
    }
    tracker
        .run("INSERT INTO double VALUES (1, 2); UPDATE double SET a = 5")
        .await;
    let changes = tracker.changes("double").await;
    assert_eq!(changes[1].previous_primary_key.as_deref(), Some("[2,1]"));
    assert_eq!(changes[1].primary_key.as_deref(), Some("[2,5]"));
    let history = "SELECT count(*) FROM changes_history('plain', '1')";
    assert_eq!(
        tracker
            .destination
            .query_one(history, &[])
            .await
            .expect("its history")
            .get::<_, i64>(0),
        3
    );
}

#[tokio::test]
async fn one_statement_that_changes_many_rows_makes_a_change_of_each_in_order() {
    let mut tracker = Tracker::on("CREATE TABLE t (id int PRIMARY KEY, x int)", &[]).await;
    tracker
        .run(
            "INSERT INTO t SELECT id, 0 FROM generate_series(1, 500) id; UPDATE t SET x = id; DELETE FROM t WHERE id > 250;
             INSERT INTO t VALUES (1, 9) ON CONFLICT (id) DO UPDATE SET x = 9;
             INSERT INTO t VALUES (1, 9) ON CONFLICT (id) DO NOTHING",
        )
        .await;
    let changes = tracker.changes("t").await;
    let count = |operation: &str| {
        changes
            .iter()
            .filter(|change| change.operation == operation)
            .count()
    };
    assert_eq!(
        (count("CREATE"), count("UPDATE"), count("DELETE")),
        (500, 501, 250)
    );
    assert!(
        changes
            .iter()
            .all(|change| change.database == tracker.database() && change.schema == "public")
    );
    let distinct =
        "SELECT count(DISTINCT id), count(DISTINCT transaction_id) FROM changes WHERE \"table\" = 't'";
    let row = tracker
        .destination
        .query_one(distinct, &[])
        .await
        .expect("the changes");
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (1_251, 1));
}
