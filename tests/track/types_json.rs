//! JSON in a column is JSON in JSON, where jsonb can have it.

use serde_json::{Value as Json, json};

use crate::round_trip::{AS_TEXT, come_back_as, json_of};
use crate::tracker::Tracker;

/// Every value but `null`, which reads back as NULL.
const VALUES: &[&str] = &[
    "'{}'",
    "'[]'",
    "'\"\"'",
    "'1'",
    "'-0'",
    "'0.00'",
    "'true'",
    "'[null]'",
    "'{\"a\": null}'",
    "'123456789012345678901234567890.12345678901234567890'",
    "'1e1000'",
    "'1E-500'",
    "'{\"b\": {\"c\": [1, {\"d\": []}]}, \"a\": \"x\"}'",
    r#"'{"a": 1, "a": 2}'"#,
    r#"'"\u00e9 \ud83d\ude00 \\ \" \/ \b\f\n\r\t \u001f"'"#,
    "'\"\u{1F600}\u{2028}\"'",
    r#"'"\\u0000"'"#,
    "(repeat('[', 900) || repeat(']', 900))::json",
    "('\"' || repeat('long ', 100000) || '\"')::json",
    "' {\n\t\"a\" :\r 1 } '",
    "'{\"\": 1, \"a\\\"b\": 2}'",
];

#[tokio::test]
async fn jsonb_comes_back() {
    // Two of the values are texts that are cast to json first.
    let values: Vec<String> = VALUES
        .iter()
        .map(|value| value.replace("::json", "::jsonb"))
        .collect();
    let mut values: Vec<&str> = values.iter().map(String::as_str).collect();
    // What type numeric can hold, and so jsonb.
    values.extend([
        "repeat('9', 131072)::jsonb",
        "('0.' || repeat('1', 16383))::jsonb",
    ]);
    come_back_as(AS_TEXT, "", &[("jsonb", &values)]).await;
}

/// Type json keeps blanks, double keys and the order of keys; what is stored is jsonb.
#[tokio::test]
async fn json_comes_back_as_the_same_value() {
    come_back_as("v::jsonb::text", "", &[("json", VALUES)]).await;
}

#[tokio::test]
async fn json_in_arrays_comes_back() {
    let values = [
        "'{}'",
        r#"ARRAY['{"a": [1, "x,y"]}', '"s"', '1.50', NULL, 'true', '{}']"#,
        r#"ARRAY['"{}"', '"NULL"', '"\\"']"#,
        r#"ARRAY['[1, 2]', '[3]']"#,
        r#"ARRAY['[]', '{}']"#,
        r#"ARRAY['[1, 2]', '[3, 4]']"#,
        r#"ARRAY[ARRAY['1', '[2]'], ARRAY['3', '{}']]"#,
        r#"ARRAY['null', '1']"#,
    ];
    for type_name in ["jsonb", "json"] {
        let values: Vec<String> = values
            .iter()
            .map(|value| {
                if value.starts_with('A') {
                    format!("{value}::{type_name}[]")
                } else {
                    (*value).to_owned()
                }
            })
            .collect();
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        come_back_as(AS_TEXT, "", &[(&format!("{type_name}[]"), &values)]).await;
    }
}

#[tokio::test]
async fn json_is_nested_in_json() {
    json_of(
        "CREATE DOMAIN document AS jsonb",
        &[
            (
                "jsonb",
                r#"'{"a": [1.50, {"b": null}]}'"#,
                r#"{"a": [1.50, {"b": null}]}"#,
            ),
            ("json", r#"'{"b": 1,   "a": 2, "b": 3}'"#, r#"{"a": 2, "b": 3}"#),
            ("jsonb", r#"'"text"'"#, r#""text""#),
            ("jsonb", "'null'", "null"),
            ("json", "'[1, 2]'", "[1, 2]"),
            ("document", "'{\"a\": 1}'", "{\"a\": 1}"),
            (
                "jsonb[]",
                r#"ARRAY['{"a": 1}'::jsonb, NULL]"#,
                r#"[{"a": 1}, null]"#,
            ),
        ],
    )
    .await;
}

/// Type json takes any text of JSON's form; what jsonb does not take is kept as that text.
#[tokio::test]
async fn what_jsonb_cannot_have_is_stored_as_its_text() {
    let mut tracker = Tracker::on("CREATE TABLE odd (id int PRIMARY KEY, v json)", &[]).await;
    let deep = "[".repeat(4_000) + &"]".repeat(4_000);
    let values = [
        r#"{"a": "\u0000"}"#,
        r#""\ud800""#,
        r#""\ude00\ud83d""#,
        r#"["\ud83dx"]"#,
        "1e200000",
        "-1e-200000",
        "[0.0e99999]",
        &deep,
    ];
    for (id, value) in (1_i32..).zip(values) {
        let insert = "INSERT INTO odd VALUES ($1, $2::text::json)";
        tracker
            .source
            .execute(insert, &[&id, &value])
            .await
            .expect("type json takes it");
    }
    let changes = tracker.changes("odd").await;
    let stored: Vec<&Json> = changes.iter().map(|change| &change.after["v"]).collect();
    assert_eq!(
        stored,
        values.map(|value| json!(value)).iter().collect::<Vec<_>>()
    );
}
