//! The stream behind `START_REPLICATION`: whole messages in, status updates out.
//!
//! Reading and sending are one owner's business, who decides in a `select!` what comes next; reading may be dropped at
//! any time.

use bytes::{Buf, Bytes, BytesMut};

use super::abridge::Abridger;
use super::connection::{READ_BYTES, ReplicationConnection, ReplicationError, unexpected};
use super::{Lsn, Timestamp};
use crate::wire::backend::tag;
use crate::wire::frame::{HEADER_LEN, Header, write_frame};

/// `XLogData` (manual, 55.4): type, start, end, time.
const DATA_HEADER_LEN: usize = 25;

/// A batch of more bytes was more than an ordinary read, and has memory of its own.
const LARGE_BYTES: usize = 2 * READ_BYTES;

/// A stream that runs.
#[derive(Debug)]
pub struct ReplicationStream {
    connection: ReplicationConnection,
    /// How far the server has sent, as far as has been taken.
    received: Lsn,
    /// Messages of more bytes are shortened.
    max_message: usize,
    abridging: Option<Abridging>,
}

/// A message that is being shortened.
#[derive(Debug)]
struct Abridging {
    abridger: Abridger,
    /// Bytes of it that have not come yet.
    missing: usize,
}

/// Whole messages, one behind the other.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    bytes: Bytes,
}

/// A message of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// `XLogData`.
    Data {
        /// Where in the log this is.
        start: Lsn,
        /// The message of the output plugin.
        message: &'a [u8],
    },
    /// `Primary keepalive message`.
    Keepalive {
        /// Everything before this has been sent.
        end: Lsn,
        /// The server waits for an answer: it is being shut down, or has not heard of us for long.
        wants_reply: bool,
    },
}

impl ReplicationStream {
    pub(super) fn new(connection: ReplicationConnection, start: Lsn, max_message: usize) -> Self {
        Self {
            connection,
            received: start,
            max_message,
            abridging: None,
        }
    }

    /// How far the server has sent.
    #[must_use]
    pub fn received(&self) -> Lsn {
        self.received
    }

    /// How much memory the message under way takes until it is complete, in bytes, once its length is known; 0 between
    /// messages.
    ///
    /// # Errors
    /// When its length is none.
    pub fn under_way(&self) -> Result<usize, ReplicationError> {
        if self.abridging.is_some() {
            return Ok(self.max_message);
        }
        let header = Header::read(&self.connection.buffer)?;
        Ok(header.map_or(0, |header| header.frame_len.min(self.max_message)))
    }

    /// Reads what has come, and waits for something if nothing has. May be dropped at any time.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn read(&mut self) -> Result<(), ReplicationError> {
        let whole = if self.abridging.is_some() {
            0
        } else {
            Header::read(&self.connection.buffer)?.map_or(0, |header| header.frame_len)
        };
        let is_kept = whole <= self.max_message;
        if is_kept && whole > self.connection.buffer.capacity() {
            self.move_to(whole + READ_BYTES);
        }
        self.connection.fill().await
    }

    /// Goes on in memory of its own, of this many bytes. To grow where it is would keep the room of messages that have been
    /// taken, whose memory has been given back, and double it.
    fn move_to(&mut self, bytes: usize) {
        let mut buffer = BytesMut::with_capacity(bytes);
        buffer.extend_from_slice(&self.connection.buffer);
        self.connection.buffer = buffer;
    }

    /// Takes the whole messages that have been read. Whether the server wants an answer at once comes along.
    ///
    /// # Errors
    /// When the server ended the stream, or sent what it must not.
    pub fn take(&mut self) -> Result<(Batch, bool), ReplicationError> {
        if let Some(abridging) = self.abridging.take() {
            return self.abridge(abridging);
        }
        let buffer = &self.connection.buffer;
        let (mut end, mut wants_reply) = (0, false);
        while let Some(header) = Header::read(buffer.get(end..).unwrap_or_default())? {
            if header.frame_len > self.max_message && header.tag == tag::COPY_DATA {
                if end > 0 {
                    break;
                }
                self.connection.buffer.advance(HEADER_LEN);
                return self.abridge(Abridging {
                    abridger: Abridger::new(self.max_message / 2),
                    missing: header.frame_len - HEADER_LEN,
                });
            }
            let Some(frame) = buffer.get(end..end + header.frame_len) else {
                break;
            };
            let body = frame.get(HEADER_LEN..).unwrap_or_default();
            match header.tag {
                tag::COPY_DATA => {
                    let (position, asks) = looked_at(body)?;
                    self.received = self.received.max(position);
                    wants_reply |= asks;
                }
                tag::ERROR_RESPONSE => return Err(ReplicationConnection::error_of(body)),
                // The server is being shut down: it has sent all there is (`WalSndDone`, walsender.c), and says that its command
                // is complete.
                tag::COPY_DONE | tag::COMMAND_COMPLETE => return Err(ReplicationError::Closed),
                tag::NOTICE_RESPONSE | tag::PARAMETER_STATUS => {}
                other => return Err(unexpected(other, "the stream")),
            }
            end += header.frame_len;
        }
        let bytes = self.connection.buffer.split_to(end).freeze();
        if end > LARGE_BYTES {
            // What follows must not keep the memory of what has been taken.
            self.move_to(self.connection.buffer.len() + READ_BYTES);
        }
        Ok((Batch { bytes }, wants_reply))
    }

    /// Feeds what has been read of a message that is too long, which is whole in the end.
    fn abridge(&mut self, mut abridging: Abridging) -> Result<(Batch, bool), ReplicationError> {
        let buffer = &mut self.connection.buffer;
        let bytes = buffer.split_to(abridging.missing.min(buffer.len()));
        abridging.missing -= bytes.len();
        abridging
            .abridger
            .feed(&bytes)
            .map_err(|error| ReplicationError::Unexpected(error.to_string()))?;
        if abridging.missing > 0 {
            self.abridging = Some(abridging);
            return Ok((Batch::default(), false));
        }
        let body = abridging.abridger.finish();
        let (position, _) = looked_at(&body)?;
        self.received = self.received.max(position);
        let mut frame = Vec::with_capacity(HEADER_LEN + body.len());
        write_frame(&mut frame, tag::COPY_DATA, |out| out.extend_from_slice(&body));
        let batch = Batch { bytes: frame.into() };
        Ok((batch, false))
    }

    /// Tells the server what need not be sent again: everything before `flushed`.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn send_status(&mut self, flushed: Lsn, now: Timestamp) -> Result<(), ReplicationError> {
        let mut out = Vec::with_capacity(HEADER_LEN + 34);
        let received = self.received.max(flushed);
        write_frame(&mut out, tag::COPY_DATA, |body| {
            body.push(b'r');
            for lsn in [received, flushed, flushed] {
                body.extend_from_slice(&lsn.0.to_be_bytes());
            }
            body.extend_from_slice(&now.0.to_be_bytes());
            body.push(0);
        });
        self.connection.send(&out).await
    }
}

/// How far an item goes, and whether it asks for an answer.
fn looked_at(body: &[u8]) -> Result<(Lsn, bool), ReplicationError> {
    let position = |at: usize| {
        body.get(at..)?
            .first_chunk()
            .map(|bytes| Lsn(u64::from_be_bytes(*bytes)))
    };
    match (body.first(), body.len()) {
        (Some(b'w'), DATA_HEADER_LEN..) => position(1).map(|start| (start, false)),
        (Some(b'k'), 18) => position(1).map(|end| (end, asks(body))),
        _other => None,
    }
    .ok_or_else(|| {
        ReplicationError::Unexpected("an item of the stream that is neither data nor keepalive".into())
    })
}

/// Whether a keepalive asks for an answer.
fn asks(body: &[u8]) -> bool {
    body.get(17) == Some(&1)
}

impl Batch {
    /// Bytes that it keeps alive.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Its messages, in order.
    pub fn items(&self) -> impl Iterator<Item = Item<'_>> {
        let mut rest: &[u8] = &self.bytes;
        std::iter::from_fn(move || {
            loop {
                let header = Header::read(rest).ok().flatten()?;
                let (frame, behind) = rest.split_at_checked(header.frame_len)?;
                rest = behind;
                if let (tag::COPY_DATA, Some(item)) = (header.tag, item(frame.get(HEADER_LEN..)?)) {
                    return Some(item);
                }
            }
        })
    }
}

fn item(body: &[u8]) -> Option<Item<'_>> {
    let position = Lsn(u64::from_be_bytes(*body.get(1..)?.first_chunk()?));
    match body.first()? {
        b'w' => Some(Item::Data {
            start: position,
            message: body.get(DATA_HEADER_LEN..)?,
        }),
        _keepalive => Some(Item::Keepalive {
            end: position,
            wants_reply: asks(body),
        }),
    }
}
