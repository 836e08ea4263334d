//! A `_bemi` message as the column `context` keeps it. Pure.
//!
//! The usual message is stored as the bytes it came in. One that the column cannot take must neither stop the stream nor
//! leave the context before it in force, which would blame the wrong one: it is stored as
//! `{"_bemi": {"unreadable": "...", "message": "..."}}`.

use serde_json::{Map, Value, json};

use super::copy;
use super::jsonb::{Fit, fit};
use super::rules::{MASK, Rules};
use crate::config::Redaction;
use crate::sql::{Dialect, normalize};

/// The prefix of the messages: that of the proxy, and of the packages and triggers that write context by themselves.
pub const PREFIX: &[u8] = b"_bemi";

/// What a rule or a message that cannot be stored is told under.
const NOTES: &str = "_bemi";

/// The key with the statement.
const SQL: &str = "SQL";

/// A context, ready to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredContext {
    /// One JSON object.
    pub json: Vec<u8>,
    /// The same as COPY reads it.
    pub copied: Vec<u8>,
}

impl StoredContext {
    /// Nobody said anything.
    #[must_use]
    pub fn empty() -> Self {
        Self::new(b"{}".to_vec())
    }

    fn new(json: Vec<u8>) -> Self {
        let mut copied = Vec::with_capacity(json.len() + json.len() / 8);
        copy::json(&mut copied, &json);
        Self { json, copied }
    }

    /// From the content of a message. `max_bytes` is `track.max_context_bytes`.
    #[must_use]
    pub fn from_message(content: &[u8], rules: &Rules, max_bytes: usize) -> Self {
        if content.len() > max_bytes {
            let length = content.len();
            return Self::unreadable(
                &format!("its {length} bytes are over the limit of {max_bytes}"),
                None,
            );
        }
        if fit(content) != Fit::Object {
            // What may not be stored could be anywhere in it.
            let shown = if redacts(rules) {
                None
            } else {
                std::str::from_utf8(content).ok()
            };
            return Self::unreadable("it is no JSON object that jsonb can store", shown);
        }
        if !redacts(rules) {
            return Self::new(content.to_vec());
        }
        match serde_json::from_slice(content) {
            Ok(entries) => Self::new(redacted(entries, rules)),
            Err(_) => Self::unreadable("it is nested too deep to be redacted", None),
        }
    }

    fn unreadable(why: &str, content: Option<&str>) -> Self {
        let mut notes = json!({ "unreadable": why });
        // The column takes every character but this one.
        if let (Some(content), Some(notes)) =
            (content.filter(|text| !text.contains('\0')), notes.as_object_mut())
        {
            notes.insert("message".into(), content.into());
        }
        Self::new(json!({ NOTES: notes }).to_string().into_bytes())
    }
}

fn redacts(rules: &Rules) -> bool {
    !rules.redact_context.is_empty() || rules.normalizes_sql()
}

fn redacted(entries: Map<String, Value>, rules: &Rules) -> Vec<u8> {
    let mut kept = Map::new();
    let mut dropped = Vec::new();
    for (key, value) in entries {
        let rule = rules.redact_context.iter().find(|rule| rule.what == key);
        match rule.map(|rule| rule.redaction) {
            Some(Redaction::Drop) => dropped.push(Value::from(key)),
            Some(Redaction::Mask) => drop(kept.insert(key, text(MASK.to_vec()))),
            Some(Redaction::Hash) => {
                let value = match &value {
                    Value::String(text) => text.clone(),
                    other => other.to_string(),
                };
                kept.insert(key, text(rules.hashed(value.as_bytes())));
            }
            None => drop(kept.insert(key, value)),
        }
    }
    if let (true, Some(Value::String(sql))) = (rules.normalizes_sql(), kept.get_mut(SQL)) {
        *sql = text_of(normalize(sql.as_bytes(), Dialect::default()));
    }
    if !dropped.is_empty() {
        kept.insert(NOTES.into(), json!({ "dropped": dropped }));
    }
    Value::Object(kept).to_string().into_bytes()
}

fn text(bytes: Vec<u8>) -> Value {
    Value::from(text_of(bytes))
}

fn text_of(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| error.as_bytes().escape_ascii().to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::StoredContext;
    use crate::track::rules::{HashKey, Rules};

    const MAX: usize = 1_000;

    fn stored(content: &[u8], rules: &Rules) -> Value {
        serde_json::from_slice(&StoredContext::from_message(content, rules, MAX).json).unwrap()
    }

    #[test]
    fn a_context_is_stored_as_it_came() {
        let content = br#"{"user_id": 1.50, "SQL": "INSERT \u00e9"}"#;
        let context = StoredContext::from_message(content, &Rules::default(), MAX);
        assert_eq!(context.json, content);
        assert_eq!(context.copied, br#"{"user_id": 1.50, "SQL": "INSERT \\u00e9"}"#);
    }

    #[test]
    fn what_cannot_be_stored_says_so_in_its_place() {
        let unreadable = |content: &[u8]| stored(content, &Rules::default())["_bemi"].clone();
        assert_eq!(unreadable(b"[1]")["message"], "[1]");
        assert_eq!(unreadable(br#"{"a": "\u0000"}"#)["message"], r#"{"a": "\u0000"}"#);
        assert!(unreadable(b"\xFF")["unreadable"].is_string());
        assert_eq!(unreadable(b"a\0").get("message"), None);
        assert_eq!(
            unreadable(&[b' '; MAX + 1])["unreadable"],
            "its 1001 bytes are over the limit of 1000"
        );
    }

    #[test]
    fn keys_are_dropped_masked_and_hashed() {
        let rules = Rules {
            redact_context: ["a=drop", "b=mask", "c=hash"]
                .map(|rule| rule.parse().unwrap())
                .into(),
            hash_key: Some(HashKey::new("key")),
            ..Rules::default()
        };
        let context = stored(
            br#"{"a": 1, "b": 2, "c": "x", "d": 4, "SQL": "SELECT 5"}"#,
            &rules,
        );
        assert_eq!(context["_bemi"], json!({"dropped": ["a"]}));
        assert_eq!(context["b"], "***");
        assert_eq!(context["c"].as_str().map(str::len), Some(64));
        assert_eq!((&context["d"], &context["SQL"]), (&json!(4), &json!("SELECT 5")));
        assert_eq!(context.get("a"), None);
        assert_eq!(stored(b"[1]", &rules)["_bemi"].get("message"), None);
    }

    #[test]
    fn where_a_column_is_redacted_statements_lose_their_literals() {
        let rules = Rules {
            redact: vec!["email=drop".parse().unwrap()],
            ..Rules::default()
        };
        let context = stored(
            br#"{"SQL": "UPDATE users SET email = 'bob@example.com' WHERE id = $1"}"#,
            &rules,
        );
        assert_eq!(context["SQL"], "UPDATE users SET email = $2 WHERE id = $1");
    }
}
