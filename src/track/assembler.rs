//! Puts the stream's messages together: each row change with the context it was made in. Pure.
//!
//! **The rule.** A change has the latest `_bemi` message before it in its transaction, else the first after it, else
//! none. So a row can be written as soon as its transaction has had a message; until then it is held back, without its
//! context, which is the last column for that reason.
//!
//! **Bounds.** A transaction may have millions of rows before its first message. Once those held back exceed
//! [`MAX_HELD_BYTES`], they and all that follow are written with an empty context; a message that still comes is told
//! with the ids of the rows that it belongs to ([`Outlet::fix_up`]), and whoever stores them makes up for it in
//! the same transaction.
//!
//! **Order.** The server merges the parts of a transaction (its subtransactions) by positions, which for a row is where its
//! record begins, and for a message where it ends (`logicalmsg_decode`, decode.c). A message and the record right behind it
//! so have the same one, and where they are of two parts, as around a RELEASE SAVEPOINT, either may come first. So a message
//! with the position of the rows just before it was written ahead of them ([`Latest`]).
//!
//! *Rejected:* collecting a transaction in memory or in a file until its commit. The server has done so already.

use std::collections::HashMap;
use std::sync::Arc;

use super::context::{PREFIX, StoredContext};
use super::copy::{END_OF_ROW, Put};
use super::id::{Origin, hyphenated};
use super::kind::{TypeFacts, Types};
use super::row::{Change, RowWriter, Stamp};
use super::rules::Rules;
use super::table::{Table, TableFacts};
use crate::replication::pgoutput::{Begin, Commit, DecodeError, Logical, Message, Relation, decode};
use crate::replication::{Lsn, Timestamp};
use crate::wire::encoding::ClientEncoding;

/// How much of a transaction is held back for its first message, in bytes.
pub const MAX_HELD_BYTES: usize = 1 << 20;

/// Where a transaction ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Boundary {
    /// Behind its commit: confirming this confirms the transaction.
    pub end_lsn: Lsn,
    /// When it was committed.
    pub committed_at: Timestamp,
}

/// Takes what the assembler makes: rows by [`Put`], in the columns of [`super::row::COLUMNS`].
pub trait Outlet: Put {
    /// A row is complete.
    fn end_row(&mut self);
    /// The rows from `first` to `last` belong to `context`, which came after them.
    fn fix_up(&mut self, first: u128, last: u128, committed_at: Timestamp, context: &StoredContext);
    /// A transaction begins to write rows. What was written before is a whole number of transactions.
    fn begin(&mut self, committed_at: Timestamp);
    /// All of a transaction's rows have been written.
    fn end(&mut self, boundary: Boundary);
    /// Everything that was committed before this position has been seen, and nothing of it is open.
    fn idle(&mut self, lsn: Lsn);
}

/// Answers what the stream does not say.
pub trait Catalog {
    /// Why it cannot.
    type Error;
    /// Waits until what this transaction committed can be seen: the stream may be ahead of it.
    ///
    /// # Errors
    /// When the catalog cannot be reached.
    fn settle(&mut self, xid: u32) -> Result<(), Self::Error>;
    /// Of the table with this oid; `None`: it is gone.
    ///
    /// # Errors
    /// When the catalog cannot be reached.
    fn table(&mut self, oid: u32) -> Result<Option<TableFacts>, Self::Error>;
    /// Of these types, those that exist.
    ///
    /// # Errors
    /// When the catalog cannot be reached.
    fn types(&mut self, oids: &[u32]) -> Result<Vec<TypeFacts>, Self::Error>;
}

/// Why the stream cannot be understood.
#[derive(Debug, thiserror::Error)]
pub enum AssembleError<E> {
    /// No pgoutput.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// A change of a table that was never described.
    #[error("the stream has a change of the table with oid {0}, which it did not describe")]
    UnknownTable(u32),
    /// A change, or an end, outside of a transaction.
    #[error("the stream has a {0} outside of a transaction")]
    NoTransaction(&'static str),
    /// A message that was not asked for.
    #[error("the stream has a message of a newer protocol than version 1, which was asked for")]
    NewerProtocol,
    /// The catalog.
    #[error(transparent)]
    Catalog(E),
}

/// What the assembler has to know from the start.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The system that the stream comes from.
    pub origin: Origin,
    /// The database's name.
    pub database: String,
    /// What may be stored.
    pub rules: Arc<Rules>,
    /// Schema and tables of our own, where they are in the same database: their changes are not stored.
    pub own_tables: Option<OwnTables>,
    /// `track.max_context_bytes`
    pub max_context_bytes: usize,
    /// The database's own encoding: the server converts everything in the stream but the contents of messages.
    pub encoding: ClientEncoding,
}

/// The tables that the tracker itself writes.
#[derive(Clone, Debug)]
pub struct OwnTables {
    /// Their schema.
    pub schema: String,
}

impl OwnTables {
    fn has(&self, relation: &Relation<'_>) -> bool {
        relation.schema == self.schema.as_bytes()
            && std::str::from_utf8(relation.name).is_ok_and(super::is_own_table)
    }
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Assembler<C> {
    settings: Settings,
    catalog: C,
    types: Types,
    tables: HashMap<u32, Table>,
    transaction: Option<Transaction>,
    writer: RowWriter,
    held: Held,
}

/// The transaction under way.
#[derive(Debug)]
struct Transaction {
    begin: Begin,
    stamp: Stamp,
    /// The number of the next change.
    ordinal: u32,
    context: Context,
    /// Whether the catalog shows what it did.
    is_settled: bool,
    /// Whether it has written anything.
    has_rows: bool,
    latest: Option<Latest>,
}

/// The rows just written, of one record.
#[derive(Clone, Copy, Debug)]
struct Latest {
    lsn: Lsn,
    first: u128,
    last: u128,
}

/// What is known of the context of the next row.
#[derive(Debug)]
enum Context {
    /// No message yet; rows are held back.
    Awaited,
    /// No message yet, and too many rows to hold them back: these have been written.
    Overdue { first: u128, last: u128 },
    /// This one.
    Known(StoredContext),
}

/// Rows without their contexts.
#[derive(Debug, Default)]
struct Held {
    bytes: Vec<u8>,
    /// Where each row ends in `bytes`.
    ends: Vec<usize>,
    first: u128,
    last: u128,
}

impl Held {
    fn write(&mut self, out: &mut impl Outlet, context: &[u8]) {
        let mut begin = 0;
        for end in self.ends.drain(..) {
            out.put(self.bytes.get(begin..end).unwrap_or_default());
            out.put(context);
            out.put(END_OF_ROW);
            out.end_row();
            begin = end;
        }
        self.bytes.clear();
    }
}

impl<C: Catalog> Assembler<C> {
    /// For a stream from its beginning.
    pub fn new(settings: Settings, catalog: C) -> Self {
        Self {
            settings,
            catalog,
            types: Types::default(),
            tables: HashMap::new(),
            transaction: None,
            writer: RowWriter::default(),
            held: Held::default(),
        }
    }

    /// A keepalive: the server has sent everything before `lsn`.
    pub fn keepalive(&self, lsn: Lsn, out: &mut impl Outlet) {
        if self.transaction.is_none() {
            out.idle(lsn);
        }
    }

    /// A message, the position of what it tells, and the time it was read.
    ///
    /// # Errors
    /// [`AssembleError`]
    pub fn message(
        &mut self,
        lsn: Lsn,
        bytes: &[u8],
        now: Timestamp,
        out: &mut impl Outlet,
    ) -> Result<(), AssembleError<C::Error>> {
        match decode(bytes)? {
            Message::Begin(begin) => self.begin(begin, now),
            Message::Commit(commit) => self.commit(commit, out)?,
            Message::Logical(message) => self.logical(&message, out),
            Message::Relation(relation) => self.relation(&relation)?,
            Message::Insert(insert) => {
                self.change(
                    insert.relation,
                    lsn,
                    bytes.len(),
                    &Change::Create(&insert.new),
                    out,
                )?;
            }
            Message::Update(update) => {
                let change = Change::Update(update.old.as_ref(), &update.new);
                self.change(update.relation, lsn, bytes.len(), &change, out)?;
            }
            Message::Delete(delete) => {
                self.change(
                    delete.relation,
                    lsn,
                    bytes.len(),
                    &Change::Delete(&delete.old),
                    out,
                )?;
            }
            Message::Truncate(truncate) => {
                for oid in truncate.relations {
                    self.change(oid, lsn, bytes.len(), &Change::Truncate, out)?;
                }
            }
            Message::Origin(_) | Message::Type(_) => {}
            Message::StreamStart(_)
            | Message::StreamStop
            | Message::StreamCommit(_)
            | Message::StreamAbort(_)
            | Message::BeginPrepare(_)
            | Message::Prepare(_)
            | Message::CommitPrepared(_)
            | Message::RollbackPrepared(_)
            | Message::StreamPrepare(_) => return Err(AssembleError::NewerProtocol),
        }
        Ok(())
    }

    fn begin(&mut self, begin: Begin, now: Timestamp) {
        let mut database = Vec::new();
        super::copy::text(&mut database, self.settings.database.as_bytes());
        self.transaction = Some(Transaction {
            begin,
            stamp: Stamp {
                database,
                committed_at: begin.committed_at.to_string(),
                queued_at: now.to_string(),
                xid: begin.xid,
            },
            ordinal: 0,
            context: Context::Awaited,
            is_settled: false,
            has_rows: false,
            latest: None,
        });
    }

    fn commit(&mut self, commit: Commit, out: &mut impl Outlet) -> Result<(), AssembleError<C::Error>> {
        let transaction = self
            .transaction
            .take()
            .ok_or(AssembleError::NoTransaction("commit"))?;
        self.held.write(out, &StoredContext::empty().copied);
        if transaction.has_rows {
            out.end(Boundary {
                end_lsn: commit.end_lsn,
                committed_at: commit.committed_at,
            });
        } else {
            out.idle(commit.end_lsn);
        }
        Ok(())
    }

    fn logical(&mut self, message: &Logical<'_>, out: &mut impl Outlet) {
        let Some(transaction) = self.transaction.as_mut().filter(|_| message.transactional) else {
            return;
        };
        if message.prefix != PREFIX {
            return;
        }
        let settings = &self.settings;
        let converted;
        let content = if message.content.is_ascii() || settings.encoding == ClientEncoding::default() {
            message.content
        } else {
            converted = settings.encoding.decode(message.content);
            converted.as_bytes()
        };
        let context = StoredContext::from_message(content, &settings.rules, settings.max_context_bytes);
        match transaction.context {
            Context::Awaited => self.held.write(out, &context.copied),
            Context::Overdue { first, last } => {
                out.fix_up(first, last, transaction.begin.committed_at, &context)
            }
            Context::Known(_) => {
                if let Some(latest) = transaction.latest.filter(|latest| latest.lsn == message.lsn) {
                    out.fix_up(
                        latest.first,
                        latest.last,
                        transaction.begin.committed_at,
                        &context,
                    );
                }
            }
        }
        transaction.context = Context::Known(context);
    }

    fn relation(&mut self, relation: &Relation<'_>) -> Result<(), AssembleError<C::Error>> {
        let is_own = self
            .settings
            .own_tables
            .as_ref()
            .is_some_and(|own| own.has(relation));
        if let Some(transaction) = self
            .transaction
            .as_mut()
            .filter(|transaction| !transaction.is_settled)
        {
            transaction.is_settled = true;
            self.catalog
                .settle(transaction.begin.xid)
                .map_err(AssembleError::Catalog)?;
        }
        let facts = self.catalog.table(relation.oid).map_err(AssembleError::Catalog)?;
        loop {
            let columns = relation.columns.iter();
            let unknown: Vec<u32> = columns
                .filter_map(|column| self.types.unknown(column.type_oid))
                .collect();
            if unknown.is_empty() {
                break;
            }
            let found = self.catalog.types(&unknown).map_err(AssembleError::Catalog)?;
            // A type that is gone is text.
            self.types.learn(unknown.into_iter().map(TypeFacts::of_text));
            self.types.learn(found);
        }
        let mut table = Table::new(relation, facts.as_ref(), &self.types, &self.settings.rules);
        table.is_wanted &= !is_own;
        self.tables.insert(relation.oid, table);
        Ok(())
    }

    fn change(
        &mut self,
        oid: u32,
        lsn: Lsn,
        length: usize,
        change: &Change<'_>,
        out: &mut impl Outlet,
    ) -> Result<(), AssembleError<C::Error>> {
        let Self {
            settings,
            tables,
            transaction,
            writer,
            held,
            ..
        } = self;
        let transaction = transaction
            .as_mut()
            .ok_or(AssembleError::NoTransaction("change"))?;
        let table = tables.get(&oid).ok_or(AssembleError::UnknownTable(oid))?;
        // Counted before it is known whether it is stored: other rules do not make other ids.
        let ordinal = transaction.ordinal;
        transaction.ordinal = ordinal.wrapping_add(1);
        if !table.is_wanted || change.is_ignored(table) {
            return Ok(());
        }
        if !transaction.has_rows {
            transaction.has_rows = true;
            out.begin(transaction.begin.committed_at);
        }
        let id = settings.origin.change_id(transaction.begin.final_lsn, ordinal);
        let same_record = transaction.latest.filter(|latest| latest.lsn == lsn);
        transaction.latest = Some(Latest {
            lsn,
            first: same_record.map_or(id, |latest| latest.first),
            last: id,
        });
        let place = (&hyphenated(id)[..], lsn);
        let (rules, stamp) = (&*settings.rules, &transaction.stamp);
        if matches!(transaction.context, Context::Awaited) {
            if held.bytes.len() + length <= MAX_HELD_BYTES {
                if held.ends.is_empty() {
                    held.first = id;
                }
                held.last = id;
                writer.write(&mut held.bytes, table, rules, stamp, place, change);
                held.ends.push(held.bytes.len());
                return Ok(());
            }
            let first = if held.ends.is_empty() { id } else { held.first };
            held.write(out, &StoredContext::empty().copied);
            transaction.context = Context::Overdue { first, last: id };
        }
        writer.write(out, table, rules, stamp, place, change);
        match &mut transaction.context {
            Context::Known(context) => out.put(&context.copied),
            Context::Overdue { last, .. } => {
                *last = id;
                out.put(b"{}");
            }
            Context::Awaited => {}
        }
        out.put(END_OF_ROW);
        out.end_row();
        Ok(())
    }
}

#[cfg(test)]
mod recorded;
#[cfg(test)]
mod tests;
