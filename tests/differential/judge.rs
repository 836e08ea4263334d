//! Judges what came of a script: what the client read, and what stands in the write-ahead log.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

use super::conversation::Heard;
use super::script::{Script, Text};
use super::support::wal::{Item, Row, Transaction};

/// Whether this comes from [`replies`].
pub fn is_about_replies(reason: &str) -> bool {
    reason.starts_with("in step ")
}

/// What both sides said in each step must be the same.
pub fn replies(proxied: &[Vec<Heard>], direct: &[Vec<Heard>]) -> Result<(), String> {
    for step in 0..proxied.len().max(direct.len()) {
        let (ours, theirs) = (proxied.get(step), direct.get(step));
        if ours != theirs {
            return Err(format!(
                "in step {}\n  through the proxy the client reads {ours:#?}\n  and from the server {theirs:#?}",
                step + 1
            ));
        }
    }
    Ok(())
}

/// A row, and the latest message before it in its transaction.
pub struct Written {
    row: Row,
    message: Option<Json>,
}

/// The rows of the log by id; a row may have been written several times.
pub fn written(transactions: &[Transaction]) -> BTreeMap<i64, Vec<Written>> {
    let mut written: BTreeMap<i64, Vec<Written>> = BTreeMap::new();
    for transaction in transactions {
        let mut message = None;
        for item in &transaction.items {
            message = item.context().or(message);
            if let Item::Insert { new, .. } | Item::Update { new, .. } = item
                && let Some(id) = column(new, "id").and_then(|id| id.parse().ok())
            {
                written.entry(id).or_default().push(Written {
                    row: new.clone(),
                    message: message.clone(),
                });
            }
        }
    }
    written
}

/// What the server's setting was when it wrote the row must be what the message before the row says.
pub fn row(script: &Script, written: &Written) -> Result<(), String> {
    let explain = |why: String| {
        format!(
            "{why}\n  the row    {:?}\n  its message {}",
            written.row,
            written.message.as_ref().map_or("none".into(), Json::to_string)
        )
    };
    let setting = object(column(&written.row, "setting")).map_err(explain)?;
    let text = column(&written.row, "tag").and_then(|tag| script.texts.get(tag));
    let text = text.ok_or_else(|| explain("a row that nothing of the script writes".into()))?;
    let execution = column(&written.row, "execution")
        .and_then(|id| id.parse().ok())
        .and_then(|id: i64| script.executions.get(&id));
    let expected = expected(setting, text, execution);
    let found = match &written.message {
        None => Map::new(),
        Some(Json::Object(members)) => members.clone(),
        Some(_) => return Err(explain("a message that is no object".into())),
    };
    if is_nothing(&found) && is_nothing(&expected) {
        return Ok(());
    }
    if found == expected {
        Ok(())
    } else {
        let expected = Json::Object(expected);
        Err(explain(format!("the message should be {expected}")))
    }
}

fn expected(setting: Map<String, Json>, text: &Text, execution: Option<&Text>) -> Map<String, Json> {
    let mut merged = setting;
    let comments = [
        text.comment.clone(),
        execution.and_then(|text| text.comment.clone()),
    ];
    merged.extend(comments.into_iter().flatten().flatten());
    if !merged.is_empty() && !merged.contains_key("SQL") {
        let sql = execution.unwrap_or(text).sql.as_str();
        merged.insert("SQL".into(), sql.into());
    }
    merged
}

/// `{}`, also as the server merges it: then it still names the statement.
fn is_nothing(context: &Map<String, Json>) -> bool {
    context.keys().all(|key| key == "SQL")
}

fn object(setting: Option<&str>) -> Result<Map<String, Json>, String> {
    match setting {
        None | Some("") => Ok(Map::new()),
        Some(text) => {
            serde_json::from_str(text).map_err(|error| format!("the server took {text:?}: {error}"))
        }
    }
}

fn column<'a>(row: &'a Row, name: &str) -> Option<&'a str> {
    row.get(name)?.as_deref()
}
