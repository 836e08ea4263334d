//! Row changes with the context that stands next to them, out of pgoutput messages. Pure.

use std::collections::HashMap;

use serde_json::{Map, Value as Json};

use crate::replication::pgoutput::{
    ColumnDefinition, DecodeError, Message, OldTuple, Relation, Tuple, Value, decode,
};
use crate::track::is_own_table;

/// The prefix of bemi's messages.
const PREFIX: &[u8] = b"_bemi";

/// A row change.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The transaction's id.
    pub transaction: u32,
    /// What happened to the row.
    pub operation: Operation,
    /// `schema.table`, or `table` in the schema `public`.
    pub table: String,
    /// The row's columns, in the table's order.
    pub columns: Vec<Column>,
    /// The latest context before the change, in its transaction.
    pub context: Option<Map<String, Json>>,
}

/// What happened to a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// INSERT.
    Insert,
    /// UPDATE.
    Update,
    /// DELETE.
    Delete,
    /// TRUNCATE, which names no rows.
    Truncate,
}

/// A column of a changed row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its value before, as far as the log says.
    pub old: Cell,
    /// Its value after.
    pub new: Cell,
}

/// What the log says of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell {
    /// Nothing.
    Unknown,
    /// It is null.
    Null,
    /// Its text.
    Text(String),
}

/// Why the log cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum ChangesError {
    /// The messages are not what pgoutput sends.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// A change of a table that was never described.
    #[error("the log has a change of a table with oid {0} that it did not describe")]
    UnknownTable(u32),
    /// A message under bemi's prefix that is no JSON object.
    #[error("the log has a message with bemi's prefix that is no JSON object")]
    NoContext,
    /// A message that protocol version 1 does not have.
    #[error("the log has a message of a newer protocol than was asked for")]
    NewerProtocol,
}

/// Reads what `pg_logical_slot_get_binary_changes` returned with `proto_version` 1: whole transactions.
///
/// # Errors
/// [`ChangesError`].
pub fn collect<'a>(messages: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<Change>, ChangesError> {
    let mut collector = Collector::default();
    for bytes in messages {
        collector.push(bytes)?;
    }
    Ok(collector.changes)
}

#[derive(Default)]
struct Collector {
    tables: HashMap<u32, Table>,
    transaction: u32,
    context: Option<Map<String, Json>>,
    changes: Vec<Change>,
}

struct Table {
    title: String,
    columns: Vec<String>,
    /// Made by the tracker, which shows what it has by itself.
    is_trackers: bool,
}

impl Collector {
    fn push(&mut self, bytes: &[u8]) -> Result<(), ChangesError> {
        match decode(bytes)? {
            Message::Begin(begin) => {
                self.transaction = begin.xid;
                self.context = None;
            }
            Message::Commit(_) | Message::Origin(_) | Message::Type(_) => {}
            Message::Logical(message) => {
                if message.transactional && message.prefix == PREFIX {
                    let context =
                        serde_json::from_slice(message.content).map_err(|_| ChangesError::NoContext)?;
                    self.context = Some(context);
                }
            }
            Message::Relation(relation) => {
                self.tables.insert(relation.oid, Table::new(&relation));
            }
            Message::Insert(insert) => {
                self.change(Operation::Insert, insert.relation, &[], &insert.new)?;
            }
            Message::Update(update) => {
                let old = update.old.map(cells).unwrap_or_default();
                self.change(Operation::Update, update.relation, &old, &update.new)?;
            }
            Message::Delete(delete) => {
                self.change(Operation::Delete, delete.relation, &cells(delete.old), &[])?;
            }
            Message::Truncate(truncate) => {
                for table in truncate.relations {
                    self.change(Operation::Truncate, table, &[], &[])?;
                }
            }
            Message::StreamStart(_)
            | Message::StreamStop
            | Message::StreamCommit(_)
            | Message::StreamAbort(_)
            | Message::BeginPrepare(_)
            | Message::Prepare(_)
            | Message::CommitPrepared(_)
            | Message::RollbackPrepared(_)
            | Message::StreamPrepare(_) => return Err(ChangesError::NewerProtocol),
        }
        Ok(())
    }

    fn change(
        &mut self,
        operation: Operation,
        oid: u32,
        old: &[Cell],
        new: &[Value<'_>],
    ) -> Result<(), ChangesError> {
        let table = self.tables.get(&oid).ok_or(ChangesError::UnknownTable(oid))?;
        if table.is_trackers {
            return Ok(());
        }
        let columns = table.columns.iter().enumerate().map(|(position, name)| Column {
            name: name.clone(),
            old: old.get(position).cloned().unwrap_or(Cell::Unknown),
            new: new.get(position).map_or(Cell::Unknown, cell),
        });
        self.changes.push(Change {
            transaction: self.transaction,
            operation,
            table: table.title.clone(),
            columns: if operation == Operation::Truncate {
                Vec::new()
            } else {
                columns.collect()
            },
            context: self.context.clone(),
        });
        Ok(())
    }
}

impl Table {
    fn new(relation: &Relation<'_>) -> Self {
        let name = text(relation.name);
        let title = match relation.schema {
            b"public" => name,
            b"" => format!("pg_catalog.{name}"),
            schema => format!("{}.{name}", text(schema)),
        };
        let column = |column: &ColumnDefinition<'_>| text(column.name);
        Self {
            title,
            columns: relation.columns.iter().map(column).collect(),
            is_trackers: relation.schema == b"public"
                && std::str::from_utf8(relation.name).is_ok_and(is_own_table),
        }
    }
}

/// Of a key, null means that the column is not part of it (see [`OldTuple::Key`]).
fn cells(old: OldTuple<'_>) -> Vec<Cell> {
    let all = |tuple: &Tuple<'_>| tuple.iter().map(cell).collect::<Vec<_>>();
    match old {
        OldTuple::Full(tuple) => all(&tuple),
        OldTuple::Key(tuple) => all(&tuple)
            .into_iter()
            .map(|cell| if cell == Cell::Null { Cell::Unknown } else { cell })
            .collect(),
    }
}

fn cell(value: &Value<'_>) -> Cell {
    match value {
        Value::Null => Cell::Null,
        Value::UnchangedToast | Value::TooLong => Cell::Unknown,
        Value::Text(bytes) | Value::Binary(bytes) => Cell::Text(text(bytes)),
    }
}

/// What is no UTF-8 (see the decoder's module) is shown escaped.
fn text(bytes: &[u8]) -> String {
    std::str::from_utf8(bytes).map_or_else(|_| bytes.escape_ascii().to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Cell, Change, ChangesError, Operation, collect};

    const BEGIN: &[u8] = b"B\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x02\0\0\0\x07";
    const COMMIT: &[u8] = b"C\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\x02";
    const RELATION: &[u8] =
        b"R\0\0\0\x09public\0todo\0d\0\x02\x01id\0\0\0\0\x17\xFF\xFF\xFF\xFF\0task\0\0\0\0\x19\xFF\xFF\xFF\xFF";
    const INSERT: &[u8] = b"I\0\0\0\x09N\0\x02t\0\0\0\x011t\0\0\0\x05Sleep";
    const UPDATE: &[u8] = b"U\0\0\0\x09O\0\x02t\0\0\0\x011t\0\0\0\x05SleepN\0\x02t\0\0\0\x011u";
    const DELETE: &[u8] = b"D\0\0\0\x09K\0\x02t\0\0\0\x011n";
    const TRUNCATE: &[u8] = b"T\0\0\0\x01\0\0\0\0\x09";

    fn message(flags: u8, prefix: &str, content: &str) -> Vec<u8> {
        let length = u32::try_from(content.len()).unwrap().to_be_bytes();
        [
            b"M",
            &[flags][..],
            &[0; 8],
            prefix.as_bytes(),
            b"\0",
            &length,
            content.as_bytes(),
        ]
        .concat()
    }

    fn changes(messages: &[&[u8]]) -> Vec<Change> {
        collect(messages.iter().copied()).unwrap()
    }

    fn cells(change: &Change) -> Vec<(Cell, Cell)> {
        change
            .columns
            .iter()
            .map(|column| (column.old.clone(), column.new.clone()))
            .collect()
    }

    #[test]
    fn a_change_has_the_latest_context_before_it_in_its_transaction() {
        let (first, second) = (
            message(1, "_bemi", r#"{"n": 1}"#),
            message(1, "_bemi", r#"{"n": 2}"#),
        );
        let all = [
            BEGIN, RELATION, INSERT, &first, INSERT, INSERT, &second, INSERT, COMMIT, BEGIN, INSERT, COMMIT,
        ];
        let contexts: Vec<_> = changes(&all).into_iter().map(|change| change.context).collect();
        let context = |number| json!({"n": number}).as_object().cloned();
        assert_eq!(contexts, [None, context(1), context(1), context(2), None]);
    }

    #[test]
    fn messages_of_others_and_those_outside_of_transactions_are_no_context() {
        let (other, outside) = (message(1, "other", "text"), message(0, "_bemi", r#"{"n": 1}"#));
        let changes = changes(&[BEGIN, &other, &outside, RELATION, INSERT, COMMIT]);
        assert_eq!(changes[0].context, None);
    }

    #[test]
    fn each_operation_shows_what_the_log_knows_of_the_row() {
        let text = |text: &str| Cell::Text(text.to_owned());
        let changes = changes(&[BEGIN, RELATION, INSERT, UPDATE, DELETE, TRUNCATE, COMMIT]);
        let operations: Vec<_> = changes.iter().map(|change| change.operation).collect();
        assert_eq!(
            operations,
            [
                Operation::Insert,
                Operation::Update,
                Operation::Delete,
                Operation::Truncate
            ]
        );
        assert_eq!(
            cells(&changes[0]),
            [(Cell::Unknown, text("1")), (Cell::Unknown, text("Sleep"))]
        );
        assert_eq!(
            cells(&changes[1]),
            [(text("1"), text("1")), (text("Sleep"), Cell::Unknown)]
        );
        assert_eq!(
            cells(&changes[2]),
            [(text("1"), Cell::Unknown), (Cell::Unknown, Cell::Unknown)]
        );
        assert_eq!(cells(&changes[3]), []);
        assert!(
            changes
                .iter()
                .all(|change| change.table == "todo" && change.transaction == 7)
        );
    }

    #[test]
    fn what_the_tracker_writes_is_not_shown() {
        let tracker = b"R\0\0\0\x09public\0changes\0d\0\x02\x01id\0\0\0\0\x17\xFF\xFF\xFF\xFF\0task\0\0\0\0\x19\xFF\xFF\xFF\xFF";
        assert_eq!(changes(&[BEGIN, tracker, INSERT, COMMIT]), []);
    }

    #[test]
    fn what_cannot_be_shown_is_an_error() {
        let no_json = message(1, "_bemi", "[1]");
        assert!(matches!(collect([BEGIN, &no_json]), Err(ChangesError::NoContext)));
        assert!(matches!(
            collect([BEGIN, INSERT]),
            Err(ChangesError::UnknownTable(9))
        ));
        assert!(matches!(collect([&b"E"[..]]), Err(ChangesError::NewerProtocol)));
        assert!(matches!(collect([&b"?"[..]]), Err(ChangesError::Decode(_))));
    }
}
