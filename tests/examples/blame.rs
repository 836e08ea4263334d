//! Whom the log blames for each change.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use crate::app::App;
use crate::support::wal::{Item, Row, Transaction};
use crate::visitors::{Expected, SHOWN};

/// The log must hold just what was asked for, each change with its request.
pub fn judge(app: &App, expected: &[Expected], transactions: &[Transaction]) -> Result<String, String> {
    let mut lines: BTreeMap<String, i64> = BTreeMap::new();
    for change in expected {
        *lines.entry(change.to_string()).or_default() += 1;
    }
    for transaction in transactions {
        let changes = transaction.items.iter().filter(|item| item.is_change());
        for (change, context) in changes.zip(transaction.contexts()) {
            *lines.entry(line(app, change, context.as_ref())).or_default() -= 1;
        }
    }
    let mut differences: Vec<_> = lines.iter().filter(|&(_, &count)| count != 0).collect();
    // What is there and should not be tells more than what is not there.
    differences.sort_by_key(|&(_, count)| *count);
    if expected.is_empty() {
        Err("    nothing was asked for".to_owned())
    } else if differences.is_empty() {
        Ok(format!(", all {}", expected.len()))
    } else {
        let shown = differences
            .iter()
            .take(SHOWN)
            .map(|&(line, &count)| {
                format!("    {}: {line}", if count > 0 { "missing" } else { "unexpected" })
            })
            .collect::<Vec<_>>();
        Err(format!(
            "{}\n    {} differences of {} changes",
            shown.join("\n"),
            differences.len(),
            expected.len()
        ))
    }
}

/// As [`Expected`] writes it, or what is wrong with this change.
fn line(app: &App, change: &Item, context: Option<&Json>) -> String {
    let (operation, row) = match change {
        Item::Insert { new, .. } => ("CREATE", new),
        Item::Update { new, .. } => ("UPDATE", new),
        Item::Delete { old, .. } => ("DELETE", old),
        Item::Truncate { .. } | Item::Message { .. } => return change.to_string(),
    };
    let Some(context) = context else {
        return format!("{change} has no context");
    };
    let author = column(row, "author").and_then(|author| author.parse::<i64>().ok());
    let blamed = author.map(|user| {
        if app.user_is_text {
            json!(user.to_string())
        } else {
            json!(user)
        }
    });
    let known = context.get("user_id").filter(|user| !user.is_null());
    match app.api.endpoint_in(context) {
        Some(endpoint) if known == blamed.as_ref() => Expected {
            operation,
            task: column(row, "task").unwrap_or_default().to_owned(),
            user: author,
            endpoint,
        }
        .to_string(),
        _ => format!("{change} has {context}"),
    }
}

fn column<'a>(row: &'a Row, name: &str) -> Option<&'a str> {
    row.get(name)?.as_deref()
}
