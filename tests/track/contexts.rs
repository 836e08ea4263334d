//! Which context a change has.

use serde_json::{Value as Json, json};

use crate::tracker::{Tracker, contexts, outlines};

const TODO: &str = "CREATE TABLE todo (id int PRIMARY KEY, task text)";

/// A statement that says who.
fn who(name: &str) -> String {
    format!("SELECT pg_logical_emit_message(true, '_bemi', '{{\"who\": \"{name}\"}}');")
}

fn insert(id: u32) -> String {
    format!("INSERT INTO todo VALUES ({id}, 'x');")
}

/// The contexts that these statements, in one transaction, give the rows of `todo`.
async fn contexts_of(statements: &[String]) -> Vec<Json> {
    let mut tracker = Tracker::on(TODO, &[]).await;
    tracker
        .run(&format!("BEGIN; {} COMMIT", statements.concat()))
        .await;
    contexts(&tracker.changes("todo").await)
}

fn whos(names: &[&str]) -> Vec<Json> {
    names.iter().map(|name| json!({"who": name})).collect()
}

#[tokio::test]
async fn a_change_has_the_latest_context_before_it() {
    let found = contexts_of(&[who("a"), insert(1), insert(2), who("b"), who("c"), insert(3)]).await;
    assert_eq!(found, whos(&["a", "a", "c"]));
}

#[tokio::test]
async fn without_one_before_it_a_change_has_the_first_after_it() {
    let found = contexts_of(&[insert(1), insert(2), who("a"), insert(3), who("b"), insert(4)]).await;
    assert_eq!(found, whos(&["a", "a", "a", "b"]));
}

#[tokio::test]
async fn a_context_that_was_rolled_back_counts_for_nothing() {
    let statements = [
        who("a"),
        "SAVEPOINT s;".into(),
        who("b"),
        insert(1),
        "ROLLBACK TO s;".into(),
        insert(2),
        "SAVEPOINT t;".into(),
        who("c"),
        "RELEASE t;".into(),
        insert(3),
    ];
    assert_eq!(contexts_of(&statements).await, whos(&["a", "c"]));
}

#[tokio::test]
async fn a_context_ends_with_its_transaction_and_nobody_said_is_an_empty_one() {
    let mut tracker = Tracker::on(TODO, &[]).await;
    tracker
        .run(&format!("BEGIN; {}{}COMMIT", who("a"), insert(1)))
        .await;
    tracker.run(&insert(2)).await;
    tracker
        .run(&format!("BEGIN; {}{}ROLLBACK", who("b"), insert(3)))
        .await;
    tracker
        .run(&format!("BEGIN; {}{}COMMIT", insert(4), who("c")))
        .await;
    tracker.run(&who("d")).await;
    tracker.run(&insert(5)).await;
    let changes = tracker.changes("todo").await;
    assert_eq!(
        outlines(&changes),
        ["CREATE 1", "CREATE 2", "CREATE 4", "CREATE 5"]
    );
    assert_eq!(
        contexts(&changes),
        [json!({"who": "a"}), json!({}), json!({"who": "c"}), json!({})]
    );
}

#[tokio::test]
async fn messages_outside_of_transactions_and_those_of_others_are_no_context() {
    let statements = [
        "SELECT pg_logical_emit_message(false, '_bemi', '{\"who\": \"not transactional\"}');".into(),
        "SELECT pg_logical_emit_message(true, 'other', '{\"who\": \"other\"}');".into(),
        "SELECT pg_logical_emit_message(true, '_bem', '{\"who\": \"shorter\"}');".into(),
        "SELECT pg_logical_emit_message(true, '', '{\"who\": \"nobody\"}');".into(),
        insert(1),
        who("a"),
        "SELECT pg_logical_emit_message(true, '_bemi2', '{\"who\": \"longer\"}');".into(),
        insert(2),
    ];
    assert_eq!(contexts_of(&statements).await, whos(&["a", "a"]));
}

/// Packages for ORMs put a comment into the statement, and a trigger on each table writes it into the log row by row.
#[tokio::test]
async fn a_trigger_may_write_the_context_of_each_row() {
    let trigger = "CREATE FUNCTION say() RETURNS trigger LANGUAGE plpgsql AS $$
        DECLARE said text := split_part(split_part(current_query(), '/*Bemi ', 2), ' Bemi*/', 1);
        BEGIN
            IF said <> '' THEN PERFORM pg_logical_emit_message(true, '_bemi', said); END IF;
            IF TG_OP = 'DELETE' THEN RETURN OLD; ELSE RETURN NEW; END IF;
        END $$;
        CREATE TRIGGER say BEFORE INSERT OR UPDATE OR DELETE ON todo FOR EACH ROW EXECUTE FUNCTION say()";
    let mut tracker = Tracker::on(&format!("{TODO}; {trigger}"), &[]).await;
    for statement in [
        "INSERT INTO todo VALUES (1, 'x'), (2, 'y') /*Bemi {\"who\": \"a\"} Bemi*/",
        "BEGIN",
        "UPDATE todo SET task = 'z' WHERE id = 1 /*Bemi {\"who\": \"b\"} Bemi*/",
        "DELETE FROM todo WHERE id = 2 /*Bemi {\"who\": \"c\"} Bemi*/",
        "COMMIT",
        "INSERT INTO todo VALUES (3, 'x')",
    ] {
        tracker.run(statement).await;
    }
    let changes = tracker.changes("todo").await;
    assert_eq!(
        outlines(&changes),
        ["CREATE 1", "CREATE 2", "UPDATE 1", "DELETE 2", "CREATE 3"]
    );
    assert_eq!(contexts(&changes)[..4], whos(&["a", "a", "b", "c"]));
    assert_eq!(changes[4].context, json!({}));
}

#[tokio::test]
async fn what_cannot_be_a_context_says_so_and_takes_the_place_of_the_one_before() {
    let mut tracker = Tracker::on(TODO, &["--set", "track.max_context_bytes=1024"]).await;
    let contents = [
        "'no JSON'",
        "'[1, 2]'",
        r#"'{"a": "\u0000"}'"#,
        r#"'{"a": "\ud800"}'"#,
        "'{\"a\": \"' || repeat('x', 2000) || '\"}'",
        "''",
        "'null'",
        r"'\xff7b7d'::bytea",
        r"'\x7b00'::bytea",
        "'{\"a\": 1} trailing'",
    ];
    for (id, content) in contents.iter().enumerate() {
        let bad = format!("SELECT pg_logical_emit_message(true, '_bemi', {content});");
        let id = u32::try_from(id).expect("a few");
        tracker
            .run(&format!("BEGIN; {} {bad} {} COMMIT", who("a"), insert(id)))
            .await;
    }
    let changes = tracker.changes("todo").await;
    assert_eq!(changes.len(), contents.len());
    for change in &changes {
        assert!(change.context["_bemi"]["unreadable"].is_string(), "{change:?}");
        assert_eq!(change.context.get("who"), None, "{change:?}");
    }
    assert_eq!(changes[0].context["_bemi"]["message"], "no JSON");
    assert_eq!(changes[1].context["_bemi"]["message"], "[1, 2]");
    assert_eq!(changes[2].context["_bemi"]["message"], r#"{"a": "\u0000"}"#);
}

#[tokio::test]
async fn a_context_keeps_every_digit_and_every_character() {
    let content = r#"{"n": 12345678901234567890.10, "s": "q\"\\\n\t\u00e9😀", "o": {"a": [null, true]}, "SQL": "SELECT $$\t$$"}"#;
    let mut tracker = Tracker::on(TODO, &[]).await;
    tracker.run("BEGIN").await;
    let emit = "SELECT pg_logical_emit_message(true, '_bemi', $1::text)";
    tracker
        .source
        .execute(emit, &[&content])
        .await
        .expect("a message");
    tracker.run(&format!("{} COMMIT", insert(1))).await;
    let wanted: Json = serde_json::from_str(content).expect("JSON");
    assert_eq!(tracker.changes("todo").await[0].context, wanted);
}

/// More than are held back for their context: they are written first, and get it afterwards.
async fn many_rows_before_their_context(arguments: &[&str]) {
    let mut tracker = Tracker::on(TODO, arguments).await;
    let many = "INSERT INTO todo SELECT id, repeat('x', 100) FROM generate_series(1, 50000) id;";
    tracker.run(&insert(0)).await;
    tracker
        .run(&format!(
            "BEGIN; {many} {} UPDATE todo SET task = 'y' WHERE id = 1; {} {} COMMIT",
            who("late"),
            who("later"),
            insert(60_000)
        ))
        .await;
    tracker.run(&insert(60_001)).await;
    tracker.caught_up().await;
    let counted = "SELECT context::text || ' ' || operation, count(*), count(DISTINCT primary_key)
                     FROM changes WHERE \"table\" = 'todo' GROUP BY 1 ORDER BY 1";
    let rows = tracker
        .destination
        .query(counted, &[])
        .await
        .expect("the changes");
    let found: Vec<(String, i64, i64)> = rows
        .iter()
        .map(|row| (row.get(0), row.get(1), row.get(2)))
        .collect();
    let wanted = [
        ("{\"who\": \"late\"} CREATE", 50_000),
        ("{\"who\": \"late\"} UPDATE", 1),
        ("{\"who\": \"later\"} CREATE", 1),
        ("{} CREATE", 2),
    ];
    assert_eq!(found, wanted.map(|(what, count)| (what.to_owned(), count, count)));
}

#[tokio::test]
async fn fifty_thousand_rows_before_the_first_context_all_get_it() {
    many_rows_before_their_context(&[]).await;
}

#[tokio::test]
async fn fifty_thousand_rows_before_the_first_context_all_get_it_in_partitions_as_well() {
    many_rows_before_their_context(&["--retention", "30d", "--set", "track.partition_by=day"]).await;
}

#[tokio::test]
async fn fifty_thousand_rows_without_any_context_have_none() {
    let mut tracker = Tracker::on(TODO, &[]).await;
    tracker
        .run("INSERT INTO todo SELECT id, repeat('x', 100) FROM generate_series(1, 50000) id")
        .await;
    tracker
        .run(&format!("BEGIN; {} {} COMMIT", insert(60_000), who("next")))
        .await;
    tracker.caught_up().await;
    let counted = "SELECT count(*) FROM changes WHERE \"table\" = 'todo' AND context = '{}'";
    let row = tracker
        .destination
        .query_one(counted, &[])
        .await
        .expect("the changes");
    assert_eq!(row.get::<_, i64>(0), 50_000);
}
