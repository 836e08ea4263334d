//! The thread between stream and store: batches of messages in, pieces of COPY out.
//!
//! ```text
//!   stream ── batches, within the memory limit ──> this thread ── events, CHUNK_BYTES each ──> store
//! ```
//!
//! It is a thread of its own because the assembler is not asynchronous: a row of 50 MB leaves in pieces, and while the
//! store is slow the next piece waits in the middle of that row. Meanwhile the stream goes on answering keepalives.

use std::mem;

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::mpsc::{Sender, UnboundedReceiver};

use super::assembler::{AssembleError, Assembler, Boundary, Catalog, Outlet};
use super::context::StoredContext;
use super::copy::Put;
use crate::replication::stream::{Batch, Item};
use crate::replication::{Lsn, Timestamp};

/// Bytes of one piece. A few of them wait for the store; more would not make it faster.
pub const CHUNK_BYTES: usize = 256 << 10;

/// Events that may wait for the store.
pub const QUEUED_EVENTS: usize = 8;

/// A batch, and the memory that it may take up.
#[derive(Debug)]
pub struct Received {
    /// The messages.
    pub batch: Batch,
    /// When they were read.
    pub at: Timestamp,
    /// Given back when they have been worked off.
    pub permit: Option<OwnedSemaphorePermit>,
}

/// What the store has to do, in order.
#[derive(Debug)]
pub enum Event {
    /// Copy rows.
    Rows(Rows),
    /// Give rows that were copied in this transaction the context that came after them.
    FixUp {
        /// The id of the first.
        first: u128,
        /// The id of the last.
        last: u128,
        /// When their transaction was committed.
        committed_at: Timestamp,
        /// One JSON object.
        context: Vec<u8>,
    },
    /// Nothing is to be stored of what was committed before this.
    Idle {
        /// This.
        lsn: Lsn,
        /// The source waits to hear that it is stored.
        is_awaited: bool,
    },
}

/// A piece of what COPY reads; it may end in the middle of a row.
#[derive(Debug)]
pub struct Rows {
    /// The piece.
    pub bytes: Bytes,
    /// Rows that end in it.
    pub count: u64,
    /// When a transaction ends with it: everything up to here may be committed.
    pub boundary: Option<Boundary>,
    /// A commit time of each day that its rows are of: behind a long pause one piece may hold many.
    pub days: Vec<Timestamp>,
}

/// Works batches off until there are no more, or nobody wants the events.
///
/// # Errors
/// [`AssembleError`]
pub fn assemble<C: Catalog>(
    mut input: UnboundedReceiver<Received>,
    mut assembler: Assembler<C>,
    events: Sender<Event>,
) -> Result<(), AssembleError<C::Error>> {
    let mut chunks = Chunks::new(events);
    while let Some(received) = next(&mut input, &mut chunks) {
        for item in received.batch.items() {
            match item {
                Item::Data { start, message } => {
                    assembler.message(start, message, received.at, &mut chunks)?
                }
                Item::Keepalive { end, wants_reply } => {
                    chunks.is_awaited |= wants_reply;
                    assembler.keepalive(end, &mut chunks);
                }
            }
        }
        if chunks.is_unwanted {
            break;
        }
    }
    chunks.hand_over();
    Ok(())
}

/// The next batch. Before there is a wait for it, the store gets what is complete.
fn next(input: &mut UnboundedReceiver<Received>, chunks: &mut Chunks) -> Option<Received> {
    match input.try_recv() {
        Ok(received) => Some(received),
        Err(TryRecvError::Disconnected) => None,
        Err(TryRecvError::Empty) => {
            chunks.hand_over();
            input.blocking_recv()
        }
    }
}

/// Cuts what the assembler writes into pieces, at ends of transactions where there are any.
///
/// ```text
///   buffer  [ rows of whole transactions | rows of the transaction under way ]
///                                        ^ complete
/// ```
struct Chunks {
    events: Sender<Event>,
    buffer: Vec<u8>,
    count: u64,
    complete: Option<Complete>,
    days: Vec<Timestamp>,
    /// The commit of the transaction under way.
    current: Timestamp,
    idle: Option<Lsn>,
    /// The source waits to hear of `idle`.
    is_awaited: bool,
    /// The store has ended.
    is_unwanted: bool,
}

/// Where the last whole transaction ends.
#[derive(Clone, Copy)]
struct Complete {
    length: usize,
    count: u64,
    boundary: Boundary,
}

impl Chunks {
    fn new(events: Sender<Event>) -> Self {
        Self {
            events,
            buffer: Vec::with_capacity(CHUNK_BYTES),
            count: 0,
            complete: None,
            days: Vec::new(),
            current: Timestamp(0),
            idle: None,
            is_awaited: false,
            is_unwanted: false,
        }
    }

    fn send(&mut self, event: Event) {
        if !self.is_unwanted {
            self.is_unwanted = self.events.blocking_send(event).is_err();
        }
    }

    /// Sends whole transactions, and what is known to hold nothing.
    fn hand_over(&mut self) {
        if let Some(complete) = self.complete.take() {
            let rest = self.buffer.split_off(complete.length);
            let bytes = mem::replace(&mut self.buffer, rest);
            let count = self.count;
            self.count = count - complete.count;
            self.rows(bytes, complete.count, Some(complete.boundary));
        }
        if let Some(lsn) = self.idle.take() {
            let is_awaited = mem::take(&mut self.is_awaited);
            self.send(Event::Idle { lsn, is_awaited });
        }
    }

    /// Makes room for the next row, or the next piece of one.
    fn cut(&mut self) {
        self.hand_over();
        if self.buffer.len() >= CHUNK_BYTES / 2 {
            let bytes = mem::replace(&mut self.buffer, Vec::with_capacity(CHUNK_BYTES));
            let count = mem::take(&mut self.count);
            self.rows(bytes, count, None);
        }
    }

    fn rows(&mut self, bytes: Vec<u8>, count: u64, boundary: Option<Boundary>) {
        let mut days = mem::take(&mut self.days);
        if days.is_empty() {
            days.push(self.current);
        }
        if !self.buffer.is_empty() {
            self.days.push(self.current);
        }
        self.send(Event::Rows(Rows {
            bytes: bytes.into(),
            count,
            boundary,
            days,
        }));
    }

    fn note_commit(&mut self) {
        let day = self.current.date();
        // From behind: it is nearly always the same.
        if !self.days.iter().rev().any(|noted| noted.date() == day) {
            self.days.push(self.current);
        }
    }
}

impl Put for Chunks {
    fn put(&mut self, bytes: &[u8]) {
        if self.buffer.is_empty() {
            self.note_commit();
        }
        if self.buffer.len() + bytes.len() <= CHUNK_BYTES {
            self.buffer.extend_from_slice(bytes);
            return;
        }
        self.cut();
        for piece in bytes.chunks(CHUNK_BYTES / 2) {
            if self.buffer.len() + piece.len() > CHUNK_BYTES {
                self.cut();
            }
            self.buffer.extend_from_slice(piece);
        }
    }
}

impl Outlet for Chunks {
    fn end_row(&mut self) {
        self.count += 1;
    }

    fn fix_up(&mut self, first: u128, last: u128, committed_at: Timestamp, context: &StoredContext) {
        self.hand_over();
        if !self.buffer.is_empty() {
            let bytes = mem::take(&mut self.buffer);
            let count = mem::take(&mut self.count);
            self.rows(bytes, count, None);
        }
        self.send(Event::FixUp {
            first,
            last,
            committed_at,
            context: context.json.clone(),
        });
    }

    fn begin(&mut self, committed_at: Timestamp) {
        self.current = committed_at;
        if !self.buffer.is_empty() {
            self.note_commit();
        }
    }

    fn end(&mut self, boundary: Boundary) {
        self.complete = Some(Complete {
            length: self.buffer.len(),
            count: self.count,
            boundary,
        });
        self.idle = None;
        if self.buffer.len() >= CHUNK_BYTES / 2 {
            self.hand_over();
        }
    }

    fn idle(&mut self, lsn: Lsn) {
        self.idle = Some(lsn);
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::{Boundary, CHUNK_BYTES, Chunks, Event, Outlet, Put, QUEUED_EVENTS};
    use crate::replication::{Lsn, Timestamp};

    fn boundary(lsn: u64) -> Boundary {
        Boundary {
            end_lsn: Lsn(lsn),
            committed_at: Timestamp(0),
        }
    }

    /// What comes out: bytes, rows, and the boundary of each piece.
    fn pieces(write: impl FnOnce(&mut Chunks) + Send + 'static) -> Vec<(usize, u64, Option<Lsn>)> {
        let (sender, mut receiver) = mpsc::channel(QUEUED_EVENTS);
        let writing = std::thread::spawn(move || {
            let mut chunks = Chunks::new(sender);
            write(&mut chunks);
            chunks.hand_over();
        });
        let mut pieces = Vec::new();
        while let Some(event) = receiver.blocking_recv() {
            match event {
                Event::Rows(rows) => {
                    pieces.push((
                        rows.bytes.len(),
                        rows.count,
                        rows.boundary.map(|boundary| boundary.end_lsn),
                    ));
                }
                Event::Idle { lsn, .. } => pieces.push((0, 0, Some(lsn))),
                Event::FixUp { .. } => pieces.push((0, 0, None)),
            }
        }
        writing.join().unwrap();
        pieces
    }

    #[test]
    fn small_transactions_go_together() {
        let all = pieces(|chunks| {
            for lsn in 1..=3 {
                chunks.begin(Timestamp(0));
                chunks.put(b"row\n");
                chunks.end_row();
                chunks.end(boundary(lsn));
            }
        });
        assert_eq!(all, [(12, 3, Some(Lsn(3)))]);
    }

    #[test]
    fn whole_transactions_leave_ahead_of_one_that_is_large() {
        let all = pieces(|chunks| {
            chunks.put(b"row\n");
            chunks.end_row();
            chunks.end(boundary(1));
            chunks.begin(Timestamp(1));
            chunks.put(&vec![b'x'; CHUNK_BYTES * 2]);
            chunks.put(b"\n");
            chunks.end_row();
            chunks.end(boundary(2));
        });
        assert_eq!(all.first(), Some(&(4, 1, Some(Lsn(1)))));
        assert_eq!(
            all.last().map(|(_, count, lsn)| (*count, *lsn)),
            Some((1, Some(Lsn(2))))
        );
        assert_eq!(
            all.iter().map(|(bytes, ..)| bytes).sum::<usize>(),
            4 + CHUNK_BYTES * 2 + 1
        );
        assert!(all.iter().all(|(bytes, ..)| *bytes <= CHUNK_BYTES));
    }

    #[test]
    fn a_transaction_that_is_not_complete_stays() {
        let all = pieces(|chunks| {
            chunks.put(b"row\n");
            chunks.end_row();
        });
        assert_eq!(all, []);
    }

    #[test]
    fn what_holds_nothing_is_told_behind_what_was_before() {
        let all = pieces(|chunks| {
            chunks.put(b"row\n");
            chunks.end_row();
            chunks.end(boundary(1));
            chunks.idle(Lsn(5));
        });
        assert_eq!(all, [(4, 1, Some(Lsn(1))), (0, 0, Some(Lsn(5)))]);
    }
}
