//! What is not stored because somebody said so.

use serde_json::{Value as Json, json};

use crate::tracker::{Change, Tracker, contexts, outlines};

#[tokio::test]
async fn an_update_of_ignored_columns_alone_is_no_change() {
    let columns = "(id int PRIMARY KEY, x int, updated_at timestamptz, seen int)";
    let mut tracker = Tracker::on(
        &format!(
            "CREATE TABLE complete {columns}; CREATE TABLE plain {columns}; CREATE TABLE other {columns};
             ALTER TABLE complete REPLICA IDENTITY FULL; ALTER TABLE other REPLICA IDENTITY FULL"
        ),
        &["--set", "track.ignore_columns=updated_at,complete.seen"],
    )
    .await;
    for table in ["complete", "plain", "other"] {
        tracker
            .run(&format!(
                "INSERT INTO {table} VALUES (1, 1, now(), 1); UPDATE {table} SET updated_at = now() + interval '1 s';
                 UPDATE {table} SET x = 2, updated_at = now() + interval '2 s'; UPDATE {table} SET seen = 2;
                 UPDATE {table} SET seen = 3, updated_at = NULL; DELETE FROM {table}"
            ))
            .await;
    }
    assert_eq!(
        outlines(&tracker.changes("complete").await),
        ["CREATE 1", "UPDATE 1", "DELETE 1"]
    );
    // Only the other column's name stands in the rule of a table.
    assert_eq!(
        outlines(&tracker.stored("other").await),
        ["CREATE 1", "UPDATE 1", "UPDATE 1", "UPDATE 1", "DELETE 1"]
    );
    // The log does not say what changed.
    let plain = [
        "CREATE 1", "UPDATE 1", "UPDATE 1", "UPDATE 1", "UPDATE 1", "DELETE 1",
    ];
    assert_eq!(outlines(&tracker.stored("plain").await), plain);
}

#[tokio::test]
async fn a_large_value_that_was_left_alone_does_not_make_it_a_change() {
    let mut tracker = Tracker::on(
        "CREATE TABLE t (id int PRIMARY KEY, big text, updated_at int); ALTER TABLE t REPLICA IDENTITY FULL;
         ALTER TABLE t ALTER big SET STORAGE EXTERNAL",
        &["--set", "track.ignore_columns=t.updated_at"],
    )
    .await;
    tracker.run("INSERT INTO t VALUES (1, repeat('x', 50000), 1); UPDATE t SET updated_at = 2; UPDATE t SET big = 'y'").await;
    assert_eq!(outlines(&tracker.changes("t").await), ["CREATE 1", "UPDATE 1"]);
}

const USERS: &str = "(id int PRIMARY KEY, name text, password text, email text, token text)";

const REDACTED: [&str; 6] = [
    "--set",
    "track.redact=password=drop,email=mask,token=hash",
    "--set",
    "track.redact_key=a secret",
    "--set",
    "track.redact_context=session=drop,ip=mask,user=hash",
];

fn said(change: &Change) -> [&str; 3] {
    let redacted = &change.incomplete["redacted"];
    ["password", "email", "token"].map(|column| redacted[column].as_str().unwrap_or("(nothing)"))
}

/// Nothing of what is to be kept out stands anywhere in the table.
async fn assert_nothing_leaked(tracker: &Tracker) {
    let query = "SELECT c::text FROM changes c WHERE c::text LIKE '%secret%'";
    let rows = tracker.destination.query(query, &[]).await.expect("the changes");
    assert!(
        rows.is_empty(),
        "{:?}",
        rows.iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn redacted_columns_are_dropped_masked_and_hashed() {
    let mut tracker = Tracker::on(
        &format!(
            "CREATE TABLE complete {USERS}; CREATE TABLE plain {USERS}; ALTER TABLE complete REPLICA IDENTITY FULL;
             ALTER TABLE complete ALTER email SET STORAGE EXTERNAL; ALTER TABLE plain ALTER email SET STORAGE EXTERNAL"
        ),
        &REDACTED,
    )
    .await;
    for table in ["complete", "plain"] {
        tracker
            .run(&format!(
                "INSERT INTO {table} VALUES (1, 'Bob', 'secret', repeat('secret', 10000), 'secret token');
                 UPDATE {table} SET name = 'Rob'; UPDATE {table} SET token = 'secret, too', password = NULL;
                 UPDATE {table} SET token = 'secret token', password = 'secret'; DELETE FROM {table}"
            ))
            .await;
        let changes = tracker.changes(table).await;
        assert_eq!(changes[0].after["email"], "***");
        let hash = changes[0].after["token"].as_str().expect("a hash");
        assert_eq!((hash.len(), changes[0].after.get("password")), (64, None));
        assert_ne!(changes[2].after["token"], hash);
        assert_eq!(changes[3].after["token"], hash);
        let updates = changes.iter().map(said).collect::<Vec<_>>();
        let present = ["present"; 3];
        if table == "complete" {
            assert_eq!(changes[1].before["token"], hash);
            let changed = ["changed", "unchanged", "changed"];
            assert_eq!(updates, [present, ["unchanged"; 3], changed, changed, present]);
        } else {
            let unknown = ["unknown", "unchanged", "unknown"];
            assert_eq!(updates, [present, unknown, unknown, unknown, ["unknown"; 3]]);
        }
    }
    assert_nothing_leaked(&tracker).await;
}

#[tokio::test]
async fn a_redacted_column_may_be_the_key() {
    let tables = [("dropped", "drop"), ("masked", "mask"), ("hashed", "hash")];
    let create: Vec<String> = tables
        .iter()
        .flat_map(|(table, _)| {
            [
                format!("CREATE TABLE {table} (id text PRIMARY KEY, x int);"),
                format!("CREATE TABLE {table}_double (a int, id text, PRIMARY KEY (a, id));"),
            ]
        })
        .collect();
    let rules: Vec<String> = tables
        .iter()
        .flat_map(|(table, rule)| [format!("{table}.id={rule}"), format!("{table}_double.id={rule}")])
        .collect();
    let set = format!("track.redact={}", rules.join(","));
    let mut tracker = Tracker::on(
        &create.concat(),
        &["--set", &set, "--set", "track.redact_key=key"],
    )
    .await;
    for (table, _) in tables {
        tracker
            .run(&format!(
                "INSERT INTO {table} VALUES ('secret', 1); UPDATE {table} SET x = 2; UPDATE {table} SET id = 'secret 2';
                 DELETE FROM {table}; INSERT INTO {table}_double VALUES (1, 'secret')"
            ))
            .await;
    }
    tracker.caught_up().await;
    assert_nothing_leaked(&tracker).await;
    assert_eq!(
        outlines(&tracker.stored("dropped").await),
        ["CREATE", "UPDATE", "UPDATE", "DELETE"]
    );
    assert_eq!(
        outlines(&tracker.stored("masked").await),
        ["CREATE ***", "UPDATE ***", "UPDATE ***", "DELETE ***"]
    );
    let hashed = tracker.stored("hashed").await;
    let key = hashed[0].primary_key.as_deref().expect("a key");
    assert_eq!((key.len(), hashed[1].primary_key.as_deref()), (64, Some(key)));
    assert_eq!(hashed[0].after["id"], key);
    assert_eq!(hashed[2].previous_primary_key.as_deref(), Some(key));
    assert_eq!(hashed[3].primary_key, hashed[2].primary_key);
    let said: Vec<&Json> = hashed
        .iter()
        .map(|change| &change.incomplete["redacted"]["id"])
        .collect();
    assert_eq!(said, ["present", "unchanged", "changed", "present"]);
    assert_eq!(outlines(&tracker.stored("dropped_double").await), ["CREATE"]);
    assert_eq!(
        outlines(&tracker.stored("masked_double").await),
        [r#"CREATE [1,"***"]"#]
    );
}

#[tokio::test]
async fn keys_of_the_context_are_dropped_masked_and_hashed_and_statements_lose_their_literals() {
    let mut tracker = Tracker::on(&format!("CREATE TABLE plain {USERS}"), &REDACTED).await;
    for said in [
        r#"{"user": "secret user", "ip": "secret ip", "session": {"a": "secret"}, "kept": 1.50,
            "SQL": "INSERT INTO plain (password) VALUES ('secret') -- secret"}"#,
        r#"{"user": 7, "ip": null, "SQL": 5}"#,
        "[\"secret\"]",
    ] {
        tracker.run("BEGIN").await;
        let emit = "SELECT pg_logical_emit_message(true, '_bemi', $1::text)";
        tracker.source.execute(emit, &[&said]).await.expect("a message");
        tracker
            .run("INSERT INTO plain VALUES ((SELECT count(*) FROM plain), 'Bob'); COMMIT")
            .await;
    }
    let found = contexts(&tracker.changes("plain").await);
    assert_eq!(found[0]["user"].as_str().map(str::len), Some(64));
    assert_eq!((&found[0]["ip"], found[0].get("session")), (&json!("***"), None));
    assert_eq!(found[0]["kept"].to_string(), "1.50");
    assert_eq!(found[0]["_bemi"], json!({"dropped": ["session"]}));
    let sql = found[0]["SQL"].as_str().expect("a statement");
    assert!(sql.starts_with("INSERT INTO plain (password) VALUES ("), "{sql}");
    assert_eq!(found[1]["user"].as_str().map(str::len), Some(64));
    assert!(found[2]["_bemi"]["unreadable"].is_string());
    assert_nothing_leaked(&tracker).await;
}
