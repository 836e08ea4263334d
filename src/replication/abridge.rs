//! Shortens a message that is longer than memory is meant for, while it comes in. Pure.
//!
//! **Problem.** A row may have a gigabyte, and an UPDATE sends it twice. It must neither be held whole nor stop the stream.
//!
//! **Mechanism.** The bytes go through a machine that knows just enough of pgoutput to tell values from what is around
//! them. Values are kept, in order, as long as they fit into a budget; each other one is replaced by one byte
//! ([`TOO_LONG`]), which [`decode`](super::pgoutput::decode) reads as [`Value::TooLong`](super::pgoutput::Value::TooLong).
//! The content of a logical message is left out whole.
//!
//! The same message is always shortened in the same way, so that it may be sent again.

use std::mem;

use super::pgoutput::TOO_LONG;

/// The header of `XLogData` and the tag of the message in it.
const HEAD_LEN: usize = 26;
/// Flags and position of a logical message.
const LOGICAL_HEAD_LEN: usize = 9;

/// The message cannot be shortened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a message {:?} of the stream is too large, and no row", char::from(*.0))]
pub struct NotARow(pub u8);

/// The machine; see the module's documentation.
#[derive(Debug)]
pub struct Abridger {
    /// What is kept.
    out: Vec<u8>,
    /// Bytes of values that may still be kept.
    budget: usize,
    field: Field,
    /// Bytes of the field that are still to come.
    missing: usize,
    /// Where the field begins in `out`.
    begin: usize,
    message: u8,
    columns_left: u16,
    /// The tuple under way is the old one of an UPDATE: a new one follows.
    is_old: bool,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Head,
    Relation,
    TupleKind,
    ColumnCount,
    ColumnKind,
    ValueLength,
    Value,
    SkippedValue,
    LogicalHead,
    LogicalPrefix,
    LogicalLength,
    SkippedContent,
    /// Nothing.
    End,
}

impl Abridger {
    /// For one `CopyData` body; values of at most `budget` bytes altogether are kept.
    #[must_use]
    pub fn new(budget: usize) -> Self {
        Self {
            out: Vec::new(),
            budget,
            field: Field::Head,
            missing: HEAD_LEN,
            begin: 0,
            message: 0,
            columns_left: 0,
            is_old: false,
        }
    }

    /// The next bytes of the body, wherever it was cut.
    ///
    /// # Errors
    /// [`NotARow`]
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), NotARow> {
        let mut rest = bytes;
        while !rest.is_empty() && self.field != Field::End {
            let taken = match self.field {
                Field::LogicalPrefix => self.prefix(rest),
                Field::SkippedValue | Field::SkippedContent => {
                    let count = self.missing.min(rest.len());
                    self.missing -= count;
                    count
                }
                _kept => {
                    let count = self.missing.min(rest.len());
                    self.out.extend_from_slice(rest.get(..count).unwrap_or_default());
                    self.missing -= count;
                    count
                }
            };
            rest = rest.get(taken..).unwrap_or_default();
            // A value may have no bytes at all.
            while self.missing == 0 && self.field != Field::End {
                self.next()?;
            }
        }
        Ok(())
    }

    /// The shortened body.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.out
    }

    /// Up to its zero byte.
    fn prefix(&mut self, rest: &[u8]) -> usize {
        let end = memchr::memchr(0, rest).map_or(rest.len(), |at| at + 1);
        let taken = rest.get(..end).unwrap_or_default();
        self.out.extend_from_slice(taken);
        if taken.last() == Some(&0) {
            self.missing = 0;
        }
        end
    }

    /// A field is complete.
    fn next(&mut self) -> Result<(), NotARow> {
        let value = self.out.get(self.begin..).unwrap_or_default();
        let number = value
            .iter()
            .fold(0_usize, |number, byte| number << 8 | usize::from(*byte));
        match self.field {
            Field::Head => {
                self.message = value.last().copied().unwrap_or_default();
                match self.message {
                    b'I' | b'U' | b'D' => self.expect(Field::Relation, 4),
                    b'M' => self.expect(Field::LogicalHead, LOGICAL_HEAD_LEN),
                    other => return Err(NotARow(other)),
                }
            }
            Field::Relation => self.expect(Field::TupleKind, 1),
            Field::TupleKind => {
                self.is_old = self.message == b'U' && value != b"N";
                self.expect(Field::ColumnCount, 2);
            }
            Field::ColumnCount => {
                self.columns_left = u16::try_from(number).unwrap_or_default();
                self.next_column();
            }
            Field::ColumnKind if matches!(value, b"t" | b"b") => self.expect(Field::ValueLength, 4),
            Field::ColumnKind | Field::Value | Field::SkippedValue => self.next_column(),
            Field::ValueLength => self.value(number),
            Field::LogicalHead => self.expect(Field::LogicalPrefix, 1),
            Field::LogicalPrefix => self.expect(Field::LogicalLength, 4),
            Field::LogicalLength => {
                self.out.truncate(self.begin);
                self.out.extend_from_slice(&[0; 4]);
                self.expect(Field::SkippedContent, number);
            }
            Field::SkippedContent | Field::End => self.expect(Field::End, 0),
        }
        Ok(())
    }

    fn expect(&mut self, field: Field, bytes: usize) {
        self.field = field;
        self.missing = bytes;
        self.begin = self.out.len();
    }

    fn value(&mut self, length: usize) {
        if let Some(left) = self.budget.checked_sub(length) {
            self.budget = left;
            // Doubling would take what the budget does not allow for.
            self.out.reserve_exact(length);
            self.expect(Field::Value, length);
        } else {
            // In place of the kind and the length.
            self.out.truncate(self.begin - 1);
            self.out.push(TOO_LONG);
            self.expect(Field::SkippedValue, length);
        }
    }

    fn next_column(&mut self) {
        match self.columns_left.checked_sub(1) {
            Some(left) => {
                self.columns_left = left;
                self.expect(Field::ColumnKind, 1);
            }
            None if mem::take(&mut self.is_old) => self.expect(Field::TupleKind, 1),
            None => self.expect(Field::End, 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Abridger, HEAD_LEN, NotARow};
    use crate::replication::pgoutput::{Message, OldTuple, Value, decode};

    /// The message of an `XLogData`, cut in two at every place, after it has been shortened.
    fn abridged(message: &[u8], budget: usize) -> Vec<u8> {
        let body = [b"w", &[0; 24][..], message].concat();
        let mut outcomes = (0..=body.len()).map(|at| {
            let mut abridger = Abridger::new(budget);
            let (head, tail) = body.split_at(at);
            abridger.feed(head).unwrap();
            abridger.feed(tail).unwrap();
            abridger.finish()
        });
        let first = outcomes.next().unwrap();
        assert!(outcomes.all(|other| other == first));
        first[HEAD_LEN - 1..].to_vec()
    }

    const UPDATE: &[u8] =
        b"U\0\0\0\x09O\0\x03t\0\0\0\x011t\0\0\0\x05SleepnN\0\x03t\0\0\0\x011t\0\0\0\0t\0\0\0\x06Repeat";

    #[test]
    fn what_fits_is_not_changed() {
        assert_eq!(abridged(UPDATE, 13), UPDATE);
        let delete = b"D\0\0\0\x09K\0\x02t\0\0\0\x011n";
        assert_eq!(abridged(delete, 1), delete);
        let insert = b"I\0\0\0\x09N\0\0";
        assert_eq!(abridged(insert, 0), insert);
    }

    #[test]
    fn values_that_do_not_fit_are_left_out_one_by_one() {
        let short = abridged(UPDATE, 8);
        let Ok(Message::Update(update)) = decode(&short) else {
            panic!("an update")
        };
        let old = vec![Value::Text(b"1"), Value::Text(b"Sleep"), Value::Null];
        assert_eq!(update.old, Some(OldTuple::Full(old)));
        assert_eq!(update.new, [Value::Text(b"1"), Value::Text(b""), Value::TooLong]);
        let nothing = abridged(UPDATE, 0);
        let Ok(Message::Update(update)) = decode(&nothing) else {
            panic!("an update")
        };
        assert_eq!(update.new, [Value::TooLong, Value::Text(b""), Value::TooLong]);
    }

    #[test]
    fn a_logical_message_loses_its_content() {
        let message = b"M\x01\0\0\0\0\0\0\0\x07_bemi\0\0\0\0\x05{...}";
        let short = abridged(message, 1_000);
        let Ok(Message::Logical(logical)) = decode(&short) else {
            panic!("a logical message")
        };
        assert_eq!((logical.prefix, logical.content), (&b"_bemi"[..], &b""[..]));
    }

    #[test]
    fn nothing_else_can_be_shortened() {
        let body = [b"w", &[0; 24][..], b"R"].concat();
        assert_eq!(Abridger::new(0).feed(&body), Err(NotARow(b'R')));
    }
}
