//! The messages of `pgoutput`, PostgreSQL's own logical decoding plugin, protocol versions 1 to 4.
//!
//! Source: manual, "Logical Replication Message Formats"; server, `src/backend/replication/logical/proto.c`.
//!
//! One message is one `CopyData` payload behind the `XLogData` header, or one `data` column of
//! `pg_logical_slot_get_binary_changes`. Everything borrows from it.
//!
//! **Names are bytes.** The server converts prefixes, names and text values to `client_encoding`, but has nothing to
//! convert in a `SQL_ASCII` database, where a name may be anything. One table with a Latin-1 name must not stop a
//! whole stream, so what to do with such a name is left to who reads it. Message contents are never converted.
//!
//! **Streamed transactions** (version 2) put a transaction id into the changes between `Stream Start` and
//! `Stream Stop`, and only there; nothing in a message tells. Hence two entrances, [`decode`] and [`decode_streamed`]:
//! the caller knows which of the two it last saw.

mod reader;

use super::{Lsn, Timestamp};
use reader::Reader;

/// The kind of a value that was left out; see [`Value::TooLong`].
pub const TOO_LONG: u8 = b'-';

/// Why bytes are no pgoutput message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// No byte at all.
    #[error("empty pgoutput message")]
    Empty,
    /// A message of a protocol newer than 4, or no pgoutput at all.
    #[error("unknown pgoutput message 0x{0:02X}: is the slot's plugin pgoutput, with proto_version 1 to 4?")]
    UnknownTag(u8),
    /// The bytes end inside a field.
    #[error("pgoutput message 0x{tag:02X} ends inside {field}")]
    Truncated {
        /// The message's first byte.
        tag: u8,
        /// The field, in words.
        field: &'static str,
    },
    /// A field has a value that the protocol does not know.
    #[error("pgoutput message 0x{tag:02X} has {field} {value}, which the protocol does not know")]
    Unexpected {
        /// The message's first byte.
        tag: u8,
        /// The field, in words.
        field: &'static str,
        /// What it holds.
        value: i64,
    },
    /// The message is longer than its fields.
    #[error("pgoutput message 0x{tag:02X} has {count} bytes too many")]
    TrailingBytes {
        /// The message's first byte.
        tag: u8,
        /// How many.
        count: usize,
    },
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// A transaction that is sent after its commit begins.
    Begin(Begin),
    /// It ends.
    Commit(Commit),
    /// The transaction came from elsewhere (`pg_replication_origin_session_setup`).
    Origin(Origin<'a>),
    /// `pg_logical_emit_message`.
    Logical(Logical<'a>),
    /// Describes a table, ahead of its first change and whenever its definition changed.
    Relation(Relation<'a>),
    /// Describes a column's type that is not built in.
    Type(Type<'a>),
    /// A row was inserted.
    Insert(Insert<'a>),
    /// A row was updated.
    Update(Update<'a>),
    /// A row was deleted.
    Delete(Delete<'a>),
    /// Tables were truncated.
    Truncate(Truncate),
    /// Version 2: a part of a transaction still under way begins.
    StreamStart(StreamStart),
    /// Version 2: the part ends.
    StreamStop,
    /// Version 2: the transaction sent in parts has been committed.
    StreamCommit(StreamCommit),
    /// Version 2: it, or one of its subtransactions, has been rolled back.
    StreamAbort(StreamAbort),
    /// Version 3: a transaction that is sent at its PREPARE TRANSACTION begins.
    BeginPrepare(PreparePoint<'a>),
    /// Version 3: it ends.
    Prepare(PreparePoint<'a>),
    /// Version 3: COMMIT PREPARED. The positions are those of the commit.
    CommitPrepared(PreparePoint<'a>),
    /// Version 3: ROLLBACK PREPARED.
    RollbackPrepared(RollbackPrepared<'a>),
    /// Version 3: a transaction sent in parts has been prepared.
    StreamPrepare(PreparePoint<'a>),
}

/// See [`Message::Begin`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Begin {
    /// Where the transaction's commit record starts.
    pub final_lsn: Lsn,
    /// When it was committed.
    pub committed_at: Timestamp,
    /// Its id.
    pub xid: u32,
}

/// See [`Message::Commit`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Where the commit record starts; equals [`Begin::final_lsn`].
    pub commit_lsn: Lsn,
    /// Where it ends: confirming this position confirms the transaction.
    pub end_lsn: Lsn,
    /// When it was committed.
    pub committed_at: Timestamp,
}

/// See [`Message::Origin`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin<'a> {
    /// The commit's position on the server of origin.
    pub commit_lsn: Lsn,
    /// The origin's name.
    pub name: &'a [u8],
}

/// See [`Message::Logical`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Logical<'a> {
    /// Whether it is part of a transaction; one that is not arrives also when the transaction is rolled back.
    pub transactional: bool,
    /// Its position.
    pub lsn: Lsn,
    /// Who it is for.
    pub prefix: &'a [u8],
    /// What it says, in no particular encoding.
    pub content: &'a [u8],
}

/// See [`Message::Relation`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relation<'a> {
    /// The table's oid, by which changes refer to it.
    pub oid: u32,
    /// Its schema; empty means `pg_catalog`.
    pub schema: &'a [u8],
    /// Its name.
    pub name: &'a [u8],
    /// What an UPDATE or DELETE tells of the old row.
    pub replica_identity: ReplicaIdentity,
    /// The columns that are sent, in order: no generated ones before version 18, no dropped ones.
    pub columns: Vec<ColumnDefinition<'a>>,
}

/// `pg_class.relreplident`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplicaIdentity {
    /// `d`: the primary key, if there is one.
    Default,
    /// `n`: nothing.
    Nothing,
    /// `f`: all columns.
    Full,
    /// `i`: the columns of a chosen unique index.
    Index,
}

/// A column of a [`Relation`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ColumnDefinition<'a> {
    /// Part of the replica identity. With [`ReplicaIdentity::Full`] every column is.
    pub is_key: bool,
    /// Its name.
    pub name: &'a [u8],
    /// Its type's oid.
    pub type_oid: u32,
    /// Its type modifier, -1 for none.
    pub type_modifier: i32,
}

/// See [`Message::Type`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Type<'a> {
    /// The type's oid.
    pub oid: u32,
    /// Its schema; empty means `pg_catalog`.
    pub schema: &'a [u8],
    /// Its name.
    pub name: &'a [u8],
}

/// See [`Message::Insert`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Insert<'a> {
    /// The table.
    pub relation: u32,
    /// The new row.
    pub new: Tuple<'a>,
}

/// See [`Message::Update`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update<'a> {
    /// The table.
    pub relation: u32,
    /// The old row; missing when the identity is not [`ReplicaIdentity::Full`] and the key did not change.
    pub old: Option<OldTuple<'a>>,
    /// The new row.
    pub new: Tuple<'a>,
}

/// See [`Message::Delete`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delete<'a> {
    /// The table.
    pub relation: u32,
    /// The old row.
    pub old: OldTuple<'a>,
}

/// What is known of a row before its change. Both have a value per column of the relation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OldTuple<'a> {
    /// `K`: the key columns; every other one is [`Value::Null`], whatever it held.
    Key(Tuple<'a>),
    /// `O`: the whole row.
    Full(Tuple<'a>),
}

/// A row: one value per column of the relation.
pub type Tuple<'a> = Vec<Value<'a>>;

/// A column's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// `n`.
    Null,
    /// `u`: stored out of line and not changed, so it is not sent.
    UnchangedToast,
    /// `t`: the output of the type's output function.
    Text(&'a [u8]),
    /// `b`: the output of its send function (option `binary`).
    Binary(&'a [u8]),
    /// `-`, which is none of the protocol's: [`abridge`](super::abridge) left the value out.
    TooLong,
}

/// See [`Message::Truncate`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Truncate {
    /// The tables.
    pub relations: Vec<u32>,
    /// TRUNCATE ... CASCADE.
    pub cascade: bool,
    /// TRUNCATE ... RESTART IDENTITY.
    pub restart_identity: bool,
}

/// See [`Message::StreamStart`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamStart {
    /// The transaction.
    pub xid: u32,
    /// Its first part.
    pub is_first: bool,
}

/// See [`Message::StreamCommit`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamCommit {
    /// The transaction.
    pub xid: u32,
    /// Its commit.
    pub commit: Commit,
}

/// See [`Message::StreamAbort`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamAbort {
    /// The transaction.
    pub xid: u32,
    /// The subtransaction; equals `xid` when all of it is gone.
    pub subxid: u32,
    /// Where and when; sent only with `streaming 'parallel'` (version 4).
    pub aborted: Option<(Lsn, Timestamp)>,
}

/// A step of a two-phase commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PreparePoint<'a> {
    /// Where the record starts.
    pub lsn: Lsn,
    /// Where it ends.
    pub end_lsn: Lsn,
    /// When it was written.
    pub at: Timestamp,
    /// The transaction.
    pub xid: u32,
    /// The name that PREPARE TRANSACTION gave it.
    pub gid: &'a [u8],
}

/// See [`Message::RollbackPrepared`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RollbackPrepared<'a> {
    /// Where the prepare record ends.
    pub prepare_end_lsn: Lsn,
    /// Where the rollback record ends.
    pub rollback_end_lsn: Lsn,
    /// When it was prepared.
    pub prepared_at: Timestamp,
    /// When it was rolled back.
    pub rolled_back_at: Timestamp,
    /// The transaction.
    pub xid: u32,
    /// The name that PREPARE TRANSACTION gave it.
    pub gid: &'a [u8],
}

/// Decodes a message that stands outside of `Stream Start` ... `Stream Stop`.
///
/// # Errors
/// [`DecodeError`], for anything that is not exactly one message.
pub fn decode(bytes: &[u8]) -> Result<Message<'_>, DecodeError> {
    let mut reader = Reader::new(bytes)?;
    let message = body(&mut reader)?;
    reader.finish()?;
    Ok(message)
}

/// Decodes a message that stands between `Stream Start` and `Stream Stop`.
///
/// The transaction id (of the subtransaction, where there is one) comes with the messages that carry it: changes,
/// descriptions and logical messages.
///
/// # Errors
/// As [`decode`].
pub fn decode_streamed(bytes: &[u8]) -> Result<(Option<u32>, Message<'_>), DecodeError> {
    let mut reader = Reader::new(bytes)?;
    let carries_xid = matches!(reader.tag(), b'M' | b'R' | b'Y' | b'I' | b'U' | b'D' | b'T');
    let xid = carries_xid
        .then(|| reader.u32("the transaction id"))
        .transpose()?;
    let message = body(&mut reader)?;
    reader.finish()?;
    Ok((xid, message))
}

fn body<'a>(reader: &mut Reader<'a>) -> Result<Message<'a>, DecodeError> {
    Ok(match reader.tag() {
        b'B' => Message::Begin(reader.begin()?),
        b'C' => Message::Commit(reader.commit()?),
        b'O' => Message::Origin(Origin {
            commit_lsn: reader.lsn("the commit LSN")?,
            name: reader.string("the name")?,
        }),
        b'M' => Message::Logical(reader.logical()?),
        b'R' => Message::Relation(reader.relation()?),
        b'Y' => Message::Type(Type {
            oid: reader.u32("the type's oid")?,
            schema: reader.string("the schema")?,
            name: reader.string("the type's name")?,
        }),
        b'I' => Message::Insert(reader.insert()?),
        b'U' => Message::Update(reader.update()?),
        b'D' => Message::Delete(reader.delete()?),
        b'T' => Message::Truncate(reader.truncate()?),
        b'S' => Message::StreamStart(StreamStart {
            xid: reader.u32("the transaction id")?,
            is_first: reader.flag("the first segment flag")?,
        }),
        b'E' => Message::StreamStop,
        b'c' => Message::StreamCommit(StreamCommit {
            xid: reader.u32("the transaction id")?,
            commit: reader.commit()?,
        }),
        b'A' => Message::StreamAbort(reader.stream_abort()?),
        b'b' => Message::BeginPrepare(reader.prepare_point()?),
        b'P' => Message::Prepare(reader.flagged_prepare_point()?),
        b'K' => Message::CommitPrepared(reader.flagged_prepare_point()?),
        b'r' => Message::RollbackPrepared(reader.rollback_prepared()?),
        b'p' => Message::StreamPrepare(reader.flagged_prepare_point()?),
        tag => return Err(DecodeError::UnknownTag(tag)),
    })
}

#[cfg(test)]
mod tests;
