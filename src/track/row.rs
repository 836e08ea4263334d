//! A change as a row of the table `changes`, all but its context. Pure.

use std::mem;

use ring::digest;

use super::copy::{self, NEXT_COLUMN, NULL, Put};
use super::rules::{MASK, Rules, hexadecimal};
use super::table::{Column, Table};
use super::value;
use crate::config::Redaction;
use crate::replication::Lsn;
use crate::replication::pgoutput::{OldTuple, Value};

/// The columns that a row is written in. The context comes last: it may be known only after the row.
pub const COLUMNS: &str = "id, database, schema, \"table\", primary_key, previous_primary_key, operation, before, after, \
     incomplete, committed_at, queued_at, transaction_id, position, context";

/// Longest primary key that is stored as it is, in bytes; a longer one is stored as `sha256:...`. An entry of an index
/// takes some 2,700 bytes (`BTMaxItemSize`, nbtree.h), and the table's name stands in the same one.
const LONGEST_PRIMARY_KEY: usize = 2_000;

/// What all rows of a moment have in common.
#[derive(Clone, Debug)]
pub struct Stamp {
    /// The database, for COPY.
    pub database: Vec<u8>,
    /// When the transaction was committed.
    pub committed_at: String,
    /// When it was read.
    pub queued_at: String,
    /// The transaction.
    pub xid: u32,
}

/// A change of a row, as the stream has it.
#[derive(Debug)]
pub enum Change<'a> {
    /// INSERT.
    Create(&'a [Value<'a>]),
    /// UPDATE.
    Update(Option<&'a OldTuple<'a>>, &'a [Value<'a>]),
    /// DELETE.
    Delete(&'a OldTuple<'a>),
    /// TRUNCATE.
    Truncate,
}

impl<'a> Change<'a> {
    fn operation(&self) -> &'static [u8] {
        match self {
            Self::Create(_) => b"CREATE",
            Self::Update(..) => b"UPDATE",
            Self::Delete(_) => b"DELETE",
            Self::Truncate => b"TRUNCATE",
        }
    }

    fn new_row(&self) -> Option<&'a [Value<'a>]> {
        match self {
            Self::Create(new) | Self::Update(_, new) => Some(new),
            Self::Delete(_) | Self::Truncate => None,
        }
    }

    /// The whole old row.
    fn full_old_row(&self) -> Option<&'a [Value<'a>]> {
        match self {
            Self::Update(Some(OldTuple::Full(old)), _) | Self::Delete(OldTuple::Full(old)) => Some(old),
            Self::Create(_) | Self::Update(..) | Self::Delete(_) | Self::Truncate => None,
        }
    }

    /// What there is of the old row. Where an update comes without one, its key did not change
    /// (`ExtractReplicaIdentity`, heapam.c), so that the new row has it.
    fn old_row(&self) -> Option<&'a [Value<'a>]> {
        match self {
            Self::Update(Some(OldTuple::Full(old) | OldTuple::Key(old)), _)
            | Self::Delete(OldTuple::Full(old) | OldTuple::Key(old)) => Some(old),
            Self::Update(None, new) => Some(new),
            Self::Create(_) | Self::Truncate => None,
        }
    }

    /// Whether it changed nothing but columns that are to be ignored. Only known where the log has the whole old row.
    #[must_use]
    pub fn is_ignored(&self, table: &Table) -> bool {
        let (Self::Update(..), Some(old), Some(new)) = (self, self.full_old_row(), self.new_row()) else {
            return false;
        };
        let mut columns = table.columns.iter().zip(old.iter().zip(new));
        table.ignores_some && columns.all(|(column, (old, new))| column.is_ignored || is_same(old, new))
    }
}

fn is_same(old: &Value<'_>, new: &Value<'_>) -> bool {
    *new == Value::UnchangedToast || old == new
}

/// Writes rows. Keeps its buffers from one to the next.
#[derive(Debug, Default)]
pub struct RowWriter {
    notes: Notes,
    key: Vec<u8>,
    old_key: Vec<u8>,
}

/// What the column `incomplete` says: names of columns as JSON strings, for COPY.
#[derive(Debug, Default)]
struct Notes {
    left_out: Names,
    not_utf8: Names,
    too_long: Names,
    redacted: Names,
}

/// A list of columns, none of them twice: in a text of names one could be found that is a part of another.
#[derive(Debug, Default)]
struct Names {
    text: Vec<u8>,
    places: Vec<usize>,
}

impl RowWriter {
    /// Writes a row up to and including the separator in front of its context.
    pub fn write(
        &mut self,
        out: &mut impl Put,
        table: &Table,
        rules: &Rules,
        stamp: &Stamp,
        place: (&[u8], Lsn),
        change: &Change<'_>,
    ) {
        let (id, lsn) = place;
        for column in [id, &stamp.database, &table.schema, &table.name] {
            out.put(column);
            out.put(NEXT_COLUMN);
        }
        self.keys(out, table, rules, change);
        out.put(change.operation());
        out.put(NEXT_COLUMN);
        self.rows(out, table, rules, change);
        self.incomplete(out, table, change);
        for column in [&stamp.committed_at, &stamp.queued_at] {
            out.put(column.as_bytes());
            out.put(NEXT_COLUMN);
        }
        out.put(format!("{}\t{}\t", stamp.xid, lsn.0).as_bytes());
    }

    fn keys(&mut self, out: &mut impl Put, table: &Table, rules: &Rules, change: &Change<'_>) {
        let (new, old) = (change.new_row(), change.old_row());
        self.key.clear();
        self.old_key.clear();
        // A value that the new row leaves out is the old one's.
        let is_known =
            match (new, old) {
                (Some(new), old) => primary_key(&mut self.key, table, rules, &|place| match (
                    new.get(place),
                    old,
                ) {
                    (Some(Value::UnchangedToast), Some(old)) => old.get(place),
                    (value, _) => value,
                }),
                (None, Some(old)) => primary_key(&mut self.key, table, rules, &|place| old.get(place)),
                (None, None) => false,
            };
        out.put(if is_known { &self.key } else { NULL });
        out.put(NEXT_COLUMN);
        let was_known = match (new, change) {
            (Some(_), Change::Update(Some(OldTuple::Full(old) | OldTuple::Key(old)), _)) => {
                primary_key(&mut self.old_key, table, rules, &|place| old.get(place))
            }
            _ => false,
        };
        let is_moved = is_known && was_known && self.key != self.old_key;
        out.put(if is_moved { &self.old_key } else { NULL });
        out.put(NEXT_COLUMN);
    }

    fn rows(&mut self, out: &mut impl Put, table: &Table, rules: &Rules, change: &Change<'_>) {
        let full = change.full_old_row();
        match (full, change.old_row()) {
            (Some(old), _) => self.object(out, table, rules, &|place, _| old.get(place)),
            (None, Some(old)) if table.columns.iter().any(|column| column.is_key) => {
                self.object(out, table, rules, &|place, column| {
                    old.get(place).filter(|_| column.is_key)
                });
            }
            (None, _) => out.put(NULL),
        }
        // Of an old row only what the new one does not have either is left out.
        self.notes.left_out.clear();
        out.put(NEXT_COLUMN);
        match change.new_row() {
            Some(new) => self.object(out, table, rules, &|place, _| match (new.get(place), full) {
                (Some(Value::UnchangedToast), Some(old)) => old.get(place),
                (value, _) => value,
            }),
            None => out.put(NULL),
        }
        out.put(NEXT_COLUMN);
    }

    /// A row as a JSON object. `value_of` gives the value of a column, `None` for one that is to be left out.
    fn object<'a>(
        &mut self,
        out: &mut impl Put,
        table: &Table,
        rules: &Rules,
        value_of: &dyn Fn(usize, &Column) -> Option<&'a Value<'a>>,
    ) {
        let mut separator: &[u8] = b"{";
        for (place, column) in table.columns.iter().enumerate() {
            let Some(value) = value_of(place, column) else {
                continue;
            };
            if column.redaction == Some(Redaction::Drop) {
                continue;
            }
            if let Some(list) = self.notes.list_of(value) {
                list.add(place, &column.name);
                continue;
            }
            out.put(separator);
            separator = b",";
            out.put(&column.name);
            out.put(b":");
            if !write_value(out, column, rules, value) {
                self.notes.not_utf8.add(place, &column.name);
            }
        }
        out.put(if separator == b"{" { b"{}" } else { b"}" });
    }

    fn incomplete(&mut self, out: &mut impl Put, table: &Table, change: &Change<'_>) {
        for (place, column) in table.columns.iter().enumerate() {
            if column.redaction.is_some() && !matches!(change, Change::Truncate) {
                let said = said_of_redacted(place, column, change);
                self.notes.redacted.add(place, &column.name);
                self.notes.redacted.text.put(b":");
                self.notes.redacted.text.put(said);
            }
        }
        let mut separator: &[u8] = b"{";
        if let Some(said) = said_of_old_row(table, change) {
            out.put(b"{\"before\":");
            out.put(said);
            separator = b",";
        }
        for (open, list, close) in self.notes.lists() {
            if !list.text.is_empty() {
                for part in [mem::replace(&mut separator, b","), open, &list.text, close] {
                    out.put(part);
                }
                list.clear();
            }
        }
        out.put(if separator == b"{" { NULL } else { b"}" });
        out.put(NEXT_COLUMN);
    }
}

/// What stands in front of a list, the list, and what stands behind it.
type List<'a> = (&'static [u8], &'a mut Names, &'static [u8]);

impl Notes {
    fn lists(&mut self) -> [List<'_>; 4] {
        [
            (b"\"after\":[", &mut self.left_out, b"]"),
            (b"\"not_utf8\":[", &mut self.not_utf8, b"]"),
            (b"\"too_long\":[", &mut self.too_long, b"]"),
            (b"\"redacted\":{", &mut self.redacted, b"}"),
        ]
    }

    /// Where a value that is not there is noted.
    fn list_of(&mut self, value: &Value<'_>) -> Option<&mut Names> {
        match value {
            Value::UnchangedToast => Some(&mut self.left_out),
            Value::TooLong => Some(&mut self.too_long),
            Value::Null | Value::Text(_) | Value::Binary(_) => None,
        }
    }
}

impl Names {
    /// Unless it is there: a column may be noted for the old row and for the new one.
    fn add(&mut self, place: usize, name: &[u8]) {
        if self.places.contains(&place) {
            return;
        }
        if !self.places.is_empty() {
            self.text.push(b',');
        }
        self.places.push(place);
        self.text.extend_from_slice(name);
    }

    fn clear(&mut self) {
        self.text.clear();
        self.places.clear();
    }
}

/// False where it is no UTF-8.
fn write_value(out: &mut impl Put, column: &Column, rules: &Rules, value: &Value<'_>) -> bool {
    match (value, column.redaction) {
        (Value::Null | Value::UnchangedToast | Value::TooLong, _) => out.put(b"null"),
        (Value::Text(_) | Value::Binary(_), Some(Redaction::Mask | Redaction::Drop)) => {
            copy::json_string(out, MASK)
        }
        (Value::Text(bytes) | Value::Binary(bytes), Some(Redaction::Hash)) => {
            copy::json_string(out, &rules.hashed(bytes));
        }
        (Value::Text(text), None) => return value::write(out, &column.kind, text),
        (Value::Binary(bytes), None) => copy::json_hex_string(out, bytes),
    }
    true
}

/// What the log has of the row before an update or a delete, where that is not all of it.
fn said_of_old_row(table: &Table, change: &Change<'_>) -> Option<&'static [u8]> {
    match change {
        Change::Create(_) | Change::Truncate => None,
        Change::Update(..) | Change::Delete(_) if change.full_old_row().is_some() => None,
        Change::Update(..) | Change::Delete(_) if table.columns.iter().any(|column| column.is_key) => {
            Some(b"\"key\"")
        }
        Change::Update(..) | Change::Delete(_) => Some(b"\"nothing\""),
    }
}

fn said_of_redacted(place: usize, column: &Column, change: &Change<'_>) -> &'static [u8] {
    let (old, new) = match change {
        Change::Update(old, new) => (old, new),
        Change::Delete(OldTuple::Key(_)) if !column.is_key => return b"\"unknown\"",
        Change::Create(_) | Change::Delete(_) | Change::Truncate => return b"\"present\"",
    };
    let old_value = match old {
        Some(OldTuple::Full(old)) => old.get(place),
        Some(OldTuple::Key(old)) if column.is_key => old.get(place),
        // See `Change::old_row`.
        None if column.is_key => return b"\"unchanged\"",
        Some(OldTuple::Key(_)) | None => None,
    };
    match (old_value, new.get(place)) {
        (_, Some(Value::UnchangedToast)) => b"\"unchanged\"",
        (Some(old), Some(new)) if old == new => b"\"unchanged\"",
        (Some(_), Some(_)) => b"\"changed\"",
        (None, _) | (_, None) => b"\"unknown\"",
    }
}

/// Writes the primary key: one column as text, several as a JSON array. False where there is none.
fn primary_key<'a>(
    key: &mut Vec<u8>,
    table: &Table,
    rules: &Rules,
    value_of: &dyn Fn(usize) -> Option<&'a Value<'a>>,
) -> bool {
    let is_one = table.primary_key.len() == 1;
    for (number, place) in table.primary_key.iter().enumerate() {
        let (Some(column), Some(Value::Text(text))) = (table.columns.get(*place), value_of(*place)) else {
            return false;
        };
        if !is_one {
            key.push(if number == 0 { b'[' } else { b',' });
        }
        match column.redaction {
            Some(Redaction::Drop) => return false,
            None if is_one && std::str::from_utf8(text).is_ok() => copy::text(key, text),
            Some(Redaction::Mask) if is_one => key.put(MASK),
            Some(Redaction::Hash) if is_one => key.put(&rules.hashed(text)),
            None if is_one => {
                key.put(b"\\\\x");
                key.put(&hexadecimal(text));
            }
            Some(_) | None => drop(write_value(key, column, rules, &Value::Text(text))),
        }
    }
    if !is_one && !table.primary_key.is_empty() {
        key.push(b']');
    }
    if key.len() > LONGEST_PRIMARY_KEY {
        let digest = hexadecimal(digest::digest(&digest::SHA256, key).as_ref());
        key.clear();
        key.put(b"sha256:");
        key.put(&digest);
    }
    !table.primary_key.is_empty()
}
