//! The fields of a message, front to back.

use super::{
    Begin, ColumnDefinition, Commit, DecodeError, Delete, Insert, Logical, OldTuple, PreparePoint, Relation,
    ReplicaIdentity, RollbackPrepared, StreamAbort, Truncate, Tuple, Update, Value,
};
use crate::replication::{Lsn, Timestamp};

/// `LOGICALREP_IS_REPLICA_IDENTITY`, proto.c.
const COLUMN_IS_KEY: u8 = 1;
/// `MESSAGE_TRANSACTIONAL`, proto.c.
const MESSAGE_IS_TRANSACTIONAL: u8 = 1;
/// `TRUNCATE_CASCADE`, proto.c.
const TRUNCATE_CASCADE: u8 = 1;
/// `TRUNCATE_RESTART_SEQS`, proto.c.
const TRUNCATE_RESTART_IDENTITY: u8 = 2;

/// The bytes of one message that have not been read yet.
pub(super) struct Reader<'a> {
    tag: u8,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let (&tag, rest) = bytes.split_first().ok_or(DecodeError::Empty)?;
        Ok(Self { tag, rest })
    }

    /// The message's first byte, which says what it is.
    pub(super) fn tag(&self) -> u8 {
        self.tag
    }

    pub(super) fn finish(&self) -> Result<(), DecodeError> {
        match self.rest.len() {
            0 => Ok(()),
            count => Err(DecodeError::TrailingBytes { tag: self.tag, count }),
        }
    }

    fn bytes(&mut self, count: usize, field: &'static str) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self
            .rest
            .split_at_checked(count)
            .ok_or(DecodeError::Truncated { tag: self.tag, field })?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], DecodeError> {
        let (taken, rest) = self
            .rest
            .split_first_chunk()
            .ok_or(DecodeError::Truncated { tag: self.tag, field })?;
        self.rest = rest;
        Ok(*taken)
    }

    fn unexpected(&self, field: &'static str, value: impl Into<i64>) -> DecodeError {
        DecodeError::Unexpected {
            tag: self.tag,
            field,
            value: value.into(),
        }
    }

    fn u8(&mut self, field: &'static str) -> Result<u8, DecodeError> {
        self.array(field).map(u8::from_be_bytes)
    }

    pub(super) fn u32(&mut self, field: &'static str) -> Result<u32, DecodeError> {
        self.array(field).map(u32::from_be_bytes)
    }

    /// A count or a length in a field of four bytes.
    fn length(&mut self, field: &'static str) -> Result<usize, DecodeError> {
        let length = self.array(field).map(i32::from_be_bytes)?;
        usize::try_from(length).map_err(|_| self.unexpected(field, length))
    }

    /// A count in a field of two bytes.
    fn count(&mut self, field: &'static str) -> Result<usize, DecodeError> {
        let count = self.array(field).map(i16::from_be_bytes)?;
        usize::try_from(count).map_err(|_| self.unexpected(field, count))
    }

    pub(super) fn lsn(&mut self, field: &'static str) -> Result<Lsn, DecodeError> {
        self.array(field).map(u64::from_be_bytes).map(Lsn)
    }

    fn timestamp(&mut self, field: &'static str) -> Result<Timestamp, DecodeError> {
        self.array(field).map(i64::from_be_bytes).map(Timestamp)
    }

    pub(super) fn flag(&mut self, field: &'static str) -> Result<bool, DecodeError> {
        self.flags(1, field).map(|flags| flags != 0)
    }

    /// A byte of flags of which `known` may be set.
    fn flags(&mut self, known: u8, field: &'static str) -> Result<u8, DecodeError> {
        let flags = self.u8(field)?;
        if flags & !known == 0 {
            Ok(flags)
        } else {
            Err(self.unexpected(field, flags))
        }
    }

    /// A string that ends with a zero byte.
    pub(super) fn string(&mut self, field: &'static str) -> Result<&'a [u8], DecodeError> {
        let end = memchr::memchr(0, self.rest).ok_or(DecodeError::Truncated { tag: self.tag, field })?;
        let text = self.bytes(end, field)?;
        self.u8(field)?;
        Ok(text)
    }

    pub(super) fn begin(&mut self) -> Result<Begin, DecodeError> {
        Ok(Begin {
            final_lsn: self.lsn("the final LSN")?,
            committed_at: self.timestamp("the commit time")?,
            xid: self.u32("the transaction id")?,
        })
    }

    pub(super) fn commit(&mut self) -> Result<Commit, DecodeError> {
        self.flags(0, "flags")?;
        Ok(Commit {
            commit_lsn: self.lsn("the commit LSN")?,
            end_lsn: self.lsn("the end LSN")?,
            committed_at: self.timestamp("the commit time")?,
        })
    }

    pub(super) fn logical(&mut self) -> Result<Logical<'a>, DecodeError> {
        let flags = self.flags(MESSAGE_IS_TRANSACTIONAL, "flags")?;
        let lsn = self.lsn("the LSN")?;
        let prefix = self.string("the prefix")?;
        let length = self.length("the length of the content")?;
        let content = self.bytes(length, "the content")?;
        Ok(Logical {
            transactional: flags & MESSAGE_IS_TRANSACTIONAL != 0,
            lsn,
            prefix,
            content,
        })
    }

    pub(super) fn relation(&mut self) -> Result<Relation<'a>, DecodeError> {
        let oid = self.u32("the table's oid")?;
        let schema = self.string("the schema")?;
        let name = self.string("the table's name")?;
        let replica_identity = self.replica_identity()?;
        let columns = self.count("the number of columns")?;
        let columns = (0..columns).map(|_| self.column()).collect::<Result<_, _>>()?;
        Ok(Relation {
            oid,
            schema,
            name,
            replica_identity,
            columns,
        })
    }

    fn replica_identity(&mut self) -> Result<ReplicaIdentity, DecodeError> {
        const FIELD: &str = "the replica identity";
        match self.u8(FIELD)? {
            b'd' => Ok(ReplicaIdentity::Default),
            b'n' => Ok(ReplicaIdentity::Nothing),
            b'f' => Ok(ReplicaIdentity::Full),
            b'i' => Ok(ReplicaIdentity::Index),
            other => Err(self.unexpected(FIELD, other)),
        }
    }

    fn column(&mut self) -> Result<ColumnDefinition<'a>, DecodeError> {
        Ok(ColumnDefinition {
            is_key: self.flags(COLUMN_IS_KEY, "a column's flags")? & COLUMN_IS_KEY != 0,
            name: self.string("a column's name")?,
            type_oid: self.u32("a column's type")?,
            type_modifier: self.array("a column's type modifier").map(i32::from_be_bytes)?,
        })
    }

    pub(super) fn insert(&mut self) -> Result<Insert<'a>, DecodeError> {
        Ok(Insert {
            relation: self.u32("the table's oid")?,
            new: self.new_tuple()?,
        })
    }

    pub(super) fn update(&mut self) -> Result<Update<'a>, DecodeError> {
        let relation = self.u32("the table's oid")?;
        let has_old = matches!(self.rest.first(), Some(b'K' | b'O'));
        let old = has_old.then(|| self.old_tuple()).transpose()?;
        Ok(Update {
            relation,
            old,
            new: self.new_tuple()?,
        })
    }

    pub(super) fn delete(&mut self) -> Result<Delete<'a>, DecodeError> {
        Ok(Delete {
            relation: self.u32("the table's oid")?,
            old: self.old_tuple()?,
        })
    }

    fn new_tuple(&mut self) -> Result<Tuple<'a>, DecodeError> {
        const FIELD: &str = "the kind of the new row";
        match self.u8(FIELD)? {
            b'N' => self.tuple(),
            other => Err(self.unexpected(FIELD, other)),
        }
    }

    fn old_tuple(&mut self) -> Result<OldTuple<'a>, DecodeError> {
        const FIELD: &str = "the kind of the old row";
        match self.u8(FIELD)? {
            b'K' => self.tuple().map(OldTuple::Key),
            b'O' => self.tuple().map(OldTuple::Full),
            other => Err(self.unexpected(FIELD, other)),
        }
    }

    fn tuple(&mut self) -> Result<Tuple<'a>, DecodeError> {
        let columns = self.count("the number of values")?;
        (0..columns).map(|_| self.value()).collect()
    }

    fn value(&mut self) -> Result<Value<'a>, DecodeError> {
        const FIELD: &str = "the kind of a value";
        match self.u8(FIELD)? {
            b'n' => Ok(Value::Null),
            b'u' => Ok(Value::UnchangedToast),
            b't' => self.sized_value().map(Value::Text),
            b'b' => self.sized_value().map(Value::Binary),
            super::TOO_LONG => Ok(Value::TooLong),
            other => Err(self.unexpected(FIELD, other)),
        }
    }

    fn sized_value(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = self.length("the length of a value")?;
        self.bytes(length, "a value")
    }

    pub(super) fn truncate(&mut self) -> Result<Truncate, DecodeError> {
        let tables = self.length("the number of tables")?;
        let flags = self.flags(TRUNCATE_CASCADE | TRUNCATE_RESTART_IDENTITY, "the options")?;
        Ok(Truncate {
            relations: (0..tables)
                .map(|_| self.u32("a table's oid"))
                .collect::<Result<_, _>>()?,
            cascade: flags & TRUNCATE_CASCADE != 0,
            restart_identity: flags & TRUNCATE_RESTART_IDENTITY != 0,
        })
    }

    pub(super) fn stream_abort(&mut self) -> Result<StreamAbort, DecodeError> {
        let xid = self.u32("the transaction id")?;
        let subxid = self.u32("the subtransaction id")?;
        let aborted = if self.rest.is_empty() {
            None
        } else {
            Some((self.lsn("the abort LSN")?, self.timestamp("the abort time")?))
        };
        Ok(StreamAbort { xid, subxid, aborted })
    }

    pub(super) fn prepare_point(&mut self) -> Result<PreparePoint<'a>, DecodeError> {
        Ok(PreparePoint {
            lsn: self.lsn("the LSN")?,
            end_lsn: self.lsn("the end LSN")?,
            at: self.timestamp("the time")?,
            xid: self.u32("the transaction id")?,
            gid: self.string("the transaction's name")?,
        })
    }

    pub(super) fn flagged_prepare_point(&mut self) -> Result<PreparePoint<'a>, DecodeError> {
        self.flags(0, "flags")?;
        self.prepare_point()
    }

    pub(super) fn rollback_prepared(&mut self) -> Result<RollbackPrepared<'a>, DecodeError> {
        self.flags(0, "flags")?;
        Ok(RollbackPrepared {
            prepare_end_lsn: self.lsn("the end LSN of the prepare")?,
            rollback_end_lsn: self.lsn("the end LSN of the rollback")?,
            prepared_at: self.timestamp("the prepare time")?,
            rolled_back_at: self.timestamp("the rollback time")?,
            xid: self.u32("the transaction id")?,
            gid: self.string("the transaction's name")?,
        })
    }
}
