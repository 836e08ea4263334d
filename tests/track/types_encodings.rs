//! Databases in other encodings, and names that nobody should give.

use bemi::demo::cluster::Cluster;
use serde_json::json;

use crate::support;
use crate::tracker::{Tracker, cluster, outlines, run_to_its_end};

/// A new database in this encoding.
async fn database_in(cluster: &Cluster, encoding: &str) -> String {
    let client = support::connect(cluster.port(), "postgres").await;
    let name = format!("in_{}", encoding.to_lowercase());
    let create = format!("CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' LOCALE 'C'");
    client.batch_execute(&create).await.expect("a database");
    name
}

/// Runs a statement that is no UTF-8, as only a client of another encoding sends it.
async fn run_bytes(database: &str, statement: &[u8], encoding: &str) {
    let mut script = format!("SET client_encoding = '{encoding}';\n").into_bytes();
    script.extend_from_slice(statement);
    let mut psql = support::program::libpq(cluster(), "psql", cluster().port(), database);
    psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1"]);
    let output = support::program::run_with_input(psql, &script).await;
    assert!(
        output.status.success(),
        "{}",
        support::program::text(&output.stderr)
    );
}

#[tokio::test]
async fn a_database_in_latin1_is_stored_in_its_characters() {
    let database = database_in(cluster(), "LATIN1").await;
    let source = support::connect(cluster().port(), &database).await;
    source
        .batch_execute("CREATE TABLE \"t\u{E9}\" (\"\u{FC}\" text PRIMARY KEY, j jsonb, a text[])")
        .await
        .expect("a table");
    let mut tracker = Tracker::beside(&database, &[]).await;
    run_bytes(
        &database,
        b"BEGIN; SELECT pg_logical_emit_message(true, '_bemi', '{\"who\": \"J\xFCrgen\"}');
          INSERT INTO \"t\xE9\" VALUES ('gr\xFC\xDF', '{\"k\xE9\": \"\xE9\"}', '{\xE9,\"\xFC x\"}'); COMMIT;",
        "LATIN1",
    )
    .await;
    let changes = tracker.changes("t\u{E9}").await;
    assert_eq!(changes[0].primary_key.as_deref(), Some("gr\u{FC}\u{DF}"));
    assert_eq!(
        changes[0].after,
        json!({"\u{FC}": "gr\u{FC}\u{DF}", "j": {"k\u{E9}": "\u{E9}"}, "a": ["\u{E9}", "\u{FC} x"]})
    );
    assert_eq!(changes[0].context, json!({"who": "J\u{FC}rgen"}));
}

#[tokio::test]
async fn bytes_that_are_no_text_are_shown_as_bytes_and_named() {
    let database = database_in(cluster(), "SQL_ASCII").await;
    let source = support::connect(cluster().port(), &database).await;
    source
        .batch_execute("CREATE TABLE t (id text PRIMARY KEY, x text, j json, a text[], v varchar); ALTER TABLE t REPLICA IDENTITY FULL")
        .await
        .expect("a table");
    let mut tracker = Tracker::beside(&database, &[]).await;
    run_bytes(
        &database,
        b"INSERT INTO t VALUES ('a', 'gr\xFC\xDF', '\"\xFF\"', ARRAY['\xE9'], 'fine \xC3\xA9'); UPDATE t SET x = 'y' WHERE id = 'a';
          INSERT INTO t VALUES ('k\xFF', NULL, NULL, NULL, NULL); DELETE FROM t;",
        "SQL_ASCII",
    )
    .await;
    let changes = tracker.changes("t").await;
    assert_eq!(changes.len(), 5);
    let hex = json!({"id": "a", "x": r"\x6772fcdf", "j": r"\x22ff22", "a": r"\x7be97d", "v": "fine \u{E9}"});
    assert_eq!(changes[0].after, hex);
    assert_eq!(changes[0].incomplete, json!({"not_utf8": ["x", "j", "a"]}));
    assert_eq!((&changes[1].before, &changes[1].after["x"]), (&hex, &json!("y")));
    assert_eq!(changes[1].incomplete, json!({"not_utf8": ["x", "j", "a"]}));
    assert_eq!(
        (changes[2].primary_key.as_deref(), &changes[2].after["id"]),
        (Some(r"\x6bff"), &json!(r"\x6bff"))
    );
}

/// In such a database the server cannot say what a name is in UTF-8, though it may be just that.
#[tokio::test]
async fn names_in_a_database_without_an_encoding_are_those_that_it_has() {
    let client = support::connect(cluster().port(), "postgres").await;
    let create = "CREATE DATABASE odd_names TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'";
    client.batch_execute(create).await.expect("a database");
    let table = "CREATE TABLE \"t\u{E9}\" (\"k\u{E9}\" int PRIMARY KEY, x text);
                 ALTER TABLE \"t\u{E9}\" REPLICA IDENTITY FULL;";
    run_bytes("odd_names", table.as_bytes(), "SQL_ASCII").await;
    let mut tracker = Tracker::beside("odd_names", &[]).await;
    run_bytes(
        "odd_names",
        "INSERT INTO \"t\u{E9}\" VALUES (1, '\u{E9}');".as_bytes(),
        "SQL_ASCII",
    )
    .await;
    // A name that is no text is shown escaped.
    let bytes = b"CREATE TABLE \"u\xE9\" (\"k\xE9\" int PRIMARY KEY, \"x\xFF\" text); INSERT INTO \"u\xE9\" VALUES (1, 'x');";
    run_bytes("odd_names", bytes, "SQL_ASCII").await;
    let changes = tracker.changes("t\u{E9}").await;
    assert_eq!(outlines(&changes), ["CREATE 1"]);
    assert_eq!(changes[0].after, json!({"k\u{E9}": 1, "x": "\u{E9}"}));
    let escaped = tracker.stored("u\\xe9").await;
    assert_eq!(outlines(&escaped), ["CREATE 1"]);
    assert_eq!(escaped[0].after, json!({"k\\xe9": 1, "x\\xff": "x"}));
}

#[tokio::test]
async fn a_destination_that_cannot_hold_every_character_is_refused() {
    let client = support::connect(cluster().port(), "postgres").await;
    let create = "CREATE DATABASE in_latin2 TEMPLATE template0 ENCODING 'LATIN2' LOCALE 'C'";
    client.batch_execute(create).await.expect("a database");
    let url = cluster().url("in_latin2", &[]);
    let (code, _, error) = run_to_its_end("in_latin2", &["--source", &url]).await;
    assert!(
        code == Some(1) && error.contains("LATIN2") && error.contains("--destination"),
        "{error}"
    );
}

#[tokio::test]
async fn odd_names_are_stored_as_they_are() {
    let names = [
        "a\"b",
        "a\\b",
        "a\tb",
        "a\nb",
        "\u{1F600}",
        " ",
        "SELECT",
        "Mixed Case",
        "a,b",
        "a'b",
        "{}",
        "x\",\"y",
        "y",
        "\\N",
        "\\.",
    ];
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    let columns: Vec<String> = names.iter().map(|name| format!("{} int", quoted(name))).collect();
    let mut tables = String::new();
    for name in names {
        tables.push_str(&format!(
            "CREATE SCHEMA {0}; CREATE TABLE {0}.{0} (id int, {1}, PRIMARY KEY (id, {0}));",
            quoted(name),
            columns.join(", ")
        ));
    }
    for arguments in [&[][..], &["--exclude", "nothing"][..]] {
        let mut tracker = Tracker::on(&tables, arguments).await;
        for name in names {
            let values = vec!["1"; names.len()].join(", ");
            tracker
                .run(&format!("INSERT INTO {0}.{0} VALUES (7, {values})", quoted(name)))
                .await;
        }
        tracker.caught_up().await;
        for name in names {
            let changes = tracker.stored(name).await;
            assert_eq!(outlines(&changes), ["CREATE [7,1]"], "{name}");
            assert_eq!((&*changes[0].schema, &*changes[0].table), (name, name));
            let row = changes[0].after.as_object().expect("a row");
            assert!(
                row.len() == names.len() + 1 && names.iter().all(|column| row[*column] == 1),
                "{row:?}"
            );
        }
    }
}

/// What `incomplete` lists are names, and they may look like anything.
#[tokio::test]
async fn odd_names_are_listed_as_they_are() {
    let columns = [
        "x\",\"y",
        "y",
        "changed",
        "present",
        "unchanged",
        "a\\",
        "\"",
        "a\tb",
        "unknown",
        "key",
    ];
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    let definitions: Vec<String> = columns
        .iter()
        .map(|name| format!("{} text", quoted(name)))
        .collect();
    let external: Vec<String> = columns
        .iter()
        .map(|name| format!("ALTER {} SET STORAGE EXTERNAL", quoted(name)))
        .collect();
    let table = |name: &str| {
        format!(
            "CREATE TABLE {name} (id int PRIMARY KEY, n int, {}); ALTER TABLE {name} {};",
            definitions.join(", "),
            external.join(", ")
        )
    };
    let rules: Vec<String> = columns
        .iter()
        .map(|name| format!("redacted.{}=mask", quoted(name)))
        .collect();
    let rules: Vec<String> = rules.iter().map(|rule| format!("'{rule}'")).collect();
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("track.toml");
    std::fs::write(&file, format!("[track]\nredact = [{}]\n", rules.join(", "))).expect("a file");
    let file = file.to_str().expect("UTF-8");
    let mut tracker = Tracker::on(
        &format!("{} {}", table("large"), table("redacted")),
        &["--config", file],
    )
    .await;
    let values = vec!["repeat('x', 10000)"; columns.len()].join(", ");
    for name in ["large", "redacted"] {
        tracker
            .run(&format!(
                "INSERT INTO {name} VALUES (1, 1, {values}); UPDATE {name} SET n = 2"
            ))
            .await;
    }
    let large = tracker.changes("large").await;
    assert_eq!(large[1].incomplete["after"], json!(columns));
    let redacted = tracker.stored("redacted").await;
    let said = redacted[0].incomplete["redacted"]
        .as_object()
        .expect("what is redacted");
    assert!(
        said.len() == columns.len() && columns.iter().all(|column| said[*column] == "present"),
        "{said:?}"
    );
    let said = redacted[1].incomplete["redacted"]
        .as_object()
        .expect("what is redacted");
    assert!(
        said.len() == columns.len() && columns.iter().all(|column| said[*column] == "unchanged"),
        "{said:?}"
    );
}
