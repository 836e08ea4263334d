//! `proxy.toml` as a flat list of keys with their lines.
//!
//! serde could fill the structs by itself, but it would stop at the first error, lose the line of what it
//! has read, and know only one source. And the parser's own message shows the line it failed at, which may
//! be the one with the password.

use std::path::Path;

use serde_json::{Map, Number, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::origin::{Origin, Problem};

/// The one key whose value is a table.
const TABLE_KEY: &str = "context.static";

/// A key of the file.
pub(super) struct Entry {
    /// `section.key`, or `key` outside of sections.
    pub key: String,
    /// The file and the line of the key.
    pub origin: Origin,
    /// The value, or why it cannot be one.
    pub value: Result<Value, String>,
}

/// Every key of the file in its order there. A file that is no TOML is one problem.
pub(super) fn entries(path: &Path, text: &str) -> Result<Vec<Entry>, Problem> {
    let origin = |offset: usize| Origin::File {
        path: path.into(),
        line: line_of(text, offset),
    };
    let document = DeTable::parse(text).map_err(|error| Problem {
        origin: Some(origin(error.span().map_or(0, |span| span.start))),
        key: String::new(),
        message: format!(
            "not valid TOML: {}",
            error.message().lines().next().unwrap_or_default()
        ),
    })?;
    let mut found = Vec::new();
    collect("", document.get_ref(), &mut |key, offset, value| {
        found.push((
            offset,
            Entry {
                key,
                origin: origin(offset),
                value: typed(value),
            },
        ));
    });
    found.sort_by_key(|(offset, _)| *offset);
    Ok(found.into_iter().map(|(_, entry)| entry).collect())
}

/// Calls `visit` with the key, its offset and its value for all that is not a section.
fn collect(section: &str, table: &DeTable<'_>, visit: &mut impl FnMut(String, usize, &DeValue<'_>)) {
    for (key, value) in table {
        let offset = key.span().start;
        let key = if section.is_empty() {
            key.get_ref().to_string()
        } else {
            format!("{section}.{}", key.get_ref())
        };
        match value.get_ref() {
            DeValue::Table(inner) if key != TABLE_KEY && !inner.is_empty() => collect(&key, inner, visit),
            // An empty section says nothing. One that does not exist is worth an error even so.
            DeValue::Table(_) if key != TABLE_KEY => visit(key, offset, value.get_ref()),
            DeValue::Table(_)
            | DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Array(_) => visit(key, offset, value.get_ref()),
        }
    }
}

/// The line, counted from 1, that the byte at `offset` is in.
fn line_of(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
}

fn typed(value: &DeValue<'_>) -> Result<Value, String> {
    match value {
        DeValue::String(text) => Ok(Value::from(text.as_ref())),
        DeValue::Boolean(boolean) => Ok(Value::from(*boolean)),
        DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix())
            .map(Value::from)
            .map_err(|_| format!("the number {integer} is too large")),
        DeValue::Float(float) => float
            .as_str()
            .parse()
            .ok()
            .and_then(Number::from_f64)
            .map(Value::Number)
            .ok_or_else(|| format!("{float} is no number in JSON")),
        DeValue::Datetime(date) => Err(format!(
            "a date is no value here; write it as a string: \"{date}\""
        )),
        DeValue::Array(items) => items
            .iter()
            .map(|item| typed(item.get_ref()))
            .collect::<Result<_, _>>()
            .map(Value::Array),
        DeValue::Table(entries) => entries
            .iter()
            .map(|(key, value)| Ok((Spanned::get_ref(key).to_string(), typed(value.get_ref())?)))
            .collect::<Result<Map<_, _>, String>>()
            .map(Value::Object),
    }
}
