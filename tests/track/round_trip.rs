//! Whether values come back: `jsonb_populate_record` makes the same row of `before` and `after` that there was.

use std::fmt::Write;

use serde_json::Value as Json;

use crate::tracker::Tracker;

/// A type, and expressions that are values of it.
pub type Values<'a> = (&'a str, &'a [&'a str]);

/// How values are compared, where their text is to be the same.
pub const AS_TEXT: &str = "v::text";

/// Every value comes back: of a row that was inserted, of one that was updated, and of one that was deleted.
/// `prepare` makes the types.
pub async fn all_come_back(prepare: &str, types: &[Values<'_>]) {
    come_back_as(AS_TEXT, prepare, types).await;
}

/// As [`all_come_back`], with an expression on the column `v` for what has to be the same.
pub async fn come_back_as(compared: &str, prepare: &str, types: &[Values<'_>]) {
    let mut tables = format!("{prepare};");
    for (place, (type_name, _)) in types.iter().enumerate() {
        write!(
            tables,
            "CREATE TABLE t{place} (id int PRIMARY KEY, v {type_name});
             ALTER TABLE t{place} REPLICA IDENTITY FULL;"
        )
        .expect("text");
    }
    let mut tracker = Tracker::on(&tables, &[]).await;
    for (place, (_, values)) in types.iter().enumerate() {
        let mut script = String::new();
        for (id, value) in values.iter().chain(&["NULL"]).enumerate() {
            writeln!(script, "INSERT INTO t{place} VALUES ({id}, {value});").expect("text");
        }
        write!(
            script,
            "CREATE TABLE kept{place} AS TABLE t{place}; UPDATE t{place} SET id = id + 1000; DELETE FROM t{place}"
        )
        .expect("text");
        tracker.run(&script).await;
    }
    tracker.caught_up().await;
    let mut wrong = Vec::new();
    for (place, (type_name, values)) in types.iter().enumerate() {
        let kept = tracker
            .source
            .query_one(&format!("SELECT count(*) FROM kept{place}"), &[])
            .await
            .expect("kept rows");
        assert_eq!(
            usize::try_from(kept.get::<_, i64>(0)),
            Ok(values.len() + 1),
            "{type_name}"
        );
        for (operation, moved, side) in [
            ("CREATE", 0, "after"),
            ("UPDATE", 1_000, "before"),
            ("UPDATE", 1_000, "after"),
            ("DELETE", 1_000, "before"),
        ] {
            let query = format!(
                "SELECT '{operation} {side} ' || coalesce(k.v, '(null)') || ': ' ||
                        coalesce(left(r.v, 200), '(null)') || ' out of ' || coalesce(left(c.{side}::text, 200), '(nothing)')
                   FROM (SELECT id, {compared} AS v FROM kept{place}) k
                   LEFT JOIN changes c ON c.\"table\" = 't{place}' AND c.operation = '{operation}'
                                      AND c.primary_key = (k.id + {moved})::text
                   LEFT JOIN LATERAL (SELECT {compared} AS v FROM jsonb_populate_record(NULL::t{place}, c.{side})) r ON true
                  WHERE c.id IS NULL OR c.incomplete IS NOT NULL OR k.v IS DISTINCT FROM r.v"
            );
            match tracker.source.query(&query, &[]).await {
                Ok(rows) => wrong.extend(
                    rows.iter()
                        .map(|row| format!("{type_name}: {}", row.get::<_, String>(0))),
                ),
                Err(error) => wrong.push(format!(
                    "{type_name}: {operation} {side}: {:?}",
                    error.as_db_error()
                )),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What values are in JSON: a type, an expression, and its JSON.
pub async fn json_of(prepare: &str, values: &[(&str, &str, &str)]) {
    let mut tables = format!("{prepare};");
    for (place, (type_name, ..)) in values.iter().enumerate() {
        write!(
            tables,
            "CREATE TABLE t{place} (id int PRIMARY KEY, v {type_name});"
        )
        .expect("text");
    }
    let mut tracker = Tracker::on(&tables, &[]).await;
    for (place, (_, value, _)) in values.iter().enumerate() {
        tracker
            .run(&format!("INSERT INTO t{place} VALUES (1, {value})"))
            .await;
    }
    tracker.caught_up().await;
    for (place, (type_name, value, wanted)) in values.iter().enumerate() {
        let wanted: Json = serde_json::from_str(wanted).expect("JSON");
        let stored = tracker.stored(&format!("t{place}")).await;
        assert_eq!(
            stored.first().map(|change| &change.after["v"]),
            Some(&wanted),
            "{type_name} {value}"
        );
    }
}
